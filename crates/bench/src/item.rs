//! Keys and values that carry their number, so that what comes back can be checked without keeping
//! what was sent.
//!
//! A key is filling and then the item's number in ten hexadecimal digits; a value begins with the
//! same ten digits as far as they fit, and goes on with filling.

use anyhow::{Result, ensure};

/// Hexadecimal digits of an item's number.
pub const DIGITS: usize = 10;
/// memcached's bound on keys.
pub const KEY_BYTES_MAX: usize = 250;
/// The largest value that any server here is asked to keep.
pub const VALUE_BYTES_MAX: usize = 1 << 30;
/// memcached reads longer lifetimes as dates.
pub const TTL_SECS_MAX: u32 = 30 * 24 * 3600;
/// Numbers that fit into the digits.
pub const NUMBERS: u64 = 1 << (4 * DIGITS);

/// Fills keys before their number.
const KEY_FILLING: [u8; KEY_BYTES_MAX] = [b'k'; KEY_BYTES_MAX];
/// Fills values behind their number, a piece at a time.
const VALUE_FILLING: [u8; 4096] = [b'v'; 4096];
const HEX: [u8; 16] = *b"0123456789abcdef";

/// An item as it goes over the wire: its number and the sizes of its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which one.
    pub number: u64,
    /// Bytes of the key: [`DIGITS`] to [`KEY_BYTES_MAX`].
    pub key_bytes: usize,
    /// Bytes of the value.
    pub value_bytes: usize,
}

/// Refuses sizes of keys that cannot carry a number or that no server takes.
pub fn check_key_bytes(bytes: usize) -> Result<usize> {
    ensure!(
        (DIGITS..=KEY_BYTES_MAX).contains(&bytes),
        "a key of {bytes} bytes: give {DIGITS} to {KEY_BYTES_MAX}"
    );
    Ok(bytes)
}

/// Appends the key.
pub fn push_key(out: &mut Vec<u8>, item: Item) {
    let filling = item.key_bytes.saturating_sub(DIGITS);
    out.extend_from_slice(KEY_FILLING.get(..filling).unwrap_or(&KEY_FILLING));
    out.extend_from_slice(&digits(item.number));
}

/// Appends the value.
pub fn push_value(out: &mut Vec<u8>, item: Item) {
    let digits = digits(item.number);
    let mark = digits.get(..item.value_bytes).unwrap_or(&digits);
    out.extend_from_slice(mark);
    let mut left = item.value_bytes - mark.len();
    while left > 0 {
        let piece = VALUE_FILLING.get(..left).unwrap_or(&VALUE_FILLING);
        out.extend_from_slice(piece);
        left -= piece.len();
    }
}

/// Appends `set KEY 0 TTL BYTES` and the data block.
pub fn push_set(out: &mut Vec<u8>, item: Item, ttl: u32) {
    out.extend_from_slice(b"set ");
    push_key(out, item);
    out.extend_from_slice(b" 0 ");
    push_number(out, u64::from(ttl));
    out.push(b' ');
    push_number(out, item.value_bytes as u64);
    out.extend_from_slice(b"\r\n");
    push_value(out, item);
    out.extend_from_slice(b"\r\n");
}

/// The number in a key that came back; `None` if it is none of ours.
#[must_use]
pub fn number_of(key: &[u8]) -> Option<u64> {
    let digits = key.get(key.len().checked_sub(DIGITS)?..)?;
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

/// Whether a value that came back is this item's: its length, its mark, and its last byte.
#[must_use]
pub fn is_value_of(value: &[u8], item: Item) -> bool {
    let digits = digits(item.number);
    let mark = digits.get(..item.value_bytes).unwrap_or(&digits);
    let last = if item.value_bytes > DIGITS { Some(&b'v') } else { mark.last() };
    value.len() == item.value_bytes && value.starts_with(mark) && value.last() == last
}

/// Appends a decimal number.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut text = [0_u8; 20];
    let mut left = number;
    let mut used = 0;
    for place in text.iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(text.get(text.len() - used..).unwrap_or_default());
}

fn digits(number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut left = number;
    for place in digits.iter_mut().rev() {
        // Four bits are always one of the sixteen.
        *place = HEX.get((left & 15) as usize).copied().unwrap_or(b'0');
        left >>= 4;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_size_and_give_their_number_back() {
        for (number, key_bytes) in [(0, 10), (255, 20), (NUMBERS - 1, 250)] {
            let mut key = Vec::new();
            push_key(&mut key, Item { number, key_bytes, value_bytes: 0 });
            assert_eq!(key.len(), key_bytes);
            assert_eq!(number_of(&key), Some(number));
        }
        assert_eq!(number_of(b"short"), None);
        assert_eq!(number_of(b"0123456789xyz"), None);
        assert!(check_key_bytes(9).is_err() && check_key_bytes(251).is_err());
    }

    #[test]
    fn values_are_told_apart() {
        for value_bytes in [0, 4, 10, 11, 100, 10_000] {
            let item = Item { number: 0xabc, key_bytes: 20, value_bytes };
            let mut value = Vec::new();
            push_value(&mut value, item);
            assert!(is_value_of(&value, item));
            assert!(!is_value_of(&value, Item { value_bytes: value_bytes + 1, ..item }));
            if value_bytes >= DIGITS {
                assert!(!is_value_of(&value, Item { number: 0xabd, ..item }));
            }
        }
    }

    #[test]
    fn a_set_is_a_line_and_a_block() {
        let mut out = Vec::new();
        push_set(&mut out, Item { number: 18, key_bytes: 12, value_bytes: 12 }, 300);
        assert_eq!(out, b"set kk0000000012 0 300 12\r\n0000000012vv\r\n");
        out.clear();
        push_number(&mut out, u64::MAX);
        push_number(&mut out, 0);
        assert_eq!(out, b"184467440737095516150");
    }
}
