//! What commands remember from run to run: a folder of files, each replaced as a whole.
//!
//! root's folder is its own. It is not below `/var/lib/kannuki`, which belongs to the user that the
//! server runs as: what root reads must not be written by somebody whom strangers may have become.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// root's folder.
const OF_ROOT: &str = "/var/lib/kannuki-check";

/// Where a command of this user remembers: what systemd made for the unit, root's folder, or the
/// user's own of the XDG specification.
pub(crate) fn folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(made) = absolute("STATE_DIRECTORY") {
        return Some(made);
    }
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(OF_ROOT));
    }
    let own = absolute("XDG_STATE_HOME");
    own.or_else(|| Some(absolute("HOME")?.join(".local/state"))).map(|base| base.join("kannuki"))
}

/// Where a file may be found: in one's own folder, else in root's.
pub(crate) fn places(name: &str) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = folder().into_iter().collect();
    if !places.iter().any(|place| place == Path::new(OF_ROOT)) {
        places.push(PathBuf::from(OF_ROOT));
    }
    places.into_iter().map(|place| place.join(name)).collect()
}

/// Makes the folder, readable by everybody and written by its owner only.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)
}

/// Reads a regular file of at most `bytes_max`; a FIFO in its place does not block.
pub(crate) fn read(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(bound.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        return Err(io::Error::other(format!("is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Writes beside the file and moves it into place: a reader finds the old one or the new one whole,
/// also after a power failure.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = path.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What could not be finished is taken away; there is nobody to tell if that fails too.
        let _ = fs::remove_file(&beside);
        return written;
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or_else(|| Path::new("."))).and_then(|folder| folder.sync_all())
}
