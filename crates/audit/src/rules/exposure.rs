//! From the internet to the socket: every door of a cache, and whether strangers pass.

use super::{Case, caches, caches::Cache, filters, published, wording};
use crate::facts::{Facts, Interface, Probe, Scope, Seen, Socket, Starter};
use crate::findings::{
    Confidence, Door, Evidence, Finding, Installation, Severity, Verdict, catalogue, quoted,
};
use crate::firewall::{Packet, Transport};

/// Names of interfaces of private overlays.
const OVERLAY: [&str; 5] = ["wg", "tun", "tap", "tailscale", "zt"];
/// The largest item that memcached keeps unless told otherwise.
const ITEM_BYTES: f64 = 1_048_576.0;
/// Bytes of the shortest question in a datagram: eight of the frame, `get a` and a line end.
const QUESTION_BYTES: f64 = 15.0;

/// Describes the cache with its doors, and says what strangers can do.
pub(crate) fn service(
    case: &Case<'_>,
    cache: &Cache<'_>,
    findings: &mut Vec<Finding>,
) -> Installation {
    let mut doors = Vec::new();
    for socket in &cache.sockets {
        let mut of_socket = doors_of(case, cache, socket);
        of_socket.iter_mut().for_each(|door| door.namespace = socket.net_namespace);
        report(case, cache, socket, &of_socket, findings);
        doors.extend(of_socket);
    }
    if !doors.is_empty() && doors.iter().all(|door| door.verdict == Verdict::Local) {
        let finding = Finding::new(&catalogue::LOCAL, &cache.title())
            .judged(Verdict::Local)
            .seen(cache.sockets.iter().map(|socket| evidence(socket)));
        findings.push(finding);
    }
    only_v4_shut(cache, &doors, findings);
    doors.sort_by_key(|door| std::cmp::Reverse(door.verdict));
    let stats = cache.usage.and_then(|usage| {
        usage.second.known().or_else(|| usage.first.known()).map(|sample| &sample.values)
    });
    let number = |name: &str| stats.and_then(|stats| stats.get(name)?.parse().ok());
    Installation {
        name: quoted(&cache.name),
        version: cache.version.as_deref().map(quoted),
        pid: cache.process.map(|process| process.pid),
        command: quoted(&cache.command()),
        package: cache.package.map(|p| quoted(&format!("{} {}", p.name, p.version))),
        starter: cache.process.map(|p| quoted(&starter(&p.starter))).unwrap_or_default(),
        items: number("curr_items"),
        bytes: number("bytes"),
        login: Some(needs_login(cache)),
        doors,
    }
}

fn needs_login(cache: &Cache<'_>) -> bool {
    cache.wants_login == Some(true) || cache.running.login()
}

/// Who started it, in a few words.
pub(crate) fn starter(starter: &Starter) -> String {
    match starter {
        Starter::Systemd { unit, user: None } => format!("systemd {unit}"),
        Starter::Systemd { unit, user: Some(uid) } => format!("systemd {unit} (user {uid})"),
        Starter::Session { session } => format!("login session {session}"),
        Starter::SysV { script } => script.clone(),
        Starter::OpenRc { service } => format!("OpenRC {service}"),
        Starter::Supervisor { kind, pid } => format!("{kind} (pid {pid})"),
        Starter::Container => "container".to_owned(),
        Starter::Cron => "cron".to_owned(),
        Starter::Parent { pid, name } => format!("{name} (pid {pid})"),
        Starter::Unknown => "?".to_owned(),
    }
}

/// A socket as evidence.
pub(crate) fn evidence(socket: &Socket) -> Evidence {
    Evidence::Socket { text: bound_text(socket), inode: socket.inode }
}

fn bound_text(socket: &Socket) -> String {
    match (caches::transport(socket), socket.local) {
        (Some(transport), Some(local)) => match socket.net_namespace {
            Some(n) => format!("{} {local} (network namespace {n})", transport.name()),
            None => format!("{} {local}", transport.name()),
        },
        _ => format!("unix {}", quoted(socket.path.as_deref().unwrap_or("?"))),
    }
}

fn doors_of(case: &Case<'_>, cache: &Cache<'_>, socket: &Socket) -> Vec<Door> {
    let facts = case.facts;
    let (Some(transport), Some(local)) = (caches::transport(socket), socket.local) else {
        return vec![shut(socket, "", "socket-file")];
    };
    if socket.net_namespace.is_some() {
        return published::doors(facts, cache, socket, transport);
    }
    if local.ip().to_canonical().is_loopback() {
        return vec![shut(socket, &local.ip().to_string(), "loopback")];
    }
    let mut doors = Vec::new();
    let Some(_) = facts.interfaces.known() else {
        let mut door = shut(socket, "", "no-addresses");
        door.verdict = Verdict::Unknown;
        return vec![door];
    };
    for interface in facts.interfaces_of(None) {
        let down = interface.up == Seen::Known(false);
        let elsewhere = socket.device.as_ref().is_some_and(|device| *device != interface.name);
        if down || elsewhere {
            continue;
        }
        for address in &interface.addresses {
            let ip = address.ip.to_canonical();
            let bound = local.ip().to_canonical();
            let family = if ip.is_ipv4() { takes_v4(cache, socket) } else { socket.takes_v6() };
            let is_way_in = bound == ip || (bound.is_unspecified() && family);
            if is_way_in && !matches!(address.scope, Scope::Loopback | Scope::Link) {
                let packet = Packet::to_host(transport, ip, local.port(), name_of(interface));
                let mut door = door(facts, &packet, interface, address.scope);
                door.bound = local.to_string();
                door.factor = factor(facts, socket);
                doors.push(door);
            }
        }
    }
    if doors.is_empty() {
        doors.push(shut(socket, &local.ip().to_string(), "no-way-in"));
    }
    doors
}

/// The interface's name, where more than its address is known.
pub(crate) fn name_of(interface: &Interface) -> Option<&str> {
    (interface.name != "?").then_some(interface.name.as_str())
}

/// Whether IPv4 comes in by this socket. Two sockets at one port prove that the one of IPv6 is for
/// IPv6 only: the kernel would have refused the second.
fn takes_v4(cache: &Cache<'_>, socket: &Socket) -> bool {
    let twin = |other: &&Socket| {
        let same_port = other.local.map(|a| a.port()) == socket.local.map(|a| a.port());
        let v4 = other.local.is_some_and(|a| a.is_ipv4() && a.ip().is_unspecified());
        same_port && v4 && other.protocol == socket.protocol
    };
    let is_v6 = socket.local.is_some_and(|local| local.is_ipv6());
    socket.takes_v4() && !(is_v6 && cache.sockets.iter().copied().any(|other| twin(&other)))
}

/// A door that leads nowhere outside.
pub(crate) fn shut(socket: &Socket, address: &str, reason: &str) -> Door {
    Door {
        transport: caches::transport(socket).map_or("unix", Transport::name).to_owned(),
        bound: match socket.local {
            Some(local) => local.to_string(),
            None => quoted(socket.path.as_deref().unwrap_or("?")),
        },
        address: address.to_owned(),
        interface: if address.is_empty() { String::new() } else { "lo".to_owned() },
        filter: String::new(),
        verdict: Verdict::Local,
        reason: reason.to_owned(),
        namespace: None,
        factor: None,
    }
}

/// Judges the way of one packet to one address.
pub(crate) fn door(facts: &Facts, packet: &Packet, interface: &Interface, scope: Scope) -> Door {
    let begins = |names: &[&str]| names.iter().any(|name| interface.name.starts_with(name));
    let kind = interface.kind.as_deref().unwrap_or_default();
    let (fate, unseen) = filters::fate(facts, packet);
    let filter = fate.why.iter().map(|why| format!("{}: {}", why.chain, why.rule));
    let filter = quoted(&filter.collect::<Vec<_>>().join("; "));
    let (verdict, reason) = if published::is_inner(facts, interface, packet.sent_to)
        && scope == Scope::Private
    {
        (Verdict::Local, "inner")
    } else if (begins(&OVERLAY) || matches!(kind, "wireguard" | "tun")) && scope != Scope::Global {
        (Verdict::Local, "overlay")
    } else if !fate.passes {
        (Verdict::Filtered, "filter")
    } else if unseen.is_some() {
        (Verdict::Unknown, "unseen")
    } else if fate.dropped {
        (Verdict::Unknown, "unclear")
    } else if matches!(scope, Scope::Private | Scope::CarrierNat) {
        (Verdict::OpenIfMapped, "private")
    } else {
        (Verdict::Open, "world")
    };
    Door {
        transport: packet.transport.name().to_owned(),
        bound: String::new(),
        address: packet.to.to_string(),
        interface: quoted(&interface.name),
        filter: if filter.is_empty() { quoted(&unseen.unwrap_or_default()) } else { filter },
        verdict,
        reason: reason.to_owned(),
        namespace: None,
        factor: None,
    }
}

fn factor(facts: &Facts, socket: &Socket) -> Option<f64> {
    let of_socket = facts.probes.iter().filter(|probe| probe.inode == socket.inode);
    of_socket.filter_map(Probe::factor).max_by(f64::total_cmp)
}

/// Turns the worst door of a socket into findings.
fn report(
    case: &Case<'_>,
    cache: &Cache<'_>,
    socket: &Socket,
    doors: &[Door],
    findings: &mut Vec<Finding>,
) {
    if socket.local.is_none() {
        socket_file(cache, socket, findings);
        return;
    }
    let Some(worst) = doors.iter().max_by_key(|door| door.verdict) else { return };
    let subject = format!("{} {}", worst.transport, worst.bound);
    let sure = if case.facts.collection.uid == 0 { Confidence::High } else { Confidence::Medium };
    let definition = match (worst.verdict, worst.reason.as_str()) {
        (Verdict::Open, "published") => Some(&catalogue::PUBLISHED),
        (Verdict::Open, _) => Some(&catalogue::OPEN),
        (Verdict::OpenIfMapped, _) => Some(&catalogue::OPEN_IF_MAPPED),
        (Verdict::Filtered, _) => Some(&catalogue::FILTERED),
        (Verdict::Unknown, _) => Some(&catalogue::UNDECIDED),
        (Verdict::Local, _) => None,
    };
    if let Some(definition) = definition {
        let finding = Finding::new(definition, &subject)
            .judged(worst.verdict)
            .sure(if worst.verdict == Verdict::Unknown { Confidence::Low } else { sure })
            .with("address", &worst.address)
            .with("interface", &worst.interface)
            .with("filter", filter_words(case, worst))
            .with("reason", &reason(case, worst))
            .with("container", &container(cache))
            .with("cloud", &cloud(case))
            .seen([evidence(socket)])
            .seen(process_evidence(cache))
            .seen(filter_evidence(worst));
        let finding = if worst.verdict > Verdict::Filtered {
            finding.mended_by(super::remedies::shut_cache(case, cache))
        } else {
            finding
        };
        findings.push(finding);
    }
    if worst.verdict == Verdict::Filtered {
        filter_forgets(case, &subject, worst, findings);
    }
    amplifies(case, cache, socket, worst, findings);
    discloses(case, cache, socket, worst, findings);
}

fn socket_file(cache: &Cache<'_>, socket: &Socket, findings: &mut Vec<Finding>) {
    let Some(mode) = socket.mode.known().filter(|mode| *mode & 0o006 == 0o006) else { return };
    let path = socket.path.as_deref().unwrap_or("?");
    let finding = Finding::new(&catalogue::SOCKET_FILE_OPEN, path)
        .with("mode", &format!("{mode:04o}"))
        .seen([evidence(socket)])
        .seen(process_evidence(cache))
        .mended_by([format!("chmod 0770 {}", wording::shell_word(path))]);
    findings.push(finding);
}

fn filter_words<'d>(case: &'d Case<'_>, door: &'d Door) -> &'d str {
    if door.filter.is_empty() { case.texts.get("label.no-filter") } else { &door.filter }
}

fn reason(case: &Case<'_>, door: &Door) -> String {
    match door.reason.as_str() {
        "no-addresses" => case.texts.get("text.no-addresses").to_owned(),
        "namespace" => case.texts.get("text.namespace").to_owned(),
        "unseen" if case.facts.host.packet_programs.list().is_empty() => {
            format!("{}: {}", case.texts.get("text.not-root"), door.filter)
        }
        "unseen" => case.texts.fill("text.packet-program", &[("program", &door.filter)]),
        _ => case.texts.fill("text.rules-unclear", &[("rule", &door.filter)]),
    }
}

fn container(cache: &Cache<'_>) -> String {
    let container = cache.process.and_then(|process| process.container.as_ref());
    container.map_or_else(String::new, |container| {
        let name = container.name.as_deref().unwrap_or(&container.id);
        format!("{} {name}", container.engine)
    })
}

fn cloud(case: &Case<'_>) -> String {
    match case.facts.host.maker.known() {
        Some(maker) => case.texts.fill("text.cloud", &[("maker", &quoted(maker))]),
        None => case.texts.get("text.no-cloud").to_owned(),
    }
}

/// The process as evidence.
pub(crate) fn process_evidence(cache: &Cache<'_>) -> Option<Evidence> {
    let process = cache.process?;
    Some(Evidence::Process { pid: process.pid, text: quoted(&cache.command()) })
}

fn filter_evidence(door: &Door) -> Option<Evidence> {
    let (chain, text) = door.filter.split_once(": ")?;
    Some(Evidence::Firewall { chain: chain.to_owned(), text: text.to_owned() })
}

fn filter_forgets(case: &Case<'_>, subject: &str, door: &Door, findings: &mut Vec<Finding>) {
    if !filters::comes_back(&case.facts.firewall, &door.filter) {
        let finding = Finding::new(&catalogue::FILTER_FORGETS, subject)
            .sure(Confidence::Medium)
            .seen(filter_evidence(door));
        findings.push(finding);
    }
}

fn amplifies(
    case: &Case<'_>,
    cache: &Cache<'_>,
    socket: &Socket,
    worst: &Door,
    findings: &mut Vec<Finding>,
) {
    let measured = factor(case.facts, socket);
    // Kannuki answers strangers with no more than they sent; only a measurement says otherwise.
    let keeps_short = cache.name == "kannuki" && measured.is_none_or(|factor| factor <= 1.0);
    // A socket of a family in which this host has no address leads nowhere.
    if worst.transport != "udp" || keeps_short || worst.reason == "no-way-in" {
        return;
    }
    let subject = format!("udp {}", worst.bound);
    // Where it could not be decided, it is not said that strangers do not reach it.
    let reachable = worst.verdict > Verdict::Filtered;
    let definition = if reachable { &catalogue::AMPLIFIER } else { &catalogue::UDP_WITHOUT_NEED };
    let potential = largest_item(cache) / QUESTION_BYTES;
    let factor = measured.unwrap_or(potential);
    let severity = match worst.verdict {
        Verdict::Open => Severity::Critical,
        Verdict::OpenIfMapped => Severity::High,
        Verdict::Unknown => Severity::Medium,
        _ => Severity::Low,
    };
    let mut finding = Finding::new(definition, &subject)
        .graded(severity)
        .sure(if measured.is_some() { Confidence::High } else { Confidence::Medium })
        .with("factor", &format!("{factor:.0}"))
        .with("flood", &flood(factor))
        .judged(worst.verdict)
        .seen([evidence(socket)])
        .seen(process_evidence(cache));
    // What only this host reaches is not what `close` shuts; the catalogue says what to set.
    if worst.verdict != Verdict::Local {
        finding = finding.mended_by(super::remedies::shut_cache(case, cache));
    }
    for probe in case.facts.probes.iter().filter(|probe| probe.inode == socket.inode) {
        finding = finding.seen(probe_evidence(probe));
    }
    findings.push(finding);
}

fn largest_item(cache: &Cache<'_>) -> f64 {
    let settings = cache.usage.and_then(|usage| usage.settings.known());
    let told = settings.and_then(|settings| settings.get("item_size_max")?.parse().ok());
    told.unwrap_or(ITEM_BYTES)
}

/// What 1 Mbit/s of questions becomes.
fn flood(factor: f64) -> String {
    if factor >= 1_000.0 {
        format!("{:.0} Gbit/s", factor / 1_000.0)
    } else {
        format!("{factor:.0} Mbit/s")
    }
}

fn probe_evidence(probe: &Probe) -> Option<Evidence> {
    let answer = probe.answer.known()?;
    Some(Evidence::measured(&format!(
        "{} to udp {}: {} bytes sent, {} bytes back in {} datagrams; \
         BAF {:.0}, with IPv4 headers {:.0}",
        probe.request,
        probe.address,
        probe.request_bytes,
        answer.bytes,
        answer.datagrams,
        probe.factor().unwrap_or(0.0),
        probe.ip_factor().unwrap_or(0.0),
    )))
}

fn discloses(
    case: &Case<'_>,
    cache: &Cache<'_>,
    socket: &Socket,
    worst: &Door,
    findings: &mut Vec<Finding>,
) {
    let reachable = matches!(worst.verdict, Verdict::Open | Verdict::OpenIfMapped);
    if !reachable || needs_login(cache) || cache.name == "kannuki" {
        return;
    }
    let severity = if worst.verdict == Verdict::Open { Severity::High } else { Severity::Medium };
    let subject = format!("{} {}", worst.transport, worst.bound);
    let finding = Finding::new(&catalogue::NO_LOGIN_NEEDED, &subject)
        .graded(severity)
        .judged(worst.verdict)
        .seen([evidence(socket)])
        .mended_by(super::remedies::shut_cache(case, cache));
    findings.push(finding);
}

/// The trap of rules that speak of IPv4 alone.
fn only_v4_shut(cache: &Cache<'_>, doors: &[Door], findings: &mut Vec<Finding>) {
    for transport in ["tcp", "udp"] {
        let of = |v6: bool| {
            doors.iter().filter(move |door| {
                door.transport == transport
                    && !door.address.is_empty()
                    && door.address.contains(':') == v6
            })
        };
        let v4_shut = of(false).any(|door| door.verdict == Verdict::Filtered)
            && of(false).all(|door| door.verdict <= Verdict::Filtered);
        if let Some(open) = of(true).find(|door| v4_shut && door.verdict == Verdict::Open) {
            let finding =
                Finding::new(&catalogue::ONLY_V4_SHUT, &format!("{} ({transport})", cache.title()))
                    .judged(Verdict::Open)
                    .with("address", &open.address)
                    .seen(process_evidence(cache));
            findings.push(finding);
        }
    }
}
