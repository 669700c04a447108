//! From hash to location: six-byte slots in 64-byte buckets.
//!
//! A leaf holds the items whose hashes share a prefix, in one to eight chunks of four buckets. The
//! 14-bit tag of an item alone decides its home bucket in the leaf (`tag * buckets / 2^14`), so a
//! leaf grows and shrinks by a chunk without looking at any item. A leaf of eight full chunks is
//! split in two by the next bit of the hashes, the only time when keys are read; the directory of
//! prefixes doubles when its deepest leaf is split.
//!
//! ```text
//! bucket  | 10 x u16: tag << 2 | counter | 10 x u32: location, 0 = empty | u8 passed | u24 leaf |
//! ```
//!
//! A bucket that is full passes an item on to the next one (around the leaf's end). `passed` has one
//! bit for each eighth of the tags: whether an item of it was passed on. A search ends at the first
//! bucket that has passed nothing of its kind on. The leaf number stands in a chunk's first bucket,
//! so that a chunk can be moved and its slab given back.
//!
//! Invariants: `leaf.items <= CHUNK_ITEMS_MAX * leaf.chunks`, so a free slot is always found; each
//! location stands in one slot at most; slabs, leaves and directory are charged before they grow.

mod bucket;
mod leaf;

use self::bucket::{
    BUCKET_SLOTS, Bucket, CHUNK_BUCKETS, CHUNK_BYTES, OWNER_AT, PASSED_AT, find_in, home_of,
    kind_of, location_at, mark_at, next, owner_of, set, tag_of,
};
use self::leaf::{CHUNKS_MAX, LEAF_CHUNKS_MAX, Leaf};
use crate::blocks::{Blocks, Purpose};
use crate::location::Location;
use crate::pool::{Charge, Need, Pool};

pub(crate) use self::bucket::COUNTER_MAX;

/// The index of one shard.
#[derive(Debug)]
pub(crate) struct Index<M: Blocks> {
    slabs: Vec<M::Block>,
    charges: Vec<Charge>,
    /// Chunks that no leaf owns.
    free: Vec<u32>,
    leaves: Vec<Leaf>,
    /// Leaf of each prefix of `depth` bits.
    directory: Vec<u32>,
    depth: u32,
    /// Bits at the top of a hash that chose the shard.
    skip_bits: u32,
    /// Logarithm of the chunks in a slab.
    slab_bits: u32,
    slab_bytes: usize,
    items: usize,
    shard: usize,
    /// Slots of a leaf that is being rebuilt.
    scratch: Vec<(u16, u32)>,
}

/// An occupied slot. Valid until the index is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    leaf: u32,
    bucket: u16,
    position: u8,
}

/// No memory for the index to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CannotGrow;

/// Above 92 % of the slots, inserting would try a second bucket too often: with 95 % sets that
/// evict take a twentieth more instructions.
const CHUNK_ITEMS_MAX: usize = CHUNK_BUCKETS * BUCKET_SLOTS * 37 / 40;
/// A leaf gives a chunk back when it would still be below this share of the others. Where items
/// come and go, the number in a leaf wanders by a tenth and more: with 60 % leaves kept what they
/// once needed, and the index held a sixth more slots than one that only grew.
const CHUNK_ITEMS_LOW: usize = CHUNK_BUCKETS * BUCKET_SLOTS * 33 / 40;
/// Prefixes of the directory; with a keyed hash, leaves differ in depth by few bits.
const DEPTH_MAX: u32 = 26;
/// Bytes charged for a leaf; the directory is charged apart.
const LEAF_COST_BYTES: u64 = size_of::<Leaf>() as u64;
/// Leaves are charged for in steps of this.
const LEAVES_STEP: usize = 32;
/// Quarters of a slab that are kept in free chunks before a slab is given back: the next one is
/// asked for when as many chunks as are in the fifth are needed again.
const FREE_QUARTERS_MAX: usize = 5;

impl<M: Blocks> Index<M> {
    /// An empty index that takes no memory yet. Slabs hold a power of two of chunks.
    pub(crate) fn new(shard: usize, skip_bits: u32, slab_bytes: usize) -> Self {
        Self {
            slabs: Vec::new(),
            charges: Vec::new(),
            free: Vec::new(),
            leaves: Vec::new(),
            directory: Vec::new(),
            depth: 0,
            skip_bits,
            slab_bits: (slab_bytes / CHUNK_BYTES).ilog2(),
            slab_bytes,
            items: 0,
            shard,
            scratch: Vec::new(),
        }
    }

    /// Items in it.
    pub(crate) const fn items(&self) -> usize {
        self.items
    }

    /// Slots in it, free ones included.
    pub(crate) fn slots(&self) -> usize {
        self.slabs.len() * self.chunks_per_slab() * CHUNK_BUCKETS * BUCKET_SLOTS
    }

    const fn chunks_per_slab(&self) -> usize {
        1 << self.slab_bits
    }

    /// Bytes charged for it.
    pub(crate) fn bytes(&self) -> u64 {
        self.charges.iter().map(Charge::bytes).sum()
    }

    /// Leaves in it.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// Asks for the leaf that a search for this hash reads before any bucket.
    pub(crate) fn prefetch_leaf(&self, hash: u64, blocks: &M) {
        if let Some(leaf) = self.leaf_of(hash).and_then(|leaf| self.leaves.get(leaf)) {
            blocks.prefetch_value(leaf);
        }
    }

    /// Asks for the first bucket that a search for this hash reads, and for the one behind it, that
    /// one in four goes on to.
    #[inline]
    pub(crate) fn prefetch_buckets(&self, hash: u64, blocks: &M) {
        let Some(leaf) = self.leaf_of(hash) else { return };
        let buckets = self.leaves[leaf].buckets();
        let home = home_of(tag_of(hash), buckets);
        blocks.prefetch(self.bucket(leaf, home));
        blocks.prefetch(self.bucket(leaf, next(home, buckets)));
    }

    /// The first bucket that a search for this hash reads.
    #[cfg(test)]
    #[cfg(not(loom))]
    fn home(&self, hash: u64) -> &[u8] {
        let leaf = self.leaf_of(hash).unwrap();
        let home = home_of(tag_of(hash), self.leaves[leaf].buckets());
        self.bucket(leaf, home)
    }

    /// The locations that a search for this hash looks at first, most likely the right one alone:
    /// those in the first bucket that has any.
    #[inline]
    pub(crate) fn candidates(&self, hash: u64, mut visit: impl FnMut(Location)) {
        let Some(leaf) = self.leaf_of(hash) else { return };
        let buckets = self.leaves[leaf].buckets();
        let tag = tag_of(hash);
        let mut at = home_of(tag, buckets);
        let mut any = false;
        for _ in 0..buckets {
            let bucket = self.bucket(leaf, at);
            let _: Option<()> = find_in(bucket, tag, |position| {
                visit(location_at(bucket, position)?);
                any = true;
                None
            });
            if any || bucket[PASSED_AT] & kind_of(tag) == 0 {
                return;
            }
            at = next(at, buckets);
        }
    }

    /// The slot of this hash whose location `is_it`.
    #[inline]
    pub(crate) fn find(
        &self,
        hash: u64,
        mut is_it: impl FnMut(Location) -> bool,
    ) -> Option<(Slot, Location)> {
        let leaf = self.leaf_of(hash)?;
        let buckets = self.leaves[leaf].buckets();
        let tag = tag_of(hash);
        let mut at = home_of(tag, buckets);
        for _ in 0..buckets {
            let bucket = self.bucket(leaf, at);
            let found = find_in(bucket, tag, |position| {
                let location = location_at(bucket, position)?;
                is_it(location).then(|| (slot(leaf, at, position), location))
            });
            if found.is_some() {
                return found;
            }
            if bucket[PASSED_AT] & kind_of(tag) == 0 {
                return None;
            }
            at = next(at, buckets);
        }
        None
    }

    /// Grows until one more item with this hash can be inserted. May move slots.
    pub(crate) fn make_room(
        &mut self,
        hash: u64,
        pool: &Pool<M>,
        need: Need,
        hash_of: impl Fn(Location) -> u64,
    ) -> Result<(), CannotGrow> {
        if self.leaves.is_empty() {
            self.plant(pool, need)?;
        }
        // Bound: each round adds a chunk to the leaf or halves its range of hashes.
        for _ in 0..(LEAF_CHUNKS_MAX + DEPTH_MAX as usize) {
            let Some(leaf) = self.leaf_of(hash) else { return Err(CannotGrow) };
            let (items, count) = (self.leaves[leaf].items, self.leaves[leaf].count);
            if usize::from(items) < CHUNK_ITEMS_MAX * usize::from(count) {
                return Ok(());
            }
            if usize::from(count) < LEAF_CHUNKS_MAX {
                let chunk = self.take_chunk(pool, need)?;
                self.rebuild(leaf, |chunks| chunks.push(chunk));
            } else {
                self.split(hash, leaf, pool, need, &hash_of)?;
            }
        }
        Err(CannotGrow)
    }

    /// Inserts an item; [`Self::make_room`] must have made room for it.
    pub(crate) fn insert(&mut self, hash: u64, location: Location, counter: u8) {
        let Some(leaf) = self.leaf_of(hash) else { return };
        let mark = (tag_of(hash) << 2) | u16::from(counter.min(COUNTER_MAX));
        self.place(leaf, mark, location.raw());
        self.leaves[leaf].items += 1;
        self.items += 1;
    }

    /// Takes an item out.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let leaf = slot.leaf as usize;
        let buckets = self.leaves[leaf].buckets();
        let bucket = self.bucket_mut(leaf, slot.bucket.into());
        let position = usize::from(slot.position);
        let tag = mark_at(bucket, position) >> 2;
        set(bucket, position, 0, 0);
        let (home, mut at) = (home_of(tag, buckets), usize::from(slot.bucket));
        // Bound: the buckets between the item's home and its place.
        while at != home {
            at = (at + buckets - 1) % buckets;
            if !self.has_passed_on(leaf, at, kind_of(tag)) {
                self.bucket_mut(leaf, at)[PASSED_AT] &= !kind_of(tag);
            }
        }
        let owner = &mut self.leaves[leaf];
        owner.items -= 1;
        self.items -= 1;
        let (items, count) = (usize::from(owner.items), usize::from(owner.count));
        if count > 1 && items < CHUNK_ITEMS_LOW * (count - 1) {
            let spare = self.leaves[leaf].chunk(count - 1);
            self.rebuild(leaf, |chunks| {
                chunks.pop();
            });
            self.free.push(spare);
        }
    }

    /// Whether an item of this kind that a bucket has passed on is in one behind it. What those
    /// have passed on must be right.
    fn has_passed_on(&self, leaf: usize, passing: usize, kind: u8) -> bool {
        let buckets = self.leaves[leaf].buckets();
        let mut at = passing;
        for distance in 1..buckets {
            at = next(at, buckets);
            let bucket = self.bucket(leaf, at);
            let any = (0..BUCKET_SLOTS).any(|position| {
                let tag = mark_at(bucket, position) >> 2;
                let from_home = (at + buckets - home_of(tag, buckets)) % buckets;
                kind_of(tag) == kind
                    && from_home >= distance
                    && location_at(bucket, position).is_some()
            });
            if any || bucket[PASSED_AT] & kind == 0 {
                return any;
            }
        }
        false
    }

    /// Lets a slot point elsewhere.
    pub(crate) fn set_location(&mut self, slot: Slot, location: Location) {
        let position = usize::from(slot.position);
        let bucket = self.bucket_mut(slot.leaf as usize, slot.bucket.into());
        let mark = mark_at(bucket, position);
        set(bucket, position, mark, location.raw());
    }

    /// How often the item was used since the counter was set, up to [`COUNTER_MAX`].
    pub(crate) fn counter(&self, slot: Slot) -> u8 {
        let bucket = self.bucket(slot.leaf as usize, slot.bucket.into());
        (mark_at(bucket, slot.position.into()) & 0b11) as u8
    }

    pub(crate) fn set_counter(&mut self, slot: Slot, counter: u8) {
        let position = usize::from(slot.position);
        let bucket = self.bucket_mut(slot.leaf as usize, slot.bucket.into());
        let mark = (mark_at(bucket, position) & !0b11) | u16::from(counter.min(COUNTER_MAX));
        bucket[2 * position..2 * position + 2].copy_from_slice(&mark.to_le_bytes());
    }

    /// Shows the locations in the leaf that holds hashes from `from` on (without the bits that
    /// chose the shard), and returns where the next leaf begins; `None` after the last.
    pub(crate) fn walk(&self, from: u64, mut visit: impl FnMut(Location)) -> Option<u64> {
        let leaf = self.leaf_at(from)?;
        let depth = u32::from(self.leaves[leaf].depth);
        for at in 0..self.leaves[leaf].buckets() {
            let bucket = self.bucket(leaf, at);
            for position in 0..BUCKET_SLOTS {
                if let Some(location) = location_at(bucket, position) {
                    visit(location);
                }
            }
        }
        let span = 1_u64.checked_shl(64 - depth)?;
        (from & !(span - 1)).checked_add(span)
    }

    /// Gives one slab back if enough chunks are free elsewhere. Returns whether there was one.
    pub(crate) fn give_slab_back(&mut self, pool: &Pool<M>) -> bool {
        if 4 * self.free.len() <= FREE_QUARTERS_MAX * self.chunks_per_slab() {
            return false;
        }
        let Some(last) = self.slabs.len().checked_sub(1) else { return false };
        let first = last * self.chunks_per_slab();
        self.free.retain(|&chunk| (chunk as usize) < first);
        for number in first..first + self.chunks_per_slab() {
            let at = (number - first) * CHUNK_BYTES;
            let mut copy = [0; CHUNK_BYTES];
            copy.copy_from_slice(&self.slabs[last].as_ref()[at..at + CHUNK_BYTES]);
            let owner = owner_of(&copy);
            let Some(leaf) = self.leaves.get_mut(owner) else { continue };
            let count = usize::from(leaf.count);
            let Some(which) = (0..count).find(|&which| leaf.chunk(which) as usize == number) else {
                continue;
            };
            let Some(target) = self.free.pop() else { return false };
            leaf.set_chunk(which, target);
            self.chunk_mut(target).copy_from_slice(&copy);
        }
        self.slabs.pop();
        if let Some(at) = self.charges.iter().rposition(|c| c.bytes() == self.slab_cost(pool)) {
            let charge = self.charges.swap_remove(at);
            pool.unhold(self.shard, charge.bytes());
        }
        true
    }

    /// The bits of a hash that order the leaves.
    #[inline]
    const fn order(&self, hash: u64) -> u64 {
        hash.wrapping_shl(self.skip_bits)
    }

    #[inline]
    fn leaf_of(&self, hash: u64) -> Option<usize> {
        self.leaf_at(self.order(hash))
    }

    #[inline]
    fn leaf_at(&self, order: u64) -> Option<usize> {
        // In two steps, because a depth of 0 shifts everything out.
        let prefix = (order >> 1).wrapping_shr(63 - self.depth);
        self.directory.get(prefix as usize).map(|&leaf| leaf as usize)
    }

    #[inline]
    fn bucket(&self, leaf: usize, bucket: usize) -> &Bucket {
        let chunk = self.leaves[leaf].chunk(bucket / CHUNK_BUCKETS) as usize;
        let within = chunk & (self.chunks_per_slab() - 1);
        let (buckets, _) = self.slabs[chunk >> self.slab_bits].as_ref().as_chunks();
        &buckets[within * CHUNK_BUCKETS + bucket % CHUNK_BUCKETS]
    }

    #[inline]
    fn bucket_mut(&mut self, leaf: usize, bucket: usize) -> &mut Bucket {
        let chunk = self.leaves[leaf].chunk(bucket / CHUNK_BUCKETS) as usize;
        let within = chunk & (self.chunks_per_slab() - 1);
        let (buckets, _) = self.slabs[chunk >> self.slab_bits].as_mut().as_chunks_mut();
        &mut buckets[within * CHUNK_BUCKETS + bucket % CHUNK_BUCKETS]
    }

    fn chunk_mut(&mut self, chunk: u32) -> &mut [u8] {
        let chunk = chunk as usize;
        let at = (chunk & (self.chunks_per_slab() - 1)) * CHUNK_BYTES;
        let slab = self.slabs[chunk >> self.slab_bits].as_mut();
        &mut slab[at..at + CHUNK_BYTES]
    }

    /// The first leaf.
    fn plant(&mut self, pool: &Pool<M>, need: Need) -> Result<(), CannotGrow> {
        let chunk = self.take_chunk(pool, need)?;
        let leaf = match self.add_leaf(0, pool, need) {
            Ok(leaf) => leaf,
            Err(refused) => {
                self.free.push(chunk);
                return Err(refused);
            }
        };
        self.directory.push(leaf as u32);
        self.rebuild(leaf, |chunks| chunks.push(chunk));
        Ok(())
    }

    fn add_leaf(&mut self, depth: u8, pool: &Pool<M>, need: Need) -> Result<usize, CannotGrow> {
        if self.leaves.len() == self.leaves.capacity() {
            // By an eighth: moves stay rare and the empty part small.
            let more = (self.leaves.len() / 8).max(LEAVES_STEP);
            self.charge(more as u64 * LEAF_COST_BYTES, pool, need)?;
            self.leaves.reserve_exact(more);
        }
        self.leaves.push(Leaf::at(depth));
        Ok(self.leaves.len() - 1)
    }

    /// Splits a leaf of [`LEAF_CHUNKS_MAX`] chunks by the next bit of its items' hashes.
    fn split(
        &mut self,
        hash: u64,
        leaf: usize,
        pool: &Pool<M>,
        need: Need,
        hash_of: &impl Fn(Location) -> u64,
    ) -> Result<(), CannotGrow> {
        let depth = self.leaves[leaf].depth;
        if u32::from(depth) >= DEPTH_MAX {
            return Err(CannotGrow);
        }
        if u32::from(depth) == self.depth {
            self.double_directory(pool, need)?;
        }
        // Both halves rounded up to chunks need one chunk more at most.
        let extra = self.take_chunk(pool, need)?;
        self.free.push(extra);
        let other = self.add_leaf(depth + 1, pool, need)?;
        let mut halves = [Vec::new(), Vec::new()];
        self.gather(leaf);
        for &(mark, location) in &self.scratch {
            let Some(place) = Location::from_raw(location) else { continue };
            let order = self.order(hash_of(place));
            let half = (order >> (63 - u32::from(depth))) & 1;
            halves[half as usize].push((mark, location));
        }
        self.free.extend(self.leaves[leaf].owned());
        self.leaves[leaf].depth = depth + 1;
        self.point_at(other, hash, depth);
        for (which, slots) in [leaf, other].into_iter().zip(halves) {
            self.refill(which, &slots);
        }
        Ok(())
    }

    /// Gives a leaf the chunks it needs from the free ones and places its slots.
    fn refill(&mut self, leaf: usize, slots: &[(u16, u32)]) {
        let needed = slots.len().div_ceil(CHUNK_ITEMS_MAX).max(1);
        let from = self.free.len() - needed;
        let chunks: Vec<u32> = self.free.drain(from..).collect();
        self.leaves[leaf].own(&chunks);
        self.leaves[leaf].items = slots.len() as u16;
        self.clear(leaf);
        for &(mark, location) in slots {
            self.place(leaf, mark, location);
        }
    }

    /// Lets the upper half of the prefixes that share the first `depth` bits with `hash` point at
    /// `other`.
    fn point_at(&mut self, other: usize, hash: u64, depth: u8) {
        let prefix = self.order(hash).checked_shr(64 - self.depth).unwrap_or(0) as usize;
        let span = 1_usize << (self.depth - u32::from(depth));
        let first = prefix & !(span - 1);
        for prefix in &mut self.directory[first + span / 2..first + span] {
            *prefix = other as u32;
        }
    }

    fn double_directory(&mut self, pool: &Pool<M>, need: Need) -> Result<(), CannotGrow> {
        self.charge(4 * self.directory.len() as u64, pool, need)?;
        self.directory = self.directory.iter().flat_map(|&leaf| [leaf, leaf]).collect();
        self.depth += 1;
        Ok(())
    }

    fn take_chunk(&mut self, pool: &Pool<M>, need: Need) -> Result<u32, CannotGrow> {
        if self.free.is_empty() {
            let first = (self.slabs.len() * self.chunks_per_slab()) as u32;
            if first as usize + self.chunks_per_slab() > CHUNKS_MAX {
                return Err(CannotGrow);
            }
            self.charge(self.slab_cost(pool), pool, need)?;
            let Some(slab) = pool.block(self.slab_bytes, Purpose::Index) else {
                if let Some(charge) = self.charges.pop() {
                    pool.unhold(self.shard, charge.bytes());
                }
                return Err(CannotGrow);
            };
            self.slabs.push(slab);
            self.free.extend((first..first + self.chunks_per_slab() as u32).rev());
        }
        self.free.pop().ok_or(CannotGrow)
    }

    fn slab_cost(&self, pool: &Pool<M>) -> u64 {
        // A chunk has a number in the list of free ones.
        (pool.blocks.cost(self.slab_bytes) + 4 * self.chunks_per_slab()) as u64
    }

    fn charge(&mut self, bytes: u64, pool: &Pool<M>, need: Need) -> Result<(), CannotGrow> {
        let charge = pool.charge(bytes, need).ok_or(CannotGrow)?;
        pool.hold(self.shard, bytes);
        self.charges.push(charge);
        Ok(())
    }

    /// Changes a leaf's chunks and places its slots anew; tags suffice.
    fn rebuild(&mut self, leaf: usize, change: impl FnOnce(&mut Vec<u32>)) {
        self.gather(leaf);
        let mut chunks: Vec<u32> = self.leaves[leaf].owned().collect();
        change(&mut chunks);
        self.leaves[leaf].own(&chunks);
        self.clear(leaf);
        let slots = std::mem::take(&mut self.scratch);
        for &(mark, location) in &slots {
            self.place(leaf, mark, location);
        }
        self.scratch = slots;
    }

    /// Copies a leaf's slots into `scratch`.
    fn gather(&mut self, leaf: usize) {
        let mut slots = std::mem::take(&mut self.scratch);
        slots.clear();
        for at in 0..self.leaves[leaf].buckets() {
            let bucket = self.bucket(leaf, at);
            for position in 0..BUCKET_SLOTS {
                if let Some(location) = location_at(bucket, position) {
                    slots.push((mark_at(bucket, position), location.raw()));
                }
            }
        }
        self.scratch = slots;
    }

    fn clear(&mut self, leaf: usize) {
        for which in 0..usize::from(self.leaves[leaf].count) {
            let chunk = self.leaves[leaf].chunk(which);
            let bytes = self.chunk_mut(chunk);
            bytes.fill(0);
            bytes[OWNER_AT..OWNER_AT + 3].copy_from_slice(&(leaf as u32).to_le_bytes()[..3]);
        }
    }

    fn place(&mut self, leaf: usize, mark: u16, location: u32) {
        let buckets = self.leaves[leaf].buckets();
        let mut at = home_of(mark >> 2, buckets);
        for _ in 0..buckets {
            let bucket = self.bucket_mut(leaf, at);
            let free = (0..BUCKET_SLOTS).find(|&p| location_at(bucket, p).is_none());
            if let Some(position) = free {
                set(bucket, position, mark, location);
                return;
            }
            bucket[PASSED_AT] |= kind_of(mark >> 2);
            at = next(at, buckets);
        }
        debug_assert!(false, "a leaf has a free slot after make_room");
    }
}

fn slot(leaf: usize, bucket: usize, position: usize) -> Slot {
    Slot { leaf: leaf as u32, bucket: bucket as u16, position: position as u8 }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::bucket::BUCKET_BYTES;
    use super::{COUNTER_MAX, Index, Need, PASSED_AT};
    use crate::blocks::Boxed;
    use crate::geometry::Geometry;
    use crate::location::Location;
    use crate::pool::Pool;
    use std::collections::HashMap;

    fn pool(bytes: u64) -> Pool<Boxed> {
        Pool::new(Boxed, bytes, &Geometry::of(0, 1024))
    }

    /// Spreads numbers over hashes as a keyed hash would.
    fn hash(number: u32) -> u64 {
        let mixed = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
    }

    fn location(number: u32) -> Location {
        Location::from_raw(number + 1).unwrap()
    }

    fn hash_of(location: Location) -> u64 {
        hash(location.raw() - 1)
    }

    #[test]
    fn grows_shrinks_and_forgets_nothing() {
        let pool = pool(1 << 24);
        let mut index = Index::<Boxed>::new(0, 3, 4096);
        let count = 30_000;
        for number in 0..count {
            index.make_room(hash(number), &pool, Need::Write, hash_of).unwrap();
            index.insert(hash(number), location(number), 0);
        }
        assert_eq!(index.items(), count as usize);
        assert!(index.leaves() > 50, "{}", index.leaves());
        let slots = index.slots() as f64;
        assert!(f64::from(count) / slots > 0.75, "{slots} slots");
        for number in 0..count {
            let (slot, _) = index.find(hash(number), |at| at == location(number)).unwrap();
            index.set_counter(slot, (number % 4) as u8);
        }
        let mut seen = HashMap::new();
        let mut from = Some(0);
        while let Some(at) = from {
            from = index.walk(at, |location| *seen.entry(location.raw()).or_insert(0) += 1);
        }
        assert_eq!(seen.len(), count as usize);
        assert!(seen.values().all(|&times| times == 1));
        for number in (0..count).filter(|number| number % 100 != 0) {
            let (slot, _) = index.find(hash(number), |at| at == location(number)).unwrap();
            assert_eq!(index.counter(slot), (number % 4) as u8);
            index.remove(slot);
            assert!(index.find(hash(number), |at| at == location(number)).is_none());
        }
        while index.give_slab_back(&pool) {}
        assert!(index.slots() < 30_000, "{} slots left", index.slots());
        for number in (0..count).step_by(100) {
            let (slot, _) = index.find(hash(number), |at| at == location(number)).unwrap();
            assert_eq!(index.counter(slot), 0);
            index.set_location(slot, location(number + count));
            assert!(index.find(hash(number), |at| at == location(number + count)).is_some());
            assert_eq!(index.home(hash(number)).len(), BUCKET_BYTES);
        }
        assert_eq!(index.bytes(), pool.budget.used());
        assert_eq!(index.bytes(), pool.held(0));
    }

    #[test]
    fn one_hash_many_times_overflows_into_other_buckets() {
        let pool = pool(1 << 20);
        let mut index = Index::<Boxed>::new(0, 0, 4096);
        for number in 0..100 {
            index.make_room(7, &pool, Need::Write, |_| 7).unwrap();
            index.insert(7, location(number), COUNTER_MAX);
        }
        for number in 0..100 {
            let (slot, _) = index.find(7, |at| at == location(number)).unwrap();
            index.remove(slot);
        }
        assert_eq!(index.items(), 0);
        assert!(index.home(7).iter().take(61).all(|&byte| byte == 0), "nothing passed on is left");
    }

    #[test]
    fn what_was_passed_on_is_known_exactly_after_any_removal() {
        let pool = pool(1 << 22);
        let mut index = Index::<Boxed>::new(0, 0, 4096);
        let mut held = Vec::new();
        let mut passed = 0;
        for step in 0..6_000_u32 {
            // Up to two thousand items, then as many removals as insertions, then removals alone.
            let inserts = if step < 2_000 { true } else { step < 4_000 && step % 2 == 0 };
            if inserts {
                index.make_room(hash(step), &pool, Need::Write, hash_of).unwrap();
                index.insert(hash(step), location(step), 0);
                held.push(step);
            } else if !held.is_empty() {
                let gone = held.swap_remove(hash(step) as usize % held.len());
                let (slot, _) = index.find(hash(gone), |at| at == location(gone)).unwrap();
                index.remove(slot);
            }
            if step % 50 == 0 {
                for leaf in 0..index.leaves() {
                    for at in 0..index.leaves[leaf].buckets() {
                        let kept = index.bucket(leaf, at)[PASSED_AT];
                        let real = (0..8).filter(|bit| index.has_passed_on(leaf, at, 1 << bit));
                        let real: u8 = real.map(|bit| 1 << bit).sum();
                        assert_eq!(kept, real, "step {step}, bucket {at}");
                        passed += kept.count_ones();
                    }
                }
                for &number in &held {
                    assert!(index.find(hash(number), |at| at == location(number)).is_some());
                }
            }
        }
        assert!(passed > 500, "buckets that passed on nothing prove nothing: {passed}");
    }

    #[test]
    fn without_memory_it_refuses_and_stays_whole() {
        let pool = pool(20_000);
        let mut index = Index::<Boxed>::new(0, 0, 4096);
        let mut stored = 0;
        while index.make_room(hash(stored), &pool, Need::Write, hash_of).is_ok() {
            index.insert(hash(stored), location(stored), 0);
            stored += 1;
        }
        assert!(stored > 1000, "{stored}");
        for number in 0..stored {
            assert!(index.find(hash(number), |at| at == location(number)).is_some());
        }
        assert!(pool.budget.used() <= 20_000);
    }
}
