//! Addresses where netlink is not to be had: `/proc/net/fib_trie` and `/proc/net/if_inet6`.

use std::net::{IpAddr, Ipv4Addr};

use crate::facts::{Address, Scope};

/// The local IPv4 addresses of `/proc/net/fib_trie`. It names no interfaces; the length of the
/// network is not told either and stands as 32.
pub(crate) fn fib_trie(text: &str) -> Vec<Address> {
    let mut found: Vec<Address> = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            last = leaf.trim().parse().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(ip) = last
        {
            let address = Address { ip: ip.into(), prefix: 32, scope: Scope::of(IpAddr::V4(ip)) };
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    found
}

/// Interface name, number and address of each line of `/proc/net/if_inet6`.
pub(crate) fn if_inet6(text: &str) -> Vec<(String, u32, Address)> {
    text.lines().filter_map(read_v6).collect()
}

fn read_v6(line: &str) -> Option<(String, u32, Address)> {
    let mut fields = line.split_ascii_whitespace();
    let digits = fields.next().filter(|digits| digits.len() == 32)?;
    let ip = IpAddr::from(u128::from_str_radix(digits, 16).ok()?.to_be_bytes());
    let index = u32::from_str_radix(fields.next()?, 16).ok()?;
    let prefix = u8::from_str_radix(fields.next()?, 16).ok()?;
    let name = fields.nth(2)?.to_owned();
    Some((name, index, Address { ip, prefix, scope: Scope::of(ip) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_of_the_trie() {
        let text = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 192.0.2.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.0.2.9
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
";
        let ips: Vec<_> = fib_trie(text).iter().map(|a| a.ip.to_string()).collect();
        assert_eq!(ips, ["127.0.0.1", "192.0.2.9"]);
    }

    #[test]
    fn addresses_of_ipv6() {
        let text = "20010db8000000000000000000000009 02 40 00 80     eth0\nshort 1\n";
        let all = if_inet6(text);
        assert_eq!(all.len(), 1);
        let (name, index, address) = &all[0];
        assert_eq!((name.as_str(), *index, address.prefix), ("eth0", 2, 64));
        assert_eq!(address.ip, "2001:db8::9".parse::<IpAddr>().unwrap());
    }
}
