//! Options that say where the server listens.

use crate::memcached_options::{
    problem::EXIT_USAGE,
    spec::{Integer, OptionSpec, Shape},
};
use crate::option_table;

const PORT_RANGE: Shape = Integer::between(-1, 65_535).or_exit(EXIT_USAGE).shape();

option_table! {
    /// Options that say where the server listens.
    LISTENING;

    /// TCP port to listen on; 0 = no TCP, -1 = any free port.
    PORT = OptionSpec::flag(b'p', "port", PORT_RANGE).default("11211");

    /// UDP port to listen on; 0 = no UDP, -1 = any free port.
    ///
    /// Given without -p, the TCP port follows it. Toward every address but loopback and those of
    /// --udp-trusted, a reply is never longer than the datagram that asked for it.
    UDP_PORT = OptionSpec::flag(b'U', "udp-port", PORT_RANGE).default("0");

    /// UNIX socket to listen on; switches TCP and UDP off.
    UNIX_SOCKET = OptionSpec::flag(b's', "unix-socket", Shape::Path).value("FILE");

    /// Permission bits of the UNIX socket, in octal.
    UNIX_MASK = OptionSpec::flag(b'a', "unix-mask", Shape::Octal).value("MASK").default("700");

    /// Addresses to listen on; may be given several times.
    ///
    /// A list parted by commas or semicolons of `[notls:|btls:|mtls:]
    /// [proto[ascii|binary|negotiating]:] [tag[NAME]:]HOST[:PORT]`, where HOST is a name, an IPv4
    /// address, an IPv6 address (in brackets if a port follows) or `*` for every address. A port
    /// given here overrides -p and -U for this address. With -Z, `notls` speaks in clear, `btls`
    /// does not ask clients for a certificate and `mtls` demands one.
    ///
    /// Without -l memcached listens on every address; Kannuki listens on 127.0.0.1 and, where IPv6
    /// is on, ::1.
    LISTEN = OptionSpec::flag(b'l', "listen", Shape::Listen).value("ADDR");

    /// Protocol of the listeners: the first byte of a connection decides, or one is fixed.
    PROTOCOL = OptionSpec::flag(b'B', "protocol", Shape::Choice(&["auto", "ascii", "binary"]))
        .value("NAME")
        .default("auto");

    /// Length of the kernel's queue of connections that are not yet accepted.
    LISTEN_BACKLOG =
        OptionSpec::flag(b'b', "listen-backlog", Integer::between(0, 1 << 31).shape())
            .default("1024");

    /// Firewall mark (SO_MARK) of the listening sockets; 0 = none.
    SOCK_COOKIE_ID =
        OptionSpec::suboption("sock_cookie_id", Integer::between(0, u32::MAX as i64).shape())
            .default("0");
}
