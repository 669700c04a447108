//! Looking ahead: keys of commands that have arrived are hashed and what they ask for is brought
//! near, so that the cache misses of many commands overlap, within a connection and across those
//! of a turn.
//!
//! ```text
//!   keys:  | asked for | item comes near | bucket | leaf | not looked at yet ->
//!                      first             items    buckets  hashed
//! ```
//!
//! Invariants:
//! - `first <= items <= buckets <= hashed <= first + AHEAD_KEYS`.
//! - Nothing here decides anything: a key that was not foreseen is hashed when it is asked for.
//! - A hash is used only for the very bytes it was made from, at the place where they lie.

use std::cell::RefCell;

use kannuki_protocol::glance::Glance;
use kannuki_store::face::{Depth, Hashed};

use crate::{
    limits::{AHEAD_KEYS, AHEAD_STEP_KEYS, AHEAD_STRAY_KEYS},
    memory::Store,
};

/// Bytes that one connection has sent, and what they begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where they begin, in the bytes of all pieces.
    pub start: usize,
    /// Where they end.
    pub end: usize,
    /// What they begin with.
    pub place: Place,
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before or within a command whose start is among the unread bytes.
    Command,
    /// Within a list of keys that goes on for so many bytes.
    Keys(usize),
    /// Somewhere that is not looked into: a data block, say.
    Elsewhere,
}

/// The keys of the commands to come.
#[derive(Debug)]
pub(crate) struct Ahead<'b> {
    scout: RefCell<Scout<'b>>,
}

impl<'b> Ahead<'b> {
    /// Looks at these pieces of `bytes`, in order.
    #[must_use]
    pub(crate) fn new(bytes: &'b [u8], pieces: &'b [Piece]) -> Self {
        let scout = Scout {
            bytes,
            pieces,
            glance: Glance::at_commands(&[]),
            ring: [const { None }; AHEAD_KEYS],
            first: 0,
            items: 0,
            buckets: 0,
            hashed: 0,
        };
        Self { scout: RefCell::new(scout) }
    }

    /// The hash of a key that is asked for now. Meanwhile what later keys ask for comes near.
    #[inline]
    pub(crate) fn hashed<'k>(&self, store: &Store, key: &'k [u8]) -> Hashed<'k> {
        // Nobody asks while asking: a key that was not foreseen at the worst.
        let Ok(mut scout) = self.scout.try_borrow_mut() else { return store.hashed(key) };
        scout.look(store);
        scout.take(key).unwrap_or_else(|| store.hashed(key))
    }
}

/// See the head of this file. Keys are counted from the first one; `ring` holds them by that
/// number modulo its length.
#[derive(Debug)]
struct Scout<'b> {
    bytes: &'b [u8],
    pieces: &'b [Piece],
    glance: Glance<'b>,
    ring: [Option<Hashed<'b>>; AHEAD_KEYS],
    first: usize,
    items: usize,
    buckets: usize,
    hashed: usize,
}

impl<'b> Scout<'b> {
    /// Looks further ahead if the keys whose items are near become few.
    fn look(&mut self, store: &Store) {
        // Bound: each round moves `items`, or one of those ahead of it, which are bounded.
        while self.items < self.first + AHEAD_STEP_KEYS {
            let (buckets, hashed) = (self.buckets, self.hashed);
            self.scan(store);
            if self.hashed == self.items {
                return;
            }
            if self.hashed == 1 {
                // There is nothing that the misses of a lone key could overlap with.
                (self.items, self.buckets) = (1, 1);
                return;
            }
            self.approach(store, self.buckets..hashed, Depth::Bucket);
            self.approach(store, self.items..buckets, Depth::Record);
            (self.items, self.buckets) = (buckets, hashed);
        }
    }

    /// Hashes the next few keys.
    fn scan(&mut self, store: &Store) {
        let from = self.hashed;
        while self.hashed < from + AHEAD_STEP_KEYS {
            let Some(key) = self.next_key() else { break };
            let at = self.hashed % AHEAD_KEYS;
            if let Some(slot) = self.ring.get_mut(at) {
                *slot = Some(store.hashed(key));
            }
            self.hashed += 1;
        }
        self.approach(store, from..self.hashed, Depth::Leaf);
    }

    fn next_key(&mut self) -> Option<&'b [u8]> {
        // Bound: each round takes a piece off.
        loop {
            if let Some(key) = self.glance.next() {
                return Some(key.as_bytes());
            }
            let (piece, rest) = self.pieces.split_first()?;
            self.pieces = rest;
            let bytes = self.bytes.get(piece.start..piece.end).unwrap_or_default();
            self.glance = match piece.place {
                Place::Command => Glance::at_commands(bytes),
                Place::Keys(list) => Glance::at_keys(bytes, list),
                Place::Elsewhere => Glance::at_commands(&[]),
            };
        }
    }

    fn approach(&self, store: &Store, keys: std::ops::Range<usize>, depth: Depth) {
        let mut hashes = [0; AHEAD_STEP_KEYS];
        let mut filled = 0;
        // A step at the most: what one depth does is what the depth before it did a step earlier.
        for (slot, number) in hashes.iter_mut().zip(keys) {
            let key = self.ring.get(number % AHEAD_KEYS).copied().flatten();
            *slot = key.map_or(0, |key| key.hash());
            filled += 1;
        }
        store.bring_near(hashes.get(..filled).unwrap_or_default(), depth);
    }

    /// The hash of this key if it was foreseen. Keys before it were not asked for and are left
    /// behind: their commands were refused, say.
    fn take<'k>(&mut self, key: &'k [u8]) -> Option<Hashed<'k>> {
        let last = self.hashed.min(self.first + AHEAD_STRAY_KEYS);
        for number in self.first..last {
            let foreseen = self.ring.get(number % AHEAD_KEYS).copied().flatten();
            if let Some(hashed) = foreseen.and_then(|foreseen| foreseen.same(key)) {
                self.leave_behind(number + 1);
                return Some(hashed);
            }
        }
        // Whatever it was that came instead, it is likely to have taken the place of one.
        self.leave_behind(self.hashed.min(self.first + 1));
        None
    }

    fn leave_behind(&mut self, first: usize) {
        self.first = first;
        self.items = self.items.max(first);
        self.buckets = self.buckets.max(first);
    }
}

#[cfg(test)]
mod tests {
    use kannuki_store::face::StoreConfig;

    use super::*;
    use crate::memory::Pages;

    fn store() -> Store {
        let settings = StoreConfig {
            memory_bytes: 8 << 20,
            item_bytes_max: 1 << 20,
            evict: true,
            cas: true,
            threads: 1,
            seed: *b"the same, always",
        };
        let pages = Pages::new(settings.memory_bytes);
        Store::new(settings, pages).unwrap()
    }

    /// Some peers, each with so many gets in its pipeline; their bytes, pieces and keys.
    fn peers(depths: &[usize]) -> (Vec<u8>, Vec<Piece>, Vec<std::ops::Range<usize>>) {
        let (mut bytes, mut pieces, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for (peer, &depth) in depths.iter().enumerate() {
            let start = bytes.len();
            for number in 0..depth {
                bytes.extend_from_slice(b"get ");
                let from = bytes.len();
                bytes.extend_from_slice(format!("{peer}:{number}").as_bytes());
                keys.push(from..bytes.len());
                bytes.extend_from_slice(b"\r\n");
            }
            pieces.push(Piece { start, end: bytes.len(), place: Place::Command });
        }
        (bytes, pieces, keys)
    }

    /// Asks for a key; returns whether it was foreseen.
    #[track_caller]
    fn ask(ahead: &Ahead<'_>, store: &Store, key: &[u8]) -> bool {
        let mut scout = ahead.scout.borrow_mut();
        scout.look(store);
        let Scout { first, items, buckets, hashed, .. } = *scout;
        assert!(first <= items && items <= buckets && buckets <= hashed);
        assert!(hashed <= first + AHEAD_KEYS);
        let taken = scout.take(key);
        if let Some(taken) = taken {
            assert_eq!(taken.key(), key);
            assert_eq!(taken.hash(), store.hashed(key).hash());
        }
        taken.is_some()
    }

    #[test]
    fn every_key_is_hashed_once_however_the_pipelines_are_deep() {
        let store = store();
        for depths in [&[1][..], &[0], &[1; 64], &[100], &[1000], &[3, 0, 500, 1, 1, 64], &[16; 9]]
        {
            let (bytes, pieces, keys) = peers(depths);
            let ahead = Ahead::new(&bytes, &pieces);
            for key in keys {
                assert!(ask(&ahead, &store, &bytes[key.clone()]), "{depths:?} {key:?}");
            }
            assert!(!ask(&ahead, &store, b"unforeseen"));
        }
    }

    #[test]
    fn items_are_near_a_step_before_they_are_asked_for() {
        let store = store();
        let (bytes, pieces, keys) = peers(&[200]);
        let ahead = Ahead::new(&bytes, &pieces);
        for (number, key) in keys.iter().enumerate() {
            ask(&ahead, &store, &bytes[key.clone()]);
            let items = ahead.scout.borrow().items;
            assert!(items >= (number + AHEAD_STEP_KEYS).min(keys.len()), "{number}: {items}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_left_behind() {
        let store = store();
        let (bytes, pieces, keys) = peers(&[300]);
        let ahead = Ahead::new(&bytes, &pieces);
        // Every third command is refused.
        let asked = keys.iter().enumerate().filter(|(number, _)| number % 3 != 0);
        for (number, key) in asked {
            assert!(ask(&ahead, &store, &bytes[key.clone()]), "{number}");
        }
    }

    #[test]
    fn bytes_that_look_the_same_elsewhere_are_not_the_same() {
        let store = store();
        let (bytes, pieces, keys) = peers(&[2]);
        let ahead = Ahead::new(&bytes, &pieces);
        let elsewhere = bytes.clone();
        assert!(!ask(&ahead, &store, &elsewhere[keys[0].clone()]));
        // That came instead of the first; the second is still foreseen.
        assert!(ask(&ahead, &store, &bytes[keys[1].clone()]));
    }

    #[test]
    fn data_blocks_and_lists_under_way_are_told_from_commands() {
        let store = store();
        let bytes = b"b c\r\nget d\r\nget z\r\n";
        let pieces = [
            Piece { start: 0, end: 12, place: Place::Keys(3) },
            Piece { start: 12, end: 19, place: Place::Elsewhere },
        ];
        let ahead = Ahead::new(bytes, &pieces);
        for at in [0, 2, 9] {
            assert!(ask(&ahead, &store, &bytes[at..=at]));
        }
        assert!(!ask(&ahead, &store, &bytes[16..17]));
    }
}
