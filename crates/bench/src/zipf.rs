//! Zipf's law: rank k is drawn with a probability proportional to 1 / k^theta, for any theta >= 0.
//!
//! Drawn by inverting the integral of the density and rejecting the little in which integral and
//! sum differ (Hoermann and Derflinger, 1996): no table, so that 20 million keys cost nothing, and
//! about one and a half draws of chance a rank.

use crate::random::Random;

/// Ranks `0..count`, the first the most popular.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: u64,
    theta: f64,
    /// The integral at the upper end of the first rank's column, less that column's area.
    low: f64,
    /// The integral at the upper end of the last rank's column.
    high: f64,
    /// Distances from the drawn point to its rank below this are accepted without a look at areas.
    safe: f64,
}

/// More than any rejection sequence that chance can produce: each draw is accepted more often than
/// not.
const DRAWS_MAX: u32 = 200;

impl Zipf {
    /// `count` ranks (at least 1 is assumed), exponent `theta` (0 is even; negative is read as 0).
    #[must_use]
    pub fn new(count: u64, theta: f64) -> Self {
        let (count, theta) = (count.max(1), if theta > 0.0 { theta } else { 0.0 });
        let mut law = Self { count, theta, low: 0.0, high: 0.0, safe: 0.0 };
        law.low = law.integral(1.5) - 1.0;
        law.high = law.integral(count as f64 + 0.5);
        law.safe = 2.0 - law.inverse(law.integral(2.5) - law.density(2.0));
        law
    }

    /// The same law over so many ranks.
    #[must_use]
    pub fn over(&self, count: u64) -> Self {
        Self::new(count, self.theta)
    }

    /// A rank from `0..count`.
    pub fn draw(&self, random: &mut Random) -> u64 {
        if self.theta == 0.0 {
            return random.below(self.count);
        }
        for _ in 0..DRAWS_MAX {
            let area = self.high + random.unit() * (self.low - self.high);
            let point = self.inverse(area);
            let rank = point.round().clamp(1.0, self.count as f64);
            if rank - point <= self.safe || area >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64 - 1;
            }
        }
        0
    }

    fn density(&self, at: f64) -> f64 {
        (-self.theta * at.ln()).exp()
    }

    /// The integral of the density from 1 to `at`.
    fn integral(&self, at: f64) -> f64 {
        let power = 1.0 - self.theta;
        // Near theta = 1 the quotient loses its digits; the logarithm is its limit.
        if power.abs() < 1e-9 { at.ln() } else { (power * at.ln()).exp_m1() / power }
    }

    fn inverse(&self, area: f64) -> f64 {
        let power = 1.0 - self.theta;
        if power.abs() < 1e-9 { area.exp() } else { ((area * power).ln_1p() / power).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws often and compares every rank's share with the law, within five standard deviations.
    fn check(count: u64, theta: f64) {
        const DRAWS: u32 = 400_000;
        let law = Zipf::new(count, theta);
        let mut random = Random::new(7);
        let mut counts = vec![0_u32; usize::try_from(count).unwrap()];
        for _ in 0..DRAWS {
            counts[usize::try_from(law.draw(&mut random)).unwrap()] += 1;
        }
        let weights: Vec<f64> = (1..=count).map(|rank| (rank as f64).powf(-theta)).collect();
        let whole: f64 = weights.iter().sum();
        for (rank, (&seen, weight)) in counts.iter().zip(&weights).enumerate() {
            let expected = f64::from(DRAWS) * weight / whole;
            let slack = 5.0 * expected.sqrt() + 5.0;
            let off = (f64::from(seen) - expected).abs();
            assert!(off < slack, "theta {theta}, rank {rank}: {seen}, expected {expected:.0}");
        }
    }

    #[test]
    fn shares_follow_the_law() {
        for theta in [0.0, 0.3048, 0.7624, 0.99, 1.0, 1.2816, 2.1106] {
            check(1, theta);
            check(2, theta);
            check(500, theta);
        }
    }

    #[test]
    fn many_ranks_stay_in_range_and_reach_the_far_end() {
        let law = Zipf::new(20_000_000, 0.99);
        let mut random = Random::new(1);
        let ranks: Vec<u64> = (0..100_000).map(|_| law.draw(&mut random)).collect();
        assert!(ranks.iter().all(|&rank| rank < 20_000_000));
        assert!(ranks.iter().any(|&rank| rank > 10_000_000));
        assert!(ranks.iter().filter(|&&rank| rank == 0).count() > 4_000);
    }
}
