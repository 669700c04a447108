//! Rules by key prefix hold in every protocol and every form, and a reload changes them for
//! connections that are open.
//!
//! Two peers of one host, told apart by address: 127.0.0.1 is free, 127.0.0.2 has rules.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use kannuki_tests::launch::free_port;
use kannuki_tests::{Launch, Server, Wire, clock};
use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use tempfile::TempDir;

use super::verbs::{FRAMES, LINES, frame};
use super::{DENIED, kannuki, refused, settings};

pub(super) const BOUND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
pub(super) const OWN_KEYS: &str = "[[rule]]\nname = \"tenant\"\nnetwork = \"127.0.0.2\"\n\
                        allow = [\"read\", \"write\", \"delete\"]\nkeys = [\"a:\"]\n";
/// The key that the bound peer may not touch, and the same in base64.
pub(super) const FOREIGN: (&str, &str) = ("x:1", "eDox");
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(10);

pub(super) struct House {
    server: Server,
    pub(super) udp: u16,
    folder: TempDir,
}

impl House {
    pub(super) fn start(rules: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = settings(folder.path(), rules);
        let udp = free_port();
        let server = Launch::kannuki()
            // One thread: datagrams that follow each other are executed in their order.
            .flags(["-t", "1", "-U", &udp.to_string(), "--config", config.to_str().unwrap()])
            .start();
        let house = Self { server, udp, folder };
        let mut free = house.free();
        assert_eq!(free.ask("set x:1 0 0 1\r\n7\r\n"), "STORED");
        for at in 0..99 {
            assert_eq!(free.ask(&format!("set a:{at} 0 0 1\r\n7\r\n")), "STORED");
        }
        house
    }

    pub(super) fn free(&self) -> Wire {
        self.server.connect()
    }

    pub(super) fn bound(&self) -> Wire {
        Wire::tcp_from(BOUND, self.server.address()).unwrap()
    }

    /// All that can be seen of the foreign item: anything done to it shows.
    pub(super) fn foreign(&self) -> String {
        let mut free = self.free();
        let shown = free.ask("mg x:1 v f t c s h l\r\n");
        assert!(shown.starts_with("VA "), "{shown}");
        let value = free.line();
        // Time since the last access goes on by itself.
        let flags = shown.split(' ').filter(|flag| !flag.starts_with('l'));
        format!("{} {value}", flags.collect::<Vec<_>>().join(" "))
    }

    fn reload(&self, rules: &str) {
        settings(self.folder.path(), rules);
        self.server.signal(Signal::HUP);
    }
}

/// Sends a request and then `mn`; returns what was answered before `MN`.
fn answer(wire: &mut Wire, request: &str) -> String {
    wire.send(format!("{request}\r\nmn\r\n"));
    let bytes = wire.until(b"MN\r\n");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.strip_suffix("MN\r\n").unwrap_or(&text).trim_end().to_owned()
}

pub(super) fn about(template: &str, (key, base64): (&str, &str)) -> String {
    template.replace("{K}", key).replace("{B}", base64)
}

#[test]
fn no_text_or_meta_form_touches_a_forbidden_key() {
    let house = House::start(OWN_KEYS);
    let mut bound = house.bound();
    house.foreign();
    let before = house.foreign();
    for (template, silent) in LINES {
        let request = about(template, FOREIGN);
        let expected = if *silent { "" } else { DENIED };
        assert_eq!(answer(&mut bound, &request), expected, "{request}");
        assert_eq!(house.foreign(), before, "{request}");
    }
    // The same forms on a key of its own are served: the rule, not the form, was refused.
    for (template, silent) in LINES {
        let request = about(template, ("a:1", "YTox"));
        let answer = answer(&mut bound, &request);
        assert_ne!(answer, DENIED, "{request}");
        assert!(!silent || answer.is_empty(), "{request}: {answer}");
    }
    assert_eq!(refused(&mut house.free(), "rule-denied"), LINES.len() as u64, "each counts once");
}

/// Keys as long as keys may be, and in base64 as long as that may be: the prefix still counts.
#[test]
fn no_text_or_meta_form_touches_a_forbidden_key_of_full_length() {
    let house = House::start(OWN_KEYS);
    let (mut free, mut bound) = (house.free(), house.bound());
    let plain = format!("x:{}", "k".repeat(248));
    let encoded = format!("eDpr{}", "a2tr".repeat(61));
    assert_eq!(free.ask(&format!("ms {plain} 1 F3\r\n7\r\n")), "HD");
    assert_eq!(free.ask(&format!("ms {encoded} 1 b F3\r\n7\r\n")), "HD");
    let mut left = || {
        let looks = [format!("mg {plain} v f t c s"), format!("mg {encoded} b v f t c s")];
        looks.map(|look| answer(&mut free, &look))
    };
    let before = left();
    assert!(before.iter().all(|shown| shown.starts_with("VA 1 f3 t-1")), "{before:?}");
    for (template, silent) in LINES {
        let request = about(template, (&plain, &encoded));
        let expected = if *silent { "" } else { DENIED };
        assert_eq!(answer(&mut bound, &request), expected, "{request}");
        assert_eq!(left(), before, "{request}");
    }
}

/// Reading changes nothing, and deleting leaves the item as it was or takes it away: it never
/// writes.
#[test]
fn a_right_alone_does_only_what_its_name_says() {
    for (right, may_vanish) in [("read", false), ("delete", true)] {
        let own = OWN_KEYS.replace("\"read\", \"write\", \"delete\"", &format!("{right:?}"));
        let house =
            House::start(&format!("{own}[[rule]]\nnetwork = \"127.0.0.2\"\ndeny = [\"all\"]\n"));
        let (mut free, mut bound) = (house.free(), house.bound());
        let forms = LINES.iter().map(|(template, _)| about(template, ("a:1", "YTox")));
        let writing = ["md a:1 x", "md a:1 x T30 F5", "md a:1 I E9", "mg a:1 E9 N30 v"];
        for request in forms.chain(writing.map(str::to_owned)) {
            assert_eq!(free.ask("ms a:1 1 F3 T900 E77\r\n7\r\n"), "HD");
            answer(&mut bound, &request);
            let left = answer(&mut free, "mg a:1 v f c");
            let is_gone = left == "EN";
            assert!(
                left == "VA 1 f3 c77\r\n7" || (is_gone && may_vanish),
                "{right}: {request}: {left}"
            );
            let lifetime = answer(&mut free, "mg a:1 t");
            assert!(is_gone || lifetime.starts_with("HD t8") || lifetime == "HD t900", "{request}");
        }
    }
}

#[test]
fn no_binary_form_touches_a_forbidden_key() {
    const NOOP: u8 = 0x0a;
    let house = House::start(OWN_KEYS);
    let mut bound = house.bound();
    house.foreign();
    let before = house.foreign();
    for (opcode, extras, value) in FRAMES {
        bound.send(frame(*opcode, extras, b"x:1", value));
        bound.send(frame(NOOP, b"", b"", b""));
        let mut statuses = Vec::new();
        loop {
            let head = bound.exactly(24);
            let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
            bound.exactly(usize::try_from(length).unwrap());
            if head[1] == NOOP {
                break;
            }
            statuses.push(u16::from_be_bytes([head[6], head[7]]));
        }
        assert!(statuses.iter().all(|status| *status == 0x20), "{opcode:#x}: {statuses:x?}");
        assert!(statuses.len() <= 1, "{opcode:#x}: {statuses:x?}");
        assert_eq!(house.foreign(), before, "{opcode:#x}");
    }
    bound.send(frame(0x00, b"", b"a:1", b""));
    let head = bound.exactly(24);
    assert_eq!(head[6..8], [0, 0], "its own key is served");
    assert_eq!(refused(&mut house.free(), "rule-denied"), FRAMES.len() as u64);
}

#[test]
fn one_forbidden_key_of_a_hundred_is_a_miss() {
    let house = House::start(OWN_KEYS);
    let mut keys: Vec<String> = (0..99).map(|at| format!("a:{at}")).collect();
    keys.insert(40, "x:1".to_owned());
    let mut bound = house.bound();
    for verb in ["get", "gets", "gat 100", "gats 100"] {
        bound.send(format!("{verb} {}\r\n", keys.join(" ")));
        let answer = String::from_utf8(bound.until(b"END\r\n")).unwrap();
        assert_eq!(answer.matches("VALUE a:").count(), 99, "{verb}");
        assert!(!answer.contains("x:1") && !answer.contains("ERROR"), "{verb}");
    }
    assert_eq!(refused(&mut house.free(), "rule-denied"), 4);
}

#[test]
fn rules_hold_over_udp() {
    let house = House::start(OWN_KEYS);
    let socket = UdpSocket::bind((BOUND, 0)).unwrap();
    socket.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, house.udp))).unwrap();
    let ask = |request: &str| {
        let mut datagram = vec![0, 9, 0, 0, 0, 1, 0, 0];
        datagram.extend(request.as_bytes());
        socket.send(&datagram).unwrap();
        let mut room = [0; 2048];
        let length = socket.recv(&mut room).unwrap();
        String::from_utf8_lossy(&room[8..length]).into_owned()
    };
    house.foreign();
    let before = house.foreign();
    assert_eq!(ask("get x:1\r\n"), format!("{DENIED}\r\n"));
    assert_eq!(ask("set x:1 0 0 1\r\n8\r\n"), format!("{DENIED}\r\n"));
    assert_eq!(ask("mg x:1 v\r\n"), format!("{DENIED}\r\n"));
    assert_eq!(ask("get a:1 x:1\r\n"), "VALUE a:1 0 1\r\n7\r\nEND\r\n");
    assert_eq!(house.foreign(), before);
}

/// A win is the right to write: who may not write is told that an item is stale, and leaves the win
/// to somebody who may.
#[test]
fn who_may_only_read_wins_no_refill() {
    let rules = "[[rule]]\nnetwork = \"127.0.0.2\"\ndeny = [\"write\", \"delete\"]\n";
    let house = House::start(rules);
    let (mut free, mut bound) = (house.free(), house.bound());
    let shown = |wire: &mut Wire, request: &str| {
        let answer = answer(wire, request);
        answer.lines().next().unwrap_or_default().to_owned()
    };
    // Soon to expire, by the reader's own measure.
    assert_eq!(free.ask("ms a:1 1 T60\r\n7\r\n"), "HD");
    for _ in 0..2 {
        assert_eq!(shown(&mut bound, "mg a:1 v R600"), "VA 1");
    }
    assert_eq!(shown(&mut free, "mg a:1 v R600"), "VA 1 W", "the win is still there");
    assert_eq!(shown(&mut bound, "mg a:1 v R600"), "VA 1 Z", "and the reader hears of it");
    // Marked stale.
    assert_eq!(free.ask("ms a:2 1\r\n7\r\n"), "HD");
    assert_eq!(free.ask("md a:2 I\r\n"), "HD");
    for _ in 0..2 {
        assert_eq!(shown(&mut bound, "mg a:2 v"), "VA 1 X");
    }
    assert_eq!(shown(&mut free, "mg a:2 v"), "VA 1 X W");
    assert_eq!(shown(&mut bound, "mg a:2 v"), "VA 1 Z X");
    // Created by a miss, which is a write and says so.
    assert_eq!(shown(&mut bound, "mg a:new v N60"), DENIED);
    assert_eq!(shown(&mut bound, "mg a:new v"), "EN");
    assert_eq!(refused(&mut free, "rule-denied"), 1, "only what was refused is counted");
}

#[test]
fn who_may_only_write_reads_nothing() {
    let rules = "[[rule]]\nnetwork = \"127.0.0.2\"\ndeny = \"read\"\n";
    let house = House::start(rules);
    let mut bound = house.bound();
    for request in ["get x:1", "gat 0 x:1", "gats 0 x:1", "mg x:1 v T0", "mg x:1 v N9", "me x:1"] {
        assert_eq!(answer(&mut bound, request), DENIED, "{request}");
    }
    assert_eq!(answer(&mut bound, "touch x:1 0"), "TOUCHED");
    assert_eq!(answer(&mut bound, "set x:1 0 0 1\r\n8"), "STORED");
    let mut binary = house.bound();
    binary.send(frame(0x1d, &[0; 4], b"x:1", b""));
    assert_eq!(binary.exactly(24)[6..8], [0, 0x20], "gat over binary");
}

#[test]
fn a_reload_changes_rules_for_open_connections_and_a_bad_file_nothing() {
    let house = House::start("");
    let mut open = house.bound();
    // In the middle of a value: it is decided again when the value is whole.
    let mut sending = house.bound();
    sending.send("set x:1 0 0 10\r\nhalf:");
    assert_eq!(answer(&mut open, "get x:1"), "VALUE x:1 0 1\r\n7\r\nEND");
    house.reload(OWN_KEYS);
    let denied =
        clock::until(ANSWER_WAIT, || (answer(&mut open, "get x:1") == DENIED).then_some(()));
    assert!(denied.is_some(), "an open connection follows the new rules");
    sending.send("other\r\n");
    assert_eq!(sending.line(), DENIED, "a value that was half sent is not stored");
    assert_eq!(house.free().ask("mg x:1 v\r\n"), "VA 1");

    house.reload("[[rule]]\nnetwork = \"127.0.0.2\"\nallow = \"reed\"\n");
    let said = clock::until(ANSWER_WAIT, || {
        house.server.stderr().contains("unknown action `reed`").then_some(())
    });
    assert!(said.is_some(), "{}", house.server.stderr());
    assert_eq!(answer(&mut open, "get x:1"), DENIED, "the old rules stay");
    house.reload("");
    let free = clock::until(ANSWER_WAIT, || (answer(&mut open, "get x:1") != DENIED).then_some(()));
    assert!(free.is_some(), "rules that are gone bind nobody");
}

/// Who asks is not this process but a thread of it that has become somebody else, which only root
/// can; the kernel tells the server who was there when the connection was made.
#[test]
fn uid_and_gid_are_those_of_whoever_connects() {
    if !kannuki_tests::process::is_root() {
        eprintln!("\n*** SKIPPED: UNIX peers of other users: only root can become another ***\n");
        return;
    }
    let folder = TempDir::new().unwrap();
    // Both have to fit where both are named, and a later rule is asked where an earlier is silent.
    let config = settings(
        folder.path(),
        "[[rule]]\nuid = 12001\ngid = 12002\nallow = \"all\"\nkeys = \"both:\"\n\
         [[rule]]\nuid = [12001, 12005]\nallow = [\"read\", \"write\"]\nkeys = \"uid:\"\n\
         [[rule]]\ngid = 12002\nallow = \"read\"\nkeys = \"gid:\"\n\
         [[rule]]\nuid = 0\nallow = \"all\"\n\
         [[rule]]\nanyone = true\ndeny = \"all\"\n",
    );
    let launch = Launch::kannuki().on_unix_socket();
    let server = launch.flags(["-a", "0777", "--config", config.to_str().unwrap()]).start();
    let path = server.socket_path().unwrap();
    let mut root = server.connect();
    for key in ["both:1", "uid:1", "gid:1"] {
        assert_eq!(root.ask(&format!("set {key} 0 0 1\r\n7\r\n")), "STORED");
    }
    for (uid, gid, readable) in [
        (12001, 12002, "both:1 uid:1 gid:1"),
        (12001, 12003, "uid:1"),
        (12004, 12002, "gid:1"),
        (12005, 12003, "uid:1"),
        (12004, 12003, ""),
        // A name of one kind is none of the other.
        (12002, 12001, ""),
    ] {
        let mut peer = connect_as(path, uid, gid);
        peer.send("get both:1 uid:1 gid:1\r\nmn\r\n");
        let said = String::from_utf8(peer.until(b"MN\r\n")).unwrap();
        let keys: Vec<&str> = said
            .lines()
            .filter_map(|line| line.strip_prefix("VALUE ")?.split(' ').next())
            .collect();
        assert_eq!(keys.join(" "), readable, "{uid}:{gid}");
        let writes = peer.ask("set uid:1 0 0 1\r\n7\r\n") == "STORED";
        assert_eq!(writes, readable.contains("uid:1"), "{uid}:{gid}");
        assert_eq!(peer.ask("set gid:1 0 0 1\r\n8\r\n"), DENIED, "{uid}:{gid}");
        assert_eq!(peer.ask("flush_all\r\n"), DENIED, "{uid}:{gid}");
    }
    assert_eq!(root.ask("get gid:1\r\n"), "VALUE gid:1 0 1");
}

/// A connection of another user: credentials are each thread's own.
fn connect_as(path: &Path, uid: u32, gid: u32) -> Wire {
    let become_other = || {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
        Wire::unix(path).unwrap()
    };
    std::thread::scope(|scope| scope.spawn(become_other).join().unwrap())
}

#[test]
fn the_peers_of_a_unix_socket_are_told_apart_by_their_user() {
    let uid = rustix::process::geteuid().as_raw();
    let folder = TempDir::new().unwrap();
    let table = |uid: u32, word: &str| format!("[[rule]]\nuid = {uid}\n{word} = \"all\"\n");
    let last = "[[rule]]\nanyone = true\ndeny = \"all\"\n";
    for (rules, expected) in [
        (table(uid, "allow") + last, "END"),
        (table(uid + 1, "allow") + last, DENIED),
        (table(uid, "deny"), DENIED),
    ] {
        let config = settings(folder.path(), &rules);
        let server = Launch::kannuki()
            .on_unix_socket()
            .flags(["--config", config.to_str().unwrap()])
            .start();
        assert_eq!(server.connect().ask("get a\r\n"), expected, "{rules}");
    }
}

#[test]
fn rules_by_user_begin_with_the_login() {
    let folder = TempDir::new().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "app:one\nops:two\nguest:three\n").unwrap();
    let config = settings(
        folder.path(),
        &format!(
            "auth-file = {:?}\n\
             [[rule]]\nuser = \"app\"\nallow = [\"read\", \"write\"]\nkeys = \"a:\"\n\
             [[rule]]\nuser = \"ops\"\nallow = \"all\"\n\
             [[rule]]\nanyone = true\ndeny = \"all\"\n",
            users.to_str().unwrap()
        ),
    );
    let server = Launch::kannuki().flags(["--config", config.to_str().unwrap()]).start();
    let log_in = |name: &str, password: &str| {
        let mut wire = server.connect();
        assert_eq!(wire.ask("get a:1\r\n"), "CLIENT_ERROR unauthenticated", "{name}");
        let words = format!("{name} {password}");
        assert_eq!(wire.ask(&format!("set x 0 0 {}\r\n{words}\r\n", words.len())), "STORED");
        wire
    };
    let (mut app, mut ops) = (log_in("app", "one"), log_in("ops", "two"));
    assert_eq!(app.ask("set a:1 0 0 1\r\n7\r\n"), "STORED");
    assert_eq!(app.ask("get b:1\r\n"), DENIED);
    assert_eq!(app.ask("flush_all\r\n"), DENIED);
    assert_eq!(log_in("guest", "three").ask("get a:1\r\n"), DENIED);
    assert_eq!(ops.ask("flush_all\r\n"), "OK");
    assert_eq!(app.ask("get a:1\r\n"), "END");
}

#[test]
fn explain_says_what_the_server_does() {
    let house = House::start(OWN_KEYS);
    let config = house.folder.path().join("kannuki.toml");
    let mut wire = house.bound();
    for (key, command, code) in
        [("x:1", "get", 1), ("a:1", "get", 0), ("x:1", "delete", 1), ("a:1", "gat", 0)]
    {
        let output = kannuki(&[
            "explain",
            "access",
            "--config",
            config.to_str().unwrap(),
            "--peer",
            "127.0.0.2",
            "--key",
            key,
            command,
        ]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("rule 1 \"tenant\"") && said.contains("kannuki.toml:1:1"), "{said}");
        let request = match command {
            "gat" => format!("gat 0 {key}"),
            _ => format!("{command} {key}"),
        };
        assert_eq!(answer(&mut wire, &request) == DENIED, code == 1, "{request}: {said}");
    }
}
