//! Where a setting came from, and the words of a command line with their origin.

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc};

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The argument with this number; the first word after the program's name is 1.
    Argument(usize),
    /// A place in a file.
    File {
        /// Its path as given.
        path: Arc<PathBuf>,
        /// From 1.
        line: usize,
        /// From 1; 0 = the line as a whole.
        column: usize,
    },
    /// Another setting brings it along.
    Implied {
        /// That setting.
        by: &'static str,
        /// Where that one came from.
        source: Box<Self>,
    },
    /// The program chose it because of how it was started.
    Situation(&'static str),
}

impl Source {
    /// A line of a file.
    #[must_use]
    pub fn line(path: &Arc<PathBuf>, line: usize) -> Self {
        Self::File { path: Arc::clone(path), line, column: 0 }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Argument(number) => write!(f, "argument {number}"),
            Self::File { path, line, column: 0 } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Implied { by, source } => write!(f, "{by}, {source}"),
            Self::Situation(why) => f.write_str(why),
        }
    }
}

/// One word of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word, without quotes.
    pub text: OsString,
    /// Where it stands.
    pub source: Source,
}

impl Word {
    /// The words of a command line after the program's name (and subcommand); `first` is the
    /// number of the first of them.
    pub fn arguments(
        words: impl IntoIterator<Item = OsString>,
        first: usize,
    ) -> impl Iterator<Item = Self> {
        words
            .into_iter()
            .enumerate()
            .map(move |(i, text)| Self { text, source: Source::Argument(first.saturating_add(i)) })
    }
}
