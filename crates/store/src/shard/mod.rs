//! One shard: an index, segments, large items and the policy over them. It is owned by whoever holds
//! its lock, so nothing in it is shared but memory's budget and the pieces of large values.
//!
//! Invariants: each live record or large item is pointed at by exactly one slot of the index, and
//! each slot points at one; what is held is charged to the pool first.

#[cfg(test)]
#[cfg(not(loom))]
mod audit;
mod fetch;
mod line;
mod place;
mod relief;
mod removal;
mod step;
mod sweep;
mod write;

use crate::blocks::Blocks;
use crate::class::{class_of, item_size};
use crate::counters::Counters;
use crate::face::{Absent, StoreConfig};
use crate::geometry::Geometry;
use crate::ghost::Ghost;
use crate::heap::{Facts, Heap, Large, Queue, Seen};
use crate::index::{Index, Slot};
use crate::layout;
use crate::location::{Location, Place};
use crate::pool::Pool;
use crate::stats::{ClassStats, StoreStats};
use crate::steps::{self, Work};
use crate::sync::Arc;
use crate::time::Now;

use relief::is_sparse;

pub(crate) use fetch::Unshown;
pub(crate) use sweep::STEP_RECORDS;
pub(crate) use write::Given;

/// No memory: relief is needed before trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Starved;

/// An item that was looked up. Valid until the shard is changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    slot: Slot,
    location: Location,
    seen: Seen,
}

#[derive(Debug)]
pub(crate) struct Shard<M: Blocks> {
    number: usize,
    pool: Arc<Pool<M>>,
    cut: Geometry,
    item_bytes_max: u32,
    evict: bool,
    cas: bool,
    index: Index<M>,
    heap: Heap<M::Block>,
    ghost: Ghost,
    /// Segments that records are appended to.
    open: [Option<usize>; STREAMS],
    small: line::Line,
    main: line::Line,
    small_bytes: u64,
    main_bytes: u64,
    drain: Option<relief::Drain>,
    /// Unless a look through all segments found none since one became so: with a full memory under
    /// `-M`, each write would look again.
    may_be_sparse: bool,
    sweep: sweep::Sweep,
    next_cas: u64,
    /// The newest unit's; grows by the bytes of those that come into Small.
    last_stamp: u64,
    generation: u64,
    /// Items of earlier generations are flushed.
    flushed_below: u64,
    /// Flushes still to come.
    deadlines: Vec<Now>,
    counters: Counters,
    /// An item on its way from one place to another; at most a record and a large value's seam.
    scratch: Vec<u8>,
    /// The latest second seen. Accesses are read as before it, so that they stay right when the
    /// clock goes back.
    newest: Now,
    /// Large items that are in no place any more: whoever holds the lock takes them along and frees
    /// them without it, since a gibibyte takes some ten milliseconds.
    dead: Vec<Large<M::Block>>,
    /// Why the item that this operation looked up was removed as dead.
    died: Option<Absent>,
}

/// Segments for appending are kept apart by what their items have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Small,
    /// Items that die soon, so that whole segments die together; part of the queue Small.
    Short,
    Main,
}

/// An entry in a queue: a segment or a large item. Void if the stamp is not its own any more.
#[derive(Clone, Copy, Debug)]
struct Unit {
    place: UnitPlace,
    stamp: u64,
}

// What the pool charges for each segment counts with it.
const _: () = assert!(size_of::<Unit>() == 24);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnitPlace {
    Segment(usize),
    Large(usize),
}

const STREAMS: usize = 3;
/// What processors fetch at once.
const LINE_BYTES: usize = 64;
/// Flushes that may wait for their time; a further one takes the place of the last.
const DEADLINES_MAX: usize = 16;

impl<M: Blocks> Shard<M> {
    pub(crate) fn new(
        number: usize,
        config: &StoreConfig,
        cut: Geometry,
        pool: Arc<Pool<M>>,
    ) -> Self {
        Self {
            number,
            pool,
            cut,
            item_bytes_max: config.item_bytes_max,
            evict: config.evict,
            cas: config.cas,
            index: Index::new(number, cut.shard_bits, cut.slab_bytes),
            heap: Heap::new(cut.segment_bytes, config.seed, config.cas),
            ghost: Ghost::new(number),
            open: [None; STREAMS],
            small: line::Line::default(),
            main: line::Line::default(),
            small_bytes: 0,
            main_bytes: 0,
            drain: None,
            may_be_sparse: false,
            sweep: sweep::Sweep::default(),
            next_cas: 1,
            last_stamp: 0,
            generation: 1,
            flushed_below: 0,
            deadlines: Vec::new(),
            counters: Counters::new(),
            scratch: Vec::new(),
            newest: Now(0),
            dead: Vec::new(),
            died: None,
        }
    }

    /// To be called first in every operation: does the flushes that are due.
    pub(crate) fn enter(&mut self, now: Now) {
        self.newest = self.newest.max(now);
        self.died = None;
        if !self.deadlines.is_empty() && self.deadlines.iter().any(|at| *at <= now) {
            self.deadlines.retain(|at| *at > now);
            self.flush_now();
        }
    }

    /// Everything stored before `at` dies then; at once if that is not after `now`.
    pub(crate) fn flush(&mut self, now: Now, at: Now) {
        if at <= now {
            self.flush_now();
        } else if !self.deadlines.contains(&at) {
            if self.deadlines.len() >= DEADLINES_MAX {
                self.deadlines.pop();
            }
            self.deadlines.push(at);
        }
    }

    /// Asks for what a search for this hash reads first.
    #[inline]
    pub(crate) fn prefetch_leaf(&self, hash: u64) {
        self.index.prefetch_leaf(hash, &self.pool.blocks);
    }

    /// Asks for what it reads next.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, hash: u64) {
        self.index.prefetch_buckets(hash, &self.pool.blocks);
    }

    /// Asks for what it reads last.
    #[inline]
    pub(crate) fn prefetch_record(&self, hash: u64) {
        let blocks = &self.pool.blocks;
        let mut any = false;
        self.index.candidates(hash, |location| {
            any = true;
            let near = self.heap.near(location);
            blocks.prefetch(near);
            if let Some(segment) = self.heap.place_of(location) {
                blocks.prefetch_value(segment);
            }
            // A short item lies across two lines as often as not.
            blocks.prefetch(near.get(LINE_BYTES..).unwrap_or_default());
        });
        if !any {
            // Whoever stores it asks whether it was here before.
            blocks.prefetch(self.ghost.near(hash));
        }
    }

    /// What the operation since [`Self::enter`] found dead: a try that starves has removed it, so
    /// the next one would call it missing.
    pub(crate) const fn died(&self) -> Option<Absent> {
        self.died
    }

    pub(crate) fn count_too_large(&mut self) {
        self.counters.too_large += 1;
    }

    pub(crate) fn count_no_memory(&mut self, class: u8) {
        self.counters.class(class).outofmemory += 1;
    }

    /// Counts an operation that had to make room itself.
    pub(crate) fn count_direct(&mut self, class: u8) {
        self.counters.class(class).direct_reclaims += 1;
    }

    /// Whether a segment is being given up.
    pub(crate) const fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(crate) fn reset_stats(&mut self) {
        self.counters.reset();
    }

    pub(crate) fn add_to(&self, stats: &mut StoreStats) {
        self.counters.add_to(stats);
        stats.index_bytes += self.index.bytes() + self.ghost.bytes();
        stats.segments_used += self.heap.segments().count() as u64;
        stats.large_items += self.heap.larges_held() as u64;
    }

    pub(crate) fn slots(&self) -> usize {
        self.index.slots()
    }

    pub(crate) fn add_to_classes(&self, all: &mut [ClassStats]) {
        let opened = self.heap.segments().map(|(_, segment)| segment.base.0).min();
        let age = opened.map_or(0, |base| self.newest.0.saturating_sub(base));
        self.counters.add_to_classes(all, age);
    }

    /// The live item with this key. One that is dead by time or flush is removed.
    #[inline]
    fn find(&mut self, key: &[u8], hash: u64, now: Now) -> Result<Found, Absent> {
        let heap = &self.heap;
        let found = self.index.find(hash, |location| heap.holds(location, key));
        let Some((slot, location)) = found else { return Err(Absent::Missing) };
        let Some(seen) = self.heap.see(location, self.newest) else { return Err(Absent::Missing) };
        let found = Found { slot, location, seen };
        match self.death(&seen, now) {
            None => Ok(found),
            Some(absent) => {
                self.discard(found);
                self.died = Some(absent);
                Err(absent)
            }
        }
    }

    /// Why an item is dead, if it is.
    #[inline]
    fn death(&self, seen: &Seen, now: Now) -> Option<Absent> {
        if seen.generation < self.flushed_below {
            Some(Absent::Flushed)
        } else if seen.facts.expiry.is_due(now) {
            Some(Absent::Expired)
        } else {
            None
        }
    }

    /// Takes an item out of the index and out of its place.
    fn discard(&mut self, found: Found) {
        self.index.remove(found.slot);
        self.vacate(found.location, &found.seen);
    }

    /// Gives up the place of an item that the index no longer points at.
    fn vacate(&mut self, location: Location, seen: &Seen) {
        let bytes = self.item_bytes(seen.key_bytes, &seen.facts);
        self.counters.left(class_of(bytes), bytes, seen.queue);
        match self.heap.addressing.place(location) {
            Place::Large(number) => self.drop_large(number),
            Place::Record { segment: number, offset } => {
                let Some((segment, bytes)) = self.heap.whole_mut(number) else { return };
                layout::bury(&mut bytes[offset..]);
                segment.live_items -= 1;
                segment.live_bytes -= seen.record_bytes(offset);
                let drained = self.drain.as_ref().is_some_and(|drain| drain.segment == number);
                if drained {
                    return;
                }
                self.may_be_sparse |= is_sparse(segment, self.cut.segment_bytes, self.evict);
                if segment.live_items == 0 && segment.sealed {
                    self.release(number);
                }
            }
        }
    }

    fn drop_large(&mut self, number: usize) {
        let Some(large) = self.heap.take_large(number) else { return };
        *self.bytes_of(large.queue) -= large.charged;
        self.pool.unhold(self.number, large.charged);
        self.dead.push(large);
    }

    /// What is to be freed without the lock; `None` nearly always.
    #[inline]
    pub(crate) fn take_dead(&mut self) -> Option<Vec<Large<M::Block>>> {
        (!self.dead.is_empty()).then(|| std::mem::take(&mut self.dead))
    }

    /// Gives a segment without live records back.
    fn release(&mut self, number: usize) {
        let Some((segment, block)) = self.heap.take_segment(number) else { return };
        *self.bytes_of(segment.queue) -= self.pool.segment_cost();
        self.pool.take_back(self.number, block);
    }

    fn flush_now(&mut self) {
        for stream in [Stream::Small, Stream::Short, Stream::Main] {
            self.seal(stream);
        }
        self.generation += 1;
        self.flushed_below = self.generation;
        // What was flushed is freed in a round of its own.
        self.sweep = sweep::Sweep::default();
    }

    fn seal(&mut self, stream: Stream) {
        let Some(number) = self.open[stream as usize].take() else { return };
        let Some(segment) = self.heap.segment_mut(number) else { return };
        segment.sealed = true;
        self.may_be_sparse |= is_sparse(segment, self.cut.segment_bytes, self.evict);
        if segment.live_items == 0 {
            self.release(number);
        }
    }

    fn bytes_of(&mut self, queue: Queue) -> &mut u64 {
        match queue {
            Queue::Small => &mut self.small_bytes,
            Queue::Main => &mut self.main_bytes,
        }
    }

    fn enqueue(&mut self, queue: Queue, unit: Unit) {
        let heap = &self.heap;
        let line = if queue == Queue::Small { &mut self.small } else { &mut self.main };
        let valid_max = heap.segments_end() + heap.larges_held();
        let looked = line.push(unit, valid_max, |unit| unit.is_valid(heap));
        steps::note(Work::Entries, looked);
    }

    /// A stamp for a new unit of so many bytes. The difference of two says what came into Small
    /// between them, give or take the number of units that came into Main.
    fn stamp(&mut self, queue: Queue, bytes: u64) -> u64 {
        self.last_stamp += if queue == Queue::Small { bytes.max(1) } else { 1 };
        self.last_stamp
    }

    /// Size as memcached would report it.
    fn item_bytes(&self, key_bytes: usize, facts: &Facts) -> u32 {
        item_size(key_bytes, facts.value_bytes, facts.flags, self.cas)
    }
}

impl Stream {
    const fn queue(self) -> Queue {
        match self {
            Self::Small | Self::Short => Queue::Small,
            Self::Main => Queue::Main,
        }
    }
}

impl Unit {
    fn is_valid<B: AsRef<[u8]> + AsMut<[u8]>>(self, heap: &Heap<B>) -> bool {
        let stamp = match self.place {
            UnitPlace::Segment(number) => heap.segment(number).map(|segment| segment.stamp),
            UnitPlace::Large(number) => heap.large(number).map(|large| large.stamp),
        };
        stamp == Some(self.stamp)
    }
}
