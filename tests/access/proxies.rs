//! PROXY headers: taken from listed proxies only, and the address inside is the one that counts.

use std::time::Duration;

use kannuki_tests::{Launch, Server, Wire, clock};

use super::{DENIED, refused};

const CLOSE_WAIT: Duration = Duration::from_secs(20);
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn server(flags: &[&str]) -> Server {
    Launch::kannuki().flags(flags.iter().copied()).start()
}

/// The proxy's own health check: a peer of this host.
fn local(server: &Server) -> Wire {
    let mut wire = server.connect();
    wire.send([V2, b"\x20\x00\x00\x00"].concat());
    wire
}

fn behind(server: &Server, header: impl AsRef<[u8]>) -> Wire {
    let mut wire = server.connect();
    wire.send(header);
    wire
}

fn v1(address: &str) -> String {
    let family = if address.contains(':') { "TCP6" } else { "TCP4" };
    let to = if address.contains(':') { "::1" } else { "127.0.0.1" };
    format!("PROXY {family} {address} {to} 51234 11211\r\n")
}

/// Whoever has a place already is served while those without one wait for it.
#[test]
fn a_header_is_heard_while_there_is_no_room_for_others() {
    const LIMIT: usize = 12;
    let limit = LIMIT.to_string();
    let flags = ["--proxy-from", "127.0.0.1", "-c", &limit, "-o", "no_maxconns_fast"];
    let server = server(&flags);
    let mut own = local(&server);
    assert_eq!(own.ask("set k 0 0 1\r\n7\r\n"), "STORED");
    let mut silent: Vec<Wire> = (0..2 * LIMIT).map(|_| server.connect()).collect();
    let full = clock::until(CLOSE_WAIT, || {
        let stats = kannuki_tests::stats(&mut own, "stats");
        stats.iter().any(|(key, value)| key == "accepting_conns" && value == "0").then_some(())
    });
    assert!(full.is_some(), "there is no room left");
    silent[0].send(v1("10.0.0.7") + "get k\r\n");
    assert_eq!(silent[0].line(), "VALUE k 0 1");
}

#[test]
fn the_address_in_the_header_is_the_one_that_counts() {
    let server = server(&["--proxy-from", "127.0.0.1", "--exposure", "private"]);
    let mut own = local(&server);
    assert_eq!(own.ask("set k 0 0 1\r\n7\r\n"), "STORED");
    assert_eq!(own.ask("flush_all 1000\r\n"), "OK", "a health check is a peer of this host");

    let mut tcp4 = V2.to_vec();
    tcp4.extend([0x21, 0x11, 0, 15, 10, 0, 0, 7, 127, 0, 0, 1, 0xc8, 0x22, 0x2b, 0xcb, 4, 0, 0]);
    let headers: [Vec<u8>; 3] = [v1("10.0.0.7").into_bytes(), v1("fd00::7").into_bytes(), tcp4];
    for header in headers {
        // The client's first command comes in the same packet: none of it is lost or eaten.
        let mut client = behind(&server, [&header[..], b"get k\r\n"].concat());
        assert_eq!(client.line(), "VALUE k 0 1");
        assert_eq!((client.line(), client.line()), ("7".to_owned(), "END".to_owned()));
        assert_eq!(client.ask("flush_all\r\n"), DENIED, "it is not of this host");
    }
    let client = behind(&server, v1("10.0.0.7"));
    let conns = clock::until(CLOSE_WAIT, || {
        let conns = kannuki_tests::stats(&mut own, "stats conns");
        conns.into_iter().find(|(_, value)| value == "tcp:10.0.0.7:51234")
    });
    assert!(conns.is_some(), "`stats conns` shows the client");
    drop(client);
}

#[test]
fn a_header_may_come_in_pieces() {
    let server = server(&["--proxy-from", "127.0.0.1"]);
    let header = [V2, b"\x20\x00\x00\x03\x04\x00\x00mn\r\n"].concat();
    let mut wire = server.connect();
    for byte in &header {
        wire.send([*byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(wire.line(), "MN");
}

#[test]
fn what_is_told_is_decided_by_the_guard() {
    let server =
        server(&["--proxy-from", "127.0.0.1", "--exposure", "private", "--deny", "10.9.0.0/16"]);
    for (address, reason) in [
        ("203.0.113.7", "peer-not-allowed"),
        ("64:ff9b::10.0.0.7", "peer-not-allowed"),
        ("10.9.0.7", "peer-denied"),
        ("127.0.0.1", "proxied-loopback"),
        ("::ffff:127.0.0.1", "proxied-loopback"),
    ] {
        let before = refused(&mut local(&server), reason);
        assert!(behind(&server, v1(address)).closes_within(CLOSE_WAIT), "{address}");
        assert_eq!(refused(&mut local(&server), reason), before + 1, "{address}");
    }
}

#[test]
fn loopback_behind_a_proxy_is_believed_only_when_that_is_said() {
    let flags = ["--proxy-from", "127.0.0.1", "--proxy-trust-loopback", "--exposure", "loopback"];
    let server = server(&flags);
    let mut client = behind(&server, v1("127.0.0.1"));
    assert_eq!(client.ask("flush_all\r\n"), "OK");
    let mut near = behind(&server, v1("10.0.0.7"));
    assert!(near.closes_within(CLOSE_WAIT), "exposure loopback");
}

#[test]
fn no_header_no_entrance() {
    let server = server(&["--proxy-from", "127.0.0.1"]);
    let before = refused(&mut local(&server), "proxy-header");
    let mut sent = 0;
    for bytes in [
        b"get k\r\n".as_slice(),
        b"PROXY UNKNOWN\r\n",
        b"PROXY TCP4 1.2.3.4\r\n",
        b"\x80\x0a\0\0",
        b"\x16\x03\x01",
        &[V2, b"\x31\x11\x00\x0c"].concat(),
    ] {
        let mut wire = behind(&server, bytes);
        assert!(wire.closes_within(CLOSE_WAIT), "{}", bytes.escape_ascii());
        assert_eq!(wire.unread(), b"", "nothing is answered");
        sent += 1;
    }
    // Silence, and a header that never ends, have a deadline.
    let mut silent = server.connect();
    let mut slow = behind(&server, "PROXY TCP4 ");
    assert!(silent.closes_within(CLOSE_WAIT));
    assert!(slow.closes_within(CLOSE_WAIT));
    assert_eq!(refused(&mut local(&server), "proxy-header"), before + sent + 2);
}

#[test]
fn whoever_is_no_listed_proxy_stays_outside() {
    let server = server(&["--proxy-from", "127.0.0.2"]);
    let mut direct = behind(&server, v1("10.0.0.7"));
    assert!(direct.closes_within(CLOSE_WAIT), "127.0.0.1 is not listed");
    let from = |address: &str| {
        let mut wire = Wire::tcp_from(address.parse().unwrap(), server.address()).unwrap();
        wire.send([V2, b"\x20\x00\x00\x00"].concat());
        wire
    };
    assert!(from("127.0.0.3").closes_within(CLOSE_WAIT));
    let mut listed = from("127.0.0.2");
    assert_eq!(listed.ask("version\r\n"), "VERSION 1.6.45");
    assert!(refused(&mut listed, "proxy-not-listed") >= 2);
    let said =
        clock::until(CLOSE_WAIT, || server.stderr().contains("proxy-not-listed").then_some(()));
    assert!(said.is_some(), "{}", server.stderr());
}

#[test]
fn waiting_proxies_have_places_under_the_limit_and_give_them_back() {
    const LIMIT: usize = 20;
    let server = server(&["--proxy-from", "127.0.0.1", "-c", &LIMIT.to_string()]);
    let mut waiting: Vec<Wire> = (0..LIMIT).map(|_| server.connect()).collect();
    let mut beyond = server.connect();
    assert_eq!(beyond.line(), "ERROR Too many open connections");
    for wire in &mut waiting {
        assert!(wire.closes_within(CLOSE_WAIT));
    }
    assert_eq!(local(&server).ask("version\r\n"), "VERSION 1.6.45");
}
