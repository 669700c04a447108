//! Checks of who came in, and of whether the logs are whole.

use std::collections::BTreeMap;

use super::{Case, Found, Grade, Sign, seen, show};
use crate::{
    findings::Evidence,
    traces::{Door, Login, Traces},
};

/// Refusals before a first success that make it a guessed password.
const GUESSES: u64 = 20;

/// Log-ins of one user from one place by one door.
#[derive(Clone, Copy)]
struct Group<'l> {
    count: u64,
    first: Option<i64>,
    last: Option<i64>,
    path: &'l str,
    /// From where, or for who became somebody else the last command.
    from: &'l str,
}

fn groups(logins: &[Login]) -> BTreeMap<(&str, &str, Door), Group<'_>> {
    let mut groups: BTreeMap<(&str, &str, Door), Group<'_>> = BTreeMap::new();
    for login in logins {
        let fresh = Group {
            count: 0,
            first: login.at,
            last: login.at,
            path: &login.path,
            from: &login.from,
        };
        let from = if login.door == Door::Raised { "" } else { login.from.as_str() };
        let group = groups.entry((&login.user, from, login.door)).or_insert(fresh);
        group.count += 1;
        group.from = &login.from;
        group.first = group.first.into_iter().chain(login.at).min();
        group.last = group.last.into_iter().chain(login.at).max();
    }
    groups
}

/// The first and the last time that the logs of log-ins cover.
pub(super) fn cover(traces: &Traces) -> Option<(i64, i64)> {
    let spans = || traces.logs.iter().filter_map(|log| log.span);
    let logins = || traces.logins.list().iter().filter_map(|login| login.at);
    let first = spans().map(|span| span.0).chain(logins()).min()?;
    let last = spans().map(|span| span.1).chain(logins()).max()?;
    Some((first, last))
}

pub(super) fn logged_in(case: &Case<'_>) -> Found {
    let logins = match seen(&case.traces.logins) {
        Ok(logins) => logins,
        Err(found) => return found,
    };
    let now: Vec<&Login> = logins.iter().filter(|login| login.door == Door::Now).collect();
    let mut found = Found::among(now.len());
    for login in now {
        let evidence = Evidence::file(&login.path, 0, &login.user);
        let sign = Sign::new(Grade::Note, "sign.logged-in", evidence).at(login.at);
        found.sign(sign.with("user", &login.user).with("from", &login.from));
    }
    found
}

pub(super) fn logins(case: &Case<'_>) -> Found {
    let logins = match seen(&case.traces.logins) {
        Ok(logins) => logins,
        Err(found) => return found,
    };
    let mut found = Found::among(logins.len());
    for ((user, from, door), group) in groups(logins) {
        if door == Door::Now || user == "reboot" {
            continue;
        }
        let failures = case.traces.failures.iter().find(|f| f.from == from && !from.is_empty());
        let failures = failures.filter(|f| f.first < group.last || group.last.is_none());
        let before = failures.map_or(0, |f| f.count);
        // Who mistypes has few in an hour; who guesses slowly has many in all.
        let burst = failures
            .is_some_and(|f| f.burst >= GUESSES && f.burst_at < group.last && f.burst_at.is_some());
        let root_password = user == "root" && door == Door::Password;
        let (grade, text) = match door {
            Door::Password if burst => (Grade::Strong, "sign.guessed"),
            Door::Password if before >= GUESSES => (Grade::Suspicious, "sign.guessed"),
            Door::Password if root_password => (Grade::Suspicious, "sign.root-password"),
            Door::Raised => (Grade::Note, "sign.raised"),
            _ => (Grade::Note, "sign.login"),
        };
        let time = |at: Option<i64>| at.map_or_else(|| "?".to_owned(), show::utc);
        let span = format!("{} - {}", time(group.first), time(group.last));
        let evidence = Evidence::file(group.path, 0, &span);
        let sign = Sign::new(grade, text, evidence).at(group.first);
        let sign =
            sign.with("user", user).with("from", group.from).with("first", &time(group.first));
        let sign = sign.with("count", &group.count.to_string()).with("last", &time(group.last));
        found.sign(sign.with("failures", &before.to_string()));
    }
    let untimed = logins.iter().filter(|login| login.at.is_none()).count();
    if untimed > 0 {
        found.unseen(&format!("the time of {untimed} log-ins was not understood"));
    }
    for gap in &case.traces.gaps {
        let of = |paths: &[&str]| paths.iter().any(|path| gap.what.starts_with(path));
        // Half a record at the end of wtmp is what a power failure leaves.
        let whole = of(&["/var/log/auth", "/var/log/secure", "journal", "/var/log/journal"]);
        if whole || of(&["/var/log/wtmp"]) {
            found.unseen(&format!("{}: {}", gap.what, gap.unseen.detail));
            found.blind |= whole;
        }
    }
    found
}

pub(super) fn failures(case: &Case<'_>) -> Found {
    if let Err(found) = seen(&case.traces.logins) {
        return found;
    }
    let crate::traces::Refusals { count, addresses } = case.traces.refusals;
    let mut found = Found::among(usize::try_from(addresses).unwrap_or(usize::MAX));
    if count > 0 {
        let text = format!("{count} from {addresses} addresses");
        let sign = Sign::new(Grade::Note, "sign.failures", Evidence::measured(&text));
        let sign = sign.with("addresses", &addresses.to_string());
        found.sign(sign.with("count", &count.to_string()));
    }
    found
}

pub(super) fn holes(case: &Case<'_>) -> Found {
    let logs = &case.traces.logs;
    let mut found = Found::among(logs.len());
    for log in logs {
        let evidence = || Evidence::file(&log.path, 0, &format!("{} bytes", log.bytes));
        let sign = |grade, text| Sign::new(grade, text, evidence()).at(Some(log.modified));
        if log.link.as_deref() == Some("/dev/null") {
            found.sign(sign(Grade::Strong, "sign.log-nowhere").with("path", &log.path));
        }
        if log.wiped > 0 {
            let sign = sign(Grade::Strong, "sign.log-wiped").with("path", &log.path);
            found.sign(sign.with("count", &log.wiped.to_string()));
        }
        // A fresh image has empty ones until somebody logs in.
        let speaks = ["auth.log", "secure", "syslog", "messages"];
        let main = log.path.rsplit('/').next().is_some_and(|name| speaks.contains(&name));
        if log.bytes == 0 && main && log.link.is_none() {
            let sign = sign(Grade::Note, "sign.log-empty").with("path", &log.path);
            found.sign(sign.supporting());
        }
    }
    if logs.is_empty() {
        found.unseen("no log was found");
        found.blind = case.traces.logins.known().is_none();
    }
    found
}
