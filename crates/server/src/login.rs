//! The log-in of one peer: what it sends, the wait for the outcome, and the answer.
//!
//! ```text
//!   Gathering --block ends--> Asked --taken--> Checked --outcome--> Due(at) --at--> answered
//! ```
//!
//! Invariants:
//! - While an outcome is awaited nothing of this peer is executed, so replies keep their order.
//! - A failed log-in leaves the peer logged in as nobody, whoever it was before.
//! - What was gathered is bounded and wiped.

use kannuki_protocol::{
    binary::{Binary, BinaryVerb, Status},
    limits::LOGIN_BYTES_MAX,
    reply::{binary as frame, text::Line},
    violation::{Fault, Violation},
};
use kannuki_store::time::Now;
use zeroize::Zeroizing;

use crate::{
    auth::{Attempt, Authority, Identity, Mechanism, Outcome, plain, scram::Exchange},
    counters::Counter,
    dispatch::Turn,
    limits::MECHANISM_BYTES_MAX,
    refusals,
};

/// What a peer is told over SASL when it is in.
const AUTHENTICATED: &str = "Authenticated";
/// What a binary peer is told when too many log in.
const BUSY: &str = "Too many log-ins at once, try again";

/// How far a peer has come that has to log in, or may.
#[derive(Debug, Default)]
pub(crate) struct Login {
    /// Who it is.
    identity: Option<Identity>,
    /// SCRAM: the client's last message is awaited.
    exchange: Option<Box<Exchange>>,
    /// SCRAM: proved; the client's assent to our own proof is awaited.
    proven: Option<Identity>,
}

/// How a log-in came, and so how it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// memcached's text log-in.
    Text,
    /// A frame with these opcode and opaque, for this mechanism.
    Sasl { opcode: u8, opaque: [u8; 4], mechanism: Option<Mechanism>, step: bool },
}

/// A log-in whose data block is arriving.
#[derive(Debug)]
pub(crate) struct Gathering {
    way: Way,
    bytes: Zeroizing<Vec<u8>>,
}

impl Gathering {
    /// Gathers so many bytes.
    #[must_use]
    pub(crate) fn new(way: Way, data_len: u32) -> Self {
        // Sized at once, so that no smaller buffer is left behind unwiped.
        let bytes = Zeroizing::new(Vec::with_capacity(data_len.min(LOGIN_BYTES_MAX) as usize));
        Self { way, bytes }
    }

    /// How it came.
    #[must_use]
    pub(crate) const fn way(&self) -> Way {
        self.way
    }

    /// A piece of it.
    pub(crate) fn fill(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }
}

/// A log-in that waits for its outcome, or for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    way: Way,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Not yet handed out.
    Asked(Attempt),
    /// With the password threads.
    Checked,
    /// Known, and to be told from this second on.
    Due(Outcome, Now),
}

impl Pending {
    /// How it came.
    #[must_use]
    pub(crate) const fn way(&self) -> Way {
        self.way
    }

    /// Hands the attempt out, once.
    #[must_use]
    pub(crate) fn take(&mut self) -> Option<Attempt> {
        match std::mem::replace(&mut self.phase, Phase::Checked) {
            Phase::Asked(attempt) => Some(attempt),
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// The outcome is known. A wrong password is told later: not so much to slow one guesser down,
    /// for whom there are bans, as to hide in the clock's second how long the check took.
    pub(crate) fn decided(&mut self, outcome: Outcome, now: Now, delay_secs: u32) {
        // One tick more: the current second may be all but over.
        let wrong = outcome == Outcome::Wrong && delay_secs > 0;
        let delay = if wrong { delay_secs.saturating_add(1) } else { 0 };
        self.phase = Phase::Due(outcome, Now(now.0.saturating_add(delay)));
    }

    /// Whether it is time to answer.
    #[must_use]
    pub(crate) fn is_due(&self, now: Now) -> bool {
        matches!(&self.phase, Phase::Due(_, at) if *at <= now)
    }
}

/// What comes next after a message of a log-in.
pub(crate) enum After {
    /// It was answered; the peer may go on.
    Answered,
    /// It was answered; the connection ends.
    Close,
    /// The peer is this user now; the answer waits for the guard's word.
    Admitted(Identity),
    /// The outcome is awaited.
    Wait(Box<Pending>),
}

impl Login {
    /// Who the peer is.
    #[must_use]
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The peer is this user from now on.
    pub(crate) fn admit(&mut self, identity: Identity) {
        *self = Self { identity: Some(identity), ..Self::default() };
    }

    /// The peer is nobody from now on.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// All bytes of a log-in are here.
    pub(crate) fn gathered(
        &mut self,
        turn: &Turn<'_>,
        authority: &Authority,
        gathered: Gathering,
        out: &mut Vec<u8>,
    ) -> After {
        let Gathering { way, bytes } = gathered;
        let read = match way {
            Way::Text => plain::text(&bytes).map(Read::Attempt),
            Way::Sasl { mechanism, step, .. } => self.sasl(authority, mechanism, step, bytes),
        };
        match read {
            Some(Read::Attempt(attempt)) => {
                turn.counters.add(Counter::AuthCmds, 1);
                After::Wait(Box::new(Pending { way, phase: Phase::Asked(attempt) }))
            }
            Some(Read::Continue(challenge)) => {
                turn.counters.add(Counter::AuthCmds, 1);
                proceed(way, &challenge, out);
                After::Answered
            }
            Some(Read::Assent(identity)) => {
                turn.counters.add(Counter::AuthCmds, 1);
                After::Admitted(identity)
            }
            None => {
                self.malformed(turn, way, out);
                After::Answered
            }
        }
    }

    fn sasl(
        &mut self,
        authority: &Authority,
        mechanism: Option<Mechanism>,
        step: bool,
        bytes: Zeroizing<Vec<u8>>,
    ) -> Option<Read> {
        let (exchange, proven) = (self.exchange.take(), self.proven.take());
        match (mechanism?, step) {
            // The mechanism has nothing to say first: the client is asked for its message.
            (_, false) if bytes.is_empty() => Some(Read::Continue(Vec::new())),
            (Mechanism::Plain, _) => plain::sasl(&bytes).map(Read::Attempt),
            (Mechanism::ScramSha256, true) if proven.is_some() => {
                proven.filter(|_| bytes.is_empty()).map(Read::Assent)
            }
            (Mechanism::ScramSha256, true) if exchange.is_some() => {
                exchange.map(|exchange| Read::Attempt(Attempt::Proof { exchange, message: bytes }))
            }
            (Mechanism::ScramSha256, _) => {
                let exchange = Exchange::start(&authority.users(), &bytes).ok()?;
                let challenge = exchange.challenge().to_vec();
                self.exchange = Some(Box::new(exchange));
                Some(Read::Continue(challenge))
            }
        }
    }

    /// What cannot be a log-in is answered at once: there was nothing to guess.
    fn malformed(&mut self, turn: &Turn<'_>, way: Way, out: &mut Vec<u8>) {
        refusals::count_fault(turn.counters, Fault::LoginShape);
        self.forget();
        match way {
            // As in memcached this counts as no log-in.
            Way::Text => Violation::text(Fault::LoginShape, false).encode(out),
            Way::Sasl { opcode, opaque, .. } => {
                turn.counters.add(Counter::AuthCmds, 1);
                turn.counters.add(Counter::AuthErrors, 1);
                frame::failure(out, opcode, opaque, Status::Auth);
            }
        }
    }

    /// Tells the peer what came of it.
    pub(crate) fn settle(&mut self, turn: &Turn<'_>, pending: Pending, out: &mut Vec<u8>) -> After {
        let Pending { way, phase } = pending;
        let Phase::Due(outcome, _) = phase else { return After::Close };
        match outcome {
            Outcome::Admitted { identity, answer } if answer.is_empty() => {
                After::Admitted(identity)
            }
            Outcome::Admitted { identity, answer } => {
                proceed(way, &answer, out);
                self.proven = Some(identity);
                After::Answered
            }
            Outcome::Wrong => {
                self.fail(turn, way, out);
                After::Answered
            }
            Outcome::Banned => {
                self.refused(turn, refusals::LOGIN_BANNED);
                fail(way, out);
                After::Close
            }
            Outcome::Busy => {
                self.refused(turn, refusals::LOGIN_OVERFLOW);
                busy(way, out);
                After::Answered
            }
        }
    }

    /// Wrong name, password or proof; which of them is nobody's business.
    pub(crate) fn fail(&mut self, turn: &Turn<'_>, way: Way, out: &mut Vec<u8>) {
        self.refused(turn, refusals::LOGIN_FAILED);
        fail(way, out);
    }

    fn refused(&mut self, turn: &Turn<'_>, denial: kannuki_guard::Denial) {
        turn.counters.add(Counter::AuthErrors, 1);
        turn.counters.add_refusal(refusals::of_denial(&denial));
        self.forget();
    }
}

/// What a message of a log-in says.
enum Read {
    /// Something to be checked.
    Attempt(Attempt),
    /// The exchange goes on with this.
    Continue(Vec<u8>),
    /// The exchange is over.
    Assent(Identity),
}

/// The peer is in.
pub(crate) fn succeed(way: Way, out: &mut Vec<u8>) {
    match way {
        Way::Text => Line::Stored.encode(out),
        Way::Sasl { opcode, opaque, .. } => {
            frame::text(out, opcode, opaque, AUTHENTICATED.as_bytes());
        }
    }
}

fn fail(way: Way, out: &mut Vec<u8>) {
    match way {
        Way::Text => Line::LoginFailed.encode(out),
        Way::Sasl { opcode, opaque, .. } => frame::failure(out, opcode, opaque, Status::Auth),
    }
}

fn busy(way: Way, out: &mut Vec<u8>) {
    match way {
        Way::Text => Line::LoginBusy.encode(out),
        Way::Sasl { opcode, opaque, .. } => {
            frame::failure_with(out, opcode, opaque, Status::OutOfMemory, BUSY);
        }
    }
}

/// The exchange goes on. Only SASL has exchanges.
fn proceed(way: Way, challenge: &[u8], out: &mut Vec<u8>) {
    if let Way::Sasl { opcode, opaque, .. } = way {
        frame::proceed(out, opcode, opaque, challenge);
    }
}

/// What a SASL frame asks for, before its data block.
pub(crate) enum Asked {
    /// To be gathered.
    Gather(Gathering),
    /// Refused and answered; the block is to be swallowed.
    Refused,
}

/// A SASL frame with a data block.
pub(crate) fn begin(asked: &Binary<'_>, out: &mut Vec<u8>) -> Asked {
    let (mechanism, data_len, step) = match asked.verb {
        BinaryVerb::SaslAuth { mechanism, data_len } => (mechanism, data_len, false),
        BinaryVerb::SaslStep { mechanism, data_len } => (mechanism, data_len, true),
        _ => return Asked::Refused,
    };
    let status = if mechanism.len() > MECHANISM_BYTES_MAX {
        Status::InvalidArguments
    } else if data_len > LOGIN_BYTES_MAX {
        Status::OutOfMemory
    } else {
        let (opcode, opaque) = (asked.opcode, asked.opaque);
        let mechanism = Mechanism::named(mechanism);
        let way = Way::Sasl { opcode, opaque, mechanism, step };
        return Asked::Gather(Gathering::new(way, data_len));
    };
    frame::failure(out, asked.opcode, asked.opaque, status);
    Asked::Refused
}

/// Nothing else is done before log-in.
pub(crate) fn demand(asked: &Binary<'_>, out: &mut Vec<u8>) {
    frame::failure(out, asked.opcode, asked.opaque, Status::Auth);
}

/// The list of mechanisms.
pub(crate) fn list(authority: &Authority, asked: &Binary<'_>, out: &mut Vec<u8>) {
    let names: Vec<&str> = authority.mechanisms().map(Mechanism::name).collect();
    frame::text(out, asked.opcode, asked.opaque, names.join(" ").as_bytes());
}

#[cfg(test)]
mod tests;
