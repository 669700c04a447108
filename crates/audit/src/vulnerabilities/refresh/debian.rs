//! Debian's tracker: one JSON object of every source package, `{package: {flaw: {releases}}}`.
//!
//! It has some 60 MB, of which one package is wanted: it is read as a stream, and everything else
//! is skipped without being kept.

use std::collections::BTreeMap;
use std::io::Read;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::watched::{Left, VALUE_BYTES_MAX, Watched};
use super::{Account, FLAWS_MAX, Origin, PACKAGE, Told, cve, sentence, word};
use crate::vulnerabilities::{Distribution, DistributionStatus};

/// Largest tracker that is read, in bytes; it has 60 MB and grows by some 5 MB a year.
pub const TRACKER_BYTES_MAX: usize = 256 << 20;

/// Debian's names of releases. `sid` keeps its name.
const SUITES: [(&str, &str); 6] = [
    ("buster", "10"),
    ("bullseye", "11"),
    ("bookworm", "12"),
    ("trixie", "13"),
    ("forky", "14"),
    ("sid", "sid"),
];

/// A tracker that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrackerError {
    /// Not JSON of this form, or it ended early.
    #[error("is not what Debian's tracker publishes: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The package is not in it.
    #[error("says nothing about {PACKAGE}")]
    NoPackage,
    /// More than can be.
    #[error("has more than {FLAWS_MAX} flaws of one package")]
    TooMany,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Flaw {
    description: String,
    releases: BTreeMap<String, Release>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Release {
    status: String,
    fixed_version: Option<String>,
    repositories: BTreeMap<String, String>,
}

/// Reads the tracker. `modified` is when it says that it was made, RFC 3339 in UTC.
///
/// # Errors
/// When it is no tracker, or does not know the package.
pub fn account(
    url: &str,
    modified: Option<String>,
    tracker: impl Read,
) -> Result<Account, TrackerError> {
    let left = Left::default();
    let mut reader = serde_json::Deserializer::from_reader(Watched::new(tracker, &left));
    let flaws = OnePackage { left }.deserialize(&mut reader)?;
    reader.end()?;
    let flaws = flaws.ok_or(TrackerError::NoPackage)?;
    if flaws.len() > FLAWS_MAX {
        return Err(TrackerError::TooMany);
    }
    let mut account = Account {
        origin: Origin { name: "debian".into(), url: word(url), modified, ..Origin::default() },
        ..Account::default()
    };
    for (id, flaw) in &flaws {
        // `TEMP-...` stands for what has no number yet.
        let Some(number) = cve(id).filter(|number| number == id) else { continue };
        account.origin.records.insert(number.to_owned(), String::new());
        account.flaws.insert(number.to_owned(), flaw.told());
        if let Some(sid) = flaw.releases.get("sid").and_then(|sid| sid.repositories.get("sid")) {
            account.latest_upstream = upstream(sid).or(account.latest_upstream);
        }
    }
    Ok(account)
}

/// The dotted number of a Debian version: `1.6.45` of `1.6.45-1`.
fn upstream(version: &str) -> Option<String> {
    let number = version.split(['-', '+', '~']).next()?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && number.split('.').count() >= 3 && number.len() <= 20).then(|| number.to_owned())
}

impl Flaw {
    fn told(&self) -> Told {
        let words = SUITES.iter().filter_map(|(suite, number)| {
            let word = self.releases.get(*suite)?.word(number);
            Some((0, word))
        });
        Told {
            summary: sentence(&self.description),
            distributions: words.collect(),
            ..Told::default()
        }
    }
}

impl Release {
    fn word(&self, number: &str) -> Distribution {
        let (status, fixed) = match (self.status.as_str(), self.fixed_version.as_deref()) {
            // Debian writes 0 where the release never had the flaw.
            ("resolved", Some("0")) => (DistributionStatus::NotAffected, None),
            ("resolved", Some(version)) => (DistributionStatus::Fixed, Some(word(version))),
            ("open", _) => (DistributionStatus::Unfixed, None),
            _ => (DistributionStatus::Unknown, None),
        };
        let release = Some(number.to_owned());
        Distribution { distro: "Debian".into(), release, status, fixed, advisory: None }
    }
}

/// Keeps one package of the object and skips the others.
struct OnePackage {
    /// Set while the package is kept.
    left: Left,
}

impl<'de> DeserializeSeed<'de> for OnePackage {
    type Value = Option<BTreeMap<String, Flaw>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OnePackage {
    type Value = Option<BTreeMap<String, Flaw>>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object of source packages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == PACKAGE {
                self.left.set(Some(VALUE_BYTES_MAX));
                found = Some(map.next_value()?);
                self.left.set(None);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// RFC 3339 in UTC of the one form of a date that HTTP servers send:
/// `Sun, 22 Nov 2026 10:00:00 GMT`.
#[must_use]
pub fn http_date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let digits =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let mut clock = time.split(':');
    let hour_min_s = [clock.next()?, clock.next()?, clock.next()?];
    let whole = digits(day, 2) && digits(year, 4) && hour_min_s.iter().all(|part| digits(part, 2));
    let month = MONTHS.iter().position(|own| own == month)? + 1;
    whole.then(|| format!("{year}-{month:02}-{day}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACKER: &str = r#"{"0ad":{"CVE-2020-0001":{"releases":{}}},
        "memcached":{
          "CVE-2026-1111":{"description":"A crash\u001b[31m.","scope":"remote","releases":{
            "bookworm":{"status":"resolved","fixed_version":"1.6.18-1+deb12u9","urgency":"low",
                        "repositories":{"bookworm":"1.6.18-1"}},
            "bullseye":{"status":"resolved","fixed_version":"0","urgency":"unimportant"},
            "trixie":{"status":"open","urgency":"not yet assigned","nodsa":"Minor issue"},
            "sid":{"status":"undetermined","repositories":{"sid":"1.6.46-1"}}}},
          "TEMP-0000000-ABCDEF":{"releases":{"sid":{"status":"open"}}}},
        "zzz":{}}"#;

    #[test]
    fn one_package_is_kept() {
        let account = account("https://d.example", None, TRACKER.as_bytes()).unwrap();
        assert_eq!(account.flaws.len(), 1);
        assert_eq!(account.latest_upstream.as_deref(), Some("1.6.46"));
        let told = &account.flaws["CVE-2026-1111"];
        assert_eq!(told.summary.as_deref(), Some("A crash\\u{1b}[31m."));
        let status = |release: &str| {
            let of = |(_, word): &&(u8, Distribution)| word.is_for("Debian", release);
            told.distributions.iter().find(of).map(|(_, word)| word.status)
        };
        assert_eq!(status("12"), Some(DistributionStatus::Fixed));
        assert_eq!(status("11"), Some(DistributionStatus::NotAffected));
        assert_eq!(status("13"), Some(DistributionStatus::Unfixed));
        assert_eq!(status("sid"), Some(DistributionStatus::Unknown));
    }

    #[test]
    fn what_is_no_tracker_is_refused() {
        let read = |text: &str| account("u", None, text.as_bytes());
        assert!(matches!(read("{\"x\":{}}"), Err(TrackerError::NoPackage)));
        for bad in ["", "[]", "<html>", "{\"memcached\":[1]}", "{\"memcached\":{}", "{} {}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&TRACKER[..TRACKER.len() - 2]).is_err(), "cut short");
    }

    /// What a hostile server can send within the bound on the whole: one endless text, an endless
    /// list, values in values, other types. Nothing of it is kept, and nothing ends the program.
    #[test]
    fn hostile_trackers_are_refused_before_they_fill_the_memory() {
        let text = "x".repeat(2 << 20);
        let flaws = |releases: &str| format!("{{\"memcached\":{{\"CVE-2026-1111\":{releases}}}}}");
        let many: Vec<String> =
            (0..300_000).map(|n| format!("\"r{n}\":{{\"status\":\"open\"}}")).collect();
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        for (what, tracker) in [
            ("a name without end", format!("{{\"{text}\":{{}}}}")),
            ("a text without end", flaws(&format!("{{\"description\":\"{text}\"}}"))),
            (
                "escapes without end",
                flaws(&format!("{{\"description\":\"{}\"}}", "\\\"".repeat(1 << 20))),
            ),
            ("a list without end", flaws(&format!("{{\"releases\":{{{}}}}}", many.join(",")))),
            ("a deep value that is kept", flaws(&deep(100_000))),
            (
                "a deep value that is skipped",
                format!("{{\"a\":{},\"memcached\":{{}}}}", deep(100_000)),
            ),
            ("a number for a text", flaws("{\"description\":1}")),
            ("a text for an object", flaws("\"x\"")),
            ("nothing", flaws("null")),
            ("twice the package", "{\"memcached\":{},\"memcached\":[]}".to_owned()),
        ] {
            let read = account("u", None, tracker.as_bytes());
            assert!(matches!(read, Err(TrackerError::Malformed(_))), "{what}: {read:?}");
        }
    }

    #[test]
    fn dates_of_servers_are_read() {
        let at = http_date("Sun, 22 Nov 2026 10:02:03 GMT");
        assert_eq!(at.as_deref(), Some("2026-11-22T10:02:03Z"));
        for bad in
            ["", "yesterday", "Sun, 22 Nov 2026 10:02 GMT", "Sun, 2\u{1b} Nov 2026 10:02:03 GMT"]
        {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}
