//! The store's memory, from the system: page-aligned mappings that go back when they are dropped.

use kannuki_store::blocks::Blocks;
use kannuki_sys::memory::{self, Mapping};

/// A large store of ours.
pub(crate) type Store = kannuki_store::Store<Pages>;
/// A value shared by reference, written to a socket from where it is.
pub(crate) type Chain = kannuki_store::chain::Chain<Mapping>;
/// A value that is still arriving.
pub(crate) type Reservation = kannuki_store::Reservation<Pages>;

/// Blocks at least this large are worth huge pages: one is 2 MiB on most machines.
const HUGE_BYTES_MIN: usize = 2 * 1024 * 1024;

/// A mapping takes whole pages; on most machines they have this size.
const PAGE_BYTES: usize = 4096;

/// Blocks as anonymous mappings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pages;

impl Blocks for Pages {
    type Block = Mapping;

    fn block(&self, bytes: usize) -> Option<Mapping> {
        let mapping = Mapping::new(bytes).ok()?;
        if bytes >= HUGE_BYTES_MIN {
            // Advice that is refused costs speed, nothing else.
            let _ = mapping.advise_huge();
        }
        Some(mapping)
    }

    fn cost(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(PAGE_BYTES)
    }

    fn prefetch(&self, bytes: &[u8]) {
        memory::prefetch(bytes);
    }

    fn prefetch_value<T>(&self, value: &T) {
        memory::prefetch(value);
    }
}
