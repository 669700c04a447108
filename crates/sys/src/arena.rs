//! Blocks carved from large mappings, so that a block below the size of a huge page can lie in one,
//! and so that a million blocks are not a million mappings (the kernel allows 65 530).
//!
//! Pages that are given back stay resident for the next block, up to [`STALE_BYTES_MAX`]; beyond,
//! all of them go to the system. A chunk that is empty is unmapped.
//!
//! An arena that is tended leaves what takes long to [`Arena::tend`], which its user calls where
//! nobody waits: pages that grow into memory never used are made resident before a block needs
//! them, and what lies free goes back to the system there.
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

use crate::memory::{self, Mapping};

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
/// Where huge pages begin; where they have another size, some alignment is lost, nothing else.
const HUGE_BYTES: usize = 2 << 20;

const _: () = assert!(AHEAD_BYTES + HUGE_BYTES <= STALE_BYTES_MAX);

const WORD_PAGES: usize = u64::BITS as usize;

/// A source of blocks. Clones share their chunks.
#[derive(Clone, Debug)]
pub struct Arena(Arc<Shared>);

/// An owned, page-aligned piece of memory. Its first contents are zeros or what an earlier block of
/// the same arena left.
pub struct Block {
    start: NonNull<u8>,
    bytes: usize,
    span: Span,
    arena: Arc<Shared>,
}

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
    /// They were more than ever when little was left: [`Arena::tend`] is to bring some.
    is_growing: bool,
}

#[derive(Debug)]
struct Chunk {
    mapping: Mapping,
    /// Bytes from the mapping's start to the first page, for alignment.
    offset: usize,
    taken: Pages,
    /// Free, but resident.
    stale: Pages,
    stale_pages: usize,
    free_pages: usize,
    /// So many free pages in a row were not there, and nothing was given back since.
    missed_pages: usize,
    /// The same of stale ones.
    missed_stale_pages: usize,
    /// No huge pages any more, since parts of some were given back: holes would be filled.
    plain: bool,
}

/// Of a kernel that does not say, which no Linux is.
const PAGE_BYTES_USUAL: usize = 4096;

/// A bit for each page.
#[derive(Debug)]
struct Pages(Vec<u64>);

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
            if !is_growing || !state.is_scarce(arena) {
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
        Ok(Block { start, bytes, span, arena: Arc::clone(&self.0) })
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
                    self.stale_pages -= chunk.claim(first, pages);
                    let span = Span { chunk: number, first, pages };
                    let start = chunk.address(first, arena);
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
                chunk.claim(first, pages);
                return Ok((Span { chunk: number, first, pages }, chunk.address(first, arena)));
            }
        }
        self.add_chunk(pages, arena)
    }

    /// A chunk more, its first pages claimed.
    fn add_chunk(&mut self, pages: usize, arena: &Shared) -> io::Result<(Span, NonNull<u8>)> {
        let mut chunk = Chunk::new(arena)?;
        chunk.claim(0, pages);
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
        self.stale_pages -= chunk.stale_pages;
        self.peak_pages = self.taken_pages;
        Some(chunk)
    }

    /// Gives a chunk's stale pages to the system.
    fn purge(&mut self, number: usize, arena: &Shared) {
        let Some(Some(chunk)) = self.chunks.get_mut(number) else { return };
        self.stale_pages -= chunk.stale_pages;
        chunk.purge(arena);
        // Where blocks shrank by more than a chunk they may grow anew.
        self.peak_pages = self.peak_pages.min(self.taken_pages + arena.pages_of_chunk());
    }
}

impl Chunk {
    fn new(arena: &Shared) -> io::Result<Self> {
        let mapping = Mapping::new(CHUNK_BYTES + HUGE_BYTES)?;
        if arena.huge {
            // Advice that is refused costs speed, nothing else.
            let _ = mapping.advise_huge();
        }
        let address = mapping.start().addr().get();
        let pages = arena.pages_of_chunk();
        let words = pages.div_ceil(WORD_PAGES);
        Ok(Self {
            mapping,
            offset: address.next_multiple_of(HUGE_BYTES) - address,
            taken: Pages(vec![0; words]),
            stale: Pages(vec![0; words]),
            stale_pages: 0,
            free_pages: pages,
            missed_pages: usize::MAX,
            missed_stale_pages: usize::MAX,
            plain: !arena.huge,
        })
    }

    /// The first run of `pages` free pages; of free and stale ones with `only_stale`.
    fn find(&mut self, pages: usize, align: usize, only_stale: bool) -> Option<usize> {
        // Pages that differ from `flip` in `bits` are in the way.
        let (bits, flip, count, missed) = if only_stale {
            (&self.stale, u64::MAX, self.stale_pages, &mut self.missed_stale_pages)
        } else {
            (&self.taken, 0, self.free_pages, &mut self.missed_pages)
        };
        if pages > count || pages >= *missed {
            return None;
        }
        let total = bits.0.len() * WORD_PAGES;
        let mut at = 0;
        // Bound: each round goes on behind a page in the way, or by a word full of them.
        while at + pages <= total {
            let Some(last) = bits.last(at, pages, flip) else { return Some(at) };
            at = (last + 1).next_multiple_of(align);
            while at.is_multiple_of(WORD_PAGES) && bits.0.get(at / WORD_PAGES) == Some(&!flip) {
                at = (at + WORD_PAGES).next_multiple_of(align);
            }
        }
        *missed = pages;
        None
    }

    /// The first whole huge page, of `pages`, that is free and not there.
    fn find_fresh(&self, pages: usize) -> Option<usize> {
        let total = self.taken.0.len() * WORD_PAGES;
        let is_fresh = |&first: &usize| {
            [&self.taken, &self.stale].iter().all(|bits| bits.last(first, pages, 0).is_none())
        };
        // In a plain chunk small pages come one by one, which takes no longer than a step may.
        let may = !self.plain && self.free_pages >= self.stale_pages + pages;
        may.then(|| (0..total / pages).map(|at| at * pages).find(is_fresh)).flatten()
    }

    /// Marks free pages as taken; returns how many of them were stale.
    fn claim(&mut self, first: usize, pages: usize) -> usize {
        self.taken.set(first, pages, true);
        let stale = self.stale.set(first, pages, false);
        self.stale_pages -= stale;
        self.free_pages -= pages;
        stale
    }

    /// Marks taken pages as free and stale.
    fn leave(&mut self, first: usize, pages: usize) {
        self.taken.set(first, pages, false);
        self.stale.set(first, pages, true);
        self.stale_pages += pages;
        self.free_pages += pages;
        self.missed_pages = usize::MAX;
        self.missed_stale_pages = usize::MAX;
    }

    fn address(&self, page: usize, arena: &Shared) -> NonNull<u8> {
        let bytes = self.offset + page * arena.page_bytes;
        // SAFETY: a chunk's pages lie inside its mapping: the offset is below `HUGE_BYTES`, a page
        // number below `pages_of_chunk`, and the mapping has `CHUNK_BYTES + HUGE_BYTES`.
        unsafe { self.mapping.start().add(bytes) }
    }

    /// Gives all stale pages to the system.
    fn purge(&mut self, arena: &Shared) {
        if self.stale_pages == 0 {
            return;
        }
        let mut at = 0;
        // Bound: runs of one chunk.
        while let Some((first, pages)) = self.stale.next_run(at) {
            at = first + pages;
            let huge_pages = HUGE_BYTES / arena.page_bytes;
            let whole = first.is_multiple_of(huge_pages) && pages.is_multiple_of(huge_pages);
            if !self.plain && !whole {
                self.plain = self.mapping.advise_plain().is_ok();
            }
            let (from, bytes) = (first * arena.page_bytes, pages * arena.page_bytes);
            // Refused, the pages stay resident; they are still free for the next block.
            // SAFETY: stale pages are free, in no block, so nobody has a reference into them.
            let _ = unsafe { self.mapping.forget(self.offset + from, bytes) };
        }
        self.stale.0.fill(0);
        self.stale_pages = 0;
    }
}

impl Pages {
    /// Sets the bits of a run; returns how many were set before.
    fn set(&mut self, first: usize, pages: usize, to: bool) -> usize {
        let mut before = 0;
        for (word, mask) in words(first, pages) {
            let Some(bits) = self.0.get_mut(word) else { continue };
            before += (*bits & mask).count_ones() as usize;
            *bits = if to { *bits | mask } else { *bits & !mask };
        }
        before
    }

    /// The last bit of a run that differs from those of `flip`.
    fn last(&self, first: usize, pages: usize, flip: u64) -> Option<usize> {
        words(first, pages).rev().find_map(|(word, mask)| {
            let bits = (self.0.get(word)? ^ flip) & mask;
            (bits != 0).then(|| word * WORD_PAGES + bits.ilog2() as usize)
        })
    }

    /// The next run of set bits from `from` on: its first and its length.
    fn next_run(&self, from: usize) -> Option<(usize, usize)> {
        let first = self.next(from, 0)?;
        let end = self.next(first, u64::MAX).unwrap_or(self.0.len() * WORD_PAGES);
        Some((first, end - first))
    }

    /// The next bit from `from` on that differs from those of `flip`.
    fn next(&self, from: usize, flip: u64) -> Option<usize> {
        let first = from / WORD_PAGES;
        self.0.iter().enumerate().skip(first).find_map(|(word, bits)| {
            let above = if word == first { u64::MAX << (from % WORD_PAGES) } else { u64::MAX };
            let bits = (bits ^ flip) & above;
            (bits != 0).then(|| word * WORD_PAGES + bits.trailing_zeros() as usize)
        })
    }
}

/// The words that a run of pages has bits in, with these bits.
fn words(first: usize, pages: usize) -> impl DoubleEndedIterator<Item = (usize, u64)> {
    let end = first + pages;
    (first / WORD_PAGES..end.div_ceil(WORD_PAGES)).map(move |word| {
        let start = word * WORD_PAGES;
        let low = first.saturating_sub(start);
        let high = (end - start).min(WORD_PAGES);
        let below = |bits: usize| if bits == WORD_PAGES { u64::MAX } else { (1 << bits) - 1 };
        (word, below(high) & !below(low))
    })
}

impl AsRef<[u8]> for Block {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the span's pages are mapped and initialised (zeroed by the kernel, or written by
        // an earlier block), are this block's alone and stay mapped until it is dropped; `&self`
        // rules out a concurrent `&mut [u8]`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl AsMut<[u8]> for Block {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`, and writable; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.arena.state().take_back(self.span, &self.arena);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

// SAFETY: a block owns its memory alone, like `Box<[u8]>`; the arena it goes back to is behind a
// mutex.
unsafe impl Send for Block {}

// SAFETY: through `&Block` the memory can only be read.
unsafe impl Sync for Block {}

#[cfg(test)]
mod tests {
    use super::{Arena, BLOCK_BYTES_MAX, CHUNK_BYTES, STALE_BYTES_MAX};
    use std::os::unix::fs::FileExt as _;

    /// Bytes that an arena's chunks take of real memory.
    fn resident_bytes(arena: &Arena) -> usize {
        let state = arena.0.state();
        let map = std::fs::File::open("/proc/self/pagemap").unwrap();
        let page_bytes = arena.page_bytes();
        state
            .chunks
            .iter()
            .flatten()
            .map(|chunk| {
                let mapping = &chunk.mapping;
                // A number of 64 bits for each page of the address space; its top bit: present.
                let first = mapping.start().addr().get() / page_bytes;
                let mut pages = vec![0; (CHUNK_BYTES + super::HUGE_BYTES) / page_bytes * 8];
                map.read_exact_at(&mut pages, first as u64 * 8).unwrap();
                pages.chunks_exact(8).filter(|page| page[7] & 0x80 != 0).count() * page_bytes
            })
            .sum()
    }

    fn chunks(arena: &Arena) -> usize {
        arena.0.state().chunks.iter().flatten().count()
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (self.0 >> 33) as usize % end
        }
    }

    #[test]
    fn blocks_never_overlap_and_keep_their_bytes() {
        for huge in [false, true] {
            let arena = Arena::new(huge);
            let mut random = Random(7);
            let mut blocks = Vec::new();
            for round in 0..6000_usize {
                let power = 8 + random.below(11);
                let bytes = 1 + random.below(1 << power);
                let bytes = if huge { bytes.next_power_of_two() } else { bytes };
                let mut block = arena.block(bytes).unwrap();
                assert_eq!(block.as_ref().len(), bytes);
                let page = block.as_ref().as_ptr() as usize % arena.page_bytes();
                assert_eq!(page, 0);
                let mark = (round % 251) as u8;
                block.as_mut().fill(mark);
                blocks.push((mark, block));
                while blocks.len() > 200 {
                    let (mark, block) = blocks.swap_remove(random.below(blocks.len()));
                    assert!(block.as_ref().iter().all(|&byte| byte == mark));
                }
            }
            assert!(blocks.iter().all(|(mark, b)| b.as_ref().iter().all(|byte| byte == mark)));
            drop(blocks);
            let state = arena.0.state();
            for chunk in state.chunks.iter().flatten() {
                assert_eq!(chunk.taken.next_run(0), None);
                assert_eq!(chunk.free_pages, arena.0.pages_of_chunk());
            }
            let stale: usize = state.chunks.iter().flatten().map(|c| c.stale_pages).sum();
            assert_eq!(stale, state.stale_pages);
        }
    }

    #[test]
    fn what_is_given_back_leaves_the_process() {
        for huge in [false, true] {
            let arena = Arena::new(huge);
            let (count, bytes) = (1024, 128 << 10);
            let mut blocks: Vec<_> = (0..count)
                .map(|_| {
                    let mut block = arena.block(bytes).unwrap();
                    block.as_mut().fill(1);
                    block
                })
                .collect();
            let all = count * bytes;
            assert!(resident_bytes(&arena) >= all && resident_bytes(&arena) <= all + (2 << 20));
            assert_eq!(chunks(&arena), all / CHUNK_BYTES, "no gaps");
            // Every second one: no chunk and no huge page is free as a whole.
            let mut keep = false;
            blocks.retain(|_| {
                keep = !keep;
                keep
            });
            assert!(resident_bytes(&arena) <= all / 2 + STALE_BYTES_MAX);
            assert!(blocks.iter().all(|block| block.as_ref().iter().all(|&byte| byte == 1)));
            blocks.extend((0..count / 2).map(|_| arena.block(bytes).unwrap()));
            assert_eq!(chunks(&arena), all / CHUNK_BYTES, "the holes are used again");
            drop(blocks);
            assert_eq!(chunks(&arena), 1);
            assert!(resident_bytes(&arena) <= STALE_BYTES_MAX);
        }
    }

    #[test]
    fn a_block_is_used_again_without_the_system() {
        let arena = Arena::new(false);
        let start = |block: &super::Block| block.as_ref().as_ptr();
        let mut first = arena.block(10_000).unwrap();
        first.as_mut().fill(9);
        let place = start(&first);
        drop(first);
        assert_eq!(arena.0.state().stale_pages, 10_000_usize.div_ceil(arena.page_bytes()));
        let second = arena.block(9_000).unwrap();
        assert_eq!(start(&second), place);
        assert_eq!(arena.0.state().stale_pages, 0);
    }

    /// Holes that were given back were once filled first, wherever they lay, so that as many others
    /// grew stale: a full cache gave megabytes back every second, and lost its huge pages by it.
    #[test]
    fn what_was_given_back_is_left_alone_while_anything_is_stale() {
        let arena = Arena::new(true);
        let bytes = 64 << 10;
        let start = |block: &super::Block| block.as_ref().as_ptr();
        let mut blocks: std::collections::VecDeque<_> =
            (0..1000).map(|_| arena.block(bytes).unwrap()).collect();
        let given_back = STALE_BYTES_MAX / bytes + 1;
        blocks.drain(..given_back);
        assert_eq!(arena.0.state().stale_pages, 0, "all of it went to the system");
        for _ in 0..2000 {
            let dropped = start(&blocks.pop_front().unwrap());
            blocks.push_back(arena.block(bytes).unwrap());
            assert_eq!(blocks.back().map(start), Some(dropped));
        }
        // Without any, the holes are used.
        let chunks_before = chunks(&arena);
        blocks.extend((0..given_back).map(|_| arena.block(bytes).unwrap()));
        assert_eq!(chunks(&arena), chunks_before);
    }

    /// Pages of a block that are in memory.
    fn resident_pages(arena: &Arena, block: &super::Block) -> usize {
        let map = std::fs::File::open("/proc/self/pagemap").unwrap();
        let first = block.start.addr().get() / arena.page_bytes();
        let mut pages = vec![0; block.bytes / arena.page_bytes() * 8];
        map.read_exact_at(&mut pages, first as u64 * 8).unwrap();
        pages.chunks_exact(8).filter(|page| page[7] & 0x80 != 0).count()
    }

    #[test]
    fn a_tended_arena_that_grows_hands_out_what_is_there_already() {
        let arena = Arena::tended(true);
        let bytes = 64 << 10;
        let mut blocks = Vec::new();
        for _ in 0..1200 {
            if arena.is_due() {
                arena.tend();
            }
            let block = arena.block(bytes).unwrap();
            let resident = resident_pages(&arena, &block);
            assert_eq!(resident, bytes / arena.page_bytes(), "block {}", blocks.len());
            blocks.push(block);
            let ahead = arena.0.state().stale_pages * arena.page_bytes();
            assert!(ahead <= super::AHEAD_BYTES + super::HUGE_BYTES, "{ahead} bytes ahead");
        }
        // Nothing is brought for what is given and taken in turn.
        let all = resident_bytes(&arena);
        for _ in 0..1000 {
            arena.tend();
            blocks.remove(0);
            blocks.push(arena.block(bytes).unwrap());
        }
        assert_eq!(resident_bytes(&arena), all);
    }

    #[test]
    fn a_tended_arena_gives_back_when_it_is_tended() {
        for huge in [false, true] {
            let arena = Arena::tended(huge);
            let (count, bytes) = (1024, 128 << 10);
            let fill = |blocks: &mut Vec<super::Block>| {
                while blocks.len() < count {
                    if arena.is_due() {
                        arena.tend();
                    }
                    let mut block = arena.block(bytes).unwrap();
                    block.as_mut().fill(1);
                    blocks.push(block);
                }
            };
            let mut blocks = Vec::new();
            // The second time it grows again, into holes and new chunks.
            for _ in 0..2 {
                fill(&mut blocks);
                let all = count * bytes;
                assert!(resident_bytes(&arena) <= all + STALE_BYTES_MAX);
                let mut keep = false;
                blocks.retain(|_| {
                    keep = !keep;
                    keep
                });
                assert!(resident_bytes(&arena) >= all, "nothing goes while its user waits");
                assert!(arena.is_due());
                arena.tend();
                assert!(resident_bytes(&arena) <= all / 2 + STALE_BYTES_MAX);
                assert!(blocks.iter().all(|block| block.as_ref().iter().all(|&byte| byte == 1)));
                blocks.clear();
                arena.tend();
                assert!(resident_bytes(&arena) <= STALE_BYTES_MAX);
                assert_eq!(chunks(&arena), 1);
            }
            let state = arena.0.state();
            let stale: usize = state.chunks.iter().flatten().map(|c| c.stale_pages).sum();
            assert_eq!((stale, 0), (state.stale_pages, state.taken_pages));
        }
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let arena = Arena::new(true);
        for bytes in [0, BLOCK_BYTES_MAX + 1, usize::MAX] {
            let refused = arena.block(bytes).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
        }
        assert_eq!(arena.block(BLOCK_BYTES_MAX).unwrap().as_ref().len(), BLOCK_BYTES_MAX);
    }

    #[test]
    fn blocks_travel_between_threads() {
        let arena = Arena::tended(true);
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let arena = arena.clone();
                scope.spawn(move || {
                    for round in 0..500 {
                        arena.tend();
                        let mut block = arena.block(1 + round * 37).unwrap();
                        block.as_mut().fill(thread);
                        std::thread::yield_now();
                        assert!(block.as_ref().iter().all(|&byte| byte == thread));
                    }
                });
            }
        });
    }
}
