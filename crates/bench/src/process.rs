//! The measured process: started on loopback, read from the kernel's account of it, stopped.
//!
//! Invariants: it listens on 127.0.0.1 only, on a port that was free; it is ended by its own process
//! id, and by the kernel when the bench is ended by a signal; a reading is of that process alone.

use std::fmt;
use std::fs;
use std::io::{Read as _, Seek as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kannuki_sys::process::tie_to_this_thread;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Ticks of `/proc/PID/stat` per second; the kernel reports in this unit on every Linux of today.
const TICKS_PER_SECOND: u64 = 100;
/// Looks at the port this often, this many times, before giving up on a start (10 s).
const START_POLL: Duration = Duration::from_millis(20);
/// See [`START_POLL`].
const START_POLLS_MAX: u32 = 500;
/// A server asked to stop has 20 s before it is killed.
const STOP_POLLS_MAX: u32 = 1000;
/// Of what a server that does not start said, shown.
const SAID_BYTES_MAX: u64 = 2000;

/// CPU time so far, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In the program itself.
    pub user: u64,
    /// In the kernel on its behalf.
    pub system: u64,
}

impl Cpu {
    /// What was used since an earlier reading.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The account of a process that somebody else may have started.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pid: u32,
}

impl Account {
    /// Of this process.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: u32) -> Result<Self> {
        let account = Self { pid };
        account.cpu().with_context(|| format!("no process {pid} to read"))?;
        Ok(account)
    }

    /// Its number.
    #[must_use]
    pub const fn pid(self) -> u32 {
        self.pid
    }

    /// What all its threads have used.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu(self) -> Result<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name in brackets may hold anything; fields are counted from its end.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut microseconds = || -> Result<u64> {
            let ticks: u64 = fields.next().context("/proc/PID/stat is short")?.parse()?;
            Ok(ticks.saturating_mul(1_000_000 / TICKS_PER_SECOND))
        };
        Ok(Cpu { user: microseconds()?, system: microseconds()? })
    }

    /// Resident bytes, now: everything, program and libraries too.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident(self) -> Result<u64> {
        // The sums in `status` are kept per processor and lag by megabytes; these are counted.
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid));
        let (text, label) = match rollup {
            Ok(text) => (text, "Rss:"),
            // Another user's process shows its status alone.
            Err(_) => (fs::read_to_string(format!("/proc/{}/status", self.pid))?, "VmRSS:"),
        };
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")).context("no RSS")?;
        Ok(kib.trim().parse::<u64>()?.saturating_mul(1024))
    }
}

/// A server's command line as it was typed: a program and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    words: Vec<String>,
}

impl Typed {
    /// Splits at blanks; `'...'` and `"..."` keep theirs.
    ///
    /// # Errors
    /// When a quote is open at the end, or there is no program.
    pub fn parse(text: &str) -> Result<Self> {
        let mut words: Vec<String> = Vec::new();
        let mut word: Option<String> = None;
        let mut quote = None;
        for letter in text.chars() {
            match quote {
                Some(open) if open == letter => quote = None,
                None if letter == '\'' || letter == '"' => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                None if letter.is_whitespace() => words.extend(word.take()),
                _ => word.get_or_insert_default().push(letter),
            }
        }
        ensure!(quote.is_none(), "`{text}`: a quote is open at the end");
        words.extend(word);
        ensure!(!words.is_empty(), "`{text}`: no program to start");
        Ok(Self { words })
    }

    /// For people: the program's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        let program = self.words.first().map_or("", String::as_str);
        program.rsplit('/').next().unwrap_or(program)
    }

    /// Whether it says how much memory to use.
    #[must_use]
    pub fn has_memory(&self) -> bool {
        let is_long = |word: &str| word.split('=').next() == Some("--memory-limit");
        self.words.iter().any(|word| word == "-m" || is_short_memory(word) || is_long(word))
    }

    /// The same with more words behind.
    #[must_use]
    pub fn with(&self, more: &[String]) -> Self {
        Self { words: [self.words.as_slice(), more].concat() }
    }

    /// The same with this memory limit in MiB instead of any other.
    #[must_use]
    pub fn with_memory(&self, mebibytes: u64) -> Self {
        let mut words = Vec::new();
        let mut rest = self.words.iter();
        while let Some(word) = rest.next() {
            let long = word.strip_prefix("--memory-limit");
            if word == "-m" || long == Some("") {
                rest.next();
            } else if !is_short_memory(word) && !long.is_some_and(|rest| rest.starts_with('=')) {
                words.push(word.clone());
            }
        }
        words.extend(["-m".to_owned(), mebibytes.to_string()]);
        Self { words }
    }
}

impl fmt::Display for Typed {
    /// As it was split: quotes are not put back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// `-m64`
fn is_short_memory(word: &str) -> bool {
    word.strip_prefix("-m").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Which processors the server gets and which the load.
#[derive(Clone, Debug)]
pub struct Sides {
    /// For the server; `None` where there is only one processor: nothing is pinned then.
    pinned: Option<(CpuSet, CpuSet)>,
}

impl Sides {
    /// Halves what this process may use: the first half drives, the second serves.
    ///
    /// # Errors
    /// When the kernel does not say what may be used.
    pub fn halves() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("asking which processors are allowed")?;
        let numbers: Vec<usize> =
            (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number)).collect();
        if numbers.len() < 2 {
            return Ok(Self { pinned: None });
        }
        let (mut load, mut server) = (CpuSet::new(), CpuSet::new());
        let half = numbers.len() / 2;
        for (place, &number) in numbers.iter().enumerate() {
            if place < half { load.set(number) } else { server.set(number) }
        }
        Ok(Self { pinned: Some((load, server)) })
    }

    /// Nothing pinned.
    #[must_use]
    pub const fn free() -> Self {
        Self { pinned: None }
    }

    /// Keeps this thread, and those it starts, on the load's side.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn drive(&self) -> Result<()> {
        let Some((load, _)) = &self.pinned else { return Ok(()) };
        sched_setaffinity(None, load).context("pinning the load")
    }

    /// A child inherits the side of the thread that starts it; there is no moment at which one of
    /// its threads could run elsewhere.
    fn start(&self, command: &mut Command) -> Result<Child> {
        if let Some((_, server)) = &self.pinned {
            sched_setaffinity(None, server).context("pinning the server")?;
        }
        let child = command.spawn();
        self.drive()?;
        child.with_context(|| format!("cannot start {}", command.get_program().display()))
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    said: fs::File,
}

impl Server {
    /// Starts it on a free port of 127.0.0.1 and waits until it accepts. It does not outlive the
    /// thread that calls this.
    ///
    /// # Errors
    /// When it does not; with what it said.
    pub fn start(typed: &Typed, sides: &Sides) -> Result<Self> {
        let (program, words) = typed.words.split_first().context("no program")?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let said = tempfile::tempfile().context("a file for what the server says")?;
        let mut command = Command::new(program);
        command.args(words).args(["-l", "127.0.0.1", "-U", "0", "-p", &port.to_string()]);
        if rustix::process::geteuid().is_root() && !words.iter().any(|word| word == "-u") {
            command.args(["-u", "root"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
        // A server that takes another user (`-u`) loses this and has to be ended by hand then.
        tie_to_this_thread(&mut command);
        let child = sides.start(&mut command)?;
        let mut server = Self { child, address, said };
        server.wait_accepting().with_context(|| format!("{command:?}"))?;
        Ok(server)
    }

    fn wait_accepting(&mut self) -> Result<()> {
        for _ in 0..START_POLLS_MAX {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status} instead of accepting: {}", self.said());
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            std::thread::sleep(START_POLL);
        }
        let said = self.said();
        bail!("it does not accept on {}: {said}", self.address)
    }

    /// The beginning of what it said on stderr.
    fn said(&mut self) -> String {
        let mut said = Vec::new();
        if self.said.rewind().is_ok() {
            // What cannot be read is not shown; the failure itself is told all the same.
            let _ = (&self.said).take(SAID_BYTES_MAX).read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its account.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { pid: self.child.id() }
    }

    /// Asks it to stop and waits for it; what does not stop is killed when dropped.
    ///
    /// # Errors
    /// When it is gone already: it ended while it was measured.
    pub fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended with {status} while it was measured: {}", self.said());
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("stopping the server")?;
        for _ in 0..STOP_POLLS_MAX {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(START_POLL);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One line about where this is measured.
///
/// # Errors
/// When the kernel does not say.
pub fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cores} x {model}, Linux {}", kernel.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Typed::parse(text).unwrap().words
    }

    #[test]
    fn command_lines_are_split_at_blanks_outside_quotes() {
        assert_eq!(words("  memcached  -m 64 "), ["memcached", "-m", "64"]);
        assert_eq!(words("a 'b c' \"d 'e\" ''"), ["a", "b c", "d 'e", ""]);
        assert!(Typed::parse("a 'b").is_err());
        assert!(Typed::parse("   ").is_err());
    }

    #[test]
    fn a_memory_limit_replaces_every_other() {
        for typed in ["x serve", "x serve -m 1", "x serve -m1", "x serve --memory-limit=1"] {
            assert_eq!(
                Typed::parse(typed).unwrap().with_memory(64).words,
                ["x", "serve", "-m", "64"]
            );
            assert_eq!(Typed::parse(typed).unwrap().has_memory(), typed != "x serve");
        }
        assert_eq!(Typed::parse("/usr/bin/memcached").unwrap().name(), "memcached");
    }

    #[test]
    fn this_process_has_an_account() {
        let account = Account::of(std::process::id()).unwrap();
        assert!(account.resident().unwrap() > 100_000);
        assert!(Account::of(u32::MAX).is_err());
    }

    #[test]
    fn a_program_that_ends_at_once_is_told_with_what_it_said() {
        let typed = Typed::parse("sh -c 'echo no such luck >&2; exit 3'").unwrap();
        let told = format!("{:#}", Server::start(&typed, &Sides::free()).unwrap_err());
        assert!(told.contains("no such luck") && told.contains('3'), "{told}");
    }
}
