//! The few primitives under all of it: keyed digests, their comparison, random bytes, strict base64.
//!
//! Invariants: secrets are compared without regard to where they differ; whatever is derived from a
//! secret is wiped when it is dropped.

use hmac::{Hmac, KeyInit as _, Mac as _};
use kannuki_protocol::base64;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

/// Bytes of SHA-256 and of everything made with it.
pub(super) const DIGEST_BYTES: usize = 32;

/// A digest, wiped when dropped.
pub(super) type Digest = Zeroizing<[u8; DIGEST_BYTES]>;

/// HMAC-SHA-256 of the parts, one behind the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Digest {
    // HMAC takes keys of any length, so there is always one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Digest::default() };
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Zeroizing::new(Sha256::digest(bytes).into())
}

/// PBKDF2 with HMAC-SHA-256, the `Hi` of SCRAM.
pub(super) fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> Digest {
    let mut out = Digest::default();
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, out.as_mut());
    out
}

/// Whether two digests are the same, in the same time wherever they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> Choice {
    one.ct_eq(other)
}

/// What no peer can know: made at start, gone with the process.
#[derive(Clone)]
pub(super) struct Key(Digest);

impl Key {
    /// A random one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut key = Digest::default();
        getrandom::fill(key.as_mut())?;
        Ok(Self(key))
    }

    /// The digest of the parts under this key; `purpose` keeps uses apart, and each part is told
    /// apart from the next by its length.
    pub(super) fn digest(&self, purpose: &str, parts: &[&[u8]]) -> Digest {
        let lengths: Vec<[u8; 8]> =
            parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
        let mut all: Vec<&[u8]> = vec![purpose.as_bytes(), &[0]];
        for (length, part) in lengths.iter().zip(parts) {
            all.extend([length.as_slice(), part]);
        }
        mac(self.0.as_slice(), &all)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Base64 with padding.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    base64::encode(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

/// The bytes of a base64 text with padding; `None` unless it is exactly what [`to_base64`] makes
/// of them and they are at most `bytes_max`.
pub(super) fn from_base64(text: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut room = vec![0; bytes_max];
    let length = base64::decode(&mut room, text)?;
    room.truncate(length);
    (to_base64(&room).as_bytes() == text).then_some(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let key = Key::random().unwrap();
        assert_ne!(*key.digest("x", &[b"ab", b"c"]), *key.digest("x", &[b"a", b"bc"]));
        assert_ne!(*key.digest("x", &[b"a"]), *key.digest("y", &[b"a"]));
        assert_eq!(*key.digest("x", &[b"a"]), *key.digest("x", &[b"a"]));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(from_base64(b"Zm8=", 9).as_deref(), Some(b"fo".as_slice()));
        for wrong in ["Zm8", "Zm9=", "Zm 8=", "Zm8=\n", "", "Zm9vZm9vZm9v"] {
            assert_eq!(from_base64(wrong.as_bytes(), 8), None, "{wrong}");
        }
    }
}
