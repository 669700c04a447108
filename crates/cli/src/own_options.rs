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
    /// link-local, carrier NAT and unique local addresses. Public wants log-in (-S or -Y) and TLS
    /// (-Z), which every public peer must then use, or --allow for the networks that may come.
    EXPOSURE = OptionSpec::own("exposure", Shape::Choice(&["loopback", "private", "public"]))
        .value("WHO");

    /// Networks that may connect whatever the exposure; may be given several times.
    ///
    /// Where --deny names a network too, the longest prefix decides. A [[listener]] in kannuki.toml
    /// can have lists of its own.
    ALLOW = OptionSpec::own("allow", Shape::Text).value("NET").repeated();

    /// Networks that may not connect whatever the exposure; may be given several times.
    DENY = OptionSpec::own("deny", Shape::Text).value("NET").repeated();

    /// Let the whole internet read and write without log-in and TLS, with --exposure public.
    ///
    /// What memcached does. Only behind a wall of your own that you have tested from outside.
    DANGER_PUBLIC = OptionSpec::own("danger-public-without-auth", Shape::Switch);

    /// Proxies that tell the address of their clients by the PROXY protocol, version 1 or 2; may be
    /// given several times.
    ///
    /// Where there are any, every TCP connection must begin with such a header, nobody else may
    /// connect by TCP, and the address in the header is the one that counts.
    PROXY_FROM = OptionSpec::own("proxy-from", Shape::Text).value("NET").repeated();

    /// Believe a proxy that says its client is on loopback.
    ///
    /// From a proxy on another host 127.0.0.1 means that host. Only for a proxy on this one.
    PROXY_TRUST_LOOPBACK = OptionSpec::own("proxy-trust-loopback", Shape::Switch);

    /// By how much the answer to a wrong password is delayed, at least.
    AUTH_DELAY = OptionSpec::own("auth-delay", Shape::Duration).value("TIME").default("1s");

    /// Failed log-ins after which their source is shut out for --auth-ban-time; 0 = never.
    ///
    /// A source is an IPv4 address, an IPv6 network of 64 bits, or a local user. Loopback is
    /// never shut out: behind a proxy of this machine one guesser would shut out everybody.
    AUTH_BAN_AFTER = OptionSpec::own("auth-ban-after", Integer::between(0, 1_000_000).shape())
        .default("10");

    /// For how long a source is shut out, and after which time its failures are forgotten.
    AUTH_BAN_TIME = OptionSpec::own("auth-ban-time", Shape::Duration).value("TIME").default("10m");

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

/// Those that SIGHUP puts in force at once, besides -v.
pub(crate) static RELOADED: &[&OptionSpec] =
    &[&ALLOW, &DANGER_PUBLIC, &DENY, &EXPOSURE, &PROXY_FROM, &PROXY_TRUST_LOOPBACK, &UDP_TRUSTED];

/// The group under which help shows them.
pub(crate) static GROUPS: &[Group] = &[Group { title: "Kannuki", options: OWN }];

/// All options of the server.
pub(crate) fn grammar() -> Grammar {
    Grammar::with(GROUPS)
}
