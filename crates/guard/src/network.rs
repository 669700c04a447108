//! Networks: one prefix, and a list of them that answers in logarithmic time.
//!
//! Invariants: a prefix has no bit set beyond its length, and is IPv4 wherever it can be (the
//! mapped range of IPv6 is IPv4); a list is sorted and no prefix in it covers another, so the last
//! one that starts at or before an address is the only one that can contain it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Prefixes in one list. The lists of large providers have a few thousand; 16384 of 18 bytes stay
/// under 300 KiB, and a lookup takes 14 steps.
pub const NETWORKS_MAX: usize = 16_384;

/// Bits of the prefix under which IPv6 writes IPv4 addresses (`::ffff:0:0/96`).
const MAPPED_BITS: u8 = 96;

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NetworkPrefix {
    // This order of fields makes the derived order put a network right before what it covers.
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NetworkError {
    /// The part before the slash is no address.
    Address(String),
    /// The part after the slash is no number of bits that such an address has.
    Bits {
        /// What was given.
        given: String,
        /// How many bits such an address has.
        max: u8,
    },
    /// Bits are set beyond the length, so it is unclear what was meant.
    HostBits {
        /// The host, if that was meant.
        host: NetworkPrefix,
        /// The network, if that was meant.
        network: NetworkPrefix,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(given) => write!(
                f,
                "{given:?} is no IP address; write a network as 10.0.0.0/8 or fd00::/8, a host as \
                 10.0.0.1 or fd00::1"
            ),
            Self::Bits { given, max } => {
                write!(f, "{given:?} is no prefix length; it must be a number from 0 to {max}")
            }
            Self::HostBits { host, network } => write!(
                f,
                "{}/{} has bits set beyond its length; write {network} for the network or {host} \
                 for the host",
                host.address, network.bits
            ),
        }
    }
}

impl std::error::Error for NetworkError {}

impl NetworkPrefix {
    /// The network of `bits` leading bits that `address` lies in, or `None` if it has not as many.
    #[must_use]
    pub fn containing(address: IpAddr, bits: u8) -> Option<Self> {
        let network = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32u32.checked_sub(bits.into())?).unwrap_or(0);
                Self { address: Ipv4Addr::from(v4.to_bits() & mask).into(), bits }
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128u32.checked_sub(bits.into())?).unwrap_or(0);
                Self { address: Ipv6Addr::from(v6.to_bits() & mask).into(), bits }
            }
        };
        Some(network.canonical())
    }

    /// The network of one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let bits = bits_of(address);
        Self { address, bits }.canonical()
    }

    /// Whether `address` lies in it. Mapped addresses count as the IPv4 that they stand for.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::containing(address.to_canonical(), self.bits) == Some(*self)
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits count: 0 to 32, or 0 to 128.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    fn canonical(self) -> Self {
        match (self.address.to_canonical(), self.bits.checked_sub(MAPPED_BITS)) {
            (address @ IpAddr::V4(_), Some(bits)) if self.address.is_ipv6() => {
                Self { address, bits }
            }
            _ => self,
        }
    }
}

impl FromStr for NetworkPrefix {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let Some(given) = bits else { return Ok(Self::host(address)) };
        let wrong = || NetworkError::Bits { given: given.to_owned(), max: bits_of(address) };
        // Digits alone: std would take a plus sign too.
        let digits = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
        let bits = given.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        let network = Self::containing(address, bits).ok_or_else(wrong)?;
        if network.address != address.to_canonical() && network.address != address {
            return Err(NetworkError::HostBits { host: Self::host(address), network });
        }
        Ok(network)
    }
}

impl fmt::Display for NetworkPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == bits_of(self.address) {
            return self.address.fmt(f);
        }
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// More than [`NETWORKS_MAX`] networks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooManyNetworks;

impl fmt::Display for TooManyNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {NETWORKS_MAX} networks in one list")
    }
}

impl std::error::Error for TooManyNetworks {}

/// A set of addresses, written as networks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NetworkList {
    prefixes: Box<[NetworkPrefix]>,
}

impl NetworkList {
    /// The union of `networks`, in any order, overlapping or not.
    ///
    /// # Errors
    /// [`TooManyNetworks`] when more than [`NETWORKS_MAX`] are given.
    pub fn new(networks: impl IntoIterator<Item = NetworkPrefix>) -> Result<Self, TooManyNetworks> {
        let mut prefixes: Vec<NetworkPrefix> =
            networks.into_iter().take(NETWORKS_MAX + 1).collect();
        if prefixes.len() > NETWORKS_MAX {
            return Err(TooManyNetworks);
        }
        prefixes.sort_unstable();
        // Sorted, whatever a network covers follows it directly.
        prefixes.dedup_by(|later, kept| kept.covers(later));
        Ok(Self { prefixes: prefixes.into_boxed_slice() })
    }

    /// Whether `address` lies in one of the networks. Mapped addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.prefixes.partition_point(|prefix| prefix.address <= address);
        let last = after.checked_sub(1).and_then(|last| self.prefixes.get(last));
        last.is_some_and(|prefix| prefix.contains(address))
    }

    /// Whether no address lies in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The networks, sorted, without those that others cover.
    pub fn iter(&self) -> impl Iterator<Item = NetworkPrefix> + '_ {
        self.prefixes.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> NetworkPrefix {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn networks_are_read_and_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "10.0.0.1", "::/0", "fd00::/8", "2001:db8::1"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("10.0.0.1/32"), network("10.0.0.1"));
        assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_eq!(network("::ffff:0:0/96"), network("0.0.0.0/0"));
    }

    #[test]
    fn errors_say_what_to_write() {
        let error = |text: &str| text.parse::<NetworkPrefix>().unwrap_err().to_string();
        assert_eq!(
            error("10.0.0.1/8"),
            "10.0.0.1/8 has bits set beyond its length; write 10.0.0.0/8 for the network or \
             10.0.0.1 for the host"
        );
        assert!(error("10.0.0/8").starts_with("\"10.0.0\" is no IP address; write"));
        assert!(error("office").contains("is no IP address"));
        assert!(error("010.0.0.1").contains("is no IP address"));
        assert_eq!(
            error("10.0.0.0/33"),
            "\"33\" is no prefix length; it must be a number from 0 to 32"
        );
        for bits in ["", "+8", "-1", "8 ", "129", "999"] {
            assert!(error(&format!("fd00::/{bits}")).contains("from 0 to 128"), "{bits}");
        }
    }

    #[test]
    fn ipv6_as_a_whole_is_not_ipv4() {
        let list = NetworkList::new([network("::/0")]).unwrap();
        assert!(list.contains("2001:db8::1".parse().unwrap()));
        assert!(!list.contains("10.0.0.1".parse().unwrap()));
        assert!(!list.contains("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn covered_networks_vanish() {
        let list = ["10.1.0.0/16", "10.0.0.0/8", "10.0.0.0/9", "fd00::1", "fd00::/8", "11.0.0.1"];
        let list = NetworkList::new(list.map(network)).unwrap();
        assert_eq!(
            list.iter().collect::<Vec<_>>(),
            ["10.0.0.0/8", "11.0.0.1", "fd00::/8"].map(network)
        );
    }

    #[test]
    fn a_list_has_a_bound() {
        let hosts =
            |count: u32| (0..count).map(|at| NetworkPrefix::host(Ipv4Addr::from(at).into()));
        assert!(NetworkList::new(hosts(NETWORKS_MAX as u32)).is_ok());
        assert_eq!(NetworkList::new(hosts(NETWORKS_MAX as u32 + 1)), Err(TooManyNetworks));
        assert_eq!(
            NetworkList::new(std::iter::repeat(network("::1"))),
            Err(TooManyNetworks),
            "even an endless list ends"
        );
    }

    /// Addresses close together, so that networks cover and miss each other often.
    fn address() -> impl Strategy<Value = IpAddr> {
        let near =
            prop_oneof![0u32..64, any::<u32>().prop_map(|bits| bits | 0xffff_0000), any::<u32>()];
        (near, 0u8..3).prop_map(|(bits, form)| match form {
            0 => Ipv4Addr::from(bits).into(),
            1 => Ipv4Addr::from(bits).to_ipv6_mapped().into(),
            _ => Ipv6Addr::from(u128::from(bits) << 96 | u128::from(bits)).into(),
        })
    }

    fn any_network() -> impl Strategy<Value = NetworkPrefix> {
        (address(), any::<u8>()).prop_map(|(address, bits)| {
            NetworkPrefix::containing(address, bits % (bits_of(address) + 1)).unwrap()
        })
    }

    /// Bit by bit, as the definition says.
    fn naive_contains(networks: &[NetworkPrefix], address: IpAddr) -> bool {
        fn bits(address: IpAddr) -> Vec<bool> {
            let octets = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            octets
                .iter()
                .flat_map(|octet| (0..8).rev().map(move |at| octet >> at & 1 == 1))
                .collect()
        }
        let address = bits(address.to_canonical());
        networks.iter().any(|network| {
            let prefix = bits(network.address());
            prefix.len() == address.len()
                && prefix.iter().zip(&address).take(network.bits().into()).all(|(a, b)| a == b)
        })
    }

    proptest! {
        #[test]
        fn a_list_agrees_with_a_naive_search(
            networks in prop::collection::vec(any_network(), 0..20),
            addresses in prop::collection::vec(address(), 1..40),
        ) {
            let list = NetworkList::new(networks.iter().copied()).unwrap();
            let edges = networks.iter().map(NetworkPrefix::address);
            for address in addresses.into_iter().chain(edges) {
                prop_assert_eq!(list.contains(address), naive_contains(&networks, address));
            }
        }

        #[test]
        fn what_is_written_is_read_back(network in any_network()) {
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }

        #[test]
        fn reading_never_panics(text in "\\PC*|[0-9a-f:./+-]{0,40}") {
            let _ = text.parse::<NetworkPrefix>();
        }
    }
}
