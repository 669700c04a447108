//! Requests drawn by chance from a popularity, a mix of acts and a mix of lifetimes.

use anyhow::{Result, ensure};

use super::{Act, Sizes};
use crate::item::TTL_SECS_MAX;
use crate::random::Random;
use crate::zipf::Zipf;

/// Keys of one drawn workload: 4 bytes each are kept while it runs.
const KEYS_MAX: u64 = 1 << 28;
/// Every run begins here, so that every server gets the same requests.
const SEED: u64 = 0x6b61_6e6e_756b_6921;

/// How often which key is asked for.
#[derive(Clone, Debug)]
pub(super) enum Popularity {
    /// By rank.
    Zipf(Zipf),
    /// Classes of equally popular keys: weight of this and all before it, first key, keys.
    Classes(Vec<(u64, u64, u64)>),
}

/// A workload's law.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) keys: u64,
    pub(super) popularity: Popularity,
    pub(super) sizes: Sizes,
    /// Share of requests for a key that is never asked for again.
    pub(super) once: f64,
    /// Share of requests that replace a key by a new one of the same popularity.
    pub(super) churn: f64,
    /// Shares of writes and of counts; the rest reads.
    pub(super) writes: f64,
    pub(super) counts: f64,
    /// Seconds and shares, as published; empty = for ever.
    pub(super) lifetimes: Vec<(f64, f64)>,
    /// Requests a second at which these seconds were observed.
    pub(super) observed_pace: f64,
}

impl Drawn {
    pub(super) fn zipf(keys: u64, theta: f64, churn: f64, sizes: Sizes) -> Result<Self> {
        ensure!((1..=KEYS_MAX).contains(&keys), "{keys} keys: give 1 to {KEYS_MAX}");
        Ok(Self {
            keys,
            popularity: Popularity::Zipf(Zipf::new(keys, theta)),
            sizes,
            once: 0.0,
            churn,
            writes: 0.0,
            counts: 0.0,
            lifetimes: Vec::new(),
            observed_pace: 1.0,
        })
    }

    /// The same law over `times` as many keys, as far as there is room to keep them.
    pub(super) fn stretched(&self, times: f64) -> Self {
        let keys = ((self.keys as f64 * times) as u64).clamp(1, KEYS_MAX);
        let scale = |count: u64| {
            (u128::from(count) * u128::from(keys) / u128::from(self.keys.max(1))) as u64
        };
        let popularity = match &self.popularity {
            Popularity::Zipf(zipf) => Popularity::Zipf(zipf.over(keys)),
            Popularity::Classes(classes) => Popularity::Classes(
                classes
                    .iter()
                    .map(|&(weight, first, held)| {
                        (weight, scale(first), (scale(first + held) - scale(first)).max(1))
                    })
                    .collect(),
            ),
        };
        Self { keys, popularity, ..self.clone() }
    }

    pub(super) fn counts(&self) -> bool {
        self.counts > 0.0
    }

    /// Number, act and lifetime, without end.
    pub(super) fn draws(&self, pace: Option<u64>) -> Draws<'_> {
        let ranked = self.churn > 0.0;
        let current =
            if ranked { (0..self.keys).map(|key| key as u32).collect() } else { Vec::new() };
        Draws { law: self, random: Random::new(SEED), next: self.keys, current, pace }
    }
}

/// See [`Drawn::draws`].
pub(super) struct Draws<'d> {
    law: &'d Drawn,
    random: Random,
    /// The next number that no item has yet.
    next: u64,
    /// The item of each rank, where they change.
    current: Vec<u32>,
    pace: Option<u64>,
}

impl Draws<'_> {
    fn number(&mut self) -> u64 {
        if self.law.once > 0.0 && self.random.unit() < self.law.once {
            return self.fresh();
        }
        if self.law.churn > 0.0 && self.random.unit() < self.law.churn {
            let fresh = self.fresh();
            let rank = self.random.below(self.law.keys);
            if let Some(place) = self.current.get_mut(rank as usize) {
                *place = fresh as u32;
            }
        }
        let rank = match &self.law.popularity {
            Popularity::Zipf(zipf) => zipf.draw(&mut self.random),
            Popularity::Classes(classes) => {
                let whole = classes.last().map_or(1, |&(weight, ..)| weight);
                let mark = self.random.below(whole);
                let place = classes.partition_point(|&(weight, ..)| weight <= mark);
                let (_, first, keys) = classes.get(place).copied().unwrap_or((0, 0, 1));
                first + self.random.below(keys)
            }
        };
        self.current.get(rank as usize).map_or(rank, |&number| u64::from(number))
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn act(&mut self) -> Act {
        let (writes, counts) = (self.law.writes, self.law.counts);
        if writes + counts == 0.0 {
            return Act::Read;
        }
        let chance = self.random.unit();
        if chance < writes {
            Act::Write
        } else if chance < writes + counts {
            Act::Count
        } else {
            Act::Read
        }
    }

    /// A published lifetime spans as many requests here as it did there; servers count in seconds,
    /// so it is one at least.
    fn ttl(&mut self) -> u32 {
        let Some(pace) = self.pace else { return 0 };
        let mut chance = self.random.unit();
        let lifetime = self.law.lifetimes.iter().find(|(_, share)| {
            chance -= share;
            chance < 0.0
        });
        let Some((seconds, _)) = lifetime.or_else(|| self.law.lifetimes.last()) else { return 0 };
        let scaled = seconds * self.law.observed_pace / pace.max(1) as f64;
        (scaled.round() as u32).clamp(1, TTL_SECS_MAX)
    }
}

impl Iterator for Draws<'_> {
    type Item = (u64, Act, u32);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.number(), self.act(), self.ttl()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_what_the_law_says() {
        let sizes = Sizes::Fixed { key_bytes: 20, value_bytes: 4 };
        let mut law = Drawn::zipf(1000, 0.8, 0.0, sizes).unwrap();
        (law.once, law.writes, law.counts) = (0.2, 0.3, 0.1);
        (law.lifetimes, law.observed_pace) = (vec![(10.0, 0.25), (600.0, 0.75)], 1000.0);
        let draws: Vec<_> = law.draws(Some(100_000)).take(100_000).collect();
        let share = |of: &dyn Fn(&(u64, Act, u32)) -> bool| {
            draws.iter().filter(|draw| of(draw)).count() as f64 / 100_000.0
        };
        let near = |share: f64, expected: f64| assert!((share - expected).abs() < 0.01, "{share}");
        near(share(&|(number, ..)| *number >= 1000), 0.2);
        near(share(&|(_, act, _)| *act == Act::Write), 0.3);
        near(share(&|(_, act, _)| *act == Act::Count), 0.1);
        near(share(&|(.., ttl)| *ttl == 6), 0.75);
        near(share(&|(.., ttl)| *ttl == 1), 0.25);
        assert!(law.draws(None).take(1000).all(|(.., ttl)| ttl == 0));
    }

    #[test]
    fn churn_replaces_keys_by_new_ones() {
        let sizes = Sizes::Fixed { key_bytes: 20, value_bytes: 4 };
        let law = Drawn::zipf(100, 0.0, 0.01, sizes.clone()).unwrap();
        let late: Vec<u64> = law.draws(None).skip(100_000).take(1000).map(|draw| draw.0).collect();
        // A thousand replacements of a hundred keys: hardly any of the first is left.
        assert!(late.iter().filter(|&&number| number < 100).count() < 10);
        assert!(Drawn::zipf(0, 1.0, 0.0, sizes).is_err());
    }
}
