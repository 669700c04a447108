//! Accounts, and the keys that open them.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::View;
use crate::{
    facts::{Seen, Unseen, Why},
    formats::base64,
    traces::{Account, AuthorizedKey, PasswordState},
};

/// Longest list of accounts that is read, in bytes: a university's has one megabyte.
const ACCOUNTS_BYTES_MAX: usize = 8 << 20;
/// Most accounts that are kept.
const ACCOUNTS_MAX: usize = 20_000;
/// Longest file of keys that is read, in bytes.
const KEYS_BYTES_MAX: usize = 1 << 20;
/// Most keys that are kept.
const KEYS_MAX: usize = 5000;

pub(super) fn collect(view: &View) -> Seen<Vec<Account>> {
    let text = match view.root.quiet_text("/etc/passwd", ACCOUNTS_BYTES_MAX) {
        Seen::Known(text) => text,
        Seen::Unseen(unseen) => {
            view.root.gap("/etc/passwd", &unseen);
            return Seen::Unseen(unseen);
        }
    };
    let shadow = view.root.text("/etc/shadow", ACCOUNTS_BYTES_MAX);
    let shadow: HashMap<&str, (PasswordState, Option<i64>)> =
        shadow.as_deref().unwrap_or_default().lines().filter_map(shadow_line).collect();
    let mut found = Vec::new();
    for (number, line) in crate::formats::lines(&text) {
        let Some(account) = passwd_line(line) else {
            if !line.trim().is_empty() && !line.starts_with(['#', '+', '-']) {
                let detail = format!("line {number} is no account in any form that is known");
                view.root.gap("/etc/passwd", &Unseen { why: Why::Malformed, detail });
            }
            continue;
        };
        let PasswdLine { name, stored, uid, gid, home, shell } = account;
        // Only an `x` sends whoever asks to /etc/shadow; what else stands here counts itself.
        let known = shadow.get(name).copied();
        let (password, changed_day) = match (stored, known) {
            ("x", Some(known)) => known,
            ("x", None) => (PasswordState::Unseen, None),
            (stored, known) => (state(stored), known.and_then(|(_, day)| day)),
        };
        found.push(Account {
            name: name.to_owned(),
            uid,
            gid,
            home: home.to_owned(),
            shell: shell.to_owned(),
            password,
            changed_day,
            line: number,
        });
        if found.len() >= ACCOUNTS_MAX {
            let detail = format!("only the first {ACCOUNTS_MAX} accounts were read");
            view.root.gap("/etc/passwd", &Unseen { why: Why::TooLarge, detail });
            break;
        }
    }
    Seen::Known(found)
}

/// A line of `/etc/passwd`.
struct PasswdLine<'l> {
    name: &'l str,
    stored: &'l str,
    uid: u32,
    gid: u32,
    home: &'l str,
    shell: &'l str,
}

/// The C library takes lines that end early, and numbers behind blanks: so does whoever hides one.
fn passwd_line(line: &str) -> Option<PasswdLine<'_>> {
    let mut fields = line.split(':');
    let (name, stored) = (fields.next()?.trim_start(), fields.next()?);
    let (uid, gid) = (fields.next()?.trim(), fields.next()?.trim());
    let home = fields.nth(1).unwrap_or_default();
    let shell = fields.next().unwrap_or_default();
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    (!name.is_empty()).then_some(PasswdLine { name, stored, uid, gid, home, shell })
}

/// What stands in the place of a password. It goes no further than this.
fn state(stored: &str) -> PasswordState {
    match stored {
        "" => PasswordState::Empty,
        hash if hash.starts_with(['!', '*']) => PasswordState::Locked,
        _ => PasswordState::Set,
    }
}

/// The number from which on accounts are people's: 500 on old systems of Red Hat.
pub(super) fn people_from(view: &View) -> u32 {
    let text = view.root.quiet_text("/etc/login.defs", KEYS_BYTES_MAX);
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "UID_MIN").then(|| words.next()?.parse().ok())?
    };
    text.known().and_then(|text| text.lines().find_map(line)).unwrap_or(1000)
}

/// Name, state and day of a line of `/etc/shadow`. The hash itself goes no further.
fn shadow_line(line: &str) -> Option<(&str, (PasswordState, Option<i64>))> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let state = state(fields.next()?);
    Some((name, (state, fields.next().and_then(|day| day.parse().ok()))))
}

/// The keys of every home, and where the ssh server looks besides.
pub(super) fn keys(view: &View, accounts: &[Account]) -> Vec<AuthorizedKey> {
    let patterns = patterns(view);
    let mut found: Vec<AuthorizedKey> = Vec::new();
    let mut read = HashSet::new();
    for account in accounts {
        for pattern in &patterns {
            let path = pattern.replace("%h", &account.home).replace("%u", &account.name);
            let path =
                if path.starts_with('/') { path } else { format!("{}/{path}", account.home) };
            if path.starts_with('/') && read.insert(path.clone()) {
                found.extend(keys_in(view, account, &path));
            }
        }
        found.truncate(KEYS_MAX);
    }
    found
}

/// `AuthorizedKeysFile` of the ssh server with its drop-ins, and the usual ones in any case.
fn patterns(view: &View) -> Vec<String> {
    let mut files = vec!["/etc/ssh/sshd_config".to_owned()];
    let folder = "/etc/ssh/sshd_config.d";
    files.extend(view.root.names_in(folder).iter().map(|name| format!("{folder}/{}", name.text)));
    let mut found: Vec<String> =
        [".ssh/authorized_keys", ".ssh/authorized_keys2"].map(str::to_owned).into();
    for file in files {
        let text = view.root.text(&file, KEYS_BYTES_MAX).unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split(|c: char| c.is_ascii_whitespace() || c == '=' || c == '"');
            let mut words = words.by_ref().filter(|word| !word.is_empty());
            if words.next().is_some_and(|word| word.eq_ignore_ascii_case("AuthorizedKeysFile")) {
                found.extend(words.filter(|word| *word != "none").map(str::to_owned));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn keys_in(view: &View, account: &Account, path: &str) -> Vec<AuthorizedKey> {
    let Some(text) = view.root.text(path, KEYS_BYTES_MAX) else { return Vec::new() };
    let Some(stat) = view.root.stat(path) else { return Vec::new() };
    let mut found = Vec::new();
    for (line, text) in crate::formats::lines(&text) {
        let Some((options, kind, key, comment)) = split(text) else { continue };
        found.push(AuthorizedKey {
            path: path.to_owned(),
            line,
            user: account.name.clone(),
            uid: account.uid,
            kind: kind.to_owned(),
            fingerprint: fingerprint(key),
            comment: comment.to_owned(),
            options: options.to_owned(),
            modified: stat.st_mtime,
            changed: stat.st_ctime,
        });
    }
    found
}

/// Options, type, key and comment of a line; options may contain quoted blanks.
fn split(line: &str) -> Option<(&str, &str, &str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let kinds = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
    let at = line.char_indices().find(|(at, _)| {
        let head = line.get(..*at).unwrap_or_default();
        let begins = *at == 0 || head.ends_with([' ', '\t']);
        // Blanks inside quotes are part of an option.
        begins
            && head.matches('"').count().is_multiple_of(2)
            && line.get(*at..).is_some_and(|rest| kinds.iter().any(|kind| rest.starts_with(kind)))
    });
    let (at, _) = at?;
    let (options, rest) = line.split_at_checked(at)?;
    let (kind, rest) = rest.split_once([' ', '\t'])?;
    let (key, comment) =
        rest.trim_start().split_once([' ', '\t']).unwrap_or_else(|| (rest.trim(), ""));
    Some((options.trim(), kind, key, comment.trim()))
}

/// As `ssh-keygen -l` shows it.
fn fingerprint(key: &str) -> String {
    match base64::decode(key) {
        Some(bytes) => {
            let text = base64::encode(&Sha256::digest(bytes));
            format!("SHA256:{}", text.trim_end_matches('='))
        }
        None => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_keys() {
        let line = "command=\"/bin/sh -c 'x ssh-y'\",no-pty ssh-ed25519 AAAAC3Nz me@home two";
        let (options, kind, key, comment) = split(line).unwrap();
        assert_eq!((kind, key, comment), ("ssh-ed25519", "AAAAC3Nz", "me@home two"));
        assert!(options.starts_with("command=") && options.ends_with("no-pty"));
        assert_eq!(split("# ssh-rsa AAAA"), None);
        assert_eq!(split("ssh-rsa AAAA").unwrap().3, "");
    }

    #[test]
    fn accounts_that_hide_in_short_lines_are_read() {
        let line = passwd_line("r00t::0:0").unwrap();
        assert_eq!((line.name, line.stored, line.uid, line.shell), ("r00t", "", 0, ""));
        assert_eq!(passwd_line(" x:x: 0:+0:g:/:/bin/sh").map(|l| (l.name, l.uid)), Some(("x", 0)));
        for none in ["", "x", "x:x:0", "x:x:zero:0", ":x:0:0"] {
            assert!(passwd_line(none).is_none(), "{none}");
        }
    }

    #[test]
    fn no_hash_leaves_the_line() {
        let (name, (state, day)) = shadow_line("root:$6$abc$def:19000:0:::::").unwrap();
        assert_eq!((name, state, day), ("root", PasswordState::Set, Some(19_000)));
        assert_eq!(shadow_line("x::1:").unwrap().1.0, PasswordState::Empty);
        assert_eq!(shadow_line("x:!*:1:").unwrap().1.0, PasswordState::Locked);
    }
}
