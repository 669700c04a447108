//! The store's memory, from the system: carved from mappings that go back when they are empty.

use kannuki_store::blocks::{Blocks, Purpose};
use kannuki_sys::arena::{self, Arena};
use kannuki_sys::memory;

/// A large store of ours.
pub(crate) type Store = kannuki_store::Store<Pages>;
/// A value shared by reference, written to a socket from where it is.
pub(crate) type Chain = kannuki_store::chain::Chain<Block>;
/// A value that is still arriving.
pub(crate) type Reservation = kannuki_store::Reservation<Pages>;

/// What the ordinary allocator takes for a short block besides its bytes, about.
const SHORT_OVERHEAD_BYTES: usize = 16;

/// Blocks in whole pages, from mappings; what is shorter than a page from the ordinary allocator.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// In huge pages, as the index: a look-up touches two or three places in gigabytes, and the
    /// processor forgets the addresses of most small pages.
    segments: Arena,
    index: Arena,
    /// Pieces of large values come and go in odd sizes, which would leave holes in huge pages.
    values: Arena,
}

/// A block of [`Pages`]: as long as the longest variant, since tables of them are read at every
/// look-up.
#[derive(Debug)]
pub(crate) enum Block {
    /// Whole pages.
    Carved(arena::Block),
    /// Less than one.
    Short(Box<[u8]>),
}

const _: () = assert!(size_of::<Option<Block>>() == 32);

/// With memory of so many bytes or more the index gets huge pages too: one that is begun and not
/// filled is a 64th of it at most. Below, tables of pages are in the processor's caches anyway.
const HUGE_INDEX_FROM_BYTES: u64 = 128 << 20;

impl Pages {
    /// For a store with this limit. Nothing is mapped before it is asked for.
    pub(crate) fn new(memory_bytes: u64) -> Self {
        let huge_index = memory_bytes >= HUGE_INDEX_FROM_BYTES;
        Self {
            segments: Arena::tended(true),
            index: Arena::tended(huge_index),
            values: Arena::new(false),
        }
    }
}

impl Blocks for Pages {
    type Block = Block;

    fn block(&self, bytes: usize, purpose: Purpose) -> Option<Block> {
        if bytes < self.grain_bytes() {
            let mut block = Vec::new();
            block.try_reserve_exact(bytes).ok()?;
            block.resize(bytes, 0);
            return Some(Block::Short(block.into_boxed_slice()));
        }
        let arena = match purpose {
            Purpose::Segment => &self.segments,
            Purpose::Index => &self.index,
            Purpose::Value => &self.values,
        };
        arena.block(bytes).ok().map(Block::Carved)
    }

    fn cost(&self, bytes: usize) -> usize {
        if bytes < self.grain_bytes() {
            bytes.next_multiple_of(SHORT_OVERHEAD_BYTES) + SHORT_OVERHEAD_BYTES
        } else {
            self.values.cost(bytes)
        }
    }

    fn grain_bytes(&self) -> usize {
        self.values.page_bytes()
    }

    fn is_due(&self) -> bool {
        self.segments.is_due() || self.index.is_due()
    }

    fn tend(&self) {
        self.segments.tend();
        self.index.tend();
    }

    fn settle(&self) {
        self.segments.settle();
        self.index.settle();
        self.values.settle();
    }

    fn prefetch(&self, bytes: &[u8]) {
        memory::prefetch(bytes);
    }

    fn prefetch_value<T>(&self, value: &T) {
        memory::prefetch(value);
    }
}

impl AsRef<[u8]> for Block {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Carved(block) => block.as_ref(),
            Self::Short(block) => block,
        }
    }
}

impl AsMut<[u8]> for Block {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Carved(block) => block.as_mut(),
            Self::Short(block) => block,
        }
    }
}
