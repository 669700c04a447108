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

/// The key of a Stat request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryStat {
    /// `detail dump|on|off`
    Detail(Detail),
    /// none
    General,
    /// `items`
    Items,
    /// `reset…`
    Reset,
    /// `settings…`
    Settings,
    /// `sizes`
    Sizes,
    /// `slabs`
    Slabs,
    /// Any other: status 01.
    Unknown,
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
