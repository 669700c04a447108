//! What changes a whole process, tried in a process of its own.
//!
//! The usual test harness runs each test in a thread, and a process cannot drop its privileges,
//! lower its limits or fork among its neighbours. So this program is its own harness: each test
//! starts the program again in a role, which does one thing to itself and checks what came of it.
#![allow(clippy::expect_used)] // Clippy takes a program without a harness for a product.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use kannuki_sys::inherited::{self, Inherited};
use kannuki_sys::memory::lock_all_memory;
use kannuki_sys::poller::{Events, Interest, Poller};
use kannuki_sys::process::{self, PrivilegeError, User};

/// Tells a copy of this program its role.
const ROLE: &str = "KANNUKI_TEST_ROLE";
/// Where a role reports.
const REPORT: &str = "KANNUKI_TEST_REPORT";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each test, run in the first process.
const TESTS: [(&str, fn()); 7] = [
    ("a_daemon_leaves_its_session_its_directory_and_its_terminal", daemon_that_leaves),
    ("a_daemon_can_keep_its_directory_and_its_output", daemon_that_keeps),
    ("a_supervisor_s_listener_serves_in_the_next_program", supervisor),
    ("limits_become_what_was_asked_for", || run_role("limits")),
    ("memory_is_locked", || run_role("lock")),
    ("new_privileges_are_forbidden_to_what_is_started", || run_role("forbid")),
    ("privileges_are_dropped_in_every_thread_and_for_ever", || run_role("drop")),
];

fn main() {
    if let Ok(role) = env::var(ROLE) {
        return match role.as_str() {
            "daemon leaving" => daemon(false),
            "daemon keeping" => daemon(true),
            "drop" => drop_privileges(),
            "forbid" => forbid_new_privileges(),
            "inherit" => inherit(),
            "limits" => limits(),
            "lock" => lock_memory(),
            other => unreachable!("no role {other}"),
        };
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    for (name, test) in TESTS {
        if has("--list") {
            // How test runners ask for names. Nothing here is ignored.
            if !has("--ignored") {
                println!("{name}: test");
            }
        } else if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            test();
            println!("test {name} ... ok");
        }
    }
}

fn in_role(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("we have a name"));
    command.env(ROLE, role).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn run_role(role: &str) {
    assert!(in_role(role).status().expect("a copy starts").success(), "role {role}");
}

fn daemon_that_leaves() {
    assert_eq!(report_of_daemon("daemon leaving"), "session / /dev/null /dev/null /dev/null");
}

fn daemon_that_keeps() {
    let directory = env::current_dir().expect("we are somewhere");
    let expected = format!("session {} /dev/null /dev/null /dev/full", directory.display());
    assert_eq!(report_of_daemon("daemon keeping"), expected);
}

/// Starts a copy, which ends at once with status 0, and waits for what the daemon writes.
fn report_of_daemon(role: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory to report in");
    let report = directory.path().join("report");
    let errors = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let mut child =
        in_role(role).env(REPORT, &report).stderr(errors).spawn().expect("a copy starts");
    let parent = child.id();
    assert!(child.wait().expect("the copy ends").success());
    let text = (0..PATIENCE.as_millis() / 10).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        fs::read_to_string(&report).ok()
    });
    let text = text.expect("the daemon reports in time");
    let (pid, rest) = text.split_once(' ').expect("a process id and the rest");
    assert_ne!(pid, parent.to_string(), "the daemon is a process of its own");
    rest.to_owned()
}

fn daemon(keep: bool) {
    process::daemonize(keep, keep).expect("one thread may go into the background");
    let link = |name: &str| fs::read_link(name).map(|path| path.display().to_string());
    let links = ["/proc/self/cwd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"];
    let links: Vec<_> = links.iter().map(|name| link(name).unwrap_or_default()).collect();
    let session = rustix::process::getsid(None).expect("everybody has a session");
    let session = if session == rustix::process::getpid() { "session" } else { "none" };
    let report = PathBuf::from(env::var_os(REPORT).expect("somewhere to report"));
    let draft = report.with_extension("draft");
    let text = format!("{} {session} {}", process::pid(), links.join(" "));
    fs::write(&draft, text).expect("a draft");
    fs::rename(&draft, report).expect("a report");
}

fn drop_privileges() {
    let nobody = User::find("nobody").expect("every host has one");
    let was_root = process::is_root();
    let (go, may_go) = channel::<()>();
    let other = thread::spawn(move || {
        may_go.recv().expect("told to go on");
        status_of("thread-self")
    });
    let dropped = process::drop_privileges(&nobody);
    go.send(()).expect("the other thread waits");
    let other = other.join().expect("the other thread ends well");
    if !was_root {
        let refused = dropped.expect_err("only root may");
        assert!(matches!(refused, PrivilegeError::Refused { step: "setgroups", .. }), "{refused}");
        return;
    }
    dropped.expect("root may");
    assert!(!process::is_root());
    for status in [other, status_of("thread-self"), status_of("self")] {
        assert_eq!(field(&status, "Uid:"), [nobody.uid; 4]);
        assert_eq!(field(&status, "Gid:"), [nobody.gid; 4]);
        assert!(field(&status, "Groups:").is_empty());
    }
    let other = User { name: "other".into(), uid: 1, gid: 1 };
    let refused = process::drop_privileges(&other).expect_err("nobody may not");
    assert!(matches!(refused, PrivilegeError::Refused { .. }), "{refused}");
}

fn forbid_new_privileges() {
    process::forbid_new_privileges().expect("every kernel can");
    let heir = thread::spawn(|| status_of("thread-self")).join().expect("a thread ends well");
    assert_eq!(field(&heir, "NoNewPrivs:"), [1]);
}

fn limits() {
    assert_eq!(process::raise_nofile(1).expect("met already"), process::nofile());
    process::set_nofile(200).expect("lower is allowed");
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!((limit.current, limit.maximum), (Some(200), Some(200)));
    assert_eq!(process::nofile(), 200);
    if may_raise_limits() {
        assert_eq!(process::raise_core_limit().expect("allowed"), u64::MAX);
        assert_eq!(process::raise_nofile(300).expect("allowed"), 300);
        assert_eq!(process::nofile(), 300);
        process::drop_privileges(&User::find("nobody").expect("every host has one"))
            .expect("root may");
    }
    let refused = process::raise_nofile(100_000).expect_err("beyond the hard limit");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);

    let core = |bytes| rustix::process::Rlimit { current: Some(0), maximum: Some(bytes) };
    let resource = rustix::process::Resource::Core;
    rustix::process::setrlimit(resource, core(4096)).expect("lower is allowed");
    assert_eq!(process::raise_core_limit().expect("up to the hard limit"), 4096);
    rustix::process::setrlimit(resource, core(0)).expect("lower is allowed");
    let refused = process::raise_core_limit().expect_err("it stays 0");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
}

/// Whether this process may exceed its hard limits: root may not everywhere (containers).
fn may_raise_limits() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = status_of("self");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    process::is_root() && effective.expect("a set") >> CAP_SYS_RESOURCE & 1 == 1
}

fn lock_memory() {
    let locked = || {
        let status = status_of("self");
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("a number of kB")
    };
    assert_eq!(locked(), 0);
    // Root may lift the limit; for others it is an error that says so, not a failure later on.
    let lifted = process::raise_memlock().is_ok();
    match lock_all_memory() {
        Err(error) if !lifted => assert!(error.to_string().contains("ulimit -l"), "{error}"),
        Ok(()) => assert!(locked() > 1000),
        Err(error) => assert!(!process::is_root(), "{error}"),
    }
}

/// A shell puts our listener at descriptor 3; its process id is that of what it becomes.
fn supervisor() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let mut child = Command::new("/bin/sh")
        .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" 3<&0 0</dev/null"])
        .arg(env::current_exe().expect("we have a name"))
        .env(ROLE, "inherit")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .expect("a shell starts");
    let mut client = TcpStream::connect(address).expect("it listens already");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut greeting = [0; 5];
    client.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(&greeting, b"hello");
    assert!(child.wait().expect("the copy ends").success());
}

fn inherit() {
    let mut taken = inherited::take().expect("one good listener");
    let Some(Inherited::Tcp(listener)) = taken.pop() else { unreachable!("no TCP listener") };
    assert!(taken.is_empty());
    assert!(inherited::take().expect("asked again").is_empty(), "they are taken once");
    let poller = Poller::new().expect("a poller");
    poller.add(listener.as_fd(), 0, Interest::READABLE).expect("a pollable listener");
    let ready = poller.wait(&mut Events::new(), Some(PATIENCE)).expect("a connection in time");
    assert_eq!(ready, 1);
    let (stream, _) = listener.accept().expect("a connection");
    assert_eq!(stream.write(b"hello").expect("a listening client"), 5);
}

fn status_of(task: &str) -> String {
    fs::read_to_string(format!("/proc/{task}/status")).expect("/proc is mounted")
}

fn field(status: &str, name: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a known field");
    line.split_whitespace().map(|id| id.parse().expect("a number")).collect()
}
