//! `kannuki report`: the letter to the provider, from saved evidence alone.
//!
//! Invariants: the host is not looked at; what no evidence shows stays a blank, and how many are
//! left is said.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use kannuki_audit::{
    facts::{FACTS_BYTES_MAX, Facts, printable},
    findings::Report,
    letter::{self, CloseRun, Evidence, Form, LetterZone, Mail, Mailbox},
    rules,
    texts::{Lang, Texts},
    triage::{TRIAGE_BYTES_MAX, Triage},
    vulnerabilities::Table,
};

use super::{check, telling};
use crate::{exit, print};

/// Where compiled time zones stand.
const ZONES: &str = "/usr/share/zoneinfo";
/// Longest file of a time zone that is read, in bytes; real ones have four thousand.
const ZONE_BYTES_MAX: usize = 256 * 1024;
/// Longest manifest of `close` that is read, in bytes.
const MANIFEST_BYTES_MAX: usize = 16 << 20;

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("report")
        .about("Write the letter to the provider, from saved evidence only")
        .args(evidence())
        .args(telling())
        .after_help(format!("{EXAMPLES}\n\n{CODES}"))
}

const EXAMPLES: &str = "\
Every sentence about the host or about what was done comes from the files given here; everything
else stays a blank: [FILL IN: ...].

Examples:
  kannuki check --probe --facts open.json      before anything is shut
  kannuki triage --format json --output triage.json
  kannuki close --apply
  kannuki check --facts shut.json
  kannuki report --facts open.json --triage triage.json --after shut.json \\
      --close /var/lib/kannuki-close/ID/manifest.json --lang ja --format eml --output letter.eml";

const CODES: &str = "\
Exit codes:
  0   the letter is written, blanks or not; how many are left is said on stderr
  2   wrong usage
  3   evidence cannot be read, is about different hosts, or is in the wrong order of time";

fn evidence() -> [Arg; 4] {
    let file = |name: &'static str, value: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name(value).help(help);
        arg.value_parser(value_parser!(PathBuf))
    };
    [
        file("facts", "FACTS.json", "What `check --facts` saved while the cache was open"),
        file("after", "FACTS.json", "What `check --facts` saved after it was shut"),
        file("triage", "TRIAGE.json", "What `triage --format json` wrote"),
        file("close", "MANIFEST.json", "The manifest of the run of `close`"),
    ]
}

fn telling() -> [Arg; 7] {
    let word = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    [
        word(
            "zone",
            "ZONE",
            "The provider's time zone: Asia/Tokyo; else Japan's for ja, UTC for en",
        ),
        word("case", "NUMBER", "The provider's case number"),
        word("from", "ADDRESS", "Your address, for --format eml").value_parser(Mailbox::read),
        word("to", "ADDRESS", "The provider's address, for --format eml")
            .value_parser(Mailbox::read),
        word("format", "FORM", "Text, Markdown or a mail to be opened in a mail program")
            .value_parser(PossibleValuesParser::new(["txt", "md", "eml"]))
            .default_value("txt"),
        word("output", "FILE", "Write the letter to FILE, readable by its owner only")
            .value_parser(value_parser!(PathBuf)),
        telling::language(),
    ]
}

/// Reads the evidence and writes the letter.
pub(crate) fn run(args: &ArgMatches) -> u8 {
    written(args).unwrap_or_else(|message| print::failed(&message))
}

fn written(args: &ArgMatches) -> Result<u8, String> {
    let texts = telling::texts(args);
    let evidence = read(args, &texts)?;
    let zone = zone(args, texts.lang())?;
    let word = |name: &str| args.get_one::<String>(name).cloned();
    let letter = letter::write(&evidence, &zone, word("case").as_deref(), &texts);
    let form = match word("format").as_deref() {
        Some("md") => Form::Md,
        Some("eml") => Form::Eml,
        _ => Form::Txt,
    };
    let mailbox = |name: &str| args.get_one::<Mailbox>(name).cloned();
    let mail = Mail { from: mailbox("from"), to: mailbox("to") };
    if form != Form::Eml && (mail.from.is_some() || mail.to.is_some()) {
        print::stderr("note: --from and --to have no effect without --format eml\n");
    }
    let page = letter::render(&letter, form, &mail);
    let code = match args.get_one::<PathBuf>("output") {
        Some(path) => telling::write(path, &page).map(|()| exit::FINE)?,
        None => telling::page(&page, &texts),
    };
    print::stderr(&format!("report: {} blanks are left to fill in\n", letter.blanks()));
    Ok(code)
}

fn read(args: &ArgMatches, texts: &Texts) -> Result<Evidence, String> {
    let mut evidence = Evidence::default();
    let table = Table::embedded();
    let mut file = |name: &str, bytes_max: usize| -> Result<Option<(String, Vec<u8>)>, String> {
        let Some(path) = args.get_one::<PathBuf>(name) else { return Ok(None) };
        let shown = path.display().to_string();
        let bytes = check::read_bounded(path, bytes_max)
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        let base = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        evidence.files.push((printable(&base), letter::digest(&bytes)));
        Ok(Some((shown, bytes)))
    };
    let facts = |read: Option<(String, Vec<u8>)>| -> Result<Option<(Facts, Report)>, String> {
        let Some((name, bytes)) = read else { return Ok(None) };
        let facts = Facts::from_json(&bytes).map_err(|error| format!("{name}: {error}"))?;
        let report = rules::judge(&facts, &table, texts);
        Ok(Some((facts, report)))
    };
    let before = facts(file("facts", FACTS_BYTES_MAX)?)?;
    let after = facts(file("after", FACTS_BYTES_MAX)?)?;
    let triage = file("triage", TRIAGE_BYTES_MAX)?;
    let close = file("close", MANIFEST_BYTES_MAX)?;
    (evidence.before, evidence.after) = (before, after);
    if let Some((name, bytes)) = triage {
        let triage = Triage::from_json(&bytes).map_err(|error| format!("{name} {error}"))?;
        evidence.triage = Some(triage);
    }
    if let Some((name, bytes)) = close {
        let close = CloseRun::from_json(&bytes).map_err(|error| format!("{name} {error}"))?;
        if close.state != "applied" {
            let state = printable(&close.state);
            print::stderr(&format!("note: {name} is {state}, not applied: no measure is told\n"));
        }
        evidence.close = Some(close);
    }
    evidence.is_one_host().map_err(|error| format!("one file of the evidence {error}"))?;
    evidence.is_in_order().map_err(|error| format!("--after {error}"))?;
    Ok(evidence)
}

fn zone(args: &ArgMatches, lang: Lang) -> Result<LetterZone, String> {
    let Some(name) = args.get_one::<String>("zone") else {
        return Ok(if lang == Lang::Ja { LetterZone::japan() } else { LetterZone::utc() });
    };
    if name.eq_ignore_ascii_case("utc") {
        return Ok(LetterZone::utc());
    }
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err(format!("--zone {name}: give a name like Asia/Tokyo"));
    }
    let path = Path::new(ZONES).join(name);
    let bytes = check::read_bounded(&path, ZONE_BYTES_MAX)
        .map_err(|error| format!("--zone {name}: cannot read {}: {error}", path.display()))?;
    LetterZone::read(name, &bytes)
        .ok_or_else(|| format!("--zone {name}: {} is no time zone", path.display()))
}
