//! What a peer can do wrong, and what it is told.

use crate::binary::Status;

/// A breach of the protocol. It knows its own answer and whether the stream can go on.
///
/// Every kind is a named reason, so that refusals can be counted and explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was wrong.
    pub fault: Fault,
    /// The peer said `noreply`: nothing is answered.
    pub silent: bool,
    /// The stream cannot be trusted any further: answer, then close.
    pub closes: bool,
    /// For a binary request: its opcode and opaque, which the response carries.
    pub binary: Option<(u8, [u8; 4], Status)>,
}

/// The faults, by the answer they get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// `ERROR automove…` and kin are spelled by their own variants below.
    UnknownCommand,
}
