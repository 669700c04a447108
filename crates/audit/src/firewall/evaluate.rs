//! The walk: base chains in the kernel's order, each fate that remains possible kept.

use std::net::IpAddr;

use super::conditions::{Applies, View};
use super::packet::{Packet, Path};
use super::rules::{Action, Chain, Condition, Hook, Layer, Rule, Ruleset};
use super::strangers;

/// Chains within chains; the kernel stops at 16 (nftables) or refuses loops (iptables).
const DEPTH_MAX: usize = 16;
/// Rules looked at in one chain of a hook: a large ruleset has some ten thousand, a hostile one
/// millions.
const STEPS_MAX: usize = 200_000;
/// Rules looked at for all sources together, so that a verdict takes a second at the most.
const STEPS_OF_ALL_MAX: usize = 4_000_000;

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

/// The fate of `packet`. Every base chain on its way must let it pass; a drop is final. Without a
/// source it is the fate of strangers: it passes if more of the internet passes than friends have.
#[must_use]
pub fn evaluate(rulesets: &[&Ruleset], packet: &Packet) -> Fate {
    let ports = strangers::source_ports(rulesets);
    let asked = Asked { rulesets, packet, ports: &ports };
    let mut fate = match packet.from {
        Some(from) => asked.whatever_port(from, &mut 0),
        None => asked.of_strangers(),
    };
    for unread in rulesets.iter().flat_map(|ruleset| &ruleset.unread) {
        (fate.passes, fate.dropped) = (true, true);
        fate.why.push(Deciding { chain: String::new(), rule: unread.clone() });
    }
    fate
}

/// One question: these rules, this packet, these source ports.
struct Asked<'a> {
    rulesets: &'a [&'a Ruleset],
    packet: &'a Packet,
    ports: &'a [u16],
}

impl Asked<'_> {
    fn of_strangers(&self) -> Fate {
        let v4 = self.packet.sent_to.is_ipv4();
        let friends = strangers::friends(v4);
        let (pieces, too_many) = strangers::pieces(self.rulesets, v4);
        let (mut sure, mut perhaps, mut steps) = (Tally::default(), Tally::default(), 0);
        let mut shut = Tally::default();
        for piece in pieces {
            if steps > STEPS_OF_ALL_MAX {
                perhaps.size = perhaps.size.saturating_add(piece.size);
                continue;
            }
            let fate = self.whatever_port(piece.from, &mut steps);
            match (fate.passes, fate.dropped) {
                (true, false) => sure.add(piece.size, fate),
                (true, true) => perhaps.add(piece.size, fate),
                (false, _) => shut.add(piece.size, fate),
            }
            if sure.size > friends {
                return sure.fate.unwrap_or_default();
            }
        }
        let may_pass = too_many || sure.size.saturating_add(perhaps.size) > friends;
        let speaks = if may_pass { perhaps.fate.or(sure.fate).or(shut.fate) } else { shut.fate };
        Fate { passes: may_pass, dropped: true, ..speaks.unwrap_or_default() }
    }

    /// A sender chooses the port it sends from: one that passes is enough.
    fn whatever_port(&self, from: IpAddr, steps: &mut usize) -> Fate {
        let mut best: Option<Fate> = None;
        for port in self.ports {
            let fate = self.of_one((from, *port), steps);
            if fate.passes && !fate.dropped {
                return fate;
            }
            if best.as_ref().is_none_or(|best| fate.passes && !best.passes) {
                best = Some(fate);
            }
        }
        best.unwrap_or_else(|| Fate { passes: true, dropped: true, ..Fate::default() })
    }

    fn of_one(&self, source: (IpAddr, u16), steps: &mut usize) -> Fate {
        let mut fate = Fate { passes: true, ..Fate::default() };
        let mut untracked = Applies::No;
        for hook in hooks(self.packet.path) {
            for (ruleset, chain, layer, priority) in bases(self.rulesets, hook, self.packet) {
                let mut view = self.packet.seen_at((hook, priority), source);
                view.untracked = untracked;
                if fate.rewritten.is_some() && self.packet.path == Path::Input {
                    view.rewritten = Applies::Perhaps;
                }
                let sure = is_sure(chain, self.packet);
                let mut walk = Walk::new(ruleset, view, !sure);
                through_base(&mut walk, chain, layer, sure, &mut fate);
                untracked = walk.view.untracked;
                *steps = steps.saturating_add(walk.steps);
                if !fate.passes {
                    return fate;
                }
            }
        }
        fate
    }
}

/// How much of the internet meets a fate, and the fate of its largest piece.
#[derive(Default)]
struct Tally {
    size: u128,
    fate: Option<Fate>,
}

impl Tally {
    fn add(&mut self, size: u128, fate: Fate) {
        self.size = self.size.saturating_add(size);
        self.fate.get_or_insert(fate);
    }
}

fn hooks(path: Path) -> [Hook; 3] {
    let last = match path {
        Path::Input => Hook::Input,
        Path::Forward => Hook::Forward,
    };
    [Hook::Ingress, Hook::Prerouting, last]
}

/// The base chains of a hook that may concern the packet, in the kernel's order.
fn bases<'r>(
    rulesets: &[&'r Ruleset],
    hook: Hook,
    packet: &Packet,
) -> Vec<(&'r Ruleset, &'r Chain, Layer, i32)> {
    let all = rulesets.iter().flat_map(|ruleset| ruleset.chains.iter().map(|c| (*ruleset, c)));
    let mut bases: Vec<_> = all
        .filter_map(|(ruleset, chain)| match chain.base {
            Some((at, layer, priority)) if at == hook => Some((ruleset, chain, layer, priority)),
            _ => None,
        })
        .filter(|(_, chain, _, _)| concerns(chain, packet))
        .collect();
    bases.sort_by_key(|(_, _, _, priority)| *priority);
    bases
}

fn concerns(chain: &Chain, packet: &Packet) -> bool {
    let elsewhere = packet
        .comes_in
        .as_ref()
        .is_some_and(|name| !chain.devices.is_empty() && !chain.devices.contains(name));
    chain.family.sees(packet.to) && !elsewhere
}

/// A chain at a device is only surely asked where both devices are known.
fn is_sure(chain: &Chain, packet: &Packet) -> bool {
    let at_device = matches!(chain.base, Some((Hook::Ingress, _, _)));
    !at_device || (packet.comes_in.is_some() && !chain.devices.is_empty())
}

fn through_base(walk: &mut Walk<'_>, chain: &Chain, layer: Layer, sure: bool, fate: &mut Fate) {
    let ends = walk.chain(chain, 0);
    if let Some(to) = walk.rewritten.take().filter(|_| layer == Layer::Nat) {
        fate.rewritten.get_or_insert(to);
    }
    let mut passes = ends.accepted || !sure;
    let mut dropped = ends.dropped;
    if ends.falls_through {
        if chain.drops_at_end {
            dropped = true;
            walk.note(chain, "policy drop");
        } else {
            passes = true;
        }
    }
    fate.dropped |= dropped;
    fate.passes = passes;
    for deciding in walk.why.drain(..) {
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

struct Walk<'r> {
    ruleset: &'r Ruleset,
    view: View<'r>,
    steps: usize,
    /// Whether the packet may have left this road already: what follows is then no certainty.
    forked: bool,
    rewritten: Option<String>,
    why: Vec<Deciding>,
}

/// A rule where it stands.
#[derive(Clone, Copy)]
struct At<'c> {
    chain: &'c Chain,
    rule: &'c Rule,
    depth: usize,
}

impl<'r> Walk<'r> {
    fn new(ruleset: &'r Ruleset, view: View<'r>, forked: bool) -> Self {
        Self { ruleset, view, steps: 0, forked, rewritten: None, why: Vec::new() }
    }

    fn chain(&mut self, chain: &Chain, depth: usize) -> Ends {
        let mut ends = Ends::default();
        for rule in &chain.rules {
            self.steps += 1;
            if self.steps > STEPS_MAX || depth > DEPTH_MAX {
                self.note(chain, "too many rules to follow");
                return Ends { accepted: true, dropped: true, falls_through: true };
            }
            let applies = self.view.applies(rule);
            if applies == Applies::No {
                continue;
            }
            self.forked |= applies == Applies::Perhaps;
            let goes_on = self.act(At { chain, rule, depth }, &rule.action, &mut ends);
            if applies == Applies::Yes && !goes_on {
                return ends;
            }
        }
        ends.falls_through = true;
        ends
    }

    /// Adds what the action can do to `ends`; false if a packet for which it applies goes no
    /// further in this chain.
    fn act(&mut self, at: At<'_>, action: &Action, ends: &mut Ends) -> bool {
        match action {
            Action::Next => return true,
            Action::Accept => {
                ends.accepted = true;
                self.note(at.chain, &at.rule.text);
            }
            Action::Drop => {
                ends.dropped = true;
                self.note(at.chain, &at.rule.text);
            }
            Action::Return => ends.falls_through = true,
            Action::Rewrite(to) => {
                self.rewritten.get_or_insert_with(|| to.clone());
                ends.accepted = true;
            }
            Action::Untrack => {
                let sure = !self.forked || self.view.untracked == Applies::Yes;
                self.view.untracked = if sure { Applies::Yes } else { Applies::Perhaps };
                return true;
            }
            Action::Jump(name) => return self.enter(at, name, true, ends),
            Action::Goto(name) => return self.enter(at, name, false, ends),
            Action::Map(rows) => return self.map(at, rows, ends),
            Action::Unknown(_) => {
                ends.accepted = true;
                ends.dropped = true;
                self.forked = true;
                self.note(at.chain, &at.rule.text);
                return true;
            }
        }
        false
    }

    fn map(&mut self, at: At<'_>, rows: &[(Condition, Action)], ends: &mut Ends) -> bool {
        let mut goes_on = false;
        for (condition, action) in rows {
            self.steps += 1;
            let applies = self.view.holds(condition);
            if applies == Applies::No {
                continue;
            }
            self.forked |= applies == Applies::Perhaps;
            goes_on |= self.act(at, action, ends);
            if applies == Applies::Yes {
                return goes_on;
            }
        }
        true
    }

    fn enter(&mut self, at: At<'_>, name: &str, comes_back: bool, ends: &mut Ends) -> bool {
        let ruleset = self.ruleset;
        let same = |other: &&Chain| other.table == at.chain.table && other.name == name;
        let Some(next) = ruleset.chains.iter().find(same) else {
            ends.accepted = true;
            ends.dropped = true;
            self.forked = true;
            self.note(at.chain, &at.rule.text);
            return true;
        };
        let inner = self.chain(next, at.depth + 1);
        self.forked |= (inner.accepted || inner.dropped) && inner.falls_through;
        ends.accepted |= inner.accepted;
        ends.dropped |= inner.dropped;
        if !comes_back {
            ends.falls_through |= inner.falls_through;
        }
        comes_back && inner.falls_through
    }

    fn note(&mut self, chain: &Chain, rule: &str) {
        let chain = format!("{} {}", chain.table, chain.name);
        let deciding = Deciding { chain, rule: rule.to_owned() };
        if !self.why.contains(&deciding) {
            self.why.push(deciding);
        }
    }
}
