//! Rules about single lines: heads, columns, characters, unfinished work, unsafe code, imports.

use super::Fault;
use super::source::{Source, words};
use super::tree::File;

/// Fits two panes side by side and one on a laptop; rustfmt keeps code to it, this keeps comments
/// to it.
const COLUMNS_MAX: usize = 100;
/// Doc tables and module heads may be wider, but not endless.
const HEAD_COLUMNS_MAX: usize = 120;
/// A larger file is a blob: it makes every clone pay for ever.
const FILE_BYTES_MAX: usize = 200 * 1024;
/// Sources that are not Rust, by the ends of their names.
const SCRIPTS: [&str; 6] = [".py", ".js", ".php", ".pl", ".java", ".sh"];
/// How far above an `unsafe` its argument may begin: a long argument is still one screenful.
const SAFETY_LINES_MAX: usize = 25;

/// A file that weighs too much. The lock file is written by cargo and grows with it.
pub(crate) fn check_size(file: &File, faults: &mut Vec<Fault>) {
    let is_lock = file.path == "Cargo.lock" || file.path == "fuzz/Cargo.lock";
    if file.bytes.len() > FILE_BYTES_MAX && !is_lock {
        let message = format!("{} bytes, more than {FILE_BYTES_MAX}: no blobs", file.bytes.len());
        faults.push(Fault::new(&file.path, 0, message));
    }
}

/// Other languages keep to the same width.
pub(crate) fn check_script(file: &File, faults: &mut Vec<Fault>) {
    if !SCRIPTS.iter().any(|ending| file.path.ends_with(ending)) {
        return;
    }
    for (at, line) in String::from_utf8_lossy(&file.bytes).lines().enumerate() {
        let width = line.chars().count();
        if width > COLUMNS_MAX {
            let message = format!("{width} columns: wrap at {COLUMNS_MAX} columns");
            faults.push(Fault::new(&file.path, at + 1, message));
        }
    }
}

/// Every rule about the lines of one Rust source.
pub(crate) fn check(file: &File, source: &Source, faults: &mut Vec<Fault>) {
    let mut fault = |line, message: &str| faults.push(Fault::new(&file.path, line, message));
    if !source.lines.first().is_some_and(|line| line.starts_with("//! ")) {
        fault(1, "a file opens with `//!`: what it is, why, which invariants it keeps");
    }
    if is_crate_root(&file.path) && !forbids_unsafe(source) {
        fault(1, "a crate root says `#![forbid(unsafe_code)]`");
    }
    for at in 0..source.lines.len() {
        check_line(file, source, at, &mut fault);
    }
}

fn check_line(file: &File, source: &Source, at: usize, fault: &mut impl FnMut(usize, &str)) {
    let (line, code, comment) = (&source.lines[at], &source.code[at], &source.comments[at]);
    let number = at + 1;
    let is_head = line.starts_with("//!");
    let width = line.chars().count();
    if width > if is_head { HEAD_COLUMNS_MAX } else { COLUMNS_MAX } {
        fault(number, &format!("{width} columns: wrap at {COLUMNS_MAX} columns"));
    }
    if !line.is_ascii() {
        fault(number, "sources are ASCII: write \\u{...}");
    }
    let unfinished = ["FIXME", "TODO", "XXX"];
    if unfinished.iter().any(|mark| words(comment, mark).next().is_some())
        || ["dbg!", "todo!", "unimplemented!"].iter().any(|mark| code.contains(mark))
    {
        fault(number, "unfinished: finish it, or open an issue and remove the mark");
    }
    let attribute: String = code.split_whitespace().collect();
    if attribute.contains("#[ignore") {
        fault(number, "a test runs or goes: no ignored tests");
    }
    if attribute.contains("allow(dead_code") || attribute.contains("expect(dead_code") {
        fault(number, "dead code is removed, not allowed");
    }
    let production = at < source.production_lines() && !file.is_test();
    if production && code.trim_start().contains("use ") && code.contains("::*") {
        fault(number, "name what is imported: no glob import outside tests");
    }
    if words(code, "unsafe").next().is_some() {
        if !file.path.starts_with("crates/sys/") {
            fault(number, "unsafe belongs to crates/sys alone");
        } else if !is_argued(source, at) {
            fault(number, "unsafe wants a `SAFETY:` comment above it (`# Safety` for a function)");
        }
    }
}

/// Whether the comment lines that end right above `at`, or the line itself, argue for it.
/// Attributes and the rest of the same statement may stand between.
fn is_argued(source: &Source, at: usize) -> bool {
    let argues = |comment: &str| comment.contains("SAFETY:") || comment.contains("# Safety");
    if argues(&source.comments[at]) {
        return true;
    }
    let from = at.saturating_sub(SAFETY_LINES_MAX);
    for above in (from..at).rev() {
        if argues(&source.comments[above]) {
            return true;
        }
        let code = source.code[above].trim();
        let statement_ended = code.ends_with(';') || code.ends_with('{') || code.ends_with('}');
        if statement_ended || source.lines[above].trim().is_empty() {
            return false;
        }
    }
    false
}

/// Every crate but sys, and every test binary's root: `lib.rs`, `main.rs`.
fn is_crate_root(path: &str) -> bool {
    let inside = path.starts_with("crates/") || path.starts_with("xtask/");
    let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    inside && is_root && !path.starts_with("crates/sys/")
}

fn forbids_unsafe(source: &Source) -> bool {
    source.code.iter().any(|line| line.trim() == "#![forbid(unsafe_code)]")
}
