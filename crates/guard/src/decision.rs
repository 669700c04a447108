//! How the guard decides, and what decided. The server asks for the verdict and `kannuki explain
//! access` for the cause; both come from the functions here.
//!
//! ```text
//!   at the door   UNIX socket | deny and allow lists | exposure, terms for strangers | TLS
//!   each action   log-in | proof of strangers | switches | rules | default
//!   each key      rules that name keys
//! ```
//!
//! Invariants: every decision has exactly one cause; what cannot be decided is denied; nothing here
//! allocates but the list of the rules that name a peer, once per connection.

use crate::policy::{ListenerTerms, Locality, Policy, Strangers};
use crate::rules::{First, Keys, RulePosition};
use crate::{Action, AddressClass, Denial, Door, Exposure, NetworkPrefix, Peer, Reason, Response};

/// What decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Because {
    /// The peer came by a UNIX socket, whose file permissions have decided.
    UnixSocket,
    /// The longest network in the lists that contains the address.
    Network {
        /// That network.
        network: NetworkPrefix,
        /// Whether it is allowed.
        allowed: bool,
        /// Whether it stands in the listener's own list.
        own: bool,
    },
    /// No list names the address: how far away it is decided.
    Exposure {
        /// What is admitted.
        exposure: Exposure,
        /// What the address is.
        class: AddressClass,
        /// Whether the exposure is the listener's own.
        own: bool,
    },
    /// A public exposure takes an address that no list allows only on terms.
    Strangers(Strangers),
    /// A proxy says that its client is on this host, and is not believed that.
    ProxiedLoopback,
    /// TLS is required.
    TlsRequired,
    /// A log-in is required.
    LoginRequired,
    /// One of the switches for this action.
    Switch(Action),
    /// This rule names peer, action and key.
    Rule(RulePosition),
    /// This rule allows peer and action for other keys, and no later one for this.
    BeyondKeys(RulePosition),
    /// No rule names peer and action.
    Default(Locality),
}

/// Everything that decided about one request, from the door to the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// What decided at the door.
    pub door: Because,
    /// What decided about the action; none if the peer did not come in.
    pub action: Option<Because>,
    /// The refusal; none if it is allowed.
    pub denial: Option<Denial>,
}

/// A decision with its cause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruling {
    pub(crate) because: Because,
    pub(crate) denial: Option<Denial>,
}

impl Ruling {
    const fn allowed(because: Because) -> Self {
        Self { because, denial: None }
    }

    const fn denied(because: Because, response: Response, reason: Reason) -> Self {
        Self { because, denial: Some(Denial::new(response, reason)) }
    }
}

/// What is decided about one action of one connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Allowed, whatever the key.
    Always,
    /// Denied, whatever the key.
    Never(Denial),
    /// For the rules that name the peer to say, which look at the key.
    ByKey,
}

impl Policy {
    /// Whether a peer may come in at all.
    pub(crate) fn admission(&self, peer: &Peer) -> Ruling {
        let Some(address) = peer.address() else { return Ruling::allowed(Because::UnixSocket) };
        let out = match peer.door() {
            Door::Udp => Response::Drop,
            Door::Tcp | Door::Unix => Response::Close,
        };
        let class = AddressClass::of(address);
        if peer.is_proxied() && class == AddressClass::Loopback && !self.proxied_loopback {
            return Ruling::denied(Because::ProxiedLoopback, out, Reason::ProxiedLoopback);
        }
        let terms = self.terms(peer.listener());
        let ruling = match self.longest(terms, address) {
            Some(because @ Because::Network { allowed: false, .. }) => {
                Ruling::denied(because, out, Reason::PeerDenied)
            }
            Some(because) => Ruling::allowed(because),
            None => self.by_distance(terms, class, peer, out),
        };
        if ruling.denial.is_none() && self.tls_required && !peer.is_encrypted() {
            return Ruling::denied(Because::TlsRequired, out, Reason::TlsRequired);
        }
        ruling
    }

    /// The longest network in the lists of the listener and of all.
    fn longest(&self, terms: Option<&ListenerTerms>, address: std::net::IpAddr) -> Option<Because> {
        let because = |own| move |(network, allowed)| Because::Network { network, allowed, own };
        let own = terms.and_then(|terms| terms.networks.longest(address));
        let all = self.networks.longest(address);
        match (own, all) {
            (Some(own), Some(all)) if all.0.bits() > own.0.bits() => Some(because(false)(all)),
            (Some(own), _) => Some(because(true)(own)),
            (None, all) => all.map(because(false)),
        }
    }

    fn by_distance(
        &self,
        terms: Option<&ListenerTerms>,
        class: AddressClass,
        peer: &Peer,
        out: Response,
    ) -> Ruling {
        let own = terms.and_then(|terms| terms.exposure);
        let exposure = own.unwrap_or(self.exposure);
        let because = Because::Exposure { exposure, class, own: own.is_some() };
        if !exposure.admits(class) {
            return Ruling::denied(because, out, Reason::PeerNotAllowed);
        }
        let terms = Because::Strangers(self.strangers);
        match (class, self.strangers) {
            (AddressClass::Loopback | AddressClass::Private, _) | (_, Strangers::Anyone) => {
                Ruling::allowed(because)
            }
            (_, Strangers::Never) => Ruling::denied(terms, out, Reason::PeerNotAllowed),
            (_, Strangers::Proven) if peer.is_encrypted() => Ruling::allowed(terms),
            (_, Strangers::Proven) => Ruling::denied(terms, out, Reason::TlsRequired),
        }
    }

    /// What a peer that came in because of `door` may do. The cause is final unless the verdict is
    /// [`Verdict::ByKey`].
    pub(crate) fn verdict(
        &self,
        door: Because,
        peer: &Peer,
        naming: &[RulePosition],
        action: Action,
    ) -> (Verdict, Because) {
        let unproven = peer.user().is_none() && peer.certificate().is_none();
        if self.login_required && peer.user().is_none() {
            return (Verdict::Never(UNAUTHENTICATED), Because::LoginRequired);
        }
        if unproven && matches!(door, Because::Strangers(_)) {
            return (Verdict::Never(UNAUTHENTICATED), door);
        }
        if let Some(denial) = self.switched_off(action) {
            return (Verdict::Never(denial), Because::Switch(action));
        }
        match self.rules.about(naming, action).next() {
            Some((position, rule)) if matches!(rule.keys, Keys::Beginning(_)) => {
                (Verdict::ByKey, Because::Rule(position))
            }
            _ => {
                let ruling = self.by_rules(peer, naming, action, None);
                (ruling.denial.map_or(Verdict::Always, Verdict::Never), ruling.because)
            }
        }
    }

    /// What the rules that name a peer say, and the default behind them.
    pub(crate) fn by_rules(
        &self,
        peer: &Peer,
        naming: &[RulePosition],
        action: Action,
        key: Option<&[u8]>,
    ) -> Ruling {
        let denied = |because| Ruling::denied(because, Response::AccessDenied, Reason::RuleDenied);
        match self.rules.first(naming, action, key) {
            First::Allows(position) => return Ruling::allowed(Because::Rule(position)),
            First::Denies(position) => return denied(Because::Rule(position)),
            First::AllowsOthers(position) => return denied(Because::BeyondKeys(position)),
            First::Silent => {}
        }
        let locality = self.locality(peer);
        if locality.may(action) {
            return Ruling::allowed(Because::Default(locality));
        }
        Ruling::denied(Because::Default(locality), Response::AccessDenied, Reason::RemoteDefault)
    }

    /// Whether a peer counts as one of this host.
    #[must_use]
    pub fn locality(&self, peer: &Peer) -> Locality {
        let local = match peer.address() {
            None => true,
            Some(address) => {
                AddressClass::of(address) == AddressClass::Loopback
                    && (!peer.is_proxied() || self.proxied_loopback)
            }
        };
        if local { Locality::Local } else { Locality::Remote }
    }

    fn switched_off(&self, action: Action) -> Option<Denial> {
        let (allowed, response, reason) = match action {
            Action::Flush => (self.flush, Response::FlushNotAllowed, Reason::FlushDisabled),
            Action::Dump => (self.dump, Response::DumpNotAllowed, Reason::DumpDisabled),
            Action::Watch => (self.watch, Response::WatchNotAllowed, Reason::WatchDisabled),
            Action::Shutdown => {
                (self.shutdown, Response::ShutdownNotEnabled, Reason::ShutdownDisabled)
            }
            Action::Read | Action::Write | Action::Delete | Action::Stats | Action::Admin => {
                return None;
            }
        };
        (!allowed).then_some(Denial::new(response, reason))
    }

    /// Who decides about one request, and how: the same steps as for a connection.
    pub(crate) fn explain(&self, peer: &Peer, action: Action, key: Option<&[u8]>) -> Explanation {
        let door = self.admission(peer);
        if door.denial.is_some() {
            return Explanation { door: door.because, action: None, denial: door.denial };
        }
        let naming = self.rules.naming(peer);
        let (verdict, because) = self.verdict(door.because, peer, &naming, action);
        let ruling = match verdict {
            Verdict::Always => Ruling::allowed(because),
            Verdict::Never(denial) => Ruling { because, denial: Some(denial) },
            Verdict::ByKey => self.by_rules(peer, &naming, action, key),
        };
        Explanation { door: door.because, action: Some(ruling.because), denial: ruling.denial }
    }
}

pub(crate) const UNAUTHENTICATED: Denial =
    Denial::new(Response::Unauthenticated, Reason::Unauthenticated);
