//! Certificates change under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kannuki_tests::{Launch, clock};
use rustix::process::Signal;
use rustls::ClientConfig;

use super::bed::{Authority, Bed, When, write};
use super::client::{Client, config};

/// Connections that work while certificates change.
const CONNECTIONS: usize = 8;
/// Changes of the certificate.
const CHANGES: u64 = 12;

#[test]
fn a_reload_under_load_drops_nobody_and_changes_new_connections() {
    let bed = Bed::start("");
    let config = config(&bed.authority, None);
    reload_under_load(&bed, &config);
}

/// The same where each reload means that every client's certificate is judged again.
#[test]
fn a_reload_under_load_drops_no_client_with_a_certificate() {
    let bed = Bed::start(",ssl_verify_mode=2");
    let app = bed.authority.sign("app", When::Now);
    reload_under_load(&bed, &config(&bed.authority, Some(&app)));
    assert_eq!(bed.counter("kannuki_refused_tls-certificate"), 0);
}

fn reload_under_load(bed: &Bed, config: &Arc<ClientConfig>) {
    let open = || Client::open(bed.server.port(), config);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut shown = vec![];
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|worker| {
                let mut client = open();
                let (stop, asked) = (&stop, &asked);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let set = format!("set k{worker} 0 0 5\r\nvalue\r\n");
                        assert_eq!(client.ask(&set), "STORED");
                        client.send(format!("get k{worker}\r\n"));
                        let hit = format!("VALUE k{worker} 0 5\r\nvalue\r\nEND\r\n");
                        assert_eq!(client.exactly(hit.len()), hit.as_bytes());
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let mut admin = bed.clear();
        for change in 0..CHANGES {
            bed.renew(&format!("server{change}"));
            if change % 2 == 0 {
                assert_eq!(admin.ask("refresh_certs\r\n"), "OK");
            } else {
                bed.server.signal(Signal::HUP);
            }
            let before = shown.last().cloned();
            let new = clock::until(Duration::from_secs(10), || {
                let mut client = open();
                assert!(client.ask("version\r\n").starts_with("VERSION "));
                (Some(client.shown()) != before).then(|| client.shown())
            });
            shown.push(new.expect("a new connection sees the new certificate"));
        }
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("no connection was dropped");
        }
    });
    assert!(asked.load(Ordering::Relaxed) > CONNECTIONS as u64, "there was a load");
    assert_eq!(bed.counter("kannuki_tls_failed_refreshes"), 0);
    assert_eq!(bed.counter("ssl_handshake_errors"), 0);
}

/// More clients than one turn judges again, all of which speak at once after a reload.
#[test]
fn many_certificates_are_judged_again_without_a_loss() {
    const MANY: usize = 300;
    kannuki_tests::process::raise_descriptor_limit(4096);
    let bed = Bed::start_with(",ssl_verify_mode=2", &["-t", "1"], When::Now);
    let app = config(&bed.authority, Some(&bed.authority.sign("app", When::Now)));
    let mut clients: Vec<Client> = (0..MANY)
        .map(|_| {
            let mut client = Client::open(bed.server.port(), &app);
            assert!(client.ask("version\r\n").starts_with("VERSION "));
            client
        })
        .collect();
    let mut admin = bed.clear();
    for _ in 0..2 {
        assert_eq!(admin.ask("refresh_certs\r\n"), "OK");
        clients.iter_mut().for_each(|client| client.send("mn\r\nmn\r\n"));
        assert_eq!(admin.ask("mn\r\n"), "MN", "others are served meanwhile");
        for client in &mut clients {
            assert_eq!(client.exactly(8), b"MN\r\nMN\r\n");
        }
    }
    // The authority is gone: nobody is served once more, however many they are.
    write(&bed.path("ca.pem"), &Authority::new("another authority").pem);
    assert_eq!(admin.ask("refresh_certs\r\n"), "OK");
    for client in &mut clients {
        let _ = client.try_send(b"mn\r\n");
    }
    for client in &mut clients {
        assert!(client.rest().map_or(true, |rest| rest.is_empty()));
    }
    assert_eq!(bed.counter("kannuki_refused_tls-certificate"), MANY as u64);
}

/// What a client is asked for is part of what a reload changes, like the certificates.
#[test]
fn another_ssl_verify_mode_counts_for_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let config_path = folder.path().join("kannuki.toml");
    std::fs::write(&config_path, "ssl-verify-mode = 0\n").unwrap();
    let bed = Bed::start_with("", &["--config", config_path.to_str().unwrap()], When::Now);
    let mut nameless = Client::of(&bed);
    assert!(nameless.ask("version\r\n").starts_with("VERSION "));
    let known = config(&bed.authority, Some(&bed.authority.sign("app", When::Now)));
    for (mode, admits) in [(2, false), (0, true), (2, false)] {
        std::fs::write(&config_path, format!("ssl-verify-mode = {mode}\n")).unwrap();
        bed.server.signal(Signal::HUP);
        let applied = clock::until(Duration::from_secs(10), || {
            let answer = Client::of(&bed).try_ask("version\r\n");
            (answer.is_ok() == admits).then_some(())
        });
        assert!(applied.is_some(), "mode {mode}: {}", bed.server.stderr());
        let mut known = Client::open(bed.server.port(), &known);
        assert!(known.ask("version\r\n").starts_with("VERSION "), "mode {mode}");
    }
    assert!(nameless.ask("version\r\n").starts_with("VERSION "), "who is in stays");
}

/// Most servers have no authorities for clients: nobody's certificate can have become bad there.
#[test]
fn a_reload_without_authorities_drops_nobody() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let own = authority.sign("server", When::Now);
    let chain = folder.path().join("both.pem");
    write(&chain, &format!("{}{}", own.pem, own.key_pem));
    let option = format!("ssl_chain_cert={}", chain.display());
    let server = Launch::kannuki().flags(["-vv", "-Z", "-o", &option]).start();
    let config = config(&authority, None);
    let mut client = Client::open(server.port(), &config);
    for reload in 1..=3 {
        assert!(client.ask("version\r\n").starts_with("VERSION "), "reload {reload}");
        server.signal(Signal::HUP);
        let words = "certificates read again";
        let told = || (server.stderr().matches(words).count() >= reload).then_some(());
        assert!(clock::until(Duration::from_secs(10), told).is_some(), "{}", server.stderr());
    }
    assert!(client.ask("version\r\n").starts_with("VERSION "), "the connection goes on");
}

/// Users, rules and certificates change together: a broken certificate keeps the old users too, and
/// the log does not say that anything was reloaded.
#[test]
fn a_reload_is_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    write(&users, "app:before\n");
    let bed = Bed::start_with("", &["-vv", "-Y", users.to_str().unwrap()], When::Now);
    let log_in = |password: &str| {
        let token = format!("app {password}");
        Client::of(&bed).ask(&format!("set a 0 0 {}\r\n{token}\r\n", token.len()))
    };
    write(&users, "app:after\n");
    let chain = std::fs::read_to_string(bed.path("chain.pem")).unwrap();
    write(&bed.path("chain.pem"), "nonsense");
    bed.server.signal(Signal::HUP);
    let said = |words: &str| {
        let said = || bed.server.stderr().contains(words).then_some(());
        clock::until(Duration::from_secs(10), said)
            .unwrap_or_else(|| panic!("never said: {words}"));
    };
    said("reload failed: the old settings, users and certificates stay in force");
    assert_eq!(log_in("before"), "STORED");
    assert!(!bed.server.stderr().contains("read the users again"), "{}", bed.server.stderr());
    write(&bed.path("chain.pem"), &chain);
    bed.server.signal(Signal::HUP);
    said("read the users again");
    assert_eq!(log_in("after"), "STORED");
}

#[test]
fn a_bad_file_leaves_everything_as_it_was_and_says_so() {
    let bed = Bed::start("");
    let before = {
        let mut client = Client::of(&bed);
        client.ask("version\r\n");
        client.shown()
    };
    let mut admin = bed.clear();
    let chain = std::fs::read_to_string(bed.path("chain.pem")).unwrap();
    write(&bed.path("chain.pem"), "nonsense");
    let line = admin.ask("refresh_certs\r\n");
    assert!(line.starts_with("Error loading the certificate chain: "), "{line}");
    write(&bed.path("chain.pem"), &chain);
    let key = std::fs::read_to_string(bed.path("key.pem")).unwrap();
    write(&bed.path("key.pem"), &bed.authority.sign("other", When::Now).key_pem);
    let line = admin.ask("refresh_certs\r\n");
    assert!(line.starts_with("Error validating the certificate: "), "{line}");
    write(&bed.path("key.pem"), &key);
    std::fs::remove_file(bed.path("ca.pem")).unwrap();
    let line = admin.ask("refresh_certs\r\n");
    assert!(line.starts_with("Error loading the CA certificate: "), "{line}");
    bed.server.signal(Signal::HUP);
    let counted = clock::until(Duration::from_secs(10), || {
        (bed.counter("kannuki_tls_failed_refreshes") == 4).then_some(())
    });
    assert!(counted.is_some(), "each is counted, that of SIGHUP too");
    let words = "the old settings, users and certificates stay in force";
    let told = || bed.server.stderr().contains(words).then_some(());
    assert!(clock::until(Duration::from_secs(10), told).is_some(), "{}", bed.server.stderr());
    let mut client = Client::of(&bed);
    assert!(client.ask("version\r\n").starts_with("VERSION "));
    assert_eq!(client.shown(), before);
}

#[test]
fn sessions_are_resumed_and_counted() {
    for (options, cached) in [("", false), (",ssl_session_cache", true)] {
        let bed = Bed::start(options);
        let config = config(&bed.authority, None);
        for round in 0..4 {
            let mut client = Client::open(bed.server.port(), &config);
            assert!(client.ask("version\r\n").starts_with("VERSION "));
            assert_eq!(client.resumed(), round > 0, "round {round}");
        }
        assert_eq!(bed.counter("kannuki_tls_resumed_sessions"), 3);
        assert_eq!(bed.counter("kannuki_tls_new_sessions"), 1);
        assert_eq!(bed.counter("ssl_new_sessions"), u64::from(cached), "shown with the cache only");
    }
}
