//! How much is done under one lock, counted by what was worked on, never by time. Only tests count;
//! elsewhere [`note`] is nothing.

/// What takes time under a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Records or large items that relief or the sweep looked at.
    Records,
    /// Entries of a queue that were looked at or passed over.
    Entries,
    /// Rows of ghosts that were written.
    GhostRows,
    /// Keys that were read and hashed.
    Keys,
    /// Segments that were looked through for one that is mostly dead.
    Segments,
    /// Bytes of blocks that were taken from or given back to the system.
    #[cfg(test)]
    BlockBytes,
    /// Bytes of blocks that the system had to find first, or that it was given back for good.
    #[cfg(test)]
    SystemBytes,
}

#[cfg(not(test))]
pub(crate) const fn note(_: Work, _: usize) {}

#[cfg(test)]
pub(crate) use counting::{begin, end, most, note, reset};

#[cfg(test)]
mod counting {
    use std::cell::Cell;

    use super::Work;

    const KINDS: usize = Work::SystemBytes as usize + 1;

    thread_local! {
        /// Since this thread took its lock; `None` while it holds none.
        static NOW: Cell<Option<[usize; KINDS]>> = const { Cell::new(None) };
        static MOST: Cell<[usize; KINDS]> = const { Cell::new([0; KINDS]) };
    }

    pub(crate) fn begin() {
        NOW.set(Some([0; KINDS]));
    }

    pub(crate) fn end() {
        let Some(now) = NOW.take() else { return };
        let mut most = MOST.get();
        most.iter_mut().zip(now).for_each(|(most, now)| *most = (*most).max(now));
        MOST.set(most);
    }

    /// Counts; nothing while this thread holds no lock.
    pub(crate) fn note(work: Work, amount: usize) {
        if let Some(mut now) = NOW.get() {
            now[work as usize] += amount;
            NOW.set(Some(now));
        }
    }

    /// The most under one lock of this thread since [`reset`].
    pub(crate) fn most(work: Work) -> usize {
        MOST.get()[work as usize]
    }

    pub(crate) fn reset() {
        MOST.set([0; KINDS]);
    }
}
