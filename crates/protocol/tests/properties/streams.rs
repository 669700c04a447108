//! Streams that clients send, that broken clients send, and that nobody should.

use proptest::{collection::vec, prelude::*, sample::select, string::bytes_regex};

/// A stream of text and meta commands, most of them sound.
pub(crate) fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![6 => sound(), 2 => unsound(), 1 => vec(any::<u8>(), 0..40)], 0..12)
        .prop_map(|pieces| pieces.concat())
}

/// A stream of binary requests, most of them sound.
pub(crate) fn binary() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![8 => frame(), 1 => vec(any::<u8>(), 0..40)], 0..8)
        .prop_map(|pieces| pieces.concat())
}

/// A stream with some of its bytes changed, inserted or removed.
pub(crate) fn mutated(streams: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(b"\r\n 0-b".as_slice())];
    let change = (any::<prop::sample::Index>(), byte, 0..3_u8);
    (streams, vec(change, 0..4)).prop_map(|(mut stream, changes)| {
        for (index, byte, kind) in changes {
            let at = index.index(stream.len() + 1);
            match kind {
                0 => stream.insert(at, byte),
                1 if at < stream.len() => stream[at] = byte,
                _ if at < stream.len() => drop(stream.remove(at)),
                _ => stream.push(byte),
            }
        }
        stream
    })
}

/// A command line that is sound, with its data block.
fn sound() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        regex("(get|gets) [!-~]{1,20}( {1,2}[!-~]{1,20}){0,5} ?"),
        regex("(gat|gats) (-1|0|60|2592001) [a-z]{1,9}( [a-z]{1,9}){0,3}"),
        regex("touch [a-z]{1,9} (-1|0|60)( noreply)?"),
        regex("delete [a-z]{1,9}( 0)?( noreply)?"),
        regex("(incr|decr) [a-z]{1,9} [0-9]{1,18}( noreply)? ?"),
        regex("mg [A-Za-z0-9]{1,12}( v)?( k)?( t)?( O[a-z]{0,9})?( q)?( N-?[0-9]{1,5})?"),
        regex("m[da] [a-z]{1,9}( T[0-9]{1,5})?( k)?( C[0-9]{1,9})?( O1)?"),
        regex("(mg|md|ma|me) [A-Za-z0-9]{4}( [a-zA-Z][0-9]{0,2}){0,3} b"),
        regex("(mn|me [a-z]{1,9}|version|quit|stats|flush_all|refresh_certs|watch)"),
        regex("stats (items|slabs|sizes|conns|settings|reset|cachedump 1 0|detail on|[a-z]{1,5})"),
        regex(
            "(verbosity 1|cache_memlimit 64|shutdown( graceful)?|flush_all -?[0-9]{1,7})( noreply)?"
        ),
        regex("lru (mode flat|temp_ttl -?[0-9]{1,3}|tune 20 40 0\\.[1-9]{1,9} [1-9](e-?[0-9])?)"),
        regex("slabs (reassign -1 [0-9]|automove ([0-2]|ratio 0\\.[0-9]|window [3-9]))( noreply)?"),
        regex("lru_crawler (enable|sleep 5|tocrawl 9|(crawl|metadump|mgdump) (all|hash|1,[0-9]))"),
        regex("(extstore item_age [0-9]|watch fetchers( mutations)?|foo( noreply)?)"),
    ];
    let line = (line, line_end()).prop_map(|(line, end)| [&line[..], end].concat());
    prop_oneof![3 => line, 2 => storage()]
}

/// A storage command whose block has the announced length, or nearly.
fn storage() -> impl Strategy<Value = Vec<u8>> {
    let block = prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(select(b"\r\n mg".as_slice()), 0..12),
        vec(Just(b'x'), 0..5000),
    ];
    let error = prop_oneof![8 => Just(0_i64), 1 => -2..3_i64];
    let noreply = prop_oneof![Just(""), Just(" noreply")];
    let verb = select(vec!["set", "add", "replace", "append", "prepend", "cas", "ms"]);
    (verb, "[a-z]{1,8}", block, error, noreply, line_end()).prop_map(
        |(verb, key, block, error, noreply, end)| {
            let length = (i64::try_from(block.len()).unwrap() + error).max(0);
            let line = match verb {
                "ms" => format!("ms {key} {length} T0 k c ME"),
                "cas" => format!("cas {key} 5 0 {length} 9{noreply}"),
                _ => format!("{verb} {key} 5 -1 {length}{noreply}"),
            };
            [line.as_bytes(), end, &block, b"\r\n"].concat()
        },
    )
}

/// Lines that are refused, and some that only look so.
fn unsound() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        regex("(set|cas|ms|add) [a-z]{0,4}( [0-9a-z-]{0,3}){0,4}( noreply)?"),
        regex("m[gsda] [a-z]{1,3}( [!-~]{1,3}){0,22}"),
        regex("[a-z]{0,5}( [!-~]{0,6}){0,5}"),
        regex("(get|delete|incr|touch|mg|ma|me|set) k{249,252}( [0-9]){0,3}"),
        regex("(GET|foo) [a-z/]{0,5} ?HTTP/1\\.[01]( x)?"),
        regex(" {0,3}gets? {0,3}x{0,3}"),
        (2040..2060_usize).prop_map(|length| vec![b'x'; length]),
    ];
    (line, line_end()).prop_map(|(line, end)| [&line[..], end].concat())
}

fn line_end() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![4 => Just(b"\r\n".as_slice()), 1 => Just(b"\n".as_slice())]
}

fn regex(pattern: &str) -> BoxedStrategy<Vec<u8>> {
    bytes_regex(pattern).unwrap().boxed()
}

/// A binary request; one in a few has a part that its opcode does not admit.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![9 => 0..=0x25_u8, 1 => any::<u8>()];
    let key = prop_oneof![
        8 => vec(any::<u8>(), 1..9),
        2 => Just(Vec::new()),
        1 => (249..252_usize).prop_map(|length| vec![b'k'; length]),
        2 => select(vec!["items", "reset", "detail on", "PLAIN"]).prop_map(|key| key.into()),
    ];
    let wrong = prop_oneof![12 => Just(None), 1 => (0..22_usize).prop_map(Some)];
    let value = vec(any::<u8>(), 0..60);
    (opcode, key, wrong, value, any::<(u32, u64)>(), vec(any::<u8>(), 22)).prop_map(
        |(opcode, key, wrong, value, (opaque, cas), extras)| {
            let shape = Parts::of(opcode);
            let extras = &extras[..wrong.unwrap_or(shape.extras)];
            let key = if shape.key || wrong.is_some() { &key[..] } else { b"" };
            let value = if shape.value || wrong.is_some() { &value[..] } else { b"" };
            let body_len = u32::try_from(extras.len() + key.len() + value.len()).unwrap();
            let mut frame = vec![0x80, opcode];
            frame.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
            frame.extend([u8::try_from(extras.len()).unwrap(), 0, 0, 0]);
            frame.extend(body_len.to_be_bytes());
            frame.extend(opaque.to_be_bytes());
            frame.extend(cas.to_be_bytes());
            [&frame[..], extras, key, value].concat()
        },
    )
}

/// The parts that the opcodes of the specification have.
struct Parts {
    extras: usize,
    key: bool,
    value: bool,
}

impl Parts {
    fn of(opcode: u8) -> Self {
        let (extras, key, value) = match opcode {
            0x01..=0x03 | 0x11..=0x13 => (8, true, true),
            0x05 | 0x06 | 0x15 | 0x16 => (20, true, false),
            0x07 | 0x17 | 0x0a | 0x0b | 0x20 => (0, false, false),
            0x08 => (4, false, false),
            0x18 => (0, false, false),
            0x0e | 0x0f | 0x19 | 0x1a | 0x21 | 0x22 => (0, true, true),
            0x1c..=0x1e | 0x23 | 0x24 => (4, true, false),
            0x00 | 0x04 | 0x09 | 0x0c | 0x0d | 0x10 | 0x14 => (0, true, false),
            _ => (0, true, true),
        };
        Self { extras, key, value }
    }
}
