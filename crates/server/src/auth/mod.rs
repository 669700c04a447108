//! Logging in: who may be whom, by a file of names and passwords.
//!
//! ```text
//!   text     set x 0 0 N  "name password"  --+
//!   binary   SASL PLAIN ---------------------+-> Attempt -> queue -> password threads -> Outcome
//!   binary   SASL SCRAM-SHA-256 (two steps) -+                          |     |             |
//!                                                                     Users  Bans       the session
//! ```
//!
//! The event loops never hash: a session whose peer logs in hands an `attempt::Attempt` out and
//! waits, like for a slow socket, until its outcome is left in the letterbox of its thread.
//!
//! Invariants:
//! - One decision for every way in: `authority::Authority::decide` is the only place that says
//!   yes.
//! - A wrong password and an unknown name do the same work, are answered by the same bytes after
//!   the same delay, and count against the same source.
//! - The queue, the threads, the table of failures and the cost of one hash are bounded. What does
//!   not fit is refused at once, and counted.
//! - Passwords are wiped where they were gathered, and are in no message, statistic or log line.

pub(crate) mod attempt;
pub(crate) mod authority;
mod digest;
mod make;
pub(crate) mod plain;
mod queue;
pub(crate) mod scram;
mod users;
mod verifier;

pub(crate) use attempt::{Attempt, Mechanism, Outcome};
pub(crate) use authority::{Authority, serve_queue};
pub use make::{MakeError, argon2id_line, scram_line};
pub(crate) use users::Identity;
pub use users::{Format, LineFault, Users, UsersError, UsersWarning};
pub(crate) use verifier::Bench;
pub use verifier::VerifierError;
