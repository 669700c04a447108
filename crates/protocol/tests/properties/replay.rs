//! Feeds a stream to a decoder as a connection would and notes what came out. Shared with the fuzz
//! target, so that both ask the same of every stream.
//!
//! Checked here, for every stream:
//! - a call never uses more than it was lent, and every event makes progress;
//! - what has to be kept for an unfinished command is bounded;
//! - every command stands alone in the bytes that it is said to be read from;
//! - every command encodes to bytes that decode to the same command;
//! - however the stream is cut, the same things come out ([`assert_split_invariant`]).

use kannuki_protocol::{
    Command, Decoder, Dialect, Event, Violation,
    limits::{GET_LINE_BYTES_MAX, LINE_BYTES_MAX},
    violation::Fault,
};

/// What came out of a stream, independent of how data blocks were cut.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A command, as its debug form.
    Command(String),
    /// A sound data block.
    Block(Vec<u8>),
    /// What there was of the last data block when the stream ended.
    PartOfBlock(Vec<u8>),
    /// A breach.
    Violation(Violation),
}

/// Feeds `stream` in pieces of these lengths, the remainder last.
pub(crate) fn replay(
    dialect: Dialect,
    stream: &[u8],
    lengths: impl Iterator<Item = usize>,
) -> Vec<Seen> {
    let mut decoder = Decoder::new(dialect);
    let mut seen = Vec::new();
    let mut block = None;
    let mut unread = Vec::new();
    let mut rest = stream;
    for length in lengths.chain([usize::MAX]) {
        let (piece, later) = rest.split_at(length.min(rest.len()));
        rest = later;
        unread.extend_from_slice(piece);
        let used = drain(&mut decoder, &unread, &mut seen, &mut block);
        unread.drain(..used);
        assert!(decoder.is_closed() || unread.len() <= GET_LINE_BYTES_MAX);
        if rest.is_empty() {
            break;
        }
    }
    seen.extend(block.map(Seen::PartOfBlock));
    seen
}

/// The same things come out, wherever the stream was cut.
pub(crate) fn assert_split_invariant(
    dialect: Dialect,
    stream: &[u8],
    lengths: impl Iterator<Item = usize>,
) {
    let whole = replay(dialect, stream, std::iter::empty());
    let cut = replay(dialect, stream, lengths);
    if let Some((Seen::Violation(last), before)) = cut.split_last()
        && last.fault == Fault::LineTooLong
        && !whole.ends_with(&cut[cut.len() - 1..])
    {
        // The one exception: a long line passes only together with its end.
        assert!(stream.split(|&byte| byte == b'\n').any(|line| line.len() > LINE_BYTES_MAX));
        assert_eq!(whole.get(..before.len()), Some(before));
        return;
    }
    assert_eq!(whole, cut, "{}", stream.escape_ascii());
}

fn drain(
    decoder: &mut Decoder,
    unread: &[u8],
    seen: &mut Vec<Seen>,
    block: &mut Option<Vec<u8>>,
) -> usize {
    let mut used = 0;
    // A command takes at least three bytes, and only the end of a block may take none.
    for _ in 0..=unread.len() + 2 {
        let lent = &unread[used..];
        let decoded = decoder.decode(lent);
        assert!(decoded.used <= lent.len());
        used += decoded.used;
        match decoded.event {
            Event::Incomplete => return used,
            Event::Command(command) => {
                let source = &lent[decoded.skipped..decoded.used];
                assert_reads_as(&command, source);
                let mut encoded = Vec::new();
                command.encode(&mut encoded);
                assert_reads_as(&command, &encoded);
                let shown = format!("{command:?}");
                if command.data_len().is_some() && is_refused(&shown) {
                    decoder.discard_data();
                } else {
                    *block = command.data_len().map(|_| Vec::new());
                }
                seen.push(Seen::Command(shown));
            }
            Event::Data { piece, last } => {
                let mut bytes = block.take().expect("a block was announced");
                bytes.extend_from_slice(piece);
                if last {
                    seen.push(Seen::Block(bytes));
                } else {
                    assert!(!piece.is_empty());
                    *block = Some(bytes);
                }
            }
            Event::Violation(violation) => {
                *block = None;
                assert_eq!(violation.closes, decoder.is_closed());
                seen.push(Seen::Violation(violation));
            }
        }
    }
    panic!("no end in sight: {}", unread.escape_ascii());
}

/// Stands for a guard that refuses some commands; what it decides must depend on the command only.
fn is_refused(shown: &str) -> bool {
    shown.bytes().fold(0_u8, u8::wrapping_add) % 5 == 0
}

fn assert_reads_as(command: &Command<'_>, bytes: &[u8]) {
    let is_binary = matches!(command, Command::Binary(_));
    let dialect = if is_binary { Dialect::Binary } else { Dialect::Text };
    let decoded = Decoder::new(dialect).decode(bytes);
    assert_eq!(decoded.used, bytes.len(), "{}", bytes.escape_ascii());
    assert_eq!(decoded.event, Event::Command(*command), "{}", bytes.escape_ascii());
}
