//! The short way is the long way: whatever [`Decoder::usual`] and [`Decoder::whole_block`] take,
//! [`Decoder::decode`] takes in the same way, and goes on from the same place.

use proptest::prelude::*;

use super::super::Usual;
use super::{Command, Decoder, Dialect, Event};

/// A decoder that has seen what a text connection begins with.
fn text_decoder() -> Decoder {
    let mut decoder = Decoder::new(Dialect::Auto);
    let begun = decoder.decode(b"mn\r\n");
    assert_eq!(begun.used, 4);
    decoder
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("get ".to_string()),
        Just("set ".to_string()),
        Just("gets k\r\n".to_string()),
        Just("k".to_string()),
        Just(" ".to_string()),
        Just(" 0 0 2\r\nhi\r\n".to_string()),
        Just(" 5 -1 2 noreply\r\nhi\r\n".to_string()),
        Just(" 0 0 2\r\nhiX\n".to_string()),
        Just(" 4294967295 2147483647 0\n\r\n".to_string()),
        Just(" 4294967296 0 0\r\n".to_string()),
        Just(" +1 +2 1073741825\r\n".to_string()),
        Just("\r\n".to_string()),
        Just("\n".to_string()),
        "[ 0-9a-z]{0,12}",
        "[a-z]{249,252}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn what_is_usual_is_decoded_in_the_same_way(stream in pieces()) {
        let (mut quick, mut slow) = (text_decoder(), text_decoder());
        let mut rest = stream.as_slice();
        // Bound: each round uses bytes.
        loop {
            if let Some((usual, used)) = quick.usual(rest) {
                let expected = match usual {
                    Usual::Get(get) => Command::Get(get),
                    Usual::Set(set) => Command::Set(set),
                };
                let decoded = slow.decode(rest);
                prop_assert_eq!(decoded.event, Event::Command(expected));
                prop_assert_eq!((decoded.skipped, decoded.used), (0, used));
                rest = &rest[used..];
            } else if let Some((value, used)) = quick.whole_block(rest) {
                let decoded = slow.decode(rest);
                prop_assert_eq!(decoded.event, Event::Data { piece: value, last: true });
                prop_assert_eq!(decoded.used, used);
                rest = &rest[used..];
            } else {
                let (one, other) = (quick.decode(rest), slow.decode(rest));
                prop_assert_eq!(&one.event, &other.event);
                prop_assert_eq!((one.skipped, one.used), (other.skipped, other.used));
                if one.event == Event::Incomplete || quick.is_closed() {
                    break;
                }
                rest = &rest[one.used..];
            }
            prop_assert_eq!(format!("{quick:?}"), format!("{slow:?}"));
        }
    }
}

#[test]
fn the_usual_is_taken_the_short_way() {
    let mut decoder = text_decoder();
    for line in [&b"get key\r\n"[..], b"get a b  c\n", b"get  key \r\n"] {
        let (usual, used) = decoder.usual(line).expect("a plain get");
        assert!(matches!(usual, Usual::Get(_)) && used == line.len());
    }
    let set = b"set key 0 0 2\r\nhi\r\nget key\r\n";
    let (usual, used) = decoder.usual(set).expect("a plain set");
    assert!(matches!(usual, Usual::Set(_)));
    assert!(decoder.usual(&set[used..]).is_none(), "its block comes first");
    assert_eq!(decoder.whole_block(&set[used..]), Some((&b"hi"[..], 4)));
    assert!(decoder.whole_block(&set[used..]).is_none(), "once");
    for other in [&b"get key"[..], b"gets key\r\n", b"get\r\n", b"version\r\n", b""] {
        assert!(decoder.usual(other).is_none(), "{}", other.escape_ascii());
    }
}

#[test]
fn who_must_log_in_has_no_short_way() {
    let mut decoder = Decoder::new(Dialect::Text);
    decoder.demand_login(true);
    assert!(decoder.usual(b"get key\r\n").is_none());
    assert!(decoder.usual(b"set key 0 0 2\r\nhi\r\n").is_none());
}
