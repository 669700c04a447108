//! Where one command ends and the next begins: blocks, terminators, bounds, closing.

use super::*;

const NOOP: &[u8] = b"mn\r\n";

fn is_noop(event: &Event<'_>) -> bool {
    matches!(event, Event::Command(Command::Meta(_)))
}

fn bad_terminator(silent: bool) -> Event<'static> {
    Event::Violation(Violation::text(Fault::BadTerminator, silent))
}

#[test]
fn the_first_byte_decides_for_good() {
    let mut decoder = Decoder::new(Dialect::Auto);
    assert_eq!(decoder.is_binary(), None);
    assert_eq!(decoder.decode(b"").event, Event::Incomplete);
    assert_eq!(decoder.is_binary(), None);
    assert!(is_noop(&decoder.decode(NOOP).event));
    assert_eq!(decoder.is_binary(), Some(false));
    let decoded = decoder.decode(b"\x80\x0b\0\0\n");
    assert_eq!(decoded.event, Event::Violation(Violation::text(Fault::UnknownCommand, false)));
}

#[test]
fn a_pinned_text_listener_reads_binary_as_text() {
    let (events, _) = events(Dialect::Text, b"\x80\x0a\0\0\n");
    // The opcode of a no-op is a line feed.
    assert_eq!(events.len(), 2);
    assert_eq!(events[0], Event::Violation(Violation::text(Fault::LineTooShort, false)));
}

#[test]
fn a_block_in_pieces() {
    let mut decoder = Decoder::new(Dialect::Auto);
    let decoded = decoder.decode(b"set k 0 0 5\r\n");
    assert_eq!(decoded.used, 13);
    assert!(decoder.in_data());
    assert_eq!(decoder.decode(b"").event, Event::Incomplete);
    let decoded = decoder.decode(b"ab");
    assert_eq!((decoded.used, decoded.event), (2, Event::Data { piece: b"ab", last: false }));
    let decoded = decoder.decode(b"cde\r");
    assert_eq!((decoded.used, decoded.event), (3, Event::Data { piece: b"cde", last: false }));
    let decoded = decoder.decode(b"\r");
    assert_eq!((decoded.used, decoded.event), (0, Event::Incomplete));
    let decoded = decoder.decode(b"\r\nmn\r\n");
    assert_eq!((decoded.used, decoded.event), (2, Event::Data { piece: b"", last: true }));
    assert!(!decoder.in_data());
}

#[test]
fn a_block_may_hold_anything() {
    let stream = b"set k 0 0 8\r\n\r\nmn\r\n\0\n\r\nmn\r\n";
    let (events, _) = events(Dialect::Auto, stream);
    assert_eq!(events[1], Event::Data { piece: b"\r\nmn\r\n\0\n", last: true });
    assert!(is_noop(&events[2]));
}

#[test]
fn behind_a_wrong_terminator_the_rest_of_the_line_is_lost() {
    for (block, lines) in [
        // Too long by one, by two, by many; too short by one; a line end of its own.
        (&b"ab\r\n"[..], 1),
        (b"abc\r\n", 1),
        (b"abcdef\r\n", 1),
        (b"\r\n", 1),
        (b"a\n", 1),
        (b"axflush_all\r\n", 1),
        (b"a\n\nmn\r\n", 2),
    ] {
        let stream = [b"set k 0 0 1\r\n", block, NOOP].concat();
        let (events, _) = events(Dialect::Auto, &stream);
        assert_eq!(events[1], bad_terminator(false), "{}", stream.escape_ascii());
        let later = &events[2..];
        assert!(later.iter().any(is_noop), "{}", stream.escape_ascii());
        assert!(later.len() >= lines, "{later:?}");
    }
    let (events, _) = events(Dialect::Auto, b"set k 0 0 1 noreply\r\nabc\r\nmn\r\n");
    assert_eq!(events[1], bad_terminator(true));
    assert!(is_noop(&events[2]));
    assert_eq!(events.len(), 3);
}

#[test]
fn a_quiet_meta_block_is_not_silent() {
    let (events, _) = events(Dialect::Auto, b"ms k 1 q\r\nabc\r\n");
    assert_eq!(events[1], bad_terminator(false));
}

#[test]
fn a_resync_is_bounded() {
    let mut decoder = Decoder::new(Dialect::Auto);
    let _ = decoder.decode(b"set k 0 0 1\r\n");
    assert_eq!(decoder.decode(b"axx").event, bad_terminator(false));
    let chunk = vec![b'x'; limits::RESYNC_BYTES_MAX - 1];
    let decoded = decoder.decode(&chunk);
    assert_eq!((decoded.used, decoded.event), (chunk.len(), Event::Incomplete));
    let decoded = decoder.decode(b"x");
    assert_eq!(decoded.event, Event::Violation(Violation::fatal(Fault::ResyncTooLong)));
    assert!(decoder.is_closed());
}

#[test]
fn a_line_end_just_within_the_resync_bound() {
    let mut decoder = Decoder::new(Dialect::Auto);
    let _ = decoder.decode(b"set k 0 0 0\r\n");
    let mut rest = vec![b'x'; limits::RESYNC_BYTES_MAX - 1];
    rest.extend_from_slice(b"\nmn\r\n");
    assert_eq!(decoder.decode(&rest).event, bad_terminator(false));
    let decoded = decoder.decode(&rest);
    assert_eq!(decoded.used, rest.len());
    assert!(is_noop(&decoded.event));
}

#[test]
fn a_resync_is_bounded_when_all_comes_at_once() {
    let mut rest = vec![b'x'; limits::RESYNC_BYTES_MAX];
    rest.extend_from_slice(b"\nmn\r\n");
    let stream = [b"set k 0 0 0\r\n", &rest[..]].concat();
    let (events, decoder) = events(Dialect::Auto, &stream);
    let too_long = Event::Violation(Violation::fatal(Fault::ResyncTooLong));
    assert_eq!(events[1..], [bad_terminator(false), too_long]);
    assert!(decoder.is_closed());
}

#[test]
fn a_refused_block_is_discarded_without_a_word() {
    for block in [&b"abcde\r\n"[..], b"abcdefgh\r\n"] {
        let mut decoder = Decoder::new(Dialect::Auto);
        let _ = decoder.decode(b"set k 0 0 5\r\n");
        decoder.discard_data();
        let decoded = decoder.decode(&block[..3]);
        assert_eq!((decoded.used, decoded.event), (3, Event::Incomplete));
        let rest = [&block[3..], NOOP].concat();
        let decoded = decoder.decode(&rest);
        assert_eq!(decoded.used, rest.len());
        assert!(is_noop(&decoded.event));
    }
}

#[test]
fn a_block_can_be_given_up_halfway() {
    let mut decoder = Decoder::new(Dialect::Auto);
    let _ = decoder.decode(b"ms k 5\r\n");
    assert!(matches!(decoder.decode(b"ab").event, Event::Data { last: false, .. }));
    decoder.discard_data();
    assert!(is_noop(&decoder.decode(b"cde\r\nmn\r\n").event));
    // Outside a block there is nothing to give up.
    decoder.discard_data();
    assert!(is_noop(&decoder.decode(NOOP).event));
}

#[test]
fn lines_are_bounded() {
    let endless = vec![b'x'; limits::LINE_BYTES_MAX];
    let mut decoder = Decoder::new(Dialect::Auto);
    assert_eq!(decoder.decode(&endless).event, Event::Incomplete);
    let longer = [&endless[..], b"x"].concat();
    let decoded = decoder.decode(&longer);
    assert_eq!(decoded.event, Event::Violation(Violation::fatal(Fault::LineTooLong)));
    assert_eq!(decoder.decode(b"mn\r\n").used, 0);

    // With its end it may be as long as memcached's read buffer.
    let whole = |length: usize| [&vec![b'x'; length - 1][..], b"\n"].concat();
    refused(&whole(limits::LINE_WHOLE_BYTES_MAX), Fault::UnknownCommand);
    closed(&whole(limits::LINE_WHOLE_BYTES_MAX + 1), Fault::LineTooLong);
    assert_eq!(Fault::LineTooLong.text(), "");
}

/// Were the bytes looked at again, the line end that has crept in would be found. Searching them
/// anew with every read would make a long line cost the square of its length.
#[test]
fn bytes_without_a_line_end_are_not_looked_at_again() {
    let mut decoder = Decoder::new(Dialect::Auto);
    assert_eq!(decoder.decode(b"get aaaa").event, Event::Incomplete);
    assert_eq!(decoder.decode(b"get\naaaa b").event, Event::Incomplete);
    let Event::Command(Command::Get(get)) = decoder.decode(b"get aaaa b\n").event else { panic!() };
    assert_eq!(get.keys.count(), 2);
}

#[test]
fn get_lines_may_grow() {
    for (start, blanks) in [("get ", 0), ("gets ", 0), ("get ", limits::GET_LINE_BLANKS_MAX)] {
        let mut line = vec![b' '; blanks];
        line.extend_from_slice(start.as_bytes());
        line.resize(limits::GET_LINE_BYTES_MAX, b' ');
        let mut decoder = Decoder::new(Dialect::Auto);
        assert_eq!(decoder.decode(&line[..3000]).event, Event::Incomplete);
        assert_eq!(decoder.decode(&line).event, Event::Incomplete);
        for end in [b' ', b'\n'] {
            line.push(end);
            let decoded = Decoder::new(Dialect::Auto).decode(&line);
            assert_eq!(decoded.event, Event::Violation(Violation::fatal(Fault::GetLineTooLong)));
            line.pop();
        }
    }
    for start in ["gat 1 ", "mg ", "getx ", "get\t"] {
        let mut line = start.as_bytes().to_vec();
        line.resize(limits::LINE_BYTES_MAX + 1, b'x');
        let decoded = Decoder::new(Dialect::Auto).decode(&line).event;
        assert_eq!(decoded, Event::Violation(Violation::fatal(Fault::LineTooLong)), "{start}");
    }
    let mut keys = b"get".to_vec();
    while keys.len() < limits::GET_LINE_BYTES_MAX - 10 {
        keys.extend_from_slice(b" abcdef");
    }
    let count = (keys.len() - 3) / 7;
    keys.extend_from_slice(b"\r\n");
    let Command::Get(get) = command(&keys) else { panic!() };
    assert_eq!(get.keys.count(), count);
}

#[test]
fn nothing_is_used_after_closing() {
    let mut decoder = Decoder::new(Dialect::Auto);
    assert!(matches!(decoder.decode(b"GET / HTTP/1.1\r\n").event, Event::Violation(_)));
    for _ in 0..3 {
        let decoded = decoder.decode(NOOP);
        assert_eq!((decoded.used, decoded.event), (0, Event::Incomplete));
    }
}

#[test]
fn pipelines_keep_their_order() {
    let stream = b"incr K.lock 1\r\nadd K.lock 768 15 1\r\n1\r\nget K\r\nquit\r\n";
    let (events, _) = events(Dialect::Auto, stream);
    assert!(matches!(
        events[..],
        [
            Event::Command(Command::Arithmetic(_)),
            Event::Command(Command::Set(_)),
            Event::Data { piece: b"1", last: true },
            Event::Command(Command::Get(_)),
            Event::Command(Command::Admin(Admin { verb: AdminVerb::Quit, .. })),
        ]
    ));
}
