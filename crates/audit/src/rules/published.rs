//! Sockets in network namespaces of their own: what leads to them from outside.
//!
//! Two ways lead in: a port of the host that is rewritten or carried over to them, and an address
//! of their own that the world can reach. A namespace whose addresses or filter were not read is
//! never called LOCAL.

use std::net::IpAddr;

use super::{caches::Cache, exposure, filters};
use crate::facts::{
    Address, Facts, Interface, Protocol, PublishedPort, Publisher, Scope, Seen, Socket,
};
use crate::findings::{Door, Verdict, quoted};
use crate::firewall::{
    Action, Condition, Packet, Path, Rule, Ruleset, Transport, inside, is_inner as is_inner_name,
};

/// The doors to a socket of another network namespace than the host's.
pub(crate) fn doors(
    facts: &Facts,
    cache: &Cache<'_>,
    socket: &Socket,
    transport: Transport,
) -> Vec<Door> {
    let Some(local) = socket.local else { return Vec::new() };
    let bound = local.ip().to_canonical();
    if bound.is_loopback() {
        return vec![exposure::shut(socket, &bound.to_string(), "loopback")];
    }
    let own: Vec<Address> = facts
        .interfaces_of(socket.net_namespace)
        .flat_map(|interface| &interface.addresses)
        .filter(|address| !matches!(address.scope, Scope::Loopback | Scope::Link))
        .copied()
        .collect();
    let mut doors = Vec::new();
    for port in leading_to(facts, socket.protocol, transport, local.port(), &own) {
        doors.extend(published_doors(facts, &port, transport));
    }
    for address in &own {
        let ip = address.ip.to_canonical();
        let takes = if ip.is_ipv4() { socket.takes_v4() } else { socket.takes_v6() };
        if bound == ip || (bound.is_unspecified() && takes) {
            doors.extend(own_door(facts, socket, transport, address));
        }
    }
    let nothing_read = facts.interfaces_of(socket.net_namespace).next().is_none();
    if doors.is_empty() && (nothing_read || leads_by_map(facts, &own)) {
        doors.push(unread(socket, transport, ""));
    }
    if doors.is_empty() {
        let mut door = exposure::shut(socket, "", "container");
        let container = cache.process.and_then(|p| p.container.as_ref());
        let named = container.map(|c| quoted(c.name.as_deref().unwrap_or(&c.id)));
        door.interface = named.unwrap_or_default();
        doors.push(door);
    }
    doors
}

/// A door that nobody can judge from here: the filter of that namespace is its own.
fn unread(socket: &Socket, transport: Transport, address: &str) -> Door {
    let mut door = exposure::shut(socket, address, "namespace");
    transport.name().clone_into(&mut door.transport);
    door.interface = "?".to_owned();
    door.verdict = Verdict::Unknown;
    door
}

/// What leads to an address of the namespace itself. Behind a bridge of containers the packet
/// crosses this host and its filter, and a private address there is nobody's way in. Any other
/// address (macvlan, a routed pod, a card of its own) goes round the host's rules.
fn own_door(
    facts: &Facts,
    socket: &Socket,
    transport: Transport,
    address: &Address,
) -> Option<Door> {
    let port = socket.local?.port();
    let ip = address.ip.to_canonical();
    let beside = |interface: &&Interface| {
        interface.addresses.iter().any(|other| inside(ip, other.ip, other.prefix))
    };
    let bridge = facts.interfaces_of(None).find(|i| is_inner_name(&i.name) && beside(i));
    let Some(bridge) = bridge.or_else(|| bridge_of_docker(facts, ip)) else {
        return Some(unread(socket, transport, &ip.to_string()));
    };
    if matches!(address.scope, Scope::Private) {
        return None;
    }
    let mut packet = Packet::to_host(transport, ip, port, way_in(facts, ip));
    packet.path = Path::Forward;
    packet.goes_out = exposure::name_of(bridge).map(str::to_owned);
    let mut door = exposure::door(facts, &packet, bridge, address.scope);
    door.bound = socket.local?.to_string();
    Some(door)
}

/// The interface by which strangers come in: the one that has an address of the world.
fn way_in(facts: &Facts, ip: IpAddr) -> Option<&str> {
    let mut outer = facts.interfaces_of(None).filter(|interface| {
        let to_world = |a: &Address| {
            a.ip.is_ipv4() == ip.is_ipv4()
                && matches!(a.scope, Scope::Global | Scope::Documentation)
        };
        !is_inner_name(&interface.name) && interface.addresses.iter().any(to_world)
    });
    let first = outer.next()?;
    // With two of them a rule that asks for the interface is no certainty.
    if outer.next().is_some() { None } else { exposure::name_of(first) }
}

fn bridge_of_docker(facts: &Facts, ip: IpAddr) -> Option<&Interface> {
    let mut own = facts.interfaces_of(None);
    own.find(|i| is_of_docker(ip) && i.addresses.iter().any(|a| is_of_docker(a.ip)))
}

/// Every port of the host that leads to this one: by an engine's processes and records, and by the
/// rewriting rules of each filter.
fn leading_to(
    facts: &Facts,
    protocol: Protocol,
    transport: Transport,
    port: u16,
    own: &[Address],
) -> Vec<PublishedPort> {
    let is_own = |ip: IpAddr| own.iter().any(|address| address.ip.to_canonical() == ip);
    let mut found: Vec<PublishedPort> = facts
        .firewall
        .published
        .iter()
        .filter(|known| known.protocol == protocol && known.container_port == port)
        .filter(|known| known.container_ip.is_none_or(|ip| own.is_empty() || is_own(ip)))
        .cloned()
        .collect();
    for v4 in [true, false] {
        let (rulesets, _) = filters::rulesets(facts, v4);
        for more in rewritings(&rulesets, transport, port, v4) {
            let same = |other: &PublishedPort| {
                (other.protocol, other.host_port) == (more.protocol, more.host_port)
                    && (other.host_ip == more.host_ip
                        || other
                            .host_ip
                            .is_some_and(|ip| ip.is_unspecified() && ip.is_ipv4() == v4))
            };
            if more.container_ip.is_none_or(is_own) && !found.iter().any(same) {
                found.push(more);
            }
        }
    }
    found
}

/// Whether a rule rewrites to one of these addresses by a map or a range, which is not followed.
fn leads_by_map(facts: &Facts, own: &[Address]) -> bool {
    let names = |target: &str| own.iter().any(|address| target.contains(&address.ip.to_string()));
    [true, false].into_iter().any(|v4| {
        let (rulesets, _) = filters::rulesets(facts, v4);
        let mut rules = rulesets.iter().flat_map(|r| &r.chains).flat_map(|chain| &chain.rules);
        rules.any(|rule| match &rule.action {
            Action::Rewrite(target) => target_of(target).0.is_none() && names(target),
            _ => false,
        })
    })
}

/// The rewriting rules that can lead to this port of a namespace.
fn rewritings(
    rulesets: &[Ruleset],
    transport: Transport,
    port: u16,
    v4: bool,
) -> Vec<PublishedPort> {
    let chains = rulesets.iter().flat_map(|ruleset| &ruleset.chains);
    let rules = chains.filter(|chain| chain.name != "OUTPUT").flat_map(|chain| &chain.rules);
    rules.flat_map(|rule| rewriting(rule, transport, port, v4)).collect()
}

fn rewriting(rule: &Rule, transport: Transport, port: u16, v4: bool) -> Vec<PublishedPort> {
    let Action::Rewrite(target) = &rule.action else { return Vec::new() };
    let (ip, target_port) = target_of(target);
    let wrong_port = target_port.is_some_and(|target| target != port);
    if wrong_port || ip.is_some_and(|ip| ip.is_ipv4() != v4) || ip.is_none() {
        return Vec::new();
    }
    let mut ports = Vec::new();
    let mut host_ip = (!v4).then_some(IpAddr::from([0_u16; 8]));
    for test in rule.tests.iter().filter(|test| !test.negated) {
        match &test.condition {
            Condition::Protocol(numbers) if !numbers.contains(&transport.number()) => {
                return Vec::new();
            }
            Condition::Port(ranges) => ports.clone_from(ranges),
            Condition::To(addresses) => host_ip = addresses.only().or(host_ip),
            _ => {}
        }
    }
    // Without a port of its own the rule leads every port to the same one of the container.
    let ports: Vec<u16> = match target_port {
        Some(_) if !ports.is_empty() => ports.iter().map(|(first, _)| *first).collect(),
        _ if ports.is_empty() || ports.iter().any(|(a, b)| (*a..=*b).contains(&port)) => vec![port],
        _ => Vec::new(),
    };
    let made = |host_port| PublishedPort {
        protocol: if transport == Transport::Udp { Protocol::Udp } else { Protocol::Tcp },
        host_ip,
        host_port,
        container_ip: ip,
        container_port: port,
        by: Publisher::Rule { text: rule.text.clone() },
    };
    ports.into_iter().map(made).collect()
}

/// `172.17.0.2:11211`, `[fd00::2]:11211`, `172.17.0.2`, `fd00::2`.
fn target_of(target: &str) -> (Option<IpAddr>, Option<u16>) {
    match target.parse::<std::net::SocketAddr>() {
        Ok(whole) => (Some(whole.ip()), Some(whole.port())),
        Err(_) => (target.trim_matches(['[', ']']).parse().ok(), None),
    }
}

/// An address of a bridge to containers: strangers do not come in by it.
pub(crate) fn is_inner(facts: &Facts, interface: &Interface, ip: IpAddr) -> bool {
    let own = || interface.addresses.iter().filter(|address| address.ip == ip);
    let mut containers = facts.firewall.published.iter().filter_map(|port| port.container_ip);
    is_inner_name(&interface.name)
        || containers.any(|container| own().any(|address| is_beside(container, address)))
}

fn published_doors(facts: &Facts, published: &PublishedPort, transport: Transport) -> Vec<Door> {
    let mut doors = Vec::new();
    for interface in facts.interfaces_of(None).filter(|i| i.up != Seen::Known(false)) {
        for address in &interface.addresses {
            let ip = address.ip.to_canonical();
            let is_way_in = match published.host_ip {
                Some(host) if host.is_unspecified() => host.is_ipv4() == ip.is_ipv4(),
                Some(host) => host == ip,
                None => ip.is_ipv4(),
            };
            if !is_way_in || matches!(address.scope, Scope::Link) {
                continue;
            }
            let mut packet =
                Packet::to_host(transport, ip, published.host_port, exposure::name_of(interface));
            let rewritten = filters::fate(facts, &packet).0.rewritten.is_some();
            if let Some(container) = published.container_ip.filter(|_| rewritten) {
                let goes_out = way_to(facts, container);
                packet = packet.rewritten(container, published.container_port, goes_out);
            }
            let mut door = exposure::door(facts, &packet, interface, address.scope);
            if address.scope == Scope::Loopback {
                door.verdict = Verdict::Local;
            }
            door.address = ip.to_string();
            let host = published.host_ip.unwrap_or_else(|| IpAddr::from([0, 0, 0, 0]));
            door.bound = std::net::SocketAddr::new(host, published.host_port).to_string();
            if door.verdict > Verdict::Local {
                "published".clone_into(&mut door.reason);
            }
            doors.push(door);
        }
    }
    doors
}

/// The interface behind which a container's address lies.
fn way_to(facts: &Facts, container: IpAddr) -> Option<String> {
    let holds = |interface: &&Interface| {
        interface.addresses.iter().any(|address| is_beside(container, address))
    };
    let named =
        facts.interfaces_of(None).find(holds).and_then(exposure::name_of).map(str::to_owned);
    // Docker's own bridge, unless its settings moved it.
    named.or_else(|| is_of_docker(container).then(|| "docker0".to_owned()))
}

/// Is the container in the network of this address of the host?
fn is_beside(container: IpAddr, address: &Address) -> bool {
    inside(container, address.ip, address.prefix)
        || (is_of_docker(container) && is_of_docker(address.ip))
}

/// The network that Docker takes for its first bridge.
fn is_of_docker(ip: IpAddr) -> bool {
    inside(ip, IpAddr::from([172, 17, 0, 0]), 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::{Family, iptables, nft};

    fn ports(ruleset: Ruleset, transport: Transport, v4: bool) -> Vec<(u16, Option<IpAddr>)> {
        let found = rewritings(&[ruleset], transport, 11211, v4);
        found.iter().map(|port| (port.host_port, port.container_ip)).collect()
    }

    #[test]
    fn rewriting_rules_of_every_filter_are_read() {
        let v4 = |rule: &str| iptables::read(&format!("*nat\n{rule}\nCOMMIT\n"), Family::V4);
        let to: IpAddr = "172.17.0.2".parse().unwrap();
        for (rule, expected) in [
            ("-A D -p tcp -m tcp --dport 11211 -j DNAT --to-destination 172.17.0.2:11211", 11211),
            (
                "-A D -p tcp -m multiport --dports 80,12000 -j DNAT --to-destination \
                 172.17.0.2:11211",
                80,
            ),
            ("-A D -p tcp -m tcp --dport 11000:12000 -j DNAT --to-destination 172.17.0.2", 11211),
            ("-A D -j DNAT --to-destination 172.17.0.2", 11211),
        ] {
            assert_eq!(ports(v4(rule), Transport::Tcp, true)[0], (expected, Some(to)), "{rule}");
        }
        let other = "-A D -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80";
        assert_eq!(ports(v4(other), Transport::Tcp, true), []);
        let udp = "-A D -p udp -m udp --dport 11211 -j DNAT --to-destination 172.17.0.2:11211";
        assert_eq!(ports(v4(udp), Transport::Tcp, true), []);
        let v6 = "*nat\n-A D -p tcp -m tcp --dport 11211 -j DNAT --to-destination \
                  [fd00::2]:11211\nCOMMIT\n";
        let inner: IpAddr = "fd00::2".parse().unwrap();
        let read = iptables::read(v6, Family::V6);
        assert_eq!(ports(read, Transport::Tcp, false), [(11211, Some(inner))]);
        let json = r#"{"nftables": [{"chain": {"family": "ip", "table": "nat", "name": "pre",
            "type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}},
            {"rule": {"family": "ip", "table": "nat", "chain": "pre", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}},
            "right": 8211}}, {"dnat": {"addr": "172.17.0.2", "port": 11211}}]}}]}"#;
        assert_eq!(ports(nft::read(json), Transport::Tcp, true), [(8211, Some(to))]);
        assert_eq!(ports(nft::read(json), Transport::Udp, true), []);
    }
}
