//! `kannuki man [DIR]`: the manual pages.

use std::{io, path::PathBuf};

use clap::{Arg, Command, value_parser};

use crate::{exit, print};

pub(super) fn command() -> Command {
    Command::new("man")
        .about("Print the manual page, or write all pages into a directory")
        .arg(Arg::new("DIR").value_parser(value_parser!(PathBuf)))
        .after_help("Examples:\n  kannuki man | man -l -\n  kannuki man /usr/local/share/man/man1")
}

pub(super) fn run(directory: Option<&PathBuf>) -> u8 {
    match directory {
        None => page(),
        Some(directory) => match write(directory) {
            Ok(()) => exit::FINE,
            Err(error) => {
                print::stderr(&format!("error: cannot write {}: {error}\n", directory.display()));
                exit::INCOMPLETE
            }
        },
    }
}

fn page() -> u8 {
    let mut page = Vec::new();
    match clap_mangen::Man::new(super::command()).render(&mut page) {
        Ok(()) => print::stdout(&String::from_utf8_lossy(&page)),
        Err(error) => {
            print::stderr(&format!("error: cannot make the page: {error}\n"));
            exit::INCOMPLETE
        }
    }
}

fn write(directory: &PathBuf) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(super::command(), directory)
}
