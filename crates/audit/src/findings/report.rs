//! Everything that one run of `check` found, as it is written to JSON.

use serde::{Deserialize, Serialize};

use super::{Finding, Severity, Verdict};

/// The name and version of the form; it grows by addition only.
pub const SCHEMA: &str = "kannuki.check/1";

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program that judged.
    pub by: String,
    /// When the facts were gathered, RFC 3339 in UTC.
    pub at: String,
    /// The host's name.
    pub host: String,
    /// Its system.
    pub os: String,
    /// Whether the running host was looked at, not only its disk.
    pub live: bool,
    /// Whether root looked.
    pub as_root: bool,
    /// The day of the data about flaws.
    pub flaws_as_of: String,
    /// Counts and the worst.
    pub summary: Summary,
    /// The caches that were found, the most exposed first.
    pub caches: Vec<Installation>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}

/// Counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The worst verdict over all sockets; none without a cache.
    pub verdict: Option<Verdict>,
    /// The worst severity; none without a finding.
    pub worst: Option<Severity>,
    /// How many findings of each severity.
    pub critical: usize,
    /// See `critical`.
    pub high: usize,
    /// See `critical`.
    pub medium: usize,
    /// See `critical`.
    pub low: usize,
    /// See `critical`.
    pub info: usize,
}

impl Summary {
    /// Counts the findings and looks for the worst door.
    #[must_use]
    pub fn of(caches: &[Installation], findings: &[Finding]) -> Self {
        let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
        Self {
            verdict: caches.iter().flat_map(|s| &s.doors).map(|door| door.verdict).max(),
            worst: findings.iter().map(|finding| finding.severity).max(),
            critical: count(Severity::Critical),
            high: count(Severity::High),
            medium: count(Severity::Medium),
            low: count(Severity::Low),
            info: count(Severity::Info),
        }
    }
}

/// A cache, running or only waiting for the next boot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Installation {
    /// `memcached`, `kannuki`, `nutcracker`.
    pub name: String,
    /// Its version, if anything tells.
    pub version: Option<String>,
    /// Its process; none for one that does not run.
    pub pid: Option<u32>,
    /// Its command line.
    pub command: String,
    /// Its package with version.
    pub package: Option<String>,
    /// Who started it: `systemd memcached.service`.
    pub starter: String,
    /// Items it holds, if it said so.
    pub items: Option<u64>,
    /// Bytes of data it holds, if it said so.
    pub bytes: Option<u64>,
    /// Whether it asks for a login.
    pub login: Option<bool>,
    /// Its sockets.
    pub doors: Vec<Door>,
}

/// One socket on one address, and the way from the internet to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Door {
    /// `tcp`, `udp` or `unix`.
    pub transport: String,
    /// `0.0.0.0:11211` or a path: what it is bound to.
    pub bound: String,
    /// The address by which a stranger comes; empty for local doors.
    pub address: String,
    /// The interface of that address.
    pub interface: String,
    /// The rule or policy that decides; empty where there is none.
    pub filter: String,
    /// Whether strangers reach it now.
    pub verdict: Verdict,
    /// Why, in a word of the catalogue of texts.
    pub reason: String,
    /// The network namespace that it lives in, if that is not the one that was looked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<u64>,
    /// How many times a question is multiplied by the answer, if measured.
    pub factor: Option<f64>,
}

/// Something that was out of sight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What was looked for.
    pub what: String,
    /// Why it was not seen.
    pub why: String,
}
