//! Tests of the store as a whole.

mod bad_days;
mod bytes;
mod crossed;
mod histories;
mod history;
mod model;
mod oracle;
mod policy;
mod semantics;
mod steps;
mod threads;

use crate::Store;
use crate::blocks::{Blocks, Boxed};
use crate::face::{Fetch, StoreConfig, Value, Write};
use crate::geometry::Geometry;
use crate::time::Now;

impl<M: Blocks> Store<M> {
    /// Checks every invariant of every shard, and that every byte charged is known.
    pub(crate) fn audit(&self) {
        self.audit_under_lowered_limit();
        assert!(self.pool.budget.used() <= self.pool.budget.limit());
    }

    /// The same before eviction caught up with a limit that was lowered.
    fn audit_under_lowered_limit(&self) {
        let held: u64 = (0..self.shards.len()).map(|n| self.lock(n).audit()).sum();
        let free = self.pool.free_segments() * self.pool.segment_cost();
        let reserved = self.pool.reserved();
        assert_eq!(held + free + reserved, self.pool.budget.used());
    }

    /// The same while readers hold values that were thrown out.
    fn audit_with_readers(&self) {
        let held: u64 = (0..self.shards.len()).map(|n| self.lock(n).audit()).sum();
        let free = self.pool.free_segments() * self.pool.segment_cost();
        let known = held + free + self.pool.reserved() + self.pool.pinned();
        assert_eq!(known, self.pool.budget.used());
        assert!(self.pool.budget.used() <= self.pool.budget.limit());
    }

    fn holds(&self, key: &[u8]) -> bool {
        let key = self.hashed(key);
        self.lock(self.shard_of(key.hash)).holds(key.key, key.hash)
    }

    fn enter_all(&self, now: Now) {
        (0..self.shards.len()).for_each(|number| self.lock(number).enter(now));
    }
}

fn config(memory_bytes: u64) -> StoreConfig {
    let (item_bytes_max, seed) = (1 << 20, *b"tests need seeds");
    StoreConfig { memory_bytes, item_bytes_max, evict: true, cas: true, threads: 1, seed }
}

/// A store with tiny segments.
fn tiny(config: StoreConfig, shard_bits: u32, segment_bytes: usize) -> Store {
    Store::with_geometry(config, Geometry::of(shard_bits, segment_bytes), Boxed)
}

fn set() -> Write {
    Write::PLAIN
}

fn value<B: AsRef<[u8]>>(value: &Value<'_, crate::chain::Chain<B>>) -> Vec<u8> {
    match value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::Chain(chain) => chain.slices().collect::<Vec<_>>().concat(),
    }
}

fn get(store: &Store, key: &[u8], now: Now) -> Option<Vec<u8>> {
    store.fetch(store.hashed(key), now, &Fetch::default(), |hit| value(&hit.value)).ok()
}
