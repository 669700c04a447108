//! Putting items into their places: appending records, linking chains, changing heads.

use super::{Found, LINE_BYTES, Shard, Starved, Stream, Unit, UnitPlace};
use crate::blocks::Blocks;
use crate::chain::{Builder, Chain, cost};
use crate::class::class_of;
use crate::heap::{Facts, Large, Queue, Segment};
use crate::layout::{self, Head, Marks, Spans, padded};
use crate::location::{Addressing, Location, Place};
use crate::pool::Need;
use crate::time::{Expiry, Now};

/// Items that die within this many seconds share segments, which then die whole.
const SHORT_TTL_SECS: u32 = 300;
/// Bytes charged for a large item besides key and chain: its place in the table, in a queue, the
/// chain's links; tables grow by doubling.
const LARGE_OVERHEAD_BYTES: u64 = 384;
/// Scratch larger than this is given back after use.
const SCRATCH_BYTES_KEPT: usize = 256 << 10;

/// Where a new item's value comes from.
pub(super) enum Payload<'v, B> {
    /// Bytes of the caller's.
    Bytes(&'v [u8]),
    /// Bytes in the shard's scratch.
    Scratch,
    /// A chain.
    Chain(Chain<B>),
}

/// How an item's cas unique is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cas {
    /// The next one, above this one (0 if there was no item); no field if its place tells it.
    NextAfter(u64),
    /// The same with a field, so that it can be changed in place.
    NextInField(u64),
    /// This one.
    Exactly(u64),
}

/// An item to be put into its place. Its value is `payload`.
pub(super) struct Fresh<'k> {
    pub(super) key: &'k [u8],
    pub(super) hash: u64,
    /// `cas` and `value_bytes` are not looked at.
    pub(super) facts: Facts,
    pub(super) cas: Cas,
}

impl Cas {
    /// Whether the next record in a segment has to store it.
    fn needs_field(self, segment: &Segment) -> bool {
        !matches!(self, Self::NextAfter(old) if segment.cas_at(segment.fill) > old)
    }
}

impl Fresh<'_> {
    fn head(&self, value_bytes: usize, cas: Option<u64>) -> Head {
        let Facts { flags, expiry, last_access, marks, .. } = self.facts;
        let (key_bytes, value_bytes) = (self.key.len() as u8, value_bytes as u32);
        Head { key_bytes, value_bytes, flags, expiry, cas, last_access, marks }
    }

    /// Bytes of its record as the next one in `segment`.
    fn record_bytes(&self, segment: &Segment, has_cas: bool, value_bytes: usize) -> usize {
        let cas = (has_cas && self.cas.needs_field(segment)).then_some(0);
        padded(self.head(value_bytes, cas).record_bytes(segment.base))
    }
}

impl<M: Blocks> Shard<M> {
    /// Makes sure that one more item with this hash can be inserted. Slots found before are void.
    pub(super) fn make_room_in_index(&mut self, hash: u64) -> Result<(), Starved> {
        let heap = &self.heap;
        self.index
            .make_room(hash, &self.pool, Need::Write, |location| heap.hash_of(location))
            .map_err(|_| Starved)
    }

    /// Puts a fresh item in the place of `old`, or as a new one; there must be room in the index.
    /// Returns its cas unique.
    pub(super) fn put(
        &mut self,
        fresh: &Fresh<'_>,
        payload: Payload<'_, M::Block>,
        old: Option<Found>,
        now: Now,
    ) -> Result<u64, Starved> {
        let (location, cas, queue, value_bytes) = match payload {
            Payload::Bytes(value) => self.put_record(fresh, value, old, now)?,
            Payload::Scratch => {
                let scratch = std::mem::take(&mut self.scratch);
                let put = self.put_record(fresh, &scratch, old, now);
                self.scratch = scratch;
                put?
            }
            Payload::Chain(chain) => self.put_large(fresh, chain, old)?,
        };
        match old {
            Some(old) => {
                self.index.set_location(old.slot, location);
                self.vacate(old.location, &old.seen);
            }
            None => self.index.insert(fresh.hash, location, 0),
        }
        let facts = Facts { value_bytes, ..fresh.facts };
        let bytes = self.item_bytes(fresh.key.len(), &facts);
        self.counters.came(class_of(bytes), bytes, queue);
        self.counters.total_items += 1;
        Ok(if self.cas { cas } else { 0 })
    }

    fn put_record(
        &mut self,
        fresh: &Fresh<'_>,
        value: &[u8],
        old: Option<Found>,
        now: Now,
    ) -> Result<(Location, u64, Queue, u32), Starved> {
        let returned = self.returns(fresh.hash, old.as_ref());
        let queue = queue_for(old.as_ref(), returned);
        let stream = self.stream_for(queue, fresh.facts.expiry, now);
        let cas = self.cas;
        let exact = |open: &Segment| fresh.record_bytes(open, cas, value.len());
        let longest = layout::HEAD_BYTES_MAX + fresh.key.len() + value.len();
        let segment = match self.open_for(stream, padded(longest), exact, now, Need::Write) {
            Ok(segment) => segment,
            Err(starved) => {
                if returned {
                    self.ghost.remember(fresh.hash);
                }
                return Err(starved);
            }
        };
        let (location, cas) = self.append(segment, fresh, value);
        Ok((location, cas, stream.queue(), value.len() as u32))
    }

    fn put_large(
        &mut self,
        fresh: &Fresh<'_>,
        chain: Chain<M::Block>,
        old: Option<Found>,
    ) -> Result<(Location, u64, Queue, u32), Starved> {
        if !self.heap.can_add_large() {
            return Err(Starved);
        }
        let overhead = LARGE_OVERHEAD_BYTES + fresh.key.len() as u64;
        let charge = self.pool.charge(overhead, Need::Write).ok_or(Starved)?;
        if let Some(Place::Large(number)) = old.map(|old| self.heap.addressing.place(old.location))
            && let Some(replaced) = self.heap.large(number)
        {
            replaced.chain.bequeath(&chain);
        }
        let queue = queue_for(old.as_ref(), self.returns(fresh.hash, old.as_ref()));
        let charged = chain.charged() + charge.bytes();
        let value_bytes = chain.len();
        let cas = if self.cas { cas_apart(&mut self.next_cas, fresh.cas) } else { 0 };
        let stamp = self.stamp(queue, charged);
        self.pool.hold(self.number, charged);
        *self.bytes_of(queue) += charged;
        let number = self.heap.add_large(Large {
            key: fresh.key.into(),
            hash: fresh.hash,
            facts: Facts { value_bytes, cas, ..fresh.facts },
            chain,
            generation: self.generation,
            queue,
            stamp,
            charged,
            _charge: charge,
        });
        self.enqueue(queue, Unit { place: UnitPlace::Large(number), stamp });
        Ok((Addressing::large(number), cas, queue, value_bytes))
    }

    /// A chain of the parts' bytes.
    pub(super) fn chain_of(&self, parts: &[&[u8]]) -> Result<Chain<M::Block>, Starved> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let piece_bytes = self.cut.piece_bytes;
        let needed = cost(bytes, piece_bytes, &self.pool);
        let charge = self.pool.charge(needed, Need::Write).ok_or(Starved)?;
        let mut builder = Builder::new(bytes, charge);
        for part in parts {
            builder.fill(part, piece_bytes, &self.pool);
        }
        builder.finish().ok_or(Starved)
    }

    /// Whether an item of these sizes is kept as a record, not as a large item.
    pub(super) const fn is_record(&self, key_bytes: usize, value_bytes: usize) -> bool {
        layout::HEAD_BYTES_MAX + key_bytes + value_bytes <= self.cut.record_bytes_max
    }

    /// Fills the scratch with the parts, one behind the other.
    pub(super) fn scribble(&mut self, parts: &[&[u8]]) {
        self.scratch.clear();
        for part in parts {
            self.scratch.extend_from_slice(part);
        }
    }

    /// Gives back scratch that grew large.
    pub(super) fn tidy_scratch(&mut self) {
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }

    /// Replaces the expiry of an item, in place or by writing it anew with the same cas unique.
    pub(super) fn touch(
        &mut self,
        found: Found,
        key: &[u8],
        hash: u64,
        expiry: Expiry,
        now: Now,
    ) -> Result<Found, Starved> {
        if self.set_expiry(found.location, expiry) {
            return self.see_again(found).ok_or(Starved);
        }
        let facts = Facts { expiry, ..found.seen.facts };
        self.rewrite(found, key, hash, facts, Cas::Exactly(facts.cas), now)
    }

    /// Writes a record anew with other facts and the same value.
    pub(super) fn rewrite(
        &mut self,
        found: Found,
        key: &[u8],
        hash: u64,
        facts: Facts,
        cas: Cas,
        now: Now,
    ) -> Result<Found, Starved> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(self.heap.value(found.location));
        self.scratch = scratch;
        let total = self.counters.total_items;
        let fresh = Fresh { key, hash, facts, cas };
        self.put(&fresh, Payload::Scratch, Some(found), now)?;
        // The item was moved, not stored.
        self.counters.total_items = total;
        let location = self.index_location(hash, key).ok_or(Starved)?;
        let seen = self.heap.see(location.1, self.newest).ok_or(Starved)?;
        Ok(Found { slot: location.0, location: location.1, seen })
    }

    /// Changes the expiry where the item lies, if that is possible.
    pub(super) fn set_expiry(&mut self, location: Location, expiry: Expiry) -> bool {
        match self.heap.addressing.place(location) {
            Place::Large(number) => {
                self.heap.large_mut(number).map(|large| large.facts.expiry = expiry).is_some()
            }
            Place::Record { segment: number, offset } => {
                let Some((segment, bytes)) = self.heap.whole_mut(number) else { return false };
                let fits = layout::set_expiry(&mut bytes[offset..], expiry, segment.base);
                if fits {
                    segment.expect(expiry);
                    self.sweep.expect(number, expiry);
                }
                fits
            }
        }
    }

    /// Changes marks, and last access if it is `accessed`, where the item lies.
    pub(super) fn note(&mut self, location: Location, marks: Marks, accessed: Option<Now>) {
        match self.heap.addressing.place(location) {
            Place::Large(number) => {
                if let Some(large) = self.heap.large_mut(number) {
                    large.facts.marks = marks;
                    large.facts.last_access = accessed.unwrap_or(large.facts.last_access);
                }
            }
            Place::Record { segment, offset } => {
                let Some(record) = self.heap.record_mut(segment, offset) else { return };
                layout::set_marks(record, marks);
                if let Some(now) = accessed {
                    layout::set_last_access(record, now);
                }
            }
        }
    }

    /// Replaces the cas unique where the item lies, if it has a field for it.
    pub(super) fn set_cas(&mut self, location: Location, cas: u64) -> bool {
        match self.heap.addressing.place(location) {
            Place::Large(number) => {
                self.heap.large_mut(number).map(|large| large.facts.cas = cas).is_some()
            }
            Place::Record { segment, offset } => self
                .heap
                .record_mut(segment, offset)
                .is_some_and(|record| layout::set_cas(record, cas)),
        }
    }

    /// Replaces a record's value by one of the same length.
    pub(super) fn set_value(&mut self, location: Location, value: &[u8]) -> bool {
        let Place::Record { segment, offset } = self.heap.addressing.place(location) else {
            return false;
        };
        let Some(record) = self.heap.record_mut(segment, offset) else { return false };
        let spans = Spans::read(record);
        if spans.end - spans.value != value.len() {
            return false;
        }
        record[spans.value..spans.end].copy_from_slice(value);
        true
    }

    /// A cas unique that no place tells, other than `old`: that may be any number, if a client
    /// chose it.
    pub(super) fn take_cas(&mut self, old: u64) -> u64 {
        cas_apart(&mut self.next_cas, Cas::NextAfter(old))
    }

    pub(super) fn see_again(&self, found: Found) -> Option<Found> {
        Some(Found { seen: self.heap.see(found.location, self.newest)?, ..found })
    }

    /// Copies the live record at `location` to an open segment of `queue`; its slot follows.
    pub(super) fn relocate(&mut self, found: Found, queue: Queue, now: Now) -> Result<(), Starved> {
        let Found { slot, location, seen } = found;
        let stream = self.stream_for(queue, seen.facts.expiry, now);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(self.heap.key(location));
        scratch.extend_from_slice(self.heap.value(location));
        let (key, value) = scratch.split_at(seen.key_bytes.min(scratch.len()));
        let cas = if seen.facts.marks.cas_shown {
            Cas::Exactly(seen.facts.cas)
        } else {
            Cas::NextAfter(seen.facts.cas)
        };
        let mut fresh = Fresh { key, hash: 0, facts: seen.facts, cas };
        let has_cas = self.cas;
        let exact = |open: &Segment| fresh.record_bytes(open, has_cas, value.len());
        let longest = padded(layout::HEAD_BYTES_MAX + scratch.len());
        let need = if self.evict { Need::Relief } else { Need::Compaction };
        let segment = match self.open_for(stream, longest, exact, now, need) {
            Ok(segment) => segment,
            Err(starved) => {
                self.scratch = scratch;
                return Err(starved);
            }
        };
        if self.derived_cas(segment) <= seen.facts.cas {
            fresh.cas = Cas::Exactly(seen.facts.cas);
        }
        let (to, _) = self.append(segment, &fresh, value);
        self.scratch = scratch;
        self.index.set_location(slot, to);
        self.vacate(location, &seen);
        let bytes = self.item_bytes(seen.key_bytes, &seen.facts);
        self.counters.came(class_of(bytes), bytes, stream.queue());
        Ok(())
    }

    /// Bytes that records still to be moved may need. Without eviction they come first: if writes
    /// took the room, there might be no other, and the drained segment would stay half empty.
    fn claimed(&self) -> usize {
        let drained = self.drain.filter(|_| !self.evict).map(|drain| drain.segment);
        drained.and_then(|number| self.heap.segment(number)).map_or(0, Segment::moved_bytes_max)
    }

    /// The open segment of a stream with room for a record; a new one if need be. It has `longest`
    /// bytes at most, and `exact` tells how many in an open segment: near the end that counts.
    fn open_for(
        &mut self,
        stream: Stream,
        longest: usize,
        exact: impl FnOnce(&Segment) -> usize,
        now: Now,
        need: Need,
    ) -> Result<usize, Starved> {
        let claimed = if need == Need::Write { self.claimed() } else { 0 };
        if let Some(number) = self.open[stream as usize]
            && let Some(open) = self.heap.segment(number)
        {
            let room = self.cut.segment_bytes - open.fill;
            if room >= longest + claimed || room >= exact(open) + claimed {
                return Ok(number);
            }
        }
        if longest + claimed > self.cut.segment_bytes {
            return Err(Starved);
        }
        if !self.heap.can_add_segment() {
            return Err(Starved);
        }
        let block = self.pool.segment(self.number, need).ok_or(Starved)?;
        self.seal(stream);
        let queue = stream.queue();
        let cas_base = self.next_cas;
        self.next_cas += (self.cut.segment_bytes / crate::location::GRANULE_BYTES) as u64;
        let stamp = self.stamp(queue, self.pool.segment_cost());
        let segment = Segment {
            fill: 0,
            live_items: 0,
            live_bytes: 0,
            cas_base,
            base: now,
            generation: self.generation,
            soonest: u32::MAX,
            latest: 0,
            queue,
            sealed: false,
            stamp,
        };
        let number = self.heap.add_segment(segment, block);
        self.open[stream as usize] = Some(number);
        *self.bytes_of(queue) += self.pool.segment_cost();
        self.enqueue(queue, Unit { place: UnitPlace::Segment(number), stamp });
        Ok(number)
    }

    /// Appends key and value to a segment that has room.
    fn append(&mut self, number: usize, fresh: &Fresh<'_>, value: &[u8]) -> (Location, u64) {
        let addressing = self.heap.addressing;
        let Some((segment, block)) = self.heap.whole_mut(number) else {
            debug_assert!(false, "open_for returned this segment");
            return (addressing.record(number, 0), 0);
        };
        let (cas, field) = if !self.cas {
            (0, None)
        } else if fresh.cas.needs_field(segment) {
            let cas = cas_apart(&mut self.next_cas, fresh.cas);
            (cas, Some(cas))
        } else {
            (segment.cas_at(segment.fill), None)
        };
        let head = fresh.head(value.len(), field);
        let (offset, base) = (segment.fill, segment.base);
        let bytes = head.record_bytes(base);
        let record = &mut block[offset..offset + bytes];
        let key_at = head.write(base, record);
        let value_at = key_at + fresh.key.len();
        record[key_at..value_at].copy_from_slice(fresh.key);
        record[value_at..].copy_from_slice(value);
        segment.fill += padded(bytes);
        segment.live_items += 1;
        segment.live_bytes += padded(bytes);
        segment.expect(fresh.facts.expiry);
        // Where the next records will lie: giving the lock back waits for what was stored.
        let next = block.get(segment.fill + LINE_BYTES..).unwrap_or_default();
        self.pool.blocks.prefetch(next);
        self.pool.blocks.prefetch(next.get(LINE_BYTES..).unwrap_or_default());
        (addressing.record(number, offset), cas)
    }

    /// The cas unique that the next record in a segment would have by its place.
    fn derived_cas(&self, number: usize) -> u64 {
        self.heap.segment(number).map_or(0, |segment| segment.cas_at(segment.fill))
    }

    fn stream_for(&self, queue: Queue, expiry: Expiry, now: Now) -> Stream {
        let dies = expiry.second().is_some_and(|at| at <= now.0.saturating_add(SHORT_TTL_SECS));
        match queue {
            // One stream, so that compaction needs one fresh segment at most and never gets stuck.
            _ if !self.evict => Stream::Small,
            _ if dies => Stream::Short,
            Queue::Small => Stream::Small,
            Queue::Main => Stream::Main,
        }
    }

    /// Whether this item was thrown out lately; it is remembered no more.
    fn returns(&mut self, hash: u64, old: Option<&Found>) -> bool {
        old.is_none() && self.evict && self.ghost.take(hash)
    }

    fn index_location(&self, hash: u64, key: &[u8]) -> Option<(crate::index::Slot, Location)> {
        let heap = &self.heap;
        self.index.find(hash, |location| heap.holds(location, key))
    }
}

/// An item that replaces one in Main stays there; one that returns goes there.
fn queue_for(old: Option<&Found>, returned: bool) -> Queue {
    match old {
        Some(old) => old.seen.queue,
        None if returned => Queue::Main,
        None => Queue::Small,
    }
}

/// A cas unique that no place tells; `next` is the next one of the shard.
fn cas_apart(next: &mut u64, cas: Cas) -> u64 {
    match cas {
        Cas::Exactly(cas) => cas,
        Cas::NextAfter(old) | Cas::NextInField(old) => {
            *next += u64::from(*next == old);
            let cas = *next;
            *next += 1;
            cas
        }
    }
}
