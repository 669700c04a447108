//! Did anybody get in? Traces in, a judged list of checks out, with a time line and an outcome.
//!
//! ```text
//! Traces --checks--> signs --outcome--> reflector explains it | signs of intrusion | cannot tell
//!                      \--timeline--> what happened when
//! ```
//!
//! Invariants:
//! - Pure: the same traces give the same answer.
//! - No outcome says that nobody was there: it says how many checks saw nothing, and which could
//!   not look.
//! - A check that could not look is never counted as one that found nothing.
//! - Texts of the host are quoted through [`quoted`] before they enter a sign.

mod accounts;
pub mod checks;
mod files;
mod lines;
mod logs;
mod outcome;
mod persistence;
mod processes;
pub mod show;
mod surroundings;
mod system;
mod timeline;

use serde::{Deserialize, Serialize};

use crate::{
    facts::{Facts, Seen, Unseen},
    findings::{Confidence, Evidence, Report, quoted},
    rules,
    texts::Texts,
    traces::Traces,
    vulnerabilities::Table,
};
pub use outcome::{Outcome, Reason};
pub use timeline::Moment;

/// The name and version of the form; it grows by addition only.
pub const SCHEMA: &str = "kannuki.triage/1";
/// Longest saved triage that is read, in bytes.
pub const TRIAGE_BYTES_MAX: usize = 32 << 20;
/// Most signs of one check that are told; of more, their number.
const SIGNS_MAX: usize = 100;

/// What is judged.
pub struct Case<'c> {
    /// What was seen.
    pub traces: &'c Traces,
    /// What `check` saw earlier, before anything was shut; else the traces' own facts count.
    pub before: Option<&'c Facts>,
    /// When the traffic was seen, if the provider told.
    pub incident: Option<i64>,
    /// The doors of the caches, as `check` judges them.
    report: Report,
}

/// How much a sign says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Nothing, as far as was seen.
    Clean,
    /// Worth knowing; look whether you know it.
    Note,
    /// It could not look, or not everywhere.
    NotRun,
    /// Innocent reasons are possible; together with others it counts.
    Suspicious,
    /// It has hardly an innocent reason.
    Strong,
}

impl Grade {
    /// Its name, as in JSON and in the catalogue of texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Note => "note",
            Self::NotRun => "not-run",
            Self::Suspicious => "suspicious",
            Self::Strong => "strong",
        }
    }
}

/// One thing that a check noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sign {
    /// How much it says.
    pub grade: Grade,
    /// The key of its sentence in the catalogue of texts.
    pub text: String,
    /// What the sentence is filled with.
    pub values: Vec<(String, String)>,
    /// What was read, and where.
    pub evidence: Evidence,
    /// When it happened, in seconds since 1970-01-01 UTC, if anything tells.
    pub at: Option<i64>,
    /// Whether it can be an intruder's though nothing in it says so: it becomes suspicious where
    /// another check has a strong sign.
    #[serde(default)]
    pub supports: bool,
}

impl Sign {
    pub(crate) fn new(grade: Grade, text: &str, evidence: Evidence) -> Self {
        let (text, values) = (text.to_owned(), Vec::new());
        Self { grade, text, values, evidence, at: None, supports: false }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.values.push((name.to_owned(), quoted(value)));
        self
    }

    pub(crate) fn at(mut self, at: Option<i64>) -> Self {
        self.at = at;
        self
    }

    pub(crate) fn supporting(mut self) -> Self {
        self.supports = true;
        self
    }

    /// Its sentence.
    #[must_use]
    pub fn sentence(&self, texts: &Texts) -> String {
        let values: Vec<(&str, &str)> =
            self.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        texts.fill(&self.text, &values)
    }
}

/// What one check did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// `TR-03`.
    pub id: String,
    /// The worst of its signs; [`Grade::NotRun`] if it could not look.
    pub grade: Grade,
    /// How sure it is.
    pub confidence: Confidence,
    /// Techniques of MITRE ATT&CK that it looks for.
    pub attack: Vec<String>,
    /// How many things were looked at.
    pub looked_at: u64,
    /// The signs, the worst first.
    pub signs: Vec<Sign>,
    /// Signs beyond the bound on those that are told.
    pub more: u64,
    /// What it could not see, and why.
    pub unseen: Vec<String>,
    /// Whether the outcome rests on it.
    pub essential: bool,
}

/// What a run of `triage` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Triage {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program that judged.
    pub by: String,
    /// When it looked, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// The host's name.
    pub host: String,
    /// Its system.
    pub os: String,
    /// Whether the running host was looked at, not only its disk.
    pub live: bool,
    /// Whether root looked.
    pub as_root: bool,
    /// When the traffic was seen, if it was told.
    pub incident: Option<i64>,
    /// The end of it.
    pub outcome: Outcome,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The checks, in their order.
    pub checks: Vec<Checked>,
    /// Ids of checks of the method that this program does not make.
    pub not_made: Vec<String>,
    /// What happened when, the oldest first.
    pub timeline: Vec<Moment>,
    /// The first and the last time that the logs of log-ins cover.
    pub logs_cover: Option<(i64, i64)>,
}

impl Triage {
    /// How many checks ended so.
    #[must_use]
    pub fn count(&self, grade: Grade) -> usize {
        self.checks.iter().filter(|check| check.grade == grade).count()
    }

    /// Reads what `--format json` wrote.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        if text.len() > TRIAGE_BYTES_MAX {
            return Err(format!("is larger than the {TRIAGE_BYTES_MAX} bytes that are read"));
        }
        let triage: Self = serde_json::from_slice(text)
            .map_err(|error| format!("is no report of `kannuki triage --format json`: {error}"))?;
        if triage.schema != SCHEMA {
            return Err(format!("has the form {:?}; this program reads {SCHEMA}", triage.schema));
        }
        Ok(triage)
    }
}

/// What a check answers before it is graded.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) looked_at: u64,
    pub(crate) signs: Vec<Sign>,
    pub(crate) unseen: Vec<String>,
    /// Nothing at all could be looked at.
    pub(crate) blind: bool,
}

impl Found {
    /// Looked at so many things.
    pub(crate) fn among(count: usize) -> Self {
        Self { looked_at: count as u64, ..Self::default() }
    }

    pub(crate) fn blind(unseen: &Unseen) -> Self {
        Self { unseen: vec![quoted(&unseen.detail)], blind: true, ..Self::default() }
    }

    pub(crate) fn sign(&mut self, sign: Sign) {
        self.signs.push(sign);
    }

    pub(crate) fn unseen(&mut self, what: &str) {
        self.unseen.push(quoted(what));
    }
}

/// Nothing to look at, or the things.
pub(crate) fn seen<T>(seen: &Seen<Vec<T>>) -> Result<&[T], Found> {
    match seen {
        Seen::Known(all) => Ok(all),
        Seen::Unseen(unseen) => Err(Found::blind(unseen)),
    }
}

/// The time that somebody wrote with its zone, in seconds since 1970-01-01 UTC.
#[must_use]
pub fn time(text: &str) -> Option<i64> {
    let (clock, offset) = crate::formats::time::read(text)?;
    Some(clock - i64::from(offset?))
}

/// Judges what was seen.
#[must_use]
pub fn judge(
    traces: &Traces,
    before: Option<&Facts>,
    incident: Option<i64>,
    table: &Table,
    texts: &Texts,
) -> Triage {
    let report = rules::judge(before.unwrap_or(&traces.facts), table, texts);
    let case = Case { traces, before, incident, report };
    let mut checks: Vec<Checked> = checks::ALL.iter().map(|check| check.run(&case)).collect();
    outcome::support(&mut checks);
    let (outcome, reasons) = outcome::judge(&case, &checks);
    let facts = &traces.facts;
    let known = |text: &Seen<String>| quoted(text.known().map_or("?", String::as_str));
    Triage {
        schema: SCHEMA.to_owned(),
        by: format!("kannuki {}", env!("CARGO_PKG_VERSION")),
        at: facts.collection.at,
        host: known(&facts.host.name),
        os: quoted(facts.host.os.known().map_or("?", |os| os.name.as_str())),
        live: facts.collection.live,
        as_root: facts.collection.uid == 0,
        incident,
        outcome,
        reasons,
        timeline: timeline::of(&case, &checks),
        logs_cover: logs::cover(traces),
        checks,
        not_made: checks::NOT_MADE.iter().map(|id| (*id).to_owned()).collect(),
    }
}
