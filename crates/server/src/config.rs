//! What is meant: the settings of a server as plain, checked data. What was typed (flags, files) is
//! another crate's business.
//!
//! Invariants:
//! - A `Config` is a value handed down at start; nothing reads configuration afterwards, except
//!   what a reload hands over as a [`Reload`].
//! - Everything here has an effect, except [`Echo`], which only `stats settings` shows.

use std::path::PathBuf;

use kannuki_guard::{ListenerId, NetworkList, Policy};
pub use kannuki_protocol::Dialect;

pub use crate::tls::{ClientCheck, ListenerCheck, TlsConfig};

use crate::{auth::Format, log::LogConfig};

/// Settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// TCP and UDP sockets to open; resolved and bound at start.
    pub listens: Vec<Listen>,
    /// The UNIX socket to open, if any. The command line makes it exclude the others (`-s`).
    pub unix: Option<UnixListen>,
    /// Use the sockets handed over by the service manager (`LISTEN_FDS`) instead of `listens` and
    /// `unix`, if there are any.
    pub inherit_sockets: bool,
    /// Which protocol inherited sockets speak (`-B`); listeners of our own say it themselves.
    pub dialect: Dialect,
    /// Who has to log in how (`-Y`, `-S`); `None` = nobody. The policy says that they have to.
    pub login: Option<LoginConfig>,
    /// Who may connect, and what they may do; with the switches `-F`, `-X`, `-W`, `-A`.
    pub policy: Policy,
    /// Networks besides loopback that get whole UDP replies.
    pub udp_trusted: NetworkList,
    /// TLS (`-Z`); `None` = everything in clear.
    pub tls: Option<TlsConfig>,
    /// Length of the kernel's queue of connections not yet accepted (`-b`).
    pub backlog: u32,
    /// Firewall mark of the listening sockets (`-o sock_cookie_id`), 0 = none.
    pub socket_mark: u32,

    /// Items and index together, in bytes (`-m`).
    pub memory_bytes: u64,
    /// Largest item as memcached counts it, in bytes (`-I`).
    pub item_bytes_max: u32,
    /// Throw live items out when full; `false` is `-M`.
    pub evict: bool,
    /// `false` is `-C`.
    pub cas: bool,
    /// Keep all memory resident (`-k`); a failure only warns.
    pub lock_memory: bool,

    /// Event-loop threads (`-t`), at least 1.
    pub threads: usize,
    /// Most connections open at once (`-c`), at least 1.
    pub connections_max: u32,
    /// Over the limit: answer with a line and close (`true`), or stop accepting (`false`).
    pub maxconns_fast: bool,
    /// Commands served for one connection before the next is looked at (`-R`), at least 1.
    pub reqs_per_event: u32,
    /// Seconds without a command after which a TCP connection is closed; 0 = never.
    pub idle_timeout_secs: u32,
    /// Most bytes of unfinished input and unsent output that all connections together may hold
    /// (`-o read_buf_mem_limit`); 0 = the server's own bound.
    pub buffer_bytes_max: u64,

    /// Count per key prefix from the start (`-D` was given).
    pub detail_enabled: bool,
    /// Ends a key prefix (`-D`).
    pub prefix_delimiter: u8,
    /// `stats sizes` shows a histogram (`-o track_sizes`).
    pub track_sizes: bool,

    /// Detach from the terminal (`-d`).
    pub daemonize: bool,
    /// Where to write the process id (`-P`).
    pub pid_file: Option<PathBuf>,
    /// Whom to become after the sockets are open, if started as root (`-u`).
    pub user: Option<String>,
    /// Allow core dumps (`-r`).
    pub core_dumps: bool,
    /// Where to write the bound ports (`MEMCACHED_PORT_FILENAME`).
    pub port_file: Option<PathBuf>,
    /// Diagnostics: where, how much, rotation.
    pub log: LogConfig,
    /// Settings that mean nothing here, shown by `stats settings` all the same.
    pub echo: Echo,
}

/// `-Y`, `-S` and what belongs to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginConfig {
    /// The file of users.
    pub users: PathBuf,
    /// What its lines look like.
    pub format: Format,
    /// Text and meta: the first command is a log-in (`-Y`).
    pub text: bool,
    /// Binary: SASL (`-S`).
    pub sasl: bool,
    /// Seconds by which the answer to a wrong password is delayed, at least.
    pub delay_secs: u32,
    /// Failed log-ins after which their source is shut out; 0 = never.
    pub ban_after: u32,
    /// Seconds for which it is.
    pub ban_secs: u32,
}

/// One `-l` element, or the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TCP or UDP.
    pub transport: Transport,
    /// A name, an address, or `*` for every address.
    pub host: String,
    /// 0 = any free port.
    pub port: u16,
    /// Which protocol its connections speak.
    pub dialect: Dialect,
    /// Its connections speak TLS, and are asked so for a certificate; `None` = in clear. Where
    /// [`Config::tls`] is not set, nothing else works.
    pub tls: Option<ListenerCheck>,
    /// Skip silently if the host has no such address: the default `::1` on a host without IPv6.
    pub optional: bool,
    /// Under which its own terms stand in the policy, if it has any.
    pub id: ListenerId,
}

/// Stream or datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// `-s`, `-a`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListen {
    /// Path of the socket.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Which protocol its connections speak.
    pub dialect: Dialect,
}

/// What SIGHUP may change while the server runs.
#[derive(Clone, Debug)]
pub struct Reload {
    /// New verbosity of the diagnostics.
    pub verbosity: u8,
    /// New networks besides loopback that get whole UDP replies.
    pub udp_trusted: NetworkList,
    /// New rules, lists and exposure, for open connections too. Its switches and what it requires
    /// of peers count after a restart only.
    pub policy: Policy,
    /// New certificates and what goes with them; heeded where TLS was on at the start.
    pub tls: Option<TlsConfig>,
    /// Names of settings that have changed too, but only count after a restart.
    pub waiting: Vec<String>,
}

/// Values that only `stats settings` shows: as configured, in memcached's own units.
#[derive(Clone, Debug)]
pub struct Echo {
    /// `-p`, -1 = any.
    pub tcp_port: i32,
    /// `-U`, -1 = any.
    pub udp_port: i32,
    /// The `-l` list, or what stands for it.
    pub inter: Option<String>,
    /// `-f`
    pub growth_factor: f64,
    /// `-n`
    pub chunk_size: u32,
    /// `-B`: `ascii`, `binary` or `auto-negotiate`.
    pub binding_protocol: &'static str,
    /// `-o hashpower`
    pub hashpower_init: u32,
    /// `-o slab_reassign`
    pub slab_reassign: bool,
    /// `-o slab_automove`
    pub slab_automove: u8,
    /// `-o slab_automove_ratio`
    pub slab_automove_ratio: f64,
    /// `-o slab_automove_freeratio`
    pub slab_automove_freeratio: f64,
    /// `-o slab_automove_window`, in seconds.
    pub slab_automove_window: u32,
    /// `-o slab_chunk_max`, in bytes.
    pub slab_chunk_max: u32,
    /// `-o lru_crawler`
    pub lru_crawler: bool,
    /// `-o lru_crawler_sleep`, in microseconds.
    pub lru_crawler_sleep: u32,
    /// `-o lru_crawler_tocrawl`
    pub lru_crawler_tocrawl: u32,
    /// `-o tail_repair_time`, in seconds.
    pub tail_repair_time: u32,
    /// `-o hash_algorithm`
    pub hash_algorithm: String,
    /// `-o lru_maintainer`
    pub lru_maintainer: bool,
    /// `lru mode segmented`
    pub lru_segmented: bool,
    /// `-o hot_lru_pct`
    pub hot_lru_pct: u32,
    /// `-o warm_lru_pct`
    pub warm_lru_pct: u32,
    /// `-o hot_max_factor`
    pub hot_max_factor: f64,
    /// `-o warm_max_factor`
    pub warm_max_factor: f64,
    /// `-o temporary_ttl`, in seconds; `None` = off.
    pub temporary_ttl: Option<u32>,
    /// `-o watcher_logbuf_size`, in bytes.
    pub watcher_logbuf_bytes: u64,
    /// `-o worker_logbuf_size`, in bytes.
    pub worker_logbuf_bytes: u64,
    /// `-o read_buf_mem_limit`, in bytes.
    pub read_buf_mem_limit: u64,
    /// `-N`
    pub napi_ids: u32,
    /// `-e`
    pub memory_file: Option<String>,
}

impl Default for Echo {
    /// memcached's own defaults.
    fn default() -> Self {
        Self {
            tcp_port: 11211,
            udp_port: 0,
            inter: None,
            growth_factor: 1.25,
            chunk_size: 48,
            binding_protocol: "auto-negotiate",
            hashpower_init: 0,
            slab_reassign: true,
            slab_automove: 1,
            slab_automove_ratio: 0.8,
            slab_automove_freeratio: 0.01,
            slab_automove_window: 10,
            slab_chunk_max: 512 * 1024,
            lru_crawler: true,
            lru_crawler_sleep: 100,
            lru_crawler_tocrawl: 0,
            tail_repair_time: 0,
            hash_algorithm: "murmur3".to_owned(),
            lru_maintainer: true,
            lru_segmented: true,
            hot_lru_pct: 20,
            warm_lru_pct: 40,
            hot_max_factor: 0.2,
            warm_max_factor: 2.0,
            temporary_ttl: None,
            watcher_logbuf_bytes: 256 * 1024,
            worker_logbuf_bytes: 64 * 1024,
            read_buf_mem_limit: 0,
            napi_ids: 0,
            memory_file: None,
        }
    }
}
