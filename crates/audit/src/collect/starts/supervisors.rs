//! Supervisors: supervisord, runit, s6, monit.

use super::{View, command, started_by, words_at};
use crate::{
    facts::{AtBoot, FileRole, Seen, StartCommand, StartConfig, StartKind},
    formats::{ini, known, script},
};

pub(super) fn collect(view: &View, starts: &mut Vec<StartConfig>) {
    for path in ["/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"] {
        supervisord(view, path, starts);
    }
    for folder in ["/etc/supervisor/conf.d", "/etc/supervisord.d", "/etc/supervisor.d"] {
        for name in view.root.names_in(folder) {
            if name.text.ends_with(".conf") || name.text.ends_with(".ini") {
                supervisord(view, &format!("{folder}/{}", name.text), starts);
            }
        }
    }
    for folder in ["/etc/service", "/var/service", "/etc/sv", "/etc/s6/services"] {
        for name in view.root.names_in(folder) {
            script_of(view, &format!("{folder}/{}/run", name.text), starts);
        }
    }
    for folder in ["/etc/monit/conf.d", "/etc/monit.d", "/etc/monit/conf-enabled"] {
        for name in view.root.names_in(folder) {
            script_of(view, &format!("{folder}/{}", name.text), starts);
        }
    }
}

fn supervisord(view: &View, path: &str, starts: &mut Vec<StartConfig>) {
    let Some(file) = view.config_file(path, FileRole::Start) else { return };
    let text = file.text.known().cloned().unwrap_or_default();
    let settings = ini::read(&text);
    let commands = settings.iter().filter(|s| s.key == "command");
    for setting in commands.filter(|s| s.section.starts_with("program:")) {
        let Some(found) = script::command(&setting.value, setting.line) else { continue };
        let name = setting.section.trim_start_matches("program:");
        let value = |key| ini::value(&settings, &setting.section, key).map(|s| s.value.clone());
        let mut start = started_by(StartKind::Supervisord, format!("supervisord:{name}"));
        if value("autostart").as_deref() != Some("false") {
            let by = format!("{path}: [{}]", setting.section);
            start.at_boot = Seen::Known(AtBoot::Enabled { by });
        }
        start.commands.push(StartCommand {
            user: value("user"),
            standard_error: value("stderr_logfile"),
            ..command(words_at(found.argv, path, found.line))
        });
        start.files.push(file.clone());
        starts.push(start);
    }
}

/// A script below a supervisor's folder, whose being there is its being enabled.
fn script_of(view: &View, path: &str, starts: &mut Vec<StartConfig>) {
    // A folder of definitions only; the links in the others enable them.
    let enabled = !path.starts_with("/etc/sv/");
    let Some(file) = view.config_file(path, FileRole::Start) else { return };
    let text = file.text.known().cloned().unwrap_or_default();
    let found = script::commands(&text);
    let Some(found) =
        found.into_iter().find(|f| f.argv.first().is_some_and(|p| known::is_cache(p)))
    else {
        return;
    };
    let mut start = started_by(StartKind::OtherSupervisor, format!("supervisor:{path}"));
    if enabled {
        start.at_boot = Seen::Known(AtBoot::Enabled { by: path.to_owned() });
    }
    start.commands.push(command(words_at(found.argv, path, found.line)));
    start.files.push(file);
    starts.push(start);
}
