//! Keys that will be asked for soon, hashed once, in the order of their shards.
//!
//! Invariant: `hashes[at]` is the hash of `keys[at]` by the store that pushed it, and each of the
//! first `len` positions is in exactly one list.

use crate::face::Hashed;

/// Up to [`BATCH_KEYS`] keys. Filled by [`crate::Store::foresee`].
#[derive(Debug)]
pub struct Batch<'k> {
    keys: [&'k [u8]; BATCH_KEYS],
    hashes: [u64; BATCH_KEYS],
    /// The next position of the same list.
    next: [u8; BATCH_KEYS],
    /// Lists through the positions, one for each remainder of the shard numbers.
    first: [u8; LISTS],
    len: usize,
}

/// Keys brought near together: some for each shard, whose lock is then taken once for all of them,
/// and one to three lines each, of the 512 that a first-level cache of 32 KiB has.
pub const BATCH_KEYS: usize = 64;
/// Enough that shards seldom share a list; a shared one only takes locks more often.
const LISTS: usize = 32;
/// The end of a list; no position is as large.
const END: u8 = u8::MAX;
const _: () = assert!(BATCH_KEYS < END as usize && BATCH_KEYS.is_power_of_two());

impl<'k> Batch<'k> {
    /// Without keys.
    pub const EMPTY: Self = Self {
        keys: [&[]; BATCH_KEYS],
        hashes: [0; BATCH_KEYS],
        next: [END; BATCH_KEYS],
        first: [END; LISTS],
        len: 0,
    };

    /// How many keys.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no more fit.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len == BATCH_KEYS
    }

    /// Forgets all keys.
    pub const fn clear(&mut self) {
        self.first = [END; LISTS];
        self.len = 0;
    }

    /// `key` with its hash, if it is the key at this position: the very same bytes at the same
    /// place in memory. Nobody can have changed them since, because both borrow them.
    #[must_use]
    #[inline]
    pub fn hashed<'s>(&self, at: usize, key: &'s [u8]) -> Option<Hashed<'s>> {
        let foreseen = *self.keys.get(..self.len)?.get(at)?;
        let hash = self.hashes[at & (BATCH_KEYS - 1)];
        std::ptr::eq(foreseen, key).then_some(Hashed { key, hash, cas_hidden: false })
    }

    /// Adds a key; nothing happens if it is full.
    #[inline]
    pub(crate) fn push(&mut self, key: &'k [u8], hash: u64, shard: usize) {
        if self.is_full() {
            return;
        }
        let at = self.len & (BATCH_KEYS - 1);
        self.keys[at] = key;
        self.hashes[at] = hash;
        self.next[at] = std::mem::replace(&mut self.first[shard % LISTS], at as u8);
        self.len += 1;
    }

    /// The hashes, list by list.
    #[inline]
    pub(crate) fn lists(&self) -> impl Iterator<Item = impl Iterator<Item = u64>> {
        let list = move |first: u8| {
            let mut next = first;
            std::iter::from_fn(move || {
                let at = usize::from(next) & (BATCH_KEYS - 1);
                let hash = (next != END).then(|| self.hashes[at]);
                next = self.next[at];
                hash
            })
            .fuse()
        };
        self.first.iter().filter(|&&first| first != END).map(move |&first| list(first))
    }
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{BATCH_KEYS, Batch};

    #[test]
    fn every_key_is_in_one_list_with_those_of_its_shard() {
        for shards in [1, 2, 16, 32, 100] {
            let mut batch = Batch::EMPTY;
            for round in 0..2 {
                batch.clear();
                for hash in 0..BATCH_KEYS as u64 + 3 {
                    batch.push(b"key", hash, hash as usize % shards);
                }
                assert!(batch.is_full());
                let mut seen: Vec<u64> = Vec::new();
                for list in batch.lists() {
                    let list: Vec<u64> = list.collect();
                    let mut shard_numbers: Vec<_> =
                        list.iter().map(|&hash| hash as usize % shards % 32).collect();
                    shard_numbers.dedup();
                    assert_eq!(shard_numbers.len(), 1, "{round} {shards} {list:?}");
                    seen.extend(list);
                }
                seen.sort_unstable();
                assert_eq!(seen, (0..BATCH_KEYS as u64).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_hash_is_given_for_the_very_same_bytes_only() {
        let bytes = *b"abab";
        let mut batch = Batch::EMPTY;
        batch.push(&bytes[..2], 7, 0);
        assert_eq!(batch.hashed(0, &bytes[..2]).map(|hashed| hashed.hash()), Some(7));
        for other in [&bytes[2..], &bytes[..1], &bytes[..3]] {
            assert!(batch.hashed(0, other).is_none());
        }
        assert!(batch.hashed(1, &bytes[..2]).is_none());
        batch.clear();
        assert!(batch.hashed(0, &bytes[..2]).is_none());
    }
}
