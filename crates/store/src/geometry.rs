//! How memory is cut: number of shards, bytes of a segment and of what is measured by it.
//!
//! Invariants: shards and segment bytes are powers of two; every byte that a shard may hold can be
//! addressed by a [`crate::location::Location`].

use crate::face::{BuildError, StoreConfig};
use crate::location::GRANULE_BYTES;

/// The measures of one store; fixed for its life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Logarithm of the number of shards.
    pub(crate) shard_bits: u32,
    /// Bytes of a segment.
    pub(crate) segment_bytes: usize,
    /// Largest record kept in a segment; a larger item is a chain of pieces. An eighth, so that a
    /// record that does not fit at a segment's end wastes a sixteenth of it on average at worst.
    pub(crate) record_bytes_max: usize,
    /// Largest piece of a chain.
    pub(crate) piece_bytes: usize,
    /// Bytes by which the index grows.
    pub(crate) slab_bytes: usize,
}

/// Shards for each worker thread: with four, two threads rarely meet at one lock.
const SHARDS_PER_THREAD: usize = 4;
/// More shards than this are only made where locations need them: each holds open segments.
const SHARDS_MAX: usize = 256;
/// Long segments lose memory because two or three of each shard are open or half drained, short
/// ones at their ends, half a record each. With this many bytes for a record, both losses together
/// are least where a segment has the root of (record / 3) * (bytes of a shard).
const RECORD_BYTES_USUAL: u64 = 512;
/// Never fewer than this: eviction would be coarse, and open segments a noticeable loss.
const SEGMENTS_PER_SHARD_MIN: u64 = 64;
/// Where memory allows: values up to an eighth of it are records, without pieces of their own.
const SEGMENT_BYTES_WANTED: u64 = 64 << 10;
/// Below this, the table of segments and the ends of segments would weigh too much.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// Above this, draining one takes long, and nothing is won.
const SEGMENT_BYTES_MAX: u64 = 1 << 20;
/// A shard is planned for at most half of what its locations can address, so that an uneven share
/// or a limit raised later still fits.
const SHARD_BYTES_PLANNED: u64 = ((1 << 31) * GRANULE_BYTES as u64) / 2;
/// Planned shards above this would make `stats` and relief walk too many.
const SHARDS_ADDRESSED_MAX: u64 = 1 << 14;
/// Pieces smaller than this would cost more in bookkeeping and in vectors of a write.
const PIECE_BYTES_MIN: usize = 64 << 10;
/// Pieces larger than this would take too long to copy under a lock when values are joined.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// The index of a shard grows by blocks between these: half of the last one is unused on average.
const SLAB_BYTES_MIN: usize = 4 << 10;
/// See [`SLAB_BYTES_MIN`]; longer ones save nothing in their table.
const SLAB_BYTES_MAX: usize = 64 << 10;

/// The least memory a store can be built with.
pub(crate) const MEMORY_BYTES_MIN: u64 = SEGMENTS_PER_SHARD_MIN * SEGMENT_BYTES_MIN;
/// The most: what the largest number of shards is planned for.
pub(crate) const MEMORY_BYTES_MAX: u64 = SHARDS_ADDRESSED_MAX * SHARD_BYTES_PLANNED;

impl Geometry {
    pub(crate) fn new(config: &StoreConfig) -> Result<Self, BuildError> {
        if config.threads == 0 {
            return Err(BuildError::NoThreads);
        }
        let memory = config.memory_bytes;
        if memory < MEMORY_BYTES_MIN {
            return Err(BuildError::MemoryTooSmall { least: MEMORY_BYTES_MIN });
        }
        if memory > MEMORY_BYTES_MAX {
            return Err(BuildError::MemoryTooLarge { most: MEMORY_BYTES_MAX });
        }
        let wanted = config.threads.saturating_mul(SHARDS_PER_THREAD).min(SHARDS_MAX);
        // Small memory is rather cut into few shards than into tiny segments.
        let fits = memory / (2 * SEGMENTS_PER_SHARD_MIN * SEGMENT_BYTES_WANTED);
        let least = memory.div_ceil(SHARD_BYTES_PLANNED).next_power_of_two();
        let shards = (wanted.next_power_of_two() as u64).min(floor_power(fits)).max(least);
        let most = floor_power(memory / (SEGMENTS_PER_SHARD_MIN * shards));
        // Doubled below the root, so that the power of two below it is the nearest one.
        let best = (2 * RECORD_BYTES_USUAL / 3).saturating_mul(memory / shards).isqrt();
        let segment = floor_power(best)
            .clamp(SEGMENT_BYTES_WANTED, SEGMENT_BYTES_MAX)
            .min(most.max(SEGMENT_BYTES_MIN));
        Ok(Self::of(shards.ilog2(), usize::try_from(segment).unwrap_or(1 << 20)))
    }

    /// Any measures: tests use tiny ones.
    pub(crate) fn of(shard_bits: u32, segment_bytes: usize) -> Self {
        Self {
            shard_bits,
            segment_bytes,
            record_bytes_max: segment_bytes / 8,
            piece_bytes: segment_bytes.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX),
            slab_bytes: (segment_bytes / 4).clamp(SLAB_BYTES_MIN, SLAB_BYTES_MAX),
        }
    }

    /// Bytes that the locations of all shards can address, less what an uneven share may waste.
    pub(crate) const fn addressable_bytes(&self) -> u64 {
        (SHARD_BYTES_PLANNED << self.shard_bits) / 2 * 3
    }

    pub(crate) const fn shards(&self) -> usize {
        1 << self.shard_bits
    }
}

fn floor_power(number: u64) -> u64 {
    1 << number.max(1).ilog2()
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{BuildError, Geometry, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, StoreConfig};

    fn config(memory_bytes: u64, threads: usize) -> StoreConfig {
        let item_bytes_max = 1 << 20;
        StoreConfig { memory_bytes, item_bytes_max, evict: true, cas: true, threads, seed: [0; 16] }
    }

    #[test]
    fn every_memory_gets_enough_segments() {
        let mut memory = MEMORY_BYTES_MIN;
        while memory <= MEMORY_BYTES_MAX {
            for threads in [1, 2, 4, 7, 64, 1000] {
                let cut = Geometry::new(&config(memory, threads)).unwrap();
                let segments = memory / (cut.shards() * cut.segment_bytes) as u64;
                assert!(segments >= 64, "{memory} {threads} {cut:?}");
                assert!(memory / cut.shards() as u64 <= super::SHARD_BYTES_PLANNED);
                assert!(cut.segment_bytes.is_power_of_two());
            }
            memory = memory / 2 * 3;
        }
        let usual = Geometry::new(&config(64 << 20, 4)).unwrap();
        assert_eq!((usual.shards(), usual.segment_bytes), (8, 64 << 10));
        let between = Geometry::new(&config(2 << 30, 4)).unwrap();
        assert_eq!((between.shards(), between.segment_bytes), (16, 128 << 10));
        let large = Geometry::new(&config(4 << 30, 4)).unwrap();
        assert_eq!((large.shards(), large.segment_bytes), (16, 256 << 10));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let cut = |memory, threads| Geometry::new(&config(memory, threads)).map(|_| ());
        assert_eq!(cut(64 << 20, 0), Err(BuildError::NoThreads));
        assert!(matches!(cut(1000, 1), Err(BuildError::MemoryTooSmall { least: 1_048_576 })));
        assert!(matches!(cut(u64::MAX, 1), Err(BuildError::MemoryTooLarge { .. })));
    }
}
