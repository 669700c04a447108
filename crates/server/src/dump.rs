//! Listings of keys: `lru_crawler metadump`, `lru_crawler mgdump`, `stats cachedump`.
//!
//! Invariants:
//! - A dump is made in short steps between which others are served; a step looks at a bounded number
//!   of items and stops when the output is full.
//! - Expired and flushed items are left out; keys are escaped where the format is text.

use std::{io::Write as _, sync::PoisonError};

use kannuki_guard::{Access, Denial, Response, action};
use kannuki_protocol::{
    base64,
    command::Classes,
    reply::{escape_key, fits_a_line, text::Line},
};
use kannuki_store::{
    face::{Cursor, Walked},
    time::Expiry,
};

use crate::{
    clock::Clock,
    dispatch::{Turn, classic::deny},
    limits::{CACHEDUMP_BYTES_MAX, DUMP_ITEMS_PER_STEP},
};

/// A dump in progress.
#[derive(Debug)]
pub(crate) struct Dump {
    format: Format,
    /// Bit `n`: items of class `n` are wanted.
    classes: u64,
    cursor: Cursor,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Metadump,
    Mgdump,
    Cachedump { items_left: u32, bytes_left: usize },
}

/// `lru_crawler metadump`; `None` = refused and answered.
pub(crate) fn metadump(
    turn: &Turn<'_>,
    access: &Access,
    classes: Classes<'_>,
    out: &mut Vec<u8>,
) -> Option<Dump> {
    crawl(turn, access, classes, Format::Metadump, Line::MetadumpNotAllowed, out)
}

/// `lru_crawler mgdump`; `None` = refused and answered.
pub(crate) fn mgdump(
    turn: &Turn<'_>,
    access: &Access,
    classes: Classes<'_>,
    out: &mut Vec<u8>,
) -> Option<Dump> {
    crawl(turn, access, classes, Format::Mgdump, Line::MgdumpNotAllowed, out)
}

fn crawl(
    turn: &Turn<'_>,
    access: &Access,
    classes: Classes<'_>,
    format: Format,
    refusal: Line,
    out: &mut Vec<u8>,
) -> Option<Dump> {
    if let Err(denial) = turn.permit::<action::Dump>(access, None) {
        refuse(&denial, refusal, out);
        return None;
    }
    if !turn.instance.echo.lock().unwrap_or_else(PoisonError::into_inner).lru_crawler {
        Line::CrawlerDisabled.encode(out);
        return None;
    }
    let Some(classes) = mask(classes) else {
        Line::CrawlerBadClass.encode(out);
        return None;
    };
    Line::Ok.encode(out);
    Some(Dump { format, classes, cursor: Cursor::START })
}

/// The classes as a set: bit `n` stands for class `n`; `None` if one of them does not exist.
#[must_use]
pub(crate) fn mask(classes: Classes<'_>) -> Option<u64> {
    match classes {
        Classes::All | Classes::Hash => Some(u64::MAX),
        Classes::List(list) => Classes::parse_list(list),
    }
}

/// `stats cachedump`; `None` = refused and answered.
pub(crate) fn cachedump(
    turn: &Turn<'_>,
    access: &Access,
    class: u32,
    limit: u32,
    out: &mut Vec<u8>,
) -> Option<Dump> {
    if let Err(denial) = turn.permit::<action::Dump>(access, None) {
        refuse(&denial, Line::CachedumpNotAllowed, out);
        return None;
    }
    let items_left = if limit == 0 { u32::MAX } else { limit };
    let format = Format::Cachedump { items_left, bytes_left: CACHEDUMP_BYTES_MAX };
    let classes = 1_u64.checked_shl(class).unwrap_or(0);
    Some(Dump { format, classes, cursor: Cursor::START })
}

fn refuse(denial: &Denial, line: Line, out: &mut Vec<u8>) {
    if denial.response == Response::DumpNotAllowed {
        line.encode(out);
    } else {
        deny(denial, out);
    }
}

impl Dump {
    /// Appends some more lines; `false` = that was the end, and it has been said.
    pub(crate) fn step(&mut self, turn: &Turn<'_>, access: &Access, out: &mut Vec<u8>) -> bool {
        let permit = match turn.permit::<action::Dump>(access, None) {
            Ok(permit) => permit,
            // The rules have changed since the dump began: it ends here.
            Err(denial) => {
                deny(&denial, out);
                return false;
            }
        };
        let (clock, classes, format) = (&turn.instance.clock, self.classes, &mut self.format);
        let cursor = turn.instance.executor.walk(
            permit,
            self.cursor,
            turn.now,
            DUMP_ITEMS_PER_STEP,
            |item| {
                if classes & (1 << item.class.min(63)) != 0 {
                    format.line(clock, item, out);
                }
            },
        );
        match cursor.filter(|_| !self.format.is_over()) {
            Some(cursor) => {
                self.cursor = cursor;
                true
            }
            None => {
                self.format.end().encode(out);
                false
            }
        }
    }
}

impl Format {
    const fn end(self) -> Line {
        match self {
            Self::Mgdump => Line::EndMeta,
            Self::Metadump | Self::Cachedump { .. } => Line::End,
        }
    }

    const fn is_over(self) -> bool {
        matches!(self, Self::Cachedump { items_left: 0, .. })
    }

    fn line(&mut self, clock: &Clock, item: &Walked<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Metadump => metadump_line(clock, item, out),
            Self::Mgdump => mgdump_line(item, out),
            Self::Cachedump { items_left, bytes_left } => {
                if *items_left == 0 || is_binary(item) {
                    return;
                }
                let before = out.len();
                cachedump_line(clock, item, out);
                let written = out.len() - before;
                if written > *bytes_left {
                    out.truncate(before);
                    *items_left = 0;
                } else {
                    *bytes_left -= written;
                    *items_left -= 1;
                }
            }
        }
    }
}

/// `key= exp= la= cas= fetch= cls= size= flags= ` and a bare newline, which tools split on.
fn metadump_line(clock: &Clock, item: &Walked<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"key=");
    escape_key(out, item.key);
    match unix_expiry(clock, item.expiry) {
        // Writing to a Vec cannot fail, here and below.
        Some(unix) => drop(write!(out, " exp={unix}")),
        None => out.extend_from_slice(b" exp=-1"),
    }
    let fetched = if item.fetched { "yes" } else { "no" };
    drop(writeln!(
        out,
        " la={} cas={} fetch={fetched} cls={} size={} flags={} ",
        clock.unix_of(item.last_access.0),
        item.cas,
        item.class,
        item.item_bytes,
        item.flags,
    ));
}

/// Whether the key is listed as base64 or not at all: it was sent so, or came by the binary
/// protocol, where nothing marks it, and would forge lines of the listing.
fn is_binary(item: &Walked<'_>) -> bool {
    item.binary_key || !fits_a_line(item.key)
}

/// `mg KEY` or `mg BASE64 b`.
fn mgdump_line(item: &Walked<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"mg ");
    if is_binary(item) {
        base64::encode(out, item.key);
        out.extend_from_slice(b" b\r\n");
    } else {
        out.extend_from_slice(item.key);
        out.extend_from_slice(b"\r\n");
    }
}

/// `ITEM key [bytes b; expiry s]`
fn cachedump_line(clock: &Clock, item: &Walked<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ITEM ");
    out.extend_from_slice(item.key);
    let expiry = unix_expiry(clock, item.expiry).unwrap_or(0);
    drop(write!(out, " [{} b; {expiry} s]\r\n", item.value_bytes));
}

fn unix_expiry(clock: &Clock, expiry: Expiry) -> Option<u64> {
    expiry.second().map(|second| clock.unix_of(second))
}
