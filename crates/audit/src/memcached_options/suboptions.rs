//! The list of `-o`: words and `word=value`, parted by commas.
//!
//! A trailing comma is harmless, an empty word elsewhere is not; blanks belong to the word. Reading
//! stops at the first unknown word, as in memcached.

use super::{
    nearest::nearest,
    problem::EXIT_PARSE,
    reading::Reading,
    source::Source,
    spec::{OptionSpec, Shape, Spelling},
    table,
    value::Manner,
};

/// Reads the list into `reading`.
pub(super) fn read(reading: &mut Reading, list: &[u8], source: &Source) {
    let list = list.trim_ascii_start();
    let list = list.strip_suffix(b",").unwrap_or(list);
    if list.is_empty() {
        return;
    }
    for item in list.split(|b| *b == b',') {
        let (word, typed) = match item.iter().position(|b| *b == b'=') {
            Some(at) => (item.get(..at).unwrap_or(item), item.get(at + 1..)),
            None => (item, None),
        };
        let Some((spec, set)) = find(word) else {
            return unknown(reading, item, word, source);
        };
        take(reading, spec, set, typed, source);
    }
}

/// The option behind a word, and whether the word sets or clears it.
fn find(word: &[u8]) -> Option<(&'static OptionSpec, bool)> {
    table::all().find_map(|spec| match spec.spelling {
        Spelling::Suboption { name, .. } if name.as_bytes() == word => Some((spec, true)),
        Spelling::Suboption { negation: Some(no), .. } if no.as_bytes() == word => {
            Some((spec, false))
        }
        _ => None,
    })
}

fn take(
    reading: &mut Reading,
    spec: &'static OptionSpec,
    set: bool,
    typed: Option<&[u8]>,
    source: &Source,
) {
    match typed {
        Some(typed) if set && spec.takes_value() => {
            reading.take(spec, typed, Manner::Memcached, source.clone());
        }
        Some(typed) => {
            let message =
                format!("{} takes no value; \"{}\" is ignored", spec.usual(), typed.escape_ascii());
            reading.warn(message, source.clone());
            reading.take_bare(spec, set, source.clone());
        }
        None if set && !takes_bare(spec) => {
            let message = format!("missing value for {}", spec.usual());
            reading.fail(message, EXIT_PARSE, source.clone());
        }
        None => reading.take_bare(spec, set, source.clone()),
    }
}

const fn takes_bare(spec: &OptionSpec) -> bool {
    match spec.shape {
        Shape::Switch => true,
        Shape::Integer(integer) => integer.bare.is_some(),
        _ => false,
    }
}

fn unknown(reading: &mut Reading, item: &[u8], word: &[u8], source: &Source) {
    let names = table::all().flat_map(|spec| match spec.spelling {
        Spelling::Suboption { name, negation } => [Some(name), negation],
        Spelling::Flag { .. } => [None, None],
    });
    let meant = std::str::from_utf8(word)
        .ok()
        .and_then(|word| nearest(word, names.flatten().map(Into::into)))
        .map_or_else(String::new, |name| format!("; did you mean {name}?"));
    let message = format!("Illegal suboption \"{}\"{meant}", item.escape_ascii());
    reading.fail(message, EXIT_PARSE, source.clone());
}
