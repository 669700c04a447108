//! One mapping of an arena, and which of its pages are taken, or free but resident.
//!
//! Invariants: a page is taken or stale or neither; the counts are those of the bits.

use std::io;
use std::ptr::NonNull;

use super::{CHUNK_BYTES, HUGE_BYTES, Shared};
use crate::memory::Mapping;

const WORD_PAGES: usize = u64::BITS as usize;
/// A huge page of which less than one part in so many is stale is not broken for that.
const HUGE_STALE_SHARE: usize = 8;
/// Huge pages of a chunk.
const HUGE_PARTS: usize = CHUNK_BYTES / HUGE_BYTES;

const _: () = assert!(HUGE_PARTS <= u32::BITS as usize);

#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) mapping: Mapping,
    /// Bytes from the mapping's start to the first page, for alignment.
    offset: usize,
    pub(super) taken: Pages,
    /// Free, but resident.
    stale: Pages,
    pub(super) stale_pages: usize,
    pub(super) free_pages: usize,
    /// So many free pages in a row were not there, and nothing was given back since.
    missed_pages: usize,
    /// The same of stale ones.
    missed_stale_pages: usize,
    /// A bit for each huge page that is none any more: a part was given back, and the kernel would
    /// fill the hole.
    pub(super) plain: u32,
}

/// A bit for each page.
#[derive(Debug)]
pub(super) struct Pages(Vec<u64>);

impl Chunk {
    pub(super) fn new(arena: &Shared) -> io::Result<Self> {
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
            plain: 0,
        })
    }

    /// The first run of `pages` free pages; of free and stale ones with `only_stale`.
    pub(super) fn find(&mut self, pages: usize, align: usize, only_stale: bool) -> Option<usize> {
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
    pub(super) fn find_fresh(&self, pages: usize) -> Option<usize> {
        let is_fresh = |&part: &usize| {
            let first = part * pages;
            [&self.taken, &self.stale].iter().all(|bits| bits.last(first, pages, 0).is_none())
        };
        // Where parts were given back small pages come one by one, which takes no longer than a
        // step may.
        let may = |part: &usize| self.plain & (1 << part) == 0;
        if self.free_pages < self.stale_pages + pages {
            return None;
        }
        (0..HUGE_PARTS).filter(may).find(is_fresh).map(|part| part * pages)
    }

    /// Free pages that are not there, between others of a huge page that was.
    pub(super) fn hollow_pages(&self, arena: &Shared) -> usize {
        let pages = arena.pages_of_huge();
        let parts = (0..HUGE_PARTS).filter(|part| self.plain & (1 << part) != 0);
        let kept = |part| {
            let first = part * pages;
            self.taken.count(first, pages) + self.stale.count(first, pages)
        };
        parts.map(|part| pages - kept(part)).sum()
    }

    /// Marks free pages as taken; returns how many of them were stale.
    pub(super) fn claim(&mut self, first: usize, pages: usize, arena: &Shared) -> usize {
        self.taken.set(first, pages, true);
        let stale = self.stale.set(first, pages, false);
        self.stale_pages -= stale;
        self.free_pages -= pages;
        self.smooth(first, pages, arena);
        stale
    }

    /// Marks taken pages as free and stale.
    pub(super) fn leave(&mut self, first: usize, pages: usize) {
        self.taken.set(first, pages, false);
        self.stale.set(first, pages, true);
        self.stale_pages += pages;
        self.free_pages += pages;
        self.missed_pages = usize::MAX;
        self.missed_stale_pages = usize::MAX;
    }

    pub(super) fn address(&self, page: usize, arena: &Shared) -> NonNull<u8> {
        let bytes = self.offset + page * arena.page_bytes;
        // SAFETY: a chunk's pages lie inside its mapping: the offset is below `HUGE_BYTES`, a page
        // number below `pages_of_chunk`, and the mapping has `CHUNK_BYTES + HUGE_BYTES`.
        unsafe { self.mapping.start().add(bytes) }
    }

    /// Gives all stale pages to the system.
    pub(super) fn purge(&mut self, arena: &Shared) {
        for (first, pages) in self.stale.runs() {
            self.give(first, pages, arena);
        }
    }

    /// Gives stale pages of one huge page to the system, so many at most, the last ones first;
    /// returns how many.
    pub(super) fn purge_part(&mut self, part: usize, pages_max: usize, arena: &Shared) -> usize {
        let (start, end) = (part * arena.pages_of_huge(), (part + 1) * arena.pages_of_huge());
        let mut purged = 0;
        for (first, pages) in self.stale.runs().into_iter().rev() {
            let (from, to) = (first.max(start), (first + pages).min(end));
            let count = to.saturating_sub(from).min(pages_max - purged);
            if count > 0 {
                self.give(to - count, count, arena);
                purged += count;
            }
        }
        purged
    }

    /// Huge pages, by number, that are worth giving stale pages back from, and how much so.
    pub(super) fn stale_parts(&self, arena: &Shared) -> impl Iterator<Item = (usize, usize)> {
        let huge = arena.pages_of_huge();
        let parts = 0..if self.stale_pages == 0 { 0 } else { HUGE_PARTS };
        let least = if arena.huge { huge / HUGE_STALE_SHARE } else { 1 };
        parts.filter_map(move |part| {
            let stale = self.stale.count(part * huge, huge);
            // What is broken already comes first.
            let weight = if self.plain & (1 << part) == 0 { stale } else { stale + huge };
            (stale > 0 && weight >= least).then_some((weight, part))
        })
    }

    /// Gives stale pages to the system.
    fn give(&mut self, first: usize, pages: usize, arena: &Shared) {
        let huge = arena.pages_of_huge();
        for part in parts(first, pages, arena) {
            let is_whole = first <= part * huge && (part + 1) * huge <= first + pages;
            if !is_whole {
                self.wish(part, false, arena);
            }
        }
        let (from, bytes) = (first * arena.page_bytes, pages * arena.page_bytes);
        // Refused, the pages stay resident; they are still free for the next block.
        // SAFETY: stale pages are free, in no block, so nobody has a reference into them.
        let _ = unsafe { self.mapping.forget(self.offset + from, bytes) };
        self.stale_pages -= self.stale.set(first, pages, false);
        self.smooth(first, pages, arena);
    }

    /// Wishes for huge pages again where there is no hole any more: all is taken, or nothing there.
    fn smooth(&mut self, first: usize, pages: usize, arena: &Shared) {
        if self.plain == 0 {
            return;
        }
        let huge = arena.pages_of_huge();
        for part in parts(first, pages, arena) {
            let taken = self.taken.count(part * huge, huge);
            if taken == huge || taken + self.stale.count(part * huge, huge) == 0 {
                self.wish(part, true, arena);
            }
        }
    }

    /// Wishes for a huge page in this place, or for none. Refused, all stays as it is: more is
    /// resident, or a look-up takes longer.
    fn wish(&mut self, part: usize, huge: bool, arena: &Shared) {
        let is_huge = self.plain & (1 << part) == 0;
        let from = self.offset + part * HUGE_BYTES;
        let differs = arena.huge && is_huge != huge;
        if differs && self.mapping.advise_part(from, HUGE_BYTES, huge).is_ok() {
            self.plain ^= 1 << part;
        }
    }
}

/// The huge pages that a run of pages lies in.
fn parts(first: usize, pages: usize, arena: &Shared) -> std::ops::Range<usize> {
    let huge = arena.pages_of_huge();
    first / huge..(first + pages).div_ceil(huge)
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

    /// How many bits of a run are set.
    fn count(&self, first: usize, pages: usize) -> usize {
        let bits = words(first, pages).filter_map(|(word, mask)| Some(self.0.get(word)? & mask));
        bits.map(|bits| bits.count_ones() as usize).sum()
    }

    /// All runs of set bits: the first and the length of each.
    fn runs(&self) -> Vec<(usize, usize)> {
        let behind = |&(first, pages): &(usize, usize)| self.next_run(first + pages);
        std::iter::successors(self.next_run(0), behind).collect()
    }

    /// The last bit of a run that differs from those of `flip`.
    fn last(&self, first: usize, pages: usize, flip: u64) -> Option<usize> {
        words(first, pages).rev().find_map(|(word, mask)| {
            let bits = (self.0.get(word)? ^ flip) & mask;
            (bits != 0).then(|| word * WORD_PAGES + bits.ilog2() as usize)
        })
    }

    /// The next run of set bits from `from` on: its first and its length.
    pub(super) fn next_run(&self, from: usize) -> Option<(usize, usize)> {
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
