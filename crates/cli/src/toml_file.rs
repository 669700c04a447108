//! `kannuki.toml`: settings by the names of the options.
//!
//! Invariants:
//! - An unknown key is an error that names the nearest known one; nothing is skipped silently.
//! - Every value knows its line and column.

use std::{path::PathBuf, sync::Arc};

use crate::tables::{self, Tables};
use kannuki_audit::memcached_options::{
    Grammar, OptionSpec, Reading, Shape, Source, nearest, problem::EXIT_USAGE, value::Manner,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Reads a file; `path` is for messages.
pub(crate) fn read(text: &str, path: &Arc<PathBuf>, grammar: &Grammar) -> (Reading, Tables) {
    let (mut reading, mut tables) = (Reading::default(), Tables::default());
    let place = |at: usize| place(text, path, at);
    match DeTable::parse(text) {
        Ok(table) => {
            // In the order of the file, so that messages follow it too.
            let mut entries: Vec<_> = table.get_ref().iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            for (key, value) in entries {
                if tables.take(&mut reading, key.get_ref(), value, &place) {
                    continue;
                }
                match find(grammar, key.get_ref()) {
                    Ok(spec) => take(&mut reading, spec, value, &place),
                    Err(message) => reading.fail(message, EXIT_USAGE, place(key.span().start)),
                }
            }
        }
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            reading.fail(error.message().to_owned(), EXIT_USAGE, place(at));
        }
    }
    (reading, tables)
}

/// The option behind a key.
fn find(grammar: &Grammar, key: &str) -> Result<&'static OptionSpec, String> {
    let mut known = grammar.options().filter(|spec| spec.in_file);
    if let Some(spec) = known.find(|spec| spec.name() == key) {
        return Ok(spec);
    }
    let names = grammar.options().filter(|spec| spec.in_file).map(OptionSpec::name);
    let names = names.chain(tables::NAMES.into_iter().map(Into::into));
    let meant =
        nearest(key, names).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    Err(format!("unknown key `{key}`{meant}"))
}

fn take(
    reading: &mut Reading,
    spec: &'static OptionSpec,
    value: &Spanned<DeValue<'_>>,
    place: &impl Fn(usize) -> Source,
) {
    let origin = place(value.span().start);
    if let DeValue::Array(list) = value.get_ref()
        && spec.repeats
    {
        for element in list.iter() {
            take_one(reading, spec, element, place(element.span().start));
        }
        return;
    }
    take_one(reading, spec, value, origin);
}

fn take_one(
    reading: &mut Reading,
    spec: &'static OptionSpec,
    value: &Spanned<DeValue<'_>>,
    origin: Source,
) {
    let is_switch = spec.shape == Shape::Switch;
    // A number is no address, though resolvers take 5 for 0.0.0.5, and no path.
    let is_name = matches!(spec.shape, Shape::Listen | Shape::Path);
    let typed = match value.get_ref() {
        DeValue::String(text) if !is_switch => text.clone().into_owned(),
        other if is_name => {
            let message = format!("`{}` cannot be {}", spec.name(), kind(other));
            return reading.fail(message, EXIT_USAGE, origin);
        }
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => number.to_string(),
            Err(_) => integer.as_str().to_owned(),
        },
        DeValue::Float(float) => float.as_str().to_owned(),
        other => {
            let message = format!("`{}` cannot be {}", spec.name(), kind(other));
            return reading.fail(message, EXIT_USAGE, origin);
        }
    };
    reading.take(spec, typed.as_bytes(), Manner::Strict, origin);
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Line and column of a byte.
fn place(text: &str, path: &Arc<PathBuf>, at: usize) -> Source {
    let before = text.get(..at).unwrap_or(text);
    let line = 1 + before.bytes().filter(|b| *b == b'\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
    Source::File { path: Arc::clone(path), line, column }
}

#[cfg(test)]
mod tests {
    use kannuki_audit::memcached_options::{
        Settings, Value,
        table::{listening::LISTEN, memory, process, traffic},
    };

    use super::*;
    use crate::own_options;

    fn reading(text: &str) -> Reading {
        read(text, &Arc::new(PathBuf::from("kannuki.toml")), &own_options::grammar()).0
    }

    fn errors(text: &str) -> Vec<String> {
        reading(text).errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_number_is_no_address_and_no_path() {
        for text in ["listen = 5", "listen = [\"127.0.0.1\", 5]", "log-file = 7"] {
            let errors = errors(text);
            assert!(errors.iter().any(|error| error.contains("cannot be a number")), "{errors:?}");
        }
    }

    #[test]
    fn values_of_every_kind() {
        let settings = Settings::merge([reading(
            "port = 11300\nmemory-limit = \"1GiB\"\nmax-item-size = \"2m\"\nidle-timeout = \"5m\"\n\
             listen = [\"127.0.0.1\", \"[::1]:11301\"]\nlru-crawler = false\nverbose = 2\n\
             hot-max-factor = 0.3\nunix-mask = \"770\"\nuser = \"nobody\"\nthreads = 0x2\n",
        )]);
        assert_eq!(settings.errors(), []);
        assert_eq!(settings.number(&memory::MEMORY_LIMIT), 1024);
        assert_eq!(settings.number(&memory::MAX_ITEM_SIZE), 2 << 20);
        assert_eq!(settings.number(&traffic::IDLE_TIMEOUT), 300);
        assert_eq!(settings.number(&process::VERBOSE), 2);
        assert_eq!(settings.number(&traffic::THREADS), 2);
        assert_eq!(settings.listens(&LISTEN).len(), 2);
        let source = &settings.given(&memory::MEMORY_LIMIT).unwrap().source;
        assert_eq!(source.to_string(), "kannuki.toml:2:16");
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        assert_eq!(
            errors("port = 1\nmax_item_sise = 3\n"),
            ["unknown key `max_item_sise`; did you mean `max-item-size`? (kannuki.toml:2:1)"]
        );
        assert_eq!(errors("[log]\nfile = \"x\"\n").len(), 1);
        assert_eq!(errors("config = \"x\"\n").len(), 1, "a file cannot name a file");
    }

    #[test]
    fn wrong_values_name_their_place() {
        assert_eq!(
            errors("threads = \"many\"\ndisable-cas = \"true\"\nport = [1]\nuser = { a = 1 }\n"),
            [
                "invalid value \"many\" for `threads`: must be a number (kannuki.toml:1:11)",
                "`disable-cas` cannot be text (kannuki.toml:2:15)",
                "`port` cannot be a list (kannuki.toml:3:8)",
                "`user` cannot be a table (kannuki.toml:4:8)",
            ]
        );
        assert_eq!(errors("port 1\n").len(), 1, "syntax");
        assert!(errors("memory-limit = true\n")[0].contains("must be a number"));
    }

    #[test]
    fn a_repeated_key_is_an_error() {
        assert!(errors("port = 1\nport = 2\n")[0].contains("kannuki.toml:2"));
    }

    #[test]
    fn every_line_of_the_template_can_be_set() {
        let template = kannuki_audit::memcached_options::pages::template(&own_options::grammar());
        assert_eq!(reading(&template).given.len(), 0, "nothing is set until a mark goes");
        let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let lines: Vec<&str> = template.lines().filter(is_setting).collect();
        assert!(lines.len() > 30, "{template}");
        for line in lines {
            let reading = reading(line.trim_start_matches('#'));
            assert!(reading.errors.is_empty() && !reading.given.is_empty(), "{line}");
        }
    }

    #[test]
    fn what_config_show_prints_reads_the_same_again() {
        let grammar = own_options::grammar();
        let first = Settings::merge([reading(
            "listen = [\"127.0.0.1:1\", \"*\"]\nprefix-delimiter = \"%\"\nslab-sizes = \"64-128\"\n\
             unix-mask = \"7\"\nlog-rotate-age = \"30s\"\nudp-trusted = [\"10.0.0.0/8\"]\n",
        )]);
        let lines = |settings: &Settings| -> Vec<(String, Option<String>)> {
            let lines = settings.lines(grammar.options());
            lines.map(|line| (line.spec.name().into_owned(), line.value)).collect()
        };
        let text: String = lines(&first)
            .iter()
            .filter_map(|(name, value)| Some(format!("{name} = {}\n", value.as_ref()?)))
            .collect();
        let second = Settings::merge([reading(&text)]);
        assert_eq!(second.errors(), [], "{text}");
        assert_eq!(lines(&first), lines(&second));
        assert_eq!(second.value(&process::PREFIX_DELIMITER), Some(Value::Character(b'%')));
    }
}
