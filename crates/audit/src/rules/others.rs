//! What else was met: other amplifiers, control panels, old data, and what was out of sight.

use super::{Case, exposure, wording};
use crate::facts::{Protocol, Scope, Seen, Socket, SocketState};
use crate::findings::{Confidence, Evidence, Finding, Verdict, catalogue, quoted};
use crate::firewall::{Packet, Transport};

/// UDP services that answer strangers with more than they asked, by port.
const AMPLIFIERS: [(u16, &str); 10] = [
    (17, "QOTD"),
    (19, "CharGEN"),
    (53, "DNS"),
    (69, "TFTP"),
    (111, "portmap"),
    (123, "NTP"),
    (161, "SNMP"),
    (389, "CLDAP"),
    (1900, "SSDP"),
    (3702, "WS-Discovery"),
];
const MDNS: (u16, &str) = (5353, "mDNS");
/// Seconds of a day.
const DAY_S: i64 = 86_400;

pub(crate) fn judge(case: &Case<'_>, findings: &mut Vec<Finding>) {
    for socket in case.facts.sockets.list() {
        amplifier(case, socket, findings);
    }
    for panel in &case.facts.panels {
        let finding = Finding::new(&catalogue::PANEL, panel).seen([Evidence::file(panel, 0, "")]);
        findings.push(finding);
    }
    stale(case, findings);
    let gaps = &case.facts.gaps;
    if !gaps.is_empty() {
        let unseen = gaps.iter().take(20).map(|gap| Evidence::Unseen {
            text: quoted(&format!("{}: {}", gap.what, gap.unseen.detail)),
        });
        let finding = Finding::new(&catalogue::OUT_OF_SIGHT, "gaps")
            .with("count", &gaps.len().to_string())
            .seen(unseen);
        findings.push(finding);
    }
}

fn amplifier(case: &Case<'_>, socket: &Socket, findings: &mut Vec<Finding>) {
    let Some(local) = socket.local else { return };
    let known = AMPLIFIERS.iter().chain([&MDNS]).find(|(port, _)| *port == local.port());
    let listening = socket.protocol == Protocol::Udp && socket.state == SocketState::Listening;
    let (Some((port, name)), true, None) = (known, listening, socket.net_namespace) else {
        return;
    };
    let mut worst = Verdict::Local;
    for interface in case.facts.interfaces_of(None).filter(|i| i.up != Seen::Known(false)) {
        for address in &interface.addresses {
            let (ip, bound) = (address.ip.to_canonical(), local.ip().to_canonical());
            let family = if ip.is_ipv4() { socket.takes_v4() } else { socket.takes_v6() };
            let is_way_in = bound == ip || (bound.is_unspecified() && family);
            if is_way_in && !matches!(address.scope, Scope::Loopback | Scope::Link) {
                let packet =
                    Packet::to_host(Transport::Udp, ip, *port, exposure::name_of(interface));
                worst = worst
                    .max(exposure::door(case.facts, &packet, interface, address.scope).verdict);
            }
        }
    }
    if worst == Verdict::Open {
        // A client's own socket at its server's port (a resolver, ntpd as client) looks the same.
        let finding = Finding::new(&catalogue::OTHER_AMPLIFIER, &format!("udp {local}"))
            .with("name", name)
            .sure(Confidence::Medium)
            .judged(worst)
            .seen([exposure::evidence(socket)])
            .seen(holder(case, socket));
        findings.push(finding);
    }
}

fn holder(case: &Case<'_>, socket: &Socket) -> Option<Evidence> {
    let process = case.facts.process(*socket.pids.known()?.first()?)?;
    Some(Evidence::Process { pid: process.pid, text: quoted(&process.name) })
}

fn stale(case: &Case<'_>, findings: &mut Vec<Finding>) {
    let Some(day) = wording::day_of(&case.table.data_as_of) else { return };
    let days = case.facts.collection.at.div_euclid(DAY_S) - day;
    if days > i64::from(case.table.stale_after_days) {
        let finding = Finding::new(&catalogue::NEWS_STALE, &case.table.data_as_of)
            .with("days", &days.to_string());
        findings.push(finding);
    }
}
