//! Log-ins as peers see them, in a server without sockets whose clock is ours.

use std::{net::IpAddr, time::Duration};

use kannuki_protocol::{base64, binary::HEADER_BYTES};

use crate::{
    auth::{Format, argon2id_line, scram_line},
    config::LoginConfig,
    simulation::{SimulatedPeer, Simulation},
};

const USERS: &[u8] = b"app:secret\nbob:a b\n";
const STRANGER: &str = "203.0.113.7";
/// The delay of a wrong password, and the tick that the clock may be late by.
const DELAY: Duration = Duration::from_secs(2);
const BAN_SECS: u32 = 60;

fn config() -> LoginConfig {
    LoginConfig {
        users: "users".into(),
        format: Format::AuthFile,
        text: true,
        sasl: true,
        delay_secs: 1,
        ban_after: 3,
        ban_secs: BAN_SECS,
    }
}

fn server() -> Simulation {
    Simulation::with_users(config(), USERS).unwrap()
}

fn stranger(server: &Simulation) -> Option<SimulatedPeer> {
    server.connect_from(STRANGER.parse::<IpAddr>().unwrap())
}

/// Sends; the answer as text.
fn say(server: &Simulation, peer: &mut SimulatedPeer, bytes: &[u8]) -> String {
    server.feed(peer, bytes).escape_ascii().to_string()
}

/// Sends a text log-in; what it is answered, now or after the delay.
fn log_in(server: &Simulation, peer: &mut SimulatedPeer, token: &str) -> String {
    let login = format!("set auth 0 0 {}\r\n{token}\r\n", token.len());
    let now = say(server, peer, login.as_bytes());
    if !now.is_empty() {
        return now;
    }
    server.pass(DELAY);
    say(server, peer, b"")
}

fn frame(opcode: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80, opcode];
    out.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(u32::try_from(key.len() + value.len()).unwrap().to_be_bytes());
    out.extend([0, 0, 0, 9]);
    out.extend([0; 8]);
    out.extend(key);
    out.extend(value);
    out
}

/// Sends a frame; status and body of the one answer, now or after the delay.
fn ask(
    server: &Simulation,
    peer: &mut SimulatedPeer,
    opcode: u8,
    key: &[u8],
    value: &[u8],
) -> (u8, String) {
    let mut answer = server.feed(peer, &frame(opcode, key, value));
    if answer.is_empty() {
        server.pass(DELAY);
        answer = server.feed(peer, b"");
    }
    assert_eq!((answer[0], answer[1], answer[15]), (0x81, opcode, 9));
    (answer[7], String::from_utf8_lossy(&answer[HEADER_BYTES..]).into_owned())
}

const LIST: u8 = 0x20;
const AUTH: u8 = 0x21;
const STEP: u8 = 0x22;
const NOOP: u8 = 0x0a;
const VERSION: u8 = 0x0b;

#[test]
fn text_logs_in_and_goes_on() {
    let server = server();
    let mut peer = server.connect().unwrap();
    assert_eq!(say(&server, &mut peer, b"get a\r\n"), r"CLIENT_ERROR unauthenticated\r\n");
    assert_eq!(say(&server, &mut peer, b"version\r\n"), r"CLIENT_ERROR unauthenticated\r\n");
    let all = b"set x 0 0 10\r\napp secret\r\nset k 0 0 1\r\nv\r\nget k\r\nmg k v\r\n";
    let answers = r"STORED\r\nSTORED\r\nVALUE k 0 1\r\nv\r\nEND\r\nVA 1\r\nv\r\n";
    assert_eq!(say(&server, &mut peer, all), answers, "and what came with it is executed");
    let mut bob = server.connect().unwrap();
    assert_eq!(log_in(&server, &mut bob, "bob a b"), r"STORED\r\n");
    assert_eq!(say(&server, &mut bob, b"get k\r\n"), r"VALUE k 0 1\r\nv\r\nEND\r\n");
}

#[test]
fn a_login_may_come_byte_by_byte() {
    let server = server();
    let mut peer = server.connect().unwrap();
    let mut answer = String::new();
    for byte in b"set x 0 0 10\r\napp secret\r\nmn\r\n" {
        answer += &say(&server, &mut peer, &[*byte]);
    }
    assert_eq!(answer, r"STORED\r\nMN\r\n");
}

#[test]
fn a_wrong_password_is_told_late_and_in_order() {
    let server = server();
    let mut peer = server.connect().unwrap();
    let wrong = b"set x 0 0 9\r\napp wrong\r\nversion\r\n";
    assert_eq!(say(&server, &mut peer, wrong), "", "nothing yet, also of what came behind");
    assert_eq!(say(&server, &mut peer, b"version\r\n"), "");
    server.pass(Duration::from_secs(1));
    assert_eq!(say(&server, &mut peer, b""), "");
    server.pass(Duration::from_secs(1));
    let all = r"CLIENT_ERROR authentication failure\r\n".to_owned()
        + r"CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR unauthenticated\r\n";
    assert_eq!(say(&server, &mut peer, b""), all);
    assert_eq!(log_in(&server, &mut peer, "app secret"), r"STORED\r\n");
}

#[test]
fn what_is_no_login_is_told_at_once() {
    let server = server();
    for token in ["appsecret", "", " secret", "app "] {
        let mut peer = server.connect().unwrap();
        let login = format!("set auth 0 0 {}\r\n{token}\r\n", token.len());
        let told = r"CLIENT_ERROR bad authentication token format\r\n";
        assert_eq!(say(&server, &mut peer, login.as_bytes()), told, "{token}");
        assert_eq!(say(&server, &mut peer, b"get a\r\n"), r"CLIENT_ERROR unauthenticated\r\n");
    }
    let mut peer = server.connect().unwrap();
    let told = say(&server, &mut peer, b"set x 0 0 10\r\napp secretXX\r\nversion\r\n");
    let expected = r"CLIENT_ERROR bad command line termination\r\nCLIENT_ERROR unauthenticated\r\n";
    assert_eq!(told, expected);
    assert_eq!(server.hashes(), 0);
}

#[test]
fn names_and_passwords_that_are_not_there_look_the_same() {
    let hashed = argon2id_line("app", b"secret").unwrap();
    let server =
        Simulation::with_users(LoginConfig { ban_after: 0, ..config() }, hashed.as_bytes());
    let server = server.unwrap();
    let mut answers = Vec::new();
    for token in ["app wrong", "nobody secret", "nobody wrong", "app secre"] {
        let before = server.hashes();
        let mut peer = server.connect().unwrap();
        answers.push((log_in(&server, &mut peer, token), server.hashes() - before));
    }
    let told = r"CLIENT_ERROR authentication failure\r\n".to_owned();
    assert_eq!(answers, vec![(told, 1); 4]);
    let mut peer = server.connect().unwrap();
    assert_eq!(log_in(&server, &mut peer, "app secret"), r"STORED\r\n");
    let before = server.hashes();
    for _ in 0..5 {
        let mut peer = server.connect().unwrap();
        assert_eq!(log_in(&server, &mut peer, "app secret"), r"STORED\r\n");
    }
    assert_eq!(server.hashes(), before, "a pool that comes back is not hashed one by one");
}

/// One wrong log-in of each kind and each way in, the same number of times: the same answer, the
/// same hashes, and the same end.
#[test]
fn unknown_names_and_wrong_passwords_cost_the_same_and_end_in_a_ban() {
    let hashed = argon2id_line("app", b"secret").unwrap();
    let scram = scram_line("app", b"secret").unwrap();
    for (file, hashes_each) in [(hashed.as_str(), 1), (scram.as_str(), 1), ("app:secret", 0)] {
        let text = |server: &Simulation, peer: &mut SimulatedPeer, name: &str| {
            log_in(server, peer, &format!("{name} wrong"))
        };
        let plain = |server: &Simulation, peer: &mut SimulatedPeer, name: &str| {
            let token = format!("\0{name}\0wrong");
            format!("{:?}", ask(server, peer, AUTH, b"PLAIN", token.as_bytes()))
        };
        type Try<'t> = &'t dyn Fn(&Simulation, &mut SimulatedPeer, &str) -> String;
        for attempt in [&text as Try<'_>, &plain] {
            let ends = ["app", "nobody"].map(|name| {
                let server = Simulation::with_users(config(), file.as_bytes()).unwrap();
                let each: Vec<(String, u64)> = (0..3)
                    .map(|_| {
                        let (before, mut peer) = (server.hashes(), stranger(&server).unwrap());
                        let told = attempt(&server, &mut peer, name);
                        (told, server.hashes() - before)
                    })
                    .collect();
                assert!(each.iter().all(|(_, hashes)| *hashes == hashes_each), "{name}: {each:?}");
                assert!(stranger(&server).is_none(), "{name} of {file} ends in no ban");
                each
            });
            assert_eq!(ends[0], ends[1], "{file}");
        }
    }
}

#[test]
fn failures_end_in_a_ban_and_the_ban_ends() {
    let server = server();
    let failure = r"CLIENT_ERROR authentication failure\r\n";
    let mut inside = stranger(&server).unwrap();
    assert_eq!(log_in(&server, &mut inside, "app secret"), r"STORED\r\n");
    let mut waiting = stranger(&server).unwrap();
    for _ in 0..3 {
        let mut peer = stranger(&server).unwrap();
        assert_eq!(log_in(&server, &mut peer, "app wrong"), failure);
    }
    assert!(stranger(&server).is_none(), "nobody comes in from there");
    let right = log_in(&server, &mut waiting, "app secret");
    assert_eq!((right.as_str(), waiting.is_closed()), (failure, true), "not even who is right");
    assert_eq!(say(&server, &mut inside, b"mn\r\n"), r"MN\r\n", "who is in stays in");
    assert!(server.connect_from("203.0.113.8".parse().unwrap()).is_some(), "the neighbour may");
    server.pass(Duration::from_secs(BAN_SECS.into()));
    let mut peer = stranger(&server).unwrap();
    assert_eq!(log_in(&server, &mut peer, "app secret"), r"STORED\r\n");
}

#[test]
fn loopback_is_never_shut_out() {
    let server = server();
    for _ in 0..20 {
        let mut peer = server.connect().unwrap();
        let failure = r"CLIENT_ERROR authentication failure\r\n";
        assert_eq!(log_in(&server, &mut peer, "app wrong"), failure);
    }
    assert!(server.connect().is_some());
}

#[test]
fn a_reload_ends_the_connections_of_who_is_gone_or_changed() {
    let mut server = server();
    let connections: Vec<(SimulatedPeer, bool)> = [("app secret", true), ("bob a b", false)]
        .map(|(token, stays)| {
            let mut peer = server.connect().unwrap();
            assert_eq!(log_in(&server, &mut peer, token), r"STORED\r\n");
            (peer, stays)
        })
        .into();
    assert!(!server.reload_users(b"app:secret\nbroken"), "a bad file keeps the old users");
    let mut peer = server.connect().unwrap();
    assert_eq!(log_in(&server, &mut peer, "bob a b"), r"STORED\r\n");
    assert!(server.reload_users(b"new:x\napp:secret\nbob:changed\n"));
    for (mut peer, stays) in connections {
        let answer = say(&server, &mut peer, b"mn\r\n");
        assert_eq!(
            (answer.as_str(), peer.is_closed()),
            (if stays { r"MN\r\n" } else { "" }, !stays)
        );
    }
    let mut peer = server.connect().unwrap();
    assert_eq!(log_in(&server, &mut peer, "new x"), r"STORED\r\n");
    assert!(server.reload_users(b"app:secret\n"));
    assert_eq!(say(&server, &mut peer, b"set k 0 0 1\r\nv\r\n"), "");
    assert!(peer.is_closed());
}

#[test]
fn a_login_that_a_reload_overtakes_counts_for_nothing() {
    let mut server = server();
    let mut peer = server.connect().unwrap();
    // The first step of SCRAM under the old users, the last under the new.
    let (status, challenge) = ask(&server, &mut peer, AUTH, b"SCRAM-SHA-256", b"n,,n=app,r=abc");
    assert_eq!(status, 0x21, "{challenge}");
    assert!(server.reload_users(b"app:other\n"));
    let last = scram_last("secret", b"n=app,r=abc", &challenge);
    assert_eq!(ask(&server, &mut peer, STEP, b"SCRAM-SHA-256", &last).0, 0x20);
    assert_eq!(ask(&server, &mut peer, NOOP, b"", b"").0, 0x20);
}

#[test]
fn before_sasl_nothing_but_version_is_answered() {
    let server = server();
    let mut peer = server.connect().unwrap();
    assert_eq!(ask(&server, &mut peer, VERSION, b"", b"").0, 0);
    assert_eq!(ask(&server, &mut peer, LIST, b"", b""), (0, "PLAIN SCRAM-SHA-256".to_owned()));
    for (opcode, key) in
        [(NOOP, b"".as_slice()), (0x00, b"k"), (0x07, b""), (0x10, b""), (0x99, b"")]
    {
        let mut peer = server.connect().unwrap();
        let told = ask(&server, &mut peer, opcode, key, b"");
        assert_eq!(
            (told, peer.is_closed()),
            ((0x20, "Auth failure.".to_owned()), true),
            "{opcode}"
        );
    }
    // A set, whose value must not be looked at: it could hold a log-in.
    let mut peer = server.connect().unwrap();
    let mut set = vec![0x80, 1, 0, 1, 8, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 9];
    set.extend([0; 8 + 8]);
    set.push(b'k');
    set.extend(frame(AUTH, b"PLAIN", b"\0app\0secret"));
    let answer = server.feed(&mut peer, &set);
    assert_eq!((answer.len(), answer[7], peer.is_closed()), (24 + 13, 0x20, true));
}

#[test]
fn sasl_plain_logs_in_and_out_again() {
    let server = server();
    let mut peer = server.connect().unwrap();
    let in_now = (0, "Authenticated".to_owned());
    let failed = (0x20, "Auth failure.".to_owned());
    assert_eq!(ask(&server, &mut peer, AUTH, b"PLAIN", b"\0app\0wrong"), failed);
    assert_eq!(ask(&server, &mut peer, AUTH, b"PLAIN", b"\0app\0secret"), in_now);
    assert_eq!(ask(&server, &mut peer, NOOP, b"", b"").0, 0);
    assert_eq!(ask(&server, &mut peer, AUTH, b"PLAIN", b"\0bob\0a b"), in_now, "as another user");
    assert_eq!(ask(&server, &mut peer, NOOP, b"", b"").0, 0);
    assert_eq!(ask(&server, &mut peer, AUTH, b"PLAIN", b"\0bob\0wrong"), failed);
    assert_eq!(ask(&server, &mut peer, NOOP, b"", b"").0, 0x20, "a failure is a log-out");
    assert!(peer.is_closed());
}

#[test]
fn sasl_asks_for_a_first_message_that_is_missing() {
    let server = server();
    let mut peer = server.connect().unwrap();
    assert_eq!(ask(&server, &mut peer, AUTH, b"PLAIN", b""), (0x21, String::new()));
    assert_eq!(ask(&server, &mut peer, STEP, b"PLAIN", b"\0app\0secret").0, 0);
}

#[test]
fn odd_sasl_messages_fail_and_the_stream_stays_in_step() {
    let server = server();
    let mut peer = server.connect().unwrap();
    let told = |peer: &mut SimulatedPeer, opcode, key: &[u8], value: &[u8]| {
        ask(&server, peer, opcode, key, value).0
    };
    assert_eq!(told(&mut peer, AUTH, &[b'X'; 33], b"data"), 0x04);
    assert_eq!(told(&mut peer, AUTH, b"PLAIN", &[0; 16 * 1024 + 1]), 0x82);
    assert_eq!(told(&mut peer, AUTH, b"CRAM-MD5", b"x"), 0x20);
    assert_eq!(told(&mut peer, AUTH, b"plain", b"\0app\0secret"), 0x20);
    assert_eq!(told(&mut peer, AUTH, b"PLAIN", b"app\0secret"), 0x20);
    assert_eq!(told(&mut peer, AUTH, b"PLAIN", b"bob\0app\0secret"), 0x20);
    assert_eq!(told(&mut peer, STEP, b"SCRAM-SHA-256", b"c=biws,r=abc,p=AAAA"), 0x20);
    assert_eq!(told(&mut peer, STEP, b"SCRAM-SHA-256", b""), 0x20);
    assert_eq!(told(&mut peer, AUTH, b"SCRAM-SHA-256", b"p=tls-unique,,n=app,r=x"), 0x20);
    assert_eq!(told(&mut peer, AUTH, b"PLAIN", b"\0app\0secret"), 0);
}

/// A client's last message: `c=...,r=...,p=...`.
fn scram_last(password: &str, first: &[u8], challenge: &str) -> Vec<u8> {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::{Digest as _, Sha256};
    let mac = |key: &[u8], data: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(data);
        mac.finalize().into_bytes()
    };
    let mut parts = challenge.split(',');
    let nonce = parts.next().unwrap();
    let mut salt = vec![0; 64];
    let length = base64::decode(&mut salt, &parts.next().unwrap().as_bytes()[2..]).unwrap();
    let rounds = parts.next().unwrap()[2..].parse().unwrap();
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt[..length], rounds, &mut salted);
    let client = mac(&salted, b"Client Key");
    let bare = format!("c=biws,{nonce}");
    let said = [first, b",", challenge.as_bytes(), b",", bare.as_bytes()].concat();
    let signature = mac(&Sha256::digest(client), &said);
    let proof: Vec<u8> = client.iter().zip(signature).map(|(one, other)| one ^ other).collect();
    let mut last = format!("{bare},p=").into_bytes();
    base64::encode(&mut last, &proof);
    last
}

#[test]
fn scram_takes_three_steps() {
    let server = server();
    let mut peer = server.connect().unwrap();
    let scram = b"SCRAM-SHA-256";
    let (status, challenge) = ask(&server, &mut peer, AUTH, scram, b"n,,n=app,r=abc");
    assert!(status == 0x21 && challenge.starts_with("r=abc"), "{challenge}");
    let last = scram_last("secret", b"n=app,r=abc", &challenge);
    let (status, proof) = ask(&server, &mut peer, STEP, scram, &last);
    assert!(status == 0x21 && proof.starts_with("v="), "{proof}");
    assert_eq!(ask(&server, &mut peer, STEP, scram, b""), (0, "Authenticated".to_owned()));
    assert_eq!(ask(&server, &mut peer, NOOP, b"", b"").0, 0);
}

#[test]
fn scram_is_not_over_before_the_client_agrees() {
    let server = server();
    let scram = b"SCRAM-SHA-256";
    let half = |peer: &mut SimulatedPeer| {
        let (_, challenge) = ask(&server, peer, AUTH, scram, b"n,,n=app,r=abc");
        let last = scram_last("secret", b"n=app,r=abc", &challenge);
        assert_eq!(ask(&server, peer, STEP, scram, &last).0, 0x21);
    };
    let mut peer = server.connect().unwrap();
    half(&mut peer);
    assert_eq!(ask(&server, &mut peer, NOOP, b"", b"").0, 0x20);
    let mut peer = server.connect().unwrap();
    half(&mut peer);
    assert_eq!(ask(&server, &mut peer, STEP, scram, b"more").0, 0x20);
    assert_eq!(ask(&server, &mut peer, STEP, scram, b"").0, 0x20, "the proof is used up");
    assert_eq!(ask(&server, &mut peer, NOOP, b"", b"").0, 0x20);
}

#[test]
fn a_wrong_proof_counts_as_a_wrong_password() {
    let server = server();
    for _ in 0..3 {
        let mut peer = stranger(&server).unwrap();
        let (_, challenge) = ask(&server, &mut peer, AUTH, b"SCRAM-SHA-256", b"n,,n=app,r=abc");
        let last = scram_last("wrong", b"n=app,r=abc", &challenge);
        assert_eq!(ask(&server, &mut peer, STEP, b"SCRAM-SHA-256", &last).0, 0x20);
    }
    assert!(stranger(&server).is_none());
}

#[test]
fn scram_is_listed_only_where_somebody_could_use_it() {
    let hashed = argon2id_line("app", b"secret").unwrap();
    let server = Simulation::with_users(config(), hashed.as_bytes()).unwrap();
    let mut peer = server.connect().unwrap();
    assert_eq!(ask(&server, &mut peer, LIST, b"", b"").1, "PLAIN");
    let (status, challenge) = ask(&server, &mut peer, AUTH, b"SCRAM-SHA-256", b"n,,n=app,r=abc");
    assert_eq!(status, 0x21, "who asks all the same learns nothing");
    let last = scram_last("secret", b"n=app,r=abc", &challenge);
    assert_eq!(ask(&server, &mut peer, STEP, b"SCRAM-SHA-256", &last).0, 0x20);
    assert_eq!(ask(&server, &mut peer, AUTH, b"PLAIN", b"\0app\0secret").0, 0);
}

#[test]
fn a_thousand_users_log_in() {
    let file: String = (0..1000).map(|n| format!("user{n}:secret{n}\n")).collect();
    let server = Simulation::with_users(config(), file.as_bytes()).unwrap();
    for n in 0..1000 {
        let mut peer = server.connect().unwrap();
        let told = log_in(&server, &mut peer, &format!("user{n} secret{n}"));
        assert_eq!(told, r"STORED\r\n", "user{n}");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_is_stored_or_read_before_a_login(
        stream in proptest::collection::vec(proptest::prelude::prop_oneof![
            proptest::prelude::Just(b"set k 0 0 1\r\nv\r\n".to_vec()),
            proptest::prelude::Just(b"get seen\r\n".to_vec()),
            proptest::prelude::Just(b"mg seen v\r\n".to_vec()),
            proptest::prelude::Just(b"stats\r\n".to_vec()),
            proptest::prelude::Just(frame(0, b"seen", b"")),
            proptest::prelude::Just(frame(AUTH, b"PLAIN", b"\0nobody\0x")),
            proptest::prelude::Just(frame(AUTH, b"SCRAM-SHA-256", b"n,,n=app,r=abc")),
            proptest::prelude::Just(frame(STEP, b"SCRAM-SHA-256", b"")),
            proptest::collection::vec(0u8.., 0..40),
        ], 0..12),
    ) {
        let server = server();
        let mut inside = server.connect().unwrap();
        log_in(&server, &mut inside, "app secret");
        assert_eq!(say(&server, &mut inside, b"set seen 0 0 6\r\nprized\r\n"), r"STORED\r\n");
        let mut outside = server.connect().unwrap();
        for bytes in stream {
            let mut answer = server.feed(&mut outside, &bytes);
            server.pass(DELAY);
            answer.extend(server.feed(&mut outside, b""));
            assert!(!answer.windows(6).any(|window| window == b"prized"));
            assert!(!answer.windows(4).any(|window| window == b"STAT"));
        }
        assert_eq!(say(&server, &mut inside, b"get k\r\n"), r"END\r\n");
    }
}
