//! Files of shell variables: `/etc/sysconfig/memcached` (Red Hat, Fedora, SUSE) and
//! `/etc/conf.d/memcached` (Alpine, Gentoo).
//!
//! A later assignment wins. `$NAME` stands for an earlier assignment of the same file, as for the
//! init scripts that source it.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, sync::Arc};

use super::{ConfFile, shell_words};
use crate::memcached_options::source::{Source, Word};

/// What a variable turns into.
enum Meaning {
    /// The value of this flag.
    Flag(&'static str),
    /// Words of the command line.
    Words,
    /// Nothing: the start script's own business.
    Nothing,
}

/// The variables of all distributions. Their order is that of the command line, so that what stands
/// in the free words overrides the variables, as in the units and scripts.
const VARIABLES: &[(&[u8], Meaning)] = &[
    (b"PORT", Meaning::Flag("-p")),
    (b"UDPPORT", Meaning::Flag("-U")),
    (b"SOCKET", Meaning::Flag("-s")),
    (b"SOCKET_MASK", Meaning::Flag("-a")),
    (b"LISTENON", Meaning::Flag("-l")),
    (b"USER", Meaning::Flag("-u")),
    (b"MEMCACHED_USER", Meaning::Flag("-u")),
    (b"MEMCACHED_RUNAS", Meaning::Flag("-u")),
    (b"CACHESIZE", Meaning::Flag("-m")),
    (b"MEMUSAGE", Meaning::Flag("-m")),
    (b"MAXCONN", Meaning::Flag("-c")),
    (b"OPTIONS", Meaning::Words),
    (b"MISC_OPTS", Meaning::Words),
    (b"MEMCACHED_PARAMS", Meaning::Words),
    (b"MEMCACHED_BINARY", Meaning::Nothing),
    (b"MEMCACHED_GROUP", Meaning::Nothing),
    (b"ENABLE_MEMCACHED", Meaning::Nothing),
    (b"PIDBASE", Meaning::Nothing),
];

struct Assignment {
    name: Vec<u8>,
    value: Vec<u8>,
    source: Source,
}

pub(super) fn read(bytes: &[u8], path: &Arc<PathBuf>, file: &mut ConfFile) {
    let assignments = scan(bytes, path, file);
    for assignment in &assignments {
        if !VARIABLES.iter().any(|(name, _)| *name == assignment.name) {
            let name = assignment.name.escape_ascii();
            let message = format!("unknown variable \"{name}\" is ignored");
            file.warn(message, assignment.source.clone());
        }
    }
    for (name, meaning) in VARIABLES {
        let last = assignments.iter().rev().find(|assignment| assignment.name == *name);
        if let Some(assignment) = last.filter(|assignment| !assignment.value.is_empty()) {
            add_words(meaning, assignment, file);
        }
    }
}

/// The name that a line assigns to, if it does.
pub(super) fn assigned_name(line: &[u8]) -> Option<&[u8]> {
    let line = without_export(line);
    let (name, rest) = line.split_at_checked(shell_words::name_length(line))?;
    (!name.is_empty() && rest.starts_with(b"=")).then_some(name)
}

fn without_export(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"export ").unwrap_or(line).trim_ascii_start()
}

fn add_words(meaning: &Meaning, assignment: &Assignment, file: &mut ConfFile) {
    let source = assignment.source.clone();
    let word = |text| Word { text: OsString::from_vec(text), source: source.clone() };
    match meaning {
        Meaning::Flag(flag) => {
            file.words.extend([flag.as_bytes().to_vec(), assignment.value.clone()].map(word));
        }
        Meaning::Words => match shell_words::split(&assignment.value, &|_| None) {
            Ok(words) => file.words.extend(words.into_iter().map(word)),
            Err(fault) => {
                let name = assignment.name.escape_ascii();
                file.fail(format!("{name}: {fault}"), source);
            }
        },
        Meaning::Nothing => {}
    }
}

/// Reads the assignments; a value in quotes may run over several lines.
fn scan(bytes: &[u8], path: &Arc<PathBuf>, file: &mut ConfFile) -> Vec<Assignment> {
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        rest = rest.trim_ascii_start();
        let source = Source::line(path, line_number(bytes, rest));
        let (line, after) = split_line(rest);
        if line.is_empty() || line.starts_with(b"#") {
            rest = after;
            continue;
        }
        let Some(name) = assigned_name(line) else {
            let line = line.escape_ascii();
            file.warn(format!("\"{line}\" is no assignment and is ignored"), source);
            rest = after;
            continue;
        };
        let start = without_export(rest).get(name.len() + 1..).unwrap_or_default();
        let mut value = Vec::new();
        let lookup = |name: &[u8]| lookup(&assignments, name);
        rest = match take_value(start, &mut value, &lookup) {
            Ok(rest) => {
                assignments.push(Assignment { name: name.to_vec(), value, source });
                rest
            }
            Err(fault) => {
                file.fail(format!("{}: {fault}", name.escape_ascii()), source);
                after
            }
        };
    }
    assignments
}

/// Moves a value into `value`; answers what follows its line.
///
/// systemd takes a value without quotes up to the end of the line, a shell up to the first blank;
/// the files in use mean the former.
fn take_value<'t>(
    text: &'t [u8],
    value: &mut Vec<u8>,
    lookup: shell_words::Lookup<'_>,
) -> Result<&'t [u8], shell_words::Fault> {
    let mut rest = text;
    loop {
        rest = if rest.first().is_some_and(u8::is_ascii_whitespace) {
            rest
        } else {
            shell_words::take_word(rest, value, lookup)?
        };
        let (line, after) = split_line(rest);
        let line = line.trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(after);
        }
        value.push(b' ');
        rest = rest.trim_ascii_start();
    }
}

fn lookup(assignments: &[Assignment], name: &[u8]) -> Option<Vec<u8>> {
    let last = assignments.iter().rev().find(|assignment| assignment.name == name);
    last.map(|assignment| assignment.value.clone())
}

fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (line, rest.get(1..).unwrap_or_default())
}

/// The line on which `rest`, the end of `all`, begins.
fn line_number(all: &[u8], rest: &[u8]) -> usize {
    let before = all.len().saturating_sub(rest.len());
    1 + all.iter().take(before).filter(|b| **b == b'\n').count()
}
