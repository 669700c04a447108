//! What is known about the software of this host: every flaw of every cache that runs or lies ready.
//!
//! `check` makes findings of what can be reached; this is the whole list, for who wants to see why
//! something is no finding.

use super::{caches, flaws};
use crate::facts::Facts;
use crate::findings::quoted;
use crate::vulnerabilities::{Conditions, Status, Table, status};

/// One program with its flaws.
#[derive(Debug)]
pub struct News<'t> {
    /// What it is called: `memcached (memcached.service)`.
    pub title: String,
    /// Its package and version, or its version alone.
    pub version: String,
    /// Every flaw that this version ever had or may have, by number.
    pub flaws: Vec<flaws::Flaw<'t>>,
}

/// A program that does not run: which features will be on is not known.
struct Unstarted;

impl Conditions for Unstarted {
    fn holds(&self, _name: &str) -> Option<bool> {
        None
    }
}

/// What the table says of the software of these facts.
#[must_use]
pub fn news<'t>(facts: &Facts, table: &'t Table) -> Vec<News<'t>> {
    let mut all = Vec::new();
    let mut seen = Vec::new();
    for cache in caches::all(facts).iter().filter(|cache| cache.is_memcached()) {
        seen.extend(cache.package.map(|package| package.name.as_str()));
        let flaws = flaws::flaws(facts, cache, table);
        all.push(News {
            title: quoted(&cache.title()),
            version: quoted(&flaws::version_words(cache)),
            flaws: concerning(flaws),
        });
    }
    for package in
        facts.packages.installed.list().iter().filter(|package| package.name == "memcached")
    {
        if seen.contains(&package.name.as_str()) {
            continue;
        }
        let Some(installed) = caches::of_package(facts, package) else { continue };
        let judged = table
            .vulnerabilities
            .iter()
            .map(|flaw| flaws::Flaw { flaw, status: status(flaw, &installed, &Unstarted) });
        all.push(News {
            title: quoted(&package.name),
            version: quoted(&format!("{} {}", package.name, package.version)),
            flaws: concerning(judged.collect()),
        });
    }
    all
}

/// Without what this version never had; the gravest word first.
fn concerning(mut flaws: Vec<flaws::Flaw<'_>>) -> Vec<flaws::Flaw<'_>> {
    flaws.retain(|flaw| flaw.status != Status::NotAffected);
    let order = |status: Status| match status {
        Status::Vulnerable => 0,
        Status::Unknown => 1,
        Status::NotExploitableHere => 2,
        Status::FixedByBackport => 3,
        Status::NotAffected => 4,
    };
    flaws.sort_by(|a, b| {
        let by =
            |flaw: &flaws::Flaw<'_>| (order(flaw.status), std::cmp::Reverse(flaw.flaw.severity()));
        by(a).cmp(&by(b)).then_with(|| a.flaw.id.cmp(&b.flaw.id))
    });
    flaws
}
