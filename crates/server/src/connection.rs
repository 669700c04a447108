//! One client: its socket, behind the [`wire`], and its session. The only place that reads from or
//! writes to a client's socket.
//!
//! Invariants:
//! - Between turns an idle connection holds no buffer: it reads into and answers from buffers that
//!   its thread lends.
//! - What is received in a turn is executed in that turn: the connections of a batch are read first,
//!   one after the other, and executed then, so that looking ahead sees them all.
//! - Nothing is read while replies wait to be sent, so a peer that does not read holds at most one
//!   full output and the input it had sent before.
//! - What is held between turns is accounted for in the registry, under one bound for all.

mod wire;

use std::{os::fd::BorrowedFd, sync::Arc};

use kannuki_guard::Peer;
use kannuki_protocol::{Dialect, reply::text::Line};
use kannuki_store::time::Now;
use kannuki_sys::socket::Stream;
use zeroize::Zeroize as _;

use crate::{
    arithmetic::Toll,
    auth::{Attempt, Outcome},
    counters::Counter,
    dispatch::{
        Turn,
        ahead::{Ahead, Piece, Place},
    },
    limits::{HANDSHAKE_SECS, LOGIN_SECS, WRITE_STALL_SECS},
    output::Output,
    refusals,
    registry::{Registered, State},
    session::{Next, Session},
    tls::{Endpoint, TlsFault},
};
use wire::{Got, Proven, Wire};

/// A connection as the acceptor hands it to a thread.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The socket.
    pub stream: Stream,
    /// What the guard decided about its peer.
    pub access: kannuki_guard::Access,
    /// The protocol of its listener.
    pub dialect: Dialect,
    /// How its listener speaks TLS; `None` = in clear.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Whether the idle timeout applies (TCP only).
    pub may_idle_out: bool,
    /// Its entry and its place under the limit.
    pub registered: Registered,
}

/// What a thread lends to the connection whose turn it is.
#[derive(Debug)]
pub(crate) struct Lent<'l> {
    /// Where to answer; empty between connections.
    pub out: &'l mut Output,
    /// How often the budget of commands may be filled again.
    pub refills: u32,
    /// Set when what was received has to be wiped.
    pub secret: bool,
}

/// What is to be done with a connection after its turn.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Wait until it is readable.
    Await,
    /// Wait until it is writable.
    AwaitWritable,
    /// It has more to do without waiting.
    Again,
    /// Neither: the outcome of a log-in is awaited.
    Hold,
    /// Drop it.
    Close,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    session: Session,
    registered: Registered,
    /// Bytes received; the first `used` of them are done with.
    inbox: Vec<u8>,
    /// At most `inbox.len()`; moves on instead of the bytes, which would be copied every turn.
    used: usize,
    /// Replies that the socket would not take.
    unsent: Output,
    /// Bytes of the two above as last told to the registry.
    held: u64,
    /// Send what is unsent, then close.
    closing: bool,
    may_idle_out: bool,
    /// When it was accepted.
    arrived_at: Now,
    /// When the socket last took some of `unsent`.
    sent_at: Now,
}

impl Connection {
    /// Takes over an accepted socket; `None` where TLS cannot begin, which leaves it closed.
    #[must_use]
    pub(crate) fn new(arrival: Arrival, turn: &Turn<'_>) -> Option<Self> {
        let login = turn.instance.config.login.as_ref();
        Some(Self {
            wire: Wire::new(arrival.stream, arrival.endpoint)?,
            session: Session::new(arrival.dialect, arrival.access, login),
            registered: arrival.registered,
            inbox: Vec::new(),
            used: 0,
            unsent: Output::default(),
            held: 0,
            closing: false,
            may_idle_out: arrival.may_idle_out,
            arrived_at: turn.now,
            sent_at: turn.now,
        })
    }

    /// The socket, to be watched.
    #[must_use]
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.wire.descriptor()
    }

    /// The socket is readable: reads once, into `room`.
    ///
    /// # Errors
    /// When there is nothing to execute: what is to be done instead.
    pub(crate) fn receive(&mut self, turn: &Turn<'_>, room: &mut [u8]) -> Result<usize, Fate> {
        if !self.unsent.is_empty() || self.wire.is_blocked() {
            // Only a hang-up is reported while replies wait: the peer will never read them.
            return Err(Fate::Close);
        }
        let length = match self.wire.read(room) {
            Got::Bytes(length) => length,
            Got::Established(proven, length) => {
                self.identify(turn, proven)?;
                length
            }
            Got::Nothing => return Err(Fate::Await),
            Got::End => return Err(Fate::Close),
            Got::Refused(fault) => return Err(self.turn_away(turn, fault)),
        };
        if let Err(fault) = self.wire.renew_trust(turn.instance.tls.as_ref()) {
            return Err(self.turn_away(turn, fault));
        }
        turn.counters.add(Counter::BytesRead, length as u64);
        Ok(length)
    }

    /// The handshake is done: the guard decides anew where the peer has proven who it is.
    fn identify(&mut self, turn: &Turn<'_>, proven: Proven) -> Result<(), Fate> {
        let kind = if proven.resumed { Counter::TlsResumed } else { Counter::TlsNewSessions };
        turn.counters.add(kind, 1);
        let Some(names) = proven.names else { return Ok(()) };
        self.session.proven(turn, names).map_err(|denial| {
            turn.counters.add_refusal(refusals::of_denial(&denial));
            Fate::Close
        })
    }

    /// TLS refused the peer: counted, and said once `-v` asks for it.
    fn turn_away(&self, turn: &Turn<'_>, fault: TlsFault) -> Fate {
        refusals::count_tls_fault(turn.counters, fault);
        let kind = if fault.is_of_handshake() {
            Counter::TlsHandshakeErrors
        } else {
            Counter::TlsProtocolErrors
        };
        turn.counters.add(kind, 1);
        let peer = &self.registered.facts().address;
        tracing::info!(peer, reason = fault.name(), explanation = fault.explain(), "TLS refused");
        Fate::Close
    }

    /// What bytes that it receives now begin with. Those of a command that was begun before can be
    /// read only behind what is there of it.
    #[must_use]
    pub(crate) fn place(&self) -> Place {
        if self.inbox.is_empty() { self.session.place() } else { Place::Elsewhere }
    }

    /// The socket is writable: sends what waited, then goes on with what was received before.
    pub(crate) fn writable(&mut self, turn: &Turn<'_>, lent: &mut Lent<'_>) -> Fate {
        let mut unsent = std::mem::take(&mut self.unsent);
        if !self.send(turn, &mut unsent) {
            return self.settle(turn, Fate::Close);
        }
        if !unsent.is_empty() || self.wire.is_blocked() {
            self.unsent = unsent;
            return Fate::AwaitWritable;
        }
        if self.closing {
            return Fate::Close;
        }
        self.again(turn, lent)
    }

    /// Goes on with what was received before.
    pub(crate) fn again(&mut self, turn: &Turn<'_>, lent: &mut Lent<'_>) -> Fate {
        self.received(turn, &[], lent)
    }

    /// The outcome of a log-in is known: answers, now or later, and goes on.
    pub(crate) fn decided(
        &mut self,
        turn: &Turn<'_>,
        outcome: Outcome,
        lent: &mut Lent<'_>,
    ) -> Fate {
        self.session.decided(turn, outcome);
        self.again(turn, lent)
    }

    /// The log-in to be checked, once, and whose it is.
    #[must_use]
    pub(crate) fn take_attempt(&mut self) -> Option<(Attempt, Peer)> {
        self.session.take_attempt().map(|attempt| (attempt, self.session.peer().clone()))
    }

    /// Whether the outcome of a log-in, or the time to tell it, is awaited.
    #[must_use]
    pub(crate) const fn is_held(&self) -> bool {
        self.session.is_held()
    }

    /// Whether the answer to a log-in has been held back and may go.
    #[must_use]
    pub(crate) fn is_due(&self, turn: &Turn<'_>) -> bool {
        self.session.is_due(turn)
    }

    /// These bytes were received: executes what is complete, sends the replies, keeps the rest.
    pub(crate) fn received(&mut self, turn: &Turn<'_>, fresh: &[u8], lent: &mut Lent<'_>) -> Fate {
        let fate = if self.inbox.is_empty() {
            let (used, fate) = self.execute(turn, fresh, lent);
            if fate != Fate::Close {
                self.inbox.extend_from_slice(fresh.get(used..).unwrap_or_default());
            }
            fate
        } else {
            let mut inbox = std::mem::take(&mut self.inbox);
            if !fresh.is_empty() {
                inbox.drain(..self.used.min(inbox.len()));
                inbox.extend_from_slice(fresh);
                self.used = 0;
            }
            let unread = inbox.get(self.used..).unwrap_or_default();
            let whole = [Piece { start: 0, end: unread.len(), place: self.session.place() }];
            let ahead = Ahead::new(unread, &whole);
            let (used, fate) = self.execute(&turn.with(&ahead), unread, lent);
            self.used += used;
            if self.session.has_secret() {
                inbox.get_mut(..self.used).unwrap_or_default().zeroize();
            }
            if self.used < inbox.len() {
                self.inbox = inbox;
            } else {
                self.used = 0;
            }
            fate
        };
        lent.secret |= self.session.took_secret();
        self.settle(turn, fate)
    }

    /// Executes and sends in turn until the input, the budget or the socket's room is used up.
    fn execute(&mut self, turn: &Turn<'_>, unread: &[u8], lent: &mut Lent<'_>) -> (usize, Fate) {
        let Lent { out, refills, .. } = lent;
        let mut refills = *refills;
        let mut used = 0;
        let reqs_per_event = turn.instance.config.reqs_per_event;
        let mut budget = reqs_per_event;
        let facts = self.registered.facts();
        facts.set_state(State::ParseCmd);
        if !unread.is_empty() {
            facts.commanded(turn.now);
        }
        let fate = loop {
            let rest = unread.get(used..).unwrap_or_default();
            let progress = self.session.advance(turn, rest, &mut budget, out);
            used += progress.used;
            if progress.next == Next::Yield && refills > 0 {
                refills -= 1;
                budget = reqs_per_event;
                continue;
            }
            match progress.next {
                Next::Close => self.closing = true,
                Next::Yield => turn.counters.add(Counter::ConnYields, 1),
                Next::Read | Next::Flush | Next::Hold => {}
            }
            if !self.send(turn, out) {
                break Fate::Close;
            }
            if !out.is_empty() || self.wire.is_blocked() {
                // The socket is full: the replies become this connection's own.
                self.unsent = out.take_unsent();
                self.sent_at = turn.now;
                break Fate::AwaitWritable;
            }
            match progress.next {
                Next::Read => break Fate::Await,
                Next::Hold => break Fate::Hold,
                Next::Yield => break Fate::Again,
                Next::Close => break Fate::Close,
                // A long answer: others come first once the budget is spent.
                Next::Flush if budget == 0 => break Fate::Again,
                Next::Flush => budget -= 1,
            }
        };
        out.clear();
        (used, fate)
    }

    /// Sends as much as the socket takes; `false` = the connection is broken.
    fn send(&mut self, turn: &Turn<'_>, out: &mut Output) -> bool {
        let Ok(sent) = self.wire.send(out) else { return false };
        if sent.moved {
            turn.counters.add(Counter::BytesWritten, sent.bytes as u64);
            self.sent_at = turn.now;
        }
        true
    }

    /// Turns a fresh socket away, because the limit of connections is reached.
    pub(crate) fn refuse(stream: &Stream, speaks_tls: bool) {
        // A fatal alert, "internal error": what TLS has for it, in clear as before every handshake.
        const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 80];
        let words = if speaks_tls { ALERT } else { Line::MaxConns.bytes() };
        // Best effort: a fresh socket has room for one line.
        let _ = stream.write(words);
    }

    /// Small replies go out at once, and a peer that vanished is noticed one day.
    pub(crate) fn tune(stream: &Stream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_keepalive(true)
    }

    /// Accounts for what is held until the next turn, and shows what the connection waits for.
    fn settle(&mut self, turn: &Turn<'_>, fate: Fate) -> Fate {
        if self.inbox.is_empty() {
            self.inbox = Vec::new();
        }
        let unsent = if self.unsent.is_empty() { 0 } else { self.unsent.held() };
        let held = self.inbox.capacity() as u64 + unsent + self.wire.held();
        let before = std::mem::replace(&mut self.held, held);
        if !turn.instance.registry.hold(before, held) && fate != Fate::Close {
            turn.counters.add(Counter::ReadBufOom, 1);
            if self.unsent.is_empty() {
                // The peer learns why if the line still fits into the socket.
                self.wire.send_last(Line::OomLine.bytes());
            }
            return Fate::Close;
        }
        let state = match fate {
            Fate::AwaitWritable => State::Mwrite,
            _ if self.session.is_in_block() => State::Nread,
            _ if self.session.is_discarding() => State::Swallow,
            _ => State::Read,
        };
        self.registered.facts().set_state(state);
        // What came before the peer's farewell is answered; then there is nothing to wait for.
        if fate == Fate::Await && self.wire.has_ended() { Fate::Close } else { fate }
    }

    /// Once a second: whether the peer has kept this connection waiting for too long.
    #[must_use]
    pub(crate) fn is_overdue(&self, turn: &Turn<'_>, draining: bool) -> bool {
        let waited = turn.now.0.saturating_sub(self.arrived_at.0);
        if self.wire.is_handshaking() {
            // Whether it sends something now and then makes no difference.
            let slow = waited > HANDSHAKE_SECS;
            return draining || (slow && self.turn_away(turn, TlsFault::Slow) == Fate::Close);
        }
        if !self.unsent.is_empty() || self.wire.is_blocked() {
            let stalled = turn.now.0.saturating_sub(self.sent_at.0) > WRITE_STALL_SECS;
            if stalled {
                turn.counters.add(Counter::SlowReaders, 1);
            }
            return stalled;
        }
        let idle = turn.now.0.saturating_sub(self.registered.facts().last_command());
        if draining {
            // A request that is still arriving is waited for, one that got stuck is not.
            return idle > 0;
        }
        if waited > LOGIN_SECS && self.session.keeps_login_waiting(turn) {
            turn.counters.add_refusal(refusals::of_denial(&refusals::LOGIN_TIMEOUT));
            return true;
        }
        let limit = turn.instance.config.idle_timeout_secs;
        let idled_out = self.may_idle_out && limit > 0 && idle > limit;
        if idled_out {
            turn.counters.add(Counter::IdleKicks, 1);
        }
        idled_out
    }

    /// Nothing is begun and nothing waits to be sent: it can be closed without a loss.
    #[must_use]
    pub(crate) fn is_at_rest(&self) -> bool {
        let rest = self.unsent.is_empty() && self.inbox.is_empty() && self.wire.is_at_rest();
        rest && self.session.is_between_commands()
    }

    /// What the next bytes may cost before they are looked at.
    #[must_use]
    pub(crate) fn toll(&self, turn: &Turn<'_>) -> Toll {
        self.wire.toll(turn.instance.tls.as_ref())
    }

    /// Says farewell and gives back what the registry was told of.
    pub(crate) fn closed(mut self, turn: &Turn<'_>) {
        self.wire.farewell();
        let _ = turn.instance.registry.hold(self.held, 0);
    }
}
