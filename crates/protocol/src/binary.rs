//! The binary protocol's commands.

use crate::{
    command::{Detail, Direction, Exptime, SetMode},
    key::Key,
};

/// Bytes of a binary header, both ways.
pub const HEADER_BYTES: usize = 24;
/// First byte of every request.
pub const MAGIC_REQUEST: u8 = 0x80;
/// First byte of every response.
pub const MAGIC_RESPONSE: u8 = 0x81;

/// A request whose header and lengths are sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binary<'b> {
    /// As sent, quiet ones too; the response carries it.
    pub opcode: u8,
    /// As sent; the response carries it.
    pub opaque: [u8; 4],
    /// 0 = no condition.
    pub compare: u64,
    /// The quiet form: success (or a miss, for the get family) is not answered.
    pub quiet: bool,
    /// What is asked.
    pub verb: BinaryVerb<'b>,
}

impl Binary<'_> {
    /// Length of the value that follows, for the storage and login opcodes.
    #[must_use]
    pub const fn data_len(&self) -> Option<u32> {
        match self.verb {
            BinaryVerb::Set { data_len, .. }
            | BinaryVerb::SaslAuth { data_len, .. }
            | BinaryVerb::SaslStep { data_len, .. } => Some(data_len),
            _ => None,
        }
    }
}

impl Binary<'_> {
    /// Appends header, extras and key. The caller appends the value, if there is one. An unknown
    /// opcode is written without body.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut extras = Vec::new();
        self.verb.extras(&mut extras);
        let key = self.verb.key_bytes();
        let (Ok(extras_len), Ok(key_len)) = (u8::try_from(extras.len()), u16::try_from(key.len()))
        else {
            return; // A mechanism of foreign making; no key of a command is that long.
        };
        let before = u32::from(extras_len) + u32::from(key_len);
        let body_len = before.saturating_add(self.data_len().unwrap_or(0));
        out.extend_from_slice(&[MAGIC_REQUEST, self.opcode]);
        out.extend_from_slice(&key_len.to_be_bytes());
        out.extend_from_slice(&[extras_len, 0, 0, 0]);
        out.extend_from_slice(&body_len.to_be_bytes());
        out.extend_from_slice(&self.opaque);
        out.extend_from_slice(&self.compare.to_be_bytes());
        out.extend_from_slice(&extras);
        out.extend_from_slice(key);
    }
}

/// What a binary request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BinaryVerb<'b> {
    /// 05 06 15 16
    Arithmetic {
        /// Of the item.
        key: Key<'b>,
        /// Up or down.
        direction: Direction,
        /// By how much.
        delta: u64,
        /// Value and expiry of the item to create on a miss; `None` = do not create.
        create: Option<(u64, Exptime)>,
    },
    /// 04 14
    Delete {
        /// Of the item.
        key: Key<'b>,
    },
    /// 08 18
    Flush {
        /// `Never` = now.
        delay: Exptime,
    },
    /// 00 09 0c 0d, with touch 1d 1e 23 24
    Get {
        /// Of the item.
        key: Key<'b>,
        /// The response shows the key.
        with_key: bool,
        /// GAT, GATK: the new expiry time.
        touch: Option<Exptime>,
    },
    /// 0a
    Noop,
    /// 07 17
    Quit,
    /// 21
    SaslAuth {
        /// Name of the mechanism.
        mechanism: &'b [u8],
        /// Bytes that follow.
        data_len: u32,
    },
    /// 20
    SaslList,
    /// 22
    SaslStep {
        /// Name of the mechanism.
        mechanism: &'b [u8],
        /// Bytes that follow.
        data_len: u32,
    },
    /// 01 02 03 11 12 13, append and prepend 0e 0f 19 1a
    Set {
        /// Of the item.
        key: Key<'b>,
        /// The mode.
        mode: SetMode,
        /// Client flags; 0 for append and prepend, which keep the old ones.
        flags: u32,
        /// When the item dies; `Never` for append and prepend, which keep the old one.
        exptime: Exptime,
        /// Bytes of the value.
        data_len: u32,
    },
    /// 10
    Stat(BinaryStat),
    /// 1c
    Touch {
        /// Of the item.
        key: Key<'b>,
        /// Its new expiry time.
        exptime: Exptime,
    },
    /// Any other opcode; its body is swallowed by the decoder. Answer 81.
    Unknown,
    /// 0b
    Version,
}

impl BinaryVerb<'_> {
    fn extras(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Arithmetic { delta, create, .. } => {
                let (initial, expiry) = create
                    .map_or((0, u32::MAX), |(initial, exptime)| (initial, exptime.to_unsigned()));
                out.extend_from_slice(&delta.to_be_bytes());
                out.extend_from_slice(&initial.to_be_bytes());
                out.extend_from_slice(&expiry.to_be_bytes());
            }
            Self::Flush { delay } if delay != Exptime::Never => {
                out.extend_from_slice(&delay.to_unsigned().to_be_bytes());
            }
            Self::Get { touch: Some(exptime), .. } | Self::Touch { exptime, .. } => {
                out.extend_from_slice(&exptime.to_unsigned().to_be_bytes());
            }
            Self::Set { mode: SetMode::Append | SetMode::Prepend, .. } => {}
            Self::Set { flags, exptime, .. } => {
                out.extend_from_slice(&flags.to_be_bytes());
                out.extend_from_slice(&exptime.to_unsigned().to_be_bytes());
            }
            _ => {}
        }
    }

    fn key_bytes(&self) -> &[u8] {
        match self {
            Self::Arithmetic { key, .. }
            | Self::Delete { key }
            | Self::Get { key, .. }
            | Self::Set { key, .. }
            | Self::Touch { key, .. } => key.as_bytes(),
            Self::SaslAuth { mechanism, .. } | Self::SaslStep { mechanism, .. } => mechanism,
            Self::Stat(stat) => stat.key_bytes(),
            Self::Flush { .. } | Self::Noop | Self::Quit | Self::SaslList => b"",
            Self::Unknown | Self::Version => b"",
        }
    }
}

/// The key of a Stat request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryStat {
    /// `detail dump|on|off`
    Detail(Detail),
    /// none
    General,
    /// `items`
    Items,
    /// `reset...`
    Reset,
    /// `settings...`
    Settings,
    /// `sizes`
    Sizes,
    /// `slabs`
    Slabs,
    /// Any other: status 01.
    Unknown,
}

impl BinaryStat {
    const fn key_bytes(self) -> &'static [u8] {
        match self {
            Self::Detail(Detail::Dump) => b"detail dump",
            Self::Detail(Detail::Off) => b"detail off",
            Self::Detail(Detail::On) => b"detail on",
            Self::General => b"",
            Self::Items => b"items",
            Self::Reset => b"reset",
            Self::Settings => b"settings",
            Self::Sizes => b"sizes",
            Self::Slabs => b"slabs",
            Self::Unknown => b"unknown",
        }
    }
}

/// Status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// Done.
    Success = 0x00,
    /// No such item.
    NotFound = 0x01,
    /// There is one already, or its cas differs.
    Exists = 0x02,
    /// Above the item size limit.
    TooLarge = 0x03,
    /// Malformed.
    InvalidArguments = 0x04,
    /// The condition of the mode did not hold.
    NotStored = 0x05,
    /// The value is no number.
    NonNumeric = 0x06,
    /// Login failed or missing, or not permitted.
    Auth = 0x20,
    /// More login data wanted.
    AuthContinue = 0x21,
    /// No such opcode.
    UnknownCommand = 0x81,
    /// No memory.
    OutOfMemory = 0x82,
}

impl Status {
    /// The body of a failure with this status; empty for the two that are none.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Success | Self::AuthContinue => "",
            Self::NotFound => "Not found",
            Self::Exists => "Data exists for key.",
            Self::TooLarge => "Too large.",
            Self::InvalidArguments => "Invalid arguments",
            Self::NotStored => "Not stored.",
            Self::NonNumeric => "Non-numeric server-side value for incr or decr",
            Self::Auth => "Auth failure.",
            Self::UnknownCommand => "Unknown command",
            Self::OutOfMemory => "Out of memory",
        }
    }
}
