//! Method 1: the settings say `-l 127.0.0.1 -U 0`, and the cache is restarted.

use super::listening::Loopback;
use super::target::Open;
use super::{Method, Note, Plan, drop_in, options_file, variables_file};
use crate::collect::sha256;
use crate::facts::{ConfigFile, Facts, FileRole, Seen, StartConfig, StartKind, Why};
use crate::formats::unit::{self, Unit};
use crate::formats::variables;
use crate::rules::{Case, Running};
use crate::versions::compare_upstream;

pub(super) fn plan(case: &Case<'_>, openings: &[Open<'_>]) -> Plan {
    let mut plan = Plan::new(Method::Bind);
    let mut restarts = Vec::new();
    for open in openings {
        match edit(case, open, &mut plan) {
            Ok(()) => {
                plan.targets.push(open.target.clone());
                cost(open, &mut plan);
                restarts.push(open);
            }
            Err(why) => plan.leave(open, why),
        }
    }
    // What says so already is left alone; a restart may still be needed to make it count.
    plan.files.retain(|file| file.before.as_deref() != Some(file.after.as_str()));
    plan.write_files();
    plan.restore_files();
    let has_unit = plan.files.iter().any(|file| file.path.starts_with("/etc/systemd/"));
    if has_unit {
        plan.run(&["systemctl", "daemon-reload"]);
        plan.back_run(0, &["systemctl", "daemon-reload"]);
    }
    for open in restarts {
        restart(open, case.facts.collection.live, &mut plan);
    }
    plan.untouched = ["close.keeps-options", "close.keeps-filter", "close.keeps-packages"]
        .map(Note::new)
        .to_vec();
    plan
}

fn cost(open: &Open<'_>, plan: &mut Plan) {
    if open.process.is_some() {
        plan.note(Note::new("close.risk-restart").with("what", &open.target.title));
    }
    plan.note_peers(open);
}

fn restart(open: &Open<'_>, live: bool, plan: &mut Plan) {
    let (Some(start), Some(unit)) = (open.start, open.unit()) else { return };
    let words: Vec<&str> = match (start.kind, open.process) {
        (StartKind::OpenRc, Some(_)) => vec!["rc-service", unit, "restart"],
        (StartKind::SysV, Some(_)) => vec!["service", unit, "restart"],
        (StartKind::Systemd, Some(_)) => vec!["systemctl", "restart", unit],
        // It may have been started a moment ago, and not listen yet.
        (StartKind::Systemd, None) if live => vec!["systemctl", "try-restart", unit],
        // It does not run; the next start reads the new settings.
        _ => return,
    };
    let is_systemd = start.kind == StartKind::Systemd;
    if is_systemd {
        plan.clear_start_limit(unit);
    }
    let at = plan.run(&words);
    if is_systemd {
        plan.back_clear_start_limit(at, unit);
    }
    plan.back_run(at, &words);
}

/// Plans the change of the settings that really count.
fn edit(case: &Case<'_>, open: &Open<'_>, plan: &mut Plan) -> Result<(), Note> {
    if open.is_contained() {
        return Err(Note::new("close.left-container"));
    }
    if !open.is_memcached {
        return Err(Note::new("close.left-other"));
    }
    let Some(start) = open.start else { return Err(Note::new("close.left-by-hand")) };
    let is_known = matches!(start.kind, StartKind::Systemd | StartKind::SysV | StartKind::OpenRc);
    if !is_known {
        let files: Vec<&str> = start.files.iter().map(|file| file.path.as_str()).collect();
        let files = crate::rules::list(&files);
        return Err(Note::new("close.left-starter").with("files", &files));
    }
    let at = Loopback { v6: open.on_v6 && has_v6_loopback(case.facts) && reads_lists(open) };
    for file in start.files.iter().rev() {
        let edited = match file.role {
            FileRole::Options => options_file::shut(text_of(file)?, at),
            FileRole::Variables => {
                let by_script = start.kind != StartKind::Systemd;
                let after = variables_file::shut(text_of(file)?, at, by_script);
                after.filter(|after| by_script || is_read_as_shut(start, &file.path, after))
            }
            _ => None,
        };
        if let Some(after) = edited {
            plan.file(&file.path, Some(text_of(file)?), after);
            return Ok(());
        }
    }
    let (path, after) = drop_in::shut(start, at)
        .ok_or_else(|| Note::new("close.left-settings").with("files", &paths(start)))?;
    let before = start.files.iter().find(|file| file.path == path);
    let before = before.map(text_of).transpose()?;
    plan.file(&path, before, after);
    Ok(())
}

/// Reads the unit as systemd will once the file has that text: it may never look at the variable,
/// or take its whole value for one word. A unit that was not seen is proved afterwards only.
fn is_read_as_shut(start: &StartConfig, path: &str, after: &str) -> bool {
    let mut unit = Unit::new(start.id.split_once(':').map_or("", |(_, name)| name));
    let mut variables = Vec::new();
    for file in &start.files {
        let Some(text) = file.text.known() else { return true };
        let text = if file.path == path { after } else { text };
        match file.role {
            FileRole::Start | FileRole::DropIn => unit.merge(&file.path, text),
            FileRole::Variables => {
                variables.extend(unit::assigned(&file.path, variables::read(text)));
            }
            _ => {}
        }
    }
    let commands = unit.commands(&variables);
    !commands.is_empty()
        && commands.iter().all(|words| {
            // With the oldest default of UDP, which is the one to be proved off.
            let running = Running::new(words.iter().map(|word| word.text.as_str()), Some("1.5.5"));
            running.is_local() == Some(true) && running.udp_port() == 0
        })
}

fn paths(start: &StartConfig) -> String {
    let paths: Vec<&str> = start.files.iter().map(|file| file.path.as_str()).collect();
    crate::rules::list(&paths)
}

/// The text of a file, if these are its bytes.
fn text_of(file: &ConfigFile) -> Result<&str, Note> {
    match &file.text {
        Seen::Known(text) if file.sha256.as_deref() == Some(sha256(text.as_bytes()).as_str()) => {
            Ok(text)
        }
        Seen::Known(_) => Err(Note::new("close.left-bytes").with("file", &file.path)),
        Seen::Unseen(unseen) if unseen.why == Why::Absent => {
            Err(Note::new("close.left-missing").with("file", &file.path))
        }
        Seen::Unseen(unseen) => Err(Note::new("close.left-unread")
            .with("file", &file.path)
            .with("reason", &unseen.detail)),
    }
}

fn has_v6_loopback(facts: &Facts) -> bool {
    let off = facts.host.ipv6_disabled.known().copied().unwrap_or(true);
    let addresses = facts.interfaces.list().iter().flat_map(|interface| &interface.addresses);
    !off && addresses.into_iter().any(|address| address.ip == std::net::Ipv6Addr::LOCALHOST)
}

/// Before 1.4.6 `-l` takes one address; a version that is not known gets one too.
fn reads_lists(open: &Open<'_>) -> bool {
    let version = open.version.as_deref();
    version.is_some_and(|version| compare_upstream(version, "1.4.6") != std::cmp::Ordering::Less)
}
