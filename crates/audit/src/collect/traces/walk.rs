//! Walks below folders: bounded in number, depth and time, never through a link.

use std::{collections::VecDeque, time::Duration};

use rustix::fs::{FileType, Stat};

use super::{View, clock::Deadline};
use crate::{
    collect::root::Kind,
    facts::{Unseen, Why},
};

/// Most names that one walk looks at: a host with a dozen web sites. Each walk has its own share,
/// so that one folder that somebody filled hides no other.
const NAMES_MAX: usize = 300_000;
/// Longest time that one walk may take, for the same reason.
const SHARE_MAX: Duration = Duration::from_secs(15);
/// After so many names of a folder the clock is asked.
const LOOK_EVERY: usize = 512;
/// How deep a walk goes.
const DEPTH_MAX: usize = 16;

/// What all walks share.
pub(super) struct Walk<'v> {
    pub(super) view: &'v View,
    deadline: Deadline,
    cut: Vec<String>,
}

/// A name that a walk met.
pub(super) struct Met<'m> {
    pub(super) path: &'m str,
    pub(super) name: &'m str,
    pub(super) kind: Kind,
    pub(super) stat: Stat,
}

impl<'v> Walk<'v> {
    pub(super) fn new(view: &'v View, deadline: Deadline) -> Self {
        Self { view, deadline, cut: Vec::new() }
    }

    /// Shows everything below a folder, folders too, to `meet`.
    pub(super) fn below(&mut self, folder: &str, meet: &mut dyn FnMut(&Met<'_>)) {
        // Where `/bin` is a link, what it leads to is walked by its own name.
        let Some(own) = self.view.root.own_stat(folder) else { return };
        if FileType::from_raw_mode(own.st_mode) != FileType::Directory {
            return;
        }
        let device = own.st_dev;
        let share = Deadline::after(SHARE_MAX);
        let mut left = NAMES_MAX;
        let mut folders = VecDeque::from([(folder.to_owned(), 0)]);
        while let Some((folder, depth)) = folders.pop_front() {
            let over = || share.left().is_none() || self.deadline.left().is_none();
            if left == 0 || over() {
                self.cut.push(folder);
                return;
            }
            for (number, name) in self.view.root.names_in(&folder).into_iter().enumerate() {
                left = left.saturating_sub(1);
                if number % LOOK_EVERY == LOOK_EVERY - 1 && over() {
                    self.cut.push(folder);
                    return;
                }
                let path = format!("{folder}/{}", name.text);
                let Some(stat) = self.view.root.own_stat(&path) else { continue };
                meet(&Met { path: &path, name: &name.text, kind: name.kind, stat });
                // Other file systems below it (`/dev/shm`, a share) are walked by their own names.
                let inside = name.kind == Kind::Folder && stat.st_dev == device;
                if inside && depth < DEPTH_MAX {
                    folders.push_back((path, depth + 1));
                }
            }
        }
    }

    /// Says what was cut off.
    pub(super) fn finish(self) {
        for folder in self.cut {
            let detail = format!("more than {NAMES_MAX} names, or too long: the rest was not seen");
            self.view.root.gap(folder, &Unseen { why: Why::TooLarge, detail });
        }
    }
}

/// Whether a regular file may be run.
pub(super) fn is_program(met: &Met<'_>) -> bool {
    met.kind == Kind::File && met.stat.st_mode & 0o111 != 0
}

/// Whether it gives its owner's or its group's rights to whoever runs it.
pub(super) fn raises(met: &Met<'_>) -> bool {
    let file = FileType::from_raw_mode(met.stat.st_mode) == FileType::RegularFile;
    file && met.stat.st_mode & 0o6000 != 0 && met.stat.st_mode & 0o111 != 0
}
