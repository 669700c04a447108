//! `replay`: a workload played against servers that have the same memory, and who misses more.
//!
//! Read-through, as applications use a cache: `get`, and on a miss `set`. Memory is what the kernel
//! says is resident, since that is what a machine has to have; `-m` means something else in every
//! server.

mod fit;
mod inside;
mod lane;
mod matrix;
mod play;

pub use fit::{Fitted, fitted};
pub use inside::{INSIDE_HEAD, Inside, inside};
pub use lane::Asking;
pub use matrix::{Against, Point, against, alone, picture, rows};
pub use play::{Play, play};

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Reads and counts that found their item.
    pub hits: u64,
    /// Those that did not.
    pub misses: u64,
    /// Items stored, after a miss or unasked.
    pub sets: u64,
    /// Of these, refused by the server (out of memory).
    pub refused: u64,
}

impl Tally {
    /// Misses among all look-ups; 0 of none.
    #[must_use]
    pub fn miss_ratio(&self) -> f64 {
        self.misses as f64 / (self.hits + self.misses).max(1) as f64
    }
}
