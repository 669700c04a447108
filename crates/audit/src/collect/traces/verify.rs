//! Compares programs with what their packages brought, with a digest of our own: an intruder's
//! `dpkg -V` would say what the intruder wants.

use std::collections::HashMap;
use std::io::Read as _;

use md5::{Digest as _, Md5};

use super::{View, clock::Deadline};
use crate::{
    facts::{Seen, Unseen, Why},
    traces::{ChangedFile, Verification},
};

/// Packages whose programs intruders replace: what lists, logs in, starts and hides.
const PACKAGES: &[&str] = &[
    "apt",
    "bash",
    "bsdutils",
    "coreutils",
    "cron",
    "curl",
    "dash",
    "dpkg",
    "findutils",
    "grep",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "libc-bin",
    "libc6",
    "libpam-modules",
    "libpam-runtime",
    "libpam0g",
    "libsystemd0",
    "login",
    "lsof",
    "memcached",
    "mount",
    "net-tools",
    "netcat-openbsd",
    "nftables",
    "openssh-client",
    "openssh-server",
    "passwd",
    "perl-base",
    "procps",
    "psmisc",
    "rsyslog",
    "sed",
    "sudo",
    "systemd",
    "tar",
    "util-linux",
    "wget",
];
/// The same under the names of Red Hat's systems.
const RPM_PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "cronie",
    "findutils",
    "glibc",
    "grep",
    "iproute",
    "memcached",
    "net-tools",
    "openssh-clients",
    "openssh-server",
    "pam",
    "procps-ng",
    "psmisc",
    "rsyslog",
    "shadow-utils",
    "sudo",
    "systemd",
    "util-linux",
];
/// Longest file that is compared, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Most files that are named as changed.
const CHANGED_MAX: usize = 500;
/// Longest list of digests that is read, in bytes.
const LIST_BYTES_MAX: usize = 8 << 20;

pub(super) fn collect(view: &View, deadline: Deadline) -> Seen<Verification> {
    if view.root.exists("/var/lib/dpkg/info") {
        return Seen::Known(with_dpkg(view, deadline));
    }
    let folders = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"];
    if folders.iter().any(|folder| view.root.exists(folder)) {
        return with_rpm(view);
    }
    let detail = "programs are compared on Debian's and Red Hat's systems only";
    Seen::unseen(Why::Absent, detail)
}

fn with_dpkg(view: &View, deadline: Deadline) -> Verification {
    let folder = "/var/lib/dpkg/info";
    let diverted = diversions(view);
    let mut done = Verification { by: "md5sums (dpkg)".to_owned(), ..Verification::default() };
    for name in view.root.names_in(folder) {
        let Some(stem) = name.text.strip_suffix(".md5sums") else { continue };
        let package = stem.split(':').next().unwrap_or_default();
        // On newer systems some carry the mark of the 64-bit time.
        let plain = package.strip_suffix("t64").unwrap_or(package);
        if !PACKAGES.contains(&plain) {
            continue;
        }
        let Some(text) = view.root.text(&format!("{folder}/{}", name.text), LIST_BYTES_MAX) else {
            continue;
        };
        done.packages.push(package.to_owned());
        for line in text.lines() {
            let Some((digest, path)) = line.split_once("  ") else { continue };
            if path.starts_with("usr/share/") {
                continue;
            }
            if deadline.left().is_none() {
                let detail = "the time was over: not all were compared".to_owned();
                view.root.gap("programs of packages", &Unseen { why: Why::TimedOut, detail });
                return done;
            }
            // What another package put in its place is not this package's.
            let path = format!("/{path}");
            let place = diverted.get(&path).filter(|(_, by)| by != package);
            let place = place.map_or(path.as_str(), |(to, _)| to);
            compare(view, package, place, digest, &mut done);
        }
    }
    done
}

/// Files that packages moved aside: from where, to where, and which package did.
fn diversions(view: &View) -> HashMap<String, (String, String)> {
    let text = view.root.text("/var/lib/dpkg/diversions", LIST_BYTES_MAX).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let all = lines.chunks_exact(3).filter_map(|three| match three {
        [from, to, by] => Some(((*from).to_owned(), ((*to).to_owned(), (*by).to_owned()))),
        _ => None,
    });
    all.collect()
}

fn compare(view: &View, package: &str, path: &str, digest: &str, done: &mut Verification) {
    let how = match digest_of(view, path) {
        Ok(own) if own == digest => {
            done.compared += 1;
            return;
        }
        Ok(_) => "differs",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "missing",
        Err(error) => {
            view.root.gap(path, &crate::collect::root::unseen(path, &error));
            return;
        }
    };
    done.compared += 1;
    if done.changed.len() < CHANGED_MAX {
        done.changed.push(ChangedFile {
            path: path.to_owned(),
            package: package.to_owned(),
            how: how.to_owned(),
            changed: view.root.stat(path).map(|stat| stat.st_ctime),
        });
    }
}

fn digest_of(view: &View, path: &str) -> std::io::Result<String> {
    let (file, stat) = view.root.open_file(path)?;
    if u64::try_from(stat.st_size).unwrap_or(0) > FILE_BYTES_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let mut file = file.take(FILE_BYTES_MAX);
    let mut digest = Md5::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        digest.update(buffer.get(..read).unwrap_or_default());
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Red Hat's database is binary; its own program reads it, on the running host only.
fn with_rpm(view: &View) -> Seen<Verification> {
    let mut words = vec!["rpm", "-V", "--nomtime", "--nordev", "--nouser", "--nogroup"];
    words.extend(RPM_PACKAGES);
    let mut done = Verification { by: "rpm -V".to_owned(), ..Verification::default() };
    // `rpm -V` ends with another code than 0 if anything differs, and prints what.
    let output = match view.run_any(&words) {
        Seen::Known(output) => output,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen),
    };
    done.packages = RPM_PACKAGES.iter().map(|name| (*name).to_owned()).collect();
    for line in output.lines() {
        let Some((marks, rest)) = line.split_once(' ') else { continue };
        let path = rest.trim_start();
        // `c` marks settings, which people change.
        let (kind, path) = match path.split_once(' ') {
            Some((kind, path)) if kind.len() == 1 => (kind, path.trim_start()),
            _ => ("", path),
        };
        let how = match marks {
            "missing" => "missing",
            marks if marks.chars().nth(2) == Some('5') => "differs",
            _ => continue,
        };
        if path.starts_with('/') && kind.is_empty() && done.changed.len() < CHANGED_MAX {
            done.changed.push(ChangedFile {
                path: path.to_owned(),
                package: String::new(),
                how: how.to_owned(),
                changed: view.root.stat(path).map(|stat| stat.st_ctime),
            });
        }
    }
    Seen::Known(done)
}
