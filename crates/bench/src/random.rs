//! Chance that repeats: the same seed gives the same sequence, so that every server is asked the
//! same questions in the same order.

/// A sequence of 64-bit numbers from a seed: a counter with a fixed odd step, mixed.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The golden ratio's fraction: an odd step that visits all of 2^64 before it repeats.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed ^ STEP))
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Evenly from `0..bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a product: its unevenness is below bound / 2^64.
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Evenly from 0 (included) to 1 (not included).
    pub fn unit(&mut self) -> f64 {
        // 53 bits are all that a double's fraction holds.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A bijection of 64 bits in which every bit of the result depends on every bit of `value`: two
/// rounds of multiply and fold.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let value = (value ^ (value >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    value ^ (value >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let take = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut random = Random::new(3);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[usize::try_from(random.below(10)).unwrap()] += 1;
        }
        // Ten thousand each; five standard deviations are 475.
        assert!(counts.iter().all(|count| (9_525..10_475).contains(count)), "{counts:?}");
        assert_eq!(random.below(0), 0);
        let mean = (0..100_000).map(|_| random.unit()).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
    }
}
