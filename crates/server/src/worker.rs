//! One event-loop thread: its connections, each of which belongs to it for life.
//!
//! Invariants:
//! - A token names a slot and its generation, so an event for a connection that is gone is dropped.
//! - A connection whose budget is used up waits behind all that were ready with it.
//! - A turn reads from ready connections into one buffer, one behind the other, and executes them
//!   in that order when all were read or the batch is full. A batch keeps tokens and places of
//!   bytes, nothing of what they say.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kannuki_guard::Peer;
use kannuki_store::time::Now;
use kannuki_sys::poller::{Events, Interest, Poller, Readiness, Waker};
use zeroize::Zeroize as _;

use crate::{
    arithmetic::{Arithmetic, Toll},
    auth::{Attempt, Outcome, authority::Waiting},
    connection::{Arrival, Connection, Fate, Lent},
    counters::Counters,
    datagram::DatagramDoor,
    dispatch::{
        Turn,
        ahead::{Ahead, Piece, Place},
    },
    instance::{Instance, Rules},
    limits::{
        AHEAD_BYTES_MIN, BATCH_BYTES, BATCH_CONNECTIONS, DRAIN_SECS, READ_BYTES, TURN_REFILLS_MAX,
    },
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
    /// It is among those that go on without waiting for an event.
    again: bool,
}

/// Connections that were read from and are still to be executed: `pieces[i]` of `bytes` is what
/// `tokens[i]` sent.
#[derive(Default)]
struct Batch {
    tokens: Vec<u64>,
    pieces: Vec<Piece>,
    bytes: Box<[u8]>,
}

impl Batch {
    fn new() -> Self {
        Self {
            tokens: Vec::with_capacity(BATCH_CONNECTIONS),
            pieces: Vec::with_capacity(BATCH_CONNECTIONS),
            bytes: vec![0; BATCH_BYTES].into_boxed_slice(),
        }
    }

    /// Where the next connection's bytes begin.
    fn end(&self) -> usize {
        self.pieces.last().map_or(0, |piece| piece.end)
    }

    /// The next connection could not be offered a full read.
    fn is_full(&self) -> bool {
        self.tokens.len() == BATCH_CONNECTIONS || self.bytes.len() - self.end() < READ_BYTES
    }

    fn room(&mut self) -> &mut [u8] {
        let end = self.end();
        self.bytes.get_mut(end..end + READ_BYTES).unwrap_or_default()
    }

    fn push(&mut self, token: u64, length: usize, place: Place) {
        let start = self.end();
        self.tokens.push(token);
        self.pieces.push(Piece { start, end: start + length, place });
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.pieces.clear();
    }
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
    batch: Batch,
    /// How often each connection's budget may be filled again in this turn.
    refills: u32,
    /// What of it may still be done in this turn.
    arithmetic: Arithmetic,
    /// Somebody of the batch has logged in: its bytes have to be wiped.
    secret: bool,
    /// The connection that has its turn filled its read: more may have arrived.
    more: bool,
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
            batch: Batch::new(),
            refills: 0,
            arithmetic: Arithmetic::of_a_turn(),
            secret: false,
            more: false,
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
        let woken = events.iter().any(|ready| ready.token == WAKER);
        if woken {
            self.letterbox.drain();
            // First: what came with the news is decided by the new rules.
            self.rules = instance.rules();
        }
        let rules = Arc::clone(&self.rules);
        let verbose = instance.verbosity() >= VERBOSE;
        let now = instance.clock.now();
        let turn = Turn { instance, rules: &rules, counters, now, verbose, ahead: None };
        let waiting = self.again.len();
        let ready = u32::try_from(events.len() + waiting).unwrap_or(u32::MAX);
        self.refills = TURN_REFILLS_MAX / ready.max(1);
        self.arithmetic = Arithmetic::of_a_turn();
        for ready in events.iter() {
            match ready.token {
                WAKER => {}
                token if token >= DOORS => self.door(&turn, token),
                token => self.ready(&turn, token, ready),
            }
        }
        self.execute(&turn);
        // Only now: if the server stops, connections are closed that have been answered.
        if woken {
            self.look_around(&turn);
        }
        for _ in 0..waiting {
            if let Some(token) = self.again.pop_front() {
                if let Some(place) = self.place_mut(token) {
                    place.again = false;
                }
                self.with(&turn, token, Connection::again);
            }
        }
        if self.swept != turn.now {
            self.swept = turn.now;
            self.sweep(&turn);
        }
    }

    fn look_around(&mut self, turn: &Turn<'_>) {
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
        let Some(connection) = Connection::new(arrival, turn) else {
            return tracing::error!("cannot begin TLS with a new connection; it is closed");
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                connection: None,
                interest: Interest::NONE,
                again: false,
            });
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
        place.again = false;
        self.open += 1;
    }

    fn ready(&mut self, turn: &Turn<'_>, token: u64, ready: Readiness) {
        let Some(place) = self.place_mut(token) else { return };
        if place.again {
            // It has commands left over from its last turn, which are executed before more is read,
            // also if the peer has hung up meanwhile: as if they were executed at once.
            return;
        }
        if place.interest == Interest::NONE {
            return self.hung_up(turn, token);
        }
        if ready.writable {
            self.with(turn, token, Connection::writable);
        } else if ready.readable && self.may_read(turn, token) {
            self.receive(turn, token);
        }
    }

    /// Whether to read from a connection in this turn. One whose certificate has to be judged may
    /// have to wait: it is reported again in the next.
    fn may_read(&mut self, turn: &Turn<'_>, token: u64) -> bool {
        let place = self.place_mut(token);
        let connection = place.and_then(|place| place.connection.as_ref());
        let toll = connection.map_or(Toll::None, |connection| connection.toll(turn));
        self.arithmetic.affords(toll)
    }

    /// The place that a token names, if it is still the same connection's.
    fn place_mut(&mut self, token: u64) -> Option<&mut Slot> {
        let (slot, generation) = parts_of(token);
        self.slots.get_mut(slot as usize).filter(|place| place.generation == generation)
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
        // Its datagrams are read where those of the batch lie.
        self.execute(turn);
        let door = usize::try_from(token - DOORS).ok().and_then(|door| self.doors.get_mut(door));
        if let Some(door) = door {
            door.readable(turn, self.batch.room(), &mut self.out);
        }
    }

    /// Reads from a connection into the batch.
    fn receive(&mut self, turn: &Turn<'_>, token: u64) {
        if self.batch.is_full() {
            self.execute(turn);
        }
        let (slot, generation) = parts_of(token);
        let place = self.slots.get_mut(slot as usize).filter(|at| at.generation == generation);
        let Some(connection) = place.and_then(|place| place.connection.as_mut()) else { return };
        let begins = connection.place();
        match connection.receive(turn, self.batch.room()) {
            Ok(length) => self.batch.push(token, length, begins),
            Err(fate) => self.with(turn, token, |_, _, _| fate),
        }
    }

    /// Executes the batch.
    fn execute(&mut self, turn: &Turn<'_>) {
        if self.batch.tokens.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        if batch.tokens.len() == 1 && batch.end() < AHEAD_BYTES_MIN {
            self.execute_each(turn, &batch);
        } else {
            let ahead = Ahead::new(&batch.bytes, &batch.pieces);
            self.execute_each(&turn.with(&ahead), &batch);
        }
        if std::mem::take(&mut self.secret) {
            batch.bytes.get_mut(..batch.end()).unwrap_or_default().zeroize();
        }
        batch.clear();
        self.batch = batch;
    }

    fn execute_each(&mut self, turn: &Turn<'_>, batch: &Batch) {
        for (&token, piece) in batch.tokens.iter().zip(&batch.pieces) {
            let fresh = batch.bytes.get(piece.start..piece.end).unwrap_or_default();
            self.more = fresh.len() >= READ_BYTES;
            self.with(turn, token, |connection, turn, lent| connection.received(turn, fresh, lent));
        }
        self.more = false;
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
        let mut lent = Lent { out: &mut self.out, refills: self.refills, secret: false };
        let mut fate = act(connection, turn, &mut lent);
        self.secret |= lent.secret;
        let is_over = self.drain_until.is_some() && !self.more;
        if is_over && fate == Fate::Await && connection.is_at_rest() {
            fate = Fate::Close;
        }
        let wanted = match fate {
            Fate::Await => Interest::READABLE,
            Fate::AwaitWritable => Interest::WRITABLE,
            Fate::Again => {
                // What is reported of it until it is done is not looked at: that costs less than to
                // change what is watched for, twice.
                place.again = true;
                return self.again.push_back(token);
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

    /// Gives a log-in to the password threads; whoever has no place there is told so, be it another
    /// that came before from a source with more.
    fn submit(&self, turn: &Turn<'_>, token: u64, attempt: Attempt, peer: Peer) {
        let letterbox = Arc::clone(&self.letterbox);
        let waiting = Waiting { attempt, peer, letterbox, token };
        let left_out = match &turn.instance.authority {
            Some(authority) => authority.submit(waiting),
            None => Some(waiting),
        };
        if let Some(Waiting { letterbox, token, .. }) = left_out {
            letterbox.deliver(token, Outcome::Busy);
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
            if place.interest == Interest::READABLE && !place.again {
                let token = token_of(u32::try_from(slot).unwrap_or(u32::MAX), place.generation);
                self.receive(turn, token);
            }
        }
        self.execute(turn);
    }
}

const fn token_of(slot: u32, generation: u32) -> u64 {
    (generation as u64) << 32 | slot as u64
}

const fn parts_of(token: u64) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}
