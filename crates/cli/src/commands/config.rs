//! `kannuki config show` and `kannuki config check`: what would count, and whether it can.

use std::{ffi::OsString, fmt::Write as _};

use kannuki_audit::memcached_options::{
    Action, Effect, Line, OptionError, Source, Word,
    problem::{EXIT_PARSE, EXIT_SYSTEM},
    table::access::AUTH_FILE,
};
use kannuki_server::{auth::Users, config::Config};

use crate::{
    exit,
    load::{self, Loaded},
    meaning, own_options, print,
    situation::{CalledAs, Situation},
};

/// Prints the settings in effect.
pub(crate) fn show(words: impl IntoIterator<Item = OsString>, first: usize) -> u8 {
    let loaded = match read(words, first) {
        Ok(loaded) => loaded,
        Err(action) => return act(action, SHOW_HELP),
    };
    let code = report(&loaded);
    match print::stdout(&page(&loaded)) {
        exit::FINE => code,
        failed => failed,
    }
}

/// Checks the settings and says so.
pub(crate) fn check(words: impl IntoIterator<Item = OsString>, first: usize) -> u8 {
    let loaded = match read(words, first) {
        Ok(loaded) => loaded,
        Err(action) => return act(action, CHECK_HELP),
    };
    let code = report(&loaded);
    if code == exit::FINE {
        let given = loaded.settings.effective().count();
        print::stderr(&format!(
            "fine: settings given: {given}, files read: {}\n",
            loaded.files.len()
        ));
    }
    code
}

/// Reads as `kannuki serve` would.
fn read(words: impl IntoIterator<Item = OsString>, first: usize) -> Result<Loaded, Action> {
    let words: Vec<Word> = Word::arguments(words, first).collect();
    let situation = Situation::look(CalledAs::Kannuki);
    let mut loaded = load::load(&words, &situation)?;
    if loaded.errors().next().is_none() {
        match meaning::config(&loaded, &situation) {
            Ok(config) => loaded.errors.extend(check_users(&loaded, &config)),
            Err(errors) => loaded.errors.extend(errors),
        }
    }
    Ok(loaded)
}

/// What is wrong with the file of users; what is odd about it is printed. Nothing that stands in it
/// is ever shown.
fn check_users(loaded: &Loaded, config: &Config) -> Option<OptionError> {
    let login = config.login.as_ref()?;
    let path = login.users.display();
    match Users::read(&login.users, login.format) {
        Ok(users) => {
            for warning in users.warnings() {
                print::stderr(&format!("warning: {path}: {warning}\n"));
            }
            None
        }
        Err(error) => {
            let given = loaded.settings.given(&AUTH_FILE);
            let origin = given
                .map_or(Source::Situation("MEMCACHED_SASL_PWDB"), |given| given.source.clone());
            let message = format!("the file of users {path}: {error}");
            Some(OptionError { message, exit_code: EXIT_PARSE, origin })
        }
    }
}

/// Prints errors and warnings; the exit code says whether there were errors.
fn report(loaded: &Loaded) -> u8 {
    print::warnings(loaded.settings.warnings(), &loaded.files);
    print::errors(loaded.errors(), &loaded.files);
    // A file that cannot be read says nothing about the settings in it.
    let unreadable = |error: &OptionError| {
        error.exit_code == EXIT_SYSTEM && error.message.starts_with("cannot read")
    };
    match loaded.errors().next() {
        None => exit::FINE,
        Some(_) if loaded.errors().any(unreadable) => exit::INCOMPLETE,
        Some(_) => exit::FOUND,
    }
}

/// The settings as a `kannuki.toml`.
fn page(loaded: &Loaded) -> String {
    let grammar = own_options::grammar();
    let mut out = String::from(PAGE_HEAD);
    for group in grammar.groups() {
        let lines: Vec<_> = loaded.settings.lines(group.options.iter().copied()).collect();
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n# {}", group.title);
        for line in lines {
            show_line(&mut out, &line);
        }
    }
    out.push_str(&loaded.tables.page());
    out
}

fn show_line(out: &mut String, line: &Line) {
    let name = line.spec.name();
    let Some(value) = &line.value else {
        let _ = writeln!(out, "# {name} is not set");
        return;
    };
    // Why a default has no effect is of no interest to somebody who never asked for it.
    let note = match (line.spec.effect, line.spec.effect.why()) {
        (_, Some(why)) if line.source != Source::Default => {
            format!("; {}: {why}", line.spec.effect.label())
        }
        (Effect::NoEffect { .. }, _) => "; no effect".to_owned(),
        _ => String::new(),
    };
    let text = format!("{name} = {value}");
    let _ = writeln!(out, "{text:COMMENT_COLUMN$} # {}{note}", line.source);
}

/// Column at which sources stand.
const COMMENT_COLUMN: usize = 36;

const PAGE_HEAD: &str = "\
# The settings in effect, as a kannuki.toml. Behind each value: where it came from.
";

fn act(action: Action, help: &str) -> u8 {
    match action {
        Action::Help => print::stdout(help),
        Action::Version | Action::License => {
            print::stderr("error: -V and -i print something else than settings\n");
            exit::USAGE
        }
    }
}

pub(crate) const EXAMPLES: &str = "\
Examples:
  kannuki config show -m 1024 -l 10.0.0.5
  kannuki config show --memcached-conf /etc/memcached.conf > kannuki.toml
  kannuki config check --config /etc/kannuki/kannuki.toml";

pub(crate) const SHOW_HELP: &str = "\
Print the settings in effect, as a kannuki.toml that says where each came from.

Usage: kannuki config show [OPTIONS OF `kannuki serve`]

Examples:
  kannuki config show                               the defaults
  kannuki config show -m 1024 -o modern,idle_timeout=60
  kannuki config show --memcached-conf /etc/memcached.conf > kannuki.toml

Exit codes: 0 fine, 1 the settings have errors, 3 a file cannot be read.
";

pub(crate) const CHECK_HELP: &str = "\
Check settings without starting.

Usage: kannuki config check [OPTIONS OF `kannuki serve`]

Examples:
  kannuki config check --config /etc/kannuki/kannuki.toml
  kannuki config check --memcached-conf /etc/sysconfig/memcached -m 1024

Exit codes: 0 fine, 1 the settings have errors, 3 a file cannot be read.
";
