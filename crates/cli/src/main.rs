//! The command `kannuki`.
#![forbid(unsafe_code)]
fn main() {}
