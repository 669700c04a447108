//! Where memory comes from: a trait that the server implements with page-aligned mappings, and a
//! default of boxed slices, so that the store can be tested alone.

/// A source of memory blocks and of prefetch.
pub trait Blocks: Send + Sync + 'static {
    /// An owned block. Dropping it gives its memory back to the system.
    type Block: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + 'static;

    /// A block of exactly `bytes` bytes with any contents, or `None` if the system has no more.
    fn block(&self, bytes: usize, purpose: Purpose) -> Option<Self::Block>;

    /// What a block of `bytes` bytes really takes from the system (whole pages, say); at least
    /// `bytes`. This is what the memory limit is charged with.
    fn cost(&self, bytes: usize) -> usize {
        bytes
    }

    /// From this many bytes on, blocks take multiples of it; shorter ones take little more than
    /// they have. The rest of a value is then a block of its own where that takes less.
    fn grain_bytes(&self) -> usize {
        1
    }

    /// Whether [`Self::tend`] has something to do. Asked before every write: costs next to nothing.
    fn is_due(&self) -> bool {
        false
    }

    /// Does what takes long: makes memory resident that blocks will soon need, gives back what lies
    /// free. The store calls it while it holds no lock.
    fn tend(&self) {}

    /// Gives back what no block needed since the last call. The store calls it every few seconds
    /// while it holds no lock.
    fn settle(&self) {}

    /// Asks the processor to bring the cache line at the start of `bytes` near. May do nothing.
    fn prefetch(&self, bytes: &[u8]);

    /// The same for the line at which `value` begins. May do nothing, as it does here.
    fn prefetch_value<T>(&self, value: &T) {
        let _ = value;
    }
}

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A segment: always as many bytes, a power of two of at least 4 KiB, and as many in all.
    Segment,
    /// A part of the index: the same with fewer bytes. Kept apart from segments, since in the place
    /// of one it would leave a hole that no other segment fits into.
    Index,
    /// A piece of a large value: any length, gone with the value.
    Value,
}

/// Blocks from the ordinary allocator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boxed;

impl Blocks for Boxed {
    type Block = Box<[u8]>;

    fn block(&self, bytes: usize, _: Purpose) -> Option<Box<[u8]>> {
        let mut block = Vec::new();
        block.try_reserve_exact(bytes).ok()?;
        block.resize(bytes, 0);
        Some(block.into_boxed_slice())
    }

    /// A load that nothing waits for: processors go on past it.
    fn prefetch(&self, bytes: &[u8]) {
        std::hint::black_box(bytes.first().copied());
    }
}
