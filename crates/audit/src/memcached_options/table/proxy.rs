//! Options of memcached's proxy. They route, so none may be accepted without doing it.

use crate::memcached_options::spec::{OptionSpec, Shape};
use crate::option_table;

/// Why the server does not start with an option of the proxy.
const NO_PROXY: &str =
    "there is no proxy, and starting without it would serve items from the wrong place";

option_table! {
    /// Options of memcached's proxy.
    PROXY;

    /// Programs that route, or `routelib`.
    PROXY_CONFIG = OptionSpec::suboption("proxy_config", Shape::Text)
        .value("FILE[:FILE...]")
        .refuses(NO_PROXY);

    /// Argument of the program.
    PROXY_ARG = OptionSpec::suboption("proxy_arg", Shape::Text).value("TEXT").refuses(NO_PROXY);

    /// Talk to the servers behind by io_uring.
    PROXY_URING = OptionSpec::suboption("proxy_uring", Shape::Switch).refuses(NO_PROXY);

    /// Write profiles of the program's memory.
    PROXY_MEMPROFILE = OptionSpec::suboption("proxy_memprofile", Shape::Switch).refuses(NO_PROXY);
}
