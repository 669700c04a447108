//! What the letter may speak of.

use serde::Deserialize;
use thiserror::Error;

use crate::{
    facts::Facts,
    findings::Report,
    triage::{Triage, show::utc},
};

/// Longest manifest that is read, in bytes.
const MANIFEST_BYTES_MAX: usize = 16 << 20;
/// What `close` calls its form.
const CLOSE_SCHEMA: &str = "kannuki.close/1";

/// Saved evidence; all of it may be missing.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What `check --facts` saved before anything was shut, with what the rules say of it.
    pub before: Option<(Facts, Report)>,
    /// The same afterwards.
    pub after: Option<(Facts, Report)>,
    /// What `triage --format json` said.
    pub triage: Option<Triage>,
    /// What `close --apply` did.
    pub close: Option<CloseRun>,
    /// Names of the files that the evidence was read from, with their SHA-256.
    pub files: Vec<(String, String)>,
}

/// What the letter reads of a run of `close`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CloseRun {
    schema: String,
    /// Its name.
    pub id: String,
    /// The host's name.
    pub host: String,
    /// When it reached its state, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// How far it came; only "applied" counts.
    pub state: String,
    /// What was planned.
    pub plan: ClosePlan,
    /// Commands that were run.
    #[serde(default)]
    pub commands: Vec<CloseCommand>,
    /// What was verified.
    #[serde(default)]
    pub checks: Vec<CloseCheck>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ClosePlan {
    /// "bind", "stop" or "firewall".
    pub method: String,
    /// Files that were changed.
    #[serde(default)]
    pub files: Vec<CloseFile>,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CloseFile {
    /// Its path.
    pub path: String,
}

/// A command that was run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CloseCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whether it ended with 0.
    pub ok: bool,
}

/// Something that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CloseCheck {
    /// Its name in the catalogue of texts.
    pub key: String,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// Why evidence cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvidenceError {
    /// It is no manifest of `close`.
    #[error("is no manifest of `kannuki close`: {0}")]
    Manifest(String),
    /// Pieces of evidence come from different hosts.
    #[error(
        "is about the host {other:?}, and the other evidence about {host:?}: one letter, one host"
    )]
    OtherHost {
        /// The host of what was read first.
        host: String,
        /// The other.
        other: String,
    },
    /// What should show the state afterwards was recorded before.
    #[error(
        "is older than what it should verify ({after}, and {since}): record it again with `check \
         --facts`, or mend the clock"
    )]
    TooEarly {
        /// When it was recorded, in UTC.
        after: String,
        /// Of when the older evidence is, in UTC.
        since: String,
    },
}

impl CloseRun {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// When it is none, or of another form.
    pub fn from_json(text: &[u8]) -> Result<Self, EvidenceError> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(EvidenceError::Manifest("it is too large".to_owned()));
        }
        let run: Self = serde_json::from_slice(text)
            .map_err(|error| EvidenceError::Manifest(error.to_string()))?;
        match run.schema == CLOSE_SCHEMA {
            true => Ok(run),
            false => Err(EvidenceError::Manifest(format!("its form is {:?}", run.schema))),
        }
    }
}

impl Evidence {
    /// Whether all of it is about one host.
    ///
    /// # Errors
    ///
    /// With the two names, if it is not.
    pub fn is_one_host(&self) -> Result<(), EvidenceError> {
        let reports = [&self.before, &self.after].into_iter().flatten();
        let names = reports.map(|(_, report)| report.host.as_str());
        let triage = self.triage.iter().map(|triage| triage.host.as_str());
        let close = self.close.iter().map(|close| close.host.as_str());
        let mut names = names.chain(triage).chain(close).filter(|name| *name != "?");
        let Some(host) = names.next() else { return Ok(()) };
        match names.find(|name| *name != host) {
            Some(other) => {
                Err(EvidenceError::OtherHost { host: host.to_owned(), other: other.to_owned() })
            }
            None => Ok(()),
        }
    }

    /// Whether what was recorded afterwards is of later than what it verifies.
    ///
    /// # Errors
    ///
    /// With the two times, if it is not.
    pub fn is_in_order(&self) -> Result<(), EvidenceError> {
        let Some((after, _)) = &self.after else { return Ok(()) };
        let at = after.collection.at;
        let close = self.close.iter().filter(|close| close.state == "applied");
        let before = self.before.iter().map(|(facts, _)| facts.collection.at);
        match close.map(|close| close.at).chain(before).max() {
            Some(since) if at < since => {
                Err(EvidenceError::TooEarly { after: utc(at), since: utc(since) })
            }
            _ => Ok(()),
        }
    }
}
