//! Why nothing was done, in words that name the guilty and the way out.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::manifest::State;

/// Why nothing was done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Somebody else is at it.
    #[error("another `kannuki close` is changing this host; try again when it has ended")]
    Busy,
    /// Signals that would end it half done cannot be held off.
    #[error("cannot hold off signals: {0}. Nothing was changed")]
    Signals(io::Error),
    /// The records cannot be read or written.
    #[error("{path}: {error}", path = .path.display())]
    Ledger {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// No such run.
    #[error("there is no run {id}; `kannuki close --list` names all")]
    NoSuch {
        /// The name that was given.
        id: String,
    },
    /// There is nothing to take back.
    #[error("{id} is {}; there is nothing to take back", .state.name())]
    NothingToUndo {
        /// The run.
        id: String,
        /// Its state.
        state: State,
    },
    /// A file is not what the plan was made for.
    #[error("{path} was changed since the preview; look at a new one. Nothing was changed")]
    Changed {
        /// The file.
        path: String,
    },
    /// A file is not what the run left.
    #[error("{path} was changed since {id}; nothing was taken back. The old file is {kept}")]
    ChangedSince {
        /// The file.
        path: String,
        /// The run.
        id: String,
        /// Where the old bytes are.
        kept: String,
    },
    /// A later run changed the same.
    #[error(
        "{later} came after {id} and changed the same; undo that first. Nothing was taken back"
    )]
    NotNewest {
        /// The run.
        id: String,
        /// The later one.
        later: String,
    },
    /// A file cannot be written.
    #[error("cannot change {path}: {error}. Nothing was changed")]
    NotWritable {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A program is missing.
    #[error("{program} is not installed, and the plan needs it. Nothing was changed")]
    NoProgram {
        /// Its name.
        program: String,
    },
}
