//! A file that is rotated by size and by age, and reopened on demand.
//!
//! ```text
//!   kannuki.log -> kannuki.log.1 -> kannuki.log.2 -> ... -> kannuki.log.<keep> -> gone
//! ```
//!
//! Invariants: a rotation never cuts a line; a rotation that fails leaves the open file in use and
//! is tried again later; a file that somebody else renamed is let go, never renamed a second time.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{LogConfig, LogError};

/// Rotated files that can be kept: a year of daily ones.
pub const KEEP_MAX: usize = 366;

/// After a rotation failed (a directory without write permission), the next try comes this much
/// later, so that a log in trouble does not spend its time on renaming.
const ROTATION_RETRY: Duration = Duration::from_secs(60);

/// Readable by its group too, so that an administrator need not be root; by nobody else, because
/// keys and addresses may stand in it.
const MODE: u32 = 0o640;

/// The log file.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotate_bytes: u64,
    rotate_age: Duration,
    keep: usize,
    open: Open,
    /// No rotation before this moment.
    blocked_until: Option<SystemTime>,
}

/// The file as it is open now.
#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    born: SystemTime,
    /// Devices (`/dev/null`, a terminal) are written but never renamed.
    regular: bool,
    /// The last write broke off within a line.
    torn: bool,
}

/// What a write came to.
#[derive(Debug)]
pub(super) struct Written {
    /// Whether the line is in the file.
    pub(super) line: io::Result<()>,
    /// The rotation that was due before it, if one was.
    pub(super) rotation: Option<io::Result<()>>,
}

impl RotatingFile {
    /// Opens the file for appending, or makes it.
    pub(super) fn open(path: &Path, config: &LogConfig, now: SystemTime) -> Result<Self, LogError> {
        Ok(Self {
            path: path.to_path_buf(),
            rotate_bytes: config.rotate_bytes,
            rotate_age: config.rotate_age,
            keep: config.keep.min(KEEP_MAX),
            open: Open::at(path, now)?,
            blocked_until: None,
        })
    }

    /// Appends a line (newline included), after a rotation if one is due.
    pub(super) fn write(&mut self, line: &str, now: SystemTime) -> Written {
        let rotation = self.is_due(line, now).then(|| self.rotate(now));
        if let Some(Err(_)) = rotation {
            self.blocked_until = Some(now + ROTATION_RETRY);
        }
        Written { line: self.open.append(line), rotation }
    }

    /// Opens the path anew; the old file stays in use if that fails.
    pub(super) fn reopen(&mut self, now: SystemTime) -> Result<(), LogError> {
        self.open = Open::at(&self.path, now)?;
        self.blocked_until = None;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn is_due(&self, line: &str, now: SystemTime) -> bool {
        let open = &self.open;
        if !open.regular || open.bytes == 0 || self.blocked_until.is_some_and(|until| now < until) {
            return false;
        }
        let full = open.bytes.saturating_add(line.len() as u64) > self.rotate_bytes;
        let age = now.duration_since(open.born).unwrap_or_default();
        (self.rotate_bytes > 0 && full) || (!self.rotate_age.is_zero() && age >= self.rotate_age)
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let ours = self.open.file.metadata()?;
        if ours.len() < self.open.bytes {
            // Somebody emptied the file beneath us (copytruncate): that was the rotation.
            self.open.bytes = ours.len();
            self.open.born = now;
            return Ok(());
        }
        if self.is_at_path(&ours)? {
            self.shift()?;
        }
        self.open = Open::at(&self.path, now).map_err(|error| match error {
            LogError::Open { error, .. } => error,
            other => io::Error::other(other.to_string()),
        })?;
        self.blocked_until = None;
        Ok(())
    }

    fn is_at_path(&self, ours: &Metadata) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes room at the path: every kept file moves up by one, the oldest is overwritten.
    fn shift(&self) -> io::Result<()> {
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

impl Open {
    fn at(path: &Path, now: SystemTime) -> Result<Self, LogError> {
        let failed = |error| LogError::Open { path: path.to_path_buf(), error };
        // Asked before opening: to open a pipe is to wait for its reader.
        match fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.file_type().is_char_device() => {
                return Err(LogError::NotAFile(path.to_path_buf()));
            }
            _ => {}
        }
        let file =
            OpenOptions::new().append(true).create(true).mode(MODE).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        // Not every file system knows when a file was made; then its age counts from here.
        let born = if metadata.len() == 0 { now } else { metadata.created().unwrap_or(now) };
        Ok(Self { file, bytes: metadata.len(), born, regular: metadata.is_file(), torn: false })
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.torn {
            self.append_bytes(b"\n")?;
            self.torn = false;
        }
        self.append_bytes(line.as_bytes())
    }

    fn append_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.bytes = self.bytes.saturating_add(written as u64);
                    rest = rest.get(written..).unwrap_or_default();
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    struct Fixture {
        directory: tempfile::TempDir,
        log: RotatingFile,
        now: SystemTime,
    }

    fn fixture(rotate_bytes: u64, rotate_age: Duration, keep: usize) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        // Far ahead of the time at which the file system says that its files were made.
        let now = UNIX_EPOCH + DAY * 40_000;
        let config = LogConfig { rotate_bytes, rotate_age, keep, ..LogConfig::default() };
        let log = RotatingFile::open(&directory.path().join("log"), &config, now).unwrap();
        Fixture { directory, log, now }
    }

    impl Fixture {
        fn write(&mut self, line: &str) {
            self.log.write(line, self.now).line.unwrap();
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.directory.path().join(name)).ok()
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(self.directory.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn size_rotates_before_the_line_that_would_not_fit_and_keeps_so_many() {
        let mut log = fixture(10, Duration::ZERO, 2);
        for line in ["1234\n", "6789\n"] {
            log.write(line);
        }
        assert_eq!(log.files(), ["log"], "ten bytes fit into ten");
        for line in ["b\n", "a longer line than fits\n", "d\n", "e\n"] {
            log.write(line);
        }
        assert_eq!(log.files(), ["log", "log.1", "log.2"]);
        assert_eq!(log.read("log").unwrap(), "d\ne\n");
        assert_eq!(log.read("log.1").unwrap(), "a longer line than fits\n");
        assert_eq!(log.read("log.2").unwrap(), "b\n");
    }

    #[test]
    fn age_rotates_a_file_that_has_lines() {
        let mut log = fixture(0, DAY, 3);
        log.now += DAY * 2;
        log.write("first\n");
        assert_eq!(log.files(), ["log",], "an empty file is as good as new");
        log.now += DAY;
        log.write("second\n");
        log.now += DAY - Duration::from_secs(1);
        log.write("third\n");
        assert_eq!(log.read("log").unwrap(), "second\nthird\n");
        assert_eq!(log.read("log.1").unwrap(), "first\n");
        log.now -= DAY * 10;
        log.write("the clock went back\n");
        assert_eq!(log.files(), ["log", "log.1"]);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_to_be() {
        let mut log = fixture(4, Duration::ZERO, 0);
        log.write("aaa\n");
        log.write("bbb\n");
        assert_eq!(log.files(), ["log"]);
        assert_eq!(log.read("log").unwrap(), "bbb\n");
    }

    #[test]
    fn neither_limit_means_no_rotation() {
        let mut log = fixture(0, Duration::ZERO, 3);
        for _ in 0..100 {
            log.now += DAY * 100;
            log.write("line\n");
        }
        assert_eq!(log.files(), ["log"]);
    }

    #[test]
    fn a_renamed_file_is_written_until_the_reopen() {
        let mut log = fixture(0, Duration::ZERO, 3);
        log.write("one\n");
        let path = log.directory.path().join("log");
        fs::rename(&path, log.directory.path().join("log-moved")).unwrap();
        log.write("two\n");
        log.log.reopen(log.now).unwrap();
        log.write("three\n");
        assert_eq!(log.read("log-moved").unwrap(), "one\ntwo\n");
        assert_eq!(log.read("log").unwrap(), "three\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o037, 0, "no right for others, none to write for the group");
    }

    #[test]
    fn a_file_that_somebody_else_rotated_is_not_rotated_again() {
        let mut log = fixture(4, Duration::ZERO, 3);
        log.write("one\n");
        let path = log.directory.path().join("log");
        fs::rename(&path, log.directory.path().join("log-moved")).unwrap();
        fs::write(&path, "").unwrap();
        log.write("two\n");
        assert_eq!(log.files(), ["log", "log-moved"]);
        assert_eq!(log.read("log").unwrap(), "two\n");
    }

    #[test]
    fn a_file_emptied_from_outside_counts_as_rotated() {
        let mut log = fixture(8, Duration::ZERO, 3);
        log.write("one\n");
        log.write("two\n");
        fs::write(log.directory.path().join("log"), "").unwrap();
        log.write("six\n");
        assert_eq!(log.files(), ["log"]);
        assert_eq!(log.read("log").unwrap(), "six\n");
    }

    #[test]
    fn a_failed_rotation_goes_on_in_the_old_file_and_tries_again_later() {
        let mut log = fixture(4, Duration::ZERO, 1);
        log.write("one\n");
        // A directory with something in it cannot be overwritten by a rename, not even by root.
        let obstacle = log.directory.path().join("log.1");
        fs::create_dir_all(obstacle.join("x")).unwrap();
        let written = log.log.write("two\n", log.now);
        assert!(written.line.is_ok() && written.rotation.unwrap().is_err());
        assert!(log.log.write("3\n", log.now).rotation.is_none(), "not on every line");
        assert_eq!(log.read("log").unwrap(), "one\ntwo\n3\n");
        fs::remove_dir_all(obstacle).unwrap();
        log.now += ROTATION_RETRY;
        assert!(log.log.write("four\n", log.now).rotation.unwrap().is_ok());
        assert_eq!(log.read("log.1").unwrap(), "one\ntwo\n3\n");
    }

    #[test]
    fn a_full_disk_is_an_error_of_the_line_and_devices_are_never_renamed() {
        let config = LogConfig { rotate_bytes: 1, ..LogConfig::default() };
        let now = UNIX_EPOCH + DAY;
        let mut full = RotatingFile::open(Path::new("/dev/full"), &config, now).unwrap();
        for _ in 0..3 {
            let written = full.write("line\n", now);
            assert_eq!(written.line.unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert!(written.rotation.is_none());
        }
        let mut null = RotatingFile::open(Path::new("/dev/null"), &config, now).unwrap();
        null.write("line\n", now).line.unwrap();
        assert!(null.write("line\n", now).rotation.is_none());
    }

    #[test]
    fn what_cannot_be_a_log_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let open = |path: &Path| {
            RotatingFile::open(path, &LogConfig::default(), UNIX_EPOCH).unwrap_err().to_string()
        };
        let is_directory = open(directory.path());
        assert!(is_directory.contains("it is no regular file"), "{is_directory}");
        let missing = directory.path().join("missing/log");
        assert_eq!(
            open(&missing),
            format!(
                "cannot open the log file {}: No such file or directory (os error 2); its \
                 directory must exist and be writable by the user that the server runs as",
                missing.display()
            )
        );
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(open(&socket).contains("it is no regular file"));
    }
}
