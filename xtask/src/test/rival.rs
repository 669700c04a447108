//! The memcached whose behaviour is the reference: Debian's newest package, unpacked beside the
//! build with the libraries it wants, and run by its own loader. Nothing of it is installed.
//!
//! apt fetches it with a configuration, lists and keys of its own below the target folder, so that
//! the machine's sources stay as they are and every package is checked against Debian's keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::debian;
use super::report::Outcome;
use crate::shell;

/// The version that Kannuki is to behave as.
const VERSION: &str = "1.6.45";

/// memcached, and every library it loads.
const PACKAGES: [&str; 11] = [
    "libc6",
    "libdb5.3t64",
    "libevent-2.1-7t64",
    "libgcc-s1",
    "liblua5.4-0",
    "libsasl2-2",
    "libsasl2-modules-db",
    "libssl3t64",
    "libzstd1",
    "memcached",
    "zlib1g",
];

/// The keys that Debian signs its lists with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The program to start, wherever this chore puts it.
pub(crate) fn program() -> PathBuf {
    folder().join("memcached")
}

fn folder() -> PathBuf {
    shell::target().join("rival")
}

/// Brings it, if it is not there.
pub(crate) fn install() -> Result<Outcome> {
    if version().as_deref() == Some(VERSION) {
        return Ok(Outcome::Passed(format!("{VERSION}, unpacked before")));
    }
    if shell::find("apt-get").is_none() || !Path::new(KEYRING).is_file() {
        return Ok(Outcome::Passed("none: it comes from Debian".into()));
    }
    let configuration = configure(&folder())?;
    if !shell::succeeds(apt(&configuration).args(["-qq", "update"])) {
        return Ok(Outcome::Passed("none: Debian's unstable packages are out of reach".into()));
    }
    // Debian moves on, and then the older comparison has to do. That is no failure of ours.
    let offered = shell::capture(apt_cache(&configuration).args(["show", "memcached"]))?;
    let wanted = format!("Version: {VERSION}-");
    if !offered.lines().any(|line| line.starts_with(&wanted)) {
        return Ok(Outcome::Passed(format!("none: Debian no longer has {VERSION}")));
    }
    unpack(&configuration)?;
    match version().as_deref() {
        Some(VERSION) => Ok(Outcome::Passed(format!("{VERSION}, unpacked"))),
        found => bail!("unpacked, but it says {found:?} instead of {VERSION}"),
    }
}

/// What the unpacked one says, if there is one.
fn version() -> Option<String> {
    let program = program();
    if !program.is_file() {
        return None;
    }
    let said = shell::capture(Command::new(program).arg("-V")).ok()?;
    said.trim().strip_prefix("memcached ").map(str::to_owned)
}

/// Writes apt's configuration and tells where. A mirror whose list is old is as good as any: what
/// is taken is signed, and has to be one version.
fn configure(folder: &Path) -> Result<PathBuf> {
    for part in ["state/lists/partial", "cache/archives/partial", "packages", "empty"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let sources = folder.join("sources.list");
    let source = format!("deb [signed-by={KEYRING}] {} sid main\n", debian::mirror()?);
    fs::write(&sources, source)?;
    let at = folder.display();
    let text = format!(
        "Dir::State \"{at}/state\";\nDir::State::status \"/dev/null\";\n\
         Dir::Cache \"{at}/cache\";\n\
         Dir::Etc::sourcelist \"{at}/sources.list\";\nDir::Etc::sourceparts \"{at}/empty\";\n\
         APT::Sandbox::User \"\";\nAcquire::Check-Valid-Until \"false\";\n\
         Acquire::Languages \"none\";\n"
    );
    let configuration = folder.join("apt.conf");
    fs::write(&configuration, text)?;
    Ok(configuration)
}

fn apt(configuration: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.env("APT_CONFIG", configuration);
    command
}

fn apt_cache(configuration: &Path) -> Command {
    let mut command = Command::new("apt-cache");
    command.env("APT_CONFIG", configuration);
    command
}

fn unpack(configuration: &Path) -> Result<()> {
    let packages = folder().join("packages");
    let root = folder().join("root");
    let mut fetch = apt(configuration);
    shell::run(fetch.args(["-qq", "download"]).args(PACKAGES).current_dir(&packages))?;
    for package in fs::read_dir(&packages)? {
        let package = package?.path();
        shell::run(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
        fs::remove_file(package)?;
    }
    let script = format!(
        "#!/bin/sh\nL='{root}/usr/lib/x86_64-linux-gnu'\n\
         exec \"$L/ld-linux-x86-64.so.2\" --argv0 memcached \
         --library-path \"$L\" '{root}/usr/bin/memcached' \"$@\"\n",
        root = root.display()
    );
    fs::write(program(), script)?;
    fs::set_permissions(program(), fs::Permissions::from_mode(0o755))?;
    Ok(())
}
