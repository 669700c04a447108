//! What `nft -j list ruleset` prints.
//!
//! Invariant: a statement that is not known makes its rule's test [`Condition::Unknown`] or its
//! action [`Action::Unknown`]; it never makes the rule disappear.

mod conditions;
mod words;

use serde_json::Value;

use self::conditions::Values;
use self::words::words_of;
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
        for statement in statements {
            let one = statement.as_object().and_then(|map| map.iter().next());
            let (kind, body) = match one {
                Some((kind, body)) => (kind.as_str(), body),
                None => (statement.as_str().unwrap_or("?"), &Value::Null),
            };
            match kind {
                "match" => self.tests(body, &mut rule.tests),
                "limit" | "quota" | "ct count" | "meter" | "connlimit" => {
                    let condition = Condition::Unknown(words_of(statement));
                    rule.tests.push(Test { condition, negated: false });
                }
                _ => self.act(kind, body, statement, &mut rule),
            }
        }
        let words: Vec<String> = statements.iter().map(words_of).collect();
        rule.text = words.join(" ");
        rule
    }

    /// Takes in a statement that does something. What cannot be followed stays, whatever comes
    /// after it.
    fn act(&self, kind: &str, body: &Value, statement: &Value, rule: &mut Rule) {
        if kind == "xt" && string(body, "type") != "target" {
            let condition = Condition::Unknown(words_of(statement));
            rule.tests.push(Test { condition, negated: false });
            return;
        }
        if QUIET.contains(&kind) || (kind == "mangle" && !changes_packet(body)) {
            return;
        }
        if kind == "vmap" {
            let left = body.get("key").unwrap_or(&Value::Null);
            rule.tests.extend(conditions::implied(left));
        }
        if kind == "reject" {
            rule.tests.extend(refused_alone(body));
        }
        let action = self.action(kind, body);
        if !matches!(rule.action, Action::Unknown(_)) {
            rule.action = action;
        }
    }

    fn action(&self, kind: &str, body: &Value) -> Action {
        match kind {
            "accept" => Action::Accept,
            "drop" | "reject" => Action::Drop,
            "return" => Action::Return,
            "continue" => Action::Next,
            "jump" => Action::Jump(string(body, "target").to_owned()),
            "goto" => Action::Goto(string(body, "target").to_owned()),
            "dnat" | "redirect" => Action::Rewrite(target(body)),
            "notrack" => Action::Untrack,
            "vmap" => self.verdict_map(body),
            _ => Action::Unknown(kind.to_owned()),
        }
    }

    /// The rows of a map of verdicts; the row for everything else comes last.
    fn verdict_map(&self, body: &Value) -> Action {
        let unknown = || Action::Unknown("vmap".to_owned());
        let values = Values { sets: self.sets, table: &title(self.rule) };
        let Some(elements) = values.of(body.get("data").unwrap_or(&Value::Null)) else {
            return unknown();
        };
        let left = body.get("key").unwrap_or(&Value::Null);
        let (mut rows, mut rest) = (Vec::new(), Vec::new());
        for element in elements {
            let Some([key, verdict]) = element.as_array().map(Vec::as_slice) else {
                return unknown();
            };
            let Some((kind, body)) = verdict.as_object().and_then(|map| map.iter().next()) else {
                return unknown();
            };
            let action = self.action(kind, body);
            let key = conditions::plain(key);
            if key == "*" {
                rest.push((Condition::Always, action));
            } else {
                rows.push((values.condition(left, &key), action));
            }
        }
        rows.extend(rest);
        Action::Map(rows)
    }

    fn tests(&self, body: &Value, tests: &mut Vec<Test>) {
        let left = body.get("left").unwrap_or(&Value::Null);
        let right = body.get("right").unwrap_or(&Value::Null);
        tests.extend(conditions::implied(left));
        let values = Values { sets: self.sets, table: &title(self.rule) };
        let operation = string(body, "op");
        let condition = match operation {
            _ if conditions::is_tcp_flags(left) => conditions::tcp_flags(left, operation, right),
            "==" | "in" | "" | "!=" => values.condition(left, right),
            "<" | "<=" | ">" | ">=" => conditions::compared(left, operation, right),
            _ => Condition::Unknown(words_of(body)),
        };
        tests.push(Test { condition, negated: operation == "!=" });
    }
}

/// What a refusal says of the packets that it is for: nft does not list a condition that the kind
/// of the refusal tells already.
fn refused_alone(body: &Value) -> Option<Test> {
    let condition = match string(body, "type") {
        "icmp" => Condition::Family(Family::V4),
        "icmpv6" => Condition::Family(Family::V6),
        _ => return None,
    };
    Some(Test { condition, negated: false })
}

/// Statements after which the packet goes on as it was.
const QUIET: [&str; 16] = [
    "counter",
    "log",
    "comment",
    "set",
    "map",
    "last",
    "ct helper",
    "ct timeout",
    "ct expectation",
    "flow",
    "dup",
    "snat",
    "masquerade",
    "secmark",
    "objref",
    "optstrip",
];

/// Marks change nothing; a header that is written anew does.
fn changes_packet(mangle: &Value) -> bool {
    mangle.get("key").is_none_or(|key| key.get("payload").is_some() || key.get("exthdr").is_some())
}

fn target(body: &Value) -> String {
    let address = body.get("addr").map(words_of).unwrap_or_default();
    match body.get("port") {
        Some(port) if address.contains(':') => format!("[{address}]:{}", words_of(port)),
        Some(port) => format!("{address}:{}", words_of(port)),
        None => address,
    }
}
