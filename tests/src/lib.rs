//! Whole processes under test: what every test binary of this package shares.
//!
//! [`Launch`] starts a server (Kannuki, Kannuki under the name `memcached`, or the distribution's
//! memcached) on a free loopback port, waits until it accepts, and hands out a [`Server`] that
//! dies with the test. [`Wire`] is one client connection on which nothing can block for ever. A
//! test that cannot run says so through [`missing`], which fails where everything has to run
//! (`CI=true`).
//!
//! Everything here panics when the surroundings fail: a test has nobody to hand an error to.

pub mod clock;
mod control_group;
pub mod launch;
pub mod machine;
pub mod network;
pub mod process;
pub mod spoof;
pub mod wire;

pub use launch::{Launch, Program, Server};
pub use wire::{Wire, stats};

/// True where a test that cannot run is a failure, not a note.
pub fn everything_must_run() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1")
}

/// Says loudly that a test could not run, and fails if everything has to.
///
/// # Panics
///
/// Under `CI=true`.
pub fn missing(what: &str, why: &str) {
    assert!(!everything_must_run(), "{what} cannot run: {why}");
    eprintln!("\n*** SKIPPED: {what}: {why} ***\n");
}
