//! Which text stands in a file that a run changes: the old one, ours, or somebody else's.

use std::path::Path;

use super::manifest::{self, Ledger, Manifest};
use super::{CloseError, files};
use crate::collect::disk::Disk;
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

/// A run, as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What was done.
    pub run: Manifest,
    /// Whether somebody is at work on it at this moment.
    pub at_work: bool,
    /// Which text stands in each of its files; none where it cannot be read.
    pub standing: Vec<Option<Standing>>,
}

impl Ledger {
    /// Every run, the oldest first, with what stands now.
    ///
    /// # Errors
    ///
    /// When the folder or a manifest cannot be read.
    pub fn listed(&self) -> Result<Vec<Listed>, CloseError> {
        let is_busy = self.is_busy();
        let listed = |run: Manifest| {
            let at_work = is_busy && run.state.is_midway();
            let standing = run.plan.files.iter().map(|file| self.standing(file)).collect();
            Listed { run, at_work, standing }
        };
        Ok(self.runs()?.into_iter().map(listed).collect())
    }

    fn standing(&self, file: &FileChange) -> Option<Standing> {
        let place = files::place(&self.root, &file.path).ok()?;
        Some(standing(file, files::read(&place).ok()?.as_deref()))
    }
}

/// The runs that a disk tells of, the oldest first, with what stands on it. It may be hostile: it
/// is read as `collect` reads disks, and nothing of it is believed but what it says of itself.
///
/// # Errors
///
/// When the disk, its records or one of them cannot be read.
pub fn listed_on_disk(root: &Path) -> Result<Vec<Listed>, CloseError> {
    let failed = |path: &str, error| CloseError::Ledger { path: path.into(), error };
    let disk = Disk::open(root).map_err(|error| failed(&root.to_string_lossy(), error))?;
    let folder = manifest::FOLDER;
    let mut runs = Vec::new();
    for name in disk.names(folder).map_err(|error| failed(folder, error))? {
        let path = format!("{folder}/{name}/{}", manifest::MANIFEST);
        let bytes = disk.read(&path, manifest::MANIFEST_BYTES_MAX);
        let Some(bytes) = bytes.map_err(|error| failed(&path, error))? else { continue };
        if runs.len() == manifest::RUNS_MAX {
            return Err(failed(folder, manifest::too_many()));
        }
        runs.push(manifest::parsed(Path::new(&path), &bytes)?);
    }
    runs.sort_by(manifest::by_age);
    let standing_of = |file: &FileChange| {
        let now = disk.read(&file.path, files::FILE_BYTES_MAX).ok()?;
        Some(standing(file, now.as_deref()))
    };
    let listed = |run: Manifest| {
        let standing = run.plan.files.iter().map(standing_of).collect();
        Listed { run, at_work: false, standing }
    };
    Ok(runs.into_iter().map(listed).collect())
}
