//! Rules: who may do what, with which keys.
//!
//! ```text
//!   peer, action, key --> the first rule that names all three --> allow or deny
//!                     \-> only rules that allow other keys    --> deny
//!                     \-> no rule names peer and action       --> the default
//! ```
//!
//! An allowance for some keys is a limit: "may read sess:" says that other keys may not be read,
//! unless a later rule allows them. A denial of some keys says nothing about others.
//!
//! Invariants: rules are few and bounded; which rule decides depends on their order alone.

use std::fmt;
use std::sync::Arc;

use crate::prefixes::Headed;
use crate::{Action, ActionSet, CertificateName, KeyPrefixes, NetworkList, Peer, UserName};

/// Rules in one policy. Each costs a look at most once per connection and action, and once more
/// per key where keys are named.
pub const RULES_MAX: usize = 256;

/// Users, certificates, uids or gids that one rule can name, each.
pub const WHO_NAMES_MAX: usize = 1024;

/// More than [`RULES_MAX`] rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyRules;

impl fmt::Display for TooManyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {RULES_MAX} rules")
    }
}

impl std::error::Error for TooManyRules {}

/// An ordered list of rules.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Box<[Rule]>,
}

impl Rules {
    /// Rules, in the order in which they are asked.
    ///
    /// # Errors
    /// [`TooManyRules`] when more than [`RULES_MAX`] are given.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self, TooManyRules> {
        let rules: Box<[Rule]> = rules.into_iter().take(RULES_MAX + 1).collect();
        if rules.len() > RULES_MAX { Err(TooManyRules) } else { Ok(Self { rules }) }
    }

    /// The rules, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Rule] {
        &self.rules
    }

    /// Where the rules stand that name this peer: networks and names are looked up here, once, and
    /// not for every key.
    pub(crate) fn naming(&self, peer: &Peer) -> Arc<[RulePosition]> {
        let positions = (0..).map(RulePosition).zip(self.rules.iter());
        positions.filter(|(_, rule)| rule.who.names(peer)).map(|(position, _)| position).collect()
    }

    /// Of the rules that name a peer, those about this action, in their order.
    pub(crate) fn about<'r>(
        &'r self,
        naming: &'r [RulePosition],
        action: Action,
    ) -> impl Iterator<Item = (RulePosition, &'r Rule)> {
        let rules = naming.iter().filter_map(|at| Some((*at, self.rules.get(at.index())?)));
        rules.filter(move |(_, rule)| rule.actions.contains(action))
    }

    /// Whether of the rules that name a peer the first that decides about this action and key
    /// allows it: what [`Self::first`] says, without the place. Asked for every key where rules
    /// have prefixes.
    #[inline]
    pub(crate) fn allow(
        &self,
        naming: &[RulePosition],
        action: Action,
        key: Option<&[u8]>,
    ) -> bool {
        let key = key.map(Headed::new);
        for at in naming {
            let Some(rule) = self.rules.get(at.index()) else { return false };
            if rule.actions.contains(action) && rule.decides(key) {
                return rule.effect == Effect::Allow;
            }
        }
        false
    }

    /// Of the rules that name a peer, the first that decides about this action and key, and where
    /// it stands.
    pub(crate) fn first(
        &self,
        naming: &[RulePosition],
        action: Action,
        key: Option<&[u8]>,
    ) -> First {
        let key = key.map(Headed::new);
        let mut limit = First::Silent;
        for (position, rule) in self.about(naming, action) {
            match rule.effect {
                Effect::Allow if rule.decides(key) => return First::Allows(position),
                Effect::Deny if rule.decides(key) => return First::Denies(position),
                Effect::Allow if limit == First::Silent => limit = First::AllowsOthers(position),
                Effect::Allow | Effect::Deny => {}
            }
        }
        limit
    }
}

/// What the first rule that decides says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum First {
    /// It allows.
    Allows(RulePosition),
    /// It denies.
    Denies(RulePosition),
    /// None decides, but this is the first that allows other keys.
    AllowsOthers(RulePosition),
    /// No rule says anything.
    Silent,
}

/// A place in the list of rules, from 0.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RulePosition(pub(crate) u16);

const _: () = assert!(RULES_MAX <= u16::MAX as usize);

impl RulePosition {
    /// The position in [`Rules::as_slice`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Whom it is about.
    pub who: Who,
    /// What it is about.
    pub actions: ActionSet,
    /// Which keys it is about.
    pub keys: Keys,
    /// What it says about them.
    pub effect: Effect,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
}

impl Rule {
    /// Whether it decides about this key, or about an action without one. What concerns all keys
    /// at once concerns those that a denial names, and is more than an allowance of some names.
    #[inline]
    pub(crate) fn decides(&self, key: Option<Headed<'_>>) -> bool {
        match (&self.keys, key) {
            (Keys::Every, _) => true,
            (Keys::Beginning(prefixes), Some(key)) => prefixes.begin(key),
            (Keys::Beginning(_), None) => self.effect == Effect::Deny,
        }
    }
}

/// Which keys a rule is about.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Every key, and actions without a key.
    Every,
    /// Keys that begin so.
    Beginning(KeyPrefixes),
}

/// More than [`WHO_NAMES_MAX`] names of one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyNames;

impl fmt::Display for TooManyNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {WHO_NAMES_MAX} names of one kind in one rule")
    }
}

impl std::error::Error for TooManyNames {}

/// Whom a rule is about: a peer that has one of each kind that is named. Nothing named is anyone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Who {
    networks: Option<NetworkList>,
    users: Option<Box<[UserName]>>,
    certificates: Option<Box<[CertificateName]>>,
    uids: Option<Box<[u32]>>,
    gids: Option<Box<[u32]>>,
}

impl Who {
    /// Everybody.
    #[must_use]
    pub fn anyone() -> Self {
        Self::default()
    }

    /// Of these, whoever has an address in `networks`: by TCP, UDP, or told by a proxy.
    #[must_use]
    pub fn in_networks(mut self, networks: NetworkList) -> Self {
        self.networks = Some(networks);
        self
    }

    /// Of these, whoever has logged in as one of `users`.
    ///
    /// # Errors
    /// More than [`WHO_NAMES_MAX`].
    pub fn logged_in_as(
        mut self,
        users: impl IntoIterator<Item = UserName>,
    ) -> Result<Self, TooManyNames> {
        self.users = Some(sorted(users)?);
        Ok(self)
    }

    /// Of these, whoever has a verified certificate with one of these names.
    ///
    /// # Errors
    /// More than [`WHO_NAMES_MAX`].
    pub fn with_certificate(
        mut self,
        names: impl IntoIterator<Item = CertificateName>,
    ) -> Result<Self, TooManyNames> {
        self.certificates = Some(sorted(names)?);
        Ok(self)
    }

    /// Of these, processes of one of these users, over a UNIX socket.
    ///
    /// # Errors
    /// More than [`WHO_NAMES_MAX`].
    pub fn run_by(mut self, uids: impl IntoIterator<Item = u32>) -> Result<Self, TooManyNames> {
        self.uids = Some(sorted(uids)?);
        Ok(self)
    }

    /// Of these, processes of one of these effective groups, over a UNIX socket.
    ///
    /// # Errors
    /// More than [`WHO_NAMES_MAX`].
    pub fn of_groups(mut self, gids: impl IntoIterator<Item = u32>) -> Result<Self, TooManyNames> {
        self.gids = Some(sorted(gids)?);
        Ok(self)
    }

    /// Whether the peer is meant.
    #[must_use]
    pub fn names(&self, peer: &Peer) -> bool {
        let network = |list: &NetworkList| peer.address().is_some_and(|ip| list.contains(ip));
        let user = |list: &[UserName]| peer.user().is_some_and(|user| is_in(list, user));
        let certificate = |list: &[CertificateName]| {
            peer.certificate().is_some_and(|shown| shown.iter().any(|name| is_in(list, name)))
        };
        let uid = |list: &[u32]| peer.owner().is_some_and(|owner| is_in(list, &owner.uid));
        let gid = |list: &[u32]| peer.owner().is_some_and(|owner| is_in(list, &owner.gid));
        self.networks.as_ref().is_none_or(network)
            && self.users.as_deref().is_none_or(user)
            && self.certificates.as_deref().is_none_or(certificate)
            && self.uids.as_deref().is_none_or(uid)
            && self.gids.as_deref().is_none_or(gid)
    }
}

fn sorted<N: Ord>(names: impl IntoIterator<Item = N>) -> Result<Box<[N]>, TooManyNames> {
    let mut names: Vec<N> = names.into_iter().take(WHO_NAMES_MAX + 1).collect();
    if names.len() > WHO_NAMES_MAX {
        return Err(TooManyNames);
    }
    names.sort_unstable();
    Ok(names.into_boxed_slice())
}

fn is_in<N: Ord>(sorted: &[N], name: &N) -> bool {
    sorted.binary_search(name).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{CertificateNames, Owner};

    /// One of few prefixes, effects and sets of actions, so that rules overlap.
    fn any_rule() -> impl Strategy<Value = Rule> {
        let prefixes = prop::sample::subsequence(vec!["", "a:", "ab", "a:b:", "z"], 0..4);
        (prop::option::of(prefixes), 0..4_usize, any::<bool>()).prop_map(
            |(keys, actions, allows)| {
                let prefixes = |keys: Vec<&str>| {
                    let keys = keys.into_iter().map(|key| key.as_bytes());
                    Keys::Beginning(KeyPrefixes::new(keys).unwrap())
                };
                let sets = [&[Action::Read][..], &[Action::Write], &[Action::Read, Action::Flush]];
                let actions =
                    sets.get(actions).map_or(ActionSet::ALL, |set| set.iter().copied().collect());
                let effect = if allows { Effect::Allow } else { Effect::Deny };
                Rule {
                    who: Who::anyone(),
                    actions,
                    keys: keys.map_or(Keys::Every, prefixes),
                    effect,
                }
            },
        )
    }

    proptest! {
        /// The quick question and the one that knows the place are one decision.
        #[test]
        fn a_rule_allows_where_the_first_that_decides_allows(
            rules in prop::collection::vec(any_rule(), 0..6),
            key in prop::sample::select(vec![None, Some(""), Some("a"), Some("a:b:c"), Some("zz")]),
        ) {
            let rules = Rules::new(rules).unwrap();
            let naming = rules.naming(&Peer::tcp("10.0.0.1".parse().unwrap()));
            let key = key.map(str::as_bytes);
            for action in Action::ALL {
                let first = rules.first(&naming, action, key);
                let allows = rules.allow(&naming, action, key);
                prop_assert_eq!(allows, matches!(first, First::Allows(_)), "{:?}", first);
            }
        }
    }

    #[test]
    fn rules_have_a_bound() {
        let rule = Rule {
            who: Who::anyone(),
            actions: ActionSet::ALL,
            keys: Keys::Every,
            effect: Effect::Allow,
        };
        assert!(Rules::new(vec![rule.clone(); RULES_MAX]).is_ok());
        assert_eq!(Rules::new(std::iter::repeat(rule)).unwrap_err(), TooManyRules);
        assert!(Who::anyone().run_by(0..).is_err());
        assert!(Who::anyone().run_by(0..WHO_NAMES_MAX as u32).is_ok());
    }

    #[test]
    fn a_peer_is_named_when_all_kinds_fit() {
        let tcp = Peer::tcp("10.0.0.1".parse().unwrap());
        let app = UserName::new("app").unwrap();
        let networks = NetworkList::new(["10.0.0.0/8".parse().unwrap()]).unwrap();
        let who = Who::anyone().in_networks(networks.clone());
        assert!(who.names(&tcp) && who.names(&Peer::proxied("10.0.0.2".parse().unwrap())));
        assert!(!who.names(&Peer::tcp("11.0.0.1".parse().unwrap())));
        assert!(!who.names(&Peer::unix(Owner { uid: 0, gid: 0 })));

        let both = who.logged_in_as([UserName::new("zoe").unwrap(), app.clone()]).unwrap();
        assert!(!both.names(&tcp), "not logged in");
        assert!(both.names(&tcp.clone().with_user(app.clone())));
        assert!(!both.names(&Peer::tcp("11.0.0.1".parse().unwrap()).with_user(app)));

        let name = |text: &str| text.parse::<CertificateName>().unwrap();
        let certified = Who::anyone().with_certificate([name("dns:app.example")]).unwrap();
        let shown = CertificateNames::new([name("cn:x"), name("dns:app.example")]).unwrap();
        assert!(certified.names(&tcp.clone().with_certificate(shown)));
        assert!(!certified.names(&tcp));

        let unix = |uid, gid| Peer::unix(Owner { uid, gid });
        let owner = Who::anyone().run_by([1000, 33]).unwrap().of_groups([100]).unwrap();
        assert!(owner.names(&unix(33, 100)));
        assert!(!owner.names(&unix(33, 1)) && !owner.names(&unix(1, 100)) && !owner.names(&tcp));
        assert!(!Who::anyone().run_by([]).unwrap().names(&unix(0, 0)), "an empty list is nobody");
        assert!(Who::anyone().names(&tcp));
    }
}
