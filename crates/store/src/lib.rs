//! Items in bounded memory: shards, segments, index, eviction, expiry. No sockets, no threads, no
//! clock: `now` is an argument, memory blocks come through a trait.
#![forbid(unsafe_code)]
// Offsets into blocks are this crate's own invariants, checked by its tests; a peer's bytes are
// only copied, never indexed by.
#![allow(clippy::indexing_slicing)]

pub mod batch;
pub mod blocks;
pub mod chain;
pub mod class;
mod counters;
pub mod face;
mod geometry;
mod ghost;
mod heap;
mod index;
mod layout;
mod location;
#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
mod pool;
mod shard;
pub mod stats;
mod steps;
mod store;
mod sync;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
pub mod time;

pub use store::{Reservation, Store};
