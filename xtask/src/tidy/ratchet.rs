//! What is too long today is listed in [`LIST`], and the list only shrinks: an entry that is no
//! longer needed, or that allows more than is used, is itself a fault. New entries are refused by
//! [`ENTRIES_MAX`].

use super::Fault;
use super::lengths::Long;

/// Lines of `path | fn name | lines`; lines that begin with `#` are comments.
pub(crate) const LIST: &str = "xtask/ratchet.txt";

/// How many entries the list may have. Lower it whenever one goes; it is never raised.
const ENTRIES_MAX: usize = 0;

/// The faults among what is too long, and in the list itself.
pub(crate) fn judge(longs: &[Long], list: Option<&str>) -> Vec<Fault> {
    let entries = entries(list.unwrap_or_default());
    let mut faults: Vec<Fault> = longs
        .iter()
        .filter(|long| !entries.iter().any(|entry| entry.allows(long)))
        .map(|long| {
            let message = format!(
                "{} has {} lines, {} at the most: cut it where a reader would draw breath",
                long.name, long.lines, long.lines_max
            );
            Fault::new(&long.path, long.line, message)
        })
        .collect();
    for entry in entries.iter().filter(|entry| !longs.iter().any(|long| entry.is_tight(long))) {
        let message = format!("{} | {}: shorter now, so lower or drop it", entry.path, entry.name);
        faults.push(Fault::new(LIST, entry.at, message));
    }
    if entries.len() > ENTRIES_MAX {
        let message = format!("{} entries, {ENTRIES_MAX} at the most: shrink only", entries.len());
        faults.push(Fault::new(LIST, 0, message));
    }
    faults
}

struct Entry {
    at: usize,
    path: String,
    name: String,
    lines: usize,
}

impl Entry {
    fn allows(&self, long: &Long) -> bool {
        self.path == long.path && self.name == long.name && long.lines <= self.lines
    }

    fn is_tight(&self, long: &Long) -> bool {
        self.allows(long) && long.lines == self.lines
    }
}

/// A malformed line becomes an entry that allows nothing, and so a fault.
fn entries(list: &str) -> Vec<Entry> {
    let lines = list.lines().enumerate();
    lines
        .filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
        .map(|(index, line)| {
            let mut fields = line.split('|').map(str::trim);
            let mut field = || fields.next().unwrap_or_default().to_owned();
            let (path, name) = (field(), field());
            Entry { at: index + 1, path, name, lines: field().parse().unwrap_or(0) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(lines: usize) -> Long {
        let (path, name) = ("a.rs".to_owned(), "fn f".to_owned());
        Long { path, line: 3, name, lines, lines_max: 70 }
    }

    #[test]
    fn an_unlisted_long_function_is_a_fault() {
        assert_eq!(judge(&[long(71)], None).len(), 1);
    }

    #[test]
    fn a_list_only_shrinks() {
        let messages = |longs: &[Long], list| {
            let faults = judge(longs, Some(list));
            faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>()
        };
        // Even a fitting entry is one more than the list may have.
        assert_eq!(messages(&[long(90)], "a.rs | fn f | 90").len(), 1);
        // Grown beyond its entry; shrunk below it; gone.
        assert!(messages(&[long(91)], "a.rs | fn f | 90")[0].contains("has 91 lines"));
        assert!(messages(&[long(80)], "a.rs | fn f | 90")[0].contains("shorter now"));
        assert!(messages(&[], "a.rs | fn f | 90")[0].contains("shorter now"));
        assert!(messages(&[], "# a comment\n\n").is_empty());
    }
}
