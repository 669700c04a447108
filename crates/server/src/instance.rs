//! One running server: everything its threads share.
//!
//! Invariants: all of it is made at start and dropped at the end; what changes in between is behind
//! an atomic or a short lock, named here.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
};

use kannuki_guard::{Guard, Permit, action, udp::ReplyBudget};
use kannuki_protocol::command::Exptime;
use kannuki_store::time::Now;

use crate::{
    auth::Authority,
    clock::Clock,
    config::{Config, Echo},
    counters::Board,
    dispatch::Executor,
    log::{LogControl, LogError},
    prefixes::Prefixes,
    registry::Registry,
    tls::{Endpoint, ListenerCheck, Tls},
    worker::Letterbox,
};

/// What all threads of one server share.
pub(crate) struct Instance {
    /// What is meant, as of the start.
    pub config: Config,
    /// The door to the items.
    pub executor: Executor,
    /// The second it is.
    pub clock: Clock,
    /// All counters.
    pub board: Board,
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// `stats detail`.
    pub prefixes: Prefixes,
    /// Who may log in as whom; `None` = nobody has to.
    pub authority: Option<Authority>,
    /// Stopping.
    pub control: Control,
    /// TLS, if it is on.
    pub tls: Option<Tls>,
    /// The diagnostics; a simulation has none.
    log: Option<LogControl>,
    /// Settings without effect, as changed at run time.
    pub echo: Mutex<Echo>,
    /// Accepting connections: 0 while the limit of connections is reached.
    pub accepting: AtomicBool,
    /// Rounds of background work.
    pub rounds: AtomicU64,
    rules: Mutex<Arc<Rules>>,
    verbosity: AtomicU8,
    flushed_at: AtomicU32,
}

/// Who may do what, and how much a datagram may be answered.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Decides every access.
    pub guard: Guard,
    /// Decides every reply to a datagram.
    pub replies: ReplyBudget,
}

/// The parts of an instance that are made elsewhere.
pub(crate) struct Parts {
    /// What is meant.
    pub config: Config,
    /// The door to the items.
    pub executor: Executor,
    /// Started.
    pub clock: Clock,
    /// The rules at start.
    pub guard: Guard,
    /// The users, if there are any.
    pub authority: Option<Authority>,
    /// TLS, if it is on.
    pub tls: Option<Tls>,
    /// The diagnostics.
    pub log: Option<LogControl>,
    /// The threads' letterboxes, to wake them.
    pub letterboxes: Vec<Arc<Letterbox>>,
}

impl Instance {
    /// Puts the parts together.
    #[must_use]
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, clock, executor, guard, authority, tls, log, letterboxes } = parts;
        let replies = ReplyBudget::new(config.udp_trusted.clone());
        let held_max = match config.buffer_bytes_max {
            0 => crate::limits::BUFFERS_BYTES_DEFAULT,
            bytes => bytes,
        };
        Self {
            executor,
            clock,
            // One block more: for the acceptor and the signals, which are one thread at a time.
            board: Board::new(config.threads + 1),
            registry: Arc::new(Registry::new(config.connections_max, held_max)),
            prefixes: Prefixes::new(config.prefix_delimiter, config.detail_enabled),
            control: Control {
                stopping: AtomicBool::new(false),
                hurrying: AtomicBool::new(false),
                letterboxes,
            },
            authority,
            tls,
            log,
            echo: Mutex::new(config.echo.clone()),
            accepting: AtomicBool::new(true),
            rounds: AtomicU64::new(0),
            rules: Mutex::new(Arc::new(Rules { guard, replies })),
            verbosity: AtomicU8::new(config.log.verbosity),
            flushed_at: AtomicU32::new(0),
            config,
        }
    }

    /// The rules in force.
    #[must_use]
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force; the threads are told.
    pub(crate) fn set_rules(&self, rules: Rules) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.control.wake_all();
    }

    /// How much is logged.
    #[must_use]
    pub(crate) fn verbosity(&self) -> u8 {
        self.verbosity.load(Ordering::Relaxed)
    }

    /// What a connection begins TLS with; `None` where there is no such TLS.
    pub(crate) fn endpoint(&self, asked: ListenerCheck) -> Option<Arc<Endpoint>> {
        self.tls.as_ref()?.endpoint(asked)
    }

    /// Logs more or less from now on.
    pub(crate) fn set_verbosity(&self, verbosity: u8) {
        if let Some(log) = &self.log {
            log.set_verbosity(verbosity);
        }
        self.verbosity.store(verbosity, Ordering::Relaxed);
    }

    /// Lines of the log that were lost.
    #[must_use]
    pub(crate) fn log_lines_dropped(&self) -> u64 {
        self.log.as_ref().map_or(0, LogControl::dropped)
    }

    /// Opens the log file anew.
    ///
    /// # Errors
    /// The old file stays in use then.
    pub(crate) fn reopen_log(&self) -> Result<(), LogError> {
        self.log.as_ref().map_or(Ok(()), LogControl::reopen)
    }

    /// `flush_all`: now, or when the delay is over.
    pub(crate) fn flush(&self, permit: Permit<'_, action::Flush>, delay: Exptime, now: Now) {
        let at = self.clock.flush_at(delay, now).unwrap_or(now);
        self.executor.flush(permit, now, at);
        self.flushed_at.store(at.0, Ordering::Relaxed);
    }

    /// The internal second of the last flush; 0 = none.
    #[must_use]
    pub(crate) fn flushed_at(&self) -> u32 {
        self.flushed_at.load(Ordering::Relaxed)
    }

    /// `stats reset`: all counters, those of the store and of the prefixes included.
    pub(crate) fn reset_stats(&self, permit: &Permit<'_, action::Stats>) {
        self.board.reset();
        self.executor.reset_stats(permit);
        self.prefixes.reset();
    }
}

/// Stopping, and who has to hear of it.
pub(crate) struct Control {
    stopping: AtomicBool,
    hurrying: AtomicBool,
    letterboxes: Vec<Arc<Letterbox>>,
}

impl Control {
    /// The server has been told to stop.
    #[must_use]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Tells everybody to finish.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.wake_all();
    }

    /// A thread cannot go on: ends the whole process in order, rather than leave it half alive.
    pub(crate) fn fail(&self) {
        if signal_hook::low_level::raise(signal_hook::consts::SIGTERM).is_err() {
            self.stop();
        }
    }

    /// Open requests get no more time to finish.
    #[must_use]
    pub(crate) fn is_hurrying(&self) -> bool {
        self.hurrying.load(Ordering::Relaxed)
    }

    /// Tells everybody to stop at once.
    pub(crate) fn hurry(&self) {
        self.hurrying.store(true, Ordering::Relaxed);
        self.wake_all();
    }

    /// Makes every thread look around.
    pub(crate) fn wake_all(&self) {
        for letterbox in &self.letterboxes {
            letterbox.wake();
        }
    }
}
