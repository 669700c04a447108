//! Who may come in, and who came.

use serde::{Deserialize, Serialize};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// Where it lives.
    pub home: String,
    /// What it gets at a log-in.
    pub shell: String,
    /// What stands in the place of its password; never the password.
    pub password: PasswordState,
    /// The day of the last change, in days since 1970-01-01; `None` = not seen.
    pub changed_day: Option<i64>,
    /// The line of `/etc/passwd`.
    pub line: u32,
}

/// What stands in the place of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordState {
    /// Nothing: whoever asks comes in.
    Empty,
    /// No password fits.
    Locked,
    /// A password is set.
    Set,
    /// `/etc/shadow` was not readable.
    Unseen,
}

/// A log-in that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// When, in seconds since 1970-01-01 UTC; `None` = the log's time was not understood.
    pub at: Option<i64>,
    /// Who.
    pub user: String,
    /// From where; empty at the console.
    pub from: String,
    /// How.
    pub door: Door,
    /// The file that tells.
    pub path: String,
}

/// How somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// ssh with a password.
    Password,
    /// ssh with a key.
    Key,
    /// A record of `wtmp` or `lastlog`.
    Record,
    /// Logged in now (`utmp`).
    Now,
    /// `sudo` or `su` to another user.
    Raised,
}

/// All refused log-ins together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusals {
    /// How many; one that stands in two places counts once.
    pub count: u64,
    /// From how many addresses; beyond a bound they count as one.
    pub addresses: u64,
}

/// Refused log-ins from one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// The address; empty where the log names none.
    pub from: String,
    /// How many; one that stands in two places counts once.
    pub count: u64,
    /// The first, in seconds since 1970-01-01 UTC.
    pub first: Option<i64>,
    /// The last.
    pub last: Option<i64>,
    /// The most within an hour; 0 where no time was understood.
    #[serde(default)]
    pub burst: u64,
    /// When that hour began.
    #[serde(default)]
    pub burst_at: Option<i64>,
}
