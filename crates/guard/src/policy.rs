//! What the operator wants: who may connect, and what they may do.
//!
//! Invariants: nothing here can be wrong (lists parse into bounded types); the default admits
//! private networks, lets local peers do what memcached does, and keeps from all others what
//! concerns the cache as a whole.

use std::fmt;

use crate::{AccessList, Action, AddressClass, ListenerId, NetworkList, Rules};

/// From how far away peers are admitted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Exposure {
    /// This host alone.
    Loopback,
    /// Also private networks: RFC 1918, link-local, carrier NAT, unique local.
    #[default]
    Private,
    /// The whole internet, as far as [`Strangers`] says.
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

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// On which terms a public exposure admits peers of public addresses that no list allows.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Strangers {
    /// Not at all: being in the list is the way in.
    #[default]
    Never,
    /// Over TLS, and they may do nothing before they prove who they are: by logging in, or by a
    /// certificate.
    Proven,
    /// As they come. For those who have a wall of their own.
    Anyone,
}

/// What one listener wants otherwise than the rest.
#[derive(Clone, Debug, Default)]
pub struct ListenerTerms {
    /// Its own exposure.
    pub exposure: Option<Exposure>,
    /// Networks allowed and denied here, besides those of all listeners. The longest prefix in
    /// both decides; of two equal ones this one.
    pub networks: AccessList,
    /// Its own proxies; see [`Policy::proxies`].
    pub proxies: Option<NetworkList>,
}

/// The whole of what the operator wants.
#[derive(Clone, Debug)]
pub struct Policy {
    /// From how far away peers are admitted where no list decides. UNIX sockets are always
    /// admitted: their file permissions have decided already.
    pub exposure: Exposure,
    /// Networks that are admitted or refused whatever the exposure; the longest prefix decides.
    pub networks: AccessList,
    /// On which terms a public exposure takes those whom no list names.
    pub strangers: Strangers,
    /// Listeners with terms of their own, by [`ListenerId`].
    pub listeners: Box<[ListenerTerms]>,
    /// Networks of proxies that tell the address of their clients by the PROXY protocol. Where
    /// there are any, nobody else may connect by TCP, and every connection must begin so.
    pub proxies: NetworkList,
    /// Believe a proxy that says its client is on this very host. Else such a client is taken for
    /// one of the internet: from a proxy on another host "127.0.0.1" means that host.
    pub proxied_loopback: bool,
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
    /// Who may do what. Rules come after the switches: none can undo one.
    pub rules: Rules,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            exposure: Exposure::default(),
            networks: AccessList::default(),
            strangers: Strangers::default(),
            listeners: Box::default(),
            proxies: NetworkList::default(),
            proxied_loopback: false,
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

impl Policy {
    /// The terms of a listener; most have none.
    pub(crate) fn terms(&self, listener: ListenerId) -> Option<&ListenerTerms> {
        self.listeners.get(usize::from(listener.0))
    }

    /// The proxies that a listener takes addresses from; none if it takes none.
    #[must_use]
    pub fn proxies_at(&self, listener: ListenerId) -> Option<&NetworkList> {
        let own = self.terms(listener).and_then(|terms| terms.proxies.as_ref());
        Some(own.unwrap_or(&self.proxies)).filter(|proxies| !proxies.is_empty())
    }
}

/// Whether a peer is on this host. Where no rule says otherwise, it decides what a peer may do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Locality {
    /// On this host, as far as the kernel knows: whoever comes through a proxy or a translated
    /// address on this host looks so too.
    Local,
    /// Anywhere else.
    Remote,
}

impl Locality {
    /// What peers may do about whom no rule says anything: all that memcached lets them, or only
    /// what concerns items they can name.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        match action {
            Action::Read | Action::Write | Action::Delete | Action::Stats => true,
            Action::Flush | Action::Dump | Action::Watch | Action::Admin | Action::Shutdown => {
                self == Self::Local
            }
        }
    }
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
    fn a_listener_s_own_proxies_count_more() {
        let list = |text: &str| NetworkList::new([text.parse().unwrap()]).unwrap();
        let own = ListenerTerms { proxies: Some(list("10.0.0.1")), ..ListenerTerms::default() };
        let none = ListenerTerms { proxies: Some(NetworkList::default()), ..Default::default() };
        let policy = Policy {
            proxies: list("10.0.0.2"),
            listeners: Box::new([own, none, ListenerTerms::default()]),
            ..Policy::default()
        };
        let first = |id| policy.proxies_at(ListenerId(id)).map(|list| list.iter().next().unwrap());
        assert_eq!(first(0), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(first(1), None);
        assert_eq!(first(2), Some("10.0.0.2".parse().unwrap()));
        assert_eq!(first(9), Some("10.0.0.2".parse().unwrap()));
    }
}
