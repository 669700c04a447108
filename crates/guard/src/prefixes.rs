//! A set of key prefixes that answers in logarithmic time.
//!
//! Invariant: sorted, and none is a prefix of another. Everything between a prefix and a key that
//! begins with it begins with it too, so the last one at or before the key is the only candidate.

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
    prefixes: Box<[Box<[u8]>]>,
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
        Ok(Self { prefixes: prefixes.into_boxed_slice() })
    }

    /// Whether `key` begins with one of them.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        if self.prefixes.len() <= ONE_BY_ONE_MAX {
            return self.prefixes.iter().any(|prefix| begins(prefix, key));
        }
        let after = self.prefixes.partition_point(|prefix| **prefix <= *key);
        let last = after.checked_sub(1).and_then(|last| self.prefixes.get(last));
        last.is_some_and(|prefix| key.starts_with(prefix))
    }
}

/// Up to so many prefixes are compared one by one: most differ from the key in the first byte.
const ONE_BY_ONE_MAX: usize = 8;

fn begins(prefix: &[u8], key: &[u8]) -> bool {
    match (prefix.first(), key.first()) {
        (None, _) => true,
        (Some(one), Some(other)) => one == other && key.starts_with(prefix),
        (Some(_), None) => false,
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

    proptest! {
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
