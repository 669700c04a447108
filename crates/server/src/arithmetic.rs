//! How much public-key arithmetic one thread does in one turn: it costs a thousand times what a
//! command does, and peers can ask for it.
//!
//! Invariant: whoever finds nothing left is not read from, and so is reported again in the next
//! turn; nothing is lost by waiting.

use crate::limits::{HANDSHAKES_PER_TURN, VERIFICATIONS_PER_TURN};

/// What the next bytes of a connection may cost before any command is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toll {
    /// Nothing of that kind.
    None,
    /// A step of its handshake, with a signature of ours.
    Handshake,
    /// Its certificate, which was good under authorities that are in force no more.
    Verification,
}

/// What is left of one turn.
#[derive(Debug)]
pub(crate) struct Arithmetic {
    handshakes: u32,
    verifications: u32,
}

impl Arithmetic {
    /// All that a turn has.
    #[must_use]
    pub(crate) const fn of_a_turn() -> Self {
        Self { handshakes: HANDSHAKES_PER_TURN, verifications: VERIFICATIONS_PER_TURN }
    }

    /// Takes the toll; `false` = it is for the next turn.
    #[must_use]
    pub(crate) const fn affords(&mut self, toll: Toll) -> bool {
        let left = match toll {
            Toll::None => return true,
            Toll::Handshake => &mut self.handshakes,
            Toll::Verification => &mut self.verifications,
        };
        let affords = *left > 0;
        *left = left.saturating_sub(1);
        affords
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_bound_of_its_own_and_commands_have_none() {
        let mut turn = Arithmetic::of_a_turn();
        let mut afforded = |toll| (0..1000).filter(|_| turn.affords(toll)).count();
        assert_eq!(afforded(Toll::Verification), VERIFICATIONS_PER_TURN as usize);
        assert_eq!(afforded(Toll::Handshake), HANDSHAKES_PER_TURN as usize);
        assert_eq!(afforded(Toll::None), 1000);
    }
}
