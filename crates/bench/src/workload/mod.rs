//! What is asked of a cache: a sequence of requests, the same one every time it is begun.
//!
//! Invariants: a number names one item, with one size for good; several copies of a sequence go in
//! step, each over items of its own.

mod drawn;
mod enlarge;
mod kvcache;
mod twitter;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::item::{DIGITS, Item, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::random::mix;
use crate::trace::Trace;
use drawn::Drawn;

/// Requests of a drawn workload. A bit is kept for each that may bring a new item.
const REQUESTS_MAX: u64 = 1 << 31;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `get`; on a miss `set`.
    Read,
    /// `set`, unasked.
    Write,
    /// `incr`; on a miss `set` of a numeral.
    Count,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Of which item.
    pub item: Item,
    /// What is done.
    pub act: Act,
    /// Seconds that a written item lives; 0 is for ever.
    pub ttl: u32,
}

/// Sizes of keys and values, by item.
#[derive(Clone, Debug)]
pub enum Sizes {
    /// The same for all.
    Fixed {
        /// Bytes of a key.
        key_bytes: usize,
        /// Bytes of a value.
        value_bytes: usize,
    },
    /// Keys of one size, values evenly from half to one and a half of a mean.
    Around {
        /// Bytes of a key.
        key_bytes: usize,
        /// Mean bytes of a value.
        value_bytes: usize,
    },
    /// Keys evenly from a range, values from weighted ranges.
    Ranges {
        /// Least and most bytes of a key.
        key_bytes: (usize, usize),
        /// Ranges of values: the weight of this and all before it, first byte count, last.
        values: Arc<[(u64, usize, usize)]>,
    },
}

impl Sizes {
    /// The item of this number.
    #[must_use]
    pub fn item(&self, number: u64) -> Item {
        let chance = mix(number);
        let (key_bytes, value_bytes) = match self {
            Self::Fixed { key_bytes, value_bytes } => (*key_bytes, *value_bytes),
            Self::Around { key_bytes, value_bytes } => {
                (*key_bytes, value_bytes / 2 + within(chance, value_bytes + 1))
            }
            Self::Ranges { key_bytes: (least, most), values } => {
                let key = least + within(chance, most - least + 1);
                let whole = values.last().map_or(1, |&(weight, ..)| weight).max(1);
                let mark = mix(chance) % whole;
                let place = values.partition_point(|&(weight, ..)| weight <= mark);
                let (_, first, last) = values.get(place).copied().unwrap_or((0, 0, 0));
                (key, first + within(mix(chance ^ 1), last - first + 1))
            }
        };
        Item { number, key_bytes, value_bytes }
    }

    fn check(&self) -> Result<()> {
        let (least, most, value) = match self {
            Self::Fixed { key_bytes, value_bytes } | Self::Around { key_bytes, value_bytes } => {
                (*key_bytes, *key_bytes, *value_bytes)
            }
            Self::Ranges { key_bytes: (least, most), values } => {
                (*least, *most, values.iter().map(|&(.., last)| last).max().unwrap_or(0))
            }
        };
        ensure!(
            DIGITS <= least && most <= KEY_BYTES_MAX,
            "keys have {DIGITS} to {KEY_BYTES_MAX} bytes, not {least} to {most}"
        );
        ensure!(value <= VALUE_BYTES_MAX, "values of {value} bytes are too large");
        Ok(())
    }
}

/// A number in `0..bound` from the low half of `chance`.
fn within(chance: u64, bound: usize) -> usize {
    (((chance & 0xffff_ffff) * bound as u64) >> 32) as usize
}

/// A named sequence.
#[derive(Clone, Debug)]
pub struct Workload {
    /// For people and files.
    pub name: String,
    source: Source,
    /// Of one copy.
    requests: u64,
    /// How often each request is made, over items of its own each time.
    copies: u64,
    /// Requests a second that the lifetimes of its items are meant for; `None` = no lifetimes.
    pub pace: Option<u64>,
    /// One more than the greatest number of an item of one copy.
    numbers: u64,
    /// Whether values are numerals (`incr`), which change and so cannot be compared.
    pub counts: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Trace { trace: Arc<Trace>, sizes: Sizes },
    Drawn(Arc<Drawn>),
}

/// What a whole workload amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Footprint {
    /// Requests, all copies.
    pub requests: u64,
    /// Different items, all copies.
    pub items: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
}

impl Workload {
    /// A trace whose items all have one size.
    ///
    /// # Errors
    /// When no server takes keys or values of these sizes.
    pub fn of_trace(trace: Trace, key_bytes: usize, value_bytes: usize) -> Result<Self> {
        let sizes = Sizes::Fixed { key_bytes, value_bytes };
        sizes.check()?;
        Ok(Self {
            name: trace.name.clone(),
            requests: trace.keys.len() as u64,
            copies: 1,
            pace: None,
            numbers: u64::from(trace.distinct),
            counts: false,
            source: Source::Trace { trace: Arc::new(trace), sizes },
        })
    }

    /// Zipf over `keys` items, of which each request replaces one by a new one with probability
    /// `churn`.
    ///
    /// # Errors
    /// When there are no or too many keys, or when no server takes their sizes.
    pub fn zipf(keys: u64, theta: f64, churn: f64, sizes: Sizes, requests: u64) -> Result<Self> {
        ensure!((0.0..=1.0).contains(&churn), "churn {churn}: give a share from 0 to 1");
        ensure!((0.0..=20.0).contains(&theta), "theta {theta}: give 0 to 20");
        Self::of_drawn("zipf".into(), Drawn::zipf(keys, theta, churn, sizes)?, requests)
    }

    /// One of Twitter's clusters, by the figures of its row in the published table.
    ///
    /// # Errors
    /// For a cluster that is not among the presets.
    pub fn twitter(cluster: u32, bytes_min: u64, requests_max: u64) -> Result<Self> {
        let (drawn, requests, pace) = twitter::preset(cluster, bytes_min, requests_max)?;
        let mut workload = Self::of_drawn(format!("twitter{cluster}"), drawn, requests)?;
        workload.pace = Some(pace);
        Ok(workload)
    }

    /// Sizes and popularity of a fleet of key-value caches: from the folder with `sizes.json` and
    /// `pop.json`, or else from a coarse table of the same shape.
    ///
    /// # Errors
    /// When the files cannot be read or are not of their format.
    pub fn kvcache(folder: Option<&Path>, keys: u64, requests: u64) -> Result<Self> {
        Self::of_drawn("kvcache".into(), kvcache::drawn(folder, keys)?, requests)
    }

    fn of_drawn(name: String, drawn: Drawn, requests: u64) -> Result<Self> {
        drawn.sizes.check()?;
        ensure!(requests <= REQUESTS_MAX, "{requests} requests: give {REQUESTS_MAX} at most");
        let numbers = drawn.keys.checked_add(requests).context("too many requests")?;
        let counts = drawn.counts();
        let source = Source::Drawn(Arc::new(drawn));
        Ok(Self { name, source, requests, copies: 1, pace: None, numbers, counts })
    }

    /// An item of this number, with its sizes.
    #[must_use]
    pub fn item(&self, number: u64) -> Item {
        self.sizes().item(number)
    }

    fn sizes(&self) -> &Sizes {
        match &self.source {
            Source::Trace { sizes, .. } => sizes,
            Source::Drawn(drawn) => &drawn.sizes,
        }
    }

    /// The sequence, from its beginning.
    pub fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        let (traced, drawn) = match &self.source {
            Source::Trace { trace, .. } => (Some(&trace.keys), None),
            Source::Drawn(drawn) => (None, Some(drawn.draws(self.pace))),
        };
        let traced = traced.into_iter().flatten().map(|&key| (u64::from(key), Act::Read, 0));
        let one = traced.chain(drawn.into_iter().flatten());
        let sizes = self.sizes();
        let (requests, copies) = (self.requests as usize, self.copies);
        one.take(requests).flat_map(move |(number, act, ttl)| {
            let item = sizes.item(number);
            (0..copies).map(move |copy| {
                let item = Item { number: number * copies + copy, ..item };
                Request { item, act, ttl }
            })
        })
    }

    /// Requests of a whole run, all copies.
    #[must_use]
    pub const fn requests_in_all(&self) -> u64 {
        self.requests.saturating_mul(self.copies)
    }

    /// Misses over look-ups that no cache can avoid, whatever its memory: look-ups of what was
    /// neither asked for nor written before. The first `warm` requests are not counted.
    #[must_use]
    pub fn floor(&self, warm: u64) -> f64 {
        let one = Self { copies: 1, ..self.clone() };
        let warm = warm / self.copies.max(1);
        let mut seen = vec![0_u64; (self.numbers / 64 + 1) as usize];
        let (mut firsts, mut look_ups) = (0_u64, 0_u64);
        for (at, request) in (0_u64..).zip(one.requests()) {
            let number = request.item.number;
            let Some(word) = seen.get_mut((number / 64) as usize) else { continue };
            let bit = 1 << (number % 64);
            if at >= warm && request.act != Act::Write {
                look_ups += 1;
                firsts += u64::from(*word & bit == 0);
            }
            *word |= bit;
        }
        firsts as f64 / look_ups.max(1) as f64
    }

    /// Counts a whole run of it.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let one = Self { copies: 1, ..self.clone() };
        let mut seen = vec![0_u64; (self.numbers / 64 + 1) as usize];
        let (mut items, mut bytes, mut requests) = (0, 0, 0);
        for request in one.requests() {
            requests += 1;
            let item = request.item;
            let Some(word) = seen.get_mut((item.number / 64) as usize) else { continue };
            let bit = 1 << (item.number % 64);
            if *word & bit == 0 {
                *word |= bit;
                items += 1;
                bytes += (item.key_bytes + item.value_bytes) as u64;
            }
        }
        let copies = self.copies;
        Footprint { requests: requests * copies, items: items * copies, bytes: bytes * copies }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_belong_to_the_item_for_good() {
        let sizes = Sizes::Around { key_bytes: 20, value_bytes: 100 };
        let mut whole = 0;
        for number in 0..10_000 {
            let item = sizes.item(number);
            assert!((50..=150).contains(&item.value_bytes));
            assert_eq!(item, sizes.item(number));
            whole += item.value_bytes;
        }
        assert!((990_000..1_010_000).contains(&whole), "{whole}");
        let trace = Trace { name: "t".into(), keys: vec![0], distinct: 1 };
        assert!(Workload::of_trace(trace.clone(), 5, 1).is_err());
        assert!(Workload::of_trace(trace, 300, 1).is_err());
    }

    #[test]
    fn the_floor_is_what_was_never_seen_before() {
        let trace = Trace { name: "t".into(), keys: vec![0, 1, 0, 2], distinct: 3 };
        let (workload, _) = Workload::of_trace(trace, 20, 24).unwrap().enlarged(250, 100).unwrap();
        assert!(workload.copies > 1 && workload.requests_in_all() == 4 * workload.copies);
        let near = |share: f64, expected: f64| assert!((share - expected).abs() < 1e-9, "{share}");
        near(workload.floor(0), 0.75);
        near(workload.floor(2 * workload.copies), 0.5);
        // Cluster 31 writes nearly all of its items before anybody reads them, if they do at all.
        let written = Workload::twitter(31, 1 << 20, 20_000).unwrap();
        assert!((0.5..1.0).contains(&written.floor(0)), "{}", written.floor(0));
    }

    #[test]
    fn every_preset_repeats_itself() {
        for cluster in [12, 17, 22, 31, 37, 50, 52, 53] {
            let workload = Workload::twitter(cluster, 8 << 20, 20_000).unwrap();
            let first: Vec<Request> = workload.requests().collect();
            assert!(!first.is_empty() && workload.requests().eq(first.iter().copied()));
            assert_eq!(workload.counts, cluster == 22);
        }
        assert!(Workload::twitter(1, 1, 1).is_err());
        assert!(Workload::twitter(12, u64::MAX, u64::MAX).is_err());
        assert!(Workload::kvcache(None, 1000, u64::MAX - 1000).is_err());
        let workload = Workload::kvcache(None, 1000, 5000).unwrap();
        assert_eq!(workload.requests().count(), 5000);
        assert!(Workload::kvcache(Some(Path::new("/nowhere")), 10, 10).is_err());
    }
}
