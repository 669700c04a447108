//! Real clients log in: pylibmc (libmemcached and Cyrus SASL), python-binary-memcached, and a
//! client of SCRAM-SHA-256 of our own that shares no code with the server.

use std::process::{Command, Stdio};

use kannuki_tests::{Server, missing};

use super::{Users, line};

const PYTHON: &str = "/usr/bin/python3";

/// Runs a program of `python/` against the server; it says `ok ...` for each assertion and `done`.
fn run(program: &str, words: &[&str], server: &Server) {
    let path = format!("{}/login/python/{program}", env!("CARGO_MANIFEST_DIR"));
    let port = server.port().to_string();
    let output = Command::new(PYTHON).arg(path).arg(port).args(words).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let assertions = out.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(output.status.success(), "{out}{err}\n{}", server.stderr());
    assert!(out.lines().last() == Some("done") && assertions >= 4, "{out}{err}");
}

/// Whether Python can import the module; says so where it cannot.
fn has(module: &str) -> bool {
    let mut command = Command::new(PYTHON);
    command.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    let there = command.status().is_ok_and(|status| status.success());
    if !there {
        missing(module, "install python3-pylibmc, python3-binary-memcached, libsasl2-modules");
    }
    there
}

#[test]
fn pylibmc_where_only_plain_is_offered() {
    if has("pylibmc") {
        let users = Users::hashed("app", "secret", &[]);
        run("pylibmc_work.py", &["app", "secret"], &users.both().start());
    }
}

#[test]
fn pylibmc_where_it_may_choose_scram() {
    if has("pylibmc") {
        for users in [Users::new("app:secret\n"), Users::hashed("app", "secret", &["--scram"])] {
            run("pylibmc_work.py", &["app", "secret"], &users.both().start());
        }
    }
}

#[test]
fn binary_memcached_where_only_plain_is_offered() {
    if has("bmemcached") {
        let users = Users::hashed("app", "secret", &[]);
        run("bmemcached_work.py", &["app", "secret"], &users.both().start());
    }
}

#[test]
fn binary_memcached_where_both_mechanisms_are_offered() {
    if has("bmemcached") {
        let users = Users::new("app:secret\n");
        run("bmemcached_work.py", &["app", "secret"], &users.both().start());
    }
}

#[test]
fn scram_by_a_client_of_our_own() {
    if has("hashlib") {
        let hashed = line("hashed", "secret", &[]);
        let scram = line("app", "secret", &["--scram"]);
        let users = Users::new(&format!("{scram}{hashed}plain:p=w,d\n"));
        run("scram_work.py", &[], &users.both().start());
    }
}

#[test]
fn the_password_file_of_sasl_is_read() {
    if has("bmemcached") {
        let users = Users::new("app:secret:ignored\n");
        let path = users.path();
        let launch = kannuki_tests::Launch::kannuki().flags(["-S", "--auth-delay", "0s"]);
        let server = launch.environment("MEMCACHED_SASL_PWDB", path.to_str().unwrap()).start();
        run("bmemcached_work.py", &["app", "secret"], &server);
    }
}
