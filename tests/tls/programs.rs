//! Programs that others wrote: OpenSSL's client, and Python's libraries.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kannuki_tests::{clock, missing};

use super::bed::Bed;

/// Runs OpenSSL's client and returns what it printed.
fn s_client(bed: &Bed, words: &[&str], typed: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-connect"]);
    command.arg(format!("127.0.0.1:{}", bed.server.port())).arg("-CAfile").arg(bed.path("ca.pem"));
    command.args(["-verify_return_error", "-ign_eof"]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl");
    // It may have ended already, and what it printed says why.
    let _ = child.stdin.take().expect("piped").write_all(typed.as_bytes());
    let output = child.wait_with_output().expect("openssl");
    let all = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

pub(crate) fn has_openssl() -> bool {
    let there = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        missing("openssl s_client", "it is not installed: `apt-get install openssl`");
        return false;
    }
    true
}

#[test]
fn openssl_speaks_both_versions_and_resumes_both() {
    if !has_openssl() {
        return;
    }
    let bed = Bed::start("");
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = bed.path(version).display().to_string();
        let typed = "set a 0 0 5\r\nhello\r\nget a\r\nquit\r\n";
        let said = s_client(&bed, &[flag, "-sess_out", &session], typed);
        assert!(said.contains(&format!("New, {version}")), "{said}");
        assert!(said.contains("VALUE a 0 5\r\nhello\r\nEND"), "{said}");
        let said = s_client(&bed, &[flag, "-sess_in", &session], "version\r\nquit\r\n");
        assert!(said.contains(&format!("Reused, {version}")), "{said}");
        assert!(said.contains("VERSION "), "{said}");
    }
    assert_eq!(bed.counter("kannuki_tls_resumed_sessions"), 2);
    let old = s_client(&bed, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "version\r\nquit\r\n");
    assert!(!old.contains("VERSION "), "{old}");
    let counted = clock::until(Duration::from_secs(10), || {
        (bed.counter("kannuki_refused_tls-incompatible") == 1).then_some(())
    });
    assert!(counted.is_some());
}

#[test]
fn suites_and_versions_are_narrowed() {
    if !has_openssl() {
        return;
    }
    let bed = Bed::start(",ssl_ciphers=ECDHE-ECDSA-AES128-GCM-SHA256");
    let said = s_client(&bed, &["-tls1_2"], "quit\r\n");
    assert!(said.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), "{said}");
    let other = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"];
    assert!(!s_client(&bed, &other, "version\r\nquit\r\n").contains("VERSION "));
    let bed = Bed::start(",ssl_min_version=3");
    assert!(!s_client(&bed, &["-tls1_2"], "version\r\nquit\r\n").contains("VERSION "));
    assert!(s_client(&bed, &["-tls1_3"], "version\r\nquit\r\n").contains("VERSION "));
}

#[test]
fn renegotiation_is_refused() {
    if !has_openssl() {
        return;
    }
    let bed = Bed::start("");
    // With -ign_eof the letter R is no command of s_client; without it, it renegotiates.
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-tls1_2", "-connect"]);
    command.arg(format!("127.0.0.1:{}", bed.server.port()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl");
    child.stdin.take().expect("piped").write_all(b"R\n").expect("it reads");
    let output = child.wait_with_output().expect("openssl");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    assert!(bed.clear().ask("version\r\n").starts_with("VERSION "));
}

/// The Python that has this library: that of `cargo xtask test`, or the distribution's.
fn python(library: &str) -> Option<PathBuf> {
    let clients = std::env::var_os("KANNUKI_CLIENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients"),
        PathBuf::from,
    );
    let pythons = [clients.join("python/bin/python"), PathBuf::from("/usr/bin/python3")];
    pythons.into_iter().find(|python| {
        let import = Command::new(python).args(["-c", &format!("import {library}")]).output();
        import.is_ok_and(|output| output.status.success())
    })
}

/// Runs a program of `tests/tls` by Python, if the library is there.
fn run_python(library: &str, program: &str) {
    let Some(python) = python(library) else {
        return missing(library, "it is not installed; as root, `cargo xtask test` installs it");
    };
    let bed = Bed::start("");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tls").join(program);
    let mut command = Command::new("timeout");
    command.arg("60").arg(python).arg(path);
    command.arg(bed.server.port().to_string()).arg(bed.path("ca.pem"));
    let output = command.output().expect("python");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.ends_with("done\n"), "{said}\n{wrong}");
    assert_eq!(bed.counter("ssl_handshake_errors"), 0);
}

#[test]
fn pymemcache_over_tls() {
    run_python("pymemcache", "pymemcache_tls.py");
}

#[test]
fn python_binary_memcached_over_tls() {
    run_python("bmemcached", "bmemcached_tls.py");
}
