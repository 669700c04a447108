//! Who asks for more hashes than there is time for, and who takes a place and does not log in.

use std::time::Duration;

use kannuki_tests::{Wire, clock, process};

use super::{FAILED, Users, log_in, stat};

/// Log-ins at once: more than wait at most (512), and less than the connections there may be.
const FLOOD: usize = 900;
/// Others who log in meanwhile: two hashes each, a small part of what the flood has queued.
const OTHERS: usize = 8;
/// Memory that a flood may take: two hashes at a time, buffers, and what the queue holds.
const GROWTH_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// 512 hashes by two threads on a busy machine, in a program that was not made to be fast.
const BOUND: Duration = Duration::from_secs(200);
/// The user `app` with the password `secret`, hashed with 4 MiB: heavy enough that a flood cannot
/// be worked off while it arrives, light enough for a test.
const CHEAP: &str = "app:$argon2id$v=19$m=4096,t=1,p=1$Y2hlYXAtZm9yLWEtdGVzdA$\
    0RuMe0Z/3wNPnF1Rfshv/57C7RlIWr0BGFNq/BVyaFE\n";
/// After that many seconds without a log-in a peer is closed, with room for slowness.
const LOGIN_BOUND: Duration = Duration::from_secs(60);

#[test]
fn a_flood_of_logins_is_bounded_and_others_are_served() {
    process::raise_descriptor_limit(4096);
    let users = Users::new(CHEAP);
    let server = users.text().flags(["-c", "2000"]).start();
    let mut inside = server.connect();
    assert_eq!(log_in(&mut inside, "app secret"), "STORED");
    let before = process::resident_bytes(server.pid()).unwrap();
    let mut flood: Vec<Wire> = (0..FLOOD).map(|_| server.connect()).collect();
    for (n, wire) in flood.iter_mut().enumerate() {
        let token = format!("app wrong{n}");
        wire.send(format!("set auth 0 0 {}\r\n{token}\r\n", token.len()));
    }
    assert_eq!(inside.ask("set k 0 0 1\r\nv\r\n"), "STORED", "who is in is served meanwhile");
    assert!(stat(&mut inside, "kannuki_logins_waiting") <= 512);
    let (mut failed, mut busy) = (0, 0);
    let since = clock::Since::now();
    for wire in &mut flood {
        let left = BOUND.saturating_sub(since.elapsed());
        while wire.unread().is_empty() {
            assert!(wire.fill(left), "an answer for everybody within {BOUND:?}");
        }
        match wire.line().as_str() {
            FAILED => failed += 1,
            "SERVER_ERROR too many log-ins at once, try again" => busy += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(failed + busy, FLOOD);
    assert!(busy > 0, "{failed} were checked although fewer may wait");
    assert_eq!(stat(&mut inside, "kannuki_refused_login-overflow"), busy as u64);
    assert_eq!(stat(&mut inside, "kannuki_refused_login-failed"), failed as u64);
    assert_eq!(stat(&mut inside, "kannuki_login_hashes"), failed as u64 + 1);
    let grown = process::resident_peak_bytes(server.pid()).unwrap().saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more");
}

/// Each connection says by a PROXY header where it comes from.
#[test]
fn one_source_that_floods_does_not_keep_others_out() {
    process::raise_descriptor_limit(4096);
    let users = Users::new(CHEAP);
    let flags = ["-c", "2000", "--auth-ban-after", "0", "--proxy-from", "127.0.0.1"];
    let server = users.text().flags(flags).start();
    let behind = |address: &str| {
        let mut wire = server.connect();
        wire.send(format!("PROXY TCP4 {address} 127.0.0.1 5000 11211\r\n"));
        wire
    };
    let mut inside = behind("10.0.0.1");
    assert_eq!(log_in(&mut inside, "app secret"), "STORED");
    let mut flood: Vec<Wire> = (0..FLOOD).map(|_| behind("10.0.0.7")).collect();
    for (n, wire) in flood.iter_mut().enumerate() {
        let token = format!("app wrong{n}");
        wire.send(format!("set auth 0 0 {}\r\n{token}\r\n", token.len()));
    }
    let full = clock::until(BOUND, || {
        (stat(&mut inside, "kannuki_refused_login-overflow") > 0).then_some(())
    });
    assert!(full.is_some(), "{FLOOD} log-ins at once fill the queue");
    for n in 0..OTHERS {
        let mut other = behind(&format!("10.0.1.{n}"));
        // Another password each time: none is recognised, each costs a hash.
        assert_eq!(log_in(&mut other, &format!("app other{n}")), FAILED, "checked, not refused");
    }
    let waiting = stat(&mut inside, "kannuki_logins_waiting");
    assert!(waiting > 0, "nothing of the flood was left to wait behind");
}

#[test]
fn peers_that_hang_up_while_they_wait_leave_nothing_behind() {
    let users = Users::new(CHEAP);
    let server = users.text().start();
    for n in 0..200 {
        let mut wire = server.connect();
        let token = format!("app wrong{n}");
        wire.send(format!("set auth 0 0 {}\r\n{token}\r\n", token.len()));
    }
    let mut inside = server.connect();
    assert_eq!(log_in(&mut inside, "app secret"), "STORED");
    let alone = clock::until(BOUND, || (stat(&mut inside, "curr_connections") <= 2).then_some(()));
    assert!(alone.is_some(), "{} connections", stat(&mut inside, "curr_connections"));
    assert_eq!(stat(&mut inside, "kannuki_logins_waiting"), 0);
}

#[test]
fn half_logins_are_closed_in_time_and_others_are_not() {
    let users = Users::new("app:secret\n");
    let server = users.both().start();
    let mut inside = server.connect();
    assert_eq!(log_in(&mut inside, "app secret"), "STORED");
    let sasl: &[u8] = b"\x80\x21\x00\x05\x00\x00\x00\x00\x00\x00\x00\x0f";
    let halves: [&[u8]; 5] =
        [b"", b"set auth 0 0 10", b"set auth 0 0 10\r\napp se", b"get a\r\n", sasl];
    let mut wires: Vec<Wire> = halves
        .map(|half| {
            let mut wire = server.connect();
            wire.send(half);
            wire
        })
        .into();
    for (wire, half) in wires.iter_mut().zip(halves) {
        if half.ends_with(b"a\r\n") {
            assert_eq!(wire.line(), super::FIRST);
        }
        assert!(wire.closes_within(LOGIN_BOUND), "{}", half.escape_ascii());
    }
    assert_eq!(inside.ask("mn\r\n"), "MN");
    assert_eq!(stat(&mut inside, "kannuki_refused_login-timeout"), halves.len() as u64);
}
