//! For tests: every byte and every item of a shard accounted for.

use super::{Shard, UnitPlace};
use crate::blocks::Blocks;
use crate::class::class_of;
use crate::heap::Queue;
use crate::layout::Spans;
use crate::location::Addressing;
use crate::stats::StoreStats;

impl<M: Blocks> Shard<M> {
    /// Whether an item with this key is held, dead or alive.
    pub(crate) fn holds(&self, key: &[u8], hash: u64) -> bool {
        self.index.find(hash, |location| self.heap.holds(location, key)).is_some()
    }

    /// What was written to a segment.
    pub(crate) fn segment_bytes(&self, number: usize) -> Vec<u8> {
        let fill = self.heap.segment(number).unwrap().fill;
        self.heap.record(number, 0).unwrap()[..fill].to_vec()
    }

    /// The first block of the index.
    pub(crate) fn index_bytes(&self) -> Vec<u8> {
        self.index.first_slab().to_vec()
    }

    /// Checks the invariants; returns bytes held.
    pub(crate) fn audit(&self) -> u64 {
        assert!(self.dead.is_empty(), "freed by whoever held the lock");
        let mut items = 0;
        let (mut small, mut main) = (0, 0);
        let mut expected = StoreStats::default();
        for (number, segment) in self.heap.segments() {
            let (mut at, mut live_items, mut live_bytes) = (0, 0, 0);
            while let Some((next, lives)) = self.heap.step(number, at) {
                let record = self.heap.record(number, at).unwrap();
                assert_eq!(Spans::read(record).padded(), next - at);
                if lives {
                    let location = self.heap.addressing.record(number, at);
                    let hash = self.heap.hash_of(location);
                    let mut times = 0;
                    let _ = self.index.find(hash, |other| {
                        times += u32::from(other == location);
                        false
                    });
                    assert_eq!(times, 1, "each live record has one slot");
                    let seen = self.heap.see(location, self.newest).unwrap();
                    assert_eq!(seen.queue, segment.queue);
                    let soonest = seen.facts.expiry.second().unwrap_or(u32::MAX);
                    assert!(segment.soonest <= soonest && soonest <= segment.latest);
                    let bytes = self.item_bytes(seen.key_bytes, &seen.facts);
                    expected.items += 1;
                    expected.bytes += u64::from(bytes);
                    assert!((1..=39).contains(&class_of(bytes)));
                    live_items += 1;
                    live_bytes += next - at;
                }
                at = next;
            }
            assert_eq!(at, segment.fill);
            assert!(segment.fill <= self.cut.segment_bytes);
            assert_eq!((live_items, live_bytes), (segment.live_items, segment.live_bytes));
            let drained = self.drain.is_some_and(|drain| drain.segment == number);
            assert!(live_items > 0 || !segment.sealed || drained, "empty segments are given back");
            let is_sparse = super::is_sparse(segment, self.cut.segment_bytes, self.evict);
            assert!(self.may_be_sparse || !is_sparse || drained, "it would never be compacted");
            items += live_items as usize;
            *if segment.queue == Queue::Small { &mut small } else { &mut main } +=
                self.pool.segment_cost();
            if !drained {
                let line = if segment.queue == Queue::Small { &self.small } else { &self.main };
                let place = UnitPlace::Segment(number);
                let entries = line
                    .iter()
                    .filter(|unit| unit.place == place && unit.stamp == segment.stamp)
                    .count();
                assert_eq!(entries, 1, "each segment has one place in its queue");
            }
        }
        self.audit_larges(&mut items, &mut expected, &mut small, &mut main);
        assert_eq!(items, self.index.items());
        assert_eq!((small, main), (self.small_bytes, self.main_bytes));
        let mut counted = StoreStats::default();
        self.counters.add_to(&mut counted);
        assert_eq!((counted.items, counted.bytes), (expected.items, expected.bytes));
        let held = small + main + self.index.bytes() + self.ghost.bytes();
        assert_eq!(held, self.pool.held(self.number));
        held
    }

    fn audit_larges(
        &self,
        items: &mut usize,
        expected: &mut StoreStats,
        small: &mut u64,
        main: &mut u64,
    ) {
        for number in 0..self.heap.larges_end() {
            let Some(large) = self.heap.large(number) else { continue };
            let location = Addressing::large(number);
            let mut times = 0;
            let _ = self.index.find(large.hash, |other| {
                times += u32::from(other == location);
                false
            });
            assert_eq!(times, 1, "each large item has one slot");
            *if large.queue == Queue::Small { &mut *small } else { &mut *main } += large.charged;
            *items += 1;
            expected.items += 1;
            let bytes = self.item_bytes(large.key.len(), &large.facts);
            expected.bytes += u64::from(bytes);
            let line = if large.queue == Queue::Small { &self.small } else { &self.main };
            let place = UnitPlace::Large(number);
            let entries =
                line.iter().filter(|u| u.place == place && u.stamp == large.stamp).count();
            assert_eq!(entries, 1, "each large item has one place in its queue");
        }
    }
}
