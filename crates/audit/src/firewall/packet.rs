//! The packet whose fate is asked for: the first one of a stranger.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The protocol that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A connection attempt.
    Tcp,
    /// One datagram.
    Udp,
}

impl Transport {
    /// As firewalls and people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// The number in the IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// The way it takes through the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// To a socket of the host itself.
    Input,
    /// Through the host to a container, after its destination was rewritten.
    Forward,
}

/// A packet that opens a conversation.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Where it goes once inside.
    pub path: Path,
    /// What carries it.
    pub transport: Transport,
    /// Its source; none asks for every stranger on the internet.
    pub from: Option<IpAddr>,
    /// Its destination after any rewriting; the container's, on the way through.
    pub to: IpAddr,
    /// Its destination port after any rewriting.
    pub port: u16,
    /// The address it was sent to, before any rewriting.
    pub sent_to: IpAddr,
    /// The port it was sent to, before any rewriting.
    pub sent_to_port: u16,
    /// The interface it comes in by; unknown makes rules that ask uncertain.
    pub comes_in: Option<String>,
    /// The interface it leaves by, on the way through.
    pub goes_out: Option<String>,
}

impl Packet {
    /// A stranger's packet to a socket of this host.
    #[must_use]
    pub fn to_host(transport: Transport, to: IpAddr, port: u16, comes_in: Option<&str>) -> Self {
        Self {
            path: Path::Input,
            transport,
            from: None,
            to,
            port,
            sent_to: to,
            sent_to_port: port,
            comes_in: comes_in.map(str::to_owned),
            goes_out: None,
        }
    }

    /// The same packet, rewritten and on its way to a container.
    #[must_use]
    pub fn rewritten(mut self, to: IpAddr, port: u16, goes_out: Option<String>) -> Self {
        (self.path, self.to, self.port, self.goes_out) = (Path::Forward, to, port, goes_out);
        self
    }
}
