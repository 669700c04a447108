//! Files in places where none should be, with rights that none should have, or changed just then.

use super::{
    owners::Owners,
    texts,
    walk::{Met, Walk, is_program, raises},
};
use crate::{
    collect::root::{Kind, Part},
    traces::{FileTrace, Owner, Place, TextFile, TextKind},
};

/// Most files of each place that are kept.
const FILES_MAX: usize = 500;
/// Time before and after the incident in which a change counts, in seconds: an intruder is there
/// before the flood begins.
const BEFORE_S: i64 = 7 * 86_400;
const AFTER_S: i64 = 86_400;
/// Most scripts of a web server that are kept.
const WEB_MAX: usize = 200;
/// Longest beginning of a script that is searched for web shells, in bytes.
const SCRIPT_BYTES_MAX: usize = 64 * 1024;

/// Where everybody may write.
const OPEN: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// Where programs stand.
const PROGRAMS: [&str; 7] =
    ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local", "/usr/lib", "/opt"];
/// Where changes at the time of the incident tell something.
const TOLD: [&str; 4] = ["/etc", "/usr/local", "/root", "/opt"];
/// Where web servers have their files.
const WEB: [&str; 4] = ["/var/www", "/srv/www", "/usr/share/nginx/html", "/home"];

pub(super) fn collect(
    walk: &mut Walk<'_>,
    owners: &Owners,
    incident: Option<i64>,
) -> Vec<FileTrace> {
    let mut found = Vec::new();
    for folder in OPEN {
        walk.below(folder, &mut |met| {
            if is_program(met) {
                keep(&mut found, Place::Program, met, owners);
            }
            let direct = met.path.rsplit_once('/').is_some_and(|(parent, _)| parent == folder);
            if hides(met.name, direct) {
                keep(&mut found, Place::HiddenName, met, owners);
            }
        });
    }
    walk.below("/dev", &mut |met| {
        if met.kind == Kind::File && !met.path.starts_with("/dev/shm") {
            keep(&mut found, Place::AmongDevices, met, owners);
        }
    });
    for folder in PROGRAMS.iter().chain(&["/home", "/tmp", "/var/tmp", "/dev/shm"]) {
        walk.below(folder, &mut |met| {
            if raises(met) && owners.of(met.path) != Owner::Package {
                keep(&mut found, Place::SetUser, met, owners);
            }
            let library = met.path.starts_with("/usr/lib") || met.path.starts_with("/lib");
            let pam = met.path.contains("/security/pam_") && met.path.ends_with(".so");
            let is_module = library && pam;
            if is_module && owners.of(met.path) == Owner::Nobody {
                keep(&mut found, Place::PamModule, met, owners);
            }
        });
    }
    if let Some(incident) = incident {
        let around = incident - BEFORE_S..=incident + AFTER_S;
        for folder in TOLD {
            walk.below(folder, &mut |met| {
                if met.kind == Kind::File && around.contains(&met.stat.st_ctime) {
                    keep(&mut found, Place::Recent, met, owners);
                }
            });
        }
    }
    found.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
    found.dedup();
    found
}

fn keep(found: &mut Vec<FileTrace>, place: Place, met: &Met<'_>, owners: &Owners) {
    if found.iter().filter(|file| file.place == place).count() >= FILES_MAX {
        return;
    }
    found.push(FileTrace {
        place,
        path: met.path.to_owned(),
        bytes: u64::try_from(met.stat.st_size).unwrap_or(0),
        mode: met.stat.st_mode & 0o7777,
        uid: met.stat.st_uid,
        owner: owners.of(met.path),
        modified: met.stat.st_mtime,
        changed: met.stat.st_ctime,
    });
}

/// Names that a listing shows badly or not at all. What graphical systems put there is known; a dot
/// alone hides at the top, and deeper down belongs to every unpacked source.
fn hides(name: &str, direct: bool) -> bool {
    const USUAL: [&str; 6] =
        [".X11-unix", ".ICE-unix", ".font-unix", ".Test-unix", ".XIM-unix", ".X0-lock"];
    let blank = name.trim().is_empty() || name.ends_with(' ') || name.starts_with(' ');
    blank || name.starts_with("..") || (direct && name.starts_with('.') && !USUAL.contains(&name))
}

/// Words that let a web page run what its visitor sends.
const SHELL_WORDS: [&str; 6] =
    ["eval(base64_decode(", "eval(gzinflate(", "system($_", "assert($_", "eval($_", "passthru($_"];

/// Scripts of web servers that run what a visitor sends.
pub(super) fn web(walk: &mut Walk<'_>, owners: &Owners) -> Vec<TextFile> {
    let mut suspects = Vec::new();
    let view = walk.view;
    for folder in WEB {
        walk.below(folder, &mut |met| {
            let ends = [".php", ".phtml", ".php5", ".inc", ".htaccess"];
            let script = met.kind == Kind::File && ends.iter().any(|end| met.name.ends_with(end));
            if !script || suspects.len() >= WEB_MAX {
                return;
            }
            let read = view.root.read(met.path, Part::Head, SCRIPT_BYTES_MAX);
            let Some(file) = read.known() else { return };
            let text: Vec<u8> =
                file.bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            let says = |word: &&str| memchr::memmem::find(&text, word.as_bytes()).is_some();
            if SHELL_WORDS.iter().any(says) {
                suspects.push(met.path.to_owned());
            }
        });
    }
    suspects.iter().filter_map(|path| texts::read(view, owners, TextKind::Web, path)).collect()
}

#[cfg(test)]
mod tests {
    use super::hides;

    #[test]
    fn names_that_hide() {
        for name in ["...", ".. ", " ", ".x", "a "] {
            assert!(hides(name, true), "{name:?}");
        }
        assert!(hides("...", false) && hides(" ", false) && !hides(".gitignore", false));
        for name in ["a", "systemd-private-1", ".X11-unix", "a.b"] {
            assert!(!hides(name, true), "{name:?}");
        }
    }
}
