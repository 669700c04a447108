//! Where a token ends: the blank is all that separates.

/// Bytes before the first blank; all of them if there is none. Eight at a time, because a token has
/// a few dozen bytes at most: a call to a search made for long texts costs more than the search.
#[inline]
pub(crate) fn until_blank(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const BLANKS: u64 = u64::from_le_bytes([b' '; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let in_word = |word: &[u8; 8]| {
        let lanes = u64::from_le_bytes(*word) ^ BLANKS;
        // The lowest top bit is that of the first lane that is 0; those above may be mistaken.
        let zeros = lanes.wrapping_sub(ONES) & !lanes & TOPS;
        (zeros != 0).then(|| zeros.trailing_zeros() as usize / 8)
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().position(|&byte| byte == b' ').unwrap_or(bytes.len());
    };
    let (words, _) = bytes.as_chunks();
    for (before, word) in (0..).step_by(8).zip(words) {
        if let Some(within) = in_word(word) {
            return before + within;
        }
    }
    // The last eight, some of them for the second time.
    in_word(last).map_or(bytes.len(), |within| bytes.len() - 8 + within)
}

/// Bytes of blanks at the start.
#[inline]
pub(crate) fn blanks(bytes: &[u8]) -> usize {
    match bytes {
        // As peers send it: one between two tokens.
        [b' ', b' ', ..] => bytes.iter().position(|&byte| byte != b' ').unwrap_or(bytes.len()),
        [b' ', ..] => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_first_blank(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b' '), Just(b'!'), Just(b' ' | 0x80)], 0..40
            ),
        ) {
            let plain = bytes.iter().position(|&byte| byte == b' ').unwrap_or(bytes.len());
            prop_assert_eq!(until_blank(&bytes), plain);
            let others = bytes.iter().take_while(|&&byte| byte == b' ').count();
            prop_assert_eq!(blanks(&bytes), others);
        }
    }
}
