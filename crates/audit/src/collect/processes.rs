//! Processes: all of them briefly, those of interest in full.

use std::collections::{HashMap, HashSet};

use memchr::memmem;

use super::{CONFIG_BYTES_MAX, View, addresses::NAMESPACES_MAX, root::Part, root::lossy};
use crate::{
    facts::{Executable, Host, Process, Protocol, Seen, Socket, SocketState, Starter, Unseen, Why},
    formats::{known, process},
};

/// Most processes that are looked at.
const PROCESSES_MAX: usize = 65_536;
/// Most descriptors that are looked at, over all processes: a large database alone has 100,000.
const DESCRIPTORS_MAX: usize = 1 << 20;
/// Longest command line that is kept, in bytes.
const ARGV_BYTES_MAX: usize = 64 * 1024;
/// Longest program that is searched for how it was built, in bytes. memcached has 300 KiB.
const PROGRAM_BYTES_MAX: usize = 16 << 20;
/// Clock ticks of a second in files that were recorded elsewhere; Linux shows 100 everywhere.
const RECORDED_TICKS_PER_S: u64 = 100;

/// All processes, briefly.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// The host's own network namespace.
    own: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) pid: u32,
    pub(super) stat: process::Stat,
    net_namespace: Seen<u64>,
}

impl Table {
    /// Network namespaces that are not the host's own, each with a process that lives in it.
    pub(super) fn other_namespaces(&self) -> Vec<(u64, u32)> {
        let mut found: Vec<(u64, u32)> = Vec::new();
        for row in &self.rows {
            let Some(namespace) = row.net_namespace.known() else { continue };
            let known = found.iter().any(|(other, _)| other == namespace);
            if Some(*namespace) != self.own && !known && found.len() < NAMESPACES_MAX {
                found.push((*namespace, row.pid));
            }
        }
        found
    }

    /// All of them, by id.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn row(&self, pid: u32) -> Option<&Row> {
        self.rows.binary_search_by_key(&pid, |row| row.pid).ok().and_then(|at| self.rows.get(at))
    }
}

/// Reads the names of all processes and where they live.
pub(super) fn table(view: &View) -> Table {
    let mut table = Table::default();
    if !view.proc {
        return table;
    }
    let own = ["/proc/self/ns/net", "/proc/1/ns/net"];
    let links = own.iter().filter_map(|path| view.root.link(path).known().cloned());
    table.own = links.filter_map(|link| process::namespace(&link)).next();
    inside_namespace(view, table.own);
    for name in view.root.names_in("/proc") {
        let Ok(pid) = name.text.parse::<u32>() else { continue };
        let stat = view.root.quiet_text(&format!("/proc/{pid}/stat"), CONFIG_BYTES_MAX);
        let Some(stat) = stat.known().and_then(|stat| process::stat(stat)) else { continue };
        let link = view.root.link(&format!("/proc/{pid}/ns/net"));
        let net_namespace = match link {
            Seen::Known(link) => match process::namespace(&link) {
                Some(namespace) => Seen::Known(namespace),
                None => Seen::unseen(Why::Malformed, link),
            },
            Seen::Unseen(unseen) => Seen::Unseen(unseen),
        };
        table.rows.push(Row { pid, stat, net_namespace });
        if table.rows.len() >= PROCESSES_MAX {
            let detail = format!("only {PROCESSES_MAX} processes were looked at");
            view.root.gap("/proc", &Unseen { why: Why::TooLarge, detail });
            break;
        }
    }
    table.rows.sort_by_key(|row| row.pid);
    table
}

/// Says so where this program itself lives in another network namespace than the machine: then
/// the addresses and filters that it sees are not the machine's.
fn inside_namespace(view: &View, own: Option<u64>) {
    let first = view.root.link("/proc/1/ns/net");
    let first = first.known().and_then(|link| process::namespace(link));
    let (Some(own), Some(first)) = (own, first) else { return };
    if own != first {
        let detail = format!(
            "this program runs in network namespace {own}, process 1 in {first}: addresses and \
             filters are those of {own}, sockets elsewhere are named with their namespace; for the \
             machine itself run `nsenter --target 1 --net kannuki check`"
        );
        view.root.gap("network namespace", &Unseen { why: Why::NotAsked, detail });
    }
}

/// Whether a process looks like a cache by its names.
pub(super) fn is_cache(process: &Process) -> bool {
    let argv = process.argv.list().first().map(String::as_str);
    let path = process.executable.known().map(|executable| executable.path.as_str());
    [Some(process.name.as_str()), argv, path].into_iter().flatten().any(known::is_cache)
}

/// Joins sockets with the processes that hold them, and reads those of interest in full.
pub(super) fn collect(
    view: &View,
    table: &Table,
    sockets: &mut Seen<Vec<Socket>>,
    host: &Host,
) -> Seen<Vec<Process>> {
    if !view.proc {
        return Seen::Unseen(view.no_proc());
    }
    let mut wanted: HashSet<u32> = HashSet::new();
    if let Seen::Known(sockets) = sockets {
        wanted.extend(join(view, table, sockets));
    }
    for row in &table.rows {
        let name = row.stat.name.as_str();
        // The kernel cuts names at 15 bytes.
        if known::is_cache(name) || name.starts_with("docker-proxy") || name == "systemd-memcach" {
            wanted.insert(row.pid);
        }
    }
    let rows = table.rows.iter().filter(|row| wanted.contains(&row.pid));
    Seen::Known(rows.map(|row| read(view, table, row, host)).collect())
}

/// Notes in each socket who holds it; answers the processes that hold one that listens.
pub(super) fn join(view: &View, table: &Table, sockets: &mut [Socket]) -> HashSet<u32> {
    let inodes: HashSet<u64> =
        sockets.iter().map(|s| s.inode).filter(|inode| *inode != 0).collect();
    let mut holders: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut refused = 0u32;
    let mut left = DESCRIPTORS_MAX;
    for row in &table.rows {
        let links = match view.root.links_in(&format!("/proc/{}/fd", row.pid), left) {
            Ok(links) => links,
            Err(error) => {
                // A process that ended meanwhile holds nothing.
                let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
                refused += u32::from(denied);
                continue;
            }
        };
        left = left.saturating_sub(links.len());
        for (_, target) in links {
            let inode = process::socket_inode(&target).filter(|inode| inodes.contains(inode));
            let Some(inode) = inode else { continue };
            let pids = holders.entry(inode).or_default();
            if !pids.contains(&row.pid) {
                pids.push(row.pid);
            }
        }
    }
    let unseen = (refused > 0).then(|| Unseen {
        why: Why::NotPermitted,
        detail: format!("descriptors of {refused} processes of other users are not readable"),
    });
    if let Some(unseen) = &unseen {
        view.root.gap("owners of sockets", unseen);
    }
    let mut owners = HashSet::new();
    for socket in sockets {
        match (holders.get(&socket.inode), &unseen) {
            (Some(pids), _) => {
                if socket.state == SocketState::Listening && socket.protocol != Protocol::Unix {
                    owners.extend(pids);
                }
                socket.pids = Seen::Known(pids.clone());
            }
            (None, Some(unseen)) => socket.pids = Seen::Unseen(unseen.clone()),
            (None, None) => {}
        }
    }
    owners
}

fn read(view: &View, table: &Table, row: &Row, host: &Host) -> Process {
    let pid = row.pid;
    let text = |name: &str| view.root.quiet_text(&format!("/proc/{pid}/{name}"), CONFIG_BYTES_MAX);
    let status = text("status").known().map(|text| process::status(text)).unwrap_or_default();
    let cgroup = text("cgroup").map(|text| process::cgroup(&text).unwrap_or("/").to_owned());
    let uid = status.uid.unwrap_or(u32::MAX);
    let container = cgroup.known().and_then(|cgroup| process::container(cgroup));
    let executable = executable(view, row, container.is_some());
    Process {
        pid,
        parent: row.stat.parent,
        inner_pid: status.inner_pid,
        name: row.stat.name.clone(),
        argv: words(view, &format!("/proc/{pid}/cmdline")),
        executable,
        started: started(view, row, host),
        uid,
        user: user_name(view, uid),
        capabilities: match status.capabilities {
            Some(mask) => Seen::Known(mask),
            None => Seen::unseen(Why::Absent, "status does not tell"),
        },
        net_namespace: row
            .net_namespace
            .clone()
            .map(|namespace| Some(namespace).filter(|namespace| Some(*namespace) != table.own)),
        starter: starter(table, row, cgroup.known().map(String::as_str)),
        cgroup,
        environment_names: environment_names(view, pid, &row.stat.name),
        container,
    }
}

/// Of caches only: what else a host runs is nobody's business here.
fn environment_names(view: &View, pid: u32, name: &str) -> Seen<Vec<String>> {
    if !known::is_cache(name) {
        return Seen::unseen(Why::NotAsked, "looked at for caches only");
    }
    words(view, &format!("/proc/{pid}/environ")).map(|words| {
        let name = |word: String| word.split_once('=').map(|(name, _)| name.to_owned());
        words.into_iter().filter_map(name).collect()
    })
}

/// Words that end in NUL.
pub(super) fn words(view: &View, path: &str) -> Seen<Vec<String>> {
    view.root.read(path, Part::Head, ARGV_BYTES_MAX).map(|file| {
        let bytes = file.bytes.strip_suffix(b"\0").unwrap_or(&file.bytes);
        let words = bytes.split(|b| *b == 0).map(|word| lossy(word.to_vec()));
        if bytes.is_empty() { Vec::new() } else { words.collect() }
    })
}

pub(super) fn started(view: &View, row: &Row, host: &Host) -> Seen<i64> {
    let booted = match &host.booted {
        Seen::Known(booted) => *booted,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen.clone()),
    };
    let per_s = match view.host {
        true => rustix::param::clock_ticks_per_second().max(1),
        false => RECORDED_TICKS_PER_S,
    };
    Seen::Known(booted.saturating_add_unsigned(row.stat.start_ticks / per_s))
}

fn executable(view: &View, row: &Row, contained: bool) -> Seen<Executable> {
    let link = match view.root.link(&format!("/proc/{}/exe", row.pid)) {
        Seen::Known(link) => link,
        Seen::Unseen(unseen) => return Seen::Unseen(unseen),
    };
    let (path, deleted) = match link.strip_suffix(" (deleted)") {
        Some(path) => (path.to_owned(), true),
        None => (link, false),
    };
    let mut executable = Executable { path, deleted, version: None, features: Vec::new() };
    // Inside a container the path leads somewhere else; a deleted one leads to its successor.
    if !deleted && !contained && known::is_cache(&executable.path) {
        let file = view.root.read(&executable.path, Part::Head, PROGRAM_BYTES_MAX);
        if let Seen::Known(file) = file {
            describe(&file.bytes, &mut executable);
        }
    }
    Seen::Known(executable)
}

/// Texts in a program that tell how it was built.
const FEATURES: &[&str] =
    &["proxy_config", "ext_path", "MEMCACHED_SASL_PWDB", "enable-ssl", "enable-sasl", "auth-file"];

/// Longest part of a version; "1.4.5_4_gaa7839e" has 16.
const VERSION_BYTES_MAX: usize = 32;

fn describe(bytes: &[u8], executable: &mut Executable) {
    let contains = |text: &&&str| memmem::find(bytes, text.as_bytes()).is_some();
    executable.features = FEATURES.iter().filter(contains).map(|text| (*text).to_owned()).collect();
    // The program prints its own name and version for `-V`.
    let mut rest = bytes;
    while let Some(at) = memmem::find(rest, b"memcached ") {
        rest = rest.get(at + 10..).unwrap_or_default();
        if let Some(version) = version_at(rest) {
            executable.version = Some(version);
            return;
        }
    }
}

/// `1.6.18`, `1.4.5_4_gaa7839e` or `1.6.0-beta1` at the beginning of a program's texts. Compilers
/// that end no text with a zero put the next one behind it, so what is not of a version ends it.
fn version_at(bytes: &[u8]) -> Option<String> {
    let number = |b: &u8| b.is_ascii_digit() || *b == b'.';
    let end = bytes.iter().position(|b| !number(b))?;
    let mut end = end.min(VERSION_BYTES_MAX);
    if matches!(bytes.get(end), Some(b'-' | b'_')) {
        let more = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b);
        end += bytes.get(end..)?.iter().take(VERSION_BYTES_MAX).take_while(|b| more(b)).count();
    }
    let version = std::str::from_utf8(bytes.get(..end)?).ok()?.trim_end_matches(['.', '-', '_']);
    let begins = version.starts_with(|c: char| c.is_ascii_digit());
    (begins && version.contains('.')).then(|| version.to_owned())
}

/// The name of a user by the host's own file; name services are not asked.
fn user_name(view: &View, uid: u32) -> Option<String> {
    let text = view.root.quiet_text("/etc/passwd", CONFIG_BYTES_MAX);
    text.known()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Most ancestors that are asked who started a process.
const ANCESTORS_MAX: usize = 16;

fn starter(table: &Table, row: &Row, cgroup: Option<&str>) -> Starter {
    let ancestor = supervisor(table, row);
    match (cgroup.and_then(process::starter), ancestor) {
        (Some(Starter::Container), _) => Starter::Container,
        // A supervisor runs in a unit of its own; the unit is not what starts the cache.
        (_, Some(supervisor)) => supervisor,
        (Some(starter), None) => starter,
        (None, None) => match table.row(row.stat.parent) {
            Some(parent) if parent.pid > 1 => {
                Starter::Parent { pid: parent.pid, name: parent.stat.name.clone() }
            }
            _ => Starter::Unknown,
        },
    }
}

fn supervisor(table: &Table, row: &Row) -> Option<Starter> {
    let mut pid = row.stat.parent;
    for _ in 0..ANCESTORS_MAX {
        let parent = table.row(pid)?;
        match parent.stat.name.as_str() {
            name @ ("supervisord" | "runsv" | "s6-supervise" | "monit" | "god" | "xinetd") => {
                return Some(Starter::Supervisor { kind: name.to_owned(), pid });
            }
            "cron" | "crond" => return Some(Starter::Cron),
            _ => pid = parent.stat.parent,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_its_version_and_features() {
        let made = || Executable {
            path: String::new(),
            deleted: false,
            version: None,
            features: Vec::new(),
        };
        let mut executable = made();
        describe(b"x memcached daemon\0memcached 1.6.18\n\0ext_path\0auth-file", &mut executable);
        assert_eq!(executable.version.as_deref(), Some("1.6.18"));
        assert_eq!(executable.features, ["ext_path", "auth-file"]);
        let mut executable = made();
        describe(b"memcached 1.6.45Datetime", &mut executable);
        assert_eq!(executable.version.as_deref(), Some("1.6.45"), "texts without an end");
        for (text, version) in [
            (&b"1.4.5_4_gaa7839e\n"[..], Some("1.4.5_4_gaa7839e")),
            (b"1.6.0-beta1\0", Some("1.6.0-beta1")),
            (b"1.6.45.Next", Some("1.6.45")),
            (b"1.6.45-Error", Some("1.6.45")),
            (b"1 item", None),
            (b".5 ", None),
        ] {
            assert_eq!(version_at(text).as_deref(), version);
        }
        let mut executable = made();
        describe(b"memcached 1", &mut executable);
        assert_eq!((executable.version, executable.features.len()), (None, 0));
    }
}
