//! Every command reads back as itself. (So does every command of the random streams; this list
//! makes sure that none is missing.)

use kannuki_protocol::{
    Command, Decoder, Dialect, Event, Key,
    binary::{Binary, BinaryStat, BinaryVerb},
    command::{Detail, Direction, Exptime, SetMode},
};

use crate::replay::{Seen, replay};

#[test]
fn text_and_meta() {
    for line in LINES {
        // Blocks are empty; a line without block sees the empty line refused.
        let stream = format!("{line}\r\n\r\n");
        let seen = replay(Dialect::Text, stream.as_bytes(), std::iter::empty());
        assert!(matches!(seen.first(), Some(Seen::Command(_))), "{line}: {seen:?}");
    }
}

#[test]
fn binary() {
    let key = Key::new(b"a key").unwrap();
    let in_ten = Exptime::In(10);
    let far = Exptime::At(u32::MAX - 1);
    let up = Direction::Increment;
    let set = |mode, flags, exptime| BinaryVerb::Set { key, mode, flags, exptime, data_len: 3 };
    let verbs = [
        (0x00, BinaryVerb::Get { key, with_key: false, touch: None }),
        (0x0d, BinaryVerb::Get { key, with_key: true, touch: None }),
        (0x1e, BinaryVerb::Get { key, with_key: false, touch: Some(in_ten) }),
        (0x23, BinaryVerb::Get { key, with_key: true, touch: Some(far) }),
        (0x01, set(SetMode::Set, 7, in_ten)),
        (0x12, set(SetMode::Add, u32::MAX, Exptime::Never)),
        (0x13, set(SetMode::Replace, 0, far)),
        (0x0e, set(SetMode::Append, 0, Exptime::Never)),
        (0x1a, set(SetMode::Prepend, 0, Exptime::Never)),
        (0x14, BinaryVerb::Delete { key }),
        (0x05, BinaryVerb::Arithmetic { key, direction: up, delta: u64::MAX, create: None }),
        (0x15, BinaryVerb::Arithmetic { key, direction: up, delta: 1, create: Some((2, far)) }),
        (0x08, BinaryVerb::Flush { delay: in_ten }),
        (0x18, BinaryVerb::Flush { delay: Exptime::Never }),
        (0x07, BinaryVerb::Quit),
        (0x0a, BinaryVerb::Noop),
        (0x0b, BinaryVerb::Version),
        (0x10, BinaryVerb::Stat(BinaryStat::General)),
        (0x10, BinaryVerb::Stat(BinaryStat::Reset)),
        (0x10, BinaryVerb::Stat(BinaryStat::Settings)),
        (0x10, BinaryVerb::Stat(BinaryStat::Detail(Detail::Dump))),
        (0x10, BinaryVerb::Stat(BinaryStat::Unknown)),
        (0x1c, BinaryVerb::Touch { key, exptime: in_ten }),
        (0x20, BinaryVerb::SaslList),
        (0x21, BinaryVerb::SaslAuth { mechanism: b"PLAIN", data_len: 9 }),
        (0x22, BinaryVerb::SaslStep { mechanism: b"X", data_len: 0 }),
        (0x77, BinaryVerb::Unknown),
    ];
    for (opcode, verb) in verbs {
        let quiet = matches!(opcode, 0x0d | 0x12..=0x1a | 0x1e);
        let binary = Binary { opcode, opaque: *b"opaq", compare: u64::MAX, quiet, verb };
        let mut bytes = Vec::new();
        Command::Binary(binary).encode(&mut bytes);
        let decoded = Decoder::new(Dialect::Auto).decode(&bytes);
        assert_eq!(decoded.used, bytes.len());
        assert_eq!(decoded.event, Event::Command(Command::Binary(binary)));
    }
}

/// Each kind of command at least once, with each of its options.
#[rustfmt::skip] // One to a line would make three screens of it.
const LINES: &[&str] = &[
    "get a", "gets a b  c", "gat 0 a", "gats -1 a b", "touch k 2592001", "touch k 1 noreply",
    "delete k", "delete k 0 noreply", "incr k 18446744073709551615", "decr k 0 noreply",
    "set k 4294967295 -1 0", "add k 0 0 0 noreply", "replace k 0 1 0", "append k 0 0 0",
    "prepend k 0 0 0", "cas k 1 2 0 3", "cas k 1 2 0 3 noreply", "mn", "me k", "me YWJj b",
    "mg k", "mg YWJj b t v k Oabc q", "md k I T30 x", "ma k MD J5 N0 D7", "ms k 0 MA C5 I",
    "ms YWJj 0 b F7", "version", "quit", "verbosity 2", "verbosity 0 noreply", "flush_all",
    "flush_all 10", "flush_all -1 noreply", "cache_memlimit 64", "shutdown",
    "shutdown graceful noreply", "refresh_certs", "extstore max_frag 0.5", "watch",
    "watch fetchers evictions", "slabs reassign -1 0", "slabs automove 2",
    "slabs automove ratio 0.1", "slabs automove freeratio 1e-30", "slabs automove window 3",
    "lru mode flat", "lru mode segmented", "lru temp_ttl -5", "lru tune 1 2 0.3 4e10",
    "lru_crawler enable", "lru_crawler disable noreply", "lru_crawler sleep 1000000",
    "lru_crawler tocrawl 0", "lru_crawler crawl 1,2", "lru_crawler metadump all",
    "lru_crawler mgdump hash", "stats", "stats items", "stats slabs", "stats sizes",
    "stats conns", "stats settings", "stats reset", "stats extstore", "stats malloc",
    "stats detail on", "stats detail off", "stats detail dump", "stats cachedump 63 7",
];
