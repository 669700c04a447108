//! Sockets.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Seen;

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// TCP, UDP or UNIX.
    pub protocol: Protocol,
    /// What it does.
    pub state: SocketState,
    /// Its own address; `None` for UNIX sockets.
    pub local: Option<SocketAddr>,
    /// The other end's address, of an established connection.
    pub remote: Option<SocketAddr>,
    /// Path of a UNIX socket; an abstract one begins with `@`.
    pub path: Option<String>,
    /// Permission bits of the path of a UNIX socket (0o700).
    pub mode: Seen<u32>,
    /// Of an IPv6 socket: whether it takes IPv6 only. `Unseen` means: IPv4 too unless proved
    /// otherwise. `Known(true)` for IPv4 sockets would say nothing and is not used.
    pub v6_only: Seen<bool>,
    /// The interface that it is bound to (`SO_BINDTODEVICE`), by name.
    pub device: Option<String>,
    /// Its number in the kernel; 0 = not known.
    pub inode: u64,
    /// The user who made it.
    pub uid: Option<u32>,
    /// Its network namespace; `None` = the host's own.
    pub net_namespace: Option<u64>,
    /// The processes that hold it. Several: workers, or a supervisor that handed it over.
    pub pids: Seen<Vec<u32>>,
    /// Datagrams that were dropped because nobody read them; UDP only.
    pub drops: Option<u64>,
}

/// Which transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UNIX stream socket.
    Unix,
}

/// What a socket does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketState {
    /// Listens (TCP, UNIX) or is bound (UDP).
    Listening,
    /// Connected with `remote`.
    Established,
}

impl Socket {
    /// Whether IPv4 peers reach it: an IPv4 socket, or an IPv6 one not proved to be IPv6 only.
    #[must_use]
    pub fn takes_v4(&self) -> bool {
        match self.local {
            Some(SocketAddr::V4(_)) => true,
            Some(SocketAddr::V6(local)) => {
                let ip = local.ip();
                ip.to_ipv4_mapped().is_some()
                    || (ip.is_unspecified() && self.v6_only != Seen::Known(true))
            }
            None => false,
        }
    }

    /// Whether IPv6 peers reach it.
    #[must_use]
    pub fn takes_v6(&self) -> bool {
        matches!(self.local, Some(SocketAddr::V6(local)) if local.ip().to_ipv4_mapped().is_none())
    }
}
