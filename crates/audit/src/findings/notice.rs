//! What changed since somebody was last told: what a notice says, and what is remembered for it.
//!
//! Invariants:
//! - Each way of telling has a memory of its own: what could not be delivered is told again, and
//!   what was delivered is not, whatever happened to the other ways.
//! - A finding that is there no more is called *gone*, not mended: it may only be out of sight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Report, Severity};
use crate::texts::Texts;

/// The name and version of what is remembered.
const MEMORY_SCHEMA: &str = "kannuki.told/1";
/// The name and version of the JSON of a notice.
const NOTICE_SCHEMA: &str = "kannuki.notice/1";
/// Largest memory that is read: some thousand findings for each way of telling.
pub const MEMORY_BYTES_MAX: usize = 16 << 20;
/// Findings that a notice lists; more are counted. `kannuki check` lists all.
const LISTED_MAX: usize = 50;

/// One finding, as short as it can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// `MC-NET-001`.
    pub id: String,
    /// What it is about.
    pub subject: String,
    /// How bad.
    pub severity: Severity,
    /// In one sentence.
    pub title: String,
}

/// Findings by their fingerprint.
pub type Knowledge = BTreeMap<String, Known>;

/// What was told, by the way of telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    schema: String,
    /// For each way what was there when it was last told.
    pub ways: BTreeMap<String, Knowledge>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { schema: MEMORY_SCHEMA.to_owned(), ways: BTreeMap::new() }
    }
}

impl Memory {
    /// Reads what was remembered.
    ///
    /// # Errors
    /// Says why it cannot be used.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let memory: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if memory.schema != MEMORY_SCHEMA {
            return Err(format!("it has the form {:?}, not {MEMORY_SCHEMA:?}", memory.schema));
        }
        Ok(memory)
    }
}

/// What there is to tell of a report: everything at least so bad as `level`.
#[must_use]
pub fn knowledge(report: &Report, level: Severity, texts: &Texts) -> Knowledge {
    let told = report.findings.iter().filter(|finding| finding.severity >= level);
    told.map(|finding| {
        let values: Vec<(&str, &str)> =
            finding.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let known = Known {
            id: finding.id.clone(),
            subject: finding.subject.clone(),
            severity: finding.severity,
            title: texts.fill(&format!("{}.title", finding.id), &values),
        };
        (finding.fingerprint(), known)
    })
    .collect()
}

/// What changed for one way of telling.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Notice<'k> {
    schema: &'static str,
    host: &'k str,
    at: &'k str,
    /// New, or worse than it was; the worst first.
    pub new: Vec<&'k Known>,
    /// Not found any more.
    pub gone: Vec<&'k Known>,
}

impl<'k> Notice<'k> {
    /// What is to be told of `now` to who was told `then`.
    #[must_use]
    pub fn between(then: &'k Knowledge, now: &'k Knowledge, report: &'k Report) -> Self {
        let is_new = |(print, known): &(&String, &Known)| {
            then.get(*print).is_none_or(|old| old.severity < known.severity)
        };
        let mut new: Vec<&Known> = now.iter().filter(is_new).map(|(_, known)| known).collect();
        new.sort_by_key(|known| std::cmp::Reverse(known.severity));
        let gone = then.iter().filter(|(print, _)| !now.contains_key(*print));
        Self {
            schema: NOTICE_SCHEMA,
            host: &report.host,
            at: &report.at,
            new,
            gone: gone.map(|(_, known)| known).collect(),
        }
    }

    /// Nothing to tell?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }

    /// The first line.
    #[must_use]
    pub fn heading(&self, texts: &Texts) -> String {
        let (new, gone) = (self.new.len().to_string(), self.gone.len().to_string());
        texts.fill("news.changed", &[("host", self.host), ("new", &new), ("gone", &gone)])
    }

    /// The lines, each with its severity; what is gone has none.
    #[must_use]
    pub fn lines(&self, texts: &Texts) -> Vec<(Option<Severity>, String)> {
        let mut lines = Vec::new();
        for known in self.new.iter().take(LISTED_MAX) {
            let severity = texts.get(&format!("severity.{}", known.severity.name())).to_owned();
            let line = format!("[{severity}] {} {}", known.id, known.title);
            lines.push((Some(known.severity), line));
        }
        for known in self.gone.iter().take(LISTED_MAX) {
            let line = format!("{} {} {}", texts.get("news.gone"), known.id, known.title);
            lines.push((None, line));
        }
        let more = [&self.new, &self.gone].map(|list| list.len().saturating_sub(LISTED_MAX));
        let more: usize = more.iter().sum();
        if more > 0 {
            lines.push((None, texts.fill("news.more", &[("count", &more.to_string())])));
        }
        lines
    }

    /// Heading and lines, for people.
    #[must_use]
    pub fn text(&self, texts: &Texts) -> String {
        let mut text = self.heading(texts) + "\n\n";
        for (_, line) in self.lines(texts) {
            text += &line;
            text.push('\n');
        }
        text + "\n" + texts.get("news.details") + "\n"
    }

    /// The notice for programs; `text` is what chat services show.
    #[must_use]
    pub fn json(&self, texts: &Texts) -> String {
        let mut notice = serde_json::to_value(self).unwrap_or_default();
        if let serde_json::Value::Object(map) = &mut notice {
            for list in ["new", "gone"] {
                if let Some(serde_json::Value::Array(list)) = map.get_mut(list) {
                    list.truncate(LISTED_MAX);
                }
            }
            map.insert("text".into(), self.text(texts).into());
        }
        notice.to_string()
    }
}
