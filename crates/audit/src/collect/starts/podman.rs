//! podman: quadlets (`*.container`), and units that run `podman run` or `docker run`.
//!
//! A rootless container of a user is started by that user's own systemd, at the log-in or at boot.

use super::{View, command, started_by, users, words_at};
use crate::{
    facts::{AtBoot, FileRole, Seen, StartConfig, StartKind, StartWord},
    formats::{
        container::{self, Binding},
        unit::{self, Unit},
    },
};

/// Where quadlets of the system stand.
const FOLDERS: [&str; 3] =
    ["/etc/containers/systemd", "/run/containers/systemd", "/usr/share/containers/systemd"];
/// Below a user's home.
const HOME_FOLDER: &str = ".config/containers/systemd";

pub(super) fn collect(view: &View, starts: &mut Vec<StartConfig>) {
    for folder in FOLDERS {
        quadlets(view, folder, None, starts);
    }
    for (user, home) in users::homes(view) {
        quadlets(view, &format!("{home}/{HOME_FOLDER}"), Some(&user), starts);
    }
}

fn quadlets(view: &View, folder: &str, user: Option<&str>, starts: &mut Vec<StartConfig>) {
    for name in view.root.names(folder).list() {
        if !name.text.ends_with(".container") {
            continue;
        }
        let path = format!("{folder}/{}", name.text);
        let Some(file) = view.config_file(&path, FileRole::Start) else { continue };
        let mut unit = Unit::new(&name.text);
        unit.merge(&path, file.text.known().map_or("", String::as_str));
        let Some(image) = unit.last("Container", "Image") else { continue };
        if !container::is_cache_image(&image.value) {
            continue;
        }
        let mut start = started_by(StartKind::Container, format!("quadlet:{path}"));
        start.at_boot = Seen::Known(match (unit.list("Install", "WantedBy").is_empty(), user) {
            (true, _) => AtBoot::Disabled,
            (false, None) => AtBoot::Enabled { by: path.clone() },
            (false, Some(user)) if lingers(view, user) => AtBoot::Enabled { by: path.clone() },
            (false, Some(user)) => {
                AtBoot::OnDemand { by: format!("the log-in of user {user} ({path})") }
            }
        });
        for setting in unit.list("Container", "PublishPort") {
            publish(&setting.value, &path, &mut start);
        }
        let exec = unit.last("Container", "Exec");
        let words = exec.map(|exec| unit::split(&exec.value)).unwrap_or_default();
        start.commands.push(command(words_at(inner(words), &path, image.line)));
        start.files.push(file);
        starts.push(start);
    }
}

fn lingers(view: &View, user: &str) -> bool {
    view.root.exists(&format!("/var/lib/systemd/linger/{user}"))
}

/// Turns a unit that runs a container of a cache into what it is: a container with its ports.
pub(super) fn through_engine(words: &[StartWord], start: &mut StartConfig) -> bool {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let Some(image) = image_of(&texts) else { return false };
    start.kind = StartKind::Container;
    let options = texts.get(..image).unwrap_or_default();
    let path = words.first().map(|word| word.path.clone()).unwrap_or_default();
    for (at, option) in options.iter().enumerate() {
        let next = options.get(at.saturating_add(1)).copied();
        let joined = option.strip_prefix("--publish=").or_else(|| option.strip_prefix("-p="));
        let apart = || next.filter(|_| matches!(*option, "-p" | "--publish"));
        if let Some(port) = joined.or_else(apart) {
            publish(port, &path, start);
        }
        if matches!(*option, "--net=host" | "--network=host") {
            start.opened_for_it.push("0.0.0.0:11211/tcp".to_owned());
        }
    }
    let line = words.first().map_or(1, |word| word.line);
    let rest = texts.get(image.saturating_add(1)..).unwrap_or_default();
    let rest = rest.iter().map(|word| (*word).to_owned()).collect();
    start.commands.push(command(words_at(inner(rest), &path, line)));
    true
}

/// Whether these words run a container of a cache.
pub(super) fn runs_cache(words: &[String]) -> bool {
    image_of(&words.iter().map(String::as_str).collect::<Vec<_>>()).is_some()
}

/// The place of the cache's image in `podman run [OPTIONS] IMAGE [WORDS]`.
fn image_of(words: &[&str]) -> Option<usize> {
    let program = words.first()?.trim_start_matches(['@', '-', ':', '+', '!']);
    let engine = matches!(program.rsplit('/').next(), Some("podman" | "docker" | "nerdctl"));
    let run = words.iter().position(|word| *word == "run")?;
    let is_image = |at: &usize| {
        let before = words.get(at.saturating_sub(1)).copied().unwrap_or_default();
        let value_of_name = matches!(before, "--name" | "-h" | "--hostname" | "--network-alias");
        let word = words.get(*at).copied().unwrap_or_default();
        !word.starts_with('-') && !value_of_name && container::is_cache_image(word)
    };
    engine.then(|| (run.saturating_add(1)..words.len()).find(is_image))?
}

/// An image's own entry runs memcached with the words.
fn inner(words: Vec<String>) -> Vec<String> {
    match words.first() {
        Some(word) if !word.starts_with('-') => words,
        _ => std::iter::once("memcached".to_owned()).chain(words).collect(),
    }
}

fn publish(port: &str, path: &str, start: &mut StartConfig) {
    match container::published(port) {
        Some(binding) => start.opened_for_it.push(Binding::text(&binding)),
        None => start.problems.push(format!("{path}: this port is not understood: {port}")),
    }
}
