//! Items in bounded memory: shards, segments, index, eviction, expiry. No sockets, no threads, no
//! clock: `now` is an argument, memory blocks come through a trait.
#![forbid(unsafe_code)]

pub mod blocks;
pub mod chain;
pub mod class;
pub mod face;
pub mod stats;
mod store;
pub mod time;

pub use store::{Reservation, Store};
