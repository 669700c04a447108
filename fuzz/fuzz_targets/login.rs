//! Files of users, and the log-ins of whoever has no password: text, SASL PLAIN and SCRAM in any
//! order and broken in any way.
//!
//! Checks: no panic, no endless loop, bounded bytes that wait; and whatever is sent without the
//! password, an item that another peer stored is never shown and never changed.
#![no_main]
#![forbid(unsafe_code)]

use std::time::Duration;

use kannuki_server::{auth::Format, config::LoginConfig, simulation::Simulation};
use libfuzzer_sys::fuzz_target;

/// No input has this: it is longer than what the fuzzer guesses, and never in a seed.
const PASSWORD: &str = "b64f1c52-9a7e-4d0c-8a35-0f6d3c1e77aa";
const PRIZE: &[u8] = b"prize-5d0c77aa";
/// The longest line that may wait for its end.
const WAITING_BYTES_MAX: usize = kannuki_protocol::limits::LINE_WHOLE_BYTES_MAX;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    match kind % 4 {
        0 => file(rest, Format::AuthFile),
        1 => file(rest, Format::SaslPwdb),
        _ => stranger(rest, usize::from(kind) + 1),
    }
});

fn config(format: Format) -> LoginConfig {
    LoginConfig {
        users: "users".into(),
        format,
        text: true,
        sasl: true,
        delay_secs: 0,
        ban_after: 0,
        ban_secs: 0,
    }
}

/// Any bytes as a file of users.
fn file(bytes: &[u8], format: Format) {
    let _ = Simulation::with_users(config(format), bytes);
}

/// Any bytes from a peer without a password, in pieces of `size` bytes.
fn stranger(script: &[u8], size: usize) {
    if script.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()) {
        return;
    }
    let users = format!("app:{PASSWORD}\nother:{PASSWORD}\n");
    let login = format!("set a 0 0 {}\r\napp {PASSWORD}\r\n", PASSWORD.len() + 4);
    let server = Simulation::with_users(config(Format::AuthFile), users.as_bytes());
    let Some(server) = server else { return };
    let (Some(mut owner), Some(mut stranger)) = (server.connect(), server.connect()) else {
        return;
    };
    assert_eq!(server.feed(&mut owner, login.as_bytes()), b"STORED\r\n");
    let store = [b"set k 0 0 14\r\n", PRIZE, b"\r\n"].concat();
    assert_eq!(server.feed(&mut owner, &store), b"STORED\r\n");
    let mut said = Vec::new();
    for piece in script.chunks(size) {
        said.extend(server.feed(&mut stranger, piece));
        server.pass(Duration::from_secs(1));
        assert!(stranger.is_closed() || stranger.waiting_bytes() <= WAITING_BYTES_MAX);
    }
    let shown = |bytes: &[u8]| bytes.windows(PRIZE.len()).any(|part| part == PRIZE);
    assert!(!shown(&said), "shown to a stranger");
    assert!(!said.windows(6).any(|part| part == b"STORED"), "a stranger was let in");
    assert!(shown(&server.feed(&mut owner, b"get k\r\n")), "changed by a stranger");
}
