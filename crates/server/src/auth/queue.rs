//! The log-ins that wait for a password thread, each source in a lane of its own.
//!
//! ```text
//!   lanes   10.0.0.7: a a a a a a     10.0.0.9: b     this host: c c
//!   taken   a b c a c a a a a         one of each lane in turn
//! ```
//!
//! Whoever floods waits behind itself: a source that asks for the first time waits for one hash of
//! each other source, not for all that one of them has queued. While there is room anybody may have
//! all of it, as the pool of an application does that comes back after a restart; when there is
//! none, the longest lane gives the place up that it took last.
//!
//! Invariants:
//! - At most [`LOGINS_WAITING_MAX`] wait, and so there are at most as many lanes; none is empty.
//! - A lane grows in a full queue only at the cost of one that stays at least as long.

use std::collections::VecDeque;

use kannuki_guard::Source;

use crate::limits::LOGINS_WAITING_MAX;

/// What waits, by where it comes from.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lanes: VecDeque<Lane<T>>,
    waiting: usize,
}

#[derive(Debug)]
struct Lane<T> {
    /// `None` = this host, whose peers by loopback nobody can tell apart.
    source: Option<Source>,
    waiting: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lanes: VecDeque::new(), waiting: 0 }
    }
}

impl<T> Queue<T> {
    /// Queues one; the one that finds no place is handed back: this one, or the last of the source
    /// that has the most.
    pub(super) fn push(&mut self, source: Option<Source>, item: T) -> Option<T> {
        let own = self.lanes.iter().position(|lane| lane.source == source);
        let mut displaced = None;
        if self.waiting >= LOGINS_WAITING_MAX {
            let has = own.and_then(|at| self.lanes.get(at)).map_or(0, |lane| lane.waiting.len());
            let longest = self.lanes.iter_mut().max_by_key(|lane| lane.waiting.len());
            let Some(longest) = longest.filter(|lane| lane.waiting.len() > has + 1) else {
                return Some(item);
            };
            displaced = longest.waiting.pop_back();
            self.waiting -= 1;
        }
        match own.and_then(|at| self.lanes.get_mut(at)) {
            Some(lane) => lane.waiting.push_back(item),
            None => self.lanes.push_back(Lane { source, waiting: VecDeque::from([item]) }),
        }
        self.waiting += 1;
        displaced
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<T> {
        let mut lane = self.lanes.pop_front()?;
        let item = lane.waiting.pop_front()?;
        self.waiting -= 1;
        if !lane.waiting.is_empty() {
            self.lanes.push_back(lane);
        }
        Some(item)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn source(number: u32) -> Option<Source> {
        (number > 0).then_some(Source::V4(number))
    }

    fn drained(queue: &mut Queue<(u32, usize)>) -> Vec<(u32, usize)> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn sources_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::default();
        for item in [(7, 0), (7, 1), (7, 2), (9, 0), (0, 0), (0, 1)] {
            assert_eq!(queue.push(source(item.0), item), None);
        }
        assert_eq!(queue.len(), 6);
        let taken = drained(&mut queue);
        assert_eq!(taken, [(7, 0), (9, 0), (0, 0), (7, 1), (0, 1), (7, 2)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_flood_from_one_source_leaves_room_for_all_others() {
        let mut queue = Queue::default();
        for n in 0..LOGINS_WAITING_MAX {
            assert_eq!(queue.push(source(7), (7, n)), None, "alone it may have every place");
        }
        assert_eq!(queue.push(source(7), (7, 999)), Some((7, 999)), "but no more");
        assert_eq!(queue.push(source(9), (9, 0)), Some((7, LOGINS_WAITING_MAX - 1)));
        assert_eq!(queue.push(None, (0, 0)), Some((7, LOGINS_WAITING_MAX - 2)), "this host too");
        assert_eq!(queue.len(), LOGINS_WAITING_MAX);
        assert_eq!(drained(&mut queue)[..3], [(7, 0), (9, 0), (0, 0)], "and waits for one hash");
    }

    #[test]
    fn two_floods_share_alike_and_do_not_push_each_other_out() {
        let mut queue = Queue::default();
        for n in 0..2 * LOGINS_WAITING_MAX {
            let _ = queue.push(source(7), (7, n));
        }
        for n in 0..2 * LOGINS_WAITING_MAX {
            let _ = queue.push(source(9), (9, n));
        }
        let refused = queue.push(source(7), (7, 9999));
        assert_eq!(refused, Some((7, 9999)), "half of it is its share, and it has that");
        let taken = drained(&mut queue);
        let of = |number| taken.iter().filter(|item| item.0 == number).count();
        assert_eq!((of(7), of(9)), (LOGINS_WAITING_MAX / 2, LOGINS_WAITING_MAX / 2));
    }

    #[test]
    fn many_sources_with_one_each_leave_no_room() {
        let mut queue = Queue::default();
        for number in 1..=LOGINS_WAITING_MAX as u32 {
            assert_eq!(queue.push(source(number), (number, 0)), None);
        }
        assert_eq!(queue.push(source(9999), (9999, 0)), Some((9999, 0)));
    }

    proptest! {
        /// Against a list of all that wait: bounded, nothing lost, nothing twice, and nobody who
        /// has less than another is refused.
        #[test]
        fn nothing_is_lost_and_nobody_with_less_is_refused(
            steps in prop::collection::vec((0..5_u32, 0..400_usize, 0..200_usize), 1..24),
        ) {
            let mut queue = Queue::default();
            let mut held: HashSet<(u32, usize)> = HashSet::new();
            let mut counts = [0_usize; 5];
            let mut next = 0;
            for (number, pushes, pops) in steps {
                for _ in 0..pushes {
                    let item = (number, next);
                    next += 1;
                    held.insert(item);
                    counts[number as usize] += 1;
                    if let Some(back) = queue.push(source(number), item) {
                        prop_assert!(held.remove(&back));
                        counts[back.0 as usize] -= 1;
                        let most = counts.iter().max().copied();
                        prop_assert!(most <= Some(counts[back.0 as usize] + 1), "{:?}", back);
                    }
                    prop_assert_eq!(queue.len(), held.len());
                    prop_assert!(queue.len() <= LOGINS_WAITING_MAX);
                }
                for _ in 0..pops {
                    if let Some(item) = queue.pop() {
                        prop_assert!(held.remove(&item));
                        counts[item.0 as usize] -= 1;
                    }
                }
            }
            for item in drained(&mut queue) {
                prop_assert!(held.remove(&item));
            }
            prop_assert!(held.is_empty());
        }
    }
}
