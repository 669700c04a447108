//! Who says yes: the users, the failures, and the queue of log-ins that wait for a thread.
//!
//! Invariants:
//! - The queue is bounded and fair: a log-in that finds no place is handed back, see [`super::queue`].
//! - A source that is shut out costs no hash, not even those it has queued already.
//! - Locks are held for a look or a push, never while something is hashed.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use kannuki_guard::{BanPolicy, Bans, Peer, Source};
use kannuki_store::time::Now;

use super::{
    attempt::{Attempt, Mechanism, Outcome},
    digest::Key,
    queue::Queue,
    users::{Identity, Users, UsersError},
    verifier::{Bench, Work},
};
use crate::{
    config::LoginConfig, instance::Instance, limits::LOGIN_THREAD_POLL_MILLIS, worker::Letterbox,
};

/// Decides every log-in of one server.
#[derive(Debug)]
pub(crate) struct Authority {
    config: LoginConfig,
    /// Outlives every file, so that tags and made-up salts stay what they are.
    key: Key,
    users: Mutex<Arc<Users>>,
    bans: Mutex<Bans>,
    queue: Mutex<Queue<Waiting>>,
    /// One has been queued.
    arrived: Condvar,
    /// The second of the last line about failures.
    logged_at: AtomicU32,
    /// Checks that cost a hash.
    hashes: AtomicU64,
}

/// A log-in that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// What is offered.
    pub attempt: Attempt,
    /// By whom.
    pub peer: Peer,
    /// Where the outcome goes.
    pub letterbox: Arc<Letterbox>,
    /// To which connection of that thread.
    pub token: u64,
}

impl Authority {
    /// Reads the file.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn open(config: LoginConfig) -> Result<Self, UsersError> {
        let key = Key::random().map_err(UsersError::Random)?;
        let users = Users::read_with(&config.users, config.format, key.clone())?;
        Ok(Self::new(config, key, users))
    }

    /// The same with the text of a file, for a simulation.
    pub(crate) fn of_text(config: LoginConfig, text: &[u8]) -> Result<Self, UsersError> {
        let key = Key::random().map_err(UsersError::Random)?;
        let users = Users::parse(text, config.format, key.clone())?;
        Ok(Self::new(config, key, users))
    }

    fn new(config: LoginConfig, key: Key, users: Users) -> Self {
        let bans = Bans::new(BanPolicy { after: config.ban_after, secs: config.ban_secs });
        Self {
            config,
            key,
            users: Mutex::new(Arc::new(users)),
            bans: Mutex::new(bans),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            logged_at: AtomicU32::new(0),
            hashes: AtomicU64::new(0),
        }
    }

    /// What is meant.
    #[must_use]
    pub(crate) fn config(&self) -> &LoginConfig {
        &self.config
    }

    /// The users of now.
    #[must_use]
    pub(crate) fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again, without a change yet.
    ///
    /// # Errors
    /// When it cannot be read, or a line is no user.
    pub(crate) fn read_again(&self) -> Result<Users, UsersError> {
        Users::read_with(&self.config.users, self.config.format, self.key.clone())
    }

    /// The same with the text of a file, for a simulation.
    pub(crate) fn reload_text(&self, text: &[u8]) -> Result<(), UsersError> {
        self.replace(Users::parse(text, self.config.format, self.key.clone())?);
        Ok(())
    }

    /// Other users from now on.
    pub(crate) fn replace(&self, new: Users) {
        *self.users.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }

    /// The mechanisms that somebody could succeed with.
    pub(crate) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        let scram = self.users().have_scram();
        Mechanism::ALL.into_iter().filter(move |&mechanism| mechanism == Mechanism::Plain || scram)
    }

    /// Whether nobody gets in from where this peer is.
    #[must_use]
    pub(crate) fn is_banned(&self, peer: &Peer, now: Now) -> bool {
        let Some(source) = Source::of(peer) else { return false };
        self.bans.lock().unwrap_or_else(PoisonError::into_inner).is_banned(source, now.0)
    }

    /// How many sources are shut out.
    #[must_use]
    pub(crate) fn banned_sources(&self, now: Now) -> usize {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner).count(now.0)
    }

    /// How many checks have cost a hash.
    #[must_use]
    pub(crate) fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    /// How many log-ins wait.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Queues a log-in. Nothing will come of the one that is handed back, this or another: it has
    /// to be told that.
    #[must_use]
    pub(crate) fn submit(&self, waiting: Waiting) -> Option<Waiting> {
        let source = Source::of(&waiting.peer);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let displaced = queue.push(source, waiting);
        self.arrived.notify_one();
        displaced
    }

    /// Finds out. Heavy: for the password threads.
    pub(crate) fn decide(
        &self,
        attempt: &Attempt,
        peer: &Peer,
        now: Now,
        bench: &mut Bench,
    ) -> Outcome {
        if self.is_banned(peer, now) {
            return Outcome::Banned;
        }
        bench.work = Work::default();
        let found = check(&self.users(), attempt, bench);
        let work = bench.work;
        self.hashes.fetch_add(u64::from(work.argon2 + work.pbkdf2 > 0), Ordering::Relaxed);
        match found {
            Some((identity, answer)) => Outcome::Admitted { identity, answer },
            None => {
                self.failed(peer, now);
                Outcome::Wrong
            }
        }
    }

    /// Notes a failure, and says so once a second at most: strangers must not fill the log.
    fn failed(&self, peer: &Peer, now: Now) {
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        let shut_out = Source::of(peer).is_some_and(|source| bans.failed(source, now.0));
        drop(bans);
        if self.logged_at.swap(now.0, Ordering::Relaxed) == now.0 {
            return;
        }
        if shut_out {
            let (failures, seconds) = (self.config.ban_after, self.config.ban_secs);
            tracing::warn!(%peer, failures, seconds, "log-ins failed; shut out for a time");
        } else {
            tracing::warn!(%peer, "a log-in failed");
        }
    }
}

fn check(users: &Users, attempt: &Attempt, bench: &mut Bench) -> Option<(Identity, Vec<u8>)> {
    match attempt {
        Attempt::Password { name, password } => {
            users.check(name, password, bench).map(|identity| (identity, Vec::new()))
        }
        Attempt::Proof { exchange, message } => exchange.finish(users, message, bench),
    }
}

/// One password thread, until the server stops.
pub(crate) fn serve_queue(instance: &Instance) {
    let Some(authority) = &instance.authority else { return };
    let mut bench = Bench::default();
    let poll = Duration::from_millis(LOGIN_THREAD_POLL_MILLIS);
    loop {
        let queue = authority.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = authority.arrived.wait_timeout_while(queue, poll, |queue| queue.is_empty());
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let next = queue.pop();
        drop(queue);
        match next {
            Some(Waiting { attempt, peer, letterbox, token }) => {
                let outcome = authority.decide(&attempt, &peer, instance.clock.now(), &mut bench);
                letterbox.deliver(token, outcome);
            }
            None if instance.control.is_stopping() => return,
            None => bench.release(),
        }
    }
}
