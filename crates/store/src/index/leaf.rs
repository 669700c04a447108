//! A leaf of the index: which chunks of buckets hold the items of one prefix.

use super::bucket::CHUNK_BUCKETS;

/// Half a cache line, and never across two: every look-up reads one of many.
#[derive(Clone, Debug)]
#[repr(align(32))]
pub(super) struct Leaf {
    chunks: [[u8; 3]; LEAF_CHUNKS_MAX],
    pub(super) count: u8,
    pub(super) depth: u8,
    pub(super) items: u16,
    /// The first `depth` bits of the hashes in it, without those that chose the shard.
    pub(super) prefix: u32,
}

const _: () = assert!(size_of::<Leaf>() == 32);

/// What three bytes can tell: an index of 4 GiB, twice as much as a shard can have of records.
pub(super) const CHUNKS_MAX: usize = 1 << 24;
/// Splitting reads the key of every item in a leaf: 296 reads take some 30 us.
pub(super) const LEAF_CHUNKS_MAX: usize = 8;

impl Leaf {
    /// Of this prefix, without chunks.
    pub(super) const fn at(depth: u8, prefix: u32) -> Self {
        Self { chunks: [[0; 3]; LEAF_CHUNKS_MAX], count: 0, depth, items: 0, prefix }
    }

    /// Buckets in its chunks.
    #[inline]
    pub(super) fn buckets(&self) -> usize {
        usize::from(self.count) * CHUNK_BUCKETS
    }

    /// The number of one of them.
    #[inline]
    pub(super) fn chunk(&self, which: usize) -> u32 {
        let [low, middle, high] = self.chunks[which];
        u32::from_le_bytes([low, middle, high, 0])
    }

    pub(super) fn set_chunk(&mut self, which: usize, chunk: u32) {
        let [low, middle, high, _] = chunk.to_le_bytes();
        self.chunks[which] = [low, middle, high];
    }

    /// The numbers of its chunks.
    pub(super) fn owned(&self) -> impl Iterator<Item = u32> {
        (0..usize::from(self.count)).map(|which| self.chunk(which))
    }

    /// Has these chunks from now on, [`LEAF_CHUNKS_MAX`] at most.
    pub(super) fn own(&mut self, chunks: &[u32]) {
        chunks.iter().enumerate().for_each(|(which, &chunk)| self.set_chunk(which, chunk));
        self.count = chunks.len() as u8;
    }
}
