//! Opening what peers come in by: TCP, UNIX and UDP sockets, given or inherited.
//!
//! Invariants:
//! - Nothing is opened that the configuration does not name.
//! - A name that resolves to several addresses opens all of them; an address in use is passed over
//!   as long as one can be had, and any other failure ends the start.

use std::{
    fmt::Write as _,
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
};

use kannuki_guard::ListenerId;
use kannuki_protocol::Dialect;
use kannuki_sys::{
    inherited::{self, Inherited},
    socket::{Datagram, Listener, LocalAddress, SocketOptions, ipv6_available},
};

use crate::{
    StartError,
    config::{Config, Listen, Transport, UnixListen},
    tls::ListenerCheck,
};

/// All open sockets of a server.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// TCP and UNIX listeners.
    pub listeners: Vec<Open<Listener>>,
    /// UDP sockets.
    pub datagrams: Vec<Open<Datagram>>,
}

/// An open socket, and what the configuration says about it.
#[derive(Debug)]
pub(crate) struct Open<S> {
    /// The socket.
    pub socket: S,
    /// What its connections or datagrams speak.
    pub dialect: Dialect,
    /// Under which its own terms stand in the policy.
    pub id: ListenerId,
    /// Its connections speak TLS, and are asked so for a certificate; `None` = in clear.
    pub tls: Option<ListenerCheck>,
}

impl Doors {
    /// Takes the sockets of the service manager, or opens those that need the rights of the start.
    /// The UNIX socket is opened later, by [`Doors::open_unix`].
    ///
    /// # Errors
    /// Names the address and the reason.
    pub(crate) fn open(config: &Config) -> Result<Self, StartError> {
        let mut doors = Self::default();
        if config.inherit_sockets {
            let inherited = inherited::take().map_err(|error| system(&error.to_string()))?;
            doors.adopt(inherited, config);
            if !doors.is_empty() {
                return Ok(doors);
            }
        }
        for listen in &config.listens {
            doors.listen(listen, config)?;
        }
        Ok(doors)
    }

    /// Nothing is open.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.datagrams.is_empty()
    }

    fn adopt(&mut self, inherited: Vec<Inherited>, config: &Config) {
        let dialect = config.dialect;
        for socket in inherited {
            match socket {
                Inherited::Tcp(listener) => {
                    let tls = config.tls.as_ref().map(|_| ListenerCheck::Configured);
                    self.listeners.push(Open { tls, ..adopted(listener, dialect) });
                }
                Inherited::Unix(listener) => self.listeners.push(adopted(listener, dialect)),
                Inherited::Udp(datagram) => self.datagrams.push(adopted(datagram, dialect)),
            }
        }
    }

    fn listen(&mut self, listen: &Listen, config: &Config) -> Result<(), StartError> {
        let options = options(config);
        let mut opened = false;
        let mut in_use = None;
        for address in addresses(listen)? {
            match self.bind(listen, address, &options) {
                Ok(()) => opened = true,
                Err(error) if listen.optional && is_absent(&error) => opened = true,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => in_use = Some(address),
                Err(error) => return Err(refused(listen.transport, address, &error)),
            }
        }
        match in_use {
            Some(address) if !opened => {
                let error = io::Error::from(io::ErrorKind::AddrInUse);
                Err(refused(listen.transport, address, &error))
            }
            _ => Ok(()),
        }
    }

    fn bind(
        &mut self,
        listen: &Listen,
        address: SocketAddr,
        options: &SocketOptions,
    ) -> io::Result<()> {
        match listen.transport {
            Transport::Tcp => {
                self.listeners.push(listen.open(Listener::tcp(address, options)?));
            }
            Transport::Udp => {
                self.datagrams.push(listen.open(Datagram::bind(address, options)?));
            }
        }
        Ok(())
    }

    /// Opens the UNIX socket: after privileges were dropped, so that it belongs to the user.
    ///
    /// # Errors
    /// Names the path and the reason.
    pub(crate) fn open_unix(
        &mut self,
        unix: &UnixListen,
        config: &Config,
    ) -> Result<(), StartError> {
        let listener = Listener::unix(&unix.path, unix.mode, &options(config))
            .map_err(|error| system(&error.to_string()))?;
        self.listeners.push(Open {
            socket: listener,
            dialect: unix.dialect,
            id: ListenerId::PLAIN,
            tls: None,
        });
        Ok(())
    }

    /// Writes the bound ports, one line each, for whoever asked for "any port".
    ///
    /// # Errors
    /// Names the file and the reason.
    pub(crate) fn write_ports(&self, path: &Path) -> Result<(), StartError> {
        let mut lines = String::new();
        let tcp = self.listeners.iter().filter_map(|open| open.socket.local_address().inet());
        let tcp = tcp.map(|address| ("TCP", address));
        let udp = self.datagrams.iter().map(|open| ("UDP", open.socket.local_address()));
        for (transport, address) in tcp.chain(udp) {
            let family = if address.is_ipv6() { "INET6" } else { "INET" };
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{transport} {family}: {}", address.port());
        }
        let mut locked = path.as_os_str().to_owned();
        locked.push(".lck");
        std::fs::write(&locked, lines).and_then(|()| std::fs::rename(&locked, path)).map_err(
            |error| system(&format!("cannot write the ports to {}: {error}", path.display())),
        )
    }
}

/// What was handed over is named nowhere in the configuration, so it has no terms of its own.
const fn adopted<S>(socket: S, dialect: Dialect) -> Open<S> {
    Open { socket, dialect, id: ListenerId::PLAIN, tls: None }
}

impl Listen {
    fn open<S>(&self, socket: S) -> Open<S> {
        Open { socket, dialect: self.dialect, id: self.id, tls: self.tls }
    }
}

fn options(config: &Config) -> SocketOptions {
    let mark = (config.socket_mark != 0).then_some(config.socket_mark);
    SocketOptions { backlog: config.backlog, mark }
}

fn addresses(listen: &Listen) -> Result<Vec<SocketAddr>, StartError> {
    let port = listen.port;
    if listen.host == "*" {
        let mut all = vec![SocketAddr::from(([0, 0, 0, 0], port))];
        if ipv6_available() {
            all.push(SocketAddr::from(([0_u16; 8], port)));
        }
        return Ok(all);
    }
    let host = listen.host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, port).to_socket_addrs().map_err(|error| {
        system(&format!("cannot resolve the address to listen on, {:?}: {error}", listen.host))
    })?;
    let mut addresses: Vec<_> = found.collect();
    addresses.dedup();
    Ok(addresses)
}

/// The host has no such address, or no such family.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(kannuki_sys::socket::NO_ADDRESS_FAMILY)
}

fn refused(transport: Transport, address: SocketAddr, error: &io::Error) -> StartError {
    let name = match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let help = match error.kind() {
        io::ErrorKind::AddrInUse => "; another server has it: stop that one, or choose -p",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need more rights: choose -p",
        io::ErrorKind::AddrNotAvailable => "; this host has no such address: check -l",
        _ => "",
    };
    system(&format!("failed to listen on {name} {address}: {error}{help}"))
}

fn system(message: &str) -> StartError {
    StartError::System(message.to_owned())
}

/// As `stats conns` and the log write an address.
#[must_use]
pub(crate) fn describe(address: &LocalAddress) -> String {
    match address {
        LocalAddress::Inet(address) => describe_inet("tcp", *address),
        LocalAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// `tcp:1.2.3.4:5`, `udp6:[::1]:5`
#[must_use]
pub(crate) fn describe_inet(transport: &str, address: SocketAddr) -> String {
    let six = if address.is_ipv6() { "6" } else { "" };
    format!("{transport}{six}:{address}")
}
