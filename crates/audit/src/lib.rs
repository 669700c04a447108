//! Is this host safe? And the one parser of the options that memcached understands.
//!
//! Invariants:
//! - No argument, file or host can make this crate panic.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod collect;
pub mod facts;
pub mod firewall;
mod formats;
pub mod memcached_options;
pub mod provider_row;
pub mod versions;
