//! The configuration files that distributions put beside memcached, turned into the words of a
//! command line. memcached itself has none.
//!
//! ```text
//! /etc/memcached.conf        Debian, Ubuntu               one switch per line
//! /etc/sysconfig/memcached   Red Hat, Fedora, SUSE        shell variables
//! /etc/conf.d/memcached      Alpine, Gentoo               shell variables
//! ```
//!
//! Invariants:
//! - The format is chosen by what stands in the file, not by its path.
//! - No shell ever runs. What only a shell could understand is an error that names the line.

mod assignments;
mod debian;
mod shell_words;

use std::{path::PathBuf, sync::Arc};

use super::{
    problem::{EXIT_USAGE, OptionError, OptionWarning},
    source::{Source, Word},
};

/// Longest file that is read, in bytes. Real ones have a few hundred; a log file or a device given
/// by mistake must not fill the memory.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file said.
#[derive(Clone, Debug)]
pub struct ConfFile {
    /// Which kind of file it is.
    pub format: Format,
    /// The words of the command line that it stands for.
    pub words: Vec<Word>,
    /// Debian's directive `logfile`.
    pub log_file: Option<(PathBuf, Source)>,
    /// What cannot be used.
    pub errors: Vec<OptionError>,
    /// What was skipped.
    pub warnings: Vec<OptionWarning>,
}

/// Kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Debian's: one switch per line.
    Debian,
    /// Shell variables.
    Assignments,
}

/// Reads a file; `path` is for messages.
#[must_use]
pub fn read(bytes: &[u8], path: &Arc<PathBuf>) -> ConfFile {
    let format = detect(bytes);
    let mut file = ConfFile {
        format,
        words: Vec::new(),
        log_file: None,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    match format {
        Format::Debian => debian::read(bytes, path, &mut file),
        Format::Assignments => assignments::read(bytes, path, &mut file),
    }
    file
}

/// A file whose first meaningful line assigns a variable consists of assignments.
fn detect(bytes: &[u8]) -> Format {
    let first = bytes
        .split(|b| *b == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty() && !line.starts_with(b"#"));
    match first.and_then(assignments::assigned_name) {
        Some(_) => Format::Assignments,
        None => Format::Debian,
    }
}

impl ConfFile {
    fn fail(&mut self, message: String, origin: Source) {
        self.errors.push(OptionError { message, exit_code: EXIT_USAGE, origin });
    }

    fn warn(&mut self, message: String, origin: Source) {
        self.warnings.push(OptionWarning { message, origin });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_decides_about_the_format() {
        assert_eq!(detect(b"# x\n\n-m 64\n"), Format::Debian);
        assert_eq!(detect(b"logfile /var/log/memcached.log\n"), Format::Debian);
        assert_eq!(detect(b"-m 64\nPORT=1\n"), Format::Debian);
        assert_eq!(detect(b"# x\nPORT=\"11211\"\n"), Format::Assignments);
        assert_eq!(detect(b"export PORT=1\n"), Format::Assignments);
        assert_eq!(detect(b""), Format::Debian);
    }
}
