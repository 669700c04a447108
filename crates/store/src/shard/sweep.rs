//! Background work: freeing what has expired or was flushed before anybody asks for it or needs its
//! room, and keeping room ahead of writes.

use super::relief::DRAINED;
use super::{Found, Shard};
use crate::blocks::Blocks;
use crate::class::class_of;
use crate::face::{Cursor, Maintained, Walked};
use crate::location::{Addressing, Location};
use crate::steps::{self, Work};
use crate::time::{Expiry, Now};

/// Where the sweep stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweep {
    part: Part,
    /// Not before this second does another round begin.
    next_round: u32,
    /// In this second no segment was dead as a whole: looking through all of them again can wait.
    pub(super) none_dead_at: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Idle,
    /// In a segment, at an offset; the soonest expiry met there so far.
    Segment { number: usize, offset: usize, soonest: u32, stamp: u64 },
    /// Before this large item.
    Larges(usize),
}

/// Records looked at in one step under the lock: some 30 us.
pub(crate) const STEP_RECORDS: usize = 256;
/// Seconds between rounds through what may have expired.
const ROUND_SECS: u32 = 5;

impl<M: Blocks> Shard<M> {
    /// One short step.
    pub(crate) fn maintain(&mut self, now: Now) -> Maintained {
        // First of all: under a lowered limit, whatever is not given back here is thrown out below.
        let given_back = self.index.give_back(&self.pool);
        if self.pool.is_over() || (self.pool.is_low() && self.pool.is_above_share(self.number)) {
            let relief = self.relieve(now, STEP_RECORDS);
            if !relief.exhausted {
                let (items_checked, items_reclaimed) = (relief.looked as u32, relief.reclaimed);
                return Maintained { more: true, items_checked, items_reclaimed };
            }
        }
        if self.choose_dead(now) {
            let relief = self.relieve(now, STEP_RECORDS);
            // Under `-M`, what is being moved may have to wait until another shard gives memory
            // back. It must not hold up those, nor what expired here.
            if !relief.exhausted {
                let (items_checked, items_reclaimed) = (relief.looked as u32, relief.reclaimed);
                return Maintained { more: true, items_checked, items_reclaimed };
            }
        }
        let mut done = self.sweep_step(now);
        done.more |= given_back;
        done
    }

    fn sweep_step(&mut self, now: Now) -> Maintained {
        match self.sweep.part {
            Part::Idle => {
                if now.0 < self.sweep.next_round && self.sweep.next_round - now.0 <= ROUND_SECS {
                    return Maintained::default();
                }
                self.sweep.next_round = now.0.saturating_add(ROUND_SECS);
                self.counters.crawler_starts += 1;
                self.sweep.part = self.next_part(0, now);
                Maintained { more: true, ..Maintained::default() }
            }
            Part::Segment { number, offset, soonest, stamp } => {
                self.sweep_segment(number, offset, soonest, stamp, now)
            }
            Part::Larges(from) => self.sweep_larges(from, now),
        }
    }

    /// The next segment from `from` on in which something may have expired.
    fn next_part(&self, from: usize, now: Now) -> Part {
        let due = self
            .heap
            .segments()
            .filter(|(_, segment)| segment.stamp != DRAINED)
            .find(|(number, segment)| *number >= from && segment.soonest <= now.0);
        match due {
            Some((number, segment)) => {
                Part::Segment { number, offset: 0, soonest: u32::MAX, stamp: segment.stamp }
            }
            None => Part::Larges(0),
        }
    }

    fn sweep_segment(
        &mut self,
        number: usize,
        mut offset: usize,
        mut soonest: u32,
        stamp: u64,
        now: Now,
    ) -> Maintained {
        let mut done = Maintained { more: true, ..Maintained::default() };
        for _ in 0..STEP_RECORDS {
            let segment = self.heap.segment(number).filter(|segment| segment.stamp == stamp);
            let Some((next, lives)) = segment.and_then(|_| self.heap.step(number, offset)) else {
                if let Some(segment) = self.heap.segment_mut(number)
                    && segment.stamp == stamp
                    && segment.sealed
                {
                    segment.soonest = soonest;
                }
                self.sweep.part = self.next_part(number + 1, now);
                return done;
            };
            steps::note(Work::Records, 1);
            if lives {
                done.items_checked += 1;
                let location = self.heap.addressing.record(number, offset);
                match self.sweep_one(location, now) {
                    Some(second) => soonest = soonest.min(second),
                    None => done.items_reclaimed += 1,
                }
            }
            offset = next;
        }
        self.sweep.part = Part::Segment { number, offset, soonest, stamp };
        done
    }

    fn sweep_larges(&mut self, from: usize, now: Now) -> Maintained {
        let mut done = Maintained { more: true, ..Maintained::default() };
        let end = self.heap.larges_end().min(from + STEP_RECORDS);
        for number in from..end {
            steps::note(Work::Records, 1);
            if self.heap.large(number).is_some() {
                done.items_checked += 1;
                let reclaimed = self.sweep_one(Addressing::large(number), now).is_none();
                done.items_reclaimed += u32::from(reclaimed);
            }
        }
        let finished = end >= self.heap.larges_end();
        self.sweep.part = if finished { Part::Idle } else { Part::Larges(end) };
        done.more = !finished;
        done
    }

    /// Frees a dead item, or tells when it will expire ([`u32::MAX`] = never).
    fn sweep_one(&mut self, location: Location, now: Now) -> Option<u32> {
        let seen = self.heap.see(location, self.newest)?;
        let class = class_of(self.item_bytes(seen.key_bytes, &seen.facts));
        self.counters.class(class).crawler_items_checked += 1;
        if self.death(&seen, now).is_none() {
            return Some(seen.facts.expiry.second().unwrap_or(u32::MAX));
        }
        let hash = self.heap.hash_of(location);
        let (slot, _) = self.index.find(hash, |at| at == location)?;
        let counts = self.counters.class(class);
        counts.crawler_reclaimed += 1;
        counts.expired_unfetched += u64::from(!seen.facts.marks.fetched);
        self.discard(Found { slot, location, seen });
        None
    }

    /// Shows the live items of one leaf of the index; returns where the next begins.
    pub(crate) fn walk(
        &self,
        from: u64,
        now: Now,
        visit: &mut dyn FnMut(&Walked<'_>),
    ) -> (usize, Option<u64>) {
        let mut shown = 0;
        let hash_of = |location| self.heap.hash_of(location);
        let next = self.index.walk(from, hash_of, |location| {
            let Some(seen) = self.heap.see(location, self.newest) else { return };
            if self.death(&seen, now).is_some() {
                return;
            }
            shown += 1;
            let item_bytes = self.item_bytes(seen.key_bytes, &seen.facts);
            visit(&Walked {
                key: self.heap.key(location),
                expiry: seen.facts.expiry,
                last_access: seen.facts.last_access.min(now),
                cas: seen.facts.cas,
                fetched: seen.facts.marks.fetched,
                class: class_of(item_bytes),
                item_bytes,
                flags: seen.facts.flags,
                binary_key: seen.facts.marks.binary_key,
                value_bytes: seen.facts.value_bytes,
            });
        });
        (shown, next)
    }
}

impl Sweep {
    /// Notes the new expiry of a record in a segment: the sweep may have passed it.
    pub(super) fn expect(&mut self, segment: usize, expiry: Expiry) {
        if let Part::Segment { number, soonest, .. } = &mut self.part
            && *number == segment
        {
            *soonest = (*soonest).min(expiry.second().unwrap_or(u32::MAX));
        }
    }
}

impl Cursor {
    /// Where shard `shard` goes on, or the next one begins.
    pub(crate) const fn after(shard: u32, at: Option<u64>) -> Self {
        match at {
            Some(at) => Self { shard, at },
            None => Self { shard: shard + 1, at: 0 },
        }
    }
}
