//! Real client libraries doing real work.
//!
//! Each program below `tests/clients/` works through one library and checks every answer. It runs
//! twice: against the distribution's memcached, which shows that what it expects is memcached's
//! behaviour and not ours, and against Kannuki. `cargo xtask test` installs the libraries; one that
//! is not there is listed, and fails where everything has to run.
//!
//! Contract of a program: lines `ok TOPIC: what`, `done` at the very end, exit code 0. Every topic
//! of [`TOPICS`] must have spoken, so that a program cannot pass by doing less.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kannuki_tests::{Launch, Program, clock, missing};

/// What every client has to have done.
const TOPICS: [&str; 10] =
    ["set", "get", "multi-get", "cas", "incr", "append", "touch", "expiry", "large", "utf-8"];

/// The programs sleep five seconds for expiry; the rest is this machine's slowness.
const BOUND: Duration = Duration::from_secs(120);

/// Fewer assertions than this are no work.
const ASSERTIONS_MIN: usize = 30;

#[test]
fn pymemcache() {
    let python = installed().join("python/bin/python");
    let mut command = Command::new(&python);
    command.arg(source("python/pymemcache_work.py"));
    both("pymemcache", &command, &[], &|| python.is_file());
}

#[test]
fn memjs_binary() {
    let folder = installed().join("node");
    let mut command = Command::new("node");
    command.arg(source("node/memjs_work.js")).env("NODE_PATH", folder.join("node_modules"));
    let there = || folder.join("node_modules/memjs").is_dir() && starts("node", &["--version"]);
    both("memjs", &command, &[], &there);
}

#[test]
fn php_memcached_text() {
    php("text");
}

#[test]
fn php_memcached_binary() {
    php("binary");
}

fn php(mode: &str) {
    let mut command = Command::new("php");
    command.arg(source("php/memcached_work.php"));
    let there = || starts("php", &["-r", "exit(extension_loaded('memcached') ? 0 : 1);"]);
    both("php-memcached", &command, &[mode], &there);
}

#[test]
fn perl_cache_memcached_fast() {
    let mut command = Command::new("perl");
    command.arg(source("perl/fast_work.pl"));
    let there = || starts("perl", &["-MCache::Memcached::Fast", "-e", "1"]);
    both("Cache::Memcached::Fast", &command, &[], &there);
}

#[test]
fn spymemcached_text() {
    spymemcached("text");
}

#[test]
fn spymemcached_binary() {
    spymemcached("binary");
}

fn spymemcached(mode: &str) {
    const JAR: &str = "/usr/share/java/spymemcached.jar";
    let mut command = Command::new("java");
    // Given a source file, `java` compiles it in memory.
    command.args(["--class-path", JAR]).arg(source("java/SpyWork.java"));
    let there = || Path::new(JAR).is_file() && starts("javac", &["-version"]);
    both("spymemcached", &command, &[mode], &there);
}

/// Runs the program against memcached, then against Kannuki.
fn both(name: &str, command: &Command, words: &[&str], is_there: &dyn Fn() -> bool) {
    if !is_there() {
        missing(name, "it is not installed; as root, `cargo xtask test` installs it");
        return;
    }
    for program in [Program::Memcached, Program::Kannuki] {
        if let Err(why) = program.path() {
            missing(name, &why);
            continue;
        }
        let server = Launch::of(program).flags(["-m", "64"]).start();
        let said = run(command, server.port(), words);
        judge(&format!("{name} {words:?} on {program:?}"), said);
    }
}

/// The outcome of one program.
struct Said {
    succeeded: bool,
    stdout: String,
    stderr: String,
}

fn run(command: &Command, port: u16, words: &[&str]) -> Said {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let file = |path: &Path| std::fs::File::create(path).expect("a file in our own folder");
    let mut again = Command::new(command.get_program());
    again.args(command.get_args()).args(["127.0.0.1", &port.to_string()]).args(words);
    again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    again.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
    let mut child = again.spawn().unwrap_or_else(|error| panic!("{again:?}: {error}"));
    let status = clock::until(BOUND, || child.try_wait().expect("our own child"));
    if status.is_none() {
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
    let text = |path: &Path| {
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    };
    Said {
        succeeded: status.is_some_and(|status| status.success()),
        stdout: text(&out),
        stderr: text(&err),
    }
}

fn judge(name: &str, said: Said) {
    let shown = || format!("{name}\n--- stdout\n{}\n--- stderr\n{}", said.stdout, said.stderr);
    assert!(said.succeeded, "failed, or not done within {BOUND:?}: {}", shown());
    assert!(said.stdout.ends_with("done\n"), "did not reach its end: {}", shown());
    let passed: Vec<&str> =
        said.stdout.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
    for topic in TOPICS {
        let speaks = |line: &&str| line.split_once(':').is_some_and(|(word, _)| word == topic);
        assert!(passed.iter().any(speaks), "nothing about {topic}: {}", shown());
    }
    assert!(passed.len() >= ASSERTIONS_MIN, "{} assertions: {}", passed.len(), shown());
    println!("{name}: {} assertions", passed.len());
}

/// Where `cargo xtask test` puts what pip and npm install.
fn installed() -> PathBuf {
    std::env::var_os("KANNUKI_CLIENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients"),
        PathBuf::from,
    )
}

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(path)
}

fn starts(program: &str, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
