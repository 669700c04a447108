//! A control group for one machine alone, in each hierarchy that a service manager keeps its
//! services in.
//!
//! Machines that share one share its services' groups too: what one stops and removes, the other is
//! about to move a process into, which then stays where it was made. Two machines that restart a
//! service at once lose one start in ten so.
//!
//! Invariant: a group goes with its [`ControlGroup`], unless something still lives there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Groups of one machine, the same name in each hierarchy.
#[derive(Debug)]
pub(crate) struct ControlGroup {
    folders: Vec<PathBuf>,
}

impl ControlGroup {
    /// Makes the groups below those that this process is in.
    ///
    /// # Panics
    ///
    /// When the system has none that can be written.
    pub(crate) fn new(name: &str) -> Self {
        let text = |path| fs::read_to_string(path).expect("Linux says which groups there are");
        let hierarchies = hierarchies(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"));
        assert!(!hierarchies.is_empty(), "no service manager's control groups are mounted here");
        let folders: Vec<_> = hierarchies.iter().map(|own| own.join(name)).collect();
        for folder in &folders {
            let made = fs::create_dir_all(folder);
            made.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        Self { folders }
    }

    /// A command that enters the groups and becomes `program` there, as the same process.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let enter = r#"while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done"#;
        command.arg("-c").arg(format!(r#"{enter}; shift; exec "$@""#)).arg("sh");
        command.args(&self.folders).args(["--", program]);
        command
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            remove(folder);
        }
    }
}

/// Groups are removed as folders are, those inside first; their files go by themselves.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// The folders of this process's own groups: systemd's named hierarchy, the unified one, or both,
/// by its `cgroup` and its `mountinfo`.
fn hierarchies(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let own =
        |name: &str| groups.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(name));
    let mounted = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, folder) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let group = match (kind.next()?, kind.nth(1)?) {
            ("cgroup2", _) => own(":")?,
            ("cgroup", options) if options.split(',').any(|option| option == "name=systemd") => {
                own("name=systemd:")?
            }
            _ => return None,
        };
        let below = Path::new(group).strip_prefix(root).ok()?;
        Some(Path::new(folder).join(below))
    });
    mounted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_every_layout() {
        let named = "31 23 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                     32 23 0:35 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let unified = "41 31 0:38 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        let inner = "41 31 0:38 /lxc/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let both = format!("{named}{unified}");
        let hybrid = "9:name=systemd:/user.slice\n4:memory:/x\n0::/\n";
        for (groups, mounts, expected) in [
            (hybrid, both.as_str(), &["/sys/fs/cgroup/systemd/user.slice", "/sys/fs/cgroup/"][..]),
            (hybrid, named, &["/sys/fs/cgroup/systemd/user.slice"]),
            ("0::/a.slice/b.scope\n", unified, &["/sys/fs/cgroup/a.slice/b.scope"]),
            ("0::/lxc/a/b\n", inner, &["/sys/fs/cgroup/b"]),
            ("4:memory:/x\n", both.as_str(), &[]),
        ] {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(hierarchies(groups, mounts), expected, "{groups}{mounts}");
        }
    }
}
