//! The evidence bundle: raw copies of what was judged, for somebody who judges again.
//!
//! ```text
//! case-HOST-TIME/  README.txt  triage.json  traces.json  NNNN-name ...  manifest.jsonl  MANIFEST.sha256
//! ```
//!
//! Invariants:
//! - Copied in order of volatility: what the kernel shows, then records and logs, then settings.
//! - Never in it: password hashes, private keys, shell histories, environments and memory of
//!   processes. The README says so. What a file holds counts, not what it is called.
//! - A member's name is made of a number and harmless letters; where it came from stands in the
//!   manifest, so no name of the host can lead whoever unpacks it anywhere.
//! - Bounded in number and bytes; what was cut or left out stands in the manifest.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde_json::{Value, json};
use thiserror::Error;

use super::{Search, View, clock};
use crate::{
    collect::{CollectError, root::Part, sha256},
    facts::Seen,
    formats::secrets,
    traces::{TextKind, Traces},
    triage::show::utc,
};

/// Longest part of one file that is copied, in bytes; of a log the newest.
const FILE_BYTES_MAX: usize = 32 << 20;
/// Most bytes of all copies together: what can still be sent.
const BUNDLE_BYTES_MAX: u64 = 512 << 20;
/// Most files that are copied.
const FILES_MAX: usize = 4000;
/// Longest part of a file's name that a member keeps.
const NAME_CHARS_MAX: usize = 60;
/// A block of a tar file.
const BLOCK: usize = 512;

/// What the kernel shows.
const VOLATILE: [&str; 13] = [
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/net/tcp",
    "/proc/net/tcp6",
    "/proc/net/udp",
    "/proc/net/udp6",
    "/proc/net/raw",
    "/proc/net/packet",
    "/proc/net/unix",
    "/proc/net/snmp",
    "/proc/net/dev",
    "/proc/modules",
    "/proc/mounts",
];
/// Beginnings of the names of logs.
const LOGS: [&str; 10] = [
    "wtmp",
    "btmp",
    "lastlog",
    "auth.log",
    "secure",
    "syslog",
    "messages",
    "dpkg.log",
    "yum.log",
    "dnf.rpm.log",
];
/// Settings that no list of traces names.
const SETTINGS: [&str; 9] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/memcached.conf",
    "/etc/sysconfig/memcached",
    "/etc/default/memcached",
    "/etc/nftables.conf",
    "/etc/machine-id",
    "/etc/os-release",
];

const README: &str = "\
Evidence of `kannuki triage`.

manifest.jsonl names each copy with its path, size, owner, times and SHA-256, in the order in which
it was taken. MANIFEST.sha256 can be checked with `sha256sum -c`.

Left out on purpose: /etc/shadow and every other password hash, private keys, shell histories, the
environments and the memory of processes, passwords in settings that are named so. Where something
was left out of a copy, \"[left out]\" stands in its place and \"left_out\" in the manifest says how
often. Keys in authorized_keys are public ones. Copies may name people and addresses, and a password
that nothing calls one: read them before you pass them on.
";

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// How many members.
    pub members: usize,
    /// Bytes of all copies.
    pub bytes: u64,
    /// SHA-256 of `MANIFEST.sha256`: put it into the letter, and the bundle cannot change unseen.
    pub manifest_sha256: String,
    /// What was to be copied and was not, with the reason.
    pub missed: Vec<String>,
}

/// Why no bundle was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The root cannot be opened.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// It cannot be written.
    #[error("cannot write the bundle: {0}")]
    Write(#[from] io::Error),
    /// The traces or the triage cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes the bundle as a tar file.
///
/// # Errors
///
/// When the root cannot be opened or the bundle cannot be written.
pub fn bundle(
    search: &Search,
    traces: &Traces,
    triage: &str,
    out: &mut dyn Write,
) -> Result<Bundle, BundleError> {
    let view = View::open(&search.request())?;
    let host = traces.facts.host.name.known().map_or("host", String::as_str);
    let at = utc(view.at).replace(['-', ':'], "");
    let folder = format!("case-{}-{at}", harmless(host));
    let mut tar = Tar { out, folder, sums: String::new(), members: 0, bytes: 0, at: view.at };
    let program = std::fs::read("/proc/self/exe").map(|bytes| sha256(&bytes));
    let by = format!("{}\nSHA-256 of the program: {}\n", search.by, program.unwrap_or_default());
    tar.member("README.txt", format!("{README}\nMade by {by}").as_bytes())?;
    tar.member("triage.json", triage.as_bytes())?;
    tar.member("traces.json", &serde_json::to_vec_pretty(&without_secrets(traces)?)?)?;
    let mut manifest = String::new();
    let mut missed = Vec::new();
    for (order, path) in paths(&view, traces).iter().enumerate() {
        if order >= FILES_MAX || tar.bytes >= BUNDLE_BYTES_MAX {
            missed.push(format!("{path}: the bundle is full"));
            continue;
        }
        match copy(&view, &mut tar, order, path)? {
            Ok(line) => manifest.push_str(&line),
            Err(why) => missed.push(format!("{path}: {why}")),
        }
    }
    for line in &missed {
        manifest.push_str(&format!("{}\n", json!({ "missed": line })));
    }
    tar.member("manifest.jsonl", manifest.as_bytes())?;
    let sums = std::mem::take(&mut tar.sums);
    let manifest_sha256 = sha256(sums.as_bytes());
    tar.member("MANIFEST.sha256", sums.as_bytes())?;
    tar.out.write_all(&[0; BLOCK * 2])?;
    Ok(Bundle { members: tar.members, bytes: tar.bytes, manifest_sha256, missed })
}

/// Copies one file; a reason why not is no error of the bundle.
fn copy(
    view: &View,
    tar: &mut Tar<'_>,
    order: usize,
    path: &str,
) -> io::Result<Result<String, String>> {
    let file = match view.root.read(path, Part::Tail, FILE_BYTES_MAX) {
        Seen::Known(file) => file,
        Seen::Unseen(unseen) => return Ok(Err(unseen.detail)),
    };
    let name = format!("{order:04}-{}", harmless(path.rsplit('/').next().unwrap_or_default()));
    // Logs stay as they are but for keys and hashes; settings may hold passwords by name.
    let log = path.starts_with("/var/log/") || path.starts_with("/proc/");
    let clean = if log { secrets::without_keys } else { secrets::without_secrets };
    let (bytes, left_out) = clean(&file.bytes).unwrap_or((file.bytes, 0));
    let digest = tar.member(&name, &bytes)?;
    let stat = view.root.stat(path);
    let line = json!({
        "order": order, "member": name, "path": path, "bytes": bytes.len(), "left_out": left_out,
        "part": if file.whole { "whole" } else { "end" }, "sha256": digest,
        "mode": stat.as_ref().map(|stat| format!("{:o}", stat.st_mode & 0o7777)),
        "uid": stat.as_ref().map(|stat| stat.st_uid), "gid": stat.as_ref().map(|stat| stat.st_gid),
        "mtime": stat.as_ref().map(|stat| utc(stat.st_mtime)),
        "ctime": stat.as_ref().map(|stat| utc(stat.st_ctime)),
        "collected_at": utc(clock::now()),
    });
    Ok(Ok(format!("{line}\n")))
}

/// Every path that is copied, the most volatile first, each once.
fn paths(view: &View, traces: &Traces) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    if view.proc {
        all.extend(VOLATILE.map(str::to_owned));
    }
    all.push("/var/run/utmp".to_owned());
    for folder in ["/var/log", "/var/log/apt"] {
        for name in view.root.names(folder).list() {
            let wanted = LOGS.iter().any(|stem| name.text.starts_with(stem));
            if wanted || (folder == "/var/log/apt" && name.text.starts_with("history.log")) {
                all.push(format!("{folder}/{}", name.text));
            }
        }
    }
    all.extend(SETTINGS.map(str::to_owned));
    all.extend(traces.keys.iter().map(|key| key.path.clone()));
    let texts = traces.texts.iter().filter(|file| file.kind != TextKind::History);
    all.extend(texts.map(|file| file.path.clone()));
    let mut seen = BTreeSet::new();
    // What a link of a hostile disk calls a log may be a private key all the same.
    all.retain(|path| {
        let target = view.root.link(path).known().cloned().unwrap_or_default();
        seen.insert(path.clone()) && !is_secret(path) && !is_secret(&target)
    });
    all
}

fn is_secret(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let key = name.starts_with("id_") || name.ends_with("_key") || name.ends_with(".pem");
    key || name.starts_with("shadow") || name.starts_with("gshadow") || name.contains("history.z")
}

fn without_secrets(traces: &Traces) -> Result<Value, serde_json::Error> {
    let mut traces = traces.clone();
    for file in traces.texts.iter_mut().filter(|file| file.kind == TextKind::History) {
        file.text.clear();
    }
    let mut value = serde_json::to_value(traces)?;
    clean(&mut value);
    Ok(value)
}

/// Facts hold whole settings; on a hostile disk they may be anything. As deep as the types are.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = secrets::clean(std::mem::take(text)),
        Value::Array(all) => all.iter_mut().for_each(clean),
        Value::Object(all) => all.values_mut().for_each(clean),
        _ => {}
    }
}

/// Letters that mean nothing to any shell or file system.
fn harmless(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().take(NAME_CHARS_MAX).map(plain).collect();
    if name.trim_matches('.').is_empty() { "unnamed".to_owned() } else { name }
}

/// Writes members in the form that every `tar` reads (POSIX.1-1988, ustar).
struct Tar<'o> {
    out: &'o mut dyn Write,
    folder: String,
    sums: String,
    members: usize,
    bytes: u64,
    at: i64,
}

impl Tar<'_> {
    /// Writes one member; answers its digest.
    fn member(&mut self, name: &str, bytes: &[u8]) -> io::Result<String> {
        let path = format!("{}/{name}", self.folder);
        self.out.write_all(&header(&path, bytes.len(), self.at)?)?;
        self.out.write_all(bytes)?;
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.out.write_all([0; BLOCK].get(..rest).unwrap_or_default())?;
        let digest = sha256(bytes);
        self.sums.push_str(&format!("{digest}  {name}\n"));
        self.members += 1;
        self.bytes += bytes.len() as u64;
        Ok(digest)
    }
}

fn header(path: &str, len: usize, at: i64) -> io::Result<Vec<u8>> {
    let mut fields: Vec<u8> = Vec::with_capacity(BLOCK);
    let mut field = |text: &str, width: usize| {
        fields.extend(text.bytes().take(width));
        fields.resize(fields.len() + width.saturating_sub(text.len()), 0);
    };
    if path.len() > 100 {
        return Err(io::Error::other("a member's name is too long"));
    }
    field(path, 100);
    // Readable by its owner only, whoever unpacks it.
    field("0000600", 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{len:011o}"), 12);
    field(&format!("{:011o}", at.max(0)), 12);
    field("        ", 8);
    field("0", 1);
    field("", 100);
    field("ustar", 6);
    field("00", 2);
    fields.resize(BLOCK, 0);
    let sum: u32 = fields.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    for (place, byte) in fields.iter_mut().skip(148).zip(sum.bytes()) {
        *place = byte;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(harmless("../../etc"), ".._.._etc");
        assert_eq!(harmless(".."), "unnamed");
        assert_eq!(harmless("a\u{1b}[31m b"), "a__31m_b");
        assert!(is_secret("/etc/shadow-") && is_secret("/root/.ssh/id_rsa"));
        assert!(is_secret("/etc/ssh/ssh_host_rsa_key") && !is_secret("/etc/ssh/sshd_config"));
    }
}
