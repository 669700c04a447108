//! What is to be shut: caches that strangers reach, and settings that would open one.

use serde::{Deserialize, Serialize};

use super::Method;
use crate::facts::{Process, Protocol, SocketState, StartConfig, StartKind};
use crate::findings::{Finding, Installation, Verdict, catalogue};
use crate::firewall::Transport;
use crate::rules::{Cache, Case, Running, installations, waiting};

/// A port of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Opening {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// A cache that a plan shuts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What it is called in findings.
    pub title: String,
    /// The id of the settings that start it, if they are known.
    pub start: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Its doors as they were judged: `udp 0.0.0.0:11211 OPEN`.
    pub doors: Vec<String>,
    /// Its ports.
    pub ports: Vec<Opening>,
}

/// A cache that is open now, or will be.
pub(super) struct Open<'f> {
    pub(super) target: Target,
    pub(super) process: Option<&'f Process>,
    pub(super) start: Option<&'f StartConfig>,
    pub(super) version: Option<String>,
    /// Whether it listens on an IPv6 address besides loopback.
    pub(super) on_v6: bool,
    /// Whether it is memcached, whose settings are known.
    pub(super) is_memcached: bool,
    /// Addresses of others that are connected to it.
    pub(super) peers: Vec<String>,
}

/// Whether `method` still has something to do behind a door with this verdict.
fn is_open(verdict: Verdict, method: Method) -> bool {
    match verdict {
        Verdict::Local => false,
        // A filter alone is no reason to call a cache shut; another filter would add nothing.
        Verdict::Filtered => method != Method::Firewall,
        Verdict::Unknown | Verdict::OpenIfMapped | Verdict::Open => true,
    }
}

/// Everything that is to be shut by this method.
pub(super) fn openings<'f>(case: &Case<'f>, method: Method) -> Vec<Open<'f>> {
    let mut found = Vec::new();
    for (cache, judged, findings) in installations(case) {
        let opens_later = findings.iter().any(|finding| worse_later(finding, method));
        let open = judged.doors.iter().any(|door| is_open(door.verdict, method));
        if (open || opens_later) && case.facts.collection.live {
            let mut of_cache = of_cache(case, &cache, &judged);
            if opens_later {
                of_cache.expects_next_start();
            }
            found.push(of_cache);
        }
    }
    for (start, _) in waiting(case.facts) {
        found.push(of_start(case, start));
    }
    found
}

fn worse_later(finding: &Finding, method: Method) -> bool {
    finding.id == catalogue::BOOT_OPENS.id
        || (finding.id == catalogue::FILTER_FORGETS.id && method == Method::Firewall)
}

fn of_cache<'f>(case: &Case<'f>, cache: &Cache<'f>, judged: &Installation) -> Open<'f> {
    let mut ports: Vec<Opening> = Vec::new();
    let mut on_v6 = false;
    for socket in &cache.sockets {
        let Some(local) = socket.local else { continue };
        on_v6 |= local.is_ipv6() && !local.ip().is_loopback();
        ports.push(Opening { protocol: socket.protocol, port: local.port() });
    }
    let inside = cache.process.is_some_and(|process| process.container.is_some());
    if inside {
        // What strangers come by is the port that the engine publishes.
        ports.clear();
        ports.extend(
            case.facts.firewall.published.iter().map(|published| Opening {
                protocol: published.protocol,
                port: published.host_port,
            }),
        );
    }
    ports.sort();
    ports.dedup();
    let door = |door: &crate::findings::Door| {
        let address = if door.address.is_empty() { &door.bound } else { &door.address };
        format!("{} {address} {}", door.transport, door.verdict.name())
    };
    Open {
        target: Target {
            title: crate::findings::quoted(&cache.title()),
            start: cache.start.map(|start| start.id.clone()),
            pid: cache.process.map(|process| process.pid),
            doors: judged.doors.iter().map(door).collect(),
            ports,
        },
        process: cache.process,
        start: cache.start,
        version: cache.version.clone(),
        on_v6,
        is_memcached: cache.is_memcached(),
        peers: peers(case, cache),
    }
}

/// Who is connected from elsewhere: what the change will cost them is said.
fn peers(case: &Case<'_>, cache: &Cache<'_>) -> Vec<String> {
    let pid = cache.process.map(|process| process.pid);
    let of_cache = |socket: &&crate::facts::Socket| {
        socket.state == SocketState::Established
            && pid.is_some_and(|pid| socket.pids.list().contains(&pid))
    };
    let remote = |socket: &crate::facts::Socket| socket.remote.map(|remote| remote.ip());
    let mut peers: Vec<String> = case
        .facts
        .sockets
        .list()
        .iter()
        .filter(of_cache)
        .filter_map(remote)
        .filter(|ip| !ip.is_loopback() && !is_own(case, *ip))
        .map(|ip| ip.to_string())
        .collect();
    peers.sort();
    peers.dedup();
    peers
}

fn is_own(case: &Case<'_>, ip: std::net::IpAddr) -> bool {
    let interfaces = case.facts.interfaces.list();
    interfaces.iter().flat_map(|interface| &interface.addresses).any(|address| address.ip == ip)
}

fn of_start<'f>(case: &Case<'f>, start: &'f StartConfig) -> Open<'f> {
    let version = case.facts.packages.installed.list().iter();
    let version = version.filter(|package| package.name == "memcached").find_map(|package| {
        crate::rules::order(package.kind)?.upstream(&package.version).map(str::to_owned)
    });
    let running = next_start(start, version.as_deref());
    let mut ports = ports_of(&running);
    if matches!(start.kind, StartKind::Container | StartKind::Compose) {
        ports = start.opened_for_it.iter().filter_map(|port| published(port)).collect();
    }
    ports.sort();
    ports.dedup();
    let on_v6 = running
        .listens()
        .iter()
        .any(|(ip, ..)| ip.is_none_or(|ip| ip.is_ipv6() && !ip.is_loopback()));
    Open {
        target: Target {
            title: crate::findings::quoted(&start.id),
            start: Some(start.id.clone()),
            pid: None,
            doors: Vec::new(),
            ports,
        },
        process: None,
        start: Some(start),
        version,
        on_v6,
        is_memcached: true,
        peers: Vec::new(),
    }
}

/// What the settings start.
fn next_start<'s>(start: &'s StartConfig, version: Option<&str>) -> Running {
    let words = start.commands.first().map(|command| command.argv().collect::<Vec<&'s str>>());
    Running::new(words.unwrap_or_default(), version)
}

fn ports_of(running: &Running) -> Vec<Opening> {
    let opening = |transport: &Transport, port: u16| Opening {
        protocol: match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        },
        port,
    };
    running.listens().iter().map(|(_, transport, port)| opening(transport, *port)).collect()
}

/// `0.0.0.0:11211/tcp`
fn published(text: &str) -> Option<Opening> {
    let (address, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let (_, port) = address.rsplit_once(':')?;
    let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
    Some(Opening { protocol, port: port.parse().ok()? })
}

impl Open<'_> {
    /// Takes the ports of the next start too, which may be others than those of now.
    fn expects_next_start(&mut self) {
        let Some(start) = self.start.filter(|_| !self.is_contained()) else { return };
        self.target.ports.extend(ports_of(&next_start(start, self.version.as_deref())));
        self.target.ports.sort();
        self.target.ports.dedup();
    }

    /// Whether it lives in a container, whose engine decides about its ports.
    pub(super) fn is_contained(&self) -> bool {
        self.process.is_some_and(|process| process.container.is_some())
            || self.start.is_some_and(|start| {
                matches!(
                    start.kind,
                    StartKind::Container | StartKind::Compose | StartKind::Kubernetes
                )
            })
    }

    /// The name of the unit, script or program that starts it.
    pub(super) fn unit(&self) -> Option<&str> {
        self.start.and_then(|start| start.id.split_once(':')).map(|(_, name)| name)
    }

    /// Whether the next boot starts it; not known counts as no.
    pub(super) fn is_enabled(&self) -> bool {
        self.start.is_some_and(|start| start.comes_back() == Some(true))
    }

    /// Commands that shut it by hand.
    pub(super) fn by_hand(&self) -> Vec<String> {
        match (self.process, self.is_contained()) {
            (Some(process), true) => crate::rules::container_commands(process),
            (Some(process), false) => {
                let pid = process.pid;
                vec![format!("tr '\\0' ' ' < /proc/{pid}/cmdline"), format!("kill {pid}")]
            }
            (None, _) => Vec::new(),
        }
    }
}
