//! Listeners: TCP and UNIX sockets that hand out streams.
//!
//! Invariants: an IPv6 listener takes IPv6 only, so that one address means one family; a UNIX
//! socket exists with exactly the permission bits asked for from its first moment; a file in its
//! way is removed only if it is a socket and nobody answers there.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{LocalAddress, PeerAddress, Stream, UnixPeer, inet_address, local_address};

/// What is common to every listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SocketOptions {
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
    /// A mark for the firewall (`SO_MARK`), inherited by accepted connections. Needs CAP_NET_ADMIN.
    pub mark: Option<u32>,
}

/// Why no UNIX socket was made.
#[derive(Debug)]
#[non_exhaustive]
pub enum UnixListenError {
    /// Another process answers at this path.
    InUse(PathBuf),
    /// Something that is not a socket is at this path, and it is not ours to remove.
    NotASocket(PathBuf),
    /// The path is longer than a socket address can hold (107 bytes).
    PathTooLong(PathBuf),
    /// The system refused.
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl std::fmt::Display for UnixListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse(path) => {
                write!(f, "another process already listens on {}", path.display())
            }
            Self::NotASocket(path) => {
                write!(f, "{} exists and is not a socket; it was left alone", path.display())
            }
            Self::PathTooLong(path) => {
                write!(f, "{} is longer than the 107 bytes of a socket path", path.display())
            }
            Self::Io { what, path, error } => {
                write!(f, "cannot {what} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for UnixListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A listening TCP or UNIX socket.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    local: LocalAddress,
}

impl Listener {
    /// Listens on a TCP address; port 0 means any free one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` and whatever else the kernel answers.
    pub fn tcp(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        // Else a restart fails for as long as connections of the former process linger.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        Self::mark(&socket, options)?;
        socket.bind(&address.into())?;
        socket.listen(backlog(options))?;
        Self::bound(socket)
    }

    /// Listens at `path` with the permission bits `mode` (memcached's `-a`; 0o700 for the owner
    /// alone). To be called before threads that create files exist: the process's file mode mask
    /// is changed for the length of one system call.
    ///
    /// # Errors
    /// [`UnixListenError`] names the path and the reason.
    pub fn unix(path: &Path, mode: u32, options: &SocketOptions) -> Result<Self, UnixListenError> {
        let address =
            SockAddr::unix(path).map_err(|_| UnixListenError::PathTooLong(path.to_path_buf()))?;
        let failed = |what, error| UnixListenError::Io { what, path: path.to_path_buf(), error };
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::UNIX, kind, None)
            .map_err(|error| failed("make a socket", error))?;
        remove_stale(path, &address)?;
        // The kernel gives the file the mode of the unbound socket, less the mask: so it never
        // exists with more rights than asked for, and no path is followed a second time.
        let mode = Mode::from_raw_mode(mode & 0o777);
        rustix::fs::fchmod(&socket, mode).map_err(|error| failed("protect", error.into()))?;
        let mask = rustix::process::umask(Mode::empty());
        let bound = socket.bind(&address);
        rustix::process::umask(mask);
        bound.map_err(|error| failed("listen on", error))?;
        Self::mark(&socket, options)
            .and_then(|()| socket.listen(backlog(options)))
            .and_then(|()| Self::bound(socket))
            .map_err(|error| failed("listen on", error))
    }

    /// Takes over a socket that already listens.
    ///
    /// # Errors
    /// When it cannot be made non-blocking or has no address we know.
    pub(crate) fn inherited(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        Self::bound(socket)
    }

    /// Takes the next waiting connection.
    ///
    /// # Errors
    /// See [`super::Trouble`]: `WouldBlock` when none is waiting, `Closed` when this one is gone
    /// already (take the next), `Exhausted` when there is no descriptor for it.
    pub fn accept(&self) -> io::Result<(Stream, PeerAddress)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if let LocalAddress::Unix(_) = self.local {
            let fd = rustix::net::accept_with(&self.fd, flags)?;
            let peer = PeerAddress::Unix(unix_peer(fd.as_fd())?);
            return Ok((Stream::new(fd), peer));
        }
        let (fd, address) = rustix::net::acceptfrom_with(&self.fd, flags)?;
        let address = address.ok_or(io::ErrorKind::NotConnected)?;
        Ok((Stream::new(fd), PeerAddress::Inet(address.try_into()?)))
    }

    /// Where it listens.
    #[must_use]
    pub fn local_address(&self) -> &LocalAddress {
        &self.local
    }

    fn mark(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
        options.mark.map_or(Ok(()), |mark| socket.set_mark(mark))
    }

    fn bound(socket: Socket) -> io::Result<Self> {
        let local = local_address(&socket)?;
        Ok(Self { fd: socket.into(), local })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn backlog(options: &SocketOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

/// Removes what a former process left at `path`, and nothing else.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), UnixListenError> {
    let failed = |what, error| UnixListenError::Io { what, path: path.to_path_buf(), error };
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", error)),
    };
    if !found.file_type().is_socket() {
        return Err(UnixListenError::NotASocket(path.to_path_buf()));
    }
    let kind = Type::STREAM.nonblocking().cloexec();
    let probe = Socket::new(Domain::UNIX, kind, None).and_then(|probe| probe.connect(address));
    match probe {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {
            std::fs::remove_file(path).map_err(|error| failed("remove the stale socket", error))
        }
        // Answered, busy (a full backlog) or a socket of another type: somebody owns it.
        Ok(()) => Err(UnixListenError::InUse(path.to_path_buf())),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            Err(UnixListenError::InUse(path.to_path_buf()))
        }
        Err(error) => Err(failed("find out who owns the socket", error)),
    }
}

/// Asks the kernel who connected. rustix has a face for this too, but its process id cannot be
/// zero, which is what the kernel answers for a process outside our namespace.
fn unix_peer(fd: BorrowedFd<'_>) -> io::Result<UnixPeer> {
    let mut peer = MaybeUninit::<libc::ucred>::zeroed();
    let mut bytes = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` has room for `bytes` bytes, both outlive the call, and the descriptor is open
    // because it is borrowed.
    let answer = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            peer.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: three integers, zeroed before the call: initialised whatever the kernel wrote.
    let peer = unsafe { peer.assume_init() };
    Ok(UnixPeer { uid: peer.uid, gid: peer.gid, pid: u32::try_from(peer.pid).unwrap_or(0) })
}

/// The peer of a connected stream.
pub(super) fn peer_address(fd: BorrowedFd<'_>) -> io::Result<PeerAddress> {
    let socket = socket2::SockRef::from(&fd);
    let address = socket.peer_addr()?;
    if address.is_unix() {
        return unix_peer(fd).map(PeerAddress::Unix);
    }
    inet_address(&address).map(PeerAddress::Inet)
}
