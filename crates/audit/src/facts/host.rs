//! The machine: its system, its clock, its addresses.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Seen;

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its name.
    pub name: Seen<String>,
    /// `/etc/os-release`, or what older systems have instead.
    pub os: Seen<OsRelease>,
    /// The kernel's release ("6.1.0-18-amd64").
    pub kernel: Seen<String>,
    /// When it was booted, in seconds since 1970-01-01 UTC.
    pub booted: Seen<i64>,
    /// The kernel's name for this boot: facts of two boots are not mixed.
    pub boot_id: Seen<String>,
    /// The time zone's name ("Asia/Tokyo"), or the seconds east of UTC ("+32400").
    pub time_zone: Seen<String>,
    /// Seconds east of UTC at the time of collection.
    pub utc_offset_s: Seen<i32>,
    /// What runs as process 1 ("systemd", "init"), or would: of a disk, systemd alone is known.
    pub init: Seen<String>,
    /// The maker of the (virtual) machine, by DMI: "Amazon EC2", "SAKURA internet Inc.".
    pub maker: Seen<String>,
    /// The data source that cloud-init recorded ("DataSourceEc2Local").
    pub cloud: Seen<String>,
    /// Whether IPv6 is off in the whole kernel (then `-l ::1` makes a start fail).
    pub ipv6_disabled: Seen<bool>,
    /// `net.ipv6.bindv6only`, the default of sockets that do not choose.
    pub bind_v6_only: Seen<bool>,
    /// Whether this looks like the inside of a container, and of which kind ("docker").
    pub inside_container: Option<String>,
    /// Programs attached to interfaces that can drop packets before any table sees them (XDP, tc),
    /// one text each; their effect is unknown.
    pub packet_programs: Seen<Vec<String>>,
}

/// A name and what it means now; both can change before it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostName {
    /// The name.
    pub name: String,
    /// Every address that `/etc/hosts` gives it; none if a name server would be asked.
    pub addresses: Vec<IpAddr>,
}

/// The system that is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsRelease {
    /// `ID`: "debian", "rhel", "centos", "alpine", "opensuse-leap", "ubuntu".
    pub id: String,
    /// `ID_LIKE`, its words.
    pub id_like: Vec<String>,
    /// `VERSION_ID`: "12", "7", "3.20".
    pub version_id: String,
    /// `VERSION_CODENAME`: "bookworm".
    pub codename: String,
    /// `PRETTY_NAME`.
    pub name: String,
    /// The file that told.
    pub path: String,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name; "?" where only the address is known.
    pub name: String,
    /// Its number in its namespace; 0 = not known.
    pub index: u32,
    /// The inode of its network namespace; `None` = the host's own.
    pub net_namespace: Option<u64>,
    /// Whether it is up; addresses of one that is down are not reachable.
    pub up: Seen<bool>,
    /// What it is by its name and driver, where that tells: "wireguard", "tun", "bridge", "veth".
    pub kind: Option<String>,
    /// Its addresses.
    pub addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
    /// Its class.
    pub scope: Scope,
}

/// From how far an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This host: 127/8, `::1`.
    Loopback,
    /// This link: 169.254/16, `fe80::/10`.
    Link,
    /// RFC 1918 and unique local addresses (`fc00::/7`).
    Private,
    /// The provider's own, behind its translation: 100.64/10.
    CarrierNat,
    /// For books and measurements: 192.0.2/24, 198.51.100/24, 203.0.113/24, 198.18/15,
    /// `2001:db8::/32`, `3fff::/20`. Real hosts have none, test hosts do: judged like a global one.
    Documentation,
    /// Multicast and broadcast.
    Multicast,
    /// `0.0.0.0`, `::`: every address.
    Unspecified,
    /// Everything else: the world.
    Global,
}

impl Scope {
    /// The class of an address; an IPv4 address inside IPv6 is judged as what it is.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4.octets()),
            IpAddr::V6(v6) => Self::of_v6(v6.segments()),
        }
    }

    fn of_v4(octets: [u8; 4]) -> Self {
        match octets {
            [0, 0, 0, 0] => Self::Unspecified,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::Link,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Self::Private,
            [100, 64..=127, ..] => Self::CarrierNat,
            [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18 | 19, ..] => {
                Self::Documentation
            }
            [224..=239, ..] | [255, 255, 255, 255] => Self::Multicast,
            _ => Self::Global,
        }
    }

    fn of_v6(segments: [u16; 8]) -> Self {
        match segments {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Unspecified,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xfe80..=0xfebf, ..] => Self::Link,
            [0xfc00..=0xfdff, ..] => Self::Private,
            [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Documentation,
            [0xff00..=0xffff, ..] => Self::Multicast,
            _ => Self::Global,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_at_its_borders() {
        for (text, scope) in [
            ("127.0.0.1", Scope::Loopback),
            ("::1", Scope::Loopback),
            ("::ffff:127.0.0.1", Scope::Loopback),
            ("169.254.169.254", Scope::Link),
            ("fe80::1", Scope::Link),
            ("febf::1", Scope::Link),
            ("fec0::1", Scope::Global),
            ("10.255.255.255", Scope::Private),
            ("172.15.0.1", Scope::Global),
            ("172.16.0.1", Scope::Private),
            ("172.31.255.255", Scope::Private),
            ("172.32.0.0", Scope::Global),
            ("192.168.1.1", Scope::Private),
            ("fd12::1", Scope::Private),
            ("100.63.255.255", Scope::Global),
            ("100.64.0.0", Scope::CarrierNat),
            ("100.127.255.255", Scope::CarrierNat),
            ("100.128.0.0", Scope::Global),
            ("203.0.113.9", Scope::Documentation),
            ("198.19.0.1", Scope::Documentation),
            ("2001:db8::1", Scope::Documentation),
            ("2001:db9::1", Scope::Global),
            ("239.1.2.3", Scope::Multicast),
            ("ff02::1", Scope::Multicast),
            ("0.0.0.0", Scope::Unspecified),
            ("::", Scope::Unspecified),
            ("8.8.8.8", Scope::Global),
            ("2606:4700::1111", Scope::Global),
        ] {
            assert_eq!(Scope::of(text.parse().unwrap()), scope, "{text}");
        }
    }
}
