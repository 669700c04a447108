//! A connected stream, TCP or UNIX.
//!
//! Invariants: no call blocks; a short write is normal and says how much went out; a peer that is
//! gone is an error (`Closed`), never a signal.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::SockRef;

use super::{LocalAddress, PeerAddress, listener, local_address};

/// Pieces that one gathered write can take (the kernel's `IOV_MAX`); more are left for the next.
pub const IOVECS_MAX: usize = 1024;

/// A connected, non-blocking stream. Closed when dropped.
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
}

impl Stream {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Reads what is there into `buffer`; 0 means that the peer will send nothing more (or that
    /// the buffer is empty).
    ///
    /// # Errors
    /// See [`super::Trouble`].
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) = rustix::net::recv(&self.fd, buffer, RecvFlags::empty())?;
        Ok(received)
    }

    /// Copies what is there into `buffer` and leaves it to be read; 0 means the same as for
    /// [`Self::read`].
    ///
    /// # Errors
    /// See [`super::Trouble`].
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) = rustix::net::recv(&self.fd, buffer, RecvFlags::PEEK)?;
        Ok(received)
    }

    /// Writes from `bytes` and says how many of them went out.
    ///
    /// # Errors
    /// See [`super::Trouble`].
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL)?)
    }

    /// Writes from the first [`IOVECS_MAX`] `pieces` in order and says how many bytes went out.
    ///
    /// # Errors
    /// See [`super::Trouble`].
    pub fn write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let pieces = pieces.get(..IOVECS_MAX).unwrap_or(pieces);
        let mut nothing = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(&self.fd, pieces, &mut nothing, SendFlags::NOSIGNAL)?)
    }

    /// Ends one or both directions.
    ///
    /// # Errors
    /// `NotConnected` when the peer was faster.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(&self.fd).shutdown(how)
    }

    /// Sends small writes at once instead of gathering them. TCP only.
    ///
    /// # Errors
    /// `Unsupported` on a UNIX socket.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        SockRef::from(&self.fd).set_tcp_nodelay(nodelay)
    }

    /// Has the kernel probe a silent peer, at the intervals of the host's settings.
    ///
    /// # Errors
    /// Only what no correct program meets.
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        SockRef::from(&self.fd).set_keepalive(keepalive)
    }

    /// Discards unsent bytes and resets the connection when it is closed, so that a peer which
    /// does not read cannot keep kernel memory after we gave it up.
    ///
    /// # Errors
    /// Only what no correct program meets.
    pub fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(&self.fd).set_linger(Some(std::time::Duration::ZERO))
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// `NotConnected` when the peer is gone.
    pub fn peer_address(&self) -> io::Result<PeerAddress> {
        listener::peer_address(self.fd.as_fd())
    }

    /// Our end.
    ///
    /// # Errors
    /// Only what no correct program meets.
    pub fn local_address(&self) -> io::Result<LocalAddress> {
        local_address(&SockRef::from(&self.fd))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        stream.fd
    }
}
