//! One page that needs nothing else: no script, no font, no picture from anywhere.
//!
//! Invariant: every text passes [`escape`]; the page forbids scripts and loading by its own policy.

use std::fmt::Write as _;

use super::{Page, class, drawing, references};
use crate::findings::{Finding, Installation};

const STYLE: &str = include_str!("../../data/report.css");

pub(super) fn render(page: &Page<'_>) -> String {
    let lang = page.texts.lang().name();
    let heading = escape(&page.heading());
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{heading}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{heading}</h1>\n"
    );
    write_head(&mut out, page);
    if page.report.caches.is_empty() {
        let _ = writeln!(out, "<p class=\"big\">{}</p>", escape(page.get("label.nothing")));
    }
    for cache in &page.report.caches {
        write_cache(&mut out, page, cache);
    }
    write_findings(&mut out, page);
    write_gaps(&mut out, page);
    let day = [("day", page.report.flaws_as_of.as_str())];
    let _ = write!(
        out,
        "<footer><p>{}</p><p>{} {}</p></footer>\n</main>\n</body>\n</html>\n",
        escape(page.get("label.outside")),
        escape(&page.texts.fill("label.flaws-as-of", &day)),
        escape(page.get("label.explain")),
    );
    out
}

fn write_head(out: &mut String, page: &Page<'_>) {
    let report = page.report;
    let verdict = report.summary.verdict;
    if let Some(verdict) = verdict {
        let _ = writeln!(
            out,
            "<p class=\"verdict {}\"><strong>{}</strong> {}</p>",
            class(verdict),
            verdict.name(),
            escape(&page.verdict(verdict)),
        );
    }
    let rows = [
        (page.get("label.system"), report.os.clone()),
        (page.get("label.looked"), page.looked()),
        (page.get("label.findings"), page.counts()),
    ];
    out.push_str("<dl>");
    for (key, value) in rows {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(key), escape(&value));
    }
    out.push_str("</dl>\n");
}

fn write_cache(out: &mut String, page: &Page<'_>, cache: &Installation) {
    let version = cache.version.as_deref().unwrap_or("?");
    let _ = write!(
        out,
        "<section>\n<h2>{} {}</h2>\n<div class=\"drawing\">{}</div>\n\
         <p class=\"legend\"><span class=\"open\">{}</span> <span class=\"local\">{}</span> \
         <span class=\"unknown\">{}</span></p>\n",
        escape(&cache.name),
        escape(version),
        drawing::draw(page, cache),
        escape(page.get("label.legend-open")),
        escape(page.get("label.legend-shut")),
        escape(page.get("label.legend-unknown")),
    );
    let none = page.get("label.none").to_owned();
    let login = match cache.login {
        Some(true) => page.get("label.login"),
        _ => page.get("label.no-login"),
    };
    let rows = [
        ("label.command", cache.command.clone()),
        ("label.started", cache.starter.clone()),
        ("label.package", cache.package.clone().unwrap_or(none)),
        ("label.data", format!("{}; {login}", page.data(cache))),
    ];
    out.push_str("<dl>");
    for (key, value) in rows {
        let key = escape(page.texts.get(key));
        let _ = write!(out, "<dt>{key}</dt><dd><code>{}</code></dd>", escape(&value));
    }
    out.push_str("</dl>\n<ul class=\"doors\">\n");
    for door in &cache.doors {
        let _ = writeln!(
            out,
            "<li class=\"{}\"><b>{}</b> <code>{}</code> {}</li>",
            class(door.verdict),
            door.verdict.name(),
            escape(&page.door(door)),
            escape(&door.filter),
        );
    }
    out.push_str("</ul>\n</section>\n");
}

fn write_findings(out: &mut String, page: &Page<'_>) {
    let _ = writeln!(out, "<section>\n<h2>{}</h2>", escape(page.get("label.findings")));
    if page.report.findings.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", escape(page.get("label.no-findings")));
    }
    for finding in &page.report.findings {
        write_finding(out, page, finding);
    }
    if let Some(changes) = page.changes {
        if changes.is_empty() {
            let _ = writeln!(out, "<p>{}</p>", escape(page.get("label.unchanged")));
        }
        if !changes.fixed.is_empty() {
            let _ = writeln!(out, "<h3>{}</h3>\n<ul>", escape(page.get("label.fixed")));
            for finding in &changes.fixed {
                let (id, subject) = (escape(&finding.id), escape(&finding.subject));
                let _ = writeln!(out, "<li>{id} <code>{subject}</code></li>");
            }
            out.push_str("</ul>\n");
        }
    }
    out.push_str("</section>\n");
}

fn write_finding(out: &mut String, page: &Page<'_>, finding: &Finding) {
    let mark = if page.is_new(finding) {
        format!("<span class=\"new\">{}</span> ", escape(page.get("label.new")))
    } else {
        String::new()
    };
    let _ = write!(
        out,
        "<article class=\"{}\">\n<h3><span class=\"grade\">{}</span> {mark}{}</h3>\n\
         <p class=\"id\">{} - {}</p>\n<p>{}</p>\n",
        finding.severity.name(),
        escape(&page.severity(finding)),
        escape(&page.words(finding, "title")),
        escape(&finding.id),
        escape(&page.confidence(finding)),
        escape(&page.words(finding, "why")),
    );
    if !finding.evidence.is_empty() {
        out.push_str("<ul class=\"evidence\">\n");
        for evidence in &finding.evidence {
            let _ = writeln!(out, "<li><code>{}</code></li>", escape(&evidence.line()));
        }
        out.push_str("</ul>\n");
    }
    let _ = writeln!(out, "<p class=\"fix\">{}</p>", escape(&page.words(finding, "fix")));
    if !finding.remedy.commands.is_empty() {
        let commands = finding.remedy.commands.join("\n");
        let _ = writeln!(out, "<pre>{}</pre>", escape(&commands));
    }
    for file in &finding.remedy.files {
        let (path, text) = (escape(&file.path), escape(&file.text));
        let _ = writeln!(out, "<p><code>{path}</code></p>\n<pre>{text}</pre>");
    }
    let pages = references(finding);
    if !pages.is_empty() {
        let _ = write!(out, "<p class=\"more\">{}: ", escape(page.get("label.references")));
        for link in pages {
            let link = escape(&link);
            let _ = write!(out, "<a rel=\"noreferrer\" href=\"{link}\">{link}</a> ");
        }
        out.push_str("</p>\n");
    }
    out.push_str("</article>\n");
}

fn write_gaps(out: &mut String, page: &Page<'_>) {
    if page.report.gaps.is_empty() {
        return;
    }
    let _ = writeln!(out, "<section>\n<h2>{}</h2>\n<ul>", escape(page.get("label.gaps")));
    for gap in &page.report.gaps {
        let (what, why) = (escape(&gap.what), escape(&gap.why));
        let _ = writeln!(out, "<li><code>{what}</code>: {why}</li>");
    }
    out.push_str("</ul>\n</section>\n");
}

/// Text that HTML and its attributes leave as it is.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}
