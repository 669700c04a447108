//! Command lines of caches in boot scripts, cron tables and supervisors' files.
//!
//! A script can do anything; only lines that name a cache's program are understood, and of them
//! what stands behind the program up to the next sign of the shell.

use super::known;

/// Longest line that is looked at, in bytes.
const LINE_BYTES_MAX: usize = 8192;

/// A command line that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// From 1.
    pub(crate) line: u32,
    /// The text before the program: a cron line's times and user.
    pub(crate) before: String,
}

/// The cache's command lines in a script.
pub(crate) fn commands(text: &str) -> Vec<Found> {
    super::lines(text).filter_map(|(line, text)| command(text, line)).collect()
}

/// The cache's command in one line.
pub(crate) fn command(text: &str, line: u32) -> Option<Found> {
    let text = text.trim();
    if text.starts_with('#') || text.len() > LINE_BYTES_MAX {
        return None;
    }
    let words = words(text);
    // A program stands at a start of a command: `if [ -x /usr/bin/memcached ]` starts nothing.
    let at = (0..words.len()).find(|at| {
        let (word, before) = (words.get(*at), at.checked_sub(1).and_then(|at| words.get(at)));
        word.is_some_and(|word| is_program(&word.text))
            && !before.is_some_and(|before| {
                ["-x", "-f", "-e", "killall", "pkill"].contains(&before.text.as_str())
            })
    })?;
    let (before, from) = words.split_at_checked(at)?;
    let ends = |word: &Word| word.ends_command;
    let len = from.iter().position(ends).unwrap_or(from.len());
    let argv: Vec<String> = from.iter().take(len).map(|word| word.text.clone()).collect();
    let before: Vec<&str> = before.iter().map(|word| word.text.as_str()).collect();
    (!argv.is_empty()).then(|| Found { argv, line, before: before.join(" ") })
}

fn is_program(word: &str) -> bool {
    known::is_cache(word)
}

struct Word {
    text: String,
    /// `;`, `|`, `&`, a redirection: the command ended before it.
    ends_command: bool,
}

/// Splits as a shell would, without running or expanding anything.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars().peekable();
    let plain = |text| Word { text, ends_command: false };
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take().map(plain)),
            (None, ';' | '|' | '&' | '>' | '<' | '(' | ')') => {
                // `2>file`: the number belongs to the redirection.
                let number = word.take_if(|w| c == '>' && w.bytes().all(|b| b.is_ascii_digit()));
                words.extend(word.take().map(plain));
                let text = number.unwrap_or_default() + &c.to_string();
                words.push(Word { text, ends_command: true });
            }
            // `su -c "memcached -d"`: what stands in quotes may be a command itself.
            (None, '"' | '\'') if word.is_none() && quoted_command(chars.clone(), c) => {}
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (quote, '\\') if quote != Some('\'') => {
                word.get_or_insert_default().extend(chars.next());
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.map(plain));
    for word in &mut words {
        if word.text.ends_with(['"', '\'']) {
            word.text.pop();
        }
    }
    words
}

/// Whether the text in quotes is a cache's command line with arguments.
fn quoted_command(chars: std::iter::Peekable<std::str::Chars<'_>>, quote: char) -> bool {
    let inside: String = chars.take_while(|c| *c != quote).take(LINE_BYTES_MAX).collect();
    let mut words = inside.split_ascii_whitespace();
    words.next().is_some_and(is_program) && words.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<String> {
        command(line, 1).map(|found| found.argv).unwrap_or_default()
    }

    #[test]
    fn a_command_is_found_behind_what_starts_it() {
        let expected = ["/usr/bin/memcached", "-d", "-l", "0.0.0.0"];
        for line in [
            "/usr/bin/memcached -d -l 0.0.0.0",
            "nohup /usr/bin/memcached -d -l 0.0.0.0 > /dev/null 2>&1 &",
            "@reboot root /usr/bin/memcached -d -l 0.0.0.0",
            "su - nobody -c '/usr/bin/memcached -d -l 0.0.0.0'",
            "[ -x /usr/bin/memcached ] && /usr/bin/memcached -d -l \"0.0.0.0\" # x",
        ] {
            assert_eq!(argv(line), expected, "{line}");
        }
        let found = command("*/5 * * * * root memcached -d", 7).unwrap();
        assert_eq!((found.before.as_str(), found.line), ("*/5 * * * * root", 7));
    }

    #[test]
    fn what_only_names_a_cache_starts_none() {
        for line in [
            "# memcached -d",
            "killall memcached",
            "test -x /usr/bin/memcached",
            "memcached-tool x",
        ] {
            assert!(argv(line).is_empty(), "{line}");
        }
        assert!(argv(&"x".repeat(LINE_BYTES_MAX + 1)).is_empty());
    }
}
