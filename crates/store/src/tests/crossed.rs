//! Work of two kinds that meet: background work half done when a client changes what it passed, and
//! shards that need the same last segment.

use super::{config, set, tiny};
use crate::Store;
use crate::face::{Fetch, Removal, StoreConfig, Write, Written};
use crate::shard::STEP_RECORDS;
use crate::time::{Expiry, Now};

const NOW: Now = Now(5000);
const LATER: Expiry = Expiry::at(NOW.0 + 10_000);

fn write(store: &Store, key: &str, expiry: Expiry, value: &[u8]) -> Written {
    let how = Write { expiry, ..set() };
    store.write(store.hashed(key.as_bytes()), NOW, &how, value).outcome
}

fn rest(store: &Store, now: Now) -> usize {
    // Bound: background work ends by itself; a store that never rests would hang here.
    let steps = (0..100_000).position(|_| !store.maintain(now).more);
    steps.unwrap_or_else(|| panic!("background work does not end: {:?}", store.stats()))
}

#[test]
fn a_life_cut_short_behind_the_sweep_is_not_forgotten() {
    let store = tiny(config(1 << 20), 0, 64 << 10);
    let count = 3 * STEP_RECORDS as u32;
    for number in 0..count {
        assert!(matches!(
            write(&store, &format!("key-{number}"), LATER, b"v"),
            Written::Stored { .. }
        ));
    }
    // So much that the segment is sealed.
    for number in 0..64 {
        assert!(matches!(
            write(&store, &format!("fill-{number}"), LATER, &[7; 4000]),
            Written::Stored { .. }
        ));
    }
    let then = Now(NOW.0 + 1);
    let touch = Fetch { touch: Some(Expiry::at(then.0)), ..Fetch::default() };
    assert!(store.fetch(store.hashed(b"key-1"), NOW, &touch, |_| ()).is_ok());
    let mut steps = 0;
    while store.stats().crawler_items_checked < STEP_RECORDS as u64 {
        assert!(store.maintain(then).more, "something is due");
        steps += 1;
        assert!(steps < 10);
    }
    let touch = Fetch { touch: Some(Expiry::at(then.0 + 20)), ..Fetch::default() };
    assert!(store.fetch(store.hashed(b"key-0"), then, &touch, |_| ()).is_ok());
    rest(&store, then);
    store.audit();
    let before = store.stats().items;
    rest(&store, Now(then.0 + 20));
    assert_eq!(store.stats().items, before - 1);
    store.audit();
}

#[test]
fn holes_are_won_back_without_eviction_though_records_grow_when_moved() {
    // Each cas unique may have been shown, so a record that is moved gets a field for it. In the
    // longer segments, writes come between the steps of a move.
    holes_are_won_back(1 << 20, 2, 4096);
    holes_are_won_back(2 << 20, 1, 64 << 10);
    holes_are_won_back(1 << 20, 0, 64 << 10);
}

fn holes_are_won_back(memory_bytes: u64, shard_bits: u32, segment_bytes: usize) {
    let store =
        tiny(StoreConfig { evict: false, ..config(memory_bytes) }, shard_bits, segment_bytes);
    let stored = fill(&store, "old");
    let mut living: Vec<u32> = (0..stored).collect();
    let mut won = 0;
    for share in [7, 2, 3, 5, 11] {
        let before = living.len();
        living.retain(|number| {
            let goes = number % share == 0;
            if goes {
                let key = format!("old-{number}");
                store.remove(store.hashed(key.as_bytes()), NOW, None, &Removal::Remove);
                // Each shard in turn may begin to compact, with what little is free.
                store.maintain(NOW);
            }
            !goes
        });
        rest(&store, NOW);
        let removed = before - living.len();
        let again = fill(&store, &format!("new-{share}")) as usize;
        rest(&store, NOW);
        // What one round just misses the next one wins, so that rounds differ; the sum counts too.
        assert!(
            again > removed / 8 || share == 7,
            "{again} after {removed} went: {:?}",
            store.stats()
        );
        won += again;
        for number in 0..stored {
            let key = format!("old-{number}");
            assert_eq!(store.holds(key.as_bytes()), living.binary_search(&number).is_ok());
        }
        store.audit();
    }
    assert_eq!(store.stats().evictions, 0);
    let removed = stored as usize - living.len();
    assert!(won > removed * 3 / 5, "{won} after {removed} went");
}

/// Stores short items until there is no room; how many.
fn fill(store: &Store, name: &str) -> u32 {
    let mut stored = 0;
    let key = |number| format!("{name}-{number}");
    while matches!(write(store, &key(stored), Expiry::NEVER, b"v"), Written::Stored { .. }) {
        stored += 1;
    }
    stored
}
