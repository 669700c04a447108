//! What changes a process is tried in a process of its own: the test program runs itself again for
//! one ignored test.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;

/// Runs one ignored test of this file in a fresh process.
fn in_own_process(test: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("process::tests::{test}"), "--ignored", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap()
}

fn status_of(task: &str) -> String {
    fs::read_to_string(format!("/proc/{task}/status")).unwrap()
}

fn field(status: &str, name: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn users_are_found_by_name_and_number() {
    let root = User::find("root").unwrap();
    assert_eq!((root.name.as_str(), root.uid, root.gid), ("root", 0, 0));
    assert_eq!(User::find("0").unwrap().uid, 0);
    let nobody = User::find("nobody").unwrap();
    assert_eq!(User::find(&nobody.uid.to_string()).unwrap().gid, nobody.gid);
    let numbers = User::find("123456:234567").unwrap();
    assert_eq!((numbers.uid, numbers.gid), (123_456, 234_567));
}

#[test]
fn unknown_users_are_named() {
    for name in ["no-such-user", "", "4000000001", "1:", ":1", "1:2:3", "a:1", "-1", "a\0b"] {
        let error = User::find(name).unwrap_err();
        assert!(matches!(&error, PrivilegeError::UnknownUser(unknown) if unknown == name));
        assert_eq!(error.to_string(), format!("there is no user {name:?} on this host"));
    }
}

#[test]
fn privileges_are_dropped_in_every_thread_and_for_ever() {
    assert!(in_own_process("dropping").success());
}

#[test]
#[ignore = "run by privileges_are_dropped_in_every_thread_and_for_ever"]
fn dropping() {
    let nobody = User::find("nobody").unwrap();
    let was_root = is_root();
    let (ready, is_ready) = channel();
    let (go, may_go) = channel::<()>();
    let other = std::thread::spawn(move || {
        ready.send(()).unwrap();
        may_go.recv().unwrap();
        status_of("thread-self")
    });
    is_ready.recv().unwrap();
    let dropped = drop_privileges(&nobody);
    go.send(()).unwrap();
    let other = other.join().unwrap();
    if !was_root {
        let refused = dropped.unwrap_err();
        assert!(matches!(refused, PrivilegeError::Refused { step: "setgroups", .. }), "{refused}");
        return;
    }
    dropped.unwrap();
    assert!(!is_root());
    for status in [other, status_of("thread-self"), status_of("self")] {
        assert_eq!(field(&status, "Uid:"), [nobody.uid; 4]);
        assert_eq!(field(&status, "Gid:"), [nobody.gid; 4]);
        assert!(field(&status, "Groups:").is_empty());
    }
    assert!(matches!(
        drop_privileges(&User { name: "other".into(), uid: 1, gid: 1 }),
        Err(PrivilegeError::Refused { .. })
    ));
    let root = User { name: "root".into(), uid: 0, gid: 0 };
    assert!(!super::dropped(&root), "a check that finds the wrong user says so");
}

#[test]
fn to_become_root_is_to_do_nothing() {
    let before = status_of("self");
    drop_privileges(&User { name: "root".into(), uid: 0, gid: 0 }).unwrap();
    for name in ["Uid:", "Gid:", "Groups:"] {
        assert_eq!(field(&before, name), field(&status_of("self"), name));
    }
}

#[test]
fn new_privileges_are_forbidden_to_what_is_started() {
    assert!(in_own_process("forbidding").success());
}

#[test]
#[ignore = "run by new_privileges_are_forbidden_to_what_is_started"]
fn forbidding() {
    assert_eq!(field(&status_of("thread-self"), "NoNewPrivs:"), [0]);
    forbid_new_privileges().unwrap();
    let heir = std::thread::spawn(|| status_of("thread-self")).join().unwrap();
    assert_eq!(field(&heir, "NoNewPrivs:"), [1]);
}

#[test]
fn no_fork_among_threads() {
    let (stop, stopped) = channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv());
    let error = daemonize(true, true).unwrap_err().to_string();
    drop(stop);
    let _ = thread.join();
    assert_eq!(error, "cannot go into the background: other threads already run");
}

/// Whether this process may exceed its hard limits: root may not everywhere (containers).
fn may_raise_limits() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = status_of("self");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> CAP_SYS_RESOURCE & 1 == 1
}

#[test]
fn limits_become_what_was_asked_for() {
    assert!(in_own_process("limits").success());
}

#[test]
#[ignore = "run by limits_become_what_was_asked_for"]
fn limits() {
    assert_eq!(raise_nofile(1).unwrap(), nofile(), "never lowered");
    set_nofile(200).unwrap();
    assert_eq!(nofile(), 200);
    let limit = rustix::process::getrlimit(Resource::Nofile);
    assert_eq!((limit.current, limit.maximum), (Some(200), Some(200)));
    if may_raise_limits() {
        assert_eq!(raise_core_limit().unwrap(), u64::MAX);
        assert_eq!(raise_nofile(300).unwrap(), 300);
        assert_eq!(nofile(), 300);
        drop_privileges(&User::find("nobody").unwrap()).unwrap();
    }
    let maximum = rustix::process::getrlimit(Resource::Core).maximum;
    assert_eq!(raise_core_limit().ok(), Some(maximum.unwrap_or(u64::MAX)).filter(|&max| max > 0));
    assert_eq!(raise_nofile(100_000).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).unwrap();
    assert_eq!(raise_core_limit().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn memory_is_locked() {
    assert!(in_own_process("locking").success());
}

#[test]
#[ignore = "run by memory_is_locked"]
fn locking() {
    let locked = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    assert_eq!(locked(status_of("self")), Some(0));
    match crate::memory::lock_all_memory() {
        Ok(()) => assert!(locked(status_of("self")).unwrap() > 1000),
        Err(error) => assert!(!is_root(), "{error}"),
    }
}

#[test]
fn usage_grows_with_work() {
    let before = usage();
    assert!(before.resident_bytes_max > 100 * 1024);
    let mut sum = 0u64;
    while usage().user < before.user + Duration::from_millis(20) {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
    }
    assert!(usage().user > before.user && usage().system >= before.system);
}

#[test]
fn a_pid_file_holds_the_pid_and_goes_with_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kannuki.pid");
    // Left half way by a former process, and a link that somebody planted in its place.
    let secret = directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, directory.path().join("kannuki.pid.tmp")).unwrap();
    fs::write(&path, "1\n").unwrap();

    let file = PidFile::write(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", pid()));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o133, 0);
    assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
    file.remove().unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_pid_file_of_another_process_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kannuki.pid");
    let file = PidFile::write(&path).unwrap();
    fs::write(&path, "1\n").unwrap();
    file.remove().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");

    let file = PidFile::write(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file.remove().unwrap();
}

#[test]
fn a_pid_file_that_cannot_be_written_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kannuki.pid");
    fs::create_dir_all(path.join("in-the-way")).unwrap();
    assert!(PidFile::write(&path).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let missing = PidFile::write(&directory.path().join("missing/pid")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}
