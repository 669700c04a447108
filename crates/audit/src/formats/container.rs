//! Containers: engines' records, compose files, ports that are published for them.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::facts::{Protocol, PublishedPort, Publisher};

/// What an engine's record says about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    pub(crate) running: bool,
    pub(crate) restart: String,
    pub(crate) ports: Vec<Binding>,
}

/// A published port of a record or compose file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) protocol: Protocol,
    /// `None` = every address.
    pub(crate) host_ip: Option<IpAddr>,
    pub(crate) host_port: u16,
    pub(crate) container_port: u16,
}

impl Binding {
    /// As docker writes it: `0.0.0.0:11211/tcp`.
    pub(crate) fn text(&self) -> String {
        let protocol = if self.protocol == Protocol::Udp { "udp" } else { "tcp" };
        let ip = self.host_ip.unwrap_or_else(|| IpAddr::from([0, 0, 0, 0]));
        format!("{}/{protocol}", SocketAddr::new(ip, self.host_port))
    }
}

/// Most ports that a record may publish; more are a range that somebody opened whole.
const BINDINGS_MAX: usize = 1024;

/// Reads docker's `config.v2.json` and `hostconfig.json`.
pub(crate) fn docker(config: &str, host_config: &str) -> Option<Record> {
    let config: Value = serde_json::from_str(config).ok()?;
    let host: Value = serde_json::from_str(host_config).unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let path = text(config.get("Path"));
    let arguments = config.get("Args").and_then(Value::as_array).into_iter().flatten();
    let arguments = arguments.filter_map(Value::as_str).map(str::to_owned);
    Some(Record {
        id: text(config.get("ID")),
        name: text(config.get("Name")).trim_start_matches('/').to_owned(),
        image: text(config.pointer("/Config/Image")),
        argv: std::iter::once(path).chain(arguments).collect(),
        running: config.pointer("/State/Running").and_then(Value::as_bool).unwrap_or(false),
        restart: text(host.pointer("/RestartPolicy/Name")),
        ports: bindings(host.get("PortBindings")),
    })
}

/// `{"11211/tcp": [{"HostIp": "", "HostPort": "11211"}]}`.
fn bindings(map: Option<&Value>) -> Vec<Binding> {
    let mut found = Vec::new();
    for (inner, outer) in map.and_then(Value::as_object).into_iter().flatten() {
        let (port, protocol) = inner.split_once('/').unwrap_or((inner, "tcp"));
        let Ok(container_port) = port.parse() else { continue };
        for place in outer.as_array().into_iter().flatten().take(BINDINGS_MAX) {
            let text = |key| place.get(key).and_then(Value::as_str).unwrap_or_default();
            let Ok(host_port) = text("HostPort").parse() else { continue };
            found.push(Binding {
                protocol: if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp },
                host_ip: text("HostIp").parse().ok(),
                host_port,
                container_port,
            });
        }
    }
    found.truncate(BINDINGS_MAX);
    found
}

/// Reads the command line of a `docker-proxy` process.
pub(crate) fn docker_proxy(argv: &[String], pid: u32) -> Option<PublishedPort> {
    let program = argv.first()?.rsplit('/').next()?;
    let value = |flag: &str| {
        let at = argv.iter().position(|word| word == flag)?;
        argv.get(at + 1).map(String::as_str)
    };
    (program == "docker-proxy").then_some(())?;
    Some(PublishedPort {
        protocol: if value("-proto") == Some("udp") { Protocol::Udp } else { Protocol::Tcp },
        host_ip: value("-host-ip")?.parse().ok(),
        host_port: value("-host-port")?.parse().ok()?,
        container_ip: value("-container-ip").and_then(|ip| ip.parse().ok()),
        container_port: value("-container-port")?.parse().ok()?,
        by: Publisher::Process { pid },
    })
}

/// The DNAT rules of a text that `iptables-save` printed.
pub(crate) fn dnat(rules: &str) -> Vec<PublishedPort> {
    rules.lines().filter_map(dnat_rule).collect()
}

fn dnat_rule(rule: &str) -> Option<PublishedPort> {
    let words: Vec<&str> = rule.split_ascii_whitespace().collect();
    let value = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).copied()
    };
    (words.first() == Some(&"-A") && value("-j") == Some("DNAT")).then_some(())?;
    let host_port: u16 = value("--dport")?.parse().ok()?;
    let target = value("--to-destination")?;
    let (container_ip, container_port) = match target.parse::<SocketAddr>() {
        Ok(target) => (Some(target.ip()), target.port()),
        Err(_) => (target.parse().ok(), host_port),
    };
    let host_ip = value("-d").and_then(|ip| ip.split('/').next()).and_then(|ip| ip.parse().ok());
    Some(PublishedPort {
        protocol: if value("-p") == Some("udp") { Protocol::Udp } else { Protocol::Tcp },
        host_ip,
        host_port,
        container_ip,
        container_port,
        by: Publisher::Rule { text: rule.to_owned() },
    })
}

/// A cache in a compose file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Composed {
    pub(crate) service: String,
    pub(crate) image: String,
    /// The line of `image:`, from 1.
    pub(crate) line: u32,
    pub(crate) command: Vec<String>,
    pub(crate) restart: String,
    pub(crate) ports: Vec<Binding>,
    /// Lines that cannot be understood, as they stand.
    pub(crate) problems: Vec<String>,
}

/// Reads the services of a compose file whose image is a cache.
///
/// This follows lines and indentation, which is how people write such files; anchors and flow
/// mappings over several lines are not followed and stand in `problems` where they matter.
pub(crate) fn compose(text: &str) -> Vec<Composed> {
    let mut found = Vec::new();
    let mut service: Option<(usize, Composed)> = None;
    let mut services_at: Option<usize> = None;
    let mut list: Option<(usize, String)> = None;
    for (number, raw) in super::lines(text) {
        let line = without_comment(raw);
        let body = line.trim();
        if body.is_empty() {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if body == "services:" {
            services_at = Some(indent);
            continue;
        }
        let Some(top) = services_at else { continue };
        if indent <= top {
            services_at = None;
        }
        let level = service.as_ref().map_or(usize::MAX, |(level, _)| *level);
        if indent <= level && !body.starts_with('-') {
            found.extend(service.take().map(|(_, service)| service));
            list = None;
            if let (true, Some(name)) = (indent > top, body.strip_suffix(':')) {
                service = Some((indent, Composed::new(unquoted(name))));
            }
            continue;
        }
        let Some((_, service)) = &mut service else { continue };
        if let Some(item) = body.strip_prefix('-') {
            if let Some((_, key)) = &list {
                service.take_item(key, item.trim(), body);
            }
        } else if let Some((key, value)) = body.split_once(':') {
            let inside = list.as_ref().is_some_and(|(level, _)| indent > *level);
            if inside {
                continue; // a mapping below a list or key that is none of ours
            }
            let value = value.trim();
            list = value.is_empty().then(|| (indent, key.to_owned()));
            service.take(key, value, number, body);
        }
    }
    found.extend(service.map(|(_, service)| service));
    found.retain(|service| is_cache_image(&service.image));
    found
}

/// Whether an image is a cache's: `memcached:1.6`, `bitnami/memcached`, `reg.example/x/memcached`.
pub(crate) fn is_cache_image(image: &str) -> bool {
    let path = image.split('@').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    super::known::is_cache(name.split(':').next().unwrap_or_default())
}

impl Composed {
    fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            image: String::new(),
            line: 0,
            command: Vec::new(),
            restart: String::new(),
            ports: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn take(&mut self, key: &str, value: &str, number: u32, body: &str) {
        match key {
            "image" => (self.image, self.line) = (unquoted(value).to_owned(), number),
            "restart" => self.restart = unquoted(value).to_owned(),
            "command" if !value.is_empty() => self.command = flow(value),
            "ports" if !value.is_empty() => {
                for item in flow(value) {
                    self.take_item("ports", &item, body);
                }
            }
            "<<" | "extends" => self.problems.push(body.to_owned()),
            _ => {}
        }
    }

    fn take_item(&mut self, key: &str, item: &str, body: &str) {
        let item = unquoted(item);
        match key {
            "command" => self.command.push(item.to_owned()),
            "ports" => match binding(item) {
                Some(binding) => self.ports.push(binding),
                None => self.problems.push(body.to_owned()),
            },
            _ => {}
        }
    }
}

/// `11211:11211`, `127.0.0.1:11211:11211/udp`, `[::1]:11211:11211`.
/// A port as `-p` and `PublishPort=` write it; a lone one is published at a port of the engine's
/// choice and not read.
pub(crate) fn published(text: &str) -> Option<Binding> {
    binding(text)
}

fn binding(text: &str) -> Option<Binding> {
    let (text, protocol) = match text.split_once('/') {
        Some((text, "udp")) => (text, Protocol::Udp),
        Some((text, _)) => (text, Protocol::Tcp),
        None => (text, Protocol::Tcp),
    };
    let (outer, inner) = text.rsplit_once(':')?;
    let (ip, port) = match outer.rsplit_once(':') {
        Some((ip, port)) => (Some(ip), port),
        None => (None, outer),
    };
    let host_ip = match ip {
        Some(ip) => Some(ip.trim_matches(['[', ']']).parse().ok()?),
        None => None,
    };
    let (host_port, container_port) = (port.parse().ok()?, inner.parse().ok()?);
    Some(Binding { protocol, host_ip, host_port, container_port })
}

/// `["a", "b"]` or `a b`.
fn flow(value: &str) -> Vec<String> {
    match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
        Some(inside) => inside.split(',').map(|item| unquoted(item.trim()).to_owned()).collect(),
        None => unquoted(value).split_ascii_whitespace().map(str::to_owned).collect(),
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text)
}

fn without_comment(line: &str) -> &str {
    match line.find(" #") {
        Some(at) => line.get(..at).unwrap_or(line),
        None if line.trim_start().starts_with('#') => "",
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_docker() {
        let config = r#"{"ID":"0123","Name":"/cache","Path":"docker-entrypoint.sh",
            "Args":["memcached","-m","64"],"Config":{"Image":"memcached:1.6"},
            "State":{"Running":true,"Pid":77}}"#;
        let host = r#"{"PortBindings":{"11211/tcp":[{"HostIp":"","HostPort":"11211"}],
            "11211/udp":[{"HostIp":"127.0.0.1","HostPort":"11212"}]},
            "RestartPolicy":{"Name":"always"}}"#;
        let record = docker(config, host).unwrap();
        assert_eq!((record.name.as_str(), record.restart.as_str()), ("cache", "always"));
        assert_eq!(record.argv, ["docker-entrypoint.sh", "memcached", "-m", "64"]);
        assert!(record.running);
        let ports: Vec<_> = record.ports.iter().map(Binding::text).collect();
        assert_eq!(ports, ["0.0.0.0:11211/tcp", "127.0.0.1:11212/udp"]);
        assert!(docker("{", "").is_none());
        assert!(docker("[]", "x").unwrap().ports.is_empty());
    }

    #[test]
    fn published_ports_of_processes_and_rules() {
        let argv = "/usr/bin/docker-proxy -proto udp -host-ip 0.0.0.0 -host-port 11211 \
            -container-ip 172.17.0.2 -container-port 11211";
        let argv: Vec<String> = argv.split_whitespace().map(str::to_owned).collect();
        let port = docker_proxy(&argv, 9).unwrap();
        assert_eq!((port.protocol, port.host_port), (Protocol::Udp, 11211));
        let rules = "*nat\n-A DOCKER ! -i docker0 -p tcp -m tcp --dport 11212 -j DNAT \
            --to-destination 172.17.0.2:11211\n-A DOCKER -d 192.0.2.1/32 -p udp -m udp \
            --dport 53 -j DNAT --to-destination 172.17.0.3\n-A DOCKER -j RETURN\n";
        let ports = dnat(rules);
        assert_eq!(ports.len(), 2);
        assert_eq!(
            (ports[0].host_ip, ports[0].host_port, ports[0].container_port),
            (None, 11212, 11211)
        );
        assert_eq!(ports[1].host_ip, Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn compose_files_as_people_write_them() {
        let text = "\
version: '3'
services:
  web:
    image: nginx
    ports:
      - '80:80'
  cache:   # the cache
    image: \"memcached:1.6-alpine\"
    command: [\"memcached\", \"-m\", \"64\"]
    restart: always
    environment:
      - A=11211:1
    ports:
    - \"11211:11211\"
    - 127.0.0.1:11212:11211/udp
    - ${PORT}:11211
  other:
    image: bitnami/memcached@sha256:abc
volumes:
  data:
";
        let found = compose(text);
        assert_eq!(found.len(), 2, "{found:?}");
        let cache = &found[0];
        assert_eq!(
            (cache.service.as_str(), cache.line, cache.restart.as_str()),
            ("cache", 8, "always")
        );
        assert_eq!(cache.command, ["memcached", "-m", "64"]);
        let ports: Vec<_> = cache.ports.iter().map(Binding::text).collect();
        assert_eq!(ports, ["0.0.0.0:11211/tcp", "127.0.0.1:11212/udp"]);
        assert_eq!(cache.problems, ["- ${PORT}:11211"]);
        assert_eq!(found[1].service, "other");
        for text in ["services:\n- a\n:\n  :\n", "services:", "\tservices:\n", "- - -"] {
            assert!(compose(text).is_empty());
        }
    }
}
