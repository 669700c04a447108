//! Living and ending: signals, draining, pid file, daemon, log file, inherited sockets.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kannuki_tests::launch::free_port;
use kannuki_tests::process::{Doomed, is_alive, is_root, wait_gone};
use kannuki_tests::{Launch, Program, Wire, clock};
use rustix::process::Signal;

/// A server asked to end, with nothing to do, ends at once; this is for a busy machine.
const END_BOUND: Duration = Duration::from_secs(10);

#[test]
fn signals_end_it_with_success() {
    for signal in [Signal::TERM, Signal::INT, Signal::USR1] {
        let mut server = Launch::kannuki().start();
        let mut idle = server.connect();
        assert!(idle.ask("version\r\n").starts_with("VERSION "));
        server.signal(signal);
        let status = server.wait_exit(END_BOUND).expect("it ends although a client is idle");
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", server.stderr());
        assert!(idle.closes_within(END_BOUND), "its connections end with it");
    }
}

#[test]
fn a_reply_on_its_way_is_still_sent() {
    const VALUES: usize = 8;
    const VALUE_BYTES: usize = 1_000_000;
    let mut server = Launch::kannuki().start();
    let mut wire = server.connect();
    wire.send(format!("set a 0 0 {VALUE_BYTES}\r\n{}\r\n", "v".repeat(VALUE_BYTES)));
    assert_eq!(wire.line(), "STORED");
    wire.send(format!("get{}\r\n", " a".repeat(VALUES)));
    // It is answering, and the reply is far larger than what sockets hold.
    assert_eq!(wire.line(), format!("VALUE a 0 {VALUE_BYTES}"));
    server.signal(Signal::TERM);
    let head = format!("VALUE a 0 {VALUE_BYTES}\r\n").len();
    let rest = VALUES * (head + VALUE_BYTES + 2) - head + b"END\r\n".len();
    let reply = wire.exactly(rest);
    assert!(reply.ends_with(b"\r\nEND\r\n"));
    assert_eq!(server.wait_exit(END_BOUND).and_then(|status| status.code()), Some(0));
}

/// What had arrived before the signal is answered, however much and over however many connections:
/// the server is stopped, gets all of it and the signal, and goes on.
#[test]
fn what_has_arrived_is_answered_before_the_end() {
    const CONNECTIONS: usize = 40;
    /// Some are more than one read takes.
    const COMMANDS: [usize; 3] = [1, 300, 6_000];
    const ROUNDS: usize = 3;
    for _ in 0..ROUNDS {
        let mut server = Launch::kannuki().flags(["-t", "1"]).start();
        let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        for wire in &mut wires {
            assert!(wire.ask("version\r\n").starts_with("VERSION "));
        }
        server.signal(Signal::STOP);
        for (wire, count) in wires.iter_mut().zip(COMMANDS.into_iter().cycle()) {
            wire.send("mg absent v\r\n".repeat(count));
        }
        server.signal(Signal::TERM);
        server.signal(Signal::CONT);
        for (wire, count) in wires.iter_mut().zip(COMMANDS.into_iter().cycle()) {
            assert_eq!(wire.exactly(4 * count), b"EN\r\n".repeat(count));
            assert!(wire.closes_within(END_BOUND));
        }
        assert_eq!(server.wait_exit(END_BOUND).and_then(|status| status.code()), Some(0));
    }
}

#[test]
fn a_peer_that_never_reads_cannot_keep_it_alive() {
    let mut server = Launch::kannuki().start();
    let mut wire = server.connect();
    wire.send(format!("set a 0 0 1000000\r\n{}\r\n", "v".repeat(1_000_000)));
    assert_eq!(wire.line(), "STORED");
    wire.send(format!("get{}\r\n", " a".repeat(100)));
    assert_eq!(wire.line(), "VALUE a 0 1000000");
    server.signal(Signal::TERM);
    let status = server.wait_exit(Duration::from_secs(20)).expect("it ends nevertheless");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn shutdown_ends_it_when_enabled() {
    for request in ["shutdown\r\n", "shutdown graceful\r\n"] {
        let mut server = Launch::kannuki().flags(["-A"]).start();
        let mut wire = server.connect();
        wire.send(request);
        assert!(wire.closes_within(END_BOUND));
        let status = server.wait_exit(END_BOUND).expect("it ends");
        assert_eq!(status.code(), Some(0), "{request}");
    }
}

#[test]
fn the_pid_file_tells_the_pid() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let server = Launch::kannuki().flags(["-P", path.to_str().unwrap()]).start();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}\n", server.pid()));
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
}

#[test]
fn a_daemon_detaches_and_cleans_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let port = free_port();
    let mut command = Program::Kannuki.command();
    command.args(["-d", "-p", &port.to_string(), "-l", "127.0.0.1", "-P"]).arg(&path);
    if is_root() {
        command.args(["-u", "root"]);
    }
    let mut child = Doomed::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    let status = child.wait_exit(END_BOUND);
    assert_eq!(status.expect("the parent ends").code(), Some(0));
    let pid = clock::until(END_BOUND, || {
        std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok())
    });
    let pid = pid.expect("the daemon writes its pid");
    let address = ([127, 0, 0, 1], port).into();
    let wire = clock::until(END_BOUND, || Wire::tcp(address).ok());
    let answer = wire.map(|mut wire| wire.ask("version\r\n"));
    let session = session_of(pid);
    let stopped = kannuki_tests::process::signal(pid, Signal::TERM);
    let gone = wait_gone(pid, END_BOUND);
    assert!(answer.is_some_and(|answer| answer.starts_with("VERSION ")));
    assert_eq!(session, Some(pid), "it leads a session of its own");
    assert!(stopped && gone, "SIGTERM ends the daemon");
    assert!(!path.exists(), "a daemon removes its pid file");
}

/// The session a process belongs to.
fn session_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(3)?.parse().ok()
}

#[test]
fn the_log_file_is_reopened_on_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
    let flags = ["-v", "--log-file", path.to_str().unwrap()];
    let mut server = Launch::kannuki().flags(flags).start();
    clock::until(END_BOUND, || path.exists().then_some(())).expect("the log is there");
    std::fs::rename(&path, &moved).unwrap();
    server.signal(Signal::HUP);
    clock::until(END_BOUND, || path.exists().then_some(())).expect("a new log is opened");
    assert!(server.connect().ask("version\r\n").starts_with("VERSION "), "it goes on");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit(END_BOUND).and_then(|status| status.code()), Some(0));
}

#[test]
fn sighup_is_survived_without_files() {
    let mut server = Launch::kannuki().start();
    server.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(200));
    assert!(server.is_running());
    assert!(server.connect().ask("version\r\n").starts_with("VERSION "));
}

/// Starts the program as a service manager does: a listening socket as descriptor 3.
fn activated(listener: OwnedFd) -> Doomed {
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(Program::Kannuki.path().unwrap()).arg("serve");
    if is_root() {
        command.args(["-u", "root"]);
    }
    Doomed::start(command.stdin(listener).stderr(Stdio::null()))
}

#[test]
fn an_inherited_socket_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let child = activated(OwnedFd::from(listener));
    // The kernel accepts for a listener that somebody holds; only an answer tells.
    let mut wire = Wire::tcp(address).unwrap();
    let answer = wire.ask("version\r\n");
    let alive = is_alive(child.pid());
    assert!(answer.starts_with("VERSION "), "{answer}");
    assert!(alive);
}

#[test]
fn an_inherited_unix_socket_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let path: &Path = &directory.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    let _child = activated(OwnedFd::from(listener));
    let answer = Wire::unix(path).unwrap().ask("version\r\n");
    assert!(answer.starts_with("VERSION "), "{answer}");
}
