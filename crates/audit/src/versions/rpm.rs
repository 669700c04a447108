//! rpm's order of epoch, version and release.
//!
//! Invariants: separators only separate; runs of digits and of letters are compared in turn, digits
//! newer than letters; `~` sorts before the end, `^` after it but before anything else.

use std::cmp::Ordering;

use super::{compare_digits, take_while};

/// How `a` stands to `b`. Without a release is older than with one.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, version_a, release_a), (epoch_b, version_b, release_b)) = (split(a), split(b));
    compare_digits(epoch_a, epoch_b).then_with(|| compare_part(version_a, version_b)).then_with(
        || match (release_a, release_b) {
            (Some(a), Some(b)) => compare_part(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        },
    )
}

fn split(version: &str) -> (&str, &str, Option<&str>) {
    let version = version.trim();
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    loop {
        a = skip_separators(a);
        b = skip_separators(b);
        let (head_a, head_b) = (a.chars().next(), b.chars().next());
        match (mark(head_a), mark(head_b)) {
            (Mark::Other, Mark::Other) => {}
            (x, y) if x != y => return x.cmp(&y),
            (Mark::End, _) => return Ordering::Equal,
            _ => {
                // The same mark on both sides: one character of one byte.
                a = a.get(1..).unwrap_or_default();
                b = b.get(1..).unwrap_or_default();
                continue;
            }
        }
        let digits = head_a.is_some_and(|c| c.is_ascii_digit());
        let inside = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let (run_a, rest_a) = take_while(a, inside);
        let (run_b, rest_b) = take_while(b, inside);
        let order = match (run_b.is_empty(), digits) {
            (true, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, true) => compare_digits(run_a, run_b),
            (false, false) => run_a.cmp(run_b),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

fn skip_separators(text: &str) -> &str {
    text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^')
}

/// What stands next, in the order in which it sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Tilde,
    End,
    Caret,
    Other,
}

fn mark(head: Option<char>) -> Mark {
    match head {
        Some('~') => Mark::Tilde,
        None => Mark::End,
        Some('^') => Mark::Caret,
        Some(_) => Mark::Other,
    }
}
