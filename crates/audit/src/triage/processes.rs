//! Checks of what runs and whom it talks to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Found, Grade, Sign, seen};
use crate::{
    facts::{Protocol, Scope},
    findings::{Evidence, quoted},
    traces::{Connection, Owner, ProcessTrace},
};

/// Where everybody may write: programs do not live there.
const OPEN: [&str; 6] =
    ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/var/www/", "/run/lock/"];
/// Longest part of a command line that a sign quotes.
const ARGV_CHARS_MAX: usize = 160;
/// Processor time, in percent of its life, above which an unknown process is named.
const HEAVY_PERCENT: u32 = 50;
/// Connections to so many hosts by one process are a fan-out.
const FAN_OUT: usize = 30;
/// Words of miners on a command line.
const MINERS: [&str; 8] = [
    "stratum+",
    "xmrig",
    "--donate-level",
    "minerd",
    "cryptonight",
    "nicehash",
    "kdevtmpfsi",
    "kinsing",
];
/// Beginnings of the names of the kernel's own threads, which no program has.
const KERNEL_NAMES: [&str; 12] = [
    "kworker/",
    "ksoftirqd/",
    "kthreadd",
    "migration/",
    "rcu_",
    "kswapd",
    "khugepaged",
    "kcompactd",
    "khungtaskd",
    "watchdog/",
    "cpuhp/",
    "jbd2/",
];
/// Ports of mining pools and of IRC, by which stolen hosts are steered.
const BAD_PORTS: [u16; 6] = [3333, 4444, 14444, 6667, 6697, 1337];
/// Programs that take commands.
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "zsh", "ksh", "nc", "ncat", "socat", "netcat"];
/// Programs that may see packets of others.
const SNIFFERS: [&str; 9] = [
    "dhclient",
    "dhcpcd",
    "tcpdump",
    "systemd-network",
    "systemd-networkd",
    "NetworkManager",
    "lldpd",
    "arping",
    "ping",
];

pub(super) fn evidence(process: &ProcessTrace) -> Evidence {
    let program = process.program.known().cloned().flatten().unwrap_or_default();
    // Arguments may hold secrets; their beginning tells which program it is.
    let argv: String = process.argv.join(" ").chars().take(ARGV_CHARS_MAX).collect();
    let text = match (program.is_empty(), process.deleted) {
        (true, _) => format!("{} ({argv})", process.name),
        (false, true) => format!("{program} (deleted): {argv}"),
        (false, false) => format!("{program}: {argv}"),
    };
    Evidence::Process { pid: process.pid, text: quoted(&text) }
}

/// The processes, and how many of them did not show their program.
fn all<'c>(case: &Case<'c>) -> Result<(&'c [ProcessTrace], Found), Found> {
    let all = seen(&case.traces.processes)?;
    let mut found = Found::among(all.len());
    let unseen = all.iter().filter(|p| p.program.known().is_none()).count();
    if unseen > 0 {
        found.unseen(&format!("{unseen} of {} processes did not show their program", all.len()));
        found.blind = !case.traces.facts.collection.uid.eq(&0);
    }
    Ok((all, found))
}

fn path(process: &ProcessTrace) -> Option<&str> {
    process.program.known()?.as_deref()
}

pub(super) fn inventory(case: &Case<'_>) -> Found {
    match all(case) {
        Ok((_, found)) | Err(found) => found,
    }
}

pub(super) fn deleted(case: &Case<'_>) -> Found {
    let (all, mut found) = match all(case) {
        Ok(all) => all,
        Err(found) => return found,
    };
    for process in all.iter().filter(|process| process.deleted) {
        let Some(path) = path(process) else { continue };
        // Container engines run a sealed copy of themselves.
        let sealed = path.starts_with("/memfd:runc") || path.starts_with("/memfd:crun");
        let memory = path.starts_with("/memfd:");
        let open = OPEN.iter().any(|folder| path.starts_with(folder));
        let (grade, text) = match (sealed, memory, open, process.replaced) {
            (true, ..) => (Grade::Note, "sign.deleted-sealed"),
            (_, true, ..) => (Grade::Suspicious, "sign.deleted-memory"),
            (_, _, true, _) => (Grade::Strong, "sign.deleted-open"),
            (_, _, _, true) => (Grade::Note, "sign.deleted-replaced"),
            // In a container the path is another system's.
            _ if process.container => (Grade::Note, "sign.deleted-container"),
            _ if process.owner == Owner::Package => (Grade::Note, "sign.deleted-replaced"),
            _ => (Grade::Suspicious, "sign.deleted-gone"),
        };
        let sign = Sign::new(grade, text, evidence(process)).with("program", path);
        found.sign(sign.at(process.started));
    }
    found
}

pub(super) fn odd_places(case: &Case<'_>) -> Found {
    let (all, mut found) = match all(case) {
        Ok(all) => all,
        Err(found) => return found,
    };
    for process in all.iter().filter(|process| !process.deleted && !process.container) {
        let Some(path) = path(process) else { continue };
        let open = OPEN.iter().any(|folder| path.starts_with(folder));
        let hidden = path.split('/').any(|part| part.starts_with('.') && part.len() > 1);
        if open || (hidden && process.owner != Owner::Package) {
            let grade = if open { Grade::Suspicious } else { Grade::Note };
            let sign = Sign::new(grade, "sign.odd-place", evidence(process)).with("program", path);
            found.sign(sign.at(process.started).supporting());
        }
    }
    found
}

pub(super) fn masks(case: &Case<'_>) -> Found {
    let (all, mut found) = match all(case) {
        Ok(all) => all,
        Err(found) => return found,
    };
    for process in all {
        let Some(path) = path(process) else { continue };
        let shown = process.argv.first().map_or("", String::as_str);
        let brackets = |text: &str| text.starts_with('[') && text.trim_end().ends_with(']');
        let kernel = |text: &str| KERNEL_NAMES.iter().any(|name| text.starts_with(name));
        if brackets(shown) || brackets(&process.name) || kernel(&process.name) || kernel(shown) {
            let shown = if brackets(shown) || kernel(shown) { shown } else { &process.name };
            let sign =
                Sign::new(Grade::Strong, "sign.mask", evidence(process)).with("shown", shown);
            found.sign(sign.with("program", path).at(process.started));
        } else if poses(process, shown, path) {
            let sign = Sign::new(Grade::Suspicious, "sign.poses", evidence(process));
            found.sign(sign.with("shown", shown).with("program", path).at(process.started));
        }
    }
    found
}

/// Whether it shows the path of a system's program and is a program of no package.
fn poses(process: &ProcessTrace, shown: &str, path: &str) -> bool {
    const SYSTEM: [&str; 6] = ["/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/", "/lib/", "/usr/lib/"];
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let shown = shown.split(' ').next().unwrap_or_default();
    let system = SYSTEM.iter().any(|folder| shown.starts_with(folder));
    system && process.owner == Owner::Nobody && !process.container && name(shown) != name(path)
}

pub(super) fn miners(case: &Case<'_>) -> Found {
    let (all, mut found) = match all(case) {
        Ok(all) => all,
        Err(found) => return found,
    };
    for process in all {
        let line = process.argv.join(" ").to_ascii_lowercase();
        // A person who looks for a miner names it too.
        let looks = ["grep", "pgrep", "pkill", "rg", "vi", "less"].contains(&process.name.as_str())
            && process.owner != Owner::Nobody;
        if let Some(word) = MINERS.iter().find(|word| line.contains(**word)).filter(|_| !looks) {
            let sign = Sign::new(Grade::Strong, "sign.miner", evidence(process));
            found.sign(sign.with("word", word).at(process.started));
        }
        let heavy = process.cpu_percent.is_some_and(|percent| percent >= HEAVY_PERCENT);
        let old = case.traces.facts.collection.at - process.started.unwrap_or(i64::MAX) > 600;
        if heavy && old && process.owner == Owner::Nobody && !process.container {
            let percent = process.cpu_percent.unwrap_or(0).to_string();
            let sign = Sign::new(Grade::Note, "sign.heavy", evidence(process)).supporting();
            found.sign(sign.with("percent", &percent).at(process.started));
        }
    }
    found
}

fn holder<'c>(case: &Case<'c>, connection: &Connection) -> Option<&'c ProcessTrace> {
    let pid = connection.pids.first()?;
    case.traces.processes.list().iter().find(|process| process.pid == *pid)
}

pub(super) fn listeners(case: &Case<'_>) -> Found {
    let all = match seen(&case.traces.listeners) {
        Ok(all) => all,
        Err(found) => return found,
    };
    let mut found = Found::among(all.len());
    for listener in all {
        let Some(process) = holder(case, listener) else { continue };
        let outside = Scope::of(listener.local.ip()) != Scope::Loopback;
        let Some(path) = path(process).filter(|_| outside && !process.container) else { continue };
        if process.owner != Owner::Nobody || is_ours(path) {
            continue;
        }
        let open = OPEN.iter().any(|folder| path.starts_with(folder)) || process.deleted;
        let grade = if open { Grade::Strong } else { Grade::Note };
        let sign = Sign::new(grade, "sign.listener", evidence(process)).supporting();
        let protocol = if listener.protocol == Protocol::Udp { "udp" } else { "tcp" };
        let local = format!("{protocol} {}", listener.local);
        found.sign(sign.with("socket", &local).with("program", path).at(process.started));
    }
    raw(case, &mut found);
    found
}

/// Kannuki itself is copied to a host without a package.
fn is_ours(path: &str) -> bool {
    path.ends_with("/kannuki")
}

fn raw(case: &Case<'_>, found: &mut Found) {
    let sockets = match seen(&case.traces.raw_sockets) {
        Ok(sockets) => sockets,
        Err(blind) => {
            found.unseen.extend(blind.unseen);
            return;
        }
    };
    found.looked_at += sockets.len() as u64;
    for socket in sockets {
        let processes = case.traces.processes.list();
        let holders = processes.iter().filter(|process| socket.pids.contains(&process.pid));
        for process in holders {
            let known =
                SNIFFERS.contains(&process.name.as_str()) || process.owner == Owner::Package;
            if !known && !process.container {
                let sign = Sign::new(Grade::Suspicious, "sign.raw", evidence(process));
                found.sign(sign.with("kind", &socket.kind).at(process.started));
            }
        }
    }
}

pub(super) fn outgoing(case: &Case<'_>) -> Found {
    let all = match seen(&case.traces.connections) {
        Ok(all) => all,
        Err(found) => return found,
    };
    let mut found = Found::among(all.len());
    let mut fans: BTreeMap<u32, BTreeSet<std::net::IpAddr>> = BTreeMap::new();
    let listening: BTreeSet<u16> =
        case.traces.listeners.list().iter().map(|listener| listener.local.port()).collect();
    for connection in all {
        let Some(remote) = connection.remote else { continue };
        if Scope::of(remote.ip()) == Scope::Loopback || listening.contains(&connection.local.port())
        {
            continue;
        }
        let Some(process) = holder(case, connection) else { continue };
        let to = remote.to_string();
        if SHELLS.contains(&process.name.as_str()) {
            let sign = Sign::new(Grade::Strong, "sign.shell", evidence(process));
            found.sign(sign.with("to", &to).at(process.started));
        } else if BAD_PORTS.contains(&remote.port()) {
            let sign = Sign::new(Grade::Suspicious, "sign.bad-port", evidence(process));
            found.sign(sign.with("to", &to).at(process.started));
        }
        fans.entry(process.pid).or_default().insert(remote.ip());
    }
    for (pid, hosts) in fans.iter().filter(|(_, hosts)| hosts.len() >= FAN_OUT) {
        let process = case.traces.processes.list().iter().find(|process| process.pid == *pid);
        let Some(process) = process else { continue };
        let sign = Sign::new(Grade::Note, "sign.fan-out", evidence(process)).supporting();
        found.sign(sign.with("count", &hosts.len().to_string()).at(process.started));
    }
    found
}
