//! What counts in the end: several readings laid over each other.
//!
//! Invariants:
//! - A later reading overrides an earlier one option by option; a list is replaced as a whole.
//! - Every option has a value here, from a reading or from its default, and a source.

use super::{
    checks,
    listen::ListenElement,
    problem::{OptionError, OptionWarning},
    reading::{Given, Reading},
    source::Source,
    spec::{Effect, OptionSpec, Shape},
    value::{self, Manner, Value},
};

/// The effective settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Values in effect, each with its source; of an option that repeats, all.
    given: Vec<Given>,
    errors: Vec<OptionError>,
    warnings: Vec<OptionWarning>,
}

/// One option as `config show` prints it.
#[derive(Clone, Debug)]
pub struct Line {
    /// The option.
    pub spec: &'static OptionSpec,
    /// Its value as a literal of `kannuki.toml`; `None` = not set and without default.
    pub value: Option<String>,
    /// Where the value came from.
    pub source: Source,
}

impl Settings {
    /// Lays the readings over each other, the weakest first, and checks the result as a whole.
    #[must_use]
    pub fn merge(readings: impl IntoIterator<Item = Reading>) -> Self {
        let mut settings = Self::default();
        for reading in readings {
            settings.overlay(reading);
        }
        let late = checks::check(&settings);
        settings.errors.extend(late);
        let remarks = checks::remarks(&settings);
        settings.warnings.extend(remarks);
        settings
    }

    fn overlay(&mut self, reading: Reading) {
        self.given.retain(|old| !reading.given.iter().any(|new| new.spec.is(old.spec)));
        for given in reading.given {
            if !given.spec.repeats {
                self.given.retain(|old| !old.spec.is(given.spec));
            }
            self.given.push(given);
        }
        self.errors.extend(reading.errors);
        self.warnings.extend(reading.warnings);
    }

    /// What cannot be used; the first error is the one to end with.
    #[must_use]
    pub fn errors(&self) -> &[OptionError] {
        &self.errors
    }

    /// What does something else than was perhaps expected.
    #[must_use]
    pub fn warnings(&self) -> &[OptionWarning] {
        &self.warnings
    }

    /// Adds a value that the program chose because of how it was started.
    pub fn choose(&mut self, spec: &'static OptionSpec, value: Value, why: &'static str) {
        self.given.retain(|old| !old.spec.is(spec));
        self.given.push(Given { spec, value, source: Source::Situation(why) });
    }

    /// The values that were given for an option.
    pub fn all<'s>(&'s self, spec: &'s OptionSpec) -> impl Iterator<Item = &'s Given> {
        self.given.iter().filter(|given| given.spec.is(spec))
    }

    /// The value that was given for an option.
    #[must_use]
    pub fn given(&self, spec: &OptionSpec) -> Option<&Given> {
        self.given.iter().rev().find(|given| given.spec.is(spec))
    }

    /// Is the switch on?
    #[must_use]
    pub fn switch(&self, spec: &OptionSpec) -> bool {
        matches!(self.value(spec), Some(Value::Switch(true)))
    }

    /// The number in the option's own unit; 0 if there is none.
    #[must_use]
    pub fn number(&self, spec: &OptionSpec) -> i64 {
        match self.value(spec) {
            Some(Value::Number(number)) => number,
            Some(Value::Mode(mode)) => i64::from(mode),
            _ => 0,
        }
    }

    /// The number with a fraction; 0 if there is none.
    #[must_use]
    pub fn real(&self, spec: &OptionSpec) -> f64 {
        if let Some(Value::Real(real)) = self.value(spec) { real } else { 0.0 }
    }

    /// The text.
    #[must_use]
    pub fn text(&self, spec: &OptionSpec) -> Option<String> {
        match self.value(spec) {
            Some(Value::Text(text)) => Some(text),
            Some(Value::Path(path)) => Some(path.to_string_lossy().into_owned()),
            _ => None,
        }
    }

    /// The path.
    #[must_use]
    pub fn path(&self, spec: &OptionSpec) -> Option<std::path::PathBuf> {
        if let Some(Value::Path(path)) = self.value(spec) { Some(path) } else { None }
    }

    /// The addresses to listen on, each once; empty if none was given.
    #[must_use]
    pub fn listens(&self, spec: &OptionSpec) -> Vec<ListenElement> {
        let mut all = Vec::new();
        for given in self.all(spec) {
            let Value::Listen(list) = &given.value else { continue };
            for element in list {
                if !all.contains(element) {
                    all.push(element.clone());
                }
            }
        }
        all
    }

    /// The value in effect.
    #[must_use]
    pub fn value(&self, spec: &OptionSpec) -> Option<Value> {
        match self.given(spec) {
            Some(given) => Some(given.value.clone()),
            None => default_value(spec),
        }
    }

    /// The options as `config show` prints them.
    pub fn lines<'s>(
        &'s self,
        options: impl Iterator<Item = &'static OptionSpec> + 's,
    ) -> impl Iterator<Item = Line> + 's {
        options.filter(|spec| spec.in_file).map(|spec| self.line(spec))
    }

    fn line(&self, spec: &'static OptionSpec) -> Line {
        let source = self.given(spec).map_or(Source::Default, |given| given.source.clone());
        let value = if spec.repeats {
            self.repeated_literal(spec)
        } else {
            self.value(spec).map(|value| value.to_toml())
        };
        Line { spec, value, source }
    }

    fn repeated_literal(&self, spec: &OptionSpec) -> Option<String> {
        if spec.shape == Shape::Listen {
            let list = self.listens(spec);
            return (!list.is_empty()).then(|| Value::Listen(list).to_toml());
        }
        let all: Vec<String> = self.all(spec).map(|given| given.value.to_toml()).collect();
        (!all.is_empty()).then(|| format!("[{}]", all.join(", ")))
    }

    /// Every value that somebody gave and that is in effect.
    pub fn effective(&self) -> impl Iterator<Item = &Given> {
        self.given.iter()
    }

    /// What was asked for and changes nothing here.
    pub fn without_effect(&self) -> impl Iterator<Item = &Given> {
        self.given.iter().filter(|given| matches!(given.spec.effect, Effect::NoEffect { .. }))
    }
}

/// The default as a value; a test sees to it that every default can be read.
pub(super) fn default_value(spec: &OptionSpec) -> Option<Value> {
    let text = spec.default?;
    value::read(spec, text.as_bytes(), Manner::Memcached).ok().map(|(value, _)| value)
}
