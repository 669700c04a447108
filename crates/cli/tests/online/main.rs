//! What goes over a network, against a server of our own: news about flaws, and notices.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod https;
mod news;
mod notify;
