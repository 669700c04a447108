//! Exit codes of every command but `serve`, which keeps memcached's.

/// Fine.
pub(crate) const FINE: u8 = 0;
/// The settings have errors, or what was asked about is denied.
pub(crate) const FOUND: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The command could not be completed.
pub(crate) const INCOMPLETE: u8 = 3;

/// The table for `--help`.
pub(crate) const TABLE: &str = "\
Exit codes:
  0   fine
  1   the settings have errors; explain access: denied; check: findings (--fail-on)
  2   wrong usage
  3   the command could not be completed
  `serve` ends with memcached's codes: 1 bad value, 64 contradiction, 67 unknown user,
  71 refused by the system";

/// The table for the help of commands that find something.
pub(crate) const FINDINGS_TABLE: &str = "\
Exit codes:
  0   no finding is as bad as --fail-on says
  1   some are; with --baseline: some that are new or worse
  2   wrong usage
  3   the command could not be completed; it says which part";
