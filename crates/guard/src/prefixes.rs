//! A set of key prefixes: few are compared one by one, many are searched in logarithmic time.
//!
//! Prefixes and keys are compared by their first eight bytes, as one number, before any other byte
//! is looked at: nearly every prefix of practice fits into it, and then nothing else is.
//!
//! Invariants:
//! - Sorted, and none is a prefix of another. Everything between a prefix and a key that begins with
//!   it begins with it too, so the last one at or before the key is the only candidate.
//! - `firsts` has a bit for the first byte of each prefix, so most keys are done with one look; every
//!   bit, where the empty prefix stands.
//! - Heads are filled up with zeros and read big end first, so they never contradict the order of
//!   the bytes that they stand for; where they are equal, the bytes decide.

use std::fmt;

/// Prefixes in one set. A tenant has one or a few; a shared cache some hundreds of tenants.
pub const KEY_PREFIXES_MAX: usize = 1024;

/// More than [`KEY_PREFIXES_MAX`] prefixes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyKeyPrefixes;

impl fmt::Display for TooManyKeyPrefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {KEY_PREFIXES_MAX} key prefixes in one rule")
    }
}

impl std::error::Error for TooManyKeyPrefixes {}

/// A set of keys, written as prefixes. The empty prefix begins every key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyPrefixes {
    firsts: [u64; 4],
    prefixes: Box<[Prefix]>,
}

impl KeyPrefixes {
    /// The keys that begin with any of `prefixes`.
    ///
    /// # Errors
    /// [`TooManyKeyPrefixes`] when more than [`KEY_PREFIXES_MAX`] are given.
    pub fn new<P: Into<Box<[u8]>>>(
        prefixes: impl IntoIterator<Item = P>,
    ) -> Result<Self, TooManyKeyPrefixes> {
        let mut prefixes: Vec<Box<[u8]>> =
            prefixes.into_iter().take(KEY_PREFIXES_MAX + 1).map(Into::into).collect();
        if prefixes.len() > KEY_PREFIXES_MAX {
            return Err(TooManyKeyPrefixes);
        }
        prefixes.sort_unstable();
        prefixes.dedup_by(|later, kept| later.starts_with(kept));
        let mut firsts = [0; 4];
        for prefix in &prefixes {
            match prefix.first() {
                None => firsts = [u64::MAX; 4],
                Some(first) => mark(&mut firsts, *first),
            }
        }
        Ok(Self { firsts, prefixes: prefixes.into_iter().map(Prefix::new).collect() })
    }

    /// Whether `key` begins with one of them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.begin(Headed::new(key))
    }

    /// The same for a key whose head is known already.
    #[inline]
    pub(crate) fn begin(&self, key: Headed<'_>) -> bool {
        let [first, ..] = key.head.to_be_bytes();
        let word = self.firsts.get(usize::from(first >> 6)).copied().unwrap_or(u64::MAX);
        if word >> (first & 63) & 1 == 0 {
            return false;
        }
        if self.prefixes.len() <= ONE_BY_ONE_MAX {
            return self.prefixes.iter().any(|prefix| prefix.begins(key));
        }
        self.search(key)
    }

    #[inline(never)]
    fn search(&self, key: Headed<'_>) -> bool {
        let after = self.prefixes.partition_point(|prefix| prefix.is_at_or_before(key));
        let last = after.checked_sub(1).and_then(|last| self.prefixes.get(last));
        last.is_some_and(|prefix| prefix.begins(key))
    }
}

fn mark(firsts: &mut [u64; 4], first: u8) {
    if let Some(word) = firsts.get_mut(usize::from(first >> 6)) {
        *word |= 1 << (first & 63);
    }
}

/// Up to so many prefixes are compared one by one: a handful of instructions each, less than the
/// steps of a search.
const ONE_BY_ONE_MAX: usize = 8;
/// Bytes of a head.
const HEAD_BYTES: usize = size_of::<u64>();

/// A key and its first bytes as a number: taken once, compared with many prefixes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headed<'k> {
    head: u64,
    key: &'k [u8],
}

impl<'k> Headed<'k> {
    #[inline]
    pub(crate) fn new(key: &'k [u8]) -> Self {
        Self { head: head(key), key }
    }
}

/// One prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Prefix {
    /// Its first bytes.
    head: u64,
    /// The bits of a key's head that its own bytes fill.
    mask: u64,
    bytes: Box<[u8]>,
}

impl Prefix {
    fn new(bytes: Box<[u8]>) -> Self {
        let (filled, all) = ([0xff; HEAD_BYTES], HEAD_BYTES);
        let mask = head(filled.get(..bytes.len().min(all)).unwrap_or(&filled));
        Self { head: head(&bytes), mask, bytes }
    }

    #[inline]
    fn begins(&self, key: Headed<'_>) -> bool {
        // A short key's head is filled up with zeros, which a prefix may have as bytes of its own.
        key.head & self.mask == self.head
            && self.bytes.len() <= key.key.len()
            && (self.bytes.len() <= HEAD_BYTES || key.key.starts_with(&self.bytes))
    }

    fn is_at_or_before(&self, key: Headed<'_>) -> bool {
        self.head < key.head || (self.head == key.head && *self.bytes <= *key.key)
    }
}

#[inline]
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<HEAD_BYTES>() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let byte = |head: u64, at: usize| head << 8 | u64::from(*bytes.get(at).unwrap_or(&0));
            (0..HEAD_BYTES).fold(0, byte)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_has_a_bound() {
        let many = |count: usize| (0..count).map(|at| at.to_string().into_bytes());
        assert!(KeyPrefixes::new(many(KEY_PREFIXES_MAX)).is_ok());
        assert_eq!(KeyPrefixes::new(many(KEY_PREFIXES_MAX + 1)), Err(TooManyKeyPrefixes));
    }

    #[test]
    fn no_prefix_no_key_and_the_empty_prefix_every_key() {
        assert!(!KeyPrefixes::default().contains(b""));
        assert!(!KeyPrefixes::default().contains(b"a"));
        let every = KeyPrefixes::new([b"".as_slice()]).unwrap();
        assert!(every.contains(b"") && every.contains(b"a"));
    }

    #[test]
    fn zeros_and_lengths_around_a_head_are_told_apart() {
        let set = |prefix: &[u8]| KeyPrefixes::new([prefix]).unwrap();
        assert!(!set(b"a\0").contains(b"a") && set(b"a\0").contains(b"a\0"));
        for length in [HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1] {
            let prefix = vec![b'p'; length];
            let longer = [prefix.as_slice(), b"x"].concat();
            assert!(set(&prefix).contains(&prefix) && set(&prefix).contains(&longer), "{length}");
            assert!(!set(&longer).contains(&prefix), "{length}");
            let (mut other, last) = (longer.clone(), length - 1);
            other[last] = b'q';
            assert!(!set(&prefix).contains(&other), "{length}");
        }
    }

    proptest! {
        #[test]
        fn long_prefixes_and_any_byte_agree_with_a_naive_search(
            prefixes in prop::collection::vec(
                prop::collection::vec(prop::sample::select(&[0_u8, 1, 0x61, 0xff][..]), 0..12),
                0..40,
            ),
            keys in prop::collection::vec(
                prop::collection::vec(prop::sample::select(&[0_u8, 1, 0x61, 0xff][..]), 0..14),
                1..40,
            ),
        ) {
            let set = KeyPrefixes::new(prefixes.clone()).unwrap();
            let longer = prefixes.iter().map(|prefix| [prefix.as_slice(), &[0]].concat());
            for key in keys.iter().chain(&prefixes).cloned().chain(longer) {
                let naive = prefixes.iter().any(|prefix| key.starts_with(prefix));
                prop_assert_eq!(set.contains(&key), naive, "{:?}", key);
            }
        }

        #[test]
        fn a_set_agrees_with_a_naive_search(
            prefixes in prop::collection::vec("[ab]{0,5}", 0..24),
            keys in prop::collection::vec("[abc]{0,8}", 1..40),
        ) {
            let bytes = prefixes.iter().map(|prefix| prefix.as_bytes());
            let set = KeyPrefixes::new(bytes).unwrap();
            for key in keys.iter().chain(&prefixes) {
                let naive = prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()));
                prop_assert_eq!(set.contains(key.as_bytes()), naive, "{:?}", key);
            }
        }
    }
}
