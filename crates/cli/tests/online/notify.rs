//! `kannuki check --notify`: who is told what, once, and again where it did not arrive.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::https::{Reply, Server};

/// A host, its settings, and a `sendmail` that keeps what it gets.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new(settings: &str) -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(host.path("check.toml"), settings).unwrap();
        fs::set_permissions(host.path("check.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Looks at a fixture, and tells.
    fn check(&self, fixture: &str) -> Output {
        self.check_with(fixture, &[])
    }

    fn check_with(&self, fixture: &str, more: &[&str]) -> Output {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../audit/tests/fixtures");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kannuki"));
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "JOURNAL_STREAM"] {
            command.env_remove(name);
        }
        command.env("STATE_DIRECTORY", self.path("state")).env("LC_ALL", "C");
        let notify = format!("--notify={}", self.path("check.toml").display());
        command.args(["check", &notify, "--facts"]).arg(fixtures.join(fixture)).args(more);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// A program in the place of sendmail that appends its words and its mail to `mails`.
    fn sendmail(&self, last: &str) {
        let mails = self.path("mails").display().to_string();
        let script = format!("#!/bin/sh\n{{ echo \"words: $*\"; cat; }} >> '{mails}'\n{last}\n");
        let place = self.path("sendmail");
        fs::write(&place, script).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn mails(&self) -> String {
        fs::read_to_string(self.path("mails")).unwrap_or_default()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_new_is_told_once_and_what_is_gone_is_told() {
    let host = Host::new("level = \"high\"\n");
    let first = host.check("centos-7.json");
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let told = stdout(&first);
    assert!(told.contains("[CRITICAL] MC-AMP-001") && told.contains("MC-NET-001"), "{told}");
    assert!(!told.contains("MC-LOG"), "below the level: {told}");
    let again = host.check("centos-7.json");
    assert_eq!((again.status.code(), stdout(&again).as_str()), (Some(0), ""), "nothing new");
    let mended = stdout(&host.check("clean.json"));
    assert!(mended.contains("[not found any more] MC-AMP-001"), "{mended}");
    assert!(!mended.contains("[CRITICAL]"), "{mended}");
    assert_eq!(stdout(&host.check("clean.json")), "", "gone is told once too");
    assert!(stdout(&host.check("centos-7.json")).contains("[CRITICAL] MC-AMP-001"), "back again");
    let told = host.path("state/told.json");
    assert_eq!(fs::metadata(told).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_mail_goes_to_sendmail_with_nothing_of_the_host_in_its_head() {
    let host = Host::new("");
    host.sendmail("");
    let settings = format!(
        "journal = false\nlang = \"ja\"\n[mail]\nto = [\"root\", \"ops@example.jp\"]\n\
         sendmail = \"{}\"\n",
        host.path("sendmail").display()
    );
    fs::write(host.path("check.toml"), settings).unwrap();
    let output = host.check("centos-7.json");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
    let mails = host.mails();
    let (head, body) = mails.split_once("\n\n").unwrap();
    assert!(
        head.starts_with("words: -i root ops@example.jp\nTo: root, ops@example.jp\n"),
        "{head}"
    );
    assert!(head.is_ascii() && head.contains("charset=utf-8"), "{head}");
    assert!(body.contains("MC-AMP-001") && !body.is_ascii(), "Japanese was asked for: {body}");
    host.check("centos-7.json");
    assert_eq!(host.mails(), mails, "nothing new, no mail");
}

#[test]
fn what_did_not_arrive_is_told_again_and_only_there() {
    let works = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&works);
    let server = Server::start(move |_, _| {
        Reply::status(if seen.load(Ordering::SeqCst) { "204 No Content" } else { "503 Later" })
    });
    let host = Host::new("");
    host.sendmail("");
    let hook = format!("{}/T0/SECRET", server.url);
    let settings = format!(
        "[mail]\nto = [\"root\"]\nsendmail = \"{}\"\n[webhook]\nurl = \"{hook}\"\nca = \"{}\"\n",
        host.path("sendmail").display(),
        server.ca.display()
    );
    fs::write(host.path("check.toml"), settings).unwrap();
    let output = host.check("centos-7.json");
    assert_eq!(output.status.code(), Some(3));
    let told = stderr(&output);
    assert!(told.contains("webhook") && told.contains("503"), "{told}");
    assert!(!told.contains("SECRET"), "the address is a secret: {told}");
    let mails = host.mails();
    assert!(mails.contains("MC-AMP-001") && stdout(&output).contains("MC-AMP-001"));
    works.store(true, Ordering::SeqCst);
    let output = host.check("centos-7.json");
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), ""));
    assert_eq!(host.mails(), mails);
    let asked = server.asked();
    assert_eq!((asked.len(), asked[1].path.as_str()), (2, "/T0/SECRET"));
    for part in ["\"schema\":\"kannuki.notice/1\"", "\"text\":", "MC-AMP-001", "\"gone\":[]"] {
        assert!(asked[1].body.contains(part), "{part}: {}", asked[1].body);
    }
    host.check("centos-7.json");
    assert_eq!(server.asked().len(), 2, "nothing new, no question");
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let host = Host::new("[webhook]\nurl = \"https://hooks.example/SECRET\"\n");
    fs::set_permissions(host.path("check.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = host.check("clean.json");
    assert_eq!(output.status.code(), Some(3));
    let told = stderr(&output);
    assert!(told.contains("chmod 600") && !told.contains("SECRET"), "{told}");
}

#[test]
fn wrong_settings_name_the_file_and_the_way_out() {
    for (settings, told) in [
        ("level = \"loud\"\n", "low, medium, high"),
        ("\nlevle = \"low\"\n", "check.toml:2: unknown field"),
        ("lang = \"fr\"\n", "en, ja"),
        ("[mail]\nto = [\"-oQ/tmp\"]\n", "is no address"),
        ("[mail]\nto = []\n", "needs 1 to 20 addresses"),
        ("[mail]\nto = [\"root\"]\nsendmail = \"sendmail\"\n", "must be a whole path"),
        ("[mail]\nto = [\"root\"]\nsendmail = \"/no/such\"\n", "cannot start /no/such"),
        ("[webhook]\nurl = \"http://a.example/SECRET\"\n", "is not an https:// address"),
        ("[webhook]\n", "give one of `url` and `url-file`"),
        ("[webhook]\nurl = [\"SECRET\"]\n", "check.toml:2: "),
    ] {
        let host = Host::new(settings);
        let output = host.check("centos-7.json");
        assert_eq!(output.status.code(), Some(3), "{settings}");
        let errors = stderr(&output);
        assert!(errors.contains(told), "{settings}: {errors}");
        assert!(!errors.contains("SECRET"), "{settings}: {errors}");
    }
}

#[test]
fn a_failing_sendmail_and_a_broken_memory_are_told() {
    let host = Host::new("");
    host.sendmail("exit 75");
    let place = host.path("sendmail").display().to_string();
    let settings = format!("journal = false\n[mail]\nto = [\"root\"]\nsendmail = \"{place}\"\n");
    fs::write(host.path("check.toml"), settings).unwrap();
    let output = host.check("centos-7.json");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("75"), "{}", stderr(&output));
    fs::write(host.path("state/told.json"), "{").unwrap();
    host.sendmail("");
    let output = host.check("centos-7.json");
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("everything is told anew"), "{}", stderr(&output));
    assert_eq!(host.mails().matches("Subject: kannuki").count(), 2);
}
