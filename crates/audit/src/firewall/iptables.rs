//! What `iptables-save` and `ip6tables-save` print, and the rules files of the same form
//! (`/etc/sysconfig/iptables`, `/etc/iptables/rules.v4`, ufw's `user.rules`).
//!
//! Invariant: a word that is not known makes its rule's test [`Condition::Unknown`]; it never makes
//! the rule disappear.

use std::net::IpAddr;

use super::addresses::{self, Addresses};
use super::conditions::{FIRST_TCP_FLAGS, tcp_flag};
use super::rules::{Action, Chain, Condition, Family, Hook, Layer, Rule, Ruleset, Test};

/// Lines read at the most: dockers and ban lists write tens of thousands.
const LINES_MAX: usize = 500_000;

/// Reads one program's output. `family` is V4 for iptables, V6 for ip6tables.
#[must_use]
pub fn read(text: &str, family: Family) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut table = String::new();
    for (number, line) in text.lines().enumerate() {
        if number >= LINES_MAX {
            ruleset.unread.push(format!("more than {LINES_MAX} lines of rules"));
            break;
        }
        let line = line.trim();
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim().to_owned();
        } else if let Some(rest) = line.strip_prefix(':') {
            if let Some(chain) = declared(&table, rest, family) {
                ruleset.chains.push(chain);
            }
        } else if let Some((chain, rule)) = appended(line) {
            let title = title(&table, family);
            if !ruleset.chains.iter().any(|c| c.table == title && c.name == chain) {
                ruleset.chains.push(undeclared(&table, &chain, family));
            }
            let found = ruleset.chains.iter_mut().find(|c| c.table == title && c.name == chain);
            if let Some(found) = found {
                found.rules.push(rule);
            }
        }
    }
    ruleset
}

fn title(table: &str, family: Family) -> String {
    let program = if family == Family::V6 { "ip6tables" } else { "iptables" };
    format!("{program} {table}")
}

/// `INPUT DROP [0:0]`
fn declared(table: &str, rest: &str, family: Family) -> Option<Chain> {
    let mut words = rest.split_whitespace();
    let name = words.next()?;
    let policy = words.next().unwrap_or("-");
    let mut chain = undeclared(table, name, family);
    chain.drops_at_end = policy == "DROP";
    Some(chain)
}

fn undeclared(table: &str, name: &str, family: Family) -> Chain {
    Chain {
        table: title(table, family),
        name: name.to_owned(),
        family,
        base: base(table, name),
        devices: Vec::new(),
        drops_at_end: false,
        rules: Vec::new(),
    }
}

fn base(table: &str, name: &str) -> Option<(Hook, Layer, i32)> {
    let priority = match table {
        "raw" => -300,
        "mangle" => -150,
        "nat" => -100,
        "security" => 50,
        _ => 0,
    };
    let layer = if table == "nat" { Layer::Nat } else { Layer::Filter };
    let hook = match name {
        "PREROUTING" => Hook::Prerouting,
        "INPUT" => Hook::Input,
        "FORWARD" => Hook::Forward,
        _ => return None,
    };
    Some((hook, layer, priority))
}

/// `-A CHAIN ...`, with the counters that `-c` puts before it.
fn appended(line: &str) -> Option<(String, Rule)> {
    let line = match line.strip_prefix('[') {
        Some(counted) => counted.split_once(']')?.1.trim_start(),
        None => line,
    };
    let words = split(line);
    let mut words = words.iter().map(String::as_str);
    if words.next() != Some("-A") {
        return None;
    }
    let chain = words.next()?.to_owned();
    let rest: Vec<&str> = words.collect();
    let mut reader = Reader { words: &rest, at: 0, tests: Vec::new(), action: Action::Next };
    while reader.option().is_some() {}
    Some((chain, Rule { tests: reader.tests, action: reader.action, text: line.to_owned() }))
}

/// Words, with the double quotes that iptables-save writes round comments.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut escaped, mut any) = (false, false, false);
    for c in line.chars() {
        if escaped {
            word.push(c);
            escaped = false;
        } else if c == '\\' && quoted {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
            any = true;
        } else if c.is_whitespace() && !quoted {
            if any || !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            any = false;
        } else {
            word.push(c);
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

struct Reader<'w> {
    words: &'w [&'w str],
    at: usize,
    tests: Vec<Test>,
    action: Action,
}

impl<'w> Reader<'w> {
    /// Reads one option with its value; none at the end.
    fn option(&mut self) -> Option<()> {
        let mut word = self.take()?;
        let mut negated = false;
        if word == "!" {
            negated = true;
            word = self.take()?;
        }
        if let "-j" | "-g" | "--jump" | "--goto" = word {
            let target = self.take().unwrap_or_default();
            self.action = self.target(target, word == "-g" || word == "--goto");
            return Some(());
        }
        let values = self.values();
        let Some(condition) = condition(word, &values) else { return Some(()) };
        // A packet whose conversation is not tracked has a state and nothing else.
        if word.starts_with("--ct") && word != "--ctstate" {
            self.tests.push(Test { condition: Condition::Tracked, negated: false });
        }
        // `--dport ! 22` is an old way to turn the value round.
        let inner = values.first() == Some(&"!");
        self.tests.push(Test { condition, negated: negated != inner });
        Some(())
    }

    fn take(&mut self) -> Option<&'w str> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// Everything up to the next option.
    fn values(&mut self) -> Vec<&'w str> {
        let mut values = Vec::new();
        while let Some(word) = self.words.get(self.at) {
            let starts_option = word.starts_with('-') && word.len() > 1;
            let turns_round = *word == "!"
                && self.words.get(self.at + 1).is_some_and(|next| next.starts_with('-'));
            if starts_option || turns_round {
                break;
            }
            values.push(*word);
            self.at += 1;
        }
        values
    }

    fn target(&mut self, target: &str, is_goto: bool) -> Action {
        match target {
            "ACCEPT" => Action::Accept,
            "DROP" | "REJECT" | "TARPIT" => {
                self.at = self.words.len();
                Action::Drop
            }
            "RETURN" => Action::Return,
            "DNAT" | "REDIRECT" => {
                let rest = self.words.get(self.at..).unwrap_or_default();
                self.at = self.words.len();
                let to = rest.iter().position(|word| word.starts_with("--to"));
                let to = to.and_then(|at| rest.get(at + 1)).copied().unwrap_or("another port");
                Action::Rewrite(to.to_owned())
            }
            "NOTRACK" => Action::Untrack,
            "CT" => {
                let rest = self.words.get(self.at..).unwrap_or_default();
                self.at = self.words.len();
                if rest.contains(&"--notrack") { Action::Untrack } else { Action::Next }
            }
            _ if NEUTRAL.contains(&target) => {
                self.at = self.words.len();
                Action::Next
            }
            "NFQUEUE" | "QUEUE" | "SYNPROXY" | "TPROXY" => {
                self.at = self.words.len();
                Action::Unknown(target.to_owned())
            }
            chain if is_goto => Action::Goto(chain.to_owned()),
            chain => Action::Jump(chain.to_owned()),
        }
    }
}

/// Targets after which the packet goes on as it was.
const NEUTRAL: [&str; 13] = [
    "LOG", "NFLOG", "ULOG", "AUDIT", "MARK", "CONNMARK", "TOS", "DSCP", "TTL", "TCPMSS", "TRACE",
    "CHECKSUM", "SET",
];

/// Extensions whose options are all known below, or that ask nothing without one.
const EXTENSIONS: [&str; 16] = [
    "tcp",
    "udp",
    "udplite",
    "sctp",
    "dccp",
    "icmp",
    "icmp6",
    "ipv6-icmp",
    "state",
    "conntrack",
    "comment",
    "multiport",
    "iprange",
    "addrtype",
    "rpfilter",
    "frag",
];

/// The question that an option asks; none for options that ask nothing.
fn condition(option: &str, values: &[&str]) -> Option<Condition> {
    let value = values.iter().copied().find(|value| *value != "!").unwrap_or_default();
    Some(match option {
        "-p" | "--protocol" => protocol(value),
        "-i" | "--in-interface" => Condition::ComesIn(vec![value.to_owned()]),
        "-o" | "--out-interface" => Condition::GoesOut(vec![value.to_owned()]),
        "-s" | "--source" => networks(value).map_or_else(unknown(option, value), Condition::From),
        "-d" | "--destination" => {
            networks(value).map_or_else(unknown(option, value), Condition::To)
        }
        "--src-range" => address_range(value).map_or_else(unknown(option, value), Condition::From),
        "--dst-range" => address_range(value).map_or_else(unknown(option, value), Condition::To),
        "-f" | "--fragment" => Condition::Never,
        "--src-type" if value == "UNICAST" => Condition::Always,
        "--src-type" => Condition::Never,
        "--dst-type" if value.split(',').any(|kind| kind == "LOCAL" || kind == "UNICAST") => {
            addressed_to_host(value)
        }
        "--dst-type" => Condition::Never,
        "--icmp-type" | "--icmpv6-type" => Condition::Never,
        // A stranger comes in by the way that leads back to it; `--invert` asks for the others.
        "--invert" => Condition::Never,
        "--validmark" | "--loose" | "--accept-local" | "--limit-iface-in" => return None,
        // They only say how the other options are to be read, or are remarks.
        "--comment" | "--reject-with" | "--log-prefix" | "--log-level" => return None,
        "-m" | "--match" if EXTENSIONS.contains(&value) => return None,
        _ => return Some(transport_condition(option, value, values)),
    })
}

/// What looks into the header of TCP or UDP, or at the conversation.
fn transport_condition(option: &str, value: &str, values: &[&str]) -> Condition {
    let to = |value| ports(value).map(Condition::Port);
    let from = |value| ports(value).map(Condition::FromPort);
    let read = match option {
        "--dport" | "--destination-port" | "--dports" | "--destination-ports" => to(value),
        "--sport" | "--source-port" | "--sports" | "--source-ports" => from(value),
        "--ports" => to(value).and_then(|to| Some(Condition::OneOf(vec![to, from(value)?]))),
        "--ctorigdstport" => ports(value).map(Condition::SentToPort),
        "--state" | "--ctstate" => Some(state(value)),
        "--ctdir" if value == "ORIGINAL" => Some(Condition::Always),
        "--ctdir" => Some(Condition::Never),
        "--ctproto" => Some(protocol(value)),
        "--syn" => Some(Condition::Always),
        "--tcp-flags" => tcp_flags(values),
        _ => None,
    };
    read.unwrap_or_else(unknown(option, value))
}

/// `--dst-type LOCAL`, before and after a rewriting: only what goes to this host itself is local.
fn addressed_to_host(kinds: &str) -> Condition {
    let unicast = kinds.split(',').any(|kind| kind == "UNICAST");
    if unicast { Condition::Always } else { Condition::ToHost }
}

/// `FIN,SYN,RST,ACK SYN`: of these flags exactly those are set.
fn tcp_flags(values: &[&str]) -> Option<Condition> {
    let mut words = values.iter().copied().filter(|value| *value != "!");
    let mut flags = || {
        let names = words.next()?.split(',');
        names.map(|name| tcp_flag(&name.to_ascii_lowercase())).try_fold(0, |all, f| Some(all | f?))
    };
    let (mask, set) = (flags()?, flags()?);
    let holds = FIRST_TCP_FLAGS & mask == set;
    Some(if holds { Condition::Always } else { Condition::Never })
}

fn unknown(option: &str, value: &str) -> impl FnOnce() -> Condition {
    let text = format!("{option} {value}");
    move || Condition::Unknown(text)
}

fn protocol(value: &str) -> Condition {
    match value {
        "all" | "0" | "ip" => Condition::Always,
        "tcp" | "6" => Condition::Protocol(vec![6]),
        "udp" | "17" => Condition::Protocol(vec![17]),
        _ => Condition::Never,
    }
}

fn state(value: &str) -> Condition {
    let states: Vec<String> = value.split(',').map(str::to_ascii_lowercase).collect();
    if states.iter().any(|state| state == "dnat") {
        return Condition::OneOf(vec![Condition::State(states), Condition::Rewritten]);
    }
    Condition::State(states)
}

fn networks(value: &str) -> Option<Addresses> {
    value.split(',').map(addresses::parse).collect()
}

/// `198.51.100.1-198.51.100.9`
fn address_range(value: &str) -> Option<Addresses> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    let range = (first.parse::<IpAddr>().ok()?, last.parse::<IpAddr>().ok()?);
    Some(Addresses::from_iter([range]))
}

/// `22`, `1024:65535`, `80,443`, `ssh`. Of names only those that matter here are known.
fn ports(value: &str) -> Option<Vec<(u16, u16)>> {
    value.split(',').map(port_range).collect()
}

fn port_range(value: &str) -> Option<(u16, u16)> {
    match value.split_once(':') {
        Some((first, last)) => {
            let first = if first.is_empty() { 0 } else { first.parse().ok()? };
            let last = if last.is_empty() { u16::MAX } else { last.parse().ok()? };
            Some((first, last))
        }
        None => {
            let port = if value == "memcache" || value == "memcached" {
                11211
            } else {
                value.parse().ok()?
            };
            Some((port, port))
        }
    }
}
