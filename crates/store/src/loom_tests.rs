//! Every order in which threads can meet at the memory budget, its free segments and the handles of
//! a large value. `RUSTFLAGS="--cfg loom" cargo test --release -p kannuki-store --lib loom_tests`
//!
//! What a shard owns needs no such test: it is behind one lock, and `tests::histories` checks it.

use loom::thread;

use crate::Store;
use crate::blocks::Boxed;
use crate::chain::{Builder, Chain, cost};
use crate::face::{Fetch, StoreConfig, Write};
use crate::geometry::Geometry;
use crate::pool::{Need, Pool};
use crate::sync::Arc;
use crate::time::Now;

const SEGMENT: usize = 1024;

/// A pool for that many segments.
fn pool(segments: u64) -> Arc<Pool<Boxed>> {
    let cut = Geometry::of(0, SEGMENT);
    let cost = Pool::new(Boxed, 0, &cut).segment_cost();
    Arc::new(Pool::new(Boxed, segments * cost, &cut))
}

/// At rest every byte used is held by a shard, free, or pinned by a reader.
fn at_rest(pool: &Pool<Boxed>, held: u64) {
    assert_eq!(pool.held_by_all(), held);
    let free = pool.free_segments() * pool.segment_cost();
    assert_eq!(pool.budget.used(), held + free + pool.pinned());
    assert!(pool.budget.used() <= pool.budget.limit() || free == 0);
}

#[test]
fn nothing_is_charged_twice_or_above_the_limit() {
    loom::model(|| {
        let pool = pool(2);
        let half = pool.segment_cost();
        let other = Arc::clone(&pool);
        let taker = thread::spawn(move || {
            let charge = other.charge(half + half / 2, Need::Relief);
            assert!(other.budget.used() <= other.budget.limit());
            charge.is_some()
        });
        let charge = pool.charge(half, Need::Relief);
        assert!(pool.budget.used() <= pool.budget.limit());
        let mine = charge.is_some();
        drop(charge);
        let theirs = taker.join().unwrap();
        assert!(mine || theirs, "what one may have is not refused to both");
        assert_eq!(pool.budget.used(), 0);
    });
}

#[test]
fn a_segment_has_one_owner() {
    loom::model(|| {
        let pool = pool(2);
        let segment = pool.segment(0, Need::Relief).unwrap();
        let other = Arc::clone(&pool);
        let giver = thread::spawn(move || {
            other.take_back(0, segment);
            other.segment(0, Need::Relief).is_some()
        });
        let mine = pool.segment(0, Need::Relief).is_some();
        let theirs = giver.join().unwrap();
        assert!(mine && theirs, "there is one for each");
        assert_eq!(pool.free_segments(), 0);
        assert_eq!(pool.budget.used(), 2 * pool.segment_cost());
        assert_eq!(pool.held(0), 2 * pool.segment_cost());
    });
}

#[test]
fn writes_leave_a_segment_for_relief() {
    for free in [0, 1, 2] {
        loom::model(move || {
            let pool = pool(2);
            let blocks: Vec<_> =
                (0..free).map(|_| pool.segment(0, Need::Relief).unwrap()).collect();
            blocks.into_iter().for_each(|block| pool.take_back(0, block));
            let other = Arc::clone(&pool);
            let writer = thread::spawn(move || other.segment(0, Need::Write).is_some());
            let mine = pool.segment(0, Need::Write).is_some();
            let theirs = writer.join().unwrap();
            assert!(!(mine && theirs), "both took what is to stay");
            assert!(pool.segment(0, Need::Relief).is_some());
        });
    }
}

#[test]
fn free_segments_are_given_up_for_other_needs_once() {
    loom::model(|| {
        let pool = pool(2);
        let cost = pool.segment_cost();
        let segment = pool.segment(0, Need::Relief).unwrap();
        pool.take_back(0, segment);
        assert_eq!(pool.free_segments(), 1);
        let other = Arc::clone(&pool);
        let charger = thread::spawn(move || other.charge(2 * cost, Need::Relief));
        let segment = pool.segment(0, Need::Relief);
        let charge = charger.join().unwrap();
        assert!(segment.is_none() || charge.is_none(), "two segments are not three");
        let held = if segment.is_some() { cost } else { 0 };
        assert_eq!(pool.held_by_all(), held);
        assert!(pool.budget.used() <= pool.budget.limit());
        drop(charge);
        at_rest(&pool, held);
    });
}

#[test]
fn a_lowered_limit_leaves_no_free_segment_above_it() {
    loom::model(|| {
        let pool = pool(3);
        let cost = pool.segment_cost();
        let segments = [0; 2].map(|_| pool.segment(0, Need::Relief).unwrap());
        let other = Arc::clone(&pool);
        let giver = thread::spawn(move || {
            for segment in segments {
                other.take_back(0, segment);
            }
        });
        pool.set_limit(cost / 2);
        giver.join().unwrap();
        assert_eq!((pool.free_segments(), pool.budget.used()), (0, 0));
        at_rest(&pool, 0);
    });
}

fn chain(pool: &Pool<Boxed>) -> Chain<Box<[u8]>> {
    let charge = pool.charge(cost(100, SEGMENT, pool), Need::Relief).unwrap();
    let mut builder = Builder::new(100, charge);
    builder.fill(&[7; 100], SEGMENT, pool);
    builder.finish().unwrap()
}

#[test]
fn lent_values_are_counted_until_the_last_handle_goes() {
    loom::model(|| {
        let pool = pool(2);
        let stored = chain(&pool);
        let charged = stored.charged();
        let reader = stored.clone();
        assert_eq!(pool.budget.lent(), charged);
        let first = thread::spawn(move || {
            let again = reader.clone();
            drop(reader);
            assert_eq!(again.slices().map(<[u8]>::len).sum::<usize>(), 100);
        });
        let second = stored.clone();
        let dropper = thread::spawn(move || drop(second));
        drop(stored);
        first.join().unwrap();
        dropper.join().unwrap();
        assert_eq!((pool.budget.lent(), pool.budget.used()), (0, 0));
    });
}

/// The whole store, with one shard for each of two threads and memory for both: a write, a
/// look-up and background work meet only at the pool, and lose nothing.
#[test]
fn writers_in_two_shards_share_the_budget() {
    let mut builder = loom::model::Builder::new();
    // More switches than this between two threads find nothing new here, but take hours.
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let config = StoreConfig {
            memory_bytes: 64 << 10,
            item_bytes_max: 1 << 20,
            evict: true,
            cas: true,
            threads: 1,
            seed: [0; 16],
        };
        let store = Arc::new(Store::with_geometry(config, Geometry::of(1, SEGMENT), Boxed));
        let other = Arc::clone(&store);
        let writer = thread::spawn(move || {
            write_and_read(&other, b"one");
            other.maintain(Now(10));
        });
        write_and_read(&store, b"two");
        writer.join().unwrap();
        let stats = store.stats();
        assert_eq!((stats.items, stats.evictions), (2, 0));
        let held = store.pool.held_by_all();
        at_rest(&store.pool, held);
    });
}

fn write_and_read(store: &Store, key: &[u8]) {
    store.write(store.hashed(key), Now(10), &Write::PLAIN, key);
    assert!(store.fetch(store.hashed(key), Now(10), &Fetch::default(), |_| ()).is_ok());
}
