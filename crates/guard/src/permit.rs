//! The decision itself, and the permit that it makes.
//!
//! Invariants: a [`Permit`] exists only because [`Guard::permit`] said yes to that action and key
//! under the policy of that guard; it can be spent once; an [`Access`] of an older policy is never
//! trusted, but decided anew.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::decision::{Explanation, Verdict};
use crate::{Action, ActionKind, Denial, Peer, Policy, Reason, Response, RulePosition};

/// Says what is allowed, under one policy. Shared by all doors and threads; a changed policy is a
/// new guard.
#[derive(Debug)]
pub struct Guard {
    policy: Policy,
    epoch: u64,
}

impl Guard {
    /// The first guard of a process.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, epoch: 0 }
    }

    /// The guard that follows this one under a changed policy. Accesses and permits of this one
    /// are recognised as outdated.
    #[must_use]
    pub fn successor(&self, policy: Policy) -> Self {
        Self { policy, epoch: self.epoch.wrapping_add(1) }
    }

    /// The number of policies before this one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The policy that it keeps.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Decides once, at the door: whether the peer may come in, and what it may do inside.
    ///
    /// # Errors
    /// The denial says whether to close the connection or to drop the datagram.
    pub fn admit(&self, peer: &Peer) -> Result<Access, Denial> {
        let door = self.policy.admission(peer);
        if let Some(denial) = door.denial {
            return Err(denial);
        }
        let naming = self.policy.rules.naming(peer);
        let verdict = |action| self.policy.verdict(door.because, peer, &naming, action).0;
        let verdicts = Action::ALL.map(verdict);
        // Kept only where a key will ask for it.
        let naming = Some(naming).filter(|_| verdicts.contains(&Verdict::ByKey));
        Ok(Access { verdicts, epoch: self.epoch, peer: peer.clone(), naming })
    }

    /// Whether a TCP connection may begin with a PROXY header, on a listener that wants one: the
    /// peer of the header is decided about when it is known.
    ///
    /// # Errors
    /// The denial: the connection is not from a listed proxy, and nobody else may come here.
    pub fn admit_proxy(&self, proxy: &Peer) -> Result<(), Denial> {
        let listed = self.policy.proxies_at(proxy.listener()).zip(proxy.address());
        if listed.is_some_and(|(proxies, address)| proxies.contains(address)) {
            return Ok(());
        }
        Err(Denial::new(Response::Close, Reason::ProxyNotListed))
    }

    /// Why a request is allowed or denied: the same decisions as [`Self::admit`] and
    /// [`Self::permit`], with their causes.
    #[must_use]
    pub fn explain(&self, peer: &Peer, action: Action, key: Option<&[u8]>) -> Explanation {
        self.policy.explain(peer, action, key)
    }

    /// Whether an access was decided under this very policy. If not, [`Self::permit`] is right but
    /// slow; [`Self::admit`] makes a fresh one.
    #[must_use]
    pub fn is_current(&self, access: &Access) -> bool {
        access.epoch == self.epoch
    }

    /// Decides one action, on `key` if it has one.
    ///
    /// # Errors
    /// The denial says what the peer is to be told, and why.
    #[inline]
    pub fn permit<'k, A: ActionKind>(
        &self,
        access: &Access,
        key: Option<&'k [u8]>,
    ) -> Result<Permit<'k, A>, Denial> {
        let at_once =
            access.epoch == self.epoch && matches!(access.verdict(A::ACTION), Verdict::Always);
        if !at_once {
            self.deliberate(access, A::ACTION, key)?;
        }
        Ok(Permit { key, epoch: self.epoch, action: PhantomData })
    }

    /// The slow half of [`Self::permit`]: refusals, rules about keys, outdated accesses.
    #[inline(never)]
    fn deliberate(
        &self,
        access: &Access,
        action: Action,
        key: Option<&[u8]>,
    ) -> Result<(), Denial> {
        if !self.is_current(access) {
            return self.policy.explain(&access.peer, action, key).denial.map_or(Ok(()), Err);
        }
        match access.verdict(action) {
            Verdict::Always => Ok(()),
            Verdict::Never(denial) => Err(denial),
            Verdict::ByKey => {
                let naming = access.naming.as_deref().unwrap_or_default();
                // Nearly always; what else there is to say is said below.
                if self.policy.rules.allow(naming, action, key) {
                    return Ok(());
                }
                self.policy.by_rules(&access.peer, naming, action, key).denial.map_or(Ok(()), Err)
            }
        }
    }
}

const UNDECIDED: Denial = Denial::new(Response::AccessDenied, Reason::RuleDenied);

/// Connections are many and hold one each: it has to stay small (one cache line and a half).
const _: () = assert!(size_of::<Access>() <= 96);

/// What one connection may do, decided when it came in. Held with the connection.
#[derive(Clone, Debug)]
pub struct Access {
    verdicts: [Verdict; Action::COUNT],
    epoch: u64,
    peer: Peer,
    /// Where the rules stand that name the peer, if any of them looks at keys.
    naming: Option<Arc<[RulePosition]>>,
}

impl Access {
    /// What was decided about an action.
    #[inline]
    #[must_use]
    pub fn verdict(&self, action: Action) -> Verdict {
        // Always found; the bound is known when the action is, so this compiles to one load.
        self.verdicts.get(action.index()).copied().unwrap_or(Verdict::Never(UNDECIDED))
    }

    /// About whom it was decided.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The epoch of the guard that decided.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// Leave to do `A` once, with one key or with none. Only a [`Guard`] makes one, and it can be
/// neither copied nor kept for another action:
///
/// ```compile_fail
/// fn twice(permit: kannuki_guard::Permit<'_, kannuki_guard::action::Read>) {
///     let copy = permit.clone();
/// }
/// ```
///
/// ```compile_fail
/// fn read_for_write<'k>(
///     permit: kannuki_guard::Permit<'k, kannuki_guard::action::Read>,
/// ) -> kannuki_guard::Permit<'k, kannuki_guard::action::Write> {
///     permit
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Permit<'k, A> {
    key: Option<&'k [u8]>,
    epoch: u64,
    action: PhantomData<A>,
}

impl<'k, A: ActionKind> Permit<'k, A> {
    /// The key that it is for; none for actions without.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Option<&'k [u8]> {
        self.key
    }

    /// The epoch of the guard that made it: what takes long (a data block) is decided again when
    /// the policy has changed in between.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The action that it is for.
    #[inline]
    #[must_use]
    pub fn action(&self) -> Action {
        A::ACTION
    }
}

#[cfg(test)]
mod tests;
