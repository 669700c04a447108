//! Lines of a log: bounded in bytes, in time and by line.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read};

use super::clock::Deadline;

/// Longest log that is read, in bytes, unpacked: a year of brute force on a busy host.
const LOG_BYTES_MAX: u64 = 4 << 30;
/// Longest line that is understood, in bytes; the rest of a longer one is passed over.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// After so many lines the clock is asked.
const LOOK_EVERY: u64 = 4096;

/// Gives each line that one of these words stands in; without words, each line.
pub(super) fn lines(
    source: impl Read,
    deadline: Deadline,
    words: &[&[u8]],
    give: &mut dyn FnMut(&str),
) -> io::Result<()> {
    let mut source = BufReader::with_capacity(1 << 18, source);
    let mut line = Vec::new();
    let (mut total, mut number) = (0u64, 0u64);
    let mut inside = false;
    loop {
        line.clear();
        let read = source.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        // The rest of a long line is no line: a stranger may have chosen what it begins with.
        let rest = std::mem::replace(&mut inside, !line.ends_with(b"\n"));
        total += read as u64;
        number += 1;
        if total > LOG_BYTES_MAX {
            return Err(ErrorKind::FileTooLarge.into());
        }
        if number.is_multiple_of(LOOK_EVERY) && deadline.left().is_none() {
            return Err(ErrorKind::TimedOut.into());
        }
        let says = |word: &&[u8]| memchr::memmem::find(&line, word).is_some();
        if !rest && (words.is_empty() || words.iter().any(says)) {
            give(String::from_utf8_lossy(&line).trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rest_of_a_long_line_is_no_line() {
        let long = "x".repeat(usize::try_from(LINE_BYTES_MAX).unwrap());
        let text = format!("first sshd\n{long}forged sshd\nlast sshd\n");
        let mut seen = Vec::new();
        let deadline = Deadline::after(Duration::from_secs(60));
        lines(text.as_bytes(), deadline, &[b"sshd"], &mut |line| seen.push(line.to_owned()))
            .unwrap();
        assert_eq!(seen, ["first sshd", "last sshd"]);
    }
}
