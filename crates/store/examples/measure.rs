//! Measures the store alone: bytes an item by resident memory, cost of gets, of prepared batches, of
//! sets while evicting; all by CPU time. Figures go into `docs/decisions/`.
//!
//! `cargo run --release -p kannuki-store --example measure -- bytes VALUE TTL | gets | sets`
#![allow(missing_docs)]

use std::fmt::Write as _;

use kannuki_store::Store;
use kannuki_store::blocks::Boxed;
use kannuki_store::face::{Fetch, StoreConfig, Value, Write, WriteMode};
use kannuki_store::time::{Expiry, Now};

const NOW: Now = Now(1000);

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    match what.as_str() {
        "bytes" => {
            let number = |at| std::env::args().nth(at).and_then(|text| text.parse().ok());
            let ttl = number(3).unwrap_or(0) as u32;
            bytes_per_item(number(2).unwrap_or(32), ttl);
        }
        "gets" => gets(),
        "sets" => sets(),
        _ => eprintln!("measure bytes VALUE TTL | gets | sets"),
    }
}

fn store(memory_bytes: u64) -> Store {
    let (item_bytes_max, seed) = (1 << 20, *b"measured in vain");
    let config =
        StoreConfig { memory_bytes, item_bytes_max, evict: true, cas: true, threads: 4, seed };
    match Store::new(config, Boxed) {
        Ok(store) => store,
        Err(refused) => {
            eprintln!("{refused}");
            std::process::exit(1);
        }
    }
}

const fn set(expiry: Expiry) -> Write {
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

/// Fills a store of 512 MiB until it evicts, and divides what is resident by what is held. One
/// process for each case: what an allocator keeps of an earlier store would be counted.
fn bytes_per_item(value_bytes: usize, ttl: u32) {
    let before = resident();
    let memory = 512_u64 << 20;
    let store = store(memory);
    let how = set(if ttl == 0 { Expiry::NEVER } else { Expiry::at(NOW.0 + ttl) });
    let value = vec![7; value_bytes];
    let mut key = String::new();
    let mut number = 0_u64;
    while store.stats().evictions < 50_000 && store.stats().evictions * 10 < number.max(1) {
        for _ in 0..1000 {
            name(&mut key, number);
            store.write(store.hashed(key.as_bytes()).cas_hidden(), NOW, &how, &value);
            number += 1;
        }
    }
    let stats = store.stats();
    let payload = (20 + value_bytes as u64) * stats.items;
    let by_limit = (memory as f64 - payload as f64) / stats.items as f64;
    let by_rss = (resident() - before - payload as f64) / stats.items as f64;
    println!(
        "value {value_bytes} ttl {ttl}: {} items, bytes an item beyond key and value \
         {by_limit:.2} by the \
         limit, {by_rss:.2} by RSS; index and ghosts {:.2}",
        stats.items,
        stats.index_bytes as f64 / stats.items as f64,
    );
}

/// Keys of 20 bytes.
fn name(key: &mut String, number: u64) {
    key.clear();
    let _ = write!(key, "key-{number:016}");
}

/// Gets of 20 M items of 56 bytes, alone and in prepared batches of 16 and 100.
fn gets() {
    let items = 20_000_000_u64;
    let store = store(3 << 30);
    let mut key = String::new();
    for number in 0..items {
        name(&mut key, number);
        store.write(store.hashed(key.as_bytes()).cas_hidden(), NOW, &set(Expiry::NEVER), &[7; 36]);
    }
    println!("{:?}", store.stats());
    for batch in [1, 16, 100] {
        let mut random = 1_u64;
        let mut out = Vec::with_capacity(1 << 16);
        let mut keys = vec![String::new(); batch];
        let (mut hits, rounds) = (0_u64, 4_000_000 / batch);
        let begun = cpu_secs();
        for _ in 0..rounds {
            for key in &mut keys {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                name(key, (random >> 20) % items);
            }
            let hashed: Vec<_> = keys.iter().map(|key| store.hashed(key.as_bytes())).collect();
            if batch > 1 {
                store.prepare(&hashed);
            }
            out.clear();
            for key in hashed {
                let read = store.fetch(key.cas_hidden(), NOW, &Fetch::default(), |hit| {
                    if let Value::Inline(value) = hit.value {
                        out.extend_from_slice(value);
                    }
                });
                hits += u64::from(read.is_ok());
            }
        }
        let each = (cpu_secs() - begun) * 1e9 / (rounds * batch) as f64;
        println!("get, {batch:3} at once: {each:6.1} ns with making the key, {hits} hits");
    }
}

/// Sets into a full store, new keys only, and the longest single one.
fn sets() {
    let store = store(256 << 20);
    let mut key = String::new();
    let how = set(Expiry::NEVER);
    let (fill, measured) = (4_000_000_u64, 4_000_000_u64);
    let mut begun = cpu_secs();
    for number in 0..fill + measured {
        if number == fill {
            begun = cpu_secs();
        }
        name(&mut key, number);
        store.write(store.hashed(key.as_bytes()).cas_hidden(), NOW, &how, &[7; 36]);
    }
    let each = (cpu_secs() - begun) * 1e9 / measured as f64;
    println!("set while evicting: {each:.1} ns of CPU time with making the key");
    println!("{:?}", store.stats());
}

/// CPU time of this process so far, in seconds, to 10 ms.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Resident bytes of this process.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    kib * 1024.0
}
