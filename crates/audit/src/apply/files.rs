//! Files of the host: kept aside, replaced whole, put back with owner, mode and time.
//!
//! Invariants: a file is always the old one or the new one, also after a loss of power, because the
//! new one is on the disk before it takes the name; links are followed to the file that is really
//! read; nothing is written into a folder that others than root (or the caller) may change.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rustix::fs::{FallocateFlags, Gid, IFlags, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::collect::sha256;

/// Longest file that is changed, in bytes; the same as is read of settings.
pub(super) const FILE_BYTES_MAX: usize = 256 * 1024;
/// Longest list of names of extended attributes, and longest value, in bytes: Linux's own bound.
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;
/// Permissions of a file that is made.
const MADE_MODE: u32 = 0o644;

/// What a file was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// SHA-256 of its bytes, as hex.
    pub sha256: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change, in seconds since 1970-01-01 UTC.
    pub modified: i64,
    /// And nanoseconds.
    pub modified_ns: u32,
}

/// A place below a root, with links on the way to it followed.
pub(super) fn place(root: &Path, path: &str) -> io::Result<PathBuf> {
    let wanted = root.join(path.trim_start_matches('/'));
    match fs::canonicalize(&wanted) {
        Ok(real) => Ok(real),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere would put the new file at a place nobody meant.
            if wanted.is_symlink() {
                return Err(io::Error::other("is a link that leads nowhere"));
            }
            let (Some(folder), Some(name)) = (wanted.parent(), wanted.file_name()) else {
                return Err(error);
            };
            Ok(fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned()).join(name))
        }
        Err(error) => Err(error),
    }
}

/// The text of a file; none if there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(bytes))
}

/// Opens a regular file; none if there is none. A FIFO would be waited for without end, and a
/// device may do something when it is opened.
fn open(path: &Path) -> io::Result<Option<File>> {
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::metadata(path) {
        Err(error) if is_absent(&error) => return Ok(None),
        Ok(meta) if !meta.is_file() => return Err(io::Error::other(NOT_REGULAR)),
        meta => meta?,
    };
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if is_absent(&error) => Ok(None),
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => Err(io::Error::other(NOT_REGULAR)),
        Err(error) => Err(error),
    }
}

const NOT_REGULAR: &str = "is no regular file";

/// Whether a file may be put here: why not, in words.
pub(super) fn must_be_writable(path: &Path) -> io::Result<()> {
    must_be_replaceable(path)?;
    let own = rustix::process::geteuid().as_raw();
    let mut is_nearest = true;
    for folder in path.ancestors().skip(1) {
        let Ok(meta) = fs::metadata(folder) else { continue };
        let is_theirs = meta.uid() != 0 && meta.uid() != own;
        let sticky = meta.mode() & 0o1000 != 0;
        if is_theirs || (meta.mode() & 0o022 != 0 && !sticky) {
            let folder = folder.display();
            let text = format!("{folder} can be changed by others than root: chmod or chown it");
            return Err(io::Error::other(text));
        }
        if is_nearest {
            rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)?;
            is_nearest = false;
        }
    }
    Ok(())
}

/// A new file takes the name of the old one: its other names would keep the old text, and a mark
/// that forbids changes forbids that too.
fn must_be_replaceable(path: &Path) -> io::Result<()> {
    let Some(file) = open(path)? else { return Ok(()) };
    let names = file.metadata()?.nlink();
    if names > 1 {
        let text =
            format!("has {names} names (hard links); edit it by hand, or use another method");
        return Err(io::Error::other(text));
    }
    // File systems without such marks do not know the question.
    let flags = rustix::fs::ioctl_getflags(&file).unwrap_or(IFlags::empty());
    if flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND) {
        return Err(io::Error::other("is marked as not to be changed: chattr -ia it first"));
    }
    Ok(())
}

/// Owner, mode and time of a file.
pub(super) fn original(path: &Path, bytes: &[u8]) -> io::Result<Original> {
    let meta = fs::metadata(path)?;
    Ok(Original {
        sha256: sha256(bytes),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        modified: meta.mtime(),
        modified_ns: u32::try_from(meta.mtime_nsec()).unwrap_or(0),
    })
}

/// Keeps bytes in a new file, on the disk before this returns.
pub(super) fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the folders that a file needs; those that were not there, outermost first.
pub(super) fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let missing = path.ancestors().skip(1).take_while(|folder| !folder.exists());
    let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// What happens on the way, for whoever watches.
pub(super) type Watch<'w> = &'w mut dyn FnMut(&str);

/// What a file gets.
pub(super) struct Text<'t> {
    /// Its bytes.
    pub(super) bytes: &'t [u8],
    /// What must still stand there when they come; none if there must be no file.
    pub(super) instead_of: Option<&'t [u8]>,
    /// With the owner, mode and time of before; else with those of the file that stands there.
    pub(super) as_was: Option<&'t Original>,
}

/// Puts a text in place of a file, or makes it.
pub(super) fn replace(path: &Path, text: &Text<'_>, watch: Watch<'_>) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = beside(path);
    let _ = fs::remove_file(&beside); // Left by a killed run; if it cannot go, the next line fails.
    make_folder(folder)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    watch("file made");
    let done = fill(&mut file, path, text);
    watch("file filled");
    // Looked at again as late as can be: an editor may be at work beside us.
    let done = done.and_then(|()| match read(path)?.as_deref() == text.instead_of {
        true => fs::rename(&beside, path),
        false => Err(io::Error::other("was changed meanwhile")),
    });
    if let Err(error) = done {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    watch("file in place");
    sync_folder(folder)
}

/// Makes a folder and those above it; the names of all are on the disk afterwards.
fn make_folder(folder: &Path) -> io::Result<()> {
    let missing = folder.ancestors().take_while(|folder| !folder.exists()).count();
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    folder.ancestors().skip(1).take(missing).try_for_each(sync_folder)
}

fn fill(file: &mut File, path: &Path, text: &Text<'_>) -> io::Result<()> {
    let as_was = text.as_was;
    file.write_all(text.bytes)?;
    let old = open(path)?;
    let now = old.as_ref().map(File::metadata).transpose()?;
    if let Some(old) = old {
        copy_attributes(&old, file)?;
    }
    let owner = match (as_was, &now) {
        (Some(was), _) => Some((was.uid, was.gid)),
        (None, Some(now)) => Some((now.uid(), now.gid())),
        (None, None) => None,
    };
    let made = file.metadata()?;
    if let Some((uid, gid)) = owner.filter(|owner| *owner != (made.uid(), made.gid())) {
        rustix::fs::fchown(&*file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    let mode = as_was.map(|was| was.mode).or_else(|| now.map(|now| now.mode() & 0o7777));
    file.set_permissions(fs::Permissions::from_mode(mode.unwrap_or(MADE_MODE)))?;
    if let Some(was) = as_was {
        let seconds = u64::try_from(was.modified).unwrap_or(0);
        file.set_modified(UNIX_EPOCH + Duration::new(seconds, was.modified_ns))?;
    }
    file.sync_all()
}

/// Sums over the old bytes; the kernel makes them anew for the new ones.
const SUMS: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// Labels of SELinux and access lists are extended attributes.
fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let mut names = vec![0_u8; ATTRIBUTE_BYTES_MAX];
    let length = match rustix::fs::flistxattr(from, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0_u8; ATTRIBUTE_BYTES_MAX];
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        if name.is_empty() || SUMS.contains(&name) {
            continue;
        }
        let length = rustix::fs::fgetxattr(from, name, &mut value)?;
        let value = value.get(..length).unwrap_or_default();
        match rustix::fs::fsetxattr(to, name, value, XattrFlags::empty()) {
            // In a container some may not be set, and need not: the file got the same by itself.
            Err(Errno::PERM | Errno::NOTSUP) if has_attribute(to, name, value) => {}
            done => done?,
        }
    }
    Ok(())
}

fn has_attribute(file: &File, name: &[u8], wanted: &[u8]) -> bool {
    let mut value = vec![0_u8; wanted.len() + 1];
    rustix::fs::fgetxattr(file, name, &mut value).is_ok_and(|n| value.get(..n) == Some(wanted))
}

/// Takes a file away, and the folders that were made for it if nobody uses them.
pub(super) fn remove(path: &Path, folders: &[PathBuf], watch: Watch<'_>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => watch("file gone"),
    }
    clear(path);
    if let Some(folder) = path.parent().filter(|folder| folder.exists()) {
        sync_folder(folder)?;
    }
    for folder in folders.iter().rev().filter(|folder| path.starts_with(folder)) {
        // One that somebody else uses by now is not empty, and stays.
        let gone = fs::remove_dir(folder).is_ok();
        if let Some(above) = folder.parent().filter(|_| gone) {
            sync_folder(above)?;
        }
    }
    Ok(())
}

/// Makes a file that takes so many bytes of the disk, where that has twice as many. File systems
/// that cannot promise room make an empty one.
pub(super) fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes.saturating_mul(2)) {
        Ok(()) => file.set_len(bytes),
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes away what a killed run left beside a file.
pub(super) fn clear(path: &Path) {
    let _ = fs::remove_file(beside(path));
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    path.with_file_name(format!(".{}.kannuki-new", name.unwrap_or_default()))
}

/// A name is on the disk when its folder is.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
