//! How `check` tells what it found: form, language, file, comparison, exit code.
//!
//! Invariant: a file that `--output` names is written beside and moved into place, so a reader finds
//! the old report or the new one, whole.

use std::{
    env,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, builder::PossibleValuesParser, value_parser};
use kannuki_audit::{
    facts::{Facts, printable},
    findings::{
        Report, Severity,
        baseline::{self, BASELINE_BYTES_MAX, Changes},
    },
    output::{Format, Page, render},
    rules,
    texts::{Lang, Texts},
    vulnerabilities::Table,
};

use super::{check::Reported, news};
use crate::{exit, print, state};

/// Largest table of flaws that is read; the one that is shipped has 40 KiB.
pub(super) const NEWS_BYTES_MAX: usize = 16 << 20;
/// Columns where nobody told how wide the terminal is.
const COLUMNS: usize = 100;
/// The widest that is still read with ease.
const COLUMNS_MAX: usize = 110;

/// Options about how it is told.
pub(super) fn telling() -> [Arg; 6] {
    let formats = Format::ALL.map(|(name, _)| name);
    let levels = Severity::ALL.map(Severity::name);
    [
        Arg::new("format")
            .long("format")
            .value_name("FORM")
            .value_parser(PossibleValuesParser::new(formats))
            .default_value("text")
            .help("How to tell what was found"),
        output(),
        language(),
        Arg::new("fail-on")
            .long("fail-on")
            .value_name("LEVEL")
            .value_parser(PossibleValuesParser::new(levels))
            .default_value("high")
            .help("End with 1 if a finding is at least so bad"),
        Arg::new("baseline")
            .long("baseline")
            .value_name("OLD.json")
            .value_parser(value_parser!(PathBuf))
            .help("Say what is new and what is fixed since this report of --format json")
            .long_help(
                "Say what is new and what is fixed since this report of --format json. Only what \
                 is new, or has become worse, counts for --fail-on then.",
            ),
        news_file(),
    ]
}

pub(super) fn output() -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Write the report to FILE, readable by its owner only")
}

pub(super) fn language() -> Arg {
    Arg::new("lang")
        .long("lang")
        .value_name("LANG")
        .value_parser(PossibleValuesParser::new(Lang::ALL.map(Lang::name)))
        .help("Language of the report; else the locale's")
}

pub(super) fn news_file() -> Arg {
    Arg::new("news")
        .long("news")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Table of flaws to use if newer than the own one [default: what `news update` wrote]")
}

/// Judges the facts and tells.
pub(super) fn tell(args: &ArgMatches, facts: &Facts, rows: Option<&Reported>) -> u8 {
    told(args, facts, rows).unwrap_or_else(|message| print::failed(&message))
}

fn told(args: &ArgMatches, facts: &Facts, rows: Option<&Reported>) -> Result<u8, String> {
    let texts = texts(args);
    let table = table(args)?;
    let mut report = rules::judge(facts, &table, &texts);
    if let Some(rows) = rows {
        rows.add_to(&mut report, facts, &texts);
    }
    let changes = match args.get_one::<PathBuf>("baseline") {
        None => None,
        Some(path) => Some(compare(path, &report)?),
    };
    let name = args.get_one::<String>("format").map_or("text", String::as_str);
    let page =
        Page { report: &report, changes: changes.as_ref(), texts: &texts, columns: columns() };
    let text = render(Format::named(name).unwrap_or(Format::Text), &page);
    match args.get_one::<PathBuf>("output") {
        Some(path) => write(path, &text)?,
        None => {
            let code = self::page(&text, &texts);
            if code != exit::FINE {
                return Ok(code);
            }
        }
    }
    let level = args.get_one::<String>("fail-on").and_then(|name| Severity::named(name));
    Ok(verdict(&report, changes.as_ref(), level.unwrap_or(Severity::High)))
}

fn verdict(report: &Report, changes: Option<&Changes>, level: Severity) -> u8 {
    let counts = |finding: &&kannuki_audit::findings::Finding| {
        changes.is_none_or(|changes| changes.is_new(finding))
    };
    let worst = report.findings.iter().filter(counts).map(|finding| finding.severity).max();
    if worst.is_some_and(|worst| worst >= level) { exit::FOUND } else { exit::FINE }
}

/// The texts of the language that was asked for, or of the locale.
pub(super) fn texts(args: &ArgMatches) -> Texts {
    let lang = match args.get_one::<String>("lang").map(String::as_str) {
        Some("ja") => Lang::Ja,
        Some(_) => Lang::En,
        // A Linux console cannot draw Japanese; English texts are ASCII.
        None if env::var_os("TERM").is_some_and(|term| term == "linux") => Lang::En,
        None => {
            let names = ["LC_ALL", "LC_MESSAGES", "LANG"].map(|name| {
                env::var_os(name).and_then(|value| value.into_string().ok()).unwrap_or_default()
            });
            Lang::of_locale(names.iter().map(String::as_str))
        }
    };
    Texts::of(lang)
}

/// The table of flaws: the one that was fetched, if it is newer than the one that was shipped.
pub(super) fn table(args: &ArgMatches) -> Result<Table, String> {
    let fetched = match args.get_one::<PathBuf>("news") {
        Some(path) => Some(read_table(path)?),
        None => state::places(news::FILE).iter().find_map(|path| remembered(path)),
    };
    let shipped = Table::embedded();
    Ok(fetched.filter(|fetched| fetched.data_as_of >= shipped.data_as_of).unwrap_or(shipped))
}

fn read_table(path: &Path) -> Result<Table, String> {
    let bytes = state::read(path, NEWS_BYTES_MAX)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Table::from_json(&String::from_utf8_lossy(&bytes))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// What `news update` left. Nothing needs it: one that cannot be used is told and left alone.
fn remembered(path: &Path) -> Option<Table> {
    if matches!(path.try_exists(), Ok(false) | Err(_)) {
        return None;
    }
    let told = |message: String| {
        let message = printable(&message);
        print::stderr(&format!("warning: {message}; the program's own table is used\n"));
    };
    read_table(path).map_err(told).ok()
}

fn compare(path: &Path, report: &Report) -> Result<Changes, String> {
    let name = path.display();
    let bytes = state::read(path, BASELINE_BYTES_MAX)
        .map_err(|error| format!("cannot read {name}: {error}"))?;
    let old = baseline::read(&bytes).map_err(|error| format!("{name} {error}"))?;
    Ok(baseline::compare(&old, report))
}

/// Prints a page. Texts of a host may have letters that a rescue console cannot draw; they are
/// shown by their numbers there, unless the page itself is in such a language.
pub(super) fn page(text: &str, texts: &Texts) -> u8 {
    if texts.lang() == Lang::Ja || draws_everything() || !io::stdout().is_terminal() {
        return print::stdout(text);
    }
    let plain = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => c.escape_unicode().to_string(),
    };
    print::stdout(&text.chars().map(plain).collect::<String>())
}

/// Whether the terminal draws other letters than ASCII, as far as the environment tells.
fn draws_everything() -> bool {
    if env::var_os("TERM").is_some_and(|term| term == "linux") {
        return false;
    }
    let said = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env::var_os);
    let locale = said.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

pub(super) fn columns() -> usize {
    let stdout = io::stdout();
    let told = rustix::termios::tcgetwinsize(&stdout).map(|size| usize::from(size.ws_col));
    match told {
        Ok(columns) if stdout.is_terminal() && columns > 0 => columns.min(COLUMNS_MAX),
        _ => COLUMNS,
    }
}

/// Writes beside the file and moves it into place.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    state::replace(path, text, 0o600)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
