//! Ranges of addresses, as rules name them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of addresses, first and last included. Each range is of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl Addresses {
    /// Is `ip` one of them?
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.ranges
            .iter()
            .any(|(first, last)| first.is_ipv4() == ip.is_ipv4() && (*first..=*last).contains(&ip))
    }

    /// The one address, if it is only one.
    pub(crate) fn only(&self) -> Option<IpAddr> {
        match self.ranges.as_slice() {
            [(first, last)] if first == last => Some(*first),
            _ => None,
        }
    }

    /// The ranges of one family as numbers.
    pub(super) fn numbers(&self, v4: bool) -> impl Iterator<Item = (u128, u128)> {
        let of_family = self.ranges.iter().filter(move |(first, _)| first.is_ipv4() == v4);
        of_family.map(|(first, last)| (number(*first), number(*last)))
    }
}

impl FromIterator<(IpAddr, IpAddr)> for Addresses {
    fn from_iter<I: IntoIterator<Item = (IpAddr, IpAddr)>>(ranges: I) -> Self {
        Self { ranges: ranges.into_iter().collect() }
    }
}

/// An address as a number.
pub(super) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address of a number; a number too large for its family stands for the last address.
pub(super) fn address(number: u128, v4: bool) -> IpAddr {
    if v4 {
        Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into()
    } else {
        Ipv6Addr::from_bits(number).into()
    }
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `::/0`, an address.
pub(super) fn parse(value: &str) -> Option<(IpAddr, IpAddr)> {
    let (address, length) = match value.split_once('/') {
        None => (value.parse().ok()?, None),
        Some((address, length)) => (address.parse().ok()?, Some(length)),
    };
    let length = match length {
        None => bits(address),
        Some(text) => match text.parse::<u8>() {
            Ok(length) => length,
            Err(_) => mask_length(text)?,
        },
    };
    network(address, length)
}

/// First and last address of a network; none where the length is too long for the family.
pub(super) fn network(ip: IpAddr, length: u8) -> Option<(IpAddr, IpAddr)> {
    let host_bits = bits(ip).checked_sub(length)?;
    let hosts = match host_bits {
        128 => u128::MAX,
        bits => (1_u128 << bits) - 1,
    };
    let v4 = ip.is_ipv4();
    let first = number(ip) & !hosts;
    Some((address(first, v4), address(first | hosts, v4)))
}

fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn mask_length(mask: &str) -> Option<u8> {
    let (ones, is_mask) = match mask.parse::<IpAddr>().ok()? {
        IpAddr::V4(mask) => {
            let ones = mask.to_bits().leading_ones();
            (ones, mask.to_bits().count_ones() == ones)
        }
        IpAddr::V6(mask) => {
            let ones = mask.to_bits().leading_ones();
            (ones, mask.to_bits().count_ones() == ones)
        }
    };
    if is_mask { u8::try_from(ones).ok() } else { None }
}

/// Is `address` in `network/length`?
pub(crate) fn inside(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let length = length.min(bits(network));
    self::network(network, length).is_some_and(|(first, last)| {
        first.is_ipv4() == address.is_ipv4() && (first..=last).contains(&address)
    })
}
