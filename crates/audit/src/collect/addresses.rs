//! Interfaces and addresses: from netlink for the host's own namespace, else from `/proc/net`.

use std::net::IpAddr;

use kannuki_sys::netlink::{self, Message, Subject};

use super::{CONFIG_BYTES_MAX, View, processes::Table};
use crate::{
    facts::{Address, Interface, Scope, Seen, Why},
    formats::net_address,
};

/// Most network namespaces that are looked at; each container has one.
pub(super) const NAMESPACES_MAX: usize = 64;

pub(super) fn collect(view: &View, table: &Table) -> Seen<Vec<Interface>> {
    if !view.proc {
        return Seen::Unseen(view.no_proc());
    }
    let own = if view.host { from_netlink() } else { Seen::unseen(Why::NotRunning, "recorded") };
    let mut all = match own {
        Seen::Known(interfaces) => interfaces,
        Seen::Unseen(unseen) => {
            if view.host {
                view.root.gap("interfaces over netlink", &unseen);
            }
            from_files(view, "/proc/net", None)
        }
    };
    for (namespace, pid) in table.other_namespaces() {
        all.extend(from_files(view, &format!("/proc/{pid}/net"), Some(namespace)));
    }
    Seen::Known(all)
}

/// `RTM_GETLINK`, `RTM_GETADDR`.
const GET_LINK: u16 = 18;
const GET_ADDRESS: u16 = 22;
/// `struct ifinfomsg`, `struct ifaddrmsg`.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
/// `IFLA_IFNAME`, `IFLA_LINKINFO`, `IFLA_INFO_KIND`.
const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
/// `IFA_ADDRESS`, `IFA_LOCAL`.
const REMOTE_OR_OWN: u16 = 1;
const OWN: u16 = 2;
/// `IFF_UP`.
const UP: u32 = 1;

fn from_netlink() -> Seen<Vec<Interface>> {
    let failed = |error| Seen::unseen(Why::Failed, format!("netlink: {error}"));
    let links = match netlink::dump(Subject::Route, GET_LINK, &[0; LINK_BYTES]) {
        Ok(links) => links,
        Err(error) => return failed(error),
    };
    let addresses = match netlink::dump(Subject::Route, GET_ADDRESS, &[0; ADDRESS_BYTES]) {
        Ok(addresses) => addresses,
        Err(error) => return failed(error),
    };
    let mut interfaces: Vec<Interface> = links.iter().filter_map(interface).collect();
    for (index, address) in addresses.iter().filter_map(address) {
        if let Some(interface) = interfaces.iter_mut().find(|i| i.index == index) {
            interface.addresses.push(address);
        }
    }
    Seen::Known(interfaces)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn interface(link: &Message) -> Option<Interface> {
    let rest = link.body.get(LINK_BYTES..)?;
    let value = |kind| netlink::attributes(rest).find(|(k, _)| *k == kind).map(|(_, v)| v);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let info = value(LINK_INFO).unwrap_or_default();
    let kind = netlink::attributes(info).find(|(kind, _)| *kind == INFO_KIND);
    Some(Interface {
        name: text(value(LINK_NAME)?),
        index: number(&link.body, 4)?,
        net_namespace: None,
        up: Seen::Known(number(&link.body, 8)? & UP != 0),
        kind: kind.map(|(_, kind)| text(kind)),
        addresses: Vec::new(),
    })
}

fn address(message: &Message) -> Option<(u32, Address)> {
    let prefix = *message.body.get(1)?;
    let index = number(&message.body, 4)?;
    let rest = message.body.get(ADDRESS_BYTES..)?;
    let value = |kind| netlink::attributes(rest).find(|(k, _)| *k == kind).map(|(_, v)| v);
    // On point-to-point links the other attribute is the other end's.
    let bytes = value(OWN).or_else(|| value(REMOTE_OR_OWN))?;
    let ip = match bytes.len() {
        4 => IpAddr::from(*bytes.first_chunk::<4>()?),
        16 => IpAddr::from(*bytes.first_chunk::<16>()?),
        _ => return None,
    };
    Some((index, Address { ip, prefix, scope: Scope::of(ip) }))
}

fn from_files(view: &View, folder: &str, net_namespace: Option<u64>) -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    let made = |name: &str, index| Interface {
        name: name.to_owned(),
        index,
        net_namespace,
        up: Seen::unseen(Why::Absent, "/proc/net does not tell"),
        kind: None,
        addresses: Vec::new(),
    };
    if let Some(text) = view.root.text(&format!("{folder}/fib_trie"), CONFIG_BYTES_MAX) {
        let mut interface = made("?", 0);
        interface.addresses = net_address::fib_trie(&text);
        if !interface.addresses.is_empty() {
            found.push(interface);
        }
    }
    if let Some(text) = view.root.text(&format!("{folder}/if_inet6"), CONFIG_BYTES_MAX) {
        for (name, index, address) in net_address::if_inet6(&text) {
            match found.iter_mut().find(|interface| interface.name == name) {
                Some(interface) => interface.addresses.push(address),
                None => {
                    let mut interface = made(&name, index);
                    interface.addresses.push(address);
                    found.push(interface);
                }
            }
        }
    }
    found
}
