//! What happened when, as far as anything tells.

use serde::{Deserialize, Serialize};

use super::{Case, Checked, Grade};
use crate::{
    facts::Seen,
    findings::{Evidence, quoted},
};

/// Most moments that are told; of more, those of signs come first.
const MOMENTS_MAX: usize = 200;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: i64,
    /// The key of its sentence in the catalogue of texts.
    pub text: String,
    /// What the sentence is filled with.
    pub values: Vec<(String, String)>,
    /// Where it was read.
    pub evidence: Evidence,
    /// How much it says.
    pub grade: Grade,
}

pub(super) fn of(case: &Case<'_>, checks: &[Checked]) -> Vec<Moment> {
    let mut all = Vec::new();
    let facts = &case.traces.facts;
    let mut told = |at: Option<i64>, text: &str, values: Vec<(String, String)>, evidence| {
        if let Some(at) = at {
            let text = text.to_owned();
            all.push(Moment { at, text, values, evidence, grade: Grade::Clean });
        }
    };
    let whole = |path: &str| Evidence::file(path, 0, "");
    if let Seen::Known(at) = case.traces.installed_at {
        told(Some(at), "triage.moment-installed", Vec::new(), whole("/etc/machine-id"));
    }
    let booted = facts.host.booted.known().copied();
    told(booted, "triage.moment-booted", Vec::new(), whole("/proc/stat"));
    told(case.incident, "triage.moment-incident", Vec::new(), Evidence::measured("--incident"));
    let caches = facts.processes.list().iter();
    for process in caches.filter(|process| process.name.contains("memcached")) {
        let argv = process.argv.list().join(" ");
        let evidence = Evidence::Process { pid: process.pid, text: quoted(&argv) };
        let values = vec![("program".to_owned(), quoted(&process.name))];
        told(process.started.known().copied(), "triage.moment-started", values, evidence);
    }
    for check in checks {
        for sign in &check.signs {
            let Some(at) = sign.at else { continue };
            all.push(Moment {
                at,
                text: sign.text.clone(),
                values: sign.values.clone(),
                evidence: sign.evidence.clone(),
                grade: sign.grade,
            });
        }
    }
    all.sort_by_key(|moment| (std::cmp::Reverse(moment.grade), moment.at));
    all.truncate(MOMENTS_MAX);
    all.sort_by_key(|moment| moment.at);
    all
}
