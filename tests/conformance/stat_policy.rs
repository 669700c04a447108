//! Which statistics two servers must agree on exactly, and which only in shape.

/// Statistics that depend on the time, the machine, the build or the engine inside.
const LOOSE: &[&str] = &[
    // The process, its start, its version.
    "pid",
    "uptime",
    "time",
    "version",
    "libevent",
    "rusage_user",
    "rusage_system",
    // Connections: the test's own come and go; structures are an engine's own affair.
    "curr_connections",
    "total_connections",
    "connection_structures",
    "reserved_fds",
    "response_obj_count",
    "response_obj_bytes",
    "read_buf_count",
    "read_buf_bytes",
    "read_buf_bytes_free",
    "bytes_read",
    "bytes_written",
    "conn_yields",
    // The index and the background work of the engine.
    "hash_power_level",
    "hash_bytes",
    "hash_is_expanding",
    "slab_global_page_pool",
    "slab_reassign_running",
    "slabs_moved",
    "lru_crawler_running",
    "lru_crawler_starts",
    "lru_maintainer_juggles",
    "log_worker_written",
    "lrutail_reflocked",
    "crawler_reclaimed",
    "crawler_items_checked",
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "reclaimed",
    // Settings that name a place.
    "tcpport",
    "udpport",
    "domain_socket",
    "oldest",
    // Pages of memory.
    "active_slabs",
    "total_malloced",
];

/// The same after `items:N:` and `N:`.
const LOOSE_PER_CLASS: &[&str] = &[
    "number_hot",
    "number_warm",
    "number_cold",
    "number_temp",
    "age",
    "age_hot",
    "age_warm",
    "lrutail_reflocked",
    "crawler_reclaimed",
    "crawler_items_checked",
    "moves_to_cold",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "hits_to_hot",
    "hits_to_warm",
    "hits_to_cold",
    "hits_to_temp",
    "total_pages",
    "total_chunks",
    "used_chunks",
    "free_chunks",
    "reclaimed",
];

/// The same of connections; there the number is a descriptor.
const CONNECTION: &[&str] =
    &["addr", "listen_addr", "state", "secs_since_last_cmd", "resps_waiting", "UDP"];

/// Counters that must agree after every script, unless it says otherwise.
pub const COUNTED: &[&str] = &[
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "cmd_meta",
    "get_hits",
    "get_misses",
    "get_expired",
    "get_flushed",
    "delete_misses",
    "delete_hits",
    "incr_misses",
    "incr_hits",
    "decr_misses",
    "decr_hits",
    "cas_misses",
    "cas_hits",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "store_too_large",
    "store_no_memory",
    "auth_cmds",
    "auth_errors",
    "total_items",
    "curr_items",
    "bytes",
    "evictions",
    "expired_unfetched",
    "evicted_unfetched",
    "rejected_connections",
    "limit_maxbytes",
    "threads",
    "accepting_conns",
];

/// The name to compare under, and whether only the shape of the value counts.
pub fn of(key: &str) -> (String, bool) {
    let last = key.rsplit(':').next().unwrap_or(key);
    let first = key.split(':').next().unwrap_or(key);
    if key == last {
        return (key.to_owned(), LOOSE.contains(&key));
    }
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && CONNECTION.contains(&last) {
        return (format!("<fd>:{last}"), true);
    }
    (key.to_owned(), LOOSE_PER_CLASS.contains(&last))
}
