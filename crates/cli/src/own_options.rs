//! The options of the server that memcached does not know, in the same form as memcached's.

use kannuki_audit::{
    memcached_options::{Grammar, Group, Integer, OptionSpec, Shape},
    option_table,
};
use kannuki_server::log::KEEP_MAX;

option_table! {
    /// Kannuki's own options.
    OWN;

    /// Settings to read: Kannuki's own file.
    ///
    /// Keys are the names of the options. What is given on the command line or in
    /// --memcached-conf counts more. SIGHUP reads it again.
    CONFIG = OptionSpec::own("config", Shape::Path).value("FILE").flag_only();

    /// Settings to read: memcached's file of Debian or Red Hat.
    ///
    /// The format is recognised: one switch per line (/etc/memcached.conf) or shell variables
    /// (/etc/sysconfig/memcached, /etc/conf.d/memcached). No shell runs.
    MEMCACHED_CONF = OptionSpec::own("memcached-conf", Shape::Path).value("FILE").flag_only();

    /// Which peers may connect at all: loopback, private or public addresses.
    ///
    /// Without it: loopback if there is no -l, private if there is. Private are RFC 1918,
    /// link-local, carrier NAT and unique local addresses. Public admits everybody, as memcached
    /// does; put a wall of your own in front.
    EXPOSURE = OptionSpec::own("exposure", Shape::Choice(&["loopback", "private", "public"]))
        .value("WHO");

    /// Networks besides loopback whose UDP requests get whole replies; may be given several times.
    ///
    /// A datagram's sender can be forged. Toward everybody else a reply is never longer than the
    /// datagram that asked for it.
    UDP_TRUSTED =
        OptionSpec::own("udp-trusted", Shape::Text).value("NET").repeated();

    /// File for messages instead of stderr; reopened on SIGHUP.
    LOG_FILE = OptionSpec::own("log-file", Shape::Path).value("FILE");

    /// Rotate the log file before it grows beyond this size; 0 = never by size.
    LOG_ROTATE_SIZE = OptionSpec::own("log-rotate-size", Shape::Size { min: 0 })
        .value("SIZE")
        .default("64MiB");

    /// Rotate the log file at this age; 0 = never by age.
    LOG_ROTATE_AGE =
        OptionSpec::own("log-rotate-age", Shape::Duration).value("TIME").default("7d");

    /// Rotated log files to keep.
    LOG_KEEP = OptionSpec::own("log-keep", Integer::between(0, KEEP_MAX as i64).or_exit(64).shape())
        .default("7");
}

/// The group under which help shows them.
pub(crate) static GROUPS: &[Group] = &[Group { title: "Kannuki", options: OWN }];

/// All options of the server.
pub(crate) fn grammar() -> Grammar {
    Grammar::with(GROUPS)
}
