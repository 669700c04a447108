//! The report for programs.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Page, references};
use crate::findings::Finding;

/// The whole report; keys are sorted.
pub(super) fn render(page: &Page<'_>) -> String {
    let mut report = value(page.report);
    let findings: Vec<Value> =
        page.report.findings.iter().map(|finding| in_words(page, finding)).collect();
    if let Value::Object(map) = &mut report {
        map.insert("lang".into(), page.texts.lang().name().into());
        map.insert("findings".into(), findings.into());
        if let Some(changes) = page.changes {
            let fixed: Vec<String> = changes.fixed.iter().map(Finding::fingerprint).collect();
            let new: Vec<&String> = changes.new.iter().collect();
            map.insert("changes".into(), json!({ "new": new, "fixed": fixed }));
        }
    }
    pretty(&report)
}

/// One finding a line.
pub(super) fn lines(page: &Page<'_>) -> String {
    let mut out = String::new();
    for finding in &page.report.findings {
        let mut line = in_words(page, finding);
        if let Value::Object(map) = &mut line {
            map.insert("schema".into(), "kannuki.finding/1".into());
            map.insert("host".into(), page.report.host.clone().into());
            map.insert("at".into(), page.report.at.clone().into());
        }
        out += &line.to_string();
        out.push('\n');
    }
    out
}

fn in_words(page: &Page<'_>, finding: &Finding) -> Value {
    let mut object = value(finding);
    if let Value::Object(map) = &mut object {
        for part in ["title", "why", "fix"] {
            map.insert(part.into(), page.words(finding, part).into());
        }
        map.insert("fingerprint".into(), finding.fingerprint().into());
        map.insert("references".into(), references(finding).into());
        if page.changes.is_some() {
            map.insert("new".into(), page.is_new(finding).into());
        }
    }
    object
}

/// Plain data always has a JSON form; an empty object could only follow from a defect of ours.
fn value(data: &impl Serialize) -> Value {
    serde_json::to_value(data).unwrap_or_else(|_| Value::Object(Map::new()))
}

pub(super) fn pretty(data: &Value) -> String {
    let text = serde_json::to_string_pretty(data).unwrap_or_default();
    text + "\n"
}
