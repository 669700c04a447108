//! The process itself: daemon, privilege drop, limits, pid file, resource usage.
//!
//! Invariants: after [`drop_privileges`] no thread of the process holds or can regain what it gave
//! up, and this was checked; forking happens only while there is a single thread; a pid file is
//! complete or absent, never half written.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};

/// Room for one line of the user database. glibc suggests 1 KiB; directories with long comment
/// fields need more; whatever needs more than this is no user we want to become.
const PASSWD_BYTES_MAX: usize = 64 * 1024;

/// The id of this process.
#[must_use]
pub fn pid() -> u32 {
    std::process::id()
}

/// Whether this process acts as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A user to become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// The name, or the digits that stood for it.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
}

/// Why a user or the drop to it failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// There is no such user.
    UnknownUser(String),
    /// The user database could not be read.
    Lookup {
        /// Who was looked for.
        name: String,
        /// Why it failed.
        error: io::Error,
    },
    /// The system refused a step.
    Refused {
        /// The step: `setgroups`, `setgid` or `setuid`.
        step: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The step succeeded, and yet the process holds or can regain what it gave up.
    NotDropped,
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUser(name) => write!(f, "there is no user {name:?} on this host"),
            Self::Lookup { name, error } => write!(f, "cannot look up the user {name:?}: {error}"),
            Self::Refused { step, error } => write!(f, "cannot drop privileges: {step}: {error}"),
            Self::NotDropped => f.write_str("privileges were dropped but could be regained"),
        }
    }
}

impl std::error::Error for PrivilegeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup { error, .. } | Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl User {
    /// Finds a user by name, by number (`1000`, which must be in the user database) or by numbers
    /// alone (`1000:1000`, which need not be).
    ///
    /// # Errors
    /// `UnknownUser`, or `Lookup` when the database cannot be read.
    pub fn find(name: &str) -> Result<Self, PrivilegeError> {
        if let Some((uid, gid)) = name.split_once(':') {
            return match (uid.parse(), gid.parse()) {
                (Ok(uid), Ok(gid)) => Ok(Self { name: name.to_owned(), uid, gid }),
                _ => Err(PrivilegeError::UnknownUser(name.to_owned())),
            };
        }
        // A name made of digits is possible and goes first, as in chown(1).
        let c_name = CString::new(name);
        let by_name = match &c_name {
            Ok(c_name) => passwd(name, By::Name(c_name))?,
            Err(_) => None,
        };
        if let Some(user) = by_name {
            return Ok(user);
        }
        let by_number = match name.parse() {
            Ok(uid) => passwd(name, By::Uid(uid))?,
            Err(_) => None,
        };
        by_number.ok_or_else(|| PrivilegeError::UnknownUser(name.to_owned()))
    }
}

enum By<'n> {
    Name(&'n CStr),
    Uid(u32),
}

/// Asks the user database, by the calls that are safe among threads.
fn passwd(name: &str, by: By<'_>) -> Result<Option<User>, PrivilegeError> {
    let mut text = vec![0u8; 1024];
    loop {
        // SAFETY: `passwd` is made of integers and pointers, for which zero is a valid value.
        let mut line: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found: *mut libc::passwd = std::ptr::null_mut();
        let (buffer, bytes) = (text.as_mut_ptr().cast(), text.len());
        let code = match by {
            // SAFETY: the name ends in a zero byte; `line`, `found` and the `bytes` bytes of
            // `buffer` are writable and outlive the call.
            By::Name(name) => unsafe {
                libc::getpwnam_r(name.as_ptr(), &raw mut line, buffer, bytes, &raw mut found)
            },
            // SAFETY: as above.
            By::Uid(uid) => unsafe {
                libc::getpwuid_r(uid, &raw mut line, buffer, bytes, &raw mut found)
            },
        };
        match code {
            0 if found.is_null() => return Ok(None),
            0 => {
                let (uid, gid) = (line.pw_uid, line.pw_gid);
                return Ok(Some(User { name: name.to_owned(), uid, gid }));
            }
            libc::EINTR => {}
            libc::ERANGE if text.len() < PASSWD_BYTES_MAX => text.resize(text.len() * 2, 0),
            // What the databases of various hosts answer for "not found".
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => {
                let error = io::Error::from_raw_os_error(code);
                return Err(PrivilegeError::Lookup { name: name.to_owned(), error });
            }
        }
    }
}

/// Becomes `user` with its own group and no other, as memcached does, in every thread, for ever.
/// Needs root, and does nothing when the user is root.
///
/// # Errors
/// `Refused` when the system refused a step, `NotDropped` when the check afterwards failed: the
/// process must not go on then.
pub fn drop_privileges(user: &User) -> Result<(), PrivilegeError> {
    if user.uid == 0 {
        return Ok(());
    }
    let refused = |step| move |error| PrivilegeError::Refused { step, error };
    // The C library's own calls, because they reach every thread; the kernel's reach only one.
    // SAFETY: an empty list is never read, so its address does not matter.
    ok(unsafe { libc::setgroups(0, std::ptr::null()) }).map_err(refused("setgroups"))?;
    // SAFETY: takes an integer.
    ok(unsafe { libc::setgid(user.gid) }).map_err(refused("setgid"))?;
    // SAFETY: takes an integer.
    ok(unsafe { libc::setuid(user.uid) }).map_err(refused("setuid"))?;
    if dropped(user) { Ok(()) } else { Err(PrivilegeError::NotDropped) }
}

/// Whether every thread is `user` alone and cannot become root again.
fn dropped(user: &User) -> bool {
    // SAFETY: takes an integer; it is meant to fail, and if it does not, the caller gives up.
    let regained = unsafe { libc::setuid(0) } == 0;
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        // No /proc (a bare chroot): what can be asked without it.
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        return !regained && uid.as_raw() == user.uid && gid.as_raw() == user.gid;
    };
    let ids = |status: &str, field: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().map(|id| id.parse().ok()).collect()
    };
    // Real, effective, saved and file system id.
    let is_user = |status: &str| {
        ids(status, "Uid:") == Some(vec![user.uid; 4])
            && ids(status, "Gid:") == Some(vec![user.gid; 4])
            && ids(status, "Groups:") == Some(Vec::new())
    };
    // A thread that ended since has nothing left to hold.
    !regained
        && tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
            .all(|status| is_user(&status))
}

/// Makes sure that no program started from here can gain privileges by its file (setuid bits).
/// Reaches the calling thread and those it starts.
///
/// # Errors
/// Only on kernels older than any supported one.
pub fn forbid_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Lets the kernel kill what `command` starts as soon as the thread that starts it is gone, however
/// that came: by a signal, too, after which no destructor runs. So that thread has to outlive the
/// child. A child that changes its user loses the tie: the kernel takes it from what gains or loses
/// rights.
pub fn tie_to_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    let tie = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // Who was gone before the kernel knew of the tie sends nothing any more.
        match rustix::process::getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
    };
    // SAFETY: between fork and exec it makes two system calls and builds errors that hold a number
    // alone: nothing is allocated, and no lock is taken that another thread may have held.
    unsafe { command.pre_exec(tie) };
}

/// Goes on in the background: forks, ends the parent with status 0, starts a session of its own,
/// moves to `/` unless `keep_directory`, and points standard input, output and error to `/dev/null`
/// unless `keep_output`.
///
/// # Errors
/// When more than one thread exists (a fork would leave their locks held for ever), or when the
/// system refused a step; the caller is then still, or already, the process that should report it.
pub fn daemonize(keep_directory: bool, keep_output: bool) -> io::Result<()> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("cannot go into the background: other threads already run"));
    }
    io::stdout().flush()?;
    // SAFETY: the process has one thread, so the child inherits no lock that nobody can release.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        // SAFETY: ends the parent at once, without running what now belongs to the child.
        _ => unsafe { libc::_exit(0) },
    }
    rustix::process::setsid()?;
    if !keep_directory {
        rustix::process::chdir("/")?;
    }
    if !keep_output {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Sets the number of descriptors that this process may have to exactly `descriptors`, as memcached
/// does with its connection limit.
///
/// # Errors
/// When it is above the hard limit and the process may not raise that.
pub fn set_nofile(descriptors: u64) -> io::Result<()> {
    let exact = Rlimit { current: Some(descriptors), maximum: Some(descriptors) };
    Ok(rustix::process::setrlimit(Resource::Nofile, exact)?)
}

/// Raises the number of descriptors that this process may have to at least `descriptors`; never
/// lowers it. Returns the limit in force.
///
/// # Errors
/// When it is above the hard limit and the process may not raise that.
pub fn raise_nofile(descriptors: u64) -> io::Result<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|&current| current < descriptors) else {
        return Ok(limit.current.unwrap_or(u64::MAX));
    };
    debug_assert!(current < descriptors);
    let maximum = limit.maximum.map(|maximum| maximum.max(descriptors));
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum })?;
    Ok(descriptors)
}

/// Raises the number of descriptors as far as this process may. Returns the limit in force.
pub fn raise_nofile_to_most() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match rustix::process::setrlimit(Resource::Nofile, most) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => nofile(),
    }
}

/// The number of descriptors that this process may have.
#[must_use]
pub fn nofile() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Lifts the limit on locked memory. To be called while the process is root: what it may not lock
/// later it could not even map.
///
/// # Errors
/// When the process may not raise it.
pub fn raise_memlock() -> io::Result<()> {
    let unlimited = Rlimit { current: None, maximum: None };
    Ok(rustix::process::setrlimit(Resource::Memlock, unlimited)?)
}

/// Allows core dumps as large as possible. Returns the limit in bytes; `u64::MAX` is unlimited.
/// Note that the kernel forbids the dump of a process that changed its user.
///
/// # Errors
/// When the limit stays 0.
pub fn raise_core_limit() -> io::Result<u64> {
    let unlimited = Rlimit { current: None, maximum: None };
    if rustix::process::setrlimit(Resource::Core, unlimited).is_ok() {
        return Ok(u64::MAX);
    }
    let limit = rustix::process::getrlimit(Resource::Core);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Core, raised)?;
    match limit.maximum.unwrap_or(u64::MAX) {
        0 => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the hard limit on core dumps is 0 and may not be raised",
        )),
        bytes => Ok(bytes),
    }
}

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Processor time in the program, to the microsecond.
    pub user: Duration,
    /// Processor time in the kernel on behalf of the program, to the microsecond.
    pub system: Duration,
    /// The largest resident set so far, in bytes.
    pub resident_bytes_max: u64,
}

/// What the process has used so far, all threads together.
#[must_use]
pub fn usage() -> Usage {
    // SAFETY: `rusage` is made of integers, for which zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable and outlives the call; the call can fail only on a bad argument.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    Usage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        resident_bytes_max: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// A file that holds our process id. Dropping it leaves the file: memcached removes it only when it
/// runs in the background, so that is for the caller to decide.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the process id and a newline to a new file beside `path`, then moves it there.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn write(path: &Path) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        // What a former process left half way. `create_new` then follows no planted link.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
        let written = file.write_all(format!("{}\n", pid()).as_bytes());
        drop(file);
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(Self { path: path.to_path_buf() })
    }

    /// Removes the file, unless another process has written its own id there since.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn remove(self) -> io::Result<()> {
        match fs::read_to_string(&self.path) {
            Ok(text) if text.trim() == pid().to_string() => fs::remove_file(&self.path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// An answer of the C library: zero, or the error of the thread.
fn ok(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
