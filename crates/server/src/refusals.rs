//! Every refusal has a name and is counted once: the guard's reasons, the protocol's faults and those
//! of TLS in one row of counters.

use kannuki_guard::{Denial, Reason, Response};
use kannuki_protocol::violation::Fault;

use crate::{
    counters::{Counters, Totals},
    tls::TlsFault,
};

/// How many kinds of refusal there are.
pub(crate) const REFUSALS: usize = Reason::ALL.len() + Fault::ALL.len() + TlsFault::ALL.len();

/// Wrong name, password or proof.
pub(crate) const LOGIN_FAILED: Denial = Denial::new(Response::AccessDenied, Reason::LoginFailed);
/// No room in the queue.
pub(crate) const LOGIN_OVERFLOW: Denial =
    Denial::new(Response::AccessDenied, Reason::LoginOverflow);
/// A log-in from where nobody may.
pub(crate) const LOGIN_BANNED: Denial = Denial::new(Response::AccessDenied, Reason::Banned);
/// A connection from there.
pub(crate) const PEER_BANNED: Denial = Denial::new(Response::Close, Reason::Banned);
/// No log-in in time.
pub(crate) const LOGIN_TIMEOUT: Denial = Denial::new(Response::Close, Reason::LoginTimeout);
/// Logged in as somebody whom the file no longer has.
pub(crate) const USER_GONE: Denial = Denial::new(Response::Close, Reason::Unauthenticated);

/// The counter of a denial.
#[must_use]
pub(crate) fn of_denial(denial: &Denial) -> usize {
    Reason::ALL.iter().position(|reason| *reason == denial.reason).unwrap_or(REFUSALS - 1)
}

/// Counts a breach of the protocol.
pub(crate) fn count_fault(counters: &Counters, fault: Fault) {
    let place = Fault::ALL.iter().position(|known| *known == fault);
    counters.add_refusal(place.map_or(REFUSALS - 1, |place| Reason::ALL.len() + place));
}

/// Counts a peer that TLS turned away.
pub(crate) fn count_tls_fault(counters: &Counters, fault: TlsFault) {
    let place = TlsFault::ALL.iter().position(|known| *known == fault);
    let before = Reason::ALL.len() + Fault::ALL.len();
    counters.add_refusal(place.map_or(REFUSALS - 1, |place| before + place));
}

/// Shows the name and count of every kind of refusal that has happened.
pub(crate) fn show(totals: &Totals, mut show: impl FnMut(&'static str, u64)) {
    let names = Reason::ALL.iter().map(|reason| reason.name());
    let names = names.chain(Fault::ALL.iter().map(|fault| fault.name()));
    let names = names.chain(TlsFault::ALL.iter().map(|fault| fault.name()));
    for (place, name) in names.enumerate() {
        match totals.of_refusal(place) {
            0 => {}
            count => show(name, count),
        }
    }
}

/// What a text client is told about a denial: a line without its end, or nothing.
#[must_use]
pub fn told(denial: &Denial) -> String {
    if matches!(denial.response, Response::Close | Response::Drop | Response::Miss) {
        return String::new();
    }
    let mut line = Vec::new();
    crate::dispatch::deny(denial, &mut line);
    String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
}

/// One reason for refusing, for pages that explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name under which it is counted.
    pub name: &'static str,
    /// What it means, in full sentences.
    pub meaning: &'static str,
    /// What a text client is told; empty = the connection is closed without a word; `None` = it
    /// depends on what was asked.
    pub answer: Option<&'static str>,
}

/// Every reason for refusing.
pub fn catalogue() -> impl Iterator<Item = Refusal> {
    let reasons = Reason::ALL.into_iter().map(|reason| Refusal {
        name: reason.name(),
        meaning: reason.explain(),
        answer: None,
    });
    let faults = Fault::ALL.iter().map(|fault| Refusal {
        name: fault.name(),
        meaning: fault.explain(),
        answer: Some(fault.text()),
    });
    let tls = TlsFault::ALL.into_iter().map(|fault| Refusal {
        name: fault.name(),
        meaning: fault.explain(),
        answer: Some(""),
    });
    reasons.chain(faults).chain(tls)
}
