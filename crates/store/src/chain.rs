//! Values too large to be copied under a lock: shared, immutable pieces. A reader clones the handle
//! under the lock and sends the bytes without it; memory goes back when the last handle drops, and
//! counts against the limit until then.

use crate::blocks::{Blocks, Purpose};
use crate::pool::{Charge, Pool};
use crate::sync::{Arc, AtomicUsize, Ordering};

/// A handle on a large value. Cloning costs two reference counts.
#[derive(Debug)]
pub struct Chain<B>(Arc<Links<B>>);

#[derive(Debug)]
struct Links<B> {
    pieces: Vec<Arc<Piece<B>>>,
    bytes: u32,
    charged: u64,
    /// Handles, the store's own included, and one more once its pieces live on in another chain.
    /// From the second on, the value counts as lent.
    handles: AtomicUsize,
}

/// A block of which the first `bytes` bytes are value.
#[derive(Debug)]
struct Piece<B> {
    block: B,
    bytes: usize,
    charge: Charge,
}

/// Pieces under construction, from memory that is charged already.
#[derive(Debug)]
pub(crate) struct Builder<B> {
    pieces: Vec<Arc<Piece<B>>>,
    open: Option<(B, usize)>,
    charge: Charge,
    /// Bytes still to come.
    remaining: usize,
    /// The system refused a block that the limit would allow.
    failed: bool,
}

/// Bytes charged for a piece besides its block: its count of references, length and charge, and its
/// places in tables that grow by doubling.
const PIECE_OVERHEAD_BYTES: usize = 128;

impl<B> Clone for Chain<B> {
    fn clone(&self) -> Self {
        if self.0.handles.fetch_add(1, Ordering::Relaxed) == 1 {
            self.0.note(Charge::note_lent);
        }
        Self(Arc::clone(&self.0))
    }
}

impl<B> Drop for Chain<B> {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::Relaxed) == 2 {
            self.0.note(Charge::note_returned);
        }
    }
}

impl<B> Links<B> {
    fn note(&self, note: impl Fn(&Charge, u64)) {
        // All pieces are charged to one budget.
        if let Some(piece) = self.pieces.first() {
            note(&piece.charge, self.charged);
        }
    }
}

impl<B: AsRef<[u8]>> Chain<B> {
    /// Bytes of the value.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.bytes
    }

    /// Whether the value is empty; no chain that the store makes is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.bytes == 0
    }

    /// The value, piece by piece.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.0.pieces.iter().map(|piece| piece.value())
    }

    /// What it is charged.
    pub(crate) fn charged(&self) -> u64 {
        self.0.charged
    }

    /// Whether somebody else holds it too.
    pub(crate) fn is_lent(&self) -> bool {
        self.0.handles.load(Ordering::Relaxed) > 1
    }

    /// To be called before the store holds `heir` in this one's stead. If that shares pieces with
    /// it, they are still stored and so not known to be pinned: what readers hold of this one goes
    /// on counting as lent until the last of them is gone. What the heir does not share counts
    /// twice meanwhile, so it is rather too little that may be lent.
    pub(crate) fn bequeath(&self, heir: &Self) {
        let (own, new) = (&self.0.pieces, &heir.0.pieces);
        // One was put behind the other, so the first or the last piece is a shared one, if any is.
        let ends = [own.first().zip(new.first()), own.last().zip(new.last())];
        let shares = ends.into_iter().flatten().any(|(one, other)| Arc::ptr_eq(one, other));
        // A handle that nobody has, so that the store's is not the last but one.
        if shares && self.is_lent() && self.0.handles.fetch_add(1, Ordering::Relaxed) == 1 {
            self.0.note(Charge::note_lent);
        }
    }

    fn of(pieces: Vec<Arc<Piece<B>>>) -> Self {
        let bytes = pieces.iter().map(|piece| piece.bytes).sum::<usize>();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let charged = pieces.iter().map(|piece| piece.charge.bytes()).sum();
        Self(Arc::new(Links { pieces, bytes, charged, handles: AtomicUsize::new(1) }))
    }
}

impl<B: AsRef<[u8]>> Piece<B> {
    fn value(&self) -> &[u8] {
        self.block.as_ref().get(..self.bytes).unwrap_or_default()
    }
}

/// What the pieces of a value of `bytes` bytes are charged.
pub(crate) fn cost<M: Blocks>(bytes: usize, piece_bytes: usize, pool: &Pool<M>) -> u64 {
    let whole = bytes / piece_bytes;
    let mut rest = bytes % piece_bytes;
    let mut sum = whole as u64 * cost_of_one(piece_bytes, pool);
    // Bound: the last piece, or it and what is left of a grain.
    while rest > 0 {
        let piece = next_piece(rest, piece_bytes, pool);
        sum += cost_of_one(piece, pool);
        rest -= piece;
    }
    sum
}

fn cost_of_one<M: Blocks>(bytes: usize, pool: &Pool<M>) -> u64 {
    (pool.blocks.cost(bytes) + PIECE_OVERHEAD_BYTES) as u64
}

/// Bytes of the next piece of a value of which so many remain.
fn next_piece<M: Blocks>(remaining: usize, piece_bytes: usize, pool: &Pool<M>) -> usize {
    let grain = pool.blocks.grain_bytes();
    let tail = remaining % grain;
    let unused = grain - tail;
    if remaining > piece_bytes {
        piece_bytes
    } else if tail > 0 && remaining > grain && unused > 2 * PIECE_OVERHEAD_BYTES {
        remaining - tail
    } else {
        remaining
    }
}

/// Joins two values; shares their pieces, but for two short ones where they meet, which are copied
/// into one so that many small appends do not make many small pieces. `charge` pays for that piece:
/// see [`cost_of_joint`]. `None`: the system has no memory.
pub(crate) fn join<M: Blocks>(
    first: &Chain<M::Block>,
    second: &Chain<M::Block>,
    charge: Option<Charge>,
    pool: &Pool<M>,
) -> Option<Chain<M::Block>> {
    let mut pieces = first.0.pieces.clone();
    let mut rest = second.0.pieces.iter();
    if let (Some(charge), Some(last), Some(next)) = (charge, first.0.pieces.last(), rest.next()) {
        let bytes = last.bytes + next.bytes;
        let mut block = pool.block(bytes, Purpose::Value)?;
        let (left, right) = block.as_mut().split_at_mut_checked(last.bytes)?;
        left.copy_from_slice(last.value());
        right.get_mut(..next.bytes)?.copy_from_slice(next.value());
        pieces.pop();
        pieces.push(Arc::new(Piece { block, bytes, charge }));
        pieces.extend(rest.cloned());
    } else {
        pieces.extend(second.0.pieces.iter().cloned());
    }
    Some(Chain::of(pieces))
}

/// What [`join`] needs to be charged for the piece where two values meet; `None` = nothing.
pub(crate) fn cost_of_joint<M: Blocks>(
    first: &Chain<M::Block>,
    second: &Chain<M::Block>,
    piece_bytes: usize,
    pool: &Pool<M>,
) -> Option<u64> {
    let bytes = first.0.pieces.last()?.bytes + second.0.pieces.first()?.bytes;
    (bytes <= piece_bytes).then(|| cost_of_one(bytes, pool))
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Builder<B> {
    /// For a value of `bytes` bytes; `charge` is what [`cost`] says.
    pub(crate) const fn new(bytes: usize, charge: Charge) -> Self {
        Self { pieces: Vec::new(), open: None, charge, remaining: bytes, failed: false }
    }

    /// Bytes still to come.
    pub(crate) const fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes the next bytes; what is above [`Self::remaining`] is ignored.
    pub(crate) fn fill<M: Blocks<Block = B>>(
        &mut self,
        bytes: &[u8],
        piece_bytes: usize,
        pool: &Pool<M>,
    ) {
        let mut bytes = bytes.get(..self.remaining).unwrap_or(bytes);
        while !bytes.is_empty() && !self.failed {
            let (mut block, filled) = match self.open.take() {
                Some(open) => open,
                None => match self.next_block(piece_bytes, pool) {
                    Some(block) => (block, 0),
                    None => {
                        self.failed = true;
                        break;
                    }
                },
            };
            let room = block.as_mut().get_mut(filled..).unwrap_or_default();
            let count = room.len().min(bytes.len());
            let (now, later) = bytes.split_at(count);
            room.get_mut(..count).unwrap_or_default().copy_from_slice(now);
            bytes = later;
            self.remaining -= count;
            self.open = Some((block, filled + count));
            self.close_full(pool);
        }
        self.remaining -= bytes.len();
    }

    fn next_block<M: Blocks<Block = B>>(&self, piece_bytes: usize, pool: &Pool<M>) -> Option<B> {
        pool.block(next_piece(self.remaining, piece_bytes, pool), Purpose::Value)
    }

    /// The value, if all of it has come and was kept.
    pub(crate) fn finish(self) -> Option<Chain<B>> {
        let whole = self.remaining == 0 && !self.failed && self.open.is_none();
        whole.then(|| Chain::of(self.pieces))
    }

    fn close_full<M: Blocks<Block = B>>(&mut self, pool: &Pool<M>) {
        let Some((block, filled)) = self.open.take() else { return };
        if filled < block.as_ref().len() {
            self.open = Some((block, filled));
            return;
        }
        let cost = pool.blocks.cost(filled) + PIECE_OVERHEAD_BYTES;
        let charge = self.charge.split(cost as u64);
        self.pieces.push(Arc::new(Piece { block, bytes: filled, charge }));
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{Builder, Chain, cost, cost_of_joint, join};
    use crate::blocks::Boxed;
    use crate::geometry::Geometry;
    use crate::pool::{Need, Pool};

    const PIECE: usize = 100;

    fn chain(value: &[u8], pool: &Pool<Boxed>) -> Chain<Box<[u8]>> {
        let charge = pool.charge(cost(value.len(), PIECE, pool), Need::Relief).unwrap();
        let mut builder = Builder::new(value.len(), charge);
        for part in value.chunks(7) {
            builder.fill(part, PIECE, pool);
        }
        builder.finish().unwrap()
    }

    fn bytes(chain: &Chain<Box<[u8]>>) -> Vec<u8> {
        chain.slices().collect::<Vec<_>>().concat()
    }

    #[test]
    fn values_are_cut_joined_and_paid_for() {
        let pool = Pool::new(Boxed, 1 << 20, &Geometry::of(0, 1024));
        let long: Vec<u8> = (0..250).collect();
        for (left, right) in [(250, 250), (230, 20), (20, 30), (200, 100), (1, 200), (0, 5)] {
            let (left, right) = (&long[..left], &long[..right]);
            let (first, second) = (chain(left, &pool), chain(right, &pool));
            assert_eq!(pool.budget.used(), first.charged() + second.charged());
            assert_eq!(first.len() as usize, left.len());
            let joint = cost_of_joint(&first, &second, PIECE, &pool);
            let charge = joint.map(|bytes| pool.charge(bytes, Need::Relief).unwrap());
            let both = join(&first, &second, charge, &pool).unwrap();
            drop((first, second));
            assert_eq!(bytes(&both), [left, right].concat());
            assert_eq!(pool.budget.used(), both.charged());
            assert!(both.slices().count() <= (left.len() + right.len()).div_ceil(PIECE) + 1);
            let reader = both.clone();
            drop(both);
            assert_eq!(bytes(&reader), [left, right].concat());
        }
        assert_eq!(pool.budget.used(), 0);
    }

    /// Blocks of whole pages of 2 KiB.
    struct Paged;

    impl crate::blocks::Blocks for Paged {
        type Block = Box<[u8]>;

        fn block(&self, bytes: usize, purpose: crate::blocks::Purpose) -> Option<Box<[u8]>> {
            Boxed.block(bytes, purpose)
        }

        fn cost(&self, bytes: usize) -> usize {
            if bytes < 2048 { bytes } else { bytes.next_multiple_of(2048) }
        }

        fn grain_bytes(&self) -> usize {
            2048
        }

        fn prefetch(&self, _: &[u8]) {}
    }

    #[test]
    fn the_rest_of_a_page_is_a_piece_of_its_own() {
        let pool = Pool::new(Paged, 1 << 20, &Geometry::of(0, 1024));
        for (bytes, pieces) in [
            (100, vec![100]),
            (2048, vec![2048]),
            (2049, vec![2048, 1]),
            (4000, vec![4000]),
            (3000, vec![2048, 952]),
            (8192, vec![8192]),
            (8192 + 2048 + 7, vec![8192, 2048, 7]),
        ] {
            let needed = cost(bytes, 8192, &pool);
            let charge = pool.charge(needed, Need::Relief).unwrap();
            let mut builder = Builder::new(bytes, charge);
            for part in vec![7; bytes].chunks(1000) {
                builder.fill(part, 8192, &pool);
            }
            let chain = builder.finish().unwrap();
            assert_eq!(chain.slices().map(<[u8]>::len).collect::<Vec<_>>(), pieces);
            assert_eq!(chain.charged(), needed, "{bytes}");
            assert_eq!(pool.budget.used(), needed);
            assert!(needed as usize <= bytes + 3 * super::PIECE_OVERHEAD_BYTES + 256);
        }
        assert_eq!(pool.budget.used(), 0);
    }

    #[test]
    fn more_than_announced_is_ignored_and_less_is_no_value() {
        let pool = Pool::new(Boxed, 1 << 20, &Geometry::of(0, 1024));
        let build = || {
            let charge = pool.charge(cost(150, PIECE, &pool), Need::Relief).unwrap();
            Builder::<Box<[u8]>>::new(150, charge)
        };
        let mut builder = build();
        builder.fill(&[1; 149], PIECE, &pool);
        assert_eq!(builder.remaining(), 1);
        assert!(builder.finish().is_none());
        let mut builder = build();
        builder.fill(&[1; 1000], PIECE, &pool);
        assert_eq!(builder.remaining(), 0);
        assert_eq!(builder.finish().unwrap().len(), 150);
        assert_eq!(pool.budget.used(), 0);
    }
}
