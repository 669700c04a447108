//! What would start a cache at the next boot, or could be made to.
//!
//! Invariants: configuration is only read, never run; which format a file has is decided by what
//! stands in it; a starter that names no cache leaves no trace here.

mod containers;
mod listening;
mod podman;
mod scripts;
mod supervisors;
mod systemd;
mod users;

use std::{path::PathBuf, sync::Arc};

use super::View;
use crate::{
    facts::{
        ConfigFile, FileRole, Host, HostName, Process, Seen, StartCommand, StartConfig, StartKind,
        StartWord, Starter,
    },
    memcached_options::{Source, Word, conf_file},
};

/// Most starters that stand in the facts.
const STARTS_MAX: usize = 512;
/// Folder of settings for log rotation.
const ROTATION: &str = "/etc/logrotate.d";

/// Everything that starts a cache, and the names on which they listen.
pub(super) fn collect(
    view: &View,
    host: &Host,
    processes: &[Process],
) -> (Vec<StartConfig>, Vec<HostName>) {
    let mut starts = systemd::collect(view, processes);
    users::collect(view, &mut starts);
    scripts::collect(view, &mut starts);
    supervisors::collect(view, &mut starts);
    containers::collect(view, &mut starts);
    podman::collect(view, &mut starts);
    let rotation = rotation(view);
    for start in &mut starts {
        start.files.extend(rotation.iter().cloned());
        if host.ipv6_disabled == Seen::Known(true) {
            let failing = start.commands.iter().flat_map(listening::needs_ipv6).collect::<Vec<_>>();
            start.problems.extend(failing);
        }
    }
    if starts.len() > STARTS_MAX {
        let detail = format!("{} starters; {STARTS_MAX} are kept", starts.len());
        let why = crate::facts::Why::TooLarge;
        view.root.gap("starters", &crate::facts::Unseen { why, detail });
        starts.truncate(STARTS_MAX);
    }
    let names = listening::names(view, &mut starts);
    (starts, names)
}

/// Names the init script of a process that nothing else claims.
pub(super) fn name_starters(
    view: &View,
    processes: &mut Seen<Vec<Process>>,
    starts: &[StartConfig],
) {
    let Seen::Known(processes) = processes else { return };
    let script = starts.iter().find(|start| start.kind == StartKind::SysV);
    let rc = starts.iter().find(|start| start.kind == StartKind::OpenRc);
    for process in processes.iter_mut().filter(|process| super::processes::is_cache(process)) {
        if process.starter != Starter::Unknown || process.parent != 1 {
            continue;
        }
        if let Some(start) = rc {
            let service = start.id.trim_start_matches("openrc:").to_owned();
            process.starter = Starter::OpenRc { service };
        } else if let Some(file) = script.and_then(|start| start.files.first())
            && pid_file_names(view, process.pid)
        {
            process.starter = Starter::SysV { script: file.path.clone() };
        }
    }
}

/// Init scripts leave a file with the process's id; without one, somebody started it by hand.
fn pid_file_names(view: &View, pid: u32) -> bool {
    let folders = ["/var/run/memcached", "/run/memcached", "/var/run", "/run"];
    folders.iter().any(|folder| {
        view.root.names(folder).list().iter().any(|name| {
            name.text.starts_with("memcached")
                && name.text.contains(".pid")
                && view
                    .root
                    .quiet_text(&format!("{folder}/{}", name.text), 64)
                    .known()
                    .is_some_and(|text| text.trim().parse() == Ok(pid))
        })
    })
}

fn rotation(view: &View) -> Vec<ConfigFile> {
    let names = view.root.names_in(ROTATION);
    let files = names.iter().filter(|name| name.text.contains("memcached"));
    files
        .filter_map(|name| {
            view.config_file(&format!("{ROTATION}/{}", name.text), FileRole::Rotation)
        })
        .collect()
}

/// The words of a file of options or variables, with their lines; its faults join `problems`.
fn words_of_file(file: &ConfigFile, problems: &mut Vec<String>) -> Vec<StartWord> {
    let Some(text) = file.text.known() else { return Vec::new() };
    let path = Arc::new(PathBuf::from(&file.path));
    let read = conf_file::read(text.as_bytes(), &path);
    problems.extend(read.errors.iter().map(|error| format!("{}: {}", error.origin, error.message)));
    let warnings = read.warnings.iter();
    problems.extend(warnings.map(|warning| format!("{}: {}", warning.origin, warning.message)));
    read.words.iter().map(|word| start_word(word, &file.path)).collect()
}

fn start_word(word: &Word, path: &str) -> StartWord {
    let line = match &word.source {
        Source::File { line, .. } => u32::try_from(*line).unwrap_or(u32::MAX),
        _ => 0,
    };
    let text = word.text.to_string_lossy().into_owned();
    StartWord { text, path: path.to_owned(), line }
}

/// Words that all stand at one place.
fn words_at(argv: Vec<String>, path: &str, line: u32) -> Vec<StartWord> {
    argv.into_iter().map(|text| StartWord { text, path: path.to_owned(), line }).collect()
}

/// A starter without anything yet.
fn started_by(kind: StartKind, id: String) -> StartConfig {
    StartConfig {
        id,
        kind,
        files: Vec::new(),
        at_boot: Seen::Known(crate::facts::AtBoot::Disabled),
        commands: Vec::new(),
        opened_for_it: Vec::new(),
        problems: Vec::new(),
    }
}

/// A command without user and streams.
fn command(words: Vec<StartWord>) -> StartCommand {
    StartCommand { words, user: None, standard_error: None, environment_names: Vec::new() }
}
