//! One event-loop thread: its connections, each of which belongs to it for life.
//!
//! Invariants:
//! - A token names a slot and its generation, so an event for a connection that is gone is dropped.
//! - A connection whose budget is used up waits behind all that were ready with it.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kannuki_guard::Peer;
use kannuki_store::time::Now;
use kannuki_sys::poller::{Events, Interest, Poller, Readiness, Waker};

use crate::{
    auth::{Attempt, Outcome, authority::Waiting},
    connection::{Arrival, Connection, Fate, Lent},
    counters::Counters,
    datagram::DatagramDoor,
    dispatch::Turn,
    instance::{Instance, Rules},
    limits::{DRAIN_SECS, READ_BYTES},
    output::Output,
};

/// Token of the waker of every post; slots, doors and listeners have others.
pub(crate) const WAKER: u64 = u64::MAX;
/// Tokens from here on are UDP sockets.
const DOORS: u64 = u64::MAX - 1024;
/// Generations of a slot: they wrap before their tokens reach those of the doors and the waker.
const GENERATIONS: u32 = 0x7fff_ffff;
/// The verbosity from which on commands and replies are logged.
const VERBOSE: u8 = 2;
/// How often connections are looked at for being overdue.
const SWEEP: Duration = Duration::from_secs(1);

/// Where the acceptor leaves connections for a thread, and the password threads outcomes. Bounded
/// by the connection limit: an arrival holds its place, and a connection awaits one outcome.
#[derive(Debug)]
pub(crate) struct Letterbox {
    arrivals: Mutex<Vec<Arrival>>,
    /// Outcomes of log-ins, by the token of their connection.
    outcomes: Mutex<Vec<(u64, Outcome)>>,
    waker: Waker,
}

/// A thread's place before it runs: what it will wait with, and where things are left for it.
#[derive(Debug)]
pub(crate) struct Post {
    /// Wakes when something was left.
    pub poller: Poller,
    /// Where.
    pub letterbox: Arc<Letterbox>,
}

impl Post {
    /// A place with an empty letterbox.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let poller = Poller::new()?;
        let letterbox = Letterbox {
            arrivals: Mutex::default(),
            outcomes: Mutex::default(),
            waker: poller.waker(WAKER)?,
        };
        Ok(Self { poller, letterbox: Arc::new(letterbox) })
    }
}

impl Letterbox {
    /// Leaves a connection.
    pub(crate) fn hand_over(&self, arrival: Arrival) {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        self.wake();
    }

    /// Leaves the outcome of a log-in.
    pub(crate) fn deliver(&self, token: u64, outcome: Outcome) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((token, outcome));
        self.wake();
    }

    /// The thread has woken up.
    pub(crate) fn drain(&self) {
        // What cannot be drained wakes again.
        let _ = self.waker.drain();
    }

    /// Makes the thread look around: the rules have changed, or it is time to stop.
    pub(crate) fn wake(&self) {
        // Fails for no correct program.
        let _ = self.waker.wake();
    }
}

struct Slot {
    generation: u32,
    connection: Option<Connection>,
    interest: Interest,
}

/// One thread's loop.
pub(crate) struct Worker {
    instance: Arc<Instance>,
    thread: usize,
    letterbox: Arc<Letterbox>,
    poller: Poller,
    doors: Vec<DatagramDoor>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
    again: VecDeque<u64>,
    /// This turn has one connection to serve.
    alone: bool,
    scratch: Box<[u8]>,
    out: Output,
    rules: Arc<Rules>,
    swept: Now,
    drain_until: Option<Now>,
}

impl Worker {
    /// A thread's loop over its letterbox and its share of the UDP sockets.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn new(
        instance: Arc<Instance>,
        thread: usize,
        post: Post,
        doors: Vec<DatagramDoor>,
    ) -> io::Result<Self> {
        let Post { poller, letterbox } = post;
        let shared = Interest { exclusive: true, ..Interest::READABLE };
        for (token, door) in (DOORS..WAKER).zip(&doors) {
            poller.add(door.descriptor(), token, shared)?;
        }
        Ok(Self {
            rules: instance.rules(),
            swept: instance.clock.now(),
            instance,
            thread,
            letterbox,
            poller,
            doors,
            slots: Vec::new(),
            free: Vec::new(),
            open: 0,
            again: VecDeque::new(),
            alone: false,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            out: Output::default(),
            drain_until: None,
        })
    }

    /// Runs until the server stops.
    pub(crate) fn run(mut self) {
        let instance = Arc::clone(&self.instance);
        let Some(counters) = instance.board.of_thread(self.thread) else { return };
        let mut events = Events::new();
        loop {
            if let Err(error) = self.poller.wait(&mut events, self.patience()) {
                tracing::error!(%error, thread = self.thread, "the event loop cannot wait");
                instance.control.fail();
                return;
            }
            self.turn(&instance, counters, &events);
            if self.is_drained(&instance) {
                return;
            }
        }
    }

    /// The server stops, and this thread has nothing or no time left.
    fn is_drained(&self, instance: &Instance) -> bool {
        let over = |until| instance.control.is_hurrying() || until <= instance.clock.now();
        self.drain_until.is_some_and(|until| self.open == 0 || over(until))
    }

    /// How long to wait for the next event.
    fn patience(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            Some(Duration::ZERO)
        } else if self.open > 0 || self.drain_until.is_some() {
            Some(SWEEP)
        } else {
            None
        }
    }

    fn turn(&mut self, instance: &Instance, counters: &Counters, events: &Events) {
        let rules = Arc::clone(&self.rules);
        let verbose = instance.verbosity() >= VERBOSE;
        let turn = Turn { instance, rules: &rules, counters, now: instance.clock.now(), verbose };
        let waiting = self.again.len();
        self.alone = events.len() + waiting <= 1;
        for ready in events.iter() {
            match ready.token {
                WAKER => self.look_around(&turn),
                token if token >= DOORS => self.door(&turn, token),
                token => self.ready(&turn, token, ready),
            }
        }
        for _ in 0..waiting {
            if let Some(token) = self.again.pop_front() {
                self.with(&turn, token, Connection::again);
            }
        }
        if self.swept != turn.now {
            self.swept = turn.now;
            self.sweep(&turn);
        }
    }

    fn look_around(&mut self, turn: &Turn<'_>) {
        self.letterbox.drain();
        self.rules = self.instance.rules();
        let arrivals = std::mem::take(
            &mut *self.letterbox.arrivals.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for arrival in arrivals {
            self.settle_in(turn, arrival);
        }
        let outcomes = std::mem::take(
            &mut *self.letterbox.outcomes.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for (token, outcome) in outcomes {
            self.with(turn, token, |connection, turn, lent| {
                connection.decided(turn, outcome, lent)
            });
        }
        if self.instance.control.is_stopping() && self.drain_until.is_none() {
            self.drain_until = Some(Now(turn.now.0.saturating_add(DRAIN_SECS)));
            self.drain(turn);
        }
    }

    fn settle_in(&mut self, turn: &Turn<'_>, arrival: Arrival) {
        let connection = Connection::new(arrival, turn);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, connection: None, interest: Interest::NONE });
            // The connection limit is a u32, and slots are reused.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let token = token_of(slot, place.generation);
        if let Err(error) = self.poller.add(connection.descriptor(), token, Interest::READABLE) {
            tracing::error!(%error, "cannot watch a new connection; it is closed");
            self.free.push(slot);
            return connection.closed(turn);
        }
        place.connection = Some(connection);
        place.interest = Interest::READABLE;
        self.open += 1;
    }

    fn ready(&mut self, turn: &Turn<'_>, token: u64, ready: Readiness) {
        if self.waits_for_its_turn(token) {
            // The peer has hung up. What it sent before is executed first, as if it were there.
            return self.hung_up(turn, token);
        }
        if ready.writable {
            self.with(turn, token, Connection::writable);
        } else if ready.readable {
            self.with(turn, token, Connection::readable);
        }
    }

    /// Whether the connection has commands left over from its last turn; only a hang-up is reported
    /// of it, and it is found again when they are done.
    fn waits_for_its_turn(&self, token: u64) -> bool {
        let (slot, generation) = parts_of(token);
        let place = self.slots.get(slot as usize);
        place
            .is_some_and(|place| place.generation == generation && place.interest == Interest::NONE)
    }

    /// A peer has hung up that awaits the outcome of a log-in: nobody will hear of it.
    fn hung_up(&mut self, turn: &Turn<'_>, token: u64) {
        let (slot, _) = parts_of(token);
        let connection = self.slots.get(slot as usize).and_then(|place| place.connection.as_ref());
        if connection.is_some_and(Connection::is_held) {
            self.close(turn, slot);
        }
    }

    fn door(&mut self, turn: &Turn<'_>, token: u64) {
        let door = usize::try_from(token - DOORS).ok().and_then(|door| self.doors.get_mut(door));
        if let Some(door) = door {
            door.readable(turn, &mut self.scratch, &mut self.out);
        }
    }

    /// Gives a connection its turn and does what comes of it.
    fn with(
        &mut self,
        turn: &Turn<'_>,
        token: u64,
        act: impl FnOnce(&mut Connection, &Turn<'_>, &mut Lent<'_>) -> Fate,
    ) {
        let (slot, generation) = parts_of(token);
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let Some(connection) = &mut place.connection else { return };
        if place.generation != generation {
            return;
        }
        let alone = self.alone;
        let mut lent = Lent { scratch: &mut self.scratch, out: &mut self.out, alone };
        let mut fate = act(connection, turn, &mut lent);
        if self.drain_until.is_some() && fate == Fate::Await && connection.is_at_rest() {
            fate = Fate::Close;
        }
        let wanted = match fate {
            Fate::Await => Interest::READABLE,
            Fate::AwaitWritable => Interest::WRITABLE,
            Fate::Again => {
                self.again.push_back(token);
                Interest::NONE
            }
            Fate::Hold => {
                if let Some((attempt, peer)) = connection.take_attempt() {
                    self.submit(turn, token, attempt, peer);
                }
                Interest::NONE
            }
            Fate::Close => return self.close(turn, slot),
        };
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let Some(connection) = &mut place.connection else { return };
        if place.interest != wanted {
            place.interest = wanted;
            if self.poller.change(connection.descriptor(), token, wanted).is_err() {
                self.close(turn, slot);
            }
        }
    }

    /// Gives a log-in to the password threads; if they have no room, that is its outcome.
    fn submit(&self, turn: &Turn<'_>, token: u64, attempt: Attempt, peer: Peer) {
        let letterbox = Arc::clone(&self.letterbox);
        let waiting = Waiting { attempt, peer, letterbox, token };
        let authority = turn.instance.authority.as_ref();
        if !authority.is_some_and(|authority| authority.submit(waiting)) {
            self.letterbox.deliver(token, Outcome::Busy);
        }
    }

    fn close(&mut self, turn: &Turn<'_>, slot: u32) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        if let Some(connection) = place.connection.take() {
            place.generation = (place.generation + 1) & GENERATIONS;
            self.free.push(slot);
            self.open -= 1;
            connection.closed(turn);
        }
    }

    fn sweep(&mut self, turn: &Turn<'_>) {
        let draining = self.drain_until.is_some();
        for slot in 0..self.slots.len() {
            let Some(place) = self.slots.get(slot) else { continue };
            let connection = place.connection.as_ref();
            if connection.is_some_and(|connection| connection.is_due(turn)) {
                let token = token_of(u32::try_from(slot).unwrap_or(u32::MAX), place.generation);
                self.with(turn, token, Connection::again);
            } else if connection.is_some_and(|connection| connection.is_overdue(turn, draining)) {
                self.close(turn, u32::try_from(slot).unwrap_or(u32::MAX));
            }
        }
    }

    /// The server stops: whatever has arrived is served, then idle connections are closed.
    fn drain(&mut self, turn: &Turn<'_>) {
        for slot in 0..self.slots.len() {
            let Some(place) = self.slots.get(slot) else { continue };
            if place.interest == Interest::READABLE {
                let token = token_of(u32::try_from(slot).unwrap_or(u32::MAX), place.generation);
                self.with(turn, token, Connection::readable);
            }
        }
    }
}

const fn token_of(slot: u32, generation: u32) -> u64 {
    (generation as u64) << 32 | slot as u64
}

const fn parts_of(token: u64) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}
