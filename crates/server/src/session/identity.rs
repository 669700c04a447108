//! Who the peer is: the log-in as the conversation sees it, and judging the peer anew whenever what
//! is known of it changes, by a certificate, a log-in or a reload.
//!
//! Invariants:
//! - Where a log-in is demanded nothing is executed before it but `version` of the binary protocol.
//! - What a peer may do always follows from what it has proved: [`Access`](kannuki_guard::Access)
//!   is asked of the guard again with every change, and a refusal closes the connection.
//! - After a log-in that failed the peer is nobody, also if it was somebody before.

use kannuki_guard::{CertificateNames, Denial, Peer};
use kannuki_protocol::{
    Command,
    binary::{Binary, BinaryVerb},
    violation::Fault,
};

use super::{Next, Session, Stage, Stepped};
use crate::{
    auth::{Attempt, Identity, Outcome},
    counters::Counter,
    dispatch::Turn,
    login::{self, After, Asked, Gathering, Pending, Way},
    refusals,
};

impl Session {
    /// Who the peer is.
    #[must_use]
    pub(crate) fn peer(&self) -> &Peer {
        self.access.peer()
    }

    /// The peer has proven to hold a certificate with these names: it is judged anew.
    ///
    /// # Errors
    /// With that certificate it may not be here.
    pub(crate) fn proven(
        &mut self,
        turn: &Turn<'_>,
        names: CertificateNames,
    ) -> Result<(), Denial> {
        let peer = self.access.peer().clone().with_certificate(names);
        self.access = turn.rules.guard.admit(&peer)?;
        Ok(())
    }

    /// After a reload the peer is judged anew, once.
    pub(super) fn renew_access(&mut self, turn: &Turn<'_>) -> Result<(), Denial> {
        if !turn.rules.guard.is_current(&self.access) {
            let known = |identity| {
                let authority = turn.instance.authority.as_ref();
                authority.is_some_and(|authority| authority.users().still_have(identity))
            };
            let identity = self.login.as_ref().and_then(|login| login.identity());
            if !identity.is_none_or(known) {
                return Err(refusals::USER_GONE);
            }
            self.access = turn.rules.guard.admit(self.access.peer())?;
        }
        Ok(())
    }

    /// What belongs to a log-in, and what has to wait for one; `None` = an ordinary command.
    pub(super) fn login_first(
        &mut self,
        turn: &Turn<'_>,
        command: &Command<'_>,
        used: usize,
        out: &mut Vec<u8>,
    ) -> Option<Stepped> {
        match command {
            Command::Login(asked) => {
                let gathering = Gathering::new(Way::Text, asked.data_len);
                self.stage = Stage::Login(Box::new(gathering));
                Some(Stepped::on(used))
            }
            Command::Binary(asked) => self.sasl(turn, asked, used, out),
            _ => None,
        }
    }

    fn sasl(
        &mut self,
        turn: &Turn<'_>,
        asked: &Binary<'_>,
        used: usize,
        out: &mut Vec<u8>,
    ) -> Option<Stepped> {
        let authority = turn.instance.authority.as_ref()?;
        let sasl = authority.config().sasl;
        match asked.verb {
            BinaryVerb::SaslList if sasl => login::list(authority, asked, out),
            BinaryVerb::SaslAuth { .. } | BinaryVerb::SaslStep { .. } if sasl => {
                match login::begin(asked, out) {
                    Asked::Gather(gathering) => self.stage = Stage::Login(Box::new(gathering)),
                    Asked::Refused => {
                        turn.counters.add(Counter::AuthCmds, 1);
                        turn.counters.add(Counter::AuthErrors, 1);
                        refusals::count_fault(turn.counters, Fault::LoginShape);
                        self.decoder.discard_data();
                    }
                }
            }
            BinaryVerb::Version => return None,
            _ if !self.lacks_login(turn) => return None,
            _ => {
                turn.counters.add_refusal(refusals::of_denial(&refusals::USER_GONE));
                login::demand(asked, out);
                return Some(Stepped { used, next: Some(Next::Close) });
            }
        }
        Some(Stepped::on(used))
    }

    pub(super) fn login_gathered(
        &mut self,
        turn: &Turn<'_>,
        gathered: Gathering,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let (Some(login), Some(authority)) = (&mut self.login, &turn.instance.authority) else {
            return Some(Next::Close);
        };
        let way = gathered.way();
        let after = login.gathered(turn, authority, gathered, out);
        self.login_went(turn, way, after, out)
    }

    pub(super) fn answer_login(
        &mut self,
        turn: &Turn<'_>,
        pending: Pending,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let Some(login) = &mut self.login else { return Some(Next::Close) };
        let way = pending.way();
        let after = login.settle(turn, pending, out);
        self.login_went(turn, way, after, out)
    }

    fn login_went(
        &mut self,
        turn: &Turn<'_>,
        way: Way,
        after: After,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        match after {
            After::Answered => self.renounce(turn),
            After::Close => Some(Next::Close),
            After::Admitted(identity) => self.become_user(turn, way, identity, out),
            After::Wait(pending) => {
                self.stage = Stage::Pending(pending);
                None
            }
        }
    }

    /// The peer has proved to be this user: the guard says what that means.
    fn become_user(
        &mut self,
        turn: &Turn<'_>,
        way: Way,
        identity: Identity,
        out: &mut Vec<u8>,
    ) -> Option<Next> {
        let login = self.login.as_mut()?;
        let authority = turn.instance.authority.as_ref()?;
        if !authority.users().still_have(&identity) {
            // The file has changed since the outcome was found.
            login.fail(turn, way, out);
            return self.renounce(turn);
        }
        let peer = self.access.peer().clone().with_user(identity.name.clone());
        match turn.rules.guard.admit(&peer) {
            Ok(access) => self.access = access,
            Err(denial) => {
                turn.counters.add_refusal(refusals::of_denial(&denial));
                return Some(Next::Close);
            }
        }
        login.admit(identity);
        self.decoder.demand_login(false);
        login::succeed(way, out);
        None
    }

    /// After a log-in that failed the peer is nobody, also if it was somebody before.
    fn renounce(&mut self, turn: &Turn<'_>) -> Option<Next> {
        let is_somebody = self.login.as_ref().is_some_and(|login| login.identity().is_some());
        if is_somebody || self.access.peer().user().is_none() {
            return None;
        }
        match turn.rules.guard.admit(&self.access.peer().clone().without_user()) {
            Ok(access) => {
                self.access = access;
                None
            }
            Err(denial) => {
                turn.counters.add_refusal(refusals::of_denial(&denial));
                Some(Next::Close)
            }
        }
    }

    /// The attempt to be checked, once; after that comes [`Session::decided`].
    #[must_use]
    pub(crate) fn take_attempt(&mut self) -> Option<Attempt> {
        let Stage::Pending(pending) = &mut self.stage else { return None };
        pending.take()
    }

    /// The outcome of the attempt is known.
    pub(crate) fn decided(&mut self, turn: &Turn<'_>, outcome: Outcome) {
        let delay_secs = turn.instance.config.login.as_ref().map_or(0, |login| login.delay_secs);
        if let Stage::Pending(pending) = &mut self.stage {
            pending.decided(outcome, turn.now, delay_secs);
        }
    }

    /// Whether the outcome of a log-in, or the time to tell it, is awaited.
    #[must_use]
    pub(crate) const fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Pending(_))
    }

    /// Whether the answer to a log-in has been held back and may go.
    #[must_use]
    pub(crate) fn is_due(&self, turn: &Turn<'_>) -> bool {
        matches!(&self.stage, Stage::Pending(pending) if pending.is_due(turn.now))
    }

    /// Whether the peer has to log in, has not, and nobody but itself keeps it from that.
    #[must_use]
    pub(crate) fn keeps_login_waiting(&self, turn: &Turn<'_>) -> bool {
        self.lacks_login(turn) && !self.is_held()
    }

    fn lacks_login(&self, turn: &Turn<'_>) -> bool {
        turn.rules.guard.policy().login_required && self.access.peer().user().is_none()
    }

    /// Whether [`Self::took_secret`] will say so.
    #[must_use]
    pub(crate) const fn has_secret(&self) -> bool {
        self.secret
    }

    /// Whether a log-in passed through the buffers since the last call, so that they have to be
    /// wiped.
    #[must_use]
    pub(crate) const fn took_secret(&mut self) -> bool {
        std::mem::replace(&mut self.secret, false)
    }
}
