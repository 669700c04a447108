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

use rustix::fs::{Gid, Uid, XattrFlags};
use serde::{Deserialize, Serialize};

use crate::collect::sha256;

/// Longest file that is changed, in bytes; the same as is read of settings.
const FILE_BYTES_MAX: u64 = 256 * 1024;
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
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(bytes))
}

/// Whether a file may be put here: why not, in words.
pub(super) fn must_be_writable(path: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let mut is_nearest = true;
    for folder in path.ancestors().skip(1) {
        let Ok(meta) = fs::metadata(folder) else { continue };
        let is_theirs = meta.uid() != 0 && meta.uid() != own;
        let sticky = meta.mode() & 0o1000 != 0;
        if is_theirs || (meta.mode() & 0o022 != 0 && !sticky) {
            let text = format!("{} can be changed by others than root", folder.display());
            return Err(io::Error::other(text));
        }
        if is_nearest {
            rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)?;
            is_nearest = false;
        }
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

/// Puts bytes in place of a file, or makes it. `as_was`: with the owner, mode and time of before;
/// else with those of the file that stands there.
pub(super) fn replace(
    path: &Path,
    bytes: &[u8],
    as_was: Option<&Original>,
    watch: Watch<'_>,
) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = beside(path);
    let _ = fs::remove_file(&beside); // Left by a killed run; if it cannot go, the next line fails.
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    watch("file made");
    let done = fill(&mut file, path, bytes, as_was);
    watch("file filled");
    if let Err(error) = done.and_then(|()| fs::rename(&beside, path)) {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    watch("file in place");
    sync_folder(folder)
}

fn fill(file: &mut File, path: &Path, bytes: &[u8], as_was: Option<&Original>) -> io::Result<()> {
    file.write_all(bytes)?;
    let now = fs::metadata(path).ok();
    if let Ok(old) = File::open(path) {
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
        if name.is_empty() {
            continue;
        }
        let length = rustix::fs::fgetxattr(from, name, &mut value)?;
        let value = value.get(..length).unwrap_or_default();
        rustix::fs::fsetxattr(to, name, value, XattrFlags::empty())?;
    }
    Ok(())
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
        let _ = fs::remove_dir(folder);
    }
    Ok(())
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
