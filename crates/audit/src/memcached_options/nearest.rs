//! The known word nearest to a mistyped one.

/// Longer words are not compared: no known word is nearly as long, and the comparison is quadratic.
const WORD_BYTES_MAX: usize = 48;

/// The candidate that most likely was meant, if any is near.
pub fn nearest<'c>(
    typed: &str,
    candidates: impl IntoIterator<Item = std::borrow::Cow<'c, str>>,
) -> Option<String> {
    if typed.is_empty() || typed.len() > WORD_BYTES_MAX {
        return None;
    }
    let plain = plain(typed);
    // A third of the word may be wrong: enough for two typing errors in `port-udp`, too little to
    // turn one option into another.
    let worst = plain.len().div_ceil(3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= WORD_BYTES_MAX)
        .map(|candidate| (distance(&plain, &self::plain(&candidate)), candidate))
        .filter(|(distance, _)| *distance <= worst)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.into_owned())
}

/// Without the differences that never matter.
fn plain(word: &str) -> Vec<u8> {
    word.bytes().map(|b| if b == b'_' { b'-' } else { b.to_ascii_lowercase() }).collect()
}

/// Edits (insert, delete, replace) that turn `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(typed: &str) -> Option<String> {
        nearest(typed, ["max-item-size", "memory-limit", "port", "udp-port"].map(Into::into))
    }

    #[test]
    fn finds_typing_errors_and_nothing_far() {
        assert_eq!(near("max_item_sise").as_deref(), Some("max-item-size"));
        assert_eq!(near("prot").as_deref(), Some("port"));
        assert_eq!(near("udpport").as_deref(), Some("udp-port"));
        assert_eq!(near("zzzz"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"m".repeat(10_000)), None);
    }

    #[test]
    fn distance_is_levenshtein() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
    }
}
