//! Waiting, with an end: the one file of this package that reads a clock.

use std::time::{Duration, Instant};

/// How often a condition is looked at again. Short against every bound in use, long enough to
/// leave the processor to the process that is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often a condition is looked at in the quick loop before waiting at leisure.
const POLL_QUICK: u32 = 20;

/// A moment from which time is measured.
#[derive(Clone, Copy, Debug)]
pub struct Since(Instant);

impl Since {
    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "this is the clock of the tests")]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Time passed since.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Looks at `condition` until it yields something, at most for `bound`. `None`: it never did.
pub fn until<T>(bound: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let since = Since::now();
    let mut looked = 0;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if since.elapsed() >= bound {
            return None;
        }
        looked += 1;
        let quick = Duration::from_millis(1);
        std::thread::sleep(if looked < POLL_QUICK { quick } else { POLL_INTERVAL });
    }
}

/// Seconds since the UNIX epoch.
#[expect(clippy::disallowed_methods, reason = "this is the clock of the tests")]
pub fn unix_seconds() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
