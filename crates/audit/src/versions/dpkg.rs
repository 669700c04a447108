//! Debian's order, as Debian Policy 5.6.12 describes it.
//!
//! Invariants: texts and numbers alternate and are compared in turn; in a text `~` sorts before the
//! end, the end before letters, letters before everything else.

use std::cmp::Ordering;

use super::{compare_digits, take_while};

/// How `a` stands to `b`.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Parts::of(a), Parts::of(b));
    compare_digits(a.epoch, b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

struct Parts<'v> {
    epoch: &'v str,
    upstream: &'v str,
    revision: &'v str,
}

impl<'v> Parts<'v> {
    fn of(version: &'v str) -> Self {
        let version = version.trim();
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = take_while(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = take_while(b, |c| !c.is_ascii_digit());
        let (number_a, after_a) = take_while(rest_a, |c| c.is_ascii_digit());
        let (number_b, after_b) = take_while(rest_b, |c| c.is_ascii_digit());
        let order = compare_text(text_a, text_b).then_with(|| compare_digits(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (after_a, after_b);
    }
    Ordering::Equal
}

fn compare_text(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (next_a, next_b) = (a.next(), b.next());
        let order = weight(next_a).cmp(&weight(next_b));
        if order.is_ne() || next_a.is_none() {
            return order;
        }
    }
}

/// Where one character of a text sorts; `None` is the end.
fn weight(c: Option<char>) -> (u8, u32) {
    match c {
        Some('~') => (0, 0),
        None => (1, 0),
        Some(c) if c.is_ascii_alphabetic() => (2, u32::from(c)),
        Some(c) => (3, u32::from(c)),
    }
}
