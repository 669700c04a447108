//! What a store counts: totals for `stats`, and the same cut by size class for `stats items` and
//! `stats slabs`. Counters start at 0 and are zeroed by a reset; gauges say what is now.

/// Counters and gauges of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Items now, expired ones that nothing has met yet included.
    pub items: u64,
    /// Bytes of these items as memcached would count them.
    pub bytes: u64,
    /// Items ever stored.
    pub total_items: u64,
    /// Live items thrown out for space.
    pub evictions: u64,
    /// Of these, never fetched.
    pub evicted_unfetched: u64,
    /// Of these, used since their eviction counter was last looked at.
    pub evicted_active: u64,
    /// Expired items freed without ever being fetched.
    pub expired_unfetched: u64,
    /// Expired items freed while looking for space.
    pub reclaimed: u64,
    /// Expired items freed by background work.
    pub crawler_reclaimed: u64,
    /// Items looked at by background work.
    pub crawler_items_checked: u64,
    /// Rounds of background work through the whole store.
    pub crawler_starts: u64,
    /// Items moved by eviction from the Small queue to Main.
    pub moves_to_main: u64,
    /// Items given another round in Main.
    pub moves_within_main: u64,
    /// Writes that had to throw items out themselves.
    pub direct_reclaims: u64,
    /// Writes refused because the item was above the limit.
    pub too_large: u64,
    /// Writes refused for want of memory.
    pub no_memory: u64,
    /// Requests for memory that the system refused.
    pub system_refusals: u64,
    /// The memory limit.
    pub memory_limit: u64,
    /// Bytes charged against it: segments, large values, index, ghosts, reservations.
    pub memory_used: u64,
    /// Of these, the index and the ghosts.
    pub index_bytes: u64,
    /// Logarithm of the number of index slots, rounded down (`hash_power_level`).
    pub index_power: u32,
    /// Bytes of large values thrown out or replaced that readers still hold, and of reservations.
    pub pinned_bytes: u64,
    /// Bytes of one segment.
    pub segment_bytes: u32,
    /// Segments holding items.
    pub segments_used: u64,
    /// Segments kept free for reuse.
    pub segments_free: u64,
    /// Large items.
    pub large_items: u64,
    /// Shards.
    pub shards: u32,
}

/// The counters and gauges of one size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Its id, 1..=39.
    pub class: u8,
    /// Its chunk size in memcached's default table.
    pub chunk_bytes: u32,
    /// Items now.
    pub items: u64,
    /// Of these, in Small (new; memcached's HOT comes nearest).
    pub items_small: u64,
    /// Of these, in Main (proven; memcached's WARM and COLD).
    pub items_main: u64,
    /// Bytes of these items as memcached would count them.
    pub mem_requested: u64,
    /// Seconds since the oldest segment that holds such an item was opened, as last seen by
    /// background work; an upper bound for the idle time of the next victim.
    pub age_secs: u32,
    /// Live items thrown out.
    pub evicted: u64,
    /// Of these, with a TTL.
    pub evicted_nonzero: u64,
    /// Idle seconds of the last one thrown out.
    pub evicted_time: u32,
    /// Of these, never fetched.
    pub evicted_unfetched: u64,
    /// Of these, recently used.
    pub evicted_active: u64,
    /// Writes refused for want of memory.
    pub outofmemory: u64,
    /// Expired items freed while looking for space.
    pub reclaimed: u64,
    /// Expired items freed without ever being fetched.
    pub expired_unfetched: u64,
    /// Expired items freed by background work.
    pub crawler_reclaimed: u64,
    /// Items looked at by background work.
    pub crawler_items_checked: u64,
    /// Items moved from Small to Main.
    pub moves_to_main: u64,
    /// Items given another round in Main.
    pub moves_within_main: u64,
    /// Operations that had to throw items out themselves.
    pub direct_reclaims: u64,
}

impl ClassStats {
    /// Whether the class holds items or ever counted anything.
    pub(crate) const fn has_history(&self) -> bool {
        self.items + self.evicted + self.outofmemory + self.reclaimed + self.crawler_reclaimed > 0
    }
}
