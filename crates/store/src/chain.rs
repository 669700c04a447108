//! Values too large to be copied under a lock: shared, immutable pieces. A reader clones the handle
//! under the lock and sends the bytes without it; the memory goes back when the last handle drops.

use std::sync::Arc;

/// A handle on a large value. Cloning costs one reference count.
#[derive(Debug)]
pub struct Chain<B>(Arc<Links<B>>);

#[derive(Debug)]
struct Links<B> {
    pieces: Vec<Piece<B>>,
    bytes: u32,
}

/// A block of which the first `bytes` bytes are value.
#[derive(Debug)]
pub(crate) struct Piece<B> {
    pub(crate) block: B,
    pub(crate) bytes: usize,
}

impl<B> Clone for Chain<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: AsRef<[u8]>> Chain<B> {
    #[cfg_attr(not(test), expect(dead_code))]
    pub(crate) fn new(pieces: Vec<Piece<B>>) -> Self {
        let bytes = pieces.iter().map(|piece| piece.bytes).sum::<usize>();
        Self(Arc::new(Links { pieces, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }))
    }

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
        self.0.pieces.iter().filter_map(|piece| piece.block.as_ref().get(..piece.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{Chain, Piece};

    #[test]
    fn pieces_read_as_one_value() {
        let piece = |block: &[u8], bytes| Piece { block: block.to_vec(), bytes };
        let chain = Chain::new(vec![piece(b"abcd", 4), piece(b"ef..", 2)]);
        assert_eq!(chain.clone().slices().collect::<Vec<_>>().concat(), b"abcdef");
        assert_eq!(chain.len(), 6);
        assert!(!chain.is_empty());
    }
}
