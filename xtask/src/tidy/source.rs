//! A Rust source seen three ways: as it stands, as code without comments and literals, as comments
//! alone.
//!
//! Invariant: `lines`, `code` and `comments` have the same number of lines, and what stands in one
//! of the last two stands at the same column as in the first. A word of code inside a string or a
//! comment can then deceive no rule.

/// One source file, split by what its characters are.
pub(crate) struct Source {
    /// As written.
    pub(crate) lines: Vec<String>,
    /// Comments and the insides of literals blanked.
    pub(crate) code: Vec<String>,
    /// Everything but comments blanked.
    pub(crate) comments: Vec<String>,
}

impl Source {
    /// Splits `text`. Text that is no Rust gives some split, never an error: the compiler judges
    /// that.
    pub(crate) fn new(text: &str) -> Self {
        let mut splitter = Splitter { rest: text, code: String::new(), comments: String::new() };
        while splitter.step() {}
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        Self {
            lines: lines(text),
            code: lines(&splitter.code),
            comments: lines(&splitter.comments),
        }
    }

    /// How many lines come before the test module at the file's foot: the production lines.
    pub(crate) fn production_lines(&self) -> usize {
        let starts_tests = |at: usize| {
            let rest = self.code.get(at + 1..).unwrap_or_default();
            let next = rest.iter().map(|line| line.trim()).find(|line| !line.starts_with("#["));
            next.is_some_and(|line| {
                let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
                line.starts_with("mod ") && line.ends_with('{')
            })
        };
        (0..self.code.len())
            .find(|&at| self.code[at].trim() == "#[cfg(test)]" && starts_tests(at))
            .unwrap_or(self.code.len())
    }
}

/// The positions at which `word` stands alone in `line`, not as a part of a longer name.
pub(crate) fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

struct Splitter<'a> {
    rest: &'a str,
    code: String,
    comments: String,
}

/// What a run of characters is.
#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Splitter<'_> {
    /// Takes one run off the rest; false at the end.
    fn step(&mut self) -> bool {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else { return false };
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if rest.starts_with("//") {
            self.take(rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
        } else if rest.starts_with("/*") {
            self.take(block_comment_length(rest), Kind::Comment);
        } else if first == '"' {
            self.take(string_length(rest), Kind::Literal);
        } else if first == '\'' {
            match char_length(rest) {
                Some(length) => self.take(length, Kind::Literal),
                None => self.take(1, Kind::Code),
            }
        } else if is_name(first) {
            let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            self.take(length, Kind::Code);
            if matches!(&rest[..length], "r" | "br" | "cr")
                && let Some(length) = raw_string_length(self.rest)
            {
                self.take(length, Kind::Literal);
            }
        } else {
            self.take(first.len_utf8(), Kind::Code);
        }
        true
    }

    fn take(&mut self, length: usize, kind: Kind) {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        for c in taken.chars() {
            let blank = if c == '\n' { '\n' } else { ' ' };
            self.code.push(if matches!(kind, Kind::Code) { c } else { blank });
            self.comments.push(if matches!(kind, Kind::Comment) { c } else { blank });
        }
    }
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the literal that opens with the quote at the start, escapes considered.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw literal whose `#`s or quote stand at the start, if it is one.
fn raw_string_length(text: &str) -> Option<usize> {
    let hashes = text.bytes().take_while(|&byte| byte == b'#').count();
    text[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let inside = hashes + 1;
    Some(text[inside..].find(&close).map_or(text.len(), |at| inside + at + close.len()))
}

/// The length of the character literal at the start, or none where a lifetime stands there.
fn char_length(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|&(_, c)| c == '\'').map(|(at, _)| at + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new(text).code.join("\n")
    }

    #[test]
    fn comments_and_literals_are_blanked_in_place() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code("f(\"}\\\"{\", '{', b'\\'') }"), "f(      ,    , b    ) }");
        assert_eq!(code("r#\"a\"{\"# b"), "r        b");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("'\\u{7f}' x"), "         x");
    }

    #[test]
    fn comments_stand_at_their_own_column() {
        assert_eq!(Source::new("a // b\nc").comments, ["  // b", " "]);
    }

    #[test]
    fn production_ends_at_the_test_module_only() {
        let text = "#[cfg(test)]\nuse a;\nfn f() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n";
        assert_eq!(Source::new(text).production_lines(), 3);
        assert_eq!(Source::new("fn f() {}\n").production_lines(), 1);
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(
            words("unsafe unsafe_code run_unsafe unsafe", "unsafe").collect::<Vec<_>>(),
            [0, 30]
        );
    }
}
