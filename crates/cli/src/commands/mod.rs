//! The commands, one file each, and the command line that clap reads.

mod check;
mod close;
mod completion;
pub(crate) mod config;
mod docs;
mod explain;
mod explain_access;
mod man;
mod news;
mod notify;
mod passwd;
mod report;
pub(crate) mod serve;
mod telling;
mod triage;
mod waiting;

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kannuki_audit::memcached_options::{OptionSpec, Shape, Spelling, pages};

use crate::{exit, own_options, print};

/// What `kannuki --version` prints after the name.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), ", as memcached 1.6.45");

/// Reads the words with clap and does what they say.
pub(crate) fn run(words: Vec<OsString>) -> u8 {
    let words = std::iter::once(OsString::from("kannuki")).chain(words);
    match command().try_get_matches_from(words) {
        Ok(matches) => dispatch(&matches),
        Err(error) => {
            let failed = error.use_stderr();
            // There is nobody to tell if even this cannot be printed.
            let _ = error.print();
            if failed { exit::USAGE } else { exit::FINE }
        }
    }
}

fn dispatch(matches: &ArgMatches) -> u8 {
    match matches.subcommand() {
        Some(("check", args)) => check::run(args),
        Some(("close", args)) => close::run(args),
        Some(("triage", args)) => triage::run(args),
        Some(("report", args)) => report::run(args),
        Some(("completion", args)) => completion::run(args),
        Some(("man", args)) => man::run(args.get_one::<PathBuf>("DIR")),
        Some(("news", args)) => news::run(args),
        Some(("passwd", args)) => passwd::run(args),
        Some(("explain", args)) => match args.subcommand() {
            Some(("access", args)) => explain_access::run(args),
            _ => explain::run(args.get_one::<String>("ID")),
        },
        Some(("docs", args)) => docs::run(args.get_one::<PathBuf>("DIR")),
        // `serve` and `config` never come here: their words are not clap's to read.
        _ => {
            print::stderr("error: nothing to do; see `kannuki --help`\n");
            exit::USAGE
        }
    }
}

/// The whole command line, for clap, completion and man pages.
pub(crate) fn command() -> Command {
    Command::new("kannuki")
        .version(VERSION)
        .about("A memcached that stays shut until you open it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(format!("{EXAMPLES}\n\n{}", exit::TABLE))
        .subcommand(serve_command())
        .subcommand(config_command())
        .subcommand(check::command())
        .subcommand(close::command())
        .subcommand(triage::command())
        .subcommand(report::command())
        .subcommand(completion::command())
        .subcommand(man::command())
        .subcommand(news::command())
        .subcommand(passwd::command())
        .subcommand(explain::command())
        .subcommand(docs::command())
}

const EXAMPLES: &str = "\
Examples:
  kannuki serve                                     for programs on this machine
  kannuki serve -m 1024 -l 10.0.0.5                 1 GiB, for a private network too
  kannuki serve --memcached-conf /etc/memcached.conf
  kannuki config show -m 1024 -o modern             what would count, and why
  kannuki passwd /etc/kannuki/users app             a user for -Y and -S
  kannuki check                                     what is open on this host
  kannuki triage                                    whether anybody got in
  kannuki report --facts open.json                  the letter to the provider
  kannuki close                                     shut it: preview, --apply, --undo
  kannuki explain idle-timeout";

fn serve_command() -> Command {
    with_options(Command::new("serve"))
        .about("Start the server")
        .override_help(serve::help())
        .after_long_help(suboptions())
}

fn config_command() -> Command {
    let show = with_options(Command::new("show"))
        .about("Print the settings in effect, as a kannuki.toml that says where each came from")
        .override_help(config::SHOW_HELP);
    let check = with_options(Command::new("check"))
        .about("Check settings without starting")
        .override_help(config::CHECK_HELP);
    Command::new("config")
        .about("Show or check settings; takes the options of `serve`")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(config::EXAMPLES)
        .subcommand(show)
        .subcommand(check)
}

/// The server's flags as clap knows them: for pages and completion, never for reading.
fn with_options(mut command: Command) -> Command {
    command = command.disable_help_flag(true);
    for spec in own_options::grammar().options() {
        if let Some(arg) = arg(spec) {
            command = command.arg(arg);
        }
    }
    command
}

fn arg(spec: &'static OptionSpec) -> Option<Arg> {
    let Spelling::Flag { short, long } = spec.spelling else { return None };
    let mut arg =
        Arg::new(long.or(spec.key)?).help(spec.brief()).long_help(pages::description(spec));
    if let Some(letter) = short {
        arg = arg.short(char::from(letter));
    }
    if let Some(long) = long {
        arg = arg.long(long);
    }
    arg = match spec.shape {
        Shape::Path => arg.value_parser(value_parser!(PathBuf)),
        Shape::Choice(words) => arg.value_parser(words.to_vec()),
        _ => arg,
    };
    Some(if spec.takes_value() {
        arg.value_name(spec.placeholder)
    } else {
        arg.action(ArgAction::SetTrue)
    })
}

/// The words of `-o`, which clap does not know.
fn suboptions() -> String {
    let mut out = String::from("Words of -o:\n");
    let specs = own_options::grammar();
    let words = specs.options().filter(|s| matches!(s.spelling, Spelling::Suboption { .. }));
    for spec in words {
        let (spelling, brief) = (pages::spellings(spec), spec.brief());
        out.push_str(&format!("\n{spelling}\n  {brief} ({})\n", spec.effect.label()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_version_of_memcached() {
        let version = kannuki_audit::memcached_options::MEMCACHED_VERSION;
        assert_eq!(version, kannuki_server::VERSION);
        assert!(VERSION.ends_with(version));
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
