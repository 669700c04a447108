//! The store's clock: whole seconds since shortly before the server started.

/// A second on the internal clock. Never 0, so that 0 can mean "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(pub u32);

/// When an item dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expiry(u32);

impl Expiry {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Before any `now`: stored and counted, never returned.
    pub const PASSED: Self = Self(1);

    /// At that second of the internal clock; 0 is read as 1 (passed).
    #[must_use]
    pub const fn at(second: u32) -> Self {
        Self(if second == 0 { 1 } else { second })
    }

    /// `None` = never.
    #[must_use]
    pub const fn second(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0) }
    }

    /// An item with this expiry is dead at `now`: its second is at or before it.
    #[must_use]
    pub const fn is_due(self, now: Now) -> bool {
        self.0 != 0 && self.0 <= now.0
    }
}
