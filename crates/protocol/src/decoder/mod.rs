//! Bytes in, events out.
//!
//! ```text
//!            +--------------------- block ended soundly ----------------------+
//!            v                                                                |
//!   --->  Between  -- command with a data block, or refused with one -->    Block
//!          |    ^                                                             |
//!          |    +------ next line end ------  Resync  <-- wrong terminator ---+
//!          v                                    |
//!        Closed  <---- fatal violation ---------+
//! ```
//!
//! Invariants:
//! - A byte is looked at once in search of a line end: `scanned` survives an `Incomplete`.
//! - Nothing is kept but these states; commands borrow from the caller's bytes.
//! - Which events come does not depend on how the stream was cut, with one exception that is
//!   memcached's own: a line longer than [`LINE_BYTES_MAX`] passes only if it arrives together with
//!   its end.

mod admin;
mod binary;
mod login;
mod meta;
mod text;
mod tokens;

use crate::{
    binary::MAGIC_REQUEST,
    command::{Command, Get, Set, SetMode},
    limits::{
        GET_LINE_BLANKS_MAX, GET_LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_WHOLE_BYTES_MAX,
        RESYNC_BYTES_MAX,
    },
    violation::{Fault, Violation},
};

/// Which protocol a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The first byte decides for good: 0x80 is binary, anything else text.
    Auto,
    /// Binary only.
    Binary,
    /// Text (classic and meta) only.
    Text,
}

/// What one call of [`Decoder::decode`] found.
#[must_use]
#[derive(Debug)]
pub struct Decoded<'b> {
    /// Bytes of `unread` that are done with; the caller drops them.
    pub used: usize,
    /// How many of them, at the start, nobody wanted: the rest of a refused or broken data block.
    /// What follows, up to `used`, is what the event was read from.
    pub skipped: usize,
    /// What they were.
    pub event: Event<'b>,
}

/// What happened in the stream.
#[derive(Debug, PartialEq)]
pub enum Event<'b> {
    /// A complete, valid command. If it has a data block, `Data` events follow, at least one.
    Command(Command<'b>),
    /// A piece of the data block of the last command. `last` only after its terminator was
    /// checked; a block that is whole in `unread` comes as one piece.
    Data {
        /// Never includes the terminator; empty if only the terminator was missing.
        piece: &'b [u8],
        /// The block is complete and sound.
        last: bool,
    },
    /// Nothing more can be said without more bytes.
    Incomplete,
    /// The peer broke the protocol. In the place of a last piece it ends the open data block, whose
    /// pieces so far are void.
    Violation(Violation),
}

/// A command that [`Decoder::usual`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usual<'b> {
    /// `get`
    Get(Get<'b>),
    /// `set`: a data block follows.
    Set(Set<'b>),
}

/// Turns the unread bytes of one connection into events. Owns no buffer.
#[derive(Debug)]
pub struct Decoder {
    dialect: Dialect,
    state: State,
    /// Text: no line counts but a log-in.
    login: bool,
}

impl Decoder {
    /// A decoder at the start of a connection, or of a datagram.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect, state: State::Between { scanned: 0 }, login: false }
    }

    /// Examines `unread` and reports one event. Call again with what is left, even if that is
    /// nothing, until it says `Incomplete`; after that only with more bytes behind the same ones.
    ///
    /// `Incomplete` may have used bytes: those of a data block that nobody wants. After a violation
    /// that closes, nothing is used any more.
    #[inline]
    pub fn decode<'b>(&mut self, unread: &'b [u8]) -> Decoded<'b> {
        let mut used = 0;
        // Each turn that reports nothing leaves a state for one further down this list (an unwanted
        // block, then a resync, then a line), so three turns are the most.
        loop {
            let rest = unread.get(used..).unwrap_or_default();
            let step = match self.state {
                State::Block(block) => self.block(block, rest),
                State::Resync { left } => self.resync(left, rest),
                State::Between { scanned } => self.between(scanned, rest),
                State::Closed => Step::report(0, Event::Incomplete),
            };
            if let Some(event) = step.event {
                return Decoded { skipped: used, used: used + step.used, event };
            }
            used += step.used;
        }
    }

    /// The command just handed out was refused, or its block is no longer wanted: swallows what is
    /// left of it, terminator included, without a word. No effect when no block is open.
    pub const fn discard_data(&mut self) {
        if let State::Block(block) = &mut self.state {
            block.wanted = false;
        }
    }

    /// From the next command on: whether text lines are log-ins and nothing else. A binary
    /// connection logs in by commands of its own.
    pub const fn demand_login(&mut self, demanded: bool) {
        self.login = demanded;
    }

    /// Which protocol the connection speaks; `None` before its first byte, where both are allowed.
    #[must_use]
    pub const fn is_binary(&self) -> Option<bool> {
        match self.dialect {
            Dialect::Auto => None,
            Dialect::Binary => Some(true),
            Dialect::Text => Some(false),
        }
    }

    /// A fatal violation happened: nothing is used any more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// A data block, wanted or not, or the remains of a broken one are being read.
    #[must_use]
    pub const fn in_data(&self) -> bool {
        matches!(self.state, State::Block(_) | State::Resync { .. })
    }

    /// The next command, if it is a plain `get` or `set` whose line is whole and sound, as nearly
    /// all are; with it the bytes of its line. `None`: nothing was used, and [`Decoder::decode`]
    /// tells what comes. The same rules, without the weight of all that a stream can hold.
    #[inline]
    pub fn usual<'b>(&mut self, unread: &'b [u8]) -> Option<(Usual<'b>, usize)> {
        let State::Between { scanned: 0 } = self.state else { return None };
        if self.dialect != Dialect::Text || self.login {
            return None;
        }
        let verb = unread.first_chunk::<4>()?;
        if verb != b"get " && verb != b"set " {
            return None;
        }
        let end = memchr::memchr(b'\n', unread).filter(|&end| end < LINE_WHOLE_BYTES_MAX)?;
        let line = unread.get(verb.len()..end)?;
        let arguments = tokens::trim(line.strip_suffix(b"\r").unwrap_or(line));
        let usual = if verb == b"get " {
            Usual::Get(text::get(arguments, false).ok()?)
        } else {
            let set = text::storage(arguments, SetMode::Set, false).ok()?;
            self.state = State::Block(Block::of_text(set.data_len, set.noreply));
            Usual::Set(set)
        };
        Some((usual, end + 1))
    }

    /// The data block of the command just handed out, if it is wanted and lies whole and sound at
    /// the start of `unread`; with it the bytes that are done with. `None`: nothing was used, and
    /// [`Decoder::decode`] tells why.
    #[inline]
    pub fn whole_block<'b>(&mut self, unread: &'b [u8]) -> Option<(&'b [u8], usize)> {
        let State::Block(Block { remaining, terminated, wanted: true, .. }) = self.state else {
            return None;
        };
        let (piece, behind) = unread.split_at_checked(remaining as usize)?;
        let end = if terminated { TERMINATOR } else { &[] };
        if !behind.starts_with(end) {
            return None;
        }
        self.state = State::Between { scanned: 0 };
        Some((piece, piece.len() + end.len()))
    }

    /// The start of a command, of either protocol.
    #[inline(always)]
    fn between<'b>(&mut self, scanned: usize, unread: &'b [u8]) -> Step<'b> {
        let Some(&first) = unread.first() else { return Step::report(0, Event::Incomplete) };
        if self.dialect == Dialect::Auto {
            let binary = first == MAGIC_REQUEST;
            self.dialect = if binary { Dialect::Binary } else { Dialect::Text };
        }
        if self.dialect == Dialect::Binary {
            return self.frame(unread);
        }
        let found = unread.get(scanned..).and_then(|fresh| memchr::memchr(b'\n', fresh));
        match found.and_then(|at| unread.split_at_checked(scanned + at + 1)) {
            Some((line, _)) => self.line(line),
            None => self.unfinished_line(unread),
        }
    }

    #[inline(never)]
    fn unfinished_line<'b>(&mut self, unread: &'b [u8]) -> Step<'b> {
        let length = unread.len();
        if length > LINE_BYTES_MAX {
            if self.login || !is_get(unread) {
                return self.close(0, Fault::LineTooLong);
            }
            if length > GET_LINE_BYTES_MAX {
                return self.close(0, Fault::GetLineTooLong);
            }
        }
        self.state = State::Between { scanned: length };
        Step::report(0, Event::Incomplete)
    }

    /// A whole line, its end included.
    #[inline(always)]
    fn line<'b>(&mut self, line: &'b [u8]) -> Step<'b> {
        let used = line.len();
        if used > LINE_WHOLE_BYTES_MAX {
            if self.login || !is_get(line) {
                return self.close(0, Fault::LineTooLong);
            }
            if used > GET_LINE_BYTES_MAX {
                return self.close(0, Fault::GetLineTooLong);
            }
        }
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        let parsed = if self.login { login::parse(bare, used) } else { text::parse(bare, used) };
        match parsed {
            Ok(command) => {
                self.state = match command.data_len() {
                    Some(data_len) => {
                        let silent = matches!(command, Command::Set(set) if set.noreply);
                        State::Block(Block::of_text(data_len, silent))
                    }
                    None => State::Between { scanned: 0 },
                };
                Step::report(used, Event::Command(command))
            }
            Err(refusal) => self.refuse(used, refusal),
        }
    }

    #[inline(never)]
    fn refuse<'b>(&mut self, used: usize, refusal: Refusal) -> Step<'b> {
        let Refusal { violation, swallow } = refusal;
        self.state = match swallow {
            _ if violation.closes => State::Closed,
            Some(remaining) => {
                State::Block(Block { remaining, terminated: true, silent: true, wanted: false })
            }
            None => State::Between { scanned: 0 },
        };
        Step::report(used, Event::Violation(violation))
    }

    /// A binary request.
    #[inline(never)]
    fn frame<'b>(&mut self, unread: &'b [u8]) -> Step<'b> {
        match binary::parse(unread) {
            Ok(None) => Step::report(0, Event::Incomplete),
            Ok(Some(binary::Parsed { command, used, body_left })) => {
                let wanted = command.data_len().is_some();
                self.state = if wanted || body_left > 0 {
                    let silent = true; // Without terminator there is nothing to be said.
                    State::Block(Block { remaining: body_left, terminated: false, silent, wanted })
                } else {
                    State::Between { scanned: 0 }
                };
                Step::report(used, Event::Command(Command::Binary(command)))
            }
            Err(violation) => {
                self.state = State::Closed;
                Step::report(0, Event::Violation(violation))
            }
        }
    }

    /// Inside a data block.
    #[inline(never)]
    fn block<'b>(&mut self, mut block: Block, unread: &'b [u8]) -> Step<'b> {
        let remaining = block.remaining as usize;
        let cut = remaining.min(unread.len());
        let (piece, behind) = unread.split_at_checked(cut).unwrap_or((unread, &[]));
        let end = if block.terminated { TERMINATOR } else { &[] };
        if cut < remaining || behind.len() < end.len() {
            // Cannot truncate: `cut` is at most `remaining`.
            block.remaining = block.remaining.saturating_sub(u32::try_from(cut).unwrap_or(0));
            self.state = State::Block(block);
            if block.wanted && cut > 0 {
                return Step::report(cut, Event::Data { piece, last: false });
            }
            return Step::report(cut, Event::Incomplete);
        }
        if !behind.starts_with(end) {
            // The wrong bytes may hold the line end that is looked for, so they are not skipped.
            self.state = State::Resync { left: RESYNC_BYTES_MAX };
            let fault = if self.login { Fault::LoginTerminator } else { Fault::BadTerminator };
            let violation = Violation::text(fault, block.silent);
            let event = block.wanted.then_some(Event::Violation(violation));
            return Step { used: cut, event };
        }
        self.state = State::Between { scanned: 0 };
        let event = block.wanted.then_some(Event::Data { piece, last: true });
        Step { used: cut + end.len(), event }
    }

    /// Behind a wrong terminator: whatever is left of the block must not run as commands.
    #[inline(never)]
    fn resync<'b>(&mut self, left: usize, unread: &'b [u8]) -> Step<'b> {
        let window = unread.get(..left).unwrap_or(unread);
        if let Some(at) = memchr::memchr(b'\n', window) {
            self.state = State::Between { scanned: 0 };
            return Step { used: at + 1, event: None };
        }
        let left = left - window.len();
        if left == 0 {
            return self.close(window.len(), Fault::ResyncTooLong);
        }
        self.state = State::Resync { left };
        Step::report(window.len(), Event::Incomplete)
    }

    #[inline(never)]
    fn close<'b>(&mut self, used: usize, fault: Fault) -> Step<'b> {
        self.state = State::Closed;
        Step::report(used, Event::Violation(Violation::fatal(fault)))
    }
}

/// The end of a data block of the text protocols; exactly this, whatever ended the command line.
const TERMINATOR: &[u8] = b"\r\n";

/// Where the decoder is in the stream.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before or inside a command line or frame; this many bytes of it hold no line end.
    Between { scanned: usize },
    /// Inside a data block.
    Block(Block),
    /// Looking for a line end, through this many bytes more at most.
    Resync { left: usize },
    /// After a fatal violation.
    Closed,
}

/// A data block whose command has been handed out or refused.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Bytes of the value still to come.
    remaining: u32,
    /// CR LF follows (text, meta), or nothing (binary).
    terminated: bool,
    /// A wrong terminator is not answered.
    silent: bool,
    /// The caller gets the pieces.
    wanted: bool,
}

impl Block {
    /// That of a command that is handed out.
    const fn of_text(data_len: u32, silent: bool) -> Self {
        Self { remaining: data_len, terminated: true, silent, wanted: true }
    }
}

/// One turn of the machine; without event it goes on at once.
struct Step<'b> {
    used: usize,
    event: Option<Event<'b>>,
}

impl<'b> Step<'b> {
    const fn report(used: usize, event: Event<'b>) -> Self {
        Self { used, event: Some(event) }
    }
}

/// A text command that cannot be served.
#[derive(Debug)]
struct Refusal {
    violation: Violation,
    /// Its data block has this length and must not run as commands.
    swallow: Option<u32>,
}

impl Refusal {
    const fn new(fault: Fault, silent: bool) -> Self {
        Self { violation: Violation::text(fault, silent), swallow: None }
    }

    const fn with_block(fault: Fault, silent: bool, data_len: u32) -> Self {
        Self { violation: Violation::text(fault, silent), swallow: Some(data_len) }
    }

    const fn fatal(fault: Fault) -> Self {
        Self { violation: Violation::fatal(fault), swallow: None }
    }
}

/// Whether the line may grow to [`GET_LINE_BYTES_MAX`]. Blanks before the command are forgiven here
/// as in memcached, though the command is then unknown.
fn is_get(line: &[u8]) -> bool {
    let blanks =
        line.iter().take(GET_LINE_BLANKS_MAX + 1).take_while(|&&byte| byte == b' ').count();
    let command = line.get(blanks..).unwrap_or_default();
    blanks <= GET_LINE_BLANKS_MAX && (command.starts_with(b"get ") || command.starts_with(b"gets "))
}

#[cfg(test)]
mod tests;
