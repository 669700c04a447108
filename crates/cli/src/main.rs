//! The command `kannuki`: words in, a server or a page out.
//!
//! ```text
//! memcached ARGS ----------------------+
//! kannuki serve ARGS ------------------+-> load -> Settings -> meaning -> Config -> server
//! kannuki config show|check ARGS ------+             |
//! kannuki completion, man, passwd ...                +-> config show
//! ```
//!
//! Invariants:
//! - Data goes to stdout, everything else to stderr.
//! - Every exit code is a constant of [`exit`] or the server's.
//! - The options of the server are read by one parser, memcached's; clap reads the rest.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod access;
mod commands;
mod exit;
mod greeting;
mod https;
mod load;
mod meaning;
mod own_options;
mod print;
mod situation;
mod state;
mod terminal;
mod tls;
mod toml_file;

use std::{ffi::OsString, path::Path, process::ExitCode};

use kannuki_cli::tables;
use situation::CalledAs;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    ExitCode::from(run(&program, words))
}

fn run(program: &std::ffi::OsStr, words: Vec<OsString>) -> u8 {
    if Path::new(program).file_name().is_some_and(|name| name == "memcached") {
        return commands::serve::run(words, 1, CalledAs::Memcached);
    }
    let word = |at: usize| words.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    // What takes the server's options is read by memcached's rules, which clap does not know.
    match (word(0), word(1)) {
        ("serve", _) => commands::serve::run(words.into_iter().skip(1), 2, CalledAs::Kannuki),
        ("config", "show") => commands::config::show(words.into_iter().skip(2), 3),
        ("config", "check") => commands::config::check(words.into_iter().skip(2), 3),
        _ => commands::run(words),
    }
}
