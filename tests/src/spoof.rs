//! The two ends of a reflection: a forger of senders, and a meter at the victim. To be made on hosts
//! of a test's own [`Network`](crate::network::Network), as root.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of what the meter may have to hold until it is read: some replies of a megabyte.
const METER_BYTES: usize = 64 << 20;

/// Between two batches of requests: replies on one machine take no millisecond.
const PAUSE: Duration = Duration::from_millis(20);
/// After this silence nothing more comes, on a busy machine either.
const SILENCE: Duration = Duration::from_millis(500);

/// IPv4 header without options, and UDP header.
const IPV4_BYTES: usize = 20;
/// See above.
const UDP_BYTES: usize = 8;

/// Sends datagrams that bear another's address, which this host does not have.
#[derive(Debug)]
pub struct Forger(UdpSocket);

impl Forger {
    /// Forges the address and port `victim`, towards `server`.
    ///
    /// # Panics
    ///
    /// Without the rights to do so.
    pub fn posing_as(victim: SocketAddr, server: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(victim), Type::DGRAM, None).unwrap();
        // The kernel lets a privileged process send from any address, fragments included.
        match victim {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true).unwrap(),
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true).unwrap(),
        }
        socket.bind(&victim.into()).unwrap();
        socket.connect(&server.into()).unwrap();
        Self(socket.into())
    }

    /// Sends one datagram; what it cost the sender, in bytes of UDP payload.
    ///
    /// # Panics
    ///
    /// When the network refuses.
    pub fn send(&self, payload: &[u8]) -> u64 {
        match self.0.send(payload) {
            Ok(sent) => sent as u64,
            // A refusal that came back for an earlier one.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.send(payload),
            Err(error) => panic!("{error}"),
        }
    }
}

/// What arrived of one reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrived {
    /// How many.
    pub datagrams: u64,
    /// UDP payloads.
    pub bytes: u64,
}

/// Counts every UDP datagram that reaches a host, to whatever port, from now on.
#[derive(Debug)]
pub struct Meter {
    socket: Socket,
    at: IpAddr,
}

impl Meter {
    /// A meter for datagrams to the address `at`, to be made on its host.
    ///
    /// # Panics
    ///
    /// Without the rights to do so.
    pub fn new(at: IpAddr) -> Self {
        let domain = if at.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::UDP)).unwrap();
        let own = SocketAddr::new(at, 0);
        socket.bind(&own.into()).unwrap();
        // Beyond the system's default, which root may.
        let force = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, METER_BYTES);
        force.unwrap();
        Self { socket, at }
    }

    /// Takes what has come by now into `arrived`, by the request id that each datagram bears.
    pub fn glance(&self, arrived: &mut BTreeMap<u16, Arrived>) {
        self.read_until(PAUSE, arrived);
    }

    /// Takes what has come, until nothing comes any more.
    pub fn rest(&self, arrived: &mut BTreeMap<u16, Arrived>) {
        self.read_until(SILENCE, arrived);
    }

    fn read_until(&self, silence: Duration, arrived: &mut BTreeMap<u16, Arrived>) {
        self.socket.set_read_timeout(Some(silence)).unwrap();
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length) = (&self.socket).read(&mut buffer) {
            let headers = if self.at.is_ipv4() { IPV4_BYTES + UDP_BYTES } else { UDP_BYTES };
            let payload = &buffer[headers.min(length)..length];
            let id = payload.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
            let reply = arrived.entry(id).or_default();
            reply.datagrams += 1;
            reply.bytes += payload.len() as u64;
        }
    }
}
