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

    /// Demand a log-in by SASL of the binary protocol: PLAIN or SCRAM-SHA-256.
    ///
    /// Users come from the file of -Y, or else from the one that MEMCACHED_SASL_PWDB names; libsasl
    /// and its databases are not used. Without -Y the listeners speak binary only; together with -Y
    /// both protocols log in, each in its own way.
    ENABLE_SASL = OptionSpec::flag(b'S', "enable-sasl", Shape::Switch);

    /// Demand a log-in with a name and a password of this file.
    ///
    /// The first command of a text connection has to be `set WORD 0 0 LENGTH` with `NAME PASSWORD`
    /// as its value. The file has one `NAME:PASSWORD` a line; in the place of a password may stand
    /// its hash as `kannuki passwd` makes it (argon2id, SCRAM-SHA-256). SIGHUP reads it again: who
    /// is gone, or has another line, is disconnected. Without -S the listeners speak text only.
    AUTH_FILE = OptionSpec::flag(b'Y', "auth-file", Shape::Path).value("FILE");
}
