//! Ordinary work over TLS, and how it ends.

use std::time::Duration;

use kannuki_tests::clock;
use rustix::process::Signal;

use super::bed::{Bed, When};
use super::client::Client;

#[test]
fn pipelines_and_large_values() {
    let bed = Bed::start(",ssl_wbuf_size=4");
    let mut client = Client::of(&bed);
    let value = "v".repeat(1_000_000);
    assert_eq!(client.ask(&format!("set big 0 0 1000000\r\n{value}\r\n")), "STORED");
    let hit = format!("VALUE big 0 1000000\r\n{value}\r\nEND\r\n");
    for _ in 0..5 {
        client.send("get big\r\n");
        assert!(client.exactly(hit.len()) == hit.as_bytes());
    }
    // A thousand commands in one write, answered in their order.
    let mut asked = String::new();
    let mut expected = String::new();
    for at in 0..1000 {
        asked += &format!("set k{at} 0 0 4\r\n{at:04}\r\nget k{at} big{at}\r\n");
        expected += &format!("STORED\r\nVALUE k{at} 0 4\r\n{at:04}\r\nEND\r\n");
    }
    client.send(&asked);
    assert_eq!(String::from_utf8(client.exactly(expected.len())).unwrap(), expected);
    assert_eq!(bed.counter("ssl_proto_errors"), 0);
}

#[test]
fn bytes_are_counted_as_in_clear() {
    let bed = Bed::start("");
    let mut client = Client::of(&bed);
    assert_eq!(client.ask("set a 0 0 1\r\nx\r\n"), "STORED");
    let before = (bed.counter("bytes_read"), bed.counter("bytes_written"));
    assert_eq!(client.ask("set a 0 0 1\r\nx\r\n"), "STORED");
    let asked = "stats\r\n".len() as u64;
    let after = bed.counter("bytes_read");
    assert_eq!(after - before.0, "set a 0 0 1\r\nx\r\n".len() as u64 + 2 * asked);
}

#[test]
fn a_close_is_announced() {
    let bed = Bed::start("");
    let mut client = Client::of(&bed);
    client.send("version\r\nquit\r\n");
    let rest = client.rest().expect("a farewell, not a cut");
    assert!(rest.starts_with(b"VERSION ") && rest.ends_with(b"\r\n"));
}

#[test]
fn a_stop_finishes_what_was_begun_and_says_farewell() {
    let mut bed = Bed::start("");
    let mut idle = Client::of(&bed);
    assert!(idle.ask("version\r\n").starts_with("VERSION "));
    let mut busy = Client::of(&bed);
    busy.send("set a 0 0 5\r\nva");
    // It has arrived once another's later command is answered by the same thread or not; a moment
    // more is given to the other threads.
    std::thread::sleep(Duration::from_millis(100));
    bed.server.signal(Signal::TERM);
    busy.send("lue\r\n");
    let rest = busy.rest().expect("a farewell");
    assert_eq!(String::from_utf8_lossy(&rest), "STORED\r\n");
    assert_eq!(idle.rest().expect("a farewell"), b"");
    assert!(bed.server.wait_exit(Duration::from_secs(20)).is_some_and(|status| status.success()));
}

#[test]
fn the_limit_of_connections_is_an_alert() {
    let bed = Bed::start_with("", &["-c", "4"], When::Now);
    let mut served = Vec::new();
    let mut refused = 0;
    for _ in 0..8 {
        let mut client = Client::of(&bed);
        match client.try_ask("version\r\n") {
            Ok(_) => served.push(client),
            Err(error) => {
                assert!(error.to_string().contains("InternalError"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(served.len() <= 4 && refused >= 4, "{} served, {refused} refused", served.len());
    drop(served);
    let again =
        clock::until(Duration::from_secs(5), || Client::of(&bed).try_ask("version\r\n").ok());
    assert!(again.is_some(), "who leaves makes room");
}

#[test]
fn idle_connections_are_closed_with_a_farewell() {
    let bed = Bed::start(",idle_timeout=1");
    let mut client = Client::of(&bed);
    assert!(client.ask("version\r\n").starts_with("VERSION "));
    assert_eq!(client.rest().expect("a farewell"), b"");
    assert_eq!(bed.counter("idle_kicks"), 1);
}
