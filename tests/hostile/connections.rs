//! Too many connections, too slow ones, idle ones.

use std::time::Duration;

use kannuki_tests::process::raise_descriptor_limit;
use kannuki_tests::{Wire, clock, missing};

use super::victim::Victim;

const MIB: u64 = 1 << 20;

/// The half-open requests of one attack.
const HALF_OPEN: usize = 10_000;

/// Bytes that a connection with an unfinished request may cost the server, all in all: 10,000 of
/// them may take 160 MiB where nothing bounds them but their own number.
const HALF_OPEN_BYTES_EACH: u64 = 16 * 1024;

#[test]
fn ten_thousand_half_open_requests() {
    // Both ends of every connection are on this machine, each in its own process.
    let wanted = HALF_OPEN as u64 + 500;
    if raise_descriptor_limit(wanted) < wanted {
        return missing("ten thousand half-open requests", "the limit of descriptors is too low");
    }
    let mut victim = Victim::start(&["-c", "12000", "-m", "64"]);
    let mut wires: Vec<Wire> = (0..HALF_OPEN).map(|_| victim.connect()).collect();
    let halves: [&[u8]; 5] =
        [b"get a-key-that-is-not-finis", b"set a 0 0 1000\r\nhalf", b"s", b"mg", b"\x80\x00\x00"];
    for (at, wire) in wires.iter_mut().enumerate() {
        wire.send(halves[at % halves.len()]);
    }
    let open = victim.counter("curr_connections");
    assert!(open >= HALF_OPEN as u64, "{open} are open");
    victim.is_well(HALF_OPEN as u64 * HALF_OPEN_BYTES_EACH);
    // They can all still finish.
    for wire in wires.iter_mut().step_by(halves.len()).take(50) {
        wire.send("hed\r\n");
        assert_eq!(wire.line(), "END");
    }
    drop(wires);
    let gone = clock::until(Duration::from_secs(20), || {
        (victim.counter("curr_connections") < 100).then_some(())
    });
    assert!(gone.is_some(), "closed connections are given back");
    victim.is_well(HALF_OPEN as u64 * HALF_OPEN_BYTES_EACH);
}

#[test]
fn ten_thousand_long_unfinished_lines_share_one_bound() {
    const PEERS: usize = 2000;
    let limit = "64";
    raise_descriptor_limit(4096);
    let mut victim =
        Victim::start(&["-c", "3000", "-o", &format!("read_buf_mem_limit={limit}"), "-m", "64"]);
    // Each sends 200 kB of an unfinished get: 400 MB if nobody counted.
    let keys = format!("get{}", " some-key".repeat(22_000));
    let mut wires = Vec::new();
    for _ in 0..PEERS {
        let mut wire = victim.connect();
        // Beyond the bound the server may close.
        let _ = wire.try_send(keys.as_bytes());
        wires.push(wire);
    }
    victim.is_well(160 * MIB);
    assert!(wires.len() == PEERS);
}

#[test]
fn a_slow_loris_does_not_stop_others() {
    const PEERS: usize = 500;
    let mut victim = Victim::start(&["-c", "1000", "-t", "2"]);
    raise_descriptor_limit(2048);
    let mut wires: Vec<Wire> = (0..PEERS).map(|_| victim.connect()).collect();
    let request = b"set loris 0 0 5\r\n";
    for byte in request {
        for wire in &mut wires {
            wire.send([*byte]);
        }
        let mut other = victim.connect();
        assert!(other.ask("version\r\n").starts_with("VERSION "));
    }
    victim.is_well(48 * MIB);
}

#[test]
fn a_slow_reader_is_bounded() {
    const READERS: usize = 40;
    let mut victim = Victim::start(&["-m", "64"]);
    let mut setup = victim.connect();
    let value = "v".repeat(1_000_000);
    assert_eq!(setup.ask(&format!("set a 0 0 1000000\r\n{value}\r\n")), "STORED");
    let mut readers: Vec<Wire> = (0..READERS).map(|_| victim.connect()).collect();
    for reader in &mut readers {
        // 100 MB asked for by each, nothing read: 4 GB in all.
        for _ in 0..100 {
            reader.send("get a\r\n");
        }
    }
    // Replacing the value while they hold it must not keep all versions.
    for _ in 0..50 {
        assert_eq!(setup.ask(&format!("set a 0 0 1000000\r\n{value}\r\n")), "STORED");
    }
    std::thread::sleep(Duration::from_millis(500));
    // The value itself, the memory for items, and what each reader may have waiting.
    victim.is_well(64 * MIB + READERS as u64 * 2 * MIB);
    // A reader that wakes up gets what it asked for.
    assert_eq!(readers[0].line(), "VALUE a 0 1000000");
    assert!(readers[0].exactly(1_000_002).ends_with(b"v\r\n"));
    assert_eq!(readers[0].line(), "END");
    drop(readers);
    victim.is_well(64 * MIB + READERS as u64 * 2 * MIB);
}

#[test]
fn the_limit_of_connections_answers_as_memcached_does() {
    const LIMIT: usize = 50;
    let mut victim = Victim::start(&["-c", "50"]);
    let mut served = Vec::new();
    let mut refused = 0;
    for _ in 0..LIMIT + 20 {
        let mut wire = victim.connect();
        let _ = wire.try_send(b"version\r\n");
        let line = wire.line();
        if line.starts_with("VERSION ") {
            served.push(wire);
        } else {
            assert_eq!(line, "ERROR Too many open connections");
            assert!(wire.closes_within(Duration::from_secs(5)));
            refused += 1;
        }
    }
    assert!(served.len() <= LIMIT, "{} are served", served.len());
    assert!(refused >= 20, "{refused} are refused");
    let stats = kannuki_tests::stats(&mut served[0], "stats");
    let rejected = stats.iter().find(|(key, _)| key == "rejected_connections").unwrap();
    assert_eq!(rejected.1, refused.to_string());
    // Who leaves makes room.
    drop(served);
    let again = clock::until(Duration::from_secs(5), || {
        let mut wire = victim.connect();
        wire.ask("version\r\n").starts_with("VERSION ").then_some(())
    });
    assert!(again.is_some());
    victim.is_well(16 * MIB);
}

#[test]
fn the_slow_limit_of_connections_waits() {
    const LIMIT: usize = 50;
    // A connection that is not accepted waits in the backlog or outside of it.
    const CONNECT_BOUND: Duration = Duration::from_millis(50);
    let mut victim = Victim::start(&["-c", "50", "-o", "no_maxconns_fast"]);
    let address = victim.server.address();
    let mut wires = Vec::new();
    for _ in 0..LIMIT + 30 {
        let Ok(mut wire) = Wire::tcp_within(address, CONNECT_BOUND) else { continue };
        wire.send("version\r\n");
        wires.push(wire);
    }
    std::thread::sleep(Duration::from_millis(300));
    for wire in &mut wires {
        wire.fill(Duration::from_millis(5));
        assert!(!wire.has_ended(), "nobody is turned away");
        assert!(!wire.unread().starts_with(b"ERROR"), "nobody is told off");
    }
    let served = wires.iter().filter(|wire| !wire.unread().is_empty()).count();
    assert!((1..=LIMIT).contains(&served), "{served} are served");
    drop(wires);
    let again = clock::until(Duration::from_secs(5), || {
        let mut wire = Wire::tcp_within(address, CONNECT_BOUND).ok()?;
        wire.ask("version\r\n").starts_with("VERSION ").then_some(())
    });
    assert!(again.is_some(), "who leaves makes room");
    assert!(victim.counter("listen_disabled_num") >= 1);
    victim.is_well(16 * MIB);
}

#[test]
fn idle_connections_are_closed_when_asked() {
    let mut victim = Victim::start(&["-o", "idle_timeout=1"]);
    let mut idle = victim.connect();
    assert!(idle.ask("version\r\n").starts_with("VERSION "));
    let mut busy = victim.connect();
    // "Up to a few seconds late."
    let closed = clock::until(Duration::from_secs(8), || {
        assert!(busy.ask("version\r\n").starts_with("VERSION "), "who speaks is not idle");
        std::thread::sleep(Duration::from_millis(200));
        idle.closes_within(Duration::from_millis(1)).then_some(())
    });
    assert!(closed.is_some(), "an idle connection is closed");
    assert!(victim.counter("idle_kicks") >= 1);
    victim.is_well(16 * MIB);
}

#[test]
fn idle_connections_stay_open_unless_asked() {
    let mut victim = Victim::start(&[]);
    let mut idle = victim.connect();
    assert!(idle.ask("version\r\n").starts_with("VERSION "));
    assert!(!idle.closes_within(Duration::from_secs(4)));
    assert!(idle.ask("version\r\n").starts_with("VERSION "));
    victim.is_well(16 * MIB);
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    const ROUNDS: usize = 20_000;
    // Above the limit in all, and below it at any moment even on a busy machine.
    raise_descriptor_limit(10_500);
    let mut victim = Victim::start(&["-c", "10000"]);
    let before = kannuki_tests::process::descriptors(victim.server.pid()).unwrap();
    for round in 0..ROUNDS {
        let mut wire = victim.connect();
        if round % 100 == 0 {
            assert!(wire.ask("version\r\n").starts_with("VERSION "));
        }
    }
    let back = clock::until(Duration::from_secs(30), || {
        let now = kannuki_tests::process::descriptors(victim.server.pid())?;
        (now <= before + 4).then_some(())
    });
    assert!(back.is_some(), "descriptors are given back");
    victim.is_well(16 * MIB);
}
