//! Two transcripts of one script, side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::differences::Difference;
use super::notation;
use super::play::{Played, Transcript};
use super::reply::{self, Token};
use super::script::{Script, Step};

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Differences nobody declared, ready to be read.
    pub undeclared: Vec<String>,
    /// Entries of the list of known differences that were seen, by index and place.
    pub used: BTreeSet<(usize, String)>,
}

/// Compares what the reference and the candidate did with `script`.
pub fn compare(
    script: &Script,
    reference: &Transcript,
    candidate: &Transcript,
    known: &[Difference],
) -> Findings {
    let mut findings = Findings::default();
    for (at, step) in script.steps.iter().enumerate() {
        let place = format!("{}: {}", script.name, step.label);
        let (one, other) = (&reference.replies[at], &candidate.replies[at]);
        if let Some(text) = compare_step(step, one, other, known, &place, &mut findings.used) {
            findings.undeclared.push(format!("{place}\n{text}"));
        }
    }
    compare_counters(script, reference, candidate, known, &mut findings);
    findings
}

fn compare_step(
    step: &Step,
    reference: &Played,
    candidate: &Played,
    known: &[Difference],
    place: &str,
    used: &mut BTreeSet<(usize, String)>,
) -> Option<String> {
    let entries =
        known.iter().enumerate().filter(|(_, entry)| entry.at.iter().any(|at| at == place));
    let mut one = tidy(&reference.tokens, step.sorted);
    let mut other = tidy(&candidate.tokens, step.sorted);
    drop_own(&mut other);
    let apart = reference.at_seconds.abs_diff(candidate.at_seconds);
    let mut expected = None;
    for (index, entry) in entries {
        if let Some(reply) = &entry.reply {
            if !reply::agree(&one, &other, apart) {
                used.insert((index, place.to_owned()));
            }
            expected = Some(reply);
        } else if apply(entry, &mut one, &mut other) {
            used.insert((index, place.to_owned()));
        }
    }
    if let Some(reply) = expected {
        let pieces = notation::parse(reply).unwrap_or_else(|why| panic!("{place}: {why}"));
        let wanted = match pieces.as_slice() {
            [notation::Piece::Literal(bytes)] => reply::expected(bytes),
            _ => panic!("{place}: write CAS numbers as <cas1>"),
        };
        if reply::agree(&wanted, &other, 0) {
            return None;
        }
        return Some(side_by_side(candidate, "declared", &wanted, "kannuki", &other));
    }
    if reply::agree(&one, &other, apart) {
        return None;
    }
    Some(side_by_side(candidate, "memcached", &one, "kannuki", &other))
}

/// Statistics of our own, which have to follow memcached's: tools that print in order see them
/// last.
const OWN_PREFIX: &str = "kannuki_";

/// Takes our own statistics out, if they stand where they have to.
fn drop_own(tokens: &mut Vec<Token>) {
    let is_own =
        |token: &Token| matches!(token, Token::Stat { key, .. } if key.starts_with(OWN_PREFIX));
    let is_foreign = |token: &Token| matches!(token, Token::Stat { .. }) && !is_own(token);
    let first = tokens.iter().position(is_own).unwrap_or(tokens.len());
    if !tokens.iter().skip(first).any(is_foreign) {
        tokens.retain(|token| !is_own(token));
    }
}

/// Sorts what comes in no order of its own.
fn tidy(tokens: &[Token], sorted: bool) -> Vec<Token> {
    let mut tokens = tokens.to_vec();
    if sorted {
        tokens.sort_by_key(|token| match token {
            Token::Stat { key, .. } => (0, key.clone()),
            _ => (1, String::new()),
        });
    }
    tokens
}

/// Takes a declared difference of statistics out of both replies; false if it was not there.
fn apply(entry: &Difference, one: &mut Vec<Token>, other: &mut Vec<Token>) -> bool {
    let has = |tokens: &[Token], name: &str| {
        tokens.iter().any(|token| matches!(token, Token::Stat { key, .. } if is_named(key, name)))
    };
    let mut seen = true;
    for name in &entry.only_kannuki {
        seen &= has(other, name) && !has(one, name);
    }
    for name in &entry.only_memcached {
        seen &= has(one, name) && !has(other, name);
    }
    let keep = |names: &BTreeSet<String>, tokens: &mut Vec<Token>| {
        let named = |key: &str| names.iter().any(|name| is_named(key, name));
        tokens.retain(|token| !matches!(token, Token::Stat { key, .. } if named(key)));
    };
    keep(&entry.only_kannuki, other);
    keep(&entry.only_memcached, one);
    for (name, wanted) in &entry.values {
        let theirs = value_of(one, name);
        seen &= theirs.is_some_and(|theirs| theirs != *wanted);
        if value_of(other, name).as_ref() == Some(wanted) {
            set_value(one, name, wanted);
        }
    }
    seen
}

/// `12:*` names all statistics of class 12.
fn is_named(key: &str, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(head) => key.starts_with(head),
        None => key == name,
    }
}

fn value_of(tokens: &[Token], name: &str) -> Option<String> {
    tokens.iter().find_map(|token| match token {
        Token::Stat { key, value, .. } if key == name => Some(value.clone()),
        _ => None,
    })
}

fn set_value(tokens: &mut [Token], name: &str, wanted: &str) {
    for token in tokens {
        if let Token::Stat { key, value, .. } = token
            && key == name
        {
            *value = wanted.to_owned();
        }
    }
}

fn compare_counters(
    script: &Script,
    reference: &Transcript,
    candidate: &Transcript,
    known: &[Difference],
    findings: &mut Findings,
) {
    let mut declared: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (index, entry) in known.iter().enumerate() {
        if entry.at.contains(&script.name) {
            declared.extend(entry.counters.iter().map(|(k, v)| (k.as_str(), (index, v.as_str()))));
        }
    }
    let names: BTreeSet<&String> =
        reference.counters.keys().chain(candidate.counters.keys()).collect();
    for name in names {
        if script.uncounted.contains(name) {
            continue;
        }
        let one = reference.counters.get(name).map_or("(absent)", String::as_str);
        let other = candidate.counters.get(name).map_or("(absent)", String::as_str);
        let wanted = declared.get(name.as_str());
        if let Some((index, _)) = wanted
            && one != other
        {
            findings.used.insert((*index, script.name.clone()));
        }
        let wanted = wanted.map_or(one, |(_, value)| value);
        if other != wanted {
            let text = format!("{name}: memcached {one}, wanted {wanted}, kannuki {other}");
            findings.undeclared.push(format!("{} (counter)\n  {text}\n", script.name));
        }
    }
}

fn side_by_side(
    played: &Played,
    left: &str,
    one: &[Token],
    right: &str,
    other: &[Token],
) -> String {
    if one.iter().chain(other).any(|token| matches!(token, Token::Stat { .. })) {
        return statistics_apart(left, one, right, other);
    }
    let sent = kannuki_tests::wire::show(&played.sent);
    let (shown_one, shown_other) = (reply::show(one), reply::show(other));
    let mut text = format!("  sent {sent}\n  {left}:\n{shown_one}  {right}:\n{shown_other}");
    if let Some(reply) = reply::notated(other) {
        text.push_str(&format!("  to declare it: reply = '{reply}'\n"));
    }
    text
}

/// Long lists of statistics: only what differs.
fn statistics_apart(left: &str, one: &[Token], right: &str, other: &[Token]) -> String {
    let keys = |tokens: &[Token]| -> Vec<String> {
        let names = tokens.iter().filter_map(|token| match token {
            Token::Stat { key, .. } => Some(key.clone()),
            _ => None,
        });
        names.collect()
    };
    let (left_keys, right_keys) = (keys(one), keys(other));
    let missing: Vec<_> = left_keys.iter().filter(|key| !right_keys.contains(key)).collect();
    let extra: Vec<_> = right_keys.iter().filter(|key| !left_keys.contains(key)).collect();
    let mut text = format!("  only {left}: {missing:?}\n  only {right}: {extra:?}\n");
    let order = |keys: &[String], others: &[String]| -> Vec<String> {
        keys.iter().filter(|key| others.contains(key)).cloned().collect()
    };
    let (a, b) = (order(&left_keys, &right_keys), order(&right_keys, &left_keys));
    if let Some(at) = a.iter().zip(&b).position(|(one, other)| one != other) {
        text.push_str(&format!("  order: {left} has {} where {right} has {}\n", a[at], b[at]));
    }
    for token in one {
        let Token::Stat { key, value, .. } = token else { continue };
        let counterpart =
            other.iter().find(|t| matches!(t, Token::Stat { key: k, .. } if k == key));
        if let Some(twin @ Token::Stat { value: theirs, .. }) = counterpart
            && !reply::token_agrees(token, twin, 0)
        {
            text.push_str(&format!("  {key}: {left} {value}, {right} {theirs}\n"));
        }
    }
    let others = |tokens: &[Token]| -> Vec<Token> {
        tokens.iter().filter(|token| !matches!(token, Token::Stat { .. })).cloned().collect()
    };
    let (a, b) = (others(one), others(other));
    if !reply::agree(&a, &b, 0) {
        text.push_str(&format!(
            "  beside: {left}\n{}  {right}\n{}",
            reply::show(&a),
            reply::show(&b)
        ));
    }
    text
}
