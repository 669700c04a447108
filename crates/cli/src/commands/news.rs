//! `kannuki news`: what is known about the cache software of this host, and newer data about it.
//!
//! Invariants:
//! - Without `update` nothing leaves this host; nothing else ever needs what `update` brings.
//! - A table is replaced as a whole, by one that is no older and lacks nothing of the held one; else
//!   the held one stays as it is.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Arg, ArgMatches, Command, value_parser};
use kannuki_audit::{
    collect::clock,
    facts::printable,
    findings::quoted,
    rules,
    texts::{Texts, pad, width},
    vulnerabilities::{
        Status, Table,
        refresh::{self, Account, debian, osv},
    },
};

use super::{check, telling};
use crate::{
    https::{Https, HttpsError},
    print, state,
};

/// The table's name in the folder of what is remembered.
pub(super) const FILE: &str = "news.json";
/// Where OSV answers.
const OSV: &str = "https://api.osv.dev";
/// Debian's tracker, as data.
const DEBIAN: &str = "https://security-tracker.debian.org/tracker/data/json";
/// Seconds within which a refresh must be over, unless --timeout says otherwise: 60 MB on a slow
/// line and some hundred small questions.
const TIMEOUT_S_DEFAULT: u64 = 600;
/// Longest refresh that can be asked for: an hour.
const TIMEOUT_S_MAX: u64 = 3_600;

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("news")
        .about("What is known about the cache software of this host")
        .args(check::looking().into_iter().filter(|arg| arg.get_id() != "from-report"))
        .args([telling::language(), telling::news_file()])
        .after_help(EXAMPLES)
        .args_conflicts_with_subcommands(true)
        .subcommand(update_command())
}

const EXAMPLES: &str = "\
Tells each known flaw of the version that is installed, whether the distribution repaired it, and
whether the feature is on here. Nothing leaves this host without `update`.

Examples:
  kannuki news
  kannuki news --lang ja
  kannuki news update              ask OSV and Debian's tracker for newer data";

fn update_command() -> Command {
    let url = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("URL").default_value(value).help(help)
    };
    Command::new("update")
        .about("Ask OSV and Debian's tracker for newer data about flaws (needs a network)")
        .arg(url("osv", OSV, "Where OSV, or a mirror of its interface, answers"))
        .arg(url("debian", DEBIAN, "Where Debian's tracker is published as JSON"))
        .arg(
            Arg::new("ca")
                .long("ca")
                .value_name("FILE.pem")
                .value_parser(value_parser!(PathBuf))
                .help("Trust these certificates only, instead of the system's"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=TIMEOUT_S_MAX))
                .help("Give up after that time [default: 600]"),
        )
        .arg(
            Arg::new("state")
                .long("state")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Folder for the table [default: /var/lib/kannuki-check, or the user's own]"),
        )
        .arg(telling::language())
        .after_help(UPDATE_HELP)
}

const UPDATE_HELP: &str = "\
Sends the name of the package, memcached, and the names of distributions; nothing about this host.
HTTPS only, through the proxy that HTTPS_PROXY names. What comes is bounded in size and time. Data
that are older than the held ones, or lack some of them, are refused and the held ones stay; to
take them all the same, remove the held file first.

Examples:
  kannuki news update
  kannuki news update --osv https://mirror.example/osv --ca /etc/ssl/mirror.pem";

/// Shows, or refreshes.
pub(crate) fn run(args: &ArgMatches) -> u8 {
    let done = match args.subcommand() {
        Some(("update", args)) => update(args),
        _ => show(args),
    };
    done.unwrap_or_else(|message| print::failed(&message))
}

fn show(args: &ArgMatches) -> Result<u8, String> {
    let texts = telling::texts(args);
    let table = telling::table(args)?;
    let facts = check::facts(args)?;
    let host = facts.host.name.known().map_or("?", String::as_str);
    let mut out = texts.fill("news.heading", &[("host", &quoted(host))]) + "\n";
    out += &texts.fill("news.as-of", &[("day", &quoted(&table.data_as_of))]);
    out.push('\n');
    let all = rules::news(&facts, &table);
    if all.is_empty() {
        out += &format!("\n{}\n", texts.get("news.not-here"));
    }
    for news in &all {
        let values = [("title", news.title.as_str()), ("version", news.version.as_str())];
        out += &format!("\n{}\n", texts.fill("news.here", &values));
        if news.flaws.is_empty() {
            out += &format!("  {}\n", texts.get("news.none"));
        }
        lines(&mut out, &texts, &news.flaws);
    }
    Ok(print::stdout(&out))
}

/// One line a flaw: its number, how it stands here, what it is.
fn lines(out: &mut String, texts: &Texts, flaws: &[rules::Flaw<'_>]) {
    let word = |status| match status {
        Status::Vulnerable => texts.get("news.status-vulnerable"),
        Status::FixedByBackport => texts.get("news.status-fixed-by-backport"),
        Status::NotAffected => texts.get("news.status-not-affected"),
        Status::NotExploitableHere => texts.get("news.status-not-exploitable-here"),
        Status::Unknown => texts.get("news.status-unknown"),
    };
    let ids = flaws.iter().map(|flaw| width(&flaw.flaw.id)).max().unwrap_or(0);
    let words = flaws.iter().map(|flaw| width(word(flaw.status))).max().unwrap_or(0);
    for flaw in flaws {
        let (id, word) = (pad(&quoted(&flaw.flaw.id), ids), pad(word(flaw.status), words));
        *out += &format!("  {id}  {word}  {}\n", quoted(&flaw.flaw.summary));
    }
}

fn update(args: &ArgMatches) -> Result<u8, String> {
    let texts = telling::texts(args);
    let folder = args.get_one::<PathBuf>("state").cloned().or_else(state::folder);
    let folder = folder.ok_or("no folder to write to: HOME is not set; name one with --state")?;
    let path = folder.join(FILE);
    let held = held(&path)?;
    let fresh = fetch(args).map_err(|why| texts.fill("news.refused", &[("why", &why)]))?;
    refresh::regression(&held, &fresh).map_err(|why| {
        let why = format!("{why}; {} can be removed to take it", path.display());
        texts.fill("news.refused", &[("why", &why)])
    })?;
    let text = serde_json::to_string_pretty(&fresh).map_err(|error| error.to_string())? + "\n";
    state::make(&folder)
        .and_then(|()| state::replace(&path, &text, 0o644))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    for source in &fresh.sources {
        let count = source.records.len().to_string();
        let place = path.display().to_string();
        let values = [("count", &*count), ("source", &*source.url), ("path", &*place)];
        print::stdout(&(printable(&texts.fill("news.updated", &values)) + "\n"));
    }
    let day = texts.fill("news.as-of", &[("day", &fresh.data_as_of)]);
    Ok(print::stdout(&(printable(&day) + "\n")))
}

/// What is held: the file, or the shipped table where there is none or a broken one.
fn held(path: &Path) -> Result<Table, String> {
    let shipped = Table::embedded();
    let bytes = match state::read(path, telling::NEWS_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(shipped),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    match Table::from_json(&String::from_utf8_lossy(&bytes)) {
        Ok(held) if held.data_as_of >= shipped.data_as_of => Ok(held),
        Ok(_) => Ok(shipped),
        Err(error) => {
            let place = path.display().to_string();
            print::stderr(&format!("warning: {} is replaced: {error}\n", printable(&place)));
            Ok(shipped)
        }
    }
}

fn fetch(args: &ArgMatches) -> Result<Table, String> {
    let timeout = args.get_one::<u64>("timeout").copied().unwrap_or(TIMEOUT_S_DEFAULT);
    let ca = args.get_one::<PathBuf>("ca").map(PathBuf::as_path);
    let text = |name: &str| args.get_one::<String>(name).cloned().unwrap_or_default();
    let https = Https::new(ca, Duration::from_secs(timeout), true).map_err(|e| e.to_string())?;
    let osv = from_osv(&https, text("osv").trim_end_matches('/'))?;
    let debian = from_debian(&https, &text("debian"))?;
    let today = rules::utc(clock::now());
    let today = today.get(..10).unwrap_or_default();
    // Debian knows its own packages first hand: its words count before OSV's.
    Ok(refresh::refreshed(&Table::embedded(), vec![debian, osv], today))
}

fn from_osv(https: &Https, base: &str) -> Result<Account, String> {
    let url = format!("{base}/v1/querybatch");
    let told = |error: HttpsError| error.to_string();
    let wrong = |url: &str, error: osv::OsvError| format!("{url} {error}");
    let mut ids = Vec::new();
    let mut questions = osv::first_question();
    for _ in 0..osv::PAGES_MAX {
        let bytes = https
            .post(&url, &osv::question(&questions), osv::ANSWER_BYTES_MAX)
            .and_then(crate::https::Answer::bytes)
            .map_err(told)?;
        questions =
            osv::listed(&bytes, &questions, &mut ids).map_err(|error| wrong(&url, error))?;
        if questions.is_empty() {
            break;
        }
    }
    if !questions.is_empty() {
        return Err(format!("{url} lists go on after {} pages", osv::PAGES_MAX));
    }
    if ids.is_empty() {
        return Err(format!("{url} knows no record about {}", refresh::PACKAGE));
    }
    let mut records = Vec::new();
    for id in &ids {
        let url = format!("{base}/v1/vulns/{id}");
        let bytes = https
            .get(&url, osv::ANSWER_BYTES_MAX)
            .and_then(crate::https::Answer::bytes)
            .map_err(told)?;
        records.push(osv::record(&bytes, id).map_err(|error| wrong(&url, error))?);
    }
    Ok(osv::account(base, &records))
}

fn from_debian(https: &Https, url: &str) -> Result<Account, String> {
    let answer = https.get(url, debian::TRACKER_BYTES_MAX).map_err(|error| error.to_string())?;
    let modified = answer.last_modified.as_deref().and_then(debian::http_date);
    let account = debian::account(url, modified, answer.stream());
    account.map_err(|error| format!("{url} {error}"))
}
