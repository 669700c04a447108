//! `kannuki check` as people meet it: hosts and disks, hostile ones too.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Output, Stdio},
};

use kannuki_audit::facts::{Facts, Seen, Why};

fn check(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kannuki"));
    command.arg("check").args(words).stdin(Stdio::null()).output().unwrap()
}

/// What is seen below a root, through the file that `--facts` saves.
fn facts_of(root: &Path) -> Facts {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("facts.json");
    let file = file.to_str().unwrap();
    let output = check(&["--root", root.to_str().unwrap(), "--facts", file]);
    assert!(Path::new(file).exists(), "{}", String::from_utf8_lossy(&output.stderr));
    Facts::from_json(&fs::read(file).unwrap()).unwrap()
}

fn file(root: &Path, path: &str, text: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const UNIT: &[u8] = b"[Service]\nExecStart=/usr/share/memcached/scripts/\
    systemd-memcached-wrapper /etc/memcached.conf\n";

#[test]
fn facts_are_saved_once_for_their_owner_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    file(&root, "etc/os-release", b"ID=debian\n");
    let path = folder.path().join("facts.json");
    let path_text = path.to_str().unwrap();
    check(&["--root", root.to_str().unwrap(), "--facts", path_text]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read(&path).unwrap();
    let output = check(&["--root", "/", "--facts", path_text]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("were read from"));
    assert_eq!(fs::read(&path).unwrap(), first, "what is there is never written to");
    fs::write(&path, "{\"version\": 99}").unwrap();
    let output = check(&["--facts", path_text]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("version 99"));
}

#[test]
fn a_root_that_is_not_there_is_an_error_and_an_empty_one_is_not() {
    let output = check(&["--root", "/no/such/folder"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/folder"));
    let folder = tempfile::tempdir().unwrap();
    let facts = facts_of(folder.path());
    assert!(facts.starts.is_empty() && !facts.collection.live);
    assert_eq!(facts.sockets.why().unwrap().why, Why::NotRunning);
    assert_eq!(facts.host.os.why().unwrap().why, Why::Absent);
}

#[test]
fn a_hostile_root_is_not_followed_and_does_not_block() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "-l 203.0.113.66\n").unwrap();
    let root = folder.path().join("root");
    file(&root, "usr/lib/systemd/system/memcached.service", UNIT);
    fs::create_dir_all(root.join("etc/logrotate.d")).unwrap();
    symlink(&secret, root.join("etc/memcached.conf")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    for name in ["etc/os-release", "etc/passwd", "etc/crontab"] {
        rustix::fs::mknodat(rustix::fs::CWD, root.join(name), fifo, mode, 0).unwrap();
    }
    file(&root, "etc/logrotate.d/memcached\u{1b}[31m", b"x");
    symlink("loop", root.join("etc/sysconfig")).unwrap();
    symlink("sysconfig", root.join("etc/loop")).unwrap();
    symlink("/", root.join("etc/cron.d")).unwrap();
    let facts = facts_of(&root);
    let text = facts.to_json().unwrap();
    assert!(!text.contains("203.0.113.66"), "a link led out of the root");
    assert!(facts.starts[0].problems[0].contains("memcached.conf is missing"));
    assert!(facts.gaps.iter().any(|gap| gap.unseen.why == Why::NotRegular), "{:?}", facts.gaps);
    let output = check(&["--root", root.to_str().unwrap()]);
    let printed = [output.stdout, output.stderr].concat();
    assert!(!printed.contains(&0x1b), "names are printed without escapes");
}

/// Needs root for a mount namespace of its own; without, CI's root runs it.
#[test]
fn without_proc_nothing_is_called_clean() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: not run");
        return;
    }
    let script = "umount -l /proc && exec \"$0\" check --no-talk --lang en";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_kannuki")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("MC-SEE-001"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("/proc is not mounted"), "{text}");
}

#[test]
fn long_cut_and_foreign_files_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    file(root, "usr/lib/systemd/system/memcached.service", UNIT);
    file(root, "etc/memcached.conf", b"-m 64\r\n-l 127.0.0.1\r\n# caf\xe9\r\n-p \"112");
    fs::create_dir_all(root.join("var/log")).unwrap();
    let log = fs::File::create(root.join("var/log/dpkg.log")).unwrap();
    log.set_len(1 << 30).unwrap();
    file(root, "var/log/apt/history.log.1.gz", b"\x1f\x8b\x08\0garbage");
    file(root, "var/lib/dpkg/status", b"Package: memcached\nVersion");
    let huge = root.join("etc/nftables.conf");
    fs::File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    let facts = facts_of(root);
    let start = &facts.starts[0];
    let words: Vec<_> = start.commands[0].argv().collect();
    assert_eq!(words, ["/usr/bin/memcached", "-m", "64", "-l", "127.0.0.1"]);
    assert!(start.problems.iter().any(|p| p.contains("quote is not closed")), "{start:?}");
    let gap = |what: &str| facts.gaps.iter().find(|gap| gap.what == what).map(|gap| gap.unseen.why);
    assert_eq!(gap("/var/log/dpkg.log"), Some(Why::TooLarge));
    assert_eq!(gap("/var/log/apt/history.log.1.gz"), Some(Why::Malformed));
    assert_eq!(gap("/etc/nftables.conf"), Some(Why::TooLarge));
    assert!(matches!(facts.packages.installed, Seen::Known(_)));
}

/// The head of Shadowserver's `scan_memcached`.
const HEAD: &str = "timestamp,ip,protocol,port,hostname,tag,version,asn,geo,region,city,naics,sic,\
    pid,pointer_size,uptime,time,curr_connections,total_connections";

#[test]
fn a_providers_report_is_matched_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.csv");
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../audit/tests/fixtures/centos-7.json");
    // As Shadowserver writes them: quoted, lines ending with CRLF.
    let row = |ip: &str, port: u16| {
        format!(
            "\"2018-02-27 12:00:00\",\"{ip}\",\"udp\",\"{port}\",\"a, \"\"b\"\"\",\"memcached\",\
             \"1.4.15\",1,JP,,,0,0,700,64,1,1519732800,10,14\r\n"
        )
    };
    let rows = [row("192.0.2.7", 11211), row("192.0.2.7", 11299), row("198.51.100.1", 11211)];
    fs::write(&report, format!("{HEAD}\r\n{}", rows.concat())).unwrap();
    let words = ["--facts", fixture.to_str().unwrap(), "--from-report", report.to_str().unwrap()];
    for form in ["text", "json", "jsonl", "sarif", "md", "html"] {
        let output = check(&[&words[..], &["--format", form]].concat());
        let text = String::from_utf8_lossy(&output.stdout).replace('\\', "");
        for id in ["MC-SCAN-001", "MC-SCAN-002", "MC-SCAN-003"] {
            assert!(text.contains(id), "{form}: {id}\n{text}");
        }
        for part in ["udp 192.0.2.7:11211", "udp 192.0.2.7:11299", "udp 198.51.100.1:11211"] {
            assert!(text.contains(part), "{form}: {part}");
        }
    }
    let output = check(&[&words[..], &["--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let named = |id: &str| findings.iter().find(|finding| finding["id"] == id).unwrap();
    let evidence = named("MC-SCAN-001")["evidence"].as_array().unwrap();
    assert!(evidence.iter().any(|e| e["kind"] == "file" && e["line"] == 2), "{evidence:?}");
    assert!(evidence.iter().any(|e| e["kind"] == "process" && e["pid"] == 700), "{evidence:?}");
    assert!(evidence.iter().any(|e| e["kind"] == "socket"), "{evidence:?}");
    let high = findings.iter().filter(|finding| finding["severity"] == "high").count();
    assert_eq!(json["summary"]["high"], high, "the summary counts them too");
}

#[test]
fn a_providers_report_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.csv");
    let words = ["--no-talk", "--from-report", report.to_str().unwrap()];
    let says = |what: &str| {
        let output = check(&words);
        assert_eq!(output.status.code(), Some(3), "{what}");
        assert!(output.stdout.is_empty(), "nothing is told before");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(what), "{text}");
    };
    says("cannot read");
    fs::write(&report, "nothing\n").unwrap();
    says("no columns `ip` and `port`");
    fs::write(&report, format!("{HEAD}\n")).unwrap();
    says("has no rows");
    fs::write(&report, format!("{HEAD}\n2018-02-27,\"192.0.2.7,udp,11211\n")).unwrap();
    says("line 2: a quote is opened");
    // A log of 1 GB that was given by mistake.
    fs::File::create(&report).unwrap().set_len(1 << 30).unwrap();
    says("longer than the 4194304 bytes");
}
