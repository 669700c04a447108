//! Streams that make no sense, or make sense and never end.

use std::time::Duration;

use kannuki_tests::Launch;

use super::victim::Victim;

const MIB: u64 = 1 << 20;

/// Rounds of garbage, each on a connection of its own.
const GARBAGE_ROUNDS: u64 = 200;

/// Bytes of garbage in one round.
const GARBAGE_BYTES: usize = 20_000;

/// Random bytes that are the same in every run (xorshift64*).
fn garbage(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    (0..count).map(|_| next().to_be_bytes()[0]).collect()
}

#[test]
fn garbage_hurts_nobody() {
    let mut victim = Victim::start(&[]);
    for round in 0..GARBAGE_ROUNDS {
        let mut bytes = garbage(round + 1, GARBAGE_BYTES);
        match round % 4 {
            // A binary stream that goes wrong later.
            0 => bytes[0] = 0x80,
            // Lines.
            1 => bytes.iter_mut().step_by(40).for_each(|byte| *byte = b'\n'),
            // Lines of words that exist.
            2 => bytes = words(round),
            _ => {}
        }
        let mut wire = victim.connect();
        let _ = wire.try_send(&bytes);
        wire.finish_sending();
        wire.drain(Duration::from_secs(5));
        assert!(wire.has_ended(), "round {round}: our side ended, so must theirs");
    }
    victim.is_well(48 * MIB);
}

/// Commands put together at random: nearly right is worse than wrong.
fn words(seed: u64) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "get",
        "set",
        "cas",
        "ms",
        "mg",
        "md",
        "ma",
        "me",
        "mn",
        "add",
        "append",
        "incr",
        "touch",
        "gat",
        "delete",
        "stats",
        "items",
        "a",
        "b",
        "0",
        "1",
        "5",
        "-1",
        "99999999999",
        "noreply",
        "v",
        "T30",
        "N0",
        "q",
        "b",
        "k",
        "Oabc",
        "ME",
        "C1",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "xyz\r\n",
        "verbosity",
        "lru_crawler",
        "metadump",
        "all",
        "cachedump",
        "slabs",
        "version",
        "conns",
    ];
    let mut text = Vec::new();
    for byte in garbage(seed, 4000) {
        text.extend(WORDS[usize::from(byte) % WORDS.len()].bytes());
        text.push(b' ');
    }
    text
}

#[test]
fn binary_garbage_after_a_good_start() {
    let mut victim = Victim::start(&[]);
    for seed in 1..=100 {
        let mut stream = Vec::new();
        for piece in garbage(seed, 1000).chunks_exact(25) {
            // A frame whose magic is right and whose every other byte is random, but small.
            let mut frame = vec![0x80, piece[0] % 0x40, 0, piece[1] % 8, piece[2] % 24, 0, 0, 0];
            frame.extend([0, 0, 0, piece[3] % 64]);
            frame.extend(&piece[4..16]);
            frame.extend(std::iter::repeat_n(piece[17], usize::from(piece[3] % 64)));
            stream.extend(frame);
        }
        let mut wire = victim.connect();
        let _ = wire.try_send(&stream);
        wire.finish_sending();
        wire.drain(Duration::from_secs(5));
        assert!(wire.has_ended(), "seed {seed}");
    }
    victim.is_well(48 * MIB);
}

#[test]
fn a_pipeline_of_thousands_is_answered_in_order() {
    const COMMANDS: usize = 50_000;
    let mut victim = Victim::start(&[]);
    let mut wire = victim.connect();
    let mut reader = String::new();
    for at in 0..COMMANDS {
        reader.push_str(&format!("mg missing k O{at}\r\n"));
    }
    wire.send(&reader);
    for at in 0..COMMANDS {
        assert_eq!(wire.line(), format!("EN kmissing O{at}"));
    }
    victim.is_well(48 * MIB);
}

#[test]
fn a_pipeline_starves_nobody() {
    let mut victim = Victim::start(&["-t", "1"]);
    let mut greedy: Vec<_> = (0..8).map(|_| victim.connect()).collect();
    let pipeline = "get missing\r\n".repeat(20_000);
    for wire in &mut greedy {
        wire.send(&pipeline);
    }
    // On the same thread, a newcomer is served in between.
    let since = kannuki_tests::clock::Since::now();
    assert!(victim.connect().ask("version\r\n").starts_with("VERSION "));
    assert!(since.elapsed() < Duration::from_secs(5), "it waited {:?}", since.elapsed());
    drop(greedy);
    victim.is_well(48 * MIB);
}

#[test]
fn quit_in_the_middle_of_a_pipeline_ends_it() {
    let mut victim = Victim::start(&[]);
    let mut wire = victim.connect();
    wire.send("set a 0 0 1\r\nx\r\nget a\r\nquit\r\nset b 0 0 1\r\nx\r\nget a\r\n");
    let said = wire.drain(Duration::from_secs(5));
    assert_eq!(String::from_utf8_lossy(&said), "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    assert!(wire.has_ended());
    assert_eq!(victim.connect().ask("get b\r\n"), "END", "nothing after quit is done");
    victim.is_well(16 * MIB);
}

#[test]
fn a_half_closed_socket_gets_its_answers() {
    let mut victim = Victim::start(&[]);
    let mut wire = victim.connect();
    let value = "v".repeat(500_000);
    wire.send(format!("set a 0 0 500000\r\n{value}\r\nget a a a a\r\nversion\r\n"));
    wire.finish_sending();
    let said = wire.drain(Duration::from_secs(10));
    assert!(wire.has_ended(), "when all is answered, it closes");
    let one = format!("VALUE a 0 500000\r\n{value}\r\n").len();
    assert!(said.starts_with(b"STORED\r\n"));
    assert!(said.len() > 4 * one, "{} bytes", said.len());
    let end = String::from_utf8_lossy(&said[said.len() - 40..]).into_owned();
    assert!(end.contains("END\r\nVERSION "), "{end:?}");
    victim.is_well(32 * MIB);
}

/// On a UNIX socket a hang-up shows at once, while commands sent before it still wait their turn.
#[test]
fn what_was_sent_before_a_hang_up_is_done() {
    const SETS: usize = 1000;
    let server = Launch::kannuki().on_unix_socket().start();
    let sets = (0..SETS).map(|at| format!("set k{at} 0 0 1 noreply\r\nx\r\n"));
    server.connect().send(sets.collect::<String>());
    let all = ("curr_items".to_owned(), SETS.to_string());
    let mut wire = server.connect();
    for _ in 0..500 {
        if kannuki_tests::stats(&mut wire, "stats").contains(&all) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("sets were lost");
}

#[test]
fn partial_binary_headers_wait_and_go() {
    let mut victim = Victim::start(&[]);
    let noop: Vec<u8> = [&[0x80, 0x0a][..], &[0; 22]].concat();
    for cut in 1..noop.len() {
        let mut wire = victim.connect();
        wire.send(&noop[..cut]);
        assert!(!wire.fill(Duration::from_millis(20)), "nothing is said to {cut} bytes");
        wire.send(&noop[cut..]);
        assert_eq!(wire.exactly(24)[..2], [0x81, 0x0a]);
    }
    for cut in 1..noop.len() {
        let mut wire = victim.connect();
        wire.send(&noop[..cut]);
        wire.finish_sending();
        assert!(wire.closes_within(Duration::from_secs(5)), "{cut} bytes and an end");
    }
    victim.is_well(16 * MIB);
}

#[test]
fn one_byte_at_a_time_is_a_command_too() {
    let mut victim = Victim::start(&[]);
    let mut wire = victim.connect();
    for byte in b"set slow 0 0 5\r\nhello\r\nget slow\r\n" {
        wire.send([*byte]);
    }
    assert_eq!(wire.line(), "STORED");
    assert_eq!(wire.until(b"END\r\n"), b"VALUE slow 0 5\r\nhello\r\nEND\r\n");
    victim.is_well(16 * MIB);
}
