//! Command lines cut at blanks.
//!
//! Only the blank separates: a tab is part of a token. Repeated, leading and trailing blanks do not
//! count.

use crate::blank::{blanks, until_blank};

/// The tokens of a line, from left to right.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'b> {
    rest: &'b [u8],
}

impl<'b> Tokens<'b> {
    pub(super) const fn new(line: &'b [u8]) -> Self {
        Self { rest: line }
    }

    /// What is left, without blanks around it.
    pub(super) fn rest(&self) -> &'b [u8] {
        trim(self.rest)
    }
}

impl<'b> Iterator for Tokens<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        let (_, from_token) = self.rest.split_at_checked(blanks(self.rest))?;
        let (token, rest) = cut(from_token);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }
}

/// Up to the first blank, and from it.
#[inline]
pub(super) fn cut(line: &[u8]) -> (&[u8], &[u8]) {
    line.split_at_checked(until_blank(line)).unwrap_or((line, &[]))
}

/// Without blanks around it.
#[inline]
pub(super) fn trim(mut line: &[u8]) -> &[u8] {
    while let Some((b' ', rest)) = line.split_first() {
        line = rest;
    }
    while let Some((b' ', rest)) = line.split_last() {
        line = rest;
    }
    line
}

/// The last token of a trimmed line.
pub(super) fn last(line: &[u8]) -> &[u8] {
    line.rsplit(|&byte| byte == b' ').next().unwrap_or_default()
}
