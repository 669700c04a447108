//! What the kernel shows, and what it may have been made to hide.

use std::collections::{BTreeMap, HashSet};

use super::View;
use crate::{
    collect::root::Kind,
    facts::{Seen, Why},
    traces::{Hidden, Module},
};

/// The largest process number that Linux gives on 64-bit systems.
const PID_MAX: u32 = 1 << 22;
/// Process numbers that are tried even if none so large has been given yet.
const PID_LEAST: u32 = 32_768;
/// Longest small file that is read, in bytes.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// Longest list of modules that is read, in bytes; a distribution's has 600 KiB.
const MODULES_BYTES_MAX: usize = 8 << 20;
/// Most hidden processes that are named.
const HIDDEN_MAX: usize = 1000;
/// The bit of an interface that takes packets for others (`IFF_PROMISC`).
const PROMISCUOUS: u32 = 0x100;

/// Processes that answer to their number and are not in the list; things mounted over a process.
pub(super) fn hidden(view: &View) -> Seen<Vec<Hidden>> {
    if !view.proc {
        return Seen::Unseen(view.no_proc());
    }
    let mut found = mounted_over(view);
    if !view.host {
        return Seen::Known(found);
    }
    let before = listed(view);
    let last = view.word("/proc/loadavg");
    let last = last.known().and_then(|text| text.rsplit(' ').next()?.parse::<u32>().ok());
    let top = before.iter().copied().max().unwrap_or(0).max(last.unwrap_or(0)).max(PID_LEAST);
    let mut suspects = Vec::new();
    for pid in 1..=top.min(PID_MAX) {
        if !before.contains(&pid) && view.root.exists(&format!("/proc/{pid}")) {
            suspects.push(pid);
        }
    }
    // Threads answer to their numbers too and are listed nowhere; processes may have begun since.
    let after = listed(view);
    suspects.retain(|pid| {
        !after.contains(pid)
            && leader(view, *pid) == Some(*pid)
            && view.root.exists(&format!("/proc/{pid}"))
    });
    // A process that began and ended between two looks is in no list.
    let once_more = listed(view);
    suspects.retain(|pid| !once_more.contains(pid) && leader(view, *pid) == Some(*pid));
    let because = "it answers to its number and is not in the list of processes";
    found.extend(suspects.into_iter().map(|pid| Hidden { pid, because: because.to_owned() }));
    found.truncate(HIDDEN_MAX);
    Seen::Known(found)
}

fn listed(view: &View) -> HashSet<u32> {
    view.root.names("/proc").list().iter().filter_map(|name| name.text.parse().ok()).collect()
}

/// The process that a thread belongs to.
fn leader(view: &View, pid: u32) -> Option<u32> {
    let status = view.root.quiet_text(&format!("/proc/{pid}/status"), SMALL_BYTES_MAX);
    let line = status.known()?.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim();
    line.parse().ok()
}

fn mounted_over(view: &View) -> Vec<Hidden> {
    let text = view.root.quiet_text("/proc/self/mountinfo", SMALL_BYTES_MAX);
    let mut found = Vec::new();
    for line in text.known().map_or("", String::as_str).lines() {
        let Some(place) = line.split(' ').nth(4) else { continue };
        let pid =
            place.strip_prefix("/proc/").and_then(|rest| rest.split('/').next()?.parse().ok());
        if let Some(pid) = pid {
            found.push(Hidden { pid, because: format!("something is mounted over {place}") });
        }
    }
    found
}

pub(super) fn tainted(view: &View) -> Seen<u64> {
    match view.word("/proc/sys/kernel/tainted") {
        Seen::Known(text) => match text.parse() {
            Ok(bits) => Seen::Known(bits),
            Err(_) => Seen::unseen(Why::Malformed, "/proc/sys/kernel/tainted is no number"),
        },
        Seen::Unseen(unseen) => Seen::Unseen(unseen),
    }
}

pub(super) fn modules(view: &View) -> Seen<Vec<Module>> {
    if !view.proc {
        return Seen::Unseen(view.no_proc());
    }
    let text = match view.root.quiet_text("/proc/modules", MODULES_BYTES_MAX) {
        Seen::Known(text) => text,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen),
    };
    let release = view.word("/proc/sys/kernel/osrelease");
    let known = release.known().and_then(|release| modules_of_kernel(view, release));
    let mut found: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for name in text.lines().filter_map(|line| line.split(' ').next()) {
        found.entry(name.to_owned()).or_default().0 = true;
    }
    for name in view.root.names("/sys/module").list() {
        // What is built into the kernel has no such file.
        if view.root.exists(&format!("/sys/module/{}/initstate", name.text)) {
            found.entry(name.text.clone()).or_default().1 = true;
        }
    }
    let module = |(name, (listed, shown)): (String, (bool, bool))| {
        let known = known.as_ref().map(|known| known.contains(&name));
        Module { name, listed, shown, known }
    };
    Seen::Known(found.into_iter().map(module).collect())
}

fn modules_of_kernel(view: &View, release: &str) -> Option<HashSet<String>> {
    let path = format!("/lib/modules/{release}/modules.dep");
    let text = view.root.quiet_text(&path, MODULES_BYTES_MAX);
    let name = |line: &str| {
        let file = line.split(':').next()?.rsplit('/').next()?;
        Some(file.split(".ko").next()?.replace('-', "_"))
    };
    Some(text.known()?.lines().filter_map(name).collect())
}

pub(super) fn promiscuous(view: &View) -> Seen<Vec<String>> {
    if !view.host {
        return Seen::unseen(Why::NotRunning, "only the running kernel tells");
    }
    match view.root.names("/sys/class/net") {
        Seen::Unseen(unseen) => Seen::Unseen(unseen),
        Seen::Known(names) => {
            let kinds = [Kind::Link, Kind::Folder];
            let wanted = names.into_iter().filter(|name| kinds.contains(&name.kind));
            let is_set = |name: &String| {
                let flags = view.word(&format!("/sys/class/net/{name}/flags"));
                let bits =
                    flags.known().and_then(|text| text.strip_prefix("0x").map(str::to_owned));
                let bits = bits.and_then(|bits| u32::from_str_radix(&bits, 16).ok());
                bits.is_some_and(|bits| bits & PROMISCUOUS != 0)
            };
            Seen::Known(wanted.map(|name| name.text).filter(is_set).collect())
        }
    }
}
