//! Options that say what clients may do.

use crate::memcached_options::spec::{OptionSpec, Shape};
use crate::option_table;

option_table! {
    /// Options that say what clients may do.
    ACCESS;

    /// Let clients stop the server by the command `shutdown`.
    ENABLE_SHUTDOWN = OptionSpec::flag(b'A', "enable-shutdown", Shape::Switch);

    /// Refuse the command `flush_all`.
    DISABLE_FLUSH_ALL = OptionSpec::flag(b'F', "disable-flush-all", Shape::Switch);

    /// Refuse what lists keys: `stats cachedump`, `stats detail`, `lru_crawler metadump` and
    /// `mgdump`.
    DISABLE_DUMPING = OptionSpec::flag(b'X', "disable-dumping", Shape::Switch);

    /// Refuse the command `watch`.
    DISABLE_WATCH = OptionSpec::flag(b'W', "disable-watch", Shape::Switch);

    /// Demand a log-in by SASL.
    ENABLE_SASL = OptionSpec::flag(b'S', "enable-sasl", Shape::Switch)
        .refuses("SASL is not available yet, and starting without it would let everybody in");

    /// Demand a log-in with a name and a password of this file.
    AUTH_FILE = OptionSpec::flag(b'Y', "auth-file", Shape::Path).value("FILE").refuses(
        "the password file is not available yet, and starting without it would let everybody in",
    );
}
