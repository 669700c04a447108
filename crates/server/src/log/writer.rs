//! The thread that writes: it takes lines from the queue and puts them into the sink.
//!
//! Invariants: it never logs, so trouble cannot feed on itself; trouble is told on standard error
//! once until it is over; lines that were lost are told in the sink as soon as it works again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use tracing::Level;

use super::LogError;
use super::line::Line;
use super::queue::{Queue, Request};
use super::rotation::{RotatingFile, Written};

/// Where lines end up.
#[derive(Debug)]
pub(super) enum Sink {
    /// A file of ours.
    File(RotatingFile),
    /// Standard error; with the journal's mark of gravity if it goes there.
    Stderr { journal: bool },
}

impl Sink {
    /// Standard error, which is the journal if it is the file that `JOURNAL_STREAM` names: the
    /// variable is inherited even where standard error has been redirected since.
    pub(super) fn stderr(journal_stream: Option<&str>) -> Self {
        let stderr = std::fs::metadata("/proc/self/fd/2").map(|file| (file.dev(), file.ino()));
        let journal = journal_stream.and_then(device_and_inode);
        Self::Stderr { journal: journal.is_some() && journal == stderr.ok() }
    }
}

fn device_and_inode(journal_stream: &str) -> Option<(u64, u64)> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// The state of the writer thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    sink: Sink,
    now: fn() -> SystemTime,
    /// Lost lines that the sink knows of.
    told_dropped: u64,
    write_fails: bool,
    rotation_fails: bool,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn spawn(queue: Arc<Queue>, sink: Sink, now: fn() -> SystemTime) -> io::Result<()> {
        let writer =
            Self { queue, sink, now, told_dropped: 0, write_fails: false, rotation_fails: false };
        thread::Builder::new().name("kannuki-log".into()).spawn(move || writer.run()).map(drop)
    }

    fn run(mut self) {
        let mut lines = VecDeque::new();
        loop {
            let requests = self.queue.take(&mut lines);
            for line in lines.drain(..) {
                self.write(&line);
            }
            let mut stop = false;
            for (request, answer) in requests {
                stop |= request == Request::Stop;
                // Whoever asked may have given up waiting.
                let _ = answer.send(self.answer(request));
            }
            if stop {
                return;
            }
        }
    }

    fn answer(&mut self, request: Request) -> Result<(), LogError> {
        match (request, &mut self.sink) {
            (Request::Reopen, Sink::File(file)) => file.reopen((self.now)()),
            _ => Ok(()),
        }
    }

    fn write(&mut self, line: &Line) {
        let dropped = self.queue.dropped();
        if dropped > self.told_dropped && !self.write_fails {
            self.tell_dropped(dropped);
        }
        if self.put(line) && self.write_fails {
            self.write_fails = false;
            self.tell_dropped(self.queue.dropped());
        }
    }

    fn tell_dropped(&mut self, dropped: u64) {
        let message = format!("log lines lost count={}", dropped - self.told_dropped);
        if self.put(&Line::new(Level::WARN, (self.now)(), &message)) {
            self.told_dropped = dropped;
        }
    }

    /// Writes one line; false means that it is lost, and counted.
    fn put(&mut self, line: &Line) -> bool {
        let now = (self.now)();
        let written = match &mut self.sink {
            Sink::File(file) => {
                let Written { line, rotation } = file.write(&line.text, now);
                let path = file.path().display().to_string();
                if let Some(rotation) = rotation {
                    let was = std::mem::replace(&mut self.rotation_fails, rotation.is_err());
                    if let (Err(error), false) = (rotation, was) {
                        complain(
                            now,
                            &format!("cannot rotate {path}: {error}; it goes on growing"),
                        );
                    }
                }
                line.map_err(|error| format!("cannot write {path}: {error}; lines are lost"))
            }
            Sink::Stderr { journal } => to_stderr(line, *journal).map_err(|_| String::new()),
        };
        let Err(trouble) = written else { return true };
        self.queue.drop_lines(1);
        if !std::mem::replace(&mut self.write_fails, true) && !trouble.is_empty() {
            complain(now, &trouble);
        }
        false
    }
}

/// Trouble with the file goes to standard error, whoever reads that.
fn complain(now: SystemTime, trouble: &str) {
    let _ = to_stderr(&Line::new(Level::ERROR, now, trouble), false);
}

fn to_stderr(line: &Line, journal: bool) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    if journal {
        // One write, so that the mark and the line cannot be parted.
        return stderr.write_all(format!("<{}>{}", gravity(line.level), line.text).as_bytes());
    }
    stderr.write_all(line.text.as_bytes())
}

/// The journal's number for a level (`sd-daemon(3)`).
fn gravity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_file_not_by_its_variable() {
        let file = std::fs::metadata("/proc/self/fd/2").unwrap();
        let is_journal =
            |stream: &str| matches!(Sink::stderr(Some(stream)), Sink::Stderr { journal: true });
        assert!(is_journal(&format!("{}:{}", file.dev(), file.ino())));
        assert!(!is_journal(&format!("{}:{}", file.dev(), file.ino() + 1)));
        for garbage in ["", ":", "1", "a:b", "1:2:3", "-1:2"] {
            assert!(!is_journal(garbage), "{garbage}");
        }
        assert!(matches!(Sink::stderr(None), Sink::Stderr { journal: false }));
    }

    #[test]
    fn gravities_are_the_journal_s() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(gravity), [3, 4, 6, 7, 7]);
    }
}
