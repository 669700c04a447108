//! Exposure between hosts: a server, a peer on a private network and one on a public network, each
//! in a network namespace of its own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kannuki_tests::network::{Host, Network, unavailable};
use kannuki_tests::{Launch, Server, Wire, clock, missing};

use super::{DENIED, refused};

const CLOSE_WAIT: Duration = Duration::from_secs(20);
/// Hosts of the network: the server, and a peer with private and public addresses.
const SERVER: usize = 0;
const PEER: usize = 1;
const ADDRESSES: [&[&str]; 2] = [
    &["10.77.0.1/24", "203.0.113.1/24", "fd77::1/64", "2001:db8:77::1/64"],
    &["10.77.0.2/24", "203.0.113.2/24", "fd77::2/64", "2001:db8:77::2/64"],
];

fn lay() -> Option<Network> {
    if let Some(why) = unavailable() {
        missing("exposure between hosts", why);
        return None;
    }
    Some(Network::lay(&ADDRESSES))
}

fn start(network: &Network, flags: &[&str]) -> Server {
    let host = network.host(SERVER);
    let all: Vec<String> = host.addresses().iter().map(|address| bracketed(*address)).collect();
    let listen = format!("127.0.0.1,{}", all.join(","));
    host.inside(|| {
        let launch = Launch::kannuki().without_listen().flags(["-l", listen.as_str()]);
        launch.flags(flags.iter().copied()).start()
    })
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// What the server says to a command from each address of the peer; empty = closed without a word.
fn said(network: &Network, server: &Server, command: &str) -> [String; 4] {
    let (from, to): (&Host, &Host) = (network.host(PEER), network.host(SERVER));
    let pairs: Vec<_> = from.addresses().iter().zip(to.addresses()).collect();
    let answer = |at: usize| {
        let (local, remote) = pairs[at];
        from.inside(|| {
            let remote = SocketAddr::new(*remote, server.port());
            let mut wire = Wire::tcp_from(*local, remote).unwrap();
            let _ = wire.try_send(format!("{command}\r\nquit\r\n").as_bytes());
            let answer = wire.drain(CLOSE_WAIT);
            String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
        })
    };
    [0, 1, 2, 3].map(answer)
}

#[test]
fn without_a_word_only_private_peers_come_in_and_only_for_items() {
    let Some(network) = lay() else { return };
    let server = start(&network, &[]);
    assert_eq!(said(&network, &server, "get k"), ["END", "", "END", ""]);
    for command in [
        "flush_all",
        "verbosity 1",
        "lru_crawler metadump all",
        "stats reset",
        "watch",
        "cache_memlimit 9",
    ] {
        let told = said(&network, &server, command);
        assert_eq!(told[0], told[2]);
        assert!(told[0] == DENIED || command == "watch", "{command}: {}", told[0]);
        assert!(told[0].contains("ERROR"), "{command}: {}", told[0]);
        assert_eq!((told[1].as_str(), told[3].as_str()), ("", ""), "{command}");
    }
    network.host(SERVER).inside(|| {
        let mut own = server.connect();
        assert!(refused(&mut own, "peer-not-allowed") >= 14);
        assert!(refused(&mut own, "remote-default") >= 10);
        assert_eq!(own.ask("flush_all\r\n"), "OK", "this host may");
    });
    let line = clock::until(CLOSE_WAIT, || {
        let said = server.stderr();
        said.lines().find(|line| line.contains("203.0.113.2")).map(ToOwned::to_owned)
    });
    let line = line.unwrap_or_else(|| panic!("no line about it: {}", server.stderr()));
    assert!(line.contains("--allow"), "it says how to let them in: {line}");
}

#[test]
fn each_exposure_and_each_list_between_hosts() {
    let Some(network) = lay() else { return };
    let cases: &[(&[&str], [&str; 4])] = &[
        (&["--allow", "203.0.113.2"], ["END", "END", "END", ""]),
        (&["--allow", "2001:db8:77::/64", "--deny", "10.0.0.0/8"], ["", "", "END", "END"]),
        (&["--allow", "203.0.113.0/24", "--deny", "203.0.113.2"], ["END", "", "END", ""]),
        (&["--exposure", "loopback", "--allow", "fd77::2"], ["", "", "END", ""]),
        (&["--exposure", "public", "--allow", "203.0.113.0/24"], ["END", "END", "END", ""]),
        (&["--exposure", "public", "--danger-public-without-auth"], ["END", "END", "END", "END"]),
    ];
    for (flags, expected) in cases {
        let server = start(&network, flags);
        assert_eq!(said(&network, &server, "get k"), *expected, "{flags:?}");
    }
}
