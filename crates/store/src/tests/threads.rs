//! Four threads at once: every answer must fit some order of the operations on its key.

use super::{config, set, value};
use crate::Store;
use crate::blocks::Boxed;
use crate::face::{Fetch, Removal, Step, Stepped, Write, Written};
use crate::geometry::Geometry;
use crate::time::{Expiry, Now};
use std::sync::atomic::{AtomicU64, Ordering};

const NOW: Now = Now(5000);
const THREADS: u64 = 4;

#[test]
fn counters_lose_no_step() {
    let store = Store::with_geometry(config(4 << 20), Geometry::of(2, 16 << 10), Boxed);
    let how = Step {
        increment: true,
        delta: 1,
        compare: None,
        create: Some((1, Expiry::NEVER)),
        touch: None,
        new_cas: None,
        binary_key: false,
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in 0..20_000_u32 {
                    let key = [b'c', (round % 7) as u8];
                    let stepped = store.step(store.hashed(&key), NOW, &how).outcome;
                    assert!(matches!(stepped, Stepped::Number { .. }));
                }
            });
        }
    });
    let total: u64 = (0..7_u8)
        .map(|number| {
            let text = super::get(&store, &[b'c', number], NOW).unwrap();
            String::from_utf8(text).unwrap().trim().parse::<u64>().unwrap()
        })
        .sum();
    assert_eq!(total, THREADS * 20_000);
    store.audit();
}

#[test]
fn compare_and_swap_loses_no_update() {
    let store = Store::with_geometry(config(4 << 20), Geometry::of(1, 16 << 10), Boxed);
    store.write(store.hashed(b"sum"), NOW, &set(), &0_u64.to_le_bytes());
    let swaps = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let key = store.hashed(b"sum");
                    let read = |hit: &crate::face::Hit<'_, _>| (value(&hit.value), hit.cas);
                    let (held, cas) = store.fetch(key, NOW, &Fetch::default(), read).unwrap();
                    let sum = u64::from_le_bytes(held.try_into().unwrap()) + 1;
                    let how = Write { compare: Some(cas), ..set() };
                    let written = store.write(key, NOW, &how, &sum.to_le_bytes()).outcome;
                    if let Written::Stored { .. } = written {
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let sum = super::get(&store, b"sum", NOW).unwrap();
    assert_eq!(u64::from_le_bytes(sum.try_into().unwrap()), swaps.load(Ordering::Relaxed));
    assert!(swaps.load(Ordering::Relaxed) > 0);
}

/// Values carry their key, a version that only rises for each key, and a pattern, so that a read of
/// another's bytes, of a torn value or of an older one after a newer one is seen.
#[test]
fn reads_never_go_back_nor_elsewhere_under_eviction() {
    let store = Store::with_geometry(config(600 << 10), Geometry::of(2, 4096), Boxed);
    let keys = 4000_u64;
    let versions: Vec<AtomicU64> = (0..keys).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, versions) = (&store, &versions);
            scope.spawn(move || worker(store, versions, thread));
        }
    });
    store.audit();
    let stats = store.stats();
    assert!(stats.evictions > 1000 && stats.moves_to_main > 0, "{stats:?}");
}

/// Each thread writes the keys of its own residue and reads all.
fn worker(store: &Store, versions: &[AtomicU64], thread: u64) {
    let keys = versions.len() as u64;
    let mut random = thread + 1;
    let mut seen = vec![0_u64; versions.len()];
    for _ in 0..60_000_u32 {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let number = (random >> 33) % keys;
        let name = format!("key-{number}");
        let key = store.hashed(name.as_bytes());
        if number % THREADS == thread && random >> 62 != 0 {
            let version = versions[number as usize].load(Ordering::Acquire) + 1;
            let length = if random >> 59 & 7 == 0 { 900 } else { 30 + (version % 200) as usize };
            let mut bytes = [number.to_le_bytes(), version.to_le_bytes()].concat();
            bytes.resize(length, (version % 251) as u8);
            let written = store.write(key, NOW, &set(), &bytes);
            assert!(matches!(written.outcome, Written::Stored { .. }));
            versions[number as usize].store(version, Ordering::Release);
            if random >> 55 & 127 == 0 {
                store.remove(key, NOW, None, &Removal::Remove);
            }
        } else {
            let floor = seen[number as usize];
            let read = store.fetch(key, NOW, &Fetch::default(), |hit| value(&hit.value));
            let Ok(bytes) = read else { continue };
            let part = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            let version = part(8);
            assert_eq!(part(0), number, "the bytes are the key's own");
            assert!(version >= floor, "never older than what was read before");
            let newest = versions[number as usize].load(Ordering::Acquire);
            assert!(version <= newest + 1, "never from the future");
            assert!(bytes[16..].iter().all(|&byte| byte == (version % 251) as u8), "not torn");
            seen[number as usize] = version;
        }
        if random >> 50 & 255 == 0 {
            store.maintain(NOW);
        }
    }
}
