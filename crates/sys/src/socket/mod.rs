//! Sockets: listeners, streams and datagrams, all non-blocking and close-on-exec.
//!
//! Invariants: nothing here waits (but for the probe of an existing UNIX socket, which never blocks
//! either); an address is reported as the kernel gives it, so an IPv4 peer of an IPv6 socket still
//! looks mapped, and it is for the guard to unwrap it; no write raises SIGPIPE.

mod datagram;
mod listener;
mod stream;

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

pub use datagram::{Datagram, Received};
pub use listener::{Listener, SocketOptions, UnixListenError};
pub use stream::{IOVECS_MAX, Stream};

/// Who is at the other end of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerAddress {
    /// A TCP peer.
    Inet(SocketAddr),
    /// A peer of a UNIX socket.
    Unix(UnixPeer),
}

/// What the kernel attests about the process that connected to a UNIX socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnixPeer {
    /// Effective user at the time of the connect.
    pub uid: u32,
    /// Effective group at the time of the connect.
    pub gid: u32,
    /// Process, or 0 where it lives in a process namespace that we cannot see.
    pub pid: u32,
}

/// Where a socket of ours is bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LocalAddress {
    /// An address and port; the port is the real one, even when any free one was asked for.
    Inet(SocketAddr),
    /// The path of a UNIX socket; empty for one without a path in the file system.
    Unix(PathBuf),
}

impl LocalAddress {
    /// The address and port, of an internet socket.
    #[must_use]
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What an input or output error means for whoever called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// Nothing can be done now; wait for readiness.
    WouldBlock,
    /// A signal came in between; try again.
    Interrupted,
    /// The peer or the way to it is gone. A stream is finished; a listener should accept the next.
    Closed,
    /// The process or the system is out of descriptors or memory; trying again at once cannot help.
    Exhausted,
    /// Something that a correct program does not meet.
    Other,
}

impl Trouble {
    /// Classifies an error of any function in this module.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::WouldBlock,
            Some(libc::EINTR) => Self::Interrupted,
            // accept(2) hands on the pending error of the connection it would have returned.
            Some(
                libc::ECONNABORTED
                | libc::ECONNREFUSED
                | libc::ECONNRESET
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::ENETRESET
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::ENOTCONN
                | libc::EPIPE
                | libc::EPROTO
                | libc::ETIMEDOUT,
            ) => Self::Closed,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Self::Exhausted,
            _ => Self::Other,
        }
    }
}

/// The system lacks the family of the address: IPv6 compiled out or switched off.
pub const NO_ADDRESS_FAMILY: i32 = libc::EAFNOSUPPORT;

/// Whether this host can listen on the IPv6 loopback address: IPv6 may be compiled out, switched
/// off, or missing from a container.
#[must_use]
pub fn ipv6_available() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// An address as std knows it, from the kernel's form.
fn inet_address(address: &socket2::SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, "the address is neither IPv4 nor IPv6")
    })
}

/// Where `socket` is bound.
fn local_address(socket: &socket2::Socket) -> io::Result<LocalAddress> {
    let address = socket.local_addr()?;
    if address.is_unix() {
        let path = address.as_pathname().map(PathBuf::from);
        return Ok(LocalAddress::Unix(path.unwrap_or_default()));
    }
    inet_address(&address).map(LocalAddress::Inet)
}

#[cfg(test)]
mod tests;
