//! Going into the background, tried for real.
//!
//! The usual test harness runs each test in a thread of its own, and among threads a fork is
//! refused: so this program is its own harness. It starts itself again, lets that copy become a
//! daemon, and reads what the daemon writes about itself.
#![allow(clippy::expect_used)] // A test may; clippy takes a program without a harness for a product.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use kannuki_sys::process::daemonize;

/// Tells the copy what to do, and where to write its report.
const CHILD: &str = "KANNUKI_TEST_DAEMON";

fn main() {
    if env::args().any(|argument| argument == "--list") {
        // How test runners ask for names; nothing here is ignored.
        if !env::args().any(|argument| argument == "--ignored") {
            println!("daemon: test");
        }
        return;
    }
    if let Some(directory) = env::var_os(CHILD) {
        return become_daemon(&PathBuf::from(directory));
    }
    leaves_its_session_its_directory_and_its_terminal();
    keeps_its_directory_and_its_output();
}

fn leaves_its_session_its_directory_and_its_terminal() {
    let report = report_of_daemon("leave");
    assert_eq!(report, "session / /dev/null /dev/null /dev/null");
}

fn keeps_its_directory_and_its_output() {
    let directory = env::current_dir().expect("we are somewhere");
    let report = report_of_daemon("keep");
    let expected = format!("session {} /dev/null /dev/null /dev/full", directory.display());
    assert_eq!(report, expected);
}

/// Starts a copy, which ends at once with status 0, and waits for what the daemon writes.
fn report_of_daemon(manner: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory to report in");
    let errors = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let mut child = Command::new(env::current_exe().expect("we have a name"))
        .env(CHILD, directory.path())
        .arg(manner)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .expect("a copy starts");
    let parent = child.id();
    assert!(child.wait().expect("the copy ends").success());
    let report = directory.path().join("report");
    let text = (0..1000).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        fs::read_to_string(&report).ok()
    });
    let text = text.expect("the daemon reports within ten seconds");
    let (pid, rest) = text.split_once(' ').expect("a process id and the rest");
    assert_ne!(pid, parent.to_string(), "the daemon is a process of its own");
    rest.to_owned()
}

fn become_daemon(directory: &Path) {
    let keep = env::args().any(|argument| argument == "keep");
    daemonize(keep, keep).expect("one thread may go into the background");
    let link = |name: &str| fs::read_link(name).map(|path| path.display().to_string());
    let links = ["/proc/self/cwd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"];
    let links: Vec<_> = links.iter().map(|name| link(name).unwrap_or_default()).collect();
    let pid = std::process::id();
    let session = if leads_session(pid) { "session" } else { "none" };
    let draft = directory.join("draft");
    fs::write(&draft, format!("{pid} {session} {}", links.join(" "))).expect("a draft");
    fs::rename(&draft, directory.join("report")).expect("a report");
}

/// The sixth field of `/proc/self/stat` is the session, which its leader gives its own number.
fn leads_session(pid: u32) -> bool {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').nth(3) == Some(&pid.to_string())
}
