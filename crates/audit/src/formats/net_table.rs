//! `/proc/net/{tcp,tcp6,udp,udp6}` and `/proc/net/unix`.
//!
//! Addresses stand there as words of 32 bits in the order of the machine: `0100007F:2BCB` is
//! 127.0.0.1:11211.

use std::net::{IpAddr, SocketAddr};

use crate::facts::{Protocol, Seen, Socket, SocketState, Why};

/// State of a listening TCP socket.
const TCP_LISTEN: u8 = 0x0a;
/// State of an established connection, and of a UDP socket that has a peer.
const ESTABLISHED: u8 = 0x01;
/// State of a bound UDP socket without a peer.
const UDP_BOUND: u8 = 0x07;
/// Flag of a listening UNIX socket.
const UNIX_LISTENS: u32 = 0x0001_0000;

/// Reads one of the four tables of TCP and UDP.
pub(crate) fn inet(text: &str, protocol: Protocol, net_namespace: Option<u64>) -> Vec<Socket> {
    let read = |line| read_inet(line, protocol, net_namespace);
    text.lines().skip(1).filter_map(read).collect()
}

fn read_inet(line: &str, protocol: Protocol, net_namespace: Option<u64>) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let local = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let state = match (protocol, u8::from_str_radix(fields.next()?, 16).ok()?) {
        (Protocol::Tcp, TCP_LISTEN) | (Protocol::Udp, UDP_BOUND) => SocketState::Listening,
        (_, ESTABLISHED) => SocketState::Established,
        _ => return None,
    };
    let uid = fields.nth(3)?.parse().ok();
    let inode = fields.nth(1)?.parse().ok()?;
    let drops = if protocol == Protocol::Udp { fields.nth(2) } else { None };
    Some(Socket {
        protocol,
        state,
        local: Some(local),
        remote: (state == SocketState::Established).then_some(remote),
        path: None,
        mode: Seen::unseen(Why::Absent, "not a file"),
        v6_only: Seen::unseen(Why::Absent, "/proc/net does not tell"),
        device: None,
        inode,
        uid,
        net_namespace,
        pids: Seen::Known(Vec::new()),
        drops: drops.and_then(|drops| drops.parse().ok()),
    })
}

fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::from(octets)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Reads the listening sockets of `/proc/net/unix` that have a path or an abstract name.
pub(crate) fn unix(text: &str, net_namespace: Option<u64>) -> Vec<Socket> {
    text.lines().skip(1).filter_map(|line| read_unix(line, net_namespace)).collect()
}

fn read_unix(line: &str, net_namespace: Option<u64>) -> Option<Socket> {
    let mut fields = line.splitn(8, ' ');
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    // The rest has columns padded with blanks: type, state, inode, path.
    let rest: Vec<&str> = fields.collect();
    let rest = rest.join(" ");
    let mut fields = rest.split_ascii_whitespace();
    let inode: u64 = fields.nth(2)?.parse().ok()?;
    let inode_text = inode.to_string();
    let at = rest.find(&format!(" {inode_text} "))? + inode_text.len() + 2;
    let path = rest.get(at..)?;
    (flags & UNIX_LISTENS != 0 && !path.is_empty()).then(|| Socket {
        protocol: Protocol::Unix,
        state: SocketState::Listening,
        local: None,
        remote: None,
        path: Some(path.to_owned()),
        mode: Seen::unseen(Why::Absent, "not looked at yet"),
        v6_only: Seen::unseen(Why::Absent, "a UNIX socket"),
        device: None,
        inode,
        uid: None,
        net_namespace,
        pids: Seen::Known(Vec::new()),
        drops: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real lines, with the columns that nobody reads cut short.
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode
   0: 0100007F:2BCB 00000000:0000 0A 00000000:00000000 00:00000000 00000000 112 0 9001 1 0 100 0
   1: 020200C0:2BCB 070200C0:A8CA 01 00000000:00000000 00:00000000 00000000 33 0 9002 1 0 20 4
   2: 020200C0:2BCB 070200C0:A8CA 06 00000000:00000000 00:00000000 00000000 0 0 0 3 0
   3: 0100007F
";
    const UDP6: &str = "\
sl local_address remote_address st queues tr retrnsmt uid timeout inode ref pointer drops
1: 00000000000000000000000000000000:2BCB 00000000000000000000000000000000:0000 07 0:0 0:0 0 \
112 0 9003 2 0000000000000000 17
";

    #[test]
    fn tables_are_read_in_the_order_of_the_machine() {
        let sockets = inet(TCP, Protocol::Tcp, None);
        assert_eq!(sockets.len(), 2, "{sockets:?}");
        assert_eq!(sockets[0].local, Some("127.0.0.1:11211".parse().unwrap()));
        assert_eq!(sockets[0].state, SocketState::Listening);
        assert_eq!((sockets[0].uid, sockets[0].inode), (Some(112), 9001));
        assert_eq!(sockets[1].remote, Some("192.0.2.7:43210".parse().unwrap()));
        let sockets = inet(UDP6, Protocol::Udp, Some(5));
        assert_eq!(sockets[0].local, Some("[::]:11211".parse().unwrap()));
        assert_eq!((sockets[0].drops, sockets[0].net_namespace), (Some(17), Some(5)));
        assert!(sockets[0].takes_v4() && sockets[0].takes_v6(), "not proved to be IPv6 only");
        let loopback = address("00000000000000000000000001000000:2BCB").unwrap();
        assert_eq!(loopback, "[::1]:11211".parse().unwrap());
    }

    #[test]
    fn unix_sockets_that_listen() {
        let text = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01  3021 /run/a b.sock
0000000000000000: 00000003 00000000 00000000 0001 03  3022 /run/connected.sock
0000000000000000: 00000002 00000000 00010000 0001 01  3023 @abstract
0000000000000000: 00000002 00000000 00010000 0001 01  3024
";
        let sockets = unix(text, None);
        let paths: Vec<_> = sockets.iter().map(|s| s.path.as_deref().unwrap()).collect();
        assert_eq!(paths, ["/run/a b.sock", "@abstract"]);
        assert_eq!(sockets[0].inode, 3021);
    }

    #[test]
    fn nonsense_is_left_out() {
        for line in
            ["", "x", "0: 0100007F:2BCB", "0: zz:zz zz:zz 0A", "0: 01:1 01:1 0A 0 0 0 0 0 0"]
        {
            assert!(inet(&format!("head\n{line}\n"), Protocol::Tcp, None).is_empty(), "{line}");
            assert!(unix(&format!("head\n{line}\n"), None).is_empty(), "{line}");
        }
    }
}
