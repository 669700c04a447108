//! `kannuki triage`: did anybody get in? Looks, judges, tells, and packs the evidence.
//!
//! Invariants: nothing of the host is changed; the only files that are written are the ones that
//! `--output` and `--bundle` name; a bundle never overwrites a file.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
use kannuki_audit::{
    collect::traces::{self, Search},
    facts::printable,
    texts::Texts,
    traces::Traces,
    triage::{self, Outcome, Triage, show},
};

use super::{check, telling};
use crate::{exit, print};

/// Columns on a rescue console.
const COLUMNS: usize = 80;

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("triage")
        .about("Look whether anybody got in, and say what that rests on")
        .args(looking())
        .args(telling())
        .after_help(format!("{EXAMPLES}\n\n{CODES}"))
}

const EXAMPLES: &str = "\
Only reads. Run it as root, before you reboot, delete or install anything; what it could not see is
said. Programs of the host are not trusted: /proc and files are read, not `ps` and `ss`.

Examples:
  kannuki triage
  kannuki triage --incident 2018-02-27T03:00:00+09:00
  kannuki triage --before open.json            what `check --facts open.json` saved before closing
  kannuki triage --bundle evidence.tar --format json --output triage.json
  kannuki triage --root /mnt                   a disk of another system";

const CODES: &str = "\
Exit codes:
  0   an open cache explains the traffic, and no sign of an intruder was seen
  1   there are signs of an intruder
  2   wrong usage
  3   it cannot be told, or the command could not be completed; it says why";

fn looking() -> [Arg; 4] {
    let path = |name: &'static str, value: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf))
    };
    [
        path("root", "DIR").default_value("/").help("Look at the system whose disk is at DIR"),
        path("before", "FACTS.json")
            .help("What `check --facts` saved while the cache was still open"),
        Arg::new("incident")
            .long("incident")
            .value_name("TIME")
            .value_parser(|text: &str| kannuki_audit::triage::time(text).ok_or(TIME_FORM))
            .help("When the traffic was seen: 2018-02-27T03:00:00+09:00"),
        path("bundle", "FILE.tar")
            .help("Copy the evidence into a new FILE.tar, readable by its owner only"),
    ]
}

const TIME_FORM: &str = "write it as 2018-02-27T03:00:00+09:00 or 2018-02-26T18:00:00Z";

fn telling() -> [Arg; 4] {
    [
        Arg::new("format")
            .long("format")
            .value_name("FORM")
            .value_parser(PossibleValuesParser::new(["text", "json", "md"]))
            .default_value("text")
            .help("How to tell what was found"),
        telling::output(),
        telling::language(),
        telling::news_file(),
    ]
}

/// Looks, judges, tells.
pub(crate) fn run(args: &ArgMatches) -> u8 {
    told(args).unwrap_or_else(|message| print::failed(&message))
}

fn told(args: &ArgMatches) -> Result<u8, String> {
    let texts = telling::texts(args);
    let before = match args.get_one::<PathBuf>("before") {
        Some(path) => Some(check::read(path)?.ok_or_else(|| missing(path))?),
        None => None,
    };
    let search = Search {
        root: args.get_one::<PathBuf>("root").cloned().unwrap_or_else(|| PathBuf::from("/")),
        by: concat!("kannuki ", env!("CARGO_PKG_VERSION")).to_owned(),
        incident: args.get_one::<i64>("incident").copied(),
        at: None,
    };
    let steps = Steps::new(&texts);
    let traces = traces::collect(&search, &mut |step| steps.tell(step))
        .map_err(|error| error.to_string())?;
    steps.end();
    let table = telling::table(args)?;
    let triage = triage::judge(&traces, before.as_ref(), search.incident, &table, &texts);
    let json = show::json(&triage).map_err(|error| error.to_string())?;
    if let Some(path) = args.get_one::<PathBuf>("bundle") {
        bundle(path, &search, &traces, &json)?;
    }
    let text = match args.get_one::<String>("format").map(String::as_str) {
        Some("json") => json,
        Some("md") => show::markdown(&triage, &texts),
        _ => show::text(&triage, &texts, telling::columns().min(COLUMNS)),
    };
    let code = match args.get_one::<PathBuf>("output") {
        Some(path) => telling::write(path, &text).map(|()| exit::FINE)?,
        None => telling::page(&text, &texts),
    };
    Ok(if code == exit::FINE { verdict(&triage) } else { code })
}

fn missing(path: &Path) -> String {
    format!("cannot read {}: there is no such file", path.display())
}

fn verdict(triage: &Triage) -> u8 {
    match triage.outcome {
        Outcome::Reflector => exit::FINE,
        Outcome::Intrusion => exit::FOUND,
        Outcome::CannotTell => exit::INCOMPLETE,
    }
}

fn bundle(path: &Path, search: &Search, traces: &Traces, json: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut out = BufWriter::new(file.map_err(failed)?);
    let written = traces::bundle(search, traces, json, &mut out)
        .map_err(|error| error.to_string())
        .and_then(|bundle| {
            out.flush().and_then(|()| out.get_ref().sync_all()).map_err(failed)?;
            Ok(bundle)
        });
    let bundle = match written {
        Ok(bundle) => bundle,
        Err(message) => {
            // Half a bundle is no evidence; there is nobody to tell if that fails too.
            let _ = std::fs::remove_file(path);
            return Err(message);
        }
    };
    for line in &bundle.missed {
        print::stderr(&format!("bundle: not copied: {}\n", printable(line)));
    }
    let name = printable(&path.to_string_lossy());
    print::stderr(&format!(
        "bundle: {} members, {} bytes in {name}\nbundle: SHA-256 of its MANIFEST.sha256: {}\n\
         bundle: left out: password hashes, private keys, shell histories, memory of processes\n",
        bundle.members, bundle.bytes, bundle.manifest_sha256
    ));
    Ok(())
}

/// Says on a terminal which part is being looked at; elsewhere nothing.
struct Steps<'t> {
    texts: &'t Texts,
    shown: bool,
    /// A terminal that knows no command to clear a line.
    plain: bool,
}

impl<'t> Steps<'t> {
    fn new(texts: &'t Texts) -> Self {
        let plain = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self { texts, shown: io::stderr().is_terminal(), plain }
    }

    fn tell(&self, step: &'static str) {
        if self.shown {
            let (begin, end) = if self.plain { ("", "\n") } else { ("\r\u{1b}[K", "") };
            print::stderr(&format!("{begin}... {}{end}", self.texts.get(step)));
        }
    }

    fn end(&self) {
        if self.shown && !self.plain {
            print::stderr("\r\u{1b}[K");
        }
    }
}
