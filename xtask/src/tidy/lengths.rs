//! How long files and functions are, in production lines.

use super::source::{Source, words};
use super::tree::File;

/// One screen; the aim is 25.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
/// The aim is 400.
pub(crate) const FILE_LINES_MAX: usize = 800;

/// Something longer than it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Long {
    /// The file it is in.
    pub(crate) path: String,
    /// Where it begins; zero for a whole file.
    pub(crate) line: usize,
    /// `fn name`, or `file`.
    pub(crate) name: String,
    /// How long it is.
    pub(crate) lines: usize,
    /// How long it may be.
    pub(crate) lines_max: usize,
}

/// What is too long in this source.
pub(crate) fn measure(file: &File, source: &Source) -> Vec<Long> {
    let production = source.production_lines();
    let mut longs = Vec::new();
    let mut judge = |line, name: String, lines, lines_max| {
        if lines > lines_max {
            longs.push(Long { path: file.path.clone(), line, name, lines, lines_max });
        }
    };
    judge(0, "file".to_owned(), production, FILE_LINES_MAX);
    for (at, name, lines) in functions(&source.code[..production]) {
        judge(at + 1, format!("fn {name}"), lines, FUNCTION_LINES_MAX);
    }
    longs
}

/// Every function with a body: the index of its first line, its name, its lines from signature to
/// closing brace.
fn functions(code: &[String]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, line) in code.iter().enumerate() {
        for column in words(line, "fn") {
            let after = line[column + 2..].trim_start();
            let name: String =
                after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.is_empty() {
                continue; // A function pointer type.
            }
            if let Some(end) = body_end(code, at, column) {
                found.push((at, name, end - at + 1));
            }
        }
    }
    found
}

/// The line on which the body of the function that begins here closes; none for a declaration
/// without one.
fn body_end(code: &[String], at: usize, column: usize) -> Option<usize> {
    let mut braces = 0_usize;
    let mut brackets = 0_usize;
    for (index, line) in code.iter().enumerate().skip(at) {
        let from = if index == at { column } else { 0 };
        for c in line[from..].chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                ';' if brackets == 0 && braces == 0 => return None,
                '{' => braces += 1,
                '}' => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(usize, String, usize)> {
        functions(&Source::new(text).code)
    }

    #[test]
    fn a_function_runs_from_signature_to_closing_brace() {
        let text = "trait T {\n    fn a(x: [u8; 2]);\n    fn b()\n    where\n        u8: Copy,\n\
                    {\n}\n}\nfn c(f: fn(u8) -> u8) { f(1); }\n";
        assert_eq!(of(text), [(2, "b".to_owned(), 5), (8, "c".to_owned(), 1)]);
    }

    #[test]
    fn braces_in_literals_do_not_count() {
        assert_eq!(of("fn a() {\n    f('}', \"}\");\n}\n"), [(0, "a".to_owned(), 3)]);
    }
}
