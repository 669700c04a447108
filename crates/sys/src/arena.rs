//! Blocks carved from large mappings, so that a block below the size of a huge page can lie in one,
//! and so that a million blocks are not a million mappings (the kernel allows 65 530).
//!
//! Pages that are given back stay resident for the next block, up to [`STALE_BYTES_MAX`]; beyond,
//! all of them go to the system. A chunk that is empty is unmapped.
//!
//! An arena that is tended leaves what takes long to [`Arena::tend`], which its user calls where
//! nobody waits: pages that grow into memory never used are made resident before a block needs
//! them, and what lies free goes back to the system there. [`Arena::settle`], called now and then,
//! gives back what nothing needed for a while.
//!
//! Invariants: a page of a chunk is taken by one [`Block`] at most; a chunk is mapped as long as one
//! of its pages is taken; nobody but the block's owner reads or writes a taken page, and nobody at
//! all one that is free.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory;

mod chunk;
#[cfg(test)]
mod tests;
use chunk::Chunk;

/// The longest block, in bytes: a chunk holds many, so that little is lost at its end.
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Bytes of one mapping: large, so that there are few, and small beside any memory limit.
const CHUNK_BYTES: usize = 32 << 20;
/// Free pages kept resident, in bytes: what is evicted makes room for what comes next without a
/// call to the system or a fault. Giving this much back takes some hundred microseconds at most.
pub const STALE_BYTES_MAX: usize = 4 << 20;
/// A tended arena that grows has so much more resident than is taken, in bytes: what writers take
/// while one of them waits for the next huge page. With it stale pages stay below their most.
const AHEAD_BYTES: usize = 1 << 20;
/// Free pages kept resident in an arena that does not grow, beside those that were needed since
/// [`Arena::settle`] was called before, in bytes.
const SETTLED_BYTES: usize = 128 << 10;
/// Where huge pages begin; where they have another size, some alignment is lost, nothing else.
const HUGE_BYTES: usize = 2 << 20;

const _: () = assert!(AHEAD_BYTES + HUGE_BYTES <= STALE_BYTES_MAX);

/// A source of blocks. Clones share their chunks.
#[derive(Clone, Debug)]
pub struct Arena(Arc<Shared>);

/// An owned, page-aligned piece of memory. Its first contents are zeros or what an earlier block of
/// the same arena left.
///
/// Two of them fill a cache line, and none lies across two: a table of blocks is read at every
/// look-up.
#[repr(align(32))]
pub struct Block {
    start: NonNull<u8>,
    arena: Arc<Shared>,
    bytes: u32,
    chunk: u32,
    first: u32,
    kind: Kind,
}

/// Leaves values that an enum around a block can tell its other variants by, without a tag.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Kind {
    Pages = 1,
}

const _: () = assert!(BLOCK_BYTES_MAX <= u32::MAX as usize && size_of::<Block>() == 32);

/// Pages of a chunk.
#[derive(Clone, Copy, Debug)]
struct Span {
    chunk: usize,
    first: usize,
    pages: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    huge: bool,
    page_bytes: usize,
    /// What takes long is left to [`Arena::tend`].
    tended: bool,
    /// There is something to tend.
    due: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    chunks: Vec<Option<Chunk>>,
    /// Pages that are free and still resident.
    stale_pages: usize,
    /// Pages in blocks.
    taken_pages: usize,
    /// Most that `taken_pages` was; beyond it memory comes anew. What a full cache takes and gives
    /// lies below, so nothing is brought for it.
    peak_pages: usize,
    /// What `peak_pages` was when [`Arena::settle`] was called last.
    settled_peak_pages: usize,
    /// Fewest stale pages since then.
    idle_pages: usize,
    /// They were more than ever when little was left: [`Arena::tend`] is to bring some.
    is_growing: bool,
}

/// Of a kernel that does not say, which no Linux is.
const PAGE_BYTES_USUAL: usize = 4096;

impl Arena {
    /// An arena without memory. `huge` asks for huge pages, where the kernel has some: for what
    /// stays, costly for what comes and goes in odd sizes.
    #[must_use]
    pub fn new(huge: bool) -> Self {
        Self::with(huge, false)
    }

    /// The same, for users that call [`Self::tend`] whenever [`Self::is_due`].
    #[must_use]
    pub fn tended(huge: bool) -> Self {
        Self::with(huge, true)
    }

    fn with(huge: bool, tended: bool) -> Self {
        // Not by rustix, which reads pages of the kernel's that are not there under valgrind.
        // SAFETY: it takes and returns a number.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page_bytes = usize::try_from(page_bytes).unwrap_or(PAGE_BYTES_USUAL);
        let state = Mutex::new(State { is_growing: true, ..State::default() });
        // The first block grows too.
        let due = AtomicBool::new(tended && huge);
        Self(Arc::new(Shared { state, huge, page_bytes, tended, due }))
    }

    /// Whether [`Self::tend`] has something to do. Costs one load.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.0.due.load(Ordering::Relaxed)
    }

    /// Makes a huge page resident if blocks grow and little is left, and gives back what lies free.
    /// May take milliseconds: call it where nobody waits. Others get blocks meanwhile.
    pub fn tend(&self) {
        if self.0.due.swap(false, Ordering::Relaxed) {
            // In this order: a chunk that was brought has no block yet, as one to give back.
            self.give_back();
            self.bring();
        }
    }

    fn bring(&self) {
        let arena = &*self.0;
        let pages = HUGE_BYTES / arena.page_bytes;
        if !arena.huge || pages == 0 {
            return;
        }
        let found = {
            let mut state = arena.state();
            let is_growing = std::mem::take(&mut state.is_growing);
            // Holes are filled first, by small pages.
            if !is_growing || !state.is_scarce(arena) || state.is_hollow(arena) {
                return;
            }
            state.claim_fresh(pages, arena)
        };
        // Refused, it is for whoever needs a block to say so.
        let Ok((span, start)) = found else { return };
        // SAFETY: the pages were free and are claimed for this span alone, so nobody refers to them
        // and their chunk stays mapped until they are left below.
        unsafe { memory::populate(start, pages * arena.page_bytes, arena.page_bytes) };
        let mut state = arena.state();
        if let Some(Some(chunk)) = state.chunks.get_mut(span.chunk) {
            chunk.leave(span.first, span.pages);
            state.stale_pages += span.pages;
        }
    }

    /// Gives back what was free all the time since the last call, if nothing grew since. To be
    /// called every few seconds: what comes and goes meanwhile keeps its memory.
    pub fn settle(&self) {
        let arena = &*self.0;
        let (parts, mut surplus) = {
            let mut state = arena.state();
            let has_grown = state.peak_pages != state.settled_peak_pages;
            state.settled_peak_pages = state.peak_pages;
            let surplus = state.idle_pages.saturating_sub(SETTLED_BYTES / arena.page_bytes);
            state.idle_pages = state.stale_pages;
            if has_grown || surplus == 0 {
                return;
            }
            (state.stalest(arena), surplus)
        };
        // Bound: the huge pages that stale pages lie in, and those are few. One at a time, so that
        // whoever needs a block waits for one at most.
        for (_, number, part) in parts {
            if surplus == 0 {
                return;
            }
            let mut state = arena.state();
            let Some(Some(chunk)) = state.chunks.get_mut(number) else { continue };
            let purged = chunk.purge_part(part, surplus, arena);
            surplus -= purged;
            state.unstale(purged);
        }
    }

    fn give_back(&self) {
        let arena = &*self.0;
        let (empty, chunks) = {
            let mut state = arena.state();
            let empty = state.take_empty(arena);
            (empty, if state.is_stale(arena) { state.chunks.len() } else { 0 })
        };
        // Unmapped without the lock.
        drop(empty);
        // Bound: the chunks. One at a time, so that whoever needs a block waits for one at most.
        for number in 0..chunks {
            arena.state().purge(number, arena);
        }
    }

    /// What a block of `bytes` bytes really takes: whole pages.
    #[must_use]
    pub fn cost(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(self.0.page_bytes)
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.0.page_bytes
    }

    /// A block of 1 to [`BLOCK_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// `InvalidInput` for another length; else what the kernel answers (`OutOfMemory`).
    pub fn block(&self, bytes: usize) -> io::Result<Block> {
        if bytes == 0 || bytes > BLOCK_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a block needs 1 to 4 MiB"));
        }
        let pages = bytes.div_ceil(self.0.page_bytes);
        // Inside a huge page, and not across two, where there are some.
        let align = if self.0.huge { pages.next_power_of_two() } else { 1 };
        let mut state = self.0.state();
        let (span, start) = state.take(pages, align, &self.0)?;
        let (Ok(chunk), Ok(first), Ok(bytes)) =
            (u32::try_from(span.chunk), u32::try_from(span.first), u32::try_from(bytes))
        else {
            state.take_back(span, &self.0);
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        Ok(Block { start, arena: Arc::clone(&self.0), bytes, chunk, first, kind: Kind::Pages })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way but a failed allocation, which aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pages_of_chunk(&self) -> usize {
        CHUNK_BYTES / self.page_bytes
    }

    /// One at least: pages of more than 2 MiB are not known.
    fn pages_of_huge(&self) -> usize {
        (HUGE_BYTES / self.page_bytes).max(1)
    }
}

impl State {
    fn take(
        &mut self,
        pages: usize,
        align: usize,
        arena: &Shared,
    ) -> io::Result<(Span, NonNull<u8>)> {
        // What is resident is used first. If any free page did, those that were given back would be
        // taken, others would grow stale in their stead, and be given back too, without end.
        for only_stale in [true, false] {
            for (number, chunk) in self.chunks.iter_mut().enumerate() {
                let Some(chunk) = chunk else { continue };
                if let Some(first) = chunk.find(pages, align, only_stale) {
                    let stale = chunk.claim(first, pages, arena);
                    let span = Span { chunk: number, first, pages };
                    let start = chunk.address(first, arena);
                    self.unstale(stale);
                    self.note_taken(pages, arena);
                    return Ok((span, start));
                }
            }
        }
        let (span, start) = self.add_chunk(pages, arena)?;
        self.note_taken(pages, arena);
        Ok((span, start))
    }

    /// Counts a block's pages; when they are more than ever, what comes next is perhaps brought.
    fn note_taken(&mut self, pages: usize, arena: &Shared) {
        self.taken_pages += pages;
        if self.taken_pages > self.peak_pages {
            self.peak_pages = self.taken_pages;
            if arena.tended && arena.huge && self.is_scarce(arena) {
                self.is_growing = true;
                arena.due.store(true, Ordering::Relaxed);
            }
        }
    }

    /// So many pages are stale no more.
    fn unstale(&mut self, pages: usize) {
        self.stale_pages -= pages;
        self.idle_pages = self.idle_pages.min(self.stale_pages);
    }

    /// Where pages are best given back, that first in which most are stale: by number of chunk and
    /// huge page. Huge pages that are whole and in use but for a little are left out.
    fn stalest(&self, arena: &Shared) -> Vec<(usize, usize, usize)> {
        let chunks = self.chunks.iter().enumerate();
        let chunks = chunks.filter_map(|(number, chunk)| Some((number, chunk.as_ref()?)));
        let mut found: Vec<_> = chunks
            .flat_map(|(number, chunk)| {
                chunk.stale_parts(arena).map(move |(weight, part)| (weight, number, part))
            })
            .collect();
        found.sort_unstable();
        found.reverse();
        found
    }

    /// Whether there are holes for some blocks more.
    fn is_hollow(&self, arena: &Shared) -> bool {
        let hollow = |chunk: &Chunk| chunk.hollow_pages(arena);
        let pages: usize = self.chunks.iter().flatten().map(hollow).sum();
        pages * arena.page_bytes >= AHEAD_BYTES
    }

    /// Whether the next blocks would soon take pages that are not there.
    const fn is_scarce(&self, arena: &Shared) -> bool {
        self.stale_pages * arena.page_bytes < AHEAD_BYTES
    }

    const fn is_stale(&self, arena: &Shared) -> bool {
        self.stale_pages * arena.page_bytes > STALE_BYTES_MAX
    }

    /// Claims `pages` pages, whole huge ones, none of which is resident. Not counted as taken.
    fn claim_fresh(&mut self, pages: usize, arena: &Shared) -> io::Result<(Span, NonNull<u8>)> {
        for (number, chunk) in self.chunks.iter_mut().enumerate() {
            let Some(chunk) = chunk else { continue };
            if let Some(first) = chunk.find_fresh(pages) {
                chunk.claim(first, pages, arena);
                return Ok((Span { chunk: number, first, pages }, chunk.address(first, arena)));
            }
        }
        self.add_chunk(pages, arena)
    }

    /// A chunk more, its first pages claimed.
    fn add_chunk(&mut self, pages: usize, arena: &Shared) -> io::Result<(Span, NonNull<u8>)> {
        let mut chunk = Chunk::new(arena)?;
        chunk.claim(0, pages, arena);
        let start = chunk.address(0, arena);
        let vacant = self.chunks.iter().position(Option::is_none);
        let number = vacant.unwrap_or(self.chunks.len());
        match self.chunks.get_mut(number) {
            Some(place) => *place = Some(chunk),
            None => self.chunks.push(Some(chunk)),
        }
        Ok((Span { chunk: number, first: 0, pages }, start))
    }

    fn take_back(&mut self, span: Span, arena: &Shared) {
        let Some(Some(chunk)) = self.chunks.get_mut(span.chunk) else { return };
        chunk.leave(span.first, span.pages);
        self.stale_pages += span.pages;
        self.taken_pages -= span.pages;
        let is_empty = chunk.free_pages == arena.pages_of_chunk();
        if arena.tended {
            if is_empty || self.is_stale(arena) {
                arena.due.store(true, Ordering::Relaxed);
            }
        } else if is_empty && self.chunks.iter().flatten().count() > 1 {
            self.forget_chunk(span.chunk);
        } else if self.is_stale(arena) {
            (0..self.chunks.len()).for_each(|number| self.purge(number, arena));
        }
    }

    /// Takes out the chunks that no block is in; one chunk stays.
    fn take_empty(&mut self, arena: &Shared) -> Vec<Chunk> {
        let mut left = self.chunks.iter().flatten().count();
        let mut empty = Vec::new();
        for number in 0..self.chunks.len() {
            let Some(Some(chunk)) = self.chunks.get(number) else { continue };
            if left > 1 && chunk.free_pages == arena.pages_of_chunk() {
                empty.extend(self.forget_chunk(number));
                left -= 1;
            }
        }
        empty
    }

    fn forget_chunk(&mut self, number: usize) -> Option<Chunk> {
        let chunk = self.chunks.get_mut(number)?.take()?;
        self.unstale(chunk.stale_pages);
        self.peak_pages = self.taken_pages;
        Some(chunk)
    }

    /// Gives a chunk's stale pages to the system.
    fn purge(&mut self, number: usize, arena: &Shared) {
        let Some(Some(chunk)) = self.chunks.get_mut(number) else { return };
        let stale = chunk.stale_pages;
        chunk.purge(arena);
        self.unstale(stale);
        // Where blocks shrank by more than a chunk they may grow anew.
        self.peak_pages = self.peak_pages.min(self.taken_pages + arena.pages_of_chunk());
    }
}
impl AsRef<[u8]> for Block {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the span's pages are mapped and initialised (zeroed by the kernel, or written by
        // an earlier block), are this block's alone and stay mapped until it is dropped; `&self`
        // rules out a concurrent `&mut [u8]`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes as usize) }
    }
}

impl AsMut<[u8]> for Block {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`, and writable; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes as usize) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let pages = (self.bytes as usize).div_ceil(self.arena.page_bytes);
        let span = Span { chunk: self.chunk as usize, first: self.first as usize, pages };
        self.arena.state().take_back(span, &self.arena);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("bytes", &self.bytes)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

// SAFETY: a block owns its memory alone, like `Box<[u8]>`; the arena it goes back to is behind a
// mutex.
unsafe impl Send for Block {}

// SAFETY: through `&Block` the memory can only be read.
unsafe impl Sync for Block {}
