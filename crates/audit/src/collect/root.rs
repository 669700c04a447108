//! Files of the host, or of a disk that is mounted somewhere: bounded, and never out of the root.
//!
//! A disk may be hostile: its links may point outside, its files may be FIFOs and devices, its
//! names may be anything. So every path is resolved below the root's descriptor, by `openat2` where
//! the kernel has it (5.6) and allows it, else step by step; only regular files are opened for
//! reading, and no more than a bound is read.
//!
//! Invariants:
//! - Nothing is opened that does not lie below the root, at whatever time links are changed.
//! - Nothing is opened for reading that is no regular file, so nothing blocks and no device moves.
//! - Nothing is written.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    ffi::OsStr,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::facts::{Gap, MORE_GAPS, Seen, Unseen, Why};

/// Most links on the way to one file; the kernel's own bound.
const LINKS_MAX: usize = 40;
/// Most names that are read of one folder: `/proc` of a busy host and large spool folders.
pub(super) const NAMES_MAX: usize = 65_536;
/// Most gaps that are kept; a host without rights has one for each process.
const GAPS_MAX: usize = 1000;

/// A host's files.
#[derive(Debug)]
pub(super) struct Root {
    dir: OwnedFd,
    path: PathBuf,
    /// Whether `openat2` is to be had; found out by the first call.
    modern: Cell<bool>,
    gaps: RefCell<Vec<Gap>>,
    /// Gaps beyond the bound.
    more_gaps: Cell<u64>,
}

/// A regular file that was read.
#[derive(Clone, Debug)]
pub(super) struct ReadFile {
    /// Its bytes, or the part of them that was asked for.
    pub(super) bytes: Vec<u8>,
    /// Whether `bytes` are all of it.
    pub(super) whole: bool,
}

/// Which part of a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it; a longer file is not read.
    Whole,
    /// Its beginning.
    Head,
    /// Its end: of a log, the newest lines.
    Tail,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device, FIFO or socket.
    Other,
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) kind: Kind,
}

impl Root {
    /// Opens the root; links on the way to it are the caller's own and are followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = fs::open(path, flags, Mode::empty())?;
        let path = path.to_owned();
        let (modern, more_gaps) = (Cell::new(true), Cell::new(0));
        Ok(Self { dir, path, modern, gaps: RefCell::default(), more_gaps })
    }

    /// Whether this is the running host's own root.
    pub(super) fn is_host(&self) -> bool {
        let same = |other: Stat| {
            fs::fstat(&self.dir)
                .is_ok_and(|own| own.st_ino == other.st_ino && own.st_dev == other.st_dev)
        };
        fs::stat("/").is_ok_and(same)
    }

    /// The root as it was given.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers that something was not seen.
    pub(super) fn gap(&self, what: impl Into<String>, unseen: &Unseen) {
        let gap = Gap { what: what.into(), unseen: unseen.clone() };
        let mut gaps = self.gaps.borrow_mut();
        if gaps.len() >= GAPS_MAX {
            self.more_gaps.set(self.more_gaps.get().saturating_add(1));
        } else if !gaps.contains(&gap) {
            gaps.push(gap);
        }
    }

    /// Everything that was not seen; that there was more than can be kept, too.
    pub(super) fn take_gaps(&self) -> Vec<Gap> {
        let mut gaps = self.gaps.take();
        let more = self.more_gaps.take();
        if more > 0 {
            let detail = format!("{more} more things could not be seen and are not named");
            let unseen = Unseen { why: Why::TooLarge, detail };
            gaps.push(Gap { what: MORE_GAPS.to_owned(), unseen });
        }
        gaps
    }

    /// Reads a regular file, up to `bytes_max`.
    pub(super) fn read(&self, path: &str, part: Part, bytes_max: usize) -> Seen<ReadFile> {
        match self.try_read(path, part, bytes_max) {
            Ok(file) => Seen::Known(file),
            Err(error) => Seen::Unseen(unseen(path, &error)),
        }
    }

    /// Reads a text file whole. What exists and cannot be read leaves a gap; what does not exist
    /// leaves none.
    pub(super) fn text(&self, path: &str, bytes_max: usize) -> Option<String> {
        match self.read(path, Part::Whole, bytes_max) {
            Seen::Known(file) => Some(lossy(file.bytes)),
            Seen::Unseen(unseen) => {
                if unseen.why != Why::Absent {
                    self.gap(path, &unseen);
                }
                None
            }
        }
    }

    /// The same without a trace: for files whose absence and refusal say nothing.
    pub(super) fn quiet_text(&self, path: &str, bytes_max: usize) -> Seen<String> {
        self.read(path, Part::Whole, bytes_max).map(|file| lossy(file.bytes))
    }

    /// Opens a regular file for reading: for what is longer than memory should hold.
    pub(super) fn open_file(&self, path: &str) -> io::Result<(std::fs::File, Stat)> {
        // First a descriptor that cannot touch the file itself: opening a device has effects.
        let place = self.resolve(path, OFlags::PATH, true)?;
        let stat = fs::fstat(&place)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other(NOT_REGULAR));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = std::fs::File::from(self.resolve(path, flags, true)?);
        let now = fs::fstat(&file)?;
        if now.st_ino != stat.st_ino || now.st_dev != stat.st_dev {
            return Err(io::Error::other(NOT_REGULAR));
        }
        Ok((file, stat))
    }

    /// Owner, permissions and times of a name itself: of a link, not of what it leads to.
    pub(super) fn own_stat(&self, path: &str) -> Option<Stat> {
        let place = self.resolve(path, OFlags::PATH, false).ok()?;
        fs::fstat(&place).ok()
    }

    fn try_read(&self, path: &str, part: Part, bytes_max: usize) -> io::Result<ReadFile> {
        let (mut file, stat) = self.open_file(path)?;
        let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut whole = size <= bound;
        match part {
            Part::Whole if !whole => return Err(io::ErrorKind::FileTooLarge.into()),
            Part::Tail if !whole => _ = file.seek(SeekFrom::Start(size - bound))?,
            _ => {}
        }
        let mut bytes = Vec::new();
        file.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            // Files of /proc say that they are empty; others may have grown.
            if part == Part::Whole {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            bytes.truncate(bytes_max);
            whole = false;
        }
        Ok(ReadFile { bytes, whole })
    }

    /// Owner, permissions and times of what a path leads to.
    pub(super) fn stat(&self, path: &str) -> Option<Stat> {
        let place = self.resolve(path, OFlags::PATH, true).ok()?;
        fs::fstat(&place).ok()
    }

    /// Whether a path leads to anything below the root.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.stat(path).is_some()
    }

    /// Whether a path leads to a folder of the kernel's own process file system.
    pub(super) fn is_proc(&self, path: &str) -> bool {
        let place = self.resolve(path, OFlags::PATH, true);
        let system = place.and_then(|place| Ok(fs::fstatfs(&place)?));
        system.is_ok_and(|system| system.f_type == fs::PROC_SUPER_MAGIC)
    }

    /// What a symbolic link says.
    pub(super) fn link(&self, path: &str) -> Seen<String> {
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        let folder = if folder.is_empty() { "/" } else { folder };
        let target = self
            .resolve(folder, OFlags::PATH | OFlags::DIRECTORY, true)
            .and_then(|folder| Ok(fs::readlinkat(&folder, name, Vec::new())?));
        match target {
            Ok(target) => Seen::Known(lossy(target.into_bytes())),
            Err(error) => Seen::Unseen(unseen(path, &error)),
        }
    }

    /// The names in a folder, sorted; those that are no UTF-8 are left out with a gap.
    pub(super) fn names(&self, path: &str) -> Seen<Vec<Name>> {
        match self.try_names(path) {
            Ok(names) => Seen::Known(names),
            Err(error) => Seen::Unseen(unseen(path, &error)),
        }
    }

    /// The names in a folder that need not exist. What exists and cannot be read leaves a gap.
    pub(super) fn names_in(&self, path: &str) -> Vec<Name> {
        match self.names(path) {
            Seen::Known(names) => names,
            Seen::Unseen(unseen) => {
                if unseen.why != Why::Absent {
                    self.gap(path, &unseen);
                }
                Vec::new()
            }
        }
    }

    fn try_names(&self, path: &str) -> io::Result<Vec<Name>> {
        let folder = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, true)?;
        let mut names = Vec::new();
        // The folder itself and its parent are among them; one more shows that there are more.
        for entry in fs::Dir::new(folder)?.take(NAMES_MAX + 3) {
            let entry = entry?;
            let kind = match entry.file_type() {
                FileType::Directory => Kind::Folder,
                FileType::RegularFile => Kind::File,
                FileType::Symlink => Kind::Link,
                FileType::Unknown => self.kind_of(path, entry.file_name().to_bytes()),
                _ => Kind::Other,
            };
            match std::str::from_utf8(entry.file_name().to_bytes()) {
                Ok("." | "..") => {}
                Ok(text) => names.push(Name { text: text.to_owned(), kind }),
                Err(_) => {
                    let what = format!("{path}/{}", entry.file_name().to_bytes().escape_ascii());
                    let detail = "its name is no UTF-8 text".to_owned();
                    self.gap(what, &Unseen { why: Why::Malformed, detail });
                }
            }
        }
        if names.len() > NAMES_MAX {
            names.truncate(NAMES_MAX);
            let detail = format!("only the first {NAMES_MAX} names were read");
            self.gap(path, &Unseen { why: Why::TooLarge, detail });
        }
        names.sort_by(|a, b| a.text.cmp(&b.text));
        Ok(names)
    }

    /// Of file systems that do not say it with the name.
    fn kind_of(&self, folder: &str, name: &[u8]) -> Kind {
        let Ok(name) = std::str::from_utf8(name) else { return Kind::Other };
        let place = self.resolve(&format!("{folder}/{name}"), OFlags::PATH, false);
        let stat = place.and_then(|place| Ok(fs::fstat(&place)?));
        match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Directory) => Kind::Folder,
            Ok(FileType::RegularFile) => Kind::File,
            Ok(FileType::Symlink) => Kind::Link,
            _ => Kind::Other,
        }
    }

    /// The targets of all links of a folder (`/proc/PID/fd`), with their names.
    pub(super) fn links_in(&self, path: &str, max: usize) -> io::Result<Vec<(String, String)>> {
        let folder = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, true)?;
        let mut links = Vec::new();
        for entry in fs::Dir::read_from(&folder)? {
            let entry = entry?;
            let Ok(target) = fs::readlinkat(&folder, entry.file_name(), Vec::new()) else {
                continue;
            };
            let name = lossy(entry.file_name().to_bytes().to_vec());
            links.push((name, lossy(target.into_bytes())));
            if links.len() >= max {
                break;
            }
        }
        Ok(links)
    }

    fn resolve(&self, path: &str, flags: OFlags, follow: bool) -> io::Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        if self.modern.get() {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match fs::openat2(&self.dir, path, flags, Mode::empty(), resolve) {
                // Old kernels do not know the call; some sandboxes forbid what they do not know.
                Err(Errno::NOSYS) => self.modern.set(false),
                Err(Errno::PERM) => {}
                other => return Ok(other?),
            }
        }
        self.walk(path, flags, follow)
    }

    /// Goes step by step, and follows links itself, so that none leads out of the root.
    fn walk(&self, path: &str, flags: OFlags, follow: bool) -> io::Result<OwnedFd> {
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut steps: VecDeque<Vec<u8>> = steps(path.as_bytes()).collect();
        let mut links = 0;
        while let Some(step) = steps.pop_front() {
            if step == b".." {
                way.pop();
                continue;
            }
            let here = way.last().map_or_else(|| self.dir.as_fd(), OwnedFd::as_fd);
            let last = steps.is_empty();
            if (follow || !last)
                && let Some(target) = link_target(here, &step)?
            {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                if target.starts_with(b"/") {
                    way.clear();
                }
                for step in self::steps(&target).collect::<Vec<_>>().into_iter().rev() {
                    steps.push_front(step);
                }
                continue;
            }
            let name = OsStr::from_bytes(&step);
            let flags = if last { flags } else { OFlags::PATH | OFlags::DIRECTORY };
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = fs::openat(here, name, flags, Mode::empty())?;
            way.push(next);
        }
        match way.pop() {
            // The path may have ended in `..` or in a link to a folder.
            Some(place) => Ok(fs::openat(&place, ".", flags, Mode::empty()).unwrap_or(place)),
            None => Ok(fs::openat(&self.dir, ".", flags, Mode::empty())?),
        }
    }
}

fn steps(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let steps = path.split(|b| *b == b'/').filter(|step| !step.is_empty() && *step != b".");
    steps.map(<[u8]>::to_vec)
}

/// What this name points to, if it is a link.
fn link_target(folder: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match fs::readlinkat(folder, OsStr::from_bytes(name), Vec::new()) {
        Ok(target) => Ok(Some(target.into_bytes())),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

const NOT_REGULAR: &str = "it is no regular file";

/// A text of the host; bytes that are no UTF-8 are replaced.
pub(super) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Why a path was not seen.
pub(super) fn unseen(path: &str, error: &io::Error) -> Unseen {
    let why = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Why::Absent,
        io::ErrorKind::PermissionDenied => Why::NotPermitted,
        io::ErrorKind::FileTooLarge => Why::TooLarge,
        io::ErrorKind::TimedOut => Why::TimedOut,
        io::ErrorKind::Other if error.to_string() == NOT_REGULAR => Why::NotRegular,
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Why::NotRegular,
        // A process that ended while we looked.
        _ if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Why::Absent,
        _ => Why::Failed,
    };
    Unseen { why, detail: format!("{path}: {error}") }
}

#[cfg(test)]
mod tests {
    use std::{fs as files, os::unix::fs::symlink};

    use super::*;

    /// Both ways of resolving must agree.
    fn both(folder: &Path, test: impl Fn(&Root)) {
        let root = Root::open(folder).unwrap();
        test(&root);
        let old = Root::open(folder).unwrap();
        old.modern.set(false);
        test(&old);
    }

    fn read(root: &Root, path: &str) -> Result<String, Why> {
        match root.quiet_text(path, 100) {
            Seen::Known(text) => Ok(text),
            Seen::Unseen(unseen) => Err(unseen.why),
        }
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("secret");
        files::write(&outside, "outside").unwrap();
        let inside = folder.path().join("root");
        files::create_dir_all(inside.join("etc/deep")).unwrap();
        files::write(inside.join("secret"), "inside").unwrap();
        files::write(inside.join("etc/file"), "file").unwrap();
        symlink("/secret", inside.join("etc/absolute")).unwrap();
        symlink("../../../../../secret", inside.join("etc/deep/relative")).unwrap();
        symlink("..", inside.join("etc/deep/up")).unwrap();
        symlink("circle", inside.join("circle")).unwrap();
        symlink(&outside, inside.join("etc/outside")).unwrap();
        both(&inside, |root| {
            assert_eq!(read(root, "/etc/absolute").unwrap(), "inside");
            assert_eq!(read(root, "/etc/deep/relative").unwrap(), "inside");
            assert_eq!(read(root, "/../../secret").unwrap(), "inside");
            assert_eq!(read(root, "/etc/deep/up/file").unwrap(), "file");
            assert_eq!(read(root, "/etc/outside"), Err(Why::Absent));
            assert_eq!(read(root, "/circle"), Err(Why::NotRegular));
            assert_eq!(root.link("/etc/absolute"), Seen::Known("/secret".to_owned()));
            assert_eq!(root.link("/circle"), Seen::Known("circle".to_owned()));
            let names: Vec<_> = root.names_in("/etc/deep/up").into_iter().map(|n| n.text).collect();
            assert_eq!(names, ["absolute", "deep", "file", "outside"]);
            assert!(root.stat("/etc/deep/up").is_some() && root.stat("/").is_some());
        });
    }

    #[test]
    fn only_regular_files_within_the_bound_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let fifo = Mode::from_raw_mode(0o600);
        fs::mknodat(fs::CWD, path.join("fifo"), FileType::Fifo, fifo, 0).unwrap();
        symlink("fifo", path.join("link-to-fifo")).unwrap();
        files::create_dir(path.join("folder")).unwrap();
        let sparse = files::File::create(path.join("huge")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        files::write(path.join("fits"), [b'x'; 100]).unwrap();
        files::write(path.join("exceeds"), [b'x'; 101]).unwrap();
        both(path, |root| {
            assert_eq!(read(root, "/fifo"), Err(Why::NotRegular));
            assert_eq!(read(root, "/link-to-fifo"), Err(Why::NotRegular));
            assert_eq!(read(root, "/folder"), Err(Why::NotRegular));
            assert_eq!(read(root, "/huge"), Err(Why::TooLarge));
            assert_eq!(read(root, "/fits").unwrap().len(), 100);
            assert_eq!(read(root, "/exceeds"), Err(Why::TooLarge));
            assert_eq!(read(root, "/none"), Err(Why::Absent));
            assert_eq!(read(root, "/fits/below"), Err(Why::Absent));
            for part in [Part::Head, Part::Tail] {
                let file = root.read("/huge", part, 100);
                let file = file.known().unwrap();
                assert!(file.bytes.len() == 100 && !file.whole);
            }
        });
    }

    #[test]
    fn the_end_of_a_log_is_its_tail() {
        let folder = tempfile::tempdir().unwrap();
        files::write(folder.path().join("log"), "0123456789").unwrap();
        both(folder.path(), |root| {
            let bytes = |part| root.read("/log", part, 4).known().unwrap().bytes.clone();
            assert_eq!(bytes(Part::Tail), b"6789");
            assert_eq!(bytes(Part::Head), b"0123");
        });
    }

    #[test]
    fn hostile_names_are_told_and_not_printed_raw() {
        let folder = tempfile::tempdir().unwrap();
        files::write(folder.path().join("a\u{1b}[31mb"), "").unwrap();
        files::write(folder.path().join(OsStr::from_bytes(b"\xff\x1b")), "").unwrap();
        let root = Root::open(folder.path()).unwrap();
        let names = root.names_in("/");
        assert_eq!(names.len(), 1);
        assert_eq!(crate::facts::printable(&names[0].text), "a\\u{1b}[31mb");
        let gaps = root.take_gaps();
        assert_eq!(gaps[0].what, "//\\xff\\x1b");
        assert_eq!(gaps[0].unseen.why, Why::Malformed);
    }
}
