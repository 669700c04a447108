//! systemd's units of users: started at a log-in, or at boot for users who linger.

use super::{
    View,
    systemd::{self, Units},
};
use crate::facts::{AtBoot, Seen, StartConfig, StartKind};

/// Units that every user has.
const FOLDERS: [&str; 2] = ["/etc/systemd/user", "/usr/lib/systemd/user"];
/// Below a user's home.
const HOME_FOLDERS: [&str; 2] = [".config/systemd/user", ".local/share/systemd/user"];
/// Names of users who linger.
const LINGER: &str = "/var/lib/systemd/linger";
/// Longest `/etc/passwd` that is read, in bytes.
const PASSWD_BYTES_MAX: usize = 1 << 20;
/// Most homes that are looked into.
const HOMES_MAX: usize = 1000;

pub(super) fn collect(view: &View, starts: &mut Vec<StartConfig>) {
    starts.extend(read(view, &FOLDERS.map(str::to_owned), None));
    for (user, home) in homes(view) {
        let folders = HOME_FOLDERS.map(|folder| format!("{home}/{folder}"));
        starts.extend(read(view, &folders, Some(&user)));
    }
}

/// Users and their homes, each home once.
pub(super) fn homes(view: &View) -> Vec<(String, String)> {
    let text = view.root.quiet_text("/etc/passwd", PASSWD_BYTES_MAX);
    let mut homes: Vec<(String, String)> = Vec::new();
    for line in text.known().map_or("", String::as_str).lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let (Some(user), Some(home)) = (fields.first(), fields.get(5)) else { continue };
        let home = home.trim_end_matches('/');
        let known = homes.iter().any(|(_, other)| other == home);
        if home.starts_with('/') && !known && homes.len() < HOMES_MAX {
            homes.push(((*user).to_owned(), home.to_owned()));
        }
    }
    homes
}

fn read(view: &View, folders: &[String], user: Option<&str>) -> Vec<StartConfig> {
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let units = Units::read(view, &folders);
    let mut starts = systemd::of_names(view, &units, &units.of_interest(view));
    for start in &mut starts {
        let name = start.id.trim_start_matches("systemd:");
        start.id = format!("systemd-user:{}:{name}", user.unwrap_or("*"));
        start.kind = StartKind::SystemdUser;
        let Seen::Known(AtBoot::Enabled { by }) = &start.at_boot else { continue };
        let lingers = user.is_some_and(|user| view.root.exists(&format!("{LINGER}/{user}")));
        if !lingers {
            let who = user.map_or_else(|| "any user".to_owned(), |user| format!("user {user}"));
            let by = format!("the log-in of {who} ({by})");
            start.at_boot = Seen::Known(AtBoot::OnDemand { by });
        }
    }
    starts
}
