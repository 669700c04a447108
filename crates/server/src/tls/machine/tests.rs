//! The machine against a client that means it, with somebody between them who does not: records are
//! split anywhere, joined, changed, cut off, dropped, repeated, put in another order, or made up.
//!
//! What must hold whatever happens: nothing panics; what comes out is the beginning of what the
//! client sealed, never a byte more; a farewell counts only after everything before it; after a
//! failure nothing comes out any more; what is held is bounded.

use std::sync::OnceLock;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, crypto::ring,
    pki_types::ServerName, version::TLS12, version::TLS13,
};

use super::super::{Ciphers, ClientCheck, KeyFormat, ListenerCheck, MinVersion, Tls, TlsConfig};
use super::*;

/// Rounds of bytes to and fro; TLS 1.2 needs three.
const ROUNDS_MAX: usize = 12;
/// More than a server ever has to say in a handshake, its certificate and tickets included.
const SEALED_BYTES_MAX: usize = 16 * 1024;

/// A server's endpoint, and one client for each version.
struct Bed {
    endpoint: Arc<Endpoint>,
    clients: [Arc<ClientConfig>; 2],
}

fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let own = own.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let chain = folder.path().join("both.pem");
        std::fs::write(&chain, format!("{}{}", own.pem(), key.serialize_pem())).unwrap();
        let config = TlsConfig {
            chain,
            key: None,
            key_format: KeyFormat::Pem,
            authorities: None,
            clients: ClientCheck::None,
            verify_mode: 0,
            ciphers: Ciphers::default(),
            min_version: MinVersion::Tls12,
            record_bytes_max: super::super::RECORD_BYTES_MAX,
            write_buffer_bytes: 16 * 1024,
            session_cache: false,
            kernel_tls: false,
        };
        let (tls, _) = Tls::load(config).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).unwrap();
        let client = |version: &'static SupportedProtocolVersion| {
            let provider = Arc::new(ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider);
            let builder = builder.with_protocol_versions(&[version]).unwrap();
            let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
            // Each conversation is one of its own.
            config.resumption = rustls::client::Resumption::disabled();
            Arc::new(config)
        };
        let endpoint = tls.endpoint(ListenerCheck::Own(ClientCheck::None)).unwrap();
        Bed { endpoint, clients: [client(&TLS12), client(&TLS13)] }
    })
}

/// What happens on the way to one record of the client's, counted from its first.
#[derive(Clone, Debug)]
enum Tamper {
    Flip {
        byte: usize,
        bit: u8,
    },
    /// The stream ends within the record.
    Cut {
        byte: usize,
    },
    Drop,
    Twice,
    /// It comes after the next, if that is under way already.
    Swap,
    Insert {
        bytes: Vec<u8>,
    },
}

fn tampers() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        4 => (any::<usize>(), 0_u8..8).prop_map(|(byte, bit)| Tamper::Flip { byte, bit }),
        2 => any::<usize>().prop_map(|byte| Tamper::Cut { byte }),
        1 => Just(Tamper::Drop),
        1 => Just(Tamper::Twice),
        1 => Just(Tamper::Swap),
        1 => prop::collection::vec(any::<u8>(), 1..64).prop_map(|bytes| Tamper::Insert { bytes }),
    ]
}

/// What came of a conversation.
struct Outcome {
    machine: TlsMachine,
    client: ClientConnection,
    plain: Vec<u8>,
    fault: Option<TlsFault>,
    tampered: bool,
}

/// Cuts bytes into records; a rest that is none stays whole.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = *bytes {
        let length = 5 + usize::from(u16::from_be_bytes([high, low]));
        let (record, rest) = bytes.split_at(length.min(bytes.len()));
        records.push(record.to_vec());
        bytes = rest;
    }
    if !bytes.is_empty() {
        records.push(bytes.to_vec());
    }
    records
}

/// Does what is to be done to the record at `at`; whether the stream ends there.
fn apply(records: &mut Vec<Vec<u8>>, at: usize, tamper: &Tamper) -> bool {
    match tamper {
        Tamper::Flip { byte, bit } => {
            let length = records[at].len();
            records[at][byte % length] ^= 1 << bit;
        }
        Tamper::Cut { byte } => {
            let length = records[at].len();
            records[at].truncate(byte % length);
            records.truncate(at + 1);
            return true;
        }
        Tamper::Drop => drop(records.remove(at)),
        Tamper::Twice => records.insert(at, records[at].clone()),
        Tamper::Swap if at + 1 < records.len() => records.swap(at, at + 1),
        Tamper::Swap => {}
        Tamper::Insert { bytes } => records.insert(at, bytes.clone()),
    }
    false
}

/// A whole conversation: the client seals each message in a record of its own and says farewell.
/// `pieces` are the lengths in which bytes arrive, again and again.
fn talk(
    version: usize,
    messages: &[Vec<u8>],
    tamper: Option<(usize, &Tamper)>,
    pieces: &[usize],
) -> Outcome {
    let bed = bed();
    let name = ServerName::try_from("localhost").unwrap();
    let mut outcome = Outcome {
        machine: TlsMachine::new(Arc::clone(&bed.endpoint)).unwrap(),
        client: ClientConnection::new(Arc::clone(&bed.clients[version]), name).unwrap(),
        plain: Vec::new(),
        fault: None,
        tampered: false,
    };
    let (mut seen, mut written, mut over) = (0, false, false);
    let mut lengths = pieces.iter().copied().cycle();
    for _ in 0..ROUNDS_MAX {
        let mut bytes = Vec::new();
        while outcome.client.wants_write() {
            outcome.client.write_tls(&mut bytes).unwrap();
        }
        if !outcome.client.is_handshaking() && !written {
            written = true;
            for message in messages {
                std::io::Write::write_all(&mut outcome.client.writer(), message).unwrap();
                outcome.client.write_tls(&mut bytes).unwrap();
            }
            outcome.client.send_close_notify();
            while outcome.client.wants_write() {
                outcome.client.write_tls(&mut bytes).unwrap();
            }
        }
        let mut sealed_records = records(&bytes);
        let count = sealed_records.len();
        if let Some((at, tamper)) = tamper.filter(|(at, _)| (seen..seen + count).contains(at)) {
            let before = sealed_records.clone();
            over = apply(&mut sealed_records, at - seen, tamper);
            outcome.tampered = over || sealed_records != before;
        }
        seen += count;
        if !deliver(&mut outcome, &sealed_records.concat(), &mut lengths) || over {
            break;
        }
    }
    outcome
}

/// Hands bytes to the machine piece by piece, and what it says to the client; whether it goes on.
fn deliver(outcome: &mut Outcome, bytes: &[u8], pieces: &mut impl Iterator<Item = usize>) -> bool {
    let (mut rest, mut sealed) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(pieces.next().unwrap().clamp(1, rest.len()));
        rest = after;
        let opened = outcome.machine.open(&mut piece.to_vec(), &mut outcome.plain, &mut sealed);
        assert!(outcome.machine.partial_bytes() <= PARTIAL_BYTES_MAX);
        assert!(sealed.len() <= SEALED_BYTES_MAX);
        if opened.is_ok() && outcome.machine.is_handshaking() {
            assert!(outcome.plain.is_empty(), "plain bytes before the handshake is done");
        }
        if let Err(fault) = opened {
            outcome.fault = Some(fault);
            return false;
        }
    }
    let mut said = sealed.as_slice();
    while !said.is_empty() {
        if outcome.client.read_tls(&mut said).unwrap() == 0 {
            return false;
        }
        if outcome.client.process_new_packets().is_err() {
            return false;
        }
    }
    !bytes.is_empty() || !sealed.is_empty() || outcome.client.wants_write()
}

/// Bytes that are nowhere the same as in another place.
fn numbered(lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut numbers = (0_u32..).flat_map(u32::to_be_bytes);
    lengths.iter().map(|length| numbers.by_ref().take(*length).collect()).collect()
}

#[test]
fn nothing_that_is_held_back_comes_out_later() {
    for version in [0, 1] {
        let messages = numbered(&[100, 100]);
        let records_before = 20;
        for at in 0..records_before {
            let outcome = talk(version, &messages, Some((at, &Tamper::Cut { byte: 4 })), &[7]);
            assert!(messages.concat().starts_with(&outcome.plain));
            assert!(!outcome.machine.has_ended() || !outcome.tampered);
            assert_eq!(outcome.fault, None, "a stream that ends is no fault of its bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn however_the_stream_is_split_everything_comes_out_once(
        version in 0_usize..2,
        lengths in prop::collection::vec(1_usize..3000, 0..6),
        pieces in prop::collection::vec(1_usize..6000, 1..8),
    ) {
        let messages = numbered(&lengths);
        let mut outcome = talk(version, &messages, None, &pieces);
        prop_assert_eq!(outcome.fault, None);
        prop_assert_eq!(&outcome.plain, &messages.concat());
        prop_assert!(outcome.machine.has_ended() && !outcome.machine.is_handshaking());
        prop_assert_eq!(outcome.machine.partial_bytes(), 0);
        let (mut sealed, mut answer) = (Vec::new(), vec![0; 6]);
        outcome.machine.seal(b"answer", &mut sealed).unwrap();
        outcome.client.read_tls(&mut sealed.as_slice()).unwrap();
        outcome.client.process_new_packets().unwrap();
        std::io::Read::read_exact(&mut outcome.client.reader(), &mut answer).unwrap();
        prop_assert_eq!(answer, b"answer");
    }

    #[test]
    fn whatever_is_done_to_a_record_only_what_was_sealed_comes_out(
        version in 0_usize..2,
        at in 0_usize..12,
        tamper in tampers(),
        lengths in prop::collection::vec(1_usize..600, 1..6),
        pieces in prop::collection::vec(1_usize..3000, 1..6),
    ) {
        let messages = numbered(&lengths);
        let mut outcome = talk(version, &messages, Some((at, &tamper)), &pieces);
        let all = messages.concat();
        prop_assert!(all.starts_with(&outcome.plain));
        if outcome.machine.has_ended() {
            prop_assert_eq!(&outcome.plain, &all, "a farewell before everything had come");
        }
        if !outcome.tampered {
            prop_assert_eq!(outcome.fault, None);
            prop_assert_eq!(&outcome.plain, &all);
        }
        if outcome.fault.is_some() {
            let (mut plain, mut sealed) = (Vec::new(), Vec::new());
            let more = &mut [23, 3, 3, 0, 1, 0];
            prop_assert!(outcome.machine.open(more, &mut plain, &mut sealed).is_err());
            prop_assert!(outcome.machine.seal(b"x", &mut sealed).is_err());
            prop_assert!(plain.is_empty() && sealed.is_empty());
        }
    }

    #[test]
    fn what_nobody_sealed_opens_nothing_and_is_not_hoarded(
        header in prop::collection::vec(any::<u8>(), 0..12),
        filling: u8,
        is_record: bool,
        pieces in prop::collection::vec(1_usize..40_000, 1..12),
    ) {
        let mut machine = TlsMachine::new(Arc::clone(&bed().endpoint)).unwrap();
        let mut bytes = if is_record { vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff] } else { vec![] };
        bytes.extend(header);
        bytes.resize(300_000, filling);
        let (mut plain, mut sealed, mut rest) = (Vec::new(), Vec::new(), bytes.as_slice());
        for length in pieces.iter().cycle() {
            let (piece, after) = rest.split_at((*length).min(rest.len()));
            rest = after;
            let opened = machine.open(&mut piece.to_vec(), &mut plain, &mut sealed);
            prop_assert!(plain.is_empty() && machine.is_handshaking());
            prop_assert!(machine.partial_bytes() <= PARTIAL_BYTES_MAX + piece.len());
            prop_assert!(opened.is_err() || machine.partial_bytes() <= PARTIAL_BYTES_MAX);
            prop_assert!(sealed.len() <= SEALED_BYTES_MAX);
            if opened.is_err() || rest.is_empty() {
                break;
            }
        }
        // 300 kB are more than any handshake: the machine has had enough before they end.
        prop_assert!(!rest.is_empty(), "it swallowed everything");
    }
}
