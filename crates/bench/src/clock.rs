//! The one clock of the bench: everything else takes or compares what is read here.

use std::time::{Duration, Instant};

/// Now, for differences only.
#[expect(clippy::disallowed_methods, reason = "a bench measures time; this is its one place")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// What this thread alone has used of a processor so far: neither waiting nor being interrupted
/// by others counts.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    Duration::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}
