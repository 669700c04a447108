//! Who guesses passwords: failed log-ins by where they come from, and whom that shuts out for a
//! time.
//!
//! ```text
//!   failure -> failures of this source + 1 -> BanPolicy::after reached? -> shut out for `secs`
//! ```
//!
//! Invariants:
//! - The table has a fixed size. A source that is not in it has no failures; where room is needed,
//!   the source of its row that matters least is forgotten, one that is shut out last of all.
//! - Whoever takes another address for each guess gets no more guesses than a few neighbours would:
//!   addresses that a peer may choose itself count together too, see [`V6_NEIGHBOURS`].
//! - Loopback is never shut out: everybody behind a local proxy would be, by the doing of one.
//!   A success forgives nothing, or whoever has one account could guess at all others for ever.
//! - `now` is an argument, in seconds that never go back.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use crate::{AddressClass, Peer};

/// Sources that share one row of the table: enough that whoever wants to push one out has to know
/// which others fall into the same row, which a random key hides.
const WAYS: usize = 8;
/// Rows of the table. With [`WAYS`] it remembers 32768 sources, in 1 MiB.
const ROWS: usize = 4096;
/// Bits of an IPv6 address that name a customer: whoever has one such network has 2^64 addresses.
const V6_CUSTOMER_BITS: u32 = 64;
/// Addresses of a private IPv6 network whose guesses the network as a whole may use up: beyond it,
/// all of it is shut out. Enough that a handful of hosts with an old password bring nobody down but
/// themselves; few enough that 2^64 addresses are worth no more guesses than these.
const V6_NEIGHBOURS: u32 = 16;

/// When failures shut a source out, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BanPolicy {
    /// Failures before a source is shut out; 0 = never.
    pub after: u32,
    /// Seconds for which it is, and after which failures are forgotten.
    pub secs: u32,
}

/// Where log-ins come from, as far as bans tell sources apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// One IPv4 address, also one inside an IPv6 address of a translation or tunnel.
    V4(u32),
    /// One IPv6 network of 64 bits of the internet.
    V6(u64),
    /// One IPv6 address of a private network or a local translator: neighbours share the 64 bits
    /// before it.
    V6Alone(u128),
    /// All of a private IPv6 network of 64 bits. Nobody's own source: what a [`Self::V6Alone`]
    /// belongs to besides, because any host there can take any address.
    V6Neighbours(u64),
    /// One user of this host.
    Uid(u32),
}

impl Source {
    /// The source that a peer belongs to; `None` = one that is never shut out.
    #[must_use]
    pub fn of(peer: &Peer) -> Option<Self> {
        match (peer.address(), peer.owner()) {
            (Some(address), _) if AddressClass::of(address) == AddressClass::Loopback => None,
            (Some(IpAddr::V4(address)), _) => Some(Self::V4(address.to_bits())),
            (Some(IpAddr::V6(address)), _) => Self::of_v6(address),
            (None, owner) => owner.map(|owner| Self::Uid(owner.uid)),
        }
    }

    /// Everybody behind one translator, and everybody of one private network, has the same 64 bits:
    /// one guesser among them must not shut the others out.
    ///
    /// Only an IPv4 address by which replies find their way counts as the source: one that whoever
    /// has the network may choose (ISATAP) would be 2^32 sources, or somebody else's.
    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = address.segments();
        let inner = |high: u16, low: u16| Some(Self::V4(u32::from(high) << 16 | u32::from(low)));
        match [a, b, c, d, e, f] {
            // NAT64 with the well-known prefix (RFC 6052).
            [0x64, 0xff9b, 0, 0, 0, 0] => inner(g, h),
            // NAT64 with the local-use one (RFC 8215): only its owner knows where the address is.
            [0x64, 0xff9b, 1, ..] => Some(Self::V6Alone(address.to_bits())),
            // 6to4 (RFC 3056).
            [0x2002, high, low, ..] => inner(high, low),
            // Teredo (RFC 4380), with every bit turned.
            [0x2001, 0, ..] => inner(!g, !h),
            _ if AddressClass::of(address.into()) == AddressClass::Private => {
                Some(Self::V6Alone(address.to_bits()))
            }
            _ => customer(address).map(Self::V6),
        }
    }

    /// The network whose guesses this source's count among; none where the address is given to the
    /// peer by somebody else, as by a translator.
    fn neighbours(self) -> Option<Self> {
        let Self::V6Alone(bits) = self else { return None };
        let address = Ipv6Addr::from_bits(bits);
        let chosen = AddressClass::of(address.into()) == AddressClass::Private;
        customer(address).filter(|_| chosen).map(Self::V6Neighbours)
    }
}

/// The upper half of an address.
fn customer(address: Ipv6Addr) -> Option<u64> {
    u64::try_from(address.to_bits() >> V6_CUSTOMER_BITS).ok()
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    source: Source,
    /// In a row, none of them forgotten.
    failures: u32,
    /// When the last one was.
    last: u32,
    /// Shut out until this second; 0 = not.
    until: u32,
}

/// The table. One for a server, behind a lock: it is asked once for each connection and log-in.
#[derive(Debug)]
pub struct Bans {
    policy: BanPolicy,
    rows: Box<[[Option<Seen>; WAYS]]>,
    hasher: RandomState,
}

impl Bans {
    /// An empty table.
    #[must_use]
    pub fn new(policy: BanPolicy) -> Self {
        let rows = vec![[None; WAYS]; ROWS].into_boxed_slice();
        Self { policy, rows, hasher: RandomState::new() }
    }

    /// Whether the source is shut out.
    #[must_use]
    pub fn is_banned(&self, source: Source, now: u32) -> bool {
        self.holds(source, now) || source.neighbours().is_some_and(|all| self.holds(all, now))
    }

    fn holds(&self, source: Source, now: u32) -> bool {
        let row = self.rows.get(self.row(source)).map_or(&[] as &[_], |row| row);
        row.iter().flatten().any(|seen| seen.source == source && seen.until > now)
    }

    /// Notes a failed log-in; whether it was the one that shuts the source out, alone or with its
    /// neighbours.
    pub fn failed(&mut self, source: Source, now: u32) -> bool {
        let after = self.policy.after;
        if after == 0 {
            return false;
        }
        let together = source
            .neighbours()
            .is_some_and(|all| self.note(all, after.saturating_mul(V6_NEIGHBOURS), now));
        self.note(source, after, now) || together
    }

    fn note(&mut self, source: Source, after: u32, now: u32) -> bool {
        let secs = self.policy.secs;
        let at = self.row(source);
        let Some(row) = self.rows.get_mut(at) else { return false };
        let Some(place) = place(row, source, now) else { return false };
        let known = place.filter(|seen| seen.source == source);
        let known = known.filter(|seen| now.saturating_sub(seen.last) <= secs);
        let mut seen = known.unwrap_or(Seen { source, failures: 0, last: now, until: 0 });
        seen.failures = seen.failures.saturating_add(1);
        seen.last = now;
        let shuts_out = seen.failures >= after && seen.until <= now;
        if shuts_out {
            seen.until = now.saturating_add(secs);
            seen.failures = 0;
        }
        *place = Some(seen);
        shuts_out
    }

    /// How many sources are shut out.
    #[must_use]
    pub fn count(&self, now: u32) -> usize {
        self.rows.iter().flatten().flatten().filter(|seen| seen.until > now).count()
    }

    /// Other rules from now on. Who is shut out stays so for as long as was said then.
    pub fn set_policy(&mut self, policy: BanPolicy) {
        self.policy = policy;
    }

    fn row(&self, source: Source) -> usize {
        usize::try_from(self.hasher.hash_one(source) % ROWS as u64).unwrap_or(0)
    }
}

/// Where the source is, or else the place that is worth least.
fn place(row: &mut [Option<Seen>], source: Source, now: u32) -> Option<&mut Option<Seen>> {
    row.iter_mut().min_by_key(|place| match place {
        Some(seen) if seen.source == source => (0, 0),
        None => (1, 0),
        Some(seen) if seen.until <= now => (2, seen.last),
        Some(seen) => (3, seen.until),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owner;

    const POLICY: BanPolicy = BanPolicy { after: 3, secs: 60 };

    fn source(address: &str) -> Option<Source> {
        Source::of(&Peer::tcp(address.parse().unwrap()))
    }

    #[test]
    fn the_third_failure_shuts_out_for_a_time() {
        let mut bans = Bans::new(POLICY);
        let peer = source("203.0.113.7").unwrap();
        assert_eq!([bans.failed(peer, 10), bans.failed(peer, 11)], [false, false]);
        assert!(!bans.is_banned(peer, 11));
        assert!(bans.failed(peer, 12), "said once, when it begins");
        assert!(!bans.failed(peer, 12), "an attempt under way adds nothing");
        assert!(bans.is_banned(peer, 71) && bans.count(71) == 1);
        assert!(!bans.is_banned(peer, 72) && bans.count(72) == 0, "it ends");
        assert!(!bans.is_banned(source("203.0.113.8").unwrap(), 12), "the neighbour may");
        assert!(!bans.failed(peer, 80), "counting starts anew");
    }

    #[test]
    fn failures_are_forgotten_after_the_same_time() {
        let mut bans = Bans::new(POLICY);
        let peer = source("203.0.113.7").unwrap();
        let failures = [0, 50, 111, 160, 161].map(|now| bans.failed(peer, now));
        assert_eq!(failures, [false, false, false, false, true]);
    }

    #[test]
    fn none_is_shut_out_if_that_is_off() {
        let mut bans = Bans::new(BanPolicy { after: 0, secs: 60 });
        let peer = source("203.0.113.7").unwrap();
        assert!((0..1000).all(|now| !bans.failed(peer, now)));
    }

    #[test]
    fn sources_are_addresses_networks_and_users() {
        assert_eq!(source("127.0.0.1"), None);
        assert_eq!(source("::1"), None);
        assert_eq!(source("::ffff:127.8.8.8"), None);
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        for [one, neighbour] in [
            ["64:ff9b::203.0.113.7", "64:ff9b::203.0.113.8"],
            ["64:ff9b:1::203.0.113.7", "64:ff9b:1::203.0.113.8"],
            ["2002:cb00:7107::1", "2002:cb00:7108::1"],
            ["fe80::1", "fe80::2"],
            ["fd00::1", "fd00::2"],
        ] {
            assert_ne!(source(one), source(neighbour), "{one} shuts {neighbour} out");
        }
        assert_eq!(source("64:ff9b::203.0.113.7"), source("203.0.113.7"));
        assert_eq!(source("2002:cb00:7107::1"), source("2002:cb00:7107:ffff::2"));
        // Whoever has the network chooses what follows: still one source, and nobody else's.
        let chosen = source("2001:db8:1:2:0:5efe:cb00:7107");
        assert_eq!(chosen, source("2001:db8:1:2:200:5efe:808:808"));
        assert_eq!(chosen, Some(Source::V6(0x2001_0db8_0001_0002)));
        let unix = Source::of(&Peer::unix(Owner { uid: 1000, gid: 5 }));
        assert_eq!(unix, Some(Source::Uid(1000)));
    }

    #[test]
    fn another_address_for_each_guess_gains_no_more_than_a_few_neighbours() {
        for [network, other] in [["fd00:0:0:1::", "fd00:0:0:2::"], ["fe80::", "fe80:0:0:1::"]] {
            let mut bans = Bans::new(POLICY);
            let host = |n: u32| source(&format!("{network}{n:x}")).unwrap();
            let budget = POLICY.after * V6_NEIGHBOURS;
            let shut_out: Vec<u32> = (1..=budget).filter(|&n| bans.failed(host(n), 10)).collect();
            assert_eq!(shut_out, [budget], "{network}: the last guess of the budget, and no other");
            assert!(bans.is_banned(host(0xffff), 69), "{network}: also who has not guessed");
            assert!(!bans.is_banned(source(&format!("{other}1")).unwrap(), 69), "{other}");
            assert!(!bans.is_banned(host(0xffff), 70), "{network}: it ends");
        }
    }

    #[test]
    fn a_few_neighbours_with_an_old_password_shut_out_only_themselves() {
        let mut bans = Bans::new(POLICY);
        let host = |n: u32| source(&format!("fd00::{n:x}")).unwrap();
        for n in 1..V6_NEIGHBOURS {
            let failures = [0; 3].map(|_| bans.failed(host(n), 10));
            assert_eq!(failures, [false, false, true]);
        }
        assert!(bans.is_banned(host(1), 11) && !bans.is_banned(host(0x99), 11));
    }

    #[test]
    fn nobody_chooses_an_address_behind_a_translator() {
        let mut bans = Bans::new(POLICY);
        for n in 0..2 * POLICY.after * V6_NEIGHBOURS {
            let [high, low] = [n >> 8, n & 0xff];
            let peer = source(&format!("64:ff9b:1::203.0.{high}.{low}")).unwrap();
            assert!(!bans.failed(peer, 10));
        }
        assert!(!bans.is_banned(source("64:ff9b:1::203.0.113.7").unwrap(), 11));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_bans() {
        let mut bans = Bans::new(POLICY);
        let guesser = source("203.0.113.7").unwrap();
        for _ in 0..3 {
            bans.failed(guesser, 1);
        }
        for other in 0..(4 * ROWS * WAYS) as u32 {
            bans.failed(Source::V4(other), 2);
        }
        assert!(bans.is_banned(guesser, 3), "a flood of others does not push it out");
        let held: usize = bans.rows.iter().map(|row| row.iter().flatten().count()).sum();
        assert!(held <= ROWS * WAYS);
    }
}
