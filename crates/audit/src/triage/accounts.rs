//! Checks of who may come in.

use std::collections::BTreeMap;

use super::{Case, Found, Grade, Sign, seen};
use crate::{
    facts::{Gap, Seen},
    findings::Evidence,
    traces::{Account, AuthorizedKey, PasswordState, TextKind},
};

/// Groups whose members may become root, by `sudo`, by a daemon that runs as root, or by devices.
const RAISING_GROUPS: [&str; 8] =
    ["sudo", "wheel", "admin", "docker", "lxd", "root", "disk", "shadow"];
/// Most keys of one text of groups that are told.
const MEMBERS_MAX: usize = 50;
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
    let Account { name, uid, gid, home, shell, .. } = account;
    let text = format!("{name}: uid {uid}, gid {gid}, home {home}, shell {shell}");
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
            let when = changed.map_or_else(|| "?".to_owned(), super::show::utc);
            let sign = sign.with("when", when.get(..10).unwrap_or("?"));
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
        let people_from = case.traces.people_from;
        let of_system = account.uid != 0 && account.uid < people_from;
        if of_system && may_log_in(account) && account.password == PasswordState::Set {
            sign(Grade::Suspicious, "sign.system-account");
        }
        let person = account.uid >= people_from && account.uid != NOBODY && may_log_in(account);
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
    for gap in case.traces.gaps.iter().filter(|gap| gap.what == "/etc/passwd") {
        found.unseen(&gap.unseen.detail);
        found.blind = true;
    }
    sudoers(case, &mut found);
    members(case, &mut found);
    found
}

/// Who may become root by a group.
fn members(case: &Case<'_>, found: &mut Found) {
    for file in case.traces.texts.iter().filter(|file| file.kind == TextKind::Groups) {
        for (number, line) in crate::formats::lines(&file.text) {
            let mut fields = line.split(':');
            let (name, members) = (fields.next().unwrap_or_default(), fields.nth(2));
            let members = members.unwrap_or_default().trim();
            if members.is_empty() || !RAISING_GROUPS.contains(&name) {
                continue;
            }
            let evidence = Evidence::file(&file.path, number, line);
            let sign = Sign::new(Grade::Note, "sign.member", evidence).at(Some(file.modified));
            let sign = sign.with("group", name).with("members", members);
            found.sign(if is_later(case, file.modified) { sign.supporting() } else { sign });
            if found.signs.len() > MEMBERS_MAX * RAISING_GROUPS.len() {
                return;
            }
        }
    }
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
    let places = ["/.ssh", "authorized_keys", "/etc/ssh"];
    let of_keys = |gap: &&Gap| places.iter().any(|place| gap.what.contains(place));
    let denied = case.traces.gaps.iter().filter(of_keys);
    let denied: Vec<String> =
        denied.map(|gap| format!("{}: {}", gap.what, gap.unseen.detail)).collect();
    // What is there and cannot be read may be what is looked for.
    found.blind = !denied.is_empty();
    denied.iter().for_each(|text| found.unseen(text));
    for key in keys {
        let service = key.uid != 0 && key.uid < case.traces.people_from;
        let later = is_later(case, key.modified);
        // The time of writing can be set to anything, the time of the last touch cannot.
        let backdated = !later && is_later(case, key.changed);
        let close = case.incident.is_some_and(|incident| is_close(key, incident));
        let (grade, text) = match (service, close && later, later) {
            (true, ..) => (Grade::Suspicious, "sign.key-of-service"),
            (_, true, _) => (Grade::Suspicious, "sign.key-close"),
            (_, _, true) => (Grade::Note, "sign.key-later"),
            _ if backdated => (Grade::Note, "sign.key-touched"),
            _ => (Grade::Note, "sign.key"),
        };
        let line = format!("{} {} {}", key.kind, key.fingerprint, key.comment);
        let line = if key.options.is_empty() { line } else { format!("{} {line}", key.options) };
        let sign = Sign::new(grade, text, Evidence::file(&key.path, key.line, line.trim()));
        let sign =
            sign.with("user", &key.user).with("comment", &key.comment).at(Some(key.modified));
        let sign = sign.with("when", &super::show::utc(key.modified));
        let sign = sign.with("touched", &super::show::utc(key.changed));
        found.sign(if later || backdated { sign.supporting() } else { sign });
    }
    shared(keys, &mut found);
    found
}

/// One key that opens many accounts: an administrator's, or somebody's who wants to stay.
fn shared(keys: &[AuthorizedKey], found: &mut Found) {
    let mut users: BTreeMap<&str, Vec<&AuthorizedKey>> = BTreeMap::new();
    for key in keys.iter().filter(|key| key.fingerprint != "?") {
        users.entry(&key.fingerprint).or_default().push(key);
    }
    for (fingerprint, keys) in users {
        let mut names: Vec<&str> = keys.iter().map(|key| key.user.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if let (Some(first), 2..) = (keys.first(), names.len()) {
            let evidence = Evidence::file(&first.path, first.line, fingerprint);
            let sign = Sign::new(Grade::Note, "sign.key-shared", evidence);
            let sign = sign.with("count", &names.len().to_string()).at(Some(first.modified));
            found.sign(sign.with("users", &names.join(", ")).with("comment", &first.comment));
        }
    }
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
            let mut words =
                line.split(|c: char| c.is_ascii_whitespace() || c == '=').filter(|w| !w.is_empty());
            let key = words.next().unwrap_or_default().to_ascii_lowercase();
            let value = words.next().unwrap_or_default();
            let text = match (key.as_str(), value.to_ascii_lowercase().as_str()) {
                ("permitrootlogin", "yes") => "sign.sshd-root",
                ("permitemptypasswords", "yes") => "sign.sshd-empty",
                ("authorizedkeyscommand", value) if value != "none" => "sign.sshd-command",
                // The shipped file takes in its own folder.
                ("include", value) if !value.starts_with("/etc/ssh/sshd_config.d/") => {
                    "sign.sshd-include"
                }
                _ => continue,
            };
            let evidence = Evidence::file(&file.path, number, line.trim());
            let sign = Sign::new(Grade::Note, text, evidence).at(Some(file.modified));
            found.sign(if is_later(case, file.modified) { sign.supporting() } else { sign });
        }
    }
    found
}
