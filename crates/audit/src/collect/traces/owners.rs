//! Which files the system's packages brought.

use std::collections::HashSet;

use super::View;
use crate::{formats::apk, traces::Owner};

/// Most paths that are remembered: three large desktops.
const PATHS_MAX: usize = 2_000_000;
/// Longest list of a package's files that is read, in bytes.
const LIST_BYTES_MAX: usize = 8 << 20;
/// Longest database of all packages that is read, in bytes.
const DATABASE_BYTES_MAX: usize = 64 << 20;

/// The paths that belong to packages, without `/usr` before `bin`, `sbin` and `lib`: merged systems
/// have these as links, and lists may name either.
#[derive(Debug, Default)]
pub(super) struct Owners {
    paths: HashSet<String>,
    /// Whether every package told its files.
    complete: bool,
}

impl Owners {
    pub(super) fn read(view: &View) -> Self {
        let mut owners = Self { complete: true, ..Self::default() };
        let mut known = owners.read_dpkg(view);
        known |= owners.read_apk(view);
        known |= owners.read_pacman(view);
        known |= owners.read_rpm(view);
        owners.complete &= known;
        owners
    }

    /// Who brought this file.
    pub(super) fn of(&self, path: &str) -> Owner {
        match (self.paths.contains(plain(path)), self.complete) {
            (true, _) => Owner::Package,
            (false, true) => Owner::Nobody,
            (false, false) => Owner::Unknown,
        }
    }

    fn take(&mut self, path: &str) {
        // Documentation and headers are half of all paths and never asked for.
        if path.starts_with("/usr/share/doc/") || path.starts_with("/usr/include/") {
            return;
        }
        if self.paths.len() >= PATHS_MAX {
            self.complete = false;
            return;
        }
        self.paths.insert(plain(path).to_owned());
    }

    fn read_dpkg(&mut self, view: &View) -> bool {
        let folder = "/var/lib/dpkg/info";
        let mut any = false;
        for name in view.root.names_in(folder) {
            if !name.text.ends_with(".list") {
                continue;
            }
            any = true;
            match view.root.text(&format!("{folder}/{}", name.text), LIST_BYTES_MAX) {
                Some(text) => text.lines().for_each(|line| self.take(line)),
                None => self.complete = false,
            }
        }
        any
    }

    fn read_apk(&mut self, view: &View) -> bool {
        let text = view.root.quiet_text("/lib/apk/db/installed", DATABASE_BYTES_MAX);
        let Some(text) = text.known() else { return false };
        for package in apk::installed(text) {
            package.files.iter().for_each(|path| self.take(path));
        }
        true
    }

    fn read_pacman(&mut self, view: &View) -> bool {
        let folder = "/var/lib/pacman/local";
        let mut any = false;
        for name in view.root.names_in(folder) {
            let path = format!("{folder}/{}/files", name.text);
            let Some(text) = view.root.text(&path, LIST_BYTES_MAX) else { continue };
            any = true;
            text.lines().for_each(|line| self.take(&format!("/{line}")));
        }
        any
    }

    fn read_rpm(&mut self, view: &View) -> bool {
        let folders = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"];
        if folders.iter().all(|folder| view.root.names(folder).list().is_empty()) {
            return false;
        }
        match view.run(&["rpm", "-qal"]) {
            crate::facts::Seen::Known(text) => {
                text.lines().for_each(|line| self.take(line));
                true
            }
            crate::facts::Seen::Unseen(unseen) => {
                view.root.gap("files of rpm packages", &unseen);
                false
            }
        }
    }
}

/// Without `/usr` where merged systems have a link.
fn plain(path: &str) -> &str {
    let rest = path.strip_prefix("/usr").unwrap_or(path);
    let merged = ["/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/"];
    if merged.iter().any(|folder| rest.starts_with(folder)) { rest } else { path }
}
