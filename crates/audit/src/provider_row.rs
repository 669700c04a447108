//! A provider's report about an open memcached, matched with what runs on this host.
//!
//! The rows come from internet scanners (Shadowserver's `scan_memcached`, as CSV with a head). The
//! row's process id and uptime tell which process it was: the best evidence of cause there is.
//!
//! Invariants: a row is a stranger's text; columns are found by name, unknown ones are skipped, and
//! nothing in a row is believed that facts of this host contradict.

use std::net::IpAddr;

use thiserror::Error;

use crate::{
    facts::{Facts, Process, Protocol, Scope, Socket, SocketState},
    formats::time,
};

/// Longest report that is read, in bytes. A row has 250 bytes; a provider's own range a few hundred
/// rows.
pub const REPORT_BYTES_MAX: usize = 4 << 20;
/// Most rows that are read.
const ROWS_MAX: usize = 10_000;
/// Most columns of a row; the format has about twenty.
const COLUMNS_MAX: usize = 200;
/// How far clocks of scanner and host may differ, and how long a start takes, in seconds.
const CLOCK_SLACK_S: i64 = 10;

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The row as it stands, for the letter.
    pub text: String,
    /// Its line in the report, from 1.
    pub line: u32,
    /// `timestamp`, when the scanner asked, as written.
    pub timestamp: String,
    /// The same in seconds since 1970-01-01 UTC; reports give UTC.
    pub at: Option<i64>,
    /// `ip`.
    pub ip: Option<IpAddr>,
    /// `protocol`.
    pub protocol: Option<Protocol>,
    /// `port`.
    pub port: Option<u16>,
    /// `version`.
    pub version: Option<String>,
    /// `pid`, as the server itself gave it: inside its container.
    pub pid: Option<u32>,
    /// `uptime` in seconds.
    pub uptime_s: Option<i64>,
    /// `time`, the server's clock in seconds since 1970-01-01 UTC.
    pub server_time: Option<i64>,
    /// `total_connections`.
    pub total_connections: Option<u64>,
}

/// Why a text is no report.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Longer than [`REPORT_BYTES_MAX`].
    #[error("the report is longer than the {REPORT_BYTES_MAX} bytes that are read")]
    TooLong,
    /// The head names no `ip` and `port`.
    #[error("line 1: no columns `ip` and `port`; is this a scanner's report with its head?")]
    NoHead,
    /// There is only a head.
    #[error("the report has no rows")]
    NoRows,
    /// More than `ROWS_MAX`.
    #[error("the report has more than {ROWS_MAX} rows; give those of this host's addresses")]
    TooManyRows,
    /// A quote is opened and never closed, so nobody can tell where the row ends.
    #[error("line {line}: a quote is opened and never closed; is the report cut?")]
    OpenQuote {
        /// Where it opens.
        line: u32,
    },
}

/// What a row has to do with this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The process of the row still runs: id and start time agree.
    SameProcess {
        /// Its id here.
        pid: u32,
    },
    /// Something listens at the port, and it was started after the row.
    RestartedSince {
        /// Its id here.
        pid: u32,
        /// When it started, in seconds since 1970-01-01 UTC.
        started: i64,
    },
    /// Something listens at the port; whether it is the same process cannot be told.
    SamePort {
        /// Its id here, if known.
        pid: Option<u32>,
    },
    /// Nothing listens at the port now.
    Gone,
    /// The address is none of this host's, and this host has global addresses of its own.
    NotThisHost,
    /// The address is none that is seen here, but this host has only private ones: it may be mapped
    /// to it outside.
    MaybeMapped {
        /// What the row would match if the address is this host's.
        then: Box<Self>,
    },
    /// The row has no address or port, or sockets were not seen.
    Unknown,
}

/// Reads a report.
///
/// # Errors
///
/// When it is too long, has no head, or has no rows.
pub fn read(bytes: &[u8]) -> Result<Vec<Row>, ReportError> {
    if bytes.len() > REPORT_BYTES_MAX {
        return Err(ReportError::TooLong);
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    let mut records = records(text)?.into_iter();
    let head = records.next().map(|record| record.fields).unwrap_or_default();
    let head: Vec<String> = head.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    let has = |name: &str| head.iter().any(|column| column == name);
    if !has("ip") || !has("port") {
        return Err(ReportError::NoHead);
    }
    if records.len() > ROWS_MAX {
        return Err(ReportError::TooManyRows);
    }
    let rows: Vec<Row> = records.map(|record| row(&head, record)).collect();
    if rows.is_empty() { Err(ReportError::NoRows) } else { Ok(rows) }
}

fn row(head: &[String], record: Record<'_>) -> Row {
    let Record { text, line, fields } = record;
    let value = |name: &str| {
        let at = head.iter().position(|column| column == name)?;
        fields.get(at).map(|value| value.trim()).filter(|value| !value.is_empty())
    };
    let timestamp = value("timestamp").unwrap_or_default().to_owned();
    Row {
        text: text.to_owned(),
        line,
        at: time::read(&timestamp).map(|(at, offset)| at - i64::from(offset.unwrap_or(0))),
        timestamp,
        ip: value("ip").and_then(|ip| ip.parse().ok()),
        protocol: match value("protocol") {
            Some(name) if name.eq_ignore_ascii_case("udp") => Some(Protocol::Udp),
            Some(name) if name.eq_ignore_ascii_case("tcp") => Some(Protocol::Tcp),
            _ => None,
        },
        port: value("port").and_then(|port| port.parse().ok()),
        version: value("version").map(str::to_owned),
        pid: value("pid").and_then(|pid| pid.parse().ok()),
        uptime_s: value("uptime").and_then(|uptime| uptime.parse().ok()),
        server_time: value("time").and_then(server_time),
        total_connections: value("total_connections").and_then(|total| total.parse().ok()),
    }
}

/// A number, or the date that some versions of the report make of it.
fn server_time(text: &str) -> Option<i64> {
    let date = || time::read(text).map(|(at, offset)| at - i64::from(offset.unwrap_or(0)));
    text.parse().ok().or_else(date)
}

/// A row as it stands, its line, and what stands between its commas.
#[derive(Default)]
struct Record<'t> {
    text: &'t str,
    line: u32,
    fields: Vec<String>,
}

/// Splits CSV: quotes may hold commas and line ends, and a doubled quote is one. Lines end with LF
/// or CRLF; empty ones are none.
fn records(text: &str) -> Result<Vec<Record<'_>>, ReportError> {
    let mut records = Vec::new();
    let (mut line, mut begun, mut start) = (1_u32, 1, 0);
    let mut quote: Option<u32> = None;
    // A line end after the last row, so that every row has one.
    for (at, c) in text.char_indices().chain([(text.len(), '\n')]) {
        match c {
            '"' if quote.take().is_none() => quote = Some(line),
            '\n' if quote.is_none() => {
                let row = text.get(start..at).unwrap_or_default().trim_end_matches('\r');
                if !row.trim().is_empty() {
                    records.push(Record { text: row, line: begun, fields: fields(row) });
                }
                (start, begun) = (at.saturating_add(1), line.saturating_add(1));
            }
            _ => {}
        }
        line = line.saturating_add(u32::from(c == '\n'));
    }
    match quote {
        Some(line) => Err(ReportError::OpenQuote { line }),
        None => Ok(records),
    }
}

/// Splits a row; its quotes are balanced.
fn fields(row: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted && fields.len() < COLUMNS_MAX => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

impl Row {
    /// What this row has to do with the host of these facts.
    #[must_use]
    pub fn compare(&self, facts: &Facts) -> Match {
        let (Some(ip), Some(port)) = (self.ip, self.port) else { return Match::Unknown };
        if facts.sockets.known().is_none() {
            return Match::Unknown;
        }
        let addresses =
            || facts.interfaces.list().iter().flat_map(|interface| &interface.addresses);
        let found = self.at_port(facts, port);
        if addresses().any(|address| address.ip == ip) {
            return found;
        }
        let worldly = |scope| matches!(scope, Scope::Global | Scope::Documentation);
        let same_family = addresses().filter(|address| address.ip.is_ipv4() == ip.is_ipv4());
        if same_family.into_iter().any(|address| worldly(address.scope)) {
            return Match::NotThisHost;
        }
        Match::MaybeMapped { then: Box::new(found) }
    }

    fn at_port(&self, facts: &Facts, port: u16) -> Match {
        let is_its = |socket: &&Socket| {
            socket.state == SocketState::Listening
                && self.protocol.is_none_or(|protocol| protocol == socket.protocol)
                && socket.local.is_some_and(|local| local.port() == port)
        };
        let sockets: Vec<&Socket> = facts.sockets.list().iter().filter(is_its).collect();
        let published = || facts.firewall.published.iter().any(|p| p.host_port == port);
        if sockets.is_empty() && !published() {
            return Match::Gone;
        }
        let mut pids: Vec<u32> =
            sockets.iter().flat_map(|socket| socket.pids.list()).copied().collect();
        // A published port is held by the engine; the cache itself lives behind it.
        let inner = facts.processes.list().iter().filter(|process| process.container.is_some());
        pids.extend(inner.map(|process| process.pid));
        let processes = pids.iter().filter_map(|pid| facts.process(*pid));
        let mut verdict = Match::SamePort { pid: pids.first().copied() };
        for process in processes {
            match self.process(process) {
                same @ Match::SameProcess { .. } => return same,
                later @ Match::RestartedSince { .. } => verdict = later,
                _ => {}
            }
        }
        verdict
    }

    fn process(&self, process: &Process) -> Match {
        let pid = process.pid;
        let Some(started) = process.started.known().copied() else {
            return Match::SamePort { pid: Some(pid) };
        };
        let same_pid = self.pid.is_some_and(|row| row == pid || Some(row) == process.inner_pid);
        let by_row = self.started();
        let close = by_row.is_some_and(|row| (row - started).abs() <= CLOCK_SLACK_S);
        if same_pid && close {
            return Match::SameProcess { pid };
        }
        let seen = self.at.or(self.server_time);
        if seen.is_some_and(|seen| started > seen + CLOCK_SLACK_S) {
            return Match::RestartedSince { pid, started };
        }
        Match::SamePort { pid: Some(pid) }
    }

    /// When the reported process had started, by its own clock.
    #[must_use]
    pub fn started(&self) -> Option<i64> {
        Some(self.server_time.or(self.at)?.saturating_sub(self.uptime_s?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "timestamp,ip,protocol,port,hostname,tag,version,asn,geo,region,city,\
        naics,sic,pid,pointer_size,uptime,time,curr_connections,total_connections";

    fn facts() -> Facts {
        let text = include_bytes!("../tests/fixtures/centos-7.json");
        Facts::from_json(text).unwrap()
    }

    /// A row about the host of the fixture, whose cache started 60 s after its boot.
    fn one(ip: &str, port: u16, pid: u32, uptime: i64) -> Row {
        let time = 1_519_700_000;
        let text = format!(
            "{HEAD}\n\"2018-02-27 02:53:20\",{ip},udp,{port},\"a, \"\"b\"\"\",memcached,1.4.15,\
             1,JP,x,y,0,0,{pid},64,{uptime},{time},10,14\n"
        );
        read(text.as_bytes()).unwrap().remove(0)
    }

    fn started(facts: &Facts) -> i64 {
        *facts.process(700).unwrap().started.known().unwrap()
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let row = one("192.0.2.7", 11211, 700, 100);
        assert_eq!((row.pid, row.port, row.uptime_s), (Some(700), Some(11211), Some(100)));
        assert_eq!((row.at, row.line), (Some(1_519_700_000), 2));
        assert_eq!(row.version.as_deref(), Some("1.4.15"));
        let text = "\u{feff}PORT,new,IP\r\n11211,x,192.0.2.7\r\n";
        assert_eq!(read(text.as_bytes()).unwrap()[0].ip, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(read(b"a,b\n1,2\n"), Err(ReportError::NoHead));
        assert_eq!(read(HEAD.as_bytes()), Err(ReportError::NoRows));
        assert_eq!(read(b""), Err(ReportError::NoHead));
        let long = vec![b'x'; REPORT_BYTES_MAX + 1];
        assert!(matches!(read(&long), Err(ReportError::TooLong)));
        let cut = format!("{HEAD}\n\"2018");
        assert_eq!(read(cut.as_bytes()), Err(ReportError::OpenQuote { line: 2 }));
        let many = format!("ip,port\n{}", "::,1\n".repeat(ROWS_MAX + 1));
        assert_eq!(read(many.as_bytes()), Err(ReportError::TooManyRows));
        let short = format!("{HEAD}\n,,,\n");
        assert_eq!(read(short.as_bytes()).unwrap()[0].compare(&facts()), Match::Unknown);
    }

    #[test]
    fn quotes_hold_commas_line_ends_and_quotes() {
        let text = "\"ip\",\"tag\",\"port\"\r\n\r\n\
            \"192.0.2.7\",\"a, \"\"b\"\"\r\nc\",\"11211\"\r\n192.0.2.8,,11212";
        let rows = read(text.as_bytes()).unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.line, row.port)).collect();
        assert_eq!(seen, [(3, Some(11211)), (5, Some(11212))]);
        assert_eq!(rows[1].text, "192.0.2.8,,11212");
    }

    #[test]
    fn the_process_is_found_by_id_and_start() {
        let facts = facts();
        let uptime = 1_519_700_000 - started(&facts);
        let same = one("192.0.2.7", 11211, 700, uptime + 3).compare(&facts);
        assert_eq!(same, Match::SameProcess { pid: 700 });
        let other_id = one("192.0.2.7", 11211, 701, uptime).compare(&facts);
        assert_eq!(other_id, Match::SamePort { pid: Some(700) });
        let long_before = one("192.0.2.7", 11211, 700, uptime + 5000).compare(&facts);
        assert_eq!(long_before, Match::SamePort { pid: Some(700) });
    }

    #[test]
    fn restarts_other_ports_and_other_hosts() {
        let mut facts = facts();
        assert_eq!(one("192.0.2.7", 11212, 700, 1).compare(&facts), Match::Gone);
        assert_eq!(one("192.0.2.99", 11211, 700, 1).compare(&facts), Match::NotThisHost);
        if let crate::facts::Seen::Known(processes) = &mut facts.processes {
            for process in processes {
                process.started = crate::facts::Seen::Known(1_519_800_000);
            }
        }
        assert_eq!(
            one("192.0.2.7", 11211, 700, 1).compare(&facts),
            Match::RestartedSince { pid: 700, started: 1_519_800_000 }
        );
        // Behind a provider's translation the host does not know its own address.
        if let crate::facts::Seen::Known(interfaces) = &mut facts.interfaces {
            for address in interfaces.iter_mut().flat_map(|i| &mut i.addresses) {
                address.ip = "10.0.0.7".parse().unwrap();
                address.scope = Scope::Private;
            }
        }
        let mapped = one("192.0.2.7", 11211, 700, 1).compare(&facts);
        assert!(matches!(mapped, Match::MaybeMapped { .. }), "{mapped:?}");
    }

    #[test]
    fn a_container_gives_its_inner_id() {
        let text = include_bytes!("../tests/fixtures/docker-published.json");
        let facts = Facts::from_json(text).unwrap();
        let uptime = 1_519_700_000 - started(&facts);
        let mut row = one("192.0.2.23", 11211, 1, uptime);
        row.protocol = Some(Protocol::Tcp);
        assert_eq!(row.compare(&facts), Match::SameProcess { pid: 700 });
    }
}
