//! Method 2: it is stopped, and nothing starts it again.

use super::target::Open;
use super::{Method, Note, Plan};
use crate::facts::{AtBoot, Facts, FileRole, Seen, StartConfig, StartKind};
use crate::rules::Case;

pub(super) fn plan(case: &Case<'_>, openings: &[Open<'_>]) -> Plan {
    let mut plan = Plan::new(Method::Stop);
    for open in openings {
        match stop(case.facts, open, &mut plan) {
            Ok(()) => {
                plan.note(Note::new("close.risk-stop").with("what", &open.target.title));
                plan.note_peers(open);
                plan.targets.push(open.target.clone());
            }
            Err(why) => plan.leave(open, why),
        }
    }
    plan.untouched = ["close.keeps-settings", "close.keeps-filter", "close.keeps-packages"]
        .map(Note::new)
        .to_vec();
    plan
}

fn stop(facts: &Facts, open: &Open<'_>, plan: &mut Plan) -> Result<(), Note> {
    if open.is_contained() {
        return Err(Note::new("close.left-container"));
    }
    let (Some(start), Some(unit)) = (open.start, open.unit()) else {
        return Err(Note::new("close.left-by-hand"));
    };
    match start.kind {
        StartKind::Systemd | StartKind::SystemdSocket => {
            let mut units = vec![unit.to_owned()];
            units.extend(sockets_of(facts, unit));
            for unit in units {
                let own = facts.starts.iter().find(|s| s.id == format!("systemd:{unit}"));
                by_systemd(own.unwrap_or(start), &unit, open, plan);
            }
        }
        StartKind::SysV => by_script(facts, unit, open, plan),
        StartKind::OpenRc => by_open_rc(start, unit, open, plan),
        _ => {
            let files: Vec<&str> = start.files.iter().map(|file| file.path.as_str()).collect();
            let files = crate::rules::list(&files);
            return Err(Note::new("close.left-starter").with("files", &files));
        }
    }
    Ok(())
}

/// A socket unit starts its service again at the first connection.
fn sockets_of(facts: &Facts, unit: &str) -> Vec<String> {
    let Some(stem) = unit.strip_suffix(".service") else { return Vec::new() };
    let socket = format!("systemd:{stem}.socket");
    let found = facts.starts.iter().filter(|start| start.id == socket);
    found.filter_map(|start| start.id.strip_prefix("systemd:")).map(str::to_owned).collect()
}

fn by_systemd(start: &StartConfig, unit: &str, open: &Open<'_>, plan: &mut Plan) {
    let enabled = matches!(start.at_boot.known(), Some(AtBoot::Enabled { .. }));
    let runs = open.process.is_some() || start.kind == StartKind::SystemdSocket;
    let first = plan.forward.len();
    if enabled {
        plan.run(&["systemctl", "disable", unit]);
    }
    // A unit that lies where the mask would be cannot be masked; it is disabled, and that is said.
    let own = |file: &crate::facts::ConfigFile| {
        file.role == FileRole::Start && file.path == format!("/etc/systemd/system/{unit}")
    };
    let masks = !start.files.iter().any(own);
    if masks {
        plan.run(&["systemctl", "mask", unit]);
    } else {
        plan.note(Note::new("close.risk-no-mask").with("unit", unit));
    }
    plan.run(&["systemctl", "stop", unit]);
    if masks {
        plan.back_run(first, &["systemctl", "unmask", unit]);
    }
    if enabled {
        plan.back_run(first, &["systemctl", "enable", unit]);
    }
    if runs {
        plan.back_clear_start_limit(first, unit);
        plan.back_run(first, &["systemctl", "start", unit]);
    }
}

fn by_script(facts: &Facts, name: &str, open: &Open<'_>, plan: &mut Plan) {
    let like = facts.host.os.known().map(|os| (os.id.as_str(), os.id_like.join(" ")));
    let is_debian = like.is_some_and(|(id, like)| {
        ["debian", "ubuntu"].contains(&id) || like.split(' ').any(|id| id == "debian")
    });
    let first = plan.forward.len();
    let (off, on): (Vec<&str>, Vec<&str>) = if is_debian {
        (vec!["update-rc.d", name, "disable"], vec!["update-rc.d", name, "enable"])
    } else {
        (vec!["chkconfig", name, "off"], vec!["chkconfig", name, "on"])
    };
    if open.is_enabled() {
        plan.run(&off);
        plan.back_run(first, &on);
    }
    if open.process.is_some() {
        let at = plan.run(&["service", name, "stop"]);
        plan.back_run(at, &["service", name, "start"]);
    }
}

fn by_open_rc(start: &StartConfig, name: &str, open: &Open<'_>, plan: &mut Plan) {
    let first = plan.forward.len();
    if let Seen::Known(AtBoot::Enabled { by }) = &start.at_boot {
        // "/etc/runlevels/default/memcached"
        let level = by.rsplit('/').nth(1).unwrap_or("default");
        plan.run(&["rc-update", "del", name, level]);
        plan.back_run(first, &["rc-update", "add", name, level]);
    }
    if open.process.is_some() {
        let at = plan.run(&["rc-service", name, "stop"]);
        plan.back_run(at, &["rc-service", name, "start"]);
    }
}
