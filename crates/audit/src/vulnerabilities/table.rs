//! The table of flaws: embedded in the program, or a newer one of the same form.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::refresh::Origin;
use crate::findings::Severity;

/// What the program ships.
const EMBEDDED: &str = include_str!("../../data/memcached-vulnerabilities.json");
/// The form that is read.
pub(super) const SCHEMA: &str = "memcached-cves/1";

/// Everything known on one day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The name of the form.
    pub schema: String,
    /// The day of the data, `2026-11-22`.
    pub data_as_of: String,
    /// After how many days the data should be refreshed.
    pub stale_after_days: u32,
    /// Upstream's newest release on that day.
    pub latest_upstream: String,
    /// Where it was refreshed from; empty for the shipped one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Origin>,
    /// The flaws.
    pub vulnerabilities: Vec<Vulnerability>,
}

/// One flaw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vulnerability {
    /// `CVE-2018-1000115`, or `MC-NOCVE-1.6.45-...` for repairs that upstream gave no number.
    pub id: String,
    /// `cve` or `no-cve`.
    pub kind: String,
    /// In one sentence.
    pub summary: String,
    /// `rce`, `crash`, `info-leak` and so on.
    pub impact: String,
    /// Upstream's versions that have it.
    pub affected: Vec<Range>,
    /// Whether nobody has said yet which versions of upstream have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undetermined: bool,
    /// `version`, or `condition` where the version says nothing.
    pub decided_by: String,
    /// Conditions that must all hold for it to be reached.
    pub requires: Vec<String>,
    /// `critical` to `low`, or `unrated`.
    pub severity: String,
    /// The base score, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cvss: Option<f64>,
    /// What distributions say.
    pub distributions: Vec<Distribution>,
    /// Where to read more.
    pub references: Vec<String>,
    /// Whether every part of this was checked at its source.
    pub confirmed: bool,
}

/// Upstream's versions from `introduced` (or the first) to before `fixed`, or to `last_affected`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first with the flaw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduced: Option<String>,
    /// The first without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The last with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_affected: Option<String>,
}

/// What one distribution says of one flaw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Its name.
    pub distro: String,
    /// The release, `12 (bookworm)`; none speaks of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Its word.
    pub status: DistributionStatus,
    /// The first package version with the repair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Its notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisory: Option<String>,
}

/// A distribution's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistributionStatus {
    /// Repaired, in the version beside it.
    Fixed,
    /// Not repaired.
    Unfixed,
    /// Never had it.
    NotAffected,
    /// Says nothing.
    Unknown,
}

/// A table that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TableError {
    /// Not the form that is read.
    #[error("the table of vulnerabilities cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another form.
    #[error("the table of vulnerabilities has the form {0:?}, this program reads {SCHEMA:?}")]
    OtherForm(String),
}

impl Table {
    /// The table that was shipped.
    #[must_use]
    pub fn embedded() -> Self {
        // A test reads it; an empty table could only follow from a build that never passed.
        Self::from_json(EMBEDDED).unwrap_or_default()
    }

    /// Reads a table.
    ///
    /// # Errors
    /// When it is not of this form.
    pub fn from_json(text: &str) -> Result<Self, TableError> {
        let table: Self = serde_json::from_str(text)?;
        if table.schema != SCHEMA {
            return Err(TableError::OtherForm(table.schema));
        }
        Ok(table)
    }
}

impl Vulnerability {
    /// Whether the version says nothing about it.
    #[must_use]
    pub fn decided_by_condition(&self) -> bool {
        self.decided_by == "condition"
    }

    /// How grave it is where it can be reached; an unrated one is taken as medium.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.severity.as_str() {
            "critical" => Severity::Critical,
            "high" => Severity::High,
            "low" => Severity::Low,
            _ => Severity::Medium,
        }
    }
}

impl Distribution {
    /// Does this speak of that release? `release` is its number.
    #[must_use]
    pub fn is_for(&self, distro: &str, release: &str) -> bool {
        let named = self.release.as_deref().map(|own| own.split(' ').next().unwrap_or(own));
        let is_release = match named {
            None => true,
            Some("all") => true,
            Some("SLE") => self.release.as_deref() == Some(&format!("SLE {release}")),
            Some(own) => own == release,
        };
        let names = |own: &str| own.eq_ignore_ascii_case(distro);
        let is_red_hat = self.distro == "Red Hat" && distro == "RHEL";
        is_release && (names(&self.distro) || is_red_hat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_whole() {
        let table = Table::from_json(EMBEDDED).unwrap();
        assert_eq!(table.vulnerabilities.len(), 50);
        assert_eq!(table, Table::embedded());
        for flaw in &table.vulnerabilities {
            assert!(flaw.summary.ends_with(['.', ')']), "{}", flaw.id);
            assert!(!flaw.requires.is_empty(), "{}", flaw.id);
            assert!(flaw.references.iter().all(|page| page.starts_with("https://")), "{}", flaw.id);
        }
    }

    #[test]
    fn another_form_is_refused() {
        let other = EMBEDDED.replace("memcached-cves/1", "memcached-cves/2");
        let error = Table::from_json(&other).unwrap_err().to_string();
        assert!(error.contains("memcached-cves/2"), "{error}");
    }
}
