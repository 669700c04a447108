//! Eight of Twitter's clusters, by the figures that were published for them in March 2020 (CC-BY):
//! sizes, lifetimes, operations, popularity.
//!
//! These are laws made from a table's row, not the traces themselves: items that are asked for once
//! and items under Zipf's law, without the order in time that a trace has. `gets` is played as
//! `get`; `cas` and `prepend` as `set`, since only mean sizes are known; `add` is the `set` that
//! follows a miss anyway.

use anyhow::{Context as _, Result};

use super::Sizes;
use super::drawn::{Drawn, Popularity};
use crate::zipf::Zipf;

/// Bytes a second that may be written at most: a server on loopback keeps up with it.
const WRITTEN_BYTES_A_SECOND: u64 = 150_000_000;
/// Requests a second at most, for the same reason.
const PACE_MAX: u64 = 150_000;
/// Keys under Zipf's law at least, however few the sizes ask for.
const KEYS_MIN: u64 = 1000;

/// One row.
struct Row {
    cluster: u32,
    key_bytes: usize,
    value_bytes: usize,
    /// Requests a second.
    pace: f64,
    /// Share of items that are asked for once.
    once: f64,
    /// Share of requests for an item that was not asked for before.
    first: f64,
    lifetimes: &'static [(f64, f64)],
    writes: f64,
    counts: f64,
    theta: f64,
}

const DAY: f64 = 86_400.0;

const ROWS: [Row; 8] = [
    Row {
        cluster: 12,
        key_bytes: 44,
        value_bytes: 1030,
        pace: 4360.0,
        once: 0.8143,
        first: 0.7945,
        lifetimes: &[(300.0, 0.98), (299.0, 0.02)],
        writes: 0.80,
        counts: 0.0,
        theta: 0.3048,
    },
    Row {
        cluster: 17,
        key_bytes: 19,
        value_bytes: 212,
        pace: 350.0,
        once: 0.3887,
        first: 0.0164,
        lifetimes: &[(5.0 * DAY, 1.0)],
        writes: 0.0,
        counts: 0.0,
        theta: 2.1106,
    },
    Row {
        cluster: 22,
        key_bytes: 54,
        value_bytes: 4,
        pace: 3240.0,
        once: 0.4148,
        first: 0.2343,
        lifetimes: &[(DAY, 0.86), (3600.0, 0.11), (1800.0, 0.03)],
        writes: 0.10,
        counts: 0.18,
        theta: 0.7624,
    },
    Row {
        cluster: 31,
        key_bytes: 41,
        value_bytes: 15,
        pace: 2520.0,
        once: 0.9406,
        first: 0.9439,
        lifetimes: &[(60.0, 1.0)],
        writes: 0.94,
        counts: 0.0,
        theta: 0.0,
    },
    Row {
        cluster: 37,
        key_bytes: 72,
        value_bytes: 20_134,
        pace: 4150.0,
        once: 0.1488,
        first: 0.2635,
        lifetimes: &[(20.0, 0.91), (300.0, 0.06), (7200.0, 0.02), (600.0, 0.01)],
        writes: 0.37,
        counts: 0.0,
        theta: 0.4251,
    },
    Row {
        cluster: 50,
        key_bytes: 18,
        value_bytes: 67_485,
        pace: 240.0,
        once: 0.0786,
        first: 0.0452,
        lifetimes: &[(900.0, 0.73), (1200.0, 0.24), (1199.0, 0.03)],
        writes: 0.48,
        counts: 0.0,
        theta: 1.2816,
    },
    Row {
        cluster: 52,
        key_bytes: 20,
        value_bytes: 273,
        pace: 24_250.0,
        once: 0.1936,
        first: 0.0307,
        lifetimes: &[(DAY, 0.66), (14.0 * DAY, 0.27), (DAY / 2.0, 0.07)],
        writes: 0.02,
        counts: 0.0,
        theta: 1.2117,
    },
    Row {
        cluster: 53,
        key_bytes: 36,
        value_bytes: 9213,
        pace: 1380.0,
        once: 0.1319,
        first: 0.0362,
        lifetimes: &[(30.0 * DAY, 0.66), (21.0 * DAY, 0.34)],
        writes: 0.12,
        counts: 0.0,
        theta: 1.2061,
    },
];

/// The cluster's law, its requests (as many as touch `bytes_min` of items, `requests_max` at most),
/// and the pace at which its lifetimes are played.
pub(super) fn preset(cluster: u32, bytes_min: u64, requests_max: u64) -> Result<(Drawn, u64, u64)> {
    let known = || ROWS.map(|row| row.cluster.to_string()).join(", ");
    let row = ROWS.iter().find(|row| row.cluster == cluster);
    let row = row.with_context(|| format!("cluster {cluster}: presets are {}", known()))?;
    let item_bytes = (row.key_bytes + row.value_bytes) as f64;
    // Fewer requests are for fewer items: how often an item is asked for belongs to the cluster.
    let items = (bytes_min as f64 / item_bytes).min(requests_max as f64 * row.first);
    let requests = ((items / row.first) as u64).clamp(1, requests_max.max(1));
    let keys = ((items * (1.0 - row.once)) as u64).max(KEYS_MIN);
    let (key_bytes, value_bytes) = (row.key_bytes, row.value_bytes);
    let sizes = if row.counts > 0.0 {
        Sizes::Fixed { key_bytes, value_bytes }
    } else {
        Sizes::Around { key_bytes, value_bytes }
    };
    let mut drawn = Drawn::zipf(keys, row.theta, 0.0, sizes)?;
    drawn.popularity = Popularity::Zipf(Zipf::new(keys, row.theta));
    drawn.once = row.once * row.first;
    (drawn.writes, drawn.counts) = (row.writes, row.counts);
    (drawn.lifetimes, drawn.observed_pace) = (row.lifetimes.to_vec(), row.pace);
    let pace = (WRITTEN_BYTES_A_SECOND / item_bytes as u64).clamp(1, PACE_MAX);
    Ok((drawn, requests, pace))
}
