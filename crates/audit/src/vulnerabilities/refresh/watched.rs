//! A stream of JSON of which a text or a value can be too long to be kept.
//!
//! The bound on a whole answer does not bound what one text in it takes in memory, and a tracker of
//! 60 MB has to be read of which some kilobytes are kept.
//!
//! Invariant: no text of more than [`TEXT_BYTES_MAX`], no kept value of more than
//! [`VALUE_BYTES_MAX`] and none deeper than [`DEPTH_MAX`] is ever collected; reading fails before.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;

/// Longest text, in bytes; the longest descriptions have some 20 KiB.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;
/// Longest value that is kept, in bytes; what Debian says of one package has some 60 KiB.
pub(super) const VALUE_BYTES_MAX: usize = 4 << 20;

/// Deepest value; Debian's has four levels. What is skipped takes a byte for each.
const DEPTH_MAX: usize = 64;

/// How much of the value that is being kept may still come; none while nothing is kept.
pub(super) type Left = Rc<Cell<Option<usize>>>;

/// Fails where a text or a kept value is too long. It must not be read ahead of.
pub(super) struct Watched<R> {
    inner: R,
    left: Left,
    inside: bool,
    escaped: bool,
    len: usize,
    depth: usize,
}

impl<R: Read> Watched<R> {
    pub(super) fn new(inner: R, left: &Left) -> Self {
        Self { inner, left: Rc::clone(left), inside: false, escaped: false, len: 0, depth: 0 }
    }

    fn watch(&mut self, byte: u8) -> io::Result<()> {
        let too_large = |what| Err(io::Error::new(ErrorKind::FileTooLarge, what));
        if let Some(left) = self.left.get() {
            let Some(left) = left.checked_sub(1) else {
                return too_large("the value is longer than can be");
            };
            self.left.set(Some(left));
        }
        match (self.inside, self.escaped, byte) {
            (true, true, _) => self.escaped = false,
            (true, false, b'\\') => self.escaped = true,
            (true, false, b'"') => self.inside = false,
            (false, _, b'"') => (self.inside, self.len) = (true, 0),
            (false, _, b'[' | b'{') => self.depth += 1,
            (false, _, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > DEPTH_MAX {
            return too_large("a value in it is deeper than can be");
        }
        self.len += 1;
        if self.inside && self.len > TEXT_BYTES_MAX {
            return too_large("a text in it is longer than can be");
        }
        Ok(())
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        for byte in into.get(..read).unwrap_or_default() {
            self.watch(*byte)?;
        }
        Ok(read)
    }
}
