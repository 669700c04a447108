//! Sockets, event loops, statistics: protocol, guard, store and sys joined.
#![forbid(unsafe_code)]
