//! What a peer can ask for: one type for each shape of command, shared by the protocols where they
//! mean the same.
//!
//! Invariant: a command that exists is well formed. Numbers are in range, keys have a legal length,
//! modes are known; nothing here needs to be checked again.

use crate::{
    binary::Binary,
    blank::{blanks, until_blank},
    key::Key,
    limits::SLAB_CLASS_MAX,
    meta::Meta,
    number,
};

/// A complete command, borrowed from the bytes that the peer sent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command<'b> {
    /// Everything that operates or asks about the server rather than an item.
    Admin(Admin<'b>),
    /// `incr` `decr`
    Arithmetic(Arithmetic<'b>),
    /// A frame of the binary protocol.
    Binary(Binary<'b>),
    /// `delete`
    Delete(Delete<'b>),
    /// `get` `gets` `gat` `gats`
    Get(Get<'b>),
    /// The `set` that logs in, before anything else (`-Y`): a data block follows
    Login(Login),
    /// `mn` `me` `mg` `ms` `md` `ma`
    Meta(Meta<'b>),
    /// `set` `add` `replace` `append` `prepend` `cas`: a data block follows
    Set(Set<'b>),
    /// `touch`
    Touch(Touch<'b>),
}

impl Command<'_> {
    /// Length of the data block that follows as [`crate::Event::Data`]; `None` when none does.
    #[must_use]
    pub const fn data_len(&self) -> Option<u32> {
        match self {
            Self::Set(set) => Some(set.data_len),
            Self::Login(login) => Some(login.data_len),
            Self::Meta(meta) => meta.data_len(),
            Self::Binary(binary) => binary.data_len(),
            _ => None,
        }
    }
}

/// When an item dies, as the peer said it. The server turns it into its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exptime {
    /// 0
    Never,
    /// A negative number: stored, counted, never returned.
    Passed,
    /// 1 ..= 2592000: seconds from now.
    In(u32),
    /// Larger: seconds since 1970. At or before the server's start it has passed.
    At(u32),
}

/// Largest relative expiry time, in seconds: 30 days. Larger numbers are absolute.
pub const EXPTIME_RELATIVE_SECS_MAX: u32 = 60 * 60 * 24 * 30;

impl Exptime {
    /// From the signed number of the text protocols.
    #[must_use]
    pub const fn from_signed(number: i32) -> Self {
        if number < 0 { Self::Passed } else { Self::from_unsigned(number.unsigned_abs()) }
    }

    /// From the unsigned number of the binary protocol, which has no negative values.
    #[must_use]
    pub const fn from_unsigned(number: u32) -> Self {
        match number {
            0 => Self::Never,
            1..=EXPTIME_RELATIVE_SECS_MAX => Self::In(number),
            _ => Self::At(number),
        }
    }

    /// As the binary protocol writes it: a time that has passed is the first absolute one.
    #[must_use]
    pub const fn to_unsigned(self) -> u32 {
        match self {
            Self::Never => 0,
            Self::Passed => EXPTIME_RELATIVE_SECS_MAX + 1,
            Self::In(secs) | Self::At(secs) => secs,
        }
    }
}

/// How a data block meets an item that is there, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetMode {
    /// Only if there is none.
    Add,
    /// Behind the old value; keeps its client flags and expiry.
    Append,
    /// Before the old value; keeps its client flags and expiry.
    Prepend,
    /// Only if there is one.
    Replace,
    /// In any case.
    Set,
}

/// `set` `add` `replace` `append` `prepend` `cas`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set<'b> {
    /// Of the item.
    pub key: Key<'b>,
    /// `cas` is [`SetMode::Set`] with `compare`.
    pub mode: SetMode,
    /// The cas unique that the item must still have; `Some` for the command `cas` only.
    pub compare: Option<u64>,
    /// Client flags, returned as they came.
    pub flags: u32,
    /// When the item dies.
    pub exptime: Exptime,
    /// Bytes of the data block, its terminator not counted.
    pub data_len: u32,
    /// Say nothing, whatever happens.
    pub noreply: bool,
}

/// The first command where a log-in is demanded. Its data block is `name password`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// Bytes of the data block, its terminator not counted; at most
    /// [`crate::limits::LOGIN_BYTES_MAX`].
    pub data_len: u32,
}

/// `get` `gets` `gat` `gats`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Get<'b> {
    /// `gat`, `gats`: the new expiry time of every item found.
    pub touch: Option<Exptime>,
    /// `gets`, `gats`: show the cas unique.
    pub with_cas: bool,
    /// At least one; every one of legal length.
    pub keys: Keys<'b>,
}

/// The keys of a [`Get`], cut from its line one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'b> {
    rest: &'b [u8],
}

impl<'b> Keys<'b> {
    /// Keys separated by blanks. `rest` was checked by the decoder: it is either what the decoder
    /// built, or a suffix of that beginning between two keys ([`Keys::rest`] tells where).
    #[must_use]
    pub const fn new(rest: &'b [u8]) -> Self {
        Self { rest }
    }

    /// Whether no second key follows.
    #[inline]
    #[must_use]
    pub fn is_single(&self) -> bool {
        let rest = self.rest.get(blanks(self.rest)..).unwrap_or_default();
        let behind = rest.get(until_blank(rest)..).unwrap_or_default();
        blanks(behind) == behind.len()
    }

    /// The bytes not yet handed out, so that a long list can be resumed later.
    #[must_use]
    pub const fn rest(&self) -> &'b [u8] {
        self.rest
    }
}

impl<'b> Iterator for Keys<'b> {
    type Item = Key<'b>;

    #[inline]
    fn next(&mut self) -> Option<Key<'b>> {
        let (_, from_key) = self.rest.split_at_checked(blanks(self.rest))?;
        let (key, rest) = from_key.split_at_checked(until_blank(from_key))?;
        self.rest = rest;
        Key::new(key)
    }
}

/// `touch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch<'b> {
    /// Of the item.
    pub key: Key<'b>,
    /// Its new expiry time.
    pub exptime: Exptime,
    /// Say nothing, whatever happens.
    pub noreply: bool,
}

/// `delete`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'b> {
    /// Of the item.
    pub key: Key<'b>,
    /// Say nothing, whatever happens.
    pub noreply: bool,
}

/// Up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Wraps at 2^64.
    Increment,
    /// Stops at 0.
    Decrement,
}

/// `incr` `decr`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic<'b> {
    /// Of the item.
    pub key: Key<'b>,
    /// Up or down.
    pub direction: Direction,
    /// By how much.
    pub delta: u64,
    /// Say nothing, whatever happens.
    pub noreply: bool,
}

/// An administrative command of the text protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Admin<'b> {
    /// What is asked.
    pub verb: AdminVerb<'b>,
    /// Say nothing, whatever happens. Never set for `version`, `quit`, `stats` and `watch`, which
    /// do not know it.
    pub noreply: bool,
}

/// What an administrative command asks. Where memcached answers a malformed one with a line of its
/// own, the decoder gives a [`crate::Violation`] instead.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AdminVerb<'b> {
    /// `cache_memlimit MB`
    CacheMemlimit {
        /// MiB.
        megabytes: u64,
    },
    /// `extstore KEY N`: well formed; the values mean nothing without extstore.
    Extstore,
    /// `flush_all [delay]`
    FlushAll {
        /// `Never` and `Passed` mean now.
        delay: Exptime,
    },
    /// `lru mode|temp_ttl|tune ...`
    Lru(Lru),
    /// `lru_crawler ...`
    LruCrawler(LruCrawler<'b>),
    /// `quit`
    Quit,
    /// `refresh_certs`
    RefreshCerts,
    /// `shutdown [graceful]`
    Shutdown {
        /// Asked to save what can be saved.
        graceful: bool,
    },
    /// `slabs ...`
    Slabs(Slabs),
    /// `stats ...`
    Stats(Stats<'b>),
    /// `verbosity N`
    Verbosity {
        /// As sent; the server clamps it.
        level: u32,
    },
    /// `version`
    Version,
    /// `watch ...`: the stream names, all of them known ones.
    Watch {
        /// Blank-separated, perhaps empty.
        streams: &'b [u8],
    },
}

/// `stats ...`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stats<'b> {
    /// `stats cachedump CLASS N`
    Cachedump {
        /// Slab class.
        class: u32,
        /// Items at most; 0 = no limit.
        limit: u32,
    },
    /// `stats conns`
    Conns,
    /// `stats detail on|off|dump`
    Detail(Detail),
    /// `stats extstore`
    Extstore,
    /// `stats`
    General,
    /// `stats items`
    Items,
    /// `stats reset`
    Reset,
    /// `stats settings`
    Settings,
    /// `stats sizes`
    Sizes,
    /// `stats slabs`
    Slabs,
    /// Any other word: answered as memcached answers an unknown family.
    Unknown(&'b [u8]),
}

/// `stats detail ...`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Show the table.
    Dump,
    /// Stop counting.
    Off,
    /// Start counting.
    On,
}

/// `slabs ...`, values checked for form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slabs {
    /// `slabs automove 0|1|2`
    Automove(u8),
    /// `slabs automove freeratio F`
    AutomoveFreeratio(f64),
    /// `slabs automove ratio F`
    AutomoveRatio(f64),
    /// `slabs automove window N`, 3..=1800 (else a violation)
    AutomoveWindow(u32),
    /// `slabs reassign SRC DST`
    Reassign {
        /// -1 = any.
        source: i32,
        /// 0 = the global pool.
        destination: i32,
    },
}

/// `lru ...`, values checked for form and range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lru {
    /// `lru mode flat`
    ModeFlat,
    /// `lru mode segmented`
    ModeSegmented,
    /// `lru temp_ttl N`: negative = off.
    TempTtl(i32),
    /// `lru tune HOT WARM HOTF WARMF`
    Tune {
        /// Per cent.
        hot_pct: u32,
        /// Per cent.
        warm_pct: u32,
        /// Age factor.
        hot_factor: f64,
        /// Age factor.
        warm_factor: f64,
    },
}

/// `lru_crawler ...`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LruCrawler<'b> {
    /// `crawl`
    Crawl(Classes<'b>),
    /// `disable`
    Disable,
    /// `enable`
    Enable,
    /// `metadump`
    Metadump(Classes<'b>),
    /// `mgdump`
    Mgdump(Classes<'b>),
    /// `sleep US`, at most 1000000 (else a violation)
    Sleep(u32),
    /// `tocrawl N`
    Tocrawl(u32),
}

/// Which slab classes a crawl or dump is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classes<'b> {
    /// `all`
    All,
    /// `hash`: by the index instead of by class.
    Hash,
    /// `1,2,3` as sent; [`Classes::parse_list`] reads it.
    List(&'b [u8]),
}

impl Classes<'_> {
    /// Reads a list `1,2,3`: bit `n` of the answer stands for class `n`. `None` if any of them is
    /// no number from 1 to [`SLAB_CLASS_MAX`]. Empty places between commas do not count; of a list
    /// with nothing else the answer is 0.
    #[must_use]
    pub fn parse_list(list: &[u8]) -> Option<u64> {
        let classes = list.split(|&byte| byte == b',').filter(|class| !class.is_empty());
        let mut set = 0;
        for class in classes {
            let class = number::unsigned_u32(class)?;
            if !(1..=SLAB_CLASS_MAX).contains(&class) {
                return None;
            }
            set |= 1 << class;
        }
        Some(set)
    }
}
