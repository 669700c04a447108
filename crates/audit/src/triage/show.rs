//! A triage for people and programs: text for an 80-column console, Markdown, JSON.

use std::fmt::Write as _;

use super::{Checked, Grade, Outcome, Sign, Triage};
use crate::output::markdown::escape;
use crate::{
    formats::time,
    texts::{Texts, wrap},
};

/// Most signs of a check that the text shows; JSON has more.
const SIGNS_SHOWN_MAX: usize = 12;
/// Most moments that the text shows.
const MOMENTS_SHOWN_MAX: usize = 40;

/// A time as people write it, in UTC.
#[must_use]
pub fn utc(at: i64) -> String {
    time::text(at, 0) + "Z"
}

/// The triage as JSON.
///
/// # Errors
///
/// Never for a triage that was judged; the type of a writer's error stays visible.
pub fn json(triage: &Triage) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(triage)? + "\n")
}

/// The triage for a terminal.
#[must_use]
pub fn text(triage: &Triage, texts: &Texts, columns: usize) -> String {
    let mut page = Page { out: String::new(), texts, columns };
    page.head(triage);
    for check in triage.checks.iter().filter(|check| check.grade > Grade::NotRun) {
        page.check(check);
    }
    let blind = |check: &&Checked| check.grade == Grade::NotRun;
    for check in triage.checks.iter().filter(blind).filter(|check| !check.signs.is_empty()) {
        page.check(check);
    }
    for check in triage.checks.iter().filter(|check| check.grade == Grade::Note) {
        page.check(check);
    }
    page.blind(triage);
    page.clean(triage);
    page.timeline(triage);
    page.limits(triage);
    // A console of 25 lines shows the end only.
    page.out.push('\n');
    page.paragraph("==> ", outcome(triage.outcome, texts));
    page.out
}

/// The triage as Markdown.
#[must_use]
pub fn markdown(triage: &Triage, texts: &Texts) -> String {
    let mut out = String::new();
    let title = texts.fill("triage.title", &[("host", &triage.host)]);
    let _ = writeln!(out, "# {}\n", escape(&title));
    let _ = writeln!(out, "**{}**\n", escape(outcome(triage.outcome, texts)));
    for line in reasons(triage, texts) {
        let _ = writeln!(out, "- {}", escape(&line));
    }
    let _ = writeln!(out, "\n{}\n", escape(&summary(triage, texts)));
    for check in &triage.checks {
        let grade = texts.get(&format!("triage.grade-{}", check.grade.name())).to_owned();
        let title = texts.get(&format!("{}.title", check.id)).to_owned();
        let _ = writeln!(out, "## {} {} ({grade})\n", check.id, escape(&title));
        let _ = writeln!(out, "{}\n", escape(&looked(check, texts)));
        for sign in &check.signs {
            let _ = writeln!(out, "- {}", escape(&sign_line(sign, texts)));
            let _ = writeln!(out, "  - {}", escape(&sign.evidence.line()));
        }
        for unseen in &check.unseen {
            let line = texts.fill("triage.unseen", &[("what", unseen)]);
            let _ = writeln!(out, "- {}", escape(&line));
        }
        if check.grade > Grade::Clean {
            for part in ["innocent", "next"] {
                let label = texts.get(&format!("triage.label-{part}")).to_owned();
                let words = texts.get(&format!("{}.{part}", check.id)).to_owned();
                let _ = writeln!(out, "\n{label}: {}", escape(&words));
            }
        }
        out.push('\n');
    }
    let _ = writeln!(out, "## {}\n", texts.get("triage.label-timeline"));
    for moment in &triage.timeline {
        let values: Vec<(&str, &str)> =
            moment.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let sentence = texts.fill(&moment.text, &values);
        let _ = writeln!(out, "- {} {}", utc(moment.at), escape(&sentence));
    }
    let _ = writeln!(out, "\n{}", escape(&limits(triage, texts)));
    out
}

fn outcome(outcome: Outcome, texts: &Texts) -> &str {
    match outcome {
        Outcome::Reflector => texts.get("triage.outcome-reflector"),
        Outcome::Intrusion => texts.get("triage.outcome-intrusion"),
        Outcome::CannotTell => texts.get("triage.outcome-cannot-tell"),
    }
}

/// Each reason once, behind the checks that it comes from.
fn reasons(triage: &Triage, texts: &Texts) -> Vec<String> {
    let mut told: Vec<(String, Vec<&str>)> = Vec::new();
    for reason in &triage.reasons {
        let values: Vec<(&str, &str)> =
            reason.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let sentence = texts.fill(&reason.text, &values);
        let ids = reason.check.as_deref();
        match told.iter_mut().find(|(known, _)| *known == sentence) {
            Some((_, known)) => known.extend(ids.filter(|id| !known.contains(id))),
            None => told.push((sentence, ids.into_iter().collect())),
        }
    }
    let line = |(sentence, ids): (String, Vec<&str>)| match ids.is_empty() {
        true => sentence,
        false => format!("{}: {sentence}", ids.join(", ")),
    };
    told.into_iter().map(line).collect()
}

fn summary(triage: &Triage, texts: &Texts) -> String {
    let number = |grade| triage.count(grade).to_string();
    let made = (triage.checks.len() - triage.count(Grade::NotRun)).to_string();
    texts.fill(
        "triage.summary",
        &[
            ("made", &made),
            ("blind", &number(Grade::NotRun)),
            ("strong", &number(Grade::Strong)),
            ("suspicious", &number(Grade::Suspicious)),
        ],
    )
}

fn looked(check: &Checked, texts: &Texts) -> String {
    let words = texts.get(&format!("{}.looked", check.id)).to_owned();
    let count = check.looked_at.to_string();
    let ids = check.attack.join(", ");
    let values = [("words", words.as_str()), ("count", &count), ("attack", &ids)];
    texts.fill(if ids.is_empty() { "triage.looked-plain" } else { "triage.looked" }, &values)
}

fn sign_line(sign: &Sign, texts: &Texts) -> String {
    let grade = texts.get(&format!("triage.grade-{}", sign.grade.name())).to_owned();
    format!("[{grade}] {}", sign.sentence(texts))
}

fn limits(triage: &Triage, texts: &Texts) -> String {
    let title = |id: &String| texts.get(&format!("{id}.title")).to_owned();
    let list: Vec<String> = triage.not_made.iter().map(title).collect();
    if list.is_empty() {
        return texts.get("triage.limits-plain").to_owned();
    }
    texts.fill("triage.limits", &[("list", &list.join("; "))])
}

struct Page<'p> {
    out: String,
    texts: &'p Texts,
    columns: usize,
}

impl Page<'_> {
    fn paragraph(&mut self, first: &str, text: &str) {
        let columns = self.columns.saturating_sub(first.len()).max(20);
        for (index, line) in wrap(text, columns).iter().enumerate() {
            let margin = if index == 0 { first.to_owned() } else { " ".repeat(first.len()) };
            let _ = writeln!(self.out, "{margin}{line}");
        }
    }

    fn head(&mut self, triage: &Triage) {
        let texts = self.texts;
        let title = texts.fill("triage.title", &[("host", &triage.host)]);
        self.paragraph("", &title);
        self.paragraph("", &format!("{}, {}", triage.os, utc(triage.at)));
        self.paragraph("", texts.get("triage.first-advice"));
        self.out.push('\n');
        self.paragraph("==> ", outcome(triage.outcome, texts));
        for line in reasons(triage, texts) {
            self.paragraph("    - ", &line);
        }
        self.out.push('\n');
        self.paragraph("", &summary(triage, texts));
    }

    fn check(&mut self, check: &Checked) {
        let texts = self.texts;
        let grade = texts.get(&format!("triage.grade-{}", check.grade.name())).to_owned();
        let title = texts.get(&format!("{}.title", check.id)).to_owned();
        self.out.push('\n');
        self.paragraph("", &format!("[{grade}] {} {title}", check.id));
        self.paragraph("    ", &looked(check, texts));
        for sign in check.signs.iter().take(SIGNS_SHOWN_MAX) {
            self.paragraph("    * ", &sign_line(sign, texts));
            self.paragraph("        ", &sign.evidence.line());
        }
        let hidden = check.signs.len().saturating_sub(SIGNS_SHOWN_MAX) as u64 + check.more;
        if hidden > 0 {
            let line = texts.fill("triage.more", &[("count", &hidden.to_string())]);
            self.paragraph("    * ", &line);
        }
        for unseen in check.unseen.iter().take(SIGNS_SHOWN_MAX) {
            let line = texts.fill("triage.unseen", &[("what", unseen)]);
            self.paragraph("    - ", &line);
        }
        for part in ["innocent", "next"] {
            let label = texts.get(&format!("triage.label-{part}")).to_owned();
            let words = texts.get(&format!("{}.{part}", check.id)).to_owned();
            if words != "-" {
                self.paragraph("    ", &format!("{label}: {words}"));
            }
        }
    }

    /// Checks that could not look and saw nothing, each reason once.
    fn blind(&mut self, triage: &Triage) {
        let texts = self.texts;
        let blind = |check: &&Checked| check.grade == Grade::NotRun && check.signs.is_empty();
        let mut reasons: Vec<(&[String], Vec<&Checked>)> = Vec::new();
        for check in triage.checks.iter().filter(blind) {
            match reasons.iter_mut().find(|(why, _)| *why == check.unseen) {
                Some((_, checks)) => checks.push(check),
                None => reasons.push((&check.unseen, vec![check])),
            }
        }
        if reasons.is_empty() {
            return;
        }
        self.out.push('\n');
        self.paragraph("", texts.get("triage.label-blind"));
        for (why, checks) in reasons {
            for check in checks {
                let title = texts.get(&format!("{}.title", check.id)).to_owned();
                self.paragraph("  ", &format!("{} {title}", check.id));
            }
            for unseen in why.iter().take(SIGNS_SHOWN_MAX) {
                let line = texts.fill("triage.unseen", &[("what", unseen)]);
                self.paragraph("        - ", &line);
            }
        }
    }

    fn clean(&mut self, triage: &Triage) {
        let texts = self.texts;
        self.out.push('\n');
        self.paragraph("", texts.get("triage.label-clean"));
        for check in triage.checks.iter().filter(|check| check.grade == Grade::Clean) {
            let title = texts.get(&format!("{}.title", check.id)).to_owned();
            let count = check.looked_at.to_string();
            let line = texts.fill("triage.clean", &[("title", &title), ("count", &count)]);
            self.paragraph("  ", &format!("{} {line}", check.id));
            for unseen in check.unseen.iter().take(2) {
                let line = texts.fill("triage.unseen", &[("what", unseen)]);
                self.paragraph("        - ", &line);
            }
        }
    }

    fn timeline(&mut self, triage: &Triage) {
        let texts = self.texts;
        self.out.push('\n');
        self.paragraph("", texts.get("triage.label-timeline"));
        let skipped = triage.timeline.len().saturating_sub(MOMENTS_SHOWN_MAX);
        for moment in triage.timeline.iter().skip(skipped) {
            let values: Vec<(&str, &str)> =
                moment.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mark = if moment.grade >= Grade::Suspicious { "!" } else { " " };
            let sentence = texts.fill(&moment.text, &values);
            self.paragraph(&format!("{mark} {} ", utc(moment.at)), &sentence);
        }
    }

    fn limits(&mut self, triage: &Triage) {
        self.out.push('\n');
        let text = limits(triage, self.texts);
        self.paragraph("", &text);
    }
}
