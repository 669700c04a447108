//! What waits for the writer thread: lines, which may be dropped, and requests, which are answered.
//!
//! Invariants: at most [`QUEUE_LINES_MAX`] lines and [`REQUESTS_MAX`] requests wait; pushing a line
//! never waits for more than the lock, which is held only to move what is ready; requests are
//! answered after every line that was pushed before them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LogError;
use super::line::Line;

/// Lines that may wait: a burst of a thousand, at most 4 MiB of the longest ones.
pub const QUEUE_LINES_MAX: usize = 1024;

/// Requests that may wait. Callers wait for the answer, so there is one per caller that did, and
/// one more for each that gave up on a hanging sink.
const REQUESTS_MAX: usize = 16;

/// What the writer thread is asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Request {
    /// Write every line so far.
    Flush,
    /// Then open the file anew.
    Reopen,
    /// Then end.
    Stop,
}

/// Where an answer goes.
pub(super) type Answer = SyncSender<Result<(), LogError>>;

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Line>,
    requests: Vec<(Request, Answer)>,
}

/// Between those who log and the writer thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrival: Condvar,
    dropped: AtomicU64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn push(&self, line: Line) {
        let mut waiting = self.lock();
        if waiting.lines.len() >= QUEUE_LINES_MAX {
            drop(waiting);
            self.drop_lines(1);
            return;
        }
        waiting.lines.push_back(line);
        drop(waiting);
        self.arrival.notify_one();
    }

    /// Has a request done after all lines so far.
    pub(super) fn ask(&self, request: Request, patience: Duration) -> Result<(), LogError> {
        let (answer, answered) = sync_channel(1);
        let mut waiting = self.lock();
        if waiting.requests.len() >= REQUESTS_MAX {
            return Err(LogError::Busy);
        }
        waiting.requests.push((request, answer));
        drop(waiting);
        self.arrival.notify_one();
        answered.recv_timeout(patience).unwrap_or(Err(LogError::Busy))
    }

    /// Waits for something to do and takes all of it: lines, then requests. `lines` is empty when
    /// it is handed in and lends its memory to the queue.
    pub(super) fn take(&self, lines: &mut VecDeque<Line>) -> Vec<(Request, Answer)> {
        let mut waiting = self
            .arrival
            .wait_while(self.lock(), |waiting| {
                waiting.lines.is_empty() && waiting.requests.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.lines, lines);
        std::mem::take(&mut waiting.requests)
    }

    /// Counts lines that are lost.
    pub(super) fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here can panic half way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
