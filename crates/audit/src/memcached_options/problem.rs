//! What is wrong with a setting: errors end the start, warnings do not.

use std::fmt;

use super::source::Source;

/// memcached's exit code for a bad value found while the options are parsed.
pub const EXIT_PARSE: u8 = 1;
/// memcached's exit code for settings that contradict each other or are out of range.
pub const EXIT_USAGE: u8 = 64;
/// memcached's exit code when the system refuses; an address that cannot be listened on too.
pub const EXIT_SYSTEM: u8 = 71;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({source_text})", source_text = .origin)]
pub struct OptionError {
    /// Names the option, the value and what is wrong with it.
    pub message: String,
    /// The code that memcached ends with.
    pub exit_code: u8,
    /// Where the setting stands.
    pub origin: Source,
}

/// A setting that was accepted and does not do what was perhaps expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionWarning {
    /// Names the option and what happens.
    pub message: String,
    /// Where the setting stands.
    pub origin: Source,
}

impl fmt::Display for OptionWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.origin)
    }
}
