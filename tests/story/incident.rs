//! The scene: a booted Debian 12 with memcached open to everybody, an attacker, and a victim.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kannuki_tests::clock;
use kannuki_tests::machine::{self, Machine};
use kannuki_tests::network::Network;
use kannuki_tests::spoof::{Forger, Meter};

/// What the automated build of the story left in place of Debian's own lines.
const OPEN: &str = "\
# memcached default config file
# 2003 - Jay Bonaventure <jaybonaventure@debian.org>

# Run memcached as a daemon. This command is implied, and is not needed for the
# daemon to run.
-d

logfile /var/log/memcached.log
-m 64
-p 11211
-u memcache
-l 0.0.0.0
-U 11211
-P /var/run/memcached/memcached.pid
";

/// memcached's port.
pub(crate) const PORT: u16 = 11_211;

/// `stats` in one datagram: what scanners and attackers send. Bytes 0 and 1 are the id.
const STATS: &[u8] = b"\0\x01\0\0\0\x01\0\0stats\r\n";

/// Datagrams of one flood: enough for a factor, nothing for a network.
const REQUESTS: usize = 20;

/// memcached listens within milliseconds; this is for a busy machine.
const START_BOUND: Duration = Duration::from_secs(30);

/// The hosts, by their position in the network.
pub(crate) const SERVER: usize = 0;
pub(crate) const ATTACKER: usize = 1;
const VICTIM: usize = 2;

/// Everything that takes part.
#[derive(Debug)]
pub(crate) struct Incident {
    pub(crate) machine: Machine,
    pub(crate) network: Network,
}

/// What went in and what came out.
#[derive(Debug)]
pub(crate) struct Flood {
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
}

impl Flood {
    /// Bandwidth amplification factor: UDP payload to the victim per UDP payload of the attacker.
    pub(crate) fn factor(&self) -> f64 {
        self.arrived as f64 / self.sent as f64
    }
}

impl Incident {
    /// The machine is up and open; `None` where no machine can be booted, which was said.
    pub(crate) fn happens() -> Option<Self> {
        Self::with(|_| {})
    }

    /// The same, after `prepare` has changed the machine's files.
    pub(crate) fn with(prepare: impl FnOnce(&Machine)) -> Option<Self> {
        if let Some(why) = machine::unavailable() {
            if kannuki_tests::process::is_root() {
                kannuki_tests::missing("the story", &why);
            } else {
                eprintln!("\n*** SKIPPED: the story: {why} ***\n");
            }
            return None;
        }
        let network = Network::lay(&[
            &["203.0.113.10/24", "2001:db8:113::10/64"],
            &["203.0.113.66/24"],
            &["203.0.113.99/24"],
        ]);
        let mut machine = Machine::on(network.host(SERVER));
        machine.write("/etc/hostname", "web1\n");
        machine.write("/etc/memcached.conf", OPEN);
        prepare(&machine);
        machine.boot();
        let incident = Self { machine, network };
        incident.wait_for_memcached();
        Some(incident)
    }

    /// Waits until memcached listens: its unit counts as started before it does.
    pub(crate) fn wait_for_memcached(&self) {
        let listens = || {
            let sockets = self.machine.run("ss -Hlnt 'sport = :11211'");
            (!sockets.is_empty()).then_some(())
        };
        assert!(clock::until(START_BOUND, listens).is_some(), "memcached does not start");
    }

    /// The attacker asks for statistics in the victim's name; what reaches the victim is counted.
    pub(crate) fn flood(&self) -> Flood {
        let victim = self.network.host(VICTIM).address(true);
        let server: IpAddr = self.network.host(SERVER).address(true);
        let meter = self.network.host(VICTIM).inside(|| Meter::new(victim));
        let posing = SocketAddr::new(victim, 443);
        let forger = self
            .network
            .host(ATTACKER)
            .inside(|| Forger::posing_as(posing, SocketAddr::new(server, PORT)));
        let sent = (0..REQUESTS).map(|_| forger.send(STATS)).sum();
        let mut arrived = BTreeMap::new();
        meter.rest(&mut arrived);
        Flood { sent, arrived: arrived.values().map(|reply| reply.bytes).sum() }
    }
}
