//! Every refusal has a name and is counted once: the guard's reasons and the protocol's faults in one
//! row of counters.

use kannuki_guard::{Denial, Reason};
use kannuki_protocol::violation::Fault;

use crate::counters::{Counters, Totals};

/// How many kinds of refusal there are.
pub(crate) const REFUSALS: usize = Reason::ALL.len() + Fault::ALL.len();

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

/// Shows the name and count of every kind of refusal that has happened.
pub(crate) fn show(totals: &Totals, mut show: impl FnMut(&'static str, u64)) {
    let names = Reason::ALL.iter().map(|reason| reason.name());
    let names = names.chain(Fault::ALL.iter().map(|fault| fault.name()));
    for (place, name) in names.enumerate() {
        match totals.of_refusal(place) {
            0 => {}
            count => show(name, count),
        }
    }
}
