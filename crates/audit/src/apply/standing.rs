//! Which text stands in a file that a run changes: the old one, ours, or somebody else's.

use super::files;
use super::manifest::{Ledger, Manifest};
use crate::plan::FileChange;

/// Which text stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The one from before.
    Old,
    /// Ours.
    New,
    /// Neither: somebody changed it.
    Theirs,
}

pub(super) fn standing(file: &FileChange, now: Option<&[u8]>) -> Standing {
    if now == file.before.as_deref().map(str::as_bytes) {
        Standing::Old
    } else if now == Some(file.after.as_bytes()) {
        Standing::New
    } else {
        Standing::Theirs
    }
}

impl Ledger {
    /// Which text stands in each file of a run; none where it cannot be read.
    #[must_use]
    pub fn standing(&self, run: &Manifest) -> Vec<Option<Standing>> {
        let of_file = |file: &FileChange| {
            let place = files::place(&self.root, &file.path).ok()?;
            Some(standing(file, files::read(&place).ok()?.as_deref()))
        };
        run.plan.files.iter().map(of_file).collect()
    }
}
