//! Listeners handed over by a service supervisor: socket activation (`LISTEN_FDS`).
//!
//! The supervisor opens the sockets, so that privileged ports need no privilege here and no
//! connection is lost while we restart. It tells by three things: `LISTEN_PID` (for whom),
//! `LISTEN_FDS` (how many), and descriptors from 3 upwards.
//!
//! Invariants: they are taken once; each is checked to be what it is taken for before it is used;
//! a wrong one refuses the start instead of being skipped.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Socket, Type};

use crate::socket::{Datagram, Listener};

/// The first handed-over descriptor, fixed by the protocol.
const FIRST: RawFd = 3;

/// Descriptors taken over. A listener per address and family; nobody has a hundred.
pub const INHERITED_MAX: usize = 128;

/// A socket that somebody opened for us.
#[derive(Debug)]
pub enum Inherited {
    /// A listening TCP socket.
    Tcp(Listener),
    /// A listening UNIX stream socket.
    Unix(Listener),
    /// A bound UDP socket.
    Udp(Datagram),
}

/// Why the handed-over sockets cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum InheritError {
    /// `LISTEN_FDS` is not a count, or more than [`INHERITED_MAX`].
    Count(String),
    /// A descriptor is neither a listening stream socket nor a bound UDP socket.
    Kind {
        /// Its number.
        descriptor: RawFd,
    },
    /// A descriptor is not open or cannot be used.
    Io {
        /// Its number.
        descriptor: RawFd,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(value) => {
                write!(f, "LISTEN_FDS={value:?} is not a count from 0 to {INHERITED_MAX}")
            }
            Self::Kind { descriptor } => write!(
                f,
                "inherited descriptor {descriptor} is neither a listening stream socket nor a \
                 bound UDP socket"
            ),
            Self::Io { descriptor, error } => {
                write!(f, "inherited descriptor {descriptor} cannot be used: {error}")
            }
        }
    }
}

impl std::error::Error for InheritError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Takes the sockets that a supervisor opened for this process; none when there is no supervisor.
/// A second call answers none. To be called before [`crate::process::daemonize`], which changes the
/// process id that they are addressed to.
///
/// # Errors
/// [`InheritError`]; nothing is taken then that could be used.
pub fn take() -> Result<Vec<Inherited>, InheritError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let count = announced(
        std::env::var("LISTEN_PID").ok().as_deref(),
        std::env::var("LISTEN_FDS").ok().as_deref(),
        crate::process::pid(),
    )?;
    if count == 0 || TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let descriptors = (FIRST..).take(count).map(adopt).collect::<Result<Vec<_>, _>>()?;
    (FIRST..).zip(descriptors).map(|(descriptor, fd)| classify(descriptor, fd)).collect()
}

/// How many descriptors the environment announces to the process `pid`.
fn announced(
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    pid: u32,
) -> Result<usize, InheritError> {
    let (Some(listen_pid), Some(listen_fds)) = (listen_pid, listen_fds) else { return Ok(0) };
    // Meant for our parent: the variables were inherited, the descriptors were not.
    if listen_pid.parse() != Ok(pid) {
        return Ok(0);
    }
    match listen_fds.parse() {
        Ok(count) if count <= INHERITED_MAX => Ok(count),
        _ => Err(InheritError::Count(listen_fds.to_owned())),
    }
}

/// Becomes the owner of an open descriptor.
fn adopt(descriptor: RawFd) -> Result<OwnedFd, InheritError> {
    // SAFETY: only asked whether it is open, which is answered by an error if it is not.
    let probe = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::io::fcntl_getfd(probe)
        .map_err(|error| InheritError::Io { descriptor, error: error.into() })?;
    // SAFETY: it is open, and the supervisor gave it to this very process (LISTEN_PID), so nobody
    // else in the process owns it; `take` runs this once in the life of the process.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Finds out what it is.
fn classify(descriptor: RawFd, fd: OwnedFd) -> Result<Inherited, InheritError> {
    let failed = |error| InheritError::Io { descriptor, error };
    let socket = Socket::from(fd);
    let domain = socket.domain().map_err(failed)?;
    let kind = socket.r#type().map_err(failed)?;
    let listens = kind == Type::STREAM && socket.is_listener().map_err(failed)?;
    if listens && domain == Domain::UNIX {
        return Listener::inherited(socket).map(Inherited::Unix).map_err(failed);
    }
    if domain != Domain::IPV4 && domain != Domain::IPV6 {
        return Err(InheritError::Kind { descriptor });
    }
    if listens {
        return Listener::inherited(socket).map(Inherited::Tcp).map_err(failed);
    }
    if kind == Type::DGRAM {
        return Datagram::inherited(socket).map(Inherited::Udp).map_err(failed);
    }
    Err(InheritError::Kind { descriptor })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::socket::{LocalAddress, PeerAddress};

    #[test]
    fn only_what_is_addressed_to_this_process_counts() {
        let of = |pid, fds| announced(pid, fds, 42).unwrap();
        assert_eq!(of(Some("42"), Some("2")), 2);
        assert_eq!(of(Some("42"), Some("0")), 0);
        assert_eq!(of(Some("41"), Some("2")), 0);
        assert_eq!(of(Some(""), Some("2")), 0);
        assert_eq!(of(Some("42"), None), 0);
        assert_eq!(of(None, Some("2")), 0);
        for garbage in ["", "-1", "two", "129", "99999999999999999999"] {
            let error = announced(Some("42"), Some(garbage), 42).unwrap_err().to_string();
            assert!(error.contains("is not a count from 0 to 128"), "{error}");
        }
    }

    #[test]
    fn sockets_are_told_apart() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let Ok(Inherited::Tcp(listener)) = classify(3, tcp.into()) else { panic!("no listener") };
        assert_eq!(listener.local_address(), &LocalAddress::Inet(address));
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let client = TcpStream::connect(address).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, PeerAddress::Inet(client.local_addr().unwrap()));

        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let Ok(Inherited::Udp(datagram)) = classify(4, udp.into()) else { panic!("no datagram") };
        assert_eq!(datagram.local_address(), address);

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let unix = UnixListener::bind(&path).unwrap();
        let Ok(Inherited::Unix(listener)) = classify(5, unix.into()) else { panic!("no unix") };
        assert_eq!(listener.local_address(), &LocalAddress::Unix(path.clone()));
        let _client = UnixStream::connect(&path).unwrap();
        assert!(matches!(listener.accept(), Ok((_, PeerAddress::Unix(_)))));
    }

    #[test]
    fn anything_else_is_refused() {
        let (one, _two) = UnixStream::pair().unwrap();
        assert!(matches!(classify(7, one.into()), Err(InheritError::Kind { descriptor: 7 })));
        let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
        assert!(matches!(classify(7, unix.into()), Err(InheritError::Kind { .. })));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(classify(7, connected.into()), Err(InheritError::Kind { .. })));
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = classify(7, file.into()).unwrap_err().to_string();
        assert!(error.starts_with("inherited descriptor 7 cannot be used: "), "{error}");
    }
}
