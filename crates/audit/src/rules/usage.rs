//! Does anybody use it? `curr_connections` says nothing; clients, counters and settings do.

use std::collections::BTreeMap;

use super::{Case, caches::Cache, wording};
use crate::facts::{SocketState, StatsSample};
use crate::findings::{Confidence, Evidence, Finding, catalogue, quoted};

/// Without any command for so long, nobody is only on holiday.
const LONG_IDLE_S: i64 = 7 * 86_400;

pub(crate) fn judge(case: &Case<'_>, cache: &Cache<'_>, findings: &mut Vec<Finding>) {
    if !case.facts.collection.live || cache.process.is_none() {
        return;
    }
    let clients = clients(case, cache);
    let references: Vec<_> =
        case.facts.references.list().iter().filter(|reference| reference.uses).collect();
    let wanted = cache.package.map_or(&[][..], |package| package.wanted_by.as_slice());
    let counters = Counters::of(cache);
    let title = cache.title();
    let evidence = references
        .iter()
        .map(|reference| Evidence::file(&reference.path, reference.line, &reference.text));
    let finding = if !clients.is_empty() || counters.moved() {
        let sessions = references.iter().any(|reference| reference.sessions);
        Finding::new(&catalogue::USED, &title)
            .with("users", &users(case, &clients, &counters))
            .with("sessions", if sessions { case.texts.get("text.sessions") } else { "" })
    } else {
        let definition = if references.is_empty() && wanted.is_empty() {
            &catalogue::UNUSED
        } else {
            &catalogue::IDLE
        };
        let finding = Finding::new(definition, &title)
            .sure(counters.confidence())
            .with("looked", &looked(case))
            .with("counters", &counters.words(case, wanted));
        if references.is_empty() && wanted.is_empty() {
            finding.mended_by(super::remedies::stop(cache))
        } else {
            finding
        }
    };
    findings.push(finding.seen(evidence).seen(super::exposure::process_evidence(cache)));
}

fn clients(case: &Case<'_>, cache: &Cache<'_>) -> Vec<String> {
    let said = cache.usage.and_then(|usage| usage.clients.known());
    let mut clients: Vec<String> = said
        .map(|clients| clients.iter().map(|client| quoted(&client.address)).collect())
        .unwrap_or_default();
    let own: Vec<_> = cache.sockets.iter().filter_map(|socket| socket.local).collect();
    for socket in case.facts.sockets.list() {
        let is_peer = socket.state == SocketState::Established
            && socket.pids.list().iter().any(|pid| cache.process.is_some_and(|p| p.pid == *pid))
            && socket.local.is_some_and(|local| own.iter().any(|own| own.port() == local.port()));
        if let Some(remote) = socket.remote.filter(|_| is_peer) {
            let text = remote.to_string();
            if !clients.iter().any(|client| client.ends_with(&text)) {
                clients.push(text);
            }
        }
    }
    clients
}

fn users(case: &Case<'_>, clients: &[String], counters: &Counters) -> String {
    let mut words = Vec::new();
    if !clients.is_empty() {
        words.push(case.texts.fill("text.clients", &[("list", &wording::list(clients))]));
    }
    if counters.moved() {
        words.push(case.texts.fill(
            "text.counters-moved",
            &[
                ("gets", &counters.gets_moved.to_string()),
                ("sets", &counters.sets_moved.to_string()),
                ("seconds", &counters.seconds.to_string()),
            ],
        ));
    }
    words.join(" ")
}

fn looked(case: &Case<'_>) -> String {
    let keys = [
        "text.looked-stats",
        "text.looked-sockets",
        "text.looked-references",
        "text.looked-dependents",
    ];
    keys.map(|key| case.texts.get(key)).join(", ")
}

/// What the statistics say between two looks and since the start.
#[derive(Default)]
struct Counters {
    seen: bool,
    why: String,
    gets: u64,
    sets: u64,
    gets_moved: u64,
    sets_moved: u64,
    seconds: u64,
    uptime: i64,
}

impl Counters {
    fn of(cache: &Cache<'_>) -> Self {
        let Some(usage) = cache.usage else {
            return Self { why: "no answer".to_owned(), ..Self::default() };
        };
        let (Some(first), Some(second)) = (usage.first.known(), usage.second.known()) else {
            let why = usage.second.why().or_else(|| usage.first.why());
            let why = why.map(|unseen| quoted(&unseen.detail)).unwrap_or_default();
            return Self { why, ..Self::default() };
        };
        let (gets, sets) = (number(second, "cmd_get"), number(second, "cmd_set"));
        Self {
            seen: true,
            why: String::new(),
            gets,
            sets,
            gets_moved: gets.saturating_sub(number(first, "cmd_get")),
            sets_moved: sets.saturating_sub(number(first, "cmd_set")),
            seconds: usage.window_ms.div_ceil(1_000),
            uptime: i64::try_from(number(second, "uptime")).unwrap_or(i64::MAX),
        }
    }

    fn moved(&self) -> bool {
        self.gets_moved + self.sets_moved > 0
    }

    fn confidence(&self) -> Confidence {
        match (self.seen, self.gets == 0 && self.sets == 0 && self.uptime > LONG_IDLE_S) {
            (true, true) => Confidence::High,
            (true, false) => Confidence::Medium,
            (false, _) => Confidence::Low,
        }
    }

    fn words(&self, case: &Case<'_>, wanted: &[String]) -> String {
        let mut words = vec![case.texts.get("text.no-clients").to_owned()];
        words.push(if self.seen {
            case.texts.fill(
                "text.counters-still",
                &[
                    ("seconds", &self.seconds.to_string()),
                    ("gets", &self.gets.to_string()),
                    ("sets", &self.sets.to_string()),
                    ("uptime", &wording::span(self.uptime)),
                ],
            )
        } else {
            case.texts.fill("text.counters-unseen", &[("why", &self.why)])
        });
        if !wanted.is_empty() {
            let list = quoted(&wording::list(wanted));
            words.push(case.texts.fill("text.wanted-by", &[("list", &list)]));
        }
        words.join(" ")
    }
}

fn number(sample: &StatsSample, name: &str) -> u64 {
    let values: &BTreeMap<String, String> = &sample.values;
    values.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}
