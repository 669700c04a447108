//! Decimal numbers of the text protocols.
//!
//! All are strict: at least one digit, nothing but digits (and a sign where one is allowed), in
//! range.
//! Leading zeros are fine.

/// Digits only.
pub(crate) fn unsigned(token: &[u8]) -> Option<u64> {
    if token.is_empty() {
        return None;
    }
    token.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Three numbers of one to nine digits, one blank between two: what nearly all lines that announce
/// a block end in. `None` is for the strict functions, one by one, to judge.
#[inline]
pub(crate) fn three(fields: &[u8]) -> Option<[u32; 3]> {
    let mut numbers = [0; 3];
    let mut fields = fields.iter();
    for (place, number) in numbers.iter_mut().enumerate() {
        let mut digits = 0;
        loop {
            let Some(&byte) = fields.next() else {
                // The end is where the third one ends.
                if place == 2 && digits > 0 {
                    break;
                }
                return None;
            };
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 && digits < DIGITS_SAFE {
                *number = *number * 10 + u32::from(digit);
                digits += 1;
            } else if byte == b' ' && digits > 0 && place < 2 {
                break;
            } else {
                return None;
            }
        }
    }
    Some(numbers)
}

/// So many digits are never more than an `i32` holds.
const DIGITS_SAFE: u32 = 9;

/// Digits only, 32 bits.
pub(crate) fn unsigned_u32(token: &[u8]) -> Option<u32> {
    u32::try_from(unsigned(token)?).ok()
}

/// Digits, perhaps behind a minus.
pub(crate) fn signed(token: &[u8]) -> Option<i32> {
    let (negative, digits) = match token.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, token),
    };
    let magnitude = i64::try_from(unsigned(digits)?).ok()?;
    i32::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// Without the one leading plus that memcached allows in flags and expiry of storage commands.
pub(crate) fn without_plus(token: &[u8]) -> &[u8] {
    match token.split_first() {
        Some((b'+', digits)) if digits.first().is_some_and(u8::is_ascii_digit) => digits,
        _ => token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers_are_strict() {
        assert_eq!(unsigned(b"0"), Some(0));
        assert_eq!(unsigned(b"007"), Some(7));
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        for bad in
            [&b""[..], b"18446744073709551616", b"-1", b"+1", b"1x", b" 1", b"1 ", b"/", b":"]
        {
            assert_eq!(unsigned(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(unsigned_u32(b"4294967295"), Some(u32::MAX));
        assert_eq!(unsigned_u32(b"4294967296"), None);
    }

    #[test]
    fn signed_numbers_are_strict() {
        assert_eq!(signed(b"-2147483648"), Some(i32::MIN));
        assert_eq!(signed(b"2147483647"), Some(i32::MAX));
        assert_eq!(signed(b"-0"), Some(0));
        for bad in [&b"2147483648"[..], b"-2147483649", b"-", b"--1", b"+1", b"", b"1-"] {
            assert_eq!(signed(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn three_plain_numbers_or_nothing() {
        assert_eq!(three(b"0 0 36"), Some([0, 0, 36]));
        assert_eq!(three(b"007 999999999 1"), Some([7, 999_999_999, 1]));
        for other in [
            &b""[..],
            b"0",
            b"0 0",
            b"0 0 ",
            b" 0 0 1",
            b"0  0 1",
            b"0 0 1 ",
            b"0 0 1 noreply",
            b"0 -1 1",
            b"+1 0 1",
            b"0 0 1234567890",
            b"0 0 1x",
            b"0	0 1",
        ] {
            assert_eq!(three(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn one_plus_before_a_digit() {
        assert_eq!(without_plus(b"+7"), b"7");
        assert_eq!(without_plus(b"++7"), b"++7");
        assert_eq!(without_plus(b"+-7"), b"+-7");
        assert_eq!(without_plus(b"+"), b"+");
    }
}
