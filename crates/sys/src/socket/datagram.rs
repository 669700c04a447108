//! A bound UDP socket.
//!
//! Invariants: no call blocks; a datagram is received whole or, when the buffer is too small for
//! it, reported as truncated, never silently cut.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::{SocketOptions, inet_address};

/// One received datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Received {
    /// Bytes written to the buffer.
    pub bytes: usize,
    /// Who the sender claims to be. Nothing proves it.
    pub from: SocketAddr,
    /// The datagram was longer than the buffer; the rest of it is lost.
    pub truncated: bool,
}

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct Datagram {
    fd: OwnedFd,
    local: SocketAddr,
}

impl Datagram {
    /// Binds a UDP address; port 0 means any free one. The backlog of `options` means nothing here.
    ///
    /// `SO_REUSEADDR` is left off: with it another process could bind the same port and take our
    /// datagrams, and an unconnected socket leaves nothing lingering that a restart would meet.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` and whatever else the kernel answers.
    pub fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(mark) = options.mark {
            socket.set_mark(mark)?;
        }
        socket.bind(&address.into())?;
        Self::bound(socket)
    }

    /// Takes over a socket that is already bound.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or is not bound to an internet address.
    pub(crate) fn inherited(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        Self::bound(socket)
    }

    fn bound(socket: Socket) -> io::Result<Self> {
        let local = inet_address(&socket.local_addr()?)?;
        Ok(Self { fd: socket.into(), local })
    }

    /// Another descriptor of the same socket, for another thread. Each datagram goes to one reader.
    ///
    /// # Errors
    /// When the process or the system is out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, local: self.local })
    }

    /// Takes the next datagram.
    ///
    /// # Errors
    /// See [`super::Trouble`].
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        // With TRUNC the second count is the length of the datagram, not of what fitted.
        let (bytes, whole, from) = rustix::net::recvfrom(&self.fd, buffer, RecvFlags::TRUNC)?;
        let from = from.ok_or(io::ErrorKind::NotConnected)?.try_into()?;
        Ok(Received { bytes, from, truncated: whole > bytes })
    }

    /// Sends one datagram made of `pieces`. It goes out whole or not at all.
    ///
    /// # Errors
    /// See [`super::Trouble`]; also `InvalidInput`-like errors for more than 65507 bytes.
    pub fn send(&self, pieces: &[IoSlice<'_>], to: SocketAddr) -> io::Result<()> {
        let mut nothing = SendAncillaryBuffer::default();
        rustix::net::sendmsg_addr(&self.fd, &to, pieces, &mut nothing, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Where it is bound.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl AsFd for Datagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Datagram {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
