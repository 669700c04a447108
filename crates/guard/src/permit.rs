//! The decision itself, and the permit that it makes.
//!
//! Invariants: a [`Permit`] exists only because [`Guard::permit`] said yes to that action and key
//! under the policy of that guard; it can be spent once; an [`Access`] of an older policy is never
//! trusted, but decided anew.

use std::marker::PhantomData;

use crate::policy::{Keys, Policy};
use crate::{Action, ActionKind, AddressClass, Denial, Door, Peer, Reason, Response};

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
        self.let_in(peer)?;
        let verdicts = Action::ALL.map(|action| self.verdict(peer, action));
        Ok(Access { verdicts, epoch: self.epoch, peer: peer.clone() })
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
        let verdict = if self.is_current(access) {
            access.verdict(action)
        } else {
            self.let_in(&access.peer)?;
            self.verdict(&access.peer, action)
        };
        match verdict {
            Verdict::Always => Ok(()),
            Verdict::Never(denial) => Err(denial),
            Verdict::ByKey(rule) => self.by_key(rule, key),
        }
    }

    fn by_key(&self, rule: RulePosition, key: Option<&[u8]>) -> Result<(), Denial> {
        let keys = self.policy.rules.at(rule.0.into()).map(|rule| &rule.keys);
        match (keys, key) {
            (Some(Keys::Prefixes(prefixes)), Some(key)) if prefixes.contains(key) => Ok(()),
            (Some(Keys::Every), _) => Ok(()),
            _ => Err(RULE_DENIED),
        }
    }

    fn let_in(&self, peer: &Peer) -> Result<(), Denial> {
        let Some(address) = peer.address() else { return Ok(()) };
        let response = match peer.door() {
            Door::Udp => Response::Drop,
            Door::Tcp | Door::Unix => Response::Close,
        };
        let near = self.policy.exposure.admits(AddressClass::of(address));
        if !near && !self.policy.allowed.contains(address) {
            return Err(Denial::new(response, Reason::PeerNotAllowed));
        }
        if self.policy.tls_required && !peer.is_encrypted() {
            return Err(Denial::new(response, Reason::TlsRequired));
        }
        Ok(())
    }

    fn verdict(&self, peer: &Peer, action: Action) -> Verdict {
        if self.policy.login_required && peer.user().is_none() {
            return Verdict::Never(UNAUTHENTICATED);
        }
        if let Some(denial) = self.switched_off(action) {
            return Verdict::Never(denial);
        }
        let Some((position, rule)) = self.policy.rules.about(peer, action) else {
            return Verdict::Always;
        };
        match (&rule.keys, u16::try_from(position)) {
            (Keys::Every, _) => Verdict::Always,
            (Keys::Prefixes(_), Ok(position)) => Verdict::ByKey(RulePosition(position)),
            (Keys::None, _) | (Keys::Prefixes(_), Err(_)) => Verdict::Never(RULE_DENIED),
        }
    }

    fn switched_off(&self, action: Action) -> Option<Denial> {
        let (allowed, response, reason) = match action {
            Action::Flush => (self.policy.flush, Response::FlushNotAllowed, Reason::FlushDisabled),
            Action::Dump => (self.policy.dump, Response::DumpNotAllowed, Reason::DumpDisabled),
            Action::Watch => (self.policy.watch, Response::WatchNotAllowed, Reason::WatchDisabled),
            Action::Shutdown => {
                (self.policy.shutdown, Response::ShutdownNotEnabled, Reason::ShutdownDisabled)
            }
            Action::Read | Action::Write | Action::Delete | Action::Stats | Action::Admin => {
                return None;
            }
        };
        (!allowed).then_some(Denial::new(response, reason))
    }
}

const UNAUTHENTICATED: Denial = Denial::new(Response::Unauthenticated, Reason::Unauthenticated);
const RULE_DENIED: Denial = Denial::new(Response::AccessDenied, Reason::RuleDenied);

/// What is decided about one action of one connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Allowed, whatever the key.
    Always,
    /// Denied, whatever the key.
    Never(Denial),
    /// For a rule to say, which looks at the key.
    ByKey(RulePosition),
}

/// A rule of the policy that an access was decided under. Made by the guard alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RulePosition(u16);

/// Connections are many and hold one each: it has to stay small (one cache line and a half).
const _: () = assert!(size_of::<Access>() <= 96);

/// What one connection may do, decided when it came in. Held with the connection.
#[derive(Clone, Debug)]
pub struct Access {
    verdicts: [Verdict; Action::COUNT],
    epoch: u64,
    peer: Peer,
}

impl Access {
    /// What was decided about an action.
    #[inline]
    #[must_use]
    pub fn verdict(&self, action: Action) -> Verdict {
        // Always found; the bound is known when the action is, so this compiles to one load.
        self.verdicts.get(action.index()).copied().unwrap_or(Verdict::Never(RULE_DENIED))
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
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::action::{Admin, Delete, Dump, Flush, Read, Shutdown, Stats, Watch, Write};
    use crate::{ActionSet, Exposure, KeyPrefixes, NetworkList, Owner, Rule, Rules, UserName, Who};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn unix(uid: u32) -> Peer {
        Peer::unix(Owner { uid, gid: 100 })
    }

    fn networks(list: &[&str]) -> NetworkList {
        NetworkList::new(list.iter().map(|text| text.parse().unwrap())).unwrap()
    }

    /// `permit` of an action known only at run time.
    fn decide(
        guard: &Guard,
        access: &Access,
        action: Action,
        key: Option<&[u8]>,
    ) -> Result<(), Denial> {
        match action {
            Action::Read => guard.permit::<Read>(access, key).map(drop),
            Action::Write => guard.permit::<Write>(access, key).map(drop),
            Action::Delete => guard.permit::<Delete>(access, key).map(drop),
            Action::Flush => guard.permit::<Flush>(access, key).map(drop),
            Action::Stats => guard.permit::<Stats>(access, key).map(drop),
            Action::Dump => guard.permit::<Dump>(access, key).map(drop),
            Action::Watch => guard.permit::<Watch>(access, key).map(drop),
            Action::Admin => guard.permit::<Admin>(access, key).map(drop),
            Action::Shutdown => guard.permit::<Shutdown>(access, key).map(drop),
        }
    }

    #[test]
    fn an_admitted_peer_may_what_memcached_lets_it() {
        let guard = Guard::new(Policy::default());
        let access = guard.admit(&Peer::tcp(ip("10.0.0.1"))).unwrap();
        for action in Action::ALL {
            let answer = decide(&guard, &access, action, Some(b"k"));
            if action == Action::Shutdown {
                let denial = Denial::new(Response::ShutdownNotEnabled, Reason::ShutdownDisabled);
                assert_eq!(answer, Err(denial));
            } else {
                assert_eq!(answer, Ok(()), "{action}");
            }
        }
        let permit = guard.permit::<Read>(&access, Some(b"k")).unwrap();
        assert_eq!((permit.key(), permit.action()), (Some(b"k".as_slice()), Action::Read));
    }

    #[test]
    fn switches_refuse_in_memcached_s_words() {
        let guard = Guard::new(Policy {
            flush: false,
            dump: false,
            watch: false,
            shutdown: true,
            ..Policy::default()
        });
        let access = guard.admit(&unix(1000)).unwrap();
        let refused: Vec<_> = Action::ALL
            .into_iter()
            .filter_map(|action| Some((action, decide(&guard, &access, action, None).err()?)))
            .collect();
        assert_eq!(
            refused,
            [
                (Action::Flush, Denial::new(Response::FlushNotAllowed, Reason::FlushDisabled)),
                (Action::Dump, Denial::new(Response::DumpNotAllowed, Reason::DumpDisabled)),
                (Action::Watch, Denial::new(Response::WatchNotAllowed, Reason::WatchDisabled)),
            ]
        );
    }

    #[test]
    fn strangers_stay_outside_of_every_exposure_but_public() {
        let (host, lan, stranger) = (ip("::1"), ip("192.168.1.9"), ip("2001:db8::1"));
        let admitted = |exposure, allowed: &[&str]| {
            let policy = Policy { exposure, allowed: networks(allowed), ..Policy::default() };
            let guard = Guard::new(policy);
            [host, lan, stranger].map(|address| guard.admit(&Peer::tcp(address)).is_ok())
        };
        assert_eq!(admitted(Exposure::Loopback, &[]), [true, false, false]);
        assert_eq!(admitted(Exposure::Private, &[]), [true, true, false]);
        assert_eq!(admitted(Exposure::Public, &[]), [true, true, true]);
        assert_eq!(admitted(Exposure::Loopback, &["2001:db8::/32"]), [true, false, true]);
        assert_eq!(admitted(Exposure::Private, &["192.0.2.0/24"]), [true, true, false]);
    }

    #[test]
    fn a_refused_peer_is_closed_or_dropped() {
        let guard = Guard::new(Policy::default());
        let refused = |peer: Peer| guard.admit(&peer).unwrap_err();
        let stranger = ip("203.0.113.7");
        let close = Denial::new(Response::Close, Reason::PeerNotAllowed);
        assert_eq!(refused(Peer::tcp(stranger)), close);
        assert_eq!(refused(Peer::tcp(ip("::ffff:203.0.113.7"))), close);
        assert_eq!(
            refused(Peer::udp(stranger)),
            Denial::new(Response::Drop, Reason::PeerNotAllowed)
        );
        let narrow = Policy { exposure: Exposure::Loopback, ..Policy::default() };
        assert!(Guard::new(narrow).admit(&unix(0)).is_ok());
    }

    #[test]
    fn where_a_login_is_required_nobody_does_anything_before() {
        let guard = Guard::new(Policy { login_required: true, ..Policy::default() });
        let denied = Denial::new(Response::Unauthenticated, Reason::Unauthenticated);
        for peer in [Peer::tcp(ip("127.0.0.1")), unix(0), Peer::tcp(ip("10.0.0.1")).over_tls()] {
            let access = guard.admit(&peer).unwrap();
            for action in Action::ALL {
                assert_eq!(decide(&guard, &access, action, Some(b"k")), Err(denied), "{action}");
            }
            let user = peer.with_user(UserName::new("app").unwrap());
            let access = guard.admit(&user).unwrap();
            assert!(guard.permit::<Read>(&access, Some(b"k")).is_ok());
            let access = guard.admit(&access.peer().clone().without_user()).unwrap();
            assert_eq!(guard.permit::<Read>(&access, Some(b"k")).unwrap_err(), denied);
        }
    }

    #[test]
    fn where_tls_is_required_nobody_comes_in_without() {
        let guard = Guard::new(Policy { tls_required: true, ..Policy::default() });
        let refused = |peer: &Peer| guard.admit(peer).err();
        let (close, drop) = (Response::Close, Response::Drop);
        let host = Peer::tcp(ip("127.0.0.1"));
        assert_eq!(refused(&host), Some(Denial::new(close, Reason::TlsRequired)));
        assert_eq!(refused(&host.over_tls()), None);
        let datagram = Peer::udp(ip("127.0.0.1"));
        assert_eq!(refused(&datagram), Some(Denial::new(drop, Reason::TlsRequired)));
        assert_eq!(refused(&unix(1)), None);
    }

    fn tenant_policy() -> Policy {
        let data = [Action::Read, Action::Write, Action::Delete].into_iter().collect();
        let own = KeyPrefixes::new([b"shop:".as_slice(), b"s2:"]).unwrap();
        let tenant = || Who::Networks(networks(&["10.1.0.0/16"]));
        let rules = Rules::new([
            Rule { who: tenant(), actions: data, keys: Keys::Prefixes(own) },
            Rule { who: Who::User(1000), actions: ActionSet::ALL, keys: Keys::Every },
            Rule { who: tenant(), actions: ActionSet::ALL, keys: Keys::None },
            Rule {
                who: Who::User(1001),
                actions: ActionSet::NONE.with(Action::Flush),
                keys: Keys::Prefixes(KeyPrefixes::new([b"".as_slice()]).unwrap()),
            },
        ]);
        Policy { rules: rules.unwrap(), ..Policy::default() }
    }

    #[test]
    fn a_tenant_reaches_its_own_keys_alone() {
        let guard = Guard::new(tenant_policy());
        let access = guard.admit(&Peer::tcp(ip("10.1.2.3"))).unwrap();
        assert!(guard.permit::<Read>(&access, Some(b"shop:1")).is_ok());
        assert!(guard.permit::<Write>(&access, Some(b"s2:")).is_ok());
        let denied = Denial::new(Response::AccessDenied, Reason::RuleDenied);
        assert_eq!(guard.permit::<Read>(&access, Some(b"shop")).unwrap_err(), denied);
        assert_eq!(guard.permit::<Delete>(&access, Some(b"other:1")).unwrap_err(), denied);
        assert_eq!(guard.permit::<Read>(&access, None).unwrap_err(), denied);
        assert_eq!(guard.permit::<Stats>(&access, None).unwrap_err(), denied);
        assert_eq!(denied.as_miss(), Denial::new(Response::Miss, Reason::RuleDenied));

        let owner = guard.admit(&unix(1000)).unwrap();
        assert!(guard.permit::<Flush>(&owner, None).is_ok());
        let flusher = guard.admit(&unix(1001)).unwrap();
        assert_eq!(guard.permit::<Flush>(&flusher, None).unwrap_err(), denied);
        let other = guard.admit(&Peer::tcp(ip("10.2.0.1"))).unwrap();
        assert!(guard.permit::<Read>(&other, Some(b"shop:1")).is_ok());
    }

    #[test]
    fn no_rule_undoes_a_switch() {
        let guard = Guard::new(Policy { flush: false, ..tenant_policy() });
        let owner = guard.admit(&unix(1000)).unwrap();
        assert_eq!(guard.permit::<Flush>(&owner, None).unwrap_err().reason, Reason::FlushDisabled);
    }

    #[test]
    fn an_outdated_access_follows_the_new_policy() {
        let first = Guard::new(Policy::default());
        let access = first.admit(&Peer::tcp(ip("10.1.2.3"))).unwrap();
        let held = first.permit::<Write>(&access, Some(b"k")).unwrap();

        let second = first.successor(tenant_policy());
        assert!(!second.is_current(&access));
        assert_ne!(held.epoch(), second.epoch());
        assert!(second.permit::<Write>(&access, Some(b"k")).is_err());
        assert!(second.permit::<Write>(&access, Some(b"shop:1")).is_ok());

        let closed = Policy { exposure: Exposure::Loopback, ..Policy::default() };
        let third = second.successor(closed);
        let denial = third.permit::<Read>(&access, Some(b"k")).unwrap_err();
        assert_eq!(denial, Denial::new(Response::Close, Reason::PeerNotAllowed));
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let keys = prop_oneof![
            Just(Keys::Every),
            Just(Keys::None),
            prop::collection::vec("[ab]{0,2}", 0..3).prop_map(|prefixes| Keys::Prefixes(
                KeyPrefixes::new(prefixes.into_iter().map(String::into_bytes)).unwrap()
            )),
        ];
        let who = prop_oneof![
            Just(Who::Anyone),
            Just(Who::User(1)),
            Just(Who::Networks(networks(&["10.0.0.0/8"]))),
        ];
        let rule = (who, any::<u16>(), keys).prop_map(|(who, actions, keys)| {
            let chosen = |action: &Action| actions >> action.index() & 1 == 1;
            let actions = Action::ALL.into_iter().filter(chosen).collect();
            Rule { who, actions, keys }
        });
        let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (0usize..3, switches, prop::collection::vec(rule, 0..4)).prop_map(
            |(at, switches, rules)| {
                let (flush, dump, watch, shutdown) = switches;
                let rules = Rules::new(rules).unwrap();
                let allowed = NetworkList::default();
                Policy {
                    exposure: Exposure::ALL[at],
                    allowed,
                    flush,
                    dump,
                    watch,
                    shutdown,
                    rules,
                    ..Policy::default()
                }
            },
        )
    }

    fn any_peer() -> impl Strategy<Value = Peer> {
        let addresses = ["127.0.0.1", "10.0.0.1", "8.8.8.8", "::1", "fd00::1", "2001:db8::1"];
        prop_oneof![
            (0..addresses.len()).prop_map(move |at| Peer::tcp(ip(addresses[at]))),
            (0u32..3).prop_map(unix),
        ]
    }

    /// The policy read aloud, without verdicts, positions or epochs.
    fn naive(policy: &Policy, peer: &Peer, action: Action, key: Option<&[u8]>) -> bool {
        let on = match action {
            Action::Flush => policy.flush,
            Action::Dump => policy.dump,
            Action::Watch => policy.watch,
            Action::Shutdown => policy.shutdown,
            _ => true,
        };
        let near = peer.address().is_none_or(|address| {
            policy.exposure.admits(AddressClass::of(address)) || policy.allowed.contains(address)
        });
        let rules = policy.rules.about(peer, action).is_none_or(|(_, rule)| match &rule.keys {
            Keys::Every => true,
            Keys::None => false,
            Keys::Prefixes(prefixes) => key.is_some_and(|key| prefixes.contains(key)),
        });
        on && near && rules
    }

    proptest! {
        #[test]
        fn no_permit_without_the_policy_s_leave(
            policy in any_policy(),
            earlier in any_policy(),
            peer in any_peer(),
            key in prop::option::of("[abc]{0,3}"),
        ) {
            let key = key.as_deref().map(str::as_bytes);
            let first = Guard::new(earlier);
            let guard = first.successor(policy.clone());
            let fresh = guard.admit(&peer);
            for action in Action::ALL {
                let leave = naive(&policy, &peer, action, key);
                let given = fresh.as_ref().is_ok_and(|access| {
                    let answer = decide(&guard, access, action, key);
                    match access.verdict(action) {
                        Verdict::Always => assert!(answer.is_ok()),
                        Verdict::Never(denial) => assert_eq!(answer, Err(denial)),
                        Verdict::ByKey(_) => assert!(key.is_some() || answer.is_err()),
                    }
                    answer.is_ok()
                });
                prop_assert_eq!(given, leave, "{}", action);
                if let Ok(outdated) = first.admit(&peer) {
                    prop_assert_eq!(decide(&guard, &outdated, action, key).is_ok(), leave);
                }
            }
        }
    }
}
