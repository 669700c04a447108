//! A queue of units, first in, first out, with entries that became void in its midst.
//!
//! Invariant: the entries before `written` were found valid when the going round passed them, those
//! from there to `read` are void, those behind were not looked at yet.

use std::collections::VecDeque;

use super::{Unit, UnitPlace};

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Line {
    units: VecDeque<Unit>,
    /// Where a going round that closes gaps stands; both 0 if none is under way.
    written: usize,
    read: usize,
}

/// Void entries a queue may hold besides as many as valid ones, before gaps are closed.
const VOID_MAX: usize = 64;
/// Entries that one push looks at to close gaps: quick enough that the queue hardly grows
/// meanwhile, and few enough not to be noticed.
const ENTRIES_A_PUSH: usize = 64;
/// An entry that is no unit's.
const VOID: Unit = Unit { place: UnitPlace::Segment(0), stamp: u64::MAX };

impl Line {
    /// Adds a unit at the end. While there are more than twice `valid_max` entries, gaps are
    /// closed, a few entries at a time. Returns how many were looked at.
    pub(super) fn push(
        &mut self,
        unit: Unit,
        valid_max: usize,
        is_valid: impl Fn(Unit) -> bool,
    ) -> usize {
        self.units.push_back(unit);
        if self.read == 0 && self.units.len() <= 2 * valid_max + VOID_MAX {
            return 0;
        }
        let end = self.units.len().min(self.read + ENTRIES_A_PUSH);
        let looked = end - self.read;
        for at in self.read..end {
            let unit = std::mem::replace(&mut self.units[at], VOID);
            if is_valid(unit) {
                self.units[self.written] = unit;
                self.written += 1;
            }
        }
        self.read = end;
        if end == self.units.len() {
            self.units.truncate(self.written);
            (self.written, self.read) = (0, 0);
        }
        looked
    }

    /// The first entry, valid or not.
    pub(super) fn first(&self) -> Option<Unit> {
        self.units.front().copied()
    }

    /// Takes the first entry, valid or not.
    pub(super) fn pop(&mut self) -> Option<Unit> {
        let unit = self.units.pop_front();
        self.written = self.written.saturating_sub(1);
        self.read = self.read.saturating_sub(1);
        unit
    }

    /// All entries, void ones included.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{ENTRIES_A_PUSH, Line, Unit, UnitPlace, VOID_MAX};

    fn unit(stamp: u64) -> Unit {
        Unit { place: UnitPlace::Large(0), stamp }
    }

    #[test]
    fn gaps_are_closed_a_few_entries_at_a_time_and_the_order_stays() {
        let mut line = Line::default();
        // Every tenth is valid, and each of the first thousand is taken out early.
        let is_valid = |unit: Unit| unit.stamp.is_multiple_of(10) && unit.stamp < u64::MAX;
        let mut popped = Vec::new();
        for stamp in 1..=100_000 {
            let valid = stamp as usize / 10 - popped.len();
            let looked = line.push(unit(stamp), valid, is_valid);
            assert!(looked <= ENTRIES_A_PUSH);
            let most = (2 * valid + VOID_MAX) * 66 / 64 + ENTRIES_A_PUSH;
            assert!(line.units.len() <= most, "{} of {valid}", line.units.len());
            if stamp % 50 == 0 {
                let next = std::iter::from_fn(|| line.pop()).find(|unit| is_valid(*unit));
                popped.extend(next.map(|unit| unit.stamp));
            }
        }
        popped.extend(std::iter::from_fn(|| line.pop()).filter(|u| is_valid(*u)).map(|u| u.stamp));
        let expected: Vec<u64> = (1..=10_000).map(|tenth| tenth * 10).collect();
        assert_eq!(popped, expected, "each valid one once, in order");
    }
}
