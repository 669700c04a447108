//! systemd: units, drop-ins, sockets.

use std::collections::{BTreeMap, BTreeSet};

use super::{View, command, podman, started_by, words_of_file};
use crate::{
    collect::root::Kind,
    facts::{
        AtBoot, FileRole, Process, Seen, StartCommand, StartConfig, StartKind, StartWord, Starter,
        Unseen, Why,
    },
    formats::{
        known,
        unit::{self, Unit},
        variables,
    },
};

/// Where units stand; an earlier folder wins over a later one.
const FOLDERS: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// Longest unit that is read, in bytes.
const UNIT_BYTES_MAX: usize = 64 * 1024;
/// Most units that are looked into for a cache's name.
const UNITS_MAX: usize = 8192;

pub(super) fn collect(view: &View, processes: &[Process]) -> Vec<StartConfig> {
    let units = Units::read(view, &FOLDERS);
    let mut names: BTreeSet<String> = units.of_interest(view);
    for process in processes.iter().filter(|process| crate::collect::processes::is_cache(process)) {
        if let Starter::Systemd { unit, user: None } = &process.starter {
            names.insert(unit.clone());
        }
    }
    of_names(view, &units, &names)
}

/// What these units start.
pub(super) fn of_names(view: &View, units: &Units, names: &BTreeSet<String>) -> Vec<StartConfig> {
    let mut starts = Vec::new();
    for name in names {
        match name.rsplit_once('.') {
            // A template starts nothing; its instances have names of their own.
            Some((stem, _)) if stem.ends_with('@') => {}
            Some((_, "service")) => starts.extend(service(view, units, name)),
            Some((_, "socket")) => starts.extend(socket(view, units, name)),
            _ => {}
        }
    }
    starts
}

/// All unit files and the links that enable them.
pub(super) struct Units {
    /// Unit name to the file that counts.
    files: BTreeMap<String, String>,
    /// Unit name to the links in `*.wants` and `*.requires`.
    wanted: BTreeMap<String, Vec<String>>,
    /// Unit name to its drop-in folders.
    drop_ins: BTreeMap<String, Vec<String>>,
}

impl Units {
    pub(super) fn read(view: &View, folders: &[&str]) -> Self {
        let mut units =
            Self { files: BTreeMap::new(), wanted: BTreeMap::new(), drop_ins: BTreeMap::new() };
        for folder in folders {
            for name in view.root.names_in(folder) {
                units.take(view, folder, &name.text, name.kind);
            }
        }
        units
    }

    fn take(&mut self, view: &View, folder: &str, name: &str, kind: Kind) {
        let path = format!("{folder}/{name}");
        if let Some(unit) = name.strip_suffix(".d").filter(|_| kind != Kind::File) {
            self.drop_ins.entry(unit.to_owned()).or_default().push(path);
        } else if name.ends_with(".wants") || name.ends_with(".requires") {
            for link in view.root.names_in(&path) {
                let place = format!("{path}/{}", link.text);
                self.wanted.entry(link.text).or_default().push(place);
            }
        } else if name.ends_with(".service") || name.ends_with(".socket") {
            self.files.entry(name.to_owned()).or_insert(path);
        }
    }

    /// Units whose name or text names a cache, and enabled instances of such templates.
    pub(super) fn of_interest(&self, view: &View) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (name, path) in self.files.iter().take(UNITS_MAX) {
            let stem = name.split(['@', '.']).next().unwrap_or_default();
            if known::is_cache(stem) || is_cache_unit(view, path) {
                names.insert(name.clone());
                let template = name.split_once('@').filter(|(_, rest)| rest.starts_with('.'));
                if let Some((prefix, suffix)) = template {
                    let instance = |unit: &&String| {
                        unit.starts_with(&format!("{prefix}@")) && unit.ends_with(suffix)
                    };
                    names.extend(self.wanted.keys().filter(instance).cloned());
                }
            }
        }
        names
    }

    /// The file of a unit, or of its template.
    fn file(&self, name: &str) -> Option<&String> {
        self.files.get(name).or_else(|| self.files.get(&template(name)?))
    }

    /// The drop-ins of a unit, in the order in which they count.
    fn drop_ins(&self, view: &View, name: &str) -> Vec<String> {
        let kind = name.rsplit_once('.').map(|(_, kind)| kind).unwrap_or_default();
        // Of files with one name the one in the stronger folder counts.
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let of_template = template(name);
        for unit in [Some(name), of_template.as_deref(), Some(kind)].into_iter().flatten() {
            for folder in self.drop_ins.get(unit).into_iter().flatten() {
                for file in view.root.names_in(folder) {
                    if file.text.ends_with(".conf") {
                        let path = format!("{folder}/{}", file.text);
                        files.entry(file.text).or_insert(path);
                    }
                }
            }
        }
        files.into_values().collect()
    }

    fn wants(&self, name: &str) -> Option<&String> {
        self.wanted.get(name).and_then(|links| links.first())
    }
}

/// `memcached@11212.service` is made of `memcached@.service`.
fn template(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{kind}"))
}

fn is_cache_unit(view: &View, path: &str) -> bool {
    let Seen::Known(text) = view.root.quiet_text(path, UNIT_BYTES_MAX) else { return false };
    let mut unit = Unit::new("");
    unit.merge(path, &text);
    let starts = unit.list("Service", "ExecStart");
    let listens = ["ListenStream", "ListenDatagram"];
    let cache_port = |value: &str| value == "11211" || value.ends_with(":11211");
    starts.iter().any(|start| {
        let words = unit::split(&start.value);
        let plain = |word: &String| word.trim_start_matches(['@', '-', ':', '+', '!']).to_owned();
        words.iter().any(|word| known::is_cache(&plain(word))) || podman::runs_cache(&words)
    }) || listens.iter().any(|key| unit.list("Socket", key).iter().any(|s| cache_port(&s.value)))
}

fn is_masked(view: &View, path: &str) -> bool {
    view.root.link(path).known().is_some_and(|target| target == "/dev/null")
}

/// Reads a unit with its drop-ins; their files join `start`.
fn read(view: &View, units: &Units, name: &str, start: &mut StartConfig) -> Option<Unit> {
    let path = units.file(name)?;
    if is_masked(view, path) {
        start.at_boot = Seen::Known(AtBoot::Masked);
        return None;
    }
    let mut unit = Unit::new(name);
    let drop_ins = units.drop_ins(view, name);
    let files = std::iter::once((path, FileRole::Start))
        .chain(drop_ins.iter().map(|path| (path, FileRole::DropIn)));
    for (path, role) in files {
        let Some(file) = view.config_file(path, role) else {
            start.problems.push(format!("{path} leads nowhere"));
            continue;
        };
        if let Seen::Known(text) = &file.text {
            unit.merge(path, text);
        }
        start.files.push(file);
    }
    let by = units.wants(name).cloned();
    start.at_boot = Seen::Known(match (by, units.wants(&format!("{}.socket", stem(name)))) {
        (Some(by), _) => AtBoot::Enabled { by },
        (None, Some(by)) if name.ends_with(".service") => AtBoot::OnDemand { by: by.clone() },
        _ if path.starts_with("/run/systemd/generator") => return generated(unit, start),
        _ => AtBoot::Disabled,
    });
    Some(unit)
}

/// systemd makes units of init scripts; the script's links say whether they start.
fn generated(unit: Unit, start: &mut StartConfig) -> Option<Unit> {
    let detail = "made of an init script at boot; see that script".to_owned();
    start.at_boot = Seen::Unseen(Unseen { why: Why::Absent, detail });
    Some(unit)
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn service(view: &View, units: &Units, name: &str) -> Option<StartConfig> {
    let mut start = started_by(StartKind::Systemd, format!("systemd:{name}"));
    let Some(unit) = read(view, units, name, &mut start) else {
        // Masked, or a process names a unit whose file is gone.
        return units.file(name).is_some().then_some(start);
    };
    let mut variables = Vec::new();
    for file in unit.variable_files() {
        let Some(read) = view.config_file(&file.path, FileRole::Variables) else {
            if !file.optional {
                let path = &file.path;
                start.problems.push(format!("{path} is missing; the unit cannot start without"));
            }
            continue;
        };
        if let Seen::Known(text) = &read.text {
            variables.extend(unit::assigned(&file.path, variables::read(text)));
        }
        start.files.push(read);
    }
    let text = |key: &str| unit.last("Service", key).map(|setting| setting.value.clone());
    for words in unit.commands(&variables) {
        if podman::through_engine(&words, &mut start) {
            continue;
        }
        let words = through_wrapper(view, words, &mut start);
        start.commands.push(StartCommand {
            user: text("User"),
            standard_error: text("StandardError"),
            environment_names: unit.environment().into_iter().map(|v| v.name).collect(),
            ..command(words)
        });
    }
    Some(start)
}

/// Debian's unit starts a wrapper that reads a file of options; Kannuki reads files itself.
fn through_wrapper(view: &View, words: Vec<StartWord>, start: &mut StartConfig) -> Vec<StartWord> {
    let Some(first) = words.first() else { return words };
    if first.text.ends_with("/systemd-memcached-wrapper") {
        let path = words.get(1).map_or("/etc/memcached.conf", |word| word.text.as_str());
        let Some(file) = view.config_file(path, FileRole::Options) else {
            start.problems.push(format!("{path} is missing; the wrapper cannot start without"));
            return words;
        };
        let program = StartWord { text: "/usr/bin/memcached".to_owned(), ..first.clone() };
        let options = words_of_file(&file, &mut start.problems);
        start.files.push(file);
        return std::iter::once(program).chain(options).collect();
    }
    for (flag, value) in words.iter().zip(words.iter().skip(1)) {
        if ["--config", "--memcached-conf"].contains(&flag.text.as_str()) {
            start.files.extend(view.config_file(&value.text, FileRole::Options));
        }
    }
    words
}

fn socket(view: &View, units: &Units, name: &str) -> Option<StartConfig> {
    let mut start = started_by(StartKind::SystemdSocket, format!("systemd:{name}"));
    let Some(unit) = read(view, units, name, &mut start) else {
        return units.file(name).is_some().then_some(start);
    };
    for (key, protocol) in [("ListenStream", "tcp"), ("ListenDatagram", "udp")] {
        for setting in unit.list("Socket", key) {
            start.opened_for_it.push(format!("{}/{protocol}", setting.value));
        }
    }
    Some(start)
}
