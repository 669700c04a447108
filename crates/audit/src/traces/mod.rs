//! Traces that an intruder may have left: what was seen on a host, as plain data.
//!
//! ```text
//! host or disk --collect::traces--> Traces --triage (pure)--> Triage --report (pure)--> letter
//! ```
//!
//! Invariants:
//! - Nothing here judges, and nothing was changed to learn it.
//! - What could not be seen is [`Seen::Unseen`] or a gap, never an empty list.
//! - Every text is the host's own and may be hostile; whoever shows one makes it printable first.
//! - No password hash and no private key is ever kept here.

mod files;
mod logins;
mod processes;
mod surroundings;

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Gap, Seen};
pub use files::{
    AuthorizedKey, ChangedFile, FileTrace, LogState, Owner, Place, TextFile, TextKind, Verification,
};
pub use logins::{Account, Door, Failures, Login, PasswordState, Refusals};
pub use processes::{Connection, Hidden, Module, ProcessTrace, RawSocket};
pub use surroundings::{Guard, MailQueue, WebRequests, WebSign, WebTrace};

/// The version of this form.
pub const VERSION: u32 = 1;

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// [`VERSION`].
    pub version: u32,
    /// What `check` sees: caches, their sockets, their packages.
    pub facts: Facts,
    /// When the system was installed, by its oldest settled file.
    pub installed_at: Seen<i64>,
    /// The newest time of any log: a clock that is behind it has been turned back.
    pub newest_log: Option<i64>,
    /// Bits of `/proc/sys/kernel/tainted`.
    pub tainted: Seen<u64>,
    /// Kernel modules.
    pub modules: Seen<Vec<Module>>,
    /// Interfaces that take packets for others.
    pub promiscuous: Seen<Vec<String>>,
    /// Sockets that see or forge packets below TCP and UDP.
    pub raw_sockets: Seen<Vec<RawSocket>>,
    /// All processes.
    pub processes: Seen<Vec<ProcessTrace>>,
    /// Processes that the list of processes leaves out.
    pub hidden: Seen<Vec<Hidden>>,
    /// Established TCP connections, with who holds them.
    pub connections: Seen<Vec<Connection>>,
    /// Listening TCP and bound UDP sockets, with who holds them: `local` of each, no `remote`.
    pub listeners: Seen<Vec<Connection>>,
    /// Accounts of this host.
    pub accounts: Seen<Vec<Account>>,
    /// The number from which on accounts are people's (`UID_MIN`).
    #[serde(default = "people_from")]
    pub people_from: u32,
    /// Keys that may log in.
    pub keys: Vec<AuthorizedKey>,
    /// Short texts that start or steer something: cron tables, units, profiles, histories.
    pub texts: Vec<TextFile>,
    /// Log-ins, the oldest first.
    pub logins: Seen<Vec<Login>>,
    /// Refused log-ins by address, those with most first.
    pub failures: Vec<Failures>,
    /// All of them, also those that do not stand there one by one.
    #[serde(default)]
    pub refusals: Refusals,
    /// Logs and what state they are in.
    pub logs: Vec<LogState>,
    /// Requests in the logs of web servers that tell something.
    #[serde(default)]
    pub web_requests: WebRequests,
    /// Mails that wait.
    #[serde(default)]
    pub mail: Vec<MailQueue>,
    /// Programs that protect the host or write its logs.
    #[serde(default)]
    pub guards: Vec<Guard>,
    /// Files in places where none should be, with rights that none should have, or changed.
    pub files: Vec<FileTrace>,
    /// Whether programs are as their packages brought them.
    pub verification: Seen<Verification>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}

/// Where nothing tells: what systems of today have.
fn people_from() -> u32 {
    1000
}
