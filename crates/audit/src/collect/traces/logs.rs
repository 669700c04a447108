//! Log-ins: from logs, the journal and the binary records; and the state of the logs themselves.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, BufReader},
};

use flate2::read::MultiGzDecoder;

use super::{View, clock::Deadline, log_lines::lines};
use crate::{
    collect::{
        host,
        root::{Kind, Part, lossy},
    },
    facts::{Seen, Unseen, Why},
    formats::{
        journal::{self, Listener},
        logins::{self, Said},
        time::Zone,
    },
    traces::{Account, Door, Failures, LogState, Login, Refusals},
};

/// Most logs of one kind that are read: a year of weekly rotation.
const LOGS_MAX: usize = 64;
/// Most log-ins that are kept; of more, the newest count.
const LOGINS_MAX: usize = 10_000;
/// Most addresses whose refusals are counted one by one; all others are counted together.
const ADDRESSES_MAX: usize = 50_000;
/// Addresses with refusals that stand in the traces.
const FAILURES_KEPT: usize = 200;
/// Longest file of binary records that is read, in bytes: of a longer one the newest.
/// A multiple of a record, so that the part that is read begins with one.
const RECORDS_BYTES_MAX: usize = 7000 * logins::RECORDS_BYTES;
/// Refusals of one address within this time are one attempt to guess, in seconds.
const BURST_S: i64 = 3600;
/// Words of the lines that may say something.
const TELLING: [&[u8]; 5] = [b"sshd", b"COMMAND=", b"dropbear", b" su[", b" su: "];
/// What the logs say.
pub(super) struct Logs {
    pub(super) logins: Seen<Vec<Login>>,
    pub(super) failures: Vec<Failures>,
    pub(super) refusals: Refusals,
    pub(super) states: Vec<LogState>,
}

pub(super) fn collect(view: &View, accounts: &[Account], deadline: Deadline) -> Logs {
    let mut reading = Reading { zone: host::zone(view), now: view.at, ..Reading::default() };
    let mut states = Vec::new();
    let mut told = false;
    for name in view.root.names("/var/log").list() {
        let is_log = ["auth.log", "secure"].iter().any(|stem| is_rotation(&name.text, stem));
        let path = format!("/var/log/{}", name.text);
        if is_log && readable(view, &path, states.len()) {
            told |= read_log(view, &path, deadline, &mut reading, &mut states);
        }
    }
    if states.is_empty() {
        // BusyBox has one log for everything.
        for path in ["/var/log/messages", "/var/log/messages.0"] {
            told |= read_log(view, path, deadline, &mut reading, &mut states);
        }
    }
    reading.source = Source::Journal;
    told |= journal(view, deadline, &mut reading, &mut states);
    reading.source = Source::Records;
    for stem in ["wtmp", "btmp"] {
        for name in view.root.names("/var/log").list() {
            let path = format!("/var/log/{}", name.text);
            let of_stem = |log: &&LogState| log.path.contains(stem);
            let read = states.iter().filter(of_stem).count();
            if is_rotation(&name.text, stem) && readable(view, &path, read) {
                told |= read_records(view, &path, stem, &mut reading, &mut states);
            }
        }
    }
    read_records(view, "/var/run/utmp", "utmp", &mut reading, &mut states);
    read_last(view, accounts, &mut reading);
    for name in ["syslog", "messages", "lastlog", "audit/audit.log"] {
        let path = format!("/var/log/{name}");
        if !states.iter().any(|known| known.path == path) {
            states.extend(state(view, &path));
        }
    }
    if reading.dropped > 0 {
        let detail = format!("{} log-ins beyond {} were not kept", reading.dropped, LOGINS_MAX * 2);
        view.root.gap("/var/log/auth.log", &Unseen { why: Why::TooLarge, detail });
    }
    reading.end(told, states)
}

/// Forms of rotated logs that are not unpacked.
const PACKED: [&str; 5] = [".xz", ".bz2", ".zst", ".lz4", ".Z"];

/// `auth.log`, `auth.log.1`, `auth.log.2.gz`, `secure-20180226`; not `auth.log-backup-notes`.
pub(super) fn is_rotation(name: &str, stem: &str) -> bool {
    let Some(rest) = name.strip_prefix(stem) else { return false };
    let rest = PACKED.iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    rest.chars().all(|c| c.is_ascii_digit() || ".-gz".contains(c))
}

/// Whether this rotation is read; one that is not leaves a gap.
fn readable(view: &View, path: &str, read: usize) -> bool {
    let gap = |why, detail: &str| view.root.gap(path, &Unseen { why, detail: detail.to_owned() });
    if PACKED.iter().any(|end| path.ends_with(end)) {
        gap(Why::Malformed, "it is packed in a form that is not read; unpack it beside");
        return false;
    }
    if read >= LOGS_MAX {
        gap(Why::TooLarge, &format!("only {LOGS_MAX} rotations of a log are read"));
        return false;
    }
    true
}

/// Where a refusal is told. One refusal may stand in a log, in the journal and in `btmp`.
#[derive(Clone, Copy, Default)]
enum Source {
    #[default]
    Log,
    Journal,
    Records,
}

/// Refusals of one address in one kind of place.
#[derive(Clone, Copy, Default)]
struct Tally {
    count: u64,
    first: Option<i64>,
    last: Option<i64>,
    /// When the burst that is being counted began, and how many belong to it.
    begun: Option<i64>,
    of_burst: u64,
    /// The largest burst, and when it began.
    burst: u64,
    burst_at: Option<i64>,
}

impl Tally {
    fn add(&mut self, times: u64, at: Option<i64>) {
        self.count = self.count.saturating_add(times);
        self.first = self.first.into_iter().chain(at).min();
        self.last = self.last.into_iter().chain(at).max();
        let Some(at) = at else { return };
        let same = self.begun.is_some_and(|begun| (begun..begun + BURST_S).contains(&at));
        if same {
            self.of_burst = self.of_burst.saturating_add(times);
        } else {
            (self.begun, self.of_burst) = (Some(at), times);
        }
        if self.of_burst > self.burst {
            (self.burst, self.burst_at) = (self.of_burst, self.begun);
        }
    }
}

/// A tally for each source, those of names that nobody has apart: some servers tell them twice.
type Tallies = [Tally; 5];

#[derive(Default)]
struct Reading {
    zone: Option<Zone>,
    /// The latest time at which anything can have happened.
    now: i64,
    source: Source,
    logins: Vec<Login>,
    failures: BTreeMap<String, Tallies>,
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
        self.heard(said, at, path);
    }

    /// What a program said at a time.
    fn heard(&mut self, said: Said, at: Option<i64>, path: &str) {
        // A line that claims to be of tomorrow has no time.
        let at = at.filter(|at| (0..=self.now + DAY_S).contains(at));
        if let Some(at) = at {
            let (first, last) = self.span.unwrap_or((at, at));
            self.span = Some((first.min(at), last.max(at)));
        }
        match said {
            Said::Refused { from, times, unknown_user } => {
                self.refuse(from, times, unknown_user, at);
            }
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

    fn refuse(&mut self, from: String, times: u64, unknown_user: bool, at: Option<i64>) {
        let full = self.failures.len() >= ADDRESSES_MAX && !self.failures.contains_key(&from);
        let tallies = self.failures.entry(if full { String::new() } else { from }).or_default();
        let place = match self.source {
            Source::Log => usize::from(unknown_user),
            Source::Journal => 2 + usize::from(unknown_user),
            Source::Records => 4,
        };
        if let Some(tally) = tallies.get_mut(place) {
            tally.add(times, at);
        }
    }

    fn end(mut self, told: bool, states: Vec<LogState>) -> Logs {
        let key = |login: &Login| (login.at, login.user.clone(), login.from.clone(), login.door);
        self.logins.sort_by_cached_key(key);
        // A log and the journal tell of the same log-in.
        self.logins.dedup_by_key(|login| key(login));
        let surplus = self.logins.len().saturating_sub(LOGINS_MAX);
        self.logins.drain(..surplus);
        let mut failures: Vec<Failures> =
            self.failures.into_iter().map(|(from, tallies)| failures(from, &tallies)).collect();
        let refusals = Refusals {
            count: failures.iter().map(|failures| failures.count).sum(),
            addresses: failures.len() as u64,
        };
        // Those who got in in the end matter whatever the count.
        let came_in: HashSet<&str> = self.logins.iter().map(|login| login.from.as_str()).collect();
        failures.sort_by_key(|f| (!came_in.contains(f.from.as_str()), std::cmp::Reverse(f.count)));
        failures.truncate(FAILURES_KEPT);
        let logins = match told {
            true => Seen::Known(self.logins),
            false => Seen::unseen(Why::Absent, "no log, no journal and no record of log-ins"),
        };
        Logs { logins, failures, refusals, states }
    }
}

/// What all places together say: at least as many as the place that tells of most.
fn failures(from: String, tallies: &Tallies) -> Failures {
    let most = tallies.iter().max_by_key(|tally| tally.burst).copied().unwrap_or_default();
    Failures {
        from,
        count: tallies.iter().map(|tally| tally.count).max().unwrap_or(0),
        first: tallies.iter().filter_map(|tally| tally.first).min(),
        last: tallies.iter().filter_map(|tally| tally.last).max(),
        burst: most.burst,
        burst_at: most.burst_at,
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

const DAY_S: i64 = 86_400;

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
        // The time of a file can be set to anything; nothing was written tomorrow.
        let until = if stat.st_mtime <= DAY_S { view.at } else { stat.st_mtime.min(view.at) };
        match path.ends_with(".gz") {
            true => lines(MultiGzDecoder::new(file), deadline, &TELLING, &mut |l| {
                reading.line(l, until, path)
            }),
            false => lines(file, deadline, &TELLING, &mut |l| reading.line(l, until, path)),
        }
    });
    state.span = reading.span;
    states.push(state);
    is_told(view, path, &result, reading)
}

/// Whether a log told something, if only its beginning; what could not be read of it is a gap.
fn is_told<T>(view: &View, path: &str, result: &io::Result<T>, reading: &Reading) -> bool {
    if let Err(error) = result {
        view.root.gap(path, &crate::collect::root::unseen(path, error));
    }
    result.is_ok() || reading.span.is_some()
}

/// The journal, of the running host or of a disk: its files are read without its program.
fn journal(
    view: &View,
    deadline: Deadline,
    reading: &mut Reading,
    states: &mut Vec<LogState>,
) -> bool {
    let mut told = false;
    let mut read = 0;
    for folder in ["/var/log/journal", "/run/log/journal"] {
        for machine in view.root.names(folder).list().iter().filter(|n| n.kind == Kind::Folder) {
            let folder = format!("{folder}/{}", machine.text);
            for name in view.root.names(&folder).list() {
                let path = format!("{folder}/{}", name.text);
                if name.text.contains(".journal") && readable(view, &path, read) {
                    read += 1;
                    told |= read_journal(view, &path, deadline, reading, states);
                }
            }
        }
    }
    told
}

fn read_journal(
    view: &View,
    path: &str,
    deadline: Deadline,
    reading: &mut Reading,
    states: &mut Vec<LogState>,
) -> bool {
    let Some(mut state) = state(view, path) else { return false };
    reading.span = None;
    let result = view.root.open_file(path).and_then(|(file, _)| {
        let source = BufReader::with_capacity(1 << 18, file);
        journal::read(source, &mut Hearing { reading, deadline, path })
    });
    state.span = reading.span;
    states.push(state);
    is_told(view, path, &result, reading)
}

/// Listens to a journal.
struct Hearing<'h> {
    reading: &'h mut Reading,
    deadline: Deadline,
    path: &'h str,
}

impl Listener for Hearing<'_> {
    fn wants_program(&self, name: &str) -> bool {
        logins::PROGRAMS.contains(&name)
    }

    fn wants_message(&self, text: &str) -> bool {
        logins::PROGRAMS.iter().any(|program| logins::said_by(program, text).is_some())
    }

    fn say(&mut self, at: i64, program: &str, message: &str) {
        if let Some(said) = logins::said_by(program, message) {
            self.reading.heard(said, Some(at), self.path);
        }
    }

    fn goes_on(&self) -> bool {
        self.deadline.left().is_some()
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
    let records = logins::records(&file.bytes, reading.now);
    // Who logs out leaves an empty place in utmp.
    state.wiped = if stem == "utmp" { 0 } else { records.wiped };
    if records.broken > 0 {
        let detail = format!("{} records of it make no sense", records.broken);
        view.root.gap(path, &Unseen { why: Why::Malformed, detail });
    }
    let times = || records.logins.iter().map(|record| record.at);
    state.span = times().min().zip(times().max());
    for record in records.logins {
        match stem {
            "btmp" => reading.refuse(record.from, 1, false, Some(record.at)),
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
    for (uid, record) in logins::last(&file.bytes, reading.now) {
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
