//! The meta commands `mn me mg ms md ma` and their flags.

use crate::{
    base64,
    command::{Exptime, SetMode},
    key::Key,
    limits::KEY_BYTES_MAX,
};

/// A meta command: verb, key, flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'b> {
    /// Which one; carries what only it has.
    pub verb: MetaVerb,
    /// Absent for `mn` only.
    pub key: Option<MetaKey<'b>>,
    /// What was asked around it.
    pub flags: MetaFlags<'b>,
}

impl Meta<'_> {
    /// Length of the data block, for `ms`.
    #[must_use]
    pub const fn data_len(&self) -> Option<u32> {
        match self.verb {
            MetaVerb::Set { data_len, .. } => Some(data_len),
            _ => None,
        }
    }
}

/// The six meta commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVerb {
    /// `ma`; the mode says up or down.
    Arithmetic(crate::command::Direction),
    /// `me`
    Debug,
    /// `md`
    Delete,
    /// `mg`
    Get,
    /// `mn`
    Noop,
    /// `ms`
    Set {
        /// From the `M` flag; without it `Set`.
        mode: SetMode,
        /// Bytes of the data block, its terminator not counted.
        data_len: u32,
    },
}

/// A key as sent, perhaps base64. The decoder has checked that it decodes to a legal key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaKey<'b> {
    sent: &'b [u8],
    base64: bool,
}

impl<'b> MetaKey<'b> {
    /// `None` unless `sent` is, or with `base64` stands for, a legal key.
    #[must_use]
    pub fn new(sent: &'b [u8], base64: bool) -> Option<Self> {
        let key = Self { sent, base64 };
        Key::new(sent)?;
        key.raw(&mut [0; KEY_BYTES_MAX]).is_some().then_some(key)
    }

    /// The key as it stood on the line.
    #[must_use]
    pub const fn sent(&self) -> &'b [u8] {
        self.sent
    }

    /// It was sent as base64.
    #[must_use]
    pub const fn is_base64(&self) -> bool {
        self.base64
    }

    /// The key that the item has, decoded into `room` if need be. Never `None` for a key that
    /// exists: [`MetaKey::new`] has tried.
    #[must_use]
    pub fn raw<'r>(&self, room: &'r mut [u8; KEY_BYTES_MAX]) -> Option<Key<'r>>
    where
        'b: 'r,
    {
        if !self.base64 {
            return Key::new(self.sent);
        }
        let length = base64::decode(room, self.sent)?;
        Key::new(room.get(..length)?)
    }
}

/// Flags of a meta command, parsed once. `None`/`false` = not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaFlags<'b> {
    /// The flag tokens as sent, for [`MetaFlags::returns`].
    tokens: &'b [u8],
    /// `q`
    pub quiet: bool,
    /// `c`: the reply shows the cas unique.
    pub cas: bool,
    /// `O`, without its letter.
    pub opaque: Option<&'b [u8]>,
    /// `C`
    pub compare: Option<u64>,
    /// `E`
    pub new_cas: Option<u64>,
    /// `T`
    pub ttl: Option<Exptime>,
    /// `N`
    pub vivify: Option<Exptime>,
    /// `R`
    pub recache_below_secs: Option<i32>,
    /// `F`
    pub client_flags: Option<u32>,
    /// `J`
    pub initial: Option<u64>,
    /// `D`
    pub delta: Option<u64>,
    /// `I`
    pub invalidate: bool,
    /// `x`
    pub remove_value: bool,
    /// `u`
    pub no_bump: bool,
    /// `v`
    pub value: bool,
    /// `T` stands before `t`: the reply shows the new TTL.
    pub ttl_before_return: bool,
}

impl<'b> MetaFlags<'b> {
    /// Nothing given yet; `tokens` are what [`MetaFlags::returns`] will look at.
    pub(crate) fn new(tokens: &'b [u8]) -> Self {
        Self { tokens, ..Self::default() }
    }

    /// The flag tokens as they stood on the line.
    #[must_use]
    pub const fn sent(&self) -> &'b [u8] {
        self.tokens
    }

    /// The flags whose answer the peer wants back, in the order of the request.
    pub fn returns(&self) -> impl Iterator<Item = Return<'b>> + use<'b> {
        self.tokens.split(|&byte| byte == b' ').filter_map(|token| {
            let (&letter, argument) = token.split_first()?;
            match letter {
                b'c' => Some(Return::Cas),
                b'f' => Some(Return::ClientFlags),
                b'h' => Some(Return::Fetched),
                b'k' => Some(Return::Key),
                b'l' => Some(Return::LastAccess),
                b'O' => Some(Return::Opaque(argument)),
                b's' => Some(Return::Size),
                b't' => Some(Return::Ttl),
                _ => None,
            }
        })
    }
}

/// A flag whose answer the peer wants back, in the order of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return<'b> {
    /// `c` cas unique
    Cas,
    /// `f` client flags
    ClientFlags,
    /// `h` fetched before
    Fetched,
    /// `k` key
    Key,
    /// `l` seconds since last access
    LastAccess,
    /// `O` opaque
    Opaque(&'b [u8]),
    /// `s` value size
    Size,
    /// `t` seconds left
    Ttl,
}
