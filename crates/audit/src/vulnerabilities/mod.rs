//! Known flaws of memcached, and whether one can be reached on this host.
//!
//! A version number alone is wrong both ways: distributions repair old numbers, and a flaw in a
//! feature that is off harms nobody. So the package's own fixed version is compared in the
//! distribution's order, and each flaw names the conditions under which it can be reached.
//!
//! Invariants:
//! - Pure: the embedded table, or one that was read, and facts in; a status out.
//! - A condition that is not known never makes a flaw harmless; a version that is not known never
//!   makes one present.

pub mod refresh;
mod table;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

pub use table::{Distribution, DistributionStatus, Range, Table, TableError, Vulnerability};

use crate::versions::{VersionOrder, compare_upstream};

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// It belongs to a package.
    Packaged {
        /// Whose order counts.
        order: VersionOrder,
        /// As the table names it: "Debian", "Ubuntu", "RHEL", "SUSE".
        distro: String,
        /// The release's number: "12", "22.04", "9".
        release: String,
        /// The package's whole version.
        version: String,
    },
    /// It belongs to none: built from source, or in an image.
    Unpackaged {
        /// Upstream's number, if anything told it.
        version: Option<String>,
    },
}

impl Installed {
    /// Upstream's number.
    #[must_use]
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Packaged { order, version, .. } => order.upstream(version),
            Self::Unpackaged { version } => version.as_deref(),
        }
    }
}

/// How a flaw stands to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The package carries the repair, though its number looks older.
    FixedByBackport,
    /// Present, and nothing that is known keeps it from being reached.
    Vulnerable,
    /// This version never had it, or has it no more.
    NotAffected,
    /// Present or perhaps present, but the feature is off.
    NotExploitableHere,
    /// The version had it upstream; whether the package carries the repair is not known.
    Unknown,
}

/// Which conditions hold here: `Some(false)` is proved, `None` is not known.
pub trait Conditions {
    /// Whether the condition with this name of the table holds.
    fn holds(&self, name: &str) -> Option<bool>;
}

/// How `flaw` stands to what is installed, under these conditions.
#[must_use]
pub fn status(flaw: &Vulnerability, installed: &Installed, here: &dyn Conditions) -> Status {
    let by_version = if flaw.decided_by_condition() {
        let all = flaw.requires.iter().all(|name| here.holds(name) == Some(true));
        if all { Status::Vulnerable } else { Status::Unknown }
    } else {
        by_version(flaw, installed)
    };
    let present = matches!(by_version, Status::Vulnerable | Status::Unknown);
    if present && flaw.requires.iter().any(|name| here.holds(name) == Some(false)) {
        return Status::NotExploitableHere;
    }
    by_version
}

fn by_version(flaw: &Vulnerability, installed: &Installed) -> Status {
    let Some(upstream) = installed.upstream() else { return Status::Unknown };
    if !flaw.affected.iter().any(|range| range.contains(upstream)) {
        return Status::NotAffected;
    }
    let Installed::Packaged { order, distro, release, version } = installed else {
        return if flaw.undetermined { Status::Unknown } else { Status::Vulnerable };
    };
    let entries = flaw.distributions.iter().filter(|entry| entry.is_for(distro, release));
    let mut worst = None;
    for entry in entries {
        let status = match (&entry.status, &entry.fixed) {
            (DistributionStatus::NotAffected, _) => Status::NotAffected,
            (DistributionStatus::Unfixed, _) => Status::Vulnerable,
            (DistributionStatus::Fixed, Some(fixed)) => match order.compare(version, fixed) {
                Ordering::Less => Status::Vulnerable,
                _ => Status::FixedByBackport,
            },
            (DistributionStatus::Fixed | DistributionStatus::Unknown, _) => Status::Unknown,
        };
        // An entry for this very release says more than one for all of them.
        if worst.is_none() || entry.release.is_some() {
            worst = Some(status);
        }
    }
    worst.unwrap_or(Status::Unknown)
}

impl Range {
    /// Is this upstream number in the range?
    #[must_use]
    pub fn contains(&self, version: &str) -> bool {
        let order =
            |other: &Option<String>| other.as_ref().map(|other| compare_upstream(version, other));
        let after_start = order(&self.introduced).is_none_or(Ordering::is_ge);
        let before_end = match (order(&self.fixed), order(&self.last_affected)) {
            (Some(to_fixed), _) => to_fixed.is_lt(),
            (None, Some(to_last)) => to_last.is_le(),
            (None, None) => true,
        };
        after_start && before_end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Running(Vec<String>);

    impl Conditions for Running {
        fn holds(&self, name: &str) -> Option<bool> {
            let has = |word: &str| self.0.iter().any(|given| given == word);
            match name {
                "network" | "tcp_text" | "binary" => Some(true),
                "udp" => Some(has("-U 11211")),
                "sasl" => Some(has("-S")),
                "sasl_pwdb" => Some(has("MEMCACHED_SASL_PWDB set")),
                "auth_file" => Some(has("-Y FILE")),
                _ => Some(false),
            }
        }
    }

    #[derive(Deserialize)]
    struct Case {
        distro: Option<String>,
        release: Option<String>,
        package_version: String,
        #[serde(default)]
        running: Vec<String>,
        expect: BTreeMap<String, Status>,
    }

    fn installed(case: &Case) -> Installed {
        let Some(distro) = &case.distro else {
            let version = case.package_version.rsplit(' ').next().map(str::to_owned);
            return Installed::Unpackaged { version };
        };
        let version = match case.package_version.as_str() {
            "any" => "1.4.15-10.el7",
            ">=1.5.6" => "1.6.32-r0",
            version => version,
        };
        let order = match distro.as_str() {
            "RHEL" => VersionOrder::Rpm,
            "Alpine" => VersionOrder::Apk,
            _ => VersionOrder::Dpkg,
        };
        let release = case.release.as_deref().and_then(|release| release.split(' ').next());
        Installed::Packaged {
            order,
            distro: distro.clone(),
            release: release.unwrap_or_default().to_owned(),
            version: version.to_owned(),
        }
    }

    /// What a scanner of version numbers gets wrong, both ways.
    #[test]
    fn versions_alone_would_be_wrong() {
        let table = Table::embedded();
        let text = include_str!("../../tests/versions/vulnerability-cases.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 12);
        for case in cases {
            let installed = installed(&case);
            let here = Running(case.running.clone());
            for (id, expected) in &case.expect {
                let flaws = table.vulnerabilities.iter().filter(|flaw| id == "*" || flaw.id == *id);
                let mut any = false;
                for flaw in flaws {
                    any = true;
                    let found = status(flaw, &installed, &here);
                    let udp = flaw.decided_by_condition() && id == "*";
                    let expected = if udp { Status::NotExploitableHere } else { *expected };
                    // A feature that is off settles it before the version does.
                    let settled = expected == Status::NotAffected
                        && matches!(found, Status::NotExploitableHere);
                    assert!(
                        found == expected || settled,
                        "{} {case}: {found:?}",
                        flaw.id,
                        case = case.package_version
                    );
                }
                assert!(any, "{id}");
            }
        }
    }

    #[test]
    fn an_unknown_version_is_not_called_vulnerable() {
        let table = Table::embedded();
        let installed = Installed::Unpackaged { version: None };
        for flaw in &table.vulnerabilities {
            let found = status(flaw, &installed, &Running(Vec::new()));
            assert_ne!(found, Status::Vulnerable, "{}", flaw.id);
        }
    }

    #[test]
    fn ranges_end_before_the_fix() {
        let range = Range {
            introduced: Some("1.6.41".into()),
            fixed: Some("1.6.44".into()),
            last_affected: None,
        };
        for (version, inside) in
            [("1.6.40", false), ("1.6.41", true), ("1.6.43", true), ("1.6.44", false)]
        {
            assert_eq!(range.contains(version), inside, "{version}");
        }
    }
}
