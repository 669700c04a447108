//! The bytes of a record: head, key and value of an item in a segment. Drawn in
//! `docs/item-layout.md`.
//!
//! ```text
//! 0      2            5         6            6+w         +e        +f        +c    +k       +v
//! | bits | last acc.  | key len | value len  | expiry    | flags   | cas     | key | value  |
//! | u16  | u24        | u8      | 1..4 bytes | 0 2 4     | 0 1 2 4 | 0 8     |     |        |
//! ```
//!
//! Invariants: all numbers are little-endian; `Head::read` of what `Head::write` wrote is the same
//! head; widths are chosen by value and never change in place.

use crate::time::{Expiry, Now};

/// Marks of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// It has been fetched.
    pub(crate) fetched: bool,
    /// It is stale.
    pub(crate) stale: bool,
    /// Somebody has won the right to refill it.
    pub(crate) token: bool,
    /// Its key was sent as base64.
    pub(crate) binary_key: bool,
    /// A client may have been told its cas unique, so that moving it must keep it.
    pub(crate) cas_shown: bool,
}

/// The head of an item. `cas` is `None` where it follows from the record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) key_bytes: u8,
    pub(crate) value_bytes: u32,
    pub(crate) flags: u32,
    pub(crate) expiry: Expiry,
    pub(crate) cas: Option<u64>,
    pub(crate) last_access: Now,
    pub(crate) marks: Marks,
}

/// Where the parts of a record are, relative to its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spans {
    expiry: usize,
    expiry_bytes: usize,
    cas: Option<usize>,
    /// Start of the key.
    pub(crate) key: usize,
    /// Start of the value.
    pub(crate) value: usize,
    /// End of the record.
    pub(crate) end: usize,
}

const FIXED_BYTES: usize = 6;
const CAS_BYTES: usize = 8;
/// A head is never longer.
pub(crate) const HEAD_BYTES_MAX: usize = FIXED_BYTES + 4 + 4 + 4 + 8;

const VALUE_WIDTH: u16 = 0b11;
const EXPIRY_SHIFT: u32 = 2;
const FLAGS_SHIFT: u32 = 4;
const CAS: u16 = 1 << 6;
const FETCHED: u16 = 1 << 7;
const STALE: u16 = 1 << 8;
const TOKEN: u16 = 1 << 9;
const BINARY_KEY: u16 = 1 << 10;
const CAS_SHOWN: u16 = 1 << 11;
const DEAD: u16 = 1 << 12;
/// Whatever of a head is not always there.
const OPTIONAL: u16 = (0b11 << EXPIRY_SHIFT) | (0b11 << FLAGS_SHIFT) | CAS;
const MARKS: u16 = FETCHED | STALE | TOKEN | BINARY_KEY | CAS_SHOWN;

/// Last access is kept modulo this many seconds (194 days).
const ACCESS_SECS: u32 = 1 << 24;
/// An access that seems this much ahead is taken as ahead (the clock went back), not as long ago.
const ACCESS_AHEAD_SECS: u32 = 1 << 17;

impl Head {
    /// Bytes of the whole record in a segment opened at `base`.
    #[inline]
    pub(crate) fn record_bytes(&self, base: Now) -> usize {
        FIXED_BYTES
            + value_width(self.value_bytes)
            + expiry_width(self.expiry, base)
            + flags_width(self.flags)
            + if self.cas.is_some() { CAS_BYTES } else { 0 }
            + usize::from(self.key_bytes)
            + self.value_bytes as usize
    }

    /// Writes the head at the start of `out`, which has room for the whole record; returns where
    /// the key begins.
    #[inline]
    pub(crate) fn write(&self, base: Now, out: &mut [u8]) -> usize {
        let value = value_width(self.value_bytes);
        let mut bits = self.marks.bits() | (value as u16 - 1);
        let is_bare = self.is_bare();
        if !is_bare {
            bits |= (expiry_width(self.expiry, base) as u16 / 2) << EXPIRY_SHIFT;
            let flags = flags_width(self.flags);
            bits |= (if flags == 4 { 3 } else { flags as u16 }) << FLAGS_SHIFT;
            bits |= if self.cas.is_some() { CAS } else { 0 };
        }
        out[..2].copy_from_slice(&bits.to_le_bytes());
        out[2..5].copy_from_slice(&self.last_access.0.to_le_bytes()[..3]);
        out[5] = self.key_bytes;
        let at = FIXED_BYTES + value;
        match value {
            1 => out[FIXED_BYTES] = self.value_bytes as u8,
            2 => out[FIXED_BYTES..at].copy_from_slice(&(self.value_bytes as u16).to_le_bytes()),
            _ => out[FIXED_BYTES..at].copy_from_slice(&self.value_bytes.to_le_bytes()[..value]),
        }
        if is_bare { at } else { self.write_optional(at, base, out) }
    }

    /// Writes the fields that most items do without; returns where they end.
    fn write_optional(&self, mut at: usize, base: Now, out: &mut [u8]) -> usize {
        let expiry = expiry_width(self.expiry, base);
        let second = expiry_field(self.expiry, base, expiry);
        out[at..at + expiry].copy_from_slice(&second.to_le_bytes()[..expiry]);
        at += expiry;
        let flags = flags_width(self.flags);
        out[at..at + flags].copy_from_slice(&self.flags.to_le_bytes()[..flags]);
        at += flags;
        if let Some(cas) = self.cas {
            out[at..at + CAS_BYTES].copy_from_slice(&cas.to_le_bytes());
            at += CAS_BYTES;
        }
        at
    }

    /// Whether it has none of the fields that most items do without.
    const fn is_bare(&self) -> bool {
        self.flags == 0 && self.cas.is_none() && self.expiry.second().is_none()
    }

    /// Reads the head at the start of `record`.
    #[inline]
    pub(crate) fn read(record: &[u8], base: Now, now: Now) -> (Self, Spans) {
        let bits = bits(record);
        let spans = Spans::read(record);
        let mut head = Self {
            key_bytes: (spans.value - spans.key) as u8,
            value_bytes: (spans.end - spans.value) as u32,
            flags: 0,
            expiry: Expiry::NEVER,
            cas: None,
            last_access: access(last_access(record), now),
            marks: Marks::from_bits(bits),
        };
        if bits & OPTIONAL != 0 {
            head.read_optional(&spans, record, base);
        }
        (head, spans)
    }

    /// The fields that most items do without.
    fn read_optional(&mut self, spans: &Spans, record: &[u8], base: Now) {
        let second = number(&record[spans.expiry..spans.expiry + spans.expiry_bytes]);
        self.expiry = match spans.expiry_bytes {
            0 => Expiry::NEVER,
            2 => Expiry::at(base.0.saturating_add(second)),
            _ => Expiry::at(second),
        };
        let flags_at = spans.expiry + spans.expiry_bytes;
        let flags_end = spans.cas.unwrap_or(spans.key);
        self.flags = number(&record[flags_at..flags_end]);
        self.cas = spans.cas.map(|at| number64(&record[at..at + CAS_BYTES]));
    }
}

impl Spans {
    /// Only where things are, for scans and comparisons of keys. Every look-up comes through here,
    /// so the usual record costs one load and no branch.
    #[inline]
    pub(crate) fn read(record: &[u8]) -> Self {
        // No record is shorter: six fixed bytes, a length, a byte of the key.
        let first = record.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        let bits = first as u16;
        let value_width = usize::from(bits & VALUE_WIDTH) + 1;
        let expiry = FIXED_BYTES + value_width;
        let value_bytes = match value_width {
            1 => usize::from((first >> 48) as u8),
            2 => (first >> 48) as usize,
            _ => number(&record[FIXED_BYTES..expiry]) as usize,
        };
        let expiry_bytes = usize::from((bits >> EXPIRY_SHIFT) & 0b11) * 2;
        // 0, 1, 2 and 4 bytes.
        let flags_bytes = (1 << ((bits >> FLAGS_SHIFT) & 0b11)) >> 1;
        let key = expiry + expiry_bytes + flags_bytes;
        let (cas, key) = if bits & CAS == 0 { (None, key) } else { (Some(key), key + CAS_BYTES) };
        let value = key + usize::from((first >> 40) as u8);
        Self { expiry, expiry_bytes, cas, key, value, end: value + value_bytes }
    }

    /// Bytes up to the next record.
    pub(crate) const fn padded(&self) -> usize {
        padded(self.end)
    }
}

/// Record bytes rounded up to granules.
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(crate::location::GRANULE_BYTES)
}

/// Whether the record's item was replaced or deleted.
#[inline]
pub(crate) fn is_dead(record: &[u8]) -> bool {
    bits(record) & DEAD != 0
}

/// Marks the record's item as gone.
pub(crate) fn bury(record: &mut [u8]) {
    let bits = bits(record) | DEAD;
    record[..2].copy_from_slice(&bits.to_le_bytes());
}

/// Replaces the marks.
pub(crate) fn set_marks(record: &mut [u8], marks: Marks) {
    let bits = (bits(record) & !MARKS) | marks.bits();
    record[..2].copy_from_slice(&bits.to_le_bytes());
}

/// The second of the last access, modulo [`ACCESS_SECS`].
#[inline]
fn last_access(record: &[u8]) -> u32 {
    u32::from_le_bytes([record[2], record[3], record[4], 0])
}

/// Notes an access.
pub(crate) fn set_last_access(record: &mut [u8], now: Now) {
    record[2..5].copy_from_slice(&now.0.to_le_bytes()[..3]);
}

/// Replaces the expiry if the record has room for the new one.
pub(crate) fn set_expiry(record: &mut [u8], expiry: Expiry, base: Now) -> bool {
    let spans = Spans::read(record);
    let needed = expiry_width(expiry, base);
    // Never is the absence of the field; a wider field holds what a narrower one could.
    if needed > spans.expiry_bytes || (needed == 0) != (spans.expiry_bytes == 0) {
        return false;
    }
    let second = expiry_field(expiry, base, spans.expiry_bytes);
    let field = &mut record[spans.expiry..spans.expiry + spans.expiry_bytes];
    field.copy_from_slice(&second.to_le_bytes()[..spans.expiry_bytes]);
    true
}

/// Replaces the cas unique if the record has a field for it.
pub(crate) fn set_cas(record: &mut [u8], cas: u64) -> bool {
    let Some(at) = Spans::read(record).cas else { return false };
    record[at..at + CAS_BYTES].copy_from_slice(&cas.to_le_bytes());
    true
}

impl Marks {
    const fn bits(self) -> u16 {
        let mut bits = 0;
        if self.fetched {
            bits |= FETCHED;
        }
        if self.stale {
            bits |= STALE;
        }
        if self.token {
            bits |= TOKEN;
        }
        if self.binary_key {
            bits |= BINARY_KEY;
        }
        if self.cas_shown {
            bits |= CAS_SHOWN;
        }
        bits
    }

    const fn from_bits(bits: u16) -> Self {
        Self {
            fetched: bits & FETCHED != 0,
            stale: bits & STALE != 0,
            token: bits & TOKEN != 0,
            binary_key: bits & BINARY_KEY != 0,
            cas_shown: bits & CAS_SHOWN != 0,
        }
    }
}

#[inline]
fn bits(record: &[u8]) -> u16 {
    u16::from_le_bytes([record[0], record[1]])
}

/// A number of up to four bytes. By cases, because a copy of unknown length is a call.
#[inline]
fn number(bytes: &[u8]) -> u32 {
    match *bytes {
        [] => 0,
        [a] => u32::from(a),
        [a, b] => u32::from_le_bytes([a, b, 0, 0]),
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
        [a, b, c, d, ..] => u32::from_le_bytes([a, b, c, d]),
    }
}

fn number64(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide.copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

const fn value_width(bytes: u32) -> usize {
    match bytes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    }
}

const fn flags_width(flags: u32) -> usize {
    match flags {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

/// Two bytes hold seconds after the segment was opened, for the usual short TTLs.
const fn expiry_width(expiry: Expiry, base: Now) -> usize {
    match expiry.second() {
        None => 0,
        Some(second) if second >= base.0 && second - base.0 <= 0xffff => 2,
        Some(_) => 4,
    }
}

const fn expiry_field(expiry: Expiry, base: Now, width: usize) -> u32 {
    match expiry.second() {
        None => 0,
        Some(second) if width == 2 => second.wrapping_sub(base.0),
        Some(second) => second,
    }
}

const fn access(stored: u32, now: Now) -> Now {
    let ago = now.0.wrapping_sub(stored) % ACCESS_SECS;
    if ago >= ACCESS_SECS - ACCESS_AHEAD_SECS { now } else { Now(now.0.saturating_sub(ago)) }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{HEAD_BYTES_MAX, Head, Marks, Spans, bury, is_dead, padded};
    use super::{set_cas, set_expiry, set_last_access, set_marks};
    use crate::time::{Expiry, Now};
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    fn widths() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), 0..300_u32, 0..70_000_u32, any::<u32>()]
    }

    fn heads() -> impl Strategy<Value = Head> {
        let marks = any::<[bool; 5]>().prop_map(|m| Marks {
            fetched: m[0],
            stale: m[1],
            token: m[2],
            binary_key: m[3],
            cas_shown: m[4],
        });
        let expiry = widths().prop_map(|s| if s == 0 { Expiry::NEVER } else { Expiry::at(s) });
        let cas = any::<Option<u64>>();
        (0..=250_u8, 0..70_000_u32, widths(), expiry, cas, marks).prop_map(
            |(key_bytes, value_bytes, flags, expiry, cas, marks)| Head {
                key_bytes,
                value_bytes,
                flags,
                expiry,
                cas,
                last_access: Now(1_000_000),
                marks,
            },
        )
    }

    proptest! {
        #[test]
        fn heads_survive(
            head in heads(),
            base in widths(),
            expiry in widths(),
            second in any::<u64>(),
        ) {
            let base = Now(base);
            let now = Now(1_000_100);
            let mut record = vec![0xee; HEAD_BYTES_MAX + 250 + 70_000];
            let key = head.write(base, &mut record);
            let (read, spans) = Head::read(&record, base, now);
            assert_eq!(read, head);
            assert_eq!(spans, Spans::read(&record));
            assert_eq!(spans.key, key);
            assert_eq!(spans.end, head.record_bytes(base));
            assert!(key <= HEAD_BYTES_MAX);
            assert!(spans.padded() - spans.end < 2);

            let expiry = if expiry == 0 { Expiry::NEVER } else { Expiry::at(expiry) };
            let changed = set_expiry(&mut record, expiry, base);
            let expiry = if changed { expiry } else { head.expiry };
            let cas = if set_cas(&mut record, second) { Some(second) } else { None };
            let marks = Marks { fetched: !head.marks.fetched, ..head.marks };
            set_marks(&mut record, marks);
            set_last_access(&mut record, now);
            assert!(!is_dead(&record));
            bury(&mut record);
            assert!(is_dead(&record));
            let (read, after) = Head::read(&record, base, now);
            assert_eq!(read, Head { expiry, cas, marks, last_access: now, ..head });
            assert_eq!(after, spans);
        }
    }

    #[test]
    fn short_items_have_short_heads() {
        let head = Head {
            key_bytes: 16,
            value_bytes: 32,
            flags: 0,
            expiry: Expiry::NEVER,
            cas: None,
            last_access: Now(5),
            marks: Marks::default(),
        };
        assert_eq!(head.record_bytes(Now(5)), 7 + 16 + 32);
        let short = Head { expiry: Expiry::at(305), ..head };
        assert_eq!(short.record_bytes(Now(5)), 9 + 16 + 32);
        assert_eq!(padded(55), 55, "no byte between records");
    }

    #[test]
    fn an_access_in_the_future_is_now() {
        assert_eq!(super::access(100, Now(50)), Now(50));
        assert_eq!(super::access(50, Now(100)), Now(50));
        let late = 3 << 24;
        assert_eq!(super::access((late - 7) & 0xff_ffff, Now(late)), Now(late - 7));
    }
}
