//! Logging in, against running servers: by text and SASL, by real clients, in floods, and what is
//! left of the secrets afterwards.
//!
//! The delay of a wrong password is off here (`--auth-delay 0s`) except where it is the subject.
#![forbid(unsafe_code)]

mod against_memcached;
mod clients;
mod floods;
mod proxied;
mod reload;
mod secrets;
mod shut_out;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kannuki_tests::{Launch, Program, Wire};
use tempfile::TempDir;

/// A file of users, gone with the test.
pub(crate) struct Users {
    directory: TempDir,
}

impl Users {
    /// With these lines.
    pub(crate) fn new(text: &str) -> Self {
        let users = Self { directory: tempfile::tempdir().unwrap() };
        users.write(text);
        users
    }

    /// With one user, hashed by `kannuki passwd`.
    pub(crate) fn hashed(name: &str, password: &str, words: &[&str]) -> Self {
        Self::new(&line(name, password, words))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("users")
    }

    pub(crate) fn write(&self, text: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(self.path()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// A Kannuki that asks for a log-in by text.
    pub(crate) fn text(&self) -> Launch {
        self.with(&["-Y"])
    }

    /// A Kannuki that asks for a log-in by text and by SASL.
    pub(crate) fn both(&self) -> Launch {
        self.with(&["-S", "-Y"])
    }

    fn with(&self, flags: &[&str]) -> Launch {
        let path = self.path().to_str().unwrap().to_owned();
        let launch = Launch::kannuki().flags(flags.iter().copied()).flags([path]);
        launch.flags(["--auth-delay", "0s"])
    }
}

/// A line of a file of users, as `kannuki passwd` makes it.
pub(crate) fn line(name: &str, password: &str, words: &[&str]) -> String {
    let mut command = Command::new(Program::Kannuki.path().unwrap());
    command.args(["passwd", "--print", "--stdin"]).args(words).arg(name);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Logs in by text; the answer.
pub(crate) fn log_in(wire: &mut Wire, token: &str) -> String {
    wire.ask(&format!("set auth 0 0 {}\r\n{token}\r\n", token.len()))
}

pub(crate) const FAILED: &str = "CLIENT_ERROR authentication failure";
pub(crate) const FIRST: &str = "CLIENT_ERROR unauthenticated";

/// One of the server's statistics, by a peer that has logged in.
pub(crate) fn stat(wire: &mut Wire, key: &str) -> u64 {
    let all = kannuki_tests::stats(wire, "stats");
    let found = all.iter().find(|(name, _)| name == key);
    found.map_or(0, |(_, value)| value.parse().unwrap())
}
