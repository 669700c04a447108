//! Measures how much a UDP socket of this host would amplify.
//!
//! Invariants: datagrams go to this host's own addresses only; nothing but `version` and `stats` is
//! sent, once per address; no user's key is read or written. Such a datagram goes through `lo`, so
//! it says nothing about the filters of the outside interface.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use super::{View, clock::Deadline, sockets::is_likely, talk::own_address};
use crate::facts::{
    Facts, Probe, ProbeAnswer, Protocol, Scope, Seen, Socket, SocketState, Unseen, Why,
};

/// Silence after which an answer counts as complete.
const SILENCE: Duration = Duration::from_millis(300);
/// Longest wait for a whole answer.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Most addresses that are asked.
const PROBES_MAX: usize = 16;
/// Most datagrams that are counted; `stats` makes two or three.
const DATAGRAMS_MAX: u64 = 2000;
/// Largest datagram of UDP.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Bytes of the frame that memcached puts before each datagram.
const FRAME_BYTES: usize = 8;

/// Measures if asked to; else notes that it was not.
pub(super) fn collect(view: &View, facts: &Facts, asked: bool) -> Vec<Probe> {
    let likely = |socket: &&Socket| {
        socket.protocol == Protocol::Udp
            && socket.state == SocketState::Listening
            && socket.net_namespace.is_none()
            && is_likely(facts, socket)
    };
    let sockets: Vec<&Socket> = facts.sockets.list().iter().filter(likely).collect();
    if !asked {
        if !sockets.is_empty() {
            let detail = "measured only with --probe".to_owned();
            view.root.gap("amplification over UDP", &Unseen { why: Why::NotAsked, detail });
        }
        return Vec::new();
    }
    let mut probes = Vec::new();
    for socket in sockets {
        for address in addresses(facts, socket) {
            for request in ["version", "stats"] {
                if probes.len() < PROBES_MAX {
                    probes.push(probe(socket.inode, address, request));
                }
            }
        }
    }
    probes
}

/// As bound; of a socket that takes every address, the global ones, else loopback.
fn addresses(facts: &Facts, socket: &Socket) -> Vec<SocketAddr> {
    let Some(local) = socket.local else { return Vec::new() };
    if !local.ip().is_unspecified() {
        return own_address(socket).into_iter().collect();
    }
    let fits = |ip: &IpAddr| if ip.is_ipv4() { socket.takes_v4() } else { socket.takes_v6() };
    let worldly = |scope| matches!(scope, Scope::Global | Scope::Documentation);
    let all = facts.interfaces_of(None).flat_map(|interface| &interface.addresses);
    let found: Vec<SocketAddr> = all
        .filter(|address| worldly(address.scope) && fits(&address.ip))
        .map(|address| SocketAddr::new(address.ip, local.port()))
        .collect();
    if found.is_empty() { own_address(socket).into_iter().collect() } else { found }
}

fn probe(inode: u64, address: SocketAddr, request: &str) -> Probe {
    let sent = datagram(inode, request);
    let answer = match exchange(address, &sent) {
        Ok(answer) if answer.datagrams > 0 => Seen::Known(answer),
        Ok(_) => Seen::unseen(Why::TimedOut, format!("{address} did not answer")),
        Err(error) => Seen::unseen(Why::Failed, format!("{address}: {error}")),
    };
    let request_bytes = u64::try_from(sent.len()).unwrap_or(0);
    Probe { inode, address, request: request.to_owned(), request_bytes, answer }
}

/// Whether anybody answers `version` at an own address.
pub(crate) fn answers(address: SocketAddr) -> bool {
    exchange(address, &datagram(0, "version")).is_ok_and(|answer| answer.datagrams > 0)
}

/// One frame: request id, sequence 0, one datagram, reserved; then the command.
fn datagram(inode: u64, request: &str) -> Vec<u8> {
    // The id only has to differ from what an earlier probe may still have on its way.
    let [.., a, b] = inode.to_be_bytes();
    let mut out = vec![a, b, 0, 0, 0, 1, 0, 0];
    out.extend(request.as_bytes());
    out.extend(b"\r\n");
    out
}

fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<ProbeAnswer> {
    // From the address that is asked: then nothing can leave this host.
    let socket = UdpSocket::bind(SocketAddr::new(address.ip(), 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.send(request)?;
    let deadline = Deadline::after(WAIT_MAX);
    let mut answer = ProbeAnswer { datagrams: 0, bytes: 0 };
    let mut room = vec![0; DATAGRAM_BYTES_MAX];
    while deadline.left().is_some() && answer.datagrams < DATAGRAMS_MAX {
        let len = match socket.recv(&mut room) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => break,
            Err(error) => return Err(error),
        };
        answer.datagrams += 1;
        answer.bytes += u64::try_from(len).unwrap_or(0);
        if total(room.get(..len).unwrap_or_default()) == Some(answer.datagrams) {
            break;
        }
    }
    Ok(answer)
}

/// How many datagrams the frame announces.
fn total(datagram: &[u8]) -> Option<u64> {
    let frame: &[u8; FRAME_BYTES] = datagram.first_chunk()?;
    let [_, _, _, _, a, b, _, _] = *frame;
    Some(u64::from(u16::from_be_bytes([a, b])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_the_known_payload() {
        assert_eq!(datagram(0, "stats"), b"\0\0\0\0\0\x01\0\0stats\r\n");
        assert_eq!(datagram(0, "stats").len(), 15);
    }

    #[test]
    fn every_announced_datagram_is_counted() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let answers = std::thread::spawn(move || {
            let mut room = [0; 100];
            let (_, peer) = server.recv_from(&mut room).unwrap();
            for sequence in 0..2u8 {
                let mut frame = vec![0, 0, 0, sequence, 0, 2, 0, 0];
                frame.extend([b'x'; 92]);
                server.send_to(&frame, peer).unwrap();
            }
        });
        let probe = probe(0, address, "stats");
        answers.join().unwrap();
        assert_eq!(probe.answer, Seen::Known(ProbeAnswer { datagrams: 2, bytes: 200 }));
        assert_eq!(probe.factor(), Some(200.0 / 15.0));
    }
}
