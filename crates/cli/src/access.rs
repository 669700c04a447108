//! From what was typed to who may do what: options, `[[listener]]` and `[[rule]]` become a
//! [`Policy`].
//!
//! Invariants:
//! - Without -l only this host is admitted; with it private networks are; the whole internet only
//!   with log-in and TLS, by a list, or by an option that says `danger`.
//! - Settings that contradict each other are errors, each with the place at fault: nothing that
//!   protects is without effect.

use kannuki_audit::memcached_options::{
    ListenElement, OptionError, OptionSpec, Settings, Source, Value,
    problem::EXIT_USAGE,
    table::{access, listening, tls},
};
use kannuki_server::guard::{
    AccessList, AccessListError, Exposure, Keys, ListenerTerms, NetworkList, NetworkPrefix, Policy,
    Rules, Strangers,
};

use crate::{
    own_options::{ALLOW, DANGER_PUBLIC, DENY, EXPOSURE, PROXY_FROM, PROXY_TRUST_LOOPBACK},
    situation::Situation,
    tables::{ListenerTable, Tables},
};

/// What the settings say about access; `elements` are the addresses that are listened on, in the
/// order in which they were opened.
pub(crate) fn policy(
    settings: &Settings,
    tables: &Tables,
    situation: &Situation,
    elements: &[ListenElement],
) -> Result<Policy, Vec<OptionError>> {
    let mut sense = Sense { settings, tables, situation, elements, errors: Vec::new() };
    let policy = sense.policy();
    sense.check_public(&policy);
    sense.check_loopback(&policy);
    sense.check_proxies(&policy);
    sense.check_rules();
    if sense.errors.is_empty() { Ok(policy) } else { Err(sense.errors) }
}

/// The networks of an option that may be given several times, each with its place.
pub(crate) fn networks(
    settings: &Settings,
    spec: &OptionSpec,
    errors: &mut Vec<OptionError>,
) -> Vec<(NetworkPrefix, Source)> {
    let mut networks = Vec::new();
    for given in settings.all(spec) {
        let Value::Text(list) = &given.value else { continue };
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            match text.parse::<NetworkPrefix>() {
                Ok(network) => networks.push((network, given.source.clone())),
                Err(error) => {
                    let name = spec.usual();
                    let message = format!("invalid value \"{text}\" for {name}: {error}");
                    errors.push(error_at(message, &given.source));
                }
            }
        }
    }
    networks
}

/// The same as one list.
pub(crate) fn network_list(
    settings: &Settings,
    spec: &OptionSpec,
    errors: &mut Vec<OptionError>,
) -> NetworkList {
    let networks = networks(settings, spec, errors);
    let last = networks.last().map_or(Source::Default, |(_, source)| source.clone());
    NetworkList::new(networks.into_iter().map(|(network, _)| network)).unwrap_or_else(|error| {
        errors.push(error_at(format!("{}: {error}", spec.usual()), &last));
        NetworkList::default()
    })
}

/// Who may connect at all: as said, else as far as the listeners were opened.
pub(crate) fn exposure(settings: &Settings, situation: &Situation) -> Exposure {
    let said = settings.text(&EXPOSURE).and_then(|name| Exposure::named(&name));
    let opened = settings.given(&listening::LISTEN).is_some() || situation.sockets_inherited;
    said.unwrap_or(if opened { Exposure::Private } else { Exposure::Loopback })
}

fn error_at(message: String, origin: &Source) -> OptionError {
    OptionError { message, exit_code: EXIT_USAGE, origin: origin.clone() }
}

struct Sense<'s> {
    settings: &'s Settings,
    tables: &'s Tables,
    situation: &'s Situation,
    elements: &'s [ListenElement],
    errors: Vec<OptionError>,
}

impl Sense<'_> {
    fn policy(&mut self) -> Policy {
        let settings = self.settings;
        let strangers = if settings.switch(&DANGER_PUBLIC) {
            Strangers::Anyone
        } else if self.has_login() && self.has_tls() {
            Strangers::Proven
        } else {
            Strangers::Never
        };
        Policy {
            exposure: exposure(settings, self.situation),
            networks: self.access_list(),
            strangers,
            listeners: self.listeners(),
            proxies: network_list(settings, &PROXY_FROM, &mut self.errors),
            proxied_loopback: settings.switch(&PROXY_TRUST_LOOPBACK),
            login_required: self.has_password(),
            tls_required: false,
            flush: !settings.switch(&access::DISABLE_FLUSH_ALL),
            dump: !settings.switch(&access::DISABLE_DUMPING),
            watch: !settings.switch(&access::DISABLE_WATCH),
            shutdown: settings.switch(&access::ENABLE_SHUTDOWN),
            rules: self.rules(),
        }
    }

    fn has_password(&self) -> bool {
        self.settings.switch(&access::ENABLE_SASL)
            || self.settings.given(&access::AUTH_FILE).is_some()
    }

    fn has_tls(&self) -> bool {
        self.settings.switch(&tls::ENABLE_SSL)
    }

    /// Peers can prove who they are, and must: by a password, or by a certificate.
    fn has_login(&self) -> bool {
        self.has_password() || self.settings.number(&tls::SSL_VERIFY_MODE) >= VERIFY_DEMAND
    }

    fn access_list(&mut self) -> AccessList {
        let allow = networks(self.settings, &ALLOW, &mut self.errors);
        let deny = networks(self.settings, &DENY, &mut self.errors);
        let only = |list: &[(NetworkPrefix, Source)]| {
            list.iter().map(|(network, _)| *network).collect::<Vec<_>>()
        };
        AccessList::new(only(&allow), only(&deny)).unwrap_or_else(|error| {
            let guilty = match error {
                AccessListError::Contradiction(twice) => {
                    deny.iter().find(|(network, _)| *network == twice)
                }
                _ => deny.last().or_else(|| allow.last()),
            };
            let source = guilty.map_or(Source::Default, |(_, source)| source.clone());
            self.errors.push(error_at(format!("allow and deny: {error}"), &source));
            AccessList::default()
        })
    }

    /// One for each address that is listened on, in their order.
    fn listeners(&mut self) -> Box<[ListenerTerms]> {
        let mut terms = vec![ListenerTerms::default(); self.elements.len()];
        for table in &self.tables.listeners {
            if self.situation.sockets_inherited {
                let message = "[[listener]] cannot apply to sockets that the service manager hands \
                               over; say it for all listeners, outside of the table";
                self.errors.push(error_at(message.to_owned(), &table.source));
                continue;
            }
            let own = AccessList::new(table.allow.iter().copied(), table.deny.iter().copied());
            let own = own.unwrap_or_else(|error| {
                self.errors.push(error_at(format!("[[listener]] {error}"), &table.source));
                AccessList::default()
            });
            let mut met = false;
            for (element, terms) in self.elements.iter().zip(&mut terms) {
                if is_called(element, self.settings.number(&listening::PORT), &table.address) {
                    met = true;
                    *terms = ListenerTerms {
                        exposure: table.exposure,
                        networks: own.clone(),
                        proxies: table.proxies.clone(),
                    };
                }
            }
            if !met {
                self.errors.push(self.unknown_listener(table));
            }
        }
        terms.into_boxed_slice()
    }

    fn unknown_listener(&self, table: &ListenerTable) -> OptionError {
        let known: Vec<String> = self.elements.iter().map(ToString::to_string).collect();
        let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
        let message = format!(
            "[[listener]] address {:?} is not listened on; there is {known} (listen, -l)",
            table.address
        );
        error_at(message, &table.source)
    }

    fn rules(&mut self) -> Rules {
        let last = self.tables.rules.last().map_or(Source::Default, |table| table.source.clone());
        let rules = self.tables.rules.iter().map(|table| table.rule.clone());
        Rules::new(rules).unwrap_or_else(|error| {
            self.errors.push(error_at(error.to_string(), &last));
            Rules::default()
        })
    }

    /// The whole internet is let in by nothing less than log-in and TLS, a list, or `danger`.
    fn check_public(&mut self, policy: &Policy) {
        let danger =
            self.settings.given(&DANGER_PUBLIC).filter(|given| given.value == Value::Switch(true));
        let own = self.tables.listeners.iter().find(|own| own.exposure == Some(Exposure::Public));
        let public = policy.exposure == Exposure::Public || own.is_some();
        if let Some(given) = danger.filter(|_| !public) {
            let message = "--danger-public-without-auth changes nothing without --exposure public";
            self.errors.push(error_at(message.to_owned(), &given.source));
        }
        let listed = |terms: &ListenerTerms| terms.networks.allows_any();
        let listed = policy.networks.allows_any() || policy.listeners.iter().any(listed);
        if !public || policy.strangers != Strangers::Never || listed {
            return;
        }
        let said = self.settings.given(&EXPOSURE).map(|given| given.source.clone());
        let source = own.map(|own| own.source.clone()).or(said).unwrap_or(Source::Default);
        let missing = match (self.has_login(), self.has_tls()) {
            (false, true) => "log-in (-S or -Y)",
            (true, false) => "TLS (-Z)",
            _ => "log-in (-S or -Y) and TLS (-Z)",
        };
        let message = format!(
            "exposure public lets the whole internet in: it needs {missing}, or the networks that \
             may come (allow, --allow NET), or --danger-public-without-auth"
        );
        self.errors.push(error_at(message, &source));
    }

    /// An address of a network that is listened on while only this host may come.
    fn check_loopback(&mut self, policy: &Policy) {
        let Some(given) = self.settings.given(&EXPOSURE) else { return };
        if policy.exposure != Exposure::Loopback || policy.networks.allows_any() {
            return;
        }
        for (element, terms) in self.elements.iter().zip(&policy.listeners) {
            let host = element.host.parse::<std::net::IpAddr>().ok();
            let far = host.is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified());
            let own = terms.exposure.is_some() || terms.networks.allows_any();
            if far && !own && terms.proxies.is_none() {
                let message = format!(
                    "nobody can connect to {element}: exposure loopback admits this host's \
                     127.0.0.0/8 and ::1 alone, which never reach that address; say --exposure \
                     private, or allow networks"
                );
                self.errors.push(error_at(message, &given.source));
            }
        }
    }

    fn check_proxies(&mut self, policy: &Policy) {
        let any = !policy.proxies.is_empty()
            || policy
                .listeners
                .iter()
                .any(|own| own.proxies.as_ref().is_some_and(|p| !p.is_empty()));
        let trust = self.settings.given(&PROXY_TRUST_LOOPBACK);
        if let Some(given) = trust.filter(|given| given.value == Value::Switch(true) && !any) {
            let message = "--proxy-trust-loopback changes nothing without --proxy-from";
            self.errors.push(error_at(message.to_owned(), &given.source));
        }
        let unix = self.settings.given(&listening::UNIX_SOCKET).is_some();
        if let Some(given) = self.settings.given(&PROXY_FROM).filter(|_| unix) {
            let message = "--proxy-from: a UNIX socket (-s) takes no PROXY header";
            self.errors.push(error_at(message.to_owned(), &given.source));
        }
    }

    /// Rules that can never decide protect nobody.
    fn check_rules(&mut self) {
        let unix = self.settings.given(&listening::UNIX_SOCKET).is_some()
            || self.situation.sockets_inherited;
        let certified = self.has_tls() && self.settings.number(&tls::SSL_VERIFY_MODE) > 0;
        for table in &self.tables.rules {
            let vain = if table.asks.user && !self.has_password() {
                Some("names users, but nobody can log in: there is neither -S nor -Y")
            } else if table.asks.certificate && !certified {
                Some("names certificates, but none is asked for: no -Z with ssl_verify_mode")
            } else if table.asks.owner && !unix {
                Some("names a uid or gid, which only peers of a UNIX socket (-s) have")
            } else {
                None
            };
            if let Some(vain) = vain {
                self.errors.push(error_at(format!("[[rule]] {vain}"), &table.source));
            }
        }
        for (at, table) in self.tables.rules.iter().enumerate() {
            let before = self.tables.rules.get(..at).unwrap_or_default();
            let covering = before.iter().find(|earlier| {
                earlier.asks.anyone
                    && matches!(earlier.rule.keys, Keys::Every)
                    && earlier.rule.actions.contains_all(table.rule.actions)
            });
            if let Some(earlier) = covering {
                let message = format!(
                    "[[rule]] never decides: the one at {} is about anyone and comes first",
                    earlier.source
                );
                self.errors.push(error_at(message, &table.source));
            }
        }
    }
}

/// `ssl_verify_mode` from which on a certificate is demanded.
const VERIFY_DEMAND: i64 = 2;

/// Whether a `[[listener]]` means this element: by its host, or by host and port.
pub(crate) fn is_called(element: &ListenElement, port: i64, address: &str) -> bool {
    let host = element.host.as_str();
    let port = element.port.map_or(port, i64::from);
    address == host
        || address == format!("[{host}]")
        || address == format!("{host}:{port}")
        || address == format!("[{host}]:{port}")
}

#[cfg(test)]
mod tests;
