//! Hosts of one's own: network namespaces on one switch, made by a test and gone with it.
//!
//! Invariants: nothing leaves the switch, which no interface of this machine is part of; names hold
//! the process id, so that test processes beside each other never meet; a [`Host`] is entered by
//! one thread at a time of its own, so the test itself stays where it is.
//!
//! Needs root and iproute2: ask [`unavailable`] first.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Hosts on one switch: enough for any story, and each costs two interfaces.
const HOSTS_MAX: usize = 16;

/// Why networks cannot be made here, if so.
pub fn unavailable() -> Option<&'static str> {
    if !crate::process::is_root() {
        return Some("network namespaces need root");
    }
    let found = Command::new("ip").arg("-V").output().is_ok();
    (!found).then_some("`apt-get install iproute2`")
}

/// A switch with its hosts.
#[derive(Debug)]
pub struct Network {
    switch: String,
    hosts: Vec<Host>,
}

/// One host: a network namespace with loopback and one interface, `eth0`.
#[derive(Debug)]
pub struct Host {
    space: String,
    addresses: Vec<IpAddr>,
}

impl Network {
    /// Lays a network with a host for each entry, which gets these addresses (`192.0.2.1/24`).
    ///
    /// # Panics
    ///
    /// When the system refuses; see [`unavailable`].
    pub fn lay(hosts: &[&[&str]]) -> Self {
        static LAID: AtomicU32 = AtomicU32::new(0);
        assert!(hosts.len() <= HOSTS_MAX);
        let name = format!("kn{}.{}", std::process::id(), LAID.fetch_add(1, Ordering::Relaxed));
        let mut network = Self { switch: format!("{name}.s"), hosts: Vec::new() };
        let switch = network.switch.clone();
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add bridge type bridge"));
        ip(&format!("-n {switch} link set bridge up"));
        for (at, addresses) in hosts.iter().enumerate() {
            let host = Host { space: format!("{name}.{at}"), addresses: Vec::new() };
            // Owned by the network at once, so that what fails below is cleared away.
            network.hosts.push(host);
            let space = format!("{name}.{at}");
            ip(&format!("netns add {space}"));
            ip(&format!("-n {space} link add eth0 type veth peer name port{at} netns {switch}"));
            ip(&format!("-n {switch} link set port{at} master bridge up"));
            ip(&format!("-n {space} link set lo up"));
            ip(&format!("-n {space} link set eth0 up"));
            for address in *addresses {
                network.give(at, address);
            }
        }
        network
    }

    fn give(&mut self, at: usize, address: &str) {
        let host = &mut self.hosts[at];
        // A new IPv6 address would wait a second for a neighbour who has it already.
        let at_once = if address.contains(':') { " nodad" } else { "" };
        ip(&format!("-n {} addr add {address} dev eth0{at_once}", host.space));
        let bare = address.split('/').next().unwrap_or(address);
        host.addresses.push(bare.parse().expect("an address"));
    }

    /// The host of that position in the list it was laid with.
    pub fn host(&self, at: usize) -> &Host {
        &self.hosts[at]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Interfaces go with their namespaces. What fails was never made, or nothing can be done.
        for host in &self.hosts {
            let _ = Command::new("ip").args(["netns", "del", &host.space]).output();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.switch]).output();
    }
}

impl Host {
    /// Its first address of that family.
    ///
    /// # Panics
    ///
    /// When it has none.
    pub fn address(&self, is_v4: bool) -> IpAddr {
        let found = self.addresses.iter().find(|address| address.is_ipv4() == is_v4);
        *found.expect("an address of that family")
    }

    /// All its addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The file that stands for it, for programs that are told where to run.
    pub fn namespace(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.space)
    }

    /// Runs `work` on this host: sockets that it opens and processes that it starts stay there.
    ///
    /// # Panics
    ///
    /// As `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = self.namespace();
        std::thread::scope(|scope| {
            let run = move || {
                let file = std::fs::File::open(path).expect("a namespace that was made");
                // Only this thread moves, and it ends with the work.
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network).expect("root may move");
                work()
            };
            match scope.spawn(run).join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("`ip` is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {words}: {said}");
}
