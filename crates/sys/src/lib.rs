//! The one place of unsafe: memory, descriptors, processes.
//!
//! Every other crate forbids `unsafe`; what the system cannot offer safely gets a small safe face
//! here, with a SAFETY comment on each block. Nothing in this crate knows what is cached, who may
//! connect or how a command looks.
//!
//! | module | what it wraps |
//! |---|---|
//! | [`arena`] | blocks carved from large mappings |
//! | [`memory`] | anonymous mappings, huge-page advice, prefetch, locking |
//! | [`netlink`] | dumps of sockets, interfaces and addresses |
//! | [`poller`] | one epoll instance and a waker for it |
//! | [`socket`] | listeners, streams and datagrams, all non-blocking and close-on-exec |
//! | [`process`] | daemon, privilege drop, limits, pid file, resource usage |
//! | [`program`] | the program's own pages, given back once it has started |
//! | [`inherited`] | listeners handed over by a service supervisor (`LISTEN_FDS`) |
//!
//! Invariants: `unsafe` stands only in the modules that say `allow(unsafe_code)`; every descriptor
//! made or taken here is an `OwnedFd` with close-on-exec; every socket is non-blocking.
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![deny(clippy::indexing_slicing)]

pub mod arena;
pub mod inherited;
pub mod memory;
pub mod netlink;
pub mod poller;
pub mod process;
pub mod program;
pub mod socket;
