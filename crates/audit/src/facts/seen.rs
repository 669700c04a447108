//! Known, or not seen and why.

use serde::{Deserialize, Serialize};

/// A fact that may have been out of sight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen<T> {
    /// It was seen; an empty list means that there is nothing.
    Known(T),
    /// It was not seen: nothing may be concluded from it.
    Unseen(Unseen),
}

/// Why something was not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseen {
    /// The kind of reason.
    pub why: Why,
    /// In words, with what the system said.
    pub detail: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Somebody with more rights (root) would have seen it.
    NotPermitted,
    /// The file, folder or program that would tell is not there.
    Absent,
    /// A disk was looked at, not a running host.
    NotRunning,
    /// Only seen on request (`--probe`).
    NotAsked,
    /// It is larger than the bound, or more than the bound.
    TooLarge,
    /// It is no regular file (a FIFO, a device), or a link leads in a circle.
    NotRegular,
    /// It did not answer in time.
    TimedOut,
    /// It answered what cannot be understood.
    Malformed,
    /// The system refused for another reason.
    Failed,
}

/// What a [`Gap`] is about that stands for all those beyond the bound on how many are kept.
pub const MORE_GAPS: &str = "(more)";

/// Something that was not seen, for the list of all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// What was looked for: a path or a topic ("sockets of process 12").
    pub what: String,
    /// Why it was not seen.
    pub unseen: Unseen,
}

impl<T> Seen<T> {
    /// Not seen for this reason.
    #[must_use]
    pub fn unseen(why: Why, detail: impl Into<String>) -> Self {
        Self::Unseen(Unseen { why, detail: detail.into() })
    }

    /// What was seen.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unseen(_) => None,
        }
    }

    /// Why it was not seen.
    #[must_use]
    pub fn why(&self) -> Option<&Unseen> {
        match self {
            Self::Known(_) => None,
            Self::Unseen(unseen) => Some(unseen),
        }
    }

    /// The same reason, or something made of what was seen.
    #[must_use]
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Known(known) => Seen::Known(make(known)),
            Self::Unseen(unseen) => Seen::Unseen(unseen),
        }
    }

    /// Borrows what was seen.
    #[must_use]
    pub fn as_ref(&self) -> Seen<&T> {
        match self {
            Self::Known(known) => Seen::Known(known),
            Self::Unseen(unseen) => Seen::Unseen(unseen.clone()),
        }
    }
}

impl<T> Seen<Vec<T>> {
    /// What was seen, or nothing; for questions where "not seen" and "none" are treated alike.
    #[must_use]
    pub fn list(&self) -> &[T] {
        self.known().map_or(&[], Vec::as_slice)
    }
}
