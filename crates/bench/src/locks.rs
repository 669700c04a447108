//! The longest single calls of a store, in thread CPU time, without what the store does for them
//! while it holds no lock: upper bounds of the time under one lock.
//!
//! Most calls are timed by the wall's clock, which costs far less to read than the thread's. It can
//! only say too much; a call that seems long is given what the thread used since its clock was read
//! last, without the short calls between.
//!
//! A kernel counts as a thread's what interrupted it, a hypervisor's pauses and the pages that it takes
//! away from a guest included. So the first row is of calls that only write to a few random places of
//! as much memory: its longest is the machine's, not the store's.
//!
//! Invariants: one thread, so that nothing waits; no figure is below the thread's CPU time of its
//! call, but for interruptions of short calls before it; what is beyond is what the bench itself
//! does for `MARK_CALLS` calls at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use hdrhistogram::Histogram;
use kannuki_store::Store;
use kannuki_store::blocks::{Blocks, Purpose};
use kannuki_store::face::{Fetch, Removal, StoreConfig, Write};
use kannuki_store::time::{Expiry, Now};
use kannuki_sys::arena::{Arena, Block};
use kannuki_sys::memory::{self, Mapping};

use crate::clock;
use crate::item::{Item, NUMBERS, push_key};
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
pub const LOCKS_HEAD: [&str; 7] = [
    "calls of",
    "number",
    "p50, us",
    "p99.99, us",
    "longest, us",
    "without a lock: number",
    "longest, us",
];

const NOW: Now = Now(1000);
const LATER: Now = Now(2000);
const KEY_BYTES: usize = 20;
/// As the server has it unless it is told otherwise.
const ITEM_BYTES_MAX: u32 = 1 << 20;
/// Longer than any call: a minute, in nanoseconds.
const NANOSECONDS_MAX: u64 = 60_000_000_000;
/// A call is short up to here: well below a turn of the scheduler, and below all bounds.
const SHORT_NANOSECONDS: u64 = 20_000;
/// The thread's clock is read after so many calls at the latest, so that what the bench does in
/// between adds little to a long one.
const MARK_CALLS: u32 = 64;
/// Places that a call without a store writes to: as many as a `set` that evicts, about.
const PLACES: usize = 5;
/// Calls of background work in one phase; what is left then is left.
const STEPS_MAX: u64 = 50_000_000;

/// Huge pages, as the server's segments and index have them.
struct Pages {
    segments: Arena,
    index: Arena,
    /// What [`Blocks::tend`] used of the processor, and its longest call, in nanoseconds.
    tended: Arc<Tended>,
}

#[derive(Default)]
struct Tended {
    nanoseconds: AtomicU64,
    longest: AtomicU64,
    calls: AtomicU64,
}

impl Blocks for Pages {
    type Block = Block;

    fn block(&self, bytes: usize, purpose: Purpose) -> Option<Block> {
        let arena = if purpose == Purpose::Index { &self.index } else { &self.segments };
        arena.block(bytes).ok()
    }

    fn cost(&self, bytes: usize) -> usize {
        self.segments.cost(bytes)
    }

    fn is_due(&self) -> bool {
        self.segments.is_due() || self.index.is_due()
    }

    fn tend(&self) {
        let begun = clock::thread_cpu();
        self.segments.tend();
        self.index.tend();
        let took = nanoseconds(clock::thread_cpu().saturating_sub(begun));
        self.tended.nanoseconds.fetch_add(took, Ordering::Relaxed);
        self.tended.longest.fetch_max(took, Ordering::Relaxed);
        self.tended.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn prefetch(&self, bytes: &[u8]) {
        memory::prefetch(bytes);
    }
}

/// Fills a store with memory that is new, evicts, flushes, fills what is in use, lets everything
/// expire, deletes everything and lowers the limit: a row for each. `note` hears of each.
///
/// # Errors
/// When a store of that size cannot be built.
pub fn locks(how: &Locks, mut note: impl FnMut(&str)) -> Result<Vec<Vec<String>>> {
    ensure!(how.items > 0, "no items to store");
    ensure!(how.items <= NUMBERS / 3, "{} items are more than keys can number", how.items);
    let most = ITEM_BYTES_MAX as usize / 2;
    ensure!(how.value_bytes <= most, "values of {} bytes: give {most} at most", how.value_bytes);
    let tended = Arc::new(Tended::default());
    let mut random = Random::new(1);
    let mut watch = Watch { tended: Arc::clone(&tended), note: &mut note, rows: Vec::new() };
    watch.without_store(how, &mut random)?;
    let store = built(how, tended)?;
    let value = vec![b'v'; how.value_bytes];
    let mut key = Vec::new();
    let fill = |expiry: Expiry, key: &mut Vec<u8>, number: u64| {
        name(key, number);
        store.write(store.hashed(key).cas_hidden(), NOW, &set(expiry), &value);
    };
    watch.calls("set, memory anew", how.items, |number| fill(Expiry::NEVER, &mut key, number))?;
    watch.calls("get and set, evicting", how.items, |number| {
        let is_get = random.below(2) == 0;
        name(&mut key, if is_get { random.below(how.items) } else { how.items + number });
        let hashed = store.hashed(&key).cas_hidden();
        if is_get {
            let _ = store.fetch(hashed, NOW, &Fetch::default(), |hit| hit.item_bytes);
        } else {
            store.write(hashed, NOW, &set(Expiry::NEVER), &value);
        }
    })?;
    watch.calls("set, memory in use", how.items, |number| {
        fill(Expiry::NEVER, &mut key, 2 * how.items + number);
    })?;
    watch.calls("flush_all", 1, |_| store.flush(NOW, NOW))?;
    watch.rest("background work, flushed", &store, NOW)?;
    let soon = Expiry::at(NOW.0 + 1);
    watch.calls("set, TTL 1 s", how.items, |number| fill(soon, &mut key, number))?;
    watch.rest("background work, all expired", &store, LATER)?;
    (0..how.items).for_each(|number| fill(Expiry::NEVER, &mut key, number));
    watch.calls("delete", how.items, |number| {
        name(&mut key, number);
        store.remove(store.hashed(&key), NOW, None, &Removal::Remove);
    })?;
    watch.rest("background work, all deleted", &store, LATER)?;
    (0..how.items).for_each(|number| fill(Expiry::NEVER, &mut key, number));
    let mut is_lowered = false;
    let lower = |_| is_lowered = store.set_memory_limit(how.memory / 8);
    watch.calls("limit lowered to an eighth", 1, lower)?;
    ensure!(is_lowered, "{} bytes are too little to be divided by eight", how.memory);
    watch.rest("background work, limit lowered", &store, LATER)?;
    Ok(watch.rows)
}

fn built(how: &Locks, tended: Arc<Tended>) -> Result<Store<Pages>> {
    let config = StoreConfig {
        memory_bytes: how.memory,
        item_bytes_max: ITEM_BYTES_MAX,
        evict: true,
        cas: true,
        threads: 4,
        seed: *b"measured in vain",
    };
    let pages = Pages { segments: Arena::tended(true), index: Arena::tended(true), tended };
    Store::new(config, pages).map_err(|error| anyhow!("{error}"))
}

fn set(expiry: Expiry) -> Write {
    Write { expiry, ..Write::PLAIN }
}

fn name(key: &mut Vec<u8>, number: u64) {
    key.clear();
    push_key(key, Item { number, key_bytes: KEY_BYTES, value_bytes: 0 });
}

/// Rows as they come.
struct Watch<'n> {
    tended: Arc<Tended>,
    note: &'n mut dyn FnMut(&str),
    rows: Vec<Vec<String>>,
}

impl Watch<'_> {
    /// What the machine does to a program that has as much memory and writes to it.
    fn without_store(&mut self, how: &Locks, random: &mut Random) -> Result<()> {
        let mut memory = Mapping::new(usize::try_from(how.memory)?)?;
        let _ = memory.advise_huge();
        let bytes = memory.as_mut();
        bytes.fill(1);
        self.calls("no store: five random writes", how.items, |_| {
            for _ in 0..PLACES {
                let place = random.below(how.memory) as usize;
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = byte.wrapping_add(1);
                }
            }
        })
    }

    fn calls(&mut self, name: &str, calls: u64, mut call: impl FnMut(u64)) -> Result<()> {
        // What filled the store without being timed counts in no row.
        self.tended.calls.store(0, Ordering::Relaxed);
        self.tended.longest.store(0, Ordering::Relaxed);
        let mut timer = Timer::new(&self.tended)?;
        for number in 0..calls {
            timer.time(|| call(number));
        }
        self.row(name, &timer.seen);
        Ok(())
    }

    /// Background work until it rests.
    fn rest(&mut self, name: &str, store: &Store<Pages>, now: Now) -> Result<()> {
        let mut timer = Timer::new(&self.tended)?;
        for _ in 0..STEPS_MAX {
            if !timer.time(|| store.maintain(now).more) {
                break;
            }
        }
        self.row(name, &timer.seen);
        Ok(())
    }

    fn row(&mut self, name: &str, seen: &Histogram<u64>) {
        let calls = self.tended.calls.swap(0, Ordering::Relaxed);
        let longest = self.tended.longest.swap(0, Ordering::Relaxed);
        let mut row = row(name, seen);
        row.push(calls.to_string());
        row.push(us(longest));
        (self.note)(&row.join(", "));
        self.rows.push(row);
    }
}

struct Timer {
    seen: Histogram<u64>,
    tended: Arc<Tended>,
    /// The thread's clock when it was read last.
    marked: Duration,
    /// What tending had used by then.
    tended_then: u64,
    /// The wall's time of the short calls since, and their number.
    short: u64,
    calls: u32,
}

impl Timer {
    fn new(tended: &Arc<Tended>) -> Result<Self> {
        let seen = Histogram::new_with_max(NANOSECONDS_MAX, 3)?;
        let tended = Arc::clone(tended);
        let mut timer =
            Self { seen, tended, marked: Duration::ZERO, tended_then: 0, short: 0, calls: 0 };
        timer.mark();
        Ok(timer)
    }

    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let tended = self.tended.nanoseconds.load(Ordering::Relaxed);
        let begun = clock::now();
        let result = call();
        let took = nanoseconds(begun.elapsed());
        let tended = self.tended.nanoseconds.load(Ordering::Relaxed) - tended;
        self.calls += 1;
        if took < SHORT_NANOSECONDS {
            self.seen.saturating_record(took);
            self.short += took.saturating_sub(tended);
        } else {
            let used = nanoseconds(clock::thread_cpu().saturating_sub(self.marked));
            let tended = self.tended.nanoseconds.load(Ordering::Relaxed) - self.tended_then;
            self.seen.saturating_record(used.saturating_sub(self.short + tended).min(took));
            self.mark();
        }
        if self.calls >= MARK_CALLS {
            self.mark();
        }
        result
    }

    fn mark(&mut self) {
        (self.short, self.calls) = (0, 0);
        self.tended_then = self.tended.nanoseconds.load(Ordering::Relaxed);
        self.marked = clock::thread_cpu();
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn us(nanoseconds: u64) -> String {
    format!("{:.1}", nanoseconds as f64 / 1000.0)
}

fn row(name: &str, seen: &Histogram<u64>) -> Vec<String> {
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
        let mut noted = 0;
        let rows = locks(&how, |_| noted += 1).unwrap();
        assert_eq!((rows.len(), noted), (12, 12));
        for row in &rows {
            assert_eq!(row.len(), LOCKS_HEAD.len());
            assert!(row[1].parse::<u64>().unwrap() > 0, "{row:?}");
        }
        assert!(locks(&Locks { memory: 1, ..how }, |_| ()).is_err());
        assert!(locks(&Locks { items: 0, ..how }, |_| ()).is_err());
        assert!(locks(&Locks { items: u64::MAX, ..how }, |_| ()).is_err());
        // A store refuses these: the figures would be of refusals.
        assert!(locks(&Locks { value_bytes: 1 << 20, ..how }, |_| ()).is_err());
    }
}
