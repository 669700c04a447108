//! The known differences between memcached and Kannuki: Debian 12's 1.6.18, which is old, and
//! 1.6.45, which is the one to behave as.
//!
//! Each stands in `known_differences.toml`, quotes the line of the behaviour reference it rests on
//! and says what Kannuki answers. One that is no longer used (both servers agree, or nothing
//! matched) fails the test: the list can only say what is true.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// One entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The one memcached that differs; none = both do.
    pub against: Option<Version>,
    /// Words of the behaviour reference that this rests on.
    pub facts: String,
    /// Why the servers differ.
    pub because: Because,
    /// What the quote leaves unsaid.
    pub note: Option<String>,
    /// `script: label` of the steps, or `script` for counters.
    pub at: Vec<String>,
    /// What Kannuki answers, in the notation of scripts, CAS numbers as `<cas1>`.
    pub reply: Option<String>,
    /// Statistics that only one of them has.
    #[serde(default)]
    pub only_kannuki: BTreeSet<String>,
    #[serde(default)]
    pub only_memcached: BTreeSet<String>,
    /// Statistics with another value: what Kannuki says.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// Counters with another value after the script: what Kannuki says.
    #[serde(default)]
    pub counters: BTreeMap<String, String>,
}

/// Which memcached.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Version {
    /// Debian 12's.
    #[serde(rename = "1.6.18")]
    Debian12,
    /// The reference.
    #[serde(rename = "1.6.45")]
    Newest,
}

/// Why two servers differ.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// memcached itself changed between 1.6.18 and 1.6.45.
    Newer,
    /// The real 1.6.45 does otherwise than the reference says; the note tells what was seen.
    Observed,
    /// Kannuki does not copy a bug or danger of memcached.
    Safer,
    /// The engine underneath is another one.
    Engine,
    /// The reference leaves it open; the note says what we chose.
    Free,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Difference>,
}

/// Reads the differences from that memcached.
pub fn load(path: &std::path::Path, from: Version) -> Result<Vec<Difference>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: File = toml::from_str(&text).map_err(|error| error.to_string())?;
    for difference in &file.difference {
        if difference.facts.len() < 12 {
            return Err(format!("{:?}: quotes too little", difference.facts));
        }
        if matches!(difference.because, Because::Free | Because::Observed)
            && difference.note.is_none()
        {
            return Err(format!("{:?}: needs a note", difference.facts));
        }
        if difference.at.is_empty() {
            return Err(format!("{:?}: applies nowhere", difference.facts));
        }
    }
    let applies = |difference: &Difference| difference.against.is_none_or(|one| one == from);
    Ok(file.difference.into_iter().filter(applies).collect())
}

/// Quotes that the reference does not hold, when it is at hand (`KANNUKI_FACTS`).
pub fn misquotes(differences: &[Difference]) -> Vec<String> {
    let Some(path) = std::env::var_os("KANNUKI_FACTS") else { return Vec::new() };
    let facts = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let wrong = differences.iter().filter(|difference| !facts.contains(&difference.facts));
    wrong.map(|difference| difference.facts.clone()).collect()
}
