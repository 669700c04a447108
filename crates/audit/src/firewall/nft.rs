//! What `nft -j list ruleset` prints.
//!
//! Invariant: a statement that is not known makes its rule's test [`Condition::Unknown`] or its
//! action [`Action::Unknown`]; it never makes the rule disappear.

use std::net::IpAddr;

use serde_json::Value;

use super::rules::{Action, Chain, Condition, Family, Hook, Layer, Rule, Ruleset, Test};

/// Reads the program's output. What is no JSON becomes one `unread` remark.
#[must_use]
pub fn read(text: &str) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let parsed: Result<Value, _> = serde_json::from_str(text);
    let Ok(Value::Object(top)) = parsed else {
        ruleset.unread.push("nft printed no JSON".to_owned());
        return ruleset;
    };
    let empty = Vec::new();
    let objects = top.get("nftables").and_then(Value::as_array).unwrap_or(&empty);
    let sets: Vec<&Value> = objects.iter().filter_map(named_set).collect();
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        ruleset.chains.extend(read_chain(chain));
    }
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let (title, name) = (title(rule), string(rule, "chain"));
        let read = Reader { sets: &sets, rule }.rule();
        let found = ruleset.chains.iter_mut().find(|c| c.table == title && c.name == name);
        match found {
            Some(chain) => chain.rules.push(read),
            None => ruleset.unread.push(format!("a rule of no chain: {}", read.text)),
        }
    }
    ruleset
}

fn named_set(object: &Value) -> Option<&Value> {
    object.get("set").or_else(|| object.get("map"))
}

fn string<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn title(object: &Value) -> String {
    format!("{} {}", string(object, "family"), string(object, "table"))
}

fn read_chain(chain: &Value) -> Option<Chain> {
    let family = match string(chain, "family") {
        "ip" => Family::V4,
        "ip6" => Family::V6,
        "inet" | "netdev" => Family::Both,
        _ => return None, // bridge and arp do not see what is routed to us.
    };
    let hook = match string(chain, "hook") {
        "ingress" => Some(Hook::Ingress),
        "prerouting" => Some(Hook::Prerouting),
        "input" => Some(Hook::Input),
        "forward" => Some(Hook::Forward),
        _ => None,
    };
    let layer = if string(chain, "type") == "nat" { Layer::Nat } else { Layer::Filter };
    let priority = chain.get("prio").and_then(Value::as_i64).unwrap_or(0);
    let priority = i32::try_from(priority).unwrap_or(0);
    let devices = match chain.get("dev") {
        Some(Value::String(device)) => vec![device.clone()],
        Some(Value::Array(devices)) => {
            devices.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    Some(Chain {
        table: title(chain),
        name: string(chain, "name").to_owned(),
        family,
        base: hook.map(|hook| (hook, layer, priority)),
        devices,
        drops_at_end: string(chain, "policy") == "drop",
        rules: Vec::new(),
    })
}

struct Reader<'v> {
    sets: &'v [&'v Value],
    rule: &'v Value,
}

impl Reader<'_> {
    fn rule(&self) -> Rule {
        let empty = Vec::new();
        let statements = self.rule.get("expr").and_then(Value::as_array).unwrap_or(&empty);
        let mut rule = Rule { tests: Vec::new(), action: Action::Next, text: String::new() };
        let mut words = Vec::new();
        for statement in statements {
            words.push(words_of(statement));
            let Some((kind, body)) = statement.as_object().and_then(|map| map.iter().next()) else {
                continue;
            };
            match kind.as_str() {
                "match" => rule.tests.push(self.test(body)),
                "limit" | "xt" | "quota" | "ct count" | "meter" | "connlimit" => {
                    let condition = Condition::Unknown(words_of(statement));
                    rule.tests.push(Test { condition, negated: false });
                }
                _ => {
                    if let Some(action) = self.action(kind, body) {
                        rule.action = action;
                    }
                }
            }
        }
        rule.text = words.join(" ");
        rule
    }

    /// What a statement does; none for those that only count, log or mark.
    fn action(&self, kind: &str, body: &Value) -> Option<Action> {
        Some(match kind {
            "accept" => Action::Accept,
            "drop" | "reject" => Action::Drop,
            "return" => Action::Return,
            "continue" => Action::Next,
            "jump" => Action::Jump(string(body, "target").to_owned()),
            "goto" => Action::Goto(string(body, "target").to_owned()),
            "dnat" | "redirect" => Action::Rewrite(target(body)),
            "vmap" => self.verdict_map(body),
            "queue" | "tproxy" | "synproxy" => Action::Unknown(kind.to_owned()),
            _ => return None,
        })
    }

    /// Every verdict of the map: which one is taken is not followed further.
    fn verdict_map(&self, body: &Value) -> Action {
        let Some(elements) = self.elements(body.get("data").unwrap_or(&Value::Null)) else {
            return Action::Unknown("vmap".to_owned());
        };
        let left = body.get("key").unwrap_or(&Value::Null);
        let mut actions = Vec::new();
        for element in elements {
            let Some([key, verdict]) = element.as_array().map(Vec::as_slice) else { continue };
            let condition = self.condition(left, key);
            if matches!(condition, Condition::Never) || states_without_new(&condition) {
                continue;
            }
            let kind = verdict.as_object().and_then(|map| map.iter().next());
            actions.extend(kind.and_then(|(kind, body)| self.action(kind, body)));
        }
        // A packet that no key fits goes on.
        actions.push(Action::Next);
        Action::OneOf(actions)
    }

    fn test(&self, body: &Value) -> Test {
        let nothing = Value::Null;
        let left = body.get("left").unwrap_or(&nothing);
        let right = body.get("right").unwrap_or(&nothing);
        let condition = match string(body, "op") {
            "==" | "in" | "" | "!=" => self.condition(left, right),
            operation @ ("<" | "<=" | ">" | ">=") => compared(left, operation, right),
            _ => Condition::Unknown(words_of(body)),
        };
        Test { condition, negated: string(body, "op") == "!=" }
    }

    fn condition(&self, left: &Value, right: &Value) -> Condition {
        let unknown = || Condition::Unknown(format!("{} {}", words_of(left), words_of(right)));
        let Some(values) = self.elements(right) else { return unknown() };
        if let Some(key) = left.get("meta").map(|meta| string(meta, "key")) {
            return match key {
                "iifname" | "iif" => Condition::ComesIn(texts(&values)),
                "oifname" | "oif" => Condition::GoesOut(texts(&values)),
                "l4proto" | "protocol" => protocols(&values),
                "nfproto" => family(&values),
                "pkttype" if texts(&values).iter().all(|kind| kind != "host") => Condition::Never,
                "pkttype" => Condition::Always,
                _ => unknown(),
            };
        }
        if let Some(payload) = left.get("payload") {
            return match (string(payload, "protocol"), string(payload, "field")) {
                ("ip" | "ip6", "saddr") => networks(&values).map_or_else(unknown, Condition::From),
                ("ip" | "ip6", "daddr") => networks(&values).map_or_else(unknown, Condition::To),
                (protocol @ ("tcp" | "udp" | "th"), "dport") => {
                    // The protocol itself is a test of its own in front, or implied.
                    let _ = protocol;
                    ports(&values).map_or_else(unknown, Condition::Port)
                }
                ("ip", "protocol") | ("ip6", "nexthdr") => protocols(&values),
                ("icmp" | "icmpv6", _) => Condition::Never,
                _ => unknown(),
            };
        }
        match left.get("ct").map(|ct| string(ct, "key")) {
            Some("state") => Condition::State(texts(&values)),
            Some("status") if texts(&values) == ["dnat"] => Condition::Rewritten,
            Some("proto-dst") => ports(&values).map_or_else(unknown, Condition::SentToPort),
            _ if left.get("fib").is_some() && texts(&values) == ["local"] => Condition::Always,
            _ => unknown(),
        }
    }

    /// The values of a literal, a set in braces or a named set; none where it cannot be read.
    fn elements(&self, right: &Value) -> Option<Vec<Value>> {
        match right {
            Value::String(text) => match text.strip_prefix('@') {
                None => Some(vec![right.clone()]),
                Some(name) => self.named(name),
            },
            Value::Number(_) => Some(vec![right.clone()]),
            Value::Array(values) => Some(values.iter().map(plain).collect()),
            Value::Object(map) => {
                if let Some(Value::Array(values)) = map.get("set") {
                    return Some(values.iter().map(plain).collect());
                }
                Some(vec![right.clone()])
            }
            _ => None,
        }
    }

    /// A set of the same table. One that fills itself at run time tells nothing.
    fn named(&self, name: &str) -> Option<Vec<Value>> {
        let title = title(self.rule);
        let same = |set: &&&Value| {
            string(set, "name") == name
                && format!("{} {}", string(set, "family"), string(set, "table")) == title
        };
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
fn plain(value: &Value) -> Value {
    value.get("elem").and_then(|elem| elem.get("val")).unwrap_or(value).clone()
}

fn states_without_new(condition: &Condition) -> bool {
    matches!(condition, Condition::State(states) if states.iter().all(|state| state != "new"))
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
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

fn family(values: &[Value]) -> Condition {
    let names = texts(values);
    let has = |name: &str| names.iter().any(|other| other == name);
    Condition::Family(match (has("ipv4"), has("ipv6")) {
        (true, true) => Family::Both,
        (true, false) => Family::V4,
        _ => Family::V6,
    })
}

fn networks(values: &[Value]) -> Option<Vec<(IpAddr, u8)>> {
    values.iter().map(network).collect()
}

fn network(value: &Value) -> Option<(IpAddr, u8)> {
    if let Some(prefix) = value.get("prefix") {
        let address = string(prefix, "addr").parse().ok()?;
        let length = prefix.get("len").and_then(Value::as_u64)?;
        return Some((address, u8::try_from(length).ok()?));
    }
    if let Some([first, _]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        // Somebody's range is not a stranger's address, which is all that is asked of it; a
        // destination in it is not followed.
        let address: IpAddr = first.as_str()?.parse().ok()?;
        return address.is_multicast().then_some((address, 8));
    }
    super::iptables::network(value.as_str()?)
}

fn ports(values: &[Value]) -> Option<Vec<(u16, u16)>> {
    values.iter().map(port_range).collect()
}

fn port_range(value: &Value) -> Option<(u16, u16)> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Some((number(first)?, number(last)?));
    }
    number(value).map(|port| (port, port))
}

/// `dport < 1024` and the like.
fn compared(left: &Value, operation: &str, right: &Value) -> Condition {
    let is_port = left.get("payload").is_some_and(|payload| string(payload, "field") == "dport");
    let number = right.as_u64().and_then(|port| u16::try_from(port).ok());
    match (is_port, number) {
        (true, Some(port)) => Condition::Port(vec![match operation {
            "<" => (0, port.saturating_sub(1)),
            "<=" => (0, port),
            ">" => (port.saturating_add(1), u16::MAX),
            _ => (port, u16::MAX),
        }]),
        _ => Condition::Unknown(format!("{} {operation} {}", words_of(left), words_of(right))),
    }
}

fn target(body: &Value) -> String {
    let address = body.get("addr").map(words_of).unwrap_or_default();
    match body.get("port") {
        Some(port) => format!("{address}:{}", words_of(port)),
        None => address,
    }
}

/// A statement as people read it, near enough to nft's own words.
fn words_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let words: Vec<String> = values.iter().map(words_of).collect();
            format!("{{ {} }}", words.join(", "))
        }
        Value::Object(map) => object_words(map),
    }
}

fn object_words(map: &serde_json::Map<String, Value>) -> String {
    let get = |key: &str| map.get(key).map(words_of).unwrap_or_default();
    if map.contains_key("left") {
        let operation = match get("op") {
            equal if equal == "==" || equal == "in" => String::new(),
            other => format!("{other} "),
        };
        return format!("{} {operation}{}", get("left"), get("right"));
    }
    let Some((kind, body)) = map.iter().next() else { return String::new() };
    let inner = |key: &str| body.get(key).map(words_of).unwrap_or_default();
    match kind.as_str() {
        "match" | "set" | "elem" => words_of(body),
        "val" => get("val"),
        "meta" => inner("key"),
        "ct" => format!("ct {}", inner("key")),
        "payload" => format!("{} {}", inner("protocol"), inner("field")),
        "prefix" => format!("{}/{}", inner("addr"), inner("len")),
        "range" => match body.as_array().map(Vec::as_slice) {
            Some([first, last]) => format!("{}-{}", words_of(first), words_of(last)),
            _ => kind.clone(),
        },
        "jump" | "goto" => format!("{kind} {}", inner("target")),
        "counter" | "accept" | "drop" | "reject" | "return" | "log" => kind.clone(),
        "comment" => String::new(),
        _ => format!("{kind} {}", words_of(body)).trim_end().to_owned(),
    }
}
