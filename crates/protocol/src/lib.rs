//! Memcached's wire protocols, without sockets, clocks, threads or locks: bytes in, commands out;
//! replies in, bytes out.
//!
//! ```text
//!  unread bytes --> Decoder::decode --> Decoded { used, skipped, event }
//!                                             |-- Command    a complete, valid line or frame head
//!                                             |-- Data       a piece of the block that follows it
//!                                             |-- Violation  what was wrong, and its answer
//!                                             `-- Incomplete lend more bytes
//!  reply values --> reply::text / reply::meta / reply::binary --> appended to the caller's buffer
//! ```
//!
//! Invariants:
//! - The decoder owns no buffer and never looks twice at a byte it has reported as scanned.
//! - A command and its data block are two events, so a caller can decide about the command before
//!   it accepts the payload.
//! - Splitting the stream at any byte yields the same events, apart from the sizes of data pieces
//!   (and one habit of memcached's: a line above `LINE_BYTES_MAX` passes only with its end).
//! - No input can make this crate panic. Decoding allocates nothing; replies grow the caller's
//!   buffer.
//! - Data never runs as commands: a block of unknown length closes the connection, a broken one is
//!   skipped to its next line end.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod base64;
pub mod binary;
mod blank;
pub mod command;
pub mod decoder;
mod encode;
pub mod glance;
pub mod key;
pub mod limits;
pub mod meta;
mod number;
pub mod proxy_header;
pub mod reply;
pub mod udp;
pub mod violation;

pub use command::Command;
pub use decoder::{Decoded, Decoder, Dialect, Event, Usual};
pub use key::Key;
pub use violation::Violation;
