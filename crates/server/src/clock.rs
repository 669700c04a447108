//! The one file that reads a clock. Everybody else gets `now` as an argument.
//!
//! Invariants:
//! - The second shown by [`Clock::now`] never goes back: it follows the monotonic clock and changes
//!   only in [`Clock::tick`].
//! - It starts at [`FIRST_SECOND`], so that 0 can mean "never" and 1 "has passed".
#![allow(clippy::disallowed_methods)] // This is the file that they are kept for.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kannuki_protocol::command::Exptime;
use kannuki_store::time::{Expiry, Now};

/// The internal second at which a server starts.
const FIRST_SECOND: u32 = 2;

/// The wall clock, for the lines of the log.
#[must_use]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970 by the calendar, for the dates of certificates: unlike [`Clock::unix`] it
/// follows when the calendar is set.
#[must_use]
pub(crate) fn unix_now() -> u64 {
    wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Ticks once a second; shared by all threads.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_unix: u64,
    second: AtomicU32,
}

impl Clock {
    /// Starts now.
    #[must_use]
    pub(crate) fn start() -> Self {
        let started_unix =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { started: Instant::now(), started_unix, second: AtomicU32::new(FIRST_SECOND) }
    }

    /// Starts now, but calls it another time.
    #[must_use]
    pub(crate) fn started_at(unix: u64) -> Self {
        Self { started_unix: unix, ..Self::start() }
    }

    /// The current second, as of the last tick: what expiry is measured by.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        Now(self.second.load(Ordering::Relaxed))
    }

    /// Follows the system's monotonic clock.
    pub(crate) fn tick(&self) {
        let elapsed = u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.second.store(FIRST_SECOND.saturating_add(elapsed), Ordering::Relaxed);
    }

    /// Goes on by so much, in a simulation.
    pub(crate) fn jump(&self, time: Duration) {
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        self.second.store(self.now().0.saturating_add(seconds), Ordering::Relaxed);
    }

    /// Seconds since the start.
    #[must_use]
    pub(crate) fn uptime(&self) -> u32 {
        self.now().0 - FIRST_SECOND
    }

    /// Seconds since a moment, or since the start if that was later.
    #[must_use]
    pub(crate) fn since(&self, moment: Now) -> u32 {
        self.now().0.saturating_sub(moment.0.max(FIRST_SECOND))
    }

    /// Seconds since 1970, by the start's wall clock and the monotonic time since: the scale on
    /// which absolute expiry times are read and shown.
    #[must_use]
    pub(crate) fn unix(&self) -> u64 {
        self.unix_of(self.now().0)
    }

    /// Seconds since 1970 of an internal second.
    #[must_use]
    pub(crate) const fn unix_of(&self, second: u32) -> u64 {
        (self.started_unix + second as u64).saturating_sub(FIRST_SECOND as u64)
    }

    /// What a peer's expiry time means at `now`. Absolute times at or before the start have passed.
    #[must_use]
    pub(crate) fn expiry(&self, exptime: Exptime, now: Now) -> Expiry {
        match exptime {
            Exptime::Never => Expiry::NEVER,
            Exptime::Passed => Expiry::PASSED,
            Exptime::In(seconds) => Expiry::at(now.0.saturating_add(seconds)),
            Exptime::At(unix) => match u64::from(unix).checked_sub(self.started_unix) {
                None | Some(0) => Expiry::PASSED,
                Some(since) => Expiry::at(
                    u32::try_from(since).unwrap_or(u32::MAX).saturating_add(FIRST_SECOND),
                ),
            },
        }
    }

    /// When a `flush_all` with this delay takes effect: `None` = now.
    #[must_use]
    pub(crate) fn flush_at(&self, delay: Exptime, now: Now) -> Option<Now> {
        self.expiry(delay, now).second().filter(|&second| second > now.0).map(Now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::started_at(1_000_000_000)
    }

    #[test]
    fn relative_and_absolute_times_meet() {
        let clock = clock();
        let now = clock.now();
        assert_eq!(clock.expiry(Exptime::In(10), now), Expiry::at(now.0 + 10));
        assert_eq!(clock.expiry(Exptime::At(1_000_000_010), now), Expiry::at(now.0 + 10));
        assert_eq!(clock.unix_of(now.0 + 10), 1_000_000_010);
    }

    #[test]
    fn what_lies_before_the_start_has_passed() {
        let clock = clock();
        let now = clock.now();
        for exptime in [Exptime::Passed, Exptime::At(1), Exptime::At(1_000_000_000)] {
            assert!(clock.expiry(exptime, now).is_due(now), "{exptime:?}");
        }
        assert!(!clock.expiry(Exptime::Never, now).is_due(Now(u32::MAX)));
    }

    #[test]
    fn only_a_flush_in_the_future_waits() {
        let clock = clock();
        let now = clock.now();
        assert_eq!(clock.flush_at(Exptime::Never, now), None);
        assert_eq!(clock.flush_at(Exptime::Passed, now), None);
        assert_eq!(clock.flush_at(Exptime::In(1), now), Some(Now(now.0 + 1)));
    }

    #[test]
    fn no_time_overflows() {
        let clock = clock();
        let late = Now(u32::MAX);
        let _ = clock.expiry(Exptime::In(2_592_000), late);
        let _ = clock.expiry(Exptime::At(u32::MAX), late);
        let _ = clock.unix_of(u32::MAX);
    }
}
