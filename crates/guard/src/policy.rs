//! What the operator wants: who may connect, and what they may do.
//!
//! Invariants: nothing here can be wrong (lists parse into bounded types); the default admits
//! private networks and behaves as memcached does towards whoever is admitted.

use std::fmt;

use crate::{Action, ActionSet, AddressClass, KeyPrefixes, NetworkList, Peer};

/// From how far away peers are admitted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Exposure {
    /// This host alone.
    Loopback,
    /// Also private networks: RFC 1918, link-local, carrier NAT, unique local.
    #[default]
    Private,
    /// The whole internet, as memcached does. For those who have a wall of their own.
    Public,
}

impl Exposure {
    /// Every exposure, from narrow to wide.
    pub const ALL: [Self; 3] = [Self::Loopback, Self::Private, Self::Public];

    /// Whether addresses of that class are admitted.
    #[must_use]
    pub fn admits(self, class: AddressClass) -> bool {
        let farthest = match self {
            Self::Loopback => AddressClass::Loopback,
            Self::Private => AddressClass::Private,
            Self::Public => AddressClass::Public,
        };
        class <= farthest
    }

    /// The word for it in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Public => "public",
        }
    }

    /// The exposure of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }
}

/// The whole of what the operator wants.
#[derive(Clone, Debug)]
pub struct Policy {
    /// From how far away peers are admitted. UNIX sockets are always admitted: their file
    /// permissions have decided already.
    pub exposure: Exposure,
    /// Networks admitted beside the exposure. Adds, never takes away: to admit these alone, set
    /// the exposure to loopback; with a public exposure the list changes nothing.
    pub allowed: NetworkList,
    /// Nobody may do anything before logging in as a user.
    pub login_required: bool,
    /// TCP peers must speak TLS; UDP peers, who cannot, are refused. UNIX peers are exempt: their
    /// bytes do not leave the host.
    pub tls_required: bool,
    /// Whether `flush_all` works (memcached's `-F` switches it off).
    pub flush: bool,
    /// Whether keys may be listed (memcached's `-X` switches it off).
    pub dump: bool,
    /// Whether `watch` works (memcached's `-W` switches it off).
    pub watch: bool,
    /// Whether `shutdown` works (memcached's `-A` switches it on).
    pub shutdown: bool,
    /// Narrower rights for some peers. Rules come after the switches: none can undo one.
    pub rules: Rules,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            exposure: Exposure::default(),
            allowed: NetworkList::default(),
            login_required: false,
            tls_required: false,
            flush: true,
            dump: true,
            watch: true,
            shutdown: false,
            rules: Rules::default(),
        }
    }
}

/// Rules in one policy. Each costs a look at most once per connection and action.
pub const RULES_MAX: usize = 256;

/// More than [`RULES_MAX`] rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyRules;

impl fmt::Display for TooManyRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {RULES_MAX} rules")
    }
}

impl std::error::Error for TooManyRules {}

/// An ordered list of rules. The first that names both the peer and the action decides; where none
/// does, the action is allowed.
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

    /// The first rule about this peer and action, with its position.
    pub(crate) fn about(&self, peer: &Peer, action: Action) -> Option<(usize, &Rule)> {
        let about = |rule: &Rule| rule.actions.contains(action) && rule.who.is(peer);
        self.rules.iter().enumerate().find(|(_, rule)| about(rule))
    }

    /// The rule at a position.
    pub(crate) fn at(&self, position: usize) -> Option<&Rule> {
        self.rules.get(position)
    }
}

/// Which keys some peers may use in some actions.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Whom it is about.
    pub who: Who,
    /// What it is about.
    pub actions: ActionSet,
    /// What they may touch in doing so.
    pub keys: Keys,
}

/// Whom a rule is about.
#[derive(Clone, Debug)]
pub enum Who {
    /// Everybody.
    Anyone,
    /// Peers of these networks.
    Networks(NetworkList),
    /// Processes of this user, over a UNIX socket.
    User(u32),
}

impl Who {
    fn is(&self, peer: &Peer) -> bool {
        match self {
            Self::Anyone => true,
            Self::Networks(list) => peer.address().is_some_and(|address| list.contains(address)),
            Self::User(uid) => peer.owner().is_some_and(|owner| owner.uid == *uid),
        }
    }
}

/// Which keys a rule allows.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Every key, and actions without a key.
    Every,
    /// None: the action is denied.
    None,
    /// Keys that begin so. Actions without a key are denied.
    Prefixes(KeyPrefixes),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposures_nest_and_have_names() {
        use AddressClass::{Loopback, Private, Public};
        let admitted =
            |exposure: Exposure| [Loopback, Private, Public].map(|class| exposure.admits(class));
        assert_eq!(admitted(Exposure::Loopback), [true, false, false]);
        assert_eq!(admitted(Exposure::Private), [true, true, false]);
        assert_eq!(admitted(Exposure::Public), [true, true, true]);
        for exposure in Exposure::ALL {
            assert_eq!(Exposure::named(exposure.name()), Some(exposure));
        }
        assert_eq!(Exposure::named("internet"), None);
    }

    #[test]
    fn rules_have_a_bound() {
        let rule = Rule { who: Who::Anyone, actions: ActionSet::ALL, keys: Keys::Every };
        assert!(Rules::new(vec![rule.clone(); RULES_MAX]).is_ok());
        assert_eq!(Rules::new(std::iter::repeat(rule)).unwrap_err(), TooManyRules);
    }
}
