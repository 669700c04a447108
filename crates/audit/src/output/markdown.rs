//! The report for tickets and mails that render Markdown.

use std::fmt::Write as _;

use super::{Page, references};
use crate::findings::{Finding, Installation};

pub(super) fn render(page: &Page<'_>) -> String {
    let mut out = format!("# {}\n\n", escape(&page.heading()));
    let report = page.report;
    let _ = writeln!(out, "- {}: {}", page.get("label.system"), escape(&report.os));
    let _ = writeln!(out, "- {}: {}", page.get("label.looked"), page.looked());
    if let Some(verdict) = report.summary.verdict {
        let words = page.verdict(verdict);
        let _ = writeln!(out, "- {}: **{}** - {words}", page.get("label.verdict"), verdict.name());
    }
    let _ = writeln!(out, "- {}: {}", page.get("label.findings"), page.counts());
    if report.caches.is_empty() {
        let _ = write!(out, "\n{}\n", page.get("label.nothing"));
    }
    for cache in &report.caches {
        write_cache(&mut out, page, cache);
    }
    let _ = write!(out, "\n## {}\n", page.get("label.findings"));
    if report.findings.is_empty() {
        let _ = write!(out, "\n{}\n", page.get("label.no-findings"));
    }
    for finding in &report.findings {
        write_finding(&mut out, page, finding);
    }
    write_fixed(&mut out, page);
    let _ = write!(out, "\n{}\n", page.get("label.outside"));
    out
}

fn write_cache(out: &mut String, page: &Page<'_>, cache: &Installation) {
    let version = cache.version.as_deref().unwrap_or("?");
    let _ = write!(out, "\n## {} {}\n\n", escape(&cache.name), escape(version));
    if !cache.command.is_empty() {
        let _ = writeln!(out, "- {}: {}", page.get("label.command"), code(&cache.command));
    }
    let _ = writeln!(out, "- {}: {}", page.get("label.started"), escape(&cache.starter));
    let package = cache.package.as_deref().unwrap_or_else(|| page.get("label.none"));
    let _ = writeln!(out, "- {}: {}", page.get("label.package"), escape(package));
    let _ = writeln!(out, "- {}: {}\n", page.get("label.data"), page.data(cache));
    let (verdict, socket, filter) =
        (page.get("label.verdict"), page.get("label.socket"), page.get("label.filter"));
    let _ = writeln!(out, "| {verdict} | {socket} | {filter} |\n|---|---|---|");
    for door in &cache.doors {
        let way = code(&page.door(door));
        let _ = writeln!(out, "| {} | {way} | {} |", door.verdict.name(), escape(&door.filter));
    }
}

fn write_finding(out: &mut String, page: &Page<'_>, finding: &Finding) {
    let mark = if page.is_new(finding) { page.get("label.new") } else { "" };
    let title = escape(&page.words(finding, "title"));
    let severity = page.severity(finding);
    let _ = write!(out, "\n### [{severity}] {mark} {}: {title}\n\n", finding.id);
    let _ = write!(out, "{}\n\n", escape(&page.words(finding, "why")));
    for evidence in &finding.evidence {
        let _ = writeln!(out, "- {}", code(&evidence.line()));
    }
    let fix = escape(&page.words(finding, "fix"));
    let _ = write!(out, "\n**{}**: {fix}\n", page.get("label.fix"));
    if !finding.remedy.commands.is_empty() {
        let _ = write!(out, "\n{}\n", block(&finding.remedy.commands.join("\n")));
    }
    for file in &finding.remedy.files {
        let _ = write!(out, "\n{}:\n\n{}\n", code(&file.path), block(&file.text));
    }
    let pages = references(finding);
    if !pages.is_empty() {
        let links: Vec<String> = pages.iter().map(|page| format!("<{page}>")).collect();
        let _ = write!(out, "\n{}: {}\n", page.get("label.references"), links.join(", "));
    }
}

fn write_fixed(out: &mut String, page: &Page<'_>) {
    let Some(changes) = page.changes else { return };
    if changes.is_empty() {
        let _ = write!(out, "\n{}\n", page.get("label.unchanged"));
    }
    if !changes.fixed.is_empty() {
        let _ = write!(out, "\n## {}\n\n", page.get("label.fixed"));
    }
    for finding in &changes.fixed {
        let _ = writeln!(out, "- {} {}", finding.id, code(&finding.subject));
    }
}

/// Text that Markdown and the HTML in it leave as it is: no link, no image, no mark-up. One set for
/// all pages and letters, since each shows texts of the host's.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// A run of code; longer fences where the text has ticks itself.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let blank = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    // A bar would end the cell of a table.
    format!("{fence}{blank}{}{blank}{fence}", text.replace('|', "\\|"))
}

fn block(text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    format!("{fence}\n{}\n{fence}", text.trim_end())
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn no_text_of_the_host_becomes_a_link_an_image_or_markup() {
        let hostile = r"![x](http://a) [y](b) <img> **c** `d` # ~~e~~ | f_g & \";
        let safe = concat!(
            r"\!\[x\](http://a) \[y\](b) &lt;img&gt; \*\*c\*\* \`d\` \# \~\~e\~\~ \| ",
            r"f\_g &amp; \\",
        );
        assert_eq!(escape(hostile), safe);
    }
}
