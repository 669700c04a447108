//! `kannuki-bench`: how fast, how small and how good at keeping what is asked for again is a
//! memcached? The same questions go to any server that speaks memcached's protocol.
//!
//! Invariants: servers are started on loopback only and ended by their own process id; chance comes
//! from seeds, so that every server gets the same sequence; nothing here is part of the product.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod authority;
pub mod clock;
pub mod compare;
pub mod compare_tls;
pub mod handshake;
pub mod item;
pub mod link;
pub mod load;
pub mod locks;
pub mod picture;
pub mod process;
pub mod random;
pub mod replay;
pub mod reply;
pub mod stats;
pub mod table;
pub mod tls;
pub mod trace;
pub mod workload;
pub mod zipf;
