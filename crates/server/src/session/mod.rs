//! The conversation with one peer, without a socket: unread bytes in, replies out.
//!
//! Here is the way of every command. What a data block needs beside it is in [`block`], who the peer
//! is and how it logs in in [`identity`], what `-vv` shows in [`verbose`]; each has invariants of its
//! own.
//!
//! Invariants:
//! - Replies leave in the order of the commands, so nothing is executed while the outcome of a
//!   log-in is awaited.
//! - Nothing is executed while the output is full, so what a peer does not read bounds what is done
//!   for it.
#![deny(clippy::indexing_slicing)]

mod block;
mod identity;
mod verbose;

use kannuki_guard::Access;
use kannuki_protocol::{
    Command, Decoder, Dialect, Event, Usual,
    command::{Admin, AdminVerb, Get, Keys, LruCrawler, Stats},
};

use self::block::Block;
use crate::{
    config::LoginConfig,
    counters::Counter,
    dispatch::{Turn, admin, ahead::Place, binary, classic, classic::Listing, meta},
    dump::{self, Dump},
    login::{Gathering, Login, Pending},
    output::Output,
    refusals,
};

/// One peer's conversation.
#[derive(Debug)]
pub(crate) struct Session {
    decoder: Decoder,
    access: Access,
    stage: Stage,
    /// How far the peer's log-in has come; `None` = there are no users.
    login: Option<Box<Login>>,
    /// Bytes of a log-in have passed through the buffers since the last look.
    secret: bool,
}

/// What the session is in the middle of.
#[derive(Debug)]
enum Stage {
    /// Nothing: the next bytes are a command.
    Commands,
    /// A list of keys whose line is still in the unread bytes.
    Keys { listing: Listing, rest: usize, tail: usize },
    /// A data block that arrives in pieces.
    Block(Box<Block>),
    /// A dump.
    Dump(Box<Dump>),
    /// A log-in that arrives in pieces.
    Login(Box<Gathering>),
    /// A log-in whose outcome, or whose answer, is awaited.
    Pending(Box<Pending>),
}

/// How far one call of [`Session::advance`] came.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of the input that are done with.
    pub used: usize,
    /// What has to happen before the next call.
    pub next: Next,
}

/// What a session needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes.
    Read,
    /// Its turn again: the budget of this turn is used up.
    Yield,
    /// Room in the output.
    Flush,
    /// The outcome of a log-in ([`Session::take_attempt`]), or the time to tell it.
    Hold,
    /// Nothing: send what is there, then close.
    Close,
}

/// What one step did: bytes used, and whether the session has to stop here.
struct Stepped {
    used: usize,
    next: Option<Next>,
}

impl Stepped {
    const fn on(used: usize) -> Self {
        Self { used, next: None }
    }
}

impl Session {
    /// A peer that was admitted, on a listener of this dialect.
    #[must_use]
    pub(crate) fn new(dialect: Dialect, access: Access, login: Option<&LoginConfig>) -> Self {
        let mut decoder = Decoder::new(dialect);
        decoder.demand_login(login.is_some_and(|login| login.text));
        let login = login.map(|_| Box::default());
        Self { decoder, access, stage: Stage::Commands, login, secret: false }
    }

    /// Executes what is complete in `unread`, at most `budget` commands.
    pub(crate) fn advance(
        &mut self,
        turn: &Turn<'_>,
        unread: &[u8],
        budget: &mut u32,
        out: &mut Output,
    ) -> Progress {
        if let Err(denial) = self.renew_access(turn) {
            turn.counters.add_refusal(refusals::of_denial(&denial));
            return Progress { used: 0, next: Next::Close };
        }
        let mut used = 0;
        loop {
            if out.is_full() {
                return Progress { used, next: Next::Flush };
            }
            let rest = unread.get(used..).unwrap_or_default();
            if *budget == 0 && self.has_work(rest) {
                return Progress { used, next: Next::Yield };
            }
            let replied = out.len();
            let stepped = match self.stage {
                Stage::Commands | Stage::Block(_) | Stage::Login(_) => {
                    self.event(turn, rest, budget, out)
                }
                _ => self.go_on(turn, rest, budget, out),
            };
            if turn.verbose {
                self.log_reply(out.since(replied));
            }
            used += stepped.used;
            if let Some(next) = stepped.next {
                return Progress { used, next };
            }
        }
    }

    /// Goes on with what takes more than one step.
    fn go_on(
        &mut self,
        turn: &Turn<'_>,
        rest: &[u8],
        budget: &mut u32,
        out: &mut Output,
    ) -> Stepped {
        let stage = match std::mem::replace(&mut self.stage, Stage::Commands) {
            Stage::Pending(pending) if !pending.is_due(turn.now) => {
                self.stage = Stage::Pending(pending);
                return Stepped { used: 0, next: Some(Next::Hold) };
            }
            stage => stage,
        };
        *budget = budget.saturating_sub(1);
        match stage {
            Stage::Keys { listing, rest: length, tail } => {
                self.keys(turn, rest, listing, length, tail, out)
            }
            Stage::Dump(dump) => self.dump(turn, dump, out),
            Stage::Pending(pending) => {
                Stepped { used: 0, next: self.answer_login(turn, *pending, out.bytes()) }
            }
            Stage::Commands | Stage::Block(_) | Stage::Login(_) => Stepped::on(0),
        }
    }

    /// Whether something could be done without more bytes. The pieces of a data block are not
    /// commands: they are taken as they come.
    const fn has_work(&self, rest: &[u8]) -> bool {
        match self.stage {
            Stage::Commands => !rest.is_empty(),
            Stage::Keys { .. } | Stage::Dump(_) => true,
            Stage::Block(_) | Stage::Login(_) | Stage::Pending(_) => false,
        }
    }

    /// Whether the peer is in the middle of a command.
    #[must_use]
    pub(crate) const fn is_between_commands(&self) -> bool {
        matches!(self.stage, Stage::Commands)
    }

    /// What the unread bytes begin with.
    #[must_use]
    pub(crate) const fn place(&self) -> Place {
        match self.stage {
            Stage::Commands if !self.decoder.in_data() => Place::Command,
            Stage::Keys { rest, .. } => Place::Keys(rest),
            _ => Place::Elsewhere,
        }
    }

    /// Whether a value is arriving.
    #[must_use]
    pub(crate) const fn is_in_block(&self) -> bool {
        matches!(self.stage, Stage::Block(_) | Stage::Login(_))
    }

    /// Whether a data block that nobody wants is being swallowed.
    #[must_use]
    pub(crate) const fn is_discarding(&self) -> bool {
        self.decoder.in_data() && !self.is_in_block()
    }

    fn event(
        &mut self,
        turn: &Turn<'_>,
        rest: &[u8],
        budget: &mut u32,
        out: &mut Output,
    ) -> Stepped {
        if let Some((usual, used)) = self.decoder.usual(rest) {
            let (head, after) = rest.split_at_checked(used).unwrap_or((rest, &[]));
            self.begins(turn, head, budget);
            return match usual {
                Usual::Get(get) => self.begin_keys(turn, &get, head, out),
                Usual::Set(set) => {
                    let block = self.begin_block(turn, &Command::Set(set), head, after, out);
                    Stepped::on(used + block)
                }
            };
        }
        let decoded = self.decoder.decode(rest);
        let used = decoded.used;
        match decoded.event {
            Event::Incomplete => Stepped { used, next: Some(Next::Read) },
            Event::Command(command) => {
                let skipped = decoded.skipped;
                let head = rest.get(skipped..used).unwrap_or_default();
                self.begins(turn, head, budget);
                let after = rest.get(used..).unwrap_or_default();
                let stepped = self.command(turn, &command, head, after, out);
                Stepped { used: skipped + stepped.used, next: stepped.next }
            }
            Event::Data { piece, last } => {
                let next = self.data(turn, piece, last, out);
                Stepped { used, next }
            }
            Event::Violation(violation) => {
                self.violated(turn, violation.fault);
                violation.encode(out.bytes());
                *budget = budget.saturating_sub(1);
                Stepped { used, next: violation.closes.then_some(Next::Close) }
            }
        }
    }

    /// A command is about to be executed.
    #[inline]
    fn begins(&self, turn: &Turn<'_>, head: &[u8], budget: &mut u32) {
        *budget = budget.saturating_sub(1);
        turn.counters.add(Counter::Commands, 1);
        if turn.verbose {
            self.log_command(head);
        }
    }

    fn command(
        &mut self,
        turn: &Turn<'_>,
        command: &Command<'_>,
        head: &[u8],
        after: &[u8],
        out: &mut Output,
    ) -> Stepped {
        let used = head.len();
        if let Some(stepped) = self.login_first(turn, command, used, out.bytes()) {
            return stepped;
        }
        if command.data_len().is_some() {
            return Stepped::on(used + self.begin_block(turn, command, head, after, out));
        }
        let access = &self.access;
        match command {
            Command::Get(get) => return self.begin_keys(turn, get, head, out),
            Command::Admin(asked) => return self.admin(turn, asked, used, out),
            Command::Touch(touch) => classic::touch(turn, access, touch, out.bytes()),
            Command::Delete(delete) => classic::delete(turn, access, delete, out.bytes()),
            Command::Arithmetic(asked) => classic::arithmetic(turn, access, asked, out.bytes()),
            Command::Meta(asked) => meta::run(turn, access, asked, out),
            Command::Binary(asked) => {
                let next = binary::run(turn, access, asked, out);
                return Stepped { used, next };
            }
            // `Set` has a data block; the enum may grow, and then the compiler of `data_len` knows.
            _ => {}
        }
        Stepped::on(used)
    }

    fn admin(
        &mut self,
        turn: &Turn<'_>,
        asked: &Admin<'_>,
        used: usize,
        out: &mut Output,
    ) -> Stepped {
        match asked.verb {
            AdminVerb::Quit => return Stepped { used, next: Some(Next::Close) },
            AdminVerb::LruCrawler(LruCrawler::Metadump(classes)) => {
                self.begin_dump(dump::metadump(turn, &self.access, classes, out.bytes()));
            }
            AdminVerb::LruCrawler(LruCrawler::Mgdump(classes)) => {
                self.begin_dump(dump::mgdump(turn, &self.access, classes, out.bytes()));
            }
            AdminVerb::Stats(Stats::Cachedump { class, limit }) => {
                self.begin_dump(dump::cachedump(turn, &self.access, class, limit, out.bytes()));
            }
            _ => {
                let stop = admin::run(turn, &self.access, asked, out.bytes());
                return Stepped { used, next: stop.then_some(Next::Close) };
            }
        }
        Stepped::on(used)
    }

    fn begin_dump(&mut self, dump: Option<Dump>) {
        if let Some(dump) = dump {
            self.stage = Stage::Dump(Box::new(dump));
        }
    }

    fn dump(&mut self, turn: &Turn<'_>, mut dump: Box<Dump>, out: &mut Output) -> Stepped {
        if dump.step(turn, &self.access, out.bytes()) {
            self.stage = Stage::Dump(dump);
        }
        Stepped::on(0)
    }

    fn begin_keys(
        &mut self,
        turn: &Turn<'_>,
        get: &Get<'_>,
        head: &[u8],
        out: &mut Output,
    ) -> Stepped {
        let mut keys = get.keys;
        let single = keys.is_single();
        let listing = Listing { touch: get.touch, with_cas: get.with_cas, single };
        if classic::get(turn, &self.access, listing, &mut keys, out) {
            return Stepped::on(head.len());
        }
        let tail = head.len() - without_end(head).len();
        let rest = keys.rest().len();
        self.stage = Stage::Keys { listing, rest, tail };
        Stepped::on(head.len().saturating_sub(tail + rest))
    }

    /// Answers the keys in the first `length` bytes of `rest`; `tail` bytes end their line.
    fn keys(
        &mut self,
        turn: &Turn<'_>,
        rest: &[u8],
        listing: Listing,
        length: usize,
        tail: usize,
        out: &mut Output,
    ) -> Stepped {
        let mut keys = Keys::new(rest.get(..length).unwrap_or_default());
        if classic::get(turn, &self.access, listing, &mut keys, out) {
            return Stepped::on(length + tail);
        }
        let left = keys.rest().len();
        self.stage = Stage::Keys { listing, rest: left, tail };
        Stepped::on(length - left)
    }
}

/// A command line without its newline and the blanks before it.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let blanks = line.iter().rev().take_while(|&&byte| byte == b' ').count();
    line.get(..line.len() - blanks).unwrap_or(line)
}
