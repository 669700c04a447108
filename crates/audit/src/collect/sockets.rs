//! Sockets: from netlink for the host's own namespace, else from `/proc/net`.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
};

use kannuki_sys::netlink::{self, Message, Subject};

use super::{View, processes::Table};
use crate::{
    facts::{Facts, Interface, Protocol, Seen, Socket, SocketState, Unseen, Why},
    formats::{known, net_table},
};

/// Longest table of sockets that is read, in bytes: fifty thousand lines of 150 bytes.
const TABLE_BYTES_MAX: usize = 8 << 20;
/// Most sockets that stand in the facts; a host with more listeners has other worries.
const SOCKETS_MAX: usize = 8192;

/// Everything that listens, is bound or is connected, of every namespace that was seen.
pub(super) fn collect(
    view: &View,
    table: &Table,
    interfaces: &Seen<Vec<Interface>>,
) -> Seen<Vec<Socket>> {
    if !view.proc {
        return Seen::Unseen(view.no_proc());
    }
    let mut all = Vec::new();
    match if view.host { from_netlink(interfaces.list()) } else { Err(recorded()) } {
        Ok(sockets) => all.extend(sockets),
        Err(unseen) => {
            if view.host {
                view.root.gap("sockets over netlink", &unseen);
            }
            all.extend(from_files(view, "/proc/net", None));
        }
    }
    if let Some(text) = view.root.text("/proc/net/unix", TABLE_BYTES_MAX) {
        all.extend(net_table::unix(&text, None));
    }
    for (namespace, pid) in table.other_namespaces() {
        all.extend(from_files(view, &format!("/proc/{pid}/net"), Some(namespace)));
    }
    for socket in &mut all {
        if let Some(path) = socket.path.as_deref().filter(|path| path.starts_with('/')) {
            socket.mode = match view.root.stat(path) {
                Some(stat) => Seen::Known(stat.st_mode & 0o777),
                None => Seen::unseen(Why::Absent, format!("{path} is not seen")),
            };
        }
    }
    Seen::Known(all)
}

fn recorded() -> Unseen {
    Unseen { why: Why::NotRunning, detail: "recorded files".to_owned() }
}

fn from_files(view: &View, folder: &str, net_namespace: Option<u64>) -> Vec<Socket> {
    let mut all = Vec::new();
    for (name, protocol) in [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ] {
        if let Some(text) = view.root.text(&format!("{folder}/{name}"), TABLE_BYTES_MAX) {
            all.extend(net_table::inet(&text, protocol, net_namespace));
        }
    }
    all
}

/// `SOCK_DIAG_BY_FAMILY`; `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const BY_FAMILY: u16 = 20;
const QUESTION_BYTES: usize = 56;
const ANSWER_BYTES: usize = 72;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// States of the kernel, and the bits that ask for them.
const ESTABLISHED: u8 = 1;
const CLOSED: u8 = 7;
const LISTENING: u8 = 10;
const STATES: u32 = 1 << ESTABLISHED | 1 << CLOSED | 1 << LISTENING;
/// `INET_DIAG_SKV6ONLY`.
const V6_ONLY: u16 = 11;

fn from_netlink(interfaces: &[Interface]) -> Result<Vec<Socket>, Unseen> {
    let mut all = Vec::new();
    for family in [AF_INET, AF_INET6] {
        for protocol in [IPPROTO_TCP, IPPROTO_UDP] {
            let mut question = [0; QUESTION_BYTES];
            let [f, p, _, _, a, b, c, d, ..] = &mut question;
            (*f, *p) = (family, protocol);
            [*a, *b, *c, *d] = STATES.to_ne_bytes();
            let answer =
                netlink::dump(Subject::Sockets, BY_FAMILY, &question).map_err(|error| Unseen {
                    why: Why::Failed,
                    detail: format!("netlink: {error}"),
                })?;
            all.extend(answer.iter().filter_map(|m| socket(m, protocol, interfaces)));
        }
    }
    Ok(all)
}

fn socket(message: &Message, protocol: u8, interfaces: &[Interface]) -> Option<Socket> {
    let body = &message.body;
    let number = |at: usize| Some(u32::from_ne_bytes(*body.get(at..)?.first_chunk()?));
    let port = |at: usize| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let (family, state) = (*body.first()?, *body.get(1)?);
    let ip = |at: usize| {
        let bytes = body.get(at..)?;
        Some(match family {
            AF_INET => IpAddr::from(*bytes.first_chunk::<4>()?),
            _ => IpAddr::from(*bytes.first_chunk::<16>()?),
        })
    };
    let local = SocketAddr::new(ip(8)?, port(4)?);
    let remote = SocketAddr::new(ip(24)?, port(6)?);
    let state = match (protocol, state) {
        (IPPROTO_TCP, LISTENING) | (IPPROTO_UDP, CLOSED) => SocketState::Listening,
        (_, ESTABLISHED) => SocketState::Established,
        _ => return None,
    };
    // A UDP socket that was never bound has no port and receives nothing.
    (local.port() != 0).then_some(())?;
    let device = number(40)?;
    let rest = body.get(ANSWER_BYTES..)?;
    let v6_only = netlink::attributes(rest).find(|(kind, _)| *kind == V6_ONLY);
    let bound = |index: u32| {
        let interface = interfaces.iter().find(|i| i.index == index && i.net_namespace.is_none());
        interface.map_or_else(|| format!("#{index}"), |interface| interface.name.clone())
    };
    Some(Socket {
        protocol: if protocol == IPPROTO_TCP { Protocol::Tcp } else { Protocol::Udp },
        state,
        local: Some(local),
        remote: (state == SocketState::Established).then_some(remote),
        path: None,
        mode: Seen::unseen(Why::Absent, "not a file"),
        v6_only: match v6_only {
            Some((_, value)) => Seen::Known(value.first() == Some(&1)),
            None => Seen::unseen(Why::Absent, "the kernel did not tell"),
        },
        device: (device != 0).then(|| bound(device)),
        inode: u64::from(number(68)?),
        uid: number(64),
        net_namespace: None,
        pids: Seen::Known(Vec::new()),
        drops: None,
    })
}

/// Drops connections that have nothing to do with a cache; they were only needed to find out.
pub(super) fn keep_relevant(facts: &mut Facts) {
    let caches = cache_inodes(facts);
    let Seen::Known(sockets) = &mut facts.sockets else { return };
    let ports: HashSet<(Option<u64>, u16)> = sockets
        .iter()
        .filter(|socket| caches.contains(&socket.inode))
        .filter_map(|socket| Some((socket.net_namespace, socket.local?.port())))
        .collect();
    let known = |namespace, address: Option<SocketAddr>| {
        address.is_some_and(|address| ports.contains(&(namespace, address.port())))
    };
    sockets.retain(|socket| match (socket.state, socket.protocol) {
        (SocketState::Established, _) => {
            known(socket.net_namespace, socket.local) || known(socket.net_namespace, socket.remote)
        }
        (SocketState::Listening, Protocol::Unix) => caches.contains(&socket.inode),
        (SocketState::Listening, _) => true,
    });
    sockets.sort_by_key(|socket| {
        let ours = caches.contains(&socket.inode);
        (!ours, socket.net_namespace, socket.state, socket.protocol, socket.local, socket.remote)
    });
    if sockets.len() > SOCKETS_MAX {
        let detail = format!("{} sockets; {SOCKETS_MAX} are kept", sockets.len());
        let what = "sockets".to_owned();
        sockets.truncate(SOCKETS_MAX);
        facts.gaps.push(crate::facts::Gap { what, unseen: Unseen { why: Why::TooLarge, detail } });
    }
}

/// Sockets that a cache holds by its name, that answered as one, or that have a cache's port.
fn cache_inodes(facts: &Facts) -> HashSet<u64> {
    let answered = facts.talks.iter().filter(|talk| matches!(talk.server, Seen::Known(Some(_))));
    let mut inodes: HashSet<u64> = answered.map(|talk| talk.inode).collect();
    for socket in facts.sockets.list() {
        if socket.state == SocketState::Listening && is_likely(facts, socket) {
            inodes.insert(socket.inode);
        }
    }
    inodes
}

/// Whether a listening socket is likely a cache's: by its process's name, or by its port.
pub(super) fn is_likely(facts: &Facts, socket: &Socket) -> bool {
    let port = socket.local.map(|local| local.port());
    let held = socket.pids.list().iter().filter_map(|pid| facts.process(*pid));
    port.is_some_and(|port| known::PORTS.contains(&port) || configured(facts, port))
        || held.into_iter().any(super::processes::is_cache)
}

/// Whether a start names this port as an argument.
fn configured(facts: &Facts, port: u16) -> bool {
    let port = port.to_string();
    let words = facts.starts.iter().flat_map(|start| &start.commands).flat_map(|c| c.argv());
    words.into_iter().any(|word| word == port || word.ends_with(&format!(":{port}")))
}
