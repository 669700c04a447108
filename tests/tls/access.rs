//! Who comes in over TLS, and what for: names in certificates, addresses told by a proxy before the
//! handshake, and strangers from the internet.

use std::path::PathBuf;
use std::time::Duration;

use kannuki_tests::network::{Network, unavailable};
use kannuki_tests::{Launch, Server, Wire, missing};
use rcgen::SanType;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use super::bed::{Authority, When, write};
use super::client::{Client, config, config_of};

const DENIED: &str = "CLIENT_ERROR access denied";
const CLOSE_WAIT: Duration = Duration::from_secs(20);

/// Files of an authority, a server's certificate, and a `kannuki.toml` that uses them.
struct House {
    authority: Authority,
    folder: TempDir,
}

impl House {
    fn new(settings: &str) -> Self {
        let house =
            Self { authority: Authority::new("authority"), folder: TempDir::new().unwrap() };
        let own = house.authority.sign("server", When::Now);
        write(&house.path("chain.pem"), &own.pem);
        write(&house.path("key.pem"), &own.key_pem);
        write(&house.path("ca.pem"), &house.authority.pem);
        let tls = format!(
            "enable-ssl = true\nssl-chain-cert = {:?}\nssl-key = {:?}\nssl-ca-cert = {:?}\n",
            house.path("chain.pem"),
            house.path("key.pem"),
            house.path("ca.pem")
        );
        write(&house.path("kannuki.toml"), &format!("{tls}{settings}"));
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn launch(&self) -> Launch {
        let file = self.path("kannuki.toml").display().to_string();
        Launch::kannuki().flags(["--config", &file])
    }
}

const BY_CERTIFICATE: &str = "ssl-verify-mode = 2\n\
    [[rule]]\ncertificate = \"cn:writer\"\n\
    allow = [\"read\", \"write\", \"delete\"]\nkeys = \"app:\"\n\
    [[rule]]\ncertificate = \"dns:reader.example\"\n\
    allow = \"read\"\nkeys = \"app:\"\n\
    [[rule]]\ncertificate = \"uri:spiffe://shop/cleaner\"\n\
    allow = \"delete\"\nkeys = \"app:\"\n\
    [[rule]]\ncertificate = \"ip:10.9.8.7\"\nallow = \"all\"\n\
    [[rule]]\nanyone = true\ndeny = \"all\"\n";

/// Which of read, write and delete a client may do with a key.
fn may(client: &mut Client, key: &str) -> [bool; 3] {
    let asked =
        [format!("mg {key} v\r\n"), format!("ms {key} 1\r\n7\r\n"), format!("delete {key}\r\n")];
    asked.map(|request| {
        let answer = client.ask(&request);
        if answer.starts_with("VA ") {
            assert_eq!(client.exactly(3), b"7\r\n");
        }
        answer != DENIED
    })
}

#[test]
fn names_of_every_kind_decide_by_action_and_prefix() {
    let house = House::new(BY_CERTIFICATE);
    let server = house.launch().start();
    let dns = SanType::DnsName("reader.example".try_into().unwrap());
    let uri = SanType::URI("spiffe://shop/cleaner".try_into().unwrap());
    let ip = SanType::IpAddress([10, 9, 8, 7].into());
    let sign = |name: &str| house.authority.sign(name, When::Now);
    let sign_also = |san| house.authority.sign_also("anybody", When::Now, [san]);
    // In `app:`, and elsewhere: read, write, delete.
    let cases = [
        (sign("writer"), [true, true, true], [false; 3]),
        (sign_also(dns), [true, false, false], [false; 3]),
        (sign_also(uri), [false, false, true], [false; 3]),
        (sign_also(ip), [true, true, true], [true; 3]),
        // A name of another kind with the same letters is another name.
        (sign("reader.example"), [false; 3], [false; 3]),
        (sign("anybody"), [false; 3], [false; 3]),
    ];
    for version in [&TLS12, &TLS13] {
        for (case, (identity, own, other)) in cases.iter().enumerate() {
            let config = config_of(&house.authority, Some(identity), &[version]);
            for round in 0..2 {
                let mut client = Client::open(server.port(), &config);
                assert_eq!(may(&mut client, "app:1"), *own, "case {case}, round {round}");
                assert_eq!(may(&mut client, "app"), *other, "case {case}, round {round}");
                // A session that goes on is still the same client's.
                assert_eq!(client.resumed(), round == 1, "case {case}, {version:?}");
            }
        }
    }
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    let house = House::new(
        "exposure = \"private\"\nproxy-from = \"127.0.0.1\"\n\
         [[rule]]\nnetwork = \"10.0.0.7\"\nallow = [\"read\", \"write\"]\n\
         [[rule]]\nanyone = true\ndeny = \"all\"\n",
    );
    let server = house.launch().start();
    let behind = |header: &[u8]| {
        let mut client = Client::open(server.port(), &config(&house.authority, None));
        client.send_raw(header);
        client
    };
    let v1 = |address: &str| format!("PROXY TCP4 {address} 127.0.0.1 51234 11211\r\n").into_bytes();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([10, 0, 0, 7, 127, 0, 0, 1, 0xc8, 0x22, 0x2b, 0xcb]);
    for header in [v1("10.0.0.7"), v2] {
        let mut client = behind(&header);
        assert_eq!(client.ask("set k 0 0 1\r\n7\r\n"), "STORED");
        assert_eq!(client.ask("delete k\r\n"), DENIED);
    }
    assert_eq!(behind(&v1("10.0.0.8")).ask("get k\r\n"), DENIED, "a private peer without a rule");
    assert!(behind(&v1("203.0.113.7")).try_ask("get k\r\n").is_err(), "a public peer");
    assert!(behind(b"").try_ask("get k\r\n").is_err(), "no header");
    assert!(behind(b"PROXY TCP4 10.0.0.7\r\n").try_ask("get k\r\n").is_err(), "half a header");
    // And a header alone does not make TLS unnecessary.
    let mut clear = server.connect();
    clear.send([v1("10.0.0.7"), b"get k\r\n".to_vec()].concat());
    assert_eq!(clear.line(), "CLIENT_ERROR TLS is required here");
    assert!(clear.closes_within(CLOSE_WAIT));
}

const SERVER: usize = 0;
const STRANGER: usize = 1;

/// A server that the whole internet may reach, and a host of it.
fn exposed(what: &str, house: &House) -> Option<(Network, Server)> {
    if let Some(why) = unavailable() {
        missing(what, why);
        return None;
    }
    let network = Network::lay(&[&["203.0.113.1/24"], &["203.0.113.2/24"]]);
    let listen = "127.0.0.1,203.0.113.1";
    let launch = house.launch().without_listen().flags(["-l", listen, "--exposure", "public"]);
    let server = network.host(SERVER).inside(|| launch.start());
    Some((network, server))
}

#[test]
fn strangers_need_tls_and_a_login() {
    let users = TempDir::new().unwrap();
    let file = users.path().join("users");
    write(&file, "app:one\n");
    let house = House::new(&format!("auth-file = {:?}\n", file.display().to_string()));
    let Some((network, server)) = exposed("strangers with a login", &house) else { return };
    network.host(STRANGER).inside(|| {
        let address = ([203, 0, 113, 1], server.port()).into();
        let terms = config(&house.authority, None);
        let mut client = Client::open_at(address, &terms);
        assert_eq!(client.ask("get k\r\n"), "CLIENT_ERROR unauthenticated");
        assert_eq!(client.ask("set x 0 0 7\r\napp one\r\n"), "STORED", "the log-in");
        assert_eq!(client.ask("set k 0 0 1\r\n7\r\n"), "STORED");
        assert_eq!(client.ask("flush_all\r\n"), DENIED, "what concerns all is not for strangers");
        assert_eq!(
            Client::open_at(address, &terms).ask("get k\r\n"),
            "CLIENT_ERROR unauthenticated"
        );
        let mut clear = Wire::tcp(address).unwrap();
        clear.send("set x 0 0 7\r\napp one\r\n");
        assert_eq!(clear.line(), "CLIENT_ERROR TLS is required here");
        assert!(clear.closes_within(CLOSE_WAIT), "no password in clear");
    });
}

#[test]
fn strangers_with_a_certificate_need_no_login() {
    let house = House::new("ssl-verify-mode = 2\n");
    let Some((network, server)) = exposed("strangers with a certificate", &house) else { return };
    network.host(STRANGER).inside(|| {
        let address = ([203, 0, 113, 1], server.port()).into();
        let app = house.authority.sign("app", When::Now);
        let mut client = Client::open_at(address, &config(&house.authority, Some(&app)));
        assert_eq!(client.ask("set k 0 0 1\r\n7\r\n"), "STORED");
        assert_eq!(client.ask("lru_crawler metadump all\r\n"), DENIED);
        let mut nobody = Client::open_at(address, &config(&house.authority, None));
        assert!(nobody.try_ask("get k\r\n").is_err(), "no certificate, no entrance");
    });
}

/// A ticket holds until the certificates are read anew; then the handshake is a full one again, and
/// nobody is turned away for having come with it.
#[test]
fn tickets_of_before_a_reload_lead_to_full_handshakes() {
    let house = House::new("ssl-verify-mode = 1\n");
    let server = house.launch().start();
    let app = house.authority.sign("app", When::Now);
    for version in [&TLS12, &TLS13] {
        for identity in [None, Some(&app)] {
            let config = config_of(&house.authority, identity, &[version]);
            let visit = || {
                let mut client = Client::open(server.port(), &config);
                assert!(client.ask("version\r\n").starts_with("VERSION "));
                (client.resumed(), client)
            };
            let (first, mut open) = visit();
            assert!(!first && visit().0, "{version:?}: tickets resume");
            assert_eq!(open.ask("refresh_certs\r\n"), "OK");
            assert!(!visit().0, "{version:?}: not across a reload");
            assert!(visit().0, "{version:?}: but with a ticket of after it");
            assert!(open.ask("version\r\n").starts_with("VERSION "), "who is in stays in");
        }
    }
}
