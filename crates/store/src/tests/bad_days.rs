//! Hard days: no memory, too much at once, a limit lowered, everything deleted, everything expired.

use super::{config, get, set, tiny};
use crate::Store;
use crate::blocks::{Blocks, Boxed, Purpose};
use crate::face::{
    Absent, Fetch, FetchMiss, Leases, Refusal, Removal, Step, Stepped, StoreConfig, Value, Write,
    WriteMode, Written,
};
use crate::geometry::Geometry;
use crate::time::{Expiry, Now};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOW: Now = Now(5000);

const COUNT: Step = Step {
    increment: true,
    delta: 1,
    compare: None,
    create: None,
    touch: None,
    new_cas: None,
    binary_key: false,
};

fn write(store: &Store, key: &str, how: &Write, value: &[u8]) -> Written {
    store.write(store.hashed(key.as_bytes()), NOW, how, value).outcome
}

fn fill(store: &Store, count: u32, value: &[u8]) {
    for number in 0..count {
        let written = write(store, &format!("key-{number}"), &set(), value);
        assert!(matches!(written, Written::Stored { .. }), "{number}: {written:?}");
    }
}

fn rest(store: &Store, now: Now) {
    // Bound: background work ends by itself; a store that never rests would hang here.
    for _ in 0..1_000_000 {
        if !store.maintain(now).more {
            return;
        }
    }
    panic!("background work does not end: {:?}", store.stats());
}

#[test]
fn a_value_too_large_is_refused_and_the_old_one_goes() {
    let store = tiny(StoreConfig { item_bytes_max: 1000, ..config(256 << 10) }, 0, 4096);
    for mode in [WriteMode::Set, WriteMode::Replace, WriteMode::Append] {
        write(&store, "k", &set(), b"old");
        let how = Write { mode, ..set() };
        assert_eq!(write(&store, "k", &how, &[0; 2000]), Written::TooLarge);
        assert_eq!(get(&store, b"k", NOW).is_some(), mode != WriteMode::Set);
        write(&store, "k", &set(), b"old");
        let refused = store.reserve(store.hashed(b"k"), NOW, &how, 2000);
        assert_eq!(refused.map(|_| ()), Err(Refusal::TooLarge));
        assert_eq!(get(&store, b"k", NOW).is_some(), mode != WriteMode::Set);
    }
    assert_eq!(
        write(&store, "k", &set(), &[0; 1000 - 60]),
        Written::Stored {
            cas: store.peek(store.hashed(b"k"), NOW, |hit| hit.cas).unwrap(),
            value_bytes: 940,
            class: 12,
        }
    );
    store.audit();
}

#[test]
fn a_gibibyte_into_64_mebibytes_is_refused() {
    let config = StoreConfig { item_bytes_max: 1 << 30, ..config(64 << 20) };
    let store = Store::new(config, Boxed).unwrap();
    fill(&store, 1000, b"value");
    let refused = store.reserve(store.hashed(b"giant"), NOW, &set(), (1 << 30) - 100);
    assert_eq!(refused.map(|_| ()), Err(Refusal::NoMemory));
    assert_eq!(store.stats().items, 1000, "nothing was thrown out for it");
    assert_eq!(store.stats().evictions, 0);
    store.audit();
}

#[test]
fn full_without_eviction_refuses_until_something_goes() {
    let store = tiny(StoreConfig { evict: false, ..config(256 << 10) }, 0, 4096);
    let mut stored = 0;
    while let Written::Stored { .. } = write(&store, &format!("key-{stored}"), &set(), &[7; 50]) {
        stored += 1;
    }
    assert!(stored > 1500, "{stored}");
    assert_eq!(store.stats().evictions, 0);
    for number in 0..stored {
        assert!(get(&store, format!("key-{number}").as_bytes(), NOW).is_some());
    }
    for number in (0..stored).step_by(2) {
        let key = format!("key-{number}");
        store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
    }
    let mut again = 0;
    while let Written::Stored { .. } = write(&store, &format!("new-{again}"), &set(), &[7; 50]) {
        again += 1;
    }
    assert!(again > stored / 3, "holes are won back by compaction: {again} of {stored}");
    assert_eq!(store.stats().evictions, 0);
    store.audit();
}

#[test]
fn a_lower_limit_gives_memory_back() {
    let held = Arc::new(AtomicUsize::new(0));
    let config = StoreConfig { ..config(8 << 20) };
    let blocks = Counted(Arc::clone(&held));
    let store = Store::with_geometry(config, Geometry::of(1, 16 << 10), blocks);
    for number in 0..40_000_u32 {
        let key = format!("key-{number}");
        store.write(store.hashed(key.as_bytes()), NOW, &set(), &[1; 150]);
    }
    assert!(held.load(Ordering::Relaxed) > 5 << 20);
    assert!(store.set_memory_limit(2 << 20));
    for _ in 0..100_000 {
        if !store.maintain(NOW).more && store.stats().memory_used <= 2 << 20 {
            break;
        }
    }
    assert!(held.load(Ordering::Relaxed) <= 2 << 20, "{:?}", store.stats());
    store.audit();
    assert!(store.set_memory_limit(4 << 20));
    for number in 0..40_000_u32 {
        let key = format!("key-{number}");
        store.write(store.hashed(key.as_bytes()), NOW, &set(), &[1; 150]);
    }
    assert!(held.load(Ordering::Relaxed) > 3 << 20);
    assert_eq!(store.memory_limit(), 4 << 20);
    store.audit();
    assert!(!store.set_memory_limit(0));
    assert!(!store.set_memory_limit(u64::MAX));
    drop(store);
    assert_eq!(held.load(Ordering::Relaxed), 0, "nothing leaks");
}

/// There was no segment left to compact with, however much was deleted.
#[test]
fn a_lower_limit_without_eviction_is_kept_once_enough_is_deleted() {
    for shard_bits in [0, 2] {
        let store = tiny(StoreConfig { evict: false, ..config(4 << 20) }, shard_bits, 4096);
        let mut stored = 0;
        while let Written::Stored { .. } =
            write(&store, &format!("key-{stored}"), &set(), &[7; 100])
        {
            stored += 1;
        }
        assert!(store.set_memory_limit(2 << 20));
        rest(&store, NOW);
        assert_eq!(store.stats().items, stored, "nothing is thrown out");
        // No segment dies as a whole.
        for number in (0..stored).filter(|number| number % 3 > 0) {
            let key = format!("key-{number}");
            store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
        }
        rest(&store, NOW);
        store.audit();
        let mut again = 0;
        while let Written::Stored { .. } = write(&store, &format!("new-{again}"), &set(), &[7; 100])
        {
            again += 1;
            assert!(store.stats().memory_used <= 2 << 20, "{:?}", store.stats());
        }
        assert!(again > 1000, "{again}: {:?}", store.stats());
        let kept = |number| get(&store, format!("key-{number}").as_bytes(), NOW).is_some();
        assert!((0..stored).step_by(3).all(kept));
        store.audit();
    }
}

/// Index and ghosts stayed as large as many items had once needed: all items were thrown out for
/// that, and below a thirtieth of the old limit nothing could ever be stored again.
#[test]
fn a_limit_near_what_the_index_held_is_kept_and_served() {
    let store = Store::new(config(16 << 20), Boxed).unwrap();
    for number in 0..450_000 {
        write(&store, &format!("key-{number:08}"), &set(), b"12345678");
    }
    let before = store.stats();
    assert!(before.index_bytes > 2 << 20, "{before:?}");
    assert!(store.set_memory_limit(1 << 20));
    rest(&store, NOW);
    let after = store.stats();
    assert!(after.memory_used <= 1 << 20, "{after:?}");
    assert!(after.index_bytes < before.index_bytes / 10, "{after:?}");
    // Not everything had to go for it, though segments are cut for sixteen times as much.
    let worth = before.items / 16;
    assert!(after.items > worth / 3, "{} items are left, {worth} would fit", after.items);
    fill(&store, 30_000, b"12345678");
    assert!(store.stats().items > worth / 4, "{} of {worth}", store.stats().items);
    store.audit();
}

#[test]
fn a_delete_storm_gives_memory_back() {
    let store = tiny(config(8 << 20), 1, 16 << 10);
    fill(&store, 30_000, &[1; 100]);
    let held = store.stats();
    for number in 0..30_000 {
        let key = format!("key-{number}");
        let removed = store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
        assert_eq!(removed.absent, None);
    }
    rest(&store, NOW);
    let stats = store.stats();
    assert_eq!((stats.items, stats.bytes), (0, 0));
    assert!(stats.segments_used <= 4, "{stats:?}");
    assert!(stats.index_bytes < held.index_bytes / 2, "{} {}", stats.index_bytes, held.index_bytes);
    store.audit();
}

#[test]
fn overwriting_one_key_for_ever_throws_nothing_out() {
    let store = tiny(config(1 << 20), 0, 4096);
    fill(&store, 2000, &[1; 100]);
    for number in 0..100_000_u32 {
        let value = number.to_le_bytes();
        assert!(matches!(write(&store, "hot", &set(), &value), Written::Stored { .. }));
    }
    assert_eq!(get(&store, b"hot", NOW).unwrap(), 99_999_u32.to_le_bytes());
    assert_eq!(store.stats().evictions, 0, "dead versions are won back first");
    store.audit();
}

#[test]
fn long_keys_with_empty_values_fit() {
    let store = tiny(config(1 << 20), 1, 4096);
    for number in 0..10_000_u32 {
        let mut key = number.to_string();
        while key.len() < 250 {
            key.push('k');
        }
        assert!(matches!(write(&store, &key, &set(), b""), Written::Stored { .. }));
        assert_eq!(get(&store, key.as_bytes(), NOW).unwrap(), b"");
    }
    assert!(store.stats().items > 3000);
    store.audit();
}

#[test]
fn a_million_items_dying_in_one_second_are_freed_in_short_steps() {
    let store = tiny(config(96 << 20), 2, 64 << 10);
    for number in 0..1_000_000 {
        let how = Write { expiry: Expiry::at(NOW.0 + 1), ..set() };
        write(&store, &format!("key-{number}"), &how, b"gone soon");
    }
    let before = store.stats();
    assert_eq!(before.items, 1_000_000);
    let mut steps = 0;
    while store.stats().items > 0 {
        let done = store.maintain(Now(NOW.0 + 1));
        assert!(done.items_checked <= 256, "one step is short");
        steps += 1;
        assert!(steps < 10_000, "{:?}", store.stats());
    }
    let stats = store.stats();
    assert_eq!(stats.evictions, 0);
    assert_eq!(stats.expired_unfetched, 1_000_000);
    assert!(stats.segments_used <= 12);
    store.audit();
}

#[test]
fn expired_items_between_living_ones_are_swept() {
    let store = tiny(config(16 << 20), 1, 16 << 10);
    for number in 0..20_000_u32 {
        let expiry = if number % 2 == 0 { Expiry::at(NOW.0 + 1000) } else { Expiry::NEVER };
        write(&store, &format!("key-{number}"), &Write { expiry, ..set() }, b"value");
    }
    rest(&store, NOW);
    assert_eq!(store.stats().items, 20_000);
    assert_eq!(store.stats().crawler_items_checked, 0, "nothing is looked at before it may be due");
    rest(&store, Now(NOW.0 + 1000));
    let stats = store.stats();
    assert_eq!((stats.items, stats.crawler_reclaimed), (10_000, 10_000));
    store.audit();
}

#[test]
fn a_clock_that_jumps_breaks_nothing() {
    let store = tiny(config(256 << 10), 0, 4096);
    let hour = 3600;
    let (later, sooner) = (Now(NOW.0 + hour), Now(NOW.0 - hour));
    let times = [NOW, later, NOW, sooner, NOW, Now(1), Now(u32::MAX), Now(0), NOW];
    for (round, &now) in times.iter().cycle().take(60).enumerate() {
        for number in 0..200 {
            let key = format!("key-{}", (number * 7 + round) % 900);
            let expiry = Expiry::at(now.0.saturating_add(100));
            let how = Write { expiry, ..set() };
            store.write(store.hashed(key.as_bytes()), now, &how, key.as_bytes());
            let read = get(&store, key.as_bytes(), now);
            assert_eq!(read.is_some(), !expiry.is_due(now));
        }
        store.maintain(now);
        store.audit();
    }
}

#[test]
fn slow_readers_cannot_pin_all_memory() {
    let store = tiny(StoreConfig { item_bytes_max: 1 << 20, ..config(4 << 20) }, 0, 16 << 10);
    let mut lent = Vec::new();
    let mut refused = 0;
    for number in 0..200 {
        let key = format!("key-{number}");
        let written = write(&store, &key, &set(), &[3; 100_000]);
        assert!(matches!(written, Written::Stored { .. }), "{number} {written:?}");
        let hit =
            store.fetch(store.hashed(key.as_bytes()), NOW, &crate::face::Fetch::default(), |hit| {
                match hit.value {
                    crate::face::Value::Chain(chain) => Some(chain.clone()),
                    crate::face::Value::Inline(_) => None,
                }
            });
        match hit {
            Ok(chain) => lent.extend(chain),
            Err(_) => refused += 1,
        }
        assert!(store.stats().pinned_bytes <= (4 << 20) / 2);
    }
    assert!(refused > 0 && lent.len() > 15, "{} lent, {refused} refused", lent.len());
    store.audit_with_readers();
    drop(lent);
    assert_eq!(store.stats().pinned_bytes, 0);
    store.audit();
}

#[test]
fn what_is_lent_already_is_lent_again() {
    let store = tiny(StoreConfig { item_bytes_max: 1 << 20, ..config(4 << 20) }, 0, 16 << 10);
    let keys: Vec<String> = (0..30).map(|number| format!("key-{number}")).collect();
    keys.iter().for_each(|key| _ = write(&store, key, &set(), &[3; 100_000]));
    let lend = |key: &String| {
        store.fetch(store.hashed(key.as_bytes()), NOW, &Fetch::default(), |hit| match hit.value {
            Value::Chain(chain) => chain.clone(),
            Value::Inline(_) => panic!("100 kB under a lock"),
        })
    };
    let first: Vec<_> = keys.iter().map(lend).collect();
    let lent = first.iter().filter(|hit| hit.is_ok()).count();
    assert!((15..=20).contains(&lent), "{lent} of 30 are half of memory");
    // It takes no more memory, so nobody is refused for it.
    let again: Vec<_> = keys.iter().map(lend).collect();
    assert!(first.iter().zip(&again).all(|(one, other)| one.is_ok() == other.is_ok()));
    drop((first, again));
    assert!(keys.iter().take(15).map(lend).all(|hit| hit.is_ok()));
    store.audit();
}

/// What was lent did not count any more once the value had been appended to, so readers of such
/// values could hold all of memory, and nothing could be stored.
#[test]
fn slow_readers_of_values_that_grow_cannot_pin_all_memory() {
    for mode in [WriteMode::Append, WriteMode::Prepend] {
        let store = tiny(config(4 << 20), 0, 16 << 10);
        let mut lent = Vec::new();
        for number in 0..200 {
            let key = format!("key-{number}");
            write(&store, &key, &set(), &[3; 130_000]);
            let hit =
                store.fetch(store.hashed(key.as_bytes()), NOW, &Fetch::default(), |hit| match hit
                    .value
                {
                    Value::Chain(chain) => chain.clone(),
                    Value::Inline(_) => panic!("130 kB under a lock"),
                });
            lent.extend(hit);
            let grown = write(&store, &key, &Write { mode, ..set() }, &[4; 65_000]);
            assert!(matches!(grown, Written::Stored { .. }), "{number} {grown:?}");
        }
        assert!(lent.len() >= 10, "{} lent", lent.len());
        for number in 0..200 {
            let key = format!("after-{number}");
            let written = write(&store, &key, &set(), &[5; 130_000]);
            assert!(matches!(written, Written::Stored { .. }), "{number} {written:?}");
            assert!(store.stats().pinned_bytes <= (4 << 20) / 2, "{:?}", store.stats());
        }
        store.audit_with_readers();
        assert!(lent.iter().all(|chain| chain.slices().flatten().all(|&byte| byte == 3)));
        drop(lent);
        assert_eq!((store.stats().pinned_bytes, store.pool.budget.lent()), (0, 0));
        store.audit();
    }
}

/// Whoever won a stale item without getting it kept all others from refilling it.
#[test]
fn nobody_wins_an_item_that_cannot_be_lent() {
    let store = tiny(config(4 << 20), 0, 16 << 10);
    let lend = |name: &str, how: &Fetch| {
        store.fetch(store.hashed(name.as_bytes()), NOW, how, |hit| match hit.value {
            Value::Chain(chain) => (chain.clone(), hit.lease.won),
            Value::Inline(_) => panic!("{name} is large"),
        })
    };
    write(&store, "stale", &set(), &[3; 300_000]);
    let mark = Removal::MarkStale { expiry: None, new_cas: None };
    store.remove(store.hashed(b"stale"), NOW, None, &mark);
    let mut lent = Vec::new();
    for number in 0..9 {
        let name = format!("key-{number}");
        write(&store, &name, &set(), &[4; 200_000]);
        lent.push(lend(&name, &Fetch::default()).unwrap());
    }
    let taken = Fetch { leases: Leases::Taken, ..Fetch::default() };
    assert_eq!(lend("stale", &taken).map(|_| ()), Err(FetchMiss::NoMemory));
    drop(lent);
    assert_eq!(lend("stale", &taken).map(|(_, won)| won), Ok(true));
    assert_eq!(lend("stale", &taken).map(|(_, won)| won), Ok(false));
    store.audit();
}

#[test]
fn stalled_reservations_leave_half_of_memory() {
    let store = tiny(config(4 << 20), 0, 16 << 10);
    fill(&store, 5000, &[1; 100]);
    let mut stalled = Vec::new();
    while let Ok(reservation) = store.reserve(store.hashed(b"slow"), NOW, &set(), 100_000) {
        stalled.push(reservation);
    }
    assert_eq!(stalled.len(), 20);
    assert!(store.stats().items > 4000, "{:?}", store.stats());
    store.audit();
    let mut one = stalled.pop().unwrap();
    one.fill(&[9; 60_000]);
    let short = store.commit(store.hashed(b"slow"), NOW, &set(), one);
    assert_eq!(short.outcome, Written::NoMemory, "an unfinished value is never stored");
    drop(stalled);
    assert_eq!(store.stats().pinned_bytes, 0);
    store.audit();
}

#[test]
fn a_system_without_memory_is_survived() {
    let store = Store::with_geometry(config(4 << 20), Geometry::of(0, 16 << 10), Poor);
    let key = store.hashed(b"k");
    let written = store.write(key, NOW, &set(), b"v");
    assert_eq!(written.outcome, Written::NoMemory);
    assert!(store.stats().system_refusals > 0);
    assert_eq!(store.stats().memory_used, 0, "what was not given is not charged");
    store.audit();
}

#[test]
fn an_index_that_cannot_grow_refuses_and_mixes_nothing_up() {
    for evict in [true, false] {
        let cut = Geometry::of(1, 16 << 10);
        assert_ne!(cut.slab_bytes, cut.segment_bytes, "only the index is refused memory");
        let blocks = Stingy { slab_bytes: cut.slab_bytes, left: AtomicUsize::new(20) };
        let config = StoreConfig { evict, ..config(8 << 20) };
        let store = Store::with_geometry(config, cut, blocks);
        let mut refused = 0;
        for number in 0..30_000_u32 {
            let key = format!("key-{number}");
            let key = store.hashed(key.as_bytes());
            match store.write(key, NOW, &set(), &number.to_le_bytes()).outcome {
                Written::Stored { .. } => {}
                Written::NoMemory => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        let stats = store.stats();
        assert!(stats.system_refusals > 0 && stats.items > 5000, "{stats:?}");
        assert_eq!((refused == 0, stats.evictions > 0), (evict, evict), "{refused} {stats:?}");
        let mut hits = 0;
        for number in 0..30_000_u32 {
            let key = format!("key-{number}");
            let how = crate::face::Fetch::default();
            let read = |hit: &crate::face::Hit<'_, _>| super::value(&hit.value);
            if let Ok(held) = store.fetch(store.hashed(key.as_bytes()), NOW, &how, read) {
                assert_eq!(held, number.to_le_bytes(), "a key's own value or a miss");
                hits += 1;
            }
        }
        assert_eq!(hits, stats.items);
        store.audit();
    }
}

/// Counts the bytes of living blocks.
struct Counted(Arc<AtomicUsize>);

struct CountedBlock(Box<[u8]>, Arc<AtomicUsize>);

impl Blocks for Counted {
    type Block = CountedBlock;

    fn block(&self, bytes: usize, _: Purpose) -> Option<CountedBlock> {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Some(CountedBlock(vec![0; bytes].into_boxed_slice(), Arc::clone(&self.0)))
    }

    fn prefetch(&self, _: &[u8]) {}
}

impl AsRef<[u8]> for CountedBlock {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for CountedBlock {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for CountedBlock {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// A system that has no more memory for blocks of the index after so many.
struct Stingy {
    slab_bytes: usize,
    left: AtomicUsize,
}

impl Blocks for Stingy {
    type Block = Box<[u8]>;

    fn block(&self, bytes: usize, purpose: Purpose) -> Option<Box<[u8]>> {
        let less = |left: usize| left.checked_sub(1);
        if bytes == self.slab_bytes {
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        }
        Boxed.block(bytes, purpose)
    }

    fn prefetch(&self, _: &[u8]) {}
}

/// A system that has no memory left.
struct Poor;

impl Blocks for Poor {
    type Block = Box<[u8]>;

    fn block(&self, _: usize, _: Purpose) -> Option<Box<[u8]>> {
        None
    }

    fn prefetch(&self, _: &[u8]) {}
}

#[test]
fn whoever_stores_nothing_new_needs_no_room() {
    let store = tiny(StoreConfig { evict: false, ..config(1 << 20) }, 0, 4096);
    for number in 0..1000 {
        let key = format!("plain-{number}");
        store.write(store.hashed(key.as_bytes()).cas_hidden(), NOW, &set(), b"10");
    }
    let count = Step { create: Some((10, Expiry::NEVER)), ..COUNT };
    let step = |key: String, how: &Step| store.step(store.hashed(key.as_bytes()), NOW, how).outcome;
    let stored = |n: &u32| matches!(step(format!("key-{n}"), &count), Stepped::Number { .. });
    let all: Vec<u32> = (0..100_000).filter(stored).collect();
    assert!(all.len() > 10_000 && all.len() < 90_000, "{}", all.len());
    for number in &all {
        let stepped = step(format!("key-{number}"), &COUNT);
        assert!(matches!(stepped, Stepped::Number { value: 11, .. }), "{stepped:?}");
    }
    let touch = Fetch { touch: Some(Expiry::NEVER), ..Fetch::default() };
    // Nor does who counts on where nobody was told a cas unique.
    for number in 0..1000 {
        let key = format!("plain-{number}");
        let stepped = store.step(store.hashed(key.as_bytes()).cas_hidden(), NOW, &COUNT).outcome;
        assert!(matches!(stepped, Stepped::Number { value: 11, .. }), "{stepped:?}");
    }
    for number in 0..10_000 {
        let key = format!("absent-{number}");
        assert_eq!(step(key.clone(), &COUNT), Stepped::NotFound);
        let touched = store.fetch(store.hashed(key.as_bytes()), NOW, &touch, |_| ());
        assert_eq!(touched, Err(FetchMiss::Absent(Absent::Missing)));
    }
    store.audit();
}
