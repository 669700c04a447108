//! UDP: whole replies on loopback and to trusted networks, nothing that a stranger could aim at
//! somebody else.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use kannuki_tests::launch::free_port;
use kannuki_tests::{Launch, Program, Server};

/// A reply on loopback comes at once; this is for a busy machine.
const ANSWER_BOUND: Duration = Duration::from_secs(5);

/// Long enough to know that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// Bytes of the frame before each datagram's payload.
const HEADER_BYTES: usize = 8;

/// A server with a UDP port beside its TCP port.
struct Dual {
    server: Server,
    udp: SocketAddr,
}

fn start(program: Program) -> Dual {
    let port = free_port();
    let server = Launch::of(program).flags(["-U", &port.to_string()]).start();
    Dual { server, udp: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
}

/// One datagram of a reply.
#[derive(Debug, PartialEq, Eq)]
struct Datagram {
    id: u16,
    sequence: u16,
    count: u16,
    reserved: u16,
    payload: Vec<u8>,
}

impl Datagram {
    fn parse(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= HEADER_BYTES, "a datagram without a frame: {bytes:?}");
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let payload = bytes[HEADER_BYTES..].to_vec();
        Self { id: word(0), sequence: word(2), count: word(4), reserved: word(6), payload }
    }
}

struct Client(UdpSocket);

impl Client {
    fn to(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(server).unwrap();
        Self(socket)
    }

    fn send_framed(&self, frame: [u16; 4], payload: &[u8]) {
        let mut bytes: Vec<u8> = frame.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(payload);
        self.0.send(&bytes).unwrap();
    }

    fn send(&self, id: u16, payload: &[u8]) {
        self.send_framed([id, 0, 1, 0], payload);
    }

    fn receive(&self, bound: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65536];
        self.0.set_read_timeout(Some(bound)).unwrap();
        let count = self.0.recv(&mut buffer).ok()?;
        buffer.truncate(count);
        Some(buffer)
    }

    /// All datagrams of the reply to one request, as many as the first one announces.
    fn reply(&self, id: u16) -> Vec<Datagram> {
        let first = self.receive(ANSWER_BOUND).expect("a reply");
        let first = Datagram::parse(&first);
        let mut datagrams = vec![first];
        while datagrams.len() < usize::from(datagrams[0].count) {
            let next = self.receive(ANSWER_BOUND).expect("the rest of a reply");
            datagrams.push(Datagram::parse(&next));
        }
        for datagram in &datagrams {
            assert_eq!(datagram.id, id, "the request id is echoed");
            assert_eq!(datagram.reserved, 0);
            assert_eq!(usize::from(datagram.count), datagrams.len());
            assert!(datagram.payload.len() + HEADER_BYTES <= 1400);
        }
        datagrams.sort_by_key(|datagram| datagram.sequence);
        let in_order = datagrams.iter().zip(0..).all(|(datagram, at)| datagram.sequence == at);
        assert!(in_order, "each sequence number once");
        assert_eq!(self.receive(SILENCE), None, "nothing follows a whole reply");
        datagrams
    }

    fn ask(&self, id: u16, payload: &[u8]) -> Vec<u8> {
        self.send(id, payload);
        self.reply(id).into_iter().flat_map(|datagram| datagram.payload).collect()
    }

    fn stays_silent(&self) {
        assert_eq!(self.receive(SILENCE), None, "no answer is due");
    }
}

fn store(server: &Server, key: &str, value: &str) {
    let mut wire = server.connect();
    let stored = wire.ask(&format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()));
    assert_eq!(stored, "STORED");
}

fn a_large_value_comes_in_datagrams(program: Program) {
    let dual = start(program);
    store(&dual.server, "big", &"v".repeat(3000));
    let client = Client::to(dual.udp);
    client.send(7, b"get big\r\n");
    let reply = client.reply(7);
    let sizes: Vec<usize> = reply.iter().map(|d| d.payload.len() + HEADER_BYTES).collect();
    assert_eq!(sizes, [1400, 1400, 249]);
    let whole: Vec<u8> = reply.into_iter().flat_map(|datagram| datagram.payload).collect();
    let expected = format!("VALUE big 0 3000\r\n{}\r\nEND\r\n", "v".repeat(3000));
    assert_eq!(String::from_utf8(whole).unwrap(), expected);
}

#[test]
fn memcached_cuts_a_large_value_as_we_say() {
    match Program::Memcached.path() {
        Ok(_) => a_large_value_comes_in_datagrams(Program::Memcached),
        Err(why) => kannuki_tests::missing("memcached over UDP", &why),
    }
}

#[test]
fn a_large_value_comes_in_three_datagrams() {
    a_large_value_comes_in_datagrams(Program::Kannuki);
}

#[test]
fn a_very_large_value_comes_whole() {
    let dual = start(Program::Kannuki);
    let value = "0123456789".repeat(10_000);
    store(&dual.server, "huge", &value);
    let client = Client::to(dual.udp);
    let whole = client.ask(65535, b"get huge\r\n");
    assert_eq!(whole, format!("VALUE huge 0 100000\r\n{value}\r\nEND\r\n").into_bytes());
}

#[test]
fn commands_work() {
    let dual = start(Program::Kannuki);
    let client = Client::to(dual.udp);
    assert_eq!(client.ask(1, b"set a 5 0 3\r\nabc\r\n"), b"STORED\r\n");
    assert_eq!(client.ask(2, b"get a\r\n"), b"VALUE a 5 3\r\nabc\r\nEND\r\n");
    assert_eq!(client.ask(3, b"mg a v f\r\n"), b"VA 3 f5\r\nabc\r\n");
    assert_eq!(client.ask(4, b"delete a\r\n"), b"DELETED\r\n");
    assert_eq!(client.ask(5, b"get a\r\n"), b"END\r\n");
    assert_eq!(client.ask(6, b"foo\r\n"), b"ERROR\r\n");
    assert!(client.ask(7, b"stats\r\n").ends_with(b"END\r\n"));
    assert_eq!(dual.server.connect().ask("get a\r\n"), "END");
}

#[test]
fn binary_works() {
    let dual = start(Program::Kannuki);
    store(&dual.server, "a", "xyz");
    let client = Client::to(dual.udp);
    let mut request = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9];
    request.extend([0; 8]);
    request.push(b'a');
    let reply = client.ask(1, &request);
    assert_eq!(reply[..2], [0x81, 0]);
    assert_eq!(reply[12..16], [0, 0, 0, 9], "the opaque is echoed");
    assert!(reply.ends_with(b"xyz"));
    assert_eq!(client.ask(2, b"get a\r\n"), b"VALUE a 0 3\r\nxyz\r\nEND\r\n", "text after binary");
}

#[test]
fn a_multi_get_is_one_reply() {
    let dual = start(Program::Kannuki);
    store(&dual.server, "a", "1");
    store(&dual.server, "b", &"2".repeat(2000));
    let client = Client::to(dual.udp);
    client.send(300, b"get a missing b a missing\r\n");
    let reply = client.reply(300);
    assert_eq!(reply.len(), 2);
    let whole: Vec<u8> = reply.into_iter().flat_map(|datagram| datagram.payload).collect();
    let long = "2".repeat(2000);
    let expected =
        format!("VALUE a 0 1\r\n1\r\nVALUE b 0 2000\r\n{long}\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
    assert_eq!(String::from_utf8(whole).unwrap(), expected);
}

#[test]
fn sequence_and_reserved_of_a_request_are_ignored() {
    let dual = start(Program::Kannuki);
    let client = Client::to(dual.udp);
    client.send_framed([9, 5, 1, 77], b"get missing\r\n");
    let reply = client.reply(9);
    assert_eq!(reply[0].payload, b"END\r\n");
}

#[test]
fn what_is_no_whole_request_is_dropped() {
    let dual = start(Program::Kannuki);
    let client = Client::to(dual.udp);
    for frame in [[1, 0, 0, 0], [1, 0, 2, 0], [1, 1, 2, 0], [1, 0, 65535, 0]] {
        client.send_framed(frame, b"version\r\n");
        client.stays_silent();
    }
    for short in [&b""[..], b"x", &[0, 1, 0, 0, 0, 1, 0], &[0, 1, 0, 0, 0, 1, 0, 0]] {
        client.0.send(short).unwrap();
        client.stays_silent();
    }
    // Half a set must not swallow the next datagram, whoever sends it.
    for half in [&b"set a 0 0 10\r\n"[..], b"set a 0 0 10\r\nabc", b"get a", b"\x80\x01"] {
        client.send(2, half);
        client.stays_silent();
        let other = Client::to(dual.udp);
        assert!(other.ask(3, b"version\r\n").starts_with(b"VERSION "), "after {half:?}");
    }
    assert_eq!(client.ask(4, b"get a\r\n"), b"END\r\n", "the half set stored nothing");
}

#[test]
fn quit_over_udp_ends_nothing() {
    let dual = start(Program::Kannuki);
    let client = Client::to(dual.udp);
    client.send(1, b"quit\r\n");
    client.stays_silent();
    assert!(client.ask(2, b"version\r\n").starts_with(b"VERSION "));
}

/// A reply is a well-formed request too: two servers that answered each other's `ERROR` would never
/// stop, and one datagram with a forged sender would be enough to set them going.
#[test]
fn a_reply_is_never_answered() {
    let dual = start(Program::Kannuki);
    let client = Client::to(dual.udp);
    for reply in [&b"ERROR\r\n"[..], b"END\r\n", b"VALUE a 0 1\r\nx\r\nEND\r\n", b"5\r\n", b"\r\n"]
    {
        client.send(1, reply);
    }
    client.stays_silent();
    assert!(client.ask(2, b"version\r\n").starts_with(b"VERSION "));
}

#[test]
fn udp_sockets_are_listed_among_the_connections() {
    let dual = start(Program::Kannuki);
    let mut wire = dual.server.connect();
    let listed = kannuki_tests::stats(&mut wire, "stats conns");
    assert!(listed.iter().any(|(key, _)| key.ends_with(":UDP")), "{listed:?}");
}

#[test]
fn udp_is_off_by_default() {
    let server = Launch::kannuki().start();
    let settings = kannuki_tests::stats(&mut server.connect(), "stats settings");
    assert!(settings.contains(&("udpport".into(), "0".into())), "{settings:?}");
    let client = Client::to(server.address());
    client.0.send(b"\0\x01\0\0\0\x01\0\0version\r\n").unwrap();
    // An ICMP refusal shows as an error, silence as a timeout: either is no answer.
    assert_eq!(client.receive(SILENCE), None);
}
