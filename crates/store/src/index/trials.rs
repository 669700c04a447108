//! The index against a plain list of what is in it, on hashes that no keyed hash would give: equal
//! ones, ones with few tags, ones in few leaves. It grows and shrinks, is refused memory, gives some
//! back, and is walked by several at once. What is right is worked out from the bytes of the buckets
//! alone, with nothing of the index's own but where a leaf's buckets are.

use std::collections::{HashMap, HashSet};

use super::{Index, Need};
use crate::blocks::Boxed;
use crate::geometry::Geometry;
use crate::location::Location;
use crate::pool::Pool;

const SKIP_BITS: u32 = 3;
const TAGS: u64 = 1 << 14;
const MEMORY_BYTES: u64 = 256 << 10;
/// Every leaf is checked after so many steps; the one that was changed after each.
const CHECK_STEPS: u32 = 400;
const WALKS: usize = 3;
const GONE: u32 = u32::MAX;

/// What hashes look like.
#[derive(Clone, Copy, Debug)]
enum Hashes {
    /// As a keyed hash gives them.
    Even,
    /// Four tags, two of each of two kinds, at both ends of a leaf.
    FewTags,
    /// All in one of 2^10 ranges.
    OneRange,
    /// Each many times, up to as often as no leaf can hold.
    Equal,
}

struct Trial {
    index: Index<Boxed>,
    pool: Pool<Boxed>,
    random: u64,
    hashes: Hashes,
    /// By location, that of an item that is gone or moved included.
    hash_of: Vec<u64>,
    items: Vec<Item>,
    /// Number of the item at each location; [`GONE`] if there is none.
    number_at: Vec<u32>,
    numbers: u32,
    walks: Vec<Walk>,
    happened: Happened,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    number: u32,
    hash: u64,
    location: Location,
    counter: u8,
}

struct Walk {
    from: u64,
    seen: HashSet<u32>,
    /// In the index since the walk began.
    lived: HashSet<u32>,
}

/// How often what these trials are for came about.
#[derive(Clone, Copy, Debug, Default)]
struct Happened {
    inserted: u32,
    refused: u32,
    removed: u32,
    passed_on: u32,
    split: u32,
    joined: u32,
    given_back: u32,
    halved: u32,
    walked: u32,
    /// Leaves that began before a walk's place, since two were joined under it.
    joined_under_walk: u32,
}

impl Trial {
    fn new(hashes: Hashes, seed: u64) -> Self {
        let pool = Pool::new(Boxed, MEMORY_BYTES, &Geometry::of(0, 1024));
        Self {
            index: Index::new(0, SKIP_BITS, 4096),
            pool,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            hashes,
            hash_of: Vec::new(),
            items: Vec::new(),
            number_at: Vec::new(),
            numbers: 0,
            walks: Vec::new(),
            happened: Happened::default(),
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }

    fn hash(&mut self) -> u64 {
        let even = (self.below(1 << 48) << 16) | self.below(1 << 16);
        match self.hashes {
            Hashes::Even => even,
            Hashes::FewTags => even - even % TAGS + [0, 8, TAGS - 1, TAGS - 9][even as usize % 4],
            Hashes::OneRange => (even % (1 << (61 - 10))) | (0x155 << (61 - 10)),
            Hashes::Equal => (even % 20).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    fn fresh_location(&mut self, hash: u64) -> Location {
        self.hash_of.push(hash);
        self.number_at.push(GONE);
        Location::from_raw(self.hash_of.len() as u32).unwrap()
    }

    /// Up and down again and again, by so many steps each; then down to nothing.
    fn run(&mut self, steps: u32) -> Happened {
        for step in 0..steps {
            let inserts = [97, 50, 3, 80, 20][(5 * step / steps) as usize];
            let before = (self.index.leaves.len(), self.index.depth);
            match self.below(100) {
                0 => self.limit(),
                1..=8 => self.walk_on(),
                9..=12 => self.happened.given_back += u32::from(self.index.give_back(&self.pool)),
                13..=16 => self.change(),
                choice if (choice - 17) * 100 / 83 < inserts => self.insert(),
                _ => self.remove(),
            }
            self.note(before);
            if step % CHECK_STEPS == 0 {
                self.check_all();
            }
        }
        while !self.items.is_empty() {
            let before = (self.index.leaves.len(), self.index.depth);
            self.remove();
            self.note(before);
            if self.items.len().is_multiple_of(CHECK_STEPS as usize) {
                self.check_all();
            }
        }
        let depth = self.index.depth;
        while self.index.give_back(&self.pool) {
            self.happened.given_back += 1;
        }
        self.happened.halved += depth - self.index.depth;
        self.check_all();
        assert_eq!((self.index.leaves.len(), self.index.directory.len()), (1, 1));
        assert!(self.index.slabs.len() <= 3, "{} slabs for nothing", self.index.slabs.len());
        self.happened
    }

    fn note(&mut self, (leaves, depth): (usize, u32)) {
        self.happened.split += self.index.leaves.len().saturating_sub(leaves.max(1)) as u32;
        self.happened.joined += leaves.saturating_sub(self.index.leaves.len()) as u32;
        self.happened.halved += depth.saturating_sub(self.index.depth);
    }

    fn insert(&mut self) {
        let hash = self.hash();
        let hash_of = |location: Location| self.hash_of[location.raw() as usize - 1];
        if self.index.make_room(hash, &self.pool, Need::Write, hash_of).is_err() {
            self.happened.refused += 1;
            return;
        }
        // What is more than a counter can hold must not run over into the tag.
        let (location, counter) = (self.fresh_location(hash), self.below(6) as u8);
        self.index.insert(hash, location, counter);
        let counter = counter.min(3);
        let number = self.numbers;
        self.numbers += 1;
        self.items.push(Item { number, hash, location, counter });
        self.number_at[location.raw() as usize - 1] = number;
        self.happened.inserted += 1;
        self.check_leaf(self.index.leaf_of(hash).unwrap());
    }

    fn remove(&mut self) {
        let Some(at) = self.any() else { return };
        let Item { number, hash, location, counter } = self.items.swap_remove(at);
        let (slot, _) = self.index.find(hash, |at| at == location).unwrap();
        assert_eq!(self.index.counter(slot), counter);
        self.index.remove(slot);
        self.number_at[location.raw() as usize - 1] = GONE;
        self.walks.iter_mut().for_each(|walk| _ = walk.lived.remove(&number));
        assert!(self.index.find(hash, |at| at == location).is_none());
        self.happened.removed += 1;
        self.check_leaf(self.index.leaf_of(hash).unwrap());
    }

    /// Another counter, and another location.
    fn change(&mut self) {
        let Some(at) = self.any() else { return };
        let Item { number, hash, location, .. } = self.items[at];
        let (slot, _) = self.index.find(hash, |at| at == location).unwrap();
        let (moved, counter) = (self.fresh_location(hash), self.below(6) as u8);
        self.index.set_counter(slot, counter);
        let counter = counter.min(3);
        self.index.set_location(slot, moved);
        self.items[at] = Item { number, hash, location: moved, counter };
        self.number_at[location.raw() as usize - 1] = GONE;
        self.number_at[moved.raw() as usize - 1] = number;
        self.check_leaf(self.index.leaf_of(hash).unwrap());
    }

    fn any(&mut self) -> Option<usize> {
        let end = self.items.len().max(1) as u64;
        let at = self.below(end) as usize;
        (at < self.items.len()).then_some(at)
    }

    /// Less memory than is held, or all there was at first.
    fn limit(&mut self) {
        let low = self.below(2) == 0;
        let held = self.pool.budget.used();
        let bytes = if low { self.below(2 * held + 1) } else { MEMORY_BYTES };
        self.pool.set_limit(bytes);
    }

    fn walk_on(&mut self) {
        if self.walks.len() < WALKS {
            let lived = self.items.iter().map(|item| item.number).collect();
            self.walks.push(Walk { from: 0, seen: HashSet::new(), lived });
            return;
        }
        let at = self.below(WALKS as u64) as usize;
        let mut walk = self.walks.swap_remove(at);
        if let Some(leaf) = self.index.leaf_at(walk.from) {
            let depth = u32::from(self.index.leaves[leaf].depth);
            let inside = walk.from.checked_shl(depth).is_some_and(|below| below != 0);
            self.happened.joined_under_walk += u32::from(inside);
        }
        let hash_of = |location: Location| self.hash_of[location.raw() as usize - 1];
        let next = self.index.walk(walk.from, hash_of, |location| {
            let number = self.number_at[location.raw() as usize - 1];
            assert!(walk.seen.insert(number), "met once");
        });
        self.happened.walked += 1;
        match next {
            Some(from) => {
                assert!(from > walk.from);
                self.walks.push(Walk { from, ..walk });
            }
            None => assert!(walk.lived.is_subset(&walk.seen), "all that lived are met"),
        }
    }

    /// The slots of a leaf and what its buckets have passed on.
    fn check_leaf(&mut self, leaf: usize) -> usize {
        let facts = &self.index.leaves[leaf];
        let (buckets, items) = (facts.buckets(), usize::from(facts.items));
        assert!((1..=8).contains(&facts.count) && items <= 37 * usize::from(facts.count));
        let (mut held, mut passed) = (0, vec![0_u8; buckets]);
        for at in 0..buckets {
            let bucket = self.index.bucket(leaf, at);
            for slot in 0..10 {
                let Some((mark, location)) = read(bucket, slot) else { continue };
                let hash = self.hash_of[location as usize - 1];
                let tag = hash % TAGS;
                assert_ne!(self.number_at[location as usize - 1], GONE, "it went");
                assert_eq!(u64::from(mark >> 2), tag);
                let order = hash << SKIP_BITS;
                let prefix = order.checked_shr(64 - u32::from(facts.depth)).unwrap_or(0);
                assert_eq!(prefix, u64::from(facts.prefix));
                let mut passing = tag as usize * buckets / TAGS as usize;
                while passing != at {
                    passed[passing] |= 1 << (tag % 8);
                    passing = (passing + 1) % buckets;
                }
                held += 1;
            }
        }
        assert_eq!(held, items);
        for (at, expected) in passed.iter().enumerate() {
            assert_eq!(self.index.bucket(leaf, at)[60], *expected, "bucket {at} of {buckets}");
            self.happened.passed_on += expected.count_ones();
        }
        held
    }

    fn check_all(&mut self) {
        let index = &self.index;
        let tables = 32 * index.leaves.capacity() + 4 * index.directory.len().saturating_sub(1);
        let taken = (tables + index.slabs.len() * (4096 + 4 * 16)) as u64;
        let charged = [index.bytes(), self.pool.held(0), self.pool.budget.used()];
        assert_eq!(charged, [taken; 3], "all that is taken is charged");
        assert_eq!(
            index.directory.len(),
            if index.leaves.is_empty() { 0 } else { 1 << index.depth }
        );
        for (prefix, &leaf) in index.directory.iter().enumerate() {
            let leaf = &index.leaves[leaf as usize];
            assert_eq!(prefix >> (index.depth - u32::from(leaf.depth)), leaf.prefix as usize);
        }
        let mut chunks = index.free.clone();
        let mut by_prefix = HashMap::new();
        for (number, leaf) in index.leaves.iter().enumerate() {
            chunks.extend(leaf.owned());
            for which in 0..usize::from(leaf.count) {
                let bucket = index.bucket(number, 4 * which);
                let owner = [bucket[61], bucket[62], bucket[63], 0];
                assert_eq!(u32::from_le_bytes(owner) as usize, number);
            }
            let twice = by_prefix.insert((leaf.depth, leaf.prefix), leaf).is_some();
            assert!(!twice, "one leaf for a prefix");
        }
        chunks.sort_unstable();
        assert_eq!(chunks.len(), index.slabs.len() * 16, "16 chunks in 4096 bytes");
        assert!(chunks.iter().copied().eq(0..chunks.len() as u32), "each chunk has one owner");
        for (&(depth, prefix), leaf) in &by_prefix {
            if let Some(other) = by_prefix.get(&(depth, prefix ^ 1)).filter(|_| depth > 0) {
                let joined = leaf.items + other.items <= 33 && leaf.count + other.count == 2;
                assert!(!joined, "{} and {} items fit into a chunk", leaf.items, other.items);
            }
        }
        for (depth, &leaves) in index.leaves_at.iter().enumerate() {
            let real = by_prefix.keys().filter(|of| usize::from(of.0) == depth).count();
            assert_eq!(leaves as usize, real);
        }
        let held: usize = (0..index.leaves.len()).map(|leaf| self.check_leaf(leaf)).sum();
        assert_eq!((held, self.index.items()), (self.items.len(), self.items.len()));
        (0..self.items.len()).step_by(7).for_each(|at| self.check_search(self.items[at]));
    }

    /// What a search finds, and what it looks at first: what is of the tag in the first bucket
    /// with any.
    fn check_search(&self, item: Item) {
        let (slot, _) = self.index.find(item.hash, |at| at == item.location).unwrap();
        assert_eq!(self.index.counter(slot), item.counter);
        let leaf = self.index.leaf_of(item.hash).unwrap();
        let buckets = self.index.leaves[leaf].buckets();
        let tag = item.hash % TAGS;
        let home = tag as usize * buckets / TAGS as usize;
        let of_tag = |at: usize| {
            let bucket = self.index.bucket(leaf, (home + at) % buckets);
            let slots = (0..10).filter_map(|slot| read(bucket, slot));
            slots.filter(|slot| u64::from(slot.0 >> 2) == tag).map(|slot| slot.1).collect()
        };
        let first: Vec<u32> =
            (0..buckets).map(of_tag).find(|of: &Vec<u32>| !of.is_empty()).unwrap();
        let mut shown = Vec::new();
        self.index.candidates(item.hash, |location| shown.push(location.raw()));
        assert_eq!(shown, first);
    }
}

/// Mark and location of a slot that is not empty.
fn read(bucket: &[u8], slot: usize) -> Option<(u16, u32)> {
    let mark = u16::from_le_bytes(bucket[2 * slot..2 * slot + 2].try_into().unwrap());
    let location = u32::from_le_bytes(bucket[20 + 4 * slot..24 + 4 * slot].try_into().unwrap());
    (location != 0).then_some((mark, location))
}

#[test]
fn whatever_the_hashes_it_is_as_a_plain_list_would_be() {
    use Hashes::{Equal, Even, FewTags, OneRange};
    let mut joined_under_walk = 0;
    for (seed, hashes) in (1..).zip([Even, FewTags, OneRange, Equal, Even, Equal]) {
        let happened = Trial::new(hashes, seed).run(20_000);
        let Happened { split, joined, halved, given_back, .. } = happened;
        assert!(happened.inserted > 5000 && happened.removed > 5000, "{happened:?}");
        assert!(happened.refused > 20 && happened.passed_on > 1000, "{happened:?}");
        assert!(split > 10 && joined > 10 && halved > 3 && given_back > 10, "{happened:?}");
        assert!(happened.walked > 500, "{happened:?}");
        joined_under_walk += happened.joined_under_walk;
    }
    assert!(joined_under_walk > 10, "{joined_under_walk}");
}
