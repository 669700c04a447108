//! Options without those that say where to listen, in every spelling that memcached reads.

use crate::memcached_options::Grammar;
use crate::memcached_options::table::listening;

/// Where a shut cache listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loopback {
    /// On `::1` too: it listened on IPv6 before, and this host has that address (`-l ::1` makes the
    /// start fail where IPv6 is off).
    pub(super) v6: bool,
}

impl Loopback {
    /// What `-l` gets.
    pub(super) fn list(self) -> &'static str {
        if self.v6 { "127.0.0.1,::1" } else { "127.0.0.1" }
    }
}

/// What a word and its successor are.
enum Spelled {
    /// Nothing about listening; so many words belong together.
    Kept(usize),
    /// `-l`, `-U` or a long form of them, with its value: so many words.
    Listening(usize),
    /// A cluster like `-vl`: what is left of it, and so many words.
    Cluster(String, usize),
}

/// The words without `-l` and `-U`.
pub(super) fn without<S: AsRef<str>>(words: &[S]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = words;
    while let Some(word) = rest.first() {
        let used = match spelled(word.as_ref()) {
            Spelled::Kept(used) => {
                kept.extend(rest.iter().take(used).map(|word| word.as_ref().to_owned()));
                used
            }
            Spelled::Listening(used) => used,
            Spelled::Cluster(left, used) => {
                kept.push(left);
                used
            }
        };
        rest = rest.get(used..).unwrap_or_default();
    }
    kept
}

/// Whether a word begins an option about listening.
pub(super) fn is_about(word: &str) -> bool {
    !matches!(spelled(word), Spelled::Kept(_))
}

fn spelled(word: &str) -> Spelled {
    if let Some(long) = word.strip_prefix("--") {
        return of_long(long);
    }
    let Some(letters) = word.strip_prefix('-') else { return Spelled::Kept(1) };
    for (at, letter) in letters.char_indices() {
        let rest = letters.get(at + letter.len_utf8()..).unwrap_or_default();
        let takes = takes_value(letter);
        if letter == 'l' || letter == 'U' {
            let used = if rest.is_empty() { 2 } else { 1 };
            let before = letters.get(..at).unwrap_or_default();
            return if before.is_empty() {
                Spelled::Listening(used)
            } else {
                Spelled::Cluster(format!("-{before}"), used)
            };
        }
        if takes {
            return Spelled::Kept(if rest.is_empty() { 2 } else { 1 });
        }
    }
    Spelled::Kept(1)
}

fn of_long(long: &str) -> Spelled {
    let (name, used) = match long.split_once('=') {
        Some((name, _)) => (name, 1),
        None => (long, 2),
    };
    let grammar = Grammar::memcached();
    let longs = || grammar.options().filter(|spec| !spec.spelling.long().is_empty());
    let exact = longs().find(|spec| spec.spelling.long() == name);
    let mut alike =
        longs().filter(|spec| !name.is_empty() && spec.spelling.long().starts_with(name));
    // As memcached reads: an abbreviation counts where only one option begins so.
    let found = exact.or_else(|| alike.next().filter(|_| alike.next().is_none()));
    let Some(spec) = found else { return Spelled::Kept(1) };
    if [&listening::LISTEN, &listening::UDP_PORT].iter().any(|about| std::ptr::eq(*about, spec)) {
        return Spelled::Listening(used);
    }
    Spelled::Kept(if spec.takes_value() { used } else { 1 })
}

fn takes_value(letter: char) -> bool {
    let letter = u8::try_from(letter).ok();
    let grammar = Grammar::memcached();
    grammar.options().any(|spec| {
        spec.spelling.short().is_some() && spec.spelling.short() == letter && spec.takes_value()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_goes_and_nothing_else() {
        for (before, after) in [
            ("-l 0.0.0.0 -m 64", "-m 64"),
            ("-l0.0.0.0 -U0 -m64", "-m64"),
            ("-m 64 -vl 0.0.0.0 -c 5", "-m 64 -v -c 5"),
            ("-vvU 11211 -d", "-vv -d"),
            ("--listen=1.2.3.4 --udp-port 7 --port=1", "--port=1"),
            ("--udp 7 -p 1", "-p 1"),
            // Ambiguous, so memcached refuses it too.
            ("--lis 1.2.3.4 -p 1", "--lis 1.2.3.4 -p 1"),
            ("-p 11211 -u l -P /run/l", "-p 11211 -u l -P /run/l"),
            ("-o modern,listen -ul", "-o modern,listen -ul"),
            ("-l", ""),
            ("", ""),
        ] {
            let words: Vec<&str> = before.split_whitespace().collect();
            assert_eq!(without(&words).join(" "), after, "{before}");
        }
    }
}
