//! `kannuki completion SHELL`: the script that completes kannuki's words.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::{exit, print};

pub(super) fn command() -> Command {
    Command::new("completion")
        .about("Print a script that completes kannuki's words in a shell")
        .arg(Arg::new("SHELL").required(true).value_parser(value_parser!(Shell)))
        .after_help(
            "Examples:\n  kannuki completion bash > /etc/bash_completion.d/kannuki\n  \
             kannuki completion zsh > /usr/local/share/zsh/site-functions/_kannuki",
        )
}

pub(super) fn run(args: &ArgMatches) -> u8 {
    let Some(shell) = args.get_one::<Shell>("SHELL") else { return exit::USAGE };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut super::command(), "kannuki", &mut script);
    print::stdout(&String::from_utf8_lossy(&script))
}
