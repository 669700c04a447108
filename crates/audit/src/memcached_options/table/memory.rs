//! Options that say how much is kept and what happens when it is full.

use crate::memcached_options::{
    problem::EXIT_USAGE,
    spec::{Integer, OptionSpec, Shape, Unit},
};
use crate::option_table;

/// Most MiB that -m takes: a signed 32-bit number, as in memcached; 2 PiB is beyond any machine.
const MEMORY_MEBIBYTES_MAX: i64 = i32::MAX as i64;

const MEBIBYTES: Shape =
    Integer::between(0, MEMORY_MEBIBYTES_MAX).in_unit(Unit::Mebibytes).or_exit(EXIT_USAGE).shape();

option_table! {
    /// Options that say how much is kept and what happens when it is full.
    MEMORY;

    /// Memory for items and their index, in MiB.
    ///
    /// memcached counts its hash table and buffers on top of this; Kannuki counts the index in.
    MEMORY_LIMIT = OptionSpec::flag(b'm', "memory-limit", MEBIBYTES).default("64");

    /// Largest item, key and bookkeeping included; suffixes k, m and g.
    ///
    /// From 1k to 1g, and at most half of -m. memcached does not know the suffix g, and also
    /// demands a multiple of slab_chunk_max; here that counts only if slab_chunk_max is given.
    MAX_ITEM_SIZE =
        OptionSpec::flag(b'I', "max-item-size", Shape::ItemSize).value("SIZE").default("1m");

    /// When full, answer with an error instead of evicting items.
    DISABLE_EVICTIONS = OptionSpec::flag(b'M', "disable-evictions", Shape::Switch);

    /// Do not give items a CAS number: `gets` shows 0, every `cas` answers EXISTS.
    DISABLE_CAS = OptionSpec::flag(b'C', "disable-cas", Shape::Switch);

    /// Keep all memory resident; a failure only warns.
    LOCK_MEMORY = OptionSpec::flag(b'k', "lock-memory", Shape::Switch);

    /// Use large memory pages.
    ENABLE_LARGEPAGES = OptionSpec::flag(b'L', "enable-largepages", Shape::Switch)
        .no_effect("the kernel's setting for transparent huge pages decides");

    /// Growth factor of the sizes of slab classes.
    SLAB_GROWTH_FACTOR = OptionSpec::flag(
        b'f',
        "slab-growth-factor",
        Shape::Real { above: 1.0, max: f64::MAX },
    )
    .value("F")
    .default("1.25")
    .no_effect(NO_SLABS);

    /// Space for key, value and flags in the smallest slab class.
    SLAB_MIN_SIZE = OptionSpec::flag(
        b'n',
        "slab-min-size",
        Integer::between(1, i32::MAX as i64).shape(),
    )
    .value("BYTES")
    .default("48")
    .no_effect(NO_SLABS);

    /// Item memory in a mapped file, for a warm restart.
    MEMORY_FILE = OptionSpec::flag(b'e', "memory-file", Shape::Path)
        .value("FILE")
        .warns("items are kept in memory only and are gone after a restart");
}

/// Why options about slab classes change nothing.
pub(super) const NO_SLABS: &str = "memory is not cut into slab classes, so none can run dry";
