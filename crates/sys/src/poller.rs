//! One epoll instance: which descriptors are ready, and a waker for other threads.
//!
//! The face is small on purpose: tokens in, readiness out, level-triggered, so that whoever stops
//! early (fairness, a full buffer) is told again. Closing a descriptor removes it by itself.
//!
//! Invariants: one wait reports at most [`EVENTS_MAX`] descriptors and allocates nothing; an
//! interrupted wait is an empty one, never an error.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

/// Descriptors reported by one wait. Enough to form large batches under load; small enough that
/// one turn of the loop (each descriptor serving a bounded number of requests) stays short.
pub const EVENTS_MAX: usize = 256;

/// What a descriptor is watched for. Hang-ups and errors are always reported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Interest {
    /// Report when reading would not block.
    pub readable: bool,
    /// Report when writing would not block.
    pub writable: bool,
    /// Of several epoll instances watching the same descriptor, wake one, not all. Only for
    /// [`Poller::add`]: the kernel refuses to change such a registration.
    pub exclusive: bool,
}

impl Interest {
    /// Report readability alone.
    pub const READABLE: Self = Self { readable: true, writable: false, exclusive: false };
    /// Report writability alone.
    pub const WRITABLE: Self = Self { readable: false, writable: true, exclusive: false };
    /// Report hang-ups and errors alone: for a peer that is to be paused.
    pub const NONE: Self = Self { readable: false, writable: false, exclusive: false };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.readable);
        // The kernel refuses RDHUP beside EXCLUSIVE; what is watched so (a listener) has no peer.
        flags.set(EventFlags::RDHUP, self.readable && !self.exclusive);
        flags.set(EventFlags::OUT, self.writable);
        flags.set(EventFlags::EXCLUSIVE, self.exclusive);
        flags
    }
}

/// One ready descriptor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// The token given when it was added.
    pub token: u64,
    /// Reading would not block (data, end of stream, or an error to collect).
    pub readable: bool,
    /// Writing would not block.
    pub writable: bool,
    /// The peer closed at least its sending side, or the descriptor has an error.
    pub hangup: bool,
}

impl Readiness {
    fn new(token: u64, flags: EventFlags) -> Self {
        let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        Self {
            token,
            readable: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
            writable: flags.contains(EventFlags::OUT),
            hangup: broken || flags.contains(EventFlags::RDHUP),
        }
    }
}

/// Room for what one wait reports. Made once per loop and used again.
pub struct Events {
    slots: Box<[MaybeUninit<epoll::Event>; EVENTS_MAX]>,
    ready: Vec<Readiness>,
}

impl Events {
    /// Room for [`EVENTS_MAX`] events.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: Box::new([const { MaybeUninit::uninit() }; EVENTS_MAX]),
            ready: Vec::with_capacity(EVENTS_MAX),
        }
    }

    /// What the last wait reported.
    pub fn iter(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.ready.iter().copied()
    }

    /// How many descriptors the last wait reported.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether the last wait ended without a ready descriptor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

/// One epoll instance.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// A poller that watches nothing yet.
    ///
    /// # Errors
    /// When the process or the system is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches `fd` and reports it under `token`.
    ///
    /// # Errors
    /// `AlreadyExists` when it is watched already; else what the kernel answers.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    /// Replaces the token and the interest of a watched `fd`.
    ///
    /// # Errors
    /// `NotFound` when it is not watched; `InvalidInput` when it is or is to be exclusive.
    pub fn change(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    /// Stops watching `fd`. Unneeded when its last copy is closed.
    ///
    /// # Errors
    /// `NotFound` when it is not watched.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until a descriptor is ready or `timeout` (`None`: for ever) has passed, and fills
    /// `events` anew. Returns how many are ready: at most [`EVENTS_MAX`]; zero after the timeout
    /// or when a signal interrupted the wait.
    ///
    /// # Errors
    /// Only what no correct program meets (a closed epoll descriptor).
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        events.ready.clear();
        // A duration beyond the kernel's time type is longer than any uptime: wait for ever.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let (reported, _) =
            match epoll::wait(&self.epoll, events.slots.as_mut_slice(), timeout.as_ref()) {
                Ok(filled) => filled,
                Err(Errno::INTR) => return Ok(0),
                Err(error) => return Err(error.into()),
            };
        let readiness = reported.iter().map(|event| {
            let (data, flags) = (event.data, event.flags);
            Readiness::new(data.u64(), flags)
        });
        events.ready.extend(readiness);
        Ok(events.ready.len())
    }

    /// Makes a waker that reports itself readable under `token`.
    ///
    /// # Errors
    /// When the process or the system is out of descriptors.
    pub fn waker(&self, token: u64) -> io::Result<Waker> {
        let waker = Waker { event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? };
        self.add(waker.event.as_fd(), token, Interest::READABLE)?;
        Ok(waker)
    }
}

/// Ends the wait of its poller from any thread.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
}

impl Waker {
    /// Wakes the poller, now or, if it is not waiting, at its next wait. Wakes add up to one.
    ///
    /// # Errors
    /// Only what no correct program meets.
    pub fn wake(&self) -> io::Result<()> {
        match rustix::io::write(&self.event, &1u64.to_ne_bytes()) {
            // A full counter means that a wake is already waiting, which is all that was asked.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back every wake so far. To be called when the poller reports this waker, before
    /// looking at whatever the wake announced.
    ///
    /// # Errors
    /// Only what no correct program meets.
    pub fn drain(&self) -> io::Result<()> {
        match rustix::io::read(&self.event, &mut [0u8; 8]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    const SOON: Option<Duration> = Some(Duration::from_secs(10));
    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn only(events: &Events) -> Readiness {
        assert_eq!(events.len(), 1);
        events.iter().next().unwrap()
    }

    #[test]
    fn readiness_follows_the_descriptor() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        poller.add(ours.as_fd(), 7, Interest::READABLE).unwrap();
        assert_eq!(poller.wait(&mut events, NOW).unwrap(), 0);
        assert!(events.is_empty());

        theirs.write_all(b"x").unwrap();
        poller.wait(&mut events, SOON).unwrap();
        let expected = Readiness { token: 7, readable: true, writable: false, hangup: false };
        assert_eq!(only(&events), expected);
        poller.wait(&mut events, NOW).unwrap();
        assert_eq!(only(&events), expected, "level-triggered: reported until it is read");

        ours.read_exact(&mut [0]).unwrap();
        poller.change(ours.as_fd(), 8, Interest::WRITABLE).unwrap();
        poller.wait(&mut events, SOON).unwrap();
        let expected = Readiness { token: 8, readable: false, writable: true, hangup: false };
        assert_eq!(only(&events), expected);

        poller.change(ours.as_fd(), 9, Interest::NONE).unwrap();
        assert_eq!(poller.wait(&mut events, NOW).unwrap(), 0);
        drop(theirs);
        poller.wait(&mut events, SOON).unwrap();
        assert!(only(&events).hangup, "a paused peer that goes away is still noticed");

        poller.remove(ours.as_fd()).unwrap();
        assert_eq!(poller.wait(&mut events, NOW).unwrap(), 0);
    }

    #[test]
    fn a_half_closed_peer_is_readable_and_hung_up() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        let (ours, theirs) = UnixStream::pair().unwrap();
        poller.add(ours.as_fd(), 1, Interest::READABLE).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        poller.wait(&mut events, SOON).unwrap();
        let readiness = only(&events);
        assert!(readiness.readable && readiness.hangup && !readiness.writable);
    }

    #[test]
    fn adding_twice_and_changing_the_unknown_are_errors() {
        let poller = Poller::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        poller.add(ours.as_fd(), 1, Interest::READABLE).unwrap();
        let twice = poller.add(ours.as_fd(), 2, Interest::READABLE).unwrap_err();
        assert_eq!(twice.kind(), io::ErrorKind::AlreadyExists);
        let unknown = poller.change(theirs.as_fd(), 3, Interest::READABLE).unwrap_err();
        assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
        assert_eq!(poller.remove(theirs.as_fd()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_exclusive_descriptor_wakes_someone() {
        let (first, second) = (Poller::new().unwrap(), Poller::new().unwrap());
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let exclusive = Interest { exclusive: true, ..Interest::READABLE };
        first.add(ours.as_fd(), 1, exclusive).unwrap();
        second.add(ours.as_fd(), 2, exclusive).unwrap();
        theirs.write_all(b"x").unwrap();
        let mut events = Events::new();
        let reported =
            first.wait(&mut events, NOW).unwrap() + second.wait(&mut events, NOW).unwrap();
        assert!(reported >= 1);
        let changed = first.change(ours.as_fd(), 1, Interest::READABLE).unwrap_err();
        assert_eq!(changed.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn one_wait_reports_no_more_than_its_bound_and_loses_nothing() {
        let poller = Poller::new().unwrap();
        let mut pairs = Vec::new();
        for token in 0..EVENTS_MAX as u64 + 20 {
            let pair = UnixStream::pair().unwrap();
            poller.add(pair.0.as_fd(), token, Interest::WRITABLE).unwrap();
            pairs.push(pair);
        }
        let mut events = Events::new();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..4 {
            assert_eq!(poller.wait(&mut events, NOW).unwrap(), EVENTS_MAX);
            seen.extend(events.iter().map(|readiness| readiness.token));
        }
        assert_eq!(seen.len(), EVENTS_MAX + 20, "the kernel takes turns");
    }

    #[test]
    fn a_waker_ends_a_wait_from_another_thread_and_drains() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        let waker = poller.waker(u64::MAX).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                waker.wake().unwrap();
                waker.wake().unwrap();
            });
            while poller.wait(&mut events, None).unwrap() == 0 {}
        });
        assert_eq!(only(&events).token, u64::MAX);
        waker.drain().unwrap();
        assert_eq!(poller.wait(&mut events, NOW).unwrap(), 0);
        waker.drain().unwrap();
    }

    #[test]
    fn a_full_waker_is_still_a_wake() {
        let poller = Poller::new().unwrap();
        let waker = poller.waker(0).unwrap();
        rustix::io::write(&waker.event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        waker.wake().unwrap();
    }

    #[test]
    fn a_timeout_passes() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        assert_eq!(poller.wait(&mut events, Some(Duration::from_millis(5))).unwrap(), 0);
    }
}
