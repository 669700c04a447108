//! Binary requests.

use super::*;
use crate::binary::{Binary, BinaryStat, BinaryVerb, Status};

const OPAQUE: [u8; 4] = [1, 2, 3, 4];

/// A request with honest lengths.
fn frame(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let body_len = u32::try_from(extras.len() + key.len() + value.len()).unwrap();
    let mut frame = header(opcode, extras.len(), key.len(), body_len);
    for part in [extras, key, value] {
        frame.extend_from_slice(part);
    }
    frame
}

fn header(opcode: u8, extras_len: usize, key_len: usize, body_len: u32) -> Vec<u8> {
    let mut header = vec![0x80, opcode];
    header.extend(u16::try_from(key_len).unwrap().to_be_bytes());
    // Data type and vbucket mean nothing, whatever they are.
    header.extend([u8::try_from(extras_len).unwrap(), 9, 9, 9]);
    header.extend(body_len.to_be_bytes());
    header.extend(OPAQUE);
    header.extend(77_u64.to_be_bytes());
    header
}

/// The verb of a request without value, behind which a no-op is found.
#[track_caller]
fn verb(frame: &[u8]) -> (BinaryVerb<'static>, bool) {
    let stream = [frame, &header(0x0a, 0, 0, 0)].concat().leak();
    let (events, decoder) = events(Dialect::Auto, stream);
    let [Event::Command(Command::Binary(first)), Event::Command(Command::Binary(noop))] =
        events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((first.opcode, first.opaque, first.compare), (frame[1], OPAQUE, 77));
    assert_eq!(noop.verb, BinaryVerb::Noop);
    assert_eq!(decoder.is_binary(), Some(true));
    (first.verb, first.quiet)
}

#[track_caller]
fn refused(frame: &[u8], fault: Fault, status: Status) {
    let stream = [frame, &header(0x0a, 0, 0, 0)].concat();
    let (events, decoder) = events(Dialect::Auto, &stream);
    let binary = Some((frame[1], OPAQUE, status));
    let violation = Violation { fault, silent: false, closes: true, binary };
    assert_eq!(events, [Event::Violation(violation)]);
    assert!(decoder.is_closed());
}

#[test]
fn requests_without_value() {
    let k = key(b"k");
    let get = |with_key, touch| BinaryVerb::Get { key: k, with_key, touch };
    let ten = Some(Exptime::In(10));
    let secs = 10_u32.to_be_bytes();
    assert_eq!(verb(&frame(0x00, b"", b"k", b"")), (get(false, None), false));
    assert_eq!(verb(&frame(0x09, b"", b"k", b"")), (get(false, None), true));
    assert_eq!(verb(&frame(0x0c, b"", b"k", b"")), (get(true, None), false));
    assert_eq!(verb(&frame(0x0d, b"", b"k", b"")), (get(true, None), true));
    assert_eq!(verb(&frame(0x1d, &secs, b"k", b"")), (get(false, ten), false));
    assert_eq!(verb(&frame(0x1e, &secs, b"k", b"")), (get(false, ten), true));
    assert_eq!(verb(&frame(0x23, &secs, b"k", b"")), (get(true, ten), false));
    assert_eq!(verb(&frame(0x24, &secs, b"k", b"")), (get(true, ten), true));
    let touch = BinaryVerb::Touch { key: k, exptime: Exptime::In(10) };
    assert_eq!(verb(&frame(0x1c, &secs, b"k", b"")), (touch, false));
    assert_eq!(verb(&frame(0x04, b"", b"k", b"")), (BinaryVerb::Delete { key: k }, false));
    assert_eq!(verb(&frame(0x14, b"", b"k", b"")), (BinaryVerb::Delete { key: k }, true));
    assert_eq!(verb(&frame(0x07, b"", b"", b"")), (BinaryVerb::Quit, false));
    assert_eq!(verb(&frame(0x17, b"", b"", b"")), (BinaryVerb::Quit, true));
    assert_eq!(verb(&frame(0x0a, b"", b"", b"")), (BinaryVerb::Noop, false));
    assert_eq!(verb(&frame(0x0b, b"", b"", b"")), (BinaryVerb::Version, false));
    assert_eq!(verb(&frame(0x20, b"", b"", b"")), (BinaryVerb::SaslList, false));
    let now = BinaryVerb::Flush { delay: Exptime::Never };
    let later = BinaryVerb::Flush { delay: Exptime::In(10) };
    assert_eq!(verb(&frame(0x08, b"", b"", b"")), (now, false));
    assert_eq!(verb(&frame(0x18, &secs, b"", b"")), (later, true));
}

#[test]
fn arithmetic() {
    let extras = |expiry: u32| {
        [&5_u64.to_be_bytes()[..], &7_u64.to_be_bytes(), &expiry.to_be_bytes()].concat()
    };
    let arithmetic =
        |direction, create| BinaryVerb::Arithmetic { key: key(b"k"), direction, delta: 5, create };
    let up = Direction::Increment;
    let down = Direction::Decrement;
    let never = Some((7, Exptime::Never));
    assert_eq!(verb(&frame(0x05, &extras(0), b"k", b"")), (arithmetic(up, never), false));
    assert_eq!(verb(&frame(0x15, &extras(0), b"k", b"")), (arithmetic(up, never), true));
    assert_eq!(verb(&frame(0x06, &extras(u32::MAX), b"k", b"")), (arithmetic(down, None), false));
    // There are no negative times: the sign bit is a far future.
    let far = Some((7, Exptime::At(u32::MAX - 1)));
    assert_eq!(verb(&frame(0x16, &extras(u32::MAX - 1), b"k", b"")), (arithmetic(down, far), true));
}

#[test]
fn statistics() {
    for (key, expected) in [
        (&b""[..], BinaryStat::General),
        (b"reset", BinaryStat::Reset),
        (b"resetx", BinaryStat::Reset),
        (b"settings", BinaryStat::Settings),
        (b"items", BinaryStat::Items),
        (b"slabs", BinaryStat::Slabs),
        (b"sizes", BinaryStat::Sizes),
        (b"detail on", BinaryStat::Detail(Detail::On)),
        (b"detail off", BinaryStat::Detail(Detail::Off)),
        (b"detail dump", BinaryStat::Detail(Detail::Dump)),
        (b"detail", BinaryStat::Unknown),
        (b"itemsx", BinaryStat::Unknown),
        (b"cachedump", BinaryStat::Unknown),
    ] {
        assert_eq!(verb(&frame(0x10, b"", key, b"")), (BinaryVerb::Stat(expected), false));
    }
}

#[test]
fn storage() {
    let extras = [0, 0, 0, 5, 0, 0, 0, 60];
    let modes = [
        (0x01, SetMode::Set, false),
        (0x02, SetMode::Add, false),
        (0x03, SetMode::Replace, false),
        (0x11, SetMode::Set, true),
        (0x12, SetMode::Add, true),
        (0x13, SetMode::Replace, true),
        (0x0e, SetMode::Append, false),
        (0x0f, SetMode::Prepend, false),
        (0x19, SetMode::Append, true),
        (0x1a, SetMode::Prepend, true),
    ];
    for (opcode, mode, quiet) in modes {
        let joins = matches!(mode, SetMode::Append | SetMode::Prepend);
        for value in [&b"xy\r\n"[..], b""] {
            let frame = frame(opcode, if joins { b"" } else { &extras }, b"k", value);
            let (flags, exptime) = if joins { (0, Exptime::Never) } else { (5, Exptime::In(60)) };
            let data_len = u32::try_from(value.len()).unwrap();
            let verb = BinaryVerb::Set { key: key(b"k"), mode, flags, exptime, data_len };
            let binary = Binary { opcode, opaque: OPAQUE, compare: 77, quiet, verb };
            let expected =
                [Event::Command(Command::Binary(binary)), Event::Data { piece: value, last: true }];
            assert_eq!(events(Dialect::Binary, &frame).0, expected);
        }
    }
}

#[test]
fn login() {
    for opcode in [0x21, 0x22] {
        let frame = frame(opcode, b"", b"PLAIN", b"\0u\0p");
        let (events, _) = events(Dialect::Auto, &frame);
        let [Event::Command(command), Event::Data { piece: b"\0u\0p", last: true }] = events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(command.data_len(), Some(4));
    }
}

#[test]
fn unknown_opcodes_lose_exactly_their_body() {
    for opcode in [0x1b, 0x1f, 0x25, 0x30, 0x3c, 0x77, 0xff] {
        assert_eq!(verb(&frame(opcode, b"", b"", b"")).0, BinaryVerb::Unknown);
        assert_eq!(verb(&frame(opcode, b"eeee", b"k", b"value")).0, BinaryVerb::Unknown);
    }
}

#[test]
fn lengths_that_contradict_each_other() {
    refused(&header(0x00, 0, 5, 1), Fault::BinaryLengths, Status::UnknownCommand);
    refused(&header(0x01, 8, 1, 8), Fault::BinaryLengths, Status::UnknownCommand);
    let huge = header(0x01, 8, 1, limits::BINARY_BODY_BYTES_MAX + 1);
    refused(&huge, Fault::BinaryBodyTooLarge, Status::InvalidArguments);
    let key = vec![b'k'; 251];
    for opcode in [0x00, 0x77] {
        let long = frame(opcode, b"", &key, b"");
        refused(&long, Fault::BinaryKeyTooLong, Status::InvalidArguments);
    }
    // The largest body is not refused: it may be an item size limit of its own.
    let largest = header(0x01, 8, 1, limits::BINARY_BODY_BYTES_MAX);
    assert_eq!(events(Dialect::Auto, &largest).0, []);
}

#[test]
fn every_opcode_insists_on_its_parts() {
    type Parts<'p> = (u8, &'p [u8], &'p [u8], &'p [u8]);
    let wrong: [Parts<'_>; 20] = [
        (0x00, b"", b"", b""),
        (0x00, b"abcd", b"k", b""),
        (0x00, b"", b"k", b"v"),
        (0x01, b"", b"k", b"v"),
        (0x01, &[0; 8], b"", b"v"),
        (0x01, &[0; 9], b"k", b"v"),
        (0x04, b"", b"", b""),
        (0x04, b"", b"k", b"v"),
        (0x05, b"", b"k", b""),
        (0x05, &[0; 20], b"", b""),
        (0x07, b"", b"k", b""),
        (0x08, b"abc", b"", b""),
        (0x08, b"", b"k", b""),
        (0x0a, b"", b"", b"v"),
        (0x0b, b"", b"k", b""),
        (0x0e, &[0; 8], b"k", b"v"),
        (0x10, b"x", b"", b""),
        (0x1c, b"", b"k", b""),
        (0x20, b"", b"k", b""),
        (0x21, b"", b"", b"v"),
    ];
    for (opcode, extras, key, value) in wrong {
        let frame = frame(opcode, extras, key, value);
        refused(&frame, Fault::BinaryShape, Status::InvalidArguments);
    }
}

#[test]
fn wrong_magic_closes_without_a_word() {
    for stream in [&b"\x81"[..], b"get a\r\n", b"\0"] {
        let (events, decoder) = events(Dialect::Binary, stream);
        assert_eq!(events, [Event::Violation(Violation::fatal(Fault::BinaryMagic))]);
        assert!(decoder.is_closed());
    }
    let stream = [&header(0x0a, 0, 0, 0)[..], b"mn\r\n"].concat();
    let (events, _) = events(Dialect::Auto, &stream);
    assert_eq!(events[1], Event::Violation(Violation::fatal(Fault::BinaryMagic)));
}
