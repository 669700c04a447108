//! What changed since an older report: findings that are new, fixed, or still there.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{Finding, Report, SCHEMA};

/// Largest report that is read: some thousand findings.
pub const BASELINE_BYTES_MAX: usize = 16 << 20;

/// An older report that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// Not what `--format json` writes.
    #[error("is not a report of `kannuki check --format json`: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another form.
    #[error("has the form {0:?}; this program reads {SCHEMA:?}")]
    OtherForm(String),
    /// Too large.
    #[error("is larger than {BASELINE_BYTES_MAX} bytes")]
    TooLarge,
}

/// What changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Fingerprints of findings that were not there.
    pub new: BTreeSet<String>,
    /// Findings that are there no more, or are milder than they were.
    pub fixed: Vec<Finding>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.fixed.is_empty()
    }

    /// Is this finding new?
    #[must_use]
    pub fn is_new(&self, finding: &Finding) -> bool {
        self.new.contains(&finding.fingerprint())
    }
}

/// Reads an older report.
///
/// # Errors
/// When it is no report of this form.
pub fn read(bytes: &[u8]) -> Result<Report, BaselineError> {
    if bytes.len() > BASELINE_BYTES_MAX {
        return Err(BaselineError::TooLarge);
    }
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    let schema = value.get("schema").and_then(serde_json::Value::as_str).unwrap_or_default();
    if schema != SCHEMA {
        return Err(BaselineError::OtherForm(super::quoted(schema)));
    }
    Ok(serde_json::from_value(value)?)
}

/// What changed from `old` to `now`. A finding that became worse counts as new.
#[must_use]
pub fn compare(old: &Report, now: &Report) -> Changes {
    let was = |finding: &Finding| {
        let print = finding.fingerprint();
        old.findings.iter().find(|old| old.fingerprint() == print)
    };
    let is_new =
        |finding: &&Finding| was(finding).is_none_or(|old| old.severity < finding.severity);
    let still: BTreeSet<String> = now.findings.iter().map(Finding::fingerprint).collect();
    Changes {
        new: now.findings.iter().filter(is_new).map(Finding::fingerprint).collect(),
        fixed: old
            .findings
            .iter()
            .filter(|finding| !still.contains(&finding.fingerprint()))
            .cloned()
            .collect(),
    }
}
