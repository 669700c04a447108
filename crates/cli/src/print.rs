//! Messages for people, on stderr: what happened, where, what to do.
//!
//! ```text
//! error: invalid value "many" for `threads`: must be a number
//!  --> kannuki.toml:1:11
//!   |
//! 1 | threads = "many"
//!   |           ^
//! ```

use std::{fmt::Write as _, io::Write as _};

use kannuki_audit::{
    facts::printable,
    memcached_options::{OptionError, OptionWarning, Source},
};

use crate::load::ReadFile;

/// Longest line of a file that a message shows.
const SHOWN_COLUMNS_MAX: usize = 160;

/// Prints every error.
pub(crate) fn errors<'e>(errors: impl Iterator<Item = &'e OptionError>, files: &[ReadFile]) {
    for error in errors {
        stderr(&shape("error", &error.message, &error.origin, files));
    }
}

/// Prints every warning.
pub(crate) fn warnings(warnings: &[OptionWarning], files: &[ReadFile]) {
    for warning in warnings {
        stderr(&shape("warning", &warning.message, &warning.origin, files));
    }
}

/// Says why a command could not do what was asked; answers its exit code.
pub(crate) fn failed(message: &str) -> u8 {
    error(message);
    crate::exit::INCOMPLETE
}

/// One error that has no place in a file.
pub(crate) fn error(message: &str) {
    stderr(&format!("error: {}\n", printable(message)));
}

/// Writes to stderr; there is nobody to tell if that fails.
pub(crate) fn stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes to stdout. A reader that went away (`| head`) is no error.
pub(crate) fn stdout(text: &str) -> u8 {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            stderr(&format!("error: cannot write: {error}\n"));
            crate::exit::INCOMPLETE
        }
        _ => crate::exit::FINE,
    }
}

fn shape(grade: &str, message: &str, origin: &Source, files: &[ReadFile]) -> String {
    let mut out = format!("{grade}: {}\n", masked(message));
    match origin {
        Source::Default | Source::Situation(_) => {}
        Source::File { path, line, column } => {
            let _ = writeln!(out, " --> {}", masked(&origin.to_string()));
            let text = files.iter().find(|file| file.path == *path).map(|file| file.text.as_str());
            let text = text.and_then(|text| text.lines().nth(line.saturating_sub(1)));
            if let Some(text) = text.filter(|text| text.len() <= SHOWN_COLUMNS_MAX) {
                excerpt(&mut out, &masked(text), *line, *column);
            }
        }
        Source::Argument(_) | Source::Implied { .. } => {
            let _ = writeln!(out, " --> {}", masked(&origin.to_string()));
        }
    }
    out
}

fn excerpt(out: &mut String, text: &str, line: usize, column: usize) {
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let _ = writeln!(out, "{margin} |\n{number} | {text}");
    if column > 0 {
        let _ = writeln!(out, "{margin} | {}^", " ".repeat(column - 1));
    }
}

/// Without bytes that steer a terminal; one column each, so that the caret below stays in place.
fn masked(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;

    #[test]
    fn a_place_in_a_file_is_shown() {
        let path = Arc::new(PathBuf::from("k.toml"));
        let files =
            [ReadFile { path: Arc::clone(&path), text: "a = 1\nport = \"x\"\n".to_owned() }];
        let origin = Source::File { path, line: 2, column: 8 };
        assert_eq!(
            shape("error", "bad", &origin, &files),
            "error: bad\n --> k.toml:2:8\n  |\n2 | port = \"x\"\n  |        ^\n"
        );
        assert_eq!(shape("error", "b\x1bd", &Source::Default, &files), "error: b?d\n");
        let origin = Source::Argument(3);
        assert_eq!(shape("warning", "w", &origin, &files), "warning: w\n --> argument 3\n");
    }
}
