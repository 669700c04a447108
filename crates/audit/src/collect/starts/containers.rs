//! Containers: docker's records, compose files, static pods.

use super::{View, command, started_by, words_at};
use crate::{
    collect::root::{Kind, lossy},
    facts::{AtBoot, ConfigFile, FileRole, Seen, StartConfig, StartKind, Unseen, Why},
    formats::container::{self, Binding, Composed, Record},
};

/// Longest record of a container that is read, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Folders in which people keep compose files.
const COMPOSE_FOLDERS: [&str; 5] = ["/srv", "/opt", "/home", "/root", "/var/www"];
/// How deep below them files are looked for.
const COMPOSE_DEPTH_MAX: usize = 3;
/// Most folders that are looked into.
const COMPOSE_FOLDERS_MAX: usize = 2000;
const COMPOSE_NAMES: [&str; 4] =
    ["docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml"];

pub(super) fn collect(view: &View, starts: &mut Vec<StartConfig>) {
    docker(view, starts);
    for path in compose_files(view) {
        let Some(file) = view.config_file(&path, FileRole::Start) else { continue };
        let text = file.text.known().cloned().unwrap_or_default();
        for service in container::compose(&text) {
            starts.push(composed(&path, &file, service));
        }
    }
    static_pods(view, starts);
}

fn docker(view: &View, starts: &mut Vec<StartConfig>) {
    let folder = "/var/lib/docker/containers";
    let names = match view.root.names(folder) {
        Seen::Known(names) => names,
        Seen::Unseen(unseen) => {
            if unseen.why != Why::Absent {
                view.root.gap(folder, &unseen);
            }
            return;
        }
    };
    for name in names {
        let path = format!("{folder}/{}/config.v2.json", name.text);
        let host = format!("{folder}/{}/hostconfig.json", name.text);
        let config = view.root.quiet_text(&path, RECORD_BYTES_MAX);
        let host_config = view.root.quiet_text(&host, RECORD_BYTES_MAX);
        let Some(record) = config.known().and_then(|config| {
            container::docker(config, host_config.known().map_or("", String::as_str))
        }) else {
            continue;
        };
        let program = record.argv.iter().any(|word| crate::formats::known::is_cache(word));
        if container::is_cache_image(&record.image) || program {
            starts.push(recorded(view, path, record));
        }
    }
}

fn recorded(view: &View, path: String, record: Record) -> StartConfig {
    let short: String = record.id.chars().take(12).collect();
    let mut start = started_by(StartKind::Container, format!("docker:{short}"));
    start.at_boot = Seen::Known(match record.restart.as_str() {
        "always" => AtBoot::Enabled { by: "restart policy always".to_owned() },
        "unless-stopped" if record.running => {
            AtBoot::Enabled { by: "restart policy unless-stopped".to_owned() }
        }
        _ => AtBoot::Disabled,
    });
    start.opened_for_it = record.ports.iter().map(Binding::text).collect();
    start.commands.push(command(words_at(inner(record.argv), &path, 1)));
    // The record itself may hold secrets in its environment; only its place is evidence.
    let detail = "a container's record may hold secrets and is not copied".to_owned();
    let text = Seen::Unseen(Unseen { why: Why::NotAsked, detail });
    let stat = view.root.stat(&path);
    start.files.push(ConfigFile {
        path,
        role: FileRole::Start,
        text,
        sha256: None,
        mode: stat.as_ref().map(|stat| stat.st_mode & 0o7777),
        uid: stat.as_ref().map(|stat| stat.st_uid),
        modified: stat.map(|stat| stat.st_mtime),
    });
    start
}

/// Without the images' own entry script, which hands the rest on.
fn inner(argv: Vec<String>) -> Vec<String> {
    let at = argv.iter().position(|word| crate::formats::known::is_cache(word)).unwrap_or(0);
    argv.into_iter().skip(at).collect()
}

fn composed(path: &str, file: &ConfigFile, service: Composed) -> StartConfig {
    let id = format!("compose:{path}#{}", service.service);
    let mut start = started_by(StartKind::Compose, id);
    // The file alone starts nothing; the engine's record of a container made of it would.
    start.at_boot = Seen::Known(match service.restart.as_str() {
        "always" | "unless-stopped" => {
            AtBoot::OnDemand { by: format!("{path}, once it was brought up") }
        }
        _ => AtBoot::Disabled,
    });
    start.opened_for_it = service.ports.iter().map(Binding::text).collect();
    let argv = match service.command.first() {
        Some(word) if !word.starts_with('-') => service.command,
        _ => std::iter::once("memcached".to_owned()).chain(service.command).collect(),
    };
    start.commands.push(command(words_at(argv, path, service.line)));
    let problem = |line| format!("{path}: this line is not understood: {line}");
    start.problems = service.problems.into_iter().map(problem).collect();
    start.files.push(file.clone());
    start
}

/// Compose files, looked for in bounded depth and number.
fn compose_files(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<(String, usize)> =
        COMPOSE_FOLDERS.iter().map(|folder| ((*folder).to_owned(), 0)).collect();
    let mut looked = 0;
    while let Some((folder, depth)) = folders.pop() {
        looked += 1;
        if looked > COMPOSE_FOLDERS_MAX {
            let detail = format!("only {COMPOSE_FOLDERS_MAX} folders were looked into");
            view.root.gap("compose files", &Unseen { why: Why::TooLarge, detail });
            break;
        }
        for name in view.root.names(&folder).list() {
            let path = format!("{folder}/{}", name.text);
            let hidden = name.text.starts_with('.') || name.text == "node_modules";
            match name.kind {
                Kind::Folder if depth < COMPOSE_DEPTH_MAX && !hidden => {
                    folders.push((path, depth + 1));
                }
                Kind::File | Kind::Link if COMPOSE_NAMES.contains(&name.text.as_str()) => {
                    found.push(path);
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Static pods of a node: found by their image; their ports are named as they stand.
fn static_pods(view: &View, starts: &mut Vec<StartConfig>) {
    let folder = "/etc/kubernetes/manifests";
    for name in view.root.names_in(folder) {
        let path = format!("{folder}/{}", name.text);
        let Some(file) = view.config_file(&path, FileRole::Start) else { continue };
        let text = lossy(file.text.known().cloned().unwrap_or_default().into_bytes());
        let value = |line: &str, key: &str| {
            let (name, value) = line.trim().trim_start_matches("- ").split_once(':')?;
            (name == key).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        let images = text.lines().filter_map(|line| value(line, "image"));
        if !images.into_iter().any(|image| container::is_cache_image(&image)) {
            continue;
        }
        let mut start = started_by(StartKind::Kubernetes, format!("pod:{path}"));
        start.at_boot = Seen::Known(AtBoot::Enabled { by: path.clone() });
        let ports = text.lines().filter_map(|line| value(line, "hostPort"));
        start.opened_for_it = ports.map(|port| format!("0.0.0.0:{port}/tcp")).collect();
        start.files.push(file);
        starts.push(start);
    }
}
