//! What a peer may want, as a value ([`Action`]) and as a type ([`ActionKind`]).
//!
//! The type makes permits of different actions different types: a permit to read cannot be spent
//! on a write, and the compiler is the one who says so.

catalogue! {
    /// What a peer wants to do.
    Action {
        Read, "read", "Look up items: get, gets, mg, and the reading half of gat.";
        Write, "write", "Store or change items: set and its kin, incr, decr, touch, ms, ma.";
        Delete, "delete", "Remove one item: delete, md.";
        Flush, "flush", "Remove all items: flush_all.";
        Stats, "stats", "Look at counters and settings: stats, version.";
        Dump, "dump", "List keys: metadump, mgdump, stats cachedump, stats detail.";
        Watch, "watch", "Follow what other peers do: watch.";
        Admin, "admin",
            "Change how the server runs: verbosity, cache_memlimit, slabs, lru, lru_crawler, stats \
            reset.";
        Shutdown, "shutdown", "End the server: shutdown.";
    }
}

/// An action at the level of types. Sealed: the markers in this module are all there are.
pub trait ActionKind: sealed::Sealed {
    /// The action that the marker stands for.
    const ACTION: Action;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! markers {
    ($($marker:ident)+) => {
        $(
            #[doc = concat!("Marks a permit for [`Action::", stringify!($marker), "`].")]
            #[derive(Debug)]
            pub enum $marker {}

            impl sealed::Sealed for $marker {}

            impl ActionKind for $marker {
                const ACTION: Action = Action::$marker;
            }
        )+

        #[cfg(test)]
        const MARKED: &[Action] = &[$($marker::ACTION,)+];
    };
}

markers! { Read Write Delete Flush Stats Dump Watch Admin Shutdown }

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ActionSet(u16);

// One bit each.
const _: () = assert!(Action::COUNT <= u16::BITS as usize);

impl ActionSet {
    /// No action.
    pub const NONE: Self = Self(0);
    /// Every action.
    pub const ALL: Self = Self((1 << Action::COUNT) - 1);

    /// This set and `action`.
    #[must_use]
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | 1 << action.index())
    }

    /// Whether every action of `other` is in it.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether `action` is in it.
    #[must_use]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & 1 << action.index() != 0
    }
}

impl FromIterator<Action> for ActionSet {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_marker() {
        assert_eq!(MARKED, Action::ALL);
    }

    #[test]
    fn sets_hold_what_was_put_in_and_nothing_else() {
        let set: ActionSet = [Action::Read, Action::Shutdown].into_iter().collect();
        for action in Action::ALL {
            let expected = matches!(action, Action::Read | Action::Shutdown);
            assert_eq!(set.contains(action), expected, "{action}");
            assert!(ActionSet::ALL.contains(action));
            assert!(!ActionSet::NONE.contains(action));
        }
        assert_eq!(Action::ALL.into_iter().collect::<ActionSet>(), ActionSet::ALL);
    }
}
