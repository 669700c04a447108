//! Short texts that start or steer something.

use rustix::fs::{IFlags, ioctl_getflags};

use super::{View, owners::Owners};
use crate::{
    collect::root::{Kind, Part, lossy},
    facts::{Seen, Unseen, Why},
    formats::secrets,
    traces::{Account, Owner, TextFile, TextKind},
};

/// Longest part of such a text that is kept, in bytes; of a history the end.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Most texts that are kept: a host with a thousand units has three hundred of its own.
const TEXTS_MAX: usize = 5000;
/// How deep below the named folders is looked.
const DEPTH_MAX: usize = 3;

/// Folders and files of every host.
const PLACES: &[(TextKind, &str)] = &[
    (TextKind::Preload, "/etc/ld.so.preload"),
    (TextKind::Cron, "/etc/crontab"),
    (TextKind::Cron, "/etc/anacrontab"),
    (TextKind::Cron, "/etc/cron.d"),
    (TextKind::Cron, "/etc/cron.hourly"),
    (TextKind::Cron, "/etc/cron.daily"),
    (TextKind::Cron, "/etc/cron.weekly"),
    (TextKind::Cron, "/etc/cron.monthly"),
    (TextKind::Cron, "/var/spool/cron"),
    (TextKind::Cron, "/var/spool/at"),
    (TextKind::Unit, "/etc/systemd/system"),
    (TextKind::Unit, "/etc/systemd/user"),
    (TextKind::Unit, "/run/systemd/system"),
    (TextKind::Unit, "/usr/lib/systemd/system"),
    (TextKind::Unit, "/usr/local/lib/systemd/system"),
    (TextKind::Unit, "/etc/systemd/system-generators"),
    (TextKind::Unit, "/usr/lib/systemd/system-generators"),
    (TextKind::Hook, "/etc/rc.local"),
    (TextKind::Hook, "/etc/rc.d/rc.local"),
    (TextKind::Hook, "/etc/init.d"),
    (TextKind::Hook, "/etc/profile"),
    (TextKind::Hook, "/etc/profile.d"),
    (TextKind::Hook, "/etc/bash.bashrc"),
    (TextKind::Hook, "/etc/bashrc"),
    (TextKind::Hook, "/etc/environment"),
    (TextKind::Hook, "/etc/update-motd.d"),
    (TextKind::Hook, "/etc/udev/rules.d"),
    (TextKind::Hook, "/etc/xdg/autostart"),
    (TextKind::Hook, "/etc/network/if-up.d"),
    (TextKind::Hook, "/etc/apt/apt.conf.d"),
    (TextKind::Hook, "/etc/ssh/sshrc"),
    (TextKind::Sshd, "/etc/ssh/sshd_config"),
    (TextKind::Sshd, "/etc/ssh/sshd_config.d"),
    (TextKind::Pam, "/etc/pam.d"),
    (TextKind::Groups, "/etc/group"),
    (TextKind::Sudoers, "/etc/sudoers"),
    (TextKind::Sudoers, "/etc/sudoers.d"),
    (TextKind::Engine, "/etc/docker/daemon.json"),
    (TextKind::Guard, "/etc/selinux/config"),
    (TextKind::Names, "/etc/hosts"),
    (TextKind::Names, "/etc/nsswitch.conf"),
];

/// Files and folders of every home.
const HOME: &[(TextKind, &str)] = &[
    (TextKind::History, ".bash_history"),
    (TextKind::History, ".zsh_history"),
    (TextKind::History, ".ash_history"),
    (TextKind::Hook, ".bashrc"),
    (TextKind::Hook, ".bash_profile"),
    (TextKind::Hook, ".profile"),
    (TextKind::Hook, ".zshrc"),
    (TextKind::Hook, ".ssh/rc"),
    (TextKind::Hook, ".config/autostart"),
    (TextKind::Unit, ".config/systemd/user"),
];

pub(super) fn collect(view: &View, accounts: &[Account], owners: &Owners) -> Vec<TextFile> {
    let mut found = Vec::new();
    for (kind, path) in PLACES {
        take(view, owners, *kind, path, 0, &mut found);
    }
    for name in view.root.names_in(CONTAINERS) {
        let path = format!("{CONTAINERS}/{}/hostconfig.json", name.text);
        take(view, owners, TextKind::Engine, &path, 0, &mut found);
    }
    let mut homes: Vec<&str> = accounts.iter().map(|account| account.home.as_str()).collect();
    homes.retain(|home| home.len() > 1 && home.starts_with('/') && !SYSTEM_HOMES.contains(home));
    homes.sort_unstable();
    homes.dedup();
    for home in homes {
        for (kind, name) in HOME {
            take(view, owners, *kind, &format!("{home}/{name}"), 0, &mut found);
        }
    }
    found
}

/// Where Docker keeps how each container is run.
const CONTAINERS: &str = "/var/lib/docker/containers";
/// Homes of system accounts that are folders of the system.
const SYSTEM_HOMES: [&str; 5] = ["/bin", "/sbin", "/usr/sbin", "/dev", "/nonexistent"];

fn take(
    view: &View,
    owners: &Owners,
    kind: TextKind,
    path: &str,
    depth: usize,
    found: &mut Vec<TextFile>,
) {
    if found.len() >= TEXTS_MAX || depth > DEPTH_MAX {
        return;
    }
    let Some(own) = view.root.own_stat(path) else { return };
    let kind_of = rustix::fs::FileType::from_raw_mode(own.st_mode);
    if kind_of == rustix::fs::FileType::Directory {
        for name in view.root.names_in(path) {
            let below = format!("{path}/{}", name.text);
            // Links between units say what is enabled; the units themselves are read elsewhere.
            let is_link = name.kind == Kind::Link && kind == TextKind::Unit;
            if !(is_link && leads_to_units(view, &below)) {
                take(view, owners, kind, &below, depth + 1, found);
            }
        }
        return;
    }
    // What packages brought is compared with them elsewhere.
    if path.starts_with("/usr/lib/") && owners.of(path) == Owner::Package {
        return;
    }
    found.extend(read(view, owners, kind, path));
}

/// Whether a link leads to where units are read anyway, or to nothing. One that leads elsewhere is
/// the only way to what it starts.
fn leads_to_units(view: &View, path: &str) -> bool {
    let target = view.root.link(path).known().cloned().unwrap_or_default();
    let folders = PLACES.iter().filter(|(kind, _)| *kind == TextKind::Unit);
    let read = |target: &str| {
        let usr = format!("/usr{target}");
        folders.clone().any(|(_, folder)| {
            let parent = |path: &str| path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
            [target, &usr].iter().any(|path| parent(path).as_deref() == Some(folder))
        })
    };
    target == "/dev/null" || !target.contains('/') || read(&target)
}

/// Reads one text; `None` = it is none, or cannot be read, which leaves a gap.
pub(super) fn read(view: &View, owners: &Owners, kind: TextKind, path: &str) -> Option<TextFile> {
    let own = view.root.own_stat(path)?;
    let is_link = rustix::fs::FileType::from_raw_mode(own.st_mode).is_symlink();
    let link = if is_link { view.root.link(path).known().cloned() } else { None };
    let part = if kind == TextKind::History { Part::Tail } else { Part::Head };
    let text = match view.root.read(path, part, TEXT_BYTES_MAX) {
        // A link can call anything a table of jobs, also what nobody may see.
        Seen::Known(file) => {
            // Behind many blank lines anything may stand.
            if !file.whole && !matches!(kind, TextKind::History | TextKind::Web) {
                let detail = format!("only its first {TEXT_BYTES_MAX} bytes were read");
                view.root.gap(path, &Unseen { why: Why::TooLarge, detail });
            }
            secrets::clean(lossy(file.bytes))
        }
        Seen::Unseen(unseen) => {
            // What a link does not lead to is not there to be seen.
            let nowhere = unseen.why == Why::Absent || link.as_deref() == Some("/dev/null");
            if !nowhere {
                view.root.gap(path, &unseen);
            }
            link.as_ref()?;
            String::new()
        }
    };
    let flags = view.root.open_file(path).ok().and_then(|(file, _)| ioctl_getflags(file).ok());
    let fixed = IFlags::IMMUTABLE | IFlags::APPEND;
    Some(TextFile {
        kind,
        path: path.to_owned(),
        text,
        uid: own.st_uid,
        owner: owners.of(path),
        link,
        modified: own.st_mtime,
        changed: own.st_ctime,
        immutable: flags.is_some_and(|flags| flags.intersects(fixed)),
    })
}
