//! Before log-in: what is a log-in, and what everything else is told.

use super::*;
use crate::command::Login;

fn before(stream: &[u8]) -> (Vec<Event<'_>>, Decoder) {
    let mut decoder = Decoder::new(Dialect::Text);
    decoder.demand_login(true);
    events_of(decoder, stream)
}

fn login(data_len: u32) -> Event<'static> {
    Event::Command(Command::Login(Login { data_len }))
}

fn fault(fault: Fault, closes: bool) -> Event<'static> {
    Event::Violation(Violation { fault, silent: false, closes, binary: None })
}

#[test]
fn a_login_is_a_set_whose_words_do_not_matter() {
    for line in [
        "set auth 0 0 10\r\n",
        "set auth 0 0 10\n",
        "  set  auth  zz  yy  +10 \r\n",
        "set auth 0 0 10 noreply\r\n",
        "set auth 0 0 10 more words of any kind\r\n",
    ] {
        let stream = [line.as_bytes(), b"app secret\r\n"].concat();
        let (events, decoder) = before(&stream);
        let data = Event::Data { piece: b"app secret", last: true };
        assert_eq!(events, [login(10), data], "{line}");
        assert!(!decoder.is_closed() && !decoder.in_data());
    }
    let long = [b"set ".as_slice(), &[b'x'; 3000], b" 0 0 0\r\n\r\n"].concat();
    assert_eq!(before(&long).0, [login(0), Event::Data { piece: b"", last: true }]);
}

#[test]
fn every_other_line_is_told_to_log_in() {
    for line in [
        "version",
        "get a",
        "abcde",
        "add auth 0 0 10",
        "settle auth 0 0 10",
        "set auth 0 0",
        "set auth 0 0 x",
        "set auth 0 0 10x",
        "set auth 0 0 -1",
        "set auth 0 0 2147483648",
        "mg key v",
        "\x00\x01\x02\x03\x04\x05",
    ] {
        let stream = format!("{line}\r\nversion\r\n");
        let expected = fault(Fault::LoginExpected, false);
        assert_eq!(before(stream.as_bytes()).0, [expected, fault(Fault::LoginExpected, false)]);
    }
}

#[test]
fn what_cannot_be_followed_closes() {
    for (stream, wrong) in [
        ("mn\r\n", Fault::LoginLineTooShort),
        ("abcd\n", Fault::LoginLineTooShort),
        ("GET / HTTP/1.1\r\nHost: a\r\n", Fault::HttpRequest),
        ("set auth 0 0 16385\r\n", Fault::LoginTooLong),
        ("set auth 0 0 2147483646\r\napp secret\r\n", Fault::LoginTooLong),
    ] {
        let (events, decoder) = before(stream.as_bytes());
        assert_eq!(events, [fault(wrong, true)], "{stream}");
        assert!(decoder.is_closed());
    }
    for start in [b"x".as_slice(), b"get ", b"set "] {
        let stream = [start, &[b'x'; limits::LINE_BYTES_MAX]].concat();
        assert_eq!(before(&stream).0, [fault(Fault::LineTooLong, true)], "get lines too");
    }
}

#[test]
fn a_block_that_does_not_end_is_told_so_and_never_runs() {
    let (events, _) = before(b"set auth 0 0 9\r\napp secret\r\nversion\r\n");
    let [first, Event::Violation(violation), last] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!((first, violation.fault), (&login(9), Fault::LoginTerminator));
    assert_eq!(*last, fault(Fault::LoginExpected, false));
}

#[test]
fn after_log_in_the_same_line_is_a_set() {
    let stream = b"set auth 0 0 1\r\nx\r\n";
    let mut decoder = Decoder::new(Dialect::Text);
    decoder.demand_login(true);
    decoder.demand_login(false);
    assert!(matches!(decoder.decode(stream).event, Event::Command(Command::Set(_))));
}

#[test]
fn splitting_a_login_anywhere_changes_nothing() {
    let stream = b"version\r\nset auth 0 0 10\r\napp secret\r\nget a\r\n";
    let shape = |events: &[Event<'_>]| -> Vec<String> {
        events
            .iter()
            .filter(|event| !matches!(event, Event::Data { last: false, .. }))
            .map(|event| match event {
                Event::Data { .. } => "data".to_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    };
    let whole = shape(&before(stream).0);
    for cut in 0..stream.len() {
        let mut decoder = Decoder::new(Dialect::Text);
        decoder.demand_login(true);
        let mut events = Vec::new();
        let mut at = 0;
        for end in [cut, stream.len()] {
            loop {
                let decoded = decoder.decode(&stream[at..end]);
                at += decoded.used;
                if decoded.event == Event::Incomplete {
                    break;
                }
                events.push(decoded.event);
            }
        }
        assert_eq!(shape(&events), whole, "cut at {cut}");
    }
}

#[test]
fn a_login_encodes_to_itself() {
    let mut out = Vec::new();
    Command::Login(Login { data_len: 10 }).encode(&mut out);
    out.extend(b"app secret\r\n");
    assert_eq!(before(&out).0.first(), Some(&login(10)));
}
