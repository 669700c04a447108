//! A drop-in that gives a systemd unit a whole new command line: for units whose own text, or a
//! drop-in's, says where to listen.

use super::listening::{self, Loopback};
use crate::facts::{FileRole, StartConfig, StartKind};

/// The name sorts behind others', so that it counts.
const NAME: &str = "zz-kannuki-close.conf";

/// Path and text; none for what is no plain unit.
pub(super) fn shut(start: &StartConfig, at: Loopback) -> Option<(String, String)> {
    let unit = start.id.strip_prefix("systemd:")?;
    let [command] = start.commands.as_slice() else { return None };
    let has_wrapper = start.files.iter().any(|file| file.role == FileRole::Options);
    if start.kind != StartKind::Systemd || has_wrapper || has_prefix(start) {
        return None;
    }
    let words: Vec<&str> = command.argv().collect();
    let (program, options) = words.split_first()?;
    let mut line = vec![word(program)?];
    for option in listening::without(options) {
        line.push(word(&option)?);
    }
    line.extend(["-l".to_owned(), at.list().to_owned(), "-U".to_owned(), "0".to_owned()]);
    let text = format!(
        "# Written by `kannuki close`; `kannuki close --list` says how to take it back.\n\
         [Service]\nExecStart=\nExecStart={}\n",
        line.join(" ")
    );
    Some((format!("/etc/systemd/system/{unit}.d/{NAME}"), text))
}

/// Marks before the program (`-`, `@`, `+`, `!`) change how it is run, and the facts do not keep
/// them.
fn has_prefix(start: &StartConfig) -> bool {
    let texts = start.files.iter().filter_map(|file| file.text.known());
    texts.flat_map(|text| text.lines()).any(|line| {
        let value = line.trim().strip_prefix("ExecStart=").map(str::trim);
        value.is_some_and(|value| value.starts_with(['-', '@', ':', '+', '!', '|']))
    })
}

/// A word as systemd reads it back; none for what would need more than quotes.
fn word(text: &str) -> Option<String> {
    if text.contains(['"', '\'', '\\']) || text.chars().any(char::is_control) || text == ";" {
        return None;
    }
    let text = text.replace('%', "%%").replace('$', "$$");
    Some(if text.is_empty() || text.contains(' ') { format!("\"{text}\"") } else { text })
}
