//! `stats detail`: what is counted for each key prefix, while someone wants to know.
//!
//! Invariants:
//! - Switched off it costs one load; switched on, one short lock a key.
//! - The table never holds more than [`PREFIXES_MAX`] prefixes; what comes later is counted under
//!   [`REST`].

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use kannuki_protocol::reply::{escape_key, fits_a_line};

use crate::limits::PREFIXES_MAX;

/// Where prefixes beyond the bound are counted. No text key can be called so: it holds a blank.
const REST: &[u8] = b"(all others)";

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    /// A delete that found it.
    Delete,
    /// A get that found it.
    Hit,
    /// A get that did not.
    Miss,
    /// A store.
    Set,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

/// The table of prefixes.
#[derive(Debug)]
pub(crate) struct Prefixes {
    enabled: AtomicBool,
    delimiter: u8,
    table: Mutex<HashMap<Box<[u8]>, Counts>>,
}

impl Prefixes {
    /// An empty table; a prefix ends before `delimiter`.
    #[must_use]
    pub(crate) fn new(delimiter: u8, enabled: bool) -> Self {
        Self { enabled: AtomicBool::new(enabled), delimiter, table: Mutex::default() }
    }

    /// Counts from now on, or no longer.
    pub(crate) fn enable(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Whether it counts.
    #[must_use]
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// Counts one event, if switched on and if the key has a prefix.
    pub(crate) fn count(&self, key: &[u8], tally: Tally) {
        if self.is_enabled() {
            self.count_slowly(key, tally);
        }
    }

    #[cold]
    fn count_slowly(&self, key: &[u8], tally: Tally) {
        let Some((prefix, _)) = key
            .iter()
            .position(|&byte| byte == self.delimiter)
            .and_then(|end| key.split_at_checked(end))
        else {
            return;
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.contains_key(prefix) || table.len() < PREFIXES_MAX;
        let counts = table.entry(if known { prefix } else { REST }.into()).or_default();
        match tally {
            Tally::Delete => counts.deletes += 1,
            Tally::Hit => (counts.gets, counts.hits) = (counts.gets + 1, counts.hits + 1),
            Tally::Miss => counts.gets += 1,
            Tally::Set => counts.sets += 1,
        }
    }

    /// Forgets all counts.
    pub(crate) fn reset(&self) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// One line for each prefix, sorted, each ended by CRLF; without `END`.
    #[must_use]
    pub(crate) fn dump(&self) -> Vec<u8> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<_> = table.iter().collect();
        lines.sort_unstable_by_key(|&(prefix, _)| prefix);
        let mut out = Vec::new();
        for (prefix, counts) in lines {
            out.extend_from_slice(b"PREFIX ");
            if **prefix == *REST || fits_a_line(prefix) {
                out.extend_from_slice(prefix);
            } else {
                escape_key(&mut out, prefix);
            }
            let mut line = String::new();
            // Writing to a String cannot fail.
            let _ = write!(
                line,
                " get {} hit {} set {} del {}\r\n",
                counts.gets, counts.hits, counts.sets, counts.deletes
            );
            out.extend_from_slice(line.as_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_prefix_only_while_enabled() {
        let prefixes = Prefixes::new(b':', false);
        prefixes.count(b"a:1", Tally::Set);
        prefixes.enable(true);
        prefixes.count(b"a:1", Tally::Hit);
        prefixes.count(b"a:2", Tally::Miss);
        prefixes.count(b"plain", Tally::Set);
        prefixes.count(b"b:x:y", Tally::Delete);
        assert_eq!(
            String::from_utf8(prefixes.dump()).unwrap(),
            "PREFIX a get 2 hit 1 set 0 del 0\r\nPREFIX b get 0 hit 0 set 0 del 1\r\n"
        );
        prefixes.reset();
        assert!(prefixes.dump().is_empty());
        prefixes.count(b"a\r\nEND\r\n:1", Tally::Set);
        assert_eq!(
            String::from_utf8(prefixes.dump()).unwrap(),
            "PREFIX a%0D%0AEND%0D%0A get 0 hit 0 set 1 del 0\r\n"
        );
    }

    #[test]
    fn a_flood_of_prefixes_is_counted_together() {
        let prefixes = Prefixes::new(b':', true);
        for number in 0..PREFIXES_MAX + 10 {
            prefixes.count(format!("{number}:k").as_bytes(), Tally::Set);
        }
        let dump = String::from_utf8(prefixes.dump()).unwrap();
        assert_eq!(dump.lines().count(), PREFIXES_MAX + 1);
        assert!(dump.contains("PREFIX (all others) get 0 hit 0 set 10 del 0"));
    }
}
