//! Packages and how they came.

use serde::{Deserialize, Serialize};

use super::Seen;

/// Packages of interest: caches, their proxies, and what owns a cache's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// The databases that were found.
    pub kinds: Vec<PackageKind>,
    /// Installed packages of interest.
    pub installed: Seen<Vec<Package>>,
    /// Events that concern them, the oldest first.
    pub history: Seen<Vec<PackageEvent>>,
}

/// Which package database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageKind {
    /// Debian, Ubuntu.
    Dpkg,
    /// Red Hat, Fedora, SUSE.
    Rpm,
    /// Alpine.
    Apk,
    /// Arch.
    Pacman,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Whose database says so.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// The whole version as the database writes it: "1.6.18-1+deb12u1", "0:1.4.15-10.el7".
    pub version: String,
    /// The source package, where it differs.
    pub source: Option<String>,
    /// Its architecture.
    pub arch: String,
    /// Whose build it is ("Debian", "CentOS", "Red Hat, Inc."), if the database says so.
    pub vendor: Option<String>,
    /// dpkg's status ("install ok installed"); empty for others.
    pub status: String,
    /// Its programs and configuration files, not its whole list.
    pub files: Vec<String>,
    /// When this version was installed, in seconds since 1970-01-01 UTC.
    pub installed_at: Seen<i64>,
    /// Whether it came as somebody's dependency.
    pub automatic: Seen<bool>,
    /// Installed packages that depend on it or recommend it: "sogo (Depends)".
    pub wanted_by: Vec<String>,
}

/// Something that happened to a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageEvent {
    /// When, as written: local time in most logs.
    pub when: String,
    /// When, in seconds since 1970-01-01 UTC, if the log or the host's zone tells.
    pub at: Option<i64>,
    /// "install", "upgrade", "remove", "reinstall".
    pub action: String,
    /// The package.
    pub package: String,
    /// The version after it; before it for a removal.
    pub version: String,
    /// The command that did it, if recorded.
    pub command: Option<String>,
    /// Who asked, if recorded ("admin (1000)").
    pub requested_by: Option<String>,
    /// Whether it came as a dependency, if recorded.
    pub automatic: Option<bool>,
    /// The log.
    pub path: String,
    /// Its line, from 1.
    pub line: u32,
}
