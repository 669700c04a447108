//! A command line in the manner of GNU getopt_long: words in, values out.
//!
//! ```text
//! -p11211  -p 11211  "-p 11211"  -dp11211  -vv  --port=11211  --port 11211  --por 11211  --
//! ```
//!
//! Invariants:
//! - Words that are no options are skipped wherever they stand, until `--` ends the options.
//! - memcached's long options may be abbreviated as long as no other of memcached's begins alike;
//!   options that memcached does not know must be spelled out, so they never make an abbreviation
//!   ambiguous.
//! - An action (help, version) ends the reading; so does the first error, as in memcached.

use std::os::unix::ffi::OsStrExt;

use super::{
    nearest::nearest,
    problem::EXIT_PARSE,
    reading::Reading,
    source::{Source, Word},
    spec::{Group, OptionSpec, Spelling},
    table,
    value::Manner,
};

/// The options that a command line may contain.
#[derive(Clone, Debug)]
pub struct Grammar {
    groups: Vec<&'static Group>,
}

impl Grammar {
    /// memcached's options.
    #[must_use]
    pub fn memcached() -> Self {
        Self { groups: table::GROUPS.iter().collect() }
    }

    /// These options first, then memcached's.
    #[must_use]
    pub fn with(own: &'static [Group]) -> Self {
        Self { groups: own.iter().chain(table::GROUPS).collect() }
    }

    /// The groups in the order of help.
    pub fn groups(&self) -> impl Iterator<Item = &'static Group> {
        self.groups.iter().copied()
    }

    /// All options in the order of help.
    pub fn options(&self) -> impl Iterator<Item = &'static OptionSpec> {
        self.groups.iter().flat_map(|group| group.options.iter().copied())
    }

    /// Reads a command line without the name of the program.
    #[must_use]
    pub fn read(&self, words: &[Word]) -> Reading {
        let mut reading = Reading::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.text.as_bytes() {
                b"--" => break,
                [b'-', b'-', long @ ..] => {
                    self.take_long(&mut reading, long, &word.source, &mut words);
                }
                [b'-', cluster @ ..] if !cluster.is_empty() => {
                    self.take_cluster(&mut reading, cluster, &word.source, &mut words);
                }
                _ => skip(&mut reading, word),
            }
            if reading.action.is_some() || !reading.errors.is_empty() {
                return reading;
            }
        }
        words.for_each(|word| skip(&mut reading, word));
        reading
    }

    fn take_long<'w>(
        &self,
        reading: &mut Reading,
        long: &[u8],
        source: &Source,
        words: &mut impl Iterator<Item = &'w Word>,
    ) {
        let (name, typed) = match long.iter().position(|b| *b == b'=') {
            Some(at) => (long.get(..at).unwrap_or(long), long.get(at + 1..)),
            None => (long, None),
        };
        let spec = match self.find_long(name) {
            Ok(spec) => spec,
            Err(message) => return reading.fail(message, EXIT_PARSE, source.clone()),
        };
        let long = spec.spelling.long();
        match (spec.takes_value(), typed) {
            (true, Some(typed)) => take(reading, spec, typed, source),
            (true, None) => match words.next() {
                Some(next) => take(reading, spec, next.text.as_bytes(), source),
                None => {
                    let message = format!("option '--{long}' requires an argument");
                    reading.fail(message, EXIT_PARSE, source.clone());
                }
            },
            (false, Some(_)) => {
                let message = format!("option '--{long}' doesn't allow an argument");
                reading.fail(message, EXIT_PARSE, source.clone());
            }
            (false, None) => reading.take_bare(spec, true, source.clone()),
        }
    }

    fn take_cluster<'w>(
        &self,
        reading: &mut Reading,
        cluster: &[u8],
        source: &Source,
        words: &mut impl Iterator<Item = &'w Word>,
    ) {
        let mut rest = cluster;
        while let Some((letter, after)) = rest.split_first() {
            rest = after;
            let Some(spec) = self.find_short(*letter) else {
                let message = format!("invalid option -- '{}'", letter.escape_ascii());
                return reading.fail(message, EXIT_PARSE, source.clone());
            };
            if spec.takes_value() && !rest.is_empty() {
                return take(reading, spec, rest, source);
            }
            if spec.takes_value() {
                return match words.next() {
                    Some(next) => take(reading, spec, next.text.as_bytes(), source),
                    None => {
                        let letter = char::from(*letter);
                        let message = format!("option requires an argument -- '{letter}'");
                        reading.fail(message, EXIT_PARSE, source.clone());
                    }
                };
            }
            reading.take_bare(spec, true, source.clone());
            if reading.action.is_some() {
                return;
            }
        }
    }

    fn find_short(&self, letter: u8) -> Option<&'static OptionSpec> {
        self.options().find(|spec| spec.spelling.short() == Some(letter))
    }

    /// The option with this name or, among memcached's, with this beginning of a name.
    fn find_long(&self, name: &[u8]) -> Result<&'static OptionSpec, String> {
        let named = |spec: &&OptionSpec| spec.spelling.long().as_bytes() == name;
        if let Some(spec) = self.flags().find(named) {
            return Ok(spec);
        }
        let begins = |spec: &&OptionSpec| {
            spec.memcached && !name.is_empty() && spec.spelling.long().as_bytes().starts_with(name)
        };
        let mut found = self.flags().filter(begins);
        match (found.next(), found.next()) {
            (Some(spec), None) => Ok(spec),
            (None, _) => Err(self.unknown_long(name)),
            (Some(_), Some(_)) => {
                let names: Vec<String> = self
                    .flags()
                    .filter(begins)
                    .map(|spec| format!("'--{}'", spec.spelling.long()))
                    .collect();
                let (name, names) = (name.escape_ascii(), names.join(" "));
                Err(format!("option '--{name}' is ambiguous; possibilities: {names}"))
            }
        }
    }

    fn unknown_long(&self, name: &[u8]) -> String {
        let meant = std::str::from_utf8(name)
            .ok()
            .and_then(|name| nearest(name, self.flags().map(|s| s.spelling.long().into())))
            .map_or_else(String::new, |name| format!("; did you mean --{name}?"));
        format!("unrecognized option '--{}'{meant}", name.escape_ascii())
    }

    fn flags(&self) -> impl Iterator<Item = &'static OptionSpec> {
        self.options().filter(|spec| !spec.spelling.long().is_empty())
    }
}

impl Spelling {
    /// The letter of a flag.
    #[must_use]
    pub const fn short(self) -> Option<u8> {
        match self {
            Self::Flag { short, .. } => short,
            Self::Suboption { .. } => None,
        }
    }

    /// The long form of a flag; empty if there is none.
    #[must_use]
    pub const fn long(self) -> &'static str {
        match self {
            Self::Flag { long: Some(long), .. } => long,
            Self::Flag { long: None, .. } | Self::Suboption { .. } => "",
        }
    }
}

fn take(reading: &mut Reading, spec: &'static OptionSpec, typed: &[u8], source: &Source) {
    reading.take(spec, typed, Manner::Memcached, source.clone());
}

fn skip(reading: &mut Reading, word: &Word) {
    let text = word.text.as_bytes().escape_ascii();
    reading.warn(format!("\"{text}\" is no option and is ignored"), word.source.clone());
}
