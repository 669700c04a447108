//! What the addresses of a command line that is not running depend on: IPv6 in the kernel, names.
//!
//! Invariant: names are looked up in the host's own `/etc/hosts` only. Asking a name server would
//! tell others what is looked at, and a disk of another system has none to ask.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
};

use super::super::View;
use crate::{
    facts::{HostName, StartCommand, StartConfig},
    memcached_options::{Grammar, ListenElement, Source, Value, Word, table::listening::LISTEN},
};

/// Longest `/etc/hosts` that is read, in bytes; lists that block advertisements have a few MiB.
const HOSTS_BYTES_MAX: usize = 4 << 20;
/// Most names that are looked up; a command line has 256 addresses at the most.
const NAMES_MAX: usize = 256;
/// Most addresses of one name.
const ADDRESSES_MAX: usize = 64;

/// The addresses of a command line that cannot be bound where IPv6 is off. memcached starts only
/// if it can bind all of its addresses.
pub(super) fn needs_ipv6(command: &StartCommand) -> Vec<String> {
    let elements = elements(command);
    let v6 = elements.iter().filter(|(_, element)| element.host.parse::<Ipv6Addr>().is_ok());
    let says = |(place, element): &(Source, ListenElement)| {
        format!("{place}: -l {}: IPv6 is off in this kernel, so the start fails", element.host)
    };
    v6.map(says).collect()
}

/// Looks up the names on which the starters listen, and says at each that it can change.
pub(super) fn names(view: &View, starts: &mut [StartConfig]) -> Vec<HostName> {
    let mut hosts: Option<String> = None;
    let mut known: Vec<HostName> = Vec::new();
    for start in starts {
        let commands: Vec<_> = start.commands.iter().flat_map(elements).collect();
        for (place, element) in commands.into_iter().filter(|(_, e)| is_name(&e.host)) {
            let hosts = hosts.get_or_insert_with(|| {
                let text = view.root.quiet_text("/etc/hosts", HOSTS_BYTES_MAX);
                text.known().cloned().unwrap_or_default()
            });
            let addresses = look_up(hosts, &element.host);
            start.problems.push(told(&place, &element.host, &addresses));
            let name = HostName { name: element.host, addresses };
            if known.len() < NAMES_MAX && !known.contains(&name) {
                known.push(name);
            }
        }
    }
    known
}

fn told(place: &Source, host: &str, addresses: &[IpAddr]) -> String {
    let list = addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    let now = match addresses {
        [] => "it is not in /etc/hosts, so a name server decides".to_owned(),
        _ => format!("now {list} by /etc/hosts"),
    };
    format!("{place}: -l {host}: a name, looked up at each start, so it can change; {now}")
}

/// `localhost` is taken for what every system has it be.
fn is_name(host: &str) -> bool {
    host != "*" && !host.eq_ignore_ascii_case("localhost") && host.parse::<IpAddr>().is_err()
}

/// Every address that has this name.
fn look_up(hosts: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        let named = words.any(|word| word.eq_ignore_ascii_case(name));
        if named && !found.contains(&address) && found.len() < ADDRESSES_MAX {
            found.push(address);
        }
    }
    found
}

/// The elements of every `-l` with their places.
fn elements(command: &StartCommand) -> Vec<(Source, ListenElement)> {
    let words = command.words.iter().skip(1);
    let words: Vec<Word> = words
        .map(|word| {
            let path = Arc::new(PathBuf::from(&word.path));
            let line = usize::try_from(word.line).unwrap_or(usize::MAX);
            Word { text: OsString::from(&word.text), source: Source::line(&path, line) }
        })
        .collect();
    let reading = Grammar::memcached().read(&words);
    let mut found = Vec::new();
    for given in reading.given.iter().filter(|given| given.spec.is(&LISTEN)) {
        let Value::Listen(list) = &given.value else { continue };
        found.extend(list.iter().map(|element| (given.source.clone(), element.clone())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_name_is_found() {
        let hosts = "127.0.0.1 localhost\n192.0.2.9\tcache Cache.example # old\r\n\
            # 192.0.2.1 cache\n2001:db8::9 cache.example\nnothing cache.example\n";
        let expected: Vec<IpAddr> =
            ["192.0.2.9", "2001:db8::9"].iter().map(|ip| ip.parse().unwrap()).collect();
        assert_eq!(look_up(hosts, "cache.example"), expected);
        assert!(look_up(hosts, "old").is_empty());
    }
}
