//! The measured process: started on loopback, its CPU time read from the kernel, stopped.

use std::fs;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Ticks of `/proc/PID/stat` per second; the kernel reports in this unit on every Linux of today.
const TICKS_PER_SECOND: u64 = 100;
/// Looks at the port this often, this many times, before giving up on a start.
const START_POLL: Duration = Duration::from_millis(20);
const START_POLLS_MAX: u32 = 250;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The distribution's.
    Memcached,
    /// Ours, release build.
    Kannuki,
}

impl Kind {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memcached => "memcached",
            Self::Kannuki => "kannuki",
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Memcached => Command::new("memcached"),
            Self::Kannuki => {
                let mut command = Command::new(shell::target().join("release/kannuki"));
                command.arg("serve");
                command
            }
        }
    }
}

/// CPU time so far, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu {
    /// In the program itself.
    pub(super) user: u64,
    /// In the kernel on its behalf.
    pub(super) system: u64,
}

/// A running server; killed when dropped.
pub(super) struct Subject {
    child: Child,
    port: u16,
}

impl Subject {
    /// Starts it with the same four threads and 1 GiB for either kind.
    pub(super) fn start(kind: Kind) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = kind.command();
        let port_word = port.to_string();
        command.args(["-l", "127.0.0.1", "-p", &port_word, "-t", "4", "-m", "1024"]);
        if shell::is_root() {
            command.args(["-u", "nobody"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {}", kind.name()))?;
        let mut subject = Self { child, port };
        subject.wait_accepting()?;
        Ok(subject)
    }

    fn wait_accepting(&mut self) -> Result<()> {
        for _ in 0..START_POLLS_MAX {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status} instead of accepting");
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(START_POLL);
        }
        bail!("the server does not accept on port {}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What all its threads have used.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in brackets may hold anything; fields are counted from its end.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut microseconds = || -> Result<u64> {
            let ticks: u64 = fields.next().context("/proc/PID/stat is short")?.parse()?;
            Ok(ticks * 1_000_000 / TICKS_PER_SECOND)
        };
        Ok(Cpu { user: microseconds()?, system: microseconds()? })
    }

    /// Asks it to stop and waits for it.
    pub(super) fn stop(mut self) -> Result<()> {
        shell::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One line about where this was measured.
pub(super) fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let theirs = shell::capture(Command::new("memcached").arg("-V"))?;
    Ok(format!("{cores} x {model}, Linux {}, {}", kernel.trim(), theirs.trim()))
}
