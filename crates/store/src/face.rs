//! The words in which the store is asked and answers. Every operation is atomic for its key.

use crate::time::{Expiry, Now};

/// How a store is built.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Items and index together, in bytes (`-m`).
    pub memory_bytes: u64,
    /// Largest item as memcached counts it (`-I`): see [`crate::class::item_size`].
    pub item_bytes_max: u32,
    /// Throw live items out when full; `false` is `-M`: refuse instead.
    pub evict: bool,
    /// `false` is `-C`: every cas unique shows as 0 and every comparison fails.
    pub cas: bool,
    /// Worker threads that will use it; decides the number of shards.
    pub threads: usize,
    /// Secret seed of the key hash: no peer can choose colliding keys.
    pub seed: [u8; 16],
}

/// A key and its hash by [`crate::Store::hashed`], or by [`crate::Store::foresee`].
#[derive(Clone, Copy, Debug)]
pub struct Hashed<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) hash: u64,
    pub(crate) cas_hidden: bool,
}

impl<'k> Hashed<'k> {
    /// The key.
    #[must_use]
    pub const fn key(&self) -> &'k [u8] {
        self.key
    }

    /// Says that the reply to this operation will not show the item's cas unique. The store may
    /// then give it another one when it moves the item; else it has to keep it, for eight bytes.
    #[must_use]
    pub const fn cas_hidden(self) -> Self {
        Self { cas_hidden: true, ..self }
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

/// What a look-up reads one after the other, each telling where the next one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Which part of the index.
    Leaf,
    /// The slots that may point at the item.
    Bucket,
    /// The item.
    Record,
}

/// What a look-up may change, besides the marks of having been read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fetch {
    /// New expiry (`touch`, `gat`, `mg T`).
    pub touch: Option<Expiry>,
    /// `mg u`: leave access time, fetched mark and eviction state alone.
    pub no_bump: bool,
    /// `mg N`: on a miss create an empty item with this expiry; the caller has won it.
    pub vivify: Option<Vivify>,
    /// `mg R`: win the recache token if fewer seconds than this are left.
    pub recache_below_secs: Option<i32>,
    /// The caller's part in win/stale/token.
    pub leases: Leases,
}

/// What a look-up has to do with win/stale/token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leases {
    /// Nothing, as `get`.
    #[default]
    Hidden,
    /// It is told of them and never wins: whoever may not write could not refill what it won, and
    /// would keep those from it who can.
    Shown,
    /// It takes part, as `mg`.
    Taken,
}

/// An item to create where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Vivify {
    /// Its expiry.
    pub expiry: Expiry,
    /// Its cas unique; `None` = the next one.
    pub new_cas: Option<u64>,
    /// The key was sent as base64: remembered with the item.
    pub binary_key: bool,
}

/// An item found, shown under the shard's lock. Times and marks are as before this look-up, except
/// `expiry` (after a touch) and what [`Lease`] says.
#[derive(Debug)]
pub struct Hit<'s, B> {
    /// The value.
    pub value: Value<'s, B>,
    /// Client flags.
    pub flags: u32,
    /// Cas unique; 0 under `-C`.
    pub cas: u64,
    /// Expiry now.
    pub expiry: Expiry,
    /// Expiry before a touch.
    pub expiry_before: Expiry,
    /// It had been fetched before.
    pub fetched: bool,
    /// When it was last accessed.
    pub last_access: Now,
    /// Its key was stored as base64.
    pub binary_key: bool,
    /// Created by this very call.
    pub created: bool,
    /// Why there was none before, if it was created by this call.
    pub absent: Option<Absent>,
    /// Item size as memcached would report it.
    pub item_bytes: u32,
    /// Size class, 1..=63.
    pub class: u8,
    /// Win, stale, token, as far as [`Fetch::leases`] says.
    pub lease: Lease,
}

/// The marks that `mg` appends to its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// `W`: the caller won the right to refill.
    pub won: bool,
    /// `X`: the item is stale.
    pub stale: bool,
    /// `Z`: somebody else won earlier and no store has happened since.
    pub token_sent: bool,
}

/// A value, as bytes in its segment or as a handle on shared blocks.
#[derive(Debug)]
pub enum Value<'s, B> {
    /// Copy it before the lock is released.
    Inline(&'s [u8]),
    /// Clone the handle and write it to the socket without any lock.
    Chain(&'s B),
}

/// Why a fetch has nothing to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchMiss {
    /// No live item, and none was to be created.
    Absent(Absent),
    /// No memory to create the item that [`Fetch::vivify`] asked for, or too many bytes of values
    /// thrown out already are still held by slow readers to lend out another large one.
    NoMemory,
}

/// Why a look-up found nothing. Also reported by operations that look a key up on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is no such item.
    Missing,
    /// There was one; it has expired.
    Expired,
    /// There was one; a flush killed it.
    Flushed,
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// How it meets what is there.
    pub mode: WriteMode,
    /// Client flags (append and prepend keep the old ones).
    pub flags: u32,
    /// Expiry (append and prepend keep the old one).
    pub expiry: Expiry,
    /// Only if the item's cas unique is this one.
    pub compare: Option<u64>,
    /// `ms I`: with `compare` below the item's cas, store as a stale value.
    pub accept_stale: bool,
    /// `E`: the cas unique of the new item; `None` = the next one.
    pub new_cas: Option<u64>,
    /// `ms N` with append or prepend: create on a miss with this expiry.
    pub vivify: Option<Expiry>,
    /// The key was sent as base64: remembered with the item.
    pub binary_key: bool,
}

impl Write {
    /// A `set` without a word more: in any case, no client flags, for ever. What commands say
    /// beside it goes over this.
    pub const PLAIN: Self = Self {
        mode: WriteMode::Set,
        flags: 0,
        expiry: Expiry::NEVER,
        compare: None,
        accept_stale: false,
        new_cas: None,
        vivify: None,
        binary_key: false,
    };
}

/// How a written value meets what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Only if there is none; an item that is there is bumped.
    Add,
    /// Behind the old value.
    Append,
    /// Before the old value.
    Prepend,
    /// Only if there is one.
    Replace,
    /// In any case.
    Set,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Stored.
    Stored {
        /// Its cas unique; 0 under `-C`.
        cas: u64,
        /// Bytes of the final value.
        value_bytes: u32,
        /// Its size class.
        class: u8,
    },
    /// The mode's condition did not hold.
    NotStored,
    /// The cas unique differs.
    Exists {
        /// Size class of the item that is there.
        class: u8,
    },
    /// A comparison was asked for and there is no item.
    NotFound,
    /// Above [`StoreConfig::item_bytes_max`]. Mode Set has removed the old item.
    TooLarge,
    /// No memory, and nothing may or can be evicted. Mode Set has removed the old item.
    NoMemory,
}

/// How an item is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Gone.
    Remove,
    /// `md I`: keep it, mark it stale, take a new cas, clear the winner's token.
    MarkStale {
        /// `T`
        expiry: Option<Expiry>,
        /// `E`
        new_cas: Option<u64>,
    },
    /// `md x`: keep an empty item.
    Empty {
        /// `F`
        flags: u32,
        /// `T`, default never.
        expiry: Expiry,
        /// `E`; without it and without `stale` the cas stays.
        new_cas: Option<u64>,
        /// `I` as well.
        stale: bool,
    },
}

/// What became of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Done.
    Removed {
        /// Size class of the item.
        class: u8,
    },
    /// The cas unique differs.
    Exists,
    /// No such item.
    NotFound,
    /// [`Removal::Empty`] found no memory.
    NoMemory,
}

/// `incr`, `decr`, `ma`.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Up (wraps at 2^64) or down (stops at 0).
    pub increment: bool,
    /// By how much.
    pub delta: u64,
    /// Only if the item's cas unique is this one.
    pub compare: Option<u64>,
    /// Create on a miss with this value; the delta is not applied.
    pub create: Option<(u64, Expiry)>,
    /// `T`: new expiry.
    pub touch: Option<Expiry>,
    /// `E`
    pub new_cas: Option<u64>,
    /// The key was sent as base64: remembered with a created item.
    pub binary_key: bool,
}

/// What became of a [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// The new number.
    Number {
        /// The new number.
        value: u64,
        /// Its cas unique.
        cas: u64,
        /// Its expiry.
        expiry: Expiry,
        /// Size class of the item.
        class: u8,
        /// Created by this very call.
        created: bool,
    },
    /// The cas unique differs.
    Exists,
    /// No such item.
    NotFound,
    /// The value is no decimal u64.
    NonNumeric,
    /// No memory.
    NoMemory,
}

/// An answer, and what the look-up inside it found if it found no live item (`get_expired` and
/// `get_flushed` count it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked<T> {
    /// The answer.
    pub outcome: T,
    /// `None` = there was a live item.
    pub absent: Option<Absent>,
}

/// Why [`crate::Store::reserve`] refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Above [`StoreConfig::item_bytes_max`].
    TooLarge,
    /// No memory, and nothing may or can be evicted.
    NoMemory,
}

/// Why a store could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// [`StoreConfig::memory_bytes`] is below `least` bytes.
    MemoryTooSmall {
        /// What would do.
        least: u64,
    },
    /// [`StoreConfig::memory_bytes`] is above `most` bytes.
    MemoryTooLarge {
        /// What would do.
        most: u64,
    },
    /// [`StoreConfig::threads`] is zero.
    NoThreads,
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MemoryTooSmall { least } => {
                write!(out, "memory for items is below {least} bytes")
            }
            Self::MemoryTooLarge { most } => write!(out, "memory for items is above {most} bytes"),
            Self::NoThreads => write!(out, "number of worker threads is 0"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Where a walk goes on. [`Cursor::START`] is the beginning; any other comes from a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) shard: u32,
    pub(crate) at: u64,
}

impl Cursor {
    /// The beginning of the store.
    pub const START: Self = Self { shard: 0, at: 0 };
}

/// An item met by a walk, shown under the shard's lock.
#[derive(Clone, Copy, Debug)]
pub struct Walked<'s> {
    /// Its key.
    pub key: &'s [u8],
    /// Its expiry.
    pub expiry: Expiry,
    /// When it was last accessed.
    pub last_access: Now,
    /// Cas unique; 0 under `-C`.
    pub cas: u64,
    /// It has been fetched.
    pub fetched: bool,
    /// Size class, 1..=63.
    pub class: u8,
    /// Item size as memcached would report it.
    pub item_bytes: u32,
    /// Client flags.
    pub flags: u32,
    /// Its key was stored as base64.
    pub binary_key: bool,
    /// Bytes of its value.
    pub value_bytes: u32,
}

/// What a step of background work did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Something is left that a further step could do at once; else wait about a second.
    pub more: bool,
    /// Items looked at.
    pub items_checked: u32,
    /// Expired or flushed items freed.
    pub items_reclaimed: u32,
}
