//! From hash to location: six-byte slots in 64-byte buckets.
//!
//! A leaf holds the items whose hashes share a prefix, in one to eight chunks of four buckets. The
//! 14-bit tag of an item alone decides its home bucket in the leaf (`tag * buckets / 2^14`), so a
//! leaf grows and shrinks by a chunk without looking at any item. A leaf of eight full chunks is
//! split in two by the next bit of the hashes, which reads keys; the directory of prefixes doubles
//! when its deepest leaf is split. What is left of two such halves is joined again.
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
mod shrink;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
#[cfg(test)]
#[cfg(not(loom))]
mod trials;

use self::bucket::{
    BUCKET_SLOTS, Bucket, CHUNK_BUCKETS, CHUNK_BYTES, PASSED_AT, find_in, home_of, kind_of,
    location_at, mark_at, next, set, set_owner, tag_of,
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
    /// Leaves by the length of their prefix.
    leaves_at: [u32; DEPTH_MAX as usize + 1],
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
            leaves_at: [0; DEPTH_MAX as usize + 1],
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

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) fn first_slab(&self) -> &[u8] {
        self.slabs[0].as_ref()
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
                self.split(leaf, pool, need, &hash_of)?;
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

    /// Shows the locations of hashes from `from` on (without the bits that chose the shard) in the
    /// leaf that holds them, and returns where the next leaf begins; `None` after the last. Whoever
    /// goes on from there each time meets an item that is in it all the while exactly once, though
    /// leaves are split and joined meanwhile: keys are read where one begins before `from`.
    pub(crate) fn walk(
        &self,
        from: u64,
        hash_of: impl Fn(Location) -> u64,
        mut visit: impl FnMut(Location),
    ) -> Option<u64> {
        let leaf = self.leaf_at(from)?;
        let span = 1_u64.checked_shl(64 - u32::from(self.leaves[leaf].depth));
        let first = span.map_or(0, |span| from & !(span - 1));
        for at in 0..self.leaves[leaf].buckets() {
            let bucket = self.bucket(leaf, at);
            for position in 0..BUCKET_SLOTS {
                if let Some(location) = location_at(bucket, position)
                    && (first == from || self.order(hash_of(location)) >= from)
                {
                    visit(location);
                }
            }
        }
        first.checked_add(span?)
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
        let leaf = match self.add_leaf(0, 0, pool, need) {
            Ok(leaf) => leaf,
            Err(refused) => {
                self.free.push(chunk);
                return Err(refused);
            }
        };
        self.directory.push(leaf as u32);
        self.leaves_at[0] = 1;
        self.rebuild(leaf, |chunks| chunks.push(chunk));
        Ok(())
    }

    fn add_leaf(
        &mut self,
        depth: u8,
        prefix: u32,
        pool: &Pool<M>,
        need: Need,
    ) -> Result<usize, CannotGrow> {
        if self.leaves.len() == self.leaves.capacity() {
            let more = leaves_more(self.leaves.len());
            self.charge(more as u64 * LEAF_COST_BYTES, pool, need)?;
            self.leaves.reserve_exact(more);
        }
        self.leaves.push(Leaf::at(depth, prefix));
        Ok(self.leaves.len() - 1)
    }

    /// Splits a leaf of [`LEAF_CHUNKS_MAX`] chunks by the next bit of its items' hashes.
    fn split(
        &mut self,
        leaf: usize,
        pool: &Pool<M>,
        need: Need,
        hash_of: &impl Fn(Location) -> u64,
    ) -> Result<(), CannotGrow> {
        let Leaf { depth, prefix, .. } = self.leaves[leaf];
        if u32::from(depth) >= DEPTH_MAX {
            return Err(CannotGrow);
        }
        if u32::from(depth) == self.depth {
            self.double_directory(pool, need)?;
        }
        // Both halves rounded up to chunks need one chunk more at most.
        let extra = self.take_chunk(pool, need)?;
        self.free.push(extra);
        let other = self.add_leaf(depth + 1, (prefix << 1) | 1, pool, need)?;
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
        self.leaves[leaf].prefix = prefix << 1;
        self.leaves_at[usize::from(depth)] -= 1;
        self.leaves_at[usize::from(depth) + 1] += 2;
        self.point_at(other);
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

    /// Lets the directory's entries of a leaf's prefix point at it.
    fn point_at(&mut self, leaf: usize) {
        let Leaf { depth, prefix, .. } = self.leaves[leaf];
        let longer = self.depth - u32::from(depth);
        let first = (prefix as usize) << longer;
        self.directory[first..first + (1 << longer)].fill(leaf as u32);
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
            set_owner(bytes, leaf);
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

/// How many leaves the table of them grows by: an eighth, so that moves stay rare and the empty
/// part small.
fn leaves_more(leaves: usize) -> usize {
    (leaves / 8).max(LEAVES_STEP)
}

fn slot(leaf: usize, bucket: usize, position: usize) -> Slot {
    Slot { leaf: leaf as u32, bucket: bucket as u16, position: position as u8 }
}
