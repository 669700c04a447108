//! Lines and lengths that nobody means.

use std::time::Duration;

use super::victim::Victim;

/// A close that is due comes at once; this is for a busy machine.
const CLOSE_BOUND: Duration = Duration::from_secs(10);

const MIB: u64 = 1 << 20;

/// One write of an attack.
const PIECE_BYTES: usize = 64 * 1024;

/// Sends `piece` again and again until the server closes or `total` bytes are sent.
fn pour(victim: &Victim, head: &[u8], piece: &[u8], total: usize) -> (Vec<u8>, bool) {
    let mut wire = victim.connect();
    let mut sent = 0;
    let mut open = wire.try_send(head).is_ok();
    while open && sent < total {
        open = wire.try_send(piece).is_ok();
        sent += piece.len();
        // Answers are read on the way, as a peer that waits for the close would.
        wire.fill(Duration::from_millis(1));
        open &= !wire.has_ended();
    }
    let said = wire.drain(CLOSE_BOUND);
    (said, wire.has_ended())
}

#[test]
fn an_endless_line_is_closed() {
    let mut victim = Victim::start(&[]);
    let (said, closed) = pour(&victim, b"", &[b'x'; PIECE_BYTES], 64 << 20);
    assert!(closed, "an endless line is not read for ever");
    assert!(said.len() < 200, "one line at the most is said: {}", said.len());
    victim.has_refused("line");
    victim.is_well(16 * MIB);
}

#[test]
fn an_endless_get_is_closed() {
    let mut victim = Victim::start(&[]);
    let keys = b"abcdefghi ".repeat(PIECE_BYTES / 10);
    let (said, closed) = pour(&victim, b"get ", &keys, 64 << 20);
    assert!(closed, "an endless get is not read for ever");
    assert_eq!(String::from_utf8_lossy(&said), "SERVER_ERROR out of memory reading request\r\n");
    victim.has_refused("line");
    victim.is_well(16 * MIB);
}

#[test]
fn an_endless_blank_is_closed() {
    let mut victim = Victim::start(&[]);
    let (_, closed) = pour(&victim, b"", &[b' '; PIECE_BYTES], 64 << 20);
    assert!(closed);
    victim.is_well(16 * MIB);
}

#[test]
fn a_huge_length_costs_nothing() {
    let mut victim = Victim::start(&[]);
    let mut wires: Vec<_> = (0..50).map(|_| victim.connect()).collect();
    for wire in &mut wires {
        // 2147483645 is the largest length that is one.
        wire.send("set a 0 0 2147483645\r\n");
    }
    for wire in &mut wires {
        assert_eq!(wire.line(), "SERVER_ERROR object too large for cache");
        // The body is swallowed, not kept.
        for _ in 0..32 {
            wire.send([b'x'; PIECE_BYTES]);
        }
    }
    assert!(victim.counter("store_too_large") >= 50);
    victim.is_well(24 * MIB);
}

#[test]
fn a_length_beyond_every_number_is_refused() {
    let mut victim = Victim::start(&[]);
    for length in ["2147483647", "99999999999999999999999999", "-1", "0x10", "1e9"] {
        let mut wire = victim.connect();
        wire.send(format!("set a 0 0 {length}\r\nflush_all\r\n"));
        assert_eq!(wire.line(), "CLIENT_ERROR bad command line format", "{length}");
        assert!(wire.closes_within(CLOSE_BOUND), "{length}: the stream cannot be trusted");
    }
    assert_eq!(victim.counter("cmd_flush"), 0, "the body was not run as commands");
    victim.is_well(16 * MIB);
}

#[test]
fn a_binary_length_beyond_the_limit_is_refused() {
    let mut victim = Victim::start(&[]);
    for body in [0x4000_0001_u32, 0x7fff_ffff, 0xffff_ffff] {
        let mut wire = victim.connect();
        let mut frame = vec![0x80, 1, 0, 1, 8, 0, 0, 0];
        frame.extend(body.to_be_bytes());
        frame.extend([0; 12]);
        wire.send(&frame);
        let said = wire.drain(CLOSE_BOUND);
        assert!(wire.has_ended(), "body of {body}");
        assert!(said.is_empty() || said[6..8] == [0, 4], "{said:?}");
    }
    victim.is_well(16 * MIB);
}

#[test]
fn promised_bodies_do_not_pin_the_memory() {
    // 1,000 peers promise a value of 1 MB each and send a little of it.
    let mut victim = Victim::start(&["-m", "64", "-c", "2000"]);
    kannuki_tests::process::raise_descriptor_limit(4096);
    let mut wires: Vec<_> = (0..1000).map(|_| victim.connect()).collect();
    for (at, wire) in wires.iter_mut().enumerate() {
        wire.send(format!("set promised{at} 0 0 1000000\r\n{}", "x".repeat(1000)));
    }
    // Others can still store and read.
    let mut other = victim.connect();
    for at in 0..100 {
        let stored = other.ask(&format!("set other{at} 0 0 5\r\nvalue\r\n"));
        assert_eq!(stored, "STORED", "while bodies are promised");
    }
    victim.is_well(160 * MIB);
    drop(wires);
    victim.is_well(160 * MIB);
}

#[test]
fn http_requests_are_closed_without_a_word() {
    let mut victim = Victim::start(&[]);
    let requests = [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nset a 0 0 1\r\nx\r\n",
        "OPTIONS * HTTP/1.0\r\n\r\n",
        "PUT /a HTTP/2\r\n\r\nset a 0 0 1\r\nx\r\n",
        "CONNECT example.org:443 HTTP/1.1\r\n\r\nflush_all\r\n",
    ];
    for request in requests {
        let mut wire = victim.connect();
        wire.send(request);
        let said = wire.drain(CLOSE_BOUND);
        assert!(wire.has_ended() && said.is_empty(), "{request:?}: {said:?}");
    }
    assert_eq!(victim.connect().ask("get a\r\n"), "END", "the body was not run");
    assert_eq!(victim.counter("cmd_flush"), 0);
    victim.has_refused("http");
    victim.is_well(16 * MIB);
}

#[test]
fn a_million_keys_in_one_get_or_many() {
    let mut victim = Victim::start(&[]);
    // In lines within the bound: a million misses, 500 lines of 2,000 keys.
    let line = format!("get{}\r\n", " key".repeat(2000));
    let mut wire = victim.connect();
    for _ in 0..500 {
        wire.send(&line);
        assert_eq!(wire.line(), "END");
    }
    assert_eq!(victim.counter("get_misses"), 1_000_000);
    // In one line: too long to be one, and never held whole.
    let mut wire = victim.connect();
    let piece = " key".repeat(10_000);
    let mut open = wire.try_send(b"get").is_ok();
    for _ in 0..100 {
        open = open && wire.try_send(piece.as_bytes()).is_ok();
    }
    let _ = wire.try_send(b"\r\n");
    let said = wire.drain(CLOSE_BOUND);
    let said = String::from_utf8_lossy(&said).into_owned();
    let refused = wire.has_ended() && said.starts_with("SERVER_ERROR out of memory");
    assert!(refused || said == "END\r\n", "{said:?}");
    victim.is_well(24 * MIB);
}

#[test]
fn a_million_hits_are_not_collected_before_they_are_sent() {
    // 500 lines of 2,000 keys each hit a value of 10 kB: 10 GB if somebody collected them.
    let mut victim = Victim::start(&[]);
    let mut wire = victim.connect();
    let value = "v".repeat(10_000);
    assert_eq!(wire.ask(&format!("set key 0 0 10000\r\n{value}\r\n")), "STORED");
    let line = format!("get{}\r\n", " key".repeat(2000));
    // Nothing is read: the server has to stop by itself.
    for _ in 0..500 {
        if wire.try_send(line.as_bytes()).is_err() {
            break;
        }
    }
    victim.is_well(48 * MIB);
}
