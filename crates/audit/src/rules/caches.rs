//! Which caches run here: processes that are one by name, and sockets at which one answered.

use std::collections::BTreeSet;

use super::running::Running;
use crate::facts::{
    Facts, Package, PackageKind, Process, Socket, SocketState, StartConfig, StartKind, Starter,
    Usage,
};
use crate::firewall::Transport;
use crate::versions::VersionOrder;
use crate::vulnerabilities::Installed;

/// Programs that speak memcached's protocol, by the names of their processes.
const NAMES: [&str; 10] = [
    "memcached",
    "kannuki",
    "nutcracker",
    "yrmcdsd",
    "yrmcds",
    "lsmcd",
    "mcrouter",
    "moxi",
    "memcachedb",
    "twemcache",
];
/// Programs that hold a socket for a container.
const PUBLISHERS: [&str; 5] =
    ["docker-proxy", "rootlessport", "slirp4netns", "pasta", "pasta.avx2"];

/// One cache.
#[derive(Debug)]
pub struct Cache<'f> {
    /// `memcached`, `kannuki`, ...
    pub name: String,
    /// Its version, from its own answer, its file or its package.
    pub version: Option<String>,
    /// Its process, if it was seen.
    pub process: Option<&'f Process>,
    /// Its listening sockets.
    pub sockets: Vec<&'f Socket>,
    /// The package of its program.
    pub package: Option<&'f Package>,
    /// What started it, if found.
    pub start: Option<&'f StartConfig>,
    /// Its statistics.
    pub usage: Option<&'f Usage>,
    /// Its command line.
    pub running: Running,
    /// Why it was taken for that one.
    pub because: String,
    /// Whether it wants a login before it answers, if it was asked.
    pub wants_login: Option<bool>,
}

impl Cache<'_> {
    /// memcached itself: its flaws and defaults count.
    #[must_use]
    pub fn is_memcached(&self) -> bool {
        self.name == "memcached"
    }

    /// What it is called in findings: stable from run to run.
    #[must_use]
    pub fn title(&self) -> String {
        let unit = match self.process.map(|process| &process.starter) {
            Some(Starter::Systemd { unit, .. }) => Some(unit.as_str()),
            _ => self.start.map(|start| start.id.as_str()),
        };
        match unit {
            Some(unit) => format!("{} ({unit})", self.name),
            None => match self.sockets.first().and_then(|socket| socket.local) {
                Some(local) => format!("{} ({local})", self.name),
                None => self.name.clone(),
            },
        }
    }

    /// The command line in one text.
    #[must_use]
    pub fn command(&self) -> String {
        let argv = self.process.and_then(|process| process.argv.known());
        argv.map(|argv| argv.join(" ")).unwrap_or_default()
    }
}

/// Every cache of the host.
pub(crate) fn all(facts: &Facts) -> Vec<Cache<'_>> {
    let mut caches = Vec::new();
    let mut taken = BTreeSet::new();
    for process in facts.processes.list() {
        let sockets = sockets_of(facts, process.pid);
        let told = sockets.iter().any(|socket| server(facts, socket).is_some());
        let named = NAMES.contains(&process_name(process));
        let is_worker = facts.process(process.parent).is_some_and(|parent| {
            parent.name == process.name && !sockets_of(facts, parent.pid).is_empty()
        });
        // Kannuki's other commands, this one too, have its name and no socket.
        let is_command = process_name(process) == "kannuki" && sockets.is_empty();
        if PUBLISHERS.contains(&process.name.as_str())
            || is_worker
            || is_command
            || !(named || told)
        {
            continue;
        }
        taken.extend(sockets.iter().map(|socket| socket.inode));
        caches.push(cache(facts, Some(process), sockets));
    }
    for socket in facts.sockets.list() {
        let is_free = !taken.contains(&socket.inode)
            && socket.state == SocketState::Listening
            && !held_by_publisher(facts, socket);
        if is_free && server(facts, socket).is_some() {
            taken.insert(socket.inode);
            caches.push(cache(facts, None, vec![socket]));
        }
    }
    caches
}

/// The name of the program: of its file, else the kernel's.
fn process_name(process: &Process) -> &str {
    let path = process.executable.known().map(|executable| executable.path.as_str());
    path.and_then(|path| path.rsplit('/').next())
        .filter(|name| NAMES.contains(name))
        .unwrap_or(process.name.as_str())
}

fn sockets_of(facts: &Facts, pid: u32) -> Vec<&Socket> {
    let holds = |socket: &&Socket| {
        socket.state == SocketState::Listening && socket.pids.list().contains(&pid)
    };
    facts.sockets.list().iter().filter(holds).collect()
}

fn held_by_publisher(facts: &Facts, socket: &Socket) -> bool {
    socket
        .pids
        .list()
        .iter()
        .any(|pid| facts.process(*pid).is_some_and(|p| PUBLISHERS.contains(&p.name.as_str())))
}

fn server<'f>(facts: &'f Facts, socket: &Socket) -> Option<&'f crate::facts::Server> {
    facts.talk(socket)?.server.known()?.as_ref()
}

fn cache<'f>(
    facts: &'f Facts,
    process: Option<&'f Process>,
    sockets: Vec<&'f Socket>,
) -> Cache<'f> {
    let server = sockets.iter().find_map(|socket| server(facts, socket));
    let executable = process.and_then(|process| process.executable.known());
    let package = executable.and_then(|executable| facts.owner(&executable.path));
    let name = match (server, process) {
        (Some(server), _) if server.name != "unknown" => server.name.clone(),
        (_, Some(process)) => process_name(process).to_owned(),
        (Some(server), None) => server.name.clone(),
        (None, None) => "?".to_owned(),
    };
    let usage = facts.usage.iter().find(|usage| {
        sockets.iter().any(|socket| socket.inode == usage.inode && usage.inode != 0)
            || (usage.pid.is_some() && usage.pid == process.map(|process| process.pid))
    });
    let of_package = package.and_then(|package| order(package.kind)?.upstream(&package.version));
    let version = server
        .and_then(|server| server.version.clone())
        .or_else(|| executable.and_then(|executable| executable.version.clone()))
        .or_else(|| of_package.map(str::to_owned));
    let wants_login = sockets.iter().filter_map(|socket| facts.talk(socket)).next();
    let running = running(process, &sockets, usage, version.as_deref());
    Cache {
        name,
        version,
        package,
        start: process.and_then(|process| start_of(facts, process)),
        usage,
        running,
        because: server.map(|server| server.because.clone()).unwrap_or_default(),
        wants_login: wants_login.map(|talk| talk.wants_login),
        process,
        sockets,
    }
}

fn running(
    process: Option<&Process>,
    sockets: &[&Socket],
    usage: Option<&Usage>,
    version: Option<&str>,
) -> Running {
    let argv = process.and_then(|process| process.argv.known()).map_or(&[][..], Vec::as_slice);
    let mut running = Running::new(argv.iter().map(String::as_str), version);
    if let Some(settings) = usage.and_then(|usage| usage.settings.known()) {
        running = running.said(settings);
    }
    if let Some(process) = process {
        running = running.environment(process.environment_names.known());
        if let Some(executable) = process.executable.known() {
            running = running.features(&executable.features);
        }
    }
    let udp = sockets.iter().any(|socket| socket.protocol == crate::facts::Protocol::Udp);
    // Without any socket of it in sight, none was looked at.
    running.udp_seen((!sockets.is_empty()).then_some(udp))
}

/// The settings that started this process.
fn start_of<'f>(facts: &'f Facts, process: &Process) -> Option<&'f StartConfig> {
    let id = match &process.starter {
        Starter::Systemd { unit, user: None } => format!("systemd:{unit}"),
        Starter::Systemd { unit, user: Some(_) } => {
            let of_user = |start: &&StartConfig| {
                start.kind == StartKind::SystemdUser
                    && start.id.rsplit(':').next() == Some(unit.as_str())
            };
            return facts.starts.iter().find(of_user);
        }
        Starter::SysV { script } => format!("sysv:{}", script.rsplit('/').next()?),
        Starter::OpenRc { service } => format!("openrc:{service}"),
        Starter::Container => {
            let id = &process.container.as_ref()?.id;
            return facts.starts.iter().find(|start| {
                start.id.rsplit(':').next().is_some_and(|short| id.starts_with(short))
            });
        }
        _ => return None,
    };
    facts.starts.iter().find(|start| start.id == id)
}

/// Whose order a package database uses; pacman's is not compared.
pub(crate) fn order(kind: PackageKind) -> Option<VersionOrder> {
    match kind {
        PackageKind::Dpkg => Some(VersionOrder::Dpkg),
        PackageKind::Rpm => Some(VersionOrder::Rpm),
        PackageKind::Apk => Some(VersionOrder::Apk),
        PackageKind::Pacman => None,
    }
}

/// What is installed, as the table of flaws wants it.
pub(crate) fn installed(facts: &Facts, cache: &Cache<'_>) -> Installed {
    let unpackaged = Installed::Unpackaged { version: cache.version.clone() };
    // A program in a container belongs to the image's packages, which are not the host's.
    if cache.process.is_some_and(|process| process.container.is_some()) {
        return unpackaged;
    }
    cache.package.and_then(|package| of_package(facts, package)).unwrap_or(unpackaged)
}

/// The same of a package, whether or not its program runs; none where its versions have no order.
pub(crate) fn of_package(facts: &Facts, package: &Package) -> Option<Installed> {
    let order = order(package.kind)?;
    let os = facts.host.os.known().cloned().unwrap_or_default();
    let (distro, release) = distribution(&os.id, &os.version_id);
    Some(Installed::Packaged { order, distro, release, version: package.version.clone() })
}

/// The names of the table of flaws.
fn distribution(id: &str, version: &str) -> (String, String) {
    let major = || version.split('.').next().unwrap_or_default().to_owned();
    match id {
        "debian" => ("Debian".into(), if version.is_empty() { "sid".into() } else { major() }),
        "ubuntu" => ("Ubuntu".into(), version.into()),
        // Rebuilds keep Red Hat's versions and releases.
        "rhel" | "centos" | "rocky" | "almalinux" | "ol" => ("RHEL".into(), major()),
        "sles" | "opensuse-leap" | "suse" => ("SUSE".into(), major()),
        "photon" => ("Photon".into(), major()),
        "azurelinux" | "mariner" => ("Azure Linux".into(), major()),
        // Fixes are told for a branch, `3.22`, of which `3.22.1` is a point release.
        "alpine" => ("Alpine".into(), version.split('.').take(2).collect::<Vec<_>>().join(".")),
        other => (other.into(), version.into()),
    }
}

/// TCP or UDP of a socket; none for UNIX sockets.
pub(crate) fn transport(socket: &Socket) -> Option<Transport> {
    match socket.protocol {
        crate::facts::Protocol::Tcp => Some(Transport::Tcp),
        crate::facts::Protocol::Udp => Some(Transport::Udp),
        crate::facts::Protocol::Unix => None,
    }
}
