//! Would the host's own packet filter let a stranger's packet through?
//!
//! ```text
//! nft -j list ruleset --> nft      --+
//! iptables-save ------> iptables --+--> Ruleset --evaluate(Packet)--> Fate {passes, dropped, why}
//! ```
//!
//! A stranger is any address of the internet that is not one of the few that rules name
//! (`strangers`).
//!
//! A packet has a fate, or two possible ones: where a rule cannot be followed (a rate limit, a mark,
//! an extension) both ways are walked and both fates are kept, which is what UNKNOWN means.
//!
//! Invariants:
//! - Pure: text in, fates out. Nothing is run and no file is read here.
//! - What is not understood is never taken for a drop: it adds the other fate.
//! - Every walk ends: depth and steps are bounded, and reaching a bound adds both fates.

mod addresses;
mod conditions;
mod evaluate;
pub mod iptables;
pub mod nft;
mod packet;
mod rules;
mod strangers;
#[cfg(test)]
mod tests;

pub use addresses::Addresses;
pub(crate) use addresses::inside;
pub(crate) use conditions::is_inner;
pub use evaluate::{Deciding, Fate, evaluate};
pub use packet::{Packet, Path, Transport};
pub use rules::{Action, Chain, Condition, Family, Hook, Layer, Rule, Ruleset, Test};
