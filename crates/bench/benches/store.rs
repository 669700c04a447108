//! The store alone, without sockets: `cargo bench -p kannuki-bench`.
//!
//! One store for each number of items, made once. Kept to one million items unless
//! `KANNUKI_BENCH_ITEMS=20000000` asks for more (about 2 GiB). Figures are wall time of one
//! operation, the making of its key and its random number included, on 1, 2 and 4 threads that all
//! do the same; more threads than processors wait for each other.
#![allow(missing_docs, clippy::expect_used)]

use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use kannuki_bench::item::{Item, push_key};
use kannuki_bench::random::{Random, mix};
use kannuki_bench::zipf::Zipf;
use kannuki_store::Store;
use kannuki_store::blocks::Boxed;
use kannuki_store::face::{Fetch, Removal, StoreConfig, Value, Write};
use kannuki_store::time::Now;

const NOW: Now = Now(1000);
const THREADS: [usize; 3] = [1, 2, 4];
const VALUE: [u8; 36] = [b'v'; 36];
const SAMPLES: u32 = 50;
/// In a sample: few would measure the clock and cold caches.
const CALLS: u32 = 20_000;
/// About 120 GiB.
const ITEMS_MAX: u64 = 1_000_000_000;
/// Even, and as skewed as caches mostly are.
const THETAS: [f64; 2] = [0.0, 0.99];

static ITEMS: LazyLock<u64> = LazyLock::new(|| {
    let Some(asked) = std::env::var_os("KANNUKI_BENCH_ITEMS") else { return 1_000_000 };
    let items = asked.to_str().and_then(|text| text.parse().ok());
    items
        .filter(|items| (1..=ITEMS_MAX).contains(items))
        .expect("KANNUKI_BENCH_ITEMS: a number of items from 1 to 1000000000")
});
/// Room for all items, so that nothing is evicted.
static ROOMY: LazyLock<Store> = LazyLock::new(|| filled(*ITEMS * 120 + (64 << 20), *ITEMS));
/// Full: every new item throws others out.
static FULL: LazyLock<Store> = LazyLock::new(|| filled(64 << 20, 2_000_000));
static SEEDS: AtomicU64 = AtomicU64::new(1);

fn main() {
    divan::main();
}

fn filled(memory_bytes: u64, items: u64) -> Store {
    let seed = *b"measured in vain";
    let config = StoreConfig {
        memory_bytes,
        item_bytes_max: 1 << 20,
        evict: true,
        cas: true,
        threads: 4,
        seed,
    };
    let store = Store::new(config, Boxed).expect("a store of this size");
    for number in 0..items {
        set(&store, number);
    }
    store
}

fn key(number: u64) -> [u8; 20] {
    let mut key = Vec::with_capacity(20);
    push_key(&mut key, Item { number, key_bytes: 20, value_bytes: 0 });
    key.try_into().expect("20 bytes")
}

fn set(store: &Store, number: u64) {
    let key = key(number);
    divan::black_box(store.write(store.hashed(&key).cas_hidden(), NOW, &Write::PLAIN, &VALUE));
}

fn get(store: &Store, number: u64) -> bool {
    let key = key(number);
    let found =
        store.fetch(store.hashed(&key).cas_hidden(), NOW, &Fetch::default(), |hit| {
            match hit.value {
                Value::Inline(bytes) => divan::black_box(bytes.to_vec()).len(),
                Value::Chain(_) => 0,
            }
        });
    found.is_ok()
}

/// The next number of this thread's own sequence.
fn drawn(zipf: &Zipf) -> u64 {
    thread_local! {
        static RANDOM: RefCell<Random> =
            RefCell::new(Random::new(SEEDS.fetch_add(1, Ordering::Relaxed)));
    }
    RANDOM.with_borrow_mut(|random| zipf.draw(random))
}

#[divan::bench(threads = THREADS, args = THETAS, sample_count = SAMPLES, sample_size = CALLS)]
fn get_hit(bencher: divan::Bencher<'_, '_>, theta: f64) {
    let zipf = Zipf::new(*ITEMS, theta);
    LazyLock::force(&ROOMY);
    bencher.bench(|| get(&ROOMY, mix(drawn(&zipf)) % *ITEMS));
}

#[divan::bench(threads = THREADS, sample_count = SAMPLES, sample_size = CALLS)]
fn get_miss(bencher: divan::Bencher<'_, '_>) {
    let zipf = Zipf::new(*ITEMS, 0.0);
    LazyLock::force(&ROOMY);
    bencher.bench(|| get(&ROOMY, *ITEMS * 2 + drawn(&zipf)));
}

#[divan::bench(threads = THREADS, args = THETAS, sample_count = SAMPLES, sample_size = CALLS)]
fn set_over(bencher: divan::Bencher<'_, '_>, theta: f64) {
    let zipf = Zipf::new(*ITEMS, theta);
    LazyLock::force(&ROOMY);
    bencher.bench(|| set(&ROOMY, mix(drawn(&zipf)) % *ITEMS));
}

#[divan::bench(threads = THREADS, sample_count = SAMPLES, sample_size = CALLS)]
fn set_evicting(bencher: divan::Bencher<'_, '_>) {
    let zipf = Zipf::new(1 << 38, 0.0);
    LazyLock::force(&FULL);
    bencher.bench(|| set(&FULL, drawn(&zipf)));
}

#[divan::bench(threads = THREADS, sample_count = SAMPLES, sample_size = CALLS)]
fn delete_and_set(bencher: divan::Bencher<'_, '_>) {
    let zipf = Zipf::new(*ITEMS, 0.0);
    LazyLock::force(&ROOMY);
    bencher.bench(|| {
        let number = drawn(&zipf);
        let key = key(number);
        divan::black_box(ROOMY.remove(ROOMY.hashed(&key), NOW, None, &Removal::Remove));
        set(&ROOMY, number);
    });
}

#[divan::bench(threads = THREADS, args = THETAS, sample_count = SAMPLES, sample_size = CALLS)]
fn nine_gets_a_set(bencher: divan::Bencher<'_, '_>, theta: f64) {
    let zipf = Zipf::new(*ITEMS, theta);
    let dice = Zipf::new(10, 0.0);
    LazyLock::force(&ROOMY);
    bencher.bench(|| {
        let number = mix(drawn(&zipf)) % *ITEMS;
        if drawn(&dice) == 0 {
            set(&ROOMY, number);
        } else {
            get(&ROOMY, number);
        }
    });
}
