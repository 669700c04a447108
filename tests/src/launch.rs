//! Starting and stopping servers.
//!
//! Invariants: a server listens on loopback only (unless a test says otherwise), on a port nobody
//! else used when it was chosen; it is known to accept before the test gets it; it is killed by
//! its own pid when the test ends, however it ends; what it said on stderr is kept and shown when
//! it fails to start.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::{self, net, net::UnixListener, process::CommandExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use socket2::Socket;
use tempfile::TempDir;

use crate::clock;
use crate::wire::Wire;

/// A server that has not accepted by then never will, even on a busy machine.
const START_BOUND: Duration = Duration::from_secs(20);

/// A server asked to stop has this long before it is killed.
const STOP_BOUND: Duration = Duration::from_secs(20);

/// A server closes at once what its peer has closed; this is for a busy machine.
const LEAVE_BOUND: Duration = Duration::from_secs(5);

/// Longer than anything a server says before it is asked.
const GREETING_BYTES_MAX: u64 = 4096;

/// Attempts to start, each on another port: the port may be taken between choosing and binding.
const START_ATTEMPTS: u32 = 5;

/// Ports are chosen below the range the kernel gives to outgoing connections, of which hostile
/// tests make thousands.
const PORT_FIRST: u32 = 12_000;
/// See [`PORT_FIRST`].
const PORT_COUNT: u32 = 20_000;

/// Which program to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `kannuki serve ...`
    Kannuki,
    /// The same binary under the name `memcached`, as a drop-in.
    KannukiAsMemcached,
    /// The distribution's memcached.
    Memcached,
    /// The memcached whose behaviour is the reference, where `cargo xtask test` could bring it.
    Rival,
}

impl Program {
    /// Where the program is, or why it is not there.
    ///
    /// # Errors
    ///
    /// When it is not installed or not built.
    pub fn path(self) -> Result<PathBuf, String> {
        match self {
            Self::Kannuki | Self::KannukiAsMemcached => kannuki_path(),
            Self::Memcached => memcached_path(),
            Self::Rival => rival_path(),
        }
    }

    /// A command that runs the program as a server; flags can follow.
    ///
    /// # Panics
    ///
    /// When the program is not there: see [`Program::path`].
    pub fn command(self) -> Command {
        let path = self.path().unwrap_or_else(|why| panic!("{why}"));
        let mut command = Command::new(path);
        match self {
            Self::Kannuki => {
                command.arg("serve");
            }
            Self::KannukiAsMemcached => {
                command.arg0("memcached");
            }
            Self::Memcached | Self::Rival => {}
        }
        command.stdin(Stdio::null());
        command
    }
}

fn kannuki_path() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("KANNUKI_BIN") {
        return Ok(PathBuf::from(path));
    }
    // Test binaries live in target/PROFILE/deps, the product beside that directory.
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.parent().and_then(Path::parent).map(|dir| dir.join("kannuki"));
    match beside {
        Some(path) if path.is_file() => Ok(path),
        _ => {
            Err("the kannuki binary is not built: `cargo build -p kannuki`, or set KANNUKI_BIN"
                .into())
        }
    }
}

fn memcached_path() -> Result<PathBuf, String> {
    let known = ["/usr/bin/memcached", "/usr/local/bin/memcached"];
    let found = known.iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| "memcached is not installed: `apt-get install memcached`".into())
}

fn rival_path() -> Result<PathBuf, String> {
    let path = std::env::var_os("KANNUKI_RIVAL").map(PathBuf::from);
    let found = path.filter(|path| path.is_file());
    found.ok_or_else(|| "no newer memcached: `cargo xtask test` brings it where it can".into())
}

/// A server to be started.
#[derive(Debug)]
pub struct Launch {
    program: Program,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    unix_socket: bool,
    listen: bool,
}

impl Launch {
    /// `kannuki serve`
    pub fn kannuki() -> Self {
        Self::of(Program::Kannuki)
    }

    /// The distribution's memcached.
    pub fn memcached() -> Self {
        Self::of(Program::Memcached)
    }

    /// Any of them.
    pub fn of(program: Program) -> Self {
        Self {
            program,
            flags: Vec::new(),
            environment: Vec::new(),
            unix_socket: false,
            listen: true,
        }
    }

    /// Adds command line words.
    #[must_use]
    pub fn flags<S: Into<String>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Listens on a UNIX socket (`-s`) in the server's own directory, and on nothing else.
    #[must_use]
    pub fn on_unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// Leaves `-l` to the test (which must still listen on 127.0.0.1).
    #[must_use]
    pub fn without_listen(mut self) -> Self {
        self.listen = false;
        self
    }

    /// Starts the server and waits until it accepts.
    ///
    /// # Panics
    ///
    /// When it does not; with what it said.
    pub fn start(&self) -> Server {
        let mut said = String::new();
        for _ in 0..START_ATTEMPTS {
            match self.attempt() {
                Ok(server) => return server,
                Err(why) => said = why,
            }
        }
        panic!("{:?} {:?} does not start: {said}", self.program, self.flags);
    }

    fn attempt(&self) -> Result<Server, String> {
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        // An unprivileged server makes its socket in here after dropping privileges.
        open_to_all(directory.path());
        let port = free_port();
        let socket_path = self.unix_socket.then(|| directory.path().join("socket"));
        let stderr_path = directory.path().join("stderr");
        let stderr = File::create(&stderr_path).map_err(|error| error.to_string())?;
        let mut command = self.program.command();
        match &socket_path {
            Some(path) => command.arg("-s").arg(path),
            None => command.args(["-p", &port.to_string()]),
        };
        if self.listen && socket_path.is_none() {
            command.args(["-l", "127.0.0.1"]);
        }
        if crate::process::is_root() && !self.flags.iter().any(|flag| flag == "-u") {
            command.args(["-u", "root"]);
        }
        command.args(&self.flags).envs(self.environment.iter().cloned());
        command.stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut server = Server { child, port, socket_path, stderr_path, _directory: directory };
        match server.wait_accepting() {
            Ok(()) => Ok(server),
            Err(why) => Err(format!("{command:?}: {why}; it said: {}", server.stderr())),
        }
    }
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    socket_path: Option<PathBuf>,
    stderr_path: PathBuf,
    _directory: TempDir,
}

impl Server {
    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its TCP address on loopback.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its UNIX socket, if it was started on one.
    pub fn socket_path(&self) -> Option<&Path> {
        self.socket_path.as_deref()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        let bytes = std::fs::read(&self.stderr_path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A new connection.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn connect(&self) -> Wire {
        self.try_connect().unwrap_or_else(|why| panic!("{why}"))
    }

    /// A new connection, or why it was refused.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub fn try_connect(&self) -> Result<Wire, String> {
        match &self.socket_path {
            Some(path) => Wire::unix(path).map_err(|error| format!("{}: {error}", path.display())),
            None => Wire::tcp(self.address()).map_err(|error| format!("{}: {error}", self.port)),
        }
    }

    /// True while the process has not exited.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        crate::process::signal(self.pid(), signal);
    }

    /// Waits for the exit, at most for `bound`.
    pub fn wait_exit(&mut self, bound: Duration) -> Option<ExitStatus> {
        clock::until(bound, || self.child.try_wait().ok().flatten())
    }

    /// Asks it to stop (SIGTERM) and waits; `None` if it had to be killed.
    pub fn stop(mut self) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        self.wait_exit(STOP_BOUND)
    }

    fn wait_accepting(&mut self) -> Result<(), String> {
        let outcome = clock::until(START_BOUND, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(format!("exited with {status}")));
            }
            let tried = match &self.socket_path {
                Some(path) => net::UnixStream::connect(path).map(Socket::from),
                // Whoever else holds the port, even for a moment, is not taken for this server.
                None if crate::process::listens(self.pid(), self.port) == Some(false) => {
                    return None;
                }
                None => TcpStream::connect(self.address()).map(Socket::from),
            };
            let accepts = tried.map(|socket| leave(&socket)).is_ok();
            accepts.then_some(Ok(()))
        });
        outcome.unwrap_or_else(|| Err("accepts no connection".into()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TCP and UDP port that nobody on loopback uses now and no other test process is given.
///
/// # Panics
///
/// When none is free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORT_COUNT {
        // Test processes that run side by side start far from each other.
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(7);
        let start = std::process::id().wrapping_mul(131);
        let candidate = PORT_FIRST + start.wrapping_add(step) % PORT_COUNT;
        let Ok(port) = u16::try_from(candidate) else { continue };
        // Claimed before it is tried: while we try it, it accepts, and another test whose server
        // is about to bind it would take us for that server.
        if !claim(port) {
            continue;
        }
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Claims a port against other test processes until this one ends, by a name that the kernel gives
/// to one socket at a time. Between our look at a port and the server's bind nothing else protects
/// it.
fn claim(port: u16) -> bool {
    static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = format!("kannuki-tests-port-{port}");
    let address = unix::net::SocketAddr::from_abstract_name(name);
    match address.and_then(|address| UnixListener::bind_addr(&address)) {
        Ok(listener) => {
            CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
            true
        }
        Err(_) => false,
    }
}

/// Ends a connection that only tried the door, and waits until the server has noticed: it would
/// still be listed among its connections.
fn leave(socket: &Socket) {
    let patience = socket.set_read_timeout(Some(LEAVE_BOUND));
    if patience.is_ok() && socket.shutdown(Shutdown::Write).is_ok() {
        // Whatever a greeting may say; ends when the server closes.
        let _ = io::copy(&mut { socket }.take(GREETING_BYTES_MAX), &mut io::sink());
    }
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(path, permissions).expect("a directory just made is ours");
}
