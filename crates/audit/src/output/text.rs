//! The report for a terminal: what, where, filter, use, advice, in that order.

use std::fmt::Write as _;

use super::Page;
use crate::findings::{Finding, Installation};
use crate::texts::{pad, wrap};

/// Columns of the margin under a finding's id.
const MARGIN: &str = "    ";

pub(super) fn render(page: &Page<'_>) -> String {
    let mut out = String::new();
    let report = page.report;
    let _ = writeln!(out, "{}", page.heading());
    let _ = writeln!(out, "{}: {}", page.get("label.system"), report.os);
    let _ = writeln!(out, "{}: {}", page.get("label.looked"), page.looked());
    if let Some(verdict) = report.summary.verdict {
        let words = page.verdict(verdict);
        let line = format!("{}: {} - {words}", page.get("label.verdict"), verdict.name());
        paragraph(&mut out, page, "", &line);
    }
    out.push('\n');
    if report.caches.is_empty() {
        paragraph(&mut out, page, "", page.get("label.nothing"));
        out.push('\n');
    }
    for cache in &report.caches {
        write_cache(&mut out, page, cache);
    }
    let _ = writeln!(out, "{}: {}", page.get("label.findings"), page.counts());
    if report.findings.is_empty() {
        paragraph(&mut out, page, MARGIN, page.get("label.no-findings"));
    }
    for finding in &report.findings {
        write_finding(&mut out, page, finding);
    }
    write_fixed(&mut out, page);
    write_foot(&mut out, page);
    out
}

fn write_cache(out: &mut String, page: &Page<'_>, cache: &Installation) {
    let version = cache.version.as_deref().unwrap_or("?");
    let _ = writeln!(out, "{} {version}", cache.name);
    let pid = match cache.pid {
        Some(pid) => format!("pid {pid}: {}", cache.command),
        None => page.get("label.not-running").to_owned(),
    };
    let login = match cache.login {
        Some(true) => page.get("label.login"),
        _ => page.get("label.no-login"),
    };
    let data = format!("{}; {login}", page.data(cache));
    let none = page.get("label.none").to_owned();
    let rows = [
        ("label.process", pid),
        ("label.started", cache.starter.clone()),
        ("label.package", cache.package.clone().unwrap_or(none)),
        ("label.data", data),
    ];
    let width = rows.iter().map(|(key, _)| crate::texts::width(page.texts.get(key))).max();
    for (key, value) in &rows {
        let label = pad(page.texts.get(key), width.unwrap_or(0));
        let _ = writeln!(out, "  {label}  {value}");
    }
    for door in &cache.doors {
        let _ = writeln!(out, "  [{}] {}", door.verdict.name(), page.door(door));
        if !door.filter.is_empty() {
            paragraph(out, page, "      ", &door.filter);
        }
    }
    out.push('\n');
}

fn write_finding(out: &mut String, page: &Page<'_>, finding: &Finding) {
    let mark =
        if page.is_new(finding) { format!(" {}", page.get("label.new")) } else { String::new() };
    let severity = page.severity(finding);
    let _ = writeln!(out, "\n[{severity}]{mark} {}", finding.id);
    paragraph(out, page, "  ", &page.words(finding, "title"));
    paragraph(out, page, MARGIN, &page.words(finding, "why"));
    for evidence in &finding.evidence {
        paragraph(out, page, "      - ", &evidence.line());
    }
    paragraph(out, page, MARGIN, &format!("=> {}", page.words(finding, "fix")));
    for command in &finding.remedy.commands {
        // Never wrapped: it is there to be copied.
        let _ = writeln!(out, "      $ {command}");
    }
    for file in &finding.remedy.files {
        let _ = writeln!(out, "      {} {}:", page.get("label.file"), file.path);
        for line in file.text.lines() {
            let _ = writeln!(out, "        | {line}");
        }
    }
}

fn write_fixed(out: &mut String, page: &Page<'_>) {
    let Some(changes) = page.changes else { return };
    if changes.is_empty() {
        let _ = writeln!(out, "\n{}", page.get("label.unchanged"));
    }
    if !changes.fixed.is_empty() {
        let _ = writeln!(out, "\n{}:", page.get("label.fixed"));
    }
    for finding in &changes.fixed {
        let _ = writeln!(out, "  {} {}", finding.id, finding.subject);
    }
}

fn write_foot(out: &mut String, page: &Page<'_>) {
    let day = [("day", page.report.flaws_as_of.as_str())];
    out.push('\n');
    paragraph(out, page, "", page.get("label.outside"));
    let _ = writeln!(out, "{}", page.texts.fill("label.flaws-as-of", &day));
    let _ = writeln!(out, "{}", page.get("label.explain"));
}

/// `first` stands before the first line, blanks of its width before the others.
fn paragraph(out: &mut String, page: &Page<'_>, first: &str, text: &str) {
    let columns = page.columns.saturating_sub(first.len()).max(20);
    for (index, line) in wrap(text, columns).iter().enumerate() {
        let margin = if index == 0 { first.to_owned() } else { " ".repeat(first.len()) };
        let _ = writeln!(out, "{margin}{line}");
    }
}
