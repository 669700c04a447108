//! Starting, waiting for signals, stopping.
//!
//! Order of the start, each step needing the one before: user, limits, sockets (with the rights of
//! the start), daemon, pid file, drop of privileges, UNIX socket, memory, threads, "ready"; then
//! what only starting needed is given back.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use kannuki_guard::{Guard, Policy, udp::ReplyBudget};
use kannuki_store::face::StoreConfig;
use kannuki_sys::process::{self, PidFile, PrivilegeError, User};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};

use crate::{
    acceptor::Acceptor,
    auth::{Authority, Users, serve_queue},
    clock,
    config::{Config, Reload},
    datagram::DatagramDoor,
    dispatch::{Executor, admin::log_refresh},
    doors::{Doors, Open, describe_inet},
    instance::{Instance, Parts, Rules},
    limits::{
        DESCRIPTORS_RESERVED, FINISH_POLL_MILLIS, HOUSEKEEPING_MILLIS, LOGIN_THREADS,
        MAINTENANCE_STEPS_PER_ROUND,
    },
    log,
    memory::{Pages, Store},
    registry::{Facts, State},
    tls::{self, Tls},
    worker::{Post, Worker},
};

/// Reads the configuration again; the error says which file and why.
pub type ReloadSource = Box<dyn FnMut() -> Result<Reload, String> + Send>;

/// What the caller is asked and told while the server runs.
pub struct Hooks {
    /// Called on SIGHUP. Its error is logged, and the old settings stay.
    pub reload: ReloadSource,
    /// Called once, when peers can connect.
    pub started: Box<dyn FnOnce(&Started) + Send>,
}

/// Where a server listens, once it does.
#[derive(Clone, Debug, Default)]
pub struct Started {
    /// TCP addresses, with their real ports.
    pub tcp: Vec<SocketAddr>,
    /// UDP addresses, with their real ports.
    pub udp: Vec<SocketAddr>,
    /// UNIX sockets.
    pub unix: Vec<PathBuf>,
    /// Whom the process became.
    pub user: Option<String>,
}

/// Why the server did not start or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The system refused something: exit code 71.
    #[error("{0}")]
    System(String),
    /// The limit of connections leaves no room: exit code 1.
    #[error("{0}")]
    Limit(String),
    /// The file of users cannot be used: exit code 1.
    #[error("{0}")]
    Users(String),
    /// A certificate or key cannot be used: exit code 64.
    #[error("{0}")]
    Tls(String),
    /// No such user: exit code 67.
    #[error("can't find the user {0} to switch to")]
    UnknownUser(String),
}

impl StartError {
    /// memcached's exit code for this failure.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::System(_) => 71,
            Self::Limit(_) | Self::Users(_) => 1,
            Self::Tls(_) => 64,
            Self::UnknownUser(_) => 67,
        }
    }
}

fn system<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> StartError {
    move |error| StartError::System(format!("{what}: {error}"))
}

/// Runs a server until it is told to stop.
///
/// # Errors
/// When a socket, a limit or a privilege could not be had: names it and the way out.
pub fn run(config: Config, hooks: Hooks) -> Result<(), StartError> {
    // Before the start detaches: whoever typed the name shall see that it is wrong.
    let user = find_user(&config)?;
    // Installed before anybody can connect, so that no signal finds the process unprepared.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGHUP])
        .map_err(system("cannot receive signals"))?;
    let mut config = config;
    let mut notices: Vec<String> = raise_limits(&mut config)?.into_iter().collect();
    // With the rights of the start, which may be the only ones that can read them.
    let authority = open_users(&config, &mut notices)?;
    let tls = load_tls(&config, &mut notices)?;
    let doors = Doors::open(&config)?;
    if config.daemonize {
        let keep_output = config.log.verbosity > 0;
        process::daemonize(config.core_dumps, keep_output).map_err(system("cannot detach"))?;
    }
    let pid_file = write_pid_file(&config)?;
    let removes_pid_file = config.daemonize;
    let start = Start { doors, user, authority, tls, notices };
    let served = serve(config, start, &mut signals, hooks);
    if let Some(pid_file) = pid_file.filter(|_| removes_pid_file || served.is_err())
        && let Err(error) = pid_file.remove()
    {
        tracing::warn!(%error, "cannot remove the pid file");
    }
    served
}

/// What the first half of the start leaves to the second.
struct Start {
    doors: Doors,
    user: Option<User>,
    authority: Option<Authority>,
    tls: Option<Tls>,
    /// To be logged once there is a log.
    notices: Vec<String>,
}

/// Everything from the drop of privileges on.
fn serve(
    config: Config,
    start: Start,
    signals: &mut Signals,
    hooks: Hooks,
) -> Result<(), StartError> {
    let Start { mut doors, user, authority, tls, mut notices } = start;
    drop_privileges(&config, user.as_ref())?;
    notices.extend(unreadable_users(&config));
    notices.extend(config.tls.as_ref().and_then(tls::unreadable));
    if let Some(unix) = config.unix.as_ref().filter(|_| doors.is_empty()) {
        doors.open_unix(unix, &config)?;
    }
    if let Some(path) = &config.port_file {
        doors.write_ports(path)?;
    }
    let started = started(&doors, user.map(|user| user.name));
    let (instance, threads) = start_threads(config, doors, authority, tls)?;
    for notice in notices {
        tracing::warn!("{notice}");
    }
    if started.tcp.is_empty() && started.udp.is_empty() && started.unix.is_empty() {
        tracing::warn!("nobody can connect: there is no port (-p), UDP port (-U) or socket (-s)");
    }
    (hooks.started)(&started);
    notify(&[sd_notify::NotifyState::Ready]);
    give_back_start(&instance);
    obey(&instance, signals, hooks.reload);
    notify(&[sd_notify::NotifyState::Stopping]);
    finish(&instance, signals, threads);
    Ok(())
}

/// Megabytes of code ran once. Not where memory is locked: there everything is to stay.
fn give_back_start(instance: &Instance) {
    if instance.config.lock_memory {
        return;
    }
    if let Err(error) = kannuki_sys::program::give_back_start() {
        tracing::debug!(%error, "pages that only the start needed stay");
    }
}

/// What helps against a limit of open files.
const MORE_FILES: &str =
    "start as root, raise the limit (ulimit -n, LimitNOFILE=), or ask for fewer with -c";

/// Makes room for the connections; `Some` = there is less than asked for, and why.
fn raise_limits(config: &mut Config) -> Result<Option<String>, StartError> {
    if config.lock_memory {
        // Without the right to it the limit stays, and what it means is said when memory is locked.
        let _ = process::raise_memlock();
    }
    if config.core_dumps {
        process::raise_core_limit().map_err(system("cannot allow core dumps"))?;
    }
    let sockets = config.listens.len() as u64 * 2 + 1;
    let threads = config.threads as u64 * 4;
    let own = sockets + threads + DESCRIPTORS_RESERVED;
    let wanted = u64::from(config.connections_max) + own;
    let Err(error) = process::raise_nofile(wanted) else { return Ok(None) };
    let most = process::raise_nofile_to_most();
    match u32::try_from(most.saturating_sub(own)) {
        // As memcached does under the same limit, which counts its own descriptors with -c.
        Ok(left) if left > 0 && most >= u64::from(config.connections_max) => {
            config.connections_max = left;
            Ok(Some(format!(
                "at most {left} connections: {most} open files leave no room for more; {MORE_FILES}"
            )))
        }
        _ => Err(StartError::System(format!(
            "cannot have {wanted} open files for {} connections: {error}; {MORE_FILES}",
            config.connections_max
        ))),
    }
}

/// Reads the users; what is odd about their file becomes a notice.
fn open_users(config: &Config, notices: &mut Vec<String>) -> Result<Option<Authority>, StartError> {
    let Some(login) = &config.login else { return Ok(None) };
    let path = login.users.display().to_string();
    let authority = Authority::open(login.clone())
        .map_err(|error| StartError::Users(format!("the file of users {path}: {error}")))?;
    let users = authority.users();
    notices.extend(users.warnings().iter().map(|warning| format!("{path}: {warning}")));
    Ok(Some(authority))
}

/// The users have been read, but whom the process has become cannot read them again.
fn unreadable_users(config: &Config) -> Option<String> {
    let login = config.login.as_ref()?;
    let error = std::fs::File::open(&login.users).err()?;
    let path = login.users.display();
    Some(format!("{path}: SIGHUP will not read the users again: {error}; chgrp and chmod g=r it"))
}

/// Reads certificates and key; what is odd about them becomes a notice.
fn load_tls(config: &Config, notices: &mut Vec<String>) -> Result<Option<Tls>, StartError> {
    let Some(tls) = config.tls.clone() else { return Ok(None) };
    let (tls, warnings) = Tls::load(tls).map_err(|error| StartError::Tls(error.to_string()))?;
    notices.extend(warnings);
    Ok(Some(tls))
}

fn write_pid_file(config: &Config) -> Result<Option<PidFile>, StartError> {
    let Some(path) = &config.pid_file else { return Ok(None) };
    let written = PidFile::write(path);
    written.map(Some).map_err(|error| {
        StartError::System(format!("cannot write the pid file {}: {error}", path.display()))
    })
}

/// Whom to become; `None` = stay who started, who is not root or was not asked to change.
fn find_user(config: &Config) -> Result<Option<User>, StartError> {
    let Some(name) = config.user.as_deref().filter(|_| process::is_root()) else {
        return Ok(None);
    };
    User::find(name).map(Some).map_err(|error| match error {
        PrivilegeError::UnknownUser(name) => StartError::UnknownUser(name),
        error => StartError::System(error.to_string()),
    })
}

fn drop_privileges(config: &Config, user: Option<&User>) -> Result<(), StartError> {
    let Some(user) = user else { return Ok(()) };
    if let Some(path) = &config.log.file {
        // If this fails, opening the log will say why.
        let _ = make_log_file(path, user);
    }
    process::drop_privileges(user).map_err(|error| StartError::System(error.to_string()))
}

/// Makes a missing log file for the user to come, where that user could not: in `/var/log`, as
/// Debian's `memcached.conf` wants it.
///
/// Only in a folder that is not the user's own and not open to all, so that nobody but the folder's
/// owner can lead root to another place; and never over anything that is there.
fn make_log_file(path: &Path, user: &User) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
    const OPEN_TO_ALL: u32 = 0o002;
    let folder = path.parent().unwrap_or(path).metadata()?;
    if user.uid == 0 || folder.uid() == user.uid || folder.mode() & OPEN_TO_ALL != 0 {
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create_new(true).mode(0o640);
    fchown(options.open(path)?, Some(user.uid), Some(user.gid))
}

fn started(doors: &Doors, user: Option<String>) -> Started {
    let mut started = Started { user, ..Started::default() };
    for door in &doors.listeners {
        match door.socket.local_address() {
            kannuki_sys::socket::LocalAddress::Inet(address) => started.tcp.push(*address),
            kannuki_sys::socket::LocalAddress::Unix(path) => started.unix.push(path.clone()),
        }
    }
    started.udp = doors.datagrams.iter().map(|door| door.socket.local_address()).collect();
    started
}

fn start_threads(
    config: Config,
    doors: Doors,
    authority: Option<Authority>,
    tls: Option<Tls>,
) -> Result<(Arc<Instance>, Vec<JoinHandle<()>>), StartError> {
    let log = log::start(&config.log, clock::wall).map_err(system("cannot start the log"))?;
    if config.lock_memory
        && let Err(error) = kannuki_sys::memory::lock_all_memory()
    {
        tracing::warn!(%error, "cannot lock memory (-k); going on without");
    }
    // One for each event loop, and the last for the acceptor.
    let posts: Vec<Post> = (0..=config.threads)
        .map(|_| Post::new())
        .collect::<Result<_, _>>()
        .map_err(system("cannot make an event loop"))?;
    let instance = Arc::new(Instance::new(Parts {
        clock: clock::Clock::start(),
        executor: Executor::new(store(&config)?),
        guard: Guard::new(config.policy.clone()),
        authority,
        tls,
        log: Some(log),
        letterboxes: posts.iter().map(|post| Arc::clone(&post.letterbox)).collect(),
        config,
    }));
    let threads = spawn(&instance, posts, doors)?;
    Ok((instance, threads))
}

fn store(config: &Config) -> Result<Store, StartError> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(system("cannot get random bytes for the key hash"))?;
    let settings = StoreConfig {
        memory_bytes: config.memory_bytes,
        item_bytes_max: config.item_bytes_max,
        evict: config.evict,
        cas: config.cas,
        threads: config.threads,
        seed,
    };
    let pages = Pages::new(settings.memory_bytes);
    Store::new(settings, pages).map_err(system("cannot set the memory up"))
}

fn spawn(
    instance: &Arc<Instance>,
    mut posts: Vec<Post>,
    doors: Doors,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let own = posts.pop();
    let mut threads = Vec::with_capacity(posts.len() + 2);
    let udp = udp_doors(instance, doors.datagrams, posts.len())?;
    let letterboxes = posts.iter().map(|post| Arc::clone(&post.letterbox)).collect();
    for (number, (post, doors)) in posts.into_iter().zip(udp).enumerate() {
        let worker = Worker::new(Arc::clone(instance), number, post, doors)
            .map_err(system("cannot make an event loop"))?;
        threads.push(thread(format!("worker-{number}"), move || worker.run())?);
    }
    if let Some(own) = own {
        let acceptor = Acceptor::new(Arc::clone(instance), own, doors.listeners, letterboxes)
            .map_err(system("cannot watch the listeners"))?;
        threads.push(thread("acceptor".to_owned(), move || acceptor.run())?);
    }
    let passwords = if instance.authority.is_some() { LOGIN_THREADS } else { 0 };
    for number in 0..passwords {
        let instance = Arc::clone(instance);
        threads.push(thread(format!("password-{number}"), move || serve_queue(&instance))?);
    }
    let instance = Arc::clone(instance);
    threads.push(thread("housekeeping".to_owned(), move || keep_house(&instance))?);
    Ok(threads)
}

fn thread(
    name: String,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    Builder::new().name(name).spawn(body).map_err(system("cannot start a thread"))
}

/// Every thread's share of every UDP socket.
fn udp_doors(
    instance: &Arc<Instance>,
    datagrams: Vec<Open<kannuki_sys::socket::Datagram>>,
    threads: usize,
) -> Result<Vec<Vec<DatagramDoor>>, StartError> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let mut shares: Vec<Vec<DatagramDoor>> = (0..threads).map(|_| Vec::new()).collect();
    for Open { socket, dialect, id, .. } in datagrams {
        let address = describe_inet("udp", socket.local_address());
        let descriptor = socket.as_fd().as_raw_fd();
        let now = instance.clock.now();
        let mut facts = Facts::new(descriptor, address, None, State::Read, now);
        facts.datagram = true;
        let registered = Arc::new(instance.registry.register_socket(facts));
        let Some((first, others)) = shares.split_first_mut() else { continue };
        for share in others {
            let socket = socket.try_clone().map_err(system("cannot share a UDP socket"))?;
            let registered = Arc::clone(&registered);
            share.push(DatagramDoor { socket, dialect, id, registered });
        }
        // The registered descriptor stays open: its number is not given to a connection.
        first.push(DatagramDoor { socket, dialect, id, registered });
    }
    Ok(shares)
}

/// The clock, expiry, the reserve of free memory.
fn keep_house(instance: &Instance) {
    while !instance.control.is_stopping() {
        instance.clock.tick();
        let now = instance.clock.now();
        for _ in 0..MAINTENANCE_STEPS_PER_ROUND {
            instance.rounds.fetch_add(1, Ordering::Relaxed);
            if !instance.executor.maintain(now).more {
                break;
            }
        }
        std::thread::park_timeout(Duration::from_millis(HOUSEKEEPING_MILLIS));
    }
    // The event loops measure their last seconds by this clock.
    let until = instance.clock.now().0 + crate::limits::DRAIN_SECS + 1;
    while instance.registry.connections() > 0 && instance.clock.now().0 < until {
        std::thread::park_timeout(Duration::from_millis(HOUSEKEEPING_MILLIS));
        instance.clock.tick();
    }
}

/// Waits for signals and does what they ask, until one asks to stop.
fn obey(instance: &Arc<Instance>, signals: &mut Signals, mut reload: ReloadSource) {
    for signal in signals.forever() {
        match signal {
            SIGHUP => reload_all(instance, &mut reload),
            SIGUSR1 => {
                // memcached says it at any verbosity.
                tracing::warn!("Gracefully stopping");
                return instance.control.stop();
            }
            _ => {
                tracing::info!(signal, "stopping");
                return instance.control.stop();
            }
        }
    }
}

/// Waits for the threads, which give open requests some seconds; a second signal to stop ends that.
fn finish(instance: &Instance, signals: &mut Signals, threads: Vec<JoinHandle<()>>) {
    while threads.iter().any(|thread| !thread.is_finished()) {
        if signals.pending().any(|signal| signal != SIGHUP) {
            instance.control.hurry();
        }
        std::thread::park_timeout(Duration::from_millis(FINISH_POLL_MILLIS));
    }
    for thread in threads {
        // A thread that panicked has ended the process already in a release build.
        let _ = thread.join();
    }
}

fn reload_all(instance: &Instance, reload: &mut ReloadSource) {
    if let Err(error) = instance.reopen_log() {
        tracing::error!(%error, "cannot reopen the log; writing to the old file");
    }
    match Fresh::read(instance, reload) {
        Ok(fresh) => fresh.take_over(instance),
        Err(error) => tracing::error!(
            error,
            "reload failed: the old settings, users and certificates stay in force"
        ),
    }
}

/// Everything that a reload changes, read and found good: it takes over as a whole or not at all.
struct Fresh {
    settings: Reload,
    users: Option<Users>,
    certificates: Option<(tls::Prepared, Vec<String>)>,
}

impl Fresh {
    /// The error names the file and the reason.
    fn read(instance: &Instance, reload: &mut ReloadSource) -> Result<Self, String> {
        let mut settings = reload()?;
        let users = instance.authority.as_ref().map(|authority| {
            let path = authority.config().users.display();
            authority.read_again().map_err(|error| format!("the file of users {path}: {error}"))
        });
        let tls = instance.tls.as_ref().zip(settings.tls.take());
        let certificates =
            tls.map(|(tls, config)| tls.prepare(config).map_err(|error| error.to_string()));
        Ok(Self { settings, users: users.transpose()?, certificates: certificates.transpose()? })
    }

    fn take_over(self, instance: &Instance) {
        let Self { settings, users, certificates } = self;
        let users = instance.authority.as_ref().zip(users).map(|(authority, users)| {
            authority.replace(users);
            authority
        });
        let warnings = instance.tls.as_ref().zip(certificates).map(|(tls, (fresh, warnings))| {
            tls.adopt(fresh, instance.clock.now());
            warnings
        });
        instance.set_verbosity(settings.verbosity);
        // Last: by a new guard, threads notice that something has changed. Connections of users who
        // are gone, or whose line has changed, end when it reaches them.
        let old = instance.rules();
        let policy = reloaded(old.guard.policy(), settings.policy);
        let replies = ReplyBudget::new(settings.udp_trusted);
        instance.set_rules(Rules { guard: old.guard.successor(policy), replies });
        users.into_iter().for_each(log_users);
        warnings.into_iter().for_each(|warnings| log_refresh(&Ok(warnings)));
        tracing::info!("reloaded");
        if !settings.waiting.is_empty() {
            let settings = settings.waiting.join(", ");
            tracing::warn!(settings, "changed settings that only count after a restart");
        }
    }
}

/// Says in the log that the users were read again, and what is odd about their file.
fn log_users(authority: &Authority) {
    let (users, path) = (authority.users(), authority.config().users.display().to_string());
    for warning in users.warnings() {
        tracing::warn!(path, %warning, "the file of users");
    }
    tracing::info!(path, users = users.count(), "read the users again");
}

/// The new policy, with what only counts after a restart as it was.
fn reloaded(old: &Policy, new: Policy) -> Policy {
    Policy {
        // What protects counts at once, if only by shutting: nobody comes in by half a change.
        login_required: old.login_required || new.login_required,
        tls_required: old.tls_required || new.tls_required,
        flush: old.flush,
        dump: old.dump,
        watch: old.watch,
        shutdown: old.shutdown,
        ..new
    }
}

/// Tells the service manager, if there is one.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
