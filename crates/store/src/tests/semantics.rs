//! Answers that clients rely on, one by one, as talking to memcached showed them.

use super::{config, get, set, tiny, value};
use crate::Store;
use crate::face::{
    Absent, Fetch, FetchMiss, Hit, Leases, Removal, Removed, Step, Stepped, Vivify, Write,
    WriteMode, Written,
};
use crate::time::{Expiry, Now};

const NOW: Now = Now(1000);

fn store() -> Store {
    tiny(config(256 << 10), 0, 4096)
}

fn write(store: &Store, key: &[u8], how: &Write, value: &[u8]) -> Written {
    store.write(store.hashed(key), NOW, how, value).outcome
}

fn mode(mode: WriteMode) -> Write {
    Write { mode, ..set() }
}

fn step(increment: bool, delta: u64) -> Step {
    let (create, touch, new_cas, compare) = (None, None, None, None);
    Step { increment, delta, compare, create, touch, new_cas, binary_key: false }
}

fn cas(store: &Store, key: &[u8]) -> u64 {
    store.peek(store.hashed(key), NOW, |hit| hit.cas).unwrap()
}

/// Value, expiry, won, stale, token sent.
type Told = (Vec<u8>, Expiry, bool, bool, bool);

fn meta(store: &Store, key: &[u8], how: &Fetch) -> Told {
    let how = Fetch { leases: Leases::Taken, ..*how };
    let tell = |hit: &Hit<'_, _>| {
        let lease = hit.lease;
        (value(&hit.value), hit.expiry, lease.won, lease.stale, lease.token_sent)
    };
    store.fetch(store.hashed(key), NOW, &how, tell).unwrap()
}

#[test]
fn decr_keeps_the_length_with_blanks_and_stops_at_zero() {
    let store = store();
    write(&store, b"n", &set(), b"99");
    let number = |how: &Step| match store.step(store.hashed(b"n"), NOW, how).outcome {
        Stepped::Number { value, .. } => value,
        other => panic!("{other:?}"),
    };
    assert_eq!(number(&step(false, 95)), 4);
    assert_eq!(get(&store, b"n", NOW).unwrap(), b"4 ");
    assert_eq!(number(&step(true, 100)), 104);
    assert_eq!(get(&store, b"n", NOW).unwrap(), b"104");
    assert_eq!(number(&step(false, 1000)), 0);
    assert_eq!(get(&store, b"n", NOW).unwrap(), b"0  ");
    write(&store, b"n", &set(), u64::MAX.to_string().as_bytes());
    assert_eq!(number(&step(true, 2)), 1, "wraps");
    let before = store.stats().segments_used;
    for _ in 0..10_000 {
        number(&step(true, 1));
    }
    assert_eq!(store.stats().segments_used, before, "a hot counter does not flood the log");
}

#[test]
fn append_keeps_flags_and_expiry_and_clears_marks() {
    let store = store();
    let expiry = Expiry::at(1050);
    write(&store, b"a", &Write { flags: 7, expiry, ..set() }, b"one");
    assert!(get(&store, b"a", NOW).is_some());
    let how = Write { flags: 9, expiry: Expiry::NEVER, ..mode(WriteMode::Append) };
    let written = write(&store, b"a", &how, b"two");
    assert!(matches!(written, Written::Stored { value_bytes: 6, .. }));
    let hit = |hit: &Hit<'_, _>| (value(&hit.value), hit.flags, hit.expiry, hit.fetched);
    let seen = store.peek(store.hashed(b"a"), NOW, hit).unwrap();
    assert_eq!(seen, (b"onetwo".to_vec(), 7, expiry, false));
    assert_eq!(write(&store, b"b", &how, b"x"), Written::NotStored);
    let vivify = Write { vivify: Some(Expiry::at(1009)), ..how };
    assert!(matches!(write(&store, b"b", &vivify, b"x"), Written::Stored { .. }));
    assert_eq!(store.peek(store.hashed(b"b"), NOW, |hit| hit.expiry), Ok(Expiry::at(1009)));
}

#[test]
fn one_caller_wins_what_is_stale_or_missing() {
    let store = store();
    let vivify = Vivify { expiry: Expiry::at(1030), new_cas: None, binary_key: false };
    let how = Fetch { vivify: Some(vivify), ..Fetch::default() };
    let t30 = Expiry::at(1030);
    assert_eq!(meta(&store, b"page", &how), (vec![], t30, true, false, false));
    assert_eq!(meta(&store, b"page", &how), (vec![], t30, false, false, true));
    write(&store, b"page", &Write { expiry: Expiry::at(1090), ..set() }, b"body");
    let early = Fetch { recache_below_secs: Some(100), ..Fetch::default() };
    let t90 = Expiry::at(1090);
    assert_eq!(meta(&store, b"page", &early), (b"body".to_vec(), t90, true, false, false));
    assert_eq!(meta(&store, b"page", &early), (b"body".to_vec(), t90, false, false, true));
    let held = cas(&store, b"page");
    let stale = Removal::MarkStale { expiry: Some(t30), new_cas: None };
    store.remove(store.hashed(b"page"), NOW, None, &stale);
    assert!(cas(&store, b"page") > held, "marking stale takes a new cas");
    let plain = Fetch::default();
    assert_eq!(meta(&store, b"page", &plain), (b"body".to_vec(), t30, true, true, false));
    assert_eq!(meta(&store, b"page", &plain), (b"body".to_vec(), t30, false, true, true));
    let late = Write { compare: Some(held), accept_stale: true, ..set() };
    assert!(matches!(write(&store, b"page", &late, b"old"), Written::Stored { .. }));
    assert_eq!(meta(&store, b"page", &plain), (b"old".to_vec(), t30, false, true, true));
    let high = Write { compare: Some(u64::MAX), accept_stale: true, ..set() };
    assert!(matches!(write(&store, b"page", &high, b"x"), Written::Exists { .. }));
    write(&store, b"page", &set(), b"new");
    assert_eq!(
        meta(&store, b"page", &plain),
        (b"new".to_vec(), Expiry::NEVER, false, false, false)
    );
}

#[test]
fn a_touch_before_the_early_refill_counts() {
    let store = store();
    write(&store, b"k", &Write { expiry: Expiry::at(1050), ..set() }, b"v");
    let held = cas(&store, b"k");
    let how =
        Fetch { touch: Some(Expiry::at(2000)), recache_below_secs: Some(100), ..Fetch::default() };
    assert_eq!(meta(&store, b"k", &how), (b"v".to_vec(), Expiry::at(2000), false, false, false));
    let never = Fetch { touch: Some(Expiry::NEVER), ..Fetch::default() };
    assert_eq!(meta(&store, b"k", &never).1, Expiry::NEVER);
    let far = Fetch { touch: Some(Expiry::at(4_000_000_000)), ..Fetch::default() };
    assert_eq!(meta(&store, b"k", &far).1, Expiry::at(4_000_000_000));
    assert_eq!(cas(&store, b"k"), held, "touch keeps the cas unique");
}

#[test]
fn without_cas_it_shows_zero_and_never_matches() {
    let store = tiny(crate::face::StoreConfig { cas: false, ..config(256 << 10) }, 0, 4096);
    let written = write(&store, b"k", &set(), b"v");
    assert!(matches!(written, Written::Stored { cas: 0, .. }));
    for compare in [Some(0), Some(1)] {
        let how = Write { compare, ..set() };
        assert!(matches!(write(&store, b"k", &how, b"w"), Written::Exists { .. }));
        assert_eq!(write(&store, b"none", &how, b"w"), Written::NotFound);
        let removed = store.remove(store.hashed(b"k"), NOW, compare, &Removal::Remove);
        assert_eq!(removed.outcome, Removed::Exists);
    }
    assert_eq!(cas(&store, b"k"), 0);
}

#[test]
fn dead_items_say_how_they_died() {
    let store = store();
    let absent = |key: &[u8], now| match store.peek(store.hashed(key), now, |_| ()) {
        Err(FetchMiss::Absent(absent)) => absent,
        other => panic!("{other:?}"),
    };
    write(&store, b"k", &Write { expiry: Expiry::at(1001), ..set() }, b"v");
    assert!(get(&store, b"k", NOW).is_some());
    assert_eq!(absent(b"k", Now(1001)), Absent::Expired);
    assert_eq!(absent(b"k", Now(1001)), Absent::Missing, "met once, it is gone");
    write(&store, b"k", &Write { expiry: Expiry::PASSED, ..set() }, b"v");
    assert_eq!(store.stats().items, 1, "stored and counted");
    assert_eq!(absent(b"k", NOW), Absent::Expired);
    write(&store, b"k", &set(), b"v");
    store.flush(NOW, NOW);
    write(&store, b"later", &set(), b"v");
    assert_eq!(absent(b"k", NOW), Absent::Flushed);
    assert!(get(&store, b"later", NOW).is_some(), "stored after a flush of the same second");
}

#[test]
fn flushes_are_for_good() {
    let store = store();
    write(&store, b"old", &set(), b"v");
    store.flush(NOW, NOW);
    store.flush(NOW, Now(1100));
    assert!(get(&store, b"old", NOW).is_none(), "a later deadline brings nothing back");
    write(&store, b"new", &set(), b"v");
    assert!(get(&store, b"new", Now(1099)).is_some());
    assert!(get(&store, b"new", Now(1100)).is_none());
    store.write(store.hashed(b"after"), Now(1100), &set(), b"v");
    assert!(get(&store, b"after", Now(1100)).is_some());
    assert!(get(&store, b"after", Now(1050)).is_some(), "the clock going back changes nothing");
}

#[test]
fn moving_keeps_a_cas_unique_that_was_shown() {
    let store = store();
    write(&store, b"shown", &set(), b"v");
    let held = cas(&store, b"shown");
    for round in 0..6000_u32 {
        let key = format!("filler-{round}");
        store.write(store.hashed(key.as_bytes()).cas_hidden(), NOW, &set(), &[b'x'; 60]);
        if round % 50 == 0 {
            let hit = get(&store, b"shown", NOW);
            assert!(hit.is_some(), "what is used is kept: {round} {:?}", store.stats());
        }
    }
    assert!(store.stats().evictions > 1000);
    assert!(store.stats().moves_to_main > 0);
    assert_eq!(cas(&store, b"shown"), held);
    let how = Write { compare: Some(held), ..set() };
    assert!(matches!(write(&store, b"shown", &how, b"w"), Written::Stored { .. }));
}

#[test]
fn large_values_are_lent_and_joined() {
    let store = tiny(config(8 << 20), 1, 16 << 10);
    let long: Vec<u8> = (0..300_000_u32).map(|at| (at % 253) as u8).collect();
    write(&store, b"big", &set(), &long);
    let handle = store
        .fetch(store.hashed(b"big"), NOW, &Fetch::default(), |hit| match hit.value {
            crate::face::Value::Chain(chain) => chain.clone(),
            crate::face::Value::Inline(_) => panic!("300 kB under a lock"),
        })
        .unwrap();
    write(&store, b"big", &mode(WriteMode::Append), b"tail");
    write(&store, b"big", &mode(WriteMode::Prepend), b"head");
    let joined = [b"head", &*long, b"tail"].concat();
    assert_eq!(get(&store, b"big", NOW).unwrap(), joined);
    assert_eq!(handle.slices().collect::<Vec<_>>().concat(), long, "a reader's copy stays");
    assert!(store.stats().pinned_bytes > 0);
    drop(handle);
    assert_eq!(store.stats().pinned_bytes, 0);
    for _ in 0..3000 {
        write(&store, b"grown", &mode(WriteMode::Append), b"0123456789");
        write(&store, b"grown", &mode(WriteMode::Add), b"0123456789");
    }
    assert_eq!(get(&store, b"grown", NOW).unwrap().len(), 30_000);
    store.audit();
    let stats = store.stats();
    assert!(stats.memory_used < 1 << 20, "small appends do not scatter: {stats:?}");
}

#[test]
fn sizes_and_classes_are_memcacheds() {
    let store = store();
    write(&store, b"a", &set(), b"v");
    write(&store, b"b", &Write { flags: 1, ..set() }, &[0; 100]);
    let stats = store.stats();
    assert_eq!((stats.items, stats.bytes, stats.total_items), (2, 61 + 164, 2));
    let classes: Vec<_> = store.class_stats().iter().map(|c| (c.class, c.items)).collect();
    assert_eq!(classes, [(1, 1), (4, 1)]);
    assert_eq!(store.size_histogram(), [(64, 1), (192, 1)]);
    store.reset_stats();
    let stats = store.stats();
    assert_eq!((stats.items, stats.bytes, stats.total_items), (2, 61 + 164, 0));
}

#[test]
fn counting_changes_a_cas_unique_that_somebody_was_told() {
    let store = tiny(config(256 << 10), 0, 4096);
    let key = store.hashed(b"count");
    let count = |how: &Step, key| match store.step(key, NOW, how).outcome {
        Stepped::Number { cas, .. } => cas,
        other => panic!("{other:?}"),
    };
    let once = Step {
        increment: true,
        delta: 1,
        compare: None,
        create: None,
        touch: None,
        new_cas: None,
        binary_key: false,
    };
    store.write(key.cas_hidden(), NOW, &set(), b"10");
    count(&once, key.cas_hidden());
    let told = store.fetch(key, NOW, &Fetch::default(), |hit| hit.cas).unwrap();
    let compares = Step { compare: Some(told), ..once };
    let next = count(&compares, key.cas_hidden());
    assert!(next > told, "{next} after {told}");
    assert_eq!(store.step(key, NOW, &compares).outcome, Stepped::Exists);
    // What this reply tells is not what the next one tells.
    store.write(key.cas_hidden(), NOW, &set(), b"10");
    let told = count(&once, key);
    assert!(count(&once, key.cas_hidden()) > told);
    store.audit();
}

/// Those that a client chose lie anywhere, even where the store's next one would be.
#[test]
fn the_next_cas_unique_differs_from_any_that_a_client_chose() {
    for chosen in 1..=5_000 {
        let store = tiny(config(256 << 10), 0, 4096);
        let ours = Write { new_cas: Some(chosen), ..set() };
        for how in [set(), mode(WriteMode::Append)] {
            write(&store, b"key", &ours, b"7");
            assert_eq!(cas(&store, b"key"), chosen);
            write(&store, b"key", &how, b"8");
            assert_ne!(cas(&store, b"key"), chosen, "{how:?}");
        }
        write(&store, b"key", &ours, b"7");
        store.step(store.hashed(b"key"), NOW, &step(true, 1));
        assert_ne!(cas(&store, b"key"), chosen, "a number");
    }
}
