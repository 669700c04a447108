//! From commands to the store and back: the only door to the items.
//!
//! Invariants:
//! - The store is a private field of [`Executor`]; every operation that a peer can cause takes a
//!   permit by value, and only the guard can make one. Action and key come from the permit alone.
//! - Looking [`ahead`] returns hashes alone and [`Executor::maintain`] touches no peer: the only two
//!   without a permit.

pub(crate) mod admin;
pub(crate) mod ahead;
pub(crate) mod binary;
pub(crate) mod classic;
pub(crate) mod meta;

pub(crate) use classic::deny;

use kannuki_guard::{
    Access, Denial, Permit,
    action::{self, ActionKind},
};
use kannuki_store::{
    face::{
        Absent, Cursor, Fetch, FetchMiss, Hashed, Hit, Leases, Looked, Maintained, Refusal,
        Removal, Removed, Step, Stepped, Walked, Write, Written,
    },
    stats::{ClassStats, StoreStats},
    time::Now,
};

use ahead::Ahead;

use crate::{
    counters::{ClassCounter, Counter, Counters},
    instance::{Instance, Rules},
    memory::{Chain, Reservation, Store},
    refusals,
};

/// What one turn of a thread works with.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'t> {
    /// Everything the threads share.
    pub instance: &'t Instance,
    /// The rules in force.
    pub rules: &'t Rules,
    /// This thread's counters.
    pub counters: &'t Counters,
    /// The current second.
    pub now: Now,
    /// Log commands and replies (`-vv`).
    pub verbose: bool,
    /// The keys of the commands to come, where somebody looks.
    pub ahead: Option<&'t Ahead<'t>>,
}

impl<'t> Turn<'t> {
    /// The same while these keys are foreseen.
    #[must_use]
    pub(crate) const fn with<'s>(&self, ahead: &'s Ahead<'s>) -> Turn<'s>
    where
        't: 's,
    {
        let Self { instance, rules, counters, now, verbose, ahead: _ } = *self;
        Turn { instance, rules, counters, now, verbose, ahead: Some(ahead) }
    }
}

impl Turn<'_> {
    /// Asks the guard; a refusal is counted here and nowhere else.
    ///
    /// # Errors
    /// The denial, to be answered.
    #[inline]
    pub(crate) fn permit<'k, A: ActionKind>(
        &self,
        access: &Access,
        key: Option<&'k [u8]>,
    ) -> Result<Permit<'k, A>, Denial> {
        self.rules.guard.permit(access, key).inspect_err(|denial| self.refused(denial))
    }

    /// Asks the guard whether the peer may write besides. No is no refusal: what was asked for is
    /// done, in another way.
    #[inline]
    pub(crate) fn may_write<'k>(
        &self,
        access: &Access,
        key: Option<&'k [u8]>,
    ) -> Option<Permit<'k, action::Write>> {
        self.rules.guard.permit(access, key).ok()
    }

    fn refused(&self, denial: &Denial) {
        self.counters.add_refusal(refusals::of_denial(denial));
    }

    fn count(&self, counter: Counter) {
        self.counters.add(counter, 1);
    }

    fn count_class(&self, class: u8, counter: ClassCounter) {
        self.counters.add_class(class, counter);
    }

    /// A look-up by itself found nothing.
    fn count_miss(&self, miss: FetchMiss) {
        match miss {
            FetchMiss::Absent(absent) => self.count_absent(Some(absent)),
            FetchMiss::NoMemory => {}
        }
    }

    /// A look-up found no live item: expired and flushed ones have counters of their own.
    fn count_absent(&self, absent: Option<Absent>) {
        match absent {
            Some(Absent::Expired) => self.count(Counter::GetExpired),
            Some(Absent::Flushed) => self.count(Counter::GetFlushed),
            Some(Absent::Missing) | None => {}
        }
    }
}

/// A value to be stored: whole in the read buffer, or gathered in blocks of its own.
pub(crate) enum Payload<'b> {
    /// Still where it was read.
    Whole(&'b [u8]),
    /// Arrived in pieces.
    Gathered(Reservation),
}

/// What a touch tells of an item.
#[derive(Clone, Copy)]
pub(crate) struct Touched {
    /// Its size class.
    pub class: u8,
    /// Its client flags.
    pub flags: u32,
    /// Its cas unique.
    pub cas: u64,
}

/// Whether the peer learns an item's cas unique by this command. As long as nobody knows it, the
/// store may change it, which saves eight bytes on items that it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cas {
    /// The reply shows it, or the peer has chosen it.
    Shown,
    /// It does not.
    Hidden,
}

impl Cas {
    /// Shown if so.
    #[must_use]
    pub(crate) const fn shown_if(shown: bool) -> Self {
        if shown { Self::Shown } else { Self::Hidden }
    }
}

/// The door to the store.
pub(crate) struct Executor {
    store: Store,
}

impl Executor {
    /// Guards this store from now on.
    #[must_use]
    pub(crate) const fn new(store: Store) -> Self {
        Self { store }
    }

    /// Looks an item up without changing it: of `how`, touch, creation and winning are left out.
    pub(crate) fn read<R>(
        &self,
        turn: &Turn<'_>,
        permit: Permit<'_, action::Read>,
        how: &Fetch,
        cas: Cas,
        read: impl FnOnce(&Hit<'_, Chain>) -> R,
    ) -> Result<R, FetchMiss> {
        let leases = if how.leases == Leases::Taken { Leases::Shown } else { how.leases };
        let how = Fetch { touch: None, vivify: None, leases, ..*how };
        self.fetch(turn, permit.key(), &how, cas, read)
    }

    /// Looks an item up and touches, creates or leases it. Who may only write learns no value so.
    pub(crate) fn read_and_change<R>(
        &self,
        turn: &Turn<'_>,
        (read_permit, _write_permit): (Permit<'_, action::Read>, Permit<'_, action::Write>),
        how: &Fetch,
        cas: Cas,
        read: impl FnOnce(&Hit<'_, Chain>) -> R,
    ) -> Result<R, FetchMiss> {
        self.fetch(turn, read_permit.key(), how, cas, read)
    }

    /// Gives an item another expiry, without a look at its value.
    pub(crate) fn touch(
        &self,
        turn: &Turn<'_>,
        permit: Permit<'_, action::Write>,
        how: &Fetch,
        cas: Cas,
    ) -> Result<Touched, FetchMiss> {
        self.fetch(turn, permit.key(), how, cas, |hit| Touched {
            class: hit.class,
            flags: hit.flags,
            cas: hit.cas,
        })
    }

    fn fetch<R>(
        &self,
        turn: &Turn<'_>,
        key: Option<&[u8]>,
        how: &Fetch,
        cas: Cas,
        read: impl FnOnce(&Hit<'_, Chain>) -> R,
    ) -> Result<R, FetchMiss> {
        let Some(key) = key else { return Err(FetchMiss::Absent(Absent::Missing)) };
        self.store.fetch(self.hashed(turn, key, cas), turn.now, how, read)
    }

    /// Stores a value.
    pub(crate) fn write(
        &self,
        turn: &Turn<'_>,
        permit: Permit<'_, action::Write>,
        how: &Write,
        cas: Cas,
        payload: Payload<'_>,
    ) -> Looked<Written> {
        let Some(key) = permit.key() else {
            return Looked { outcome: Written::NotStored, absent: None };
        };
        let key = self.hashed(turn, key, cas);
        match payload {
            Payload::Whole(value) => self.store.write(key, turn.now, how, value),
            Payload::Gathered(reservation) => self.store.commit(key, turn.now, how, reservation),
        }
    }

    /// Takes memory for a value that arrives in pieces. A refusal under mode Set has removed the
    /// old item.
    ///
    /// # Errors
    /// Too large, or no memory.
    pub(crate) fn reserve(
        &self,
        turn: &Turn<'_>,
        permit: Permit<'_, action::Write>,
        how: &Write,
        value_bytes: u32,
    ) -> Result<Reservation, Refusal> {
        let key = self.hashed(turn, permit.key().unwrap_or_default(), Cas::Hidden);
        self.store.reserve(key, turn.now, how, value_bytes)
    }

    /// Deletes an item, marks it stale or empties it.
    pub(crate) fn remove(
        &self,
        turn: &Turn<'_>,
        permit: Permit<'_, action::Delete>,
        compare: Option<u64>,
        how: &Removal,
    ) -> Looked<Removed> {
        let Some(key) = permit.key() else {
            return Looked { outcome: Removed::NotFound, absent: None };
        };
        // What is left behind may have a cas unique that the peer chose.
        self.store.remove(self.hashed(turn, key, Cas::Shown), turn.now, compare, how)
    }

    /// Increments or decrements.
    pub(crate) fn step(
        &self,
        turn: &Turn<'_>,
        permit: Permit<'_, action::Write>,
        how: &Step,
        cas: Cas,
    ) -> Looked<Stepped> {
        let Some(key) = permit.key() else {
            return Looked { outcome: Stepped::NotFound, absent: None };
        };
        self.store.step(self.hashed(turn, key, cas), turn.now, how)
    }

    fn hashed<'k>(&self, turn: &Turn<'_>, key: &'k [u8], cas: Cas) -> Hashed<'k> {
        let hashed = match turn.ahead {
            Some(ahead) => ahead.hashed(&self.store, key),
            None => self.store.hashed(key),
        };
        match cas {
            Cas::Shown => hashed,
            Cas::Hidden => hashed.cas_hidden(),
        }
    }

    /// Kills everything stored before `at`.
    pub(crate) fn flush(&self, _permit: Permit<'_, action::Flush>, now: Now, at: Now) {
        self.store.flush(now, at);
    }

    /// Shows some more items to `visit`; `None` = that was all.
    pub(crate) fn walk(
        &self,
        _permit: Permit<'_, action::Dump>,
        cursor: Cursor,
        now: Now,
        items_max: usize,
        visit: impl FnMut(&Walked<'_>),
    ) -> Option<Cursor> {
        self.store.walk(cursor, now, items_max, visit)
    }

    /// Gauges and counters of the store as a whole.
    #[must_use]
    pub(crate) fn stats(&self, _permit: &Permit<'_, action::Stats>) -> StoreStats {
        self.store.stats()
    }

    /// The same by size class.
    #[must_use]
    pub(crate) fn class_stats(&self, _permit: &Permit<'_, action::Stats>) -> Vec<ClassStats> {
        self.store.class_stats()
    }

    /// Item sizes rounded up to 32 bytes, and how many there are of each.
    #[must_use]
    pub(crate) fn size_histogram(&self, _permit: &Permit<'_, action::Stats>) -> Vec<(u32, u64)> {
        self.store.size_histogram()
    }

    /// Forgets the store's counters.
    pub(crate) fn reset_stats(&self, _permit: &Permit<'_, action::Stats>) {
        self.store.reset_stats();
    }

    /// Changes the memory limit; `false` if it cannot be.
    #[must_use]
    pub(crate) fn set_memory_limit(&self, _permit: Permit<'_, action::Admin>, bytes: u64) -> bool {
        self.store.set_memory_limit(bytes)
    }

    /// One short step of background work.
    pub(crate) fn maintain(&self, now: Now) -> Maintained {
        self.store.maintain(now)
    }
}
