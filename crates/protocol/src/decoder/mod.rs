//! Bytes in, events out.

use crate::{command::Command, violation::Violation};

/// Which protocol a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The first byte decides for good: 0x80 is binary, anything else text.
    Auto,
    /// Binary only.
    Binary,
    /// Text (classic and meta) only.
    Text,
}

/// What one call of [`Decoder::decode`] found.
#[must_use]
#[derive(Debug)]
pub struct Decoded<'b> {
    /// Bytes of `unread` that are done with; the caller drops them.
    pub used: usize,
    /// What they were.
    pub event: Event<'b>,
}

/// What happened in the stream.
#[derive(Debug)]
pub enum Event<'b> {
    /// A complete, valid command. If it has a data block, `Data` events follow.
    Command(Command<'b>),
    /// A piece of the data block of the last command. `last` only after its terminator was
    /// checked; a block that is whole in `unread` comes as one piece.
    Data {
        /// Never includes the terminator; empty if only the terminator was missing.
        piece: &'b [u8],
        /// The block is complete and sound.
        last: bool,
    },
    /// Nothing more can be said without more bytes.
    Incomplete,
    /// The peer broke the protocol.
    Violation(Violation),
}

/// Turns the unread bytes of one connection into events. Owns no buffer.
#[derive(Debug)]
pub struct Decoder {
    dialect: Dialect,
}

impl Decoder {
    /// A decoder at the start of a connection, or of a datagram.
    #[must_use]
    pub const fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }

    /// Examines `unread` and reports one event. Call again with what is left (even if that is
    /// nothing) until it says `Incomplete`; then call again only with more bytes behind the same
    /// ones.
    ///
    /// `Incomplete` may have used bytes: those of a data block that nobody wants.
    pub fn decode<'b>(&mut self, unread: &'b [u8]) -> Decoded<'b> {
        let _ = unread;
        Decoded { used: 0, event: Event::Incomplete }
    }

    /// The command just handed out was refused, or its block is no longer wanted: swallows what is
    /// left of it, terminator included, without a word. No effect when no block is open.
    pub fn discard_data(&mut self) {}

    /// Which protocol the connection speaks; `None` before its first byte, where both are allowed.
    #[must_use]
    pub const fn is_binary(&self) -> Option<bool> {
        match self.dialect {
            Dialect::Auto => None,
            Dialect::Binary => Some(true),
            Dialect::Text => Some(false),
        }
    }

    /// A fatal violation happened: nothing is used any more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        false
    }
}
