//! The store as its users see it: every operation is atomic for its key.
//!
//! Invariants: one shard is locked at a time; an operation that lacks memory gives its lock back
//! before anything is thrown out, at most [`STEP_RECORDS`] records a lock, and then tries again.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use crate::batch::{BATCH_KEYS, Batch};
use crate::blocks::{Blocks, Boxed};
use crate::chain::{Builder, Chain, cost};
use crate::class::{CLASSES, class_of, item_size};
use crate::face::{
    Absent, BuildError, Cursor, Depth, Fetch, FetchMiss, Hashed, Hit, Looked, Maintained, Refusal,
    Removal, Removed, Step, Stepped, StoreConfig, Walked, Write, Written,
};
use crate::geometry::{Geometry, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN};
use crate::heap::{Large, hash};
use crate::pool::{Need, Pool};
use crate::shard::{Given, STEP_RECORDS, Shard, Starved, Unshown};
use crate::stats::{ClassStats, StoreStats};
use crate::sync::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::time::Now;

/// Items in bounded memory. Every method takes `&self`; shards are locked one at a time.
pub struct Store<M: Blocks = Boxed> {
    config: StoreConfig,
    cut: Geometry,
    pub(crate) pool: Arc<Pool<M>>,
    pub(crate) shards: Box<[Padded<Mutex<Shard<M>>>]>,
    /// The shard that background work looks at next.
    next_maintained: AtomicUsize,
    /// Shards in a row that had nothing to do; after a whole round of them it rests.
    idle_shards: AtomicUsize,
    /// The second in which free memory is looked at next.
    next_settled: AtomicUsize,
}

/// Memory taken for a value that is still arriving; freed on drop.
pub struct Reservation<M: Blocks = Boxed> {
    pool: Arc<Pool<M>>,
    /// `None` once the value was taken out by a commit.
    builder: Option<Builder<M::Block>>,
    piece_bytes: usize,
    charged: u64,
}

/// On a cache line of its own, and on the next, which processors fetch along.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// Times that an operation makes room and tries again. A value of 1 GiB may have to throw out 20
/// million items of 50 bytes, 256 at a time.
const TRIES_MAX: usize = 200_000;
/// Records that a write looks at when free segments are few, so that they do not run out: the
/// reserve stays ahead even where all but one in 32 records are kept.
const AHEAD_RECORDS: usize = 36;
/// One part of memory in so many may be taken by values that are still arriving, so that announced
/// values alone, sent or not, cannot empty the store.
const RESERVED_SHARE_MAX: u64 = 2;
/// Digits of the largest number that arithmetic writes.
const DIGITS_MAX: u32 = 20;
/// Seconds after which memory that no block needed goes back. Short beside the life of what is
/// cached; long enough that what comes and goes under load stays.
const SETTLE_SECS: usize = 5;
/// Items that [`Store::size_histogram`] looks at under one lock, about.
const HISTOGRAM_STEP: usize = 512;

impl<M: Blocks> Store<M> {
    /// An empty store.
    pub fn new(config: StoreConfig, blocks: M) -> Result<Self, BuildError> {
        let cut = Geometry::new(&config)?;
        Ok(Self::with_geometry(config, cut, blocks))
    }

    pub(crate) fn with_geometry(config: StoreConfig, cut: Geometry, blocks: M) -> Self {
        let pool = Arc::new(Pool::new(blocks, config.memory_bytes, &cut));
        let shard = |number| Padded(Mutex::new(Shard::new(number, &config, cut, pool.clone())));
        let shards = (0..cut.shards()).map(shard).collect();
        let [next_maintained, idle_shards, next_settled] = [0; 3].map(AtomicUsize::new);
        Self { config, cut, pool, shards, next_maintained, idle_shards, next_settled }
    }

    /// Hashes a key with the store's secret seed.
    pub fn hashed<'k>(&self, key: &'k [u8]) -> Hashed<'k> {
        Hashed { key, hash: hash(&self.config.seed, key), cas_hidden: false }
    }

    /// Brings what look-ups of these keys will touch near, so that their misses overlap.
    pub fn prepare(&self, keys: &[Hashed<'_>]) {
        for keys in keys.chunks(BATCH_KEYS) {
            let mut batch = Batch::EMPTY;
            keys.iter().for_each(|key| batch.push(key.key, key.hash, self.shard_of(key.hash)));
            for depth in [Depth::Leaf, Depth::Bucket, Depth::Record] {
                self.bring_near(&batch, depth);
            }
        }
    }

    /// Hashes a key that will be asked for, and adds it to the batch unless that is full.
    #[inline]
    pub fn foresee<'k>(&self, batch: &mut Batch<'k>, key: &'k [u8]) {
        let hash = hash(&self.config.seed, key);
        batch.push(key, hash, self.shard_of(hash));
    }

    /// Brings near what look-ups of these keys will read at one depth. Each depth reads what the
    /// one before brought, so let other work come between them. Shard by shard, because a lock
    /// waits for the loads before it: within one they overlap.
    pub fn bring_near(&self, batch: &Batch<'_>, depth: Depth) {
        match depth {
            Depth::Leaf => self.each_locked(batch, Shard::prefetch_leaf),
            Depth::Bucket => self.each_locked(batch, Shard::prefetch_bucket),
            Depth::Record => self.each_locked(batch, Shard::prefetch_record),
        }
    }

    #[inline]
    fn each_locked(&self, batch: &Batch<'_>, work: impl Fn(&Shard<M>, u64)) {
        for mut list in batch.lists() {
            let Some(mut hash) = list.next() else { continue };
            let mut next = Some(hash);
            // Bound: the list. Its shards are one, nearly always.
            while next.is_some() {
                let number = self.shard_of(hash);
                let shard = self.lock(number);
                while let Some(in_this) = next.filter(|&next| self.shard_of(next) == number) {
                    work(&shard, in_this);
                    next = list.next();
                }
                hash = next.unwrap_or(hash);
            }
        }
    }

    /// Looks an item up and shows it to `read` under the shard's lock: copy what is needed.
    pub fn fetch<R>(
        &self,
        key: Hashed<'_>,
        now: Now,
        how: &Fetch,
        read: impl FnOnce(&Hit<'_, Chain<M::Block>>) -> R,
    ) -> Result<R, FetchMiss> {
        let mut read = Some(read);
        let mut died = None;
        let may_write = how.touch.is_some() || how.vivify.is_some();
        for _ in 0..TRIES_MAX {
            if may_write {
                self.tend();
            }
            let shown = {
                let mut shard = self.enter(key.hash, now);
                let shown =
                    shard.fetch(key, now, how, died, &mut |hit| read.take().map(|read| read(hit)));
                if matches!(shown, Err(Unshown::Starved)) {
                    died = died.or_else(|| shard.died());
                } else if may_write {
                    self.keep_ahead(&mut shard, key.hash, now);
                }
                shown
            };
            match shown {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => return Err(FetchMiss::NoMemory),
                Err(Unshown::Miss(miss)) => return Err(miss),
                Err(Unshown::Starved) => {}
            }
            if !self.relieve(key.hash, now) {
                break;
            }
        }
        self.enter(key.hash, now).count_no_memory(1);
        Err(FetchMiss::NoMemory)
    }

    /// Looks an item up without any mark (`me`).
    pub fn peek<R>(
        &self,
        key: Hashed<'_>,
        now: Now,
        read: impl FnOnce(&Hit<'_, Chain<M::Block>>) -> R,
    ) -> Result<R, FetchMiss> {
        self.fetch(key, now, &Fetch { no_bump: true, ..Fetch::default() }, read)
    }

    /// Writes a value that is whole in the caller's buffer.
    pub fn write(&self, key: Hashed<'_>, now: Now, how: &Write, value: &[u8]) -> Looked<Written> {
        self.write_given(key, now, how, &Given::Bytes(value))
    }

    /// Takes memory for a value of `value_bytes` that is still to arrive. When it is refused and
    /// the mode is Set without comparison, the old item is removed.
    pub fn reserve(
        &self,
        key: Hashed<'_>,
        now: Now,
        how: &Write,
        value_bytes: u32,
    ) -> Result<Reservation<M>, Refusal> {
        let bytes = item_size(key.key.len(), value_bytes, how.flags, self.config.cas);
        let refusal = if bytes > self.config.item_bytes_max {
            Refusal::TooLarge
        } else {
            match self.reserve_bytes(key.hash, now, value_bytes as usize) {
                Some(reservation) => return Ok(reservation),
                None => Refusal::NoMemory,
            }
        };
        let mut shard = self.enter(key.hash, now);
        shard.refuse(key, now, how);
        match refusal {
            Refusal::TooLarge => shard.count_too_large(),
            Refusal::NoMemory => shard.count_no_memory(class_of(bytes)),
        }
        Err(refusal)
    }

    /// Writes a value that arrived in pieces.
    pub fn commit(
        &self,
        key: Hashed<'_>,
        now: Now,
        how: &Write,
        mut reservation: Reservation<M>,
    ) -> Looked<Written> {
        let chain = reservation.builder.take().and_then(Builder::finish);
        drop(reservation);
        if let Some(chain) = chain {
            return self.write_given(key, now, how, &Given::Chain(&chain));
        }
        // Not all of the value came, or the system refused memory that the limit allows.
        let mut shard = self.enter(key.hash, now);
        shard.refuse(key, now, how);
        shard.count_no_memory(1);
        Looked { outcome: Written::NoMemory, absent: shard.died() }
    }

    /// Deletes an item, or marks it, or empties it.
    pub fn remove(
        &self,
        key: Hashed<'_>,
        now: Now,
        compare: Option<u64>,
        how: &Removal,
    ) -> Looked<Removed> {
        let class = class_of(item_size(key.key.len(), 0, 0, true));
        self.operate(key, now, class, |shard| shard.remove(key, now, compare, how))
            .unwrap_or_else(|absent| Looked { outcome: Removed::NoMemory, absent })
    }

    /// `incr`, `decr`, `ma`.
    pub fn step(&self, key: Hashed<'_>, now: Now, how: &Step) -> Looked<Stepped> {
        let class = class_of(item_size(key.key.len(), DIGITS_MAX, 0, true));
        self.operate(key, now, class, |shard| shard.step(key, now, how))
            .unwrap_or_else(|absent| Looked { outcome: Stepped::NoMemory, absent })
    }

    /// Everything stored before `at` dies at `at`; at or before `now`: at once, for good.
    pub fn flush(&self, now: Now, at: Now) {
        for number in 0..self.shards.len() {
            let mut shard = self.lock(number);
            shard.enter(now);
            shard.flush(now, at);
        }
    }

    /// Changes the memory limit; `false` if it is out of bounds. What is held above a lower limit
    /// is given back by background work and by writes.
    pub fn set_memory_limit(&self, bytes: u64) -> bool {
        let planned = self.cut.addressable_bytes();
        if bytes < MEMORY_BYTES_MIN.min(self.config.memory_bytes)
            || bytes > MEMORY_BYTES_MAX.min(planned)
        {
            return false;
        }
        self.pool.set_limit(bytes);
        true
    }

    /// The memory limit in bytes.
    pub fn memory_limit(&self) -> u64 {
        self.pool.budget.limit()
    }

    /// Totals.
    pub fn stats(&self) -> StoreStats {
        let mut stats = StoreStats::default();
        let mut slots = 0;
        for number in 0..self.shards.len() {
            let shard = self.lock(number);
            shard.add_to(&mut stats);
            slots += shard.slots();
        }
        StoreStats {
            memory_limit: self.pool.budget.limit(),
            memory_used: self.pool.budget.used(),
            index_power: slots.max(1).ilog2(),
            pinned_bytes: self.pool.pinned() + self.pool.reserved(),
            segment_bytes: u32::try_from(self.cut.segment_bytes).unwrap_or(u32::MAX),
            segments_free: self.pool.free_segments(),
            system_refusals: self.pool.system_refusals(),
            shards: u32::try_from(self.shards.len()).unwrap_or(u32::MAX),
            ..stats
        }
    }

    /// Per size class, those that hold items or ever counted anything.
    pub fn class_stats(&self) -> Vec<ClassStats> {
        let mut classes = vec![ClassStats::default(); CLASSES];
        for number in 0..self.shards.len() {
            self.lock(number).add_to_classes(&mut classes);
        }
        classes.retain(ClassStats::has_history);
        classes
    }

    /// Item sizes rounded up to 32, and how many items have them, ascending.
    pub fn size_histogram(&self) -> Vec<(u32, u64)> {
        let mut sizes = BTreeMap::new();
        let mut cursor = Some(Cursor::START);
        while let Some(at) = cursor {
            // At time 0 nothing has expired: what is held is counted, as in `curr_items`.
            cursor = self.walk(at, Now(0), HISTOGRAM_STEP, |item| {
                *sizes.entry(item.item_bytes.div_ceil(32).saturating_mul(32)).or_insert(0) += 1;
            });
        }
        sizes.into_iter().collect()
    }

    /// Zeroes the counters; gauges stay.
    pub fn reset_stats(&self) {
        for number in 0..self.shards.len() {
            self.lock(number).reset_stats();
        }
    }

    /// Shows live items, about `items_max` a call; returns where to go on, `None` at the end. Items
    /// that live all the while are shown exactly once, whatever else happens.
    pub fn walk(
        &self,
        cursor: Cursor,
        now: Now,
        items_max: usize,
        mut visit: impl FnMut(&Walked<'_>),
    ) -> Option<Cursor> {
        let mut cursor = cursor;
        let mut shown = 0;
        // Bound: each round shows a leaf or ends a shard.
        while shown < items_max.max(1) {
            let number = cursor.shard as usize;
            if number >= self.shards.len() {
                return None;
            }
            let (leaf, next) = self.lock(number).walk(cursor.at, now, &mut visit);
            shown += leaf.max(1);
            cursor = Cursor::after(cursor.shard, next);
        }
        ((cursor.shard as usize) < self.shards.len()).then_some(cursor)
    }

    /// One short step of background work on one shard: frees what is dead, keeps room ahead of
    /// writes, follows a lowered limit.
    pub fn maintain(&self, now: Now) -> Maintained {
        let number = self.next_maintained.load(Ordering::Relaxed) % self.shards.len();
        let done = {
            let mut shard = self.lock(number);
            shard.enter(now);
            shard.maintain(now)
        };
        // A store that nothing was written to yet takes no memory ahead.
        if self.pool.budget.used() > 0 {
            self.tend();
        }
        self.settle(now);
        if done.more {
            self.idle_shards.store(0, Ordering::Relaxed);
            return done;
        }
        self.next_maintained.store(number + 1, Ordering::Relaxed);
        let idle = self.idle_shards.fetch_add(1, Ordering::Relaxed) + 1;
        let more = idle < self.shards.len();
        if !more {
            self.idle_shards.store(0, Ordering::Relaxed);
        }
        Maintained { more, ..done }
    }

    fn write_given(
        &self,
        key: Hashed<'_>,
        now: Now,
        how: &Write,
        given: &Given<'_, M::Block>,
    ) -> Looked<Written> {
        let class = given.class(key.key.len());
        self.operate(key, now, class, |shard| shard.write(key, now, how, given)).unwrap_or_else(
            |absent| {
                let mut shard = self.enter(key.hash, now);
                shard.refuse(key, now, how);
                shard.count_no_memory(class);
                Looked { outcome: Written::NoMemory, absent }
            },
        )
    }

    /// Does an operation, making room as often as it starves (counted in `class`). `Err` = there is
    /// no memory; with what was found dead on the way.
    fn operate<T>(
        &self,
        key: Hashed<'_>,
        now: Now,
        class: u8,
        mut operation: impl FnMut(&mut Shard<M>) -> Result<(T, Option<Absent>), Starved>,
    ) -> Result<Looked<T>, Option<Absent>> {
        let mut died = None;
        for tries in 0..TRIES_MAX {
            self.tend();
            {
                let mut shard = self.enter(key.hash, now);
                if let Ok((outcome, absent)) = operation(&mut shard) {
                    self.keep_ahead(&mut shard, key.hash, now);
                    let absent = absent.map(|absent| died.unwrap_or(absent));
                    if tries > 0 {
                        shard.count_direct(class);
                    }
                    return Ok(Looked { outcome, absent });
                }
                died = died.or_else(|| shard.died());
            }
            if !self.relieve(key.hash, now) {
                break;
            }
        }
        Err(died)
    }

    /// Throws something out where most is held; `false` if nothing can be.
    fn relieve(&self, hash: u64, now: Now) -> bool {
        let own = self.shard_of(hash);
        let first = if self.pool.is_above_share(own) { own } else { self.pool.fattest() };
        if self.relieve_shard(first, now) {
            return true;
        }
        (0..self.shards.len()).any(|number| number != first && self.relieve_shard(number, now))
    }

    /// Brings and gives back memory, before any lock is taken.
    #[inline]
    fn tend(&self) {
        if self.pool.blocks.is_due() {
            self.pool.blocks.tend();
        }
    }

    /// Gives back, every few seconds, what blocks did not need since the last time.
    fn settle(&self, now: Now) {
        let (second, next) = (now.0 as usize, self.next_settled.load(Ordering::Relaxed));
        // Or the clock went back.
        if second >= next || next - second > SETTLE_SECS {
            self.next_settled.store(second + SETTLE_SECS, Ordering::Relaxed);
            self.pool.blocks.settle();
        }
    }

    fn relieve_shard(&self, number: usize, now: Now) -> bool {
        let mut shard = self.lock(number);
        shard.enter(now);
        !shard.relieve(now, STEP_RECORDS).exhausted
    }

    /// When free segments are few, does a write's part in winning more.
    fn keep_ahead(&self, shard: &mut Shard<M>, hash: u64, now: Now) {
        if self.config.evict
            && self.pool.is_low()
            && (shard.is_draining()
                || (self.pool.may_begin_drain() && self.pool.is_above_share(self.shard_of(hash))))
        {
            shard.relieve(now, AHEAD_RECORDS);
        }
    }

    fn reserve_bytes(&self, hash: u64, now: Now, bytes: usize) -> Option<Reservation<M>> {
        let piece_bytes = self.cut.piece_bytes;
        let charged = cost(bytes, piece_bytes, &self.pool);
        let most = self.pool.budget.limit() / RESERVED_SHARE_MAX;
        if self.pool.reserved().saturating_add(charged) > most {
            return None;
        }
        for _ in 0..TRIES_MAX {
            if let Some(charge) = self.pool.charge(charged, Need::Write) {
                self.pool.budget.reserve(charged);
                let builder = Some(Builder::new(bytes, charge));
                return Some(Reservation {
                    pool: Arc::clone(&self.pool),
                    builder,
                    piece_bytes,
                    charged,
                });
            }
            if !self.relieve(hash, now) {
                return None;
            }
        }
        None
    }

    #[inline]
    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        // In two steps, because with one shard everything is shifted out.
        (hash >> 1).wrapping_shr(63 - self.cut.shard_bits) as usize
    }

    fn enter(&self, hash: u64, now: Now) -> Held<'_, M> {
        let mut shard = self.lock(self.shard_of(hash));
        shard.enter(now);
        shard
    }

    pub(crate) fn lock(&self, number: usize) -> Held<'_, M> {
        // Nothing under the lock can panic but the caller's `read` and `visit`, and they are called
        // when the shard is whole.
        let shard = self.shards[number].0.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        crate::steps::begin();
        Held { shard, dead: None }
    }
}

/// A locked shard. The lock is given back first, then what large items gave up is freed.
pub(crate) struct Held<'s, M: Blocks> {
    shard: MutexGuard<'s, Shard<M>>,
    dead: Option<Vec<Large<M::Block>>>,
}

impl<M: Blocks> Deref for Held<'_, M> {
    type Target = Shard<M>;

    fn deref(&self) -> &Shard<M> {
        &self.shard
    }
}

impl<M: Blocks> DerefMut for Held<'_, M> {
    fn deref_mut(&mut self) -> &mut Shard<M> {
        &mut self.shard
    }
}

impl<M: Blocks> Drop for Held<'_, M> {
    fn drop(&mut self) {
        // Fields are dropped after this, in their order: the lock, then these.
        self.dead = self.shard.take_dead();
        #[cfg(test)]
        crate::steps::end();
    }
}

impl<M: Blocks> Reservation<M> {
    /// Bytes of the value still to come.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        let remaining = self.builder.as_ref().map_or(0, Builder::remaining);
        u32::try_from(remaining).unwrap_or(u32::MAX)
    }

    /// Takes the next bytes of the value; what is above [`Self::remaining`] is ignored. If the
    /// system has no memory for them, the commit says so.
    pub fn fill(&mut self, piece: &[u8]) {
        if let Some(builder) = &mut self.builder {
            builder.fill(piece, self.piece_bytes, &self.pool);
        }
    }
}

impl<M: Blocks> std::fmt::Debug for Store<M> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Store").field("cut", &self.cut).finish_non_exhaustive()
    }
}

impl<M: Blocks> std::fmt::Debug for Reservation<M> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let remaining = self.remaining();
        out.debug_struct("Reservation").field("remaining", &remaining).finish_non_exhaustive()
    }
}

impl<M: Blocks> Drop for Reservation<M> {
    fn drop(&mut self) {
        self.pool.budget.unreserve(self.charged);
    }
}
