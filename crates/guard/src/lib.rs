//! May this peer do this, now? Pure decisions: exposure, networks, identities, rules, budgets.
//!
//! ```text
//!   Peer --admit--> Access (one verdict per action, kept with the connection)
//!                      |
//!   command --permit---+--> Permit (the only key to the store)  or  Denial { response, reason }
//! ```
//!
//! A decision is a value. Whoever acts on the store needs a [`Permit`], and only
//! [`Guard::permit`] makes one; whoever is refused gets a [`Denial`] that says both what the peer
//! is told and why, to be counted once and explained to the operator.
//!
//! Invariants: no clock, no socket, no lock, no allocation per decision but one at the door; nothing a peer sends can
//! cause a panic; an IPv4 address is the same peer whether it comes bare or mapped into IPv6; what
//! cannot be decided is denied.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

#[macro_use]
mod catalogue;

mod access_list;
pub mod action;
mod address;
mod bans;
mod decision;
mod denial;
mod identity;
mod network;
mod permit;
mod policy;
mod prefixes;
mod rules;
pub mod udp;

pub use access_list::{AccessList, AccessListError};
pub use action::{Action, ActionKind, ActionSet};
pub use address::AddressClass;
pub use bans::{BanPolicy, Bans, Source};
pub use decision::{Because, Explanation, Verdict};
pub use denial::{Denial, Reason, Response};
pub use identity::{
    CERTIFICATE_NAME_BYTES_MAX, CERTIFICATE_NAMES_MAX, CertificateName, CertificateNames, Door,
    ListenerId, NameError, NameKind, Owner, Peer, USER_NAME_BYTES_MAX, UserName,
};
pub use network::{NETWORKS_MAX, NetworkError, NetworkList, NetworkPrefix, TooManyNetworks};
pub use permit::{Access, Guard, Permit};
pub use policy::{Exposure, ListenerTerms, Locality, Policy, Strangers};
pub use prefixes::{KEY_PREFIXES_MAX, KeyPrefixes, TooManyKeyPrefixes};
pub use rules::{
    Effect, Keys, RULES_MAX, Rule, RulePosition, Rules, TooManyNames, TooManyRules, WHO_NAMES_MAX,
    Who,
};
