//! Every bound of the wire protocols, each with its reason. Units come last in the names.

/// Longest key, in bytes, in every protocol. Source: memcached's protocol; clients check it too.
pub const KEY_BYTES_MAX: usize = 250;

/// Longest command line without a newline yet, in bytes, for all but `get` and `gets`. memcached
/// closes above the same figure.
pub const LINE_BYTES_MAX: usize = 2048;

/// Longest complete command line, in bytes, when it arrives together with its newline. memcached
/// accepts up to its 16 KiB read buffer.
pub const LINE_WHOLE_BYTES_MAX: usize = 16 * 1024;

/// Words behind the key of a `delete` that are ignored, `noreply` included. memcached 1.6.45
/// ignores any number; libmemcached's conformance test, `memccapable`, wants five refused.
pub const DELETE_IGNORED_MAX: usize = 3;

/// Longest `get`/`gets` line, in bytes: over 4,000 keys of full length. memcached sets no limit; an
/// unlimited line is a buffer that a peer can grow at will.
pub const GET_LINE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the data block of a text log-in. As in memcached; names and passwords are much shorter.
pub const LOGIN_BYTES_MAX: u32 = 16 * 1024;

/// Shortest line before log-in, in bytes, its end included. memcached closes below.
pub const LOGIN_LINE_BYTES_MIN: usize = 6;

/// Largest declared length of a data block, in bytes. memcached refuses more as a format error.
pub const DATA_BYTES_MAX: u32 = 2_147_483_645;

/// Largest body of a binary request, in bytes. memcached answers 04 and closes above it.
pub const BINARY_BODY_BYTES_MAX: u32 = 1024 * 1024 * 1024;

/// Most tokens of a meta command, command and key included.
pub const META_TOKENS_MAX: usize = 20;

/// Longest opaque of a meta command, in bytes, its letter not counted.
pub const META_OPAQUE_BYTES_MAX: usize = 31;

/// Largest UDP datagram sent, in bytes, header included.
pub const DATAGRAM_BYTES_MAX: usize = 1400;

/// Bytes of the frame header of a UDP datagram.
pub const DATAGRAM_HEADER_BYTES: usize = 8;

/// Most datagrams of one reply: the count in the frame has two bytes.
pub const DATAGRAMS_MAX: usize = u16::MAX as usize;

/// Most blanks before `get ` or `gets ` that still let an unfinished line grow up to
/// [`GET_LINE_BYTES_MAX`]. Source: memcached's behaviour.
pub const GET_LINE_BLANKS_MAX: usize = 100;

/// Most bytes skipped behind a wrong terminator in search of the next line end. As long as the
/// longest command line: what is longer is no line.
pub const RESYNC_BYTES_MAX: usize = GET_LINE_BYTES_MAX;

/// Shortest text command line, in bytes, its end included. memcached answers a format error below.
pub const LINE_BYTES_MIN: usize = 4;

/// Largest number of a slab class, as `lru_crawler` and `stats cachedump` name them.
pub const SLAB_CLASS_MAX: u32 = 63;

/// Longest pause of the crawler, in microseconds: one second. Source: memcached's behaviour.
pub const CRAWLER_SLEEP_MICROS_MAX: u32 = 1_000_000;

/// Largest share of HOT and WARM together, in per cent. memcached keeps the rest for COLD, the only
/// queue it evicts from.
pub const LRU_SHARES_PCT_MAX: u32 = 80;

/// Shortest window of `slabs automove window`, in seconds. Source: memcached's behaviour.
pub const AUTOMOVE_WINDOW_MIN: u32 = 3;

/// Longest window of `slabs automove window`, in seconds. Source: memcached's behaviour.
pub const AUTOMOVE_WINDOW_MAX: u32 = 1800;

/// Longest PROXY header of version 1, its line end included. Source: the specification.
pub const PROXY_V1_BYTES_MAX: usize = 107;

/// Longest PROXY header of version 2. Addresses take 232 bytes at the most; what large proxies add
/// (a host name, a connection id, the names of a certificate) some hundreds.
pub const PROXY_V2_BYTES_MAX: usize = 2048;

const _: () = assert!(LINE_BYTES_MAX <= LINE_WHOLE_BYTES_MAX);
const _: () = assert!(LINE_WHOLE_BYTES_MAX <= GET_LINE_BYTES_MAX);
