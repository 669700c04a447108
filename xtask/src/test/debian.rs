//! Installing Debian packages without anything of theirs ever starting.
//!
//! Debian's own switch is used: while `/usr/sbin/policy-rc.d` says 101, no package may start what
//! it brings. It is set before the installation and put back as it was, on failure too. What was
//! newly installed is also disabled, so that it does not start at the next boot either.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// What Debian asks before it starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Known by its second line: found at the start, it is left over from a run that was killed, and is
/// not put back.
const FORBID: &str =
    "#!/bin/sh\n# cargo xtask test: nothing that tests install may start\nexit 101\n";
/// Waits this long for another package installation to end.
const LOCK_SECONDS: u32 = 300;
/// Every package of ours that brings a service.
const LISTENING: [&str; 1] = ["memcached"];

/// Installs the packages, with starts forbidden. Needs root.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let fresh: Vec<&str> = LISTENING.into_iter().filter(|name| !is_installed(name)).collect();
    let forbidden = Forbidden::set(Path::new(POLICY))?;
    let installed = apt(&["update"]).and_then(|()| {
        let mut words = vec!["install", "--yes", "--no-install-recommends"];
        words.extend(packages);
        apt(&words)
    });
    for name in fresh.into_iter().filter(|name| is_installed(name)) {
        // Absent where there is no systemd or no sysv, where there is then nothing to disable.
        shell::succeeds(Command::new("deb-systemd-helper").arg("disable").arg(name));
        shell::succeeds(Command::new("update-rc.d").args([name, "disable"]));
    }
    forbidden.lift()?;
    installed
}

fn apt(words: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-o", &format!("DPkg::Lock::Timeout={LOCK_SECONDS}")]).args(words);
    shell::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Where this machine's own configuration has Debian's packages from.
pub(crate) fn mirror() -> Result<String> {
    let words = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let targets = shell::capture(Command::new("apt-get").args(words))?;
    let of_debian = |line: &&str| line.trim_end_matches('/').ends_with("/debian");
    targets.lines().find(of_debian).map(str::to_owned).context("apt knows no Debian mirror")
}

fn is_installed(package: &str) -> bool {
    let query = ["--show", "--showformat=${db:Status-Status}", package];
    shell::find("dpkg-query").is_some()
        && shell::succeeds(Command::new("dpkg-query").args(query))
        && shell::capture(Command::new("dpkg-query").args(query))
            .is_ok_and(|status| status == "installed")
}

/// While this lives, no package may start a service. Dropping it puts back what was there.
struct Forbidden {
    path: PathBuf,
    before: Option<(Vec<u8>, fs::Permissions)>,
    lifted: bool,
}

impl Forbidden {
    fn set(path: &Path) -> Result<Self> {
        let before = match fs::read(path) {
            Ok(text) if text == FORBID.as_bytes() => None,
            Ok(text) => Some((text, fs::metadata(path)?.permissions())),
            Err(_) => None,
        };
        let forbidden = Self { path: path.to_path_buf(), before, lifted: false };
        fs::write(path, FORBID).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(forbidden)
    }

    fn lift(mut self) -> Result<()> {
        self.put_back()
    }

    fn put_back(&mut self) -> Result<()> {
        if self.lifted {
            return Ok(());
        }
        self.lifted = true;
        match self.before.take() {
            Some((text, permissions)) => {
                fs::write(&self.path, text)?;
                fs::set_permissions(&self.path, permissions)?;
            }
            None => fs::remove_file(&self.path)?,
        }
        Ok(())
    }
}

impl Drop for Forbidden {
    fn drop(&mut self) {
        if let Err(error) = self.put_back() {
            eprintln!("cannot put {} back: {error:#}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder.join("policy-rc.d")
    }

    #[test]
    fn what_was_there_comes_back() {
        let path = scratch("back");
        fs::write(&path, "theirs").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let forbidden = Forbidden::set(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("exit 101"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        drop(forbidden);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_left_over_of_a_killed_run_goes() {
        let path = scratch("left");
        fs::write(&path, FORBID).unwrap();
        Forbidden::set(&path).unwrap().lift().unwrap();
        assert!(!path.exists());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn nothing_there_before_is_nothing_there_after() {
        let path = scratch("none");
        Forbidden::set(&path).unwrap().lift().unwrap();
        assert!(!path.exists());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
