//! The grammar, line by line: what is a command, what is refused and how, and where the stream
//! goes on afterwards.

use super::{Decoder, Dialect, Event};
use crate::{
    command::{
        Admin, AdminVerb, Arithmetic, Classes, Command, Delete, Detail, Direction, Exptime, Get,
        Keys, Lru, LruCrawler, Set, SetMode, Slabs, Stats, Touch,
    },
    key::Key,
    limits,
    violation::{Fault, Violation},
};

mod admin;
mod binary;
mod login;
mod meta;
mod stream;
mod text;
mod usual;

/// All events of a stream that arrives at once.
fn events(dialect: Dialect, stream: &[u8]) -> (Vec<Event<'_>>, Decoder) {
    events_of(Decoder::new(dialect), stream)
}

fn events_of(mut decoder: Decoder, stream: &[u8]) -> (Vec<Event<'_>>, Decoder) {
    let mut events = Vec::new();
    let mut rest = stream;
    loop {
        let decoded = decoder.decode(rest);
        rest = &rest[decoded.used..];
        if decoded.event == Event::Incomplete {
            return (events, decoder);
        }
        events.push(decoded.event);
    }
}

/// The one command of a line.
fn command(line: &[u8]) -> Command<'_> {
    match events(Dialect::Auto, line).0.as_slice() {
        [Event::Command(command)] => *command,
        other => panic!("{}: {other:?}", line.escape_ascii()),
    }
}

/// The first event must be this violation; the next command must be reached, or not, as said.
#[track_caller]
fn assert_refused(stream: &[u8], fault: Fault, silent: bool, closes: bool) {
    let stream = [stream, b"mn\r\n"].concat();
    let (events, decoder) = events(Dialect::Auto, &stream);
    let violation = Violation { fault, silent, closes, binary: None };
    let shown = stream.escape_ascii();
    assert_eq!(events.first(), Some(&Event::Violation(violation)), "{shown}");
    assert_eq!(decoder.is_closed(), closes, "{shown}");
    if closes {
        assert_eq!(events.len(), 1, "{shown}");
    } else {
        assert_eq!(events.len(), 2, "{shown}: {events:?}");
        assert!(matches!(events[1], Event::Command(Command::Meta(_))), "{shown}");
    }
}

/// Refused aloud; the next line is read.
#[track_caller]
fn refused(stream: &[u8], fault: Fault) {
    assert_refused(stream, fault, false, false);
}

/// Refused without a word; the next line is read.
#[track_caller]
fn refused_silently(stream: &[u8], fault: Fault) {
    assert_refused(stream, fault, true, false);
}

/// Refused aloud; nothing more is read.
#[track_caller]
fn closed(stream: &[u8], fault: Fault) {
    assert_refused(stream, fault, false, true);
}

fn key(key: &[u8]) -> Key<'_> {
    Key::new(key).unwrap()
}

fn long_key() -> Vec<u8> {
    vec![b'k'; limits::KEY_BYTES_MAX + 1]
}
