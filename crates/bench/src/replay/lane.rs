//! One connection of a replay: a batch of requests under way, what it missed, what comes next.
//!
//! Invariants: all requests for an item go through one lane, in order; a batch is sent whole before
//! its replies are read; an item that a batch misses twice is stored once, and the second request
//! is asked again behind that `set`, as it would have been had each waited for the one before.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};

use super::Tally;
use crate::item::{is_value_of, number_of, push_key, push_number, push_set};
use crate::link::Link;
use crate::reply::Reply;
use crate::workload::{Act, Request};

/// Keys on one line of `get`: short enough for any server's bound on lines (2 KiB).
const LINE_KEYS_BYTES_MAX: usize = 1500;

/// How a server is asked whether it has an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// `get`: the value comes along and is checked.
    Get,
    /// `mg`: hit or miss alone; for values that would take longer to carry than to look up.
    Meta,
}

/// What a batch waits for, in the order of its replies.
enum Awaited {
    /// So many keys of one `get`, taken from the front of `asked`.
    Keys(usize),
    Meta(Request),
    Stored,
    Counted(Request),
}

/// See the head of this file.
pub(super) struct Lane {
    link: Link,
    asking: Asking,
    /// Values change under `incr`: only their presence is looked at.
    counts: bool,
    awaited: VecDeque<Awaited>,
    asked: VecDeque<Request>,
    /// Keys of the line that is being written.
    line_keys: usize,
    line_bytes: usize,
    /// Missed by the batch that was read last: to be stored.
    fills: Vec<Request>,
    /// Missed twice by it: to be asked again.
    again: Vec<Request>,
    missed: HashSet<u64>,
}

impl Lane {
    pub(super) fn open(address: SocketAddr, asking: Asking, counts: bool) -> Result<Self> {
        Ok(Self {
            link: Link::open(address)?,
            asking,
            counts,
            awaited: VecDeque::new(),
            asked: VecDeque::new(),
            line_keys: 0,
            line_bytes: 0,
            fills: Vec::new(),
            again: Vec::new(),
            missed: HashSet::new(),
        })
    }

    /// Reads what is under way, then sends what it missed and `batch`.
    pub(super) fn turn(&mut self, batch: &[Request], tally: &mut Tally) -> Result<()> {
        self.read(tally)?;
        for request in std::mem::take(&mut self.fills) {
            self.push_set(request, tally);
        }
        for request in std::mem::take(&mut self.again) {
            self.push(request, tally);
        }
        for &request in batch {
            self.push(request, tally);
        }
        self.end_line();
        self.link.send()
    }

    /// Ends with nothing under way and nothing missed.
    pub(super) fn finish(&mut self, tally: &mut Tally) -> Result<()> {
        // What is asked again was just stored; a cache that forgets it at once may go on missing
        // it, so the number of rounds has a bound.
        for _ in 0..8 {
            self.turn(&[], tally)?;
        }
        self.read(tally)
    }

    fn push(&mut self, request: Request, tally: &mut Tally) {
        match request.act {
            Act::Write => self.push_set(request, tally),
            Act::Count => {
                self.end_line();
                self.link.out.extend_from_slice(b"incr ");
                push_key(&mut self.link.out, request.item);
                self.link.out.extend_from_slice(b" 1\r\n");
                self.awaited.push_back(Awaited::Counted(request));
            }
            Act::Read if self.asking == Asking::Meta => {
                self.link.out.extend_from_slice(b"mg ");
                push_key(&mut self.link.out, request.item);
                self.link.out.extend_from_slice(b"\r\n");
                self.awaited.push_back(Awaited::Meta(request));
            }
            Act::Read => self.push_get(request),
        }
    }

    fn push_get(&mut self, request: Request) {
        if self.line_bytes + request.item.key_bytes + 1 > LINE_KEYS_BYTES_MAX {
            self.end_line();
        }
        if self.line_keys == 0 {
            self.link.out.extend_from_slice(b"get");
        }
        self.link.out.push(b' ');
        push_key(&mut self.link.out, request.item);
        self.line_keys += 1;
        self.line_bytes += request.item.key_bytes + 1;
        self.asked.push_back(request);
    }

    fn end_line(&mut self) {
        if self.line_keys > 0 {
            self.link.out.extend_from_slice(b"\r\n");
            self.awaited.push_back(Awaited::Keys(self.line_keys));
            (self.line_keys, self.line_bytes) = (0, 0);
        }
    }

    fn push_set(&mut self, request: Request, tally: &mut Tally) {
        self.end_line();
        tally.sets += 1;
        if self.counts {
            push_numeral(&mut self.link.out, request);
        } else {
            push_set(&mut self.link.out, request.item, request.ttl);
        }
        self.awaited.push_back(Awaited::Stored);
    }

    fn read(&mut self, tally: &mut Tally) -> Result<()> {
        while let Some(awaited) = self.awaited.pop_front() {
            match awaited {
                Awaited::Keys(count) => self.read_keys(count, tally)?,
                Awaited::Meta(request) => {
                    let is_hit = self.link.reply(|reply| match reply {
                        Reply::Header => Ok(true),
                        Reply::Missing => Ok(false),
                        other => bail!("`mg` is answered by {other:?}"),
                    })?;
                    if is_hit { tally.hits += 1 } else { self.miss(request, tally) }
                }
                Awaited::Counted(request) => {
                    let is_hit = self.link.reply(|reply| match reply {
                        Reply::Number => Ok(true),
                        Reply::Missing => Ok(false),
                        other => bail!("`incr` is answered by {other:?}"),
                    })?;
                    if is_hit { tally.hits += 1 } else { self.miss(request, tally) }
                }
                Awaited::Stored => {
                    let is_stored = self.link.reply(|reply| match reply {
                        Reply::Stored => Ok(true),
                        Reply::Refused => Ok(false),
                        other => bail!("`set` is answered by {other:?}"),
                    })?;
                    tally.refused += u64::from(!is_stored);
                }
            }
        }
        self.missed.clear();
        Ok(())
    }

    /// Hits come in the order of the keys; those between them are misses.
    fn read_keys(&mut self, count: usize, tally: &mut Tally) -> Result<()> {
        let mut left = count;
        loop {
            let (asked, counts) = (&self.asked, self.counts);
            let before_hit = self.link.reply(|reply| match reply {
                Reply::End => Ok(None),
                Reply::Value { key, value } => {
                    let number = number_of(key);
                    let mut awaited = asked.iter().take(left).enumerate();
                    let hit = awaited.find(|(_, request)| Some(request.item.number) == number);
                    let Some((before, request)) = hit else {
                        bail!("an item that was not asked for: {}", key.escape_ascii());
                    };
                    let is_true = counts || is_value_of(value, request.item);
                    ensure!(is_true, "not the value of {}", key.escape_ascii());
                    Ok(Some(before))
                }
                other => bail!("`get` is answered by {other:?}"),
            })?;
            for _ in 0..before_hit.unwrap_or(left) {
                if let Some(request) = self.asked.pop_front() {
                    self.miss(request, tally);
                }
            }
            let Some(before) = before_hit else { return Ok(()) };
            self.asked.pop_front();
            left -= before + 1;
            tally.hits += 1;
        }
    }

    fn miss(&mut self, request: Request, tally: &mut Tally) {
        if self.missed.insert(request.item.number) {
            tally.misses += 1;
            self.fills.push(request);
        } else {
            self.again.push(request);
        }
    }
}

/// A `set` of a numeral as long as the item's values: `incr` keeps its length for long.
fn push_numeral(out: &mut Vec<u8>, request: Request) {
    let value_bytes = request.item.value_bytes;
    out.extend_from_slice(b"set ");
    push_key(out, request.item);
    out.extend_from_slice(b" 0 ");
    push_number(out, u64::from(request.ttl));
    out.push(b' ');
    push_number(out, value_bytes as u64);
    out.extend_from_slice(b"\r\n");
    out.extend(std::iter::repeat_n(b'1', value_bytes));
    out.extend_from_slice(b"\r\n");
}
