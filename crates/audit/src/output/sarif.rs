//! SARIF 2.1.0: findings in files point at the line, the others at a logical place.

use serde_json::{Value, json};

use super::{Page, references};
use crate::findings::{Evidence, Finding, Severity, catalogue};

pub(super) fn render(page: &Page<'_>) -> String {
    let rules: Vec<Value> =
        catalogue::ALL.iter().map(|definition| rule(page, definition)).collect();
    let results: Vec<Value> =
        page.report.findings.iter().map(|finding| result(page, finding)).collect();
    let run = json!({
        "tool": { "driver": {
            "name": "kannuki",
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "language": page.texts.lang().name(),
            "rules": rules,
        }},
        "invocations": [{
            "executionSuccessful": true,
            "endTimeUtc": page.report.at,
        }],
        "properties": { "host": page.report.host, "os": page.report.os },
        "columnKind": "unicodeCodePoints",
        "results": results,
    });
    super::json::pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }))
}

fn rule(page: &Page<'_>, definition: &catalogue::Definition) -> Value {
    let text = |part: &str| page.texts.get(&format!("{}.{part}", definition.id)).to_owned();
    let mut rule = json!({
        "id": definition.id,
        "shortDescription": { "text": text("title") },
        "fullDescription": { "text": text("why") },
        "help": { "text": text("fix") },
        "defaultConfiguration": { "level": level(definition.severity) },
        "properties": { "security-severity": score(definition.severity) },
    });
    if let (Some(page), Value::Object(map)) = (definition.references.first(), &mut rule) {
        map.insert("helpUri".into(), (*page).into());
    }
    rule
}

fn result(page: &Page<'_>, finding: &Finding) -> Value {
    let index = catalogue::ALL.iter().position(|definition| definition.id == finding.id);
    let message = format!("{}. {}", page.words(finding, "title"), page.words(finding, "why"));
    let mut result = json!({
        "ruleId": finding.id,
        "level": level(finding.severity),
        "message": { "text": message },
        "locations": locations(finding),
        "partialFingerprints": { "kannuki/v1": finding.fingerprint() },
        "properties": {
            "security-severity": score(finding.severity),
            "confidence": finding.confidence.name(),
            "references": references(finding),
            "commands": finding.remedy.commands,
        },
    });
    if let Value::Object(map) = &mut result {
        if let Some(index) = index {
            map.insert("ruleIndex".into(), index.into());
        }
        if page.changes.is_some() {
            let state = if page.is_new(finding) { "new" } else { "unchanged" };
            map.insert("baselineState".into(), state.into());
        }
    }
    result
}

fn locations(finding: &Finding) -> Value {
    let logical = json!([{ "fullyQualifiedName": finding.subject, "kind": "resource" }]);
    let files = finding.evidence.iter().filter_map(|evidence| match evidence {
        Evidence::File { path, line, text } => Some((path, *line, text)),
        _ => None,
    });
    let mut locations: Vec<Value> = files
        .map(|(path, line, text)| {
            json!({
                "physicalLocation": {
                    "artifactLocation": { "uri": uri(path) },
                    "region": { "startLine": line.max(1), "snippet": { "text": text } },
                },
                "logicalLocations": logical,
            })
        })
        .collect();
    if locations.is_empty() {
        locations.push(json!({ "logicalLocations": logical }));
    }
    locations.into()
}

/// `file:///etc/memcached.conf`, everything unusual escaped.
fn uri(path: &str) -> String {
    let mut uri = String::from("file://");
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// What code scanning tools sort by, `0.0` to `10.0`.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "0.0",
    }
}
