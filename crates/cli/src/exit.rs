//! Exit codes of every command but `serve`, which keeps memcached's.

/// Fine.
pub(crate) const FINE: u8 = 0;
/// The settings have errors, or what was asked about is denied.
pub(crate) const FOUND: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The command could not be completed.
pub(crate) const INCOMPLETE: u8 = 3;

/// It needs root.
pub(crate) const NOT_PERMITTED: u8 = 4;
/// A change failed and was taken back.
pub(crate) const ROLLED_BACK: u8 = 7;
/// A change failed, and so did taking it back.
pub(crate) const NOT_ROLLED_BACK: u8 = 8;

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

/// The table for the help of `close`.
pub(crate) const CLOSE_TABLE: &str = "\
Exit codes:
  0   nothing is left to shut; --undo: taken back
  1   preview: there is something to shut; --apply: something is left that it cannot shut;
      --list: a run was broken off
  2   wrong usage
  3   nothing was changed, because the command could not be completed; it says why
  4   it needs root
  7   a change failed, and everything is as it was
  8   a change failed, and so did a step of the way back; the steps to do by hand are printed";
