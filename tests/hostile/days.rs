//! Hard days of a whole server: full memory, lowered limits, storms, values of a gibibyte. What was
//! acknowledged is read back as it was, or missed where memory ran out; never another's bytes.

use std::time::Duration;

use kannuki_tests::process::resident_bytes;
use kannuki_tests::{Wire, clock, missing};

use super::victim::Victim;

const MIB: u64 = 1 << 20;
/// Background work and the kernel get this long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Keys of one `get` that counts what is held.
const HELD_AT_ONCE: usize = 50;
/// Commands sent before their end is waited for.
const PIPELINE: u32 = 2000;
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";
const NO_MEMORY: &str = "SERVER_ERROR out of memory storing object";

/// A value that tells of its key, so that no other can be taken for it.
fn value_of(key: &str, bytes: usize) -> Vec<u8> {
    let mut value = format!("{key}.").repeat(bytes / key.len() + 1).into_bytes();
    value.truncate(bytes);
    value
}

/// Sends `command(number)` for all numbers, none of which is answered, and waits for the end.
fn pour(wire: &mut Wire, count: u32, command: impl Fn(u32) -> Vec<u8>) {
    for first in (0..count).step_by(PIPELINE as usize) {
        let numbers = first..count.min(first + PIPELINE);
        let mut batch: Vec<u8> = numbers.flat_map(&command).collect();
        batch.extend(b"mn\r\n");
        wire.send(batch);
        assert_eq!(wire.line(), "MN");
    }
}

fn set(key: &str, ttl: u32, value: &[u8]) -> Vec<u8> {
    let head = format!("set {key} 0 {ttl} {} noreply\r\n", value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn store(wire: &mut Wire, verb: &str, key: &str, more: &str, value: &[u8]) -> String {
    wire.send(format!("{verb} {key} 0 0 {}{more}\r\n", value.len()));
    wire.send(value);
    wire.ask("\r\n")
}

fn get(wire: &mut Wire, key: &str) -> Option<Vec<u8>> {
    let line = wire.ask(&format!("get {key}\r\n"));
    if line == "END" {
        return None;
    }
    let length = line.strip_prefix(&format!("VALUE {key} 0 ")).map(str::parse);
    let Some(Ok(length)) = length else { panic!("get {key} answered {line:?}") };
    let mut value = wire.exactly(length);
    value.shrink_to_fit();
    assert_eq!((wire.line(), wire.line()), (String::new(), "END".to_owned()));
    Some(value)
}

/// How many of the keys are held; each with its own value.
fn held(wire: &mut Wire, count: u32, name: &str, bytes: usize) -> u32 {
    let mut hits = 0;
    for first in (0..count).step_by(HELD_AT_ONCE) {
        let keys = (first..count).take(HELD_AT_ONCE).map(|number| format!("{name}{number}"));
        let keys: Vec<String> = keys.collect();
        wire.send(format!("get {}\r\n", keys.join(" ")));
        // Hits come in the order of the keys.
        let mut asked = keys.iter();
        loop {
            let line = wire.line();
            if line == "END" {
                break;
            }
            let is_it = |key: &&String| line == format!("VALUE {key} 0 {bytes}");
            let key = asked.find(is_it).unwrap_or_else(|| panic!("not asked for: {line:?}"));
            let mut expected = value_of(key, bytes);
            expected.extend(b"\r\n");
            assert!(wire.exactly(bytes + 2) == expected, "{key} has another's value");
            hits += 1;
        }
    }
    hits
}

fn resident(victim: &Victim) -> u64 {
    resident_bytes(victim.server.pid()).expect("it runs")
}

#[test]
fn a_value_too_large_is_refused_and_only_a_set_takes_the_old_one_along() {
    let mut victim = Victim::start(&["-m", "64"]);
    let mut wire = victim.connect();
    let large = vec![b'x'; 2_000_000];
    for (verb, more) in
        [("set", ""), ("add", ""), ("replace", ""), ("append", ""), ("prepend", ""), ("cas", " 1")]
    {
        assert_eq!(store(&mut wire, "set", "key", "", b"old"), "STORED");
        assert_eq!(store(&mut wire, verb, "key", more, &large), TOO_LARGE, "{verb}");
        assert_eq!(get(&mut wire, "key").is_some(), verb != "set", "{verb}");
    }
    // What is too large only when joined is not stored, and nothing is lost.
    let half = value_of("key", 900_000);
    assert_eq!(store(&mut wire, "set", "key", "", &half), "STORED");
    assert_eq!(store(&mut wire, "append", "key", "", &half), "NOT_STORED");
    assert_eq!(get(&mut wire, "key"), Some(half));
    victim.is_well(40 * MIB);
}

#[test]
fn without_eviction_a_full_server_refuses_and_keeps_everything() {
    let mut victim = Victim::start(&["-m", "16", "-M"]);
    let mut wire = victim.connect();
    let mut stored = 0;
    let mut answer = String::new();
    while answer.is_empty() || answer == "STORED" {
        let key = format!("old{stored}");
        answer = store(&mut wire, "set", &key, "", &value_of(&key, 3000));
        stored += u32::from(answer == "STORED");
    }
    assert_eq!(answer, NO_MEMORY);
    assert!(stored > 4000, "{stored}");
    assert_eq!(held(&mut wire, stored, "old", 3000), stored, "nothing was thrown out");
    // Every third goes; the holes are won back although no segment is empty.
    for number in (0..stored).step_by(3) {
        assert_eq!(wire.ask(&format!("delete old{number}\r\n")), "DELETED");
    }
    let mut again = 0;
    loop {
        let key = format!("new{again}");
        if store(&mut wire, "set", &key, "", &value_of(&key, 3000)) != "STORED" {
            break;
        }
        again += 1;
    }
    assert!(again > stored / 6, "{again} of {stored}");
    assert_eq!(held(&mut wire, stored, "old", 3000), stored - stored.div_ceil(3));
    assert_eq!(held(&mut wire, again, "new", 3000), again);
    assert_eq!(victim.counter("evictions"), 0);
    // One that is well needs room too.
    assert_eq!(wire.ask("delete new0\r\n"), "DELETED");
    victim.is_well(40 * MIB);
}

#[test]
fn what_memory_forbids_is_not_called_missing() {
    let victim = Victim::start(&["-m", "8", "-M"]);
    let mut wire = victim.connect();
    pour(&mut wire, 40_000, |number| {
        let key = format!("key{number}");
        set(&key, 0, &value_of(&key, 300))
    });
    assert!(victim.counter("store_no_memory") > 0);
    // An item without a lifetime has no room for one.
    let refusals = |wire: &mut Wire, ask: &dyn Fn(u32) -> String, done: &str| {
        let answers = (0..1000).map(|number| {
            let answer = wire.ask(&ask(number));
            if answer.starts_with("VALUE") {
                assert_eq!((wire.line().len(), wire.line()), (300, "END".to_owned()));
            }
            answer
        });
        let answers: Vec<String> = answers.collect();
        let (refused, others): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| *answer == "SERVER_ERROR out of memory");
        assert!(others.iter().all(|answer| answer.starts_with(done)), "{others:?}");
        refused.len()
    };
    let touch = |number| format!("touch key{number} 1000\r\n");
    let gat = |number| format!("gat 2000 key{number}\r\n");
    let mg = |number| format!("mg key{number} T3000\r\n");
    let refused = refusals(&mut wire, &touch, "TOUCHED");
    assert!(refused > 900, "{refused}");
    assert_eq!(refusals(&mut wire, &gat, "VALUE"), refused);
    assert_eq!(refusals(&mut wire, &mg, "HD"), refused);
    // Whoever is not there is not.
    assert_eq!(wire.ask("touch nobody 1000\r\n"), "NOT_FOUND");
    assert_eq!(wire.ask("incr nobody 1\r\n"), "NOT_FOUND");
    assert_eq!(held(&mut wire, 1000, "key", 300), 1000, "and whoever is, stays");
}

fn a_lowered_limit_is_given_back(flags: &[&str]) {
    let victim = Victim::start(flags);
    let mut wire = victim.connect();
    let fill = |wire: &mut Wire, name: &str| {
        pour(wire, 110_000, |number| {
            let key = format!("{name}{number}");
            set(&key, 0, &value_of(&key, 1000))
        });
    };
    let idle = resident(&victim);
    fill(&mut wire, "old");
    let full = resident(&victim);
    assert!(full > idle + 80 * MIB, "{idle} {full}");
    assert_eq!(wire.ask("cache_memlimit 24\r\n"), "OK");
    let lowered = clock::until(PATIENCE, || (resident(&victim) < idle + 40 * MIB).then_some(()));
    assert!(lowered.is_some(), "{} of {full} stay", resident(&victim));
    assert_eq!(victim.counter("limit_maxbytes"), 24 * MIB);
    fill(&mut wire, "more");
    assert!(resident(&victim) < idle + 40 * MIB, "{} of {full}", resident(&victim));
    assert!(held(&mut wire, 110_000, "more", 1000) > 10_000);
    assert_eq!(wire.ask("cache_memlimit 96\r\n"), "OK");
    fill(&mut wire, "new");
    assert!(resident(&victim) > idle + 60 * MIB, "{} of {full}", resident(&victim));
    assert!(held(&mut wire, 110_000, "new", 1000) > 60_000);
}

#[test]
fn a_limit_lowered_and_raised_again_is_followed() {
    a_lowered_limit_is_given_back(&["-m", "96"]);
}

#[test]
fn locked_memory_is_given_back_too() {
    // Where it may not be locked, that is said, and nothing else changes.
    a_lowered_limit_is_given_back(&["-m", "96", "-k"]);
}

#[test]
fn a_delete_storm_leaves_nothing() {
    const ITEMS: u32 = 300_000;
    let mut victim = Victim::start(&["-m", "64"]);
    let mut wire = victim.connect();
    let idle = resident(&victim);
    pour(&mut wire, ITEMS, |number| set(&format!("key{number}"), 0, &[b'v'; 100]));
    assert_eq!(victim.counter("evictions"), 0);
    assert!(resident(&victim) > idle + 30 * MIB);
    pour(&mut wire, ITEMS, |number| format!("delete key{number} noreply\r\n").into_bytes());
    assert_eq!((victim.counter("curr_items"), victim.counter("bytes")), (0, 0));
    assert_eq!(victim.counter("delete_hits"), u64::from(ITEMS));
    let given = clock::until(PATIENCE, || (resident(&victim) < idle + 15 * MIB).then_some(()));
    assert!(given.is_some(), "{} stay, {idle} when idle", resident(&victim));
    victim.is_well(96 * MIB);
}

#[test]
fn fifty_connections_overwrite_one_key() {
    const WRITERS: usize = 50;
    const ROUNDS: usize = 200;
    let mut victim = Victim::start(&["-m", "16", "-t", "4"]);
    let mut wire = victim.connect();
    pour(&mut wire, 2000, |number| {
        let key = format!("cold{number}");
        set(&key, 0, &value_of(&key, 500))
    });
    let mut wires: Vec<Wire> = (0..WRITERS).map(|_| victim.connect()).collect();
    for round in 0..ROUNDS {
        for (writer, wire) in wires.iter_mut().enumerate() {
            // Short ones lie in segments, long ones in pieces of their own.
            let length = if round % 10 == 0 { 20_000 } else { 10 + writer * 20 };
            let value = value_of(&format!("writer{writer}"), length);
            wire.send(format!("set hot 0 0 {length}\r\n"));
            wire.send(value);
            wire.send("\r\nget hot\r\n");
        }
        for wire in &mut wires {
            assert_eq!(wire.line(), "STORED");
            let line = wire.line();
            let length = line.strip_prefix("VALUE hot 0 ").expect("a hot key is held");
            let value = wire.exactly(length.parse().unwrap());
            assert_eq!((wire.line(), wire.line()), (String::new(), "END".to_owned()));
            let writer = value.split(|byte| *byte == b'.').next().unwrap();
            let writer = String::from_utf8_lossy(writer).into_owned();
            let whole = value.len() < 10 || value == value_of(&writer, value.len());
            assert!(whole, "one writer's value, not parts of two: {writer}");
        }
    }
    assert_eq!(held(&mut wire, 2000, "cold", 500), 2000, "dead versions go first");
    assert_eq!(victim.counter("evictions"), 0);
    assert_eq!(victim.counter("curr_items"), 2001);
    victim.is_well(64 * MIB);
}

#[test]
fn keys_of_full_length_with_empty_values() {
    const ITEMS: u32 = 100_000;
    let mut victim = Victim::start(&["-m", "16"]);
    let mut wire = victim.connect();
    let key = |number| format!("{number:k>250}");
    pour(&mut wire, ITEMS, |number| set(&key(number), 0, b""));
    let mut hits = 0;
    for number in (0..ITEMS).step_by(5) {
        if let Some(value) = get(&mut wire, &key(number)) {
            assert!(value.is_empty());
            hits += 1;
        }
    }
    // 250 bytes of key and some twenty besides.
    assert!(victim.counter("curr_items") > 16 * MIB / 300, "{}", victim.counter("curr_items"));
    assert!(hits > 8000, "{hits}");
    victim.is_well(48 * MIB);
}

/// A value that is made as it is sent, and compared as it is read.
fn stream(wire: &mut Wire, bytes: usize, each: impl Fn(&mut Wire, &[u8])) {
    let piece: Vec<u8> = (0..=250).cycle().take(251 * 4000).collect();
    let mut left = bytes;
    while left > 0 {
        let part = left.min(piece.len());
        each(wire, &piece[..part]);
        left -= part;
    }
}

#[test]
fn a_gibibyte_does_not_go_into_64_mebibytes() {
    const GIB: usize = 1 << 30;
    let mut victim = Victim::start(&["-m", "64", "-I", "32m"]);
    let mut wire = victim.connect();
    pour(&mut wire, 1000, |number| set(&format!("key{number}"), 0, b"value"));
    assert_eq!(store(&mut wire, "set", "giant", "", b"old"), "STORED");
    wire.send(format!("set giant 0 0 {GIB}\r\n"));
    stream(&mut wire, GIB, |wire, part| wire.send(part));
    assert_eq!(wire.ask("\r\n"), TOO_LARGE);
    assert_eq!(get(&mut wire, "giant"), None, "what was to be replaced is gone");
    assert_eq!((victim.counter("curr_items"), victim.counter("evictions")), (1000, 0));
    victim.is_well(24 * MIB);
}

#[test]
fn a_gibibyte_is_stored_and_read_back() {
    // As large as `-I 1g` lets it be.
    const VALUE: usize = (1 << 30) - 200;
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free = free.and_then(|free| free.trim().trim_end_matches(" kB").parse::<u64>().ok());
    if free.is_none_or(|kib| kib < 3 << 20) {
        return missing("a value of 1 GiB", "less than 3 GiB of memory are available");
    }
    let mut victim = Victim::start(&["-m", "2200", "-I", "1g"]);
    let mut wire = victim.connect();
    let idle = resident(&victim);
    wire.send(format!("set giant 0 0 {VALUE}\r\n"));
    stream(&mut wire, VALUE, |wire, part| wire.send(part));
    assert_eq!(wire.ask("\r\n"), "STORED");
    assert_eq!(wire.ask("get giant\r\n"), format!("VALUE giant 0 {VALUE}"));
    stream(&mut wire, VALUE, |wire, part| assert!(wire.exactly(part.len()) == part));
    assert_eq!((wire.line(), wire.line()), (String::new(), "END".to_owned()));
    assert_eq!(wire.ask("delete giant\r\n"), "DELETED");
    let given = clock::until(PATIENCE, || (resident(&victim) < idle + 64 * MIB).then_some(()));
    assert!(given.is_some(), "{} stay, {idle} when idle", resident(&victim));
    victim.is_well(1200 * MIB);
}

#[test]
fn items_that_live_a_second_are_all_freed() {
    const ITEMS: u32 = 300_000;
    let mut victim = Victim::start(&["-m", "64"]);
    let mut wire = victim.connect();
    pour(&mut wire, ITEMS, |number| set(&format!("key{number}"), 1, b"gone soon"));
    let gone = clock::until(PATIENCE, || {
        // Others are served meanwhile.
        assert_eq!(get(&mut wire, "key0"), None);
        (victim.counter("curr_items") == 0).then_some(())
    });
    assert!(gone.is_some(), "{} stay", victim.counter("curr_items"));
    assert_eq!((victim.counter("evictions"), victim.counter("bytes")), (0, 0));
    assert_eq!(victim.counter("total_items"), u64::from(ITEMS));
    victim.is_well(80 * MIB);
}

#[test]
fn a_flush_with_a_delay_takes_what_was_before_and_nothing_after() {
    let mut victim = Victim::start(&["-m", "64", "-t", "4"]);
    let mut wire = victim.connect();
    let mut load: Vec<Wire> = (0..4).map(|_| victim.connect()).collect();
    pour(&mut wire, 20_000, |number| set(&format!("before{number}"), 0, b"old"));
    assert_eq!(wire.ask("flush_all 2\r\n"), "OK");
    assert_eq!(get(&mut wire, "before0"), Some(b"old".to_vec()), "not yet");
    let mut round = 0;
    let flushed = clock::until(PATIENCE, || {
        round += 1;
        for (number, load) in load.iter_mut().enumerate() {
            let key = format!("load{number}-{}", round % 100);
            load.send(set(&key, 0, &value_of(&key, 200)));
            // It may be flushed between, but is never another's.
            let read = get(load, &key);
            assert!(read.is_none_or(|value| value == value_of(&key, 200)));
        }
        get(&mut wire, "before0").is_none().then_some(())
    });
    assert!(flushed.is_some(), "it is flushed in the end");
    for number in (0..20_000).step_by(7) {
        assert_eq!(get(&mut wire, &format!("before{number}")), None);
    }
    pour(&mut wire, 20_000, |number| {
        let key = format!("after{number}");
        set(&key, 0, &value_of(&key, 20))
    });
    // What was flushed is freed in the background; what came after stays through it.
    let freed = clock::until(PATIENCE, || (victim.counter("curr_items") < 20_500).then_some(()));
    assert!(freed.is_some(), "{} stay", victim.counter("curr_items"));
    assert_eq!(held(&mut wire, 20_000, "after", 20), 20_000);
    victim.is_well(64 * MIB);
}

#[test]
fn readers_that_stop_cannot_pin_all_memory() {
    const VALUE: usize = 8_000_000;
    let mut victim = Victim::start(&["-m", "64", "-I", "16m"]);
    let mut wire = victim.connect();
    let mut readers = Vec::new();
    for number in 0..20 {
        let key = format!("key{number}");
        // Half of memory may be pinned; the other half takes new values all the while.
        assert_eq!(store(&mut wire, "set", &key, "", &value_of(&key, VALUE)), "STORED");
        let mut reader = victim.connect();
        reader.send(format!("get {key}\r\n"));
        let line = reader.line();
        if line == format!("VALUE {key} 0 {VALUE}") {
            readers.push((key, reader));
        } else {
            assert!(line == "END" || line.starts_with("SERVER_ERROR out of memory"), "{line:?}");
        }
    }
    assert!(readers.len() > 2, "{} read", readers.len());
    // Whoever reads on gets the value that was asked for, although it was thrown out long ago.
    for (key, mut reader) in readers {
        assert!(reader.exactly(VALUE) == value_of(&key, VALUE), "{key}");
        assert_eq!((reader.line(), reader.line()), (String::new(), "END".to_owned()));
    }
    let back = value_of("back", VALUE);
    for number in 0..6 {
        assert_eq!(store(&mut wire, "set", &format!("back{number}"), "", &back), "STORED");
    }
    assert_eq!(get(&mut wire, "back5"), Some(back));
    victim.is_well(110 * MIB);
}

#[test]
fn uploads_that_stop_leave_room_for_what_is_short() {
    let mut victim = Victim::start(&["-m", "64"]);
    let mut wire = victim.connect();
    let mut stopped: Vec<Wire> = (0..40).map(|_| victim.connect()).collect();
    for (number, upload) in stopped.iter_mut().enumerate() {
        upload.send(format!("set upload{number} 0 0 1000000\r\nx"));
        // Each is noticed before the next.
        assert_eq!(wire.ask("mn\r\n"), "MN");
    }
    for number in 0..2000 {
        let key = format!("key{number}");
        assert_eq!(store(&mut wire, "set", &key, "", &value_of(&key, 9000)), "STORED");
    }
    assert_eq!(held(&mut wire, 2000, "key", 9000), 2000);
    // Half of memory at the most is promised to uploads; all of it comes back.
    drop(stopped);
    let large = value_of("large", 1_000_000);
    let back = clock::until(PATIENCE, || {
        (store(&mut wire, "set", "large", "", &large) == "STORED").then_some(())
    });
    assert!(back.is_some(), "what was promised to the dead is given back");
    assert_eq!(get(&mut wire, "large"), Some(large));
    victim.is_well(110 * MIB);
}
