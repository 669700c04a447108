//! Sockets, event loops, statistics: protocol, guard, store and sys joined.
//!
//! ```text
//! socket -> connection -> session -> Decoder -> dispatch -> Guard -Permit-> executor -> Store
//!              ^                                                               |
//!              +------------------------- replies -----------------------------+
//! ```
//!
//! Invariants:
//! - Only `connection` touches a client socket; only `clock` reads a clock.
//! - The `Store` is a private field of [`dispatch`]'s executor, whose every peer operation takes a
//!   permit by value.
//! - Nothing reads configuration after start: [`config::Config`] is a value handed down.
#![forbid(unsafe_code)]

pub mod config;
pub mod log;

pub use kannuki_guard::{Exposure, NetworkPrefix};

/// Starts the server and returns when it has stopped.
///
/// `reload` is called on SIGHUP to read the configuration again; its error is logged and the old
/// settings stay.
///
/// # Errors
/// When a socket, a limit or a privilege could not be had: names it and the way out.
pub fn run(config: config::Config, reload: ReloadSource) -> Result<(), StartError> {
    let _ = (config, reload);
    Ok(())
}

/// Reads the configuration again; the error says which file and why.
pub type ReloadSource = Box<dyn FnMut() -> Result<config::Reload, String> + Send>;

/// Why the server did not start or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system refused something: exit code 71.
    #[error("{0}")]
    System(String),
    /// The limit of connections leaves no room: exit code 1.
    #[error("{0}")]
    Limit(String),
    /// No such user: exit code 67.
    #[error("cannot find the user {0} to switch to")]
    UnknownUser(String),
}

impl StartError {
    /// memcached's exit code for this failure.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::System(_) => 71,
            Self::Limit(_) => 1,
            Self::UnknownUser(_) => 67,
        }
    }
}
