//! What a shard counts, by size class. Totals are sums over the classes.

use crate::class::{CLASSES, chunk_bytes};
use crate::heap::Queue;
use crate::stats::{ClassStats, StoreStats};

/// The counts of one shard.
#[derive(Debug)]
pub(crate) struct Counters {
    classes: [ClassCounts; CLASSES],
    pub(crate) total_items: u64,
    pub(crate) crawler_starts: u64,
    pub(crate) too_large: u64,
}

/// The counts of one size class in a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClassCounts {
    pub(crate) items: u64,
    pub(crate) items_small: u64,
    pub(crate) bytes: u64,
    pub(crate) evicted: u64,
    pub(crate) evicted_nonzero: u64,
    pub(crate) evicted_time: u32,
    pub(crate) evicted_unfetched: u64,
    pub(crate) evicted_active: u64,
    pub(crate) outofmemory: u64,
    pub(crate) reclaimed: u64,
    pub(crate) expired_unfetched: u64,
    pub(crate) crawler_reclaimed: u64,
    pub(crate) crawler_items_checked: u64,
    pub(crate) moves_to_main: u64,
    pub(crate) moves_within_main: u64,
    pub(crate) direct_reclaims: u64,
}

impl Counters {
    pub(crate) const fn new() -> Self {
        const NONE: ClassCounts = ClassCounts {
            items: 0,
            items_small: 0,
            bytes: 0,
            evicted: 0,
            evicted_nonzero: 0,
            evicted_time: 0,
            evicted_unfetched: 0,
            evicted_active: 0,
            outofmemory: 0,
            reclaimed: 0,
            expired_unfetched: 0,
            crawler_reclaimed: 0,
            crawler_items_checked: 0,
            moves_to_main: 0,
            moves_within_main: 0,
            direct_reclaims: 0,
        };
        Self { classes: [NONE; CLASSES], total_items: 0, crawler_starts: 0, too_large: 0 }
    }

    /// The counts of a class, `1..=CLASSES`.
    pub(crate) fn class(&mut self, class: u8) -> &mut ClassCounts {
        let index = usize::from(class).clamp(1, CLASSES) - 1;
        &mut self.classes[index]
    }

    /// Notes an item of `bytes` bytes that came into `queue`.
    pub(crate) fn came(&mut self, class: u8, bytes: u32, queue: Queue) {
        let counts = self.class(class);
        counts.items += 1;
        counts.bytes += u64::from(bytes);
        counts.items_small += u64::from(queue == Queue::Small);
    }

    /// Notes an item that left `queue`.
    pub(crate) fn left(&mut self, class: u8, bytes: u32, queue: Queue) {
        let counts = self.class(class);
        counts.items -= 1;
        counts.bytes -= u64::from(bytes);
        counts.items_small -= u64::from(queue == Queue::Small);
    }

    /// Zeroes what counts; what is now stays.
    pub(crate) fn reset(&mut self) {
        for counts in &mut self.classes {
            let (items, items_small, bytes) = (counts.items, counts.items_small, counts.bytes);
            *counts = ClassCounts { items, items_small, bytes, ..ClassCounts::default() };
        }
        self.total_items = 0;
        self.crawler_starts = 0;
        self.too_large = 0;
    }

    /// Adds to the totals of a store.
    pub(crate) fn add_to(&self, stats: &mut StoreStats) {
        for counts in &self.classes {
            stats.items += counts.items;
            stats.bytes += counts.bytes;
            stats.evictions += counts.evicted;
            stats.evicted_unfetched += counts.evicted_unfetched;
            stats.evicted_active += counts.evicted_active;
            stats.expired_unfetched += counts.expired_unfetched;
            stats.reclaimed += counts.reclaimed;
            stats.crawler_reclaimed += counts.crawler_reclaimed;
            stats.crawler_items_checked += counts.crawler_items_checked;
            stats.moves_to_main += counts.moves_to_main;
            stats.moves_within_main += counts.moves_within_main;
            stats.direct_reclaims += counts.direct_reclaims;
            stats.no_memory += counts.outofmemory;
        }
        stats.total_items += self.total_items;
        stats.crawler_starts = stats.crawler_starts.max(self.crawler_starts);
        stats.too_large += self.too_large;
    }

    /// Adds to the statistics of classes; `all[n]` is class `n + 1`.
    pub(crate) fn add_to_classes(&self, all: &mut [ClassStats], age_secs: u32) {
        for ((stats, counts), class) in all.iter_mut().zip(&self.classes).zip(1_u8..) {
            stats.class = class;
            stats.chunk_bytes = chunk_bytes(class);
            stats.items += counts.items;
            stats.items_small += counts.items_small;
            stats.items_main += counts.items - counts.items_small;
            stats.mem_requested += counts.bytes;
            stats.age_secs = stats.age_secs.max(age_secs);
            stats.evicted += counts.evicted;
            stats.evicted_nonzero += counts.evicted_nonzero;
            stats.evicted_time = stats.evicted_time.max(counts.evicted_time);
            stats.evicted_unfetched += counts.evicted_unfetched;
            stats.evicted_active += counts.evicted_active;
            stats.outofmemory += counts.outofmemory;
            stats.reclaimed += counts.reclaimed;
            stats.expired_unfetched += counts.expired_unfetched;
            stats.crawler_reclaimed += counts.crawler_reclaimed;
            stats.crawler_items_checked += counts.crawler_items_checked;
            stats.moves_to_main += counts.moves_to_main;
            stats.moves_within_main += counts.moves_within_main;
            stats.direct_reclaims += counts.direct_reclaims;
        }
    }
}
