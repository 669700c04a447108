//! Log-ins: from logs, the journal and the binary records; and the state of the logs themselves.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read},
};

use flate2::read::MultiGzDecoder;

use super::{View, clock::Deadline};
use crate::{
    collect::{
        host,
        root::{Part, lossy},
    },
    facts::{Seen, Unseen, Why},
    formats::{
        logins::{self, Said},
        time::Zone,
    },
    traces::{Account, Door, Failures, LogState, Login},
};

/// Longest log that is read, in bytes, unpacked: a year of brute force on a busy host.
const LOG_BYTES_MAX: u64 = 4 << 30;
/// Longest line that is understood, in bytes; the rest of a longer one is passed over.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Most logs of one kind that are read: a year of weekly rotation.
const LOGS_MAX: usize = 64;
/// Most log-ins that are kept; of more, the newest count.
const LOGINS_MAX: usize = 10_000;
/// Most addresses whose refusals are counted one by one; all others are counted together.
const ADDRESSES_MAX: usize = 50_000;
/// Addresses with refusals that stand in the traces.
const FAILURES_KEPT: usize = 200;
/// Longest file of binary records that is read, in bytes: of a longer one the newest.
const RECORDS_BYTES_MAX: usize = 64 << 20;
/// Lines that are asked of the journal.
const JOURNAL: [&str; 14] = [
    "journalctl",
    "--quiet",
    "--no-pager",
    "--output=short-iso",
    "--lines=40000",
    "-t",
    "sshd",
    "-t",
    "sshd-session",
    "-t",
    "sudo",
    "-t",
    "su",
    "--utc",
];

/// What the logs say.
pub(super) struct Logs {
    pub(super) logins: Seen<Vec<Login>>,
    pub(super) failures: Vec<Failures>,
    pub(super) states: Vec<LogState>,
}

pub(super) fn collect(view: &View, accounts: &[Account], deadline: Deadline) -> Logs {
    let mut reading = Reading { zone: host::zone(view), ..Reading::default() };
    let mut states = Vec::new();
    let mut told = false;
    for name in view.root.names("/var/log").list() {
        let is_log = ["auth.log", "secure"].iter().any(|stem| is_rotation(&name.text, stem));
        if is_log && states.len() < LOGS_MAX {
            let path = format!("/var/log/{}", name.text);
            told |= read_log(view, &path, deadline, &mut reading, &mut states);
        }
    }
    told |= journal(view, &mut reading);
    for stem in ["wtmp", "btmp"] {
        for name in view.root.names("/var/log").list() {
            if is_rotation(&name.text, stem) && !name.text.ends_with(".gz") {
                let path = format!("/var/log/{}", name.text);
                told |= read_records(view, &path, stem, &mut reading, &mut states);
            }
        }
    }
    read_records(view, "/var/run/utmp", "utmp", &mut reading, &mut states);
    read_last(view, accounts, &mut reading);
    for name in ["syslog", "messages", "lastlog", "audit/audit.log"] {
        states.extend(state(view, &format!("/var/log/{name}")));
    }
    reading.end(told, states)
}

/// `auth.log`, `auth.log.1`, `auth.log.2.gz`, `secure-20180226`; not `auth.log-backup-notes`.
fn is_rotation(name: &str, stem: &str) -> bool {
    let Some(rest) = name.strip_prefix(stem) else { return false };
    rest.chars().all(|c| c.is_ascii_digit() || ".-gz".contains(c))
}

#[derive(Default)]
struct Reading {
    zone: Option<Zone>,
    logins: Vec<Login>,
    failures: BTreeMap<String, Failures>,
    dropped: usize,
    /// The first and last time of the log that is being read.
    span: Option<(i64, i64)>,
}

impl Reading {
    /// One line of a log that was written last at `until`.
    fn line(&mut self, line: &str, until: i64, path: &str) {
        let Some(said) = logins::said(line) else { return };
        let at = logins::line_time(line, until).and_then(|(clock, offset)| match offset {
            Some(offset) => Some(clock - i64::from(offset)),
            None => self.zone.as_ref().and_then(|zone| zone.utc(clock)),
        });
        if let Some(at) = at {
            let (first, last) = self.span.unwrap_or((at, at));
            self.span = Some((first.min(at), last.max(at)));
        }
        match said {
            Said::Refused { from } => self.refuse(from, at),
            Said::Login { user, from, door } => {
                self.login(Login { at, user, from, door, path: path.to_owned() });
            }
        }
    }

    fn login(&mut self, login: Login) {
        if self.logins.len() < LOGINS_MAX * 2 {
            self.logins.push(login);
        } else {
            self.dropped += 1;
        }
    }

    fn refuse(&mut self, from: String, at: Option<i64>) {
        let full = self.failures.len() >= ADDRESSES_MAX && !self.failures.contains_key(&from);
        let from = if full { String::new() } else { from };
        let entry = self.failures.entry(from.clone()).or_insert(Failures {
            from,
            count: 0,
            first: at,
            last: at,
        });
        entry.count += 1;
        entry.first = entry.first.into_iter().chain(at).min();
        entry.last = entry.last.into_iter().chain(at).max();
    }

    fn end(mut self, told: bool, states: Vec<LogState>) -> Logs {
        self.logins.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.user.cmp(&b.user)));
        self.logins.dedup();
        let surplus = self.logins.len().saturating_sub(LOGINS_MAX);
        self.logins.drain(..surplus);
        let mut failures: Vec<Failures> = self.failures.into_values().collect();
        // Those who got in in the end matter whatever the count.
        let came_in = |from: &str| self.logins.iter().any(|login| login.from == from);
        failures.sort_by_key(|f| (!came_in(&f.from), std::cmp::Reverse(f.count)));
        failures.truncate(FAILURES_KEPT);
        let logins = match told {
            true => Seen::Known(self.logins),
            false => Seen::unseen(Why::Absent, "no log, no journal and no record of log-ins"),
        };
        Logs { logins, failures, states }
    }
}

fn state(view: &View, path: &str) -> Option<LogState> {
    let own = view.root.own_stat(path)?;
    let link = rustix::fs::FileType::from_raw_mode(own.st_mode).is_symlink();
    Some(LogState {
        path: path.to_owned(),
        bytes: u64::try_from(own.st_size).unwrap_or(0),
        link: if link { view.root.link(path).known().cloned() } else { None },
        modified: own.st_mtime,
        wiped: 0,
        span: None,
    })
}

/// Reads a text log line by line; answers whether it was read.
fn read_log(
    view: &View,
    path: &str,
    deadline: Deadline,
    reading: &mut Reading,
    states: &mut Vec<LogState>,
) -> bool {
    let Some(mut state) = state(view, path) else { return false };
    let opened = view.root.open_file(path);
    let result = opened.and_then(|(file, stat)| {
        reading.span = None;
        let until = stat.st_mtime;
        match path.ends_with(".gz") {
            true => {
                lines(MultiGzDecoder::new(file), deadline, &mut |l| reading.line(l, until, path))
            }
            false => lines(file, deadline, &mut |l| reading.line(l, until, path)),
        }
    });
    state.span = reading.span;
    states.push(state);
    if let Err(error) = &result {
        view.root.gap(path, &crate::collect::root::unseen(path, error));
    }
    result.is_ok() || states.last().is_some_and(|state| state.span.is_some())
}

/// Gives each line that may say something; bounded in bytes, in time and by line.
fn lines(source: impl Read, deadline: Deadline, give: &mut dyn FnMut(&str)) -> std::io::Result<()> {
    let mut source = BufReader::with_capacity(1 << 18, source);
    let mut line = Vec::new();
    let (mut total, mut number) = (0u64, 0u64);
    loop {
        line.clear();
        let read = source.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        total += read as u64;
        number += 1;
        if total > LOG_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        if number.is_multiple_of(4096) && deadline.left().is_none() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        let tells = [&b"sshd"[..], b"COMMAND="];
        if tells.iter().any(|word| memchr::memmem::find(&line, word).is_some()) {
            give(String::from_utf8_lossy(&line).trim_end());
        }
    }
}

/// The journal of the running host; a journal on a disk is binary and is read by its own program.
fn journal(view: &View, reading: &mut Reading) -> bool {
    let folders = ["/var/log/journal", "/run/log/journal"];
    if folders.iter().all(|folder| view.root.names(folder).list().is_empty()) {
        return false;
    }
    match view.run(&JOURNAL) {
        Seen::Known(text) => {
            text.lines().for_each(|line| reading.line(line, view.at, "journal"));
            true
        }
        Seen::Unseen(unseen) => {
            view.root.gap("journal", &unseen);
            false
        }
    }
}

fn read_records(
    view: &View,
    path: &str,
    stem: &str,
    reading: &mut Reading,
    states: &mut Vec<LogState>,
) -> bool {
    let Some(mut state) = state(view, path) else { return false };
    let file = match view.root.read(path, Part::Tail, RECORDS_BYTES_MAX) {
        Seen::Known(file) => file,
        Seen::Unseen(unseen) => {
            view.root.gap(path, &unseen);
            states.push(state);
            return false;
        }
    };
    if !file.whole {
        let detail = format!("only its last {RECORDS_BYTES_MAX} bytes were read");
        view.root.gap(path, &Unseen { why: Why::TooLarge, detail });
    }
    let (records, wiped) = logins::records(&file.bytes);
    state.wiped = wiped;
    let times = || records.iter().map(|record| record.at);
    state.span = times().min().zip(times().max());
    for record in records {
        match stem {
            "btmp" => reading.refuse(record.from, Some(record.at)),
            stem => reading.login(Login {
                at: Some(record.at),
                user: record.user,
                from: record.from,
                door: if stem == "utmp" { Door::Now } else { Door::Record },
                path: path.to_owned(),
            }),
        }
    }
    states.push(state);
    true
}

fn read_last(view: &View, accounts: &[Account], reading: &mut Reading) {
    let path = "/var/log/lastlog";
    let Seen::Known(file) = view.root.read(path, Part::Head, RECORDS_BYTES_MAX) else { return };
    for (uid, record) in logins::last(&file.bytes) {
        let name = accounts.iter().find(|account| account.uid == uid).map(|a| a.name.clone());
        reading.login(Login {
            at: Some(record.at),
            user: lossy(name.unwrap_or_else(|| format!("uid {uid}")).into_bytes()),
            from: record.from,
            door: Door::Record,
            path: path.to_owned(),
        });
    }
}
