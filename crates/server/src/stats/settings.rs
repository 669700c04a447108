//! `stats settings`: what was configured. Secret paths are not shown, unlike in memcached.

use std::sync::PoisonError;

use kannuki_guard::{Permit, action};

use super::Row;
use crate::{
    config::Echo,
    dispatch::Turn,
    tls::{KeyFormat, MinVersion, RECORD_BYTES_MAX, Tls, TlsConfig},
};

pub(super) fn show(turn: &Turn<'_>, permit: &Permit<'_, action::Stats>, row: &mut Row<'_, '_>) {
    let echo = turn.instance.echo.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let maxbytes = turn.instance.executor.stats(permit).memory_limit;
    doors(turn, &echo, maxbytes, row);
    loops(turn, &echo, row);
    slabs(turn, &echo, row);
    lru(turn, &echo, row);
    buffers(turn, &echo, row);
    extstore(&echo, row);
    tls(turn, row);
    row.show("num_napi_ids", echo.napi_ids);
    row.show("memory_file", if echo.memory_file.is_some() { "yes" } else { "(null)" });
    row.show("client_flags_size", size_of::<u32>());
}

fn doors(turn: &Turn<'_>, echo: &Echo, maxbytes: u64, row: &mut Row<'_, '_>) {
    let config = &turn.instance.config;
    row.show("maxbytes", maxbytes);
    row.show("maxconns", config.connections_max);
    row.show("tcpport", echo.tcp_port);
    row.show("udpport", echo.udp_port);
    row.show("inter", echo.inter.as_deref().unwrap_or("NULL"));
    row.show("verbosity", turn.instance.verbosity());
    row.show("oldest", turn.instance.flushed_at());
    row.show("evictions", if config.evict { "on" } else { "off" });
    match &config.unix {
        Some(unix) => row.show("domain_socket", unix.path.display()),
        None => row.show("domain_socket", "NULL"),
    }
    row.show("umask", format_args!("{:o}", config.unix.as_ref().map_or(0o700, |unix| unix.mode)));
    row.yes_no("shutdown_command", config.policy.shutdown);
}

fn loops(turn: &Turn<'_>, echo: &Echo, row: &mut Row<'_, '_>) {
    let config = &turn.instance.config;
    row.show("growth_factor", format_args!("{:.2}", echo.growth_factor));
    row.show("chunk_size", echo.chunk_size);
    row.show("num_threads", config.threads);
    row.show("num_threads_per_udp", config.threads);
    row.show("stat_key_prefix", char::from(config.prefix_delimiter));
    row.yes_no("detail_enabled", turn.instance.prefixes.is_enabled());
    row.show("reqs_per_event", config.reqs_per_event);
    row.yes_no("cas_enabled", config.cas);
    row.show("tcp_backlog", config.backlog);
    row.show("binding_protocol", echo.binding_protocol);
    row.yes_no("auth_enabled_sasl", config.login.as_ref().is_some_and(|login| login.sasl));
    row.yes_no("auth_enabled_ascii", config.login.as_ref().is_some_and(|login| login.text));
    row.show("item_size_max", config.item_bytes_max);
    row.yes_no("maxconns_fast", config.maxconns_fast);
    row.show("hashpower_init", echo.hashpower_init);
}

fn slabs(turn: &Turn<'_>, echo: &Echo, row: &mut Row<'_, '_>) {
    let config = &turn.instance.config;
    row.yes_no("slab_reassign", echo.slab_reassign);
    row.show("slab_automove", echo.slab_automove);
    row.show("slab_automove_ratio", format_args!("{:.2}", echo.slab_automove_ratio));
    row.show("slab_automove_window", echo.slab_automove_window);
    row.show("slab_chunk_max", echo.slab_chunk_max);
    row.yes_no("lru_crawler", echo.lru_crawler);
    row.show("lru_crawler_sleep", echo.lru_crawler_sleep);
    row.show("lru_crawler_tocrawl", echo.lru_crawler_tocrawl);
    row.show("tail_repair_time", echo.tail_repair_time);
    row.yes_no("flush_enabled", config.policy.flush);
    row.yes_no("dump_enabled", config.policy.dump);
    row.show("hash_algorithm", &echo.hash_algorithm);
}

fn lru(turn: &Turn<'_>, echo: &Echo, row: &mut Row<'_, '_>) {
    row.yes_no("lru_maintainer_thread", echo.lru_maintainer);
    row.yes_no("lru_segmented", echo.lru_segmented);
    row.show("hot_lru_pct", echo.hot_lru_pct);
    row.show("warm_lru_pct", echo.warm_lru_pct);
    row.show("hot_max_factor", format_args!("{:.2}", echo.hot_max_factor));
    row.show("warm_max_factor", format_args!("{:.2}", echo.warm_max_factor));
    row.yes_no("temp_lru", echo.temporary_ttl.is_some());
    row.show("temporary_ttl", echo.temporary_ttl.unwrap_or(61));
    row.show("idle_timeout", turn.instance.config.idle_timeout_secs);
}

fn buffers(turn: &Turn<'_>, echo: &Echo, row: &mut Row<'_, '_>) {
    row.show("watcher_logbuf_size", echo.watcher_logbuf_bytes);
    row.show("worker_logbuf_size", echo.worker_logbuf_bytes);
    row.show("read_buf_mem_limit", echo.read_buf_mem_limit);
    row.yes_no("track_sizes", turn.instance.config.track_sizes);
    row.yes_no("inline_ascii_response", false);
}

/// What a memcached without an `ext_path` shows; there is no extstore here.
fn extstore(echo: &Echo, row: &mut Row<'_, '_>) {
    row.show("ext_item_size", 512);
    row.show("ext_item_age", u32::MAX);
    row.show("ext_low_ttl", 0);
    row.show("ext_recache_rate", 2000);
    row.show("ext_wbuf_size", 4 * 1024 * 1024);
    row.show("ext_compact_under", 0);
    row.show("ext_drop_under", 0);
    row.show("ext_max_sleep", 1_000_000);
    row.show("ext_max_frag", "0.80");
    row.show("slab_automove_freeratio", format_args!("{:.3}", echo.slab_automove_freeratio));
    row.yes_no("ext_drop_unread", false);
}

/// The paths are nobody's business: that there is one is shown, not which.
fn tls(turn: &Turn<'_>, row: &mut Row<'_, '_>) {
    let config = turn.instance.tls.as_ref().map(Tls::config);
    let of = |show: fn(&TlsConfig) -> bool| config.as_ref().is_some_and(show);
    let path = |is_set: bool, unset: &'static str| if is_set { "yes" } else { unset };
    row.yes_no("ssl_enabled", config.is_some());
    row.show("ssl_chain_cert", path(config.is_some(), "(null)"));
    row.show("ssl_key", path(of(|config| config.key.is_some()), "(null)"));
    row.show("ssl_verify_mode", config.as_ref().map_or(0, |config| config.verify_mode));
    let der = of(|config| config.key_format == KeyFormat::Der);
    row.show("ssl_keyformat", if der { 2 } else { 1 });
    let ciphers = config.as_ref().and_then(|config| config.ciphers.text());
    row.show("ssl_ciphers", ciphers.unwrap_or("NULL"));
    row.show("ssl_ca_cert", path(of(|config| config.authorities.is_some()), "NULL"));
    let write_buffer = config.as_ref().map(|config| config.write_buffer_bytes);
    row.show("ssl_wbuf_size", write_buffer.unwrap_or(RECORD_BYTES_MAX as u64));
    row.yes_no("ssl_session_cache", of(|config| config.session_cache));
    row.yes_no("ssl_kernel_tls", of(|config| config.kernel_tls));
    let newest = of(|config| config.min_version == MinVersion::Tls13);
    row.show("ssl_min_version", if newest { "tlsv1.3" } else { "tlsv1.2" });
}
