//! Checks of what starts again by itself.

use super::{
    Case, Found, Grade, Sign,
    accounts::is_later,
    files,
    lines::{OPEN, reading_in},
};
use crate::{
    findings::Evidence,
    traces::{Owner, Place, TextFile, TextKind},
};

/// Most lines of one text that are told.
const LINES_MAX: usize = 20;

fn of<'c>(case: &'c Case<'_>, kind: TextKind) -> impl Iterator<Item = &'c TextFile> {
    case.traces.texts.iter().filter(move |file| file.kind == kind)
}

/// Signs of every line of the texts of one kind; unowned texts are named themselves.
fn scan(case: &Case<'_>, kind: TextKind, strange: &str, found: &mut Found) {
    for file in of(case, kind) {
        found.looked_at += 1;
        let mut told = false;
        for (number, line) in crate::formats::lines(&file.text).take(100_000) {
            let Some((grade, text)) = reading_in(&file.path, line) else { continue };
            // Packages fetch things too; their settings are anybody's to change all the same.
            if file.owner == Owner::Package && grade < Grade::Suspicious {
                continue;
            }
            let evidence = Evidence::file(&file.path, number, line.trim());
            let sign = Sign::new(grade, text, evidence).at(Some(file.modified)).supporting();
            found.sign(sign.with("path", &file.path));
            told = true;
            if found.signs.len() > LINES_MAX * 100 {
                return;
            }
        }
        // A link to a unit elsewhere is the unit's only way in; other links lead to what is read.
        let linked = file.link.is_some() && file.kind != TextKind::Unit;
        let unowned = file.owner != Owner::Package && !linked;
        if !told && unowned && !strange.is_empty() && is_later(case, file.modified) {
            let evidence = Evidence::file(&file.path, 0, first_words(&file.text));
            let sign = Sign::new(Grade::Note, strange, evidence).at(Some(file.modified));
            let sign = sign.with("when", &super::show::utc(file.modified));
            found.sign(sign.with("path", &file.path).supporting());
        }
    }
}

/// The line that says what a text runs, or its first that is no comment.
fn first_words(text: &str) -> &str {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let command = lines().find(|line| line.starts_with("ExecStart"));
    command.or_else(|| lines().find(|line| !line.starts_with(['#', ';']))).unwrap_or_default()
}

/// What was not readable below these paths.
fn denied(case: &Case<'_>, found: &mut Found, paths: &[&str]) {
    for gap in &case.traces.gaps {
        if paths.iter().any(|path| gap.what.starts_with(path)) {
            found.unseen(&format!("{}: {}", gap.what, gap.unseen.detail));
        }
    }
    // What is there and cannot be read may be what is looked for: a FIFO, a megabyte of blanks.
    found.blind = !found.unseen.is_empty();
}

pub(super) fn preload(case: &Case<'_>) -> Found {
    let mut found = Found::among(case.traces.processes.list().len());
    for file in of(case, TextKind::Preload).filter(|file| !file.text.trim().is_empty()) {
        let evidence = Evidence::file(&file.path, 1, file.text.trim());
        found.sign(Sign::new(Grade::Strong, "sign.preload-file", evidence).at(Some(file.modified)));
    }
    for process in case.traces.processes.list() {
        for variable in &process.preload {
            let from_open = OPEN.iter().any(|folder| variable.contains(folder));
            // Whoever builds software sets a path of libraries; it loads nothing by itself.
            let library_path = variable.starts_with("LD_LIBRARY_PATH");
            if library_path && !from_open {
                continue;
            }
            let grade = if library_path { Grade::Note } else { Grade::Suspicious };
            let grade = if from_open && !library_path { Grade::Strong } else { grade };
            let sign = Sign::new(grade, "sign.preload", super::processes::evidence(process));
            found.sign(sign.with("variable", variable).at(process.started));
        }
    }
    denied(case, &mut found, &["/etc/ld.so.preload"]);
    if case.traces.processes.known().is_none() {
        found.unseen("the environment of running processes");
    }
    found
}

pub(super) fn cron(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    scan(case, TextKind::Cron, "sign.cron", &mut found);
    denied(case, &mut found, &["/etc/cron", "/var/spool/cron", "/var/spool/at"]);
    found
}

pub(super) fn units(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    scan(case, TextKind::Unit, "sign.unit", &mut found);
    denied(case, &mut found, &["/etc/systemd", "/run/systemd/system"]);
    found
}

pub(super) fn hooks(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    scan(case, TextKind::Hook, "sign.hook", &mut found);
    let ends = [".bashrc", ".profile", ".bash_profile", ".zshrc", ".ssh/rc"];
    let of_home = |path: &str| ends.iter().any(|end| path.ends_with(end));
    let gaps = case.traces.gaps.iter().map(|gap| gap.what.as_str());
    let mut paths: Vec<&str> = gaps.filter(|path| of_home(path)).collect();
    paths.extend(["/etc/rc", "/etc/init.d", "/etc/profile", "/etc/bash", "/etc/udev", "/etc/apt"]);
    denied(case, &mut found, &paths);
    found
}

pub(super) fn histories(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    scan(case, TextKind::History, "", &mut found);
    for file in of(case, TextKind::History) {
        if file.link.as_deref() == Some("/dev/null") {
            let evidence = Evidence::file(&file.path, 0, "-> /dev/null");
            let sign = Sign::new(Grade::Suspicious, "sign.history-nowhere", evidence);
            found.sign(sign.with("path", &file.path).at(Some(file.changed)));
        }
        for (number, line) in crate::formats::lines(&file.text) {
            let words = ["chattr +i", "unset HISTFILE", "HISTFILE=/dev/null", "iptables -F"];
            if words.iter().any(|word| line.contains(word)) {
                let evidence = Evidence::file(&file.path, number, line.trim());
                let sign = Sign::new(Grade::Note, "sign.history", evidence).supporting();
                found.sign(sign.with("path", &file.path));
            }
        }
    }
    // Downloads stand in every administrator's history: by themselves they are notes.
    for sign in &mut found.signs {
        if sign.grade == Grade::Strong {
            sign.grade = Grade::Note;
        }
    }
    found
}

pub(super) fn pam(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    for file in case.traces.files.iter().filter(|file| file.place == Place::PamModule) {
        let evidence = Evidence::file(&file.path, 0, &format!("{} bytes", file.bytes));
        let sign = Sign::new(Grade::Strong, "sign.pam-module", evidence).at(Some(file.changed));
        found.sign(sign.with("path", &file.path));
    }
    for file in of(case, TextKind::Pam) {
        found.looked_at += 1;
        for (number, line) in crate::formats::lines(&file.text) {
            let rule = line.trim();
            let words: Vec<&str> = rule.split_ascii_whitespace().collect();
            let permits = matches!(words.as_slice(), ["auth", "sufficient", "pam_permit.so", ..]);
            let runs = rule.contains("pam_exec.so") && !rule.starts_with('#');
            if permits || runs {
                let grade = if permits { Grade::Strong } else { Grade::Note };
                let evidence = Evidence::file(&file.path, number, rule);
                let sign = Sign::new(grade, "sign.pam", evidence).at(Some(file.modified));
                found.sign(sign.with("path", &file.path).supporting());
            }
        }
    }
    found
}

pub(super) fn immutable(case: &Case<'_>) -> Found {
    let mut found = Found::among(case.traces.texts.len());
    for file in case.traces.texts.iter().filter(|file| file.immutable) {
        let grave = matches!(file.kind, TextKind::Cron | TextKind::Preload | TextKind::Unit);
        let grade = if grave { Grade::Strong } else { Grade::Note };
        let sign = Sign::new(grade, "sign.immutable", Evidence::file(&file.path, 0, "+i"));
        found.sign(sign.with("path", &file.path).at(Some(file.changed)));
    }
    found
}

pub(super) fn web(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    files::cut(case, &mut found, &["/var/www", "/srv/www", "/usr/share/nginx", "/home"]);
    for file in of(case, TextKind::Web) {
        found.looked_at += 1;
        let evidence = Evidence::file(&file.path, 0, file.text.lines().next().unwrap_or_default());
        let grade = if file.owner == Owner::Package { Grade::Note } else { Grade::Suspicious };
        let sign = Sign::new(grade, "sign.web-shell", evidence).at(Some(file.modified));
        found.sign(sign.with("path", &file.path));
    }
    found
}

pub(super) fn names(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    for file in of(case, TextKind::Names) {
        found.looked_at += 1;
        for (number, line) in crate::formats::lines(&file.text) {
            let updates = ["debian.org", "ubuntu.com", "centos.org", "redhat.com", "clamav.net"];
            let rule = line.trim();
            let redirects = updates.iter().any(|name| rule.contains(name));
            if redirects && !rule.starts_with('#') && file.path == "/etc/hosts" {
                let evidence = Evidence::file(&file.path, number, rule);
                let sign = Sign::new(Grade::Suspicious, "sign.redirect", evidence);
                found.sign(sign.with("rule", rule).at(Some(file.modified)));
            }
        }
    }
    found
}
