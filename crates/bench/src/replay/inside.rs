//! A workload played against the store alone, without a server: one point takes seconds, so that
//! changes of what is evicted can be compared. Beside it stands a plain list of least recent use
//! that holds as many items as memcached would in the same memory.
//!
//! Invariants: one thread and a clock that stands still, so that a run repeats; every value that
//! comes back is checked.

use anyhow::{Result, ensure};
use kannuki_store::Store;
use kannuki_store::blocks::Boxed;
use kannuki_store::face::{Fetch, Hashed, StoreConfig, Value, Write, Written};
use kannuki_store::time::Now;

use super::Tally;
use crate::item::{Item, is_value_of, push_key, push_value};
use crate::workload::{Act, Workload};

/// How a workload is played inside.
#[derive(Clone, Debug)]
pub struct Inside {
    /// Parts of the workload's footprint: the memory that each cache gets.
    pub parts: Vec<f64>,
    /// Bytes of it that a server's process needs besides its items.
    pub aside: u64,
    /// Worker threads that the store is cut for.
    pub threads: usize,
}

/// What memcached takes for an item besides key and value where there are no larger gaps: head,
/// cas unique, hash chain, and a part of its slab.
const RIVAL_OVERHEAD_BYTES: u64 = 77;
const NOW: Now = Now(1000);
/// Requests between two steps of background work, as a server's thread would find time for them.
const REQUESTS_A_STEP: u64 = 1000;

/// One row for each memory: name, bytes of key and value, part, store's MiB, items, bytes an
/// item, miss ratio; then items and miss ratio of the list, and the ratio of the two.
///
/// # Errors
/// When a part of the footprint is too little for a store, or a wrong value comes back.
pub fn inside(workload: &Workload, how: &Inside) -> Result<Vec<Vec<String>>> {
    let footprint = workload.footprint();
    let item_bytes = footprint.bytes / footprint.items.max(1);
    let mut rows = Vec::new();
    for &part in &how.parts {
        let budget = ((footprint.bytes as f64 * part) as u64).saturating_sub(how.aside);
        let (tally, items) = in_store(workload, how, budget)?;
        let listed = budget / (item_bytes + RIVAL_OVERHEAD_BYTES);
        let list = in_list(workload, listed as usize, footprint.items as usize);
        rows.push(vec![
            workload.name.clone(),
            item_bytes.to_string(),
            format!("1/{:.0}", 1.0 / part),
            format!("{:.1}", budget as f64 / f64::from(1 << 20)),
            items.to_string(),
            format!("{:.1}", budget as f64 / items.max(1) as f64),
            format!("{:.4}", tally.miss_ratio()),
            listed.to_string(),
            format!("{:.4}", list.miss_ratio()),
            format!("{:.3}", tally.miss_ratio() / list.miss_ratio().max(f64::MIN_POSITIVE)),
        ]);
    }
    Ok(rows)
}

/// Heads of the columns of [`inside`].
pub const INSIDE_HEAD: [&str; 10] = [
    "workload",
    "item, B",
    "memory",
    "MiB",
    "items held",
    "B an item",
    "miss ratio",
    "list holds",
    "its miss ratio",
    "of the list's",
];

fn in_store(workload: &Workload, how: &Inside, memory_bytes: u64) -> Result<(Tally, u64)> {
    let config = StoreConfig {
        memory_bytes,
        item_bytes_max: 1 << 30,
        evict: true,
        cas: true,
        threads: how.threads,
        seed: *b"measured in vain",
    };
    let store = Store::new(config, Boxed)?;
    let mut tally = Tally::default();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for (at, request) in workload.requests().enumerate() {
        key.clear();
        push_key(&mut key, request.item);
        let hashed = store.hashed(&key).cas_hidden();
        let is_hit = request.act != Act::Write && is_there(&store, hashed, request.item)?;
        match (request.act, is_hit) {
            (Act::Write, _) => {}
            (_, true) => tally.hits += 1,
            (_, false) => tally.misses += 1,
        }
        if !is_hit {
            value.clear();
            push_value(&mut value, request.item);
            tally.sets += 1;
            tally.refused += u64::from(!is_stored(&store, hashed, &value));
        }
        if (at as u64).is_multiple_of(REQUESTS_A_STEP) {
            store.maintain(NOW);
        }
    }
    Ok((tally, store.stats().items))
}

fn is_there(store: &Store, key: Hashed<'_>, item: Item) -> Result<bool> {
    let shown = store.fetch(key, NOW, &Fetch::default(), |hit| match &hit.value {
        Value::Inline(value) => is_value_of(value, item),
        Value::Chain(chain) => chain.len() as usize == item.value_bytes,
    });
    ensure!(shown != Ok(false), "not the value of item {}", item.number);
    Ok(shown.is_ok())
}

fn is_stored(store: &Store, key: Hashed<'_>, value: &[u8]) -> bool {
    matches!(store.write(key, NOW, &Write::PLAIN, value).outcome, Written::Stored { .. })
}

/// The same requests to a list of least recent use that holds `items_max` items.
fn in_list(workload: &Workload, items_max: usize, numbers: usize) -> Tally {
    let mut tally = Tally::default();
    let mut list = List::new(numbers);
    for request in workload.requests() {
        let is_hit = list.touch(request.item.number);
        if request.act != Act::Write {
            if is_hit { tally.hits += 1 } else { tally.misses += 1 }
        }
        if !is_hit && list.items > items_max {
            list.drop_oldest();
        }
    }
    tally
}

/// Numbers linked in the order of their last use, in a ring through [`RING`].
struct List {
    /// Of each place; [`ABSENT`] = not in the list.
    older: Vec<u32>,
    newer: Vec<u32>,
    items: usize,
}

const ABSENT: u32 = u32::MAX;
/// The place that belongs to no item: its newer neighbour is the oldest item.
const RING: u32 = 0;

impl List {
    fn new(numbers: usize) -> Self {
        let mut list = Self { older: Vec::new(), newer: Vec::new(), items: 0 };
        list.make_places(numbers + 1);
        list.link(RING, RING);
        list
    }

    fn make_places(&mut self, places: usize) {
        let places = places.max(self.older.len());
        self.older.resize(places, ABSENT);
        self.newer.resize(places, ABSENT);
    }

    /// Makes a number the newest; whether it was there.
    fn touch(&mut self, number: u64) -> bool {
        // Numbers of a workload fit: it is bounded by its requests.
        let place = u32::try_from(number + 1).unwrap_or(ABSENT - 1);
        self.make_places(place as usize + 1);
        let was_there = neighbour(&self.older, place) != ABSENT;
        if was_there {
            self.unlink(place);
        }
        self.link(neighbour(&self.older, RING), place);
        self.link(place, RING);
        self.items += 1;
        was_there
    }

    fn drop_oldest(&mut self) {
        let oldest = neighbour(&self.newer, RING);
        if oldest != RING {
            self.unlink(oldest);
        }
    }

    fn unlink(&mut self, place: u32) {
        self.link(neighbour(&self.older, place), neighbour(&self.newer, place));
        set(&mut self.older, place, ABSENT);
        self.items -= 1;
    }

    /// Makes two places neighbours.
    fn link(&mut self, before: u32, after: u32) {
        set(&mut self.newer, before, after);
        set(&mut self.older, after, before);
    }
}

/// The neighbour of a place.
fn neighbour(neighbours: &[u32], place: u32) -> u32 {
    neighbours.get(place as usize).copied().unwrap_or(ABSENT)
}

fn set(neighbours: &mut [u32], place: u32, to: u32) {
    if let Some(held) = neighbours.get_mut(place as usize) {
        *held = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    fn workload(keys: Vec<u32>, value_bytes: usize) -> Workload {
        let distinct = keys.iter().max().map_or(0, |most| most + 1);
        Workload::of_trace(Trace { name: "t".into(), keys, distinct }, 20, value_bytes).unwrap()
    }

    #[test]
    fn the_list_forgets_what_was_used_longest_ago() {
        // Of two places: 0 1, 0 again, 2 drives 1 out, 0 is there, 1 is not.
        let tally = in_list(&workload(vec![0, 1, 0, 2, 0, 1], 24), 2, 3);
        assert_eq!((tally.hits, tally.misses), (2, 4));
        assert_eq!(in_list(&workload(vec![0, 1, 0, 1], 24), 1, 2).hits, 0);
    }

    #[test]
    fn a_store_with_room_misses_each_item_once() {
        let keys: Vec<u32> = (0..3000).chain(0..3000).collect();
        let how = Inside { parts: vec![1.0], aside: 0, threads: 4 };
        for value_bytes in [700, 20_000] {
            let workload = workload(keys.clone(), value_bytes);
            let memory = workload.footprint().bytes * 2;
            let (tally, items) = in_store(&workload, &how, memory).unwrap();
            assert_eq!((tally.hits, tally.misses, tally.refused, items), (3000, 3000, 0, 3000));
        }
        let workload = workload(keys, 700);
        let row = inside(&workload, &how).unwrap().remove(0);
        assert_eq!(row.len(), INSIDE_HEAD.len());
        assert!(inside(&workload, &Inside { aside: 1 << 30, ..how }).is_err());
    }
}
