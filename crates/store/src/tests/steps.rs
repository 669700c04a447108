//! What one lock may hold up, on hard days: bounds on what is worked on under it, by exact counts.
//! Times would tell of the machine, not of the store.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::config;
use crate::Store;
use crate::blocks::{Blocks, Purpose};
use crate::face::{Fetch, Removal, StoreConfig, Vivify, Write, WriteMode, Written};
use crate::geometry::Geometry;
use crate::shard::STEP_RECORDS;
use crate::steps::{self, Work};
use crate::time::{Expiry, Now};

const NOW: Now = Now(5000);

/// Of the ordinary allocator; counted while a lock is held.
struct Noted;

struct NotedBlock(Box<[u8]>);

impl Blocks for Noted {
    type Block = NotedBlock;

    fn block(&self, bytes: usize, _: Purpose) -> Option<NotedBlock> {
        steps::note(Work::BlockBytes, bytes);
        Some(NotedBlock(vec![0; bytes].into_boxed_slice()))
    }

    fn prefetch(&self, _: &[u8]) {}
}

impl AsRef<[u8]> for NotedBlock {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for NotedBlock {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for NotedBlock {
    fn drop(&mut self) {
        steps::note(Work::BlockBytes, self.0.len());
    }
}

fn store(memory_bytes: u64, shard_bits: u32, segment_bytes: usize) -> Store<Noted> {
    let config = StoreConfig { item_bytes_max: 64 << 20, ..config(memory_bytes) };
    Store::with_geometry(config, Geometry::of(shard_bits, segment_bytes), Noted)
}

fn write(store: &Store<Noted>, key: &str, expiry: Expiry, value: &[u8]) {
    let how = Write { mode: WriteMode::Set, expiry, ..super::set() };
    let written = store.write(store.hashed(key.as_bytes()), NOW, &how, value).outcome;
    assert!(matches!(written, Written::Stored { .. }), "{key}: {written:?}");
}

/// Background work until it rests.
fn rest(store: &Store<Noted>, now: Now) {
    let rested = (0..1_000_000).any(|_| !store.maintain(now).more);
    assert!(rested, "{:?}", store.stats());
}

/// The bounds that hold under every lock, whatever the day: see the constants named.
fn within_bounds(segment_bytes: usize) {
    // A look ahead may begin just before the allowance ends; then an operation does its own part.
    let records = steps::most(Work::Records);
    assert!(records <= STEP_RECORDS + 64, "{records} records under one lock");
    let entries = steps::most(Work::Entries);
    assert!(entries <= 2 * 256 + 64, "{entries} entries of queues");
    let rows = steps::most(Work::GhostRows);
    assert!(rows < 2 * 2048, "{rows} rows of ghosts");
    // The split of a leaf reads 296, relief one for each record; an operation may meet both.
    let keys = steps::most(Work::Keys);
    assert!(keys <= 2 * 296 + STEP_RECORDS + 64, "{keys} keys");
    // A segment is taken, one or two are given back, the index grows or shrinks by its blocks.
    let bytes = steps::most(Work::BlockBytes);
    assert!(bytes <= 4 * segment_bytes, "{bytes} bytes taken or given back");
}

#[test]
fn filling_evicting_and_a_large_flush() {
    steps::reset();
    let store = store(16 << 20, 1, 64 << 10);
    for number in 0..300_000 {
        write(&store, &format!("key-{number}"), Expiry::NEVER, &[7; 40]);
        if number % 3 == 0 {
            let key = format!("key-{}", number / 2);
            let _ = store.fetch(store.hashed(key.as_bytes()), NOW, &Fetch::default(), |_| ());
        }
    }
    assert!(store.stats().evictions > 10_000);
    assert!(steps::most(Work::Records) > 0 && steps::most(Work::GhostRows) > 0);
    within_bounds(64 << 10);
    steps::reset();
    store.flush(NOW, NOW);
    assert_eq!(steps::most(Work::Records), 0, "a flush itself walks nothing");
    rest(&store, NOW);
    assert_eq!(store.stats().items, 0);
    within_bounds(64 << 10);
    store.audit();
}

#[test]
fn refusals_look_through_no_segments() {
    let config = StoreConfig { evict: false, ..config(8 << 20) };
    let store = Store::with_geometry(config, Geometry::of(2, 4 << 10), Noted);
    let key = |number: u32| format!("key-{number}");
    let put = |number| {
        let hashed = key(number);
        let hashed = store.hashed(hashed.as_bytes());
        store.write(hashed, NOW, &super::set(), &[7; 60]).outcome
    };
    let stored = |from| (from..from + 100_000).filter(|&n| put(n) != Written::NoMemory).count();
    let first = stored(0);
    assert!(first > 50_000 && stored(100_000) == 0, "{first}");
    steps::reset();
    assert_eq!(stored(100_000), 0);
    assert_eq!(steps::most(Work::Segments), 0, "of {}", store.stats().segments_used);
    // What dies here and there is looked for again once it is enough.
    for number in (0..100_000).step_by(4) {
        let key = key(number);
        store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
    }
    assert_eq!(steps::most(Work::Segments), 0);
    let again = stored(100_000);
    assert!(again > first / 8, "{again} of {first}");
    assert!(steps::most(Work::Segments) > 0);
    store.audit();
}

#[test]
fn a_limit_far_below_what_is_held() {
    let store = store(32 << 20, 1, 64 << 10);
    for number in 0..200_000 {
        write(&store, &format!("key-{number}"), Expiry::NEVER, &[7; 100]);
    }
    steps::reset();
    assert!(store.set_memory_limit(2 << 20));
    assert_eq!(steps::most(Work::Records), 0, "the caller does not wait for it");
    for number in 0..1000 {
        write(&store, &format!("new-{number}"), Expiry::NEVER, &[7; 100]);
    }
    rest(&store, NOW);
    assert!(store.stats().memory_used <= 2 << 20, "{:?}", store.stats());
    within_bounds(64 << 10);
    store.audit();
}

#[test]
fn a_delete_storm_and_an_index_that_shrinks() {
    let store = store(32 << 20, 1, 64 << 10);
    for number in 0..200_000 {
        write(&store, &format!("key-{number}"), Expiry::NEVER, &[7; 60]);
    }
    steps::reset();
    for number in 0..200_000 {
        let key = format!("key-{number}");
        store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
    }
    rest(&store, NOW);
    assert_eq!(store.stats().items, 0);
    within_bounds(64 << 10);
    store.audit();
}

#[test]
fn everything_expires_in_one_second() {
    let store = store(96 << 20, 2, 64 << 10);
    for number in 0..300_000 {
        write(&store, &format!("key-{number}"), Expiry::at(NOW.0 + 1), b"gone soon");
    }
    for number in 0..200 {
        write(&store, &format!("large-{number}"), Expiry::at(NOW.0 + 1), &[7; 100_000]);
    }
    steps::reset();
    rest(&store, Now(NOW.0 + 1));
    assert_eq!(store.stats().items, 0);
    within_bounds(64 << 10);
    store.audit();
}

#[test]
fn large_values_are_freed_without_the_lock() {
    let store = store(64 << 20, 0, 64 << 10);
    let value = vec![7; 20 << 20];
    write(&store, "giant", Expiry::NEVER, &value);
    steps::reset();
    for round in 0..20 {
        write(&store, &format!("giant-{}", round % 4), Expiry::NEVER, &value);
    }
    let freed = steps::most(Work::BlockBytes);
    // What an append or a plain write takes is filled under the lock; what goes is not freed there.
    assert!(freed <= value.len() + 4 * (64 << 10), "{freed}");
    steps::reset();
    for round in 0..4 {
        let key = format!("giant-{round}");
        store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
    }
    assert!(steps::most(Work::BlockBytes) <= 4 * (64 << 10), "{}", steps::most(Work::BlockBytes));
    store.audit();
}

#[test]
fn a_queue_full_of_gaps_is_passed_over_in_steps() {
    let store = store(64 << 20, 0, 16 << 10);
    let value = [7; 3000];
    for number in 0..15_000 {
        write(&store, &format!("key-{number}"), Expiry::NEVER, &value);
    }
    steps::reset();
    for number in 0..15_000 {
        let key = format!("key-{number}");
        store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
    }
    for number in 0..40_000 {
        write(&store, &format!("new-{number}"), Expiry::NEVER, &value);
    }
    assert!(store.stats().evictions > 0);
    within_bounds(16 << 10);
    store.audit();
}

/// Like an arena of the server's: what is free and resident is handed out first, all else comes
/// from the system; both ways to it are counted.
#[derive(Default)]
struct Tended(Arc<Resident>);

#[derive(Default)]
struct Resident {
    free_bytes: AtomicUsize,
    brought_bytes: AtomicUsize,
    given_back_bytes: AtomicUsize,
    settled: AtomicUsize,
}

struct TendedBlock(Box<[u8]>, Arc<Resident>);

const AHEAD: usize = 1 << 20;
const FREE_MAX: usize = 4 << 20;

impl Blocks for Tended {
    type Block = TendedBlock;

    fn block(&self, bytes: usize, _: Purpose) -> Option<TendedBlock> {
        let free = &self.0.free_bytes;
        if free.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(bytes)).is_err() {
            steps::note(Work::SystemBytes, bytes);
        }
        Some(TendedBlock(vec![0; bytes].into_boxed_slice(), Arc::clone(&self.0)))
    }

    fn is_due(&self) -> bool {
        !(AHEAD..=FREE_MAX).contains(&self.0.free_bytes.load(Relaxed))
    }

    fn tend(&self) {
        let free = self.0.free_bytes.load(Relaxed);
        let (count, change) = if free < AHEAD {
            (&self.0.brought_bytes, 2 << 20)
        } else {
            (&self.0.given_back_bytes, free)
        };
        steps::note(Work::SystemBytes, change);
        count.fetch_add(change, Relaxed);
        let left = if free < AHEAD { free + change } else { 0 };
        self.0.free_bytes.store(left, Relaxed);
    }

    fn settle(&self) {
        steps::note(Work::SystemBytes, 1);
        self.0.settled.fetch_add(1, Relaxed);
    }

    fn prefetch(&self, _: &[u8]) {}
}

impl AsRef<[u8]> for TendedBlock {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for TendedBlock {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for TendedBlock {
    fn drop(&mut self) {
        self.1.free_bytes.fetch_add(self.0.len(), Relaxed);
    }
}

#[test]
fn free_memory_is_looked_at_every_five_seconds_whatever_the_clock_does() {
    let blocks = Tended::default();
    let resident = Arc::clone(&blocks.0);
    let store = Store::with_geometry(config(1 << 20), Geometry::of(0, 4096), blocks);
    let passes = |from: u32, seconds: u32| {
        let before = resident.settled.load(Relaxed);
        for second in from..from + seconds {
            // Ten rounds a second, as in the server.
            (0..10).for_each(|_| _ = store.maintain(Now(second)));
        }
        resident.settled.load(Relaxed) - before
    };
    assert_eq!(passes(NOW.0, 20), 4);
    assert_eq!(passes(NOW.0 + 20, 1), 1);
    assert_eq!(passes(NOW.0 - 3600, 20), 4, "the clock went back an hour");
    assert_eq!(passes(NOW.0 + 3600, 20), 4, "and forth two");
}

#[test]
fn no_lock_is_held_while_the_system_finds_memory_or_gets_it_back() {
    let blocks = Tended::default();
    let resident = Arc::clone(&blocks.0);
    let config = StoreConfig { item_bytes_max: 64 << 20, ..config(32 << 20) };
    let store = Store::with_geometry(config, Geometry::of(1, 64 << 10), blocks);
    steps::reset();
    assert!((0..100).any(|_| !store.maintain(NOW).more));
    assert_eq!(resident.brought_bytes.load(Relaxed), 0, "nothing is brought for an empty store");
    let created = Vivify { expiry: Expiry::NEVER, new_cas: None, binary_key: false };
    let vivify = Fetch { vivify: Some(created), ..Fetch::default() };
    for number in 0..400_000 {
        let key = format!("key-{number}");
        let key = store.hashed(key.as_bytes());
        if number % 8 == 0 {
            let _ = store.fetch(key, NOW, &vivify, |_| ());
        } else {
            store.write(key, NOW, &super::set(), &[7; 100]);
        }
    }
    assert!(store.stats().evictions > 10_000);
    assert!(resident.brought_bytes.load(Relaxed) >= 24 << 20, "it grew by its limit");
    for number in 0..400_000 {
        let key = format!("key-{number}");
        store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
    }
    let rested = (0..1_000_000).any(|_| !store.maintain(NOW).more);
    assert!(rested && store.stats().items == 0);
    assert!(resident.given_back_bytes.load(Relaxed) >= 8 << 20);
    assert_eq!(steps::most(Work::SystemBytes), 0, "bytes under a lock");
    store.audit();
}
