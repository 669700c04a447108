//! Whether the evidence shows that the host is shut now.
//!
//! Invariant: what could not be seen is never shut.

use super::Evidence;
use crate::{
    facts::Facts,
    findings::{Door, Installation, Report, Verdict},
    triage::Outcome,
};

/// How the doors stood when they were looked at afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoorsAfter {
    /// No cache could be reached by strangers, as far as can be seen from inside.
    Shut,
    /// One could.
    Open,
    /// It cannot be told.
    Unclear,
}

impl DoorsAfter {
    pub(super) fn of(facts: &Facts, report: &Report) -> Self {
        let all = || report.caches.iter().flat_map(|cache| &cache.doors);
        if open(report, "udp").chain(open(report, "tcp")).next().is_some() {
            return Self::Open;
        }
        // Without root, or on a disk, a cache at another port may be there and not be known as one.
        let seen = facts.collection.uid == 0
            && facts.collection.live
            && facts.sockets.known().is_some()
            && facts.processes.known().is_some();
        match seen && all().all(|door| door.verdict != Verdict::Unknown) {
            true => Self::Shut,
            false => Self::Unclear,
        }
    }
}

impl Evidence {
    /// Whether a measure was taken, everything that was verified is as it must be, and nothing that
    /// was looked at says otherwise.
    pub(super) fn is_shut(&self) -> bool {
        let close = self.close.as_ref().filter(|close| close.state == "applied");
        let Some(close) = close else { return false };
        let after = self.after.as_ref().map(|(facts, report)| DoorsAfter::of(facts, report));
        let verified = !close.checks.is_empty() || after.is_some();
        let intruded = self.triage.as_ref().is_some_and(|t| t.outcome == Outcome::Intrusion);
        verified
            && close.checks.iter().all(|check| check.ok)
            && matches!(after, None | Some(DoorsAfter::Shut))
            && !intruded
    }
}

/// Doors by which strangers come in over this transport.
pub(super) fn open<'r>(
    report: &'r Report,
    transport: &'static str,
) -> impl Iterator<Item = (&'r Installation, &'r Door)> {
    let doors = report.caches.iter().flat_map(|cache| cache.doors.iter().map(move |d| (cache, d)));
    let open = |verdict| matches!(verdict, Verdict::Open | Verdict::OpenIfMapped);
    doors.filter(move |(_, door)| door.transport == transport && open(door.verdict))
}
