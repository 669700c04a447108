//! Is this host safe? And the one parser of the options that memcached understands.
#![forbid(unsafe_code)]
