//! The chores of this project: `cargo xtask tidy | test | docs | fresh | story | measure |
//! pictures | static`.
//!
//! Nothing here is part of the product. Every chore runs from a cold clone with a Rust toolchain
//! alone, says what it could not do, and fails where everything has to run (`CI=true`).
#![forbid(unsafe_code)]

mod docs;
mod fresh;
mod image;
mod measure;
mod pictures;
mod shell;
mod stand_alone;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  tidy            style as a test: heads, lengths, arrows, names, rustfmt, clippy
  test [--fuzz]   everything: installs what it needs when root, else lists what is missing;
                  fuzzing (60 s a target) runs under CI=true or with --fuzz
  docs            write the generated pages again (docs/, packaging/man/)
  fresh           both README commands in a fresh Debian 12 (root, debootstrap)
  story           the incident from end to end, on a booted Debian 12 (root, systemd-nspawn)
  measure         CPU per key beside memcached: `kannuki-bench compare` (release build, loopback)
  pictures        draws the page of `kannuki check` again (docs/pictures; Chromium)
  static          builds a kannuki without libraries and runs it where there are none (root)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["test"] => test::run(test::Fuzzing::WhereEverythingMustRun),
        ["test", "--fuzz"] => test::run(test::Fuzzing::Always),
        ["docs"] => docs::write(),
        ["fresh"] => fresh::run(),
        ["story"] => test::story(),
        ["measure"] => measure::run(),
        ["pictures"] => pictures::draw(),
        ["static"] => stand_alone::prove(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown: {}\n\n{USAGE}", words.join(" ")),
    }
}
