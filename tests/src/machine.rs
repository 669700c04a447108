//! A real Debian 12 with systemd, booted in a container on a [`Host`] of a test's own network.
//!
//! Invariants: each machine works on a copy of the system that `cargo xtask story` made, and the
//! copy goes with it; each boot has a control group that no other machine shares; what is
//! started ends with the test, by its own pid; nothing of the machine is registered with, or seen
//! by, the service manager of the host.
//!
//! Needs root, systemd-nspawn and the system (`KANNUKI_SYSTEM`): ask [`unavailable`] first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock;
use crate::control_group::ControlGroup;
use crate::network::Host;

/// A system that has not come up by then never will, even on a busy machine.
const BOOT_BOUND: Duration = Duration::from_secs(120);

/// A system asked to power off has this long before it is killed.
const POWER_OFF_BOUND: Duration = Duration::from_secs(60);

/// Why machines cannot be booted here, if so.
pub fn unavailable() -> Option<String> {
    if let Some(why) = crate::network::unavailable() {
        return Some(why.into());
    }
    if Command::new("systemd-nspawn").arg("--version").output().is_err() {
        return Some("`apt-get install systemd-container`".into());
    }
    match system() {
        Some(path) if path.is_dir() => None,
        _ => Some("no system to boot: `cargo xtask story` makes one".into()),
    }
}

fn system() -> Option<PathBuf> {
    std::env::var_os("KANNUKI_SYSTEM").map(PathBuf::from)
}

/// A machine, on or off.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    namespace: PathBuf,
    running: Option<Running>,
}

/// A program that runs on the machine.
#[derive(Debug)]
pub struct Begun(Child);

impl Begun {
    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|ended| ended.is_some())
    }

    /// Ends it as a loss of power would, without a word to it; not what it started.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn kill(mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.0.wait().expect("a child of ours");
    }

    /// Sends it a signal; whether it still was there.
    pub fn signal(&self, signal: rustix::process::Signal) -> bool {
        // nsenter waits for the one process that it made, which became the program.
        let program = children(self.0.id()).first().copied();
        program.is_some_and(|pid| crate::process::signal(pid, signal))
    }

    /// Waits for its end; its exit code.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn code(mut self) -> Option<i32> {
        self.0.wait().expect("a child of ours").code()
    }
}

#[derive(Debug)]
struct Running {
    container: Child,
    /// Its first process, as this host numbers it.
    leader: u32,
    /// A new one each time: the unified hierarchy lets nobody into a group that was divided.
    _group: ControlGroup,
}

impl Machine {
    /// A machine on that host, still off, so that its files can be laid out.
    ///
    /// # Panics
    ///
    /// When the system cannot be copied.
    pub fn on(host: &Host) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let system = system().expect("KANNUKI_SYSTEM, as `cargo xtask test` sets it");
        let name = format!("{}.{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let root = system.with_file_name("machines").join(name);
        fs::create_dir_all(root.parent().expect("a folder")).expect("the target is writable");
        let machine = Self { root, namespace: host.namespace(), running: None };
        run(Command::new("cp").arg("-a").arg(&system).arg(&machine.root));
        machine
    }

    /// Where its files are. While it is off they may be changed, while it is on they are live.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads one of its files.
    ///
    /// # Panics
    ///
    /// When there is no such text.
    pub fn read(&self, path: &str) -> String {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Writes one of its files, with its folder.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Boots and waits until every service has started. The product is `/usr/local/bin/kannuki`.
    ///
    /// # Panics
    ///
    /// When it does not come up; with what it said.
    pub fn boot(&mut self) {
        static BOOTED: AtomicU32 = AtomicU32::new(0);
        let product = crate::Program::Kannuki.path().unwrap_or_else(|why| panic!("{why}"));
        let log_path = self.root.with_extension("log");
        let log = File::create(&log_path).expect("the target is writable");
        let boot = BOOTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("kannuki-{}-{boot}", std::process::id());
        let group = ControlGroup::new(&name);
        let mut command = group.command("systemd-nspawn");
        command.args(["--boot", "--register=no", "--keep-unit", "--quiet", "--console=pipe"]);
        // Containers of one name share a folder of this host, which the first to end removes.
        command.arg(format!("--machine={name}")).arg("--hostname=web1");
        command.arg(words("--directory=", &self.root));
        command.arg(words("--network-namespace-path=", &self.namespace));
        // A machine's own services load its packet filter.
        command.arg("--capability=CAP_NET_ADMIN");
        // A name of its own: the product may not be where the system's packages put theirs.
        command.arg(words("--bind-ro=", &product) + ":/usr/local/bin/kannuki");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let container = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.running = Some(Running { container, leader: 0, _group: group });
        let came_up = clock::until(BOOT_BOUND, || self.has_come_up().then_some(()));
        let said = fs::read_to_string(&log_path).unwrap_or_default();
        assert!(came_up.is_some(), "the machine does not come up: {said}");
    }

    fn has_come_up(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        if running.leader == 0 {
            running.leader = first_child(running.container.id()).unwrap_or(0);
            return false;
        }
        let state = self.attempt("systemctl is-system-running");
        matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded")
    }

    /// Runs a shell command on the machine.
    ///
    /// # Panics
    ///
    /// When the machine is off.
    pub fn attempt(&self, command: &str) -> Output {
        self.enter(command).output().expect("nsenter is installed")
    }

    /// Begins a program on the machine, to be ended with [`Begun::kill`].
    ///
    /// # Panics
    ///
    /// When the machine is off.
    pub fn begin(&self, program: &str) -> Begun {
        let mut enter = self.enter(&format!("exec {program}"));
        enter.stdout(Stdio::null()).stderr(Stdio::null());
        Begun(enter.spawn().expect("nsenter is installed"))
    }

    fn enter(&self, command: &str) -> Command {
        let running = self.running.as_ref().expect("the machine is on");
        let mut enter = Command::new("nsenter");
        // Its root too: where this host is itself a folder, mount points alone lead past it.
        enter.args(["--all", "--root", "--wd"]);
        enter.args(["--target", &running.leader.to_string(), "--"]);
        enter.args(["/usr/bin/env", "-i", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"]);
        enter.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        enter.args(["/bin/sh", "-c", command]).stdin(Stdio::null());
        enter
    }

    /// Runs a shell command on the machine; what it printed.
    ///
    /// # Panics
    ///
    /// When it fails; with what it said.
    pub fn run(&self, command: &str) -> String {
        let output = self.attempt(command);
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {}: {printed}{said}", output.status);
        printed
    }

    /// Powers off in order, as a person would; its files stay.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn power_off(&mut self) {
        // The answer may be lost with the machine.
        let _ = self.attempt("systemctl poweroff");
        let Some(mut running) = self.running.take() else { return };
        let ended = clock::until(POWER_OFF_BOUND, || running.container.try_wait().ok().flatten());
        if ended.is_none() {
            self.running = Some(running);
            panic!("the machine does not power off");
        }
    }

    /// Powers off and boots again: what a provider's restart does.
    pub fn restart(&mut self) {
        self.power_off();
        self.boot();
    }

    fn cut_power(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if running.leader != 0 {
            // The end of its first process ends all of them, and the container with them.
            crate::process::signal(running.leader, rustix::process::Signal::KILL);
            let ended = || running.container.try_wait().ok().flatten();
            if clock::until(POWER_OFF_BOUND, ended).is_some() {
                return;
            }
        }
        let _ = running.container.kill();
        let _ = running.container.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut_power();
        // What is left below the target folder is cleared by the next who cleans it.
        let _ = Command::new("rm").args(["-rf", "--one-file-system"]).arg(&self.root).status();
        let _ = fs::remove_file(self.root.with_extension("log"));
    }
}

fn words(flag: &str, path: &Path) -> String {
    format!("{flag}{}", path.to_str().expect("a path of the target folder is text"))
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn first_child(pid: u32) -> Option<u32> {
    let first = *children(pid).first()?;
    // Before the system's first process takes its place, the container works on its own.
    let name = fs::read_to_string(format!("/proc/{first}/comm")).ok()?;
    (name.trim() == "systemd").then_some(first)
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
