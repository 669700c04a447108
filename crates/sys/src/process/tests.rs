//! What can be tried without changing the process; the rest is in `tests/process.rs`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;

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
fn to_become_root_is_to_do_nothing() {
    let before = status_of("self");
    drop_privileges(&User { name: "root".into(), uid: 0, gid: 0 }).unwrap();
    for name in ["Uid:", "Gid:", "Groups:"] {
        assert_eq!(field(&before, name), field(&status_of("self"), name));
    }
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
