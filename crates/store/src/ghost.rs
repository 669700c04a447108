//! Fingerprints of items thrown out of Small lately: who comes back is worth a place in Main.
//!
//! Rows of sixteen 16-bit fingerprints, each row first in, first out. 0.5 to 0.75 fingerprints
//! for each item; the table follows the number of items in coarse steps, row by row in the order of
//! hashes, so that what is remembered survives. It grows part by part, so that no step is long. A
//! wrong match (2^-12 a look-up) only places one item too well.

use crate::blocks::Blocks;
use crate::pool::{Charge, Need, Pool};

/// The ghosts of one shard.
#[derive(Debug)]
pub(crate) struct Ghost {
    /// Equal ranges of hashes, in their order.
    parts: [Part; PARTS],
    /// The part that is looked at next.
    next: usize,
    shard: usize,
}

/// Rows for a range of hashes.
#[derive(Debug)]
struct Part {
    rows: Vec<Row>,
    charge: Option<Charge>,
}

type Row = [u8; ROW_BYTES];

const ROW_SLOTS: usize = 16;
const PRINT_BYTES: usize = 2;
const ROW_BYTES: usize = PRINT_BYTES * ROW_SLOTS;
/// Tenths of the number of items that are remembered at least.
const SHARE_TENTHS: usize = 5;
const PART_BITS: u32 = 6;
/// With 80 million items in a shard, more than fit, a part has 39,000 rows or 1.2 MiB.
const PARTS: usize = 1 << PART_BITS;
/// A step of [`Ghost::follow`] ends behind the part with which it wrote so many rows: 64 KiB.
const ROWS_A_STEP: usize = 2048;

impl Ghost {
    pub(crate) const fn new(shard: usize) -> Self {
        let parts = [const { Part { rows: Vec::new(), charge: None } }; PARTS];
        Self { parts, next: 0, shard }
    }

    /// Bytes charged for it.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Where a hash is remembered, if it is: for prefetching.
    pub(crate) fn near(&self, hash: u64) -> &[u8] {
        let (part, row) = self.place_of(hash);
        self.parts[part].rows.get(row).map_or(&[], |row| row)
    }

    /// Remembers a hash.
    pub(crate) fn remember(&mut self, hash: u64) {
        let Some(row) = self.row_mut(hash) else { return };
        row.copy_within(..ROW_BYTES - PRINT_BYTES, PRINT_BYTES);
        row[..PRINT_BYTES].copy_from_slice(&fingerprint(hash));
    }

    /// Whether this hash is remembered; it is forgotten.
    pub(crate) fn take(&mut self, hash: u64) -> bool {
        let Some(row) = self.row_mut(hash) else { return false };
        let print = fingerprint(hash);
        let Some(at) = row.chunks_exact(PRINT_BYTES).position(|held| held == print) else {
            return false;
        };
        row.copy_within((at + 1) * PRINT_BYTES.., at * PRINT_BYTES);
        row[ROW_BYTES - PRINT_BYTES..].fill(0);
        true
    }

    /// One step of following the number of items; returns how many rows it wrote. Without memory
    /// a part stays as it is.
    pub(crate) fn follow<M: Blocks>(&mut self, items: usize, pool: &Pool<M>) -> usize {
        let wanted = (items * SHARE_TENTHS / 10).div_ceil(ROW_SLOTS * PARTS);
        let mut written = 0;
        for _ in 0..PARTS {
            if written >= ROWS_A_STEP {
                break;
            }
            written += self.parts[self.next].follow(wanted, self.shard, pool);
            self.next = (self.next + 1) % PARTS;
        }
        written
    }

    fn row_mut(&mut self, hash: u64) -> Option<&mut Row> {
        let (part, row) = self.place_of(hash);
        self.parts[part].rows.get_mut(row)
    }

    /// Part and row; the row is 0 where there is none.
    fn place_of(&self, hash: u64) -> (usize, usize) {
        // The bits below those that chose the shard and above the fingerprint.
        let order = (hash >> 16) & 0xffff_ffff;
        let part = (order >> (u32::BITS - PART_BITS)) as usize;
        let within = (order << PART_BITS) & 0xffff_ffff;
        let row = (within * self.parts[part].rows.len() as u64) >> 32;
        (part, row as usize)
    }
}

impl Part {
    fn bytes(&self) -> u64 {
        self.charge.as_ref().map_or(0, Charge::bytes)
    }

    /// Gets so many rows, about; returns how many it wrote.
    fn follow<M: Blocks>(&mut self, wanted: usize, shard: usize, pool: &Pool<M>) -> usize {
        let now = self.rows.len();
        if wanted <= now && now <= wanted * 3 / 2 {
            return 0;
        }
        let rows = if wanted > now { wanted + wanted / 8 } else { wanted };
        // As a write: ghosts must not take the segment that relief needs.
        let Some(charge) = pool.charge((rows * ROW_BYTES) as u64, Need::Write) else { return 0 };
        let mut fresh = Vec::new();
        if fresh.try_reserve_exact(rows).is_err() {
            return 0;
        }
        for row in 0..rows {
            // Rows are in the order of hashes, so a new one lies within one or two old ones.
            let first = self.rows.get(row * now / rows).copied().unwrap_or_default();
            let last = ((row + 1) * now).div_ceil(rows).saturating_sub(1);
            let last = self.rows.get(last).copied().unwrap_or_default();
            fresh.push(if first == last { first } else { mixed(&first, &last) });
        }
        pool.hold(shard, charge.bytes());
        pool.unhold(shard, self.bytes());
        self.rows = fresh;
        self.charge = Some(charge);
        rows
    }
}

/// The newer halves of two rows.
fn mixed(first: &Row, last: &Row) -> Row {
    let mut row = [0; ROW_BYTES];
    row[..ROW_BYTES / 2].copy_from_slice(&first[..ROW_BYTES / 2]);
    row[ROW_BYTES / 2..].copy_from_slice(&last[..ROW_BYTES / 2]);
    row
}

/// Never 0, which marks a free place.
fn fingerprint(hash: u64) -> [u8; PRINT_BYTES] {
    ((hash & 0xffff).max(1) as u16).to_le_bytes()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::Ghost;
    use crate::blocks::Boxed;
    use crate::geometry::Geometry;
    use crate::pool::Pool;

    fn hash(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (mixed >> 32)
    }

    #[test]
    fn remembers_the_latest_and_forgets_the_oldest() {
        let pool = Pool::new(Boxed, 1 << 20, &Geometry::of(0, 1024));
        let mut ghost = Ghost::new(0);
        ghost.remember(1);
        assert!(!ghost.take(1), "without items there are no ghosts");
        ghost.follow(10_000, &pool);
        assert_eq!(ghost.bytes(), pool.held(0));
        assert!((10_000..15_000).contains(&ghost.bytes()), "{}", ghost.bytes());
        for number in 0..20_000 {
            ghost.remember(hash(number));
        }
        let known = |ghost: &mut Ghost, range: std::ops::Range<u64>| {
            let count = range.end - range.start;
            range.filter(|&number| ghost.take(hash(number))).count() as u64 * 100 / count
        };
        assert!(known(&mut ghost, 0..5_000) < 5);
        assert!(known(&mut ghost, 17_000..18_000) > 95);
        assert!(known(&mut ghost, 17_000..18_000) < 5, "taken is forgotten");
        ghost.follow(13_000, &pool);
        assert!(known(&mut ghost, 19_000..20_000) > 90, "growing keeps the latest");
        ghost.follow(20_000, &pool);
        ghost.follow(100, &pool);
        assert_eq!(ghost.bytes(), pool.budget.used());
    }

    #[test]
    fn growing_with_millions_of_items_is_cut_into_steps() {
        let pool = Pool::new(Boxed, 64 << 20, &Geometry::of(0, 1024));
        let mut ghost = Ghost::new(0);
        let mut steps = 0;
        let part_rows = 4_000_000 * 5 / 10 / (16 * 64) * 9 / 8 + 2;
        loop {
            let written = ghost.follow(4_000_000, &pool);
            assert!(written < 2048 + part_rows, "{written} rows in one step");
            if written == 0 {
                break;
            }
            steps += 1;
        }
        assert!((32..=64).contains(&steps), "{steps}");
        assert!(ghost.bytes() >= 4_000_000, "{}", ghost.bytes());
        assert_eq!(ghost.bytes(), pool.held(0));
    }
}
