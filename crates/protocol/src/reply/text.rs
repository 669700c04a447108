//! Replies of the text protocol, other than those to meta commands and to violations.

use super::decimal;

/// Appends `VALUE key flags length[ cas]` and its line end. The caller appends the value and
/// another CR LF.
pub fn value_head(out: &mut Vec<u8>, key: &[u8], flags: u32, length: usize, cas: Option<u64>) {
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(key);
    out.push(b' ');
    decimal(out, flags);
    out.push(b' ');
    decimal(out, length);
    if let Some(cas) = cas {
        out.push(b' ');
        decimal(out, cas);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the new value of `incr`, `decr` as a line.
pub fn number(out: &mut Vec<u8>, number: u64) {
    decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

/// Appends `STAT name value` as a line.
pub fn stat(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b"STAT ");
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends `VERSION version` as a line. Clients read three numbers between dots.
pub fn version(out: &mut Vec<u8>, version: &str) {
    out.extend_from_slice(b"VERSION ");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Defines [`Line`] with the text of each variant in one place.
macro_rules! lines {
    ($($(#[$doc:meta])+ $variant:ident => $text:literal;)+) => {
        /// A fixed line: what the server says after a command was understood. Lines about commands
        /// that were not are [`crate::violation::Fault`]s.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Line {
            $($(#[$doc])+ $variant,)+
        }

        impl Line {
            /// Every line, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The exact line, its end included.
            #[must_use]
            pub const fn bytes(self) -> &'static [u8] {
                match self {
                    $(Self::$variant => concat!($text, "\r\n").as_bytes(),)+
                }
            }
        }
    };
}

impl Line {
    /// Appends the line.
    pub fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes());
    }
}

lines! {
    /// A data block was stored.
    Stored => "STORED";
    /// The condition of the mode did not hold.
    NotStored => "NOT_STORED";
    /// The cas unique differs.
    Exists => "EXISTS";
    /// No such item.
    NotFound => "NOT_FOUND";
    /// An item was deleted.
    Deleted => "DELETED";
    /// An item has a new expiry time.
    Touched => "TOUCHED";
    /// End of a list.
    End => "END";
    /// End of `lru_crawler mgdump`.
    EndMeta => "EN";
    /// Done.
    Ok => "OK";
    /// Counters are back at 0.
    Reset => "RESET";
    /// An unknown family of `stats`, or a tuning command that cannot apply.
    Error => "ERROR";

    /// `incr`, `decr` of something that is no number.
    NonNumeric => "CLIENT_ERROR cannot increment or decrement non-numeric value";
    /// Above the item size limit.
    TooLarge => "SERVER_ERROR object too large for cache";
    /// No memory for a new item.
    OomStore => "SERVER_ERROR out of memory storing object";
    /// No memory for the rest of a large item.
    OomRead => "SERVER_ERROR Out of memory during read";
    /// No memory for the reply to a `get`.
    OomGet => "SERVER_ERROR out of memory writing get response";
    /// No memory.
    Oom => "SERVER_ERROR out of memory";
    /// No memory for statistics.
    OomStats => "SERVER_ERROR out of memory writing stats";
    /// No memory for a command line.
    OomLine => "SERVER_ERROR out of memory reading request";
    /// `ma` could not create its item.
    OomNewItem => "SERVER_ERROR Out of memory allocating new item";
    /// Too many readers of one item.
    RefcountOverflow => "SERVER_ERROR refcount overflow during fetch";
    /// A storage command of a kind the server does not know.
    UnhandledStorage => "SERVER_ERROR Unhandled storage type.";
    /// A reply line above memcached's own limit.
    OutputTooLong => "SERVER_ERROR output line too long";

    /// Connection limit reached; then closes.
    MaxConns => "ERROR Too many open connections";
    /// The guard said no.
    AccessDenied => "CLIENT_ERROR access denied";
    /// `-Y`: before log-in.
    Unauthenticated => "CLIENT_ERROR unauthenticated";
    /// Wrong name or password.
    LoginFailed => "CLIENT_ERROR authentication failure";
    /// Too many log-ins wait to be checked.
    LoginBusy => "SERVER_ERROR too many log-ins at once, try again";
    /// `-F`
    FlushNotAllowed => "CLIENT_ERROR flush_all not allowed";
    /// `-W`
    WatchNotAllowed => "CLIENT_ERROR watch commands not allowed";
    /// `-X`
    DetailNotAllowed => "CLIENT_ERROR stats detail not allowed";
    /// `-X`
    CachedumpNotAllowed => "CLIENT_ERROR stats cachedump not allowed";
    /// `-X`
    MetadumpNotAllowed => "ERROR metadump not allowed";
    /// `-X`
    MgdumpNotAllowed => "ERROR key dump not allowed";
    /// Without `-A`. The colon behind the first word is memcached's.
    ShutdownNotEnabled => "SERVER_ERROR: shutdown not enabled";

    /// `cache_memlimit`
    MemlimitTooSmall => "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m";
    /// `cache_memlimit`
    MemlimitNotMegabytes => "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes";
    /// `cache_memlimit`
    MemlimitOutOfBounds => "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust";

    /// `slabs reassign`
    ReassignDisabled => "CLIENT_ERROR slab reassignment disabled";
    /// `slabs reassign`
    ReassignBusy => "BUSY currently processing reassign request";
    /// `slabs reassign`
    ReassignBadClass => "BADCLASS invalid src or dst class id";
    /// `slabs reassign`
    ReassignNoSpare => "NOSPARE source class has no spare pages";
    /// `slabs reassign`
    ReassignSame => "SAME src and dst class are identical";

    /// `lru_crawler enable`
    CrawlerStartFailed => "ERROR failed to start lru crawler thread";
    /// `lru_crawler disable`
    CrawlerStopFailed => "ERROR failed to stop lru crawler thread";
    /// `lru_crawler crawl`, `metadump`, `mgdump`
    CrawlerDisabled => "CLIENT_ERROR lru crawler disabled";
    /// `lru_crawler crawl`, `metadump`, `mgdump`
    CrawlerBusy => "BUSY currently processing crawler request";
    /// `lru_crawler crawl`, `metadump`, `mgdump`
    CrawlerBadClass => "BADCLASS invalid class id";
    /// `lru_crawler crawl`
    CrawlerNotStarted => "NOTSTARTED no items to crawl";
    /// `lru_crawler crawl hash`
    CrawlerUnknown => "ERROR an unknown error happened";
    /// End of a dump during which the table grew.
    DumpLocked => "ERROR locked try again later";
    /// `lru_crawler metadump` behind another command.
    MetadumpPipelined => "ERROR cannot pipeline other commands before metadump";
    /// `lru_crawler mgdump` behind another command.
    MgdumpPipelined => "ERROR cannot pipeline other commands before mgdump";

    /// `watch`
    WatcherTooMany => "WATCHER_TOO_MANY log watcher limit reached";
    /// `watch`
    WatcherFailed => "WATCHER_FAILED failed to add log watcher";
    /// `watch` behind another command.
    WatchPipelined => "ERROR cannot pipeline other commands before watch";

    /// `refresh_certs`. Without the usual first word, as in memcached.
    TlsNotEnabled => "Error TLS not enabled";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_head_has_its_cas_only_when_asked() {
        let mut out = Vec::new();
        value_head(&mut out, b"k", u32::MAX, 0, None);
        value_head(&mut out, b"k", 0, 1_048_576, Some(u64::MAX));
        let expected: &[u8] = b"VALUE k 4294967295 0\r\nVALUE k 0 1048576 18446744073709551615\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn single_lines() {
        let mut out = Vec::new();
        number(&mut out, u64::MAX);
        stat(&mut out, "pid", b"1");
        version(&mut out, "1.6.45");
        Line::Stored.encode(&mut out);
        let expected: &[u8] = b"18446744073709551615\r\nSTAT pid 1\r\nVERSION 1.6.45\r\nSTORED\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn every_line_ends_once_and_is_unique() {
        let mut seen: Vec<&[u8]> = Line::ALL.iter().map(|line| line.bytes()).collect();
        for bytes in &seen {
            assert_eq!(memchr::memchr(b'\n', bytes), Some(bytes.len() - 1));
            assert!(bytes.ends_with(b"\r\n"));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), Line::ALL.len());
    }
}
