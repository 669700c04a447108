//! `stats`: the server as a whole.

use std::sync::{PoisonError, atomic::Ordering};

use kannuki_guard::{Permit, action};
use kannuki_store::stats::StoreStats;
use kannuki_sys::process;

use super::Row;
use crate::{
    KANNUKI_VERSION, VERSION,
    counters::{Counter, Totals},
    dispatch::Turn,
    limits::{DESCRIPTORS_RESERVED, READ_BYTES},
    refusals,
};

/// What stands for the version of an event library: there is none.
const EVENT_LIBRARY: &str = "kannuki-epoll";

pub(super) fn show(turn: &Turn<'_>, permit: &Permit<'_, action::Stats>, row: &mut Row<'_, '_>) {
    let store = turn.instance.executor.stats(permit);
    let totals = turn.instance.board.totals();
    process_part(turn, row);
    connections(turn, &totals, row);
    commands(turn, &totals, row);
    network(turn, &totals, &store, row);
    table(turn, &store, row);
    log(row);
    items(turn, &store, row);
    own(turn, &totals, &store, row);
}

fn process_part(turn: &Turn<'_>, row: &mut Row<'_, '_>) {
    let usage = process::usage();
    row.show("pid", process::pid());
    row.show("uptime", turn.instance.clock.uptime());
    row.show("time", turn.instance.clock.unix());
    row.show("version", VERSION);
    row.show("libevent", EVENT_LIBRARY);
    row.show("pointer_size", usize::BITS);
    row.show("rusage_user", seconds(usage.user));
    row.show("rusage_system", seconds(usage.system));
}

fn seconds(time: std::time::Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

fn connections(turn: &Turn<'_>, totals: &Totals, row: &mut Row<'_, '_>) {
    let config = &turn.instance.config;
    let registry = &turn.instance.registry;
    let open = registry.connections() + registry.sockets();
    row.show("max_connections", config.connections_max);
    // One listener is not counted, as in memcached.
    row.show("curr_connections", open.saturating_sub(1));
    show_counter(row, totals, Counter::TotalConnections);
    if config.maxconns_fast {
        show_counter(row, totals, Counter::RejectedConnections);
    }
    row.show("connection_structures", open);
    row.show("response_obj_oom", 0);
    row.show("response_obj_count", 0);
    row.show("response_obj_bytes", 0);
    let lent = (config.threads * READ_BYTES) as u64;
    row.show("read_buf_count", config.threads);
    row.show("read_buf_bytes", lent + registry.held());
    row.show("read_buf_bytes_free", lent);
    show_counter(row, totals, Counter::ReadBufOom);
    row.show("reserved_fds", DESCRIPTORS_RESERVED);
}

fn show_counter(row: &mut Row<'_, '_>, totals: &Totals, counter: Counter) {
    row.show(counter.name(), totals.of(counter));
}

fn commands(turn: &Turn<'_>, totals: &Totals, row: &mut Row<'_, '_>) {
    for counter in [
        Counter::CmdGet,
        Counter::CmdSet,
        Counter::CmdFlush,
        Counter::CmdTouch,
        Counter::CmdMeta,
        Counter::GetHits,
        Counter::GetMisses,
        Counter::GetExpired,
        Counter::GetFlushed,
        Counter::DeleteMisses,
        Counter::DeleteHits,
        Counter::IncrMisses,
        Counter::IncrHits,
        Counter::DecrMisses,
        Counter::DecrHits,
        Counter::CasMisses,
        Counter::CasHits,
        Counter::CasBadval,
        Counter::TouchHits,
        Counter::TouchMisses,
        Counter::StoreTooLarge,
        Counter::StoreNoMemory,
        Counter::AuthCmds,
        Counter::AuthErrors,
    ] {
        show_counter(row, totals, counter);
    }
    if let Some(tls) = &turn.instance.tls {
        if tls.config().session_cache {
            show_counter(row, totals, Counter::TlsNewSessions);
        }
        show_counter(row, totals, Counter::TlsHandshakeErrors);
        show_counter(row, totals, Counter::TlsProtocolErrors);
        row.show("time_since_server_cert_refresh", turn.instance.clock.since(tls.loaded_at()));
    }
    if turn.instance.config.idle_timeout_secs > 0 {
        show_counter(row, totals, Counter::IdleKicks);
    }
}

fn network(turn: &Turn<'_>, totals: &Totals, store: &StoreStats, row: &mut Row<'_, '_>) {
    show_counter(row, totals, Counter::BytesRead);
    show_counter(row, totals, Counter::BytesWritten);
    row.show("limit_maxbytes", store.memory_limit);
    row.show("accepting_conns", u8::from(turn.instance.accepting.load(Ordering::Relaxed)));
    show_counter(row, totals, Counter::ListenDisabled);
    show_counter(row, totals, Counter::ListenDisabledMicros);
    row.show("threads", turn.instance.config.threads);
    show_counter(row, totals, Counter::ConnYields);
}

/// Hash table, page mover, crawler, maintainer: what stands for them here, or nothing.
fn table(turn: &Turn<'_>, store: &StoreStats, row: &mut Row<'_, '_>) {
    let echo = turn.instance.echo.lock().unwrap_or_else(PoisonError::into_inner);
    row.show("hash_power_level", store.index_power);
    row.show("hash_bytes", store.index_bytes);
    row.show("hash_is_expanding", 0);
    if echo.slab_reassign {
        row.show("slab_reassign_rescues", 0);
        row.show("slab_reassign_chunk_rescues", 0);
        row.show("slab_reassign_inline_reclaim", 0);
        row.show("slab_reassign_busy_items", 0);
        row.show("slab_reassign_busy_deletes", 0);
        row.show("slab_reassign_busy_nomem", 0);
        row.show("slab_reassign_last_busy_status", "none");
        row.show("slab_reassign_running", 0);
        row.show("slabs_moved", 0);
    }
    if echo.lru_crawler {
        row.show("lru_crawler_running", 0);
        row.show("lru_crawler_starts", store.crawler_starts);
    }
    if echo.lru_maintainer {
        row.show("lru_maintainer_juggles", turn.instance.rounds.load(Ordering::Relaxed));
    }
    row.show("malloc_fails", store.system_refusals);
}

/// `-o lru_maintainer`: decides which keys memcached shows.
fn maintained(turn: &Turn<'_>) -> bool {
    turn.instance.echo.lock().unwrap_or_else(PoisonError::into_inner).lru_maintainer
}

/// There are no watchers yet.
fn log(row: &mut Row<'_, '_>) {
    for key in [
        "log_worker_dropped",
        "log_worker_written",
        "log_watcher_skipped",
        "log_watcher_sent",
        "log_watchers",
        "unexpected_napi_ids",
        "round_robin_fallback",
    ] {
        row.show(key, 0);
    }
}

fn items(turn: &Turn<'_>, store: &StoreStats, row: &mut Row<'_, '_>) {
    let queues = maintained(turn);
    row.show("bytes", store.bytes);
    row.show("curr_items", store.items);
    row.show("total_items", store.total_items);
    row.show("slab_global_page_pool", store.segments_free);
    row.show("expired_unfetched", store.expired_unfetched);
    row.show("evicted_unfetched", store.evicted_unfetched);
    if queues {
        row.show("evicted_active", store.evicted_active);
    }
    row.show("evictions", store.evictions);
    row.show("reclaimed", store.reclaimed);
    row.show("crawler_reclaimed", store.crawler_reclaimed);
    row.show("crawler_items_checked", store.crawler_items_checked);
    row.show("lrutail_reflocked", 0);
    if queues {
        row.show("moves_to_cold", 0);
        row.show("moves_to_warm", store.moves_to_main);
        row.show("moves_within_lru", store.moves_within_main);
        row.show("direct_reclaims", store.direct_reclaims);
        row.show("lru_bumps_dropped", 0);
    }
}

/// What only this server has to say.
fn own(turn: &Turn<'_>, totals: &Totals, store: &StoreStats, row: &mut Row<'_, '_>) {
    row.show("kannuki_version", KANNUKI_VERSION);
    row.show("kannuki_memory_used", store.memory_used);
    row.show("kannuki_pinned_bytes", store.pinned_bytes);
    row.show("kannuki_shards", store.shards);
    row.show("kannuki_segment_bytes", store.segment_bytes);
    row.show("kannuki_segments_used", store.segments_used);
    row.show("kannuki_large_items", store.large_items);
    row.show("kannuki_buffered_bytes", turn.instance.registry.held());
    row.show("kannuki_log_lines_dropped", turn.instance.log_lines_dropped());
    if let Some(authority) = &turn.instance.authority {
        row.show("kannuki_users", authority.users().count());
        row.show("kannuki_logins_waiting", authority.waiting());
        row.show("kannuki_login_hashes", authority.hashes());
        row.show("kannuki_banned_sources", authority.banned_sources(turn.now));
    }
    show_counter(row, totals, Counter::Commands);
    show_counter(row, totals, Counter::SlowReaders);
    show_counter(row, totals, Counter::DatagramsDropped);
    if let Some(tls) = &turn.instance.tls {
        row.show("kannuki_tls_new_sessions", totals.of(Counter::TlsNewSessions));
        show_counter(row, totals, Counter::TlsResumed);
        row.show("kannuki_tls_failed_refreshes", tls.failed_reloads());
    }
    refusals::show(totals, |name, count| row.show(&format!("kannuki_refused_{name}"), count));
}
