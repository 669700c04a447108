//! Networks that are allowed and networks that are denied, in one list where the longest prefix
//! decides.
//!
//! ```text
//!   allow 10.0.0.0/8 --- deny 10.6.0.0/16 --- allow 10.6.0.7
//! ```
//!
//! Invariants: sorted by address, then by length, so the last network that starts at or before an
//! address either contains it or lies inside whatever does; each knows the next wider network
//! around it. No network is both allowed and denied: which of the two was meant cannot be known.

use std::fmt;
use std::net::IpAddr;

use crate::{NETWORKS_MAX, NetworkPrefix, TooManyNetworks};

/// Why two lists make no sense together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AccessListError {
    /// Too many in both together.
    TooMany(TooManyNetworks),
    /// The same network is allowed and denied.
    Contradiction(NetworkPrefix),
}

impl fmt::Display for AccessListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(error) => error.fmt(f),
            Self::Contradiction(network) => {
                write!(f, "{network} is both allowed and denied; keep one of them")
            }
        }
    }
}

impl std::error::Error for AccessListError {}

/// Allowed and denied networks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccessList {
    members: Box<[Member]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Member {
    network: NetworkPrefix,
    allowed: bool,
    /// Position of the narrowest network around this one, `u32::MAX` for none.
    around: u32,
}

/// No network is around this one.
const NONE: u32 = u32::MAX;
const _: () = assert!(NETWORKS_MAX < NONE as usize);

impl AccessList {
    /// A list of both, each in any order, overlapping or not.
    ///
    /// # Errors
    /// More than [`NETWORKS_MAX`] in both together, or one network in both.
    pub fn new(
        allow: impl IntoIterator<Item = NetworkPrefix>,
        deny: impl IntoIterator<Item = NetworkPrefix>,
    ) -> Result<Self, AccessListError> {
        let member = |allowed| move |network| Member { network, allowed, around: NONE };
        let both = allow.into_iter().map(member(true)).chain(deny.into_iter().map(member(false)));
        let mut members: Vec<Member> = both.take(NETWORKS_MAX + 1).collect();
        if members.len() > NETWORKS_MAX {
            return Err(AccessListError::TooMany(TooManyNetworks));
        }
        members.sort_unstable_by_key(|member| (member.network, member.allowed));
        members.dedup_by_key(|member| (member.network, member.allowed));
        let twice = members.windows(2).find_map(|pair| match pair {
            [one, other] if one.network == other.network => Some(one.network),
            _ => None,
        });
        if let Some(network) = twice {
            return Err(AccessListError::Contradiction(network));
        }
        nest(&mut members);
        Ok(Self { members: members.into_boxed_slice() })
    }

    /// The longest network that contains `address`, and whether it is allowed. Mapped addresses
    /// count as IPv4.
    #[must_use]
    pub fn longest(&self, address: IpAddr) -> Option<(NetworkPrefix, bool)> {
        let address = address.to_canonical();
        let after = self.members.partition_point(|member| member.network.address() <= address);
        let mut at = after.checked_sub(1)?;
        // Ends: each step goes to a wider network, of which an address has 129 at the most.
        loop {
            let member = self.members.get(at)?;
            if member.network.contains(address) {
                return Some((member.network, member.allowed));
            }
            at = member.around as usize;
        }
    }

    /// Whether nothing is allowed and nothing is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether any network is allowed.
    #[must_use]
    pub fn allows_any(&self) -> bool {
        self.members.iter().any(|member| member.allowed)
    }
}

/// Tells each network which one is next around it.
fn nest(members: &mut [Member]) {
    // The networks that contain the one looked at, the narrowest last: at most 129.
    let mut open: Vec<u32> = Vec::new();
    for at in 0..members.len() {
        let Some(network) = members.get(at).map(|member| member.network) else { return };
        let contains = |outer: &u32| {
            let outer = members.get(*outer as usize);
            outer.is_some_and(|outer| outer.network.contains(network.address()))
        };
        while open.last().is_some_and(|outer| !contains(outer)) {
            open.pop();
        }
        let around = open.last().copied().unwrap_or(NONE);
        if let Some(member) = members.get_mut(at) {
            member.around = around;
        }
        open.push(u32::try_from(at).unwrap_or(NONE));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> NetworkPrefix {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn list(allow: &[&str], deny: &[&str]) -> Result<AccessList, AccessListError> {
        AccessList::new(allow.iter().map(|t| network(t)), deny.iter().map(|t| network(t)))
    }

    #[test]
    fn the_longest_decides_and_siblings_do_not_hide_what_is_around() {
        let list =
            list(&["10.0.0.0/8", "10.6.0.7", "::/0"], &["10.6.0.0/16", "fd00::/8", "10.9.0.1"]);
        let list = list.unwrap();
        let found = |text: &str| {
            let found = list.longest(text.parse().unwrap());
            found.map(|(network, allowed)| (network.to_string(), allowed))
        };
        let is = |text: &str, allowed| Some((text.to_owned(), allowed));
        assert_eq!(found("10.1.2.3"), is("10.0.0.0/8", true));
        assert_eq!(found("10.6.1.1"), is("10.6.0.0/16", false));
        assert_eq!(found("::ffff:10.6.0.7"), is("10.6.0.7", true));
        assert_eq!(found("10.6.0.8"), is("10.6.0.0/16", false), "behind the host in it");
        assert_eq!(found("10.9.0.2"), is("10.0.0.0/8", true), "behind a host that ended");
        assert_eq!(found("9.9.9.9"), None);
        assert_eq!(found("11.0.0.0"), None);
        assert_eq!(found("fd00::1"), is("fd00::/8", false));
        assert_eq!(found("2001:db8::1"), is("::/0", true));
    }

    #[test]
    fn a_network_is_allowed_or_denied_and_never_both() {
        let both = list(&["10.0.0.0/8", "10.1.0.0/16"], &["10.2.0.0/16", "::ffff:10.1.0.0/112"]);
        assert_eq!(both, Err(AccessListError::Contradiction(network("10.1.0.0/16"))));
        assert!(list(&["10.0.0.0/8", "10.0.0.0/8"], &[]).is_ok(), "twice the same is no harm");
        let many =
            (0..=NETWORKS_MAX as u32).map(|at| NetworkPrefix::host(Ipv4Addr::from(at).into()));
        assert_eq!(AccessList::new([], many), Err(AccessListError::TooMany(TooManyNetworks)));
        assert!(AccessList::default().longest("::1".parse().unwrap()).is_none());
    }

    /// Addresses close together, so that networks nest deeply and often.
    fn address() -> impl Strategy<Value = IpAddr> {
        (prop_oneof![0u32..64, 0xffff_ff00u32..=u32::MAX], 0u8..3).prop_map(|(bits, form)| {
            let v4 = Ipv4Addr::from(bits);
            match form {
                0 => v4.into(),
                1 => v4.to_ipv6_mapped().into(),
                _ => std::net::Ipv6Addr::from(u128::from(bits)).into(),
            }
        })
    }

    fn any_network() -> impl Strategy<Value = NetworkPrefix> {
        (address(), any::<u8>()).prop_map(|(address, bits)| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            NetworkPrefix::containing(address, most - bits % most.min(12)).unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_longest_is_the_longest_that_a_naive_search_finds(
            members in prop::collection::vec((any_network(), any::<bool>()), 0..24),
            addresses in prop::collection::vec(address(), 1..40),
        ) {
            let side = |wanted| {
                let members = members.iter().filter(move |(_, allowed)| *allowed == wanted);
                members.map(|(network, _)| *network)
            };
            let Ok(list) = AccessList::new(side(true), side(false)) else {
                let mut denied = side(false);
                prop_assert!(denied.any(|network| side(true).any(|other| other == network)));
                return Ok(());
            };
            for address in addresses {
                let around = members.iter().filter(|(network, _)| network.contains(address));
                let naive = around.max_by_key(|(network, _)| network.bits()).copied();
                prop_assert_eq!(list.longest(address), naive);
            }
        }
    }
}
