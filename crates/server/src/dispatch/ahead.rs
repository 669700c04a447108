//! Looking ahead: keys of commands that have arrived are hashed and what they ask for is brought
//! near, so that the cache misses of many commands overlap, within a connection and across those
//! of a turn.
//!
//! ```text
//!   steps:  | asked for | item comes near | bucket | leaf | not looked at yet ->
//!               first             items    buckets  hashed
//! ```
//!
//! Invariants:
//! - A step is a batch of keys. `first <= items <= buckets <= hashed <= first + AHEAD_STEPS`, all
//!   counted from the first step.
//! - Nothing here decides anything: a key that was not foreseen is hashed when it is asked for.
//! - A hash is used only for the very bytes it was made from, at the place where they lie.

use std::cell::RefCell;

use kannuki_protocol::glance::Glance;
use kannuki_store::{
    batch::Batch,
    face::{Depth, Hashed},
};

use crate::{
    limits::{AHEAD_STEPS, AHEAD_STRAY_KEYS},
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
            steps: [Batch::EMPTY; AHEAD_STEPS],
            first: 0,
            asked: 0,
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

/// See the head of this file. `steps` holds each step by its number modulo its length.
#[derive(Debug)]
struct Scout<'b> {
    bytes: &'b [u8],
    pieces: &'b [Piece],
    glance: Glance<'b>,
    steps: [Batch<'b>; AHEAD_STEPS],
    /// The step whose keys are being asked for.
    first: usize,
    /// How many of its keys have been.
    asked: usize,
    /// Steps whose items are near or on their way; the same of buckets; steps whose keys are known.
    items: usize,
    buckets: usize,
    hashed: usize,
}

impl<'b> Scout<'b> {
    /// Looks further ahead unless the items of the next step are near, too.
    #[inline]
    fn look(&mut self, store: &Store) {
        if self.items < self.first + 2 {
            self.look_further(store);
        }
    }

    #[inline(never)]
    fn look_further(&mut self, store: &Store) {
        // Bound: each round moves `items`, or one of those ahead of it, which are bounded.
        while self.items < self.first + 2 {
            let (buckets, hashed) = (self.buckets, self.hashed);
            self.scan(store);
            if self.items == self.hashed {
                return;
            }
            if self.hashed == 1 && self.step(0).len() == 1 {
                // There is nothing that the misses of a lone key could overlap with.
                (self.items, self.buckets) = (1, 1);
                return;
            }
            if self.buckets < hashed {
                store.bring_near(self.step(self.buckets), Depth::Bucket);
            }
            if self.items < buckets {
                store.bring_near(self.step(self.items), Depth::Record);
            }
            (self.items, self.buckets) = (buckets, hashed);
        }
    }

    /// Hashes the keys of the next step.
    fn scan(&mut self, store: &Store) {
        let Self { bytes, pieces, glance, steps, hashed, .. } = self;
        let Some(step) = steps.get_mut(*hashed % AHEAD_STEPS) else { return };
        step.clear();
        while !step.is_full()
            && let Some(key) = next_key(glance, pieces, bytes)
        {
            store.foresee(step, key);
        }
        if step.is_empty() {
            return;
        }
        store.bring_near(self.step(self.hashed), Depth::Leaf);
        self.hashed += 1;
    }

    /// The hash of this key if it was foreseen. Keys before it were not asked for and are left
    /// behind: their commands were refused, say.
    #[inline]
    fn take<'k>(&mut self, key: &'k [u8]) -> Option<Hashed<'k>> {
        let (mut step, mut at) = (self.first, self.asked);
        for _ in 0..AHEAD_STRAY_KEYS {
            if step == self.hashed {
                break;
            }
            if let Some(hashed) = self.step(step).hashed(at, key) {
                self.leave_behind(step, at);
                return Some(hashed);
            }
            (step, at) = self.behind(step, at);
        }
        // Whatever it was that came instead, it is likely to have taken the place of one.
        if self.first < self.hashed {
            self.leave_behind(self.first, self.asked);
        }
        None
    }

    /// The keys up to this one were asked for, or never will be.
    #[inline]
    fn leave_behind(&mut self, step: usize, at: usize) {
        (self.first, self.asked) = self.behind(step, at);
        self.items = self.items.max(self.first);
        self.buckets = self.buckets.max(self.first);
    }

    /// The place behind this one.
    #[inline]
    fn behind(&self, step: usize, at: usize) -> (usize, usize) {
        if at + 1 < self.step(step).len() { (step, at + 1) } else { (step + 1, 0) }
    }

    #[inline]
    fn step(&self, number: usize) -> &Batch<'b> {
        let [first, ..] = &self.steps;
        self.steps.get(number % AHEAD_STEPS).unwrap_or(first)
    }
}

/// The next key of these pieces.
#[inline]
fn next_key<'b>(
    glance: &mut Glance<'b>,
    pieces: &mut &'b [Piece],
    bytes: &'b [u8],
) -> Option<&'b [u8]> {
    // Bound: each round takes a piece off.
    loop {
        if let Some(key) = glance.next() {
            return Some(key.as_bytes());
        }
        let (piece, rest) = pieces.split_first()?;
        *pieces = rest;
        let bytes = bytes.get(piece.start..piece.end).unwrap_or_default();
        *glance = match piece.place {
            Place::Command => Glance::at_commands(bytes),
            Place::Keys(list) => Glance::at_keys(bytes, list),
            Place::Elsewhere => Glance::at_commands(&[]),
        };
    }
}

#[cfg(test)]
mod tests {
    use kannuki_store::{batch::BATCH_KEYS, face::StoreConfig};

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
        assert!(hashed <= first + AHEAD_STEPS);
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
            let near = ahead.scout.borrow().items * BATCH_KEYS;
            assert!(near >= (number + BATCH_KEYS).min(keys.len()), "{number}: {near}");
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
