//! What runs, and what the kernel was given to run.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Owner;
use crate::facts::{Protocol, Seen};

/// A process, as far as it can give an intruder away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessTrace {
    /// Its id.
    pub pid: u32,
    /// Who started it.
    pub parent: u32,
    /// Its short name.
    pub name: String,
    /// Its command line, cut to a bound.
    pub argv: Vec<String>,
    /// Where its program is or was, without ` (deleted)`. `Known(None)`: a thread of the kernel.
    pub program: Seen<Option<String>>,
    /// Whether that file is gone.
    pub deleted: bool,
    /// Whether a file of that name exists again: an update.
    pub replaced: bool,
    /// Who owns the program.
    pub owner: Owner,
    /// The effective user.
    pub uid: u32,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub started: Option<i64>,
    /// Processor time since then, in percent of that time.
    pub cpu_percent: Option<u32>,
    /// Variables of its environment that load foreign code (`LD_PRELOAD=...`).
    pub preload: Vec<String>,
    /// Whether it runs in a container, which has packages of its own.
    pub container: bool,
}

/// A process that is there and not in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// Its id.
    pub pid: u32,
    /// What shows it: "answers and is not listed", "something is mounted over it".
    pub because: String,
}

/// A connection or a listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// This end.
    pub local: SocketAddr,
    /// The other end of a connection.
    pub remote: Option<SocketAddr>,
    /// Who holds it.
    pub pids: Vec<u32>,
}

/// A raw or packet socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSocket {
    /// "raw", "raw6" or "packet".
    pub kind: String,
    /// Its number in the kernel.
    pub inode: u64,
    /// Who holds it.
    pub pids: Vec<u32>,
}

/// A kernel module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Whether `/proc/modules` lists it.
    pub listed: bool,
    /// Whether `/sys/module` shows it as loaded.
    pub shown: bool,
    /// Whether the kernel's own list of modules (`modules.dep`) knows it; `None` = no such list.
    pub known: Option<bool>,
}
