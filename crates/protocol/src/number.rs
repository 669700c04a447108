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
    fn one_plus_before_a_digit() {
        assert_eq!(without_plus(b"+7"), b"7");
        assert_eq!(without_plus(b"++7"), b"++7");
        assert_eq!(without_plus(b"+-7"), b"+-7");
        assert_eq!(without_plus(b"+"), b"+");
    }
}
