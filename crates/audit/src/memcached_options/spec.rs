//! What an option is: how it is spelled, what values it takes, what it does here.
//!
//! Everything that prints, parses or documents an option reads these fields; nothing about an
//! option is written down twice.

use std::borrow::Cow;

/// One option of the command line or of a configuration file.
#[derive(Debug)]
pub struct OptionSpec {
    /// Lines of documentation: the first paragraph stands alone, the others explain.
    pub docs: &'static [&'static str],
    /// How it is typed on a command line.
    pub spelling: Spelling,
    /// Which values it takes.
    pub shape: Shape,
    /// The value when it is not given, as one would type it; `None` = nothing.
    pub default: Option<&'static str>,
    /// What it does in this program.
    pub effect: Effect,
    /// Stands for the value in help and documentation.
    pub placeholder: &'static str,
    /// Values accumulate instead of replacing each other.
    pub repeats: bool,
    /// Its key in `kannuki.toml` where that is not its long name.
    pub key: Option<&'static str>,
    /// May stand in `kannuki.toml`.
    pub in_file: bool,
    /// Known to memcached too; otherwise it is Kannuki's own.
    pub memcached: bool,
}

/// Options under one heading of help and documentation.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The options in the order in which they are shown.
    pub options: &'static [&'static OptionSpec],
}

/// How an option is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `-p N`, `--port=N`
    Flag {
        /// The letter.
        short: Option<u8>,
        /// The word after `--`.
        long: Option<&'static str>,
    },
    /// A word in the list of `-o`.
    Suboption {
        /// The word that sets it.
        name: &'static str,
        /// The word that clears it.
        negation: Option<&'static str>,
    },
}

/// The values that an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// No value; the program does this at once and ends.
    Action(Action),
    /// No value: present or absent.
    Switch,
    /// No value: the number of times it is given counts.
    Count,
    /// A whole number.
    Integer(Integer),
    /// A number with a fraction: greater than `above`, at most `max`.
    Real {
        /// Not this, but more.
        above: f64,
        /// At most this.
        max: f64,
    },
    /// Permission bits, in octal.
    Octal,
    /// The size of the largest item: bytes, or with one of the suffixes `k K m M`.
    ItemSize,
    /// Bytes: `64m`, `1GiB`, `4096`. Kannuki's own options only.
    Size {
        /// Fewest bytes.
        min: u64,
    },
    /// Seconds, or `30s`, `5m`, `12h`, `7d`. Kannuki's own options only.
    Duration,
    /// One byte.
    Character,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text.
    Text,
    /// Path of a file.
    Path,
    /// Addresses to listen on.
    Listen,
    /// Ascending sizes joined by `-`.
    SlabSizes,
    /// The list of `-o`.
    Extended,
}

/// Bounds of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    /// Smallest value.
    pub min: i64,
    /// Greatest value.
    pub max: i64,
    /// What one of it is.
    pub unit: Unit,
    /// Exit code when the value is out of bounds.
    pub exit_code: u8,
    /// The value when a suboption stands without one; `None` = a value is required.
    pub bare: Option<i64>,
    /// Garbage is an error even on a command line, where memcached otherwise reads it as 0.
    pub strict: bool,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    One,
    /// 2^10 bytes.
    Kibibytes,
    /// 2^20 bytes.
    Mebibytes,
    /// Seconds.
    Seconds,
}

/// What the program does at once when an option asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Print the options.
    Help,
    /// Print the licence.
    License,
    /// Print the version.
    Version,
}

/// What an option does in this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What memcached does.
    Works,
    /// Accepted and shown by `stats settings`, and changes nothing.
    NoEffect {
        /// Why there is nothing to change.
        why: &'static str,
    },
    /// Accepted with a warning: not available.
    Warns {
        /// What happens instead.
        why: &'static str,
    },
    /// The server does not start with it: it protects or routes, and would not.
    Refuses {
        /// Why, and the way out.
        why: &'static str,
    },
}

impl OptionSpec {
    /// memcached's flag with a letter and a long form.
    #[must_use]
    pub const fn flag(short: u8, long: &'static str, shape: Shape) -> Self {
        Self::new(Spelling::Flag { short: Some(short), long: Some(long) }, shape)
    }

    /// memcached's flag that has a letter only; `key` names it in `kannuki.toml`.
    #[must_use]
    pub const fn letter(short: u8, key: &'static str, shape: Shape) -> Self {
        let mut spec = Self::new(Spelling::Flag { short: Some(short), long: None }, shape);
        spec.key = Some(key);
        spec
    }

    /// Kannuki's own flag, which has a long form only.
    #[must_use]
    pub const fn own(long: &'static str, shape: Shape) -> Self {
        let mut spec = Self::new(Spelling::Flag { short: None, long: Some(long) }, shape);
        spec.memcached = false;
        spec
    }

    /// A word in the list of `-o`.
    #[must_use]
    pub const fn suboption(name: &'static str, shape: Shape) -> Self {
        Self::new(Spelling::Suboption { name, negation: None }, shape)
    }

    /// A pair of words in the list of `-o`, one to set and one to clear.
    #[must_use]
    pub const fn toggle(name: &'static str, negation: &'static str, shape: Shape) -> Self {
        Self::new(Spelling::Suboption { name, negation: Some(negation) }, shape)
    }

    const fn new(spelling: Spelling, shape: Shape) -> Self {
        let in_file = !matches!(shape, Shape::Action(_) | Shape::Extended);
        Self {
            docs: &[],
            spelling,
            shape,
            default: None,
            effect: Effect::Works,
            placeholder: "N",
            repeats: matches!(shape, Shape::Listen),
            key: None,
            in_file,
            memcached: true,
        }
    }

    /// With this value when it is not given.
    #[must_use]
    pub const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    /// With this word for its value in help and documentation.
    #[must_use]
    pub const fn value(mut self, placeholder: &'static str) -> Self {
        self.placeholder = placeholder;
        self
    }

    /// Values accumulate.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// Cannot stand in `kannuki.toml`.
    #[must_use]
    pub const fn flag_only(mut self) -> Self {
        self.in_file = false;
        self
    }

    /// Accepted and without effect.
    #[must_use]
    pub const fn no_effect(mut self, why: &'static str) -> Self {
        self.effect = Effect::NoEffect { why };
        self
    }

    /// Accepted with a warning.
    #[must_use]
    pub const fn warns(mut self, why: &'static str) -> Self {
        self.effect = Effect::Warns { why };
        self
    }

    /// Refused at start.
    #[must_use]
    pub const fn refuses(mut self, why: &'static str) -> Self {
        self.effect = Effect::Refuses { why };
        self
    }

    /// Its name: the key in `kannuki.toml`, the argument of `kannuki explain`.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match (self.key, self.spelling) {
            (Some(key), _) | (None, Spelling::Flag { long: Some(key), .. }) => key.into(),
            (None, Spelling::Suboption { name, .. }) => name.replace('_', "-").into(),
            (None, Spelling::Flag { short, .. }) => short_text(short).into(),
        }
    }

    /// Its most usual spelling, for messages: `-p`, `--exposure`, `-o idle_timeout`.
    #[must_use]
    pub fn usual(&self) -> String {
        match self.spelling {
            Spelling::Flag { short: Some(letter), .. } => format!("-{}", char::from(letter)),
            Spelling::Flag { short: None, long } => format!("--{}", long.unwrap_or_default()),
            Spelling::Suboption { name, .. } => format!("-o {name}"),
        }
    }

    /// The first paragraph of the documentation, which stands alone.
    #[must_use]
    pub fn brief(&self) -> String {
        self.paragraphs().next().unwrap_or_default()
    }

    /// The documentation, paragraph by paragraph.
    pub fn paragraphs(&self) -> impl Iterator<Item = String> {
        let part = |lines: &[&str]| {
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            lines.join(" ")
        };
        self.docs.split(|line| line.trim().is_empty()).map(part)
    }

    /// Does the option take a value where it is typed?
    #[must_use]
    pub const fn takes_value(&self) -> bool {
        !matches!(self.shape, Shape::Action(_) | Shape::Switch | Shape::Count)
    }

    /// The same option?
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Integer {
    /// Of any size between `min` and `max`; out of bounds ends the program with code 1.
    #[must_use]
    pub const fn between(min: i64, max: i64) -> Self {
        Self { min, max, unit: Unit::One, exit_code: 1, bare: None, strict: false }
    }

    /// Counted in `unit`.
    #[must_use]
    pub const fn in_unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Out of bounds ends the program with `exit_code`.
    #[must_use]
    pub const fn or_exit(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// May stand without a value, and then means `value`.
    #[must_use]
    pub const fn or_bare(mut self, value: i64) -> Self {
        self.bare = Some(value);
        self
    }

    /// Garbage is an error.
    #[must_use]
    pub const fn strictly(mut self) -> Self {
        self.strict = true;
        self
    }

    /// As the shape of an option.
    #[must_use]
    pub const fn shape(self) -> Shape {
        Shape::Integer(self)
    }
}

impl Unit {
    /// How many bytes or seconds one of it is.
    #[must_use]
    pub const fn factor(self) -> u64 {
        match self {
            Self::One | Self::Seconds => 1,
            Self::Kibibytes => 1 << 10,
            Self::Mebibytes => 1 << 20,
        }
    }
}

impl Effect {
    /// The category as one word or two.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::NoEffect { .. } => "accepted, no effect",
            Self::Warns { .. } => "not available yet, warns",
            Self::Refuses { .. } => "not available yet, refuses to start",
        }
    }

    /// The reason, if the option does not do what memcached's does.
    #[must_use]
    pub const fn why(self) -> Option<&'static str> {
        match self {
            Self::Works => None,
            Self::NoEffect { why } | Self::Warns { why } | Self::Refuses { why } => Some(why),
        }
    }
}

fn short_text(short: Option<u8>) -> String {
    short.map_or_else(String::new, |letter| char::from(letter).to_string())
}

/// Defines options as statics and the slice that lists them, so that none can be forgotten. The
/// documentation of the static is the documentation of the option.
#[macro_export]
macro_rules! option_table {
    (
        $(#[$list_meta:meta])* $list:ident;
        $($(#[doc = $doc:literal])+ $name:ident = $spec:expr;)+
    ) => {
        $(
            $(#[doc = $doc])+
            pub static $name: $crate::memcached_options::OptionSpec =
                $crate::memcached_options::OptionSpec { docs: &[$($doc),+], ..$spec };
        )+
        $(#[$list_meta])*
        pub static $list: &[&$crate::memcached_options::OptionSpec] = &[$(&$name),+];
    };
}
