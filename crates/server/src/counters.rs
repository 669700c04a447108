//! What is counted, and where: one padded block of counters for each thread, written by that thread
//! alone, added up by whoever asks.
//!
//! Invariants:
//! - A counter has one writer, so counting is a load and a store, never a locked instruction.
//! - `stats reset` does not write to other threads' counters: it remembers their sum and subtracts.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::refusals::REFUSALS;

/// Defines the counters once: variant and the name that `stats` shows.
macro_rules! counters {
    ($enum:ident, $count:ident, $($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $enum { $($(#[$doc])* $variant,)* }
        impl $enum {
            /// All of them, in order.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The key that `stats` shows.
            #[must_use]
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
        /// How many there are.
        pub(crate) const $count: usize = $enum::ALL.len();
    };
}

counters! { Counter, COUNTERS,
    /// Keys asked for by get and kin.
    CmdGet = "cmd_get",
    /// Stores that had memory, whatever their outcome.
    CmdSet = "cmd_set",
    /// Flushes asked for.
    CmdFlush = "cmd_flush",
    /// Keys touched.
    CmdTouch = "cmd_touch",
    /// `me` only.
    CmdMeta = "cmd_meta",
    /// Keys found.
    GetHits = "get_hits",
    /// Keys not found.
    GetMisses = "get_misses",
    /// Look-ups that found an expired item.
    GetExpired = "get_expired",
    /// Look-ups that found a flushed item.
    GetFlushed = "get_flushed",
    /// Deletes without an item.
    DeleteMisses = "delete_misses",
    /// Deletes done.
    DeleteHits = "delete_hits",
    /// Increments without an item.
    IncrMisses = "incr_misses",
    /// Increments done.
    IncrHits = "incr_hits",
    /// Decrements without an item.
    DecrMisses = "decr_misses",
    /// Decrements done.
    DecrHits = "decr_hits",
    /// Compare-and-swaps without an item.
    CasMisses = "cas_misses",
    /// Compare-and-swaps done.
    CasHits = "cas_hits",
    /// Compare-and-swaps whose cas unique differed.
    CasBadval = "cas_badval",
    /// Touches done.
    TouchHits = "touch_hits",
    /// Touches without an item.
    TouchMisses = "touch_misses",
    /// Stores refused for their size.
    StoreTooLarge = "store_too_large",
    /// Stores refused for want of memory.
    StoreNoMemory = "store_no_memory",
    /// Logins tried.
    AuthCmds = "auth_cmds",
    /// Logins failed.
    AuthErrors = "auth_errors",
    /// Connections closed for idleness.
    IdleKicks = "idle_kicks",
    /// Bytes received.
    BytesRead = "bytes_read",
    /// Bytes sent.
    BytesWritten = "bytes_written",
    /// Connections interrupted by `-R`.
    ConnYields = "conn_yields",
    /// Connections ever opened, listeners included.
    TotalConnections = "total_connections",
    /// Connections refused because the limit was reached.
    RejectedConnections = "rejected_connections",
    /// Times that accepting stopped.
    ListenDisabled = "listen_disabled_num",
    /// Microseconds for which accepting was stopped.
    ListenDisabledMicros = "time_in_listen_disabled_us",
    /// Connections lost because the bound on buffered bytes was reached.
    ReadBufOom = "read_buf_oom",
    /// Connections closed because they did not read their replies.
    SlowReaders = "kannuki_slow_readers_closed",
    /// Commands executed, of any kind.
    Commands = "kannuki_commands",
    /// TLS handshakes that began a session.
    TlsNewSessions = "ssl_new_sessions",
    /// TLS handshakes that resumed one.
    TlsResumed = "kannuki_tls_resumed_sessions",
    /// TLS handshakes that failed.
    TlsHandshakeErrors = "ssl_handshake_errors",
    /// TLS conversations that failed after their handshake.
    TlsProtocolErrors = "ssl_proto_errors",
    /// Datagrams dropped because they asked for more than one complete request.
    DatagramsDropped = "kannuki_datagrams_dropped",
}

counters! { ClassCounter, CLASS_COUNTERS,
    /// Keys found.
    GetHits = "get_hits",
    /// Stores.
    CmdSet = "cmd_set",
    /// Deletes done.
    DeleteHits = "delete_hits",
    /// Increments done.
    IncrHits = "incr_hits",
    /// Decrements done.
    DecrHits = "decr_hits",
    /// Compare-and-swaps done.
    CasHits = "cas_hits",
    /// Compare-and-swaps whose cas unique differed.
    CasBadval = "cas_badval",
    /// Touches done.
    TouchHits = "touch_hits",
}

/// Size classes, the unused class 0 included.
pub(crate) const CLASSES: usize = 64;

const SLOTS: usize = COUNTERS + CLASSES * CLASS_COUNTERS + REFUSALS;
const CLASS_START: usize = COUNTERS;
const REFUSAL_START: usize = COUNTERS + CLASSES * CLASS_COUNTERS;

/// The counters of one thread.
#[derive(Debug)]
#[repr(align(128))] // Two cache lines, because neighbours are fetched in pairs.
pub(crate) struct Counters {
    slots: Box<[AtomicU64]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Counters {
    /// Adds `amount`. To be called by the owning thread only; others would lose counts.
    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        self.bump(counter as usize, amount);
    }

    /// Adds one for a size class.
    pub(crate) fn add_class(&self, class: u8, counter: ClassCounter) {
        self.bump(class_slot(class, counter), 1);
    }

    /// Adds one refusal; see [`crate::refusals`].
    pub(crate) fn add_refusal(&self, refusal: usize) {
        self.bump(REFUSAL_START + refusal.min(REFUSALS - 1), 1);
    }

    fn bump(&self, slot: usize, amount: u64) {
        if let Some(slot) = self.slots.get(slot) {
            // One writer: no read-modify-write is needed.
            slot.store(slot.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }
}

const fn class_slot(class: u8, counter: ClassCounter) -> usize {
    let class = class as usize;
    let class = if class < CLASSES { class } else { CLASSES - 1 };
    CLASS_START + class * CLASS_COUNTERS + counter as usize
}

/// The counters of all threads together.
#[derive(Debug)]
pub(crate) struct Board {
    threads: Box<[Counters]>,
    forgotten: Mutex<Box<[u64]>>,
}

impl Board {
    /// Counters for so many threads.
    #[must_use]
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| Counters::default()).collect(),
            forgotten: Mutex::new(vec![0; SLOTS].into_boxed_slice()),
        }
    }

    /// Counters of one thread; the last one's if there are not so many.
    #[must_use]
    pub(crate) fn of_thread(&self, thread: usize) -> Option<&Counters> {
        self.threads.get(thread).or_else(|| self.threads.last())
    }

    /// Sums since the start or the last [`Board::reset`].
    #[must_use]
    pub(crate) fn totals(&self) -> Totals {
        let forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = self.sums();
        for (sum, forgotten) in sums.iter_mut().zip(forgotten.iter()) {
            *sum = sum.wrapping_sub(*forgotten);
        }
        Totals { sums }
    }

    /// Counts from zero again.
    pub(crate) fn reset(&self) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        *forgotten = self.sums();
    }

    fn sums(&self) -> Box<[u64]> {
        let mut sums = vec![0_u64; SLOTS].into_boxed_slice();
        for thread in &self.threads {
            for (sum, slot) in sums.iter_mut().zip(&thread.slots) {
                *sum = sum.wrapping_add(slot.load(Ordering::Relaxed));
            }
        }
        sums
    }
}

/// Sums over all threads at one moment.
#[derive(Debug)]
pub(crate) struct Totals {
    sums: Box<[u64]>,
}

impl Totals {
    /// Of one counter.
    #[must_use]
    pub(crate) fn of(&self, counter: Counter) -> u64 {
        self.slot(counter as usize)
    }

    /// Of one counter of one size class.
    #[must_use]
    pub(crate) fn of_class(&self, class: u8, counter: ClassCounter) -> u64 {
        self.slot(class_slot(class, counter))
    }

    /// Of one refusal.
    #[must_use]
    pub(crate) fn of_refusal(&self, refusal: usize) -> u64 {
        self.slot(REFUSAL_START + refusal)
    }

    fn slot(&self, slot: usize) -> u64 {
        self.sums.get(slot).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_reset_forgets() {
        let board = Board::new(2);
        board.of_thread(0).unwrap().add(Counter::CmdGet, 2);
        board.of_thread(1).unwrap().add(Counter::CmdGet, 3);
        board.of_thread(1).unwrap().add_class(63, ClassCounter::TouchHits);
        assert_eq!(board.totals().of(Counter::CmdGet), 5);
        assert_eq!(board.totals().of_class(63, ClassCounter::TouchHits), 1);
        board.reset();
        assert_eq!(board.totals().of(Counter::CmdGet), 0);
        board.of_thread(0).unwrap().add(Counter::CmdGet, 1);
        assert_eq!(board.totals().of(Counter::CmdGet), 1);
    }

    #[test]
    fn no_class_writes_outside_its_slots() {
        let board = Board::new(1);
        board.of_thread(0).unwrap().add_class(255, ClassCounter::CmdSet);
        assert_eq!(board.totals().of_class(63, ClassCounter::CmdSet), 1);
        assert_eq!((0..REFUSALS).map(|n| board.totals().of_refusal(n)).sum::<u64>(), 0);
    }
}
