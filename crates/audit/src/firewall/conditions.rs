//! Whether a condition holds for one packet at one place on its way: yes, no, or perhaps.

use std::net::IpAddr;

use super::packet::{Packet, Path, Transport};
use super::rules::{Condition, Family, Hook, Rule, Test};

/// Whether a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    Yes,
    No,
    Perhaps,
}

impl Applies {
    fn certain(answer: bool) -> Self {
        if answer { Self::Yes } else { Self::No }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Perhaps,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
        }
    }
}

/// The packet as rules at one place see it.
#[derive(Debug, Clone)]
pub(super) struct View<'p> {
    pub(super) packet: &'p Packet,
    pub(super) from: IpAddr,
    pub(super) from_port: u16,
    /// The destination here: before or after rewriting.
    pub(super) to: IpAddr,
    pub(super) port: u16,
    pub(super) hook: Hook,
    /// Whether connection tracking has seen it.
    pub(super) tracked: Applies,
    /// Whether a rule took it out of connection tracking.
    pub(super) untracked: Applies,
    /// Whether its destination was rewritten.
    pub(super) rewritten: Applies,
}

impl View<'_> {
    pub(super) fn applies(&self, rule: &Rule) -> Applies {
        rule.tests.iter().fold(Applies::Yes, |all, test| match all {
            Applies::No => Applies::No,
            all => all.and(self.test(test)),
        })
    }

    fn test(&self, test: &Test) -> Applies {
        let plain = self.holds(&test.condition);
        if test.negated { plain.not() } else { plain }
    }

    pub(super) fn holds(&self, condition: &Condition) -> Applies {
        let certain = Applies::certain;
        let packet = self.packet;
        match condition {
            Condition::Protocol(numbers) => certain(numbers.contains(&packet.transport.number())),
            Condition::Family(family) => certain(family.sees(self.to)),
            Condition::Ethernet(family) => self.by_ethernet(*family),
            Condition::ComesIn(names) => interface(packet.comes_in.as_deref(), names),
            Condition::GoesOut(names) => match (self.hook, &packet.goes_out) {
                (Hook::Forward, None) => Applies::Perhaps,
                (Hook::Forward, Some(name)) => interface(Some(name), names),
                _ => Applies::No,
            },
            Condition::From(addresses) => certain(addresses.contains(self.from)),
            Condition::FromPort(ranges) => certain(in_ranges(self.from_port, ranges)),
            Condition::To(addresses) => certain(addresses.contains(self.to)),
            Condition::Port(ranges) => certain(in_ranges(self.port, ranges)),
            Condition::SentToPort(ranges) => {
                self.followed().and(certain(in_ranges(packet.sent_to_port, ranges)))
            }
            Condition::State(states) => self.state(states),
            Condition::Tracked => self.followed(),
            Condition::ToHost => certain(self.to == packet.sent_to),
            Condition::Rewritten => self.rewritten,
            Condition::AllOf(parts) => {
                parts.iter().fold(Applies::Yes, |all, part| all.and(self.holds(part)))
            }
            Condition::OneOf(parts) => {
                let none = |all: Applies, part| all.and(self.holds(part).not());
                parts.iter().fold(Applies::Yes, none).not()
            }
            Condition::Always => Applies::Yes,
            Condition::Never => Applies::No,
            Condition::Unknown(_) => Applies::Perhaps,
        }
    }

    /// Whether the kernel follows its conversation: seen by tracking, and not taken out of it.
    fn followed(&self) -> Applies {
        self.tracked.and(self.untracked.not())
    }

    /// A first packet is new once tracking saw it; before, it counts as invalid.
    fn state(&self, states: &[String]) -> Applies {
        let has = |name: &str| Applies::certain(states.iter().any(|state| state == name));
        let tracked = match self.tracked {
            Applies::Yes => has("new"),
            Applies::No => has("invalid"),
            Applies::Perhaps if has("new") == has("invalid") => has("new"),
            Applies::Perhaps => Applies::Perhaps,
        };
        match self.untracked {
            Applies::No => tracked,
            Applies::Yes => has("untracked"),
            Applies::Perhaps if tracked == has("untracked") => tracked,
            Applies::Perhaps => Applies::Perhaps,
        }
    }

    fn by_ethernet(&self, family: Family) -> Applies {
        let has_header = self.packet.comes_in.as_deref().is_some_and(|name| {
            ["eth", "en", "bond", "team", "br", "veth", "vlan"].iter().any(|b| name.starts_with(b))
        });
        match (family.sees(self.to), has_header) {
            (false, _) => Applies::No,
            (true, true) => Applies::Yes,
            (true, false) => Applies::Perhaps,
        }
    }
}

/// Beginnings of names of interfaces that lead to containers and machines of this host.
const INNER: [&str; 8] =
    ["docker", "virbr", "lxcbr", "lxdbr", "incusbr", "cni0", "cni-podman", "podman"];
/// Docker names the bridge of a network by the first figures of the network's id.
const DOCKER_ID_DIGITS: usize = 12;

/// Does the interface of this name lead to containers or machines of this host? `br-ex` and
/// `br-lan` are ways in from outside; only `br-` with Docker's twelve figures is inner.
pub(crate) fn is_inner(name: &str) -> bool {
    let is_id = |id: &str| {
        id.len() == DOCKER_ID_DIGITS
            && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    INNER.iter().any(|beginning| name.starts_with(beginning))
        || name.strip_prefix("br-").is_some_and(is_id)
}

fn interface(name: Option<&str>, patterns: &[String]) -> Applies {
    let Some(name) = name else {
        // Whatever it is, a stranger does not come in by the loopback or from a container.
        let inner = |pattern: &String| pattern == "lo" || is_inner(pattern);
        return if patterns.iter().all(inner) { Applies::No } else { Applies::Perhaps };
    };
    let fits = |pattern: &String| match pattern.strip_suffix(['*', '+']) {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    Applies::certain(patterns.iter().any(fits))
}

fn in_ranges(port: u16, ranges: &[(u16, u16)]) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

impl Packet {
    /// The packet as a chain at `hook` with `priority` sees it. Tracking is at -200 before routing,
    /// rewriting at -100.
    pub(super) fn seen_at(
        &self,
        (hook, priority): (Hook, i32),
        (from, from_port): (IpAddr, u16),
    ) -> View<'_> {
        const TRACKING: i32 = -200;
        const REWRITING: i32 = -100;
        let tracked = match hook {
            Hook::Ingress => Applies::No,
            Hook::Prerouting if priority < TRACKING => Applies::No,
            Hook::Prerouting if priority == TRACKING => Applies::Perhaps,
            _ => Applies::Yes,
        };
        let late = match hook {
            Hook::Ingress => false,
            Hook::Prerouting => priority > REWRITING,
            Hook::Input | Hook::Forward => true,
        };
        let rewritten = self.path == Path::Forward && self.is_rewritten() && late;
        let (to, port) = if late || self.path == Path::Input {
            (self.to, self.port)
        } else {
            (self.sent_to, self.sent_to_port)
        };
        let rewritten = Applies::certain(rewritten);
        let untracked = Applies::No;
        View { packet: self, from, from_port, to, port, hook, tracked, untracked, rewritten }
    }

    fn is_rewritten(&self) -> bool {
        (self.to, self.port) != (self.sent_to, self.sent_to_port)
    }
}

/// The flags of a packet that opens a TCP connection: SYN alone.
pub(super) const FIRST_TCP_FLAGS: u8 = 0x02;

/// The bit of a TCP flag, by its name in lower case.
pub(super) fn tcp_flag(name: &str) -> Option<u8> {
    let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];
    match name {
        "none" => Some(0),
        "all" => Some(0x3f),
        "ece" => Some(0x40),
        _ => names.iter().position(|other| *other == name).map(|bit| 1 << bit),
    }
}

/// TCP is asked for by its own number wherever a rule looks into its header.
pub(super) fn of(transport: Transport) -> Condition {
    Condition::Protocol(vec![transport.number()])
}
