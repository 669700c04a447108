//! Alpine's order: numbers, a letter, suffixes, a commit, the revision.
//!
//! ```text
//! 1.2.30a_rc1_p2~8f3b2c-r4
//! numbers|letter|suffixes|commit|revision
//! ```
//!
//! Invariants: parts are compared from the left; where the kinds of part differ, the one that stands
//! further left in the drawing is newer, except that `_alpha _beta _pre _rc` are older than nothing.

use std::cmp::Ordering;

use super::{compare_digits, take_while};

/// How `a` stands to `b`.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (Parts::of(a), Parts::of(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(part), None) => return part.against_end(),
            (None, Some(part)) => return part.against_end().reverse(),
            (Some(a), Some(b)) => {
                let order = a.compare(&b);
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// One part of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'v> {
    /// The number before the first dot.
    First(&'v str),
    /// A number after a dot.
    Later(&'v str),
    Letter(&'v str),
    /// A suffix's rank (below zero: before the release) and its number.
    Suffix(i8, &'v str),
    Commit(&'v str),
    Revision(&'v str),
    /// Something that no Alpine version has.
    Other(&'v str),
}

impl Part<'_> {
    /// The longer of two versions that began alike.
    fn against_end(&self) -> Ordering {
        match self {
            Self::Suffix(rank, _) if *rank < 0 => Ordering::Less,
            Self::Revision(number) if compare_digits(number, "").is_eq() => Ordering::Equal,
            _ => Ordering::Greater,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::First(a), Self::First(b)) | (Self::Revision(a), Self::Revision(b)) => {
                compare_digits(a, b)
            }
            (Self::Later(a), Self::Later(b)) => compare_later(a, b),
            (Self::Letter(a), Self::Letter(b))
            | (Self::Commit(a), Self::Commit(b))
            | (Self::Other(a), Self::Other(b)) => a.cmp(b),
            (Self::Suffix(a, x), Self::Suffix(b, y)) => a.cmp(b).then_with(|| compare_digits(x, y)),
            (Self::Suffix(rank, _), _) if *rank < 0 => Ordering::Less,
            (_, Self::Suffix(rank, _)) if *rank < 0 => Ordering::Greater,
            _ => other.place().cmp(&self.place()),
        }
    }

    fn place(&self) -> u8 {
        match self {
            Self::First(_) => 0,
            Self::Later(_) => 1,
            Self::Letter(_) => 2,
            Self::Suffix(..) => 3,
            Self::Commit(_) => 4,
            Self::Revision(_) => 5,
            Self::Other(_) => 6,
        }
    }
}

/// A number with a leading zero is a fraction: `1.05` is older than `1.5`.
fn compare_later(a: &str, b: &str) -> Ordering {
    if a.starts_with('0') || b.starts_with('0') { a.cmp(b) } else { compare_digits(a, b) }
}

/// What is left to read.
struct Parts<'v> {
    rest: &'v str,
    first: bool,
}

impl<'v> Parts<'v> {
    fn of(version: &'v str) -> Self {
        Self { rest: version.trim(), first: true }
    }
}

impl<'v> Iterator for Parts<'v> {
    type Item = Part<'v>;

    fn next(&mut self) -> Option<Part<'v>> {
        let digit = |c: char| c.is_ascii_digit();
        let rest = self.rest;
        let head = rest.chars().next()?;
        let was_first = std::mem::replace(&mut self.first, false);
        if was_first && digit(head) {
            let (number, rest) = take_while(rest, digit);
            self.rest = rest;
            return Some(Part::First(number));
        }
        if let Some(after) = rest.strip_prefix('.').filter(|after| after.starts_with(digit)) {
            let (number, rest) = take_while(after, digit);
            self.rest = rest;
            return Some(Part::Later(number));
        }
        if let Some(after) = rest.strip_prefix("-r").filter(|after| after.starts_with(digit)) {
            let (number, rest) = take_while(after, digit);
            self.rest = rest;
            return Some(Part::Revision(number));
        }
        if let Some(after) = rest.strip_prefix('_') {
            let (name, after) = take_while(after, |c| c.is_ascii_lowercase());
            if let Some(rank) = rank(name) {
                let (number, rest) = take_while(after, digit);
                self.rest = rest;
                return Some(Part::Suffix(rank, number));
            }
        }
        if let Some(after) = rest.strip_prefix('~') {
            let (commit, rest) = take_while(after, |c| c.is_ascii_hexdigit());
            self.rest = rest;
            return Some(Part::Commit(commit));
        }
        if head.is_ascii_lowercase() {
            let (letter, rest) = rest.split_at_checked(1)?;
            self.rest = rest;
            return Some(Part::Letter(letter));
        }
        self.rest = "";
        Some(Part::Other(rest))
    }
}

fn rank(suffix: &str) -> Option<i8> {
    Some(match suffix {
        "alpha" => -4,
        "beta" => -3,
        "pre" => -2,
        "rc" => -1,
        "cvs" => 1,
        "svn" => 2,
        "git" => 3,
        "hg" => 4,
        "p" => 5,
        _ => return None,
    })
}
