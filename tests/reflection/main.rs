//! The incident that must not happen: a server with UDP on, an attacker who forges senders, and
//! the hosts whose addresses were forged.
//!
//! Four hosts on one switch, each a network namespace: the server with a large item, an attacker,
//! two victims of which the second holds an open TCP connection, and a client that the operator
//! listed. The same requests go to Debian's memcached, whose factor is printed beside ours: it also
//! shows that the meter would have seen a flood.

mod requests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kannuki_tests::launch::free_port;
use kannuki_tests::network::{Network, unavailable};
use kannuki_tests::spoof::{Arrived, Forger, Meter};
use kannuki_tests::{Launch, Program, Server, Wire};

use requests::{LARGE, LARGE_BYTES, Request};

/// Ports of a victim that the attacker names as senders: a client's, memcached's, DNS's.
const FORGED_PORTS: [u16; 3] = [40_000, 11_211, 53];

/// Requests sent at once: fewer than a socket's buffer holds, so that each is looked at.
const BATCH: usize = 12;

/// The hosts, by their position in the network.
const SERVER: usize = 0;
const ATTACKER: usize = 1;
const VICTIMS: [usize; 2] = [2, 3];
const LISTED: usize = 4;

/// Private addresses, which a server with an address of its own admits, or public ones.
#[derive(Clone, Copy, Debug)]
enum Place {
    Private,
    Public,
}

impl Place {
    fn lay(self) -> Network {
        match self {
            Self::Private => Network::lay(&[
                &["10.77.0.1/24", "fd77::1/64"],
                &["10.77.0.66/24", "fd77::66/64"],
                &["10.77.0.2/24", "10.77.0.12/24", "fd77::2/64"],
                &["10.77.0.3/24", "fd77::3/64"],
                &["10.77.0.4/24", "fd77::4/64"],
            ]),
            Self::Public => Network::lay(&[
                &["203.0.113.1/24", "2001:db8:77::1/64"],
                &["203.0.113.66/24", "2001:db8:77::66/64"],
                &["203.0.113.2/24", "203.0.113.12/24", "2001:db8:77::2/64"],
                &["203.0.113.3/24", "2001:db8:77::3/64"],
                &["203.0.113.4/24", "2001:db8:77::4/64"],
            ]),
        }
    }

    /// The flags that open Kannuki as wide as its operator can.
    fn exposure(self) -> &'static [&'static str] {
        match self {
            Self::Private => &["--exposure", "private"],
            Self::Public => &["--exposure", "public", "--danger-public-without-auth"],
        }
    }
}

/// A server with UDP on, on its host.
struct Target {
    server: Server,
    port: u16,
    tcp: u16,
}

impl Target {
    fn start(program: Program, network: &Network, more: &[String]) -> Self {
        let host = network.host(SERVER);
        let listen: Vec<String> = host.addresses().iter().map(|one| bracketed(*one)).collect();
        let listen = format!("127.0.0.1,{}", listen.join(","));
        host.inside(|| {
            let port = free_port();
            let server = Launch::of(program)
                .without_listen()
                .flags(["-l", &listen, "-U", &port.to_string()])
                .flags(more.iter().cloned())
                .start();
            let tcp = server.port();
            let target = Self { server, port, tcp };
            target.fill();
            target
        })
    }

    /// How many replies were held back because their receiver is not trusted.
    fn held_back(&self, network: &Network) -> u64 {
        let stats = network
            .host(SERVER)
            .inside(|| kannuki_tests::stats(&mut self.server.connect(), "stats"));
        let of_udp = |key: &str| key.starts_with("kannuki_refused_") && key.contains("udp");
        let counted = stats.iter().filter(|(key, _)| of_udp(key));
        counted.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    /// To be called on the server's host.
    fn fill(&self) {
        let mut wire = self.server.connect();
        let value = "v".repeat(LARGE_BYTES);
        let stored = wire.ask(&format!("set {LARGE} 0 0 {LARGE_BYTES}\r\n{value}\r\n"));
        assert_eq!(stored, "STORED");
        assert_eq!(wire.ask("set small 0 0 1\r\nx\r\n"), "STORED");
        assert_eq!(wire.ask("set counter 0 0 1\r\n1\r\n"), "STORED");
    }

    fn is_still_full(&self, network: &Network) -> bool {
        let bytes = network.host(SERVER).inside(|| {
            let mut wire = self.server.connect();
            wire.ask(&format!("mg {LARGE} s\r\n"))
        });
        bytes == format!("HD s{LARGE_BYTES}")
    }
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// What one run against one server came to.
#[derive(Debug, Default)]
struct Balance {
    sent: u64,
    arrived: u64,
    answered: usize,
    worst: (f64, String),
}

impl Balance {
    /// Bandwidth amplification factor: UDP payload to the victim per UDP payload of the attacker.
    fn factor(&self) -> f64 {
        self.arrived as f64 / self.sent as f64
    }

    fn add(&mut self, sent: u64, arrived: Arrived, name: &str) {
        self.sent += sent;
        self.arrived += arrived.bytes;
        self.answered += usize::from(arrived.datagrams > 0);
        let factor = arrived.bytes as f64 / sent.max(1) as f64;
        if factor > self.worst.0 {
            self.worst = (factor, name.to_owned());
        }
    }
}

/// Sends every request in the name of `victim` and compares what reached it with what was sent.
fn attack(
    network: &Network,
    target: &Target,
    (victim, address): (usize, IpAddr),
    requests: &[Request],
    mut check: impl FnMut(&Request, u64, Arrived),
) -> Balance {
    let mut balance = Balance::default();
    let meter = network.host(victim).inside(|| Meter::new(address));
    let server = SocketAddr::new(network.host(SERVER).address(address.is_ipv4()), target.port);
    for port in FORGED_PORTS {
        let posing = SocketAddr::new(address, port);
        let forger = network.host(ATTACKER).inside(|| Forger::posing_as(posing, server));
        let mut arrived = BTreeMap::new();
        let mut sent = Vec::new();
        for batch in requests.chunks(BATCH) {
            for request in batch {
                // 0 is left to what answers no request that was framed.
                let id = u16::try_from(sent.len() + 1).unwrap();
                sent.push(forger.send(&request.with_id(id)));
            }
            meter.glance(&mut arrived);
        }
        meter.rest(&mut arrived);
        for ((request, sent), id) in requests.iter().zip(sent).zip(1..) {
            let came = arrived.remove(&id).unwrap_or_default();
            check(request, sent, came);
            balance.add(sent, came, &request.name);
        }
        assert!(arrived.is_empty(), "nobody asked for {arrived:?}");
    }
    balance
}

/// Every victim's every address.
fn aims(network: &Network) -> Vec<(usize, IpAddr)> {
    let of = |victim: usize| {
        network.host(victim).addresses().iter().map(move |address| (victim, *address))
    };
    VICTIMS.into_iter().flat_map(of).collect()
}

fn can_lay(what: &str) -> bool {
    match unavailable() {
        None => true,
        Some(why) if !kannuki_tests::process::is_root() => {
            eprintln!("\n*** SKIPPED: {what}: {why} ***\n");
            false
        }
        Some(why) => {
            kannuki_tests::missing(what, why);
            false
        }
    }
}

/// The second victim's TCP connection, which proves nothing about who sends datagrams.
fn open_connection(network: &Network, target: &Target) -> Wire {
    network.host(VICTIMS[1]).inside(|| {
        let address = SocketAddr::new(network.host(SERVER).address(true), target.tcp);
        let mut wire = Wire::tcp(address).unwrap();
        assert!(wire.ask("version\r\n").starts_with("VERSION "));
        wire
    })
}

fn nothing_is_amplified(place: Place) {
    if !can_lay("the proof against reflection") {
        return;
    }
    let network = place.lay();
    let flags: Vec<String> = place.exposure().iter().map(ToString::to_string).collect();
    let target = Target::start(Program::Kannuki, &network, &flags);
    let _open = open_connection(&network, &target);
    let mut all = Balance::default();
    for aim in aims(&network) {
        let balance =
            attack(&network, &target, aim, &requests::harmless(), |request, sent, came| {
                let Request { name, .. } = request;
                assert!(came.bytes <= sent, "{name}: {sent} bytes in, {} to {aim:?}", came.bytes);
            });
        all.sent += balance.sent;
        all.arrived += balance.arrived;
        all.answered += balance.answered;
        println!("{place:?}: {} gets {:.3} of what was sent", aim.1, balance.factor());
    }
    assert!(target.is_still_full(&network), "what could have been sent was there to the end");
    assert!(target.held_back(&network) > 0, "what was refused is counted");
    // The bound must not be kept by answering nobody.
    assert!(all.answered > 0, "some requests are answered");
    println!("{place:?}: Kannuki's factor {:.3} over {} bytes sent", all.factor(), all.sent);
}

#[test]
fn nothing_is_amplified_among_private_hosts() {
    nothing_is_amplified(Place::Private);
}

#[test]
fn nothing_is_amplified_on_the_internet() {
    nothing_is_amplified(Place::Public);
}

/// In the name of every address of every victim, each with a cache that is full again. Once as a
/// server is by default, which denies such commands to other hosts, and once where rules allow
/// them, so that they are executed.
#[test]
fn what_empties_the_cache_is_not_amplified_either() {
    if !can_lay("the proof against reflection, all commands") {
        return;
    }
    let network = Place::Private.lay();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("kannuki.toml");
    let rule = "[[rule]]\nanyone = true\nallow = [\"flush\", \"admin\", \"dump\", \"delete\"]\n";
    std::fs::write(&config, rule).unwrap();
    let allowing = vec!["--config".to_owned(), config.display().to_string()];
    for (flags, executes) in [(vec!["-A".to_owned()], false), (allowing, true)] {
        for aim in aims(&network) {
            let target = Target::start(Program::Kannuki, &network, &flags);
            let mut answered = 0;
            attack(&network, &target, aim, &requests::emptying(), |request, sent, came| {
                let Request { name, .. } = request;
                assert!(came.bytes <= sent, "{name}: {sent} bytes in, {} to {aim:?}", came.bytes);
                answered += u64::from(came.datagrams > 0);
            });
            assert!(answered > 0, "some are answered, if only by a refusal: {aim:?}");
            // Any peer may delete the large item; only a flush takes the other one.
            assert!(!target.is_still_full(&network), "{flags:?} {aim:?}");
            let ask = || target.server.connect().ask("mg small\r\n");
            let left = network.host(SERVER).inside(ask);
            assert_eq!(left, if executes { "EN" } else { "HD" }, "{flags:?} {aim:?}");
        }
    }
}

#[test]
fn memcached_amplifies_and_the_meter_sees_it() {
    if !can_lay("the amplification of memcached") {
        return;
    }
    if let Err(why) = Program::Memcached.path() {
        return kannuki_tests::missing("the amplification of memcached", &why);
    }
    let network = Place::Private.lay();
    let target = Target::start(Program::Memcached, &network, &[]);
    // One address, and of the dear requests only one of each kind: a reply has megabytes.
    let dear =
        ["get big\\r\\n", "stats\\r\\n", "version\\r\\n", "binary 00", "stats settings\\r\\n"];
    let requests: Vec<Request> = requests::harmless()
        .into_iter()
        .filter(|request| dear.contains(&request.name.as_str()))
        .collect();
    assert_eq!(requests.len(), dear.len());
    let aim = aims(&network)[0];
    let balance = attack(&network, &target, aim, &requests, |request, sent, came| {
        println!("memcached: {}: {sent} bytes in, {} out", request.name, came.bytes);
    });
    println!(
        "memcached's factor {:.0}, of {} {:.0}",
        balance.factor(),
        balance.worst.1,
        balance.worst.0
    );
    assert!(balance.factor() > 100.0, "memcached amplifies: {balance:?}");
}

#[test]
fn a_listed_client_gets_whole_replies_while_others_are_attacked() {
    if !can_lay("a listed client over UDP") {
        return;
    }
    let network = Place::Private.lay();
    let listed = network.host(LISTED).address(true);
    let flags = ["--udp-trusted".to_owned(), format!("{listed}/32")];
    let target = Target::start(Program::Kannuki, &network, &flags);
    let aim = aims(&network)[0];
    let attacked = &[requests::harmless()[0].clone()];
    attack(&network, &target, aim, attacked, |_, sent, came| assert!(came.bytes <= sent));
    let server = SocketAddr::new(network.host(SERVER).address(true), target.port);
    let reply = network.host(LISTED).inside(|| whole_reply(listed, server));
    let expected =
        format!("VALUE {LARGE} 0 {LARGE_BYTES}\r\n{}\r\nEND\r\n", "v".repeat(LARGE_BYTES));
    assert!(reply == expected.as_bytes(), "{} of {} bytes", reply.len(), expected.len());
}

/// Asks for the large item until a reply came without a loss, which UDP may have.
fn whole_reply(own: IpAddr, server: SocketAddr) -> Vec<u8> {
    for _ in 0..5 {
        let socket = std::net::UdpSocket::bind((own, 0)).unwrap();
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 16 << 20);
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.connect(server).unwrap();
        socket.send(b"\x00\x01\x00\x00\x00\x01\x00\x00get big\r\n").unwrap();
        let mut pieces = std::collections::BTreeMap::new();
        let mut buffer = [0; 2048];
        let mut count = usize::MAX;
        while pieces.len() < count {
            let Ok(length) = socket.recv(&mut buffer) else { break };
            let word = |at: usize| u16::from_be_bytes([buffer[at], buffer[at + 1]]);
            assert_eq!(word(0), 1, "the request's id");
            count = usize::from(word(4));
            pieces.insert(word(2), buffer[8..length].to_vec());
        }
        if pieces.len() == count {
            return pieces.into_values().flatten().collect();
        }
    }
    panic!("five replies with losses");
}

#[test]
fn two_servers_are_not_set_on_each_other() {
    if !can_lay("two servers and a forged sender") {
        return;
    }
    let network = Place::Private.lay();
    let target = Target::start(Program::Kannuki, &network, &[]);
    // The victim is a server itself, on the very port that the attacker names.
    let victim = network.host(VICTIMS[0]);
    let other = victim.address(true);
    let other_server = victim.inside(|| {
        Launch::kannuki()
            .without_listen()
            .flags(["-l", &format!("127.0.0.1,{other}"), "-U", &target.port.to_string()])
            .start()
    });
    let meter = victim.inside(|| Meter::new(other));
    let posing = SocketAddr::new(other, target.port);
    let server = SocketAddr::new(network.host(SERVER).address(true), target.port);
    let requests = requests::harmless();
    let mut sent = 0;
    for request in &requests {
        // Bound where the victim's server is: only the forger's host may hold that name twice.
        let forger = network.host(ATTACKER).inside(|| Forger::posing_as(posing, server));
        sent += forger.send(&request.with_id(1));
    }
    let mut arrived = BTreeMap::new();
    meter.rest(&mut arrived);
    let (bytes, datagrams) = arrived.values().fold((0, 0), |(bytes, datagrams), reply| {
        (bytes + reply.bytes, datagrams + reply.datagrams)
    });
    // One reply each at the most, and none to a reply.
    assert!(bytes <= sent, "{sent} bytes in, {bytes} out");
    assert!(datagrams <= requests.len() as u64, "{datagrams} datagrams");
    meter.rest(&mut arrived);
    drop(other_server);
}
