//! The server under attack, and what is asked of it in the end.

use kannuki_tests::process::{resident_bytes, resident_peak_bytes};
use kannuki_tests::{Launch, Server, Wire};

/// What an idle server and its index may take, in bytes, before anything was stored: far above
/// what it needs, far below what any of the attacks would cost if it were not bounded.
const IDLE_BYTES_MAX: u64 = 96 << 20;

/// A started server that is about to be attacked.
pub(crate) struct Victim {
    pub(crate) server: Server,
    idle_bytes: u64,
}

impl Victim {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let server = Launch::kannuki().flags(flags.iter().copied()).start();
        let idle_bytes = resident_bytes(server.pid()).expect("it runs");
        assert!(idle_bytes < IDLE_BYTES_MAX, "idle it takes {idle_bytes} bytes");
        Self { server, idle_bytes }
    }

    pub(crate) fn connect(&self) -> Wire {
        self.server.connect()
    }

    /// How often something was refused for a reason whose name holds `name`.
    pub(crate) fn refused(&self, name: &str) -> u64 {
        let stats = kannuki_tests::stats(&mut self.connect(), "stats");
        let refusals = stats.iter().filter(|(key, _)| {
            key.strip_prefix("kannuki_refused_").is_some_and(|reason| reason.contains(name))
        });
        refusals.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    /// All reasons counted so far, to be shown when the expected one is not among them.
    pub(crate) fn refusals(&self) -> Vec<(String, String)> {
        let stats = kannuki_tests::stats(&mut self.connect(), "stats");
        stats.into_iter().filter(|(key, _)| key.starts_with("kannuki_")).collect()
    }

    /// A counter of `stats`.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let stats = kannuki_tests::stats(&mut self.connect(), "stats");
        let found = stats.iter().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.parse().unwrap()
    }

    /// Fails unless a refusal of that name was counted.
    pub(crate) fn has_refused(&self, name: &str) {
        assert!(self.refused(name) > 0, "no refusal {name}: {:?}", self.refusals());
    }

    /// The end of every test: alive, answering, and never above `bytes` more than when idle.
    pub(crate) fn is_well(&mut self, bytes: u64) {
        assert!(self.server.is_running(), "it died: {}", self.server.stderr());
        let mut wire = self.connect();
        assert!(wire.ask("version\r\n").starts_with("VERSION "));
        assert_eq!(wire.ask("set well 0 0 2\r\nok\r\n"), "STORED");
        assert_eq!(wire.ask("get well\r\n"), "VALUE well 0 2");
        let peak = resident_peak_bytes(self.server.pid()).expect("it runs");
        let grown = peak.saturating_sub(self.idle_bytes);
        assert!(grown <= bytes, "it grew by {grown} bytes, allowed {bytes}");
    }
}
