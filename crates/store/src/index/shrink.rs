//! The index when items go: leaves give chunks back, what is left of two leaves becomes one, and
//! free chunks and tables go back to memory. Nothing here reads a key.
//!
//! Invariant: of two leaves of one chunk each whose prefixes differ in the last bit alone, both
//! together hold more than [`CHUNK_ITEMS_LOW`] items; else they are joined. So the index follows
//! the number of items down however far that falls, and no lowered limit is out of its reach.

use super::bucket::{
    BUCKET_SLOTS, CHUNK_BYTES, PASSED_AT, home_of, kind_of, location_at, mark_at, next, owner_of,
    set, set_owner,
};
use super::{
    CHUNK_ITEMS_LOW, FREE_QUARTERS_MAX, Index, LEAF_COST_BYTES, LEAVES_STEP, Slot, leaves_more,
};
use crate::blocks::Blocks;
use crate::pool::Pool;

impl<M: Blocks> Index<M> {
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
        if self.leaves[leaf].count == 1 && items <= CHUNK_ITEMS_LOW {
            self.join(leaf);
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

    /// Joins a leaf with the one beside it, and what comes of that with the next, while both fit
    /// into one chunk.
    fn join(&mut self, mut leaf: usize) {
        // Bound: each round shortens the leaf's prefix by a bit.
        while let Some(other) = self.joinable(leaf) {
            self.gather(other);
            let spare = self.leaves[other].chunk(0);
            let slots = std::mem::take(&mut self.scratch);
            for &(mark, location) in &slots {
                self.place(leaf, mark, location);
            }
            self.scratch = slots;
            self.free.push(spare);
            let joined = &mut self.leaves[leaf];
            self.leaves_at[usize::from(joined.depth)] -= 2;
            joined.items += self.scratch.len() as u16;
            joined.depth -= 1;
            joined.prefix >>= 1;
            self.leaves_at[usize::from(joined.depth)] += 1;
            self.point_at(leaf);
            leaf = self.forget(leaf, other);
        }
    }

    /// The leaf whose prefix differs in the last bit alone, if it is to be joined with this one.
    fn joinable(&self, leaf: usize) -> Option<usize> {
        let own = &self.leaves[leaf];
        if own.depth == 0 {
            return None;
        }
        let beside = ((own.prefix ^ 1) as usize) << (self.depth - u32::from(own.depth));
        let number = *self.directory.get(beside)? as usize;
        let other = &self.leaves[number];
        let fits = usize::from(own.items) + usize::from(other.items) <= CHUNK_ITEMS_LOW;
        (own.depth == other.depth && own.count == 1 && other.count == 1 && fits).then_some(number)
    }

    /// Takes `gone`, to which nothing points any more, out of the table of leaves; the last one
    /// gets its number. Returns what is the number of `kept` then.
    fn forget(&mut self, kept: usize, gone: usize) -> usize {
        self.leaves.swap_remove(gone);
        let moved = self.leaves.len();
        if gone == moved {
            return kept;
        }
        for which in 0..usize::from(self.leaves[gone].count) {
            let chunk = self.leaves[gone].chunk(which);
            set_owner(self.chunk_mut(chunk), gone);
        }
        self.point_at(gone);
        if kept == moved { gone } else { kept }
    }

    /// Gives memory back that is not needed any more: a slab, or a part of the tables. Returns
    /// whether there was any.
    pub(crate) fn give_back(&mut self, pool: &Pool<M>) -> bool {
        self.give_slab_back(pool) || self.halve_directory(pool) || self.give_leaves_back(pool)
    }

    /// Gives one slab back if enough chunks are free elsewhere. Returns whether there was one.
    fn give_slab_back(&mut self, pool: &Pool<M>) -> bool {
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
        self.discharge(self.slab_cost(pool), pool);
        true
    }

    /// Halves the directory if no leaf has as long a prefix.
    fn halve_directory(&mut self, pool: &Pool<M>) -> bool {
        if self.depth == 0 || self.leaves_at[self.depth as usize] > 0 {
            return false;
        }
        self.depth -= 1;
        self.directory = self.directory.iter().copied().step_by(2).collect();
        self.discharge(4 * self.directory.len() as u64, pool);
        true
    }

    /// Gives the empty part of the table of leaves back, once it is as large as the rest.
    fn give_leaves_back(&mut self, pool: &Pool<M>) -> bool {
        let (len, capacity) = (self.leaves.len(), self.leaves.capacity());
        if capacity <= 2 * len + 2 * LEAVES_STEP {
            return false;
        }
        self.leaves.shrink_to(len + leaves_more(len));
        let spare = capacity - self.leaves.capacity();
        self.discharge(spare as u64 * LEAF_COST_BYTES, pool);
        spare > 0
    }

    fn discharge(&mut self, mut bytes: u64, pool: &Pool<M>) {
        // Bound: each round takes a charge away or ends.
        while bytes > 0
            && let Some(last) = self.charges.last_mut()
        {
            let part = last.split(bytes);
            bytes -= part.bytes();
            pool.unhold(self.shard, part.bytes());
            if last.bytes() == 0 {
                self.charges.pop();
            }
        }
    }
}
