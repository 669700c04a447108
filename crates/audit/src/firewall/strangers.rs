//! Who a stranger is: the whole internet, cut into pieces that the rules treat alike.
//!
//! Every network that some rule names as a source is a cut. Two addresses that lie in the same named
//! networks meet the same fate, so one of them is asked for all. A piece of the internet may pass
//! without the door being open to the world: a friend's network. The world passes when more
//! addresses pass than any friend has ([`FRIENDS_V4`], [`FRIENDS_V6`]).
//!
//! Invariants:
//! - Only addresses of the global internet count: private networks, loopback, multicast and the
//!   networks of books are nobody's.
//! - What is left out of the list of pieces is, all together, too little to count
//!   ([`LEFT_OUT_SHARE`]).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::addresses::{Addresses, address, number, parse};
use super::rules::{Action, Condition, Ruleset};

/// Addresses that friends may have together in IPv4: a /8, the most that one owner was ever given.
/// Rules that let more pass let the world pass.
const FRIENDS_V4: u128 = 1 << 24;
/// The same in IPv6: a /19, the largest block that one provider holds.
const FRIENDS_V6: u128 = 1 << (128 - 19);
/// The smallest pieces are left out up to this share of what friends may have: a ban list of
/// thousands of single addresses need not be walked for each of them.
const LEFT_OUT_SHARE: u128 = 256;
/// Pieces looked at for one packet. Rules that cut the internet finer than this, with each piece
/// larger than friends are, do not occur; the rest is then not known.
const PIECES_MAX: usize = 4096;
/// Source ports tried for one packet: each that a rule names, and one that none does.
const PORTS_MAX: usize = 16;
/// A source port as kernels choose it.
const PORT_USUAL: u16 = 40_411;

/// A piece of the internet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// One of its addresses.
    pub(super) from: IpAddr,
    /// How many addresses it has.
    pub(super) size: u128,
}

/// How many addresses friends have together.
pub(super) fn friends(v4: bool) -> u128 {
    if v4 { FRIENDS_V4 } else { FRIENDS_V6 }
}

/// The pieces, the largest first. True where there were too many and the last of them are missing.
pub(super) fn pieces(rulesets: &[&Ruleset], v4: bool) -> (Vec<Piece>, bool) {
    let mut named = Vec::new();
    for_each_condition(rulesets, &mut |condition| {
        if let Condition::From(addresses) = condition {
            named.push(addresses);
        }
    });
    let mut pieces: Vec<Piece> = cut(&named, v4).into_values().collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.size));
    let mut small: u128 = 0;
    while let Some(last) = pieces.last() {
        small = small.saturating_add(last.size);
        if small > friends(v4) / LEFT_OUT_SHARE {
            break;
        }
        pieces.pop();
    }
    let too_many = pieces.len() > PIECES_MAX;
    pieces.truncate(PIECES_MAX);
    (pieces, too_many)
}

/// Source ports worth trying: a stranger chooses the one that is let in.
pub(super) fn source_ports(rulesets: &[&Ruleset]) -> Vec<u16> {
    let mut ranges = Vec::new();
    for_each_condition(rulesets, &mut |condition| {
        if let Condition::FromPort(more) = condition {
            ranges.extend(more.iter().copied());
        }
    });
    let mut ports = vec![PORT_USUAL];
    for (first, last) in ranges {
        for port in [first, last.saturating_add(1)] {
            if !ports.contains(&port) && ports.len() < PORTS_MAX {
                ports.push(port);
            }
        }
    }
    ports
}

fn for_each_condition<'r>(rulesets: &[&'r Ruleset], visit: &mut dyn FnMut(&'r Condition)) {
    let chains = rulesets.iter().flat_map(|ruleset| &ruleset.chains);
    for rule in chains.flat_map(|chain| &chain.rules) {
        for test in &rule.tests {
            descend(&test.condition, visit);
        }
        if let Action::Map(rows) = &rule.action {
            for (condition, _) in rows {
                descend(condition, visit);
            }
        }
    }
}

fn descend<'r>(condition: &'r Condition, visit: &mut dyn FnMut(&'r Condition)) {
    match condition {
        Condition::AllOf(parts) | Condition::OneOf(parts) => {
            for part in parts {
                descend(part, visit);
            }
        }
        plain => visit(plain),
    }
}

/// Addresses of nobody on the internet.
const NOBODY: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "2001:db8::/32",
    "3fff::/20",
];

/// Sweeps over the family's addresses. The key of a piece is the exclusive or of one large odd-
/// looking number for each list of networks that it lies in.
fn cut(named: &[&Addresses], v4: bool) -> HashMap<u128, Piece> {
    let nobody: Addresses = NOBODY.iter().filter_map(|text| parse(text)).collect();
    let whole = if v4 { "0.0.0.0/0" } else { "2000::/3" };
    let Some((first, last)) = parse(whole) else { return HashMap::new() };
    let (first, end) = (number(first), number(last) + 1);
    // At each place, which lists begin (+) or end (-) there. List 0 is nobody's.
    let mut places: BTreeMap<u128, Vec<(usize, i64)>> = BTreeMap::new();
    for (list, addresses) in std::iter::once(&&nobody).chain(named).enumerate() {
        for (from, to) in addresses.numbers(v4) {
            places.entry(from.clamp(first, end)).or_default().push((list, 1));
            places.entry(to.saturating_add(1).clamp(first, end)).or_default().push((list, -1));
        }
    }
    places.entry(end).or_default();
    let mut depth = vec![0_i64; named.len() + 1];
    let (mut key, mut at, mut pieces) = (0, first, HashMap::new());
    for (place, changes) in places {
        if place > at && depth.first() == Some(&0) {
            let piece =
                pieces.entry(key).or_insert_with(|| Piece { from: address(at, v4), size: 0 });
            piece.size += place - at;
        }
        at = at.max(place);
        for (list, change) in changes {
            let Some(depth) = depth.get_mut(list) else { continue };
            let was_in = *depth > 0;
            *depth += change;
            if was_in != (*depth > 0) {
                key ^= mixed(list);
            }
        }
    }
    pieces
}

/// A number that is, for practical purposes, the list's own in every combination.
fn mixed(list: usize) -> u128 {
    let half = |seed: u64| {
        let z = (list as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(z ^ (z >> 31))
    };
    half(0) << 64 | half(0x5851_f42d_4c95_7f2d)
}
