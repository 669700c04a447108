//! What of the program reads text that somebody else may have written, as a library: so that fuzzing
//! reaches the very code that `kannuki serve` runs. The program is the only other user.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod tables;
