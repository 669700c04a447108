//! Fingerprints of items thrown out of Small lately: who comes back is worth a place in Main.
//!
//! Rows of sixteen 12-bit fingerprints, each row first in, first out. 0.5 to 0.75 fingerprints
//! for each item; the table follows the number of items in coarse steps, row by row in the order of
//! hashes, so that what is remembered survives. It grows part by part, so that no step is long. A
//! wrong match (2^-8 a look-up) only places one item too well.

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

/// Sixteen fingerprints, the newest in the lowest bits; 0 is a free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    /// The low eight bits of each.
    low: [u8; ROW_SLOTS],
    /// The high four bits of each.
    high: [u8; ROW_SLOTS / 2],
}

const ROW_SLOTS: usize = 16;
const ROW_BYTES: usize = size_of::<Row>();
/// Low and high bits of a fingerprint.
const LOW_BITS: u32 = 8;
const HIGH_BITS: u32 = 4;

const _: () = assert!(ROW_BYTES == 24);
/// Tenths of the number of items that are remembered at least.
const SHARE_TENTHS: usize = 5;
const PART_BITS: u32 = 6;
/// With 80 million items in a shard, more than fit, a part has 39,000 rows or 0.9 MiB.
const PARTS: usize = 1 << PART_BITS;
/// A step of [`Ghost::follow`] ends behind the part with which it wrote so many rows: 48 KiB.
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
        self.parts[part].rows.get(row).map_or(&[], |row| &row.low)
    }

    /// Remembers a hash.
    pub(crate) fn remember(&mut self, hash: u64) {
        if let Some(row) = self.row_mut(hash) {
            row.push(fingerprint(hash));
        }
    }

    /// Whether this hash is remembered; it is forgotten.
    pub(crate) fn take(&mut self, hash: u64) -> bool {
        self.row_mut(hash).is_some_and(|row| row.take(fingerprint(hash)))
    }

    /// One step of following the number of items; returns how many rows it wrote. Without memory
    /// a part does not grow; to shrink it needs none.
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
        if wanted < now { self.shrink(wanted, shard, pool) } else { self.grow(wanted, shard, pool) }
    }

    /// Keeps the newest in fewer rows, where they lie: nothing is charged, so that this helps to
    /// keep a limit that was lowered. A row has room for those of two old ones: where more become
    /// one, the others are forgotten.
    fn shrink<M: Blocks>(&mut self, rows: usize, shard: usize, pool: &Pool<M>) -> usize {
        let now = self.rows.len();
        for row in 0..rows {
            // Where the quarters of its range lie. None before `row` is read any more.
            let [first, last] = [1, 3].map(|quarters| (4 * row + quarters) * now / (4 * rows));
            self.rows[row] = mixed(&self.rows[first], &self.rows[last]);
        }
        self.rows.truncate(rows);
        self.rows.shrink_to_fit();
        if let Some(charge) = &mut self.charge {
            let spare = charge.split(((now - rows) * ROW_BYTES) as u64);
            pool.unhold(shard, spare.bytes());
        }
        rows
    }

    fn grow<M: Blocks>(&mut self, wanted: usize, shard: usize, pool: &Pool<M>) -> usize {
        let now = self.rows.len();
        let rows = wanted + wanted / 8;
        // As a write: ghosts must not take the segment that relief needs.
        let Some(charge) = pool.charge((rows * ROW_BYTES) as u64, Need::Write) else { return 0 };
        let mut fresh = Vec::new();
        if fresh.try_reserve_exact(rows).is_err() {
            return 0;
        }
        fresh.extend((0..rows).map(|row| self.stretched(row, rows, now)));
        pool.hold(shard, charge.bytes());
        pool.unhold(shard, self.bytes());
        self.rows = fresh;
        self.charge = Some(charge);
        rows
    }

    /// What row `row` of `rows`, which are more than the present `now`, takes over. Rows are in the
    /// order of hashes, so a new one lies within one or two old ones.
    fn stretched(&self, row: usize, rows: usize, now: usize) -> Row {
        let first = self.rows.get(row * now / rows).copied().unwrap_or_default();
        let last = ((row + 1) * now).div_ceil(rows).saturating_sub(1);
        let last = self.rows.get(last).copied().unwrap_or_default();
        if first == last { first } else { mixed(&first, &last) }
    }
}

impl Row {
    fn bits(&self) -> (u128, u64) {
        (u128::from_le_bytes(self.low), u64::from_le_bytes(self.high))
    }

    fn of(low: u128, high: u64) -> Self {
        Self { low: low.to_le_bytes(), high: high.to_le_bytes() }
    }

    /// Takes a fingerprint in; the oldest goes.
    fn push(&mut self, print: u16) {
        let (low, high) = self.bits();
        let print_low = u128::from(print & ((1 << LOW_BITS) - 1));
        *self = Self::of((low << LOW_BITS) | print_low, (high << HIGH_BITS) | high_of(print));
    }

    /// Whether this fingerprint is in it; the newest such one goes.
    fn take(&mut self, print: u16) -> bool {
        let (low, high) = self.bits();
        let (print_low, print_high) = ((print & ((1 << LOW_BITS) - 1)) as u8, high_of(print));
        let found = self.low.iter().enumerate().position(|(at, &held)| {
            held == print_low && (high >> (HIGH_BITS * at as u32)) & 0xf == print_high
        });
        let Some(at) = found else { return false };
        // What is older moves up by one, and a free place comes in at the end.
        let newer_low = (1_u128 << (LOW_BITS * at as u32)) - 1;
        let newer_high = (1_u64 << (HIGH_BITS * at as u32)) - 1;
        *self = Self::of(
            (low & newer_low) | ((low >> LOW_BITS) & !newer_low),
            (high & newer_high) | ((high >> HIGH_BITS) & !newer_high),
        );
        true
    }
}

fn high_of(print: u16) -> u64 {
    u64::from(print >> LOW_BITS)
}

/// The newer halves of two rows.
fn mixed(first: &Row, last: &Row) -> Row {
    let ((low, high), (last_low, last_high)) = (first.bits(), last.bits());
    Row::of(
        (low & u128::from(u64::MAX)) | (last_low << u64::BITS),
        (high & u64::from(u32::MAX)) | (last_high << u32::BITS),
    )
}

/// Twelve bits, never 0, which marks a free place.
fn fingerprint(hash: u64) -> u16 {
    ((hash & 0xfff) as u16).max(1)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{Ghost, Row, fingerprint};
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
        assert!((7500..11_250).contains(&ghost.bytes()), "{}", ghost.bytes());
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
        assert!(ghost.bytes() >= 13_000 * 3 / 4, "{}", ghost.bytes());
        ghost.follow(20_000, &pool);
        assert!(ghost.bytes() >= 20_000 * 3 / 4, "{}", ghost.bytes());
        assert_eq!(ghost.bytes(), pool.budget.used());
    }

    #[test]
    fn fewer_items_need_no_memory_and_leave_the_latest() {
        let pool = Pool::new(Boxed, 1 << 20, &Geometry::of(0, 1024));
        let mut ghost = Ghost::new(0);
        ghost.follow(40_000, &pool);
        (0..60_000).for_each(|number| ghost.remember(hash(number)));
        // A limit that was lowered refuses whatever is asked for.
        pool.set_limit(0);
        ghost.follow(20_000, &pool);
        assert!((15_000..23_000).contains(&ghost.bytes()), "{}", ghost.bytes());
        assert_eq!([ghost.bytes(); 2], [pool.budget.used(), pool.held(0)]);
        let known = (57_000..60_000).filter(|&number| ghost.take(hash(number))).count();
        assert!(known > 2250, "{known} of the latest 3000");
        ghost.follow(0, &pool);
        assert_eq!((pool.budget.used(), pool.held(0)), (0, 0));
    }

    #[test]
    fn an_empty_place_is_nobodys() {
        let pool = Pool::new(Boxed, 1 << 20, &Geometry::of(0, 1024));
        let mut ghost = Ghost::new(0);
        ghost.follow(10_000, &pool);
        for top in 0..10_000_u64 {
            // Its fingerprint would be 0, as that of an empty place is.
            assert!(!ghost.take(top.wrapping_mul(0x9e37_79b9_7f4a_7c15) << 12));
        }
    }

    #[test]
    fn following_item_by_item_writes_each_row_a_few_times() {
        let pool = Pool::new(Boxed, 1 << 20, &Geometry::of(0, 1024));
        let mut ghost = Ghost::new(0);
        let written: usize = (0..200_000).step_by(50).map(|at| ghost.follow(at, &pool)).sum();
        let rows = usize::try_from(ghost.bytes()).unwrap() / super::ROW_BYTES;
        assert!(rows >= 200_000 / 2 / 16 && written < 16 * rows, "{written} for {rows}");
    }

    #[test]
    fn a_row_keeps_the_order_of_what_came_in() {
        let mut row = Row::default();
        let mut held = Vec::new();
        for number in 0..5000 {
            let print = fingerprint(hash(number));
            row.push(print);
            held.insert(0, print);
            held.truncate(16);
            // Something that is in it, or is not; twins go one at a time, the newest first.
            let sought =
                if number % 3 == 0 { hash(number + 7) } else { hash(number - number % 11) };
            let sought = fingerprint(sought);
            let at = held.iter().position(|&print| print == sought);
            assert_eq!(row.take(sought), at.is_some(), "{sought} of {held:?}");
            at.map(|at| held.remove(at));
        }
        assert!(held.iter().rev().all(|&print| row.take(print)));
        assert_eq!(row, Row::default(), "each went once");
        row.push(1);
        let mut other = Row::default();
        (2..20).for_each(|print| other.push(print << 4));
        let mut both = super::mixed(&row, &other);
        assert!(both.take(1) && both.take(19 << 4) && both.take(12 << 4) && !both.take(11 << 4));
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
        assert!(ghost.bytes() >= 3_000_000, "{}", ghost.bytes());
        assert_eq!(ghost.bytes(), pool.held(0));
    }
}
