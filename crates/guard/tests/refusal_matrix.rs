//! Every cell of the refusal matrix: exposure x address class x listener x transport x
//! authentication x what is required, compared with an oracle that is a table, not code.
//!
//! The oracle knows three things by heart: how far away each address is, what each exposure says to
//! each distance, and what each listener changes. It shares no function with the guard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use kannuki_guard::{
    AccessList, CertificateNames, Exposure, Guard, ListenerId, ListenerTerms, NetworkList, Owner,
    Peer, Policy, Reason, Response, Strangers, UserName, action::Read,
};

/// How far away an address is, by hand: this host, private, world-wide.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Far {
    Here,
    Near,
    World,
}
use Far::{Here, Near, World};

/// Addresses of every class, with every way of writing an IPv4 address into an IPv6 one.
const ADDRESSES: &[(&str, Far)] = &[
    ("127.0.0.1", Here),
    ("127.255.255.254", Here),
    ("::1", Here),
    ("::ffff:127.0.0.1", Here), // mapped
    ("10.0.0.7", Near),
    ("172.16.0.7", Near),
    ("192.168.0.7", Near),
    ("::ffff:192.168.0.7", Near),  // mapped
    ("169.254.0.7", Near),         // link-local
    ("100.64.0.7", Near),          // carrier NAT
    ("fd00::7", Near),             // unique local
    ("fe80::7", Near),             // link-local
    ("fe80::5efe:10.0.0.7", Near), // ISATAP of a private address
    ("8.8.8.8", World),
    ("::ffff:8.8.8.8", World), // mapped
    ("2606:4700::1111", World),
    ("64:ff9b::8.8.8.8", World),  // NAT64
    ("64:ff9b::10.0.0.7", World), // NAT64 says nothing about nearness
    ("64:ff9b::127.0.0.1", World),
    ("64:ff9b:1::192.168.0.7", World), // NAT64, local use
    ("2002:808:808::7", World),        // 6to4
    ("2002:a00:7::7", World),          // 6to4 of a private address
    ("2002:7f00:1::7", World),         // 6to4 of loopback
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", World), // Teredo
    ("fe80::5efe:8.8.8.8", World),     // ISATAP of a public address
    ("::127.0.0.1", World),            // the old "compatible" form
    ("0.0.0.0", World),
    ("::", World),
    ("224.0.0.1", World), // multicast
    ("ff02::1", World),
    ("255.255.255.255", World),
    ("192.0.2.7", World), // documentation
    ("198.51.100.7", World),
    ("203.0.113.7", World),
    ("2001:db8::7", World),
    ("240.0.0.7", World),  // reserved
    ("198.18.0.7", World), // benchmarks
    ("fec0::7", World),    // site-local, abolished
];

/// What an exposure says to a distance: `in`, `out`, or `terms` (whatever strangers are told).
const BY_EXPOSURE: &[(Exposure, [&str; 3])] = &[
    //                        Here   Near   World
    (Exposure::Loopback, ["in", "out", "out"]),
    (Exposure::Private, ["in", "in", "out"]),
    (Exposure::Public, ["in", "in", "terms"]),
];

/// What a listener changes: its number, its name, and what replaces the word of the exposure.
/// `-` = nothing, an exposure = that one's word, `listed` = in whatever the distance.
const LISTENERS: &[(&str, &str)] = &[
    ("without terms", "-"),
    ("with exposure loopback", "loopback"),
    ("with exposure public", "public"),
    ("that allows everything", "listed"),
    ("that denies everything", "denied"),
    ("that allows halves, by two prefixes", "listed"),
];

const STRANGERS: [Strangers; 3] = [Strangers::Never, Strangers::Proven, Strangers::Anyone];
const TRANSPORTS: [&str; 6] = ["tcp", "tls", "udp", "unix", "proxied", "proxied tls"];
const AUTHENTICATIONS: [&str; 3] = ["none", "user", "certificate"];
const REQUIRED: [&str; 4] = ["nothing", "login", "tls", "both"];

#[derive(Clone, Copy, Debug)]
struct Cell {
    exposure: Exposure,
    strangers: Strangers,
    listener: usize,
    address: (&'static str, Far),
    transport: &'static str,
    authentication: &'static str,
    required: &'static str,
    trusts_loopback: bool,
}

/// What the table says: `in`, or the reason for refusing.
fn oracle(cell: &Cell) -> &'static str {
    let tls = cell.transport.ends_with("tls");
    let needs_tls = matches!(cell.required, "tls" | "both");
    let needs_login = matches!(cell.required, "login" | "both");
    let anonymous = cell.authentication != "user";
    let login = if needs_login && anonymous { "unauthenticated" } else { "in" };
    if cell.transport == "unix" {
        return login;
    }
    let (_, far) = cell.address;
    if cell.transport.starts_with("proxied") && far == Here && !cell.trusts_loopback {
        return "proxied-loopback";
    }
    let word = |exposure: &str| {
        let row = BY_EXPOSURE.iter().find(|(named, _)| named.name() == exposure).unwrap();
        row.1[far as usize]
    };
    let door = match LISTENERS[cell.listener].1 {
        "-" => word(cell.exposure.name()),
        "listed" => "in",
        "denied" => return "peer-denied",
        exposure => word(exposure),
    };
    match (door, cell.strangers) {
        ("out", _) | ("terms", Strangers::Never) => "peer-not-allowed",
        ("terms", Strangers::Proven) if !tls => "tls-required",
        _ if needs_tls && !tls => "tls-required",
        ("terms", Strangers::Proven) if cell.authentication == "none" => "unauthenticated",
        _ => login,
    }
}

fn guard(cell: &Cell) -> Guard {
    let networks = |allow: &[&str], deny: &[&str]| {
        let read = |list: &[&str]| list.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
        AccessList::new(read(allow), read(deny)).unwrap()
    };
    let everything = ["0.0.0.0/0", "::/0"];
    let halves = ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"];
    let terms = |exposure, networks| ListenerTerms { exposure, networks, proxies: None };
    let listeners = [
        ListenerTerms::default(),
        terms(Some(Exposure::Loopback), AccessList::default()),
        terms(Some(Exposure::Public), AccessList::default()),
        terms(None, networks(&everything, &[])),
        terms(None, networks(&[], &everything)),
        terms(None, networks(&halves, &everything)),
    ];
    Guard::new(Policy {
        exposure: cell.exposure,
        strangers: cell.strangers,
        listeners: Box::new(listeners),
        proxies: NetworkList::default(),
        proxied_loopback: cell.trusts_loopback,
        login_required: matches!(cell.required, "login" | "both"),
        tls_required: matches!(cell.required, "tls" | "both"),
        ..Policy::default()
    })
}

fn peer(cell: &Cell) -> Peer {
    let address = cell.address.0.parse().unwrap();
    let peer = match cell.transport {
        "tcp" => Peer::tcp(address),
        "tls" => Peer::tcp(address).over_tls(),
        "udp" => Peer::udp(address),
        "unix" => Peer::unix(Owner { uid: 1000, gid: 1000 }),
        "proxied" => Peer::proxied(address),
        _ => Peer::proxied(address).over_tls(),
    };
    let peer = match cell.authentication {
        "user" => peer.with_user(UserName::new("app").unwrap()),
        "certificate" => {
            let names = CertificateNames::new(["cn:app".parse().unwrap()]);
            peer.with_certificate(names.unwrap())
        }
        _ => peer,
    };
    peer.at(ListenerId(u16::try_from(cell.listener).unwrap()))
}

/// What the guard does: admits and permits a read, or refuses; and how.
fn verdict(cell: &Cell) -> &'static str {
    let guard = guard(cell);
    let peer = peer(cell);
    let answer = guard.admit(&peer).and_then(|access| {
        let permit = guard.permit::<Read>(&access, Some(b"key"));
        permit.map(drop)
    });
    let explained = guard.explain(&peer, kannuki_guard::Action::Read, Some(b"key"));
    assert_eq!(answer.err(), explained.denial, "explained otherwise: {cell:?}");
    let Err(denial) = answer else { return "in" };
    let told = match (denial.reason, cell.transport) {
        (Reason::Unauthenticated, _) => Response::Unauthenticated,
        (_, "udp") => Response::Drop,
        _ => Response::Close,
    };
    assert_eq!(denial.response, told, "{cell:?}");
    denial.reason.name()
}

#[test]
fn every_cell_is_as_the_table_says() {
    let mut cells = 0u32;
    let mut verdicts = std::collections::BTreeMap::new();
    for (exposure, _) in BY_EXPOSURE {
        for strangers in STRANGERS {
            for listener in 0..LISTENERS.len() {
                for address in ADDRESSES {
                    for transport in TRANSPORTS {
                        for authentication in AUTHENTICATIONS {
                            for required in REQUIRED {
                                for trusts_loopback in [false, true] {
                                    let cell = Cell {
                                        exposure: *exposure,
                                        strangers,
                                        listener,
                                        address: *address,
                                        transport,
                                        authentication,
                                        required,
                                        trusts_loopback,
                                    };
                                    let expected = oracle(&cell);
                                    assert_eq!(verdict(&cell), expected, "{cell:?}");
                                    *verdicts.entry(expected).or_insert(0u32) += 1;
                                    cells += 1;
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    let all = 3 * 3 * LISTENERS.len() * ADDRESSES.len() * 6 * 3 * 4 * 2;
    assert_eq!(cells as usize, all);
    println!("{cells} cells: {verdicts:?}");
    // Every kind of verdict is met: no row of the table is there in vain.
    let met: Vec<_> = verdicts.into_keys().collect();
    assert_eq!(
        met,
        [
            "in",
            "peer-denied",
            "peer-not-allowed",
            "proxied-loopback",
            "tls-required",
            "unauthenticated",
        ]
    );
}
