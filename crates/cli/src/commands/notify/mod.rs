//! `kannuki check --notify`: tells what changed since the last time, and nothing where nothing did.
//!
//! Invariants:
//! - The settings are a file of their own, because they may hold a secret (a webhook's address)
//!   that neither a command line, which every user sees, nor the server needs to know.
//! - What is remembered is replaced as a whole after each way of telling has succeeded, under a
//!   lock; a run that is broken off tells again rather than never.

mod mail;
mod webhook;

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use clap::ArgMatches;
use kannuki_audit::{
    facts::{Facts, printable},
    findings::{
        Severity,
        notice::{MEMORY_BYTES_MAX, Memory, Notice, knowledge},
    },
    rules,
    texts::{Lang, Texts},
};
use serde::Deserialize;

use super::{check::Reported, telling};
use crate::{exit, print, state};

/// The settings, where no other file is named.
pub(super) const SETTINGS: &str = "/etc/kannuki/check.toml";
/// Largest file of settings; it has a dozen lines.
const SETTINGS_BYTES_MAX: usize = 64 << 10;
/// What was told, in the folder of what is remembered.
const MEMORY: &str = "told.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Settings {
    level: String,
    lang: Option<String>,
    journal: bool,
    mail: Option<mail::Mail>,
    webhook: Option<webhook::Webhook>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: "medium".into(), lang: None, journal: true, mail: None, webhook: None }
    }
}

/// Judges and tells what changed.
pub(super) fn tell(args: &ArgMatches, facts: &Facts, rows: Option<&Reported>) -> u8 {
    told(args, facts, rows).unwrap_or_else(|message| print::failed(&message))
}

fn told(args: &ArgMatches, facts: &Facts, rows: Option<&Reported>) -> Result<u8, String> {
    let path =
        args.get_one::<PathBuf>("notify").map_or_else(|| Path::new(SETTINGS), PathBuf::as_path);
    let settings = settings(path)?;
    let level = Severity::named(&settings.level);
    let level = level.ok_or_else(|| bad(path, "level", &settings.level, "low, medium, high"))?;
    let texts = texts(args, path, settings.lang.as_deref())?;
    let mut report = rules::judge(facts, &telling::table(args)?, &texts);
    if let Some(rows) = rows {
        rows.add_to(&mut report, facts, &texts);
    }
    let folder = state::folder().ok_or("no folder to remember in: HOME is not set")?;
    let _lock = lock(&folder)?;
    let place = folder.join(MEMORY);
    let mut memory = remembered(&place)?;
    memory.ways.retain(|way, _| settings.has(way));
    let now = knowledge(&report, level, &texts);
    let mut failed = false;
    for way in ["journal", "mail", "webhook"].into_iter().filter(|way| settings.has(way)) {
        let then = memory.ways.get(way).cloned().unwrap_or_default();
        let notice = Notice::between(&then, &now, &report);
        let sent = if notice.is_empty() { Ok(()) } else { settings.send(way, &notice, &texts) };
        match sent {
            Ok(()) => {
                memory.ways.insert(way.to_owned(), now.clone());
                remember(&place, &memory)?;
            }
            Err(why) => {
                failed = true;
                let line = format!("error: {way}: {why}; it will be told again next time");
                print::stderr(&(printable(&line) + "\n"));
            }
        }
    }
    Ok(if failed { exit::INCOMPLETE } else { exit::FINE })
}

impl Settings {
    fn has(&self, way: &str) -> bool {
        match way {
            "journal" => self.journal,
            "mail" => self.mail.is_some(),
            _ => way == "webhook" && self.webhook.is_some(),
        }
    }

    fn send(&self, way: &str, notice: &Notice<'_>, texts: &Texts) -> Result<(), String> {
        match (way, &self.mail, &self.webhook) {
            ("mail", Some(mail), _) => mail.send(notice, texts),
            ("webhook", _, Some(webhook)) => webhook.send(notice, texts),
            _ => journal(notice, texts),
        }
    }
}

fn settings(path: &Path) -> Result<Settings, String> {
    let bytes = match state::read(path, SETTINGS_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new(SETTINGS) => {
            return Ok(Settings::default());
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        Ok(bytes) => bytes,
    };
    let text = String::from_utf8_lossy(&bytes);
    // Only the message: the excerpt of a line could show a webhook's secret in the journal.
    let settings: Settings = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!(
            "{}:{}: {}",
            path.display(),
            before.matches('\n').count().saturating_add(1),
            error.message()
        )
    })?;
    if settings.webhook.as_ref().is_some_and(webhook::Webhook::has_secret) {
        owners_only(path)?;
    }
    Ok(settings)
}

/// A file with a secret that others can read is refused, so that it is noticed.
fn owners_only(path: &Path) -> Result<(), String> {
    let mode = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.mode();
    if mode & 0o077 != 0 {
        let place = path.display();
        return Err(format!(
            "{place} holds a webhook's address and others may read it; chmod 600 {place}"
        ));
    }
    Ok(())
}

fn texts(args: &ArgMatches, path: &Path, lang: Option<&str>) -> Result<Texts, String> {
    match lang {
        Some(name) if args.get_one::<String>("lang").is_none() => {
            let lang = Lang::ALL.into_iter().find(|lang| lang.name() == name);
            lang.map(Texts::of).ok_or_else(|| bad(path, "lang", name, "en, ja"))
        }
        _ => Ok(telling::texts(args)),
    }
}

fn bad(path: &Path, key: &str, value: &str, good: &str) -> String {
    format!("{}: {key} = {value:?} is none of {good}", path.display())
}

/// Lines for the journal: systemd takes the number before each as its priority.
fn journal(notice: &Notice<'_>, texts: &Texts) -> Result<(), String> {
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let priority = |severity: Option<Severity>| match severity {
        _ if !in_journal => "",
        Some(Severity::Critical) => "<2>",
        Some(Severity::High) => "<3>",
        Some(Severity::Medium) => "<4>",
        Some(Severity::Low | Severity::Info) | None => "<5>",
    };
    let mut out = format!("{}{}\n", priority(None), notice.heading(texts));
    for (severity, line) in notice.lines(texts) {
        out += &format!("{}{line}\n", priority(severity));
    }
    match print::stdout(&out) {
        exit::FINE => Ok(()),
        _ => Err("cannot write to stdout".to_owned()),
    }
}

/// Two runs at once would tell twice. The lock goes with the file's descriptor.
fn lock(folder: &Path) -> Result<fs::File, String> {
    let failed = |error: io::Error| format!("cannot use {}: {error}", folder.display());
    state::make(folder).map_err(failed)?;
    let file = fs::File::open(folder).map_err(failed)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| "another `kannuki check --notify` is running".to_owned())?;
    Ok(file)
}

fn remembered(path: &Path) -> Result<Memory, String> {
    match state::read(path, MEMORY_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        Ok(bytes) => Ok(Memory::from_json(&bytes).unwrap_or_else(|why| {
            let line = format!("warning: {}: {why}; everything is told anew", path.display());
            print::stderr(&(printable(&line) + "\n"));
            Memory::default()
        })),
    }
}

fn remember(path: &Path, memory: &Memory) -> Result<(), String> {
    let text = serde_json::to_string_pretty(memory).map_err(|error| error.to_string())?;
    state::replace(path, &(text + "\n"), 0o600)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
