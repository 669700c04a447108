//! The rules: facts in, findings out.
//!
//! ```text
//! Facts --caches--> what runs and what would start
//!         |          |-- exposure: socket, address, filter -> doors with verdicts
//!         |          |-- after the next start, flaws, logs, use, origin
//!         +--------- other amplifiers, other servers, what was out of sight
//! ```
//!
//! Invariants:
//! - Pure: no file, clock or host is read here; the same facts give the same report.
//! - What was not seen makes a verdict UNKNOWN or a finding less sure; never better.
//! - Commands in a remedy quote every text of the host for a shell.

mod caches;
mod exposure;
mod filters;
mod flaws;
mod logs;
mod news;
mod next_start;
mod origin;
mod others;
mod published;
mod remedies;
pub mod reported;
mod running;
mod usage;
mod wording;

use crate::facts::{Facts, Seen};
use crate::findings::{Finding, Gap, Installation, Report, SCHEMA, Summary, quoted};
use crate::texts::Texts;
use crate::vulnerabilities::Table;

pub use caches::Cache;
pub(crate) use caches::{all as caches_of, order};
pub use flaws::{Flaw, flaws};
pub use news::{News, news};
pub(crate) use next_start::waiting;
pub(crate) use remedies::{close, container_commands};
pub use running::Running;
pub use wording::utc;
pub(crate) use wording::{list, shell_word};

/// Findings of one report; a host with more caches than that is read in parts.
const FINDINGS_MAX: usize = 2_000;

/// Everything that a rule may look at.
pub(crate) struct Case<'f> {
    pub(crate) facts: &'f Facts,
    pub(crate) table: &'f Table,
    pub(crate) texts: &'f Texts,
}

/// Judges what was seen. `texts` is the language of sentences that are put together from facts; the
/// findings' own texts are chosen by the output.
#[must_use]
pub fn judge(facts: &Facts, table: &Table, texts: &Texts) -> Report {
    let case = Case { facts, table, texts };
    let mut caches = Vec::new();
    let mut findings = Vec::new();
    for cache in caches::all(facts) {
        let service = exposure::service(&case, &cache, &mut findings);
        if cache.is_memcached() {
            flaws::judge(&case, &cache, &service.doors, &mut findings);
            logs::judge(&case, &cache, &mut findings);
            usage::judge(&case, &cache, &mut findings);
        }
        next_start::judge(&case, &cache, &service, &mut findings);
        origin::judge(&case, &cache, &mut findings);
        caches.push(service);
    }
    next_start::judge_waiting(&case, &mut findings);
    others::judge(&case, &mut findings);
    sort(&mut findings);
    findings.dedup_by_key(|finding| finding.fingerprint());
    findings.truncate(FINDINGS_MAX);
    caches.sort_by_key(|s| std::cmp::Reverse(s.doors.iter().map(|door| door.verdict).max()));
    let known = |text: &Seen<String>| quoted(text.known().map_or("?", String::as_str));
    Report {
        schema: SCHEMA.to_owned(),
        by: format!("kannuki {}", env!("CARGO_PKG_VERSION")),
        at: wording::utc(facts.collection.at),
        host: known(&facts.host.name),
        os: quoted(facts.host.os.known().map_or("?", |os| os.name.as_str())),
        live: facts.collection.live,
        as_root: facts.collection.uid == 0,
        flaws_as_of: table.data_as_of.clone(),
        summary: Summary::of(&caches, &findings),
        caches,
        findings,
        gaps: gaps(facts),
    }
}

/// Each cache with its doors, and what the rules of doors and of the next start say of it.
pub(crate) fn installations<'f>(case: &Case<'f>) -> Vec<(Cache<'f>, Installation, Vec<Finding>)> {
    let judged = caches::all(case.facts).into_iter().map(|cache| {
        let mut findings = Vec::new();
        let service = exposure::service(case, &cache, &mut findings);
        next_start::judge(case, &cache, &service, &mut findings);
        (cache, service, findings)
    });
    judged.collect()
}

/// The worst first.
fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let order = |f: &Finding| (std::cmp::Reverse(f.severity), f.id.clone(), f.subject.clone());
        order(a).cmp(&order(b))
    });
}

fn gaps(facts: &Facts) -> Vec<Gap> {
    let gap =
        |gap: &crate::facts::Gap| Gap { what: quoted(&gap.what), why: quoted(&gap.unseen.detail) };
    facts.gaps.iter().map(gap).collect()
}
