//! Packet filters, as their own tools print them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ConfigFile, Protocol, Seen};

/// Packet filters, now and at the next boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// `nft -j list ruleset`, its JSON as text. Shows iptables-nft's tables too.
    pub nftables: Seen<Ruleset>,
    /// `iptables-legacy-save`; invisible to nft.
    pub legacy_v4: Seen<Ruleset>,
    /// `ip6tables-legacy-save`.
    pub legacy_v6: Seen<Ruleset>,
    /// `iptables-save` of whichever backend is the default.
    pub iptables_v4: Seen<Ruleset>,
    /// `ip6tables-save` of whichever backend is the default.
    pub iptables_v6: Seen<Ruleset>,
    /// `/proc/net/ip_tables_names`: tables that the legacy backend has loaded; empty = none.
    pub legacy_tables_v4: Seen<Vec<String>>,
    /// `/proc/net/ip6_tables_names`.
    pub legacy_tables_v6: Seen<Vec<String>>,
    /// Kernel modules of packet filters that are loaded ("nf_tables", "ip_tables", "nft_chain_nat",
    /// "ip6_tables", "ebtables"). Without any, and with all of them visible, there is no filter.
    pub modules: Seen<Vec<String>>,
    /// firewalld's settings; it only explains, the verdict comes from the tables.
    pub firewalld: Seen<Firewalld>,
    /// ufw's settings.
    pub ufw: Seen<Ufw>,
    /// Ports that an engine publishes for containers.
    pub published: Vec<PublishedPort>,
    /// Files that load rules at boot: `/etc/nftables.conf`, `/etc/iptables/rules.v4`,
    /// `/etc/sysconfig/iptables`, csf.conf.
    pub at_boot: Vec<ConfigFile>,
    /// Services that load rules and whether the next boot starts them, by unit
    /// ("nftables.service").
    pub services: Vec<(String, Seen<bool>)>,
}

/// Rules as a tool printed them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruleset {
    /// The program and arguments that printed them.
    pub command: Vec<String>,
    /// What it printed.
    pub text: String,
}

/// firewalld.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewalld {
    /// Whether its process runs.
    pub running: Seen<bool>,
    /// `DefaultZone=`.
    pub default_zone: String,
    /// firewalld.conf and the zones of `/etc/firewalld/zones`, else the shipped default zone.
    pub files: Vec<ConfigFile>,
}

/// ufw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ufw {
    /// `ENABLED=yes`.
    pub enabled: bool,
    /// `IPV6=yes`; with `no`, IPv6 is not covered.
    pub ipv6: bool,
    /// `DEFAULT_INPUT_POLICY` ("DROP").
    pub input_policy: String,
    /// ufw.conf, defaults, user.rules, user6.rules.
    pub files: Vec<ConfigFile>,
}

/// A port that an engine publishes for a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host's address; `None` = every IPv4 address (a rule without destination).
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The container's address.
    pub container_ip: Option<IpAddr>,
    /// The container's port.
    pub container_port: u16,
    /// Who says so.
    pub by: Publisher,
}

/// Who says that a port is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Publisher {
    /// A `docker-proxy`, `rootlessport`, `slirp4netns` or `pasta` process.
    Process {
        /// Its process id.
        pid: u32,
    },
    /// A DNAT rule, as `iptables-save` or nft prints it.
    Rule {
        /// The rule.
        text: String,
    },
    /// The engine's record of the container.
    Record {
        /// The file.
        path: String,
    },
}
