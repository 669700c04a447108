//! The commands that mend: one definition of each, for findings, plans and letters.
//!
//! What `kannuki close` can shut is told as that command alone: it edits by the same rules as it
//! reads, shows what it does, proves it and takes it back.

use super::{Case, caches::Cache, wording};
use crate::facts::{Process, Starter};

/// `kannuki close` with these words, for the system whose root that is.
pub(crate) fn close(root: &str, words: &[&str]) -> String {
    let mut line = vec!["kannuki close".to_owned()];
    if root != "/" {
        line.push(format!("--root {}", wording::shell_word(root)));
    }
    line.extend(words.iter().map(|word| wording::shell_word(word)));
    line.join(" ")
}

/// The commands that shut what can be reached: a look at what would be done, and doing it.
pub(crate) fn shut(case: &Case<'_>) -> Vec<String> {
    let collection = &case.facts.collection;
    let mut commands = vec![close(&collection.root, &[])];
    // A disk is only previewed.
    if collection.live && collection.root == "/" {
        commands.push(close("/", &["--apply"]));
    }
    commands
}

/// The same for a cache, with what its engine has to be told.
pub(crate) fn shut_cache(case: &Case<'_>, cache: &Cache<'_>) -> Vec<String> {
    let mut commands = shut(case);
    commands.extend(cache.process.map(container_commands).unwrap_or_default());
    commands
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
