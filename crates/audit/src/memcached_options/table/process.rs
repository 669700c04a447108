//! Options about the process: its user, its files, its messages.

use crate::memcached_options::spec::{Action, OptionSpec, Shape};
use crate::option_table;

option_table! {
    /// Options about the process: its user, its files, its messages.
    PROCESS;

    /// Run in the background, detached from the terminal.
    DAEMON = OptionSpec::flag(b'd', "daemon", Shape::Switch);

    /// User to become when started as root.
    ///
    /// memcached insists on it when started as root. `kannuki serve` then looks for an
    /// unprivileged user by itself and says which.
    USER = OptionSpec::flag(b'u', "user", Shape::Text).value("USER");

    /// File to write the process id to; with -d removed at exit.
    PIDFILE = OptionSpec::flag(b'P', "pidfile", Shape::Path).value("FILE");

    /// Allow core dumps of any size.
    ENABLE_COREDUMPS = OptionSpec::flag(b'r', "enable-coredumps", Shape::Switch);

    /// Say more on stderr: -v errors, -vv also commands and replies, -vvv also what the server
    /// does inside.
    VERBOSE = OptionSpec::flag(b'v', "verbose", Shape::Count).default("0");

    /// Delimiter of key prefixes for `stats detail`; giving it switches that on.
    PREFIX_DELIMITER =
        OptionSpec::letter(b'D', "prefix-delimiter", Shape::Character).value("CHAR").default(":");

    /// Options of the list below, parted by commas.
    EXTENDED = OptionSpec::flag(b'o', "extended", Shape::Extended).value("LIST");

    /// Print this help and exit.
    HELP = OptionSpec::flag(b'h', "help", Shape::Action(Action::Help));

    /// Print the licence and exit.
    LICENSE = OptionSpec::flag(b'i', "license", Shape::Action(Action::License));

    /// Print the version and exit.
    VERSION = OptionSpec::flag(b'V', "version", Shape::Action(Action::Version));

    /// Confine the process by a filter of system calls.
    DROP_PRIVILEGES =
        OptionSpec::toggle("drop_privileges", "no_drop_privileges", Shape::Switch).refuses(
            "the filter is not available yet; SystemCallFilter= of a systemd unit does the same",
        );

    /// Relax the filter of system calls.
    RELAXED_PRIVILEGES = OptionSpec::suboption("relaxed_privileges", Shape::Switch)
        .no_effect("there is no filter to relax; memcached knows it in debug builds only");
}
