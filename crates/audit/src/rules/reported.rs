//! The rows of a provider's report as findings: what of this host each service is, or that nothing
//! here matches it.
//!
//! Invariant: rows are a stranger's text and go through [`quoted`] as everything else does; rows
//! about the same service are one finding, so a report of a month stays readable.

use std::collections::BTreeMap;

use super::wording;
use crate::facts::{Facts, Protocol};
use crate::findings::{
    Confidence, Definition, Evidence, Finding, Gap, Report, Summary, catalogue, quoted,
};
use crate::provider_row::{Match, Row};
use crate::texts::Texts;

/// Services that become findings; a provider's report of a whole network has more, and those of
/// this host come first.
const SERVICES_MAX: usize = 100;
/// Rows of one service that are quoted as evidence, the latest ones; all are counted.
const ROWS_QUOTED_MAX: usize = 10;

/// Adds the rows of the report in `path` to what was found.
pub fn add(report: &mut Report, facts: &Facts, path: &str, rows: &[Row], texts: &Texts) {
    let mut services: BTreeMap<(usize, String), (Match, Vec<&Row>)> = BTreeMap::new();
    for row in rows {
        let verdict = row.compare(facts);
        let place = (rank(&verdict), subject(row));
        let (latest, rows) = services.entry(place).or_insert_with(|| (Match::Unknown, Vec::new()));
        *latest = verdict;
        rows.push(row);
    }
    let left_out = services.len().saturating_sub(SERVICES_MAX);
    for ((_, subject), (verdict, rows)) in services.into_iter().take(SERVICES_MAX) {
        report.findings.push(finding(facts, path, &subject, &verdict, &rows, texts));
    }
    if left_out > 0 {
        let count = left_out.to_string();
        let why = texts.fill("text.row-services", &[("count", &count)]);
        report.gaps.push(Gap { what: quoted(path), why });
    }
    super::sort(&mut report.findings);
    report.summary = Summary::of(&report.caches, &report.findings);
}

fn finding(
    facts: &Facts,
    path: &str,
    subject: &str,
    verdict: &Match,
    rows: &[&Row],
    texts: &Texts,
) -> Finding {
    let rank = rank(verdict);
    let quoted_rows = rows.iter().rev().take(ROWS_QUOTED_MAX);
    let mut finding = Finding::new(definition(rank), subject)
        .sure(if rank == SURE { Confidence::High } else { Confidence::Medium })
        .with("when", &when(rows))
        .with("match", &told(verdict, texts))
        .seen(quoted_rows.map(|row| Evidence::file(path, row.line, &row.text)));
    if let Some(pid) = pid(verdict) {
        let process = facts.process(pid);
        let text = process.map(|process| process.argv.list().join(" ")).unwrap_or_default();
        finding = finding.seen([Evidence::Process { pid, text: quoted(&text) }]);
        let sockets = facts.sockets.list().iter();
        let its = sockets.filter(|socket| {
            socket.pids.list().contains(&pid)
                && socket.local.map(|local| local.port()) == rows.first().and_then(|row| row.port)
        });
        finding = finding.seen(its.map(super::exposure::evidence));
    }
    if rank <= LISTENS {
        finding = finding.mended_by(["kannuki close", "kannuki report"]);
    }
    finding
}

/// Ranks of [`rank`]: the very process, something that listens, nothing, another host.
const SURE: usize = 0;
const LISTENS: usize = 1;
const GONE: usize = 2;
const ELSEWHERE: usize = 3;

fn rank(verdict: &Match) -> usize {
    match verdict {
        Match::SameProcess { .. } => SURE,
        Match::RestartedSince { .. } | Match::SamePort { .. } => LISTENS,
        Match::Gone => GONE,
        Match::MaybeMapped { then } => rank(then).max(LISTENS),
        Match::NotThisHost | Match::Unknown => ELSEWHERE,
    }
}

fn definition(rank: usize) -> &'static Definition {
    match rank {
        SURE | LISTENS => &catalogue::REPORTED,
        GONE => &catalogue::REPORTED_GONE,
        _ => &catalogue::REPORTED_ELSEWHERE,
    }
}

/// `udp 192.0.2.7:11211`, as findings about sockets are named.
fn subject(row: &Row) -> String {
    let protocol = match row.protocol {
        Some(Protocol::Udp) => "udp",
        Some(Protocol::Tcp) => "tcp",
        _ => "?",
    };
    let port = row.port.map_or_else(|| "?".to_owned(), |port| port.to_string());
    match row.ip {
        Some(ip) if ip.is_ipv6() => format!("{protocol} [{ip}]:{port}"),
        Some(ip) => format!("{protocol} {ip}:{port}"),
        None => format!("{protocol} ?:{port}"),
    }
}

fn when(rows: &[&Row]) -> String {
    let named = |row: &&&Row| !row.timestamp.is_empty();
    let first = rows.iter().find(named).map_or("?", |row| row.timestamp.as_str());
    match rows.iter().rev().find(named) {
        Some(last) if last.timestamp != first => format!("{first} - {}", last.timestamp),
        _ => first.to_owned(),
    }
}

fn pid(verdict: &Match) -> Option<u32> {
    match verdict {
        Match::SameProcess { pid } | Match::RestartedSince { pid, .. } => Some(*pid),
        Match::SamePort { pid } => *pid,
        Match::MaybeMapped { then } => pid_of(then),
        Match::Gone | Match::NotThisHost | Match::Unknown => None,
    }
}

fn pid_of(then: &Match) -> Option<u32> {
    if matches!(then, Match::MaybeMapped { .. }) { None } else { pid(then) }
}

fn told(verdict: &Match, texts: &Texts) -> String {
    let fill = |key: &'static str, pid: u32| texts.fill(key, &[("pid", &pid.to_string())]);
    match verdict {
        Match::SameProcess { pid } => fill("text.row-same", *pid),
        Match::RestartedSince { pid, started } => {
            let (pid, started) = (pid.to_string(), wording::utc(*started));
            texts.fill("text.row-restarted", &[("pid", &pid), ("started", &started)])
        }
        Match::SamePort { pid: Some(pid) } => fill("text.row-port", *pid),
        Match::SamePort { pid: None } => texts.get("text.row-nobody").to_owned(),
        Match::Gone => texts.get("text.row-gone").to_owned(),
        Match::NotThisHost => texts.get("text.row-elsewhere").to_owned(),
        Match::MaybeMapped { then } if matches!(**then, Match::MaybeMapped { .. }) => {
            texts.get("text.row-unknown").to_owned()
        }
        Match::MaybeMapped { then } => {
            texts.fill("text.row-mapped", &[("then", &told(then, texts))])
        }
        Match::Unknown => texts.get("text.row-unknown").to_owned(),
    }
}
