//! `kannuki serve`, and the program under the name `memcached`.
//!
//! Exit codes are memcached's; stdout stays empty but for -h, -i and -V.

use std::{ffi::OsString, fmt::Write as _, path::PathBuf};

use kannuki_audit::memcached_options::{
    Action, ListenElement, MEMCACHED_VERSION, OptionError, Word, pages,
    table::{GROUPS, process::VERBOSE, tls},
};
use kannuki_server::{
    Hooks, Started,
    config::{Config, Reload},
};

use crate::{
    exit, greeting,
    load::{self, Loaded},
    meaning, own_options, print,
    situation::{CalledAs, Situation},
};

/// -vv lists what was asked for and has no effect.
const VERBOSITY_NO_EFFECT: i64 = 2;

/// Starts the server; `first` is the number of the first word in argv.
pub(crate) fn run(
    words: impl IntoIterator<Item = OsString>,
    first: usize,
    called_as: CalledAs,
) -> u8 {
    let words: Vec<Word> = Word::arguments(words, first).collect();
    let situation = Situation::look(called_as);
    match load::load(&words, &situation) {
        Err(action) => act(action, called_as),
        Ok(loaded) => start(words, situation, loaded),
    }
}

fn start(words: Vec<Word>, situation: Situation, loaded: Loaded) -> u8 {
    print::warnings(loaded.settings.warnings(), &loaded.files);
    if let Some(first) = loaded.errors().next() {
        print::errors(loaded.errors(), &loaded.files);
        return first.exit_code;
    }
    let config = match meaning::config(&loaded, &situation) {
        Ok(config) => config,
        Err(errors) => {
            print::errors(errors.iter(), &loaded.files);
            return errors.first().map_or(exit::USAGE, |error| error.exit_code);
        }
    };
    if loaded.settings.number(&VERBOSE) >= VERBOSITY_NO_EFFECT {
        print::stderr(&without_effect(&loaded));
    }
    match kannuki_server::run(config.clone(), hooks(config, words, situation, &loaded)) {
        Ok(()) => exit::FINE,
        Err(error) => {
            print::stderr(&format!("error: {error}\n"));
            error.exit_code()
        }
    }
}

/// What the server asks and tells while it runs.
fn hooks(config: Config, words: Vec<Word>, situation: Situation, loaded: &Loaded) -> Hooks {
    let files: Vec<PathBuf> = loaded.files.iter().map(|file| (*file.path).clone()).collect();
    let greets = situation.called_as == CalledAs::Kannuki;
    let started = move |started: &Started| {
        if greets {
            print::stderr(&greeting::lines(&config, started, &files));
        }
    };
    let at_start = waits_for_restart(loaded);
    let elements = meaning::elements(&loaded.settings);
    let reload = move || reload(&words, &situation, &at_start, &elements);
    Hooks { reload: Box::new(reload), started: Box::new(started) }
}

/// The settings that a reload does not change, each by its name and value.
fn waits_for_restart(loaded: &Loaded) -> Vec<(String, Option<String>)> {
    let reloaded = own_options::RELOADED.iter().copied().chain([&VERBOSE]);
    // Certificates and what goes with them, but for the switch itself.
    let certificates = tls::TLS.iter().copied().filter(|spec| !spec.is(&tls::ENABLE_SSL));
    let reloaded: Vec<_> = reloaded.chain(certificates).collect();
    let options = own_options::grammar();
    let lines = loaded.settings.lines(options.options());
    let lines = lines.filter(|line| reloaded.iter().all(|spec| line.spec.name() != spec.name()));
    lines.map(|line| (line.spec.name().to_string(), line.value)).collect()
}

/// Reads words and files again, for SIGHUP.
fn reload(
    words: &[Word],
    situation: &Situation,
    at_start: &[(String, Option<String>)],
    elements: &[ListenElement],
) -> Result<Reload, String> {
    let loaded = load::load(words, situation).map_err(|_| String::new())?;
    let describe = |errors: &mut dyn Iterator<Item = &OptionError>| {
        errors.map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let errors = describe(&mut loaded.errors());
    if !errors.is_empty() {
        return Err(errors);
    }
    let now = waits_for_restart(&loaded);
    let changed = now.into_iter().zip(at_start).filter(|(now, before)| now != *before);
    let waiting = changed.map(|((name, _), _)| name).collect();
    let reload = meaning::reload(&loaded, situation, elements)
        .map_err(|errors| describe(&mut errors.iter()))?;
    Ok(Reload { waiting, ..reload })
}

fn without_effect(loaded: &Loaded) -> String {
    let mut out = String::new();
    for given in loaded.settings.without_effect() {
        let why = given.spec.effect.why().unwrap_or_default();
        let (name, source) = (given.spec.usual(), &given.source);
        let _ = writeln!(out, "accepted, no effect: {name} ({source}): {why}");
    }
    out
}

fn act(action: Action, called_as: CalledAs) -> u8 {
    match (action, called_as) {
        (Action::Version, CalledAs::Memcached) => {
            print::stdout(&format!("memcached {MEMCACHED_VERSION}\n"))
        }
        (Action::Version, CalledAs::Kannuki) => {
            print::stdout(&format!("kannuki {}\n", super::VERSION))
        }
        (Action::Help, CalledAs::Memcached) => print::stdout(&memcached_help()),
        (Action::Help, CalledAs::Kannuki) => print::stdout(&help()),
        (Action::License, _) => print::stdout(LICENSE),
    }
}

/// What `memcached -h` prints; tools read the first line.
fn memcached_help() -> String {
    let groups = GROUPS.iter().chain(own_options::GROUPS);
    format!("memcached {MEMCACHED_VERSION}\n{}", pages::help(groups))
}

/// What `kannuki serve --help` prints.
pub(crate) fn help() -> String {
    format!("{HEAD}\n{}\n{FOOT}", pages::help(own_options::grammar().groups()))
}

const HEAD: &str = "\
Start the server.

Usage: kannuki serve [OPTIONS]

The options are memcached's and Kannuki's own. Without -l it listens on 127.0.0.1 and ::1 only; UDP
is off. Settings come, each overriding the one before, from the defaults, --config, --memcached-conf
and the command line.

Examples:
  kannuki serve                                    64 MiB for programs on this machine
  kannuki serve -m 1024 -l 10.0.0.5 -t 8           1 GiB for a private network
  kannuki serve -s /run/kannuki/kannuki.sock       a UNIX socket instead of TCP
  kannuki serve --memcached-conf /etc/memcached.conf
  kannuki serve --config /etc/kannuki/kannuki.toml --log-file /var/log/kannuki.log
";

const FOOT: &str = "\
Signals: SIGTERM and SIGINT stop; SIGHUP reads the files again and reopens the log file.

Exit codes: 0 stopped as asked, 1 bad value, 64 contradictory settings, 67 unknown user, 71 refused
by the system.
";

const LICENSE: &str = "\
Kannuki is distributed under the terms of both the MIT license and the Apache License, version 2.0,
at your option. There is no warranty. See LICENSE-MIT and LICENSE-APACHE.
";
