//! Four threads on few keys, everything they ask and are answered written down, and each key's
//! history checked: without and under eviction, with values in segments and in pieces. A store with
//! a planted race, and true histories with one answer changed, must be caught.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use super::history::{Done, Held, OPERATIONS_MAX, Operation, Stepped, Swapped, is_linearisable};
use super::{config, set, value};
use crate::Store;
use crate::blocks::Boxed;
use crate::face::{self, Fetch, FetchMiss, Removal, Removed, Step, Write, WriteMode, Written};
use crate::geometry::Geometry;
use crate::time::{Expiry, Now};

const NOW: Now = Now(5000);
const THREADS: usize = 4;
/// Operations of a thread in a round, on this many keys: some thirty operations a history.
const OPERATIONS: usize = 32;
const KEYS: u64 = 4;

#[test]
fn histories_without_eviction_are_linearisable() {
    let store = Store::with_geometry(config(8 << 20), Geometry::of(1, 16 << 10), Boxed);
    let mut overlaps = 0;
    for round in 0..400 {
        let histories = record(&store, round, &[20, 20, 300, 3000], 0);
        overlaps += check(&histories, false);
    }
    assert_eq!(store.stats().evictions, 0, "nothing may vanish here");
    assert!(overlaps > 1000, "{overlaps} operations overlapped: threads did not meet");
    store.audit();
}

#[test]
fn histories_under_eviction_are_linearisable() {
    let store = Store::with_geometry(config(300 << 10), Geometry::of(1, 4096), Boxed);
    let mut overlaps = 0;
    for round in 0..400 {
        let histories = record(&store, round, &[20, 20, 400, 1500], 12);
        overlaps += check(&histories, true);
    }
    let stats = store.stats();
    assert!(stats.evictions > 10_000 && stats.moves_to_main > 100, "{stats:?}");
    assert!(overlaps > 1000, "{overlaps} operations overlapped: threads did not meet");
    store.audit();
}

/// Compare-and-swap as a get and a set, which is what the checker is there to catch.
#[test]
fn a_planted_race_is_caught() {
    let store = Store::with_geometry(config(1 << 20), Geometry::of(0, 16 << 10), Boxed);
    let (clock, both_read) = (AtomicU64::new(0), Barrier::new(2));
    let mut history = vec![timed(&clock, || do_set(&store, b"k", b"old"))];
    let swaps = std::thread::scope(|scope| {
        let racing = |name: &'static [u8]| {
            let (store, clock, both_read) = (&store, &clock, &both_read);
            scope.spawn(move || {
                timed(clock, || {
                    let Done::Get { shown: Some(held) } = do_get(store, b"k") else { panic!() };
                    both_read.wait();
                    let Done::Set { value, cas } = do_set(store, b"k", name) else { panic!() };
                    Done::Swap { compare: held.cas, value, answer: Swapped::Stored(cas) }
                })
            })
        };
        [racing(b"one"), racing(b"two")].map(|thread| thread.join().unwrap())
    });
    history.extend(swaps);
    assert!(!is_linearisable(&history, false) && !is_linearisable(&history, true));
}

#[test]
fn one_changed_answer_in_a_true_history_is_caught() {
    let store = Store::with_geometry(config(8 << 20), Geometry::of(1, 16 << 10), Boxed);
    let mut changed = 0;
    for round in 0..50 {
        for (_, mut history) in record(&store, round, &[20], 0) {
            assert!(is_linearisable(&history, false));
            let last = history.iter().map(|operation| operation.returned).max().unwrap();
            let known = history.iter().find_map(|operation| match &operation.done {
                Done::Set { value, cas } => Some(Held { value: value.clone(), cas: *cas }),
                _ => None,
            });
            let Some(old) = known else { continue };
            // The key is deleted for good, and a later read shows an item that was there once.
            let delete = Done::Delete { found: false };
            let get = Done::Get { shown: Some(old) };
            for (after, done) in [(1, delete), (3, get)] {
                history.push(Operation { called: last + after, returned: last + after + 1, done });
            }
            assert!(!is_linearisable(&history, false) && !is_linearisable(&history, true));
            changed += 1;
        }
    }
    assert!(changed > 50, "{changed}");
}

/// One round: every thread does its operations on the round's keys; `fillers` writes of other keys
/// beside each keep a small store full.
fn record(
    store: &Store,
    round: u64,
    lengths: &[usize],
    fillers: u64,
) -> BTreeMap<u64, Vec<Operation>> {
    let (clock, start) = (AtomicU64::new(0), Barrier::new(THREADS));
    let threads = std::thread::scope(|scope| {
        let spawn = |thread: usize| {
            let (clock, start) = (&clock, &start);
            scope.spawn(move || {
                let seed = round * THREADS as u64 + thread as u64 + 1;
                let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                start.wait();
                let mut seen = Vec::new();
                for _ in 0..OPERATIONS {
                    let number = random.below(KEYS);
                    let key = format!("round-{round}-key-{number}");
                    let own = seen.iter().rev().filter(|(key, _)| *key == number);
                    let mut shown =
                        own.filter_map(|(_, done): &(u64, Operation)| cas_of(&done.done));
                    let compare = shown.next().unwrap_or(1);
                    let done = timed(clock, || {
                        operate(store, key.as_bytes(), &mut random, lengths, compare)
                    });
                    for _ in 0..fillers {
                        let key = format!("filler-{}", random.below(1 << 40));
                        do_set(store, key.as_bytes(), &[b'f'; 100]);
                    }
                    seen.push((number, done));
                }
                seen
            })
        };
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut histories = BTreeMap::<u64, Vec<Operation>>::new();
    for (key, operation) in threads.into_iter().flatten() {
        histories.entry(key).or_default().push(operation);
    }
    histories
}

/// Checks every history; returns how many operations overlapped the one called before them.
fn check(histories: &BTreeMap<u64, Vec<Operation>>, may_vanish: bool) -> usize {
    let mut overlaps = 0;
    for (key, history) in histories {
        assert!(history.len() < OPERATIONS_MAX);
        assert!(is_linearisable(history, may_vanish), "key {key}: {history:#?}");
        let mut ordered: Vec<_> = history.iter().map(|o| (o.called, o.returned)).collect();
        ordered.sort_unstable();
        overlaps += ordered.windows(2).filter(|pair| pair[1].0 < pair[0].1).count();
    }
    overlaps
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % end
    }
}

fn timed(clock: &AtomicU64, work: impl FnOnce() -> Done) -> Operation {
    let called = clock.fetch_add(1, Ordering::SeqCst);
    // Invites another thread in between call and effect, and between effect and return.
    std::thread::yield_now();
    let done = work();
    std::thread::yield_now();
    Operation { called, returned: clock.fetch_add(1, Ordering::SeqCst), done }
}

fn operate(
    store: &Store,
    key: &[u8],
    random: &mut Random,
    lengths: &[usize],
    compare: u64,
) -> Done {
    let mut value = random.below(1 << 30).to_string().into_bytes();
    if random.below(2) == 0 {
        value.resize(lengths[random.below(lengths.len() as u64) as usize].max(value.len()), b'v');
    }
    let write = |mode, compare| {
        let how = Write { mode, compare, ..set() };
        store.write(store.hashed(key), NOW, &how, &value).outcome
    };
    let stored = |written| match written {
        Written::Stored { cas, .. } => Some(cas),
        Written::NotStored => None,
        other => panic!("{other:?}"),
    };
    match random.below(12) {
        0..=3 => do_get(store, key),
        4 | 5 => do_set(store, key, &value),
        6 => Done::Add { stored: stored(write(WriteMode::Add, None)), value },
        7 => Done::Append { stored: stored(write(WriteMode::Append, None)), value },
        8 | 9 => {
            let answer = match write(WriteMode::Set, Some(compare)) {
                Written::Stored { cas, .. } => Swapped::Stored(cas),
                Written::Exists { .. } => Swapped::Exists,
                Written::NotFound => Swapped::NotFound,
                other => panic!("{other:?}"),
            };
            Done::Swap { compare, value, answer }
        }
        10 => do_step(store, key, 1 + random.below(9)),
        _ => {
            let removed = store.remove(store.hashed(key), NOW, None, &Removal::Remove).outcome;
            Done::Delete { found: matches!(removed, Removed::Removed { .. }) }
        }
    }
}

fn cas_of(done: &Done) -> Option<u64> {
    match done {
        Done::Get { shown } => shown.as_ref().map(|held| held.cas),
        Done::Set { cas, .. } | Done::Swap { answer: Swapped::Stored(cas), .. } => Some(*cas),
        _ => None,
    }
}

fn do_get(store: &Store, key: &[u8]) -> Done {
    let read = |hit: &face::Hit<'_, _>| Held { value: value(&hit.value), cas: hit.cas };
    match store.fetch(store.hashed(key), NOW, &Fetch::default(), read) {
        Ok(held) => Done::Get { shown: Some(held) },
        Err(FetchMiss::Absent(_)) => Done::Get { shown: None },
        Err(FetchMiss::NoMemory) => panic!("nothing is lent here"),
    }
}

fn do_set(store: &Store, key: &[u8], value: &[u8]) -> Done {
    match store.write(store.hashed(key), NOW, &set(), value).outcome {
        Written::Stored { cas, .. } => Done::Set { value: value.to_vec(), cas },
        other => panic!("{other:?}"),
    }
}

fn do_step(store: &Store, key: &[u8], delta: u64) -> Done {
    let how = Step {
        increment: true,
        delta,
        compare: None,
        create: None,
        touch: Some(Expiry::NEVER),
        new_cas: None,
        binary_key: false,
    };
    let answer = match store.step(store.hashed(key), NOW, &how).outcome {
        face::Stepped::Number { value, cas, .. } => Stepped::Number(value, cas),
        face::Stepped::NonNumeric => Stepped::NonNumeric,
        face::Stepped::NotFound => Stepped::NotFound,
        other => panic!("{other:?}"),
    };
    Done::Step { delta, answer }
}
