//! Checks of who may come in.

use super::{Case, Found, Grade, Sign, seen};
use crate::{
    facts::Seen,
    findings::Evidence,
    traces::{Account, AuthorizedKey, PasswordState, TextKind},
};

/// Numbers below this belong to the system; people begin here.
const PEOPLE_FROM: u32 = 1000;
/// The number of nobody.
const NOBODY: u32 = 65_534;
/// Seconds after the installation in which a file still belongs to it: a provider's first boot.
const SETTLING_S: i64 = 86_400;
const DAY_S: i64 = 86_400;

/// Whether somebody changed this after the system was installed.
pub(super) fn is_later(case: &Case<'_>, modified: i64) -> bool {
    match case.traces.installed_at {
        Seen::Known(installed) => modified > installed + SETTLING_S,
        Seen::Unseen(_) => true,
    }
}

fn evidence(account: &Account) -> Evidence {
    let text = format!("{}:x:{}:{}", account.name, account.uid, account.gid);
    let text = format!("{text}:{}:{}", account.home, account.shell);
    Evidence::file("/etc/passwd", account.line, &text)
}

pub(super) fn accounts(case: &Case<'_>) -> Found {
    let all = match seen(&case.traces.accounts) {
        Ok(all) => all,
        Err(found) => return found,
    };
    let mut found = Found::among(all.len());
    for account in all {
        let name = account.name.as_str();
        let changed = account.changed_day.map(|day| day.saturating_mul(DAY_S));
        let mut sign = |grade, text| {
            let sign = Sign::new(grade, text, evidence(account)).with("name", name).at(changed);
            found.signs.push(sign.with("uid", &account.uid.to_string()).supporting());
        };
        if account.uid == 0 && name != "root" {
            // BSD brings a second one of this name, without a password.
            let grade = if name == "toor" { Grade::Note } else { Grade::Strong };
            sign(grade, "sign.second-root");
        }
        if account.password == PasswordState::Empty && may_log_in(account) {
            sign(Grade::Suspicious, "sign.no-password");
        }
        let of_system = account.uid != 0 && account.uid < PEOPLE_FROM;
        if of_system && may_log_in(account) && account.password == PasswordState::Set {
            sign(Grade::Suspicious, "sign.system-account");
        }
        let person = account.uid >= PEOPLE_FROM && account.uid != NOBODY && may_log_in(account);
        if person && changed.is_some_and(|at| is_later(case, at)) {
            sign(Grade::Note, "sign.account-changed");
        }
        let twin = all.iter().find(|other| other.uid == account.uid && other.line < account.line);
        if twin.is_some() && account.uid != 0 {
            sign(Grade::Suspicious, "sign.same-number");
        }
    }
    if all.iter().any(|account| account.password == PasswordState::Unseen) {
        found.unseen("/etc/shadow: passwords' state and dates");
    }
    sudoers(case, &mut found);
    found
}

/// Whether the shell lets anybody in.
fn may_log_in(account: &Account) -> bool {
    let shell = account.shell.rsplit('/').next().unwrap_or_default();
    !matches!(shell, "nologin" | "false" | "sync" | "shutdown" | "halt" | "git-shell")
}

fn sudoers(case: &Case<'_>, found: &mut Found) {
    for file in case.traces.texts.iter().filter(|file| file.kind == TextKind::Sudoers) {
        for (number, line) in crate::formats::lines(&file.text) {
            let rule = line.trim();
            if rule.starts_with('#') || !rule.contains("NOPASSWD") {
                continue;
            }
            let evidence = Evidence::file(&file.path, number, rule);
            let sign = Sign::new(Grade::Note, "sign.sudo", evidence).at(Some(file.modified));
            let sign = sign.with("rule", rule);
            let later = is_later(case, file.modified);
            found.sign(if later { sign.supporting() } else { sign });
        }
    }
}

pub(super) fn keys(case: &Case<'_>) -> Found {
    let accounts = match seen(&case.traces.accounts) {
        Ok(accounts) => accounts,
        Err(found) => return found,
    };
    let keys = &case.traces.keys;
    let mut found = Found::among(accounts.len());
    let denied = case.traces.gaps.iter().filter(|gap| gap.what.contains("/.ssh"));
    let denied: Vec<String> =
        denied.map(|gap| format!("{}: {}", gap.what, gap.unseen.detail)).collect();
    found.blind = !denied.is_empty() && case.traces.facts.collection.uid != 0;
    denied.iter().for_each(|text| found.unseen(text));
    for key in keys {
        let service = key.uid != 0 && key.uid < PEOPLE_FROM;
        let later = is_later(case, key.modified);
        let close = case.incident.is_some_and(|incident| is_close(key, incident));
        let (grade, text) = match (service, close && later, later) {
            (true, ..) => (Grade::Suspicious, "sign.key-of-service"),
            (_, true, _) => (Grade::Suspicious, "sign.key-close"),
            (_, _, true) => (Grade::Note, "sign.key-later"),
            _ => (Grade::Note, "sign.key"),
        };
        let line = format!("{} {} {}", key.kind, key.fingerprint, key.comment);
        let line = if key.options.is_empty() { line } else { format!("{} {line}", key.options) };
        let sign = Sign::new(grade, text, Evidence::file(&key.path, key.line, line.trim()));
        let sign =
            sign.with("user", &key.user).with("comment", &key.comment).at(Some(key.modified));
        let sign = sign.with("when", &super::show::utc(key.modified));
        found.sign(if later { sign.supporting() } else { sign });
    }
    found
}

/// Written in the week before the traffic, or the day after.
fn is_close(key: &AuthorizedKey, incident: i64) -> bool {
    (incident - 7 * DAY_S..=incident + DAY_S).contains(&key.modified)
}

pub(super) fn sshd(case: &Case<'_>) -> Found {
    let mut found = Found::default();
    for file in case.traces.texts.iter().filter(|file| file.kind == TextKind::Sshd) {
        found.looked_at += 1;
        for (number, line) in crate::formats::lines(&file.text) {
            let mut words = line.split_ascii_whitespace();
            let key = words.next().unwrap_or_default().to_ascii_lowercase();
            let value = words.next().unwrap_or_default();
            let text = match (key.as_str(), value.to_ascii_lowercase().as_str()) {
                ("permitrootlogin", "yes") => "sign.sshd-root",
                ("permitemptypasswords", "yes") => "sign.sshd-empty",
                ("authorizedkeyscommand", value) if value != "none" => "sign.sshd-command",
                _ => continue,
            };
            let evidence = Evidence::file(&file.path, number, line.trim());
            let sign = Sign::new(Grade::Note, text, evidence).at(Some(file.modified));
            found.sign(if is_later(case, file.modified) { sign.supporting() } else { sign });
        }
    }
    found
}
