//! Making a workload large enough to be measured by: more keys for a law, more copies for a trace.
//!
//! Why two ways: a law has as many keys as one likes, and its requests come back to them whatever
//! their number. A trace is what it is, so it is played several times over items of its own. Either
//! way the bound on requests holds for the whole, and what it costs is told ([`Footprint::flaw`]).
//!
//! Invariant: a law is stretched only while each item is still asked for several times, or as often
//! as before; a workload in which nothing comes back measures nothing.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::{Footprint, Source, Workload};
use crate::item::NUMBERS;

/// More keys are touched less often each, so stretching takes a few rounds; it settles soon.
const ROUNDS: u32 = 8;
/// Requests for each item, below which first requests, which every cache misses, are what one sees.
const ITEM_REQUESTS_MIN: u64 = 4;
/// A round that adds less than a part in so many has reached what requests alone can touch.
const GAIN_PART: u64 = 200;
/// More keys are asked for than the bytes that are missing, since chance leaves some out.
const SURPLUS: f64 = 1.03;

impl Workload {
    /// The same with a footprint of `bytes_min`, as far as `requests_max` requests in all allow,
    /// and that footprint. A law gets more keys, a trace more copies (each then a beginning of
    /// the whole).
    ///
    /// # Errors
    /// When the numbers of so many items do not fit into their keys.
    pub fn enlarged(mut self, bytes_min: u64, requests_max: u64) -> Result<(Self, Footprint)> {
        let requests_max = requests_max.max(1);
        let (large, footprint) = match self.source {
            Source::Trace { .. } => self.copied(bytes_min, requests_max),
            Source::Drawn(_) => {
                self.requests = self.requests.min(requests_max);
                self.stretched(bytes_min, requests_max)
            }
        };
        let numbers = large.numbers.saturating_mul(large.copies);
        ensure!(numbers < NUMBERS, "{numbers} items are more than keys can number");
        Ok((large, footprint))
    }

    /// In as many copies as the whole needs, each shortened so that all keep to the bound: the
    /// footprint then is smaller. More copies of shorter beginnings would make it up, but too short
    /// a beginning of a trace is nothing but first requests.
    fn copied(mut self, bytes_min: u64, requests_max: u64) -> (Self, Footprint) {
        let one = Self { copies: 1, ..self.clone() }.footprint().bytes.max(1);
        self.copies = bytes_min.div_ceil(one).max(1);
        self.requests = self.requests.min((requests_max / self.copies).max(1));
        let footprint = self.footprint();
        (self, footprint)
    }

    /// Over as many keys as it takes, and as many more requests where the law said how many.
    fn stretched(mut self, bytes_min: u64, requests_max: u64) -> (Self, Footprint) {
        let mut footprint = self.footprint();
        for _ in 0..ROUNDS {
            if footprint.bytes >= bytes_min {
                break;
            }
            let missing = bytes_min as f64 / footprint.bytes.max(1) as f64;
            let larger = self.times(missing * SURPLUS, requests_max);
            let found = larger.footprint();
            let comes_back = found.requests >= found.items.saturating_mul(ITEM_REQUESTS_MIN)
                || found.requests_an_item() >= footprint.requests_an_item();
            let gains = found.bytes >= footprint.bytes + footprint.bytes / GAIN_PART;
            if !comes_back || !gains {
                break;
            }
            (self, footprint) = (larger, found);
        }
        (self, footprint)
    }

    fn times(&self, times: f64, requests_max: u64) -> Self {
        let Source::Drawn(law) = &self.source else { return self.clone() };
        let law = law.stretched(times);
        let requests = ((self.requests as f64 * times) as u64).min(requests_max);
        let numbers = law.keys.saturating_add(requests);
        Self { requests, numbers, source: Source::Drawn(Arc::new(law)), ..self.clone() }
    }
}

impl Footprint {
    /// How often an item is asked for, in hundredths.
    const fn requests_an_item(&self) -> u64 {
        let items = if self.items == 0 { 1 } else { self.items };
        self.requests.saturating_mul(100) / items
    }

    /// Why it measures less than was asked for, in words; `None` = it does not.
    #[must_use]
    pub fn flaw(&self, bytes_min: u64) -> Option<String> {
        let Self { requests, items, bytes } = self;
        let mut flaws = Vec::new();
        if *bytes < bytes_min {
            flaws.push(format!(
                "{} MiB instead of the {} asked for, since {requests} requests touch no more \
                 items several times: give more --requests",
                bytes >> 20,
                bytes_min >> 20
            ));
        }
        if *requests < items.saturating_mul(ITEM_REQUESTS_MIN) {
            let each = self.requests_an_item() as f64 / 100.0;
            flaws.push(format!(
                "an item is asked for {each:.2} times on average, so that first requests, which \
                 every cache misses, weigh much"
            ));
        }
        (!flaws.is_empty()).then(|| flaws.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;
    use crate::workload::Sizes;

    fn trace(keys: &[u32]) -> Trace {
        let distinct = keys.iter().max().map_or(0, |most| most + 1);
        Trace { name: "t".into(), keys: keys.to_vec(), distinct }
    }

    #[test]
    fn copies_of_a_trace_go_in_step_over_items_of_their_own() {
        let workload = Workload::of_trace(trace(&[0, 1, 0]), 20, 24).unwrap();
        assert_eq!(workload.footprint(), Footprint { requests: 3, items: 2, bytes: 88 });
        let (workload, footprint) = workload.enlarged(200, 1000).unwrap();
        assert_eq!(footprint, Footprint { requests: 9, items: 6, bytes: 264 });
        let numbers: Vec<u64> = workload.requests().map(|request| request.item.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 0, 1, 2]);
    }

    #[test]
    fn a_bound_on_requests_shortens_every_copy_and_is_told() {
        let keys: Vec<u32> = (0..100).collect();
        let workload = Workload::of_trace(trace(&keys), 20, 24).unwrap();
        let (_, footprint) = workload.enlarged(8800, 150).unwrap();
        assert!(footprint.requests <= 150, "{footprint:?}");
        assert_eq!(footprint.items, footprint.requests);
        let flaw = footprint.flaw(8800).unwrap();
        assert!(flaw.contains("--requests") && flaw.contains("1.00 times"), "{flaw}");
    }

    #[test]
    fn a_law_gets_more_keys_and_its_requests_still_come_back() {
        let sizes = Sizes::Fixed { key_bytes: 20, value_bytes: 80 };
        let zipf = Workload::zipf(100, 0.9, 0.0, sizes, 40_000).unwrap();
        for workload in [zipf, Workload::kvcache(None, 100, 40_000).unwrap()] {
            let few = workload.footprint();
            let (large, footprint) = workload.enlarged(few.bytes * 20, 40_000).unwrap();
            assert_eq!((large.copies, footprint), (1, large.footprint()));
            assert!(footprint.bytes >= few.bytes * 20, "{footprint:?}");
            assert!(footprint.requests >= 4 * footprint.items, "{footprint:?}");
            assert_eq!(footprint.flaw(few.bytes * 20), None);
            // Asked for more than such requests can touch, it keeps to what comes back.
            let (_, bound) = large.enlarged(1 << 30, 40_000).unwrap();
            assert!(bound.requests >= 4 * bound.items, "{bound:?}");
            assert!(bound.flaw(1 << 30).unwrap().contains("--requests"));
        }
    }

    #[test]
    fn a_preset_short_of_requests_keeps_its_items_coming_back() {
        for (cluster, most) in [(17, 0.25), (22, 0.25), (37, 0.3), (50, 0.25), (53, 0.25)] {
            let workload = Workload::twitter(cluster, 1 << 40, 20_000).unwrap();
            let (_, footprint) = workload.enlarged(1 << 40, 20_000).unwrap();
            let share = footprint.items as f64 / footprint.requests as f64;
            assert!(footprint.requests <= 20_000 && share < most, "{cluster}: {footprint:?}");
            assert!(footprint.flaw(1 << 40).is_some());
        }
        // Where requests are no bound, the footprint is what was asked for.
        for cluster in [22, 37, 53] {
            let workload = Workload::twitter(cluster, 4 << 20, 20_000_000).unwrap();
            let (_, footprint) = workload.enlarged(4 << 20, 20_000_000).unwrap();
            assert!(footprint.bytes >= 4 << 20, "{cluster}: {footprint:?}");
        }
    }
}
