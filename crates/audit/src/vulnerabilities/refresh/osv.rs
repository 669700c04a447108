//! OSV: which records speak of the package (`POST v1/querybatch`), and each record
//! (`GET v1/vulns/ID`).
//!
//! A record names its CVE in `id`, `aliases` or `upstream`, and for each release of a distribution
//! the versions between `introduced` and `fixed`. A record of one release without a `fixed` may
//! mean "open" or "nobody looked yet"; OSV does not tell which, so it counts as not known.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::{Account, Origin, PACKAGE, Told, cve, cvss, page, sentence, word};
use crate::vulnerabilities::{Distribution, DistributionStatus, Range};

/// Releases that are asked about, as OSV names them. Bitnami's records carry upstream's ranges.
pub const ECOSYSTEMS: [&str; 26] = [
    "Bitnami",
    "Debian:11",
    "Debian:12",
    "Debian:13",
    "Debian:14",
    "Ubuntu:14.04:LTS",
    "Ubuntu:16.04:LTS",
    "Ubuntu:18.04:LTS",
    "Ubuntu:20.04:LTS",
    "Ubuntu:22.04:LTS",
    "Ubuntu:24.04:LTS",
    "Ubuntu:26.04:LTS",
    "Ubuntu:Pro:16.04:LTS",
    "Ubuntu:Pro:18.04:LTS",
    "Ubuntu:Pro:20.04:LTS",
    "Alpine:v3.20",
    "Alpine:v3.21",
    "Alpine:v3.22",
    "Alpine:v3.23",
    "Red Hat:enterprise_linux:8::appstream",
    "Red Hat:enterprise_linux:9::appstream",
    "Red Hat:enterprise_linux:10.0",
    "AlmaLinux:8",
    "AlmaLinux:9",
    "Rocky Linux:8",
    "Rocky Linux:9",
];
/// Largest answer that is read, in bytes: a record about many packages has some 100 KiB.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Most records that are fetched, each in a question of its own; there are about 150.
pub const RECORDS_MAX: usize = 600;
/// Most pages of one list; a page has up to 1,000 records.
pub const PAGES_MAX: usize = 10;
/// Longest id of a record; it becomes a part of an address.
const ID_BYTES_MAX: usize = 80;

/// An answer of OSV that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OsvError {
    /// Not JSON of this form.
    #[error("is not what OSV answers: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Not as many lists as questions.
    #[error("answers {answers} questions of {questions}")]
    OtherCount {
        /// Lists in the answer.
        answers: usize,
        /// Questions asked.
        questions: usize,
    },
    /// An id that cannot be one.
    #[error("names a record {0:?}, which is no id")]
    NoId(String),
    /// A record under another id than was asked for.
    #[error("is the record {found:?}, not {asked:?}")]
    OtherRecord {
        /// What was asked for.
        asked: String,
        /// What came.
        found: String,
    },
    /// More than can be.
    #[error("names more than {RECORDS_MAX} records about one package")]
    TooMany,
}

/// A list that goes on: the release and where.
pub type Rest = (String, String);

/// The first question: every release.
#[must_use]
pub fn first_question() -> Vec<Rest> {
    ECOSYSTEMS.iter().map(|name| ((*name).to_owned(), String::new())).collect()
}

/// The body of a question.
#[must_use]
pub fn question(lists: &[Rest]) -> String {
    let queries: Vec<Value> = lists
        .iter()
        .map(|(ecosystem, token)| {
            let package = json!({ "name": PACKAGE, "ecosystem": ecosystem });
            if token.is_empty() {
                json!({ "package": package })
            } else {
                json!({ "package": package, "page_token": token })
            }
        })
        .collect();
    json!({ "queries": queries }).to_string()
}

#[derive(Deserialize)]
struct Answers {
    #[serde(default)]
    results: Vec<Answer>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    vulns: Vec<Listed>,
    next_page_token: String,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// Adds the ids of an answer to `ids`; gives back the lists that go on.
///
/// # Errors
/// When it is no answer to these questions.
pub fn listed(bytes: &[u8], asked: &[Rest], ids: &mut Vec<String>) -> Result<Vec<Rest>, OsvError> {
    let answers: Answers = serde_json::from_slice(bytes)?;
    if answers.results.len() != asked.len() {
        let (answers, questions) = (answers.results.len(), asked.len());
        return Err(OsvError::OtherCount { answers, questions });
    }
    let mut rest = Vec::new();
    for (answer, (ecosystem, _)) in answers.results.into_iter().zip(asked) {
        for Listed { id } in answer.vulns {
            if !is_id(&id) {
                return Err(OsvError::NoId(word(&id)));
            }
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if ids.len() > RECORDS_MAX {
            return Err(OsvError::TooMany);
        }
        if !answer.next_page_token.is_empty() {
            rest.push((ecosystem.clone(), answer.next_page_token));
        }
    }
    Ok(rest)
}

/// It becomes a part of an address, so it is made of what ids are made of.
fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(plain) && !id.contains("..")
}

/// One record, of what is used of it.
#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(default)]
pub struct Record {
    id: String,
    modified: String,
    withdrawn: Option<String>,
    aliases: Vec<String>,
    upstream: Vec<String>,
    summary: String,
    details: String,
    severity: Vec<Score>,
    affected: Vec<Affected>,
    references: Vec<Reference>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(default)]
struct Score {
    #[serde(rename = "type")]
    kind: String,
    score: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(default)]
struct Affected {
    package: Option<Package>,
    severity: Vec<Score>,
    ranges: Vec<Events>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(default)]
struct Package {
    name: String,
    ecosystem: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(default)]
struct Events {
    events: Vec<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(default)]
struct Reference {
    url: String,
}

/// Reads the record that was asked for.
///
/// # Errors
/// When it is no record, or another one.
pub fn record(bytes: &[u8], asked: &str) -> Result<Record, OsvError> {
    let record: Record = serde_json::from_slice(bytes)?;
    if record.id != asked {
        return Err(OsvError::OtherRecord { asked: asked.to_owned(), found: word(&record.id) });
    }
    Ok(record)
}

/// Everything that the records say.
#[must_use]
pub fn account(url: &str, records: &[Record]) -> Account {
    let mut account = Account {
        origin: Origin { name: "osv".into(), url: word(url), ..Origin::default() },
        ..Account::default()
    };
    for record in records {
        account.origin.records.insert(record.id.clone(), word(&record.modified));
        if record.withdrawn.is_some() {
            continue;
        }
        let names = [&record.id].into_iter().chain(&record.aliases).chain(&record.upstream);
        let mut numbers: Vec<&str> = names.filter_map(|name| cve(name)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let told = record.told(&numbers);
        for number in numbers {
            account.flaws.entry(number.to_owned()).or_default().add(told.clone());
        }
    }
    account
}

impl Record {
    fn told(&self, numbers: &[&str]) -> Told {
        let ours = |affected: &&Affected| {
            affected.package.as_ref().is_some_and(|package| package.name == PACKAGE)
        };
        let mut told = Told::default();
        for affected in self.affected.iter().filter(ours) {
            let ecosystem = affected.package.as_ref().map_or("", |package| &package.ecosystem);
            if ecosystem == "Bitnami" {
                told.upstream.extend(affected.upstream());
            } else if let Some((rank, distro, release)) = place(ecosystem) {
                told.distributions.push((rank, self.word_of(affected, distro, release)));
            }
        }
        // Words about several flaws at once describe none of them.
        if numbers.len() == 1 {
            told.summary = sentence(&self.summary).or_else(|| sentence(&self.details));
            let scores =
                || self.severity.iter().chain(self.affected.iter().flat_map(|a| &a.severity));
            told.cvss = scores().find_map(|score| cvss::base_score(&score.score));
            told.severity = scores().find_map(Score::word);
        }
        told.references =
            self.references.iter().filter_map(|reference| page(&reference.url)).collect();
        told
    }

    fn word_of(&self, affected: &Affected, distro: &str, release: String) -> Distribution {
        let mut fixed = affected
            .ranges
            .iter()
            .flat_map(|range| &range.events)
            .filter_map(|event| event.get("fixed").map(|version| word(version)));
        let fixed = fixed.next_back();
        let status = match fixed {
            Some(_) => DistributionStatus::Fixed,
            None => DistributionStatus::Unknown,
        };
        let advisory = Some(self.id.clone());
        Distribution { distro: distro.into(), release: Some(release), status, fixed, advisory }
    }
}

impl Affected {
    fn upstream(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for event in self.ranges.iter().flat_map(|range| &range.events) {
            if let Some(version) = event.get("introduced") {
                let introduced = (version != "0").then(|| word(version));
                ranges.push(Range { introduced, ..Range::default() });
            }
            let Some(range) = ranges.last_mut() else { continue };
            if let Some(version) = event.get("fixed") {
                range.fixed = Some(word(version));
            }
            if let Some(version) = event.get("last_affected") {
                range.last_affected = Some(word(version));
            }
        }
        // From the first to for ever is "nobody looked yet", not a range.
        ranges.retain(|range| *range != Range::default());
        ranges
    }
}

impl Score {
    fn word(&self) -> Option<String> {
        let is_word = self.kind == "Ubuntu"
            && matches!(self.score.as_str(), "critical" | "high" | "medium" | "low");
        is_word.then(|| self.score.clone())
    }
}

/// The rank, distribution and release of an ecosystem; rebuilds of Red Hat fill its gaps.
fn place(ecosystem: &str) -> Option<(u8, &'static str, String)> {
    let mut parts = ecosystem.split(':');
    let (name, next) = (parts.next()?, parts.next()?);
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        plain.then(|| word(text))
    };
    let major = |text: &str| number(text.split('.').next()?);
    Some(match name {
        "Debian" => (1, "Debian", number(next)?),
        "Ubuntu" if next == "Pro" => (1, "Ubuntu", number(parts.next()?)?),
        "Ubuntu" => (0, "Ubuntu", number(next)?),
        "Alpine" => (0, "Alpine", number(next.strip_prefix('v')?)?),
        "Red Hat" if next == "enterprise_linux" => (0, "RHEL", major(parts.next()?)?),
        "AlmaLinux" => (1, "RHEL", major(next)?),
        "Rocky Linux" => (2, "RHEL", major(next)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found() {
        for (ecosystem, distro, release) in [
            ("Debian:12", "Debian", "12"),
            ("Ubuntu:22.04:LTS", "Ubuntu", "22.04"),
            ("Ubuntu:Pro:18.04:LTS", "Ubuntu", "18.04"),
            ("Alpine:v3.22", "Alpine", "3.22"),
            ("Red Hat:enterprise_linux:9::appstream", "RHEL", "9"),
            ("Red Hat:enterprise_linux:10.0", "RHEL", "10"),
            ("Rocky Linux:9", "RHEL", "9"),
        ] {
            let (_, found, number) = place(ecosystem).unwrap();
            assert_eq!((found, number.as_str()), (distro, release), "{ecosystem}");
        }
        for ecosystem in ECOSYSTEMS {
            assert!(ecosystem == "Bitnami" || place(ecosystem).is_some(), "{ecosystem}");
        }
        for other in ["Debian", "PyPI", "npm:x", "Red Hat:eus:9", "Alpine:edge", "Debian:\n"] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn ids_cannot_leave_their_place_in_an_address() {
        for bad in ["", "a/b", "..", "a?b", "a b", "a\u{1b}", "%2e", &"x".repeat(81)] {
            assert!(!is_id(bad), "{bad}");
        }
        assert!(is_id("RHSA-2026:27842") && is_id("UBUNTU-CVE-2026-47783"));
    }

    #[test]
    fn lists_go_on_until_they_end() {
        let asked =
            vec![("Debian:12".to_owned(), String::new()), ("Bitnami".into(), String::new())];
        assert!(question(&asked).contains(r#""ecosystem":"Debian:12""#));
        let answer = br#"{"results":[{"vulns":[{"id":"DEBIAN-CVE-2026-1111","modified":"x"}],
            "next_page_token":"t"},{}]}"#;
        let mut ids = Vec::new();
        let rest = listed(answer, &asked, &mut ids).unwrap();
        assert_eq!(ids, ["DEBIAN-CVE-2026-1111"]);
        assert_eq!(rest, [("Debian:12".to_owned(), "t".to_owned())]);
        assert!(question(&rest).contains(r#""page_token":"t""#));
        let short = br#"{"results":[{}]}"#;
        assert!(matches!(listed(short, &asked, &mut ids), Err(OsvError::OtherCount { .. })));
        let evil = br#"{"results":[{"vulns":[{"id":"../../x"}]},{}]}"#;
        assert!(matches!(listed(evil, &asked, &mut ids), Err(OsvError::NoId(_))));
    }

    #[test]
    fn a_record_becomes_words_of_the_table() {
        let text = br#"{"schema_version":"1.7.3","id":"UBUNTU-CVE-2026-1111",
            "modified":"2026-11-20T10:00:00Z","upstream":["CVE-2026-1111"],
            "details":"A crash.\nMore.",
            "severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"},
                        {"type":"Ubuntu","score":"medium"}],
            "references":[{"type":"REPORT","url":"https://ubuntu.example/1"},
                          {"url":"http://no.example"}],
            "affected":[
              {"package":{"ecosystem":"Ubuntu:22.04:LTS","name":"memcached"},
               "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},
                                                       {"fixed":"1.6.14-1ubuntu0.9"}]}]},
              {"package":{"ecosystem":"Ubuntu:24.04:LTS","name":"memcached"},
               "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]},
              {"package":{"ecosystem":"Ubuntu:24.04:LTS","name":"nginx"},
               "ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"9"}]}]}]}"#;
        let record = record(text, "UBUNTU-CVE-2026-1111").unwrap();
        let account = account("https://osv.example", &[record]);
        let told = &account.flaws["CVE-2026-1111"];
        assert_eq!(told.summary.as_deref(), Some("A crash."));
        assert_eq!((told.cvss, told.severity.as_deref()), (Some(7.5), Some("medium")));
        assert_eq!(told.references, ["https://ubuntu.example/1"]);
        let words: Vec<_> =
            told.distributions.iter().map(|(_, w)| (w.status, w.fixed.as_deref())).collect();
        let fixed = (DistributionStatus::Fixed, Some("1.6.14-1ubuntu0.9"));
        assert_eq!(words, [fixed, (DistributionStatus::Unknown, None)]);
    }

    #[test]
    fn hostile_answers_are_refused() {
        let asked = vec![("Debian:12".to_owned(), String::new())];
        let deep = format!("{{\"results\":[{}{}]}}", "[".repeat(50_000), "]".repeat(50_000));
        for bad in
            ["null", "[]", "{\"results\":{}}", "{\"results\":[{\"vulns\":[{\"id\":1}]}]}", &deep]
        {
            assert!(listed(bad.as_bytes(), &asked, &mut Vec::new()).is_err(), "{bad:.80}");
        }
        let many: Vec<String> = (0..700).map(|n| format!("{{\"id\":\"A-{n}\"}}")).collect();
        let many = format!("{{\"results\":[{{\"vulns\":[{}]}}]}}", many.join(","));
        let listed = listed(many.as_bytes(), &asked, &mut Vec::new());
        assert!(matches!(listed, Err(OsvError::TooMany)));
        for bad in [
            "{\"id\":\"A\",\"affected\":{}}",
            "{\"id\":\"A\",\"severity\":[1]}",
            "{\"id\":\"A\",\"affected\":[{\"ranges\":[{\"events\":[{\"fixed\":1}]}]}]}",
            "{\"id\":[\"A\"]}",
        ] {
            assert!(super::record(bad.as_bytes(), "A").is_err(), "{bad}");
        }
    }

    #[test]
    fn withdrawn_records_and_other_records_say_nothing() {
        let text = br#"{"id":"A-CVE-2026-1111","modified":"m","withdrawn":"2026-01-01T00:00:00Z",
            "affected":[{"package":{"ecosystem":"Debian:12","name":"memcached"}}]}"#;
        let record = record(text, "A-CVE-2026-1111").unwrap();
        assert!(account("u", &[record]).flaws.is_empty());
        assert!(matches!(super::record(text, "B"), Err(OsvError::OtherRecord { .. })));
    }
}
