//! Init scripts and boot scripts: SysV, OpenRC, upstart, rc.local, cron, xinetd, FreeBSD's rc.conf.

use super::super::root::Kind;
use super::{View, command, started_by, words_at, words_of_file};
use crate::{
    collect::CONFIG_BYTES_MAX,
    facts::{AtBoot, ConfigFile, FileRole, Seen, StartCommand, StartConfig, StartKind, StartWord},
    formats::{known, script, variables},
};

pub(super) fn collect(view: &View, starts: &mut Vec<StartConfig>) {
    let openrc = view.root.exists("/etc/runlevels");
    for name in view.root.names_in("/etc/init.d") {
        let stem = name.text.split('.').next().unwrap_or_default();
        if !known::is_cache(stem) {
            continue;
        }
        if openrc {
            starts.push(open_rc(view, &name.text));
        } else if !starts.iter().any(|start| start.id == format!("systemd:{}.service", name.text)) {
            // A native unit of the same name hides the script.
            starts.extend(sys_v(view, &name.text));
        }
    }
    upstart(view, starts);
    for path in ["/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local"] {
        lines(view, path, StartKind::RcLocal, starts);
    }
    local_d(view, starts);
    cron(view, starts);
    xinetd(view, starts);
    free_bsd(view, starts);
}

/// Levels in which a host normally runs.
const LEVELS: [&str; 4] = ["rc2.d", "rc3.d", "rc4.d", "rc5.d"];

fn sys_v(view: &View, name: &str) -> Vec<StartConfig> {
    let path = format!("/etc/init.d/{name}");
    let Some(file) = view.config_file(&path, FileRole::Start) else { return Vec::new() };
    let debian = view.root.exists("/etc/memcached.conf");
    let instances = debian_instances(view);
    let at_boot = sys_v_at_boot(view, name);
    let make = |suffix: &str, options: Option<ConfigFile>| {
        let mut start = started_by(StartKind::SysV, format!("sysv:{name}{suffix}"));
        start.at_boot = at_boot.clone();
        start.files.push(file.clone());
        let mut words = words_at(vec!["memcached".to_owned()], &path, 1);
        if let Some(options) = options {
            words.extend(words_of_file(&options, &mut start.problems));
            start.files.push(options);
        }
        start.commands.push(command(words));
        start
    };
    if !instances.is_empty() {
        // With instances the script does not start the file without a name.
        return instances.into_iter().map(|(suffix, file)| make(&suffix, Some(file))).collect();
    }
    let options = match debian {
        true => view.config_file("/etc/memcached.conf", FileRole::Options),
        false => view.config_file(&format!("/etc/sysconfig/{name}"), FileRole::Variables),
    };
    let mut start = make("", options);
    if let Some(switch) = view.config_file("/etc/default/memcached", FileRole::Variables) {
        let text = switch.text.known().cloned().unwrap_or_default();
        let off = variables::last(&variables::read(&text), "ENABLE_MEMCACHED")
            .is_some_and(|variable| variable.value == "no");
        if off {
            start.at_boot = Seen::Known(AtBoot::Disabled);
        }
        start.files.push(switch);
    }
    vec![start]
}

fn debian_instances(view: &View) -> Vec<(String, ConfigFile)> {
    let mut found = Vec::new();
    for name in view.root.names_in("/etc") {
        let instance =
            name.text.strip_prefix("memcached_").and_then(|rest| rest.strip_suffix(".conf"));
        if let Some(instance) = instance
            && let Some(file) = view.config_file(&format!("/etc/{}", name.text), FileRole::Options)
        {
            found.push((format!("_{instance}"), file));
        }
    }
    found
}

fn sys_v_at_boot(view: &View, name: &str) -> Seen<AtBoot> {
    for folder in ["/etc/rc.d", "/etc"] {
        for level in LEVELS {
            let path = format!("{folder}/{level}");
            for link in view.root.names(&path).list() {
                let number = link.text.strip_prefix('S').filter(|rest| rest.ends_with(name));
                let digits = number.and_then(|rest| rest.strip_suffix(name));
                if digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
                    let by = format!("{path}/{}", link.text);
                    return Seen::Known(AtBoot::Enabled { by });
                }
            }
        }
    }
    Seen::Known(AtBoot::Disabled)
}

fn open_rc(view: &View, name: &str) -> StartConfig {
    let mut start = started_by(StartKind::OpenRc, format!("openrc:{name}"));
    for level in view.root.names_in("/etc/runlevels") {
        let path = format!("/etc/runlevels/{}/{name}", level.text);
        if view.root.link(&path).known().is_some() || view.root.exists(&path) {
            start.at_boot = Seen::Known(AtBoot::Enabled { by: path });
            break;
        }
    }
    let script = format!("/etc/init.d/{name}");
    start.files.extend(view.config_file(&script, FileRole::Start));
    let mut words = words_at(vec!["/usr/bin/memcached".to_owned()], &script, 1);
    // An instance without a file of its own has the script's defaults, which are the first one's.
    let own = view.config_file(&format!("/etc/conf.d/{name}"), FileRole::Variables);
    let file = own.or_else(|| view.config_file("/etc/conf.d/memcached", FileRole::Variables));
    if let Some(file) = file {
        words.extend(words_of_file(&file, &mut start.problems));
        start.files.push(file);
    }
    start.commands.push(command(words));
    start
}

fn upstart(view: &View, starts: &mut Vec<StartConfig>) {
    let path = "/etc/init/memcached.conf";
    let Some(file) = view.config_file(path, FileRole::Start) else { return };
    let mut start = started_by(StartKind::Upstart, "upstart:memcached".to_owned());
    let text = file.text.known().cloned().unwrap_or_default();
    let by = text.lines().find(|line| line.trim_start().starts_with("start on"));
    let manual = view
        .root
        .quiet_text("/etc/init/memcached.override", CONFIG_BYTES_MAX)
        .known()
        .is_some_and(|text| text.lines().any(|line| line.trim() == "manual"));
    if let (Some(by), false) = (by, manual) {
        start.at_boot = Seen::Known(AtBoot::Enabled { by: format!("{path}: {}", by.trim()) });
    }
    start.files.push(file);
    start.commands = found_commands(&text, path).into_iter().map(|(_, command)| command).collect();
    starts.push(start);
}

/// The commands of a script, with what stands before them.
fn found_commands(text: &str, path: &str) -> Vec<(script::Found, StartCommand)> {
    let found = script::commands(text).into_iter();
    found
        .map(|found| {
            let words = words_at(found.argv.clone(), path, found.line);
            (found, command(words))
        })
        .collect()
}

/// Each line of a script that starts a cache.
fn lines(view: &View, path: &str, kind: StartKind, starts: &mut Vec<StartConfig>) {
    let Some(file) = view.config_file(path, FileRole::Start) else { return };
    let text = file.text.known().cloned().unwrap_or_default();
    let runs = kind != StartKind::RcLocal || file.mode.is_none_or(|mode| mode & 0o111 != 0);
    for (found, command) in found_commands(&text, path) {
        let place = format!("{path}:{}", found.line);
        let label = if kind == StartKind::Cron { "cron" } else { "rc.local" };
        let mut start = started_by(kind, format!("{label}:{place}"));
        if runs {
            start.at_boot = Seen::Known(AtBoot::Enabled { by: place });
        } else {
            start.problems.push(format!("{path} is not executable and does not run"));
        }
        start.files.push(file.clone());
        start.commands.push(command);
        starts.push(start);
    }
}

/// Scripts that Alpine and Gentoo run as "local".
fn local_d(view: &View, starts: &mut Vec<StartConfig>) {
    for name in view.root.names_in("/etc/local.d") {
        if name.text.ends_with(".start") {
            lines(view, &format!("/etc/local.d/{}", name.text), StartKind::RcLocal, starts);
        }
    }
}

fn cron(view: &View, starts: &mut Vec<StartConfig>) {
    lines(view, "/etc/crontab", StartKind::Cron, starts);
    for folder in ["/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron", "/etc/crontabs"] {
        for name in view.root.names_in(folder) {
            if name.kind == Kind::Folder {
                continue;
            }
            let path = format!("{folder}/{}", name.text);
            lines(view, &path, StartKind::Cron, starts);
        }
    }
}

fn xinetd(view: &View, starts: &mut Vec<StartConfig>) {
    for name in view.root.names_in("/etc/xinetd.d") {
        let path = format!("/etc/xinetd.d/{}", name.text);
        let Some(file) = view.config_file(&path, FileRole::Start) else { continue };
        let text = file.text.known().cloned().unwrap_or_default();
        let value = |key: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name.trim() == key).then(|| value.trim().to_owned())
            })
        };
        let Some(server) = value("server").filter(|server| known::is_cache(server)) else {
            continue;
        };
        let mut start = started_by(StartKind::Xinetd, format!("xinetd:{path}"));
        if value("disable").as_deref() != Some("yes") {
            start.at_boot = Seen::Known(AtBoot::Enabled { by: path.clone() });
        }
        let arguments = value("server_args").unwrap_or_default();
        let arguments = arguments.split_ascii_whitespace().map(str::to_owned);
        let argv = std::iter::once(server).chain(arguments).collect();
        start.commands.push(command(words_at(argv, &path, 1)));
        start.files.push(file);
        starts.push(start);
    }
}

fn free_bsd(view: &View, starts: &mut Vec<StartConfig>) {
    let mut all: Vec<(String, variables::Variable)> = Vec::new();
    let mut files = Vec::new();
    for path in ["/etc/rc.conf", "/etc/rc.conf.local", "/etc/rc.conf.d/memcached"] {
        let Some(file) = view.config_file(path, FileRole::Variables) else { continue };
        let text = file.text.known().cloned().unwrap_or_default();
        all.extend(variables::read(&text).into_iter().map(|variable| (path.to_owned(), variable)));
        files.push(file);
    }
    let last = |name: &str| all.iter().rev().find(|(_, variable)| variable.name == name);
    let is_yes = |name: &str| {
        last(name).is_some_and(|(_, v)| {
            ["yes", "true", "on", "1"].contains(&v.value.to_ascii_lowercase().as_str())
        })
    };
    if !all.iter().any(|(_, variable)| variable.name.starts_with("memcached_")) {
        return;
    }
    let profiles = last("memcached_profiles").map(|(_, v)| v.value.clone()).unwrap_or_default();
    let mut names: Vec<String> =
        profiles.split_ascii_whitespace().map(|name| format!("memcached_{name}")).collect();
    if names.is_empty() {
        names.push("memcached".to_owned());
    }
    for name in names {
        let mut start = started_by(StartKind::FreeBsd, format!("rc.conf:{name}"));
        start.files.clone_from(&files);
        if is_yes(&format!("{name}_enable")) || (name != "memcached" && is_yes("memcached_enable"))
        {
            let by = format!("{name}_enable");
            start.at_boot = Seen::Known(AtBoot::Enabled { by });
        }
        let program = "/usr/local/bin/memcached";
        let mut words: Vec<StartWord> = Vec::new();
        for (key, flag) in [("flags", None), ("user", Some("-u"))] {
            let set = last(&format!("{name}_{key}")).or_else(|| last(&format!("memcached_{key}")));
            let Some((path, variable)) = set else { continue };
            let values = variable.value.split_ascii_whitespace().map(str::to_owned);
            let argv = flag.map(str::to_owned).into_iter().chain(values).collect();
            words.extend(words_at(argv, path, variable.line));
        }
        let mut all = words_at(vec![program.to_owned()], "/usr/local/etc/rc.d/memcached", 1);
        all.extend(words);
        start.commands.push(command(all));
        starts.push(start);
    }
}
