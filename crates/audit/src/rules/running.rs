//! What a memcached command line means: where it listens and which features are on.
//!
//! Reads with the one parser of memcached's options ([`crate::memcached_options`]); what depends on
//! the version (UDP's default, P-11 to P-13 of the parsing rules) is decided here.

use std::{cmp::Ordering, collections::BTreeMap, ffi::OsString, net::IpAddr};

use crate::firewall::Transport;
use crate::memcached_options::{
    Grammar, ListenElement, Settings, Value, Word,
    listen::ListenProtocol,
    table::{access, listening, process, proxy, storage, tls},
};
use crate::versions::compare_upstream;
use crate::vulnerabilities::Conditions;

/// A command line, read.
#[derive(Debug)]
pub struct Running {
    settings: Settings,
    version: Option<String>,
    /// `stats settings`, which wins over the command line where it was asked.
    said: BTreeMap<String, String>,
    /// UDP sockets were seen (or none): wins over everything.
    udp_seen: Option<bool>,
    /// Names of its environment, if they were to be seen.
    environment: Option<Vec<String>>,
    /// Option names found in the program's file; empty tells nothing.
    features: Vec<String>,
}

impl Running {
    /// Reads a command line, the program's name first.
    #[must_use]
    pub fn new<'w>(argv: impl IntoIterator<Item = &'w str>, version: Option<&str>) -> Self {
        let words = argv.into_iter().skip(1).map(OsString::from);
        let words: Vec<Word> = Word::arguments(words, 1).collect();
        Self {
            settings: Settings::merge([Grammar::memcached().read(&words)]),
            version: version.map(str::to_owned),
            said: BTreeMap::new(),
            udp_seen: None,
            environment: None,
            features: Vec::new(),
        }
    }

    pub(crate) fn said(mut self, settings: &BTreeMap<String, String>) -> Self {
        self.said.clone_from(settings);
        self
    }

    pub(crate) fn udp_seen(mut self, seen: Option<bool>) -> Self {
        self.udp_seen = seen;
        self
    }

    pub(crate) fn environment(mut self, names: Option<&Vec<String>>) -> Self {
        self.environment = names.cloned();
        self
    }

    pub(crate) fn features(mut self, names: &[String]) -> Self {
        self.features = names.to_vec();
        self
    }

    /// The TCP port; zero is none.
    #[must_use]
    pub fn tcp_port(&self) -> u16 {
        if self.unix_socket().is_some() {
            return 0;
        }
        let udp_given = self.settings.given(&listening::UDP_PORT).is_some();
        let udp = self.port(&listening::UDP_PORT);
        // P-13: a UDP port without a TCP port moves TCP along.
        if self.settings.given(&listening::PORT).is_none() && udp_given && udp != 0 {
            return udp;
        }
        self.port(&listening::PORT)
    }

    /// The UDP port; zero is none.
    #[must_use]
    pub fn udp_port(&self) -> u16 {
        // P-14, P-15: a UNIX socket, SASL and a password file switch UDP off.
        if self.unix_socket().is_some() || self.sasl() || self.auth_file() {
            return 0;
        }
        if self.settings.given(&listening::UDP_PORT).is_some() {
            return self.port(&listening::UDP_PORT);
        }
        let Some(version) = &self.version else { return 0 };
        let at_least = |other: &str| compare_upstream(version, other) != Ordering::Less;
        if !at_least("1.2.7") || at_least("1.5.6") {
            return 0; // P-11
        }
        // P-12: from 1.4.3 on, UDP follows -p.
        if at_least("1.4.3") { self.port(&listening::PORT) } else { 11_211 }
    }

    fn port(&self, spec: &'static crate::memcached_options::OptionSpec) -> u16 {
        u16::try_from(self.settings.number(spec)).unwrap_or(0)
    }

    /// The path of the UNIX socket.
    #[must_use]
    pub fn unix_socket(&self) -> Option<String> {
        self.settings.given(&listening::UNIX_SOCKET)?;
        self.settings.text(&listening::UNIX_SOCKET)
    }

    /// Where it listens: address (none for a name), port. Empty `-l` is every address.
    #[must_use]
    pub fn listens(&self) -> Vec<(Option<IpAddr>, Transport, u16)> {
        let mut elements = self.elements();
        if elements.is_empty() {
            elements.push(ListenElement::host("*"));
        }
        let mut listens = Vec::new();
        for element in elements {
            let hosts: Vec<Option<IpAddr>> = match element.host.as_str() {
                "*" | "INADDR_ANY" => {
                    vec![Some(IpAddr::from([0, 0, 0, 0])), Some(IpAddr::from([0_u16; 8]))]
                }
                "localhost" => vec![Some(IpAddr::from([127, 0, 0, 1]))],
                host => vec![host.parse().ok()],
            };
            for host in hosts {
                for (transport, port) in
                    [(Transport::Tcp, self.tcp_port()), (Transport::Udp, self.udp_port())]
                {
                    if port != 0 {
                        listens.push((host, transport, element.port.unwrap_or(port)));
                    }
                }
            }
        }
        listens
    }

    /// What `-l` names. Before 1.4.6 the last one counts alone (P-04).
    fn elements(&self) -> Vec<ListenElement> {
        let before = |other: &str| {
            let version = self.version.as_deref();
            version.is_some_and(|version| compare_upstream(version, other) == Ordering::Less)
        };
        if before("1.4.6") {
            let last = self.settings.given(&listening::LISTEN).map(|given| &given.value);
            return if let Some(Value::Listen(list)) = last { list.clone() } else { Vec::new() };
        }
        self.settings.listens(&listening::LISTEN)
    }

    /// The names on which it listens, which are resolved at its start.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        if self.unix_socket().is_some() {
            return Vec::new();
        }
        let is_name = |host: &str| {
            !matches!(host, "*" | "INADDR_ANY" | "localhost") && host.parse::<IpAddr>().is_err()
        };
        let names = self.elements().into_iter().map(|element| element.host);
        names.filter(|host| is_name(host)).collect()
    }

    /// Whether only addresses of this host are listened on; none where a name has to be resolved.
    #[must_use]
    pub fn is_local(&self) -> Option<bool> {
        let listens = self.listens();
        if listens.iter().any(|(ip, ..)| ip.is_some_and(|ip| !ip.is_loopback())) {
            return Some(false);
        }
        listens.iter().all(|(ip, ..)| ip.is_some()).then_some(true)
    }

    /// Does it ask for a login?
    #[must_use]
    pub fn login(&self) -> bool {
        self.sasl() || self.auth_file()
    }

    fn sasl(&self) -> bool {
        self.switched(&access::ENABLE_SASL, "auth_enabled_sasl")
    }

    fn auth_file(&self) -> bool {
        match self.said.get("auth_enabled_ascii").map(String::as_str) {
            Some("no" | "") => false,
            Some(_) => true,
            None => self.settings.given(&access::AUTH_FILE).is_some(),
        }
    }

    fn switched(&self, spec: &'static crate::memcached_options::OptionSpec, said: &str) -> bool {
        match self.said.get(said).map(String::as_str) {
            Some("yes" | "1") => true,
            Some("no" | "0") => false,
            _ => self.settings.switch(spec),
        }
    }

    fn given(&self, spec: &'static crate::memcached_options::OptionSpec) -> bool {
        self.settings.given(spec).is_some()
    }

    /// Is every listener of one of these protocols?
    fn only(&self, protocols: &[ListenProtocol]) -> bool {
        let elements = self.elements();
        let is = |element: &ListenElement| {
            element.protocol.is_some_and(|protocol| protocols.contains(&protocol))
        };
        !elements.is_empty() && elements.iter().all(is)
    }

    fn speaks_binary(&self) -> bool {
        let forced = self.settings.text(&listening::PROTOCOL);
        let said = self.said.get("binding_protocol").map(String::as_str);
        forced.as_deref() != Some("ascii")
            && said != Some("ascii")
            && !self.auth_file()
            && !self.only(&[ListenProtocol::Ascii, ListenProtocol::Proxy])
    }

    fn speaks_text(&self) -> bool {
        let forced = self.settings.text(&listening::PROTOCOL);
        forced.as_deref() != Some("binary") && !self.sasl() && !self.only(&[ListenProtocol::Binary])
    }

    fn verbosity(&self) -> u64 {
        if let Some(said) = self.said.get("verbosity").and_then(|text| text.parse().ok()) {
            return said;
        }
        match self.settings.value(&process::VERBOSE) {
            Some(Value::Number(count)) => u64::try_from(count).unwrap_or(0),
            _ => u64::from(self.settings.switch(&process::VERBOSE)),
        }
    }

    /// Built without it? Only a program whose options were read can tell.
    fn built_without(&self, feature: &str) -> bool {
        !self.features.is_empty() && !self.features.iter().any(|name| name == feature)
    }
}

impl Conditions for Running {
    fn holds(&self, name: &str) -> Option<bool> {
        Some(match name {
            "network" => self.unix_socket().is_none(),
            "tcp_text" => self.speaks_text(),
            "binary" => self.speaks_binary(),
            "udp" => self.udp_seen.unwrap_or_else(|| self.udp_port() != 0),
            "unix_socket" => self.unix_socket().is_some(),
            "sasl" => self.sasl(),
            "sasl_pwdb" if self.built_without("MEMCACHED_SASL_PWDB") => false,
            "sasl_pwdb" => {
                let names = self.environment.as_ref()?;
                names.iter().any(|name| name == "MEMCACHED_SASL_PWDB")
            }
            "auth_file" => self.auth_file(),
            "listen_proto" => {
                let elements = self.settings.listens(&listening::LISTEN);
                elements.iter().any(|element| element.protocol.is_some())
            }
            "proxy" => self.given(&proxy::PROXY_CONFIG),
            "tls" => self.switched(&tls::ENABLE_SSL, "ssl_enabled"),
            "extstore" => self.given(&storage::EXT_PATH),
            "restart_file" => self.given(&crate::memcached_options::table::memory::MEMORY_FILE),
            "verbose" => self.verbosity() >= 2,
            "watch" if self.settings.switch(&access::DISABLE_WATCH) => false,
            "dump_enabled" => match self.said.get("dump_enabled").map(String::as_str) {
                Some("no" | "0") => false,
                Some(_) => true,
                None => !self.settings.switch(&access::DISABLE_DUMPING),
            },
            "slab_reassign" => match self.said.get("slab_reassign").map(String::as_str) {
                Some("no" | "0") => false,
                _ => return None,
            },
            // Who watches, who owns a backend, who writes a file: not to be seen from here.
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, version: &str) -> Running {
        Running::new(line.split(' '), Some(version))
    }

    #[test]
    fn the_default_of_udp_depends_on_the_version() {
        for (line, version, tcp, udp) in [
            ("memcached", "1.2.6", 11211, 0),
            ("memcached", "1.2.7", 11211, 11211),
            ("memcached", "1.4.15", 11211, 11211),
            ("memcached -p 11311", "1.4.2", 11311, 11211),
            ("memcached -p 11311", "1.4.15", 11311, 11311),
            ("memcached -p 11311 -U 0", "1.4.15", 11311, 0),
            ("memcached", "1.5.6", 11211, 0),
            ("memcached -U 11999", "1.6.45", 11999, 11999),
            ("memcached -U 11999 -p 1", "1.6.45", 1, 11999),
            ("memcached -s /run/m", "1.4.15", 0, 0),
            ("memcached -S", "1.4.15", 11211, 0),
            ("memcached -Y /f -U 11211", "1.6.45", 11211, 0),
        ] {
            let running = read(line, version);
            assert_eq!((running.tcp_port(), running.udp_port()), (tcp, udp), "{line} {version}");
        }
    }

    #[test]
    fn only_loopback_is_local() {
        for (line, local) in [
            ("memcached", Some(false)),
            ("memcached -l 127.0.0.1", Some(true)),
            ("memcached -l 127.0.0.1,::1", Some(true)),
            ("memcached -l 127.0.0.1 -l 203.0.113.7", Some(false)),
            ("memcached -l localhost", Some(true)),
            ("memcached -l db.internal", None),
            ("memcached -l *", Some(false)),
            ("memcached -s /run/m.sock", Some(true)),
        ] {
            assert_eq!(read(line, "1.6.45").is_local(), local, "{line}");
        }
    }

    #[test]
    fn features_are_read_from_the_command_line() {
        let holds = |line: &str, name: &str| read(line, "1.6.45").holds(name);
        assert_eq!(holds("memcached", "binary"), Some(true));
        assert_eq!(holds("memcached -B ascii", "binary"), Some(false));
        assert_eq!(holds("memcached -Y /f", "binary"), Some(false));
        assert_eq!(holds("memcached -S", "tcp_text"), Some(false));
        assert_eq!(holds("memcached -vv", "verbose"), Some(true));
        assert_eq!(holds("memcached -v", "verbose"), Some(false));
        assert_eq!(holds("memcached -X", "dump_enabled"), Some(false));
        assert_eq!(holds("memcached -W", "watch"), Some(false));
        assert_eq!(holds("memcached", "watch"), None);
        assert_eq!(holds("memcached -o proxy_config=/f", "proxy"), Some(true));
        assert_eq!(holds("memcached", "proxy"), Some(false));
        assert_eq!(holds("memcached", "hostile_backend"), None);
        let built = read("memcached -S", "1.6.38").features(&["enable-ssl".to_owned()]);
        assert_eq!(built.holds("sasl_pwdb"), Some(false));
    }
}
