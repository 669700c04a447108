//! The longest single calls of a store, in thread CPU time: no lock is held for longer than the call
//! that takes it, so these are upper bounds of the time under one lock.
//!
//! Invariants: one thread, so that nothing waits; while others run, the thread's clock stands still;
//! reading it (about 0.3 us) is part of every figure.

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;
use kannuki_store::Store;
use kannuki_store::blocks::{Blocks, Purpose};
use kannuki_store::face::{Fetch, Removal, StoreConfig, Write, WriteMode};
use kannuki_store::time::{Expiry, Now};
use kannuki_sys::arena::{Arena, Block};
use kannuki_sys::memory;

use crate::clock;
use crate::item::{Item, push_key};
use crate::random::Random;

/// How the store is filled.
#[derive(Clone, Copy, Debug)]
pub struct Locks {
    /// Its memory in bytes.
    pub memory: u64,
    /// Items that are stored, again and again until more than fit were.
    pub items: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
}

/// Heads of the columns of [`locks`].
pub const LOCKS_HEAD: [&str; 5] = ["calls of", "number", "p50, us", "p99.99, us", "longest, us"];

const NOW: Now = Now(1000);
const LATER: Now = Now(2000);
const KEY_BYTES: usize = 20;
/// Longer than any call: a minute, in nanoseconds.
const NANOSECONDS_MAX: u64 = 60_000_000_000;
/// Calls of background work in one phase; what is left then is left.
const STEPS_MAX: u64 = 50_000_000;

/// Huge pages, as the server's segments and index have them.
struct Pages(Arena);

impl Blocks for Pages {
    type Block = Block;

    fn block(&self, bytes: usize, _: Purpose) -> Option<Block> {
        self.0.block(bytes).ok()
    }

    fn cost(&self, bytes: usize) -> usize {
        self.0.cost(bytes)
    }

    fn prefetch(&self, bytes: &[u8]) {
        memory::prefetch(bytes);
    }
}

/// Fills a store until it evicts, reads, lets everything expire, deletes everything, flushes and
/// lowers the limit: a row for each.
///
/// # Errors
/// When a store of that size cannot be built.
pub fn locks(how: &Locks) -> Result<Vec<Vec<String>>> {
    let config = StoreConfig {
        memory_bytes: how.memory,
        item_bytes_max: 1 << 20,
        evict: true,
        cas: true,
        threads: 4,
        seed: *b"measured in vain",
    };
    let store = Store::new(config, Pages(Arena::new(true))).map_err(|error| anyhow!("{error}"))?;
    let value = vec![b'v'; how.value_bytes];
    let mut key = Vec::new();
    let mut random = Random::new(1);
    let mut rows = Vec::new();
    let fill = |expiry: Expiry, key: &mut Vec<u8>| {
        timed(how.items, |number| {
            name(key, number);
            store.write(store.hashed(key).cas_hidden(), NOW, &set(expiry), &value);
        })
    };
    rows.push(row("set, new keys", &fill(Expiry::NEVER, &mut key)?));
    rows.push(row(
        "get and set, evicting",
        &timed(how.items, |number| {
            let is_get = random.below(2) == 0;
            name(&mut key, if is_get { random.below(how.items) } else { how.items + number });
            let hashed = store.hashed(&key).cas_hidden();
            if is_get {
                let _ = store.fetch(hashed, NOW, &Fetch::default(), |hit| hit.item_bytes);
            } else {
                store.write(hashed, NOW, &set(Expiry::NEVER), &value);
            }
        })?,
    ));
    rows.push(row("flush_all", &timed(1, |_| store.flush(NOW, NOW))?));
    rows.push(row("background work, flushed", &rested(&store, NOW)?));
    rows.push(row("set, TTL 1 s", &fill(Expiry::at(NOW.0 + 1), &mut key)?));
    rows.push(row("background work, all expired", &rested(&store, LATER)?));
    fill(Expiry::NEVER, &mut key)?;
    rows.push(row(
        "delete",
        &timed(how.items, |number| {
            name(&mut key, number);
            store.remove(store.hashed(&key), NOW, None, &Removal::Remove);
        })?,
    ));
    rows.push(row("background work, all deleted", &rested(&store, LATER)?));
    fill(Expiry::NEVER, &mut key)?;
    let mut is_lowered = false;
    let lower = |_| is_lowered = store.set_memory_limit(how.memory / 8);
    rows.push(row("limit lowered to an eighth", &timed(1, lower)?));
    ensure!(is_lowered, "{} bytes are too little to be divided by eight", how.memory);
    rows.push(row("background work, limit lowered", &rested(&store, LATER)?));
    Ok(rows)
}

fn set(expiry: Expiry) -> Write {
    Write {
        mode: WriteMode::Set,
        flags: 0,
        expiry,
        compare: None,
        accept_stale: false,
        new_cas: None,
        vivify: None,
        binary_key: false,
    }
}

fn name(key: &mut Vec<u8>, number: u64) {
    key.clear();
    push_key(key, Item { number, key_bytes: KEY_BYTES, value_bytes: 0 });
}

fn timed(calls: u64, mut call: impl FnMut(u64)) -> Result<Histogram<u64>> {
    let mut seen = Histogram::new_with_max(NANOSECONDS_MAX, 3)?;
    for number in 0..calls {
        time(&mut seen, || call(number));
    }
    Ok(seen)
}

/// Background work until it rests.
fn rested(store: &Store<Pages>, now: Now) -> Result<Histogram<u64>> {
    let mut seen = Histogram::new_with_max(NANOSECONDS_MAX, 3)?;
    for _ in 0..STEPS_MAX {
        if !time(&mut seen, || store.maintain(now).more) {
            break;
        }
    }
    Ok(seen)
}

fn time<R>(seen: &mut Histogram<u64>, call: impl FnOnce() -> R) -> R {
    let begun = clock::thread_cpu();
    let result = call();
    let took = clock::thread_cpu().saturating_sub(begun).as_nanos();
    seen.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
    result
}

fn row(name: &str, seen: &Histogram<u64>) -> Vec<String> {
    let us = |nanoseconds: u64| format!("{:.1}", nanoseconds as f64 / 1000.0);
    let quantile = |share| us(seen.value_at_quantile(share));
    let (middle, most) = (quantile(0.5), quantile(0.9999));
    vec![name.to_owned(), seen.len().to_string(), middle, most, us(seen.max())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_call_gets_a_row_with_figures() {
        let how = Locks { memory: 16 << 20, items: 200_000, value_bytes: 100 };
        let rows = locks(&how).unwrap();
        assert_eq!(rows.len(), 10);
        for row in &rows {
            assert_eq!(row.len(), LOCKS_HEAD.len());
            assert!(row[1].parse::<u64>().unwrap() > 0, "{row:?}");
        }
        assert!(locks(&Locks { memory: 1, ..how }).is_err());
    }
}
