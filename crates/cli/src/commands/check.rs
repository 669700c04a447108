//! `kannuki check`: what is open on this host. Looks, or reads what was seen before.
//!
//! Invariants: nothing of the host is changed; the only file that is ever written is the one that
//! `--facts` names and that was not there.

use std::{
    fs::OpenOptions,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kannuki_audit::{
    collect::{self, Request},
    facts::{FACTS_BYTES_MAX, Facts, printable},
    findings::Report,
    provider_row::{self, REPORT_BYTES_MAX, Row},
    rules::reported,
    texts::Texts,
};

use super::{notify, telling};
use crate::{exit, print};

/// Longest window between two looks at the counters, in seconds: a day.
const WINDOW_S_MAX: u64 = 86_400;
/// Time between two looks at the counters unless another was asked for: what makes a check on a
/// normal host end within two seconds.
const WINDOW_S_DEFAULT: u64 = 1;

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("check")
        .about("Look what caches are open on this host, who uses them and how they came")
        .args(looking())
        .args(telling::telling())
        .arg(notifying())
        .after_help(format!("{EXAMPLES}\n\n{}", exit::FINDINGS_TABLE))
}

const EXAMPLES: &str = "\
Nothing is changed, and nothing leaves this host. Works without root, and says what it could not
see then.

Examples:
  kannuki check
  kannuki check --probe                  measure the amplification of UDP ports too
  kannuki check --root /mnt              a disk of another system
  kannuki check --facts host.json        save what was seen, or read it again if it was saved
  kannuki check --format html --output report.html
  kannuki check --format json --output today.json --baseline yesterday.json
  kannuki check --notify                 only what changed, for a timer";

/// Options about what is looked at.
pub(super) fn looking() -> [Arg; 7] {
    [
        Arg::new("root")
            .long("root")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .default_value("/")
            .help("Look at the system whose disk is mounted at DIR"),
        Arg::new("facts")
            .long("facts")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Read what was seen from FILE; if there is no FILE, look and save it there")
            .long_help(
                "Read what was seen from FILE instead of looking. If there is no such file, look \
                 and save there what was seen, readable by its owner only. A file that is there is \
                 never written to.",
            ),
        Arg::new("probe").long("probe").action(ArgAction::SetTrue).help(
            "Measure the amplification: send `version` and `stats` over UDP to own addresses",
        ),
        Arg::new("quiet-sockets")
            .long("no-talk")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(["probe", "every-port"])
            .help("Connect to no socket, not even to ask for the version"),
        Arg::new("every-port")
            .long("every-port")
            .action(ArgAction::SetTrue)
            .help("Ask every listening TCP socket for its version, not only likely ones"),
        Arg::new("window")
            .long("window")
            .value_name("SECONDS")
            .value_parser(value_parser!(u64).range(0..=WINDOW_S_MAX))
            .help("Time between two looks at the counters [default: 1]"),
        Arg::new("from-report")
            .long("from-report")
            .value_name("FILE.csv")
            .value_parser(value_parser!(PathBuf))
            .help("Match the rows of a provider's report (Shadowserver's CSV) with what is seen")
            .long_help(
                "Match the rows of a provider's report (Shadowserver's CSV) with what is seen: \
                 each service of it becomes a finding (MC-SCAN-001 to 003) that names the socket \
                 and the process, or says that nothing here matches.",
            ),
    ]
}

/// Telling only what changed.
fn notifying() -> Arg {
    Arg::new("notify")
        .long("notify")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value(notify::SETTINGS)
        .conflicts_with_all(["baseline", "fail-on", "format", "output"])
        .help(
            "Tell what changed since the last time, and nothing else, by the ways that FILE names",
        )
        .long_help(
            "Tell what changed since the last time, and nothing if nothing did, by the ways that \
             FILE names: journal (stdout), mail, webhook. [default FILE: /etc/kannuki/check.toml; \
             without it: journal]. Ends with 0 whatever was found, with 3 if somebody could not be \
             told. For kannuki-check.timer; see packaging/check.toml.",
        )
}

/// Looks, or reads, and prints.
pub(crate) fn run(args: &ArgMatches) -> u8 {
    // A report that cannot be read is told before the host is looked at.
    let looked = reported_rows(args).and_then(|rows| Ok((rows, facts(args)?)));
    match looked {
        Ok((rows, facts)) if args.contains_id("notify") => {
            notify::tell(args, &facts, rows.as_ref())
        }
        Ok((rows, facts)) => telling::tell(args, &facts, rows.as_ref()),
        Err(message) => print::failed(&message),
    }
}

/// What is seen now, or what was saved.
pub(crate) fn facts(args: &ArgMatches) -> Result<Facts, String> {
    let file = args.get_one::<PathBuf>("facts");
    if let Some(file) = file
        && let Some(facts) = read(file)?
    {
        let at = facts.collection.at;
        let file = printable(&file.to_string_lossy());
        print::stderr(&format!("note: facts of time {at} were read from {file}\n"));
        return Ok(facts);
    }
    let facts = collect::collect(&request(args)).map_err(|error| error.to_string())?;
    if let Some(file) = file {
        save(file, &facts)?;
        print::stderr(&format!("note: saved to {}\n", printable(&file.to_string_lossy())));
    }
    Ok(facts)
}

fn request(args: &ArgMatches) -> Request {
    let window = args.get_one::<u64>("window").copied().unwrap_or(WINDOW_S_DEFAULT);
    let root = args.get_one::<PathBuf>("root").cloned();
    Request {
        root: root.unwrap_or_else(|| PathBuf::from("/")),
        talk: !args.get_flag("quiet-sockets"),
        probe: args.get_flag("probe"),
        every_port: args.get_flag("every-port"),
        window: Duration::from_secs(window),
        by: concat!("kannuki ", env!("CARGO_PKG_VERSION")).to_owned(),
        at: None,
    }
}

/// The rows of a provider's report, with the name of its file.
pub(super) struct Reported {
    path: String,
    rows: Vec<Row>,
}

impl Reported {
    /// Adds what the rows mean on this host to what was found.
    pub(super) fn add_to(&self, report: &mut Report, facts: &Facts, texts: &Texts) {
        reported::add(report, facts, &self.path, &self.rows, texts);
    }
}

fn reported_rows(args: &ArgMatches) -> Result<Option<Reported>, String> {
    let Some(path) = args.get_one::<PathBuf>("from-report") else { return Ok(None) };
    let name = path.display();
    let bytes = read_bounded(path, REPORT_BYTES_MAX)
        .map_err(|error| format!("cannot read {name}: {error}"))?;
    let rows = provider_row::read(&bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(Some(Reported { path: name.to_string(), rows }))
}

pub(super) fn read_bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads saved facts; `None` = there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Facts>, String> {
    let name = path.display();
    match read_bounded(path, FACTS_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {name}: {error}")),
        Ok(bytes) => Facts::from_json(&bytes).map(Some).map_err(|error| format!("{name}: {error}")),
    }
}

/// Facts may tell an attacker where to come in, so only their owner may read them.
fn save(path: &Path, facts: &Facts) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
    let text = facts.to_json().map_err(|error| error.to_string())?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
