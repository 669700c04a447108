//! The thread that accepts connections, asks the guard, and hands them out evenly.
//!
//! Invariants:
//! - Every accepted peer is admitted by the guard and has a place under the connection limit before
//!   a byte of it is read. Where a proxy comes instead, it is admitted as a proxy, its header is
//!   read, and then the client is admitted that it names.
//! - Over the limit a peer is told so and closed, or, if configured, nobody is accepted until there
//!   is room again.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kannuki_guard::{Access, Denial, Owner, Peer, Reason, Response};
use kannuki_protocol::proxy_header::Header;
use kannuki_store::time::Now;
use kannuki_sys::{
    poller::{Events, Interest, Poller},
    socket::{Listener, PeerAddress, Stream, Trouble},
};

use crate::{
    connection::{Arrival, Connection},
    counters::{Counter, Counters},
    doors::{Open, describe, describe_inet},
    instance::Instance,
    limits::{ACCEPT_RETRY_MILLIS, ACCEPTS_PER_TURN},
    refusals,
    registry::{Admitted, Facts, Registered, State},
    threshold::{Outcome, Threshold, Waiting},
    worker::{Letterbox, Post, WAKER},
};

/// The accepting thread.
pub(crate) struct Acceptor {
    instance: Arc<Instance>,
    letterbox: Arc<Letterbox>,
    gates: Vec<Gate>,
    threads: Vec<Arc<Letterbox>>,
    next: usize,
    poller: Poller,
    logged_at: u32,
    threshold: Threshold,
    swept: Now,
    /// Connections turned away since the last line about one.
    unlogged: u64,
}

/// An open listener and its entry.
struct Gate {
    open: Open<Listener>,
    address: String,
    _registered: Registered,
}

impl Acceptor {
    /// Takes over the listeners; hands connections out to `threads` in turn.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn new(
        instance: Arc<Instance>,
        post: Post,
        listeners: Vec<Open<Listener>>,
        threads: Vec<Arc<Letterbox>>,
    ) -> io::Result<Self> {
        let Post { poller, letterbox } = post;
        let mut gates = Vec::with_capacity(listeners.len());
        for (token, open) in (0_u64..).zip(listeners) {
            poller.add(open.socket.as_fd(), token, Interest::READABLE)?;
            let address = describe(open.socket.local_address());
            let descriptor = open.socket.as_fd().as_raw_fd();
            let now = instance.clock.now();
            let facts = Facts::new(descriptor, address.clone(), None, State::Listening, now);
            let _registered = instance.registry.register_socket(facts);
            gates.push(Gate { open, address, _registered });
        }
        Ok(Self {
            swept: instance.clock.now(),
            threshold: Threshold::default(),
            instance,
            letterbox,
            gates,
            threads,
            next: 0,
            poller,
            logged_at: 0,
            unlogged: 0,
        })
    }

    /// Accepts until the server stops.
    pub(crate) fn run(mut self) {
        let instance = Arc::clone(&self.instance);
        let Some(counters) = instance.board.of_thread(instance.config.threads) else { return };
        counters.add(Counter::TotalConnections, self.gates.len() as u64);
        let mut events = Events::new();
        while !instance.control.is_stopping() {
            let patience = if self.threshold.is_empty() { None } else { Some(SWEEP) };
            if let Err(error) = self.poller.wait(&mut events, patience) {
                tracing::error!(%error, "cannot wait for connections any longer");
                return instance.control.fail();
            }
            for ready in events.iter() {
                match (ready.token, usize::try_from(ready.token & !WAITING)) {
                    (WAKER, _) | (_, Err(_)) => self.letterbox.drain(),
                    (token, Ok(number)) if token & WAITING != 0 => self.listen(counters, number),
                    (_, Ok(listener)) => self.accept(counters, listener),
                }
            }
            self.sweep(counters);
        }
    }

    fn accept(&mut self, counters: &Counters, listener: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.instance.config.maxconns_fast && !self.wait_for_room(counters) {
                return;
            }
            let Some(gate) = self.gates.get(listener) else { return };
            match gate.open.socket.accept() {
                Ok((stream, peer)) => self.welcome(counters, listener, stream, peer),
                Err(error) => match Trouble::of(&error) {
                    Trouble::WouldBlock => return,
                    Trouble::Closed | Trouble::Interrupted => {}
                    Trouble::Exhausted | Trouble::Other => {
                        if self.may_log() {
                            tracing::warn!(%error, "cannot accept a connection; trying again");
                        }
                        return std::thread::sleep(Duration::from_millis(ACCEPT_RETRY_MILLIS));
                    }
                },
            }
        }
    }

    /// Stops accepting until a connection is closed; `false` = the server stops.
    fn wait_for_room(&mut self, counters: &Counters) -> bool {
        let instance = Arc::clone(&self.instance);
        if instance.registry.has_room() {
            return true;
        }
        instance.accepting.store(false, Ordering::Relaxed);
        counters.add(Counter::ListenDisabled, 1);
        let pause = Duration::from_millis(ACCEPT_RETRY_MILLIS);
        while !instance.registry.has_room() && !instance.control.is_stopping() {
            std::thread::sleep(pause);
            // They hold their places already: none of them has to wait for room.
            for number in self.threshold.all() {
                self.listen(counters, number);
            }
            self.sweep(counters);
            counters.add(Counter::ListenDisabledMicros, ACCEPT_RETRY_MILLIS * 1000);
        }
        instance.accepting.store(true, Ordering::Relaxed);
        !instance.control.is_stopping()
    }

    fn welcome(&mut self, counters: &Counters, listener: usize, stream: Stream, peer: PeerAddress) {
        let Some(open) = self.gates.get(listener).map(|gate| &gate.open) else { return };
        let (id, speaks_tls) = (open.id, open.tls.is_some());
        let who = peer_of(&peer).at(id);
        // Nothing of it is executed before the handshake is done.
        let who = if speaks_tls { who.over_tls() } else { who };
        let rules = self.instance.rules();
        let proxy = match peer {
            PeerAddress::Inet(address) if rules.guard.policy().proxies_at(id).is_some() => {
                Some(address)
            }
            _ => None,
        };
        let admitted = match proxy {
            Some(_) => rules.guard.admit_proxy(&who).map(|()| None),
            None => self.admit(&who).map(Some),
        };
        let access = match admitted {
            Ok(access) => access,
            Err(denial) => return self.turn_away(counters, &denial, &who),
        };
        let Some(place) = self.instance.registry.admit() else {
            counters.add(Counter::RejectedConnections, 1);
            return Connection::refuse(&stream, speaks_tls);
        };
        counters.add(Counter::TotalConnections, 1);
        let is_tcp = matches!(peer, PeerAddress::Inet(_));
        if is_tcp && let Err(error) = Connection::tune(&stream) {
            tracing::debug!(%error, "cannot tune a connection");
        }
        match (access, proxy) {
            (Some(access), _) => {
                let address = match peer {
                    PeerAddress::Inet(address) => describe_inet("tcp", address),
                    PeerAddress::Unix(_) => "unix".to_owned(),
                };
                self.hand_out(listener, stream, access, place, is_tcp, address);
            }
            (None, Some(address)) => {
                let since = self.instance.clock.now();
                let heard = Vec::new();
                let gate = listener;
                self.let_wait(Waiting { stream, place, proxy: who, gate, address, since, heard });
            }
            // Without an address there is no proxy.
            (None, None) => {}
        }
    }

    /// Whether this peer may come in: the guard's answer, and no ban.
    fn admit(&self, who: &Peer) -> Result<Access, Denial> {
        let access = self.instance.rules().guard.admit(who)?;
        let authority = self.instance.authority.as_ref();
        if authority.is_some_and(|it| it.is_banned(who, self.instance.clock.now())) {
            return Err(refusals::PEER_BANNED);
        }
        Ok(access)
    }

    fn hand_out(
        &mut self,
        listener: usize,
        stream: Stream,
        access: Access,
        place: Admitted,
        is_tcp: bool,
        address: String,
    ) {
        let Some(gate) = self.gates.get(listener) else { return };
        let descriptor = stream.as_fd().as_raw_fd();
        let now = self.instance.clock.now();
        let at = Some(gate.address.clone());
        let registered = place.register(Facts::new(descriptor, address, at, State::Read, now));
        let dialect = gate.open.dialect;
        let endpoint = match gate.open.tls.map(|asked| self.instance.endpoint(asked)) {
            // Never in clear where TLS was meant.
            Some(None) => return tracing::error!("a listener has lost its TLS; connection closed"),
            Some(endpoint) => endpoint,
            None => None,
        };
        let may_idle_out = is_tcp;
        let arrival = Arrival { stream, access, dialect, endpoint, may_idle_out, registered };
        if let Some(thread) = self.threads.get(self.next) {
            thread.hand_over(arrival);
        }
        self.next = (self.next + 1) % self.threads.len().max(1);
    }

    /// A peer from outside the exposure: closed without a word, counted, and explained in the log
    /// once a second at most.
    fn turn_away(&mut self, counters: &Counters, denial: &Denial, peer: &Peer) {
        counters.add_refusal(refusals::of_denial(denial));
        if !self.may_log() {
            self.unlogged += 1;
            return;
        }
        let reason = denial.reason.name();
        let explanation = denial.reason.explain();
        let others = std::mem::take(&mut self.unlogged);
        tracing::warn!(%peer, reason, explanation, others, "refused a connection");
    }
}

impl Acceptor {
    /// A proxy has come: waits for its header.
    fn let_wait(&mut self, waiting: Waiting) {
        let number = self.threshold.enter(waiting);
        let Some(waiting) = self.threshold.get_mut(number) else { return };
        let token = WAITING | number as u64;
        if let Err(error) = self.poller.add(waiting.descriptor(), token, Interest::READABLE) {
            tracing::error!(%error, "cannot watch a new connection; it is closed");
            self.threshold.leave(number);
        }
    }

    /// A proxy has said something.
    fn listen(&mut self, counters: &Counters, number: usize) {
        // Gone within this batch of events, if there is none.
        let Some(waiting) = self.threshold.get_mut(number) else { return };
        match waiting.listen() {
            Outcome::Wait => {}
            Outcome::Told(header) => {
                if let Some(waiting) = self.threshold.leave(number) {
                    self.told(counters, waiting, header);
                }
            }
            Outcome::Broken => self.give_up(counters, number),
        }
    }

    /// A proxy has told whose the connection is: the guard decides about that one.
    fn told(&mut self, counters: &Counters, waiting: Waiting, header: Header) {
        let Waiting { stream, place, proxy, gate, address, .. } = waiting;
        let speaks_tls = proxy.is_encrypted();
        let (who, address) = match header {
            Header::Local => (proxy, address),
            Header::Client { address, port } => {
                (Peer::proxied(address).at(proxy.listener()), SocketAddr::from((address, port)))
            }
            Header::Unknown => return self.turn_away(counters, &NO_HEADER, &proxy),
        };
        let who = if speaks_tls { who.over_tls() } else { who };
        // It speaks with a thread from now on. Fails for no descriptor that is watched.
        let _ = self.poller.remove(stream.as_fd());
        match self.admit(&who) {
            Ok(access) => {
                let address = describe_inet("tcp", address);
                self.hand_out(gate, stream, access, place, true, address);
            }
            Err(denial) => self.turn_away(counters, &denial, &who),
        }
    }

    /// No header has come, or none that means anything.
    fn give_up(&mut self, counters: &Counters, number: usize) {
        if let Some(waiting) = self.threshold.leave(number) {
            self.turn_away(counters, &NO_HEADER, &waiting.proxy);
        }
    }

    /// Once a second: who has waited too long has waited long enough.
    fn sweep(&mut self, counters: &Counters) {
        let now = self.instance.clock.now();
        if self.threshold.is_empty() || self.swept == now {
            return;
        }
        self.swept = now;
        for number in self.threshold.overdue(now) {
            self.give_up(counters, number);
        }
    }

    /// Once a second: what strangers cause must not fill the log.
    fn may_log(&mut self) -> bool {
        let now = self.instance.clock.now().0;
        std::mem::replace(&mut self.logged_at, now) != now
    }
}

/// Set in the tokens of connections that wait on the threshold; listeners are few.
const WAITING: u64 = 1 << 32;

/// How often those who wait are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// What is counted for a connection without a valid PROXY header.
const NO_HEADER: Denial = Denial::new(Response::Close, Reason::ProxyHeader);

fn peer_of(address: &PeerAddress) -> Peer {
    match address {
        PeerAddress::Inet(address) => Peer::tcp(address.ip()),
        PeerAddress::Unix(unix) => Peer::unix(Owner { uid: unix.uid, gid: unix.gid }),
    }
}
