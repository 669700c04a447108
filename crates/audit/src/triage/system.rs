//! Checks of the clock, the kernel, the traffic and the cache itself.

use super::{Case, Found, Grade, Sign, seen};
use crate::{
    facts::{Protocol, Scope, Seen},
    findings::{Evidence, Verdict, quoted},
};

/// A log that was written so much after "now" shows that the clock was set back, in seconds.
const CLOCK_SLACK_S: i64 = 3600;
/// Longest time without any word in any log, in seconds.
const SILENCE_S: i64 = 30 * 86_400;
/// 2018-02-01: no host that runs this program was looked at before memcached was abused.
const EARLIEST: i64 = 1_517_443_200;
/// Bits of the kernel's taint mark: a module from outside its tree, an unsigned one.
const OUT_OF_TREE: u64 = 1 << 12;
const UNSIGNED: u64 = 1 << 13;
/// Ports of servers that strangers should not reach, and what usually listens there.
const OTHER_DOORS: [(u16, &str); 7] = [
    (6379, "redis"),
    (27017, "mongodb"),
    (3306, "mysql"),
    (5432, "postgresql"),
    (2375, "docker"),
    (9200, "elasticsearch"),
    (8291, "winbox"),
];

pub(super) fn clock(case: &Case<'_>) -> Found {
    let facts = &case.traces.facts;
    let mut found = Found::among(1);
    let at = facts.collection.at;
    let late = case.traces.newest_log.filter(|log| *log > at + CLOCK_SLACK_S);
    if at < EARLIEST || late.is_some() {
        let log = late.map_or_else(|| "-".to_owned(), super::show::utc);
        let text = Evidence::measured(&format!("now {}", super::show::utc(at)));
        found.sign(Sign::new(Grade::Suspicious, "sign.clock", text).with("log", &log));
    }
    // The system writes its logs all the time; none for a month is a clock that runs ahead, or a
    // log that was stopped.
    let newest = case.traces.newest_log.into_iter().chain(facts.host.booted.known().copied()).max();
    let silent = newest.filter(|newest| facts.collection.live && at - newest > SILENCE_S);
    if let Some(newest) = silent {
        let text = Evidence::measured(&format!("now {}", super::show::utc(at)));
        let sign = Sign::new(Grade::Note, "sign.clock-ahead", text).supporting();
        found.sign(sign.with("log", &super::show::utc(newest)));
    }
    if let (Seen::Known(booted), Some(incident)) = (&facts.host.booted, case.incident)
        && (incident - 3600..=at).contains(booted)
    {
        let evidence = Evidence::measured(&format!("btime {booted}"));
        let sign = Sign::new(Grade::Note, "sign.rebooted", evidence).at(Some(*booted));
        found.sign(sign.with("when", &super::show::utc(*booted)));
    }
    found
}

/// Whether the cache answers strangers over UDP, or did when `check` looked.
pub(super) fn open_udp(case: &Case<'_>) -> Vec<String> {
    let open = |verdict| matches!(verdict, Verdict::Open | Verdict::OpenIfMapped);
    let caches = case.report.caches.iter();
    let doors = caches.flat_map(|cache| cache.doors.iter().map(move |door| (cache, door)));
    let wanted = doors.filter(|(_, door)| door.transport == "udp" && open(door.verdict));
    let text = wanted.map(|(cache, door)| {
        let pid = cache.pid.map_or_else(String::new, |pid| format!(" pid {pid}"));
        quoted(&format!("{}{pid} udp {} {}", cache.name, door.bound, door.verdict.name()))
    });
    text.collect()
}

pub(super) fn traffic(case: &Case<'_>) -> Found {
    let facts = case.before.unwrap_or(&case.traces.facts);
    let mut found = Found::among(facts.usage.len());
    for door in open_udp(case) {
        let evidence = Evidence::Socket { text: door.clone(), inode: 0 };
        found.sign(Sign::new(Grade::Note, "sign.open-udp", evidence).with("door", &door));
    }
    for usage in &facts.usage {
        let Seen::Known(sample) = &usage.first else { continue };
        let number = |key: &str| sample.values.get(key).and_then(|v| v.parse::<u64>().ok());
        let (Some(read), Some(written)) = (number("bytes_read"), number("bytes_written")) else {
            continue;
        };
        if written > read.saturating_mul(10) && written > 0 {
            let text = format!("bytes_read {read}, bytes_written {written}");
            let sign = Sign::new(Grade::Note, "sign.asymmetric", Evidence::measured(&text));
            let sign = sign.with("read", &read.to_string()).with("written", &written.to_string());
            found.sign(sign);
        }
    }
    if !facts.collection.live {
        found.unseen("a disk was looked at, no running system");
        found.blind = true;
    }
    found
}

pub(super) fn hidden(case: &Case<'_>) -> Found {
    let hidden = match seen(&case.traces.hidden) {
        Ok(hidden) => hidden,
        Err(found) => return found,
    };
    let mut found = Found::among(case.traces.processes.list().len());
    for process in hidden {
        let evidence = Evidence::Process { pid: process.pid, text: quoted(&process.because) };
        let sign = Sign::new(Grade::Strong, "sign.hidden", evidence);
        found.sign(sign.with("pid", &process.pid.to_string()));
    }
    found
}

pub(super) fn modules(case: &Case<'_>) -> Found {
    let modules = match seen(&case.traces.modules) {
        Ok(modules) => modules,
        Err(found) => return found,
    };
    let mut found = Found::among(modules.len());
    // A container sees the modules of its host, and none of their files.
    let contained = case.traces.facts.host.inside_container.is_some();
    for module in modules.iter().filter(|_| !contained) {
        let evidence = Evidence::file("/proc/modules", 0, &module.name);
        if module.shown && !module.listed {
            let sign = Sign::new(Grade::Strong, "sign.module-hidden", evidence);
            found.sign(sign.with("module", &module.name));
        } else if module.known == Some(false) {
            let sign = Sign::new(Grade::Note, "sign.module-unknown", evidence).supporting();
            found.sign(sign.with("module", &module.name));
        }
    }
    if modules.iter().any(|module| module.known.is_none()) {
        found.unseen("the list of this kernel's own modules (modules.dep) is not there");
    }
    if let Seen::Known(bits) = &case.traces.tainted
        && bits & (OUT_OF_TREE | UNSIGNED) != 0
        && !contained
    {
        let evidence = Evidence::file("/proc/sys/kernel/tainted", 0, &bits.to_string());
        found.sign(Sign::new(Grade::Note, "sign.tainted", evidence).supporting());
    }
    found
}

pub(super) fn promiscuous(case: &Case<'_>) -> Found {
    let names = match seen(&case.traces.promiscuous) {
        Ok(names) => names,
        Err(found) => return found,
    };
    let mut found = Found::among(case.traces.facts.interfaces.list().len());
    for name in names {
        let path = format!("/sys/class/net/{name}/flags");
        let sign = Sign::new(Grade::Note, "sign.promiscuous", Evidence::file(&path, 0, ""));
        found.sign(sign.with("interface", name).supporting());
    }
    found
}

pub(super) fn other_doors(case: &Case<'_>) -> Found {
    let listeners = match seen(&case.traces.listeners) {
        Ok(listeners) => listeners,
        Err(found) => return found,
    };
    let mut found = Found::among(listeners.len());
    for listener in listeners.iter().filter(|listener| listener.protocol == Protocol::Tcp) {
        let port = listener.local.port();
        let known = OTHER_DOORS.iter().find(|(other, _)| *other == port);
        let Some((_, name)) = known else { continue };
        if Scope::of(listener.local.ip()) != Scope::Loopback {
            let text = format!("tcp {}", listener.local);
            let evidence = Evidence::Socket { text: text.clone(), inode: 0 };
            let sign = Sign::new(Grade::Note, "sign.other-door", evidence);
            found.sign(sign.with("socket", &text).with("name", name));
        }
    }
    found
}

pub(super) fn origin(case: &Case<'_>) -> Found {
    let packages = &case.traces.facts.packages;
    let events = packages.history.list();
    let mut found = Found::among(events.len());
    for event in events.iter().filter(|event| event.action == "install") {
        let evidence = Evidence::file(&event.path, event.line, &event.when);
        let command = event.command.as_deref().unwrap_or("-");
        let sign = Sign::new(Grade::Note, "sign.origin", evidence).at(event.at);
        let sign = sign.with("package", &event.package).with("when", &event.when);
        found.sign(sign.with("command", command));
    }
    if let Seen::Unseen(unseen) = &packages.history {
        found.unseen(&unseen.detail);
    }
    found
}
