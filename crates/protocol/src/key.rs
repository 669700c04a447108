//! Keys: what a peer may call an item.

use crate::limits::KEY_BYTES_MAX;

/// 1 to [`KEY_BYTES_MAX`] bytes. Cannot be built otherwise.
///
/// Text keys hold no blank and no newline because the decoder cuts them there; binary and base64
/// keys may hold any byte. Escape a key whenever it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key<'b>(&'b [u8]);

impl<'b> Key<'b> {
    /// `None` if `bytes` is empty or longer than [`KEY_BYTES_MAX`].
    #[must_use]
    pub const fn new(bytes: &'b [u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > KEY_BYTES_MAX { None } else { Some(Self(bytes)) }
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'b [u8] {
        self.0
    }
}
