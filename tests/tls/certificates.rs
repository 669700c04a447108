//! Whose certificate is good, and what it is good for.

use std::time::Duration;

use kannuki_tests::{Launch, clock};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::version::{TLS12, TLS13};

use super::bed::{Authority, Bed, When, write};
use super::client::{Client, config, config_of};

const DEMAND: &str = ",ssl_verify_mode=2";

fn is_served(client: &mut Client) -> bool {
    client.try_ask("version\r\n").is_ok_and(|line| line.starts_with("VERSION "))
}

#[test]
fn only_good_certificates_come_in() {
    let bed = Bed::start(DEMAND);
    let port = bed.server.port();
    let stranger = Authority::new("another authority");
    let good = bed.authority.sign("app", When::Now);
    assert!(is_served(&mut Client::open(port, &config(&bed.authority, Some(&good)))));
    let bad = [
        None,
        Some(bed.authority.sign("late", When::Expired)),
        Some(bed.authority.sign("early", When::NotYet)),
        Some(stranger.sign("app", When::Now)),
    ];
    for (refused, identity) in (1..).zip(&bad) {
        let config = config(&bed.authority, identity.as_ref());
        assert!(!is_served(&mut Client::open(port, &config)), "case {refused}");
        let counted = clock::until(Duration::from_secs(10), || {
            (bed.counter("kannuki_refused_tls-certificate") == refused).then_some(())
        });
        assert!(counted.is_some(), "case {refused} is counted once");
    }
    assert_eq!(bed.counter("ssl_handshake_errors"), 4);
    assert_eq!(bed.counter("cmd_get"), 0);
}

#[test]
fn asked_is_not_demanded_but_what_is_shown_must_be_good() {
    let bed = Bed::start(",ssl_verify_mode=1");
    let port = bed.server.port();
    assert!(is_served(&mut Client::of(&bed)));
    let good = bed.authority.sign("app", When::Now);
    assert!(is_served(&mut Client::open(port, &config(&bed.authority, Some(&good)))));
    let late = bed.authority.sign("late", When::Expired);
    assert!(!is_served(&mut Client::open(port, &config(&bed.authority, Some(&late)))));
}

/// An open connection does not outlive what let it in.
#[test]
fn a_connection_ends_with_its_certificate() {
    let bed = Bed::start(DEMAND);
    let port = bed.server.port();
    let brief = bed.authority.sign("brief", When::Seconds(4));
    let lasting = bed.authority.sign("lasting", When::Now);
    let mut brief = Client::open(port, &config(&bed.authority, Some(&brief)));
    let mut lasting = Client::open(port, &config(&bed.authority, Some(&lasting)));
    assert!(is_served(&mut brief) && is_served(&mut lasting));
    let ended = clock::until(Duration::from_secs(30), || (!is_served(&mut brief)).then_some(()));
    assert!(ended.is_some(), "it is served although its certificate has expired");
    assert!(is_served(&mut lasting));

    let other = Authority::new("another authority");
    write(&bed.path("ca.pem"), &format!("{}{}", bed.authority.pem, other.pem));
    assert_eq!(bed.clear().ask("refresh_certs\r\n"), "OK");
    assert!(is_served(&mut lasting), "its authority is still there");
    write(&bed.path("ca.pem"), &other.pem);
    assert_eq!(bed.clear().ask("refresh_certs\r\n"), "OK");
    assert!(!is_served(&mut lasting), "its authority was taken away");
}

/// A ticket shows that its holder was trusted once. Whether it is today is another question.
#[test]
fn an_authority_that_was_removed_is_removed_for_tickets_too() {
    let bed = Bed::start(DEMAND);
    let port = bed.server.port();
    let app = bed.authority.sign("app", When::Now);
    let config = config(&bed.authority, Some(&app));
    let mut first = Client::open(port, &config);
    assert!(is_served(&mut first));
    let mut second = Client::open(port, &config);
    assert!(is_served(&mut second) && second.resumed(), "tickets resume");
    let stranger = Authority::new("the new authority of clients");
    write(&bed.path("ca.pem"), &stranger.pem);
    let mut admin = bed.clear();
    assert_eq!(admin.ask("refresh_certs\r\n"), "OK");
    assert!(!is_served(&mut Client::open(port, &config)), "neither by ticket nor anew");
    assert!(!is_served(&mut first), "nor on a connection of before");
}

/// A handshake that began under authorities that are in force no more when it ends proves nothing:
/// not by what it was begun with, and not together with the first command.
#[test]
fn a_reload_overtakes_handshakes_that_are_under_way() {
    let bed = Bed::start(DEMAND);
    let port = bed.server.port();
    let mut admin = bed.clear();
    let app = bed.authority.sign("app", When::Now);
    let half = |version| {
        let config = config_of(&bed.authority, Some(&app), &[version]);
        let mut client = Client::open(port, &config);
        client.greet();
        client
    };
    for version in [&TLS12, &TLS13] {
        // The same authorities read again: the handshake goes on.
        let mut client = half(version);
        assert_eq!(admin.ask("refresh_certs\r\n"), "OK");
        assert!(is_served(&mut client), "{version:?}");
    }
    let mut halves = [half(&TLS12), half(&TLS13)];
    write(&bed.path("ca.pem"), &Authority::new("another authority").pem);
    assert_eq!(admin.ask("refresh_certs\r\n"), "OK");
    for client in &mut halves {
        assert!(client.try_ask("set k 0 0 1\r\nv\r\n").is_err());
    }
    assert_eq!(admin.ask("get k\r\n"), "END", "nothing of it was executed");
    assert_eq!(bed.counter("kannuki_refused_tls-certificate"), 2);
}

#[test]
fn the_names_of_a_certificate_decide() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let own = authority.sign("server", When::Now);
    write(&path("chain.pem"), &own.pem);
    write(&path("key.pem"), &own.key_pem);
    write(&path("ca.pem"), &authority.pem);
    let rules = format!(
        "enable-ssl = true\nssl-chain-cert = {:?}\nssl-key = {:?}\nssl-ca-cert = {:?}\n\
         ssl-verify-mode = 2\n\
         [[rule]]\nname = \"writer\"\ncertificate = \"cn:writer\"\nallow = [\"read\", \"write\"]\n\
         [[rule]]\nname = \"rest\"\nanyone = true\nallow = [\"read\"]\n\
         [[rule]]\nname = \"shut\"\nanyone = true\ndeny = [\"write\"]\n",
        path("chain.pem"),
        path("key.pem"),
        path("ca.pem")
    );
    write(&path("kannuki.toml"), &rules);
    let file = path("kannuki.toml").display().to_string();
    let server = Launch::kannuki().flags(["--config", &file]).start();
    let as_who = |name: &str| {
        let identity = authority.sign(name, When::Now);
        Client::open(server.port(), &config(&authority, Some(&identity)))
    };
    assert_eq!(as_who("writer").ask("set a 0 0 1\r\nx\r\n"), "STORED");
    let mut reader = as_who("reader");
    assert_eq!(reader.ask("set a 0 0 1\r\ny\r\n"), "CLIENT_ERROR access denied");
    assert_eq!(reader.ask("get a\r\n"), "VALUE a 0 1");
    assert_eq!(reader.exactly(8), b"x\r\nEND\r\n");
}

#[test]
fn a_client_that_rejects_our_certificate_is_counted() {
    let bed = Bed::start_with("", &[], When::Expired);
    assert!(bed.server.stderr().contains("the certificate has expired"), "the operator is told");
    let mut client = Client::of(&bed);
    let why = client.try_ask("version\r\n").unwrap_err().to_string();
    assert!(why.to_lowercase().contains("expired"), "{why}");
    drop(client);
    let counted = clock::until(Duration::from_secs(10), || {
        (bed.counter("kannuki_refused_tls-rejected") == 1).then_some(())
    });
    assert!(counted.is_some());
}

#[test]
fn a_prefix_demands_or_spares_a_certificate() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let own = authority.sign("server", When::Now);
    write(&path("both.pem"), &format!("{}{}", own.key_pem, own.pem));
    write(&path("ca.pem"), &authority.pem);
    // The key is found beside the certificate.
    let options = format!(
        "ssl_chain_cert={},ssl_ca_cert={},ssl_verify_mode=1",
        path("both.pem").display(),
        path("ca.pem").display()
    );
    let (mutual, basic) = (kannuki_tests::launch::free_port(), kannuki_tests::launch::free_port());
    let listen = format!("127.0.0.1,mtls:127.0.0.1:{mutual},btls:127.0.0.1:{basic}");
    let flags = ["-Z", "-o", &options, "-l", &listen];
    let _server = Launch::kannuki().without_listen().flags(flags).start();
    let nobody = config(&authority, None);
    assert!(is_served(&mut Client::open(basic, &nobody)));
    assert!(!is_served(&mut Client::open(mutual, &nobody)));
    let app = config(&authority, Some(&authority.sign("app", When::Now)));
    assert!(is_served(&mut Client::open(mutual, &app)));
    // Not even looked at.
    let late = config(&authority, Some(&authority.sign("late", When::Expired)));
    assert!(is_served(&mut Client::open(basic, &late)));
}

#[test]
fn certificates_in_pem_are_what_they_are_in_der() {
    let authority = Authority::new("authority");
    let read = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    assert_eq!(read, authority.der);
}
