//! The tables of `kannuki.toml`: `[[rule]]` says who may do what with which keys, `[[listener]]`
//! what one address to listen on wants otherwise than the rest.
//!
//! Invariants:
//! - An unknown key or word is an error that names the nearest known one; nothing is skipped.
//! - A rule says whom it is about, if only `anyone = true`: what was forgotten means nobody.
//! - A table with an error is not kept, so no half of a rule ever counts.

use std::{fmt::Display, fmt::Write as _, str::FromStr};

use kannuki_audit::memcached_options::{Reading, Source, nearest, problem::EXIT_USAGE};
use kannuki_server::guard::{
    Action, ActionSet, CertificateName, Effect, Exposure, KeyPrefixes, Keys, NetworkList,
    NetworkPrefix, Rule, UserName, Who,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Longest key of memcached, in bytes: a longer prefix begins none.
const KEY_BYTES_MAX: usize = 250;

/// What the tables of a file say.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The rules, in the file's order, which is that in which they are asked.
    pub rules: Vec<RuleTable>,
    /// The listeners that want something of their own.
    pub listeners: Vec<ListenerTable>,
}

/// One `[[rule]]`.
#[derive(Clone, Debug)]
pub struct RuleTable {
    /// What the operator calls it.
    pub name: Option<String>,
    /// What it says.
    pub rule: Rule,
    /// Which kinds of name it asks for.
    pub asks: Asks,
    /// Where it begins.
    pub source: Source,
    literal: String,
}

/// Which kinds of proof a rule asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asks {
    /// For none.
    pub anyone: bool,
    /// A log-in.
    pub user: bool,
    /// A certificate.
    pub certificate: bool,
    /// A process on this host.
    pub owner: bool,
}

/// One `[[listener]]`.
#[derive(Clone, Debug)]
pub struct ListenerTable {
    /// The address, as it stands in `listen`.
    pub address: String,
    /// Its own exposure.
    pub exposure: Option<Exposure>,
    /// Networks allowed here, besides those of all listeners.
    pub allow: Vec<NetworkPrefix>,
    /// Networks denied here, besides those of all listeners.
    pub deny: Vec<NetworkPrefix>,
    /// Its own proxies, instead of those of all listeners.
    pub proxies: Option<NetworkList>,
    /// Where it begins.
    pub source: Source,
    literal: String,
}

/// The name of the tables in the file.
pub const NAMES: [&str; 2] = ["listener", "rule"];

const RULE_KEYS: &[&str] =
    &["allow", "anyone", "certificate", "deny", "gid", "keys", "name", "network", "uid", "user"];
const LISTENER_KEYS: &[&str] = &["address", "allow", "deny", "exposure", "proxy-from"];

impl Tables {
    /// Takes a top-level value of the file if it is one of the tables; `false` = it is not. What is
    /// wrong with it is noted in `reading`; `place` tells where a byte of the file stands.
    pub fn take(
        &mut self,
        reading: &mut Reading,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        place: &dyn Fn(usize) -> Source,
    ) -> bool {
        if !NAMES.contains(&key) {
            return false;
        }
        let DeValue::Array(list) = value.get_ref() else {
            let message = format!("`{key}` must be a list of tables; write [[{key}]]");
            reading.fail(message, EXIT_USAGE, place(value.span().start));
            return true;
        };
        for element in list.iter() {
            let source = place(element.span().start);
            let DeValue::Table(table) = element.get_ref() else {
                reading.fail(
                    format!("`{key}` must be a table; write [[{key}]]"),
                    EXIT_USAGE,
                    source,
                );
                continue;
            };
            let known = if key == "rule" { RULE_KEYS } else { LISTENER_KEYS };
            let mut row = Row {
                kind: if key == "rule" { "rule" } else { "listener" },
                table,
                place,
                source,
                errors: Vec::new(),
            };
            row.refuse_unknown(known);
            let done = if key == "rule" {
                row.rule().map(|rule| self.rules.push(rule))
            } else {
                row.listener().map(|listener| self.listeners.push(listener))
            };
            if done.is_none() && row.errors.is_empty() {
                row.fail("is not complete", row.source.clone());
            }
            for (message, source) in row.errors {
                reading.fail(message, EXIT_USAGE, source);
            }
        }
        true
    }

    /// What the rules leave open although their author may think that it is shut: rules that limit
    /// reading to some keys where none limits writing, which is open where nothing is said.
    pub fn oversights(&self) -> impl Iterator<Item = (String, Source)> {
        let limits = |table: &RuleTable, action| {
            let Rule { actions, keys, effect, .. } = &table.rule;
            let limits = *effect == Effect::Deny || matches!(keys, Keys::Beginning(_));
            actions.contains(action) && limits
        };
        let is_covered = move |table: &RuleTable, action| {
            self.rules.iter().any(|other| {
                limits(other, action) && (other.asks.anyone || other.rule.who == table.rule.who)
            })
        };
        self.rules.iter().filter_map(move |table| {
            let open = [Action::Write, Action::Delete].map(|action| !is_covered(table, action));
            let what = match open {
                [false, _] => return None,
                [true, true] => "written and deleted",
                [true, false] => "written",
            };
            let some_keys = matches!(table.rule.keys, Keys::Beginning(_));
            (some_keys && limits(table, Action::Read)).then(|| {
                let message = format!(
                    "[[rule]] limits reading, but every key may still be {what} by whom it names: \
                     no rule limits that; name \"write\" and \"delete\" too, or deny them"
                );
                (message, table.source.clone())
            })
        })
    }

    /// The tables as they could stand in a file, with their places.
    pub fn page(&self) -> String {
        let mut out = String::new();
        let listeners =
            self.listeners.iter().map(|table| ("listener", &table.source, &table.literal));
        let rules = self.rules.iter().map(|table| ("rule", &table.source, &table.literal));
        for (name, source, literal) in listeners.chain(rules) {
            let _ = write!(out, "\n# {source}\n[[{name}]]\n{literal}");
        }
        out
    }
}

/// One table while it is read.
struct Row<'r> {
    kind: &'static str,
    table: &'r DeTable<'r>,
    place: &'r dyn Fn(usize) -> Source,
    source: Source,
    errors: Vec<(String, Source)>,
}

impl<'r> Row<'r> {
    fn rule(&mut self) -> Option<RuleTable> {
        let anyone = self.switch("anyone");
        let name = self.texts("name").and_then(|names| names.into_iter().next());
        let (who, asks) = self.who(anyone)?;
        let keys = self.keys()?;
        let (effect, actions) = self.actions(matches!(keys, Keys::Beginning(_)))?;
        if !self.errors.is_empty() {
            return None;
        }
        let rule = Rule { who, actions, keys, effect };
        let name = name.map(|(name, _)| name);
        Some(RuleTable { name, rule, asks, source: self.source.clone(), literal: self.literal() })
    }

    fn who(&mut self, anyone: bool) -> Option<(Who, Asks)> {
        let networks = self.parsed::<NetworkPrefix>("network");
        let users = self.parsed::<User>("user");
        let certificates = self.parsed::<CertificateName>("certificate");
        let (uids, gids) = (self.numbers("uid"), self.numbers("gid"));
        let asks = Asks {
            anyone,
            user: users.is_some(),
            certificate: certificates.is_some(),
            owner: uids.is_some() || gids.is_some(),
        };
        let named = networks.is_some() || asks.user || asks.certificate || asks.owner;
        if named == anyone {
            let wrong = if named { "names somebody and anyone" } else { "names nobody" };
            let message = format!(
                "{wrong}; say who with network, user, certificate, uid or gid, or anyone = true"
            );
            self.fail(&message, self.source.clone());
            return None;
        }
        let mut who = Who::anyone();
        if let Some(networks) = networks {
            who = who.in_networks(self.sound(NetworkList::new(networks))?);
        }
        if let Some(users) = users {
            who = self.sound(who.logged_in_as(users.into_iter().map(|user| user.0)))?;
        }
        if let Some(names) = certificates {
            who = self.sound(who.with_certificate(names))?;
        }
        if let Some(uids) = uids {
            who = self.sound(who.run_by(uids))?;
        }
        if let Some(gids) = gids {
            who = self.sound(who.of_groups(gids))?;
        }
        Some((who, asks))
    }

    fn keys(&mut self) -> Option<Keys> {
        let Some(texts) = self.texts("keys") else { return Some(Keys::Every) };
        for (prefix, source) in &texts {
            let odd = |byte: u8| byte <= b' ' || byte == 0x7f;
            if prefix.is_empty() || prefix.len() > KEY_BYTES_MAX || prefix.bytes().any(odd) {
                let message = format!(
                    "`keys` has {prefix:?}, which begins no key: a key has 1 to {KEY_BYTES_MAX} \
                     bytes without blanks; leave `keys` out to mean every key"
                );
                self.errors.push((message, source.clone()));
            }
        }
        let prefixes = texts.into_iter().map(|(prefix, _)| prefix.into_bytes());
        let prefixes = self.sound(KeyPrefixes::new(prefixes))?;
        Some(Keys::Beginning(prefixes))
    }

    fn actions(&mut self, some_keys: bool) -> Option<(Effect, ActionSet)> {
        let (effect, texts) = match (self.texts("allow"), self.texts("deny")) {
            (Some(texts), None) => (Effect::Allow, texts),
            (None, Some(texts)) => (Effect::Deny, texts),
            _ => {
                self.fail("must have one of allow and deny", self.source.clone());
                return None;
            }
        };
        let mut actions = ActionSet::NONE;
        for (word, source) in texts {
            match Action::named(&word) {
                _ if word == "all" => actions = ActionSet::ALL,
                Some(action) if some_keys && !has_key(action) => {
                    let message = format!(
                        "`{word}` concerns no single key; write a rule of its own for it, without \
                         `keys`"
                    );
                    self.errors.push((message, source));
                }
                Some(action) => actions = actions.with(action),
                None => {
                    let words = Action::ALL.into_iter().map(Action::name).chain(["all"]);
                    let known: Vec<&str> = words.clone().collect();
                    let message =
                        format!("unknown action `{word}`; there are {}", known.join(", "));
                    self.errors.push((message, source));
                }
            }
        }
        if actions == ActionSet::NONE && self.errors.is_empty() {
            self.fail("names no action", self.source.clone());
        }
        Some((effect, actions))
    }

    fn listener(&mut self) -> Option<ListenerTable> {
        let Some((address, _)) = self.texts("address").and_then(|all| all.into_iter().next())
        else {
            self.fail("must have an address, as it stands in `listen`", self.source.clone());
            return None;
        };
        let exposure = match self.texts("exposure").and_then(|all| all.into_iter().next()) {
            None => None,
            Some((word, source)) => match Exposure::named(&word) {
                Some(exposure) => Some(exposure),
                None => {
                    let message =
                        format!("`exposure` must be loopback, private or public, not {word:?}");
                    self.errors.push((message, source));
                    None
                }
            },
        };
        let allow = self.parsed("allow").unwrap_or_default();
        let deny = self.parsed("deny").unwrap_or_default();
        let proxies = match self.parsed::<NetworkPrefix>("proxy-from") {
            None => None,
            Some(networks) => Some(self.sound(NetworkList::new(networks))?),
        };
        if !self.errors.is_empty() {
            return None;
        }
        let (source, literal) = (self.source.clone(), self.literal());
        Some(ListenerTable { address, exposure, allow, deny, proxies, source, literal })
    }

    fn refuse_unknown(&mut self, known: &[&'static str]) {
        for (key, _) in self.table.iter() {
            let text: &str = key.get_ref();
            if !known.contains(&text) {
                let meant = nearest(text, known.iter().map(|&name| name.into()))
                    .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                let message = format!("unknown key `{text}` in [[{}]]{meant}", self.kind);
                self.errors.push((message, (self.place)(key.span().start)));
            }
        }
    }

    fn find(&self, key: &str) -> Option<&'r Spanned<DeValue<'r>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// A key's value or values, each with its place.
    fn values(&self, key: &str) -> Option<Vec<&'r Spanned<DeValue<'r>>>> {
        let value = self.find(key)?;
        Some(match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        })
    }

    fn texts(&mut self, key: &str) -> Option<Vec<(String, Source)>> {
        let mut texts = Vec::new();
        for value in self.values(key)? {
            let source = (self.place)(value.span().start);
            match value.get_ref() {
                DeValue::String(text) => texts.push((text.clone().into_owned(), source)),
                _ => self.errors.push((format!("`{key}` must be text"), source)),
            }
        }
        Some(texts)
    }

    fn numbers(&mut self, key: &str) -> Option<Vec<u32>> {
        let mut numbers = Vec::new();
        for value in self.values(key)? {
            let number = match value.get_ref() {
                DeValue::Integer(number) => {
                    u32::from_str_radix(number.as_str(), number.radix()).ok()
                }
                _ => None,
            };
            match number {
                Some(number) => numbers.push(number),
                None => {
                    let message = format!("`{key}` must be a number from 0 to {}", u32::MAX);
                    self.errors.push((message, (self.place)(value.span().start)));
                }
            }
        }
        Some(numbers)
    }

    fn switch(&mut self, key: &str) -> bool {
        match self.find(key).map(|value| (value, value.get_ref())) {
            None => false,
            Some((_, DeValue::Boolean(on))) => *on,
            Some((value, _)) => {
                let message = format!("`{key}` must be true or false");
                self.errors.push((message, (self.place)(value.span().start)));
                false
            }
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str) -> Option<Vec<T>> {
        let mut all = Vec::new();
        for (text, source) in self.texts(key)? {
            match text.parse() {
                Ok(parsed) => all.push(parsed),
                Err(error) => {
                    let message = format!("invalid value {text:?} for `{key}`: {error}");
                    self.errors.push((message, source));
                }
            }
        }
        Some(all)
    }

    /// Notes what a bound says.
    fn sound<T, E: Display>(&mut self, made: Result<T, E>) -> Option<T> {
        made.map_err(|error| self.fail(&error.to_string(), self.source.clone())).ok()
    }

    fn fail(&mut self, message: &str, source: Source) {
        self.errors.push((format!("[[{}]] {message}", self.kind), source));
    }

    /// The table's keys and values, in the file's own words.
    fn literal(&self) -> String {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut out = String::new();
        for (key, value) in entries {
            let _ = writeln!(out, "{} = {}", key.get_ref(), written(value.get_ref()));
        }
        out
    }
}

/// A user's name, read from text.
struct User(UserName);

impl FromStr for User {
    type Err = kannuki_server::guard::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        UserName::new(text).map(Self)
    }
}

const fn has_key(action: Action) -> bool {
    matches!(action, Action::Read | Action::Write | Action::Delete)
}

/// A value as it can stand in a file.
fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => toml::Value::String(text.clone().into_owned()).to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Array(list) => {
            let all: Vec<String> = list.iter().map(|value| written(value.get_ref())).collect();
            format!("[{}]", all.join(", "))
        }
        // Refused before: no key of a table takes one.
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => String::new(),
    }
}
