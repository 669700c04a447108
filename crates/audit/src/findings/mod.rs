//! What the rules say about a host: findings, each with its evidence and its remedy.
//!
//! ```text
//! Facts --rules--> Report { caches, findings } --output--> text, JSON, SARIF, Markdown, HTML
//!                                 |
//!                        catalogue (ids, severities, references) + texts (ja, en)
//! ```
//!
//! Invariants:
//! - Every id stands once in [`catalogue::ALL`], is never used for something else, and has its
//!   texts in every language; `kannuki explain`, the outputs and the documentation read them there.
//! - Texts of the host enter a finding through [`printable`], so no output can be steered by them.
//! - No word here says that a host is safe: what was not seen is listed.

pub mod baseline;
pub mod catalogue;
pub mod notice;
pub mod pages;
mod report;

use serde::{Deserialize, Serialize};

use crate::facts::printable;
pub use catalogue::Definition;
pub use report::{Door, Gap, Installation, Report, SCHEMA, Summary};

/// Longest text of the host that a finding quotes; a line of a configuration file is shorter.
const QUOTED_CHARS_MAX: usize = 400;

/// How bad it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    #[default]
    Info,
    /// Mend it when you are there anyway.
    Low,
    /// Mend it soon.
    Medium,
    /// Mend it today.
    High,
    /// Mend it now: others are harmed, or strangers may be in.
    Critical,
}

impl Severity {
    /// All, the mildest first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name in JSON and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Something that would tell was out of sight.
    Low,
    /// Concluded from files or versions.
    Medium,
    /// Seen or measured.
    High,
}

impl Confidence {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Whether strangers reach a socket. There is no word for "safe".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Verdict {
    /// Only programs of this host reach it.
    Local,
    /// A rule of this host drops strangers' packets.
    Filtered,
    /// It could not be decided.
    Unknown,
    /// Open to the private network, and to the world once an address is mapped to it.
    OpenIfMapped,
    /// Nothing on this host stops strangers.
    Open,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "LOCAL",
            Self::Filtered => "FILTERED",
            Self::Unknown => "UNKNOWN",
            Self::OpenIfMapped => "OPEN-IF-MAPPED",
            Self::Open => "OPEN",
        }
    }
}

/// One thing that was read and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Evidence {
    /// A line of a file.
    File {
        /// Its path.
        path: String,
        /// Its line, from 1; 0 speaks of the whole file.
        line: u32,
        /// What stands there.
        text: String,
    },
    /// A socket.
    Socket {
        /// `tcp 0.0.0.0:11211`.
        text: String,
        /// Its number in the kernel; 0 = not known.
        inode: u64,
    },
    /// A process.
    Process {
        /// Its id.
        pid: u32,
        /// Its command line.
        text: String,
    },
    /// A rule of the packet filter.
    Firewall {
        /// `iptables filter INPUT`.
        chain: String,
        /// The rule.
        text: String,
    },
    /// A package.
    Package {
        /// Name and version.
        text: String,
    },
    /// Something that was measured or that a server said.
    Measured {
        /// What and how much.
        text: String,
    },
    /// Something that was not to be seen.
    Unseen {
        /// What, and why.
        text: String,
    },
}

impl Evidence {
    /// A line of a file.
    #[must_use]
    pub fn file(path: &str, line: u32, text: &str) -> Self {
        Self::File { path: quoted(path), line, text: quoted(text) }
    }

    /// Something measured.
    #[must_use]
    pub fn measured(text: &str) -> Self {
        Self::Measured { text: quoted(text) }
    }

    /// The evidence in one line: where, then what.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::File { path, line: 0, text } => join(path, text),
            Self::File { path, line, text } => join(&format!("{path}:{line}"), text),
            Self::Socket { text, inode: 0 } => text.clone(),
            Self::Socket { text, inode } => format!("{text} (inode {inode})"),
            Self::Process { pid, text } => join(&format!("pid {pid}"), text),
            Self::Firewall { chain, text } => join(chain, text),
            Self::Package { text } | Self::Measured { text } | Self::Unseen { text } => {
                text.clone()
            }
        }
    }
}

fn join(place: &str, text: &str) -> String {
    match (place.is_empty(), text.is_empty()) {
        (true, _) => text.to_owned(),
        (_, true) => place.to_owned(),
        _ => format!("{place}: {text}"),
    }
}

/// A text of the host: fit for any output, and cut.
#[must_use]
pub fn quoted(text: &str) -> String {
    let cut = text.char_indices().nth(QUOTED_CHARS_MAX).map(|(at, _)| at);
    match cut.and_then(|at| text.get(..at)) {
        Some(head) => printable(head) + "...",
        None => printable(text),
    }
}

/// What mends it: commands to type, files to write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// Commands in order.
    pub commands: Vec<String>,
    /// Whole files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<RemedyFile>,
}

/// A file of a remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemedyFile {
    /// Where it goes.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `MC-NET-001`.
    pub id: String,
    /// What it is about, stable from run to run: `udp 0.0.0.0:11211`, `CVE-2018-1000115`.
    pub subject: String,
    /// How bad, here.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// For findings about reaching a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What the texts of the catalogue are filled with, by name.
    pub values: Vec<(String, String)>,
    /// What was read, and where.
    pub evidence: Vec<Evidence>,
    /// What mends it.
    pub remedy: Remedy,
    /// Pages about this very case, besides the catalogue's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
}

impl Finding {
    /// A finding with the catalogue's severity.
    #[must_use]
    pub fn new(definition: &Definition, subject: &str) -> Self {
        Self {
            id: definition.id.to_owned(),
            subject: quoted(subject),
            severity: definition.severity,
            confidence: Confidence::High,
            verdict: None,
            values: vec![("subject".to_owned(), quoted(subject))],
            evidence: Vec::new(),
            remedy: Remedy::default(),
            references: Vec::new(),
        }
    }

    /// Fills `{name}` of its texts.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.values.push((name.to_owned(), quoted(value)));
        self
    }

    /// Sets how bad it is here.
    #[must_use]
    pub fn graded(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets how sure it is.
    #[must_use]
    pub fn sure(mut self, confidence: Confidence) -> Self {
        self.confidence = confidence;
        self
    }

    /// Sets the verdict.
    #[must_use]
    pub fn judged(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Adds evidence.
    #[must_use]
    pub fn seen(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// Adds commands that mend it.
    #[must_use]
    pub fn mended_by<T: Into<String>>(mut self, commands: impl IntoIterator<Item = T>) -> Self {
        self.remedy.commands.extend(commands.into_iter().map(Into::into));
        self
    }

    /// What stays the same from run to run while it is the same finding.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{} {}", self.id, self.subject)
    }
}
