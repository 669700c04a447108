//! What the caches themselves said.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Protocol, Seen};

/// What was learned by talking to a socket, or by listening only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Talk {
    /// The socket ([`super::Socket::inode`]).
    pub inode: u64,
    /// TCP, UDP or UNIX.
    pub protocol: Protocol,
    /// The address that was talked to; `None` for UNIX sockets.
    pub address: Option<SocketAddr>,
    /// Who answered. `Known(None)`: it answered, and not in this protocol.
    pub server: Seen<Option<Server>>,
    /// The first line of the answer, cut to a bound.
    pub answer: Option<String>,
    /// Whether it wants a login before it answers.
    pub wants_login: bool,
}

/// A server that speaks memcached's protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// "memcached", "kannuki", "nutcracker", "yrmcds", "lsmcd", "mcrouter", ...; "unknown" speaks
    /// the protocol and is none of those that are known.
    pub name: String,
    /// The version that it gave; `None` if it gave none.
    pub version: Option<String>,
    /// Why it was taken for that one.
    pub because: String,
}

/// Statistics of a cache, twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// The socket that was asked.
    pub inode: u64,
    /// Its process, if known.
    pub pid: Option<u32>,
    /// Milliseconds between `first` and `second`.
    pub window_ms: u64,
    /// The first answer to `stats`.
    pub first: Seen<StatsSample>,
    /// The second; our own commands and connections are not subtracted from it.
    pub second: Seen<StatsSample>,
    /// How many connections we made, and commands we sent, between the two samples.
    pub own_connections: u32,
    /// `stats settings`.
    pub settings: Seen<BTreeMap<String, String>>,
    /// `stats conns` without ourselves; memcached 1.4.18 and later.
    pub clients: Seen<Vec<ClientConnection>>,
}

/// Statistics at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsSample {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// Names and values as given.
    pub values: BTreeMap<String, String>,
}

/// A client of a cache, as `stats conns` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConnection {
    /// "tcp:192.0.2.7:43210", "unix:/run/memcached.sock".
    pub address: String,
    /// "conn_read", "conn_waiting", ...
    pub state: String,
    /// Seconds since its last command.
    pub idle_s: Option<u64>,
}

/// A measured amplification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The UDP socket.
    pub inode: u64,
    /// The host's own address that was asked. Such a probe goes through `lo`: it proves nothing
    /// about the filters of the outside interface.
    pub address: SocketAddr,
    /// What was sent ("stats", "version").
    pub request: String,
    /// Bytes of UDP payload sent.
    pub request_bytes: u64,
    /// What came back.
    pub answer: Seen<ProbeAnswer>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeAnswer {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes of UDP payload, frame headers included.
    pub bytes: u64,
}

/// Bytes that a UDP and an IPv4 header add to each datagram.
const IPV4_UDP_HEADER_BYTES: u64 = 28;

impl Probe {
    /// The bandwidth amplification factor: payload bytes back for each payload byte sent.
    #[must_use]
    pub fn factor(&self) -> Option<f64> {
        let answer = self.answer.known()?;
        ratio(answer.bytes, self.request_bytes)
    }

    /// The same with UDP and IPv4 headers on both sides.
    #[must_use]
    pub fn ip_factor(&self) -> Option<f64> {
        let answer = self.answer.known()?;
        let back = answer.bytes + IPV4_UDP_HEADER_BYTES * answer.datagrams;
        ratio(back, self.request_bytes + IPV4_UDP_HEADER_BYTES)
    }
}

fn ratio(back: u64, sent: u64) -> Option<f64> {
    // Exact below 2^53 bytes; a probe ends long before.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    (sent > 0).then(|| back as f64 / sent as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_factors_are_different_quantities() {
        let probe = Probe {
            inode: 1,
            address: "127.0.0.1:11211".parse().unwrap(),
            request: "stats".to_owned(),
            request_bytes: 15,
            answer: Seen::Known(ProbeAnswer { datagrams: 2, bytes: 2221 }),
        };
        assert_eq!(probe.factor().unwrap().round(), 148.0);
        assert_eq!(probe.ip_factor().unwrap().round(), 53.0);
    }
}
