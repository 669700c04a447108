//! The conversation with one peer, without a socket: unread bytes in, replies out.
//!
//! Invariants:
//! - Replies leave in the order of the commands.
//! - A data block is accepted only after its command was permitted; a refused one is swallowed
//!   unbuffered. A block that is whole in the read buffer is stored by one copy.
//! - Where a log-in is demanded nothing is executed before it but `version` of the binary protocol,
//!   and nothing at all while its outcome is awaited.
//! - Nothing is executed while the output is full, so what a peer does not read bounds what is done
//!   for it.
#![deny(clippy::indexing_slicing)]

use kannuki_guard::{Access, CertificateNames, Denial, Permit, action};
use kannuki_protocol::{
    Command, Decoder, Dialect, Event, Usual,
    binary::{Binary, BinaryVerb},
    command::{Admin, AdminVerb, Get, Keys, LruCrawler, Stats},
    limits::KEY_BYTES_MAX,
    violation::Fault,
};

use crate::{
    auth::{Attempt, Identity, Outcome},
    config::LoginConfig,
    counters::Counter,
    dispatch::{Payload, Turn, admin, ahead::Place, binary, classic, classic::Listing, meta},
    dump::{self, Dump},
    limits::LOGGED_BYTES_MAX,
    login::{self, After, Asked, Gathering, Login, Pending, Way},
    memory::Reservation,
    output::Output,
    prefixes::Tally,
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

/// A permitted command whose value is still arriving. The command line is kept as it came and
/// decoded again when the value is whole.
#[derive(Debug)]
struct Block {
    head: Box<[u8]>,
    reservation: Reservation,
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

    /// The peer has proven to hold a certificate with these names: it is judged anew.
    ///
    /// # Errors
    /// With that certificate it may not be here.
    pub(crate) fn proven(
        &mut self,
        turn: &Turn<'_>,
        names: CertificateNames,
    ) -> Result<(), Denial> {
        let peer = self.access.peer().clone().with_certificate(names);
        self.access = turn.rules.guard.admit(&peer)?;
        Ok(())
    }

    /// After a reload the peer is judged anew, once.
    fn renew_access(&mut self, turn: &Turn<'_>) -> Result<(), Denial> {
        if !turn.rules.guard.is_current(&self.access) {
            let known = |identity| {
                let authority = turn.instance.authority.as_ref();
                authority.is_some_and(|authority| authority.users().still_have(identity))
            };
            let identity = self.login.as_ref().and_then(|login| login.identity());
            if !identity.is_none_or(known) {
                return Err(refusals::USER_GONE);
            }
            self.access = turn.rules.guard.admit(self.access.peer())?;
        }
        Ok(())
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

    /// Who the peer is.
    #[must_use]
    pub(crate) fn peer(&self) -> &kannuki_guard::Peer {
        self.access.peer()
    }

    /// The attempt to be checked, once; after that comes [`Session::decided`].
    #[must_use]
    pub(crate) fn take_attempt(&mut self) -> Option<Attempt> {
        let Stage::Pending(pending) = &mut self.stage else { return None };
        pending.take()
    }

    /// The outcome of the attempt is known.
    pub(crate) fn decided(&mut self, turn: &Turn<'_>, outcome: Outcome) {
        let delay_secs = turn.instance.config.login.as_ref().map_or(0, |login| login.delay_secs);
        if let Stage::Pending(pending) = &mut self.stage {
            pending.decided(outcome, turn.now, delay_secs);
        }
    }

    /// Whether the outcome of a log-in, or the time to tell it, is awaited.
    #[must_use]
    pub(crate) const fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Pending(_))
    }

    /// Whether the answer to a log-in has been held back and may go.
    #[must_use]
    pub(crate) fn is_due(&self, turn: &Turn<'_>) -> bool {
        matches!(&self.stage, Stage::Pending(pending) if pending.is_due(turn.now))
    }

    /// Whether the peer has to log in, has not, and nobody but itself keeps it from that.
    #[must_use]
    pub(crate) fn keeps_login_waiting(&self, turn: &Turn<'_>) -> bool {
        self.lacks_login(turn) && !self.is_held()
    }

    /// Whether [`Self::took_secret`] will say so.
    #[must_use]
    pub(crate) const fn has_secret(&self) -> bool {
        self.secret
    }

    /// Whether a log-in passed through the buffers since the last call, so that they have to be
    /// wiped.
    #[must_use]
    pub(crate) const fn took_secret(&mut self) -> bool {
        std::mem::replace(&mut self.secret, false)
    }

    fn lacks_login(&self, turn: &Turn<'_>) -> bool {
        turn.rules.guard.policy().login_required && self.access.peer().user().is_none()
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

    /// `-vv`: the line as it came, without its data block, escaped.
    #[cold]
    fn log_command(&self, head: &[u8]) {
        let command = shown(head);
        tracing::debug!(peer = ?self.access.peer().address(), %command, "received");
    }

    /// `-vv`: the first line of what is answered, escaped.
    #[cold]
    fn log_reply(&self, reply: &[u8]) {
        if !reply.is_empty() {
            let line = reply.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let reply = shown(line);
            tracing::debug!(peer = ?self.access.peer().address(), %reply, "answered");
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

    /// A command with a data block: decides, then takes the block at once if it is all there.
    /// Returns how many bytes of `after` it used.
    fn begin_block(
        &mut self,
        turn: &Turn<'_>,
        command: &Command<'_>,
        head: &[u8],
        after: &[u8],
        out: &mut Output,
    ) -> usize {
        let mut room = [0; KEY_BYTES_MAX];
        let Some(permit) = allowed(turn, &self.access, command, &mut room, out.bytes()) else {
            self.decoder.discard_data();
            return 0;
        };
        if let Some(key) = permit.key().filter(|_| !matches!(command, Command::Meta(_))) {
            turn.instance.prefixes.count(key, Tally::Set);
        }
        let length = command.data_len().unwrap_or(0) as usize;
        let terminator = if matches!(command, Command::Binary(_)) { 0 } else { 2 };
        if after.len() < length + terminator {
            match reserve(turn, permit, command, out.bytes()) {
                Some(reservation) => {
                    self.stage = Stage::Block(Box::new(Block { head: head.into(), reservation }));
                }
                None => self.decoder.discard_data(),
            }
            return 0;
        }
        if let Some((value, used)) = self.decoder.whole_block(after) {
            store(turn, permit, command, Payload::Whole(value), out);
            return used;
        }
        let decoded = self.decoder.decode(after);
        // The block is whole, so its end is wrong.
        if let Event::Violation(violation) = decoded.event {
            refusals::count_fault(turn.counters, violation.fault);
            count_bad_block(turn, command);
            violation.encode(out.bytes());
        }
        decoded.used
    }

    fn data(
        &mut self,
        turn: &Turn<'_>,
        piece: &[u8],
        last: bool,
        out: &mut Output,
    ) -> Option<Next> {
        match &mut self.stage {
            Stage::Block(block) => block.reservation.fill(piece),
            Stage::Login(gathering) => {
                gathering.fill(piece);
                self.secret = true;
            }
            _ => return None,
        }
        if !last {
            return None;
        }
        let block = match std::mem::replace(&mut self.stage, Stage::Commands) {
            Stage::Login(gathered) => return self.login_gathered(turn, *gathered, out.bytes()),
            Stage::Block(block) => block,
            _ => return None,
        };
        let Block { head, reservation } = *block;
        let Event::Command(command) = decoder_of(&head).decode(&head).event else { return None };
        // The block took its time, and the first permit went into the reservation: under rules that
        // changed meanwhile this may be another answer.
        let mut room = [0; KEY_BYTES_MAX];
        if let Some(permit) = allowed(turn, &self.access, &command, &mut room, out.bytes()) {
            store(turn, permit, &command, Payload::Gathered(reservation), out);
        }
        None
    }

    /// Counts a violation by its name; one that ends a data block ends its command too.
    fn violated(&mut self, turn: &Turn<'_>, fault: Fault) {
        refusals::count_fault(turn.counters, fault);
        if let Stage::Block(block) = std::mem::replace(&mut self.stage, Stage::Commands)
            && let Event::Command(command) = decoder_of(&block.head).decode(&block.head).event
        {
            count_bad_block(turn, &command);
        }
    }
}

/// Logging in.
impl Session {
    /// What belongs to a log-in, and what has to wait for one; `None` = an ordinary command.
    fn login_first(
        &mut self,
        turn: &Turn<'_>,
        command: &Command<'_>,
        used: usize,
        out: &mut Vec<u8>,
    ) -> Option<Stepped> {
        match command {
            Command::Login(asked) => {
                let gathering = Gathering::new(Way::Text, asked.data_len);
                self.stage = Stage::Login(Box::new(gathering));
                Some(Stepped::on(used))
            }
            Command::Binary(asked) => self.sasl(turn, asked, used, out),
            _ => None,
        }
    }

    fn sasl(
        &mut self,
        turn: &Turn<'_>,
        asked: &Binary<'_>,
        used: usize,
        out: &mut Vec<u8>,
    ) -> Option<Stepped> {
        let authority = turn.instance.authority.as_ref()?;
        let sasl = authority.config().sasl;
        match asked.verb {
            BinaryVerb::SaslList if sasl => login::list(authority, asked, out),
            BinaryVerb::SaslAuth { .. } | BinaryVerb::SaslStep { .. } if sasl => {
                match login::begin(asked, out) {
                    Asked::Gather(gathering) => self.stage = Stage::Login(Box::new(gathering)),
                    Asked::Refused => {
                        turn.counters.add(Counter::AuthCmds, 1);
                        turn.counters.add(Counter::AuthErrors, 1);
                        refusals::count_fault(turn.counters, Fault::LoginShape);
                        self.decoder.discard_data();
                    }
                }
            }
            BinaryVerb::Version => return None,
            _ if !self.lacks_login(turn) => return None,
            _ => {
                turn.counters.add_refusal(refusals::of_denial(&refusals::USER_GONE));
                login::demand(asked, out);
                return Some(Stepped { used, next: Some(Next::Close) });
            }
        }
        Some(Stepped::on(used))
    }

    fn login_gathered(
        &mut self,
        turn: &Turn<'_>,
        gathered: Gathering,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let (Some(login), Some(authority)) = (&mut self.login, &turn.instance.authority) else {
            return Some(Next::Close);
        };
        let way = gathered.way();
        let after = login.gathered(turn, authority, gathered, out);
        self.login_went(turn, way, after, out)
    }

    fn answer_login(
        &mut self,
        turn: &Turn<'_>,
        pending: Pending,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let Some(login) = &mut self.login else { return Some(Next::Close) };
        let way = pending.way();
        let after = login.settle(turn, pending, out);
        self.login_went(turn, way, after, out)
    }

    fn login_went(
        &mut self,
        turn: &Turn<'_>,
        way: Way,
        after: After,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        match after {
            After::Answered => self.renounce(turn),
            After::Close => Some(Next::Close),
            After::Admitted(identity) => self.become_user(turn, way, identity, out),
            After::Wait(pending) => {
                self.stage = Stage::Pending(pending);
                None
            }
        }
    }

    /// The peer has proved to be this user: the guard says what that means.
    fn become_user(
        &mut self,
        turn: &Turn<'_>,
        way: Way,
        identity: Identity,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let login = self.login.as_mut()?;
        let authority = turn.instance.authority.as_ref()?;
        if !authority.users().still_have(&identity) {
            // The file has changed since the outcome was found.
            login.fail(turn, way, out);
            return self.renounce(turn);
        }
        let peer = self.access.peer().clone().with_user(identity.name.clone());
        match turn.rules.guard.admit(&peer) {
            Ok(access) => self.access = access,
            Err(denial) => {
                turn.counters.add_refusal(refusals::of_denial(&denial));
                return Some(Next::Close);
            }
        }
        login.admit(identity);
        self.decoder.demand_login(false);
        login::succeed(way, out);
        None
    }

    /// After a log-in that failed the peer is nobody, also if it was somebody before.
    fn renounce(&mut self, turn: &Turn<'_>) -> Option<Next> {
        let is_somebody = self.login.as_ref().is_some_and(|login| login.identity().is_some());
        if is_somebody || self.access.peer().user().is_none() {
            return None;
        }
        match turn.rules.guard.admit(&self.access.peer().clone().without_user()) {
            Ok(access) => {
                self.access = access;
                None
            }
            Err(denial) => {
                turn.counters.add_refusal(refusals::of_denial(&denial));
                Some(Next::Close)
            }
        }
    }
}

/// The start of a line, safe to print.
fn shown(line: &[u8]) -> String {
    let (line, rest) = line.split_at_checked(LOGGED_BYTES_MAX).unwrap_or((line, &[]));
    let more = if rest.is_empty() { "" } else { "..." };
    format!("{}{more}", line.trim_ascii_end().escape_ascii())
}

/// A command line without its newline and the blanks before it.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let blanks = line.iter().rev().take_while(|&&byte| byte == b' ').count();
    line.get(..line.len() - blanks).unwrap_or(line)
}

fn decoder_of(head: &[u8]) -> Decoder {
    let binary = head.first() == Some(&kannuki_protocol::binary::MAGIC_REQUEST);
    Decoder::new(if binary { Dialect::Binary } else { Dialect::Text })
}

/// Asks the guard whether a value may come; `None`: refused and answered.
fn allowed<'r>(
    turn: &Turn<'_>,
    access: &Access,
    command: &Command<'r>,
    room: &'r mut [u8; KEY_BYTES_MAX],
    out: &mut Vec<u8>,
) -> Option<Permit<'r, action::Write>> {
    match command {
        Command::Set(set) => classic::set_allowed(turn, access, set, out),
        Command::Meta(asked) => meta::set_allowed(turn, access, asked, room, out),
        Command::Binary(asked) => binary::set_allowed(turn, access, asked, out),
        _ => None,
    }
}

fn reserve(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    command: &Command<'_>,
    out: &mut Vec<u8>,
) -> Option<Reservation> {
    match command {
        Command::Set(set) => classic::set_reserve(turn, permit, set, out),
        Command::Meta(asked) => meta::set_reserve(turn, permit, asked, out),
        Command::Binary(asked) => binary::set_reserve(turn, permit, asked, out),
        _ => None,
    }
}

fn store(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    command: &Command<'_>,
    payload: Payload<'_>,
    out: &mut Output,
) {
    match command {
        Command::Set(set) => classic::set(turn, permit, set, payload, out.bytes()),
        Command::Meta(asked) => meta::set(turn, permit, asked, payload, out.bytes()),
        Command::Binary(asked) => binary::set(turn, permit, asked, payload, out.bytes()),
        _ => {}
    }
}

/// A block with a wrong terminator still counts as a store: it had memory.
fn count_bad_block(turn: &Turn<'_>, command: &Command<'_>) {
    match command {
        Command::Set(set) => turn.count_store(set.key.as_bytes(), set.data_len, set.flags),
        Command::Meta(asked) => meta::count_bad_block(turn, asked),
        _ => {}
    }
}
