//! The sections of the letter, in the order that abuse desks read them.

use super::{
    Basis, Evidence, Letter, LetterZone, Section, Sentence,
    state::{DoorsAfter, open},
};
use crate::{
    facts::{Scope, printable},
    findings::{Door, Installation, Report, quoted},
    texts::Texts,
    triage::{Grade, Outcome, Triage},
};

/// Most sentences of one kind: a letter is read by a person.
const SENTENCES_MAX: usize = 30;

pub(super) struct Writer<'w> {
    pub(super) evidence: &'w Evidence,
    pub(super) zone: &'w LetterZone,
    pub(super) texts: &'w Texts,
    pub(super) case: Option<&'w str>,
}

impl Writer<'_> {
    pub(super) fn letter(&self) -> Letter {
        let section = |heading: &str, sentences: Vec<Sentence>| Section {
            heading: self.texts.get(heading).to_owned(),
            sentences,
        };
        let sections = vec![
            section("letter.head-case", vec![self.case()]),
            section("letter.head-contract", self.contract()),
            section("letter.head-apology", vec![self.courtesy("letter.apology")]),
            section("letter.head-cause", self.cause()),
            section("letter.head-facts", self.history()),
            section("letter.head-investigation", self.investigation()),
            section("letter.head-measures", self.measures()),
            section("letter.head-verification", self.verification()),
            section("letter.head-prevention", self.prevention()),
            section("letter.head-others", vec![self.blank("letter.others-blank")]),
            section("letter.head-request", vec![self.request()]),
            section("letter.head-attachments", self.attachments()),
            section("letter.head-contact", vec![self.blank("letter.contact-blank")]),
        ];
        let subject = self.subject();
        let (opening, closing) = (self.courtesy("letter.opening"), self.courtesy("letter.closing"));
        Letter { subject, opening, sections, closing }
    }

    /// Says that it is shut only where that was shown.
    fn subject(&self) -> Sentence {
        let (Some(ip), Some(case)) = (self.addresses().first().cloned(), self.case) else {
            return self.blank("letter.subject-blank");
        };
        let values = [("ip", ip.as_str()), ("case", case)];
        match self.evidence.is_shut() {
            true => {
                let basis = ["before:interfaces", "close:state"];
                self.shown("letter.subject-done", &values, &basis)
            }
            false => self.shown("letter.subject", &values, &["before:interfaces"]),
        }
    }

    /// Nobody is asked to lift a restriction before the reason for it is shown to be gone.
    fn request(&self) -> Sentence {
        match (self.outcome(), self.evidence.is_shut()) {
            (Some(Outcome::Intrusion), _) => self.courtesy("letter.request-intrusion"),
            (_, true) => self.courtesy("letter.request"),
            (_, false) => self.courtesy("letter.request-later"),
        }
    }

    fn shown(&self, key: &str, values: &[(&str, &str)], basis: &[&'static str]) -> Sentence {
        // Saved files may have been touched since: nothing of theirs steers a terminal or a mail.
        let values: Vec<(&str, String)> =
            values.iter().map(|(name, value)| (*name, printable(value))).collect();
        let pairs: Vec<(&str, &str)> = values.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Sentence {
            text: self.texts.fill(key, &pairs),
            values: values.into_iter().map(|(_, value)| value).collect(),
            basis: Basis::Shown(basis.to_vec()),
        }
    }

    fn blank(&self, key: &str) -> Sentence {
        let text = self.texts.get(key).to_owned();
        Sentence { text, values: Vec::new(), basis: Basis::FillIn }
    }

    fn courtesy(&self, key: &str) -> Sentence {
        let text = self.texts.get(key).to_owned();
        Sentence { text, values: Vec::new(), basis: Basis::Courtesy }
    }

    fn case(&self) -> Sentence {
        match self.case {
            Some(case) => self.shown("letter.case", &[("case", &quoted(case))], &["case"]),
            None => self.blank("letter.case-blank"),
        }
    }

    /// Addresses of the host that strangers reach.
    fn addresses(&self) -> Vec<String> {
        let Some((facts, _)) = &self.evidence.before else { return Vec::new() };
        let outside = |scope| matches!(scope, Scope::Global | Scope::Documentation);
        let all = facts.interfaces.list().iter().flat_map(|interface| &interface.addresses);
        all.filter(|a| outside(a.scope)).map(|a| a.ip.to_string()).take(SENTENCES_MAX).collect()
    }

    fn contract(&self) -> Vec<Sentence> {
        let mut all = vec![self.blank("letter.contract-blank")];
        match (&self.evidence.before, self.addresses().join(", ")) {
            (Some((_, report)), list) if !list.is_empty() => {
                let values = [("host", report.host.as_str()), ("list", &list)];
                all.push(self.shown("letter.addresses", &values, &["before:interfaces"]));
            }
            _ => all.push(self.blank("letter.addresses-blank")),
        }
        all
    }

    fn cause(&self) -> Vec<Sentence> {
        let mut all = Vec::new();
        if self.outcome() == Some(Outcome::Intrusion) {
            all.push(self.shown("letter.cause-intrusion", &[], &["triage:outcome"]));
        }
        let report = self.evidence.before.as_ref().map(|(_, report)| report);
        for (cache, door) in report.into_iter().flat_map(|report| open(report, "udp")) {
            let sentence = self.cause_of(cache, door);
            // One socket has a door for each address of the host.
            if !all.contains(&sentence) {
                all.push(sentence);
            }
        }
        all.truncate(SENTENCES_MAX);
        if all.is_empty() {
            return vec![self.blank("letter.cause-blank")];
        }
        if self.outcome() == Some(Outcome::CannotTell) {
            all.push(self.shown("letter.cause-unsure", &[], &["triage:outcome"]));
        }
        all
    }

    fn cause_of(&self, cache: &Installation, door: &Door) -> Sentence {
        let version = cache.version.as_deref().unwrap_or("?");
        let values = [("name", cache.name.as_str()), ("version", version), ("door", &door.bound)];
        match door.factor {
            Some(factor) => {
                let factor = format!("{factor:.0}");
                let values = [values[0], values[1], values[2], ("factor", &factor)];
                self.shown("letter.cause-factor", &values, &["before:doors", "before:probes"])
            }
            None => self.shown("letter.cause", &values, &["before:doors"]),
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        self.evidence.triage.as_ref().map(|triage| triage.outcome)
    }

    fn history(&self) -> Vec<Sentence> {
        let mut all = Vec::new();
        if let Some((facts, _)) = &self.evidence.before {
            let events = facts.packages.history.list().iter();
            for event in events.filter(|event| event.action == "install") {
                let Some(at) = event.at else { continue };
                let values = [("when", &*self.zone.show(at)), ("package", event.package.as_str())];
                let basis = ["before:packages.history"];
                let sentence = self.shown("letter.installed", &values, &basis);
                // Two logs may tell of one installation.
                if !all.contains(&sentence) {
                    all.push(sentence);
                }
            }
            for process in facts.processes.list().iter().filter(|p| p.name == "memcached") {
                let Some(at) = process.started.known() else { continue };
                let values = [("when", &*self.zone.show(*at)), ("name", process.name.as_str())];
                all.push(self.shown("letter.started", &values, &["before:processes"]));
            }
            let at = self.zone.show(facts.collection.at);
            all.push(self.shown("letter.looked", &[("when", &at)], &["before:collection"]));
        }
        if let Some(incident) = self.evidence.triage.as_ref().and_then(|triage| triage.incident) {
            let when = self.zone.show(incident);
            all.push(self.shown("letter.incident", &[("when", &when)], &["triage:incident"]));
        } else {
            all.push(self.blank("letter.incident-blank"));
        }
        all.truncate(SENTENCES_MAX);
        all
    }

    fn investigation(&self) -> Vec<Sentence> {
        let Some(triage) = &self.evidence.triage else {
            return vec![self.blank("letter.investigation-blank")];
        };
        let when = self.zone.show(triage.at);
        let blind = triage.count(Grade::NotRun);
        let made = (triage.checks.len() - blind).to_string();
        let blind = blind.to_string();
        let values = [("when", &*when), ("made", &made), ("blind", &blind)];
        let mut all = vec![self.shown("letter.checks", &values, &["triage:checks"])];
        if !triage.live {
            all.push(self.shown("letter.disk", &[], &["triage:live"]));
        }
        if !triage.as_root {
            all.push(self.shown("letter.not-root", &[], &["triage:as_root"]));
        }
        if let Some((first, last)) = triage.logs_cover {
            let (first, last) = (self.zone.show(first), self.zone.show(last));
            let values = [("first", first.as_str()), ("last", &last)];
            all.push(self.shown("letter.logs", &values, &["triage:logs_cover"]));
        }
        all.push(match triage.outcome {
            Outcome::Reflector => self.shown("letter.no-sign", &[], &["triage:outcome"]),
            Outcome::Intrusion => self.shown("letter.signs", &[], &["triage:outcome"]),
            Outcome::CannotTell => self.shown("letter.cannot-tell", &[], &["triage:outcome"]),
        });
        all.extend(self.signs(triage));
        if !triage.not_made.is_empty() {
            let title = |id: &String| self.texts.get(&format!("{id}.title")).to_owned();
            let list = triage.not_made.iter().take(SENTENCES_MAX).map(title);
            let list = list.collect::<Vec<_>>().join("; ");
            all.push(self.shown("letter.not-made", &[("list", &list)], &["triage:not_made"]));
        }
        all.push(self.shown("letter.limits", &[], &["triage:checks"]));
        all
    }

    /// What was seen of an intruder, and what could not be looked at.
    fn signs(&self, triage: &Triage) -> Vec<Sentence> {
        let mut all = Vec::new();
        for check in &triage.checks {
            let title = self.texts.get(&format!("{}.title", check.id)).to_owned();
            for sign in check.signs.iter().filter(|sign| sign.grade >= Grade::Suspicious) {
                let sentence = sign.sentence(self.texts);
                let values = [("id", check.id.as_str()), ("sentence", &sentence)];
                all.push(self.shown("letter.sign", &values, &["triage:checks.signs"]));
            }
            if check.grade == Grade::NotRun {
                let values = [("id", check.id.as_str()), ("title", &title)];
                all.push(self.shown("letter.not-run", &values, &["triage:checks.grade"]));
            }
        }
        all.truncate(SENTENCES_MAX);
        all
    }

    fn measures(&self) -> Vec<Sentence> {
        let Some(close) = self.evidence.close.as_ref().filter(|close| close.state == "applied")
        else {
            return vec![self.blank("letter.measures-blank")];
        };
        let key = match close.plan.method.as_str() {
            "bind" => "letter.method-bind",
            "stop" => "letter.method-stop",
            "firewall" => "letter.method-firewall",
            _ => return vec![self.blank("letter.measures-blank")],
        };
        let when = self.zone.show(close.at);
        let values = [("when", when.as_str()), ("id", &close.id)];
        let mut all = vec![self.shown(key, &values, &["close:plan.method", "close:at"])];
        for file in &close.plan.files {
            let path = quoted(&file.path);
            all.push(self.shown("letter.file", &[("path", &path)], &["close:plan.files"]));
        }
        for command in close.commands.iter().filter(|command| command.ok) {
            let line = quoted(&command.argv.join(" "));
            all.push(self.shown("letter.command", &[("command", &line)], &["close:commands"]));
        }
        all.truncate(SENTENCES_MAX);
        all
    }

    fn verification(&self) -> Vec<Sentence> {
        let mut all = Vec::new();
        let close = self.evidence.close.as_ref().filter(|close| close.state == "applied");
        for check in close.iter().flat_map(|close| &close.checks) {
            let seen = quoted(&check.seen);
            let key = if check.ok { "letter.verified" } else { "letter.not-verified" };
            all.push(self.shown(key, &[("seen", &seen)], &["close:checks"]));
        }
        if let Some((facts, report)) = &self.evidence.after {
            let when = self.zone.show(facts.collection.at);
            let key = match DoorsAfter::of(facts, report) {
                DoorsAfter::Shut => "letter.after",
                DoorsAfter::Open => "letter.still-open",
                DoorsAfter::Unclear => "letter.after-unclear",
            };
            all.push(self.shown(key, &[("when", &when)], &["after:doors"]));
            all.extend(self.change(report));
        }
        if all.is_empty() {
            all.push(self.blank("letter.verification-blank"));
        }
        all.truncate(SENTENCES_MAX);
        all
    }

    /// The doors before and after.
    fn change(&self, after: &Report) -> Option<Sentence> {
        let (_, before) = self.evidence.before.as_ref()?;
        let (before, after) = (doors(before), doors(after));
        let values = [("before", before.as_str()), ("after", &after)];
        Some(self.shown("letter.change", &values, &["before:doors", "after:doors"]))
    }

    fn prevention(&self) -> Vec<Sentence> {
        let mut all = vec![self.blank("letter.prevention-blank")];
        if self.outcome() == Some(Outcome::Intrusion) {
            all.insert(0, self.blank("letter.rebuild-blank"));
        }
        all
    }

    fn attachments(&self) -> Vec<Sentence> {
        if self.evidence.files.is_empty() {
            return vec![self.blank("letter.attachments-blank")];
        }
        let line = |(name, digest): &(String, String)| {
            let values = [("name", name.as_str()), ("digest", digest)];
            self.shown("letter.attachment", &values, &["files"])
        };
        self.evidence.files.iter().take(SENTENCES_MAX).map(line).collect()
    }
}

/// The doors of all caches with what `check` says of them, each once.
fn doors(report: &Report) -> String {
    let mut all: Vec<String> = Vec::new();
    for door in report.caches.iter().flat_map(|cache| &cache.doors) {
        let text = format!("{} {} {}", door.transport, door.bound, door.verdict.name());
        if !all.contains(&text) && all.len() < SENTENCES_MAX {
            all.push(text);
        }
    }
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}
