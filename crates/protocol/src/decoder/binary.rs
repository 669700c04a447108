//! The head of a binary request: header, extras, key. The value, if any, is the data block.
//!
//! Every length is checked against the header alone, before a byte of the body is awaited. All
//! violations here are fatal: the lengths are the only step from one request to the next.

use crate::{
    binary::{Binary, BinaryStat, BinaryVerb, HEADER_BYTES, MAGIC_REQUEST, Status},
    command::{Detail, Direction, Exptime, SetMode},
    key::Key,
    limits::{BINARY_BODY_BYTES_MAX, KEY_BYTES_MAX},
    violation::{Fault, Violation},
};

/// A request up to its value.
pub(super) struct Parsed<'b> {
    pub(super) command: Binary<'b>,
    /// Bytes of header, extras and key; for an unknown opcode, of the header.
    pub(super) used: usize,
    /// Bytes of the body that follow.
    pub(super) body_left: u32,
}

/// `None`: more bytes are needed. `unread` begins where a request must.
pub(super) fn parse(unread: &[u8]) -> Result<Option<Parsed<'_>>, Violation> {
    if unread.first().is_some_and(|&magic| magic != MAGIC_REQUEST) {
        return Err(Violation::fatal(Fault::BinaryMagic));
    }
    let Some((header, body)) = unread.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let header = Header::new(header);
    header.check_lengths()?;
    let Some(shape) = Shape::of(header.opcode) else {
        let command = header.command(BinaryVerb::Unknown, false);
        return Ok(Some(Parsed { command, used: HEADER_BYTES, body_left: header.body_len }));
    };
    if !shape.admits(&header) {
        return Err(header.refuse(Fault::BinaryShape, Status::InvalidArguments));
    }
    let Some((extras, rest)) = body.split_at_checked(usize::from(header.extras_len)) else {
        return Ok(None);
    };
    let Some((key, _)) = rest.split_at_checked(usize::from(header.key_len)) else {
        return Ok(None);
    };
    let body_left = header.value_len();
    let Some(verb) = verb(header.opcode, extras, key, body_left) else {
        return Err(header.refuse(Fault::BinaryShape, Status::InvalidArguments));
    };
    let used = HEADER_BYTES + extras.len() + key.len();
    Ok(Some(Parsed { command: header.command(verb, shape.quiet), used, body_left }))
}

/// The fields of a header that mean something. Data type and vbucket do not.
struct Header {
    opcode: u8,
    key_len: u16,
    extras_len: u8,
    body_len: u32,
    opaque: [u8; 4],
    cas: u64,
}

impl Header {
    const fn new(bytes: &[u8; HEADER_BYTES]) -> Self {
        let &[_, opcode, k0, k1, extras_len, _, _, _, b0, b1, b2, b3, o0, o1, o2, o3, cas @ ..] =
            bytes;
        Self {
            opcode,
            key_len: u16::from_be_bytes([k0, k1]),
            extras_len,
            body_len: u32::from_be_bytes([b0, b1, b2, b3]),
            opaque: [o0, o1, o2, o3],
            cas: u64::from_be_bytes(cas),
        }
    }

    /// What holds for every opcode, known or not.
    fn check_lengths(&self) -> Result<(), Violation> {
        if u32::from(self.key_len) + u32::from(self.extras_len) > self.body_len {
            return Err(self.refuse(Fault::BinaryLengths, Status::UnknownCommand));
        }
        if self.body_len > BINARY_BODY_BYTES_MAX {
            return Err(self.refuse(Fault::BinaryBodyTooLarge, Status::InvalidArguments));
        }
        if usize::from(self.key_len) > KEY_BYTES_MAX {
            return Err(self.refuse(Fault::BinaryKeyTooLong, Status::InvalidArguments));
        }
        Ok(())
    }

    fn value_len(&self) -> u32 {
        let before = u32::from(self.key_len) + u32::from(self.extras_len);
        self.body_len.saturating_sub(before)
    }

    const fn command<'b>(&self, verb: BinaryVerb<'b>, quiet: bool) -> Binary<'b> {
        Binary { opcode: self.opcode, opaque: self.opaque, compare: self.cas, quiet, verb }
    }

    const fn refuse(&self, fault: Fault, status: Status) -> Violation {
        let binary = Some((self.opcode, self.opaque, status));
        Violation { fault, silent: false, closes: true, binary }
    }
}

/// Which parts a request of some opcode has.
#[derive(Clone, Copy)]
struct Shape {
    quiet: bool,
    extras: &'static [u8],
    key: Part,
    value: Part,
}

#[derive(Clone, Copy)]
enum Part {
    Never,
    May,
    Must,
}

impl Part {
    const fn admits(self, length: u32) -> bool {
        match self {
            Self::Never => length == 0,
            Self::May => true,
            Self::Must => length > 0,
        }
    }
}

impl Shape {
    /// `None`: no such opcode.
    const fn of(opcode: u8) -> Option<Self> {
        let (extras, key, value): (&[u8], _, _) = match opcode {
            0x00 | 0x09 | 0x0c | 0x0d | 0x04 | 0x14 => (&[0], Part::Must, Part::Never),
            0x01 | 0x02 | 0x03 | 0x11 | 0x12 | 0x13 => (&[8], Part::Must, Part::May),
            0x05 | 0x06 | 0x15 | 0x16 => (&[20], Part::Must, Part::Never),
            0x07 | 0x17 | 0x0a | 0x0b | 0x20 => (&[0], Part::Never, Part::Never),
            0x08 | 0x18 => (&[0, 4], Part::Never, Part::Never),
            0x0e | 0x0f | 0x19 | 0x1a => (&[0], Part::Must, Part::May),
            0x10 => (&[0], Part::May, Part::Never),
            0x1c | 0x1d | 0x1e | 0x23 | 0x24 => (&[4], Part::Must, Part::Never),
            0x21 | 0x22 => (&[0], Part::Must, Part::May),
            _ => return None,
        };
        let quiet = matches!(opcode, 0x09 | 0x0d | 0x11..=0x1a | 0x1e | 0x24);
        Some(Self { quiet, extras, key, value })
    }

    fn admits(&self, header: &Header) -> bool {
        self.extras.contains(&header.extras_len)
            && self.key.admits(u32::from(header.key_len))
            && self.value.admits(header.value_len())
    }
}

/// `None` only if extras or key have a length that [`Shape`] does not admit.
fn verb<'b>(opcode: u8, mut extras: &[u8], key: &'b [u8], data_len: u32) -> Option<BinaryVerb<'b>> {
    Some(match opcode {
        0x00 | 0x09 => get(key, false, None)?,
        0x0c | 0x0d => get(key, true, None)?,
        0x1d | 0x1e => get(key, false, Some(exptime(&mut extras)?))?,
        0x23 | 0x24 => get(key, true, Some(exptime(&mut extras)?))?,
        0x01 | 0x11 => set(key, SetMode::Set, extras, data_len)?,
        0x02 | 0x12 => set(key, SetMode::Add, extras, data_len)?,
        0x03 | 0x13 => set(key, SetMode::Replace, extras, data_len)?,
        0x0e | 0x19 => join(key, SetMode::Append, data_len)?,
        0x0f | 0x1a => join(key, SetMode::Prepend, data_len)?,
        0x04 | 0x14 => BinaryVerb::Delete { key: Key::new(key)? },
        0x05 | 0x15 => arithmetic(key, Direction::Increment, extras)?,
        0x06 | 0x16 => arithmetic(key, Direction::Decrement, extras)?,
        0x07 | 0x17 => BinaryVerb::Quit,
        0x08 | 0x18 if extras.is_empty() => BinaryVerb::Flush { delay: Exptime::Never },
        0x08 | 0x18 => BinaryVerb::Flush { delay: exptime(&mut extras)? },
        0x0a => BinaryVerb::Noop,
        0x0b => BinaryVerb::Version,
        0x10 => BinaryVerb::Stat(stat(key)),
        0x1c => BinaryVerb::Touch { key: Key::new(key)?, exptime: exptime(&mut extras)? },
        0x20 => BinaryVerb::SaslList,
        0x21 => BinaryVerb::SaslAuth { mechanism: key, data_len },
        0x22 => BinaryVerb::SaslStep { mechanism: key, data_len },
        _ => return None,
    })
}

fn get<'b>(key: &'b [u8], with_key: bool, touch: Option<Exptime>) -> Option<BinaryVerb<'b>> {
    Some(BinaryVerb::Get { key: Key::new(key)?, with_key, touch })
}

fn set<'b>(
    key: &'b [u8],
    mode: SetMode,
    mut extras: &[u8],
    data_len: u32,
) -> Option<BinaryVerb<'b>> {
    let flags = u32::from_be_bytes(take(&mut extras)?);
    let exptime = exptime(&mut extras)?;
    Some(BinaryVerb::Set { key: Key::new(key)?, mode, flags, exptime, data_len })
}

/// Append and prepend have no extras.
fn join(key: &[u8], mode: SetMode, data_len: u32) -> Option<BinaryVerb<'_>> {
    let key = Key::new(key)?;
    Some(BinaryVerb::Set { key, mode, flags: 0, exptime: Exptime::Never, data_len })
}

fn arithmetic<'b>(
    key: &'b [u8],
    direction: Direction,
    mut extras: &[u8],
) -> Option<BinaryVerb<'b>> {
    let delta = u64::from_be_bytes(take(&mut extras)?);
    let initial = u64::from_be_bytes(take(&mut extras)?);
    let expiry = u32::from_be_bytes(take(&mut extras)?);
    // All ones: do not create.
    let create = (expiry != u32::MAX).then_some((initial, Exptime::from_unsigned(expiry)));
    Some(BinaryVerb::Arithmetic { key: Key::new(key)?, direction, delta, create })
}

/// `reset` and `settings` may go on, as in memcached; the rest are exact words.
fn stat(key: &[u8]) -> BinaryStat {
    match key {
        b"" => BinaryStat::General,
        b"detail dump" => BinaryStat::Detail(Detail::Dump),
        b"detail off" => BinaryStat::Detail(Detail::Off),
        b"detail on" => BinaryStat::Detail(Detail::On),
        b"items" => BinaryStat::Items,
        b"sizes" => BinaryStat::Sizes,
        b"slabs" => BinaryStat::Slabs,
        _ if key.starts_with(b"reset") => BinaryStat::Reset,
        _ if key.starts_with(b"settings") => BinaryStat::Settings,
        _ => BinaryStat::Unknown,
    }
}

fn exptime(extras: &mut &[u8]) -> Option<Exptime> {
    take(extras).map(u32::from_be_bytes).map(Exptime::from_unsigned)
}

/// Cuts `N` bytes off the front.
fn take<const N: usize>(extras: &mut &[u8]) -> Option<[u8; N]> {
    let (&bytes, rest) = extras.split_first_chunk::<N>()?;
    *extras = rest;
    Some(bytes)
}
