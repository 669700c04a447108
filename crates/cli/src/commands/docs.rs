//! `kannuki docs DIR` (hidden): the pages of the project's documentation that come from tables, so
//! that they cannot differ from the program.

use std::{fmt::Write as _, io, path::Path, path::PathBuf};

use clap::{Arg, Command, value_parser};
use kannuki_audit::memcached_options::pages;

use crate::{exit, own_options, print};

pub(super) fn command() -> Command {
    Command::new("docs")
        .about("Write the generated pages of the documentation")
        .hide(true)
        .arg(Arg::new("DIR").required(true).value_parser(value_parser!(PathBuf)))
}

pub(super) fn run(directory: Option<&PathBuf>) -> u8 {
    let Some(directory) = directory else { return exit::USAGE };
    match write(directory) {
        Ok(()) => exit::FINE,
        Err(error) => {
            print::stderr(&format!("error: cannot write {}: {error}\n", directory.display()));
            exit::INCOMPLETE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("options.md"), pages::markdown(&own_options::grammar()))?;
    std::fs::write(directory.join("findings.md"), kannuki_audit::findings::pages::markdown())?;
    std::fs::write(directory.join("kannuki.toml"), pages::template(&own_options::grammar()))?;
    std::fs::write(directory.join("refusals.md"), refusals())
}

fn refusals() -> String {
    let mut out = String::from(REFUSALS_HEAD);
    for refusal in kannuki_server::refusals::catalogue() {
        let told = match refusal.answer {
            None => "depends on the command".to_owned(),
            Some("") => "closed without a word".to_owned(),
            Some(answer) => format!("`{}`", answer.replace('|', "\\|")),
        };
        let meaning = refusal.meaning.replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | {meaning} | {told} |", refusal.name);
    }
    out
}

const REFUSALS_HEAD: &str = "\
# Reasons for refusing

Every refusal has one reason, is counted once under its name, and is explained by `kannuki explain
NAME`. This page is generated; change the tables in the sources, not this file.

| Name | Meaning | The client is told |
|---|---|---|
";
