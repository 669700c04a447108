//! Every bound of the server, each with its reason. Units come last in the names.

/// Bytes that one read asks the kernel for: large enough that a pipeline of a thousand commands is
/// one system call, small enough to stay in the second-level cache. One such buffer per thread.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Unsent bytes of one connection above which no further command of it is executed, so that a peer
/// that asks and never reads holds this much and one value more, not what it asked for.
pub(crate) const OUTPUT_BYTES_HIGH: usize = 256 * 1024;

/// Bytes of capacity that a thread's output buffer keeps between turns; more is given back.
pub(crate) const OUTPUT_KEEP_BYTES: usize = 2 * OUTPUT_BYTES_HIGH;

/// Shared value blocks that one reply queue may point at before it is sent: each is pinned in
/// memory until then.
pub(crate) const OUTPUT_CHAINS_MAX: usize = 64;

/// Values at least this long go to the socket from where they are, without a copy.
pub(crate) const CHAIN_COPY_BYTES_MAX: usize = 4 * 1024;

/// Pieces handed to one gathering write: what the kernel takes is 1024; more than a few dozen
/// gain nothing.
pub(crate) const WRITE_PIECES_MAX: usize = 64;

/// Bytes of unfinished input and unsent output that all connections together may hold, where
/// `read_buf_mem_limit` does not say otherwise. 10,000 half-sent requests of 16 KiB fit.
pub(crate) const BUFFERS_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;

/// Seconds that a peer may leave its replies unread before it is closed.
pub(crate) const WRITE_STALL_SECS: u32 = 60;

/// Seconds from the accept within which a TLS handshake must be done: two or three round trips and
/// some milliseconds of arithmetic, a hundred times over.
pub(crate) const HANDSHAKE_SECS: u32 = 10;

/// Connections whose TLS handshake one thread carries on in a turn: a handshake costs up to a
/// millisecond (RSA), and whoever is connected already does not wait for more than a few of them.
pub(crate) const HANDSHAKES_PER_TURN: u32 = 16;

/// Certificates of clients that one thread judges again in a turn, after the server's own have been
/// read anew: each costs two or three tenths of a millisecond, and ten thousand connections that
/// speak at once would keep everybody waiting for seconds.
pub(crate) const VERIFICATIONS_PER_TURN: u32 = 64;

/// Bytes of replies that TLS seals at once, four records: one send for most turns, and no more than
/// this waits sealed for a peer that does not read.
pub(crate) const SEAL_BYTES_MAX: usize = 64 * 1024;

/// Seconds that open requests get to finish after SIGTERM.
pub(crate) const DRAIN_SECS: u32 = 5;

/// Milliseconds between two looks at whether the threads have finished after a signal to stop.
pub(crate) const FINISH_POLL_MILLIS: u64 = 10;

/// Bytes of a command or reply that `-vv` logs: enough for the longest ordinary line.
pub(crate) const LOGGED_BYTES_MAX: usize = 512;

/// Connections taken from one listener before the others are looked at.
pub(crate) const ACCEPTS_PER_TURN: usize = 64;

/// Seconds that a proxy has for its PROXY header. It sends it with the handshake; a lost packet
/// comes again within three.
pub(crate) const PROXY_HEADER_SECS: u32 = 5;

/// Milliseconds between two attempts to accept again, once the limit of connections was reached.
pub(crate) const ACCEPT_RETRY_MILLIS: u64 = 10;

/// Bytes that the connections of one batch may have sent together: two full reads, so that every
/// connection is offered a full one.
pub(crate) const BATCH_BYTES: usize = 2 * READ_BYTES;

/// Connections whose commands are executed as one batch. More would not look further ahead, see
/// [`AHEAD_STEPS`], only let the bytes of the first grow cold.
pub(crate) const BATCH_CONNECTIONS: usize = 64;

/// Steps of [`kannuki_store::batch::BATCH_KEYS`] keys that are looked at before they are asked for:
/// one each for their part of the index, their bucket and their item, and one that is being asked
/// for.
pub(crate) const AHEAD_STEPS: usize = 4;

/// Bytes that a lone connection has sent below which nobody looks ahead: they hold one command, or
/// two, whose misses have little to overlap with.
pub(crate) const AHEAD_BYTES_MIN: usize = 64;

/// Foreseen keys among which one that is asked for is looked up: more were not asked for only
/// where many commands in a row were refused.
pub(crate) const AHEAD_STRAY_KEYS: usize = 4;

/// Keys of a list that count as one command under `-R`, so that a list of a hundred thousand keys
/// does not make others wait for all of them.
pub(crate) const KEYS_PER_STEP: usize = 256;

/// Times that the budget of `-R` is filled again in one turn, for all its connections together: a
/// whole read of short commands is answered by one send, and whoever comes meanwhile waits a
/// millisecond or two, not for the end of a dump.
pub(crate) const TURN_REFILLS_MAX: u32 = 64;

/// Items looked at in one step of a dump, so that a shard's lock is held for microseconds.
pub(crate) const DUMP_ITEMS_PER_STEP: usize = 128;

/// Bytes of a `stats cachedump` reply, as in memcached.
pub(crate) const CACHEDUMP_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Key prefixes that `stats detail` counts; later ones are counted together. memcached has no
/// bound, which is a way to fill its memory.
pub(crate) const PREFIXES_MAX: usize = 4096;

/// Datagrams read from one UDP socket before connections are looked at again.
pub(crate) const DATAGRAMS_PER_TURN: usize = 64;

/// Bytes of replies that one datagram may ask for: 65535 reply datagrams would be possible, but no
/// client puts more than a large value together.
pub(crate) const DATAGRAM_REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Milliseconds between two rounds of background work (clock, expiry, eviction reserve).
pub(crate) const HOUSEKEEPING_MILLIS: u64 = 100;

/// Steps of store maintenance in one round: a round stays short even on a full store.
pub(crate) const MAINTENANCE_STEPS_PER_ROUND: usize = 256;

/// Descriptors that a server needs besides its connections and listeners: epoll and event
/// descriptors of the threads, log files, standard streams.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 64;

/// Bytes of a password: passphrases and tokens fit, and a peer cannot make a hash cost more by
/// sending a long one.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1024;

/// Bytes of one message of SCRAM: names and nonces of ordinary clients take two hundred.
pub(crate) const SCRAM_MESSAGE_BYTES_MAX: usize = 2048;

/// Bytes of a mechanism's name. As in memcached; every name that is registered is shorter.
pub(crate) const MECHANISM_BYTES_MAX: usize = 32;

/// Seconds in which a peer that has to log in has to: whoever is not let in holds a place that
/// others need.
pub(crate) const LOGIN_SECS: u32 = 30;

/// Threads that check passwords. A hash is heavy on purpose; more would take the cores that serve
/// those who are logged in.
pub(crate) const LOGIN_THREADS: usize = 2;

/// Log-ins that wait for one of these threads. Beyond it they are refused at once: at ordinary
/// hash costs the last in the queue waits a quarter of a minute, which no client does. Sources take
/// turns, and who has the most gives way, so one source cannot keep others from it.
pub(crate) const LOGINS_WAITING_MAX: usize = 512;

/// Milliseconds after which an idle password thread looks whether the server stops.
pub(crate) const LOGIN_THREAD_POLL_MILLIS: u64 = 500;

/// Users in one file: each holds some hundred bytes and is read once.
pub(crate) const USERS_MAX: usize = 100_000;

/// Bytes of a file of users.
pub(crate) const USERS_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Bytes of a salt: sixteen are usual.
pub(crate) const SALT_BYTES_MAX: usize = 64;

/// Kibibytes of memory that one argon2id hash may cost. Each password thread holds as much.
pub(crate) const ARGON2_KIBIBYTES_MAX: u32 = 256 * 1024;

/// Passes of one argon2id hash over its memory: with the memory above, a second or two.
pub(crate) const ARGON2_PASSES_MAX: u32 = 16;

/// Lanes of one argon2id hash. They are worked off one by one, so more gain nothing here.
pub(crate) const ARGON2_LANES_MAX: u32 = 16;

/// Fewest rounds of SCRAM-SHA-256: what its document demands.
pub(crate) const SCRAM_ROUNDS_MIN: u32 = 4096;

/// Most rounds of SCRAM-SHA-256: half a second of one thread.
pub(crate) const SCRAM_ROUNDS_MAX: u32 = 1_000_000;

const _: () = assert!(CHAIN_COPY_BYTES_MAX < OUTPUT_BYTES_HIGH);
const _: () = assert!(OUTPUT_BYTES_HIGH <= OUTPUT_KEEP_BYTES);
const _: () = assert!(AHEAD_STRAY_KEYS <= kannuki_store::batch::BATCH_KEYS);
