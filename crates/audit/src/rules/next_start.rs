//! What the next start brings: settings that differ from what runs.

use super::{Case, caches::Cache, remedies, running::Running};
use crate::facts::{AtBoot, Facts, HostName, StartCommand, StartConfig, StartKind, Starter};
use crate::findings::{Confidence, Evidence, Finding, Installation, Verdict, catalogue};

/// Problems of one starter that are quoted; more are counted.
const PROBLEMS_MAX: usize = 20;

/// Compares a running cache with the settings that would start it again.
pub(crate) fn judge(
    case: &Case<'_>,
    cache: &Cache<'_>,
    service: &Installation,
    findings: &mut Vec<Finding>,
) {
    if cache.process.is_none() || !cache.is_memcached() {
        return;
    }
    let Some(start) = cache.start else {
        if matches!(cache.process.map(|p| &p.starter), Some(Starter::Container)) {
            return; // The engine's records were not to be seen; the gaps say so.
        }
        forgets(cache, findings);
        return;
    };
    if start.comes_back() == Some(false) && start.kind != StartKind::Container {
        forgets(cache, findings);
        return;
    }
    let Some(first) = start.commands.first() else { return };
    if start.kind == StartKind::Container {
        return; // The command is the same one inside; the published ports were judged.
    }
    let version = cache.version.as_deref();
    let now_local = service.doors.iter().all(|door| door.verdict == Verdict::Local);
    if let Some(command) =
        start.commands.iter().find(|command| now_local && opens_up(case.facts, command, version))
    {
        findings.push(opens(case, start, command, &cache.title()));
    } else if !cache.command().is_empty()
        && !start.commands.iter().any(|command| is_same(command, cache))
    {
        let finding = Finding::new(&catalogue::BOOT_DIFFERS, &cache.title())
            .with("running", &cache.command())
            .with("settings", &line(first))
            .seen(super::exposure::process_evidence(cache))
            .seen(words(first))
            .mended_by(remedies::restart(cache));
        findings.push(finding);
    }
}

/// Would this command listen beyond this host?
fn opens_up(facts: &Facts, command: &StartCommand, version: Option<&str>) -> bool {
    let next = Running::new(command.argv(), version);
    let named = next.names();
    let means_more = |name: &&HostName| {
        named.contains(&name.name) && name.addresses.iter().any(|ip| !ip.is_loopback())
    };
    next.is_local() == Some(false) || facts.names.iter().any(|name| means_more(&name))
}

/// Would this command listen and ask for logins as the cache does now?
fn is_same(command: &StartCommand, cache: &Cache<'_>) -> bool {
    let next = Running::new(command.argv(), cache.version.as_deref());
    sorted(&next) == sorted(&cache.running)
        && next.unix_socket() == cache.running.unix_socket()
        && next.login() == cache.running.login()
}

fn sorted(running: &Running) -> Vec<String> {
    let mut listens: Vec<String> = running
        .listens()
        .iter()
        .map(|(ip, transport, port)| format!("{ip:?} {} {port}", transport.name()))
        .collect();
    listens.sort();
    listens
}

/// Settings that will start a cache that does not run now, and what makes a start fail or depends
/// on something else.
pub(crate) fn judge_waiting(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for start in case.facts.starts.iter().filter(|start| !start.problems.is_empty()) {
        let problems = start.problems.iter().take(PROBLEMS_MAX);
        let finding = Finding::new(&catalogue::START_PROBLEM, &start.id)
            .with("count", &start.problems.len().to_string())
            .seen(problems.map(|problem| Evidence::measured(problem)));
        findings.push(finding);
    }
    for (start, command) in waiting(case.facts) {
        findings.push(opens(case, start, command, &start.id));
    }
}

/// Settings that will open a cache which does not run now, each with the command that does.
pub(crate) fn waiting(facts: &Facts) -> Vec<(&StartConfig, &StartCommand)> {
    let caches = super::caches::all(facts);
    let running: Vec<&str> =
        caches.iter().filter_map(|cache| cache.start.map(|start| start.id.as_str())).collect();
    let version = facts.packages.installed.list().iter().find_map(|package| {
        let order = super::caches::order(package.kind)?;
        (package.name == "memcached").then(|| order.upstream(&package.version))?
    });
    let opening = |start: &'_ StartConfig, command: &StartCommand| match start.kind {
        // Inside, every address is the container's own; what is published counts.
        StartKind::Container | StartKind::Compose => publishes(start),
        _ => is_memcached(command) && opens_up(facts, command, version),
    };
    let waits = |start: &&StartConfig| {
        start.comes_back() == Some(true) && !running.contains(&start.id.as_str())
    };
    let starts = facts.starts.iter().filter(waits);
    starts
        .filter_map(|start| {
            let command = start.commands.iter().find(|command| opening(start, command))?;
            Some((start, command))
        })
        .collect()
}

fn is_memcached(command: &StartCommand) -> bool {
    let program = command.argv().next().unwrap_or_default();
    program.rsplit('/').next().unwrap_or_default().contains("memcached")
}

/// Whether it has a published port (`0.0.0.0:11211/tcp`) at another address than loopback.
fn publishes(start: &StartConfig) -> bool {
    start.opened_for_it.iter().any(|port| {
        let address = port.rsplit_once('/').map_or(port.as_str(), |(address, _)| address);
        let address = address.parse::<std::net::SocketAddr>();
        address.is_ok_and(|address| !address.ip().to_canonical().is_loopback())
    })
}

fn opens(case: &Case<'_>, start: &StartConfig, command: &StartCommand, subject: &str) -> Finding {
    Finding::new(&catalogue::BOOT_OPENS, subject)
        .sure(Confidence::Medium)
        .with("options", &line(command))
        .seen(enabled_by(start))
        .seen(words(command))
        .mended_by(remedies::shut(case))
}

fn line(command: &StartCommand) -> String {
    command.argv().collect::<Vec<_>>().join(" ")
}

/// The file and line of each word that says where to listen; the whole line's first word else.
fn words(command: &StartCommand) -> Vec<Evidence> {
    let telling = |text: &str| {
        ["-l", "-U", "-p", "-s", "--listen", "--udp-port", "--port"]
            .iter()
            .any(|option| text.starts_with(option))
    };
    let mut evidence: Vec<Evidence> = command
        .words
        .iter()
        .filter(|word| telling(&word.text) && !word.path.is_empty())
        .map(|word| Evidence::file(&word.path, word.line, &word.text))
        .collect();
    if evidence.is_empty()
        && let Some(word) = command.words.first()
    {
        evidence.push(Evidence::file(&word.path, word.line, &line(command)));
    }
    evidence.dedup();
    evidence
}

fn enabled_by(start: &StartConfig) -> Option<Evidence> {
    match start.at_boot.known()? {
        AtBoot::Enabled { by } => Some(Evidence::file(by, 0, "")),
        _ => None,
    }
}

fn forgets(cache: &Cache<'_>, findings: &mut Vec<Finding>) {
    let finding = Finding::new(&catalogue::BOOT_FORGETS, &cache.title())
        .sure(Confidence::Medium)
        .seen(super::exposure::process_evidence(cache));
    findings.push(finding);
}
