//! Peers who do not mean TLS, or never finish it.

use std::time::Duration;

use kannuki_tests::process::{raise_descriptor_limit, resident_bytes};
use kannuki_tests::{Wire, clock};

use super::bed::Bed;
use super::client::Client;

/// A close that is due comes at once; this is for a busy machine.
const CLOSE_BOUND: Duration = Duration::from_secs(10);
/// The handshake's deadline, and as much again.
const DEADLINE_BOUND: Duration = Duration::from_secs(25);
const MIB: u64 = 1 << 20;

fn secured(bed: &Bed) -> Wire {
    Wire::tcp(bed.server.address()).unwrap()
}

/// Alive, answering in clear and by TLS.
fn is_well(bed: &mut Bed) {
    assert!(bed.server.is_running(), "it died: {}", bed.server.stderr());
    assert!(bed.clear().ask("version\r\n").starts_with("VERSION "));
    assert!(Client::of(bed).ask("version\r\n").starts_with("VERSION "));
}

fn record(kind: u8, length: u16) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend(length.to_be_bytes());
    record
}

#[test]
fn plain_text_is_refused_by_name() {
    let mut bed = Bed::start("");
    let mut wire = secured(&bed);
    assert_eq!(wire.ask("set a 0 0 1\r\nx\r\n"), "CLIENT_ERROR TLS is required here");
    assert!(wire.closes_within(CLOSE_BOUND));
    let mut binary = secured(&bed);
    binary.send(b"\x80\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert!(binary.closes_within(CLOSE_BOUND));
    let counted = clock::until(CLOSE_BOUND, || {
        (bed.counter("kannuki_refused_tls-plaintext") == 2).then_some(())
    });
    assert!(counted.is_some());
    assert_eq!(bed.clear().ask("get a\r\n"), "END", "nothing of it was run");
    is_well(&mut bed);
}

#[test]
fn garbage_and_oversize_are_refused() {
    let mut bed = Bed::start("");
    let mut attacks: Vec<Vec<u8>> = vec![
        vec![22; 4000],
        [record(22, 0xffff), vec![1; 70_000]].concat(),
        [record(22, 4), vec![1, 0xff, 0xff, 0xff]].concat(),
        [record(22, 16), vec![0; 16]].concat(),
        [record(22, 0), record(22, 0), record(22, 0)].concat(),
    ];
    // A handshake message that promises the most there can be and goes on and on.
    let mut endless = [record(22, 16_000), vec![1, 0, 0xff, 0xff], vec![0; 15_996]].concat();
    for _ in 0..6 {
        endless.extend([record(22, 16_000), vec![0; 16_000]].concat());
    }
    attacks.push(endless);
    for (at, attack) in attacks.iter().enumerate() {
        let mut wire = secured(&bed);
        // It may be closed while we are still sending.
        let _ = wire.try_send(attack);
        wire.finish_sending();
        wire.drain(CLOSE_BOUND);
        assert!(wire.has_ended(), "attack {at}");
    }
    assert!(bed.counter("ssl_handshake_errors") >= 3);
    is_well(&mut bed);
}

#[test]
fn changed_records_end_the_connection() {
    let mut bed = Bed::start("");
    let mut client = Client::of(&bed);
    assert!(client.ask("version\r\n").starts_with("VERSION "));
    client.send_raw(&[record(23, 32), vec![7; 32]].concat());
    assert!(client.try_ask("version\r\n").is_err());
    let counted = clock::until(CLOSE_BOUND, || {
        (bed.counter("kannuki_refused_tls-protocol") == 1).then_some(())
    });
    assert!(counted.is_some() && bed.counter("ssl_proto_errors") == 1);
    is_well(&mut bed);
}

#[test]
fn half_handshakes_cost_little_and_end_by_their_deadline() {
    const PEERS: usize = 400;
    raise_descriptor_limit(2048);
    let mut bed = Bed::start("");
    let before = resident_bytes(bed.server.pid()).unwrap();
    let mut wires: Vec<Wire> = (0..PEERS).map(|_| secured(&bed)).collect();
    let halves: [&[u8]; 3] = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"];
    for (at, wire) in wires.iter_mut().enumerate() {
        wire.send(halves[at % halves.len()]);
    }
    // One drips, which moves no deadline.
    let mut slow = secured(&bed);
    let mut dripping = vec![22, 3, 1, 2, 0];
    dripping.resize(400, 1);
    is_well(&mut bed);
    let took = resident_bytes(bed.server.pid()).unwrap().saturating_sub(before);
    assert!(took < 32 * MIB, "{took} bytes for {PEERS} half handshakes");
    let since = clock::Since::now();
    let mut drips = dripping.into_iter();
    let gone = clock::until(DEADLINE_BOUND, || {
        if let Some(byte) = drips.next() {
            let _ = slow.try_send(&[byte]);
        }
        std::thread::sleep(Duration::from_millis(100));
        wires.iter_mut().all(|wire| wire.closes_within(Duration::from_millis(1))).then_some(())
    });
    assert!(gone.is_some(), "they are closed after {:?}", since.elapsed());
    assert!(slow.closes_within(DEADLINE_BOUND), "the one that drips too");
    assert_eq!(bed.counter("kannuki_refused_tls-slow"), PEERS as u64 + 1);
    is_well(&mut bed);
}

#[test]
fn who_asks_and_never_reads_is_bounded() {
    let mut bed = Bed::start(",ssl_wbuf_size=16");
    let value = "v".repeat(500_000);
    assert_eq!(bed.clear().ask(&format!("set a 0 0 500000\r\n{value}\r\n")), "STORED");
    let before = resident_bytes(bed.server.pid()).unwrap();
    let mut readers: Vec<Client> = (0..20).map(|_| Client::of(&bed)).collect();
    for reader in &mut readers {
        reader.send("get a\r\n".repeat(200));
    }
    is_well(&mut bed);
    let took = resident_bytes(bed.server.pid()).unwrap().saturating_sub(before);
    assert!(took < 64 * MIB, "{took} bytes for twenty who do not read 2 GB");
    let reader = &mut readers[0];
    let hit = format!("VALUE a 0 500000\r\n{value}\r\nEND\r\n");
    for _ in 0..200 {
        assert!(reader.exactly(hit.len()) == hit.as_bytes(), "all of it comes in the end");
    }
}
