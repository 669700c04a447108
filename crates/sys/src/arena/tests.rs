//! What arenas promise: pages that never overlap, memory that really goes back.

use super::{
    AHEAD_BYTES, Arena, BLOCK_BYTES_MAX, CHUNK_BYTES, HUGE_BYTES, SETTLED_BYTES, STALE_BYTES_MAX,
};
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
    let mut pages = vec![0; block.as_ref().len() / arena.page_bytes() * 8];
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

/// Blocks that fill all of their memory, tended as they are taken.
fn taken(arena: &Arena, count: usize, bytes: usize) -> Vec<super::Block> {
    let take = |_| {
        if arena.is_due() {
            arena.tend();
        }
        let mut block = arena.block(bytes).unwrap();
        block.as_mut().fill(1);
        block
    };
    (0..count).map(take).collect()
}

#[test]
fn what_nothing_needs_for_a_while_goes_back() {
    let bytes = 64 << 10;
    // Not an arena of huge pages that nobody tends: what the kernel brings there it does not know.
    for arena in [Arena::new(false), Arena::tended(false), Arena::tended(true)] {
        // Two thirds of the second chunk, so that a huge page is begun there.
        let mut blocks = taken(&arena, 853, bytes);
        blocks.truncate(blocks.len() - 20);
        let all = blocks.len() * bytes;
        assert!(resident_bytes(&arena) >= all + 20 * bytes);
        arena.settle();
        assert!(resident_bytes(&arena) >= all + 20 * bytes, "it grew until now");
        // Ten blocks come and go between the calls: their memory stays.
        for _ in 0..3 {
            drop(taken(&arena, 10, bytes));
            arena.settle();
        }
        let kept = resident_bytes(&arena);
        let least = all + 10 * bytes;
        assert!((least..=least + SETTLED_BYTES + bytes).contains(&kept), "{kept} of {least}");
        arena.settle();
        arena.settle();
        let kept = resident_bytes(&arena);
        assert!(kept <= all + SETTLED_BYTES, "{kept} of {all}");
        assert_eq!(state_of(&arena), counted(&arena));
        // It grows again, into what went back first.
        let chunks_before = chunks(&arena);
        blocks.extend(taken(&arena, 20, bytes));
        assert_eq!(chunks(&arena), chunks_before);
        assert!(resident_bytes(&arena) <= (all + 20 * bytes) + AHEAD_BYTES + HUGE_BYTES);
        assert!(blocks.iter().all(|block| block.as_ref().iter().all(|&byte| byte == 1)));
    }
}

/// A cache that grows a little between two calls must not begin a huge page for each of them.
#[test]
fn slow_growth_fills_the_holes_that_settling_left() {
    let arena = Arena::tended(true);
    let bytes = 64 << 10;
    let mut blocks = Vec::new();
    for _ in 0..200 {
        blocks.extend(taken(&arena, 1, bytes));
        for _ in 0..3 {
            arena.settle();
        }
        let surplus = resident_bytes(&arena) - blocks.len() * bytes;
        assert!(surplus <= SETTLED_BYTES, "{surplus} bytes too many with {}", blocks.len());
    }
    assert_eq!(chunks(&arena), 1, "12.5 MiB fit into one chunk");
    let last = blocks.iter().map(|block| block.start.addr().get()).max().unwrap();
    let first = blocks.iter().map(|block| block.start.addr().get()).min().unwrap();
    let spread = last + bytes - first;
    assert!(spread <= 200 * bytes + AHEAD_BYTES + HUGE_BYTES, "spread over {spread} bytes");
    // Full huge pages are wished for again.
    let state = arena.0.state();
    let plain: u32 = state.chunks.iter().flatten().map(|chunk| chunk.plain.count_ones()).sum();
    assert!(plain <= 2, "{plain} huge pages are broken");
}

fn state_of(arena: &Arena) -> (usize, usize) {
    let state = arena.0.state();
    (state.stale_pages, state.taken_pages)
}

/// The same, by the chunks.
fn counted(arena: &Arena) -> (usize, usize) {
    let state = arena.0.state();
    let pages = arena.0.pages_of_chunk();
    let chunks = || state.chunks.iter().flatten();
    (chunks().map(|c| c.stale_pages).sum(), chunks().map(|c| pages - c.free_pages).sum())
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

/// Giving back takes only what is in no block, whoever takes and leaves blocks meanwhile.
#[test]
fn blocks_keep_their_bytes_while_others_tend_and_settle() {
    for arena in [Arena::tended(true), Arena::tended(false), Arena::new(false)] {
        let users_left = std::sync::atomic::AtomicUsize::new(3);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while users_left.load(order) > 0 {
                    arena.tend();
                    arena.settle();
                    std::thread::yield_now();
                }
            });
            for thread in 0..3_u8 {
                let (arena, users_left) = (&arena, &users_left);
                scope.spawn(move || {
                    let mut random = Random(thread.into());
                    let mut blocks: Vec<(u8, super::Block)> = Vec::new();
                    for round in 0..3000_u32 {
                        // Up to 16 MiB for each, and down to nothing from time to time.
                        if blocks.len() == 256 || round % 1000 == 999 {
                            let left = random.below(blocks.len());
                            blocks.truncate(left);
                        }
                        let mut block = arena.block(64 << 10).unwrap();
                        let mark = (round % 83) as u8 * 3 + thread;
                        block.as_mut().fill(mark);
                        blocks.push((mark, block));
                        // Memory goes back by pages, so one byte of each tells.
                        let (mark, block) = &blocks[random.below(blocks.len())];
                        assert!(block.as_ref().iter().step_by(1024).all(|byte| byte == mark));
                    }
                    users_left.fetch_sub(1, order);
                });
            }
        });
        assert_eq!(state_of(&arena), counted(&arena));
        assert_eq!(state_of(&arena).1, 0, "no page is lost");
    }
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
