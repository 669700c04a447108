//! How far away an address is: this host, a private network, or the whole internet.
//!
//! Invariants: an address of unknown kind is public, the strictest class; an IPv6 address that
//! carries an IPv4 one is never nearer than the address it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far away an address is. Ordered from near to far.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AddressClass {
    /// This host.
    Loopback,
    /// Not routed on the internet: RFC 1918, link-local, carrier NAT (RFC 6598), unique local.
    Private,
    /// Everything else, reserved and unknown ranges included.
    Public,
}

impl AddressClass {
    /// The class of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => {
                embedded_v4(address).map_or(Self::Loopback, Self::of_v4).max(Self::of_v6(address))
            }
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, ..] = address.octets();
        if address.is_loopback() {
            return Self::Loopback;
        }
        // 100.64.0.0/10 is what carriers, and many clouds, use between themselves and customers.
        let carrier = a == 100 && b & 0xc0 == 64;
        if address.is_private() || address.is_link_local() || carrier {
            return Self::Private;
        }
        Self::Public
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() {
            return Self::Loopback;
        }
        if address.is_unique_local() || address.is_unicast_link_local() {
            return Self::Private;
        }
        Self::Public
    }
}

/// The IPv4 address inside an IPv6 address of a translation or tunnel: the peer may be as far away
/// as that one, whatever the outer prefix says.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let inner = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        // NAT64 with the well-known prefix (RFC 6052) and the local-use one (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, _, _, _] => inner(g, h),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => inner(high, low),
        // Teredo (RFC 4380): the client's address, with every bit turned.
        [0x2001, 0, ..] => inner(!g, !h),
        // ISATAP (RFC 5214), usually below a link-local prefix.
        [.., 0 | 0x200, 0x5efe] => inner(g, h),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_and_its_neighbours() {
        use AddressClass::{Loopback, Private, Public};
        let table = [
            ("0.0.0.0", Public),
            ("0.255.255.255", Public),
            ("1.1.1.1", Public),
            ("9.255.255.255", Public),
            ("10.0.0.0", Private),
            ("10.255.255.255", Private),
            ("11.0.0.0", Public),
            ("100.63.255.255", Public),
            ("100.64.0.0", Private),
            ("100.127.255.255", Private),
            ("100.128.0.0", Public),
            ("126.255.255.255", Public),
            ("127.0.0.0", Loopback),
            ("127.255.255.255", Loopback),
            ("128.0.0.0", Public),
            ("169.253.255.255", Public),
            ("169.254.0.0", Private),
            ("169.254.255.255", Private),
            ("169.255.0.0", Public),
            ("172.15.255.255", Public),
            ("172.16.0.0", Private),
            ("172.31.255.255", Private),
            ("172.32.0.0", Public),
            ("192.0.0.1", Public),
            ("192.0.2.1", Public),
            ("192.167.255.255", Public),
            ("192.168.0.0", Private),
            ("192.168.255.255", Private),
            ("192.169.0.0", Public),
            ("198.18.0.1", Public),
            ("224.0.0.1", Public),
            ("240.0.0.1", Public),
            ("255.255.255.255", Public),
            ("::", Public),
            ("::1", Loopback),
            ("::2", Public),
            ("::7f00:1", Public),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:8.8.8.8", Public),
            ("64:ff9b::10.0.0.1", Public),
            ("64:ff9b::127.0.0.1", Public),
            ("64:ff9b:1::10.0.0.1", Public),
            ("2001::1", Public),
            ("2002:0a00:0001::1", Public),
            ("2001:db8::1", Public),
            ("2606:4700::1111", Public),
            ("fbff:ffff::1", Public),
            ("fc00::", Private),
            ("fdff:ffff::1", Private),
            ("fe00::1", Public),
            ("fe7f::1", Public),
            ("fe80::1", Private),
            ("febf::1", Private),
            ("fec0::1", Public),
            ("ff02::1", Public),
            // ISATAP below link-local: as near as the address inside, never nearer.
            ("fe80::5efe:10.0.0.1", Private),
            ("fe80::5efe:127.0.0.1", Private),
            ("fe80::5efe:8.8.8.8", Public),
            ("fe80::200:5efe:8.8.8.8", Public),
            ("fd00::5efe:8.8.8.8", Public),
        ];
        for (address, class) in table {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn embedded_addresses_are_found() {
        let table = [
            ("64:ff9b::192.0.2.33", Some("192.0.2.33")),
            ("64:ff9b:1::192.0.2.33", Some("192.0.2.33")),
            ("2002:c000:0221::1", Some("192.0.2.33")),
            ("2001:0:4136:e378:8000:63bf:3fff:fdde", Some("192.0.2.33")),
            ("fe80::5efe:192.0.2.33", Some("192.0.2.33")),
            ("2001:db8::192.0.2.33", None),
            ("64:ff9b:2::192.0.2.33", None),
        ];
        for (address, inner) in table {
            let inner: Option<Ipv4Addr> = inner.map(|inner| inner.parse().unwrap());
            assert_eq!(embedded_v4(address.parse().unwrap()), inner, "{address}");
        }
    }
}
