//! What was done to a host: one folder for each run, with a manifest and the old files.
//!
//! ```text
//! /var/lib/kannuki-close/
//!   lock                      held by whoever changes the host
//!   20261122T154501Z-bind/
//!     manifest.json           rewritten whole, and on the disk, before each step
//!     file-0                  the old bytes of files[0]
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::CloseError;
use super::files::Original;
use crate::plan::{Plan, verify::Check};

/// The name and version of the form; it grows by addition only.
pub const SCHEMA: &str = "kannuki.close/1";
/// Longest manifest that is read, in bytes: it holds the old and new text of a few settings.
pub(super) const MANIFEST_BYTES_MAX: usize = 16 << 20;
/// Most runs that are kept; nothing deletes them but their owner.
pub(super) const RUNS_MAX: usize = 1000;
/// Room that a run's notes may grow by, in bytes, besides four times what they have at first: the
/// checks, and what commands complained about.
const NOTES_BYTES_MAX: u64 = 128 * 1024;
/// Name of the file that keeps that room.
const RESERVE: &str = "reserve";
/// Where runs are kept on a host.
pub(super) const FOLDER: &str = "/var/lib/kannuki-close";
/// Name of the manifest in a run's folder.
pub(super) const MANIFEST: &str = "manifest.json";
/// Most runs with one name: the same second and method.
const SAME_NAME_MAX: u32 = 100;

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// On the way forth.
    Applying,
    /// Done and verified.
    Applied,
    /// On the way back after a failure.
    RollingBack,
    /// It failed, and everything is as it was.
    RolledBack,
    /// It failed, and so did a step of the way back.
    RollBackFailed,
    /// On the way back because somebody asked.
    Undoing,
    /// Taken back.
    Undone,
}

impl State {
    /// Whether it was broken off, if nobody is at work.
    #[must_use]
    pub fn is_midway(self) -> bool {
        matches!(self, Self::Applying | Self::RollingBack | Self::Undoing)
    }

    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::RollBackFailed => "roll-back-failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
        }
    }
}

/// A command that was run, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whether it ended with 0.
    pub ok: bool,
    /// "exit 1: first lines of stderr"; empty if it ended with 0.
    pub said: String,
}

/// One run of `kannuki close --apply`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Its name, and its folder's.
    pub id: String,
    /// The program and its version.
    pub by: String,
    /// The host's name.
    pub host: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub begun_at: i64,
    /// When it reached its state.
    pub at: i64,
    /// How far it came.
    pub state: State,
    /// What was planned.
    pub plan: Plan,
    /// The old files, in the plan's order; none for files that were made.
    pub originals: Vec<Option<Original>>,
    /// Folders that were made for files, outermost first.
    pub folders: Vec<String>,
    /// Steps of the way forth that were begun.
    pub begun: usize,
    /// Commands that were run, in order.
    pub commands: Vec<Ran>,
    /// What was verified at last.
    pub checks: Vec<Check>,
    /// What failed, in words; empty if nothing did.
    pub failure: String,
    /// What a person has to do because the way back failed.
    pub by_hand: Vec<String>,
}

/// Where runs are kept.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
    /// The root below which files are changed: `/`, or a test's folder.
    pub(super) root: PathBuf,
}

/// The right to change the host; one at a time, and given back even by a killed program.
#[derive(Debug)]
pub struct Held {
    pub(super) ledger: Ledger,
    _lock: File,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::at(FOLDER, "/")
    }
}

impl Ledger {
    /// Runs kept in `folder`, about files below `root`.
    pub fn at(folder: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), root: root.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the lock, making the folder if there is none.
    ///
    /// # Errors
    ///
    /// [`CloseError::Busy`] while somebody else changes the host; else what the system refused.
    pub fn hold(&self) -> Result<Held, CloseError> {
        let failed = |error| CloseError::Ledger { path: self.folder.clone(), error };
        if !self.folder.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
            if let Some(parent) = self.folder.parent() {
                super::files::sync_folder(parent).map_err(failed)?;
            }
        }
        self.must_be_ours()?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.folder.join("lock"))
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Held { ledger: self.clone(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(CloseError::Busy),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// What others could write would decide what root puts where.
    fn must_be_ours(&self) -> Result<(), CloseError> {
        let failed = |error| CloseError::Ledger { path: self.folder.clone(), error };
        let meta = fs::symlink_metadata(&self.folder).map_err(failed)?;
        let own = rustix::process::geteuid().as_raw();
        if !meta.is_dir() || meta.uid() != own || meta.mode() & 0o022 != 0 {
            let text = "is no folder that only its owner may write, or belongs to somebody else";
            return Err(failed(io::Error::other(text)));
        }
        Ok(())
    }

    /// Whether somebody changes the host at this moment.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let Ok(lock) = File::open(self.folder.join("lock")) else { return false };
        flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
    }

    /// Every run, the oldest first.
    ///
    /// # Errors
    ///
    /// When the folder or a manifest cannot be read.
    pub fn runs(&self) -> Result<Vec<Manifest>, CloseError> {
        let failed = |error| CloseError::Ledger { path: self.folder.clone(), error };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if runs.len() == RUNS_MAX {
                return Err(failed(too_many()));
            }
            // A folder without a manifest was made and never begun: nothing was changed.
            if path.is_dir() && path.join(MANIFEST).is_file() {
                runs.push(read(&path.join(MANIFEST))?);
            }
        }
        runs.sort_by(by_age);
        Ok(runs)
    }

    /// The run of that name.
    ///
    /// # Errors
    ///
    /// [`CloseError::NoSuch`], or what could not be read.
    pub fn run(&self, id: &str) -> Result<Manifest, CloseError> {
        let found = self.runs()?.into_iter().find(|run| run.id == id);
        found.ok_or_else(|| CloseError::NoSuch { id: id.to_owned() })
    }

    /// The folder of a run.
    pub(super) fn folder_of(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    /// Makes a folder for a new run; its name.
    pub(super) fn begin(&self, time: i64, method: &str) -> Result<String, CloseError> {
        let stamp: String =
            crate::rules::utc(time).chars().filter(|c| !"-:".contains(*c)).collect();
        for again in 0..SAME_NAME_MAX {
            let tail = if again == 0 { String::new() } else { format!("-{again}") };
            let id = format!("{stamp}-{method}{tail}");
            let path = self.folder_of(&id);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(id),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(CloseError::Ledger { path, error }),
            }
        }
        let error = io::ErrorKind::AlreadyExists.into();
        Err(CloseError::Ledger { path: self.folder.clone(), error })
    }

    /// Sees that the disk has room for the files and notes of a run, and keeps as much again for
    /// its way back: one that is full is found out before the first step, and one that fills up on
    /// the way leaves no half-done work.
    pub(super) fn reserve(&self, run: &Manifest) -> Result<(), CloseError> {
        let path = self.folder_of(&run.id).join(RESERVE);
        let failed = |error| CloseError::Ledger { path: path.clone(), error };
        let notes = serde_json::to_vec(run).map_err(|error| failed(error.into()))?.len();
        let bytes = u64::try_from(notes).unwrap_or(u64::MAX).saturating_mul(4);
        let bytes = bytes.saturating_add(NOTES_BYTES_MAX);
        super::files::reserve(&path, bytes).map_err(failed)
    }

    /// Gives that room back.
    pub(super) fn release(&self, id: &str) {
        // It may be gone already; where it cannot go, nothing is worse than before.
        let _ = fs::remove_file(self.folder_of(id).join(RESERVE));
    }

    /// Takes the folder of a run away that could not be begun.
    pub(super) fn forget(&self, id: &str) {
        // Without a manifest it is no run, so what stays of it is only litter.
        let folder = self.folder_of(id);
        if !folder.join(MANIFEST).exists() {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// Writes the manifest anew: on the disk, whole, before this returns.
    pub(super) fn save(&self, run: &Manifest) -> Result<(), CloseError> {
        let folder = self.folder_of(&run.id);
        let failed = |error| CloseError::Ledger { path: folder.join(MANIFEST), error };
        let text = serde_json::to_vec_pretty(run).map_err(|error| failed(error.into()))?;
        let beside = folder.join("manifest.json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&beside, folder.join(MANIFEST)).map_err(failed)?;
        super::files::sync_folder(&folder).map_err(failed)?;
        super::files::sync_folder(&self.folder).map_err(failed)
    }
}

/// The oldest first.
pub(super) fn by_age(a: &Manifest, b: &Manifest) -> std::cmp::Ordering {
    (a.begun_at, &a.id).cmp(&(b.begun_at, &b.id))
}

pub(super) fn too_many() -> io::Error {
    io::Error::other(format!("has more than {RUNS_MAX} runs; move the oldest elsewhere"))
}

fn read(path: &Path) -> Result<Manifest, CloseError> {
    let failed = |error| CloseError::Ledger { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MANIFEST_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(failed)?;
    parsed(path, &bytes)
}

/// Reads a manifest.
pub(super) fn parsed(path: &Path, bytes: &[u8]) -> Result<Manifest, CloseError> {
    let failed = |error| CloseError::Ledger { path: path.to_owned(), error };
    let run: Manifest = serde_json::from_slice(bytes).map_err(|error| failed(error.into()))?;
    if run.schema != SCHEMA {
        let text = format!("is of the form {}; this program reads {SCHEMA}", run.schema);
        return Err(failed(io::Error::other(text)));
    }
    Ok(run)
}
