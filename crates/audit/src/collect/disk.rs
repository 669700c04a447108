//! A disk that is mounted somewhere, for those who read single files of it: never out of its root,
//! and nothing but regular files.

use std::{io, path::Path};

use super::root::{Part, Root};
use crate::facts::{Seen, Unseen, Why};

/// The disk.
pub(crate) struct Disk(Root);

impl Disk {
    /// Opens its root.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        Root::open(root).map(Self)
    }

    /// The names in a folder; none if there is no such folder.
    pub(crate) fn names(&self, path: &str) -> io::Result<Vec<String>> {
        match self.0.names(path) {
            Seen::Known(names) => Ok(names.into_iter().map(|name| name.text).collect()),
            Seen::Unseen(unseen) => absent(&unseen).map(|()| Vec::new()),
        }
    }

    /// The bytes of a regular file; none if there is no such file.
    pub(crate) fn read(&self, path: &str, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        match self.0.read(path, Part::Whole, bytes_max) {
            Seen::Known(file) => Ok(Some(file.bytes)),
            Seen::Unseen(unseen) => absent(&unseen).map(|()| None),
        }
    }
}

fn absent(unseen: &Unseen) -> io::Result<()> {
    if unseen.why == Why::Absent { Ok(()) } else { Err(io::Error::other(unseen.detail.clone())) }
}
