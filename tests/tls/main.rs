//! TLS from outside: certificates made here, clients of several kinds, and peers who mean harm.
//!
//! Nothing asserts how long something takes; what must end has a bound.
#![forbid(unsafe_code)]

mod access;
mod bed;
mod certificates;
mod client;
mod hostile;
mod keys;
mod programs;
mod reload;
mod traffic;
