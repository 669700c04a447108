//! Logging in behind a proxy that sends PROXY headers: the header comes first, in whatever protocol
//! the log-in is, and failures count against the address in it.

use std::time::Duration;

use kannuki_tests::{Server, Wire};

use super::{FAILED, Users, log_in};

/// Longer than anything takes here.
const BOUND: Duration = Duration::from_secs(30);
const FROM: [&str; 2] = ["--proxy-from", "127.0.0.1"];
const VERSION: u8 = 0x0b;
const NOOP: u8 = 0x0a;
const LIST: u8 = 0x20;
const AUTH: u8 = 0x21;
const REFUSED: u8 = 0x20;

fn behind(server: &Server, address: &str) -> Wire {
    let mut wire = server.connect();
    wire.send(header(address));
    wire
}

fn header(address: &str) -> Vec<u8> {
    let family = if address.contains(':') { "TCP6 ADDRESS ::1" } else { "TCP4 ADDRESS 127.0.0.1" };
    format!("PROXY {} 5000 11211\r\n", family.replace("ADDRESS", address)).into_bytes()
}

fn frame(opcode: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    let (key_bytes, all) = (key.len() as u8, (key.len() + value.len()) as u8);
    let mut bytes = vec![0x80, opcode, 0, key_bytes, 0, 0, 0, 0, 0, 0, 0, all];
    bytes.extend([0; 12]);
    bytes.extend([key, value].concat());
    bytes
}

/// The status and body of the next answer, which has to be to `opcode`.
fn answer(wire: &mut Wire, opcode: u8) -> (u8, String) {
    let head = wire.exactly(24);
    assert_eq!((head[0], head[1]), (0x81, opcode));
    let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let body = wire.exactly(usize::try_from(length).unwrap());
    (head[7], String::from_utf8(body).unwrap())
}

#[test]
fn sasl_alone_goes_on_behind_a_header() {
    let users = Users::new("app:secret\n");
    let path = users.path().display().to_string();
    // -S alone: its users are those of the file that libsasl's variable names.
    let launch = kannuki_tests::Launch::kannuki().flags(["-S", "--auth-delay", "0s"]).flags(FROM);
    let server = launch.environment("MEMCACHED_SASL_PWDB", &path).start();
    // All in one packet, as a client that speaks first is passed on.
    let mut wire = server.connect();
    let login = frame(AUTH, b"PLAIN", b"\0app\0secret");
    let all = [header("10.0.0.7"), frame(VERSION, b"", b""), frame(LIST, b"", b""), login];
    wire.send([all.concat(), frame(NOOP, b"", b"")].concat());
    assert_eq!(answer(&mut wire, VERSION).0, 0);
    assert_eq!(answer(&mut wire, LIST), (0, "PLAIN SCRAM-SHA-256".to_owned()));
    assert_eq!(answer(&mut wire, AUTH), (0, "Authenticated".to_owned()));
    assert_eq!(answer(&mut wire, NOOP).0, 0);
    // The header is no log-in: what comes behind it has to have one, and text is no protocol here.
    let mut nobody = behind(&server, "10.0.0.7");
    nobody.send(frame(NOOP, b"", b""));
    assert_eq!(answer(&mut nobody, NOOP).0, REFUSED);
    assert!(nobody.closes_within(BOUND));
    let mut text = behind(&server, "10.0.0.7");
    text.send("version\r\n");
    assert!(text.drain(BOUND).is_empty() && text.closes_within(BOUND), "text is not answered");
}

#[test]
fn bans_go_by_the_address_in_the_header() {
    let users = Users::new("app:secret\n");
    let flags = ["--auth-ban-after", "3"];
    let server = users.text().flags(FROM).flags(flags).start();
    for guesser in ["10.0.0.7", "fd00::7"] {
        let mut inside = behind(&server, guesser);
        assert_eq!(log_in(&mut inside, "app secret"), "STORED");
        for _ in 0..3 {
            assert_eq!(log_in(&mut behind(&server, guesser), "app wrong"), FAILED);
        }
        assert!(behind(&server, guesser).closes_within(BOUND), "{guesser} is shut out");
        assert_eq!(inside.ask("mn\r\n"), "MN", "who is in stays in");
    }
    for neighbour in ["10.0.0.8", "fd00::8"] {
        assert_eq!(log_in(&mut behind(&server, neighbour), "app secret"), "STORED");
    }
}
