//! Looking items up: `get`, `gat`, `touch`, `mg`, `me`.

use super::place::{Cas, Fresh, Payload};
use super::{Found, Shard, Starved};
use crate::blocks::Blocks;
use crate::chain::Chain;
use crate::class::class_of;
use crate::face::{Absent, Fetch, FetchMiss, Hashed, Hit, Lease, Leases, Value, Vivify};
use crate::heap::Facts;
use crate::layout::Marks;
use crate::location::Place;
use crate::time::{Expiry, Now};

/// What is done with an item found, under the lock.
pub(crate) type Shows<'r, B, R> = dyn FnMut(&Hit<'_, Chain<B>>) -> R + 'r;

/// What stands in the way of showing an item.
pub(crate) enum Unshown {
    Miss(FetchMiss),
    /// Relief may help.
    Starved,
}

impl From<Starved> for Unshown {
    fn from(_: Starved) -> Self {
        Self::Starved
    }
}

impl<M: Blocks> Shard<M> {
    /// Finds or vivifies an item, marks it and shows it. `died` is what an earlier, starved try
    /// found dead and removed. `read` is called if and only if the answer is `Ok`.
    pub(crate) fn fetch<R>(
        &mut self,
        key: Hashed<'_>,
        now: Now,
        how: &Fetch,
        died: Option<Absent>,
        read: &mut Shows<'_, M::Block, R>,
    ) -> Result<R, Unshown> {
        let found = match self.find(key.key, key.hash, now) {
            Ok(found) => found,
            Err(absent) => {
                let absent = died.unwrap_or(absent);
                let Some(vivify) = how.vivify else {
                    return Err(Unshown::Miss(FetchMiss::Absent(absent)));
                };
                return self.vivify(key, now, how, &vivify, absent, read);
            }
        };
        let before = found.seen.facts;
        let found = match how.touch {
            Some(expiry) if expiry != before.expiry => {
                self.touch(found, key.key, key.hash, expiry, now)?
            }
            _ => found,
        };
        let lease = lease(&found.seen.facts, how, now);
        if lease.won && !self.may_show(&found) {
            // Whoever is refused it would not refill it, and keep all others from doing so.
            return Err(Unshown::Miss(FetchMiss::NoMemory));
        }
        self.mark(&found, how.no_bump, lease.won, key.cas_hidden, now);
        let expiry = found.seen.facts.expiry;
        let last_access = before.last_access.min(now);
        let shown = Shown { before, expiry, absent: None, lease, last_access };
        self.show(&found, &shown, read)
    }

    fn vivify<R>(
        &mut self,
        key: Hashed<'_>,
        now: Now,
        how: &Fetch,
        vivify: &Vivify,
        absent: Absent,
        read: &mut Shows<'_, M::Block, R>,
    ) -> Result<R, Unshown> {
        self.make_room_in_index(key.hash)?;
        let marks = Marks {
            fetched: !how.no_bump,
            token: true,
            binary_key: vivify.binary_key,
            cas_shown: !key.cas_hidden,
            ..Marks::default()
        };
        let expiry = vivify.expiry;
        let facts = Facts { value_bytes: 0, flags: 0, expiry, cas: 0, last_access: now, marks };
        let cas = vivify.new_cas.map_or(Cas::NextAfter(0), Cas::Exactly);
        let fresh = Fresh { key: key.key, hash: key.hash, facts, cas };
        self.scribble(&[]);
        let cas = self.put(&fresh, Payload::Scratch, None, now)?;
        let facts = Facts { cas, marks: Marks { fetched: false, ..marks }, ..facts };
        let bytes = self.item_bytes(key.key.len(), &facts);
        let lease = Lease { won: true, ..Lease::default() };
        Ok(read(&Hit {
            value: Value::Inline(&[]),
            flags: 0,
            cas,
            expiry,
            expiry_before: expiry,
            fetched: false,
            last_access: now,
            binary_key: marks.binary_key,
            created: true,
            absent: Some(absent),
            item_bytes: bytes,
            class: class_of(bytes),
            lease,
        }))
    }

    fn mark(&mut self, found: &Found, no_bump: bool, won: bool, cas_hidden: bool, now: Now) {
        let before = found.seen.facts;
        let mut marks = before.marks;
        if !no_bump {
            self.bump(found);
            marks.fetched = true;
        }
        marks.token |= won;
        marks.cas_shown |= self.cas && !cas_hidden;
        // An access in the same second changes nothing: then the record's line stays clean.
        let accessed = (!no_bump && before.last_access != now).then_some(now);
        if marks != before.marks || accessed.is_some() {
            self.note(found.location, marks, accessed);
        }
    }

    fn show<R>(
        &self,
        found: &Found,
        shown: &Shown,
        read: &mut Shows<'_, M::Block, R>,
    ) -> Result<R, Unshown> {
        let value = match self.heap.addressing.place(found.location) {
            Place::Record { segment, .. } => {
                Value::Inline(self.heap.value_seen(segment, &found.seen))
            }
            Place::Large(number) => match self.heap.large(number) {
                Some(large) if self.may_lend(&large.chain) => Value::Chain(&large.chain),
                _ => return Err(Unshown::Miss(FetchMiss::NoMemory)),
            },
        };
        let facts = &shown.before;
        let item_bytes = self.item_bytes(found.seen.key_bytes, facts);
        Ok(read(&Hit {
            value,
            flags: facts.flags,
            cas: facts.cas,
            expiry: shown.expiry,
            expiry_before: facts.expiry,
            fetched: facts.marks.fetched,
            last_access: shown.last_access,
            binary_key: facts.marks.binary_key,
            created: false,
            absent: shown.absent,
            item_bytes,
            class: class_of(item_bytes),
            lease: shown.lease,
        }))
    }

    fn may_show(&self, found: &Found) -> bool {
        match self.heap.addressing.place(found.location) {
            Place::Record { .. } => true,
            Place::Large(number) => {
                self.heap.large(number).is_some_and(|large| self.may_lend(&large.chain))
            }
        }
    }

    /// Eviction frees nothing that a reader holds. So readers may hold half of memory together;
    /// beyond, only what is lent already is lent again.
    fn may_lend(&self, chain: &Chain<M::Block>) -> bool {
        let held = self.pool.pinned() + self.pool.budget.lent() + chain.charged();
        chain.is_lent() || held <= self.pool.budget.limit() / LENT_SHARE_MAX
    }
}

/// One part of memory in so many may be held by readers of large values that were thrown out
/// meanwhile: those that read slowly cannot empty the store.
const LENT_SHARE_MAX: u64 = 2;

struct Shown {
    before: Facts,
    expiry: Expiry,
    absent: Option<Absent>,
    lease: Lease,
    last_access: Now,
}

/// What `mg` may tell this caller: exactly one wins a stale item or an early refill.
fn lease(facts: &Facts, how: &Fetch, now: Now) -> Lease {
    if how.leases == Leases::Hidden {
        return Lease::default();
    }
    let left = facts.expiry.second().map(|second| i64::from(second) - i64::from(now.0));
    let early = match (how.recache_below_secs, left) {
        (Some(below), Some(left)) => left < i64::from(below),
        _ => false,
    };
    let Marks { stale, token, .. } = facts.marks;
    let won = how.leases == Leases::Taken && !token && (early || stale);
    Lease { won, stale, token_sent: token }
}
