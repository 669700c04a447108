//! Debian's file of options, one switch a line: edited so that comments and other options stay.

use std::{path::PathBuf, sync::Arc};

use super::listening::{self, Loopback};
use crate::memcached_options::conf_file;
use crate::rules::Running;

/// The text with one `-l` and one `-U 0`; none where the result would not be read as meant.
pub(super) fn shut(text: &str, at: Loopback) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut wanted = vec![format!("-l {}", at.list()), "-U 0".to_owned()];
    let mut ends_in_line = true;
    for line in text.split_inclusive('\n') {
        let (body, end) = match line.strip_suffix('\n') {
            Some(body) => (body, "\n"),
            None => (line, ""),
        };
        ends_in_line = !end.is_empty();
        edit_line(body, end, &mut wanted, &mut out);
    }
    if !wanted.is_empty() && !ends_in_line {
        out.push('\n');
    }
    for option in wanted {
        out.push_str(&option);
        out.push('\n');
    }
    is_shut(&out).then_some(out)
}

/// A line keeps what is not about listening; the first of each kind gets the new value.
fn edit_line(body: &str, end: &str, wanted: &mut Vec<String>, out: &mut String) {
    let active_length = comment_at(body).unwrap_or(body.len());
    let (active, comment) = body.split_at(active_length);
    let trimmed = active.trim();
    let is_read =
        trimmed.starts_with('-') && !trimmed.starts_with("-d") && !trimmed.starts_with("-h");
    let words: Vec<&str> = trimmed.split_whitespace().collect();
    if !is_read || !words.iter().any(|word| listening::is_about(word)) {
        out.push_str(body);
        out.push_str(end);
        return;
    }
    let mut kept = listening::without(&words);
    let is_udp = |word: &&&str| word.starts_with("-U") || word.starts_with("--udp");
    let says_udp = words.iter().any(|word| is_udp(&word));
    let says_listen = words.iter().any(|word| listening::is_about(word) && !is_udp(&word));
    let mut take = |about: bool, start: &str| {
        if let Some(at) = wanted.iter().position(|option| about && option.starts_with(start)) {
            kept.push(wanted.remove(at));
        }
    };
    take(says_listen, "-l");
    take(says_udp, "-U");
    if kept.is_empty() {
        // A further one: they would add up. It stays to be read, as a comment.
        out.push_str("# ");
        out.push_str(body);
    } else {
        let indent = active.get(..active.len() - active.trim_start().len()).unwrap_or_default();
        let gap = active.get(active.trim_end().len()..).unwrap_or_default();
        out.push_str(indent);
        out.push_str(&kept.join(" "));
        out.push_str(gap);
        out.push_str(comment);
    }
    out.push_str(end);
}

/// Where a comment begins: at a `#` that no backslash escapes.
fn comment_at(line: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if c == '#' && !escaped {
            return Some(at);
        }
        escaped = c == '\\';
    }
    None
}

/// Reads the result as the wrapper will.
fn is_shut(text: &str) -> bool {
    let path = Arc::new(PathBuf::from("memcached.conf"));
    let read = conf_file::read(text.as_bytes(), &path);
    let words: Vec<String> =
        read.words.iter().map(|word| word.text.to_string_lossy().into_owned()).collect();
    let words = std::iter::once("memcached").chain(words.iter().map(String::as_str));
    let running = Running::new(words, Some("1.5.5"));
    read.errors.is_empty() && running.is_local() == Some(true) && running.udp_port() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: Loopback = Loopback { v6: false };

    #[test]
    fn comments_and_other_options_stay() {
        let before = "# head\n-d\n\n-m 64   # memory\n  -l 0.0.0.0 # why\n-U 11211\n-l ::\n-u x\n";
        let after = "# head\n-d\n\n-m 64   # memory\n  -l 127.0.0.1 # why\n-U 0\n# -l ::\n-u x\n";
        assert_eq!(shut(before, V4).unwrap(), after);
        assert_eq!(shut(after, V4).unwrap(), after, "a second time changes nothing");
    }

    #[test]
    fn what_is_missing_is_added_at_the_end() {
        assert_eq!(shut("-m 64", V4).unwrap(), "-m 64\n-l 127.0.0.1\n-U 0\n");
        let both = shut("-p 1 -l 10.0.0.1 -vU 5\n", Loopback { v6: true }).unwrap();
        assert_eq!(both, "-p 1 -v -l 127.0.0.1,::1\n-U 0\n");
        assert_eq!(shut("", V4).unwrap(), "-l 127.0.0.1\n-U 0\n");
    }

    #[test]
    fn lines_that_are_not_read_are_not_edited() {
        // The wrapper drops a line that begins with -d as a whole, its -l too.
        let text = "-d -l 0.0.0.0\n#-l 1.2.3.4\nlogfile -l\n-l 1.2.3.4\n";
        let after = "-d -l 0.0.0.0\n#-l 1.2.3.4\nlogfile -l\n-l 127.0.0.1\n-U 0\n";
        assert_eq!(shut(text, V4).unwrap(), after);
    }

    #[test]
    fn an_option_and_its_value_on_two_lines_is_not_trusted() {
        // The wrapper joins both lines; what memcached makes of the rest was proved by reading it.
        let after = shut("-l\n0.0.0.0\n", V4);
        assert!(after.is_none_or(|text| is_shut(&text)));
    }
}
