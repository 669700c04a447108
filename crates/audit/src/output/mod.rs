//! Reports for people and programs, all from the same findings and texts.
//!
//! Invariants:
//! - Texts of the host were made printable when they entered a finding; each form also escapes them
//!   by its own rules, so a hostile name stays a name.
//! - JSON, SARIF and ids are in English keys whatever the language; only sentences change.
//! - Plain text is ASCII in English, so that any console can show it.

mod drawing;
mod html;
mod json;
pub(crate) mod markdown;
mod sarif;
mod text;

use crate::findings::baseline::Changes;
use crate::findings::{Door, Finding, Installation, Report, Verdict};
use crate::texts::Texts;

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For programs; names its own version.
    Json,
    /// One finding a line.
    JsonLines,
    /// For code scanning tools: SARIF 2.1.0.
    Sarif,
    /// For tickets.
    Markdown,
    /// One page with a drawing, for a browser or for printing.
    Html,
}

impl Format {
    /// All, with the names of `--format`.
    pub const ALL: [(&'static str, Self); 6] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("jsonl", Self::JsonLines),
        ("sarif", Self::Sarif),
        ("md", Self::Markdown),
        ("html", Self::Html),
    ];

    /// The form of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(own, _)| *own == name).map(|(_, format)| format)
    }
}

/// Everything that a form of output may show.
#[derive(Debug, Clone, Copy)]
pub struct Page<'p> {
    /// What was found.
    pub report: &'p Report,
    /// What changed since an older report, if one was given.
    pub changes: Option<&'p Changes>,
    /// The words.
    pub texts: &'p Texts,
    /// Columns of the terminal, for plain text.
    pub columns: usize,
}

/// Writes the report in this form.
#[must_use]
pub fn render(format: Format, page: &Page<'_>) -> String {
    match format {
        Format::Text => text::render(page),
        Format::Json => json::render(page),
        Format::JsonLines => json::lines(page),
        Format::Sarif => sarif::render(page),
        Format::Markdown => markdown::render(page),
        Format::Html => html::render(page),
    }
}

/// What the style of pages and pictures calls a verdict.
fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Open => "open",
        Verdict::OpenIfMapped | Verdict::Unknown => "unknown",
        Verdict::Filtered | Verdict::Local => "local",
    }
}

impl Page<'_> {
    fn get(&self, key: &'static str) -> &str {
        self.texts.get(key)
    }

    /// A part of a finding's words, filled in.
    fn words(&self, finding: &Finding, part: &str) -> String {
        let values: Vec<(&str, &str)> =
            finding.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.texts.fill(&format!("{}.{part}", finding.id), &values)
    }

    fn severity(&self, finding: &Finding) -> String {
        self.texts.get(&format!("severity.{}", finding.severity.name())).to_owned()
    }

    fn confidence(&self, finding: &Finding) -> String {
        self.texts.get(&format!("confidence.{}", finding.confidence.name())).to_owned()
    }

    fn verdict(&self, verdict: Verdict) -> String {
        self.texts.get(&format!("verdict.{}", verdict.name())).to_owned()
    }

    fn heading(&self) -> String {
        self.texts.fill("label.heading", &[("host", &self.report.host)])
    }

    fn is_new(&self, finding: &Finding) -> bool {
        self.changes.is_some_and(|changes| changes.is_new(finding))
    }

    /// How it was looked at: when, and with which rights.
    fn looked(&self) -> String {
        let report = self.report;
        let rights = match (report.live, report.as_root) {
            (false, _) => self.get("label.disk"),
            (true, true) => self.get("label.as-root"),
            (true, false) => self.get("label.not-root"),
        };
        format!("{} ({rights})", report.at)
    }

    fn counts(&self) -> String {
        let summary = &self.report.summary;
        self.texts.fill(
            "label.counts",
            &[
                ("critical", &summary.critical.to_string()),
                ("high", &summary.high.to_string()),
                ("medium", &summary.medium.to_string()),
                ("low", &summary.low.to_string()),
                ("info", &summary.info.to_string()),
            ],
        )
    }

    fn data(&self, cache: &Installation) -> String {
        match (cache.items, cache.bytes) {
            (Some(items), Some(bytes)) => self.texts.fill(
                "label.items",
                &[("items", &items.to_string()), ("bytes", &bytes.to_string())],
            ),
            _ => self.get("label.unknown-data").to_owned(),
        }
    }

    /// `tcp 0.0.0.0:11211`, and by which way.
    fn door(&self, door: &Door) -> String {
        let mut words = format!("{} {}", door.transport, door.bound);
        if let Some(namespace) = door.namespace {
            words += &format!(" ({} {namespace})", self.get("label.namespace"));
        }
        if !door.address.is_empty() && door.verdict > Verdict::Local {
            words += &format!(" <- {} ({})", door.address, door.interface);
        }
        words
    }
}

/// Every page that a finding refers to: the catalogue's and its own.
fn references(finding: &Finding) -> Vec<String> {
    let definition = crate::findings::catalogue::find(&finding.id);
    let of_definition = definition.map_or(&[][..], |definition| definition.references);
    let mut pages: Vec<String> = of_definition.iter().map(|page| (*page).to_owned()).collect();
    pages.extend(finding.references.iter().cloned());
    pages
}
