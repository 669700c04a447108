//! The store as its users see it: every operation is atomic for its key.

use std::collections::{HashMap, VecDeque};
use std::hash::Hasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip::SipHasher13;

use crate::blocks::{Blocks, Boxed};
use crate::chain::Chain;
use crate::class::{CLASSES, chunk_bytes, class_of, item_size};
use crate::face::{
    Absent, BuildError, Cursor, Fetch, FetchMiss, Hashed, Hit, Lease, Looked, Maintained, Refusal,
    Removal, Removed, Step, Stepped, StoreConfig, Value, Walked, Write, WriteMode, Written,
};
use crate::stats::{ClassStats, StoreStats};
use crate::time::{Expiry, Now};

/// Items in bounded memory. Every method takes `&self`; shards are locked one at a time.
#[derive(Debug)]
pub struct Store<M: Blocks = Boxed> {
    config: StoreConfig,
    blocks: M,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    items: HashMap<Vec<u8>, Item>,
    order: VecDeque<Vec<u8>>,
    cas: u64,
    limit: u64,
    held: u64,
    flushes: Vec<Now>,
    stats: StoreStats,
}

#[derive(Clone, Debug)]
struct Item {
    value: Vec<u8>,
    flags: u32,
    expiry: Expiry,
    cas: u64,
    fetched: bool,
    last_access: Now,
    stale: bool,
    token: bool,
    binary_key: bool,
    flushed: bool,
}

/// Bytes charged for an item besides key and value.
const ITEM_OVERHEAD_BYTES: u64 = 200;

/// Memory taken for a value that is still arriving; freed on drop.
#[derive(Debug)]
pub struct Reservation<M: Blocks = Boxed> {
    value: Vec<u8>,
    bytes: usize,
    blocks: std::marker::PhantomData<M>,
}

impl<M: Blocks> Reservation<M> {
    /// Bytes of the value still to come.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        u32::try_from(self.bytes - self.value.len()).unwrap_or(u32::MAX)
    }

    /// Takes the next bytes of the value. What is above [`Self::remaining`] is ignored.
    pub fn fill(&mut self, piece: &[u8]) {
        let room = self.bytes - self.value.len();
        self.value.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    }
}

impl<M: Blocks> Store<M> {
    /// An empty store.
    pub fn new(config: StoreConfig, blocks: M) -> Result<Self, BuildError> {
        if config.threads == 0 {
            return Err(BuildError::NoThreads);
        }
        let state = State {
            items: HashMap::new(),
            order: VecDeque::new(),
            cas: 0,
            limit: config.memory_bytes,
            held: 0,
            flushes: Vec::new(),
            stats: StoreStats::default(),
        };
        Ok(Self { config, blocks, state: Mutex::new(state) })
    }

    /// Hashes a key with the store's secret seed.
    pub fn hashed<'k>(&self, key: &'k [u8]) -> Hashed<'k> {
        let mut hasher = SipHasher13::new_with_key(&self.config.seed);
        hasher.write(key);
        Hashed { key, hash: hasher.finish() }
    }

    /// Brings what look-ups of these keys will touch near, so that a batch overlaps its misses.
    pub fn prepare(&self, keys: &[Hashed<'_>]) {
        for key in keys {
            self.prepare_hashes(&[key.hash]);
        }
    }

    /// The same by [`Hashed::hash`], for a batch that keeps no keys.
    pub fn prepare_hashes(&self, hashes: &[u64]) {
        let _ = (hashes, &self.blocks);
    }

    fn lock(&self, now: Now) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.flushes.iter().any(|at| *at <= now) {
            state.flushes.retain(|at| *at > now);
            for item in state.items.values_mut() {
                item.flushed = true;
            }
        }
        state
    }

    /// Looks an item up and shows it to `read` under the shard's lock: copy what is needed.
    pub fn fetch<R>(
        &self,
        key: Hashed<'_>,
        now: Now,
        how: &Fetch,
        read: impl FnOnce(&Hit<'_, Chain<M::Block>>) -> R,
    ) -> Result<R, FetchMiss> {
        let mut state = self.lock(now);
        let absent = state.find(key.key, now).err();
        if let Some(absent) = absent {
            let Some(vivify) = how.vivify else { return Err(FetchMiss::Absent(absent)) };
            let cas = vivify.new_cas.unwrap_or_else(|| state.next_cas());
            let item = Item {
                value: Vec::new(),
                flags: 0,
                expiry: vivify.expiry,
                cas,
                fetched: false,
                last_access: now,
                stale: false,
                token: true,
                binary_key: vivify.binary_key,
                flushed: false,
            };
            if !state.insert(key.key, item, &self.config) {
                return Err(FetchMiss::NoMemory);
            }
        }
        let config = &self.config;
        let Ok(item) = state.find(key.key, now) else { return Err(FetchMiss::NoMemory) };
        let item_bytes = item.bytes(key.key, config);
        let expiry_before = item.expiry;
        if let Some(expiry) = how.touch {
            item.expiry = expiry;
        }
        let mut lease = Lease::default();
        if absent.is_some() {
            lease.won = true;
        } else if how.leases {
            lease.stale = item.stale;
            let left = item.expiry.second().map(|second| i64::from(second) - i64::from(now.0));
            let early = match (how.recache_below_secs, left) {
                (Some(below), Some(left)) => left < i64::from(below),
                _ => false,
            };
            lease.token_sent = item.token;
            lease.won = !item.token && (early || item.stale);
            item.token |= lease.won;
        }
        let hit = Hit {
            value: Value::Inline(&item.value),
            flags: item.flags,
            cas: if config.cas { item.cas } else { 0 },
            expiry: item.expiry,
            expiry_before,
            fetched: item.fetched,
            last_access: item.last_access,
            binary_key: item.binary_key,
            created: absent.is_some(),
            absent,
            item_bytes,
            class: class_of(item_bytes),
            lease,
        };
        let shown = read(&hit);
        if !how.no_bump {
            item.fetched = true;
            item.last_access = now;
        }
        Ok(shown)
    }

    /// Looks an item up without any mark (`me`).
    pub fn peek<R>(
        &self,
        key: Hashed<'_>,
        now: Now,
        read: impl FnOnce(&Hit<'_, Chain<M::Block>>) -> R,
    ) -> Result<R, FetchMiss> {
        self.fetch(key, now, &Fetch { no_bump: true, ..Fetch::default() }, read)
    }

    /// Writes a value that is whole in the caller's buffer.
    pub fn write(&self, key: Hashed<'_>, now: Now, how: &Write, value: &[u8]) -> Looked<Written> {
        let mut state = self.lock(now);
        let old = state.find(key.key, now).map(|item| item.clone());
        let absent = old.as_ref().err().copied();
        let config = &self.config;
        let old = old.ok();
        let outcome = match plan(old.as_ref(), how, config) {
            Err(refused) => refused(key.key, old.as_ref(), config),
            Ok(stale) => {
                let item = merge(old.as_ref(), how, value, now, stale);
                let bytes = item.bytes(key.key, config);
                let clears = how.mode == WriteMode::Set && how.compare.is_none();
                if bytes > config.item_bytes_max {
                    if clears {
                        state.remove(key.key);
                    }
                    state.stats.too_large += 1;
                    Written::TooLarge
                } else {
                    let cas = how.new_cas.unwrap_or_else(|| state.next_cas());
                    let value_bytes = u32::try_from(item.value.len()).unwrap_or(u32::MAX);
                    if state.insert(key.key, Item { cas, ..item }, config) {
                        let cas = if config.cas { cas } else { 0 };
                        Written::Stored { cas, value_bytes, class: class_of(bytes) }
                    } else {
                        if clears {
                            state.remove(key.key);
                        }
                        Written::NoMemory
                    }
                }
            }
        };
        Looked { outcome, absent }
    }

    /// Takes memory for a value of `value_bytes` that is still to arrive. Refused in mode Set
    /// without comparison, the old item is removed.
    pub fn reserve(
        &self,
        key: Hashed<'_>,
        now: Now,
        how: &Write,
        value_bytes: u32,
    ) -> Result<Reservation<M>, Refusal> {
        let bytes = item_size(key.key.len(), value_bytes, how.flags, self.config.cas);
        let mut state = self.lock(now);
        let refusal = if bytes > self.config.item_bytes_max {
            Refusal::TooLarge
        } else if u64::from(bytes) > state.limit / 2 {
            Refusal::NoMemory
        } else {
            let bytes = value_bytes as usize;
            let value = Vec::with_capacity(bytes);
            return Ok(Reservation { value, bytes, blocks: std::marker::PhantomData });
        };
        if how.mode == WriteMode::Set && how.compare.is_none() {
            state.remove(key.key);
        }
        Err(refusal)
    }

    /// Writes a value that arrived in pieces.
    pub fn commit(
        &self,
        key: Hashed<'_>,
        now: Now,
        how: &Write,
        reservation: Reservation<M>,
    ) -> Looked<Written> {
        self.write(key, now, how, &reservation.value)
    }

    /// Deletes an item, or marks it, or empties it.
    pub fn remove(
        &self,
        key: Hashed<'_>,
        now: Now,
        compare: Option<u64>,
        how: &Removal,
    ) -> Looked<Removed> {
        let mut state = self.lock(now);
        let item = match state.find(key.key, now) {
            Ok(item) => item.clone(),
            Err(absent) => return Looked { outcome: Removed::NotFound, absent: Some(absent) },
        };
        let config = &self.config;
        let class = class_of(item.bytes(key.key, config));
        if compare.is_some_and(|cas| !config.cas || cas != item.cas) {
            return Looked { outcome: Removed::Exists, absent: None };
        }
        let next = state.next_cas();
        let item = match *how {
            Removal::Remove => {
                state.remove(key.key);
                return Looked { outcome: Removed::Removed { class }, absent: None };
            }
            Removal::MarkStale { expiry, new_cas } => Item {
                stale: true,
                token: false,
                expiry: expiry.unwrap_or(item.expiry),
                cas: new_cas.unwrap_or(next),
                ..item
            },
            Removal::Empty { flags, expiry, new_cas, stale } => Item {
                value: Vec::new(),
                flags,
                expiry,
                cas: new_cas.unwrap_or(if stale { next } else { item.cas }),
                stale,
                token: false,
                fetched: false,
                last_access: now,
                ..item
            },
        };
        let stored = state.insert(key.key, item, config);
        let outcome = if stored { Removed::Removed { class } } else { Removed::NoMemory };
        Looked { outcome, absent: None }
    }

    /// `incr`, `decr`, `ma`.
    pub fn step(&self, key: Hashed<'_>, now: Now, how: &Step) -> Looked<Stepped> {
        let mut state = self.lock(now);
        let config = &self.config;
        let (item, value, absent) = match state.find(key.key, now).map(|item| item.clone()) {
            Err(absent) => {
                let Some((value, expiry)) = how.create else {
                    return Looked { outcome: Stepped::NotFound, absent: Some(absent) };
                };
                let item = Item {
                    value: value.to_string().into_bytes(),
                    flags: 0,
                    expiry,
                    cas: 0,
                    fetched: false,
                    last_access: now,
                    stale: false,
                    token: false,
                    binary_key: how.binary_key,
                    flushed: false,
                };
                (item, value, Some(absent))
            }
            Ok(item) => {
                if how.compare.is_some_and(|cas| !config.cas || cas != item.cas) {
                    return Looked { outcome: Stepped::Exists, absent: None };
                }
                let Some(number) = number(&item.value) else {
                    return Looked { outcome: Stepped::NonNumeric, absent: None };
                };
                let value = if how.increment {
                    number.wrapping_add(how.delta)
                } else {
                    number.saturating_sub(how.delta)
                };
                let mut digits = value.to_string().into_bytes();
                while digits.len() < item.value.len() {
                    digits.push(b' ');
                }
                let expiry = how.touch.unwrap_or(item.expiry);
                (Item { value: digits, expiry, ..item }, value, None)
            }
        };
        let cas = how.new_cas.unwrap_or_else(|| state.next_cas());
        let class = class_of(item.bytes(key.key, config));
        let expiry = item.expiry;
        if !state.insert(key.key, Item { cas, ..item }, config) {
            return Looked { outcome: Stepped::NoMemory, absent };
        }
        let cas = if config.cas { cas } else { 0 };
        let created = absent.is_some();
        Looked { outcome: Stepped::Number { value, cas, expiry, class, created }, absent }
    }

    /// Everything stored before `at` dies at `at`; at or before `now`: at once.
    pub fn flush(&self, now: Now, at: Now) {
        let mut state = self.lock(now);
        if at <= now {
            for item in state.items.values_mut() {
                item.flushed = true;
            }
        } else {
            state.flushes.push(at);
        }
    }

    /// Changes the memory limit; `false` if it is out of bounds.
    pub fn set_memory_limit(&self, bytes: u64) -> bool {
        let mut state = self.lock(Now(0));
        state.limit = bytes;
        true
    }

    /// The memory limit in bytes.
    pub fn memory_limit(&self) -> u64 {
        self.lock(Now(0)).limit
    }

    /// Totals.
    pub fn stats(&self) -> StoreStats {
        let state = self.lock(Now(0));
        let bytes = state.items.iter().map(|(k, item)| u64::from(item.bytes(k, &self.config)));
        StoreStats {
            items: state.items.len() as u64,
            bytes: bytes.sum(),
            memory_limit: state.limit,
            memory_used: state.held,
            index_power: 16,
            shards: 1,
            ..state.stats
        }
    }

    /// Per size class, those that hold items.
    pub fn class_stats(&self) -> Vec<ClassStats> {
        let state = self.lock(Now(0));
        let mut classes = vec![ClassStats::default(); CLASSES];
        for (key, item) in &state.items {
            let bytes = item.bytes(key, &self.config);
            let class = class_of(bytes);
            if let Some(stats) = classes.get_mut(usize::from(class) - 1) {
                stats.class = class;
                stats.chunk_bytes = chunk_bytes(class);
                stats.items += 1;
                stats.items_main += 1;
                stats.mem_requested += u64::from(bytes);
            }
        }
        classes.retain(|stats| stats.items > 0);
        classes
    }

    /// Item sizes rounded up to 32, and how many items have them, ascending.
    pub fn size_histogram(&self) -> Vec<(u32, u64)> {
        let state = self.lock(Now(0));
        let mut sizes = std::collections::BTreeMap::new();
        for (key, item) in &state.items {
            *sizes.entry(item.bytes(key, &self.config).div_ceil(32) * 32).or_insert(0) += 1;
        }
        sizes.into_iter().collect()
    }

    /// Zeroes the counters; gauges stay.
    pub fn reset_stats(&self) {
        self.lock(Now(0)).stats = StoreStats::default();
    }

    /// Shows live items, a bounded number a call; returns where to go on, `None` at the end.
    pub fn walk(
        &self,
        cursor: Cursor,
        now: Now,
        items_max: usize,
        mut visit: impl FnMut(&Walked<'_>),
    ) -> Option<Cursor> {
        let state = self.lock(now);
        let at = usize::try_from(cursor.at).unwrap_or(usize::MAX);
        let mut keys: Vec<_> = state.items.keys().collect();
        keys.sort_unstable();
        for key in keys.iter().skip(at).take(items_max) {
            let Some(item) = state.items.get(*key) else { continue };
            if item.flushed || item.expiry.is_due(now) {
                continue;
            }
            let item_bytes = item.bytes(key, &self.config);
            visit(&Walked {
                key,
                expiry: item.expiry,
                last_access: item.last_access,
                cas: if self.config.cas { item.cas } else { 0 },
                fetched: item.fetched,
                class: class_of(item_bytes),
                item_bytes,
                flags: item.flags,
                binary_key: item.binary_key,
                value_bytes: u32::try_from(item.value.len()).unwrap_or(u32::MAX),
            });
        }
        let next = at.saturating_add(items_max);
        (next < keys.len()).then_some(Cursor { shard: 0, at: next as u64 })
    }

    /// One short step of background work.
    pub fn maintain(&self, now: Now) -> Maintained {
        drop(self.lock(now));
        Maintained::default()
    }
}

impl State {
    fn find(&mut self, key: &[u8], now: Now) -> Result<&mut Item, Absent> {
        let absent = match self.items.get(key) {
            None => Some(Absent::Missing),
            Some(item) if item.flushed => Some(Absent::Flushed),
            Some(item) if item.expiry.is_due(now) => Some(Absent::Expired),
            Some(_) => None,
        };
        match absent {
            Some(absent) => {
                self.remove(key);
                Err(absent)
            }
            None => self.items.get_mut(key).ok_or(Absent::Missing),
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(item) = self.items.remove(key) {
            self.held -= item.charge(key);
        }
    }

    fn insert(&mut self, key: &[u8], item: Item, config: &StoreConfig) -> bool {
        let charge = item.charge(key);
        let old = self.items.get(key).map_or(0, |old| old.charge(key));
        if charge > self.limit || (!config.evict && self.held - old + charge > self.limit) {
            self.stats.no_memory += 1;
            return false;
        }
        self.remove(key);
        while self.held + charge > self.limit {
            let Some(victim) = self.order.pop_front() else { break };
            if self.items.contains_key(&victim) {
                self.remove(&victim);
                self.stats.evictions += 1;
            }
        }
        self.order.push_back(key.to_vec());
        if self.order.len() > self.items.len() * 2 + 16 {
            let items = &self.items;
            let mut seen = std::collections::HashSet::new();
            self.order.retain(|key| items.contains_key(key) && seen.insert(key.clone()));
        }
        self.held += charge;
        self.items.insert(key.to_vec(), item);
        self.stats.total_items += 1;
        true
    }

    fn next_cas(&mut self) -> u64 {
        self.cas += 1;
        self.cas
    }
}

impl Item {
    fn bytes(&self, key: &[u8], config: &StoreConfig) -> u32 {
        let value_bytes = u32::try_from(self.value.len()).unwrap_or(u32::MAX);
        item_size(key.len(), value_bytes, self.flags, config.cas)
    }

    fn charge(&self, key: &[u8]) -> u64 {
        (2 * key.len() + self.value.len()) as u64 + ITEM_OVERHEAD_BYTES
    }
}

type Refused = fn(&[u8], Option<&Item>, &StoreConfig) -> Written;

/// Whether the mode's condition holds; `Ok(true)` is a stale store.
fn plan(old: Option<&Item>, how: &Write, config: &StoreConfig) -> Result<bool, Refused> {
    let exists: Refused = |key, old, config| Written::Exists {
        class: old.map_or(1, |old| class_of(old.bytes(key, config))),
    };
    let compares = how.mode != WriteMode::Add;
    let replaces = matches!(how.mode, WriteMode::Set | WriteMode::Replace);
    match (old, how.compare.filter(|_| compares)) {
        (None, Some(_)) if replaces => Err(|_, _, _| Written::NotFound),
        (Some(old), Some(cas)) if !config.cas || cas != old.cas => {
            let stale = config.cas && how.accept_stale && replaces && cas < old.cas;
            if stale { Ok(true) } else { Err(exists) }
        }
        (None, _) => match how.mode {
            WriteMode::Set | WriteMode::Add => Ok(false),
            WriteMode::Append | WriteMode::Prepend if how.vivify.is_some() => Ok(false),
            _ => Err(|_, _, _| Written::NotStored),
        },
        (Some(_), _) if how.mode == WriteMode::Add => Err(|_, _, _| Written::NotStored),
        (Some(_), _) => Ok(false),
    }
}

fn merge(old: Option<&Item>, how: &Write, value: &[u8], now: Now, stale: bool) -> Item {
    let mut item = Item {
        value: value.to_vec(),
        flags: how.flags,
        expiry: how.expiry,
        cas: 0,
        fetched: false,
        last_access: now,
        stale: false,
        token: false,
        binary_key: how.binary_key,
        flushed: false,
    };
    let joins = matches!(how.mode, WriteMode::Append | WriteMode::Prepend);
    match old {
        Some(old) if joins => {
            let append = how.mode == WriteMode::Append;
            let (first, second) = if append { (&*old.value, value) } else { (value, &*old.value) };
            item.value = [first, second].concat();
            item.flags = old.flags;
            item.expiry = old.expiry;
        }
        Some(old) if stale => {
            item.expiry = old.expiry;
            item.stale = true;
            item.token = old.token;
        }
        None if joins => item.expiry = how.vivify.unwrap_or(how.expiry),
        _ => {}
    }
    item
}

/// A decimal u64 between blanks; what follows the blank behind it does not count.
fn number(value: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = value.iter().position(|byte| !blank(byte))?;
    let digits = value.get(start..)?;
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    let digits = digits.get(..end)?;
    if digits.iter().all(u8::is_ascii_digit) {
        std::str::from_utf8(digits).ok()?.parse().ok()
    } else {
        None
    }
}
