//! One log-in, from what the peer sent to what comes of it.
//!
//! Invariant: an [`Attempt`] holds a secret and is wiped when dropped; an [`Outcome`] holds none.

use zeroize::Zeroizing;

use super::{scram::Exchange, users::Identity};

/// A way to log in by SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// Name and password as they are.
    Plain,
    /// A proof of knowing the password.
    ScramSha256,
}

impl Mechanism {
    /// Every mechanism, in the order in which they are listed.
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::ScramSha256];

    /// The registered name.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
        }
    }

    /// The mechanism of that name.
    #[must_use]
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().as_bytes() == name)
    }
}

/// What a peer offers as proof.
pub(crate) enum Attempt {
    /// A password.
    Password {
        /// Of whom.
        name: Vec<u8>,
        /// Wiped when dropped.
        password: Zeroizing<Vec<u8>>,
    },
    /// The last message of SCRAM.
    Proof {
        /// What was said before.
        exchange: Box<Exchange>,
        /// The message.
        message: Zeroizing<Vec<u8>>,
    },
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(..)",
            Self::Proof { .. } => "Proof(..)",
        })
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is this user.
    Admitted {
        /// Who.
        identity: Identity,
        /// What SCRAM says last; empty otherwise.
        answer: Vec<u8>,
    },
    /// Wrong name, password or proof.
    Wrong,
    /// The source is shut out; nothing was checked.
    Banned,
    /// Too many log-ins wait; nothing was checked.
    Busy,
}
