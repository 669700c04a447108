//! What nft's expressions ask about a packet.
//!
//! nft leaves out of its listing what an expression needs anyway: `udp dport 5` is only listed as
//! such, and still holds for UDP alone; `ip saddr` holds for IPv4 alone. [`implied`] puts that back.

use std::net::IpAddr;

use serde_json::Value;

use super::super::addresses::{self, Addresses};
use super::super::conditions::{FIRST_TCP_FLAGS, of, tcp_flag};
use super::super::packet::Transport;
use super::super::rules::{Condition, Family, Test};
use super::{string, title, words_of};

/// What must hold before the value of `left` can be compared with anything, also turned round.
pub(super) fn implied(left: &Value) -> Vec<Test> {
    let mut found = Vec::new();
    if let Some(parts) = left.get("concat").or_else(|| left.get("&")).and_then(Value::as_array) {
        found.extend(parts.iter().flat_map(implied));
    }
    // A packet whose conversation is not tracked has a state (`untracked`) and nothing else.
    if left.get("ct").is_some_and(|ct| string(ct, "key") != "state") {
        found.push(Test { condition: Condition::Tracked, negated: false });
    }
    let condition = match left.get("payload").map(|payload| string(payload, "protocol")) {
        Some("tcp") => Some(of(Transport::Tcp)),
        Some("udp") => Some(of(Transport::Udp)),
        Some("ip") => Some(Condition::Family(Family::V4)),
        Some("ip6") => Some(Condition::Family(Family::V6)),
        Some("th" | "ether" | "vlan" | "") | None => None,
        // icmp, icmpv6, igmp, arp, sctp, esp, gre and what else is neither TCP nor UDP.
        Some(_) => Some(Condition::Never),
    };
    found.extend(condition.map(|condition| Test { condition, negated: false }));
    found
}

/// The values of one table: literals, sets in braces and named sets.
pub(super) struct Values<'v> {
    pub(super) sets: &'v [&'v Value],
    pub(super) table: &'v str,
}

impl Values<'_> {
    /// `left` is one of the values of `right`.
    pub(super) fn condition(&self, left: &Value, right: &Value) -> Condition {
        let read = self.of(right).and_then(|values| match left.get("concat") {
            Some(parts) => joined(parts, &values),
            None => single(left, &values),
        });
        let unknown = || Condition::Unknown(format!("{} {}", words_of(left), words_of(right)));
        read.unwrap_or_else(unknown)
    }

    /// The values of a literal, a set in braces or a named set; none where it cannot be read.
    pub(super) fn of(&self, right: &Value) -> Option<Vec<Value>> {
        match right {
            Value::String(text) => match text.strip_prefix('@') {
                None => Some(vec![right.clone()]),
                Some(name) => self.named(name),
            },
            Value::Number(_) | Value::Bool(_) => Some(vec![right.clone()]),
            Value::Array(values) => Some(values.iter().map(plain).collect()),
            Value::Object(map) => {
                if let Some(Value::Array(values)) = map.get("set") {
                    return Some(values.iter().map(plain).collect());
                }
                Some(vec![right.clone()])
            }
            Value::Null => None,
        }
    }

    /// A set of the same table. One that fills itself at run time tells nothing.
    fn named(&self, name: &str) -> Option<Vec<Value>> {
        let same = |set: &&&Value| string(set, "name") == name && title(set) == self.table;
        let set = self.sets.iter().find(same)?;
        let flags = set.get("flags").and_then(Value::as_array);
        if flags.is_some_and(|flags| flags.iter().any(|flag| flag == "dynamic")) {
            return None;
        }
        match set.get("elem") {
            None => Some(Vec::new()),
            Some(Value::Array(values)) => Some(values.iter().map(plain).collect()),
            Some(_) => None,
        }
    }
}

/// An element without its counter, time-out or comment.
pub(super) fn plain(value: &Value) -> Value {
    value.get("elem").and_then(|elem| elem.get("val")).unwrap_or(value).clone()
}

/// `ip saddr . tcp dport { 10.0.0.1 . 80, ... }`: rows of which every part must hold.
fn joined(parts: &Value, values: &[Value]) -> Option<Condition> {
    let parts = parts.as_array()?;
    let row = |value: &Value| {
        let value = plain(value);
        let fields = value.get("concat")?.as_array()?;
        let all = parts.iter().zip(fields).map(|(part, field)| single(part, &[plain(field)]));
        (fields.len() == parts.len()).then(|| all.collect::<Option<Vec<_>>>())?
    };
    let rows: Option<Vec<_>> =
        values.iter().map(|value| Some(Condition::AllOf(row(value)?))).collect();
    rows.map(Condition::OneOf)
}

fn single(left: &Value, values: &[Value]) -> Option<Condition> {
    if let Some(key) = left.get("meta").map(|meta| string(meta, "key")) {
        return of_meta(key, values);
    }
    if let Some(payload) = left.get("payload") {
        return of_payload(string(payload, "protocol"), string(payload, "field"), values);
    }
    if let Some(fib) = left.get("fib") {
        return of_fib(fib, values);
    }
    if is_fragment_offset(left) {
        return Some(certain(values.iter().any(|value| value.as_u64() == Some(0))));
    }
    match left.get("ct").map(|ct| (string(ct, "key"), string(ct, "dir")))? {
        ("state", _) => Some(Condition::State(texts(values)?)),
        ("status", _) if texts(values)? == ["dnat"] => Some(Condition::Rewritten),
        ("proto-dst", "original") => ports(values).map(Condition::SentToPort),
        ("direction", _) => Some(certain(texts(values)?.iter().any(|way| way == "original"))),
        _ => None,
    }
}

fn certain(holds: bool) -> Condition {
    if holds { Condition::Always } else { Condition::Never }
}

fn of_meta(key: &str, values: &[Value]) -> Option<Condition> {
    Some(match key {
        "iifname" | "iif" => Condition::ComesIn(texts(values)?),
        "oifname" | "oif" => Condition::GoesOut(texts(values)?),
        "l4proto" => protocols(values),
        "nfproto" => families(values, "ipv4", "ipv6"),
        "protocol" => families(values, "ip", "ip6"),
        "pkttype" => certain(texts(values)?.iter().any(|kind| kind == "host" || kind == "unicast")),
        _ => return None,
    })
}

fn of_payload(protocol: &str, field: &str, values: &[Value]) -> Option<Condition> {
    match (protocol, field) {
        ("ip" | "ip6", "saddr") => networks(values).map(Condition::From),
        ("ip" | "ip6", "daddr") => networks(values).map(Condition::To),
        ("tcp" | "udp" | "th", "dport") => ports(values).map(Condition::Port),
        ("tcp" | "udp" | "th", "sport") => ports(values).map(Condition::FromPort),
        ("ip", "protocol") | ("ip6", "nexthdr") => Some(protocols(values)),
        ("ip", "version") => Some(Condition::Family(Family::V4)),
        ("ether", "type") => {
            let names = texts(values)?;
            let of = |name, family| {
                let named = names.iter().any(|other| other == name);
                named.then_some(Condition::Ethernet(family))
            };
            Some(Condition::OneOf(
                of("ip", Family::V4).into_iter().chain(of("ip6", Family::V6)).collect(),
            ))
        }
        _ => None,
    }
}

/// `fib daddr type local`, and the check that an answer would leave by the way the packet came.
fn of_fib(fib: &Value, values: &[Value]) -> Option<Condition> {
    let flags = texts(fib.get("flags")?.as_array()?)?;
    let asks = |flag: &str| flags.iter().any(|other| other == flag);
    match string(fib, "result") {
        "type" if asks("daddr") => {
            let kinds = texts(values)?;
            let has = |kind: &str| kinds.iter().any(|other| other == kind);
            Some(match (has("local"), has("unicast")) {
                (true, true) => Condition::Always,
                (true, false) => Condition::ToHost,
                (false, true) => return None,
                (false, false) => Condition::Never,
            })
        }
        // A stranger's packet comes in by the way that leads back to it.
        "oif" if asks("saddr") && values == [Value::Bool(false)] => Some(Condition::Never),
        "oif" if asks("saddr") && values == [Value::Bool(true)] => Some(Condition::Always),
        _ => None,
    }
}

/// `ip frag-off & 0x1fff`: zero in a first packet.
fn is_fragment_offset(left: &Value) -> bool {
    let parts = left.get("&").and_then(Value::as_array).map(Vec::as_slice);
    let Some([payload, mask]) = parts else { return false };
    let field = payload.get("payload").map(|payload| string(payload, "field"));
    field == Some("frag-off") && mask.as_u64() == Some(0x1fff)
}

/// The texts, if they are all texts.
fn texts(values: &[Value]) -> Option<Vec<String>> {
    values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

fn protocols(values: &[Value]) -> Condition {
    let numbers = values.iter().filter_map(|value| match value {
        Value::String(name) => match name.as_str() {
            "tcp" => Some(6),
            "udp" => Some(17),
            _ => None,
        },
        Value::Number(number) => number.as_u64().and_then(|number| u8::try_from(number).ok()),
        _ => None,
    });
    Condition::Protocol(numbers.collect())
}

/// Other families than these two carry nothing of ours.
fn families(values: &[Value], v4: &str, v6: &str) -> Condition {
    let has = |name: &str| values.iter().any(|other| other == name);
    match (has(v4), has(v6)) {
        (true, true) => Condition::Always,
        (true, false) => Condition::Family(Family::V4),
        (false, true) => Condition::Family(Family::V6),
        (false, false) if values.iter().all(Value::is_string) => Condition::Never,
        (false, false) => Condition::Unknown("a family by its number".to_owned()),
    }
}

fn networks(values: &[Value]) -> Option<Addresses> {
    values.iter().map(network).collect()
}

fn network(value: &Value) -> Option<(IpAddr, IpAddr)> {
    if let Some(prefix) = value.get("prefix") {
        let length = prefix.get("len").and_then(Value::as_u64)?;
        let address = string(prefix, "addr").parse().ok()?;
        return addresses::network(address, u8::try_from(length).ok()?);
    }
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Some((first.as_str()?.parse().ok()?, last.as_str()?.parse().ok()?));
    }
    addresses::parse(value.as_str()?)
}

fn ports(values: &[Value]) -> Option<Vec<(u16, u16)>> {
    values.iter().map(port_range).collect()
}

fn port_range(value: &Value) -> Option<(u16, u16)> {
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Some((port(first)?, port(last)?));
    }
    port(value).map(|port| (port, port))
}

fn port(value: &Value) -> Option<u16> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// `dport < 1024` and the like.
pub(super) fn compared(left: &Value, operation: &str, right: &Value) -> Condition {
    let field = left.get("payload").map(|payload| string(payload, "field"));
    let unknown =
        || Condition::Unknown(format!("{} {operation} {}", words_of(left), words_of(right)));
    let Some(number) = port(right) else { return unknown() };
    let range = match (operation, number) {
        ("<", 0) | (">", u16::MAX) => return Condition::Never,
        ("<", _) => (0, number - 1),
        ("<=", _) => (0, number),
        (">", _) => (number + 1, u16::MAX),
        _ => (number, u16::MAX),
    };
    match field {
        Some("dport") => Condition::Port(vec![range]),
        Some("sport") => Condition::FromPort(vec![range]),
        _ => unknown(),
    }
}

/// `tcp flags ...`, with or without a mask?
pub(super) fn is_tcp_flags(left: &Value) -> bool {
    let bare = left.get("&").and_then(|parts| parts.get(0)).unwrap_or(left);
    bare.get("payload").is_some_and(|payload| {
        (string(payload, "protocol"), string(payload, "field")) == ("tcp", "flags")
    })
}

/// Holds, or not, for a packet with SYN alone. `!=` is turned round by the caller.
pub(super) fn tcp_flags(left: &Value, operation: &str, right: &Value) -> Condition {
    let read = || {
        let mask = left.get("&").and_then(|parts| parts.get(1)).map(flag_bits);
        let seen = FIRST_TCP_FLAGS & mask.unwrap_or(Some(u8::MAX))?;
        if let Some(values) = right.get("set").and_then(Value::as_array) {
            let values: Option<Vec<u8>> = values.iter().map(flag_bits).collect();
            return Some(certain(values?.contains(&seen)));
        }
        let bits = flag_bits(right)?;
        match operation {
            "in" => Some(certain(seen & bits != 0)),
            "==" | "!=" => Some(certain(seen == bits)),
            _ => None,
        }
    };
    let unknown = || Condition::Unknown(format!("{} {}", words_of(left), words_of(right)));
    read().unwrap_or_else(unknown)
}

/// `syn`, `["syn", "ack"]`, `{"|": ["syn", "ack"]}`, a number.
fn flag_bits(value: &Value) -> Option<u8> {
    match value {
        Value::String(name) => tcp_flag(name),
        Value::Number(number) => u8::try_from(number.as_u64()?).ok(),
        Value::Array(parts) => {
            parts.iter().map(flag_bits).try_fold(0, |all, bits| Some(all | bits?))
        }
        Value::Object(map) => map.get("|").and_then(flag_bits),
        _ => None,
    }
}
