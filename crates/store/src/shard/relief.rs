//! Making room: which segment is given up, and what of it is kept.
//!
//! Segment-wise S3-FIFO. New items enter Small, a tenth of the bytes; whoever was used there moves
//! to Main when its segment's turn comes, the others leave a ghost. In Main, whoever was used since
//! its last turn gets another one, and one use less. A use right after an item came into Small does
//! not count: whoever writes, reads back and is done is no reason to keep anything. First of all go
//! segments that are dead as a whole, then those that are mostly dead, which costs no live item.
//!
//! Invariants: a segment being drained is in no queue; every victim frees a part of a segment, so
//! that relief ends; one call looks at no more records than it was allowed.

use super::{Found, Shard, Unit, UnitPlace};
use crate::blocks::Blocks;
use crate::class::class_of;
use crate::heap::{NEVER, Queue, Segment};
use crate::index::COUNTER_MAX;
use crate::location::{Addressing, Location, Place};
use crate::steps::{self, Work};
use crate::time::Now;

/// A segment whose items are being moved or thrown out, record by record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) segment: usize,
    cursor: usize,
    kept_bytes: usize,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// All dead: nothing is kept.
    Dead,
    /// Mostly dead: all that lives is kept.
    Sparse,
    /// Its turn in its queue.
    Turn,
}

/// A record that is looked at next.
#[derive(Clone, Copy, Debug, Default)]
struct Ahead {
    location: Option<Location>,
    bytes: usize,
    next: usize,
    lives: bool,
    hash: u64,
}

/// What became of a live record in a segment that is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Freed,
    Kept,
    /// It must be kept and there is no room for it now.
    Stuck,
}

/// What relief achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relief {
    /// Records or large items looked at.
    pub(crate) looked: usize,
    /// Dead items freed among them.
    pub(crate) reclaimed: u32,
    /// Memory was given back.
    pub(crate) freed: bool,
    /// Nothing could be given up.
    pub(crate) exhausted: bool,
}

/// The stamp of a segment that is drained; no unit has it.
pub(super) const DRAINED: u64 = 0;
/// Records looked ahead: as many cache misses as processors overlap, about.
const AHEAD_MAX: usize = 12;
/// Void entries of a queue that are passed over in one step.
const VOID_MAX: usize = 256;
/// A large item's turn counts as so many records: before each one all segments are looked through
/// for what is dead, up to 20 us.
const LARGE_RECORDS: usize = 16;
/// Small's share of the bytes is one in this many.
const SMALL_SHARE: u64 = 10;
/// Uses in Small that earn a place in Main.
const PROMOTED_FROM: u8 = 1;
/// A use counts once one in this many bytes (a quarter of Small's share) came into Small after the
/// item: uses within that time are mostly one errand. Anything from 20 to 80 does about the same.
const FRESH_SHARE: u64 = 4 * SMALL_SHARE;
/// Of a drained segment, survivors may fill all but one in this many bytes. What is thrown out for
/// this alone is used, so little; some, so that relief ends however often everything is used.
const FREED_SHARE: usize = 32;
/// A segment is compacted when at least one in this many of its bytes is dead.
const SPARSE_SHARE: usize = 2;
/// Under `-M` nothing else can be won, so less is enough.
const SPARSE_SHARE_WITHOUT_EVICTION: usize = 8;

impl<M: Blocks> Shard<M> {
    /// Looks at up to `records_max` records to make room; stops when memory was given back.
    pub(crate) fn relieve(&mut self, now: Now, records_max: usize) -> Relief {
        let mut relief = Relief::default();
        while relief.looked < records_max && !relief.freed && !relief.exhausted {
            match self.drain {
                Some(drain) => self.drain_on(drain, now, records_max, &mut relief),
                None => self.choose(now, &mut relief),
            }
        }
        relief
    }

    /// Counts a use in the eyes of eviction.
    pub(super) fn bump(&mut self, found: &Found) {
        let counter = self.index.counter(found.slot);
        if counter < COUNTER_MAX && !self.is_fresh(found) {
            self.index.set_counter(found.slot, counter + 1);
        }
    }

    /// Whether an item came into Small only just now.
    fn is_fresh(&self, found: &Found) -> bool {
        if found.seen.queue != Queue::Small {
            return false;
        }
        let stamp = match self.heap.addressing.place(found.location) {
            Place::Record { segment, .. } => self.heap.segment(segment).map(|it| it.stamp),
            Place::Large(number) => self.heap.large(number).map(|it| it.stamp),
        };
        self.came_just_now(stamp.unwrap_or(0))
    }

    /// Whether a unit of Small has this stamp and hardly anything came into Small after it.
    fn came_just_now(&self, stamp: u64) -> bool {
        self.last_stamp - stamp <= (self.small_bytes + self.main_bytes) / FRESH_SHARE
    }

    /// Starts on a segment that is dead as a whole, if there is one.
    pub(super) fn choose_dead(&mut self, now: Now) -> bool {
        if self.drain.is_some() {
            return true;
        }
        if self.sweep.none_dead_at == now.0 {
            return false;
        }
        let below = self.flushed_below;
        let dead = self.heap.segments().find(|(_, segment)| {
            segment.generation < below || (segment.latest != NEVER && segment.latest <= now.0)
        });
        let Some((number, _)) = dead else {
            self.sweep.none_dead_at = now.0;
            return false;
        };
        self.start(number, Reason::Dead);
        true
    }

    fn choose(&mut self, now: Now, relief: &mut Relief) {
        if self.choose_dead(now) {
            return;
        }
        if self.choose_sparse() {
            return;
        }
        if !self.evict {
            relief.exhausted = true;
            return;
        }
        let written = self.ghost.follow(self.index.items(), &self.pool);
        steps::note(Work::GhostRows, written);
        for _ in 0..VOID_MAX {
            let (first, second) = self.turns();
            let Some(unit) = self.pop(first).or_else(|| self.pop(second)) else {
                relief.exhausted = true;
                return;
            };
            steps::note(Work::Entries, 1);
            match unit.place {
                _ if !unit.is_valid(&self.heap) => {}
                UnitPlace::Segment(number) => return self.start(number, Reason::Turn),
                UnitPlace::Large(number) => return self.turn_of_large(number, now, relief),
            }
        }
        relief.looked += VOID_MAX;
    }

    /// Starts on the segment of which most is dead, if that is enough.
    fn choose_sparse(&mut self) -> bool {
        if !self.may_be_sparse {
            return false;
        }
        steps::note(Work::Segments, self.heap.segments_end());
        let sparsest = self
            .heap
            .segments()
            .filter(|(_, segment)| is_sparse(segment, self.cut.segment_bytes, self.evict))
            .max_by_key(|(_, segment)| segment.dead_bytes())
            .map(|(number, _)| number);
        match sparsest {
            Some(number) => self.start(number, Reason::Sparse),
            None => self.may_be_sparse = false,
        }
        sparsest.is_some()
    }

    /// Whose turn it is, and whose if nothing is left there: Small's above its share, unless all
    /// that is in it came just now. A single large item may be longer than that share.
    fn turns(&self) -> (Queue, Queue) {
        let total = self.small_bytes + self.main_bytes;
        let oldest = self.small.first().filter(|unit| unit.is_valid(&self.heap));
        let all_fresh = oldest.is_some_and(|unit| self.came_just_now(unit.stamp));
        if self.small_bytes * SMALL_SHARE > total && !all_fresh {
            (Queue::Small, Queue::Main)
        } else {
            (Queue::Main, Queue::Small)
        }
    }

    /// The first entry of a queue, valid or not.
    fn pop(&mut self, queue: Queue) -> Option<Unit> {
        match queue {
            Queue::Small => self.small.pop(),
            Queue::Main => self.main.pop(),
        }
    }

    fn start(&mut self, number: usize, reason: Reason) {
        for open in &mut self.open {
            if *open == Some(number) {
                *open = None;
            }
        }
        if let Some(segment) = self.heap.segment_mut(number) {
            segment.sealed = true;
            // Its entry in a queue, if it is still there, is void from now on.
            segment.stamp = DRAINED;
        }
        self.drain = Some(Drain { segment: number, cursor: 0, kept_bytes: 0, reason });
        self.pool.note_drain_begun();
    }

    /// Goes on draining until the segment is empty or the allowance is used up.
    fn drain_on(&mut self, drain: Drain, now: Now, records_max: usize, relief: &mut Relief) {
        self.drain = Some(drain);
        while relief.looked < records_max {
            let mut ahead = [Ahead::default(); AHEAD_MAX];
            let count = self.look_ahead(&mut ahead[..AHEAD_MAX.min(records_max - relief.looked)]);
            if count == 0 {
                self.drain = None;
                self.pool.note_drain_ended();
                self.release(drain.segment);
                self.pool.end_overdraft(self.number);
                relief.freed = true;
                return;
            }
            for record in &ahead[..count] {
                if record.lives && self.drain_one(record, now, relief) == Fate::Stuck {
                    relief.exhausted = true;
                    return;
                }
                relief.looked += 1;
                steps::note(Work::Records, 1);
                if let Some(drain) = &mut self.drain {
                    drain.cursor = record.next;
                }
            }
        }
    }

    /// Reads the next records and prefetches what deciding on them will touch, so that the misses
    /// overlap. Returns how many there are.
    fn look_ahead(&self, ahead: &mut [Ahead]) -> usize {
        let Some(drain) = &self.drain else { return 0 };
        let blocks = &self.pool.blocks;
        let mut at = drain.cursor;
        let mut count = 0;
        for record in &mut *ahead {
            let Some((next, lives)) = self.heap.step(drain.segment, at) else { break };
            let location = self.heap.addressing.record(drain.segment, at);
            let hash = if lives { self.heap.hash_of(location) } else { 0 };
            *record = Ahead { location: Some(location), bytes: next - at, next, lives, hash };
            if lives {
                self.index.prefetch_leaf(hash, blocks);
                blocks.prefetch(self.ghost.near(hash));
            }
            at = next;
            count += 1;
        }
        for record in ahead[..count].iter().filter(|record| record.lives) {
            self.index.prefetch_buckets(record.hash, blocks);
        }
        count
    }

    /// Decides on one live record.
    fn drain_one(&mut self, record: &Ahead, now: Now, relief: &mut Relief) -> Fate {
        let (Some(location), Some(drain)) = (record.location, self.drain) else {
            return Fate::Freed;
        };
        let hash = record.hash;
        let slot = self.index.find(hash, |at| at == location);
        let (Some((slot, _)), Some(seen)) = (slot, self.heap.see(location, self.newest)) else {
            debug_assert!(false, "a live record has a slot");
            return Fate::Freed;
        };
        let found = Found { slot, location, seen };
        if self.death(&seen, now).is_some() {
            self.reclaim(found);
            relief.reclaimed += 1;
            return Fate::Freed;
        }
        let counter = self.index.counter(slot);
        let fits = drain.kept_bytes < self.cut.segment_bytes - self.cut.segment_bytes / FREED_SHARE;
        let (keep, to, counter) = match (drain.reason, seen.queue) {
            (Reason::Dead, _) => (false, seen.queue, 0),
            (Reason::Sparse, queue) => (true, queue, counter),
            (Reason::Turn, Queue::Small) => (counter >= PROMOTED_FROM, Queue::Main, 0),
            (Reason::Turn, Queue::Main) => {
                (counter > 0 && fits, Queue::Main, counter.saturating_sub(1))
            }
        };
        if keep && self.relocate(found, to, now).is_ok() {
            self.index.set_counter(slot, counter);
            let bytes = self.item_bytes(seen.key_bytes, &seen.facts);
            let counts = self.counters.class(class_of(bytes));
            match (drain.reason, seen.queue) {
                (Reason::Turn, Queue::Small) => counts.moves_to_main += 1,
                (Reason::Turn, Queue::Main) => counts.moves_within_main += 1,
                _ => {}
            }
            if let Some(drain) = &mut self.drain {
                drain.kept_bytes += record.bytes;
            }
            return Fate::Kept;
        }
        if keep && !self.evict {
            return Fate::Stuck;
        }
        self.evict(found, hash, now);
        Fate::Freed
    }

    fn turn_of_large(&mut self, number: usize, now: Now, relief: &mut Relief) {
        relief.looked += LARGE_RECORDS;
        steps::note(Work::Records, LARGE_RECORDS);
        let location = Addressing::large(number);
        let hash = self.heap.hash_of(location);
        let slot = self.index.find(hash, |at| at == location);
        let (Some((slot, _)), Some(seen)) = (slot, self.heap.see(location, self.newest)) else {
            debug_assert!(false, "a large item has a slot");
            return;
        };
        let found = Found { slot, location, seen };
        if self.death(&seen, now).is_some() {
            self.reclaim(found);
            relief.reclaimed += 1;
            relief.freed = true;
            return;
        }
        let counter = self.index.counter(slot);
        if counter == 0 {
            self.evict(found, hash, now);
            relief.freed = true;
            return;
        }
        let left = if seen.queue == Queue::Small { 0 } else { counter - 1 };
        self.index.set_counter(slot, left);
        let bytes = self.item_bytes(seen.key_bytes, &seen.facts);
        let class = class_of(bytes);
        self.counters.left(class, bytes, seen.queue);
        self.counters.came(class, bytes, Queue::Main);
        match seen.queue {
            Queue::Small => self.counters.class(class).moves_to_main += 1,
            Queue::Main => self.counters.class(class).moves_within_main += 1,
        }
        let Some(large) = self.heap.large_mut(number) else { return };
        large.queue = Queue::Main;
        let (charged, stamp) = (large.charged, large.stamp);
        *self.bytes_of(seen.queue) -= charged;
        *self.bytes_of(Queue::Main) += charged;
        let place = UnitPlace::Large(number);
        self.enqueue(Queue::Main, Unit { place, stamp });
    }

    /// Frees a dead item met while looking for room.
    fn reclaim(&mut self, found: Found) {
        let bytes = self.item_bytes(found.seen.key_bytes, &found.seen.facts);
        let counts = self.counters.class(class_of(bytes));
        counts.reclaimed += 1;
        counts.expired_unfetched += u64::from(!found.seen.facts.marks.fetched);
        self.discard(found);
    }

    /// Throws a live item out.
    fn evict(&mut self, found: Found, hash: u64, now: Now) {
        let facts = &found.seen.facts;
        let bytes = self.item_bytes(found.seen.key_bytes, facts);
        let used = self.index.counter(found.slot) > 0;
        let counts = self.counters.class(class_of(bytes));
        counts.evicted += 1;
        counts.evicted_nonzero += u64::from(facts.expiry.second().is_some());
        counts.evicted_time = now.0.saturating_sub(facts.last_access.0);
        counts.evicted_unfetched += u64::from(!facts.marks.fetched);
        counts.evicted_active += u64::from(used);
        if found.seen.queue == Queue::Small {
            self.ghost.remember(hash);
        }
        self.discard(found);
    }
}

/// Whether compaction wins something in a segment. Only a death in it or its sealing makes it so.
///
/// Without eviction, what lives must fit into one fresh segment: there may be no second one, and
/// then nothing could be moved any more, whatever is deleted.
pub(super) fn is_sparse(segment: &Segment, segment_bytes: usize, evict: bool) -> bool {
    let share = if evict { SPARSE_SHARE } else { SPARSE_SHARE_WITHOUT_EVICTION };
    let fits = evict || segment.moved_bytes_max() <= segment_bytes;
    segment.sealed && segment.dead_bytes() * share >= segment_bytes && fits
}
