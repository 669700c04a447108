//! Storing: `set`, `add`, `replace`, `append`, `prepend`, `cas`, `ms`.

use super::place::{Cas, Fresh, Payload};
use super::{Found, Shard, Starved};
use crate::blocks::Blocks;
use crate::chain::{Chain, cost_of_joint, join};
use crate::class::{class_of, item_size};
use crate::face::{Hashed, Write, WriteMode, Written};
use crate::heap::Facts;
use crate::layout::Marks;
use crate::location::Place;
use crate::pool::Need;
use crate::time::Now;

/// A value as it comes in.
#[derive(Debug)]
pub(crate) enum Given<'v, B> {
    /// Whole, in the caller's buffer.
    Bytes(&'v [u8]),
    /// In pieces that can be linked.
    Chain(&'v Chain<B>),
}

/// What a write does, once its conditions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Store,
    /// Value replaced, TTL and marks kept, stale.
    StoreStale,
    Append,
    Prepend,
}

impl<M: Blocks> Shard<M> {
    /// Removes the item of a set that was refused, so that nobody reads what was to be replaced.
    pub(crate) fn refuse(&mut self, key: Hashed<'_>, now: Now, how: &Write) {
        if clears_when_refused(how)
            && let Ok(found) = self.find(key.key, key.hash, now)
        {
            self.discard(found);
        }
    }

    /// Writes a value, if the mode's conditions hold.
    pub(crate) fn write(
        &mut self,
        key: Hashed<'_>,
        now: Now,
        how: &Write,
        given: &Given<'_, M::Block>,
    ) -> Result<(Written, Option<crate::face::Absent>), Starved> {
        // Needed only if the key is new, but then at the same time as the index.
        self.pool.blocks.prefetch(self.ghost.near(key.hash));
        let (old, absent) = match self.find(key.key, key.hash, now) {
            Ok(found) => (Some(found), None),
            Err(absent) => (None, Some(absent)),
        };
        let effect = match self.judge(old.as_ref(), how) {
            Ok(effect) => effect,
            Err(refused) => {
                if let (WriteMode::Add, Some(old)) = (how.mode, old) {
                    self.bump(&old);
                }
                return Ok((refused, absent));
            }
        };
        let written = self.store(key, now, how, given, old, effect)?;
        Ok((written, absent))
    }

    /// Whether the conditions of the mode hold.
    fn judge(&self, old: Option<&Found>, how: &Write) -> Result<Effect, Written> {
        let (effect, compares) = match how.mode {
            WriteMode::Add => (Effect::Store, false),
            WriteMode::Set | WriteMode::Replace => (Effect::Store, true),
            WriteMode::Append => (Effect::Append, true),
            WriteMode::Prepend => (Effect::Prepend, true),
        };
        let compare = how.compare.filter(|_| compares);
        let Some(old) = old else {
            return match how.mode {
                WriteMode::Set | WriteMode::Replace if compare.is_some() => Err(Written::NotFound),
                WriteMode::Set | WriteMode::Add => Ok(Effect::Store),
                WriteMode::Append | WriteMode::Prepend if how.vivify.is_some() => Ok(Effect::Store),
                _ => Err(Written::NotStored),
            };
        };
        if how.mode == WriteMode::Add {
            return Err(Written::NotStored);
        }
        let held = old.seen.facts.cas;
        match compare {
            Some(cas) if !self.cas || cas != held => {
                let may_be_stale = self.cas && how.accept_stale && effect == Effect::Store;
                if may_be_stale && cas < held {
                    return Ok(Effect::StoreStale);
                }
                let bytes = self.item_bytes(old.seen.key_bytes, &old.seen.facts);
                Err(Written::Exists { class: class_of(bytes) })
            }
            _ => Ok(effect),
        }
    }

    fn store(
        &mut self,
        key: Hashed<'_>,
        now: Now,
        how: &Write,
        given: &Given<'_, M::Block>,
        old: Option<Found>,
        effect: Effect,
    ) -> Result<Written, Starved> {
        let joined = if matches!(effect, Effect::Append | Effect::Prepend) { old } else { None };
        let before = joined.map_or(0, |old| old.seen.facts.value_bytes);
        let facts = facts_of(key, now, how, old.as_ref(), effect);
        let value_bytes = given.len().saturating_add(before);
        let bytes = item_size(key.key.len(), value_bytes, facts.flags, self.cas);
        if bytes > self.item_bytes_max {
            self.counters.too_large += 1;
            if clears_when_refused(how)
                && let Some(old) = old
            {
                self.discard(old);
            }
            return Ok(Written::TooLarge);
        }
        if old.is_none() {
            self.make_room_in_index(key.hash)?;
        }
        let payload = self.payload(key, given, joined.as_ref(), effect, value_bytes)?;
        let held = old.map_or(0, |old| old.seen.facts.cas);
        let cas = how.new_cas.map_or(Cas::NextAfter(held), Cas::Exactly);
        let fresh = Fresh { key: key.key, hash: key.hash, facts, cas };
        let cas = self.put(&fresh, payload, old, now)?;
        self.tidy_scratch();
        Ok(Written::Stored { cas, value_bytes, class: class_of(bytes) })
    }

    /// The final value, where it lies, in the scratch or as a chain.
    fn payload<'v>(
        &mut self,
        key: Hashed<'_>,
        given: &Given<'v, M::Block>,
        joined: Option<&Found>,
        effect: Effect,
        value_bytes: u32,
    ) -> Result<Payload<'v, M::Block>, Starved> {
        let Some(joined) = joined else { return self.payload_alone(key, given) };
        if self.is_record(key.key.len(), value_bytes as usize) {
            let mut scratch = std::mem::take(&mut self.scratch);
            scratch.clear();
            let old = self.heap.value(joined.location);
            if effect == Effect::Append {
                scratch.extend_from_slice(old);
            }
            given.append_to(&mut scratch);
            if effect == Effect::Prepend {
                scratch.extend_from_slice(old);
            }
            self.scratch = scratch;
            return Ok(Payload::Scratch);
        }
        let old = match self.heap.addressing.place(joined.location) {
            Place::Large(number) => self.heap.large(number).ok_or(Starved)?.chain.clone(),
            Place::Record { .. } => self.chain_of(&[self.heap.value(joined.location)])?,
        };
        let new = match given {
            Given::Bytes(bytes) => &self.chain_of(&[bytes])?,
            Given::Chain(chain) => *chain,
        };
        let (first, second) = if effect == Effect::Append { (&old, new) } else { (new, &old) };
        let joint = cost_of_joint(first, second, self.cut.piece_bytes, &self.pool);
        let charge = match joint {
            Some(bytes) => Some(self.pool.charge(bytes, Need::Write).ok_or(Starved)?),
            None => None,
        };
        join(first, second, charge, &self.pool).map(Payload::Chain).ok_or(Starved)
    }

    fn payload_alone<'v>(
        &mut self,
        key: Hashed<'_>,
        given: &Given<'v, M::Block>,
    ) -> Result<Payload<'v, M::Block>, Starved> {
        let is_record = self.is_record(key.key.len(), given.len() as usize);
        Ok(match given {
            Given::Bytes(bytes) if is_record => Payload::Bytes(bytes),
            Given::Bytes(bytes) => Payload::Chain(self.chain_of(&[bytes])?),
            Given::Chain(chain) if is_record => {
                self.scratch.clear();
                chain.slices().for_each(|piece| self.scratch.extend_from_slice(piece));
                Payload::Scratch
            }
            Given::Chain(chain) => Payload::Chain((*chain).clone()),
        })
    }
}

impl<B: AsRef<[u8]>> Given<'_, B> {
    fn len(&self) -> u32 {
        match self {
            Self::Bytes(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Self::Chain(chain) => chain.len(),
        }
    }

    /// The size class to count a refusal in.
    pub(crate) fn class(&self, key_bytes: usize) -> u8 {
        class_of(item_size(key_bytes, self.len(), 0, true))
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Chain(chain) => chain.slices().for_each(|piece| out.extend_from_slice(piece)),
        }
    }
}

/// A plain set that cannot be done must not leave the old value behind.
pub(crate) fn clears_when_refused(how: &Write) -> bool {
    how.mode == WriteMode::Set && how.compare.is_none()
}

fn facts_of(key: Hashed<'_>, now: Now, how: &Write, old: Option<&Found>, effect: Effect) -> Facts {
    let binary_key = how.binary_key;
    let marks = Marks { binary_key, cas_shown: !key.cas_hidden, ..Marks::default() };
    let (flags, expiry) = (how.flags, how.expiry);
    let fresh = Facts { value_bytes: 0, flags, expiry, cas: 0, last_access: now, marks };
    let Some(old) = old.map(|old| old.seen.facts) else {
        let joins = matches!(how.mode, WriteMode::Append | WriteMode::Prepend);
        let expiry = how.vivify.filter(|_| joins).unwrap_or(expiry);
        return Facts { expiry, ..fresh };
    };
    match effect {
        Effect::Store => fresh,
        Effect::StoreStale => {
            let marks = Marks { stale: true, token: old.marks.token, ..marks };
            Facts { expiry: old.expiry, marks, ..fresh }
        }
        Effect::Append | Effect::Prepend => Facts { flags: old.flags, expiry: old.expiry, ..fresh },
    }
}
