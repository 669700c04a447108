//! Lists of networks against a naive search, bit by bit.
//!
//! The input is a list of networks, each allowed or denied, and then addresses. The longest prefix
//! that the list finds must be the longest that a look at every network finds, and the union of the
//! same networks must contain what any of them contains.
#![no_main]
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kannuki_server::guard::{AccessList, NetworkList, NetworkPrefix};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let Some(count) = byte(&mut input) else { return };
    let mut networks = Vec::new();
    for _ in 0..count {
        let (Some(allowed), Some(bits), Some(address)) =
            (byte(&mut input), byte(&mut input), address(&mut input))
        else {
            break;
        };
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let Some(network) = NetworkPrefix::containing(address, bits % (bits_max + 1)) else {
            panic!("{address} has {bits_max} bits");
        };
        assert_eq!(network.to_string().parse(), Ok(network), "read back");
        networks.push((network, allowed & 1 == 1));
    }
    let all = NetworkList::new(networks.iter().map(|(network, _)| *network));
    let side = |wanted: bool| {
        let side = networks.iter().filter(move |(_, allowed)| *allowed == wanted);
        side.map(|(network, _)| *network)
    };
    let both = AccessList::new(side(true), side(false));
    let contradiction = side(true).any(|one| side(false).any(|other| other == one));
    assert_eq!(both.is_err(), contradiction);
    while let Some(address) = address(&mut input) {
        let around: Vec<_> =
            networks.iter().filter(|(network, _)| contains(network, address)).copied().collect();
        if let Ok(all) = &all {
            assert_eq!(all.contains(address), !around.is_empty(), "{address}");
        }
        if let Ok(both) = &both {
            let longest = around.into_iter().max_by_key(|(network, _)| network.bits());
            assert_eq!(both.longest(address), longest, "{address}");
        }
    }
});

fn byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

/// An address of either family; many of them close together.
fn address(input: &mut &[u8]) -> Option<IpAddr> {
    let form = byte(input)?;
    let wide = |bits: u32| Ipv6Addr::from(u128::from(bits) << 96 | u128::from(bits));
    let (head, rest) = input.split_first_chunk::<4>()?;
    *input = rest;
    let bits = u32::from_be_bytes(*head);
    Some(match form % 4 {
        0 => Ipv4Addr::from(bits).into(),
        1 => Ipv4Addr::from(bits).to_ipv6_mapped().into(),
        2 => wide(bits).into(),
        _ => Ipv6Addr::from(u128::from(bits)).into(),
    })
}

/// As the definition says: the first bits of both are the same.
fn contains(network: &NetworkPrefix, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((one, one_family), (other, other_family)) = (bits(network.address()), bits(address));
    let same = |at: u8| one >> (127 - at) & 1 == other >> (127 - at) & 1;
    one_family == other_family && (0..network.bits()).all(same)
}
