//! The index by itself: growth, shrinking, what is passed on, and memory that is refused.

use super::bucket::BUCKET_BYTES;
use super::{COUNTER_MAX, Index, LEAF_COST_BYTES, LEAVES_STEP, Need};
use crate::blocks::Boxed;
use crate::geometry::Geometry;
use crate::location::Location;
use crate::pool::Pool;
use std::collections::HashMap;

fn pool(bytes: u64) -> Pool<Boxed> {
    Pool::new(Boxed, bytes, &Geometry::of(0, 1024))
}

/// Spreads numbers over hashes as a keyed hash would.
fn hash(number: u32) -> u64 {
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
}

fn location(number: u32) -> Location {
    Location::from_raw(number + 1).unwrap()
}

fn hash_of(location: Location) -> u64 {
    hash(location.raw() - 1)
}

#[test]
fn grows_shrinks_and_forgets_nothing() {
    let pool = pool(1 << 24);
    let mut index = Index::<Boxed>::new(0, 3, 4096);
    let count = 60_000;
    for number in 0..count {
        index.make_room(hash(number), &pool, Need::Write, hash_of).unwrap();
        index.insert(hash(number), location(number), 0);
    }
    assert_eq!(index.items(), count as usize);
    assert!(index.leaves() > 50, "{}", index.leaves());
    let slots = index.slots() as f64;
    assert!(f64::from(count) / slots > 0.75, "{slots} slots");
    for number in 0..count {
        let (slot, _) = index.find(hash(number), |at| at == location(number)).unwrap();
        index.set_counter(slot, (number % 4) as u8);
    }
    let mut seen = HashMap::new();
    let mut from = Some(0);
    while let Some(at) = from {
        from = index.walk(at, hash_of, |location| *seen.entry(location.raw()).or_insert(0) += 1);
    }
    assert_eq!(seen.len(), count as usize);
    assert!(seen.values().all(|&times| times == 1));
    for number in (0..count).filter(|number| number % 100 != 0) {
        let (slot, _) = index.find(hash(number), |at| at == location(number)).unwrap();
        assert_eq!(index.counter(slot), (number % 4) as u8);
        index.remove(slot);
        assert!(index.find(hash(number), |at| at == location(number)).is_none());
    }
    while index.give_back(&pool) {}
    assert!(index.slots() < 60_000, "{} slots left", index.slots());
    let (leaves, room) = (index.leaves(), index.leaves.capacity());
    assert!(room <= 2 * leaves + 2 * LEAVES_STEP, "a table of {room} for {leaves}");
    let tables = LEAF_COST_BYTES as usize * room + 4 * (index.directory.len() - 1);
    assert_eq!(index.bytes() as usize, tables + index.slabs.len() * (4096 + 4 * 16));
    for number in (0..count).step_by(100) {
        let (slot, _) = index.find(hash(number), |at| at == location(number)).unwrap();
        assert_eq!(index.counter(slot), 0);
        index.set_location(slot, location(number + count));
        assert!(index.find(hash(number), |at| at == location(number + count)).is_some());
        assert_eq!(index.home(hash(number)).len(), BUCKET_BYTES);
    }
    assert_eq!(index.bytes(), pool.budget.used());
    assert_eq!(index.bytes(), pool.held(0));
}

#[test]
fn one_hash_many_times_overflows_into_other_buckets() {
    let pool = pool(1 << 20);
    let mut index = Index::<Boxed>::new(0, 0, 4096);
    for number in 0..100 {
        index.make_room(7, &pool, Need::Write, |_| 7).unwrap();
        index.insert(7, location(number), COUNTER_MAX);
    }
    for number in 0..100 {
        let (slot, _) = index.find(7, |at| at == location(number)).unwrap();
        index.remove(slot);
    }
    assert_eq!(index.items(), 0);
    assert!(index.home(7).iter().take(61).all(|&byte| byte == 0), "nothing passed on is left");
}

#[test]
fn without_memory_it_refuses_and_stays_whole() {
    let pool = pool(20_000);
    let mut index = Index::<Boxed>::new(0, 0, 4096);
    let mut stored = 0;
    while index.make_room(hash(stored), &pool, Need::Write, hash_of).is_ok() {
        index.insert(hash(stored), location(stored), 0);
        stored += 1;
    }
    assert!(stored > 1000, "{stored}");
    for number in 0..stored {
        assert!(index.find(hash(number), |at| at == location(number)).is_some());
    }
    assert!(pool.budget.used() <= 20_000);
}

/// Memory for the first chunk, but not for the table of leaves: the chunk must not be lost.
#[test]
fn a_first_leaf_that_is_refused_leaves_its_chunk() {
    let pool = pool(0);
    pool.set_limit(pool.segment_cost() + 4096 + 64 + 1000);
    let mut index = Index::<Boxed>::new(0, 0, 4096);
    for _ in 0..100 {
        assert!(index.make_room(hash(0), &pool, Need::Write, hash_of).is_err());
        assert_eq!((index.slots(), index.free.len()), (16 * 40, 16));
    }
    pool.set_limit(1 << 20);
    index.make_room(hash(0), &pool, Need::Write, hash_of).unwrap();
    assert_eq!(index.free.len(), 15);
}
