//! The walk: base chains in the kernel's order, each fate that remains possible kept.

use std::net::IpAddr;

use super::packet::{Packet, Path};
use super::rules::{Action, Chain, Condition, Family, Hook, Layer, Rule, Ruleset, Test};

/// Chains within chains; the kernel stops at 16 (nftables) or refuses loops (iptables).
const DEPTH_MAX: usize = 16;
/// Rules looked at for one packet: a large ruleset has some ten thousand, a hostile one millions.
const STEPS_MAX: usize = 200_000;
/// Names of interfaces that lead to containers and machines of this host, by their beginnings.
pub(crate) const INNER: [&str; 8] =
    ["docker", "br-", "virbr", "lxc", "lxd", "cni", "veth", "podman"];
/// A source network this short may hold the stranger or not; longer ones name somebody.
const STRANGER_PREFIX_MAX: u8 = 3;

/// What can become of the packet. Both may be true: that is not knowing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// It can reach the socket.
    pub passes: bool,
    /// It can be dropped or refused.
    pub dropped: bool,
    /// The rules that decided, or could not be followed.
    pub why: Vec<Deciding>,
    /// A rewriting of the destination that it can meet first.
    pub rewritten: Option<String>,
}

/// A rule or policy that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deciding {
    /// `ip filter INPUT`.
    pub chain: String,
    /// The rule as people read it, or `policy drop`.
    pub rule: String,
}

/// The fate of `packet`. Every base chain on its way must let it pass; a drop is final.
#[must_use]
pub fn evaluate(rulesets: &[&Ruleset], packet: &Packet) -> Fate {
    let mut fate = Fate { passes: true, ..Fate::default() };
    for hook in hooks(packet.path) {
        let mut bases: Vec<(&Ruleset, &Chain, i32)> = rulesets
            .iter()
            .flat_map(|ruleset| ruleset.chains.iter().map(move |chain| (*ruleset, chain)))
            .filter_map(|(ruleset, chain)| match chain.base {
                Some((at, _, priority)) if at == hook => Some((ruleset, chain, priority)),
                _ => None,
            })
            .filter(|(_, chain, _)| concerns(chain, packet))
            .collect();
        bases.sort_by_key(|(_, _, priority)| *priority);
        for (ruleset, chain, _) in bases {
            through_base(ruleset, chain, packet, &mut fate);
            if !fate.passes {
                return fate;
            }
        }
    }
    for unread in rulesets.iter().flat_map(|ruleset| &ruleset.unread) {
        fate.dropped = true;
        fate.why.push(Deciding { chain: String::new(), rule: unread.clone() });
    }
    fate
}

fn hooks(path: Path) -> [Hook; 3] {
    let last = match path {
        Path::Input => Hook::Input,
        Path::Forward => Hook::Forward,
    };
    [Hook::Ingress, Hook::Prerouting, last]
}

fn concerns(chain: &Chain, packet: &Packet) -> bool {
    let on_device = match &packet.comes_in {
        Some(name) if !chain.devices.is_empty() => chain.devices.contains(name),
        _ => true,
    };
    chain.family.sees(packet.to) && on_device
}

fn through_base(ruleset: &Ruleset, chain: &Chain, packet: &Packet, fate: &mut Fate) {
    let mut walk = Walk { ruleset, packet, steps: 0, rewritten: None, why: Vec::new() };
    let ends = walk.chain(chain, 0);
    if matches!(chain.base, Some((_, Layer::Nat, _))) {
        if let Some(to) = walk.rewritten {
            fate.rewritten.get_or_insert(to);
        }
        return;
    }
    let mut passes = ends.accepted;
    let mut dropped = ends.dropped;
    if ends.falls_through {
        if chain.drops_at_end {
            dropped = true;
            walk.why.push(Deciding { chain: place(chain), rule: "policy drop".to_owned() });
        } else {
            passes = true;
        }
    }
    fate.dropped |= dropped;
    fate.passes = passes;
    for deciding in walk.why {
        if !fate.why.contains(&deciding) {
            fate.why.push(deciding);
        }
    }
}

/// How a walk through one chain can end.
#[derive(Debug, Clone, Default)]
struct Ends {
    accepted: bool,
    dropped: bool,
    falls_through: bool,
}

/// Whether a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applies {
    Yes,
    No,
    Perhaps,
}

struct Walk<'r> {
    ruleset: &'r Ruleset,
    packet: &'r Packet,
    steps: usize,
    rewritten: Option<String>,
    why: Vec<Deciding>,
}

impl Walk<'_> {
    fn chain(&mut self, chain: &Chain, depth: usize) -> Ends {
        let mut ends = Ends::default();
        for rule in &chain.rules {
            self.steps += 1;
            if self.steps > STEPS_MAX || depth > DEPTH_MAX {
                self.note(chain, "too many rules to follow");
                return Ends { accepted: true, dropped: true, falls_through: true };
            }
            let applies = applies(rule, self.packet);
            if applies == Applies::No {
                continue;
            }
            let goes_on = self.act(chain, rule, &rule.action, applies, depth, &mut ends);
            if applies == Applies::Yes && !goes_on {
                return ends;
            }
        }
        ends.falls_through = true;
        ends
    }

    /// Adds what the action can do to `ends`; false if a packet for which it applies goes no
    /// further in this chain.
    fn act(
        &mut self,
        chain: &Chain,
        rule: &Rule,
        action: &Action,
        applies: Applies,
        depth: usize,
        ends: &mut Ends,
    ) -> bool {
        match action {
            Action::Next => return true,
            Action::Accept => {
                ends.accepted = true;
                self.note(chain, &rule.text);
            }
            Action::Drop => {
                ends.dropped = true;
                self.note(chain, &rule.text);
            }
            Action::Return => ends.falls_through = true,
            Action::Rewrite(to) => {
                self.rewritten.get_or_insert_with(|| to.clone());
                ends.accepted = true;
            }
            Action::Jump(name) | Action::Goto(name) => {
                return self.enter(chain, rule, name, action, depth, ends);
            }
            Action::OneOf(actions) => {
                let mut goes_on = false;
                for action in actions {
                    goes_on |= self.act(chain, rule, action, Applies::Perhaps, depth, ends);
                }
                return goes_on || applies == Applies::Perhaps;
            }
            Action::Unknown(_) => {
                ends.accepted = true;
                ends.dropped = true;
                self.note(chain, &rule.text);
                return true;
            }
        }
        false
    }

    fn enter(
        &mut self,
        chain: &Chain,
        rule: &Rule,
        name: &str,
        action: &Action,
        depth: usize,
        ends: &mut Ends,
    ) -> bool {
        let same = |other: &&Chain| other.table == chain.table && other.name == name;
        let Some(next) = self.ruleset.chains.iter().find(same) else {
            ends.accepted = true;
            ends.dropped = true;
            self.note(chain, &rule.text);
            return true;
        };
        let inner = self.chain(next, depth + 1);
        ends.accepted |= inner.accepted;
        ends.dropped |= inner.dropped;
        let is_jump = matches!(action, Action::Jump(_));
        if !is_jump {
            ends.falls_through |= inner.falls_through;
        }
        is_jump && inner.falls_through
    }

    fn note(&mut self, chain: &Chain, rule: &str) {
        let deciding = Deciding { chain: place(chain), rule: rule.to_owned() };
        if !self.why.contains(&deciding) {
            self.why.push(deciding);
        }
    }
}

fn place(chain: &Chain) -> String {
    format!("{} {}", chain.table, chain.name)
}

fn applies(rule: &Rule, packet: &Packet) -> Applies {
    let mut all = Applies::Yes;
    for test in &rule.tests {
        match holds(test, packet) {
            Applies::No => return Applies::No,
            Applies::Perhaps => all = Applies::Perhaps,
            Applies::Yes => {}
        }
    }
    all
}

fn holds(test: &Test, packet: &Packet) -> Applies {
    let plain = condition_holds(&test.condition, packet);
    match (plain, test.negated) {
        (Applies::Yes, true) => Applies::No,
        (Applies::No, true) => Applies::Yes,
        (answer, _) => answer,
    }
}

fn condition_holds(condition: &Condition, packet: &Packet) -> Applies {
    let certain = |answer: bool| if answer { Applies::Yes } else { Applies::No };
    match condition {
        Condition::Protocol(numbers) => certain(numbers.contains(&packet.transport.number())),
        Condition::Family(family) => certain(match family {
            Family::Both => true,
            family => family.sees(packet.to),
        }),
        Condition::ComesIn(names) => interface(packet.comes_in.as_deref(), names),
        Condition::GoesOut(names) => match packet.path {
            Path::Input => Applies::No,
            Path::Forward if packet.goes_out.is_none() => Applies::Perhaps,
            Path::Forward => interface(packet.goes_out.as_deref(), names),
        },
        Condition::From(networks) => from_stranger(networks),
        Condition::To(networks) => {
            certain(networks.iter().any(|(network, length)| inside(packet.to, *network, *length)))
        }
        Condition::Port(ranges) => certain(in_ranges(packet.port, ranges)),
        Condition::SentToPort(ranges) => certain(in_ranges(packet.sent_to_port, ranges)),
        Condition::State(states) => certain(states.iter().any(|state| state == "new")),
        Condition::Rewritten => certain(packet.path == Path::Forward),
        Condition::Always => Applies::Yes,
        Condition::Never => Applies::No,
        Condition::Unknown(_) => Applies::Perhaps,
    }
}

/// A stranger's address is in no network that a rule names, unless that network is nearly the whole
/// internet.
fn from_stranger(networks: &[(IpAddr, u8)]) -> Applies {
    if networks.iter().any(|(_, length)| *length == 0) {
        Applies::Yes
    } else if networks
        .iter()
        .any(|(address, length)| *length <= STRANGER_PREFIX_MAX && !address.is_multicast())
    {
        Applies::Perhaps
    } else {
        Applies::No
    }
}

fn interface(name: Option<&str>, patterns: &[String]) -> Applies {
    let Some(name) = name else {
        // Whatever it is, a stranger does not come in by the loopback or from a container.
        let inner = |pattern: &String| {
            pattern == "lo" || INNER.iter().any(|name| pattern.starts_with(name))
        };
        return if patterns.iter().all(inner) { Applies::No } else { Applies::Perhaps };
    };
    let fits = |pattern: &String| match pattern.strip_suffix(['*', '+']) {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    if patterns.iter().any(fits) { Applies::Yes } else { Applies::No }
}

fn in_ranges(port: u16, ranges: &[(u16, u16)]) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

/// Is `address` in `network/length`?
pub(crate) fn inside(address: IpAddr, network: IpAddr, length: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}
