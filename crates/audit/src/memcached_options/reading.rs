//! What one source of settings said: a command line or a file, value by value.
//!
//! Invariants:
//! - Values stand in the order in which they were given; a later one overrides an earlier one,
//!   unless the option repeats.
//! - An error never removes what was read before it, so that all errors of a source can be shown;
//!   [`Reading::first_error`] is the one memcached would have ended with.

use super::{
    problem::{OptionError, OptionWarning},
    source::Source,
    spec::{Action, Effect, OptionSpec, Shape},
    suboptions,
    table::engine,
    value::{self, Manner, Value},
};

/// Everything that one command line or file said.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The values.
    pub given: Vec<Given>,
    /// What cannot be used.
    pub errors: Vec<OptionError>,
    /// What was accepted and does something else than was perhaps expected.
    pub warnings: Vec<OptionWarning>,
    /// What the program shall do at once instead of starting; nothing after it was read.
    pub action: Option<Action>,
}

/// One value with its origin.
#[derive(Clone, Debug)]
pub struct Given {
    /// Of this option.
    pub spec: &'static OptionSpec,
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub source: Source,
}

impl Reading {
    /// The error with which memcached would have ended: the first one found while parsing.
    #[must_use]
    pub fn first_error(&self) -> Option<&OptionError> {
        self.errors.first()
    }

    /// The last value of an option.
    #[must_use]
    pub fn last(&self, spec: &OptionSpec) -> Option<&Given> {
        self.given.iter().rev().find(|given| given.spec.is(spec))
    }

    /// Takes an option that stands without a value: a switch, a count, or a suboption that may.
    pub(super) fn take_bare(&mut self, spec: &'static OptionSpec, set: bool, source: Source) {
        let value = match spec.shape {
            Shape::Action(action) => return self.action = Some(action),
            Shape::Count => Value::Number(self.number(spec).saturating_add(1)),
            Shape::Integer(integer) if !set => Value::Number(integer.min),
            Shape::Integer(integer) if integer.bare.is_some() => {
                Value::Number(integer.bare.unwrap_or_default())
            }
            Shape::Switch => Value::Switch(set),
            _ => {
                let reason = format!("{} wants a value", spec.usual());
                return self.fail(reason, super::problem::EXIT_PARSE, source);
            }
        };
        self.push(spec, value, source);
    }

    /// Takes an option with the value as it was typed.
    pub fn take(
        &mut self,
        spec: &'static OptionSpec,
        typed: &[u8],
        manner: Manner,
        source: Source,
    ) {
        if spec.shape == Shape::Extended {
            return suboptions::read(self, typed, &source);
        }
        match value::read(spec, typed, manner) {
            Ok((value, remark)) => {
                if let Some(remark) = remark {
                    self.warn(format!("{}: {remark}", spec.usual()), source.clone());
                }
                self.push(spec, value, source);
            }
            Err(fault) => {
                let typed = typed.escape_ascii();
                let name = match manner {
                    Manner::Memcached => spec.usual(),
                    Manner::Strict => format!("`{}`", spec.name()),
                };
                let message = format!("invalid value \"{typed}\" for {name}: {}", fault.reason);
                self.fail(message, fault.exit_code, source);
            }
        }
    }

    /// Notes an error.
    pub fn fail(&mut self, message: String, exit_code: u8, origin: Source) {
        self.errors.push(OptionError { message, exit_code, origin });
    }

    /// Notes a warning.
    pub fn warn(&mut self, message: String, origin: Source) {
        self.warnings.push(OptionWarning { message, origin });
    }

    /// Adds a checked value and those that it brings along.
    pub fn push(&mut self, spec: &'static OptionSpec, value: Value, source: Source) {
        let off = value == Value::Switch(false);
        if let Effect::Warns { why } = spec.effect
            && !off
        {
            self.warn(format!("{} has no effect: {why}", spec.usual()), source.clone());
        }
        let implied = implications(spec, &value);
        self.given.push(Given { spec, value, source: source.clone() });
        for (by, spec, value) in implied {
            let source = Source::Implied { by, source: Box::new(source.clone()) };
            self.given.push(Given { spec, value, source });
        }
    }

    fn number(&self, spec: &OptionSpec) -> i64 {
        match self.last(spec) {
            Some(Given { value: Value::Number(number), .. }) => *number,
            _ => 0,
        }
    }
}

type Implication = (&'static str, &'static OptionSpec, Value);

/// What an option sets besides itself.
fn implications(spec: &OptionSpec, value: &Value) -> Vec<Implication> {
    if spec.is(&engine::MODERN) && *value == Value::Switch(false) {
        let by = "no_modern";
        // The behaviour of 1.4: one flat LRU without threads that tend it.
        return vec![
            (by, &super::table::traffic::MAXCONNS_FAST, Value::Switch(false)),
            (by, &engine::SLAB_REASSIGN, Value::Switch(false)),
            (by, &engine::SLAB_AUTOMOVE, Value::Number(0)),
            (by, &engine::LRU_CRAWLER, Value::Switch(false)),
            (by, &engine::LRU_MAINTAINER, Value::Switch(false)),
            (by, &engine::HASH_ALGORITHM, Value::Text("jenkins".to_owned())),
            (by, &engine::SLAB_CHUNK_MAX, Value::Number(PAGE_KIBIBYTES)),
        ];
    }
    if spec.is(&engine::NO_CHUNKED_ITEMS) && *value == Value::Switch(true) {
        return vec![("no_chunked_items", &engine::SLAB_CHUNK_MAX, Value::Number(PAGE_KIBIBYTES))];
    }
    Vec::new()
}

/// memcached's page, which a chunk cannot exceed.
const PAGE_KIBIBYTES: i64 = 1024;
