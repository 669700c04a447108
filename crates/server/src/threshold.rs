//! Connections on the threshold: accepted from a proxy, and not yet told whose they are.
//!
//! Invariants:
//! - Exactly the bytes of the header are taken from the socket; the client's own stay there, for
//!   whoever speaks with it, in clear or by TLS.
//! - A header has a bound and a deadline, and whoever waits here has its place under the limit of
//!   connections, so the table has that bound too.
//! - Nothing is answered: who does not speak first, or not this, is no proxy of ours.

use std::os::fd::{AsFd as _, BorrowedFd};

use kannuki_guard::Peer;
use kannuki_protocol::{
    limits::PROXY_V2_BYTES_MAX,
    proxy_header::{Header, Heard, hear},
};
use kannuki_store::time::Now;
use kannuki_sys::socket::{Stream, Trouble};

use crate::{limits::PROXY_HEADER_SECS, registry::Admitted};

/// A connection that still has to say whose it is.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The socket.
    pub stream: Stream,
    /// Its place under the limit of connections.
    pub place: Admitted,
    /// The proxy itself.
    pub proxy: Peer,
    /// The listener, by its number at the acceptor.
    pub gate: usize,
    /// The proxy's own address, for whoever is told no other.
    pub address: std::net::SocketAddr,
    /// When it was accepted.
    pub since: Now,
    /// The header as far as it has come.
    pub heard: Vec<u8>,
}

/// What came of a look at the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing new, or not all of it.
    Wait,
    /// The header is whole, and has been taken.
    Told(Header),
    /// It is no header, it is too long, or the proxy has gone.
    Broken,
}

impl Waiting {
    /// The socket is readable: takes what belongs to the header.
    pub(crate) fn listen(&mut self) -> Outcome {
        let mut room = [0; PROXY_V2_BYTES_MAX];
        let heard = self.heard.len();
        let Some(space) = room.get_mut(heard..) else { return Outcome::Broken };
        let new = match self.stream.peek(space) {
            Ok(0) => return Outcome::Broken,
            Ok(new) => new,
            Err(error) => {
                return match Trouble::of(&error) {
                    Trouble::WouldBlock | Trouble::Interrupted => Outcome::Wait,
                    _ => Outcome::Broken,
                };
            }
        };
        if let Some(before) = room.get_mut(..heard) {
            before.copy_from_slice(&self.heard);
        }
        let all = room.get(..heard.saturating_add(new)).unwrap_or_default();
        match hear(all) {
            Heard::Malformed => Outcome::Broken,
            Heard::Incomplete => self.take(new, Outcome::Wait),
            Heard::Whole { header, used } => {
                self.take(used.saturating_sub(heard), Outcome::Told(header))
            }
        }
    }

    /// Takes so many bytes, which are there: they have been looked at.
    fn take(&mut self, bytes: usize, done: Outcome) -> Outcome {
        let mut room = [0; PROXY_V2_BYTES_MAX];
        let Some(space) = room.get_mut(..bytes) else { return Outcome::Broken };
        match self.stream.read(space) {
            Ok(read) if read == bytes => {
                self.heard.extend_from_slice(space);
                done
            }
            _ => Outcome::Broken,
        }
    }

    /// Whether the proxy has had its time.
    #[must_use]
    pub(crate) fn is_overdue(&self, now: Now) -> bool {
        now.0.saturating_sub(self.since.0) > PROXY_HEADER_SECS
    }
}

/// Everybody who waits, by the number under which the poller knows them.
#[derive(Debug, Default)]
pub(crate) struct Threshold {
    waiting: Vec<Option<Waiting>>,
    free: Vec<usize>,
    open: usize,
}

impl Threshold {
    /// Lets one wait; returns its number.
    pub(crate) fn enter(&mut self, waiting: Waiting) -> usize {
        self.open += 1;
        if let Some(number) = self.free.pop()
            && let Some(slot) = self.waiting.get_mut(number)
        {
            *slot = Some(waiting);
            return number;
        }
        self.waiting.push(Some(waiting));
        self.waiting.len() - 1
    }

    /// The one with this number.
    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut Waiting> {
        self.waiting.get_mut(number)?.as_mut()
    }

    /// Takes one away.
    pub(crate) fn leave(&mut self, number: usize) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(number)?.take()?;
        self.free.push(number);
        self.open -= 1;
        Some(waiting)
    }

    /// Nobody waits.
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// The numbers of those who have had their time.
    #[must_use]
    pub(crate) fn overdue(&self, now: Now) -> Vec<usize> {
        self.those(|waiting| waiting.is_overdue(now))
    }

    /// All who wait.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<usize> {
        self.those(|_| true)
    }

    fn those(&self, are: impl Fn(&Waiting) -> bool) -> Vec<usize> {
        let numbered = self.waiting.iter().enumerate();
        let meant = numbered.filter(|(_, waiting)| waiting.as_ref().is_some_and(&are));
        meant.map(|(number, _)| number).collect()
    }
}

impl Waiting {
    /// The socket, to be watched.
    #[must_use]
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
