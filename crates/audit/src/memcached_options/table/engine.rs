//! Options that tune memcached's slab allocator, hash table, LRU lists and background threads.
//! Kannuki has none of these: the values are checked, accepted and shown by `stats settings`.

use super::memory::NO_SLABS;
use crate::memcached_options::{
    problem::EXIT_USAGE,
    spec::{Integer, OptionSpec, Shape, Unit},
};
use crate::option_table;

const NO_MOVER: &str = "memory does not belong to size classes, so nothing needs to be moved";
const OWN_TABLE: &str = "the index has its own keyed hash and grows by itself within -m";
const OWN_EXPIRY: &str = "expired items are freed by the engine itself, without a crawler";
const OWN_EVICTION: &str = "the engine has its own eviction order";
const NO_WATCHERS: &str = "there are no watchers yet";
const ALWAYS_SO: &str = "memcached ignores it too";

/// The two percentages leave at least 20 for the cold list, so neither can exceed 79.
const LRU_PERCENT: Shape = Integer::between(1, 79).shape();
const FACTOR: Shape = Shape::Real { above: 0.0, max: f64::MAX };
const RATIO: Shape = Shape::Real { above: 0.0, max: 1.0 };
const KIBIBYTES: Shape = Integer::between(0, u32::MAX as i64).in_unit(Unit::Kibibytes).shape();

option_table! {
    /// Options that tune memcached's own engine.
    ENGINE;

    /// Keep a histogram of item sizes for `stats sizes`.
    TRACK_SIZES = OptionSpec::suboption("track_sizes", Shape::Switch);

    /// Options that may become defaults; no_modern brings back the behaviour of memcached 1.4.
    ///
    /// Of no_modern only no_maxconns_fast has an effect here; the others are shown by `stats
    /// settings`.
    MODERN = OptionSpec::toggle("modern", "no_modern", Shape::Switch).default("true");

    /// Initial size of the hash table as a power of two; 0 = 16.
    HASHPOWER = OptionSpec::suboption("hashpower", Integer::between(12, 32).shape())
        .no_effect(OWN_TABLE);

    /// Never let the hash table grow.
    NO_HASHEXPAND =
        OptionSpec::suboption("no_hashexpand", Shape::Switch).no_effect(OWN_TABLE);

    /// Hash algorithm of the table.
    HASH_ALGORITHM = OptionSpec::suboption(
        "hash_algorithm",
        Shape::Choice(&["jenkins", "murmur3", "xxh3"]),
    )
    .value("NAME")
    .default("murmur3")
    .no_effect(OWN_TABLE);

    /// Let memory move between slab classes.
    SLAB_REASSIGN = OptionSpec::toggle("slab_reassign", "no_slab_reassign", Shape::Switch)
        .default("true")
        .no_effect(NO_MOVER);

    /// Move memory between slab classes by itself: 0 never, 1 by age, 2 at every eviction.
    SLAB_AUTOMOVE = OptionSpec::toggle(
        "slab_automove",
        "no_slab_automove",
        Integer::between(0, 2).or_bare(1).shape(),
    )
    .default("1")
    .no_effect(NO_MOVER);

    /// Ratio of ages at which the mover acts.
    SLAB_AUTOMOVE_RATIO = OptionSpec::suboption("slab_automove_ratio", RATIO)
        .value("F")
        .default("0.8")
        .no_effect(NO_MOVER);

    /// Window over which the mover compares ages.
    SLAB_AUTOMOVE_WINDOW = OptionSpec::suboption(
        "slab_automove_window",
        Integer::between(3, 1800).in_unit(Unit::Seconds).shape(),
    )
    .default("10")
    .no_effect(NO_MOVER);

    /// Share of memory that the mover keeps free.
    SLAB_AUTOMOVE_FREERATIO = OptionSpec::suboption("slab_automove_freeratio", RATIO)
        .value("F")
        .default("0.01")
        .no_effect(NO_MOVER);

    /// Free items at the tail of the LRU lists by force after so many seconds; 0 = off.
    TAIL_REPAIR_TIME = OptionSpec::suboption(
        "tail_repair_time",
        Integer::between(10, i32::MAX as i64).in_unit(Unit::Seconds).shape(),
    )
    .value("S")
    .no_effect("items cannot leak, so there is nothing to repair");

    /// Free expired items in the background.
    LRU_CRAWLER = OptionSpec::toggle("lru_crawler", "no_lru_crawler", Shape::Switch)
        .default("true")
        .no_effect(OWN_EXPIRY);

    /// Pause of the crawler after every 1000 items, in microseconds.
    LRU_CRAWLER_SLEEP =
        OptionSpec::suboption("lru_crawler_sleep", Integer::between(0, 1_000_000).shape())
            .value("US")
            .default("100")
            .no_effect(OWN_EXPIRY);

    /// Items that the crawler looks at per class and run; 0 = all.
    LRU_CRAWLER_TOCRAWL = OptionSpec::suboption(
        "lru_crawler_tocrawl",
        Integer::between(0, u32::MAX as i64).strictly().shape(),
    )
    .default("0")
    .no_effect(OWN_EXPIRY);

    /// Keep the LRU lists in order by a thread of its own.
    LRU_MAINTAINER = OptionSpec::toggle("lru_maintainer", "no_lru_maintainer", Shape::Switch)
        .default("true")
        .no_effect(OWN_EVICTION);

    /// Share of memory for items just stored, in per cent.
    HOT_LRU_PCT = OptionSpec::suboption("hot_lru_pct", LRU_PERCENT)
        .default("20")
        .no_effect(OWN_EVICTION);

    /// Share of memory for items read again, in per cent.
    WARM_LRU_PCT = OptionSpec::suboption("warm_lru_pct", LRU_PERCENT)
        .default("40")
        .no_effect(OWN_EVICTION);

    /// Items idle for longer than this times the age of the cold list leave the hot list.
    HOT_MAX_FACTOR = OptionSpec::suboption("hot_max_factor", FACTOR)
        .value("F")
        .default("0.2")
        .no_effect(OWN_EVICTION);

    /// Items idle for longer than this times the age of the cold list leave the warm list.
    WARM_MAX_FACTOR = OptionSpec::suboption("warm_max_factor", FACTOR)
        .value("F")
        .default("2.0")
        .no_effect(OWN_EVICTION);

    /// Items that live at most so many seconds get a queue of their own and are never evicted.
    TEMPORARY_TTL = OptionSpec::suboption(
        "temporary_ttl",
        Integer::between(0, u32::MAX as i64).in_unit(Unit::Seconds).shape(),
    )
    .value("S")
    .no_effect(OWN_EVICTION);

    /// Buffer of each watcher, in KiB.
    WATCHER_LOGBUF_SIZE = OptionSpec::suboption("watcher_logbuf_size", KIBIBYTES)
        .value("KB")
        .default("256")
        .no_effect(NO_WATCHERS);

    /// Buffer of each thread for watchers, in KiB.
    WORKER_LOGBUF_SIZE = OptionSpec::suboption("worker_logbuf_size", KIBIBYTES)
        .value("KB")
        .default("64")
        .no_effect(NO_WATCHERS);

    /// Sizes of the slab classes, ascending, joined by `-`.
    SLAB_SIZES = OptionSpec::suboption("slab_sizes", Shape::SlabSizes)
        .value("A-B-C")
        .no_effect(NO_SLABS);

    /// Largest piece of memory for one item, in KiB; larger items take several.
    SLAB_CHUNK_MAX = OptionSpec::suboption(
        "slab_chunk_max",
        Integer::between(1, 1024).in_unit(Unit::Kibibytes).or_exit(EXIT_USAGE).shape(),
    )
    .value("KB")
    .default("512")
    .no_effect(NO_SLABS);

    /// Keep each item in one piece of memory.
    NO_CHUNKED_ITEMS =
        OptionSpec::suboption("no_chunked_items", Shape::Switch).no_effect(NO_SLABS);

    /// Build reply lines when items are stored.
    INLINE_ASCII_RESP =
        OptionSpec::toggle("inline_ascii_resp", "no_inline_ascii_resp", Shape::Switch)
            .default("false")
            .no_effect(ALWAYS_SO);
}
