//! What the kernel knows about a process: memory, descriptors, life; and signals to it.

use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// A child that dies with the test, however the test ends.
#[derive(Debug)]
pub struct Doomed(Child);

impl Doomed {
    /// Starts `command`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its exit, at most for `bound`.
    pub fn wait_exit(&mut self, bound: Duration) -> Option<ExitStatus> {
        crate::clock::until(bound, || self.0.try_wait().ok().flatten())
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resident memory of `pid` in bytes, `None` once it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    status_kib(pid, "VmRSS:").map(|kib| kib * 1024)
}

/// Largest resident memory `pid` ever had, in bytes.
pub fn resident_peak_bytes(pid: u32) -> Option<u64> {
    status_kib(pid, "VmHWM:").map(|kib| kib * 1024)
}

/// Number of open descriptors of `pid`.
pub fn descriptors(pid: u32) -> Option<usize> {
    std::fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
}

/// Whether a TCP socket that listens on `port`, of whatever address, is among the descriptors of
/// `pid`; `None` where the kernel does not let us see them.
pub fn listens(pid: u32, port: u16) -> Option<bool> {
    /// The state of a listening socket in the kernel's tables.
    const LISTENING: &str = "0A";
    let local = format!(":{port:04X}");
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, address, _, state, _, _, _, _, _, inode, ..] = fields[..] else { continue };
            if address.ends_with(&local) && state == LISTENING {
                sockets.push(format!("socket:[{inode}]"));
            }
        }
    }
    let held = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut targets = held.filter_map(|held| std::fs::read_link(held.ok()?.path()).ok());
    Some(targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str())))
}

/// True while `pid` exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name in parentheses may hold anything; the state follows the last one.
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z'))
}

/// Waits until `pid` is gone, at most for `bound`; false if it stays.
pub fn wait_gone(pid: u32, bound: Duration) -> bool {
    crate::clock::until(bound, || (!is_alive(pid)).then_some(())).is_some()
}

/// Sends `signal` to `pid`; false if there is no such process.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Raises this process's limit of open descriptors to at least `wanted`, as far as allowed; tells
/// the limit reached. Children inherit it.
pub fn raise_descriptor_limit(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let current = now.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    let ceiling = now.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: Some(wanted), maximum: Some(ceiling.max(wanted)) };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        return wanted;
    }
    let at_most = Rlimit { current: Some(ceiling), maximum: Some(ceiling) };
    if setrlimit(Resource::Nofile, at_most).is_ok() { ceiling } else { current }
}

/// True when the tests run as root, without which namespaces and `-u` cannot be tried.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn status_kib(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn whoever_holds_the_listener_listens() {
        let me = std::process::id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listens(me, port), Some(true));
        let mut other = Command::new("sleep");
        let mut other = Doomed::start(other.arg("60"));
        assert_eq!(listens(other.pid(), port), Some(false), "descriptors are not inherited");
        // A connection to that port is not a listener.
        let connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(listener);
        assert_eq!(listens(me, port), Some(false));
        drop(connection);
        assert!(other.wait_exit(Duration::ZERO).is_none());
    }
}
