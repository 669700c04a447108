//! Who is connected: a few facts about each open connection and listener, for `stats conns`, for the
//! connection limit and for the bound on buffered bytes.
//!
//! Invariants:
//! - An entry lives exactly as long as its [`Registered`] guard.
//! - The number of open connections never exceeds the limit given to [`Registry::admit`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use kannuki_store::time::Now;

/// What a connection is doing, in memcached's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// A listener.
    Listening,
    /// Waiting for a command.
    Read,
    /// Executing one.
    ParseCmd,
    /// Receiving a data block.
    Nread,
    /// Swallowing a refused data block.
    Swallow,
    /// Sending replies.
    Mwrite,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Listening, Self::Read, Self::ParseCmd, Self::Nread, Self::Swallow, Self::Mwrite];

    /// As `stats conns` shows it.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Listening => "conn_listening",
            Self::Read => "conn_read",
            Self::ParseCmd => "conn_parse_cmd",
            Self::Nread => "conn_nread",
            Self::Swallow => "conn_swallow",
            Self::Mwrite => "conn_mwrite",
        }
    }
}

/// What is known of one descriptor.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The descriptor's number.
    pub descriptor: i32,
    /// `tcp:1.2.3.4:5` and kin: the peer, or the listener's own address.
    pub address: String,
    /// The address it was accepted at; `None` for listeners and UDP sockets.
    pub listen_address: Option<String>,
    /// A UDP socket: shown in two lines of its own.
    pub datagram: bool,
    state: AtomicU8,
    last_command: AtomicU32,
}

impl Facts {
    /// A descriptor seen first at `now`.
    #[must_use]
    pub(crate) fn new(
        descriptor: i32,
        address: String,
        listen_address: Option<String>,
        state: State,
        now: Now,
    ) -> Self {
        Self {
            descriptor,
            address,
            listen_address,
            datagram: false,
            state: AtomicU8::new(state as u8),
            last_command: AtomicU32::new(now.0),
        }
    }

    /// What it is doing.
    #[must_use]
    pub(crate) fn state(&self) -> State {
        let state = usize::from(self.state.load(Ordering::Relaxed));
        State::ALL.get(state).copied().unwrap_or(State::Read)
    }

    /// It is doing something else now.
    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// The second of its last command.
    #[must_use]
    pub(crate) fn last_command(&self) -> u32 {
        self.last_command.load(Ordering::Relaxed)
    }

    /// It has just sent a command.
    pub(crate) fn commanded(&self, now: Now) {
        self.last_command.store(now.0, Ordering::Relaxed);
    }
}

/// All open descriptors, and what they hold.
#[derive(Debug)]
pub(crate) struct Registry {
    open: Mutex<BTreeMap<i32, Arc<Facts>>>,
    connections: AtomicU32,
    connections_max: u32,
    sockets: AtomicU32,
    held: AtomicU64,
    held_max: u64,
}

impl Registry {
    /// Bounds: connections, and bytes buffered for all of them.
    #[must_use]
    pub(crate) fn new(connections_max: u32, held_max: u64) -> Self {
        Self {
            open: Mutex::default(),
            connections: AtomicU32::new(0),
            connections_max,
            sockets: AtomicU32::new(0),
            held: AtomicU64::new(0),
            held_max,
        }
    }

    /// A place for one more connection; `None` when all are taken.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let more = |open: u32| (open < self.connections_max).then_some(open + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Admitted { registry: Arc::clone(self) })
    }

    /// Notes a listener or UDP socket.
    pub(crate) fn register_socket(self: &Arc<Self>, facts: Facts) -> Registered {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        self.register(facts, None)
    }

    fn register(self: &Arc<Self>, facts: Facts, admitted: Option<Admitted>) -> Registered {
        let facts = Arc::new(facts);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(facts.descriptor, Arc::clone(&facts));
        drop(open);
        Registered { registry: Arc::clone(self), facts, admitted }
    }

    /// Connections open now.
    #[must_use]
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether one more connection would be admitted.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        self.connections() < self.connections_max
    }

    /// Listeners and UDP sockets open now.
    #[must_use]
    pub(crate) fn sockets(&self) -> u32 {
        self.sockets.load(Ordering::Relaxed)
    }

    /// Everything open, by descriptor.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Facts>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Bytes buffered for connections between turns.
    #[must_use]
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// A connection holds `now` bytes instead of `before`; `false` = more than all may hold.
    #[must_use]
    pub(crate) fn hold(&self, before: u64, now: u64) -> bool {
        if now <= before {
            self.held.fetch_sub(before - now, Ordering::Relaxed);
            return true;
        }
        let more = now - before;
        self.held.fetch_add(more, Ordering::Relaxed) + more <= self.held_max
    }
}

/// A place under the connection limit, given back on drop.
#[derive(Debug)]
pub(crate) struct Admitted {
    registry: Arc<Registry>,
}

impl Admitted {
    /// The place is taken by this connection.
    #[must_use]
    pub(crate) fn register(self, facts: Facts) -> Registered {
        let registry = Arc::clone(&self.registry);
        registry.register(facts, Some(self))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.registry.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An entry of the registry, gone on drop.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    facts: Arc<Facts>,
    admitted: Option<Admitted>,
}

impl Registered {
    /// What is known.
    #[must_use]
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.registry.open.lock().unwrap_or_else(PoisonError::into_inner);
        // The number may have been given to a newer descriptor already.
        if open.get(&self.facts.descriptor).is_some_and(|facts| Arc::ptr_eq(facts, &self.facts)) {
            open.remove(&self.facts.descriptor);
        }
        drop(open);
        if self.admitted.is_none() {
            self.registry.sockets.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(descriptor: i32) -> Facts {
        Facts::new(descriptor, "tcp:127.0.0.1:1".to_owned(), None, State::Read, Now(2))
    }

    #[test]
    fn the_limit_holds_and_places_come_back() {
        let registry = Arc::new(Registry::new(1, 100));
        let first = registry.admit().unwrap().register(facts(7));
        assert!(registry.admit().is_none());
        assert_eq!(registry.connections(), 1);
        drop(first);
        assert!(registry.all().is_empty());
        assert!(registry.admit().is_some());
        assert_eq!(registry.connections(), 0);
    }

    #[test]
    fn a_reused_descriptor_keeps_the_newer_entry() {
        let registry = Arc::new(Registry::new(2, 100));
        let old = registry.admit().unwrap().register(facts(7));
        let _new = registry.admit().unwrap().register(facts(7));
        drop(old);
        assert_eq!(registry.all().len(), 1);
    }

    #[test]
    fn held_bytes_are_bounded_together() {
        let registry = Registry::new(2, 100);
        assert!(registry.hold(0, 60));
        assert!(!registry.hold(0, 60));
        assert!(registry.hold(60, 0));
        assert!(registry.hold(60, 0));
        assert_eq!(registry.held(), 0);
    }
}
