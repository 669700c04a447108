//! Diagnostics: lines on standard error or in a file that is rotated, away from the event loops.
//!
//! ```text
//!   tracing event -> one line (escaped, bounded) -> bounded queue -> writer thread -> sink
//! ```
//!
//! Invariants:
//! - Whoever logs never waits for a disk or a pipe: a full queue drops the line and counts it.
//! - A line is one line whatever its values hold, and has at most [`LINE_BYTES_MAX`] bytes.
//! - Nothing in here logs: a sink in trouble says so on standard error once, and in the sink itself
//!   when it works again.
//! - Only [`start`] looks at the environment, and only for whether standard error is the journal.

mod line;
mod queue;
mod rotation;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

use line::LineLayer;
use queue::{Queue, Request};
use rotation::RotatingFile;
use writer::{Sink, Writer};

pub use line::LINE_BYTES_MAX;
pub use queue::QUEUE_LINES_MAX;
pub use rotation::KEEP_MAX;

/// How long a caller waits for the writer thread: long enough for a slow disk, short enough that
/// a dead one cannot keep the process from ending.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Where diagnostics go, and how much of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogConfig {
    /// The file to write; none means standard error, where nothing is rotated.
    pub file: Option<PathBuf>,
    /// Rotate before the file grows beyond this many bytes; 0 never rotates by size.
    pub rotate_bytes: u64,
    /// Rotate once the file is as old as this; zero never rotates by age.
    pub rotate_age: Duration,
    /// Rotated files to keep (`.1` is the newest), at most [`KEEP_MAX`]; 0 keeps none.
    pub keep: usize,
    /// 0 warnings and errors, 1 also notices, 2 also commands and replies, 3 and above everything.
    pub verbosity: u8,
}

impl Default for LogConfig {
    /// Warnings on standard error; with a file: rotated at 64 MiB or after a week, seven kept.
    fn default() -> Self {
        Self {
            file: None,
            rotate_bytes: 64 * 1024 * 1024,
            rotate_age: Duration::from_secs(7 * 24 * 60 * 60),
            keep: 7,
            verbosity: 0,
        }
    }
}

/// Why diagnostics could not be started or reopened.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be opened or made.
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The path leads to a directory, a pipe or a socket.
    NotAFile(PathBuf),
    /// The writer thread could not be started.
    Thread(io::Error),
    /// Diagnostics were started before in this process.
    StartedTwice,
    /// The writer thread did not answer in time: its disk or pipe hangs.
    Busy,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, error } => write!(
                f,
                "cannot open the log file {}: {error}; its directory must exist and be writable \
                 by the user that the server runs as",
                path.display()
            ),
            Self::NotAFile(path) => write!(
                f,
                "cannot log to {}: it is no regular file; without a log file diagnostics go to \
                 standard error",
                path.display()
            ),
            Self::Thread(error) => write!(f, "cannot start the log's writer thread: {error}"),
            Self::StartedTwice => f.write_str("the log was started twice"),
            Self::Busy => f.write_str("the log's disk or pipe does not take any bytes"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { error, .. } | Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

/// Starts diagnostics for the whole process. To be called once: after going into the background
/// (a fork would leave the writer thread behind) and after dropping privileges (else the file
/// belongs to root and cannot be reopened). `now` is the wall clock that lines are stamped with.
///
/// # Errors
/// [`LogError`] names the file and the reason; nothing was started then.
pub fn start(config: &LogConfig, now: fn() -> SystemTime) -> Result<LogControl, LogError> {
    let journal = std::env::var("JOURNAL_STREAM").ok();
    let (control, subscriber) = assemble(config, now, journal.as_deref())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::StartedTwice)?;
    Ok(control)
}

/// Makes all parts, and leaves it to the caller whose diagnostics they are.
fn assemble(
    config: &LogConfig,
    now: fn() -> SystemTime,
    journal: Option<&str>,
) -> Result<(LogControl, impl Subscriber + Send + Sync + use<>), LogError> {
    let sink = match &config.file {
        Some(path) => Sink::File(RotatingFile::open(path, config, now())?),
        None => Sink::stderr(journal),
    };
    let queue = Arc::new(Queue::new());
    Writer::spawn(Arc::clone(&queue), sink, now).map_err(LogError::Thread)?;
    let (filter, level) = reload::Layer::new(level_of(config.verbosity));
    let lines = LineLayer::new(Arc::clone(&queue), now);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    Ok((LogControl { queue, level }, subscriber))
}

fn level_of(verbosity: u8) -> LevelFilter {
    match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

/// The running diagnostics. Dropping it writes what is queued and ends the writer thread.
#[derive(Debug)]
pub struct LogControl {
    queue: Arc<Queue>,
    level: reload::Handle<LevelFilter, Registry>,
}

impl LogControl {
    /// Opens the file at its path anew, for SIGHUP: after somebody renamed it (logrotate), a new
    /// one is made. Lines logged before go to the old file. Does nothing on standard error.
    ///
    /// # Errors
    /// The old file stays in use then.
    pub fn reopen(&self) -> Result<(), LogError> {
        self.queue.ask(Request::Reopen, ANSWER_WAIT)
    }

    /// Waits until every line logged so far is written.
    ///
    /// # Errors
    /// `Busy` when the sink hangs.
    pub fn flush(&self) -> Result<(), LogError> {
        self.queue.ask(Request::Flush, ANSWER_WAIT)
    }

    /// Changes how much is logged; see [`LogConfig::verbosity`].
    pub fn set_verbosity(&self, verbosity: u8) {
        // Fails only when the subscriber is gone, and then nothing is logged anyway.
        let _ = self.level.modify(|level| *level = level_of(verbosity));
    }

    /// Lines lost so far: the queue or the disk was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for LogControl {
    fn drop(&mut self) {
        // What a hanging sink has not taken within the wait is lost; the process has to end.
        let _ = self.queue.ask(Request::Stop, ANSWER_WAIT);
    }
}

#[cfg(test)]
mod tests;
