//! Is this host safe? And the one parser of the options that memcached understands.
//!
//! Invariants:
//! - No argument, file or host can make this crate panic.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod apply;
pub mod collect;
pub mod facts;
pub mod findings;
pub mod firewall;
mod formats;
pub mod letter;
pub mod memcached_options;
pub mod output;
pub mod plan;
pub mod provider_row;
pub mod rules;
pub mod texts;
pub mod traces;
pub mod triage;
pub mod versions;
pub mod vulnerabilities;
