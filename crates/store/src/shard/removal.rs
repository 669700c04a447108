//! `delete` and `md`.

use super::place::{Cas, Fresh, Payload};
use super::{Found, Shard, Starved};
use crate::blocks::Blocks;
use crate::class::class_of;
use crate::face::{Absent, Hashed, Removal, Removed};
use crate::heap::Facts;
use crate::layout::Marks;
use crate::location::Place;
use crate::time::{Expiry, Now};

impl<M: Blocks> Shard<M> {
    pub(crate) fn remove(
        &mut self,
        key: Hashed<'_>,
        now: Now,
        compare: Option<u64>,
        how: &Removal,
    ) -> Result<(Removed, Option<Absent>), Starved> {
        let found = match self.find(key.key, key.hash, now) {
            Ok(found) => found,
            Err(absent) => return Ok((Removed::NotFound, Some(absent))),
        };
        let facts = found.seen.facts;
        if compare.is_some_and(|cas| !self.cas || cas != facts.cas) {
            return Ok((Removed::Exists, None));
        }
        let class = class_of(self.item_bytes(found.seen.key_bytes, &facts));
        match *how {
            Removal::Remove => self.discard(found),
            Removal::MarkStale { expiry, new_cas } => {
                self.mark_stale(found, key, expiry, new_cas, now)?;
            }
            Removal::Empty { flags, expiry, new_cas, stale } => {
                let cas = match new_cas {
                    Some(cas) => Cas::Exactly(cas),
                    None if stale => Cas::NextAfter(facts.cas),
                    None => Cas::Exactly(facts.cas),
                };
                let binary_key = facts.marks.binary_key;
                let marks = Marks { stale, binary_key, cas_shown: true, ..Marks::default() };
                let facts = Facts { flags, expiry, marks, last_access: now, ..facts };
                self.scribble(&[]);
                let fresh = Fresh { key: key.key, hash: key.hash, facts, cas };
                self.put(&fresh, Payload::Scratch, Some(found), now)?;
            }
        }
        Ok((Removed::Removed { class }, None))
    }

    /// Keeps the item, to be served as stale until somebody refills it.
    fn mark_stale(
        &mut self,
        found: Found,
        key: Hashed<'_>,
        expiry: Option<Expiry>,
        new_cas: Option<u64>,
        now: Now,
    ) -> Result<(), Starved> {
        let facts = found.seen.facts;
        let marks = Marks { stale: true, token: false, ..facts.marks };
        let expiry = expiry.unwrap_or(facts.expiry);
        let facts = Facts { marks, expiry, ..facts };
        let cas = new_cas.map_or(Cas::NextAfter(facts.cas), Cas::Exactly);
        if let Place::Large(_) = self.heap.addressing.place(found.location) {
            let cas = new_cas.unwrap_or_else(|| self.take_cas(found.seen.facts.cas));
            if self.cas {
                self.set_cas(found.location, cas);
            }
            self.set_expiry(found.location, expiry);
            self.note(found.location, marks, None);
            return Ok(());
        }
        self.rewrite(found, key.key, key.hash, facts, cas, now)?;
        Ok(())
    }
}
