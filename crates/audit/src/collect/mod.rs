//! Looks at a host or at a disk: the one part of this crate that reads files, asks the kernel, runs
//! commands that print, and talks to the host's own sockets. It changes nothing.
//!
//! ```text
//! Root (files, bounded, never out of the root) --+
//! netlink (sockets, addresses) ------------------+-> formats (pure) -> Facts
//! run (commands that print) ---------------------+
//! talk, probe (own sockets only) ----------------+
//! ```
//!
//! Invariants:
//! - Only files below the root are read; commands are run and sockets are talked to only when the
//!   root is the running host's.
//! - Nothing is sent but to this host's own addresses, and nothing but `version`, `stats`, `stats
//!   settings` and `stats conns`.
//! - What cannot be seen becomes a gap; no missing right, file or program makes a collection fail.

mod addresses;
pub mod clock;
pub(crate) mod disk;
mod firewall;
mod host;
mod packages;
pub(crate) mod probe;
mod processes;
mod references;
mod root;
pub(crate) mod run;
mod sockets;
mod starts;
mod talk;
pub mod traces;
mod usage;

use std::{cell::RefCell, io, path::PathBuf, time::Duration};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::facts::{
    Collection, CommandRun, ConfigFile, Facts, FileRole, Seen, Unseen, VERSION, Why,
};
use root::{Part, Root, lossy};

/// Longest configuration file that is read, in bytes. Real ones have a few hundred; a log or a
/// device given by mistake must not fill the memory.
const CONFIG_BYTES_MAX: usize = 256 * 1024;

/// Longest wait for a command that reads every file of a few packages.
const LONG_RUN_MAX: Duration = Duration::from_secs(60);

/// What to look at, and how closely.
#[derive(Clone, Debug)]
pub struct Request {
    /// `/`, or the folder where another system's disk is mounted.
    pub root: PathBuf,
    /// Whether to talk to the caches of this host at all (`version`, `stats`).
    pub talk: bool,
    /// Whether to measure the amplification of UDP sockets.
    pub probe: bool,
    /// Whether to ask every listening TCP socket which protocol it speaks, not only likely ones.
    pub every_port: bool,
    /// Time between two looks at the counters.
    pub window: Duration,
    /// The program and its version.
    pub by: String,
    /// The time to note instead of the clock's.
    pub at: Option<i64>,
}

/// Why nothing could be collected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The root cannot be opened.
    #[error("cannot look at {path}: {error}", path = .path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// What all parts of a collection share.
struct View {
    root: Root,
    /// The running host: the kernel may be asked, commands run, sockets talked to.
    host: bool,
    /// Whether `/proc` below the root is to be believed.
    proc: bool,
    at: i64,
    runs: RefCell<Vec<CommandRun>>,
}

/// Looks.
///
/// # Errors
///
/// Only when the root itself cannot be opened; everything else that fails becomes a gap.
pub fn collect(request: &Request) -> Result<Facts, CollectError> {
    let view = View::open(request)?;
    let host = host::collect(&view);
    let table = processes::table(&view);
    if view.host && !view.proc {
        // Every list that comes of it is unseen; nobody may take the silence for a clean host.
        view.root.gap("processes, sockets and addresses", &view.no_proc());
    }
    let interfaces = addresses::collect(&view, &table);
    let mut sockets = sockets::collect(&view, &table, &interfaces);
    let mut processes = processes::collect(&view, &table, &mut sockets, &host);
    let (starts, names) = starts::collect(&view, &host, processes.list());
    starts::name_starters(&view, &mut processes, &starts);
    let firewall = firewall::collect(&view, processes.list());
    let packages = packages::collect(&view, processes.list());
    let references = references::collect(&view);
    let mut facts = Facts {
        version: VERSION,
        collection: view.collection(request),
        host,
        interfaces,
        sockets,
        processes,
        starts,
        names,
        firewall,
        packages,
        references,
        talks: Vec::new(),
        usage: Vec::new(),
        probes: Vec::new(),
        panels: references::panels(&view),
        gaps: Vec::new(),
    };
    if view.host && request.talk {
        let own = talk::OwnEnds::default();
        facts.talks = talk::collect(&view, &facts, request.every_port, &own);
        facts.probes = probe::collect(&view, &facts, request.probe);
        facts.usage = usage::collect(&view, &facts, request.window, &own);
    }
    sockets::keep_relevant(&mut facts);
    facts.collection.commands = view.runs.take();
    facts.gaps = view.root.take_gaps();
    Ok(facts)
}

impl View {
    fn open(request: &Request) -> Result<Self, CollectError> {
        let root = Root::open(&request.root)
            .map_err(|error| CollectError::Root { path: request.root.clone(), error })?;
        let host = root.is_host();
        // Below another root, the kernel's own /proc shows this system's processes, not that one's;
        // a recorded tree of files is that one's.
        let proc = root.exists("/proc/stat") && (host || !root.is_proc("/proc"));
        let at = request.at.unwrap_or_else(clock::now);
        Ok(Self { root, host, proc, at, runs: RefCell::default() })
    }

    fn collection(&self, request: &Request) -> Collection {
        Collection {
            at: self.at,
            by: request.by.clone(),
            root: lossy(self.root.path().as_os_str().as_encoded_bytes().to_vec()),
            live: self.proc,
            uid: rustix::process::geteuid().as_raw(),
            commands: Vec::new(),
        }
    }

    /// Why nothing of `/proc` is seen.
    fn no_proc(&self) -> Unseen {
        if self.host {
            let detail = "/proc is not mounted".to_owned();
            return Unseen { why: Why::Absent, detail };
        }
        let detail = "a disk was looked at, no running system".to_owned();
        Unseen { why: Why::NotRunning, detail }
    }

    /// Runs a command on the running host.
    fn run(&self, words: &[&str]) -> Seen<String> {
        if !self.host {
            return Seen::unseen(Why::NotRunning, "commands are run on the running host only");
        }
        run::run(words, &mut self.runs.borrow_mut())
    }

    /// Runs a command that may take longer, and whose output counts whatever its exit code.
    fn run_any(&self, words: &[&str]) -> Seen<String> {
        if !self.host {
            return Seen::unseen(Why::NotRunning, "commands are run on the running host only");
        }
        run::run_within(words, LONG_RUN_MAX, true, &mut self.runs.borrow_mut())
    }

    /// A small text of `/proc` or `/sys`, without the line end.
    fn word(&self, path: &str) -> Seen<String> {
        if !self.proc {
            return Seen::Unseen(self.no_proc());
        }
        self.root.quiet_text(path, CONFIG_BYTES_MAX).map(|text| text.trim().to_owned())
    }

    /// A configuration file with everything that evidence needs; `None` = there is none.
    fn config_file(&self, path: &str, role: FileRole) -> Option<ConfigFile> {
        let stat = self.root.stat(path)?;
        let read = self.root.read(path, Part::Whole, CONFIG_BYTES_MAX);
        if let Seen::Unseen(unseen) = &read {
            self.root.gap(path, unseen);
        }
        Some(ConfigFile {
            path: path.to_owned(),
            role,
            sha256: read.known().map(|file| sha256(&file.bytes)),
            text: read.map(|file| lossy(file.bytes)),
            mode: Some(stat.st_mode & 0o7777),
            uid: Some(stat.st_uid),
            modified: Some(stat.st_mtime),
        })
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
