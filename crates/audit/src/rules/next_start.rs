//! What the next start brings: settings that differ from what runs, and the commands that shut,
//! stop or restart.

use super::{Case, caches::Cache, running::Running, wording};
use crate::facts::{
    AtBoot, Facts, FileRole, Process, StartCommand, StartConfig, StartKind, Starter,
};
use crate::findings::{Confidence, Evidence, Finding, Installation, Verdict, catalogue};

/// Compares a running cache with the settings that would start it again.
pub(crate) fn judge(cache: &Cache<'_>, service: &Installation, findings: &mut Vec<Finding>) {
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
        start.commands.iter().find(|command| now_local && opens_up(command, version))
    {
        findings.push(opens(start, command, &cache.title()));
    } else if !cache.command().is_empty()
        && !start.commands.iter().any(|command| is_same(command, cache))
    {
        let finding = Finding::new(&catalogue::BOOT_DIFFERS, &cache.title())
            .with("running", &cache.command())
            .with("settings", &line(first))
            .seen(super::exposure::process_evidence(cache))
            .seen(words(first))
            .mended_by(restart(cache));
        findings.push(finding);
    }
}

/// Would this command listen beyond this host?
fn opens_up(command: &StartCommand, version: Option<&str>) -> bool {
    Running::new(command.argv(), version).is_local() == Some(false)
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

/// Settings that will start a cache that does not run now.
pub(crate) fn judge_waiting(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for (start, command) in waiting(case.facts) {
        findings.push(opens(start, command, &start.id));
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
        _ => is_memcached(command) && opens_up(command, version),
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

fn opens(start: &StartConfig, command: &StartCommand, subject: &str) -> Finding {
    Finding::new(&catalogue::BOOT_OPENS, subject)
        .sure(Confidence::Medium)
        .with("options", &line(command))
        .seen(enabled_by(start))
        .seen(words(command))
        .mended_by(bind(start))
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

/// The commands that let it listen on this host only, for the settings that start it.
fn bind(start: &StartConfig) -> Vec<String> {
    let mut commands = Vec::new();
    for file in &start.files {
        let path = wording::shell_word(&file.path);
        let text = file.text.known().map(String::as_str).unwrap_or_default();
        let has = |name: &str| text.lines().any(|line| line.trim_start().starts_with(name));
        match file.role {
            FileRole::Options => commands.push(format!(
                "sed -i -e '/^[[:space:]]*-[lU]/d' -e '$a -l 127.0.0.1\\n-U 0' {path}"
            )),
            FileRole::Variables if has("OPTIONS=") => {
                commands.push(assign(&path, text, "OPTIONS", "127.0.0.1"));
            }
            FileRole::Variables if has("MEMCACHED_PARAMS=") => {
                commands.push(assign(&path, text, "MEMCACHED_PARAMS", "127.0.0.1"));
            }
            FileRole::Variables if has("LISTENON=") || has("UDPPORT=") => {
                commands.push(format!(
                    "sed -i -e 's/^LISTENON=.*/LISTENON=\"127.0.0.1\"/' \
                     -e 's/^UDPPORT=.*/UDPPORT=\"0\"/' {path}"
                ));
            }
            _ => {}
        }
    }
    if commands.is_empty() {
        return commands;
    }
    let name = wording::shell_word(start.id.split_once(':').map_or("memcached", |(_, n)| n));
    commands.push(match start.kind {
        StartKind::Systemd => format!("systemctl restart {name}"),
        StartKind::OpenRc => format!("rc-service {name} restart"),
        _ => format!("service {name} restart"),
    });
    commands
}

/// Writes a variable of options again, without what said where to listen.
fn assign(path: &str, text: &str, variable: &str, address: &str) -> String {
    let old = text
        .lines()
        .rev()
        .find_map(|line| line.trim_start().strip_prefix(variable)?.strip_prefix('='))
        .unwrap_or_default();
    let old = old.trim().trim_matches(['"', '\'']);
    let kept = without_listening(old);
    let value = format!("{kept} -l {address} -U 0");
    let quoted: String = value.trim().chars().filter(|c| !"\\&|'\"".contains(*c)).collect();
    format!("sed -i 's|^{variable}=.*|{variable}=\"{quoted}\"|' {path}")
}

/// Options without `-l` and `-U`, in any spelling.
fn without_listening(options: &str) -> String {
    let mut kept = Vec::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "-l" | "-U" | "--listen" | "--udp-port" => {
                words.next();
            }
            word if ["-l", "-U", "--listen=", "--udp-port="]
                .iter()
                .any(|option| word.starts_with(option)) => {}
            word => kept.push(word),
        }
    }
    kept.join(" ")
}

/// The commands that shut a running cache: by its settings where they are known, else by stopping.
pub(crate) fn shut(cache: &Cache<'_>) -> Vec<String> {
    if let Some(process) = cache.process.filter(|process| process.container.is_some()) {
        return container_commands(process);
    }
    let commands = cache.start.map(bind).unwrap_or_default();
    if commands.is_empty() { stop(cache) } else { commands }
}

/// The commands with which a person shuts a cache in a container.
pub(crate) fn container_commands(process: &Process) -> Vec<String> {
    let Some(container) = &process.container else { return Vec::new() };
    let name = wording::shell_word(container.name.as_deref().unwrap_or(&container.id));
    let engine = wording::shell_word(&container.engine);
    vec![
        format!("{engine} inspect --format '{{{{json .HostConfig.PortBindings}}}}' {name}"),
        "# publish it as 127.0.0.1:11211:11211 and create the container again".to_owned(),
    ]
}

/// The commands that stop it for good.
pub(crate) fn stop(cache: &Cache<'_>) -> Vec<String> {
    let Some(process) = cache.process else { return Vec::new() };
    match &process.starter {
        Starter::Systemd { unit, user: None } => {
            let unit = wording::shell_word(unit);
            vec![format!("systemctl disable --now {unit}"), format!("systemctl mask {unit}")]
        }
        Starter::Systemd { unit, .. } => {
            vec![format!("systemctl --user disable --now {}", wording::shell_word(unit))]
        }
        Starter::SysV { script } => {
            let name = script.rsplit('/').next().unwrap_or("memcached");
            let name = wording::shell_word(name);
            vec![format!("service {name} stop"), format!("chkconfig {name} off")]
        }
        Starter::OpenRc { service } => {
            let name = wording::shell_word(service);
            vec![format!("rc-update del {name}"), format!("rc-service {name} stop")]
        }
        _ => vec![format!("kill {}", process.pid)],
    }
}

/// The commands that restart it.
pub(crate) fn restart(cache: &Cache<'_>) -> Vec<String> {
    match cache.process.map(|process| &process.starter) {
        Some(Starter::Systemd { unit, user: None }) => {
            vec![format!("systemctl restart {}", wording::shell_word(unit))]
        }
        Some(Starter::SysV { script }) => {
            vec![format!("{} restart", wording::shell_word(script))]
        }
        Some(Starter::OpenRc { service }) => {
            vec![format!("rc-service {} restart", wording::shell_word(service))]
        }
        _ => Vec::new(),
    }
}
