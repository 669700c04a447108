//! What stands around: requests to web servers, mails that wait, programs that protect.

use serde::{Deserialize, Serialize};

use crate::facts::Seen;

/// What a request was after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebSign {
    /// A file with secrets, and it was given (`/.env`).
    Leak,
    /// Commands in a request, and it was answered.
    Command,
    /// A script below a folder of uploads was posted to, and answered.
    Upload,
    /// Many log-ins were tried, and one let in.
    Guessed,
}

/// Requests of one kind from one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebTrace {
    /// What they were after.
    pub sign: WebSign,
    /// From where.
    pub from: String,
    /// How many.
    pub count: u64,
    /// The first, in seconds since 1970-01-01 UTC.
    pub first: Option<i64>,
    /// The last.
    pub last: Option<i64>,
    /// One of them, cut.
    pub example: String,
    /// The log that tells.
    pub path: String,
}

/// What the logs of web servers tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebRequests {
    /// Logs that were read.
    pub logs: Vec<String>,
    /// Lines that were understood.
    pub lines: u64,
    /// What was found.
    pub found: Vec<WebTrace>,
}

/// Mails that wait in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailQueue {
    /// The folder.
    pub path: String,
    /// How many files are in it.
    pub messages: u64,
}

/// A program that protects the host or writes its logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Its name.
    pub name: String,
    /// Where its program is.
    pub path: String,
    /// Whether it runs.
    pub running: Seen<bool>,
}
