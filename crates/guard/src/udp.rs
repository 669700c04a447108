//! What a UDP reply may cost: never more than its request, towards whoever may not have sent it.
//!
//! A datagram's sender is a claim. If a small request could fetch a large reply, anyone could aim
//! us at anyone: that is how memcached servers made the largest floods of their time. So towards an
//! address that is not trusted, what goes out is at most what came in, counted on the wire.
//!
//! Invariants: each reply is weighed against its own request alone, so the sum over any requests is
//! bounded too; nothing is saved up; a TCP connection from the same address changes nothing.

use std::net::IpAddr;

use crate::{AddressClass, Denial, NetworkList, Reason, Response};

/// IPv4 and UDP headers of one datagram, in bytes.
const HEADER_V4_BYTES: usize = 20 + 8;
/// IPv6 and UDP headers of one datagram, in bytes.
const HEADER_V6_BYTES: usize = 40 + 8;

/// Decides about replies to datagrams.
#[derive(Clone, Debug, Default)]
pub struct ReplyBudget {
    trusted: NetworkList,
}

impl ReplyBudget {
    /// Whole replies towards this host and the `trusted` networks: those where no one can forge a
    /// sender.
    #[must_use]
    pub fn new(trusted: NetworkList) -> Self {
        Self { trusted }
    }

    /// Whether replies towards `peer` are sent whole, whatever the request.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        AddressClass::of(peer) == AddressClass::Loopback || self.trusted.contains(peer)
    }

    /// Whether a reply may go out. `bytes_in` is the payload of the one request datagram;
    /// `bytes_out` the payload of all datagrams of the reply together, memcached's own frame
    /// headers included in both; `datagrams_out` how many there are, each of which costs its
    /// network headers too.
    ///
    /// # Errors
    /// The denial to count; the reply is to be dropped as a whole.
    pub fn reply_allowed(
        &self,
        peer: IpAddr,
        bytes_in: usize,
        bytes_out: usize,
        datagrams_out: usize,
    ) -> Result<(), Denial> {
        if self.trusts(peer) {
            return Ok(());
        }
        let header = match peer.to_canonical() {
            IpAddr::V4(_) => HEADER_V4_BYTES,
            IpAddr::V6(_) => HEADER_V6_BYTES,
        };
        // A request in fragments brought more headers than one; counting one errs to our side.
        let came_in = bytes_in.saturating_add(header);
        let datagrams_out = datagrams_out.max(usize::from(bytes_out > 0));
        let goes_out = bytes_out.saturating_add(datagrams_out.saturating_mul(header));
        if goes_out <= came_in {
            return Ok(());
        }
        Err(Denial::new(Response::Drop, Reason::UdpUntrusted))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REFUSED: Denial = Denial::new(Response::Drop, Reason::UdpUntrusted);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn budget() -> ReplyBudget {
        ReplyBudget::new(NetworkList::new(["10.0.0.0/8".parse().unwrap()]).unwrap())
    }

    #[test]
    fn this_host_and_trusted_networks_get_everything() {
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3"] {
            assert!(budget().reply_allowed(ip(peer), 16, 3_000_000, 2143).is_ok(), "{peer}");
        }
        assert!(budget().trusts(ip("::ffff:10.1.2.3")));
    }

    #[test]
    fn a_stranger_gets_no_more_than_it_sent() {
        // Private is not trusted: on a shared network a neighbour can forge its neighbours.
        for peer in ["192.168.0.1", "203.0.113.7", "2001:db8::1", "fe80::1", "2002:7f00:1::1"] {
            let reply = |bytes_in, bytes_out, datagrams| {
                budget().reply_allowed(ip(peer), bytes_in, bytes_out, datagrams)
            };
            assert_eq!(reply(100, 100, 1), Ok(()), "{peer}");
            assert_eq!(reply(100, 101, 1), Err(REFUSED), "{peer}");
            assert_eq!(reply(100, 0, 0), Ok(()), "{peer}");
            assert_eq!(reply(0, 1, 0), Err(REFUSED), "{peer}: bytes need a datagram");
            assert_eq!(reply(usize::MAX, usize::MAX, 1), Ok(()), "{peer}");
            assert_eq!(reply(100, usize::MAX, usize::MAX), Err(REFUSED), "{peer}");
        }
    }

    #[test]
    fn each_further_datagram_costs_its_headers() {
        let reply = |peer, bytes_in| budget().reply_allowed(ip(peer), bytes_in, 3000, 3);
        assert_eq!(reply("203.0.113.7", 3000 + 2 * 28 - 1), Err(REFUSED));
        assert_eq!(reply("203.0.113.7", 3000 + 2 * 28), Ok(()));
        assert_eq!(reply("2001:db8::1", 3000 + 2 * 48 - 1), Err(REFUSED));
        assert_eq!(reply("2001:db8::1", 3000 + 2 * 48), Ok(()));
    }

    proptest! {
        #[test]
        fn in_sum_no_stranger_ever_gains(
            exchanges in prop::collection::vec((9usize..70_000, 8usize..100_000), 1..50),
        ) {
            let budget = budget();
            let (mut came_in, mut went_out) = (0, 0);
            for (bytes_in, bytes_out) in exchanges {
                let datagrams = bytes_out.div_ceil(1400);
                came_in += bytes_in + 28;
                if budget.reply_allowed(ip("203.0.113.7"), bytes_in, bytes_out, datagrams).is_ok() {
                    went_out += bytes_out + 28 * datagrams;
                }
                prop_assert!(went_out <= came_in);
            }
        }
    }
}
