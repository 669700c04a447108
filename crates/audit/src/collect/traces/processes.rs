//! All processes, and the sockets they hold.

use std::collections::{HashMap, HashSet};

use super::{View, owners::Owners};
use crate::{
    collect::{addresses, processes, processes::Row, root::Part, root::lossy, sockets},
    facts::{Host, Seen, Socket, SocketState, Why},
    formats::{process, secrets},
    traces::{Connection, Owner, ProcessTrace, RawSocket},
};

/// Longest command line that is kept, in characters; long enough to know a program by.
const ARGV_CHARS_MAX: usize = 4096;
/// Longest environment that is read, in bytes: the kernel's own bound on a list of arguments.
const ENVIRONMENT_BYTES_MAX: usize = 2 << 20;
/// Longest small file of `/proc` that is read, in bytes.
const SMALL_BYTES_MAX: usize = 256 * 1024;
/// Most sockets that are kept of each kind.
const SOCKETS_MAX: usize = 65_536;
/// Variables that make a program load code of somebody else's choice.
const LOADING: [&str; 3] = ["LD_PRELOAD=", "LD_AUDIT=", "LD_LIBRARY_PATH="];

/// What runs.
pub(super) struct Running {
    pub(super) all: Seen<Vec<ProcessTrace>>,
    pub(super) connections: Seen<Vec<Connection>>,
    pub(super) listeners: Seen<Vec<Connection>>,
    pub(super) raw: Seen<Vec<RawSocket>>,
    /// The short names of all of them.
    pub(super) names: Seen<HashSet<String>>,
}

pub(super) fn collect(view: &View, host: &Host, owners: &Owners) -> Running {
    if !view.proc {
        let unseen = view.no_proc();
        return Running {
            all: Seen::Unseen(unseen.clone()),
            connections: Seen::Unseen(unseen.clone()),
            listeners: Seen::Unseen(unseen.clone()),
            raw: Seen::Unseen(unseen.clone()),
            names: Seen::Unseen(unseen),
        };
    }
    let table = processes::table(view);
    let rows = table.rows();
    let now = view.at;
    // Whoever looks is no trace, wherever it was copied to for that.
    let own = view.host.then(std::process::id);
    let others = rows.iter().filter(|row| Some(row.pid) != own);
    let all = others.map(|row| read(view, row, host, owners, now)).collect();
    let interfaces = addresses::collect(view, &table);
    let mut found = match sockets::collect(view, &table, &interfaces) {
        Seen::Known(sockets) => sockets,
        Seen::Unseen(_) => Vec::new(),
    };
    found.retain(|socket| socket.local.is_some());
    found.truncate(SOCKETS_MAX);
    let raw = raw(view, rows);
    processes::join(view, &table, &mut found);
    let of = |state: SocketState| {
        let wanted = found.iter().filter(|socket| socket.state == state);
        Seen::Known(wanted.filter_map(connection).collect())
    };
    Running {
        all: Seen::Known(all),
        connections: of(SocketState::Established),
        listeners: of(SocketState::Listening),
        raw,
        names: Seen::Known(rows.iter().map(|row| row.stat.name.clone()).collect()),
    }
}

fn connection(socket: &Socket) -> Option<Connection> {
    Some(Connection {
        protocol: socket.protocol,
        local: socket.local?,
        remote: socket.remote,
        pids: socket.pids.list().to_vec(),
    })
}

fn read(view: &View, row: &Row, host: &Host, owners: &Owners, now: i64) -> ProcessTrace {
    let pid = row.pid;
    let text = |name: &str| view.root.quiet_text(&format!("/proc/{pid}/{name}"), SMALL_BYTES_MAX);
    let status = text("status").known().map(|text| process::status(text)).unwrap_or_default();
    let cgroup = text("cgroup");
    let cgroup = cgroup.known().and_then(|text| process::cgroup(text));
    let container = cgroup.and_then(process::container).is_some();
    let started = processes::started(view, row, host).known().copied();
    let stat = text("stat").known().cloned().unwrap_or_default();
    let (program, deleted) = program(view, pid, row.stat.parent);
    let path = program.known().cloned().flatten();
    let owner = match &path {
        Some(path) if !container => owners.of(path),
        _ => Owner::Unknown,
    };
    let replaced = deleted && path.as_deref().is_some_and(|path| view.root.exists(path));
    ProcessTrace {
        pid,
        parent: row.stat.parent,
        name: row.stat.name.clone(),
        argv: argv(view, pid),
        program,
        deleted,
        replaced,
        owner,
        uid: status.uid.unwrap_or(u32::MAX),
        started,
        cpu_percent: started.and_then(|started| cpu_percent(&stat, now - started)),
        preload: preload(view, pid),
        container,
    }
}

/// The program behind a process. Threads of the kernel have none.
fn program(view: &View, pid: u32, parent: u32) -> (Seen<Option<String>>, bool) {
    match view.root.link(&format!("/proc/{pid}/exe")) {
        Seen::Known(link) => match link.strip_suffix(" (deleted)") {
            Some(path) => (Seen::Known(Some(path.to_owned())), true),
            None => (Seen::Known(Some(link)), false),
        },
        // The kernel's own have process 2 (or nobody) as their parent and no program.
        Seen::Unseen(unseen) if unseen.why == Why::Absent && (parent == 2 || pid == 2) => {
            (Seen::Known(None), false)
        }
        Seen::Unseen(unseen) => (Seen::Unseen(unseen), false),
    }
}

fn argv(view: &View, pid: u32) -> Vec<String> {
    let words = processes::words(view, &format!("/proc/{pid}/cmdline"));
    let mut left = ARGV_CHARS_MAX;
    let mut kept = Vec::new();
    for word in secrets::clean_words(words.list().to_vec()) {
        let cut: String = word.chars().take(left).collect();
        left -= cut.chars().count();
        kept.push(cut);
        if left == 0 {
            break;
        }
    }
    kept
}

/// Ticks in user and kernel mode, against the time it has lived; `/proc` counts 100 a second.
fn cpu_percent(stat: &str, lived_s: i64) -> Option<u32> {
    let (_, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    let lived = u64::try_from(lived_s).ok().filter(|lived| *lived > 0)?;
    u32::try_from(user.saturating_add(kernel) / lived).ok()
}

fn preload(view: &View, pid: u32) -> Vec<String> {
    let path = format!("/proc/{pid}/environ");
    let Seen::Known(file) = view.root.read(&path, Part::Head, ENVIRONMENT_BYTES_MAX) else {
        return Vec::new();
    };
    let words = file.bytes.split(|b| *b == 0).map(|word| lossy(word.to_vec()));
    words.filter(|word| LOADING.iter().any(|name| word.starts_with(name))).take(3).collect()
}

/// Raw and packet sockets, and who holds them.
fn raw(view: &View, rows: &[Row]) -> Seen<Vec<RawSocket>> {
    let mut found = Vec::new();
    for kind in ["raw", "raw6", "packet"] {
        let text = match view.root.quiet_text(&format!("/proc/net/{kind}"), SMALL_BYTES_MAX) {
            Seen::Known(text) => text,
            Seen::Unseen(unseen) if unseen.why == Why::Absent => continue,
            Seen::Unseen(unseen) => return Seen::Unseen(unseen),
        };
        let column = if kind == "packet" { 8 } else { 9 };
        for line in text.lines().skip(1).take(SOCKETS_MAX) {
            let inode = line.split_ascii_whitespace().nth(column).and_then(|w| w.parse().ok());
            let Some(inode) = inode else { continue };
            found.push(RawSocket { kind: kind.to_owned(), inode, pids: Vec::new() });
        }
    }
    if found.is_empty() {
        return Seen::Known(found);
    }
    let wanted: HashSet<u64> = found.iter().map(|socket| socket.inode).collect();
    let mut holders: HashMap<u64, Vec<u32>> = HashMap::new();
    for row in rows {
        let links = view.root.links_in(&format!("/proc/{}/fd", row.pid), SOCKETS_MAX);
        for (_, target) in links.unwrap_or_default() {
            let inode = process::socket_inode(&target).filter(|inode| wanted.contains(inode));
            if let Some(inode) = inode {
                holders.entry(inode).or_default().push(row.pid);
            }
        }
    }
    for socket in &mut found {
        socket.pids = holders.remove(&socket.inode).unwrap_or_default();
    }
    Seen::Known(found)
}
