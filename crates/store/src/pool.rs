//! All memory of a store: one budget that everything is charged against before it is taken, and a
//! few free segments kept for reuse.
//!
//! Invariant: `used <= limit`, but for a limit lowered below what is held, until eviction caught up.

use std::sync::PoisonError;

use crate::blocks::{Blocks, Purpose};
use crate::geometry::Geometry;
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};

/// The count of bytes, shared by whatever gives some back on drop.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    reserved: AtomicU64,
    /// Large values that readers hold while they are still stored.
    lent: AtomicU64,
}

/// Bytes taken from a budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

/// Memory for the shards of one store.
#[derive(Debug)]
pub(crate) struct Pool<M: Blocks> {
    pub(crate) blocks: M,
    pub(crate) budget: Arc<Budget>,
    free: Mutex<Vec<M::Block>>,
    /// Length of `free`, so that looking at it needs no lock.
    free_segments: AtomicU64,
    /// Bytes charged by each shard; their sum and the free segments are what is not pinned.
    held: Box<[AtomicU64]>,
    /// Shards that drain a segment.
    draining: AtomicU64,
    segment_bytes: usize,
    segment_cost: u64,
    system_refusals: AtomicU64,
    /// Whether compaction goes beyond the limit: [`KEEPS_LIMIT`], [`MAY_EXCEED`], or the number of
    /// the shard that does.
    overdraft: AtomicU64,
}

/// Who asks: eviction may use the last segment, so that it can always move what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A write.
    Write,
    /// Eviction, to make room.
    Relief,
    /// Compaction of what must be kept. A limit that was lowered may leave no segment for it; then
    /// one shard at a time gets one nevertheless, and gives one back at the end.
    Compaction,
}

/// There is a segment for compaction within the limit, now or soon.
const KEEPS_LIMIT: u64 = u64::MAX;
/// There was none, because the limit was lowered.
const MAY_EXCEED: u64 = u64::MAX - 1;

/// Bytes of bookkeeping charged with each segment: 64 and at most 32 in the shard's tables, of
/// which an eighth may be unused, and 24 in a queue, which may have twice the room.
const SEGMENT_OVERHEAD_BYTES: u64 = 160;
/// For so many shards one drains a segment ahead of need. A write looks at 36 records of its own
/// shard's, so at four or five on average: enough as long as a quarter of them goes.
const SHARDS_A_DRAIN: u64 = 8;

impl Budget {
    fn new(limit: u64) -> Self {
        let [used, reserved, lent] = [0; 3].map(AtomicU64::new);
        Self { limit: AtomicU64::new(limit), used, reserved, lent }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Counts bytes of a value that is still arriving, besides being charged.
    pub(crate) fn reserve(&self, bytes: u64) {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn unreserve(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of large values that readers hold while they are still stored.
    pub(crate) fn lent(&self) -> u64 {
        self.lent.load(Ordering::Relaxed)
    }

    /// Takes `bytes` if `keep` more remain within the limit.
    fn take(&self, bytes: u64, keep: u64) -> bool {
        let limit = self.limit();
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let sum = used.checked_add(bytes)?;
                (sum.checked_add(keep)? <= limit).then_some(sum)
            })
            .is_ok()
    }

    fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Charge {
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Notes that a reader holds `bytes` of a value charged here.
    pub(crate) fn note_lent(&self, bytes: u64) {
        self.budget.lent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that none does any more, or that only readers do.
    pub(crate) fn note_returned(&self, bytes: u64) {
        self.budget.lent.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Cuts `bytes` off into a charge of their own; all if there are fewer.
    pub(crate) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: Arc::clone(&self.budget), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

impl<M: Blocks> Pool<M> {
    pub(crate) fn new(blocks: M, limit: u64, cut: &Geometry) -> Self {
        let segment_cost = blocks.cost(cut.segment_bytes) as u64 + SEGMENT_OVERHEAD_BYTES;
        Self {
            blocks,
            budget: Arc::new(Budget::new(limit)),
            free: Mutex::new(Vec::new()),
            free_segments: AtomicU64::new(0),
            held: (0..cut.shards()).map(|_| AtomicU64::new(0)).collect(),
            draining: AtomicU64::new(0),
            segment_bytes: cut.segment_bytes,
            segment_cost,
            system_refusals: AtomicU64::new(0),
            overdraft: AtomicU64::new(KEEPS_LIMIT),
        }
    }

    /// What one segment is charged.
    pub(crate) const fn segment_cost(&self) -> u64 {
        self.segment_cost
    }

    /// Free segments worth keeping, and the reserve below which writes evict ahead: a quarter of
    /// one for each shard, so that shards seldom meet a dry pool, and under half a percent of
    /// memory.
    pub(crate) fn reserve_segments(&self) -> u64 {
        (self.held.len() as u64 / 4).max(2)
    }

    /// Whether writes should evict ahead of need.
    pub(crate) fn is_low(&self) -> bool {
        self.available() < self.reserve_segments() * self.segment_cost
    }

    /// Whether one shard more should begin to drain a segment ahead of need. Few do at a time: what
    /// is drained already and not free yet is lost, half a segment for each. All may when the
    /// reserve is half gone.
    pub(crate) fn may_begin_drain(&self) -> bool {
        let few = (self.held.len() as u64 / SHARDS_A_DRAIN).max(1);
        self.draining.load(Ordering::Relaxed) < few
            || 2 * self.available() < self.reserve_segments() * self.segment_cost
    }

    pub(crate) fn note_drain_begun(&self) {
        self.draining.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_drain_ended(&self) {
        self.draining.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes that could be charged now, free segments included.
    pub(crate) fn available(&self) -> u64 {
        let free = self.free_segments() * self.segment_cost;
        (self.budget.limit() + free).saturating_sub(self.budget.used())
    }

    /// Whether more is held than the limit allows (it was lowered).
    pub(crate) fn is_over(&self) -> bool {
        self.budget.used() > self.budget.limit()
    }

    /// Charges bytes, giving up free segments if that helps.
    pub(crate) fn charge(&self, bytes: u64, need: Need) -> Option<Charge> {
        let keep = if need == Need::Write { self.segment_cost } else { 0 };
        loop {
            if self.budget.take(bytes, keep) {
                return Some(Charge { budget: Arc::clone(&self.budget), bytes });
            }
            if self.available() < bytes.saturating_add(keep) {
                return None;
            }
            // Bound: one free segment is given up each time round.
            let block = self.pop_free()?;
            drop(block);
            self.budget.give(self.segment_cost);
        }
    }

    /// A block whose bytes are already charged.
    pub(crate) fn block(&self, bytes: usize, purpose: Purpose) -> Option<M::Block> {
        let block = self.blocks.block(bytes, purpose);
        if block.is_none() {
            self.system_refusals.fetch_add(1, Ordering::Relaxed);
        }
        block
    }

    /// A segment's block and charge for a shard; its bytes are not zeroed.
    pub(crate) fn segment(&self, shard: usize, need: Need) -> Option<M::Block> {
        let keep = if need == Need::Write { self.segment_cost } else { 0 };
        let block = match self.pop_free_but(keep) {
            Some(block) => block,
            None => self.fresh_segment(shard, keep, need)?,
        };
        self.swap_overdraft(MAY_EXCEED, KEEPS_LIMIT);
        self.hold(shard, self.segment_cost);
        Some(block)
    }

    /// One that is not free already.
    fn fresh_segment(&self, shard: usize, keep: u64, need: Need) -> Option<M::Block> {
        if !self.budget.take(self.segment_cost, keep) {
            if need != Need::Compaction || !self.swap_overdraft(MAY_EXCEED, shard as u64) {
                return None;
            }
            self.budget.used.fetch_add(self.segment_cost, Ordering::Relaxed);
        }
        let block = self.block(self.segment_bytes, Purpose::Segment);
        if block.is_none() {
            self.budget.give(self.segment_cost);
            self.end_overdraft(shard);
        }
        block
    }

    /// To be called when a shard has drained a segment, whether it went beyond the limit or not.
    pub(crate) fn end_overdraft(&self, shard: usize) {
        self.swap_overdraft(shard as u64, self.overdraft_if_lowered());
    }

    /// What compaction may do if a limit was lowered lately.
    fn overdraft_if_lowered(&self) -> u64 {
        if self.available() < self.segment_cost { MAY_EXCEED } else { KEEPS_LIMIT }
    }

    /// Whether it was `from`; it is `to` then.
    fn swap_overdraft(&self, from: u64, to: u64) -> bool {
        self.overdraft.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Takes a segment back: kept free, or given back to the system.
    pub(crate) fn take_back(&self, shard: usize, block: M::Block) {
        self.unhold(shard, self.segment_cost);
        let mut free = self.free();
        if self.is_over() || free.len() as u64 >= 2 * self.reserve_segments() {
            drop(free);
            drop(block);
            self.budget.give(self.segment_cost);
        } else {
            free.push(block);
            self.free_segments.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_limit(&self, bytes: u64) {
        self.budget.limit.store(bytes, Ordering::Relaxed);
        while self.is_over() {
            // Bound: the list of free segments.
            let Some(block) = self.pop_free() else { break };
            drop(block);
            self.budget.give(self.segment_cost);
        }
        self.swap_overdraft(KEEPS_LIMIT, self.overdraft_if_lowered());
    }

    /// Notes bytes as held by a shard.
    pub(crate) fn hold(&self, shard: usize, bytes: u64) {
        if let Some(held) = self.held.get(shard) {
            held.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn unhold(&self, shard: usize, bytes: u64) {
        if let Some(held) = self.held.get(shard) {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn held(&self, shard: usize) -> u64 {
        self.held.get(shard).map_or(0, |held| held.load(Ordering::Relaxed))
    }

    pub(crate) fn held_by_all(&self) -> u64 {
        self.held.iter().map(|held| held.load(Ordering::Relaxed)).sum()
    }

    /// The shard that holds most.
    pub(crate) fn fattest(&self) -> usize {
        (0..self.held.len()).max_by_key(|&shard| self.held(shard)).unwrap_or(0)
    }

    /// Whether a shard holds no less than its share, give or take what chance explains.
    pub(crate) fn is_above_share(&self, shard: usize) -> bool {
        let share = self.held_by_all() / self.held.len() as u64;
        let slack = (share / 16).max(2 * self.segment_cost);
        self.held(shard) + slack >= share
    }

    /// Bytes of values that are in no shard any more but still held by readers.
    pub(crate) fn pinned(&self) -> u64 {
        let free = self.free_segments() * self.segment_cost;
        let known = self.held_by_all() + free + self.reserved();
        self.budget.used().saturating_sub(known)
    }

    pub(crate) fn reserved(&self) -> u64 {
        self.budget.reserved.load(Ordering::Relaxed)
    }

    pub(crate) fn free_segments(&self) -> u64 {
        self.free_segments.load(Ordering::Relaxed)
    }

    pub(crate) fn system_refusals(&self) -> u64 {
        self.system_refusals.load(Ordering::Relaxed)
    }

    /// A free segment if so many bytes are available besides. Looked at under the list's lock, so
    /// that two writes do not both take what is to stay.
    fn pop_free_but(&self, keep: u64) -> Option<M::Block> {
        if self.free_segments() == 0 {
            return None;
        }
        let mut free = self.free();
        if self.available() < self.segment_cost + keep {
            return None;
        }
        let block = free.pop()?;
        self.free_segments.fetch_sub(1, Ordering::Relaxed);
        Some(block)
    }

    fn pop_free(&self) -> Option<M::Block> {
        let block = self.free().pop()?;
        self.free_segments.fetch_sub(1, Ordering::Relaxed);
        Some(block)
    }

    fn free(&self) -> MutexGuard<'_, Vec<M::Block>> {
        // A list of blocks is whole after any panic.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{Need, Pool, SEGMENT_OVERHEAD_BYTES};
    use crate::blocks::Boxed;
    use crate::geometry::Geometry;

    #[test]
    fn nothing_is_taken_above_the_limit() {
        let cut = Geometry::of(0, 1024);
        let pool = Pool::new(Boxed, 4 * (1024 + SEGMENT_OVERHEAD_BYTES), &cut);
        let mut blocks = Vec::new();
        while let Some(block) = pool.segment(0, Need::Write) {
            blocks.push(block);
        }
        assert_eq!(blocks.len(), 3, "a write leaves one for relief");
        blocks.extend(pool.segment(0, Need::Relief));
        assert!(pool.segment(0, Need::Relief).is_none());
        assert_eq!(pool.available(), 0);
        pool.take_back(0, blocks.pop().unwrap());
        assert_eq!(pool.available(), pool.segment_cost());
        let charge = pool.charge(100, Need::Relief).unwrap();
        assert_eq!(pool.free_segments(), 0, "the free segment was given up");
        drop(charge);
        assert_eq!(pool.budget.used(), 3 * pool.segment_cost());
        pool.take_back(0, blocks.pop().unwrap());
        assert_eq!((pool.free_segments(), pool.budget.used()), (1, 3 * pool.segment_cost()));
        pool.set_limit(2 * pool.segment_cost());
        assert_eq!((pool.free_segments(), pool.is_over()), (0, false), "free ones go first");
        pool.set_limit(10);
        assert!(pool.is_over());
        for block in blocks {
            pool.take_back(0, block);
        }
        assert_eq!((pool.budget.used(), pool.held_by_all(), pool.pinned()), (0, 0, 0));
    }

    #[test]
    fn compaction_goes_beyond_the_limit_only_while_a_lowered_one_leaves_it_nothing() {
        let cut = Geometry::of(1, 1024);
        let cost = 1024 + SEGMENT_OVERHEAD_BYTES;
        let pool = Pool::new(Boxed, 4 * cost, &cut);
        let mut blocks: Vec<_> =
            (0..4).map(|_| pool.segment(0, Need::Compaction).unwrap()).collect();
        assert!(pool.segment(0, Need::Compaction).is_none(), "no limit was lowered");
        pool.set_limit(2 * cost);
        assert!(pool.segment(0, Need::Relief).is_none(), "who may throw out needs none");
        blocks.push(pool.segment(0, Need::Compaction).unwrap());
        assert!(pool.segment(0, Need::Compaction).is_none(), "one, not one after the other");
        assert!(pool.segment(1, Need::Compaction).is_none(), "one shard at a time");
        pool.end_overdraft(1);
        assert!(pool.segment(1, Need::Compaction).is_none(), "it was not that one's");
        pool.take_back(0, blocks.pop().unwrap());
        pool.end_overdraft(0);
        blocks.push(pool.segment(1, Need::Compaction).unwrap());
        assert_eq!(pool.budget.used(), 5 * cost);
        // Once the limit is kept again, it stays so.
        for shard in [0, 0, 0, 0] {
            pool.take_back(shard, blocks.pop().unwrap());
        }
        pool.end_overdraft(1);
        assert_eq!(pool.available(), cost);
        assert!(pool.segment(0, Need::Compaction).is_some());
        assert!(pool.segment(0, Need::Compaction).is_none(), "the limit is kept");
    }

    #[test]
    fn a_lowered_limit_that_was_met_by_other_means_is_kept_by_compaction() {
        let cut = Geometry::of(0, 1024);
        let cost = 1024 + SEGMENT_OVERHEAD_BYTES;
        let pool = Pool::new(Boxed, 4 * cost, &cut);
        let mut blocks: Vec<_> =
            (0..4).map(|_| pool.segment(0, Need::Compaction).unwrap()).collect();
        pool.set_limit(2 * cost);
        for _ in 0..3 {
            pool.take_back(0, blocks.pop().unwrap());
        }
        // Within the limit: so there was room after all.
        blocks.push(pool.segment(0, Need::Compaction).unwrap());
        assert_eq!(pool.budget.used(), 2 * cost);
        assert!(pool.segment(0, Need::Compaction).is_none());
        assert_eq!(pool.budget.used(), 2 * cost);
    }
}
