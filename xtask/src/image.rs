//! Debian 12 systems for tests, made once by debootstrap below the target folder.
//!
//! A system is unpacked beside its final name and renamed when it is whole, so what is there is
//! complete. Nothing in it is ever started here: packages are installed with starts forbidden.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{shell, test::debian};

/// The host of the story: a small web server's system, before memcached came to it.
const STORY_PACKAGES: &[&str] = &[
    "cron",
    "dbus",
    "iproute2",
    "iptables",
    "kmod",
    "login",
    "logrotate",
    "netbase",
    "nftables",
    "openssh-server",
    "passwd",
    "procps",
    "systemd",
    "systemd-sysv",
    "ufw",
];

/// How the automated build of the story brings memcached; apt keeps this line in its history.
const STORY_BUILD: [&str; 5] =
    ["apt-get", "install", "--yes", "--no-install-recommends", "memcached"];

/// Debian's switch against starting services while packages are installed.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Programs that boot a system in a network of its own.
const PROGRAMS: [(&str, &str); 4] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
];

/// The system that `cargo xtask story` boots, made if it is not there.
pub(crate) fn story() -> Result<PathBuf> {
    ensure!(shell::is_root(), "the story needs root: it boots a system in a namespace");
    for (program, package) in PROGRAMS {
        ensure!(shell::find(program).is_some(), "{program} is missing: apt-get install {package}");
    }
    let folder = shell::target().join("story");
    fs::create_dir_all(&folder)?;
    made(&folder.join("debian12"), STORY_PACKAGES, |system| {
        let policy = system.join(POLICY);
        fs::write(&policy, "#!/bin/sh\nexit 101\n")?;
        shell::run(Command::new("chmod").arg("755").arg(&policy))?;
        let mut build = Command::new("chroot");
        build.arg(system).args(STORY_BUILD).env("DEBIAN_FRONTEND", "noninteractive");
        shell::run(&mut build)?;
        fs::remove_file(&policy)?;
        // Each machine gets an identity of its own when it boots.
        fs::write(system.join("etc/machine-id"), "").context("etc/machine-id")
    })
}

/// A small Debian 12 with these packages at `system`, finished by `furnish` when it is new.
pub(crate) fn made(
    system: &Path,
    packages: &[&str],
    furnish: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    if system.is_dir() && is_of(system, packages) {
        return Ok(system.to_path_buf());
    }
    for stale in [system.to_path_buf(), system.with_extension("unfinished")] {
        shell::run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&stale))?;
    }
    let unfinished = system.with_extension("unfinished");
    let include = format!("--include={}", packages.join(","));
    let words = ["--variant=minbase", include.as_str(), "bookworm"];
    let mirror = debian::mirror()?;
    shell::run(Command::new("debootstrap").args(words).arg(&unfinished).arg(mirror))?;
    furnish(&unfinished)?;
    fs::rename(&unfinished, system)?;
    fs::write(stamp(system), packages.join("\n"))?;
    Ok(system.to_path_buf())
}

/// What a system was made of: beside it, so that nothing of ours is in it.
fn stamp(system: &Path) -> PathBuf {
    system.with_extension("packages")
}

fn is_of(system: &Path, packages: &[&str]) -> bool {
    fs::read_to_string(stamp(system)).is_ok_and(|made_of| made_of == packages.join("\n"))
}
