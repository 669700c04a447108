//! `/etc/memcached.conf` as Debian's wrapper reads it: one switch per line.
//!
//! `#` starts a comment unless escaped; lines that begin with `-d` or `-h` are dropped as a whole;
//! other lines are directives, of which there is only `logfile`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf, sync::Arc};

use super::{ConfFile, shell_words};
use crate::memcached_options::source::{Source, Word};

pub(super) fn read(bytes: &[u8], path: &Arc<PathBuf>, file: &mut ConfFile) {
    for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        let line = without_comment(line).trim_ascii();
        if !line.is_empty() {
            read_line(line, Source::line(path, number), file);
        }
    }
}

fn without_comment(line: &[u8]) -> &[u8] {
    let mut escaped = false;
    for (at, byte) in line.iter().enumerate() {
        if *byte == b'#' && !escaped {
            return line.get(..at).unwrap_or(line);
        }
        escaped = *byte == b'\\';
    }
    line
}

fn read_line(line: &[u8], source: Source, file: &mut ConfFile) {
    if line.starts_with(b"-d") || line.starts_with(b"-h") {
        if line.len() > 2 {
            let text = line.escape_ascii();
            file.warn(format!("\"{text}\": a line that begins so is skipped as a whole"), source);
        }
        return;
    }
    let words = match shell_words::split(line, &|_| None) {
        Ok(words) => words,
        Err(fault) => return file.fail(format!("\"{}\": {fault}", line.escape_ascii()), source),
    };
    if line.starts_with(b"-") {
        let word = |text| Word { text: OsString::from_vec(text), source: source.clone() };
        file.words.extend(words.into_iter().map(word));
    } else {
        directive(&words, source, file);
    }
}

fn directive(words: &[Vec<u8>], source: Source, file: &mut ConfFile) {
    match words {
        [name, path] if name == b"logfile" => {
            file.log_file = Some((PathBuf::from(OsString::from_vec(path.clone())), source));
        }
        [name, ..] => {
            let name = name.escape_ascii();
            file.warn(format!("unknown directive \"{name}\" is ignored"), source);
        }
        [] => {}
    }
}
