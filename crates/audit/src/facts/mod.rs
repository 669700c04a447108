//! What was seen on a host: plain data, saved and read again as JSON.
//!
//! ```text
//! host or disk --collect--> Facts --rules (pure)--> findings --> plan
//!                             | ^
//!                             v |
//!                          facts.json (`--facts FILE`): any host can be a fixture
//! ```
//!
//! Invariants:
//! - Nothing here judges: a fact says what stands where, never whether that is good.
//! - What could not be seen is said ([`Seen::Unseen`], [`Facts::gaps`]); it is never an empty list.
//! - Texts come from the host and may contain anything, line ends and escape codes too. Whoever
//!   shows one passes it through [`printable`] first.
//! - Every list was cut to a bound when it was collected; a cut one has its gap.

mod firewall;
mod host;
mod package;
mod process;
mod reference;
mod saved;
mod seen;
mod socket;
mod start;
mod usage;

use serde::{Deserialize, Serialize};

pub use firewall::{Firewall, Firewalld, PublishedPort, Publisher, Ruleset, Ufw};
pub use host::{Address, Host, HostName, Interface, OsRelease, Scope};
pub use package::{Package, PackageEvent, PackageKind, Packages};
pub use process::{Container, Executable, Process, Starter};
pub use reference::{Reference, ReferenceKind};
pub use saved::{FACTS_BYTES_MAX, FactsError};
pub use seen::{Gap, MORE_GAPS, Seen, Unseen, Why};
pub use socket::{Protocol, Socket, SocketState};
pub use start::{AtBoot, ConfigFile, FileRole, StartCommand, StartConfig, StartKind, StartWord};
pub use usage::{ClientConnection, Probe, ProbeAnswer, Server, StatsSample, Talk, Usage};

/// The version of this format. A program reads its own version only: a fact that it does not know
/// could be the one that matters.
pub const VERSION: u32 = 1;

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// [`VERSION`].
    pub version: u32,
    /// How these facts were gathered.
    pub collection: Collection,
    /// The machine.
    pub host: Host,
    /// Network interfaces of the host's own namespace and of those in which a process of interest
    /// lives.
    pub interfaces: Seen<Vec<Interface>>,
    /// Listening TCP sockets, bound UDP sockets, listening UNIX sockets of interest, and the
    /// established connections to the caches' ports.
    pub sockets: Seen<Vec<Socket>>,
    /// Processes that own such a socket, look like a cache, or publish a port for a container.
    pub processes: Seen<Vec<Process>>,
    /// What would start a cache at the next boot or could be made to.
    pub starts: Vec<StartConfig>,
    /// Names on which the starters listen, as the host's own `/etc/hosts` resolves them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<HostName>,
    /// Packet filters, now and at the next boot.
    pub firewall: Firewall,
    /// Packages of interest and how they came.
    pub packages: Packages,
    /// Local programs' settings that name a cache.
    pub references: Seen<Vec<Reference>>,
    /// Who talked which protocol at which socket.
    pub talks: Vec<Talk>,
    /// Statistics of each cache, twice.
    pub usage: Vec<Usage>,
    /// Measured amplification; empty without `--probe`.
    pub probes: Vec<Probe>,
    /// Control panels that may rewrite settings ("/usr/local/psa"), by the path that shows them.
    pub panels: Vec<String>,
    /// What could not be seen, each with its reason.
    pub gaps: Vec<Gap>,
}

/// How facts were gathered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// When it began, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// The program and its version.
    pub by: String,
    /// The folder that was looked at; `/` is the running host.
    pub root: String,
    /// Whether it was the running host: only then there are sockets and processes of now.
    pub live: bool,
    /// The effective user id that looked.
    pub uid: u32,
    /// Commands that were run because no file tells, with their result.
    pub commands: Vec<CommandRun>,
}

/// One command that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRun {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// "exit 0", "exit 1: first line of stderr", "not installed", "timed out".
    pub outcome: String,
}

impl Facts {
    /// The process with this id.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.known()?.iter().find(|process| process.pid == pid)
    }

    /// The package that owns this file.
    #[must_use]
    pub fn owner(&self, path: &str) -> Option<&Package> {
        let packages = self.packages.installed.known()?;
        packages.iter().find(|package| package.files.iter().any(|file| file == path))
    }

    /// The interfaces that were seen in a network namespace.
    pub fn interfaces_of(&self, net_namespace: Option<u64>) -> impl Iterator<Item = &Interface> {
        let all = self.interfaces.known().map_or(&[][..], Vec::as_slice);
        all.iter().filter(move |interface| interface.net_namespace == net_namespace)
    }

    /// What was learned by talking to this socket.
    #[must_use]
    pub fn talk(&self, socket: &Socket) -> Option<&Talk> {
        self.talks.iter().find(|talk| talk.inode == socket.inode && socket.inode != 0)
    }
}

/// A text of the host, fit for a terminal and for one line: what steers a terminal or turns the
/// direction of writing is shown as `\u{...}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters without a shape of their own, which change how others are shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printable() {
        assert_eq!(printable("caf\u{e9} \u{1b}[31m\nx"), "caf\u{e9} \\u{1b}[31m\\u{a}x");
        assert_eq!(printable("a\u{202e}b\u{9b}c\u{7f}"), "a\\u{202e}b\\u{9b}c\\u{7f}");
    }
}
