//! Responses of the binary protocol.
//!
//! ```text
//! byte 0     1       2-3      4           5  6-7     8-11      12-15   16-23
//!      0x81  opcode  key len  extras len  0  status  body len  opaque  cas    extras key value
//! ```

use crate::binary::{HEADER_BYTES, MAGIC_RESPONSE, Status};

const OPCODE_STAT: u8 = 0x10;

/// The header of a response. Extras, key and value follow in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request's own, quiet ones too.
    pub opcode: u8,
    /// The request's own.
    pub opaque: [u8; 4],
    /// How it went.
    pub status: Status,
    /// Bytes of the extras.
    pub extras_len: u8,
    /// Bytes of the key.
    pub key_len: u16,
    /// Bytes of the value.
    pub value_len: u32,
    /// Cas unique of the item, 0 if none.
    pub cas: u64,
}

impl Head {
    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let body_len = u32::from(self.extras_len)
            .saturating_add(u32::from(self.key_len))
            .saturating_add(self.value_len);
        out.reserve(HEADER_BYTES);
        out.extend_from_slice(&[MAGIC_RESPONSE, self.opcode]);
        out.extend_from_slice(&self.key_len.to_be_bytes());
        out.extend_from_slice(&[self.extras_len, 0]);
        out.extend_from_slice(&(self.status as u16).to_be_bytes());
        out.extend_from_slice(&body_len.to_be_bytes());
        out.extend_from_slice(&self.opaque);
        out.extend_from_slice(&self.cas.to_be_bytes());
    }

    const fn bare(opcode: u8, opaque: [u8; 4], status: Status) -> Self {
        Self { opcode, opaque, status, extras_len: 0, key_len: 0, value_len: 0, cas: 0 }
    }
}

/// Appends a response without body: a success that has nothing to show but its cas unique.
pub fn success(out: &mut Vec<u8>, opcode: u8, opaque: [u8; 4], cas: u64) {
    Head { cas, ..Head::bare(opcode, opaque, Status::Success) }.encode(out);
}

/// Appends a failure with the usual text of its status.
pub fn failure(out: &mut Vec<u8>, opcode: u8, opaque: [u8; 4], status: Status) {
    failure_with(out, opcode, opaque, status, status.text());
}

/// Appends a failure with a text of its own, for the variants of [`Status::OutOfMemory`].
pub fn failure_with(out: &mut Vec<u8>, opcode: u8, opaque: [u8; 4], status: Status, text: &str) {
    body(out, Head::bare(opcode, opaque, status), &[], text.as_bytes());
}

/// Appends the miss of `GetK` and `GATK`, which carries the key.
pub fn miss_with_key(out: &mut Vec<u8>, opcode: u8, opaque: [u8; 4], key: &[u8]) {
    body(out, Head::bare(opcode, opaque, Status::NotFound), key, &[]);
}

/// Appends the head of a hit: header, client flags and, for `GetK` and `GATK`, the key. The caller
/// appends the value. `Touch` shows no value: `value_len` 0.
pub fn value_head(
    out: &mut Vec<u8>,
    (opcode, opaque): (u8, [u8; 4]),
    key: Option<&[u8]>,
    client_flags: u32,
    value_len: u32,
    cas: u64,
) {
    let key = shown(key.unwrap_or_default());
    let bare = Head::bare(opcode, opaque, Status::Success);
    Head { extras_len: 4, key_len: key.1, value_len, cas, ..bare }.encode(out);
    out.extend_from_slice(&client_flags.to_be_bytes());
    out.extend_from_slice(key.0);
}

/// Appends the new value of an increment or decrement.
pub fn number(out: &mut Vec<u8>, opcode: u8, opaque: [u8; 4], number: u64, cas: u64) {
    let head = Head { cas, ..Head::bare(opcode, opaque, Status::Success) };
    body(out, head, &[], &number.to_be_bytes());
}

/// Appends a success with a text: the version, the login mechanisms.
pub fn text(out: &mut Vec<u8>, opcode: u8, opaque: [u8; 4], text: &[u8]) {
    body(out, Head::bare(opcode, opaque, Status::Success), &[], text);
}

/// Appends the server's message in the middle of a log-in, which goes on.
pub fn proceed(out: &mut Vec<u8>, opcode: u8, opaque: [u8; 4], challenge: &[u8]) {
    body(out, Head::bare(opcode, opaque, Status::AuthContinue), &[], challenge);
}

/// Appends one line of statistics.
pub fn stat(out: &mut Vec<u8>, opaque: [u8; 4], key: &[u8], value: &[u8]) {
    body(out, Head::bare(OPCODE_STAT, opaque, Status::Success), key, value);
}

/// Appends the empty response that ends statistics.
pub fn stat_end(out: &mut Vec<u8>, opaque: [u8; 4]) {
    success(out, OPCODE_STAT, opaque, 0);
}

/// Appends header, key and value. A value beyond the 32-bit length field is cut; the server's item
/// size limit lies far below.
fn body(out: &mut Vec<u8>, head: Head, key: &[u8], value: &[u8]) {
    let (key, key_len) = shown(key);
    let value_len = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let (value, _) = value.split_at_checked(value_len as usize).unwrap_or((value, &[]));
    Head { key_len, value_len, ..head }.encode(out);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// A key and its length; an impossible one (above 65535 bytes) is left out rather than framed
/// wrong.
fn shown(key: &[u8]) -> (&[u8], u16) {
    u16::try_from(key.len()).map_or((&[], 0), |length| (key, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPAQUE: [u8; 4] = [0, 0, 0, 7];

    #[test]
    fn a_hit_is_framed_as_documented() {
        let mut out = Vec::new();
        value_head(&mut out, (0x0d, OPAQUE), Some(b"b"), 0x0102_0304, 2, 9);
        out.extend_from_slice(b"xy");
        let mut expected = vec![0x81, 0x0d, 0, 1, 4, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 7];
        expected.extend([0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, b'b', b'x', b'y']);
        assert_eq!(out, expected);
    }

    #[test]
    fn failures_carry_their_text_and_misses_their_key() {
        let mut out = Vec::new();
        failure(&mut out, 0x04, OPAQUE, Status::NotFound);
        assert_eq!(out[..12], [0x81, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9]);
        assert_eq!(&out[HEADER_BYTES..], b"Not found");
        out.clear();
        miss_with_key(&mut out, 0x0c, OPAQUE, b"abc");
        assert_eq!(out[..12], [0x81, 0x0c, 0, 3, 0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(&out[HEADER_BYTES..], b"abc");
    }

    #[test]
    fn statistics_end_with_an_empty_frame() {
        let mut out = Vec::new();
        stat(&mut out, OPAQUE, b"pid", b"12");
        stat_end(&mut out, OPAQUE);
        assert_eq!(&out[HEADER_BYTES..HEADER_BYTES + 5], b"pid12");
        assert_eq!(
            out[HEADER_BYTES + 5..HEADER_BYTES + 17],
            [0x81, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(out.len(), 2 * HEADER_BYTES + 5);
    }

    #[test]
    fn a_number_is_eight_bytes() {
        let mut out = Vec::new();
        number(&mut out, 0x05, OPAQUE, 258, 3);
        assert_eq!(out[HEADER_BYTES - 1..], [3, 0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
