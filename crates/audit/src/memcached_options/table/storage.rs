//! Options of extstore: values on disk.

use crate::memcached_options::spec::{Integer, OptionSpec, Shape, Unit};
use crate::option_table;

/// What happens with an option of extstore.
const NO_STORAGE: &str = "values are kept in memory only; -m alone bounds what is kept";

const NUMBER: Shape = Integer::between(0, u32::MAX as i64).strictly().shape();
const MEBIBYTES: Shape =
    Integer::between(0, u32::MAX as i64).in_unit(Unit::Mebibytes).strictly().shape();
const SECONDS: Shape =
    Integer::between(0, u32::MAX as i64).in_unit(Unit::Seconds).strictly().shape();

option_table! {
    /// Options of extstore.
    STORAGE;

    /// File and size (k m g t p) to keep values in; may be given several times.
    EXT_PATH = OptionSpec::suboption("ext_path", Shape::Text)
        .value("FILE:SIZE[:BUCKET]")
        .repeated()
        .warns(NO_STORAGE);

    /// Page size in MiB.
    EXT_PAGE_SIZE =
        OptionSpec::suboption("ext_page_size", MEBIBYTES).value("MB").warns(NO_STORAGE);

    /// Write buffer in MiB.
    EXT_WBUF_SIZE =
        OptionSpec::suboption("ext_wbuf_size", MEBIBYTES).value("MB").warns(NO_STORAGE);

    /// Threads that read and write.
    EXT_THREADS = OptionSpec::suboption("ext_threads", NUMBER).warns(NO_STORAGE);

    /// Reads in one batch.
    EXT_IO_DEPTH = OptionSpec::suboption("ext_io_depth", NUMBER).warns(NO_STORAGE);

    /// Values from so many bytes are written out.
    EXT_ITEM_SIZE = OptionSpec::suboption("ext_item_size", NUMBER).warns(NO_STORAGE);

    /// Values idle for so many seconds are written out.
    EXT_ITEM_AGE = OptionSpec::suboption("ext_item_age", SECONDS).warns(NO_STORAGE);

    /// Values that live shorter than this get pages of their own.
    EXT_LOW_TTL = OptionSpec::suboption("ext_low_ttl", SECONDS).warns(NO_STORAGE);

    /// Every so many reads bring a value back into memory.
    EXT_RECACHE_RATE = OptionSpec::suboption("ext_recache_rate", NUMBER).warns(NO_STORAGE);

    /// Compact below so many free pages.
    EXT_COMPACT_UNDER = OptionSpec::suboption("ext_compact_under", NUMBER).warns(NO_STORAGE);

    /// Drop cold items below so many free pages.
    EXT_DROP_UNDER = OptionSpec::suboption("ext_drop_under", NUMBER).warns(NO_STORAGE);

    /// Most waste per page that is tolerated.
    EXT_MAX_FRAG =
        OptionSpec::suboption("ext_max_frag", Shape::Real { above: 0.0, max: f64::MAX })
            .value("F")
            .warns(NO_STORAGE);

    /// Longest pause of the background threads, in microseconds.
    EXT_MAX_SLEEP = OptionSpec::suboption("ext_max_sleep", NUMBER).warns(NO_STORAGE);

    /// Drop values that were never read instead of compacting them.
    EXT_DROP_UNREAD = OptionSpec::suboption("ext_drop_unread", Shape::Switch).warns(NO_STORAGE);
}
