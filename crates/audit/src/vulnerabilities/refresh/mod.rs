//! A newer table from what OSV and Debian publish: the shipped one, and what they add to it.
//!
//! ```text
//! shipped table + OSV's records + Debian's tracker --refreshed--> table --regression--> kept or not
//! ```
//!
//! Invariants:
//! - Pure: bytes that somebody fetched in, a table out. Every text of theirs is made printable and
//!   cut; every list is bounded; a record that says nothing about memcached adds nothing.
//! - What was checked by hand stays: upstream's ranges, conditions and sentences of the shipped
//!   table are never overwritten, and "nobody looked yet" never replaces a distribution's word.
//! - A flaw without a range upstream is *undetermined*: it is shown as not known for a program that
//!   belongs to no package, never as present.

mod cvss;
pub mod debian;
pub mod osv;
mod watched;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Distribution, DistributionStatus, Range, Table, Vulnerability};
use crate::facts::printable;

/// The package whose flaws are asked for; distributions agree on its name.
pub const PACKAGE: &str = "memcached";
/// Most flaws of one package that are taken; in 17 years memcached has got 50.
const FLAWS_MAX: usize = 500;
/// Longest sentence that is kept; OSV's summaries have up to 200.
const SUMMARY_CHARS_MAX: usize = 300;
/// Longest other text: versions, dates, ids of notices.
const WORD_CHARS_MAX: usize = 100;
/// Most pages to read that one flaw keeps.
const REFERENCES_MAX: usize = 8;
/// Longest address of such a page.
const REFERENCE_CHARS_MAX: usize = 300;

/// Where a part of a table came from, and what it said then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `osv` or `debian`.
    pub name: String,
    /// Its address.
    pub url: String,
    /// The time of the whole, RFC 3339 in UTC, where it tells one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Its records and when each was last changed (empty where that is not told).
    pub records: BTreeMap<String, String>,
}

/// What one source says, in our words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// Who says it.
    pub origin: Origin,
    /// Its flaws, by their CVE number.
    pub flaws: BTreeMap<String, Told>,
    /// Upstream's newest version that it knows of.
    pub latest_upstream: Option<String>,
}

/// What one source says of one flaw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// In a sentence.
    pub summary: Option<String>,
    /// `critical` to `low`.
    pub severity: Option<String>,
    /// The base score.
    pub cvss: Option<f64>,
    /// Upstream's versions, where the source knows them.
    pub upstream: Vec<Range>,
    /// Distributions' words, each with a rank: of two about one release the lower counts.
    pub distributions: Vec<(u8, Distribution)>,
    /// Pages.
    pub references: Vec<String>,
}

/// The shipped table with what the sources add. `today` is `2026-11-22`; the data are as old as the
/// oldest source that tells its time, and never of tomorrow.
#[must_use]
pub fn refreshed(shipped: &Table, accounts: Vec<Account>, today: &str) -> Table {
    let mut table = shipped.clone();
    let oldest =
        accounts.iter().filter_map(|account| account.origin.modified.as_deref()?.get(..10));
    table.data_as_of = oldest.chain([today]).min().unwrap_or(today).to_owned();
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for account in accounts {
        if let Some(version) = account.latest_upstream
            && super::compare_upstream(&version, &table.latest_upstream).is_gt()
        {
            table.latest_upstream = version;
        }
        for (id, more) in account.flaws {
            told.entry(id).or_default().add(more);
        }
        table.sources.push(account.origin);
    }
    for (id, told) in told.into_iter().take(FLAWS_MAX) {
        match table.vulnerabilities.iter_mut().find(|flaw| flaw.id == id) {
            Some(flaw) => flaw.amend(told),
            None => table.vulnerabilities.push(told.into_flaw(id)),
        }
    }
    table
}

/// Why a new table must not replace the held one: a server that is behind, or that leaves out.
///
/// # Errors
/// Says what is older or missing.
pub fn regression(held: &Table, fresh: &Table) -> Result<(), String> {
    if fresh.data_as_of < held.data_as_of {
        return Err(format!(
            "it is of {}, the held table of {}",
            fresh.data_as_of, held.data_as_of
        ));
    }
    for old in &held.sources {
        let Some(new) = fresh.sources.iter().find(|source| source.name == old.name) else {
            return Err(format!("it has nothing of {}", old.name));
        };
        if let (Some(then), Some(now)) = (&old.modified, &new.modified)
            && now < then
        {
            return Err(format!("{} is of {now}, the held one of {then}", old.name));
        }
        for (id, then) in &old.records {
            match new.records.get(id) {
                None => return Err(format!("{} lacks {id}, which the held table has", old.name)),
                Some(now) if now < then => {
                    return Err(format!(
                        "{id} of {} is of {now}, the held one of {then}",
                        old.name
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

impl Told {
    fn add(&mut self, more: Self) {
        self.summary = self.summary.take().or(more.summary);
        self.severity = self.severity.take().or(more.severity);
        self.cvss = self.cvss.or(more.cvss);
        if self.upstream.is_empty() {
            self.upstream = more.upstream;
        }
        self.distributions.extend(more.distributions);
        self.references.extend(more.references);
    }

    /// The best word about each release.
    fn words(mut self) -> Vec<Distribution> {
        self.distributions
            .sort_by_key(|(rank, word)| (word.status == DistributionStatus::Unknown, *rank));
        let mut best: Vec<Distribution> = Vec::new();
        for (_, word) in self.distributions {
            if !best.iter().any(|own| own.distro == word.distro && own.release == word.release) {
                best.push(word);
            }
        }
        best
    }

    fn into_flaw(mut self, id: String) -> Vulnerability {
        self.references.sort_unstable();
        self.references.dedup();
        self.references.truncate(REFERENCES_MAX);
        let own = format!("https://www.cve.org/CVERecord?id={id}");
        let references = std::iter::once(own).chain(std::mem::take(&mut self.references)).collect();
        let undetermined = self.upstream.is_empty();
        let affected = match std::mem::take(&mut self.upstream) {
            none if none.is_empty() => vec![Range::default()],
            ranges => ranges,
        };
        let severity =
            self.severity.take().or_else(|| self.cvss.map(cvss::word).map(str::to_owned));
        Vulnerability {
            summary: self.summary.take().unwrap_or_else(|| format!("{id}, not described yet.")),
            id,
            kind: "cve".into(),
            impact: "not rated".into(),
            affected,
            undetermined,
            decided_by: "version".into(),
            requires: vec!["network".into()],
            severity: severity.unwrap_or_else(|| "unrated".into()),
            cvss: self.cvss,
            distributions: self.words(),
            references,
            confirmed: false,
        }
    }
}

impl Vulnerability {
    /// Takes what is newer: distributions' words, and a grade where there was none.
    fn amend(&mut self, told: Told) {
        if self.severity == "unrated" {
            let by_score = || told.cvss.map(cvss::word).map(str::to_owned);
            let grade = told.severity.clone().or_else(by_score);
            self.severity = grade.unwrap_or_else(|| "unrated".into());
        }
        self.cvss = self.cvss.or(told.cvss);
        for word in told.words() {
            let same = |own: &&mut Distribution| {
                own.distro == word.distro && own.number() == word.number()
            };
            match self.distributions.iter_mut().find(same) {
                Some(_) if word.status == DistributionStatus::Unknown => {}
                Some(own) => *own = Distribution { release: own.release.clone(), ..word },
                None => self.distributions.push(word),
            }
        }
    }
}

impl Distribution {
    /// The release without its name: `12` of `12 (bookworm)`.
    fn number(&self) -> Option<&str> {
        self.release.as_deref().map(|release| release.split(' ').next().unwrap_or(release))
    }
}

/// A short word of theirs: printable, cut.
fn word(text: &str) -> String {
    printable(&text.chars().take(WORD_CHARS_MAX).collect::<String>())
}

/// A sentence of theirs: one line, printable, cut, with a full stop.
fn sentence(text: &str) -> Option<String> {
    let line = text.split(['\n', '\r']).find(|line| !line.trim().is_empty())?.trim();
    let cut: String = line.chars().take(SUMMARY_CHARS_MAX).collect();
    let whole = cut.len() == line.len();
    let end = if !whole {
        "..."
    } else if cut.ends_with('.') {
        ""
    } else {
        "."
    };
    Some(printable(&cut) + end)
}

/// An address that a page may link to.
fn page(url: &str) -> Option<String> {
    let plain = url.len() <= REFERENCE_CHARS_MAX
        && url.starts_with("https://")
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte));
    plain.then(|| url.to_owned())
}

/// `CVE-2026-47783` in `DEBIAN-CVE-2026-47783`.
fn cve(id: &str) -> Option<&str> {
    let at = id.find("CVE-")?;
    let (before, number) = (id.get(..at)?, id.get(at..)?);
    let mut parts = number.split('-').skip(1);
    let digits = |part: Option<&str>, least: usize| {
        part.is_some_and(|part| {
            (least..=10).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let whole = digits(parts.next(), 4) && digits(parts.next(), 4) && parts.next().is_none();
    (whole && (before.is_empty() || before.ends_with('-'))).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_other_ids() {
        assert_eq!(cve("DEBIAN-CVE-2026-47783"), Some("CVE-2026-47783"));
        assert_eq!(cve("CVE-2026-47783"), Some("CVE-2026-47783"));
        for other in ["CVE-2026-1", "CVE-2026-47783-1", "XCVE-2026-47783", "RHSA-2026:1", "CVE--"] {
            assert_eq!(cve(other), None, "{other}");
        }
    }

    #[test]
    fn texts_of_theirs_cannot_steer_a_terminal() {
        let told = sentence("\n red \u{1b}[31m alarm\nsecond").unwrap();
        assert_eq!(told, "red \\u{1b}[31m alarm.");
        assert!(sentence(&"x".repeat(5000)).unwrap().chars().count() <= SUMMARY_CHARS_MAX + 3);
        assert_eq!(sentence(" \n "), None);
        assert_eq!(page("https://a.example/x?y=1").as_deref(), Some("https://a.example/x?y=1"));
        for bad in ["http://a.example", "javascript:alert(1)", "https://a/\"><b>", "https://a b"] {
            assert_eq!(page(bad), None, "{bad}");
        }
    }

    fn account(name: &str, modified: Option<&str>, records: &[(&str, &str)]) -> Account {
        let records = records.iter().map(|(id, at)| ((*id).to_owned(), (*at).to_owned())).collect();
        let origin = Origin {
            name: name.into(),
            url: "https://x.example".into(),
            modified: modified.map(str::to_owned),
            records,
        };
        Account { origin, ..Account::default() }
    }

    #[test]
    fn a_server_that_is_behind_is_found_out() {
        let shipped = Table::embedded();
        let of = |modified, records: &[(&str, &str)]| {
            refreshed(&shipped, vec![account("osv", modified, records)], "2026-12-01")
        };
        let held = of(Some("2026-11-30T00:00:00Z"), &[("A", "2026-10-01T00:00:00Z")]);
        assert_eq!(held.data_as_of, "2026-11-30");
        assert_eq!(regression(&held, &held), Ok(()));
        let newer = of(None, &[("A", "2026-10-02T00:00:00Z"), ("B", "2026-10-02T00:00:00Z")]);
        assert_eq!(newer.data_as_of, "2026-12-01");
        assert_eq!(regression(&held, &newer), Ok(()));
        let older = of(Some("2026-11-29T00:00:00Z"), &[("A", "2026-10-01T00:00:00Z")]);
        assert!(regression(&held, &older).unwrap_err().contains("2026-11-29"));
        let lacking = of(None, &[("B", "2026-10-02T00:00:00Z")]);
        assert!(regression(&held, &lacking).unwrap_err().contains("lacks A"));
        let old_record = of(None, &[("A", "2026-09-30T00:00:00Z")]);
        assert!(regression(&held, &old_record).unwrap_err().contains("A of osv"));
        let before_shipped = of(Some("2020-01-01T00:00:00Z"), &[]);
        assert!(regression(&shipped, &before_shipped).is_err());
    }

    #[test]
    fn nobody_looked_yet_does_not_replace_a_word() {
        let word = |status, fixed: Option<&str>| Distribution {
            distro: "Debian".into(),
            release: Some("12".into()),
            status,
            fixed: fixed.map(str::to_owned),
            advisory: None,
        };
        let shipped = Table::embedded();
        let debian = |word| {
            let told = Told { distributions: vec![(0, word)], ..Told::default() };
            let flaws = BTreeMap::from([("CVE-2023-46852".to_owned(), told)]);
            let accounts = vec![Account { flaws, ..Account::default() }];
            let table = refreshed(&shipped, accounts, "2026-12-01");
            let flaw = table.vulnerabilities.iter().find(|flaw| flaw.id == "CVE-2023-46852");
            let words = flaw.unwrap().distributions.iter();
            words.filter(|word| word.is_for("Debian", "12")).cloned().collect::<Vec<_>>()
        };
        let unknown = debian(word(DistributionStatus::Unknown, None));
        assert_eq!(unknown[0].fixed.as_deref(), Some("1.6.18-1+deb12u1"), "{unknown:?}");
        let later = debian(word(DistributionStatus::Fixed, Some("1.6.18-1+deb12u9")));
        assert_eq!(later[0].fixed.as_deref(), Some("1.6.18-1+deb12u9"));
        assert_eq!(later.len(), 1, "amended, not doubled: {later:?}");
    }
}
