//! Who may come in and do what, asked of whole servers: exposure between hosts, rules over every
//! protocol, PROXY headers, contradictions at the start, reloads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod exposure;
mod forms;
mod proxies;
mod rules;
mod start;
mod verbs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kannuki_tests::{Program, Wire};

/// The answer to what a rule forbids, in text and meta.
const DENIED: &str = "CLIENT_ERROR access denied";

/// Writes a `kannuki.toml` into a folder.
fn settings(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("kannuki.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// How often something was refused for this reason; asked on a connection that is allowed to.
fn refused(wire: &mut Wire, reason: &str) -> u64 {
    let name = format!("kannuki_refused_{reason}");
    let stats = kannuki_tests::stats(wire, "stats");
    let found = stats.iter().find(|(key, _)| key.replace('-', "_") == name.replace('-', "_"));
    found.map_or(0, |(_, value)| value.parse().unwrap())
}

/// Runs `kannuki` with these words to its end.
fn kannuki(words: &[&str]) -> Output {
    Command::new(Program::Kannuki.path().unwrap()).args(words).output().unwrap()
}
