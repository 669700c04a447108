//! memcached's own command line and configuration files, read by one parser.
//!
//! ```text
//! argv ----------------------------------+
//! /etc/memcached.conf ---- conf_file ----+-> words -> getopt -> Reading (values with sources,
//! /etc/sysconfig/memcached -- conf_file -+                               errors, warnings)
//!                                                     several Readings -> Settings
//! ```
//!
//! Invariants:
//! - [`table::GROUPS`] is the only list of options: parsing, help, `kannuki.toml`, `config show`
//!   and the documentation come from it.
//! - Nothing here reads a file, the environment or the host; bytes come in, values go out.
//! - Numbers are read as memcached reads them (`64x` is 64, `x` is 0) where it does so, and a
//!   warning says what was read; in `kannuki.toml` they are read strictly.

mod checks;
pub mod conf_file;
mod getopt;
pub mod listen;
mod nearest;
pub mod pages;
pub mod problem;
pub mod reading;
pub mod settings;
mod source;
mod spec;
mod suboptions;
pub mod table;
pub mod value;

pub use getopt::Grammar;
pub use listen::ListenElement;
pub use nearest::nearest;
pub use problem::{OptionError, OptionWarning};
pub use reading::{Given, Reading};
pub use settings::{Line, Settings};
pub use source::{Source, Word};
pub use spec::{Action, Effect, Group, Integer, OptionSpec, Shape, Spelling, Unit};
pub use value::Value;

#[cfg(test)]
mod tests;

/// The version of memcached whose behaviour is kept, as `-V` prints it.
pub const MEMCACHED_VERSION: &str = "1.6.45";
