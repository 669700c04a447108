//! `KEY=value` files that are read without a shell: systemd's `EnvironmentFile=`, `os-release`.
//!
//! Quotes are taken away, a backslash at a line's end joins the next line, and nothing is
//! expanded: `UDPPORT="${PORT}"` is the text `${PORT}` here. A shell that sources the same file
//! would expand it; that reader is `memcached_options::conf_file`.

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The line on which it begins, from 1.
    pub(crate) line: u32,
}

/// Reads the file; of a name that is assigned twice both stand here, and the later one counts.
pub(crate) fn read(text: &str) -> Vec<Variable> {
    let mut found = Vec::new();
    let mut lines = super::lines(text);
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let Some((name, start)) = line.split_once('=') else { continue };
        let name = name.trim_end();
        let mut value = Value::default();
        let mut more = value.take(start);
        while more {
            let Some((_, line)) = lines.next() else { break };
            more = value.take(line);
        }
        if is_name(name) {
            found.push(Variable { name: name.to_owned(), value: value.finish(), line: number });
        }
    }
    found
}

/// The value that counts.
pub(crate) fn last<'v>(variables: &'v [Variable], name: &str) -> Option<&'v Variable> {
    variables.iter().rev().find(|variable| variable.name == name)
}

fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// A value that may run over several lines.
#[derive(Default)]
struct Value {
    text: String,
    quote: Option<char>,
    /// Bytes that came from quotes and stay, blanks too.
    kept: usize,
    started: bool,
}

impl Value {
    /// Takes a line; whether the next one belongs to it.
    fn take(&mut self, line: &str) -> bool {
        let line = if self.started { line } else { line.trim_start() };
        self.started = true;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match (self.quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => self.quote = None,
                (None, '\'' | '"') => self.quote = Some(c),
                (Some('\''), _) => self.keep(c),
                (quote, '\\') => match chars.next() {
                    None => return true,
                    Some(next) => {
                        if quote.is_some() && !matches!(next, '"' | '\\' | '`' | '$') {
                            self.keep('\\');
                        }
                        self.keep(next);
                    }
                },
                (Some(_), _) => self.keep(c),
                (None, _) => self.text.push(c),
            }
        }
        if self.quote.is_some() {
            self.keep('\n');
        }
        self.quote.is_some()
    }

    fn keep(&mut self, c: char) {
        self.text.push(c);
        self.kept = self.text.len();
    }

    fn finish(mut self) -> String {
        let end = self.text.trim_end().len().max(self.kept);
        self.text.truncate(end);
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> String {
        last(&read(text), name).unwrap().value.clone()
    }

    #[test]
    fn quotes_joined_lines_and_later_assignments() {
        let text = "# x\nPORT=\"11211\"\nOPTIONS=\"-l 127.0.0.1 \\\n -U 0\"\n; y\nPORT=11212\n";
        assert_eq!(value(text, "PORT"), "11212");
        assert_eq!(value(text, "OPTIONS"), "-l 127.0.0.1  -U 0");
        assert_eq!(last(&read(text), "OPTIONS").unwrap().line, 3);
        assert_eq!(value("A='x y'\n", "A"), "x y");
        assert_eq!(value("A= x y  \n", "A"), "x y");
        assert_eq!(value("A='x '\n", "A"), "x ");
        assert_eq!(value("A=a\\\nb\n", "A"), "ab");
        assert_eq!(value("A=\r\nB=2\r\n", "A"), "");
        assert_eq!(value("A=\"open", "A"), "open\n");
    }

    #[test]
    fn nothing_is_expanded_and_shell_words_are_no_names() {
        assert_eq!(value("UDPPORT=\"${PORT}\"\n", "UDPPORT"), "${PORT}");
        assert!(read("export A=1\n1A=2\n=3\nnothing\n").is_empty());
    }
}
