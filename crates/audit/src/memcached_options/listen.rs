//! The grammar of `-l`.
//!
//! ```text
//! [notls:|btls:|mtls:] [proto[NAME]:] [tag[NAME]: | tag_NAME_:] HOST[:PORT]
//! ```
//!
//! Elements are parted by `,` or `;`. An element that stands twice counts once; elements are
//! compared whole.

use std::{fmt, net::Ipv6Addr};

use super::value::{Fault, LISTEN_EXIT};

/// Most elements of one list; each becomes a socket or two, and no host has as many addresses.
pub const LISTEN_ELEMENTS_MAX: usize = 256;
/// Longest name of a tag.
const TAG_BYTES_MAX: usize = 8;
/// Longest host name in DNS; an address is shorter.
const HOST_BYTES_MAX: usize = 255;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenElement {
    /// What is said about TLS.
    pub tls: Option<ListenTls>,
    /// What is said about the protocol.
    pub protocol: Option<ListenProtocol>,
    /// The tag, which only routing by a proxy uses.
    pub tag: Option<String>,
    /// A name, an address without brackets, or `*` for every address.
    pub host: String,
    /// Overrides -p and -U; 0 = any free port.
    pub port: Option<u16>,
}

/// TLS of one listener; legal only where TLS is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenTls {
    /// `notls:` speaks in clear.
    Off,
    /// `btls:` does not ask clients for a certificate.
    Basic,
    /// `mtls:` demands a certificate of clients.
    Mutual,
}

/// Protocol of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenProtocol {
    /// Text only.
    Ascii,
    /// Binary only.
    Binary,
    /// The first byte decides.
    Negotiating,
    /// Routed by the proxy.
    Proxy,
}

const TLS_PREFIXES: [(&str, ListenTls); 3] =
    [("notls:", ListenTls::Off), ("btls:", ListenTls::Basic), ("mtls:", ListenTls::Mutual)];

const PROTOCOLS: [(&str, ListenProtocol); 4] = [
    ("ascii", ListenProtocol::Ascii),
    ("binary", ListenProtocol::Binary),
    ("negotiating", ListenProtocol::Negotiating),
    ("proxy", ListenProtocol::Proxy),
];

/// Reads a list.
pub(super) fn read(typed: &[u8]) -> Result<Vec<ListenElement>, Fault> {
    let text = std::str::from_utf8(typed).map_err(|_| fault("must be ASCII text"))?;
    let mut list = Vec::new();
    for element in text.split([',', ';']).map(str::trim).filter(|element| !element.is_empty()) {
        let element = read_element(element)?;
        if !list.contains(&element) {
            list.push(element);
        }
        if list.len() > LISTEN_ELEMENTS_MAX {
            return Err(fault(format!("has more than {LISTEN_ELEMENTS_MAX} addresses")));
        }
    }
    Ok(list)
}

impl ListenElement {
    /// A host with nothing said about it.
    #[must_use]
    pub fn host(host: &str) -> Self {
        Self { tls: None, protocol: None, tag: None, host: host.to_owned(), port: None }
    }
}

impl fmt::Display for ListenElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((prefix, _)) = TLS_PREFIXES.iter().find(|(_, tls)| Some(*tls) == self.tls) {
            f.write_str(prefix)?;
        }
        if let Some((name, _)) = PROTOCOLS.iter().find(|(_, p)| Some(*p) == self.protocol) {
            write!(f, "proto[{name}]:")?;
        }
        if let Some(tag) = &self.tag {
            write!(f, "tag[{tag}]:")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

fn fault(reason: impl Into<String>) -> Fault {
    Fault { reason: reason.into(), exit_code: LISTEN_EXIT }
}

fn read_element(element: &str) -> Result<ListenElement, Fault> {
    let (tls, rest) = take_tls(element);
    let (protocol, rest) = take_protocol(rest)?;
    let (tag, rest) = take_tag(rest)?;
    let (host, port) = read_address(rest)?;
    Ok(ListenElement { tls, protocol, tag, host, port })
}

fn take_tls(text: &str) -> (Option<ListenTls>, &str) {
    TLS_PREFIXES
        .iter()
        .find_map(|(prefix, tls)| Some((Some(*tls), text.strip_prefix(prefix)?)))
        .unwrap_or((None, text))
}

fn take_protocol(text: &str) -> Result<(Option<ListenProtocol>, &str), Fault> {
    let Some(rest) = text.strip_prefix("proto[") else { return Ok((None, text)) };
    let Some((name, rest)) = rest.split_once("]:") else {
        return Err(fault(format!("\"{text}\" wants proto[NAME]: before the address")));
    };
    // memcached compares the start only and takes an unknown name for the default; a listener that
    // speaks another protocol than was asked for is worse than one that does not start.
    let known = PROTOCOLS.iter().find(|(known, _)| !name.is_empty() && known.starts_with(name));
    let Some((_, protocol)) = known else {
        return Err(fault(format!(
            "\"{name}\" is no protocol; there are ascii, binary and negotiating"
        )));
    };
    Ok((Some(*protocol), rest))
}

fn take_tag(text: &str) -> Result<(Option<String>, &str), Fault> {
    let split = match (text.strip_prefix("tag["), text.strip_prefix("tag_")) {
        (Some(rest), _) => rest.split_once("]:"),
        (None, Some(rest)) => rest.split_once("_:"),
        (None, None) => return Ok((None, text)),
    };
    // A host may be called tag_something, as long as no second underscore and colon follow.
    let Some((name, rest)) = split else {
        return if text.starts_with("tag_") {
            Ok((None, text))
        } else {
            Err(fault(format!("\"{text}\" wants tag[NAME]: before the address")))
        };
    };
    if name.is_empty() || name.len() > TAG_BYTES_MAX {
        return Err(fault(format!("a tag has 1 to {TAG_BYTES_MAX} characters, not \"{name}\"")));
    }
    Ok((Some(name.to_owned()), rest))
}

fn read_address(text: &str) -> Result<(String, Option<u16>), Fault> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, rest)) = rest.split_once(']') else {
            return Err(fault(format!("\"{text}\" wants a closing bracket")));
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(read_port(port)?),
            None if rest.is_empty() => None,
            None => return Err(fault(format!("\"{rest}\" after the bracket is no port"))),
        };
        return Ok((checked_ipv6(host)?, port));
    }
    if text.bytes().filter(|b| *b == b':').count() > 1 {
        return Ok((checked_ipv6(text)?, None));
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((checked_host(host)?, Some(read_port(port)?))),
        None => Ok((checked_host(text)?, None)),
    }
}

fn read_port(text: &str) -> Result<u16, Fault> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| fault(format!("\"{text}\" is no port; ports go from 0 to 65535")))
}

fn checked_ipv6(host: &str) -> Result<String, Fault> {
    let address = host.split_once('%').map_or(host, |(address, _zone)| address);
    match address.parse::<Ipv6Addr>() {
        Ok(_) => Ok(host.to_owned()),
        Err(_) => Err(fault(format!(
            "\"{host}\" is no IPv6 address; with a port it reads [ADDRESS]:PORT"
        ))),
    }
}

fn checked_host(host: &str) -> Result<String, Fault> {
    let plausible = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b) || b >= 0x80;
    if host == "*"
        || (!host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(plausible))
    {
        return Ok(host.to_owned());
    }
    Err(fault(format!("\"{host}\" is no host name and no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> ListenElement {
        let mut list = read(text.as_bytes()).unwrap();
        assert_eq!(list.len(), 1, "{text}");
        list.remove(0)
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(one("127.0.0.1"), ListenElement::host("127.0.0.1"));
        assert_eq!(one("::1"), ListenElement::host("::1"));
        assert_eq!(one("[::1]"), ListenElement::host("::1"));
        assert_eq!(one("*"), ListenElement::host("*"));
        assert_eq!(one("localhost:11212").port, Some(11212));
        assert_eq!(one("[fe80::1%eth0]:0").port, Some(0));
        assert_eq!(one("[::1]:11212").to_string(), "[::1]:11212");
    }

    #[test]
    fn prefixes_in_their_order() {
        let element = one("mtls:proto[ascii]:tag[web]:10.0.0.1:11212");
        assert_eq!(element.tls, Some(ListenTls::Mutual));
        assert_eq!(element.protocol, Some(ListenProtocol::Ascii));
        assert_eq!(element.tag.as_deref(), Some("web"));
        assert_eq!(element.to_string(), "mtls:proto[ascii]:tag[web]:10.0.0.1:11212");
        assert_eq!(one("tag_b_:10.0.0.1").tag.as_deref(), Some("b"));
        assert_eq!(one("proto[neg]:h").protocol, Some(ListenProtocol::Negotiating));
        assert_eq!(one("tag_host").host, "tag_host");
    }

    #[test]
    fn lists_compare_elements_not_substrings() {
        let list = read(b"10.0.0.10,10.0.0.1;10.0.0.10, ::1").unwrap();
        let hosts: Vec<&str> = list.iter().map(|e| e.host.as_str()).collect();
        assert_eq!(hosts, ["10.0.0.10", "10.0.0.1", "::1"]);
    }

    #[test]
    fn nonsense_is_refused_with_the_code_for_listeners() {
        for text in [
            "127.0.0.1:abc",
            "127.0.0.1:70000",
            "127.0.0.1:-1",
            "127.0.0.1:+1",
            "proto[ascii:h",
            "proto[foo]:h",
            "proto[]:h",
            "tag[]:h",
            "tag[123456789]:h",
            "tag[a]:proto[ascii]:h",
            "[::1",
            "[::1]x",
            "1:2:3",
            "a b",
            ":11211",
            "::1::",
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().exit_code, 71, "{text}");
        }
        assert!(read(b"\xff").is_err());
        let many: Vec<String> = (0..300).map(|i| format!("h{i}")).collect();
        assert!(read(many.join(",").as_bytes()).is_err());
    }
}
