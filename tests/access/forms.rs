//! The forms in which a forbidden key can hide from a rule: datagrams, quiet commands, and a hundred
//! keys at once of which one is forbidden.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::rules::{ANSWER_WAIT, BOUND, FOREIGN, House, OWN_KEYS, about};
use super::verbs::{FRAMES, LINES, frame};
use super::{DENIED, refused};

const NOOP: u8 = 0x0a;
const GETKQ: u8 = 0x0d;
const ACCESS_DENIED: u16 = 0x20;
/// Frame header of a datagram: request, datagram of how many, reserved.
const UDP_HEADER_BYTES: usize = 8;

/// The bound peer's socket for datagrams.
struct Datagrams {
    socket: UdpSocket,
    next: u16,
}

impl Datagrams {
    fn to(house: &House) -> Self {
        let socket = UdpSocket::bind((BOUND, 0)).unwrap();
        socket.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
        socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, house.udp))).unwrap();
        Self { socket, next: 0 }
    }

    fn send(&mut self, request: &[u8]) -> u16 {
        self.next += 1;
        let [high, low] = self.next.to_be_bytes();
        let datagram = [&[high, low, 0, 0, 0, 1, 0, 0], request].concat();
        self.socket.send(&datagram).unwrap();
        self.next
    }

    /// Sends a request and then another, until the other is answered; what came to the first.
    fn ask(&mut self, request: &[u8], after: &[u8]) -> Vec<u8> {
        let asked = self.send(request);
        let end = self.send(after);
        let mut answers: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
        let mut room = [0; 2048];
        while !answers.contains_key(&end) {
            let length = self.socket.recv(&mut room).unwrap();
            let number = u16::from_be_bytes([room[0], room[1]]);
            let answer = answers.entry(number).or_default();
            answer.extend(&room[UDP_HEADER_BYTES..length]);
        }
        answers.remove(&asked).unwrap_or_default()
    }

    /// Asks for a list of keys; the answer, in more than one datagram, put together in their order.
    fn list(&mut self, request: &str) -> String {
        let asked = self.send(request.as_bytes());
        let (mut parts, mut room) = (BTreeMap::new(), [0; 2048]);
        let mut whole = String::new();
        while !whole.ends_with("END\r\n") {
            let length = self.socket.recv(&mut room).unwrap();
            assert_eq!(u16::from_be_bytes([room[0], room[1]]), asked);
            let part = u16::from_be_bytes([room[2], room[3]]);
            parts.insert(part, room[UDP_HEADER_BYTES..length].to_vec());
            whole = String::from_utf8(parts.values().flatten().copied().collect()).unwrap();
        }
        whole
    }
}

#[test]
fn no_text_or_meta_form_touches_a_forbidden_key_over_udp() {
    let house = House::start(OWN_KEYS);
    let mut datagrams = Datagrams::to(&house);
    house.foreign();
    let before = house.foreign();
    for (template, silent) in LINES {
        let request = format!("{}\r\n", about(template, FOREIGN));
        let answer = datagrams.ask(request.as_bytes(), b"mn\r\n");
        let expected = if *silent { String::new() } else { format!("{DENIED}\r\n") };
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{request}");
        assert_eq!(house.foreign(), before, "{request}");
    }
    assert_eq!(refused(&mut house.free(), "rule-denied"), LINES.len() as u64, "each counts once");
}

#[test]
fn no_binary_form_touches_a_forbidden_key_over_udp() {
    let house = House::start(OWN_KEYS);
    let mut datagrams = Datagrams::to(&house);
    house.foreign();
    let before = house.foreign();
    let noop = frame(NOOP, b"", b"", b"");
    for (opcode, extras, value) in FRAMES {
        let answer = datagrams.ask(&frame(*opcode, extras, b"x:1", value), &noop);
        let status = answer.get(6..8).map(|status| u16::from_be_bytes([status[0], status[1]]));
        assert!(matches!(status, None | Some(ACCESS_DENIED)), "{opcode:#x}: {status:x?}");
        assert_eq!(house.foreign(), before, "{opcode:#x}");
    }
    let own = datagrams.ask(&frame(0x00, b"", b"a:1", b""), &noop);
    assert_eq!(own[6..8], [0, 0], "its own key is served");
    assert_eq!(refused(&mut house.free(), "rule-denied"), FRAMES.len() as u64);
}

/// A hundred keys, of which the forty-first is forbidden.
fn hundred() -> Vec<String> {
    let mut keys: Vec<String> = (0..99).map(|at| format!("a:{at}")).collect();
    keys.insert(40, FOREIGN.0.to_owned());
    keys
}

#[test]
fn one_forbidden_key_of_a_hundred_is_a_miss_over_udp() {
    let house = House::start(OWN_KEYS);
    let mut datagrams = Datagrams::to(&house);
    for verb in ["get", "gets", "gat 100", "gats 100"] {
        let whole = datagrams.list(&format!("{verb} {}\r\n", hundred().join(" ")));
        assert_eq!(whole.matches("VALUE a:").count(), 99, "{verb}");
        assert!(!whole.contains("x:1") && !whole.contains("ERROR"), "{verb}: {whole}");
    }
    assert_eq!(refused(&mut house.free(), "rule-denied"), 4);
}

#[test]
fn one_forbidden_key_of_a_hundred_quiet_meta_gets_is_denied_alone() {
    let house = House::start(OWN_KEYS);
    let mut bound = house.bound();
    let requests: String = hundred().iter().map(|key| format!("mg {key} v k q\r\n")).collect();
    bound.send(format!("{requests}mn\r\n"));
    let answer = String::from_utf8(bound.until(b"MN\r\n")).unwrap();
    assert_eq!(answer.matches("VA 1 ka:").count(), 99);
    assert_eq!(answer.matches(DENIED).count(), 1);
    assert!(!answer.contains("kx:1"), "{answer}");
    assert_eq!(refused(&mut house.free(), "rule-denied"), 1);
}

#[test]
fn one_forbidden_key_of_a_hundred_quiet_binary_gets_is_denied_alone() {
    let house = House::start(OWN_KEYS);
    let mut bound = house.bound();
    let gets = hundred();
    let gets = gets.iter().flat_map(|key| frame(GETKQ, b"", key.as_bytes(), b""));
    bound.send([gets.collect(), frame(NOOP, b"", b"", b"")].concat());
    let (mut served, mut denied) = (0, 0);
    loop {
        let head = bound.exactly(24);
        let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let body = bound.exactly(usize::try_from(length).unwrap());
        match (head[1], u16::from_be_bytes([head[6], head[7]])) {
            (NOOP, _) => break,
            (GETKQ, 0) => served += 1,
            (GETKQ, ACCESS_DENIED) => denied += 1,
            other => panic!("{other:x?}"),
        }
        assert!(!body.ends_with(b"x:17"), "the forbidden value");
    }
    assert_eq!((served, denied), (99, 1));
    assert_eq!(refused(&mut house.free(), "rule-denied"), 1);
}
