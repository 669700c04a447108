//! How wide a text is on a terminal, where a full-width character takes two columns.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that `text` takes.
#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` with blanks up to `columns`.
#[must_use]
pub fn pad(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(blanks))
}

/// Lines of at most `columns`, broken at blanks, and between full-width characters where there is
/// no blank. A word that is longer stands alone.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for piece in pieces(text) {
        if !line.is_empty() && width(&line) + width(piece.trim_end()) > columns {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        line.push_str(piece);
    }
    if !line.trim_end().is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Marks that must not begin a line in Japanese.
const NOT_FIRST: [char; 10] = [
    '\u{3001}', '\u{3002}', '\u{ff09}', '\u{300d}', '\u{ff1a}', '\u{30fc}', '\u{ff0c}', '\u{ff0e}',
    ')', ']',
];

/// Pieces after each of which a line may end.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        let next = chars.peek().map(|(_, next)| *next);
        let wide = |c: char| c.width() == Some(2);
        let ends = c == ' '
            || next.is_some_and(|next| {
                (wide(c) || wide(next)) && !NOT_FIRST.contains(&next) && c != '('
            });
        if ends || next.is_none() {
            pieces.extend(text.get(start..end));
            start = end;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_width_characters_take_two_columns() {
        assert_eq!(width("\u{9583}abc"), 5);
        assert_eq!(pad("\u{9ad8}", 6), "\u{9ad8}    ");
        assert_eq!(pad("HIGH", 6), "HIGH  ");
    }

    #[test]
    fn lines_are_no_wider_than_asked() {
        let text = "abc defgh \u{9583}\u{9583}\u{9583}\u{9583}\u{3002}ij";
        for line in wrap(text, 8) {
            assert!(width(&line) <= 8, "{line:?}");
            assert!(!line.starts_with('\u{3002}'), "{line:?}");
        }
        assert_eq!(wrap("one", 80), ["one"]);
        assert!(wrap("", 10).is_empty());
    }
}
