//! Everything the server can say, appended to a buffer that the caller lends.
//!
//! Nothing here decides anything: values come in, bytes go out, and the only allocation is the
//! growth of the caller's buffer.

pub mod binary;
pub mod meta;
pub mod text;

/// Appends a key in URI encoding: unreserved characters (`A-Za-z0-9-._~`) stay, any other byte
/// becomes `%XX`. The one form of a key that is safe in dumps and logs.
pub fn escape_key(out: &mut Vec<u8>, key: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    for &byte in key {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Whether a key can stand in a line as it is. Every text key can; a key of the binary protocol or
/// in base64 may hold a blank or a line end, and would forge what follows it.
#[must_use]
pub fn fits_a_line(key: &[u8]) -> bool {
    memchr::memchr2(b' ', b'\n', key).is_none()
}

/// Appends a decimal number.
pub(crate) fn decimal(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_all_but_unreserved_bytes() {
        let mut out = Vec::new();
        escape_key(&mut out, b"aZ09-._~,%/ \x00\xff");
        assert_eq!(out, b"aZ09-._~%2C%25%2F%20%00%FF");
    }
}
