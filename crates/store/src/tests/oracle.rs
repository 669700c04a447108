//! What the store must answer, written the plain way: a map, no bounds, no eviction.

use std::collections::HashMap;

use crate::class::{class_of, item_size};
use crate::face::{
    Absent, Fetch, Lease, Leases, Removal, Removed, Step, Stepped, StoreConfig, Write, WriteMode,
    Written,
};
use crate::time::{Expiry, Now};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) value: Vec<u8>,
    pub(super) flags: u32,
    pub(super) expiry: Expiry,
    pub(super) cas: u64,
    /// The store may not give it another cas unique any more.
    pub(super) cas_shown: bool,
    pub(super) fetched: bool,
    pub(super) last_access: Now,
    pub(super) stale: bool,
    pub(super) token: bool,
    pub(super) binary_key: bool,
    pub(super) flushed: bool,
}

/// What a fetch must show.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) item: Item,
    pub(super) expiry: Expiry,
    pub(super) created: bool,
    pub(super) absent: Option<Absent>,
    pub(super) lease: Lease,
}

#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) items: HashMap<Vec<u8>, Item>,
    deadlines: Vec<Now>,
    config: StoreConfig,
}

impl Oracle {
    pub(super) fn new(config: StoreConfig) -> Self {
        Self { items: HashMap::new(), deadlines: Vec::new(), config }
    }

    pub(super) fn enter(&mut self, now: Now) {
        if self.deadlines.iter().any(|at| *at <= now) {
            self.deadlines.retain(|at| *at > now);
            self.items.values_mut().for_each(|item| item.flushed = true);
        }
    }

    pub(super) fn flush(&mut self, now: Now, at: Now) {
        if at <= now {
            self.items.values_mut().for_each(|item| item.flushed = true);
        } else if !self.deadlines.contains(&at) {
            if self.deadlines.len() == 16 {
                self.deadlines.pop();
            }
            self.deadlines.push(at);
        }
    }

    /// The live item; a dead one is removed.
    pub(super) fn find(&mut self, key: &[u8], now: Now) -> Result<&mut Item, Absent> {
        let absent = match self.items.get(key) {
            None => Absent::Missing,
            Some(item) if item.flushed => Absent::Flushed,
            Some(item) if item.expiry.is_due(now) => Absent::Expired,
            Some(_) => return self.items.get_mut(key).ok_or(Absent::Missing),
        };
        self.items.remove(key);
        Err(absent)
    }

    /// `cas` is what the store chose.
    pub(super) fn fetch(
        &mut self,
        key: &[u8],
        now: Now,
        how: &Fetch,
        cas: u64,
    ) -> Result<Shown, Absent> {
        if let Err(absent) = self.find(key, now) {
            let Some(vivify) = how.vivify else { return Err(absent) };
            let item = Item {
                value: Vec::new(),
                flags: 0,
                expiry: vivify.expiry,
                cas: if self.config.cas { vivify.new_cas.unwrap_or(cas) } else { 0 },
                cas_shown: true,
                fetched: false,
                last_access: now,
                stale: false,
                token: true,
                binary_key: vivify.binary_key,
                flushed: false,
            };
            let lease = Lease { won: true, stale: false, token_sent: false };
            let fetched = !how.no_bump;
            self.items.insert(key.to_vec(), Item { fetched, ..item.clone() });
            let (expiry, absent) = (item.expiry, Some(absent));
            return Ok(Shown { item, expiry, created: true, absent, lease });
        }
        let item = self.find(key, now)?;
        let before = item.clone();
        item.expiry = how.touch.unwrap_or(item.expiry);
        let mut lease = Lease::default();
        if how.leases != Leases::Hidden {
            let left = item.expiry.second().map(|second| i64::from(second) - i64::from(now.0));
            let below = how.recache_below_secs.map(i64::from);
            let early = matches!((left, below), (Some(left), Some(below)) if left < below);
            let won = how.leases == Leases::Taken && !item.token && (early || item.stale);
            lease = Lease { won, stale: item.stale, token_sent: item.token };
            item.token |= lease.won;
        }
        if !how.no_bump {
            item.fetched = true;
            item.last_access = now;
        }
        Ok(Shown { item: before, expiry: item.expiry, created: false, absent: None, lease })
    }

    pub(super) fn write(
        &mut self,
        key: &[u8],
        now: Now,
        how: &Write,
        value: &[u8],
        cas: u64,
    ) -> (Written, Option<Absent>) {
        let config = self.config.clone();
        let old = self.find(key, now).map(|item| item.clone());
        let absent = old.as_ref().err().copied();
        let old = old.ok();
        let stale = match judge(old.as_ref(), how, &config, key) {
            Ok(stale) => stale,
            Err(refused) => return (refused, absent),
        };
        let item = merge(old.as_ref(), how, value, now, stale);
        let bytes = item.bytes(key, &config);
        if bytes > config.item_bytes_max {
            if how.mode == WriteMode::Set && how.compare.is_none() {
                self.items.remove(key);
            }
            return (Written::TooLarge, absent);
        }
        let cas = if config.cas { how.new_cas.unwrap_or(cas) } else { 0 };
        let value_bytes = u32::try_from(item.value.len()).unwrap();
        self.items.insert(key.to_vec(), Item { cas, ..item });
        (Written::Stored { cas, value_bytes, class: class_of(bytes) }, absent)
    }

    pub(super) fn remove(
        &mut self,
        key: &[u8],
        now: Now,
        compare: Option<u64>,
        how: &Removal,
        cas: u64,
    ) -> (Removed, Option<Absent>) {
        let config = self.config.clone();
        let item = match self.find(key, now) {
            Ok(item) => item,
            Err(absent) => return (Removed::NotFound, Some(absent)),
        };
        let class = class_of(item.bytes(key, &config));
        if compare.is_some_and(|cas| !config.cas || cas != item.cas) {
            return (Removed::Exists, None);
        }
        match *how {
            Removal::Remove => {
                self.items.remove(key);
            }
            Removal::MarkStale { expiry, new_cas } => {
                item.stale = true;
                item.token = false;
                item.expiry = expiry.unwrap_or(item.expiry);
                item.cas = new_cas.unwrap_or(cas);
            }
            Removal::Empty { flags, expiry, new_cas, stale } => {
                item.value.clear();
                item.flags = flags;
                item.expiry = expiry;
                item.cas = new_cas.unwrap_or(if stale { cas } else { item.cas });
                item.stale = stale;
                item.token = false;
                item.fetched = false;
                item.last_access = now;
            }
        }
        (Removed::Removed { class }, None)
    }

    pub(super) fn step(
        &mut self,
        key: &[u8],
        now: Now,
        how: &Step,
        cas: u64,
    ) -> (Stepped, Option<Absent>) {
        let config = self.config.clone();
        let chosen = if config.cas { how.new_cas.unwrap_or(cas) } else { 0 };
        let item = match self.find(key, now) {
            Ok(item) => item,
            Err(absent) => {
                let Some((value, expiry)) = how.create else {
                    return (Stepped::NotFound, Some(absent));
                };
                let item = Item {
                    value: value.to_string().into_bytes(),
                    flags: 0,
                    expiry,
                    cas: chosen,
                    cas_shown: true,
                    fetched: false,
                    last_access: now,
                    stale: false,
                    token: false,
                    binary_key: how.binary_key,
                    flushed: false,
                };
                let class = class_of(item.bytes(key, &config));
                self.items.insert(key.to_vec(), item);
                let cas = chosen;
                let number = Stepped::Number { value, cas, expiry, class, created: true };
                return (number, Some(absent));
            }
        };
        if how.compare.is_some_and(|cas| !config.cas || cas != item.cas) {
            return (Stepped::Exists, None);
        }
        let text = String::from_utf8_lossy(&item.value).into_owned();
        let first = text.split_whitespace().next().unwrap_or("");
        let number = if first.starts_with('+') { None } else { first.parse::<u64>().ok() };
        let Some(number) = number else { return (Stepped::NonNumeric, None) };
        let value = if how.increment {
            number.wrapping_add(how.delta)
        } else {
            number.saturating_sub(how.delta)
        };
        let width = item.value.len();
        item.value = format!("{value:<width$}").into_bytes();
        item.cas = chosen;
        item.cas_shown = true;
        item.expiry = how.touch.unwrap_or(item.expiry);
        let class = class_of(item.bytes(key, &config));
        let (cas, expiry) = (chosen, item.expiry);
        (Stepped::Number { value, cas, expiry, class, created: false }, None)
    }
}

impl Item {
    pub(super) fn bytes(&self, key: &[u8], config: &StoreConfig) -> u32 {
        item_size(key.len(), u32::try_from(self.value.len()).unwrap(), self.flags, config.cas)
    }
}

/// Whether the mode's condition holds; `Ok(true)` is a stale store.
fn judge(
    old: Option<&Item>,
    how: &Write,
    config: &StoreConfig,
    key: &[u8],
) -> Result<bool, Written> {
    use WriteMode::{Add, Append, Prepend, Replace, Set};
    match (how.mode, old, how.compare) {
        (Add, None, _) | (Set, None, None) => Ok(false),
        (Add, Some(_), _) | (Replace, None, None) => Err(Written::NotStored),
        (Set | Replace, None, Some(_)) => Err(Written::NotFound),
        (Append | Prepend, None, _) if how.vivify.is_some() => Ok(false),
        (Append | Prepend, None, _) => Err(Written::NotStored),
        (_, Some(_), None) => Ok(false),
        (_, Some(old), Some(cas)) if config.cas && cas == old.cas => Ok(false),
        (Set | Replace, Some(old), Some(cas))
            if config.cas && how.accept_stale && cas < old.cas =>
        {
            Ok(true)
        }
        (_, Some(old), Some(_)) => Err(Written::Exists { class: class_of(old.bytes(key, config)) }),
    }
}

fn merge(old: Option<&Item>, how: &Write, value: &[u8], now: Now, stale: bool) -> Item {
    let mut item = Item {
        value: value.to_vec(),
        flags: how.flags,
        expiry: how.expiry,
        cas: 0,
        cas_shown: true,
        fetched: false,
        last_access: now,
        stale: false,
        token: false,
        binary_key: how.binary_key,
        flushed: false,
    };
    match (old, how.mode) {
        (Some(old), WriteMode::Append) => {
            item.value = [&*old.value, value].concat();
            item.flags = old.flags;
            item.expiry = old.expiry;
        }
        (Some(old), WriteMode::Prepend) => {
            item.value = [value, &*old.value].concat();
            item.flags = old.flags;
            item.expiry = old.expiry;
        }
        (None, WriteMode::Append | WriteMode::Prepend) => {
            item.expiry = how.vivify.unwrap_or(how.expiry);
        }
        (Some(old), _) if stale => {
            item.expiry = old.expiry;
            item.stale = true;
            item.token = old.token;
        }
        _ => {}
    }
    item
}
