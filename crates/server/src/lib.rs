//! Sockets, event loops, statistics: protocol, guard, store and sys joined.
//!
//! ```text
//! socket -> connection -> session -> Decoder -> dispatch -> Guard -Permit-> Executor -> Store
//!              ^                                                               |
//!              +------------------------- replies -----------------------------+
//! ```
//!
//! Threads: one accepts and hands connections out; `-t` event loops own them; one keeps house (clock,
//! expiry, eviction reserve); the starting thread waits for signals.
//!
//! Invariants:
//! - Only `connection` touches a client socket, and before there is one `threshold`, which reads a
//!   PROXY header; only `clock` reads a clock.
//! - The `Store` is a private field of `dispatch`'s executor, whose every peer operation takes a
//!   permit by value.
//! - Nothing reads configuration after start: [`config::Config`] is a value handed down.
#![forbid(unsafe_code)]

mod acceptor;
mod arithmetic;
pub mod auth;
mod clock;
pub mod config;
mod connection;
mod counters;
mod datagram;
mod dispatch;
mod doors;
mod dump;
mod instance;
mod limits;
pub mod log;
mod login;
mod memory;
mod output;
mod prefixes;
pub mod refusals;
mod registry;
mod run;
mod session;
pub mod simulation;
mod stats;
mod threshold;
pub mod tls;
mod worker;

pub use kannuki_guard as guard;
pub use kannuki_guard::{Exposure, NetworkList, NetworkPrefix, Reason};
pub use run::{Hooks, ReloadSource, StartError, Started, run};

/// The memcached whose behaviour this server has, and all that it answers to `version`: clients
/// parse it as three numbers.
pub const VERSION: &str = "1.6.45";

/// This server's own version.
pub const KANNUKI_VERSION: &str = env!("CARGO_PKG_VERSION");
