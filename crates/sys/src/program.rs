//! The program's own pages: what only its start needed is given back.
//!
//! Reading options, certificates and users walks through megabytes of code and tables that a
//! running server never looks at again. The kernel keeps such pages mapped until memory is short,
//! and maps sixteen where one was touched, so that half of what a small cache costs was its start.
//!
//! Invariant: only pages that are the file's own are given back: private mappings that cannot be
//! written and of which no page was ever changed. Whatever is needed after all is read again from
//! the page cache, as after any shortage of memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;

use rustix::mm::Advice;

/// Of the list of mappings, read: one takes some 700 bytes, and this program has about fifty. What
/// is behind it keeps its pages.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// Gives back the pages of program and libraries that are resident now; returns their bytes. Those
/// in use come back at once, so call it when starting is over.
///
/// # Errors
/// When the kernel does not list the mappings, or refuses; nothing is lost by it.
pub fn give_back_start() -> io::Result<u64> {
    let mut list = String::new();
    File::open("/proc/self/smaps")?.take(LIST_BYTES_MAX).read_to_string(&mut list)?;
    let mut given = 0;
    for mapping in unchanged(&list) {
        let start = std::ptr::without_provenance_mut(mapping.range.start);
        // SAFETY: the kernel lists this range as a private mapping of a file, not writable, without
        // one changed page. Its pages therefore read as the file does, before and after; as they do
        // whenever the kernel itself drops them. Nothing here unmaps a program's files, so that the
        // range is still what was listed.
        unsafe { rustix::mm::madvise(start, mapping.range.len(), Advice::LinuxDontNeed) }?;
        given += mapping.resident;
    }
    Ok(given)
}

/// A mapping whose pages are the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unchanged {
    range: Range<usize>,
    resident: u64,
}

/// Those among the kernel's list (`/proc/PID/smaps`).
fn unchanged(list: &str) -> Vec<Unchanged> {
    let mut found = Vec::new();
    let mut file: Option<Unchanged> = None;
    for line in list.lines() {
        let mut words = line.split_ascii_whitespace();
        let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let kib = value.parse::<u64>().unwrap_or(0);
        match name {
            "Rss:" => {
                if let Some(file) = &mut file {
                    file.resident = kib.saturating_mul(1024);
                }
            }
            // Changed pages are anonymous; locked ones are to stay.
            "Anonymous:" | "Locked:" if kib > 0 => file = None,
            "" => {}
            name if name.ends_with(':') => {}
            range => {
                found.extend(file.take());
                let path = line.split_ascii_whitespace().nth(5).unwrap_or_default();
                let is_files = matches!(value, "r-xp" | "r--p") && path.starts_with('/');
                file = range_of(range)
                    .filter(|_| is_files)
                    .map(|range| Unchanged { range, resident: 0 });
            }
        }
    }
    // The last one is let go: the list may have been cut there.
    found.retain(|mapping| mapping.resident > 0);
    found
}

/// `55ca780f6000-55ca7827e000`
fn range_of(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
1000-3000 r--p 00000000 fe:00 12 /usr/bin/a b
Rss:                   8 kB
Anonymous:             0 kB
Locked:                0 kB
VmFlags: rd mr mw me sd
3000-5000 r-xp 00002000 fe:00 12 /usr/bin/a b
Rss:                   4 kB
Anonymous:             4 kB
5000-6000 rw-p 00004000 fe:00 12 /usr/bin/a b
Rss:                   4 kB
Anonymous:             0 kB
6000-7000 r--p 00000000 00:00 0 
Rss:                   4 kB
Anonymous:             0 kB
7000-8000 r--s 00000000 fe:00 13 /shared
Rss:                   4 kB
Anonymous:             0 kB
8000-9000 r-xp 00000000 fe:00 14 /untouched
Rss:                   0 kB
Anonymous:             0 kB
9000-a000 r-xp 00000000 fe:00 14 /locked
Rss:                   4 kB
Anonymous:             0 kB
Locked:                4 kB
a000-c000 r-xp 00000000 fe:00 14 /usr/lib/c.so
Rss:                   4 kB
Anonymous:             0 kB
Locked:                0 kB
d000-e000 r-xp 00000000 fe:00 15 /cut
Rss:                   4 kB
";

    #[test]
    fn only_unchanged_pages_of_files_are_given_back() {
        let given = [
            Unchanged { range: 0x1000..0x3000, resident: 8192 },
            Unchanged { range: 0xa000..0xc000, resident: 4096 },
        ];
        assert_eq!(unchanged(LIST), given);
        assert_eq!(unchanged("-\nx-y r-xp 0 0 1 /a\n2-1 r-xp 0 0 1 /a\n\n"), []);
    }

    #[test]
    fn a_program_goes_on_without_the_pages_of_its_start() {
        let own = std::env::current_exe().unwrap();
        let resident = || {
            let list = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let end = list.lines().position(|line| line.contains("[heap]")).unwrap_or(usize::MAX);
            let all = list.lines().take(end).filter_map(|line| line.strip_prefix("Rss:"));
            all.filter_map(|rss| rss.trim().strip_suffix(" kB")?.parse::<u64>().ok()).sum::<u64>()
        };
        // Reading the whole file fills the page cache, not this process.
        let written = std::fs::read(&own).unwrap();
        let before = resident();
        let given = give_back_start().unwrap();
        assert!(given > 0 && resident() < before, "{given} of {before}");
        // Code and tables read as they did.
        assert_eq!(std::fs::read(&own).unwrap(), written);
        assert_eq!(unchanged(LIST).len(), 2);
        assert_eq!(format!("{:>6.2}", 2.5_f64.sqrt()), "  1.58");
    }
}
