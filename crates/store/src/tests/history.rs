//! Is a concurrent history of one key linearisable? Every operation took effect at one instant
//! between its call and its return; here an order of such instants is searched for that explains
//! every answer. An item may vanish between two operations if the store was full (`may_vanish`).
//!
//! The search goes operation by operation: next may be any that was called before the first return
//! among those left. What was tried is remembered as (operations done, item then), so that each such
//! pair is tried once; histories have at most [`OPERATIONS_MAX`] operations.

use std::collections::HashSet;

/// Operations of a history fit into the bits of its search's set.
pub(super) const OPERATIONS_MAX: usize = 128;

/// An item, as far as these histories see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) value: Vec<u8>,
    pub(super) cas: u64,
}

/// What was asked, and what was answered. `cas` in an answer is the new item's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Get { shown: Option<Held> },
    Set { value: Vec<u8>, cas: u64 },
    Add { value: Vec<u8>, stored: Option<u64> },
    Append { value: Vec<u8>, stored: Option<u64> },
    Swap { compare: u64, value: Vec<u8>, answer: Swapped },
    Step { delta: u64, answer: Stepped },
    Delete { found: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swapped {
    Stored(u64),
    Exists,
    NotFound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    Number(u64, u64),
    NonNumeric,
    NotFound,
}

/// An operation with the ticks of a shared clock at its call and at its return.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) called: u64,
    pub(super) returned: u64,
    pub(super) done: Done,
}

/// Whether some order of the operations on one key, absent at first, explains all answers.
pub(super) fn is_linearisable(history: &[Operation], may_vanish: bool) -> bool {
    assert!(history.len() <= OPERATIONS_MAX);
    let all = if history.len() == OPERATIONS_MAX { u128::MAX } else { (1 << history.len()) - 1 };
    let mut tried = HashSet::new();
    let mut open = vec![(0_u128, None)];
    // Bound: each pair of operations done and item is pushed once.
    while let Some((done, item)) = open.pop() {
        if done == all {
            return true;
        }
        let left = |at: &usize| done & (1 << at) == 0;
        let first_return =
            (0..history.len()).filter(left).map(|at| history[at].returned).min().unwrap_or(0);
        for at in (0..history.len()).filter(left).filter(|&at| history[at].called < first_return) {
            for after in outcomes(&history[at].done, item.as_ref(), may_vanish) {
                let next = (done | (1 << at), after);
                if tried.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    false
}

/// The items that an operation may leave if it answered as it did; none if it could not have.
fn outcomes(done: &Done, item: Option<&Held>, may_vanish: bool) -> Vec<Option<Held>> {
    let mut after: Vec<Option<Held>> = effect(done, item).into_iter().collect();
    if may_vanish && item.is_some() {
        after.extend(effect(done, None));
    }
    after
}

/// The item after an operation on `item`; `None` if it would have answered otherwise.
fn effect(done: &Done, item: Option<&Held>) -> Option<Option<Held>> {
    let fresh = |value: &[u8], cas| Some(Some(Held { value: value.to_vec(), cas }));
    match (done, item) {
        (Done::Get { shown }, _) => (shown.as_ref() == item).then(|| item.cloned()),
        (Done::Set { value, cas }, _) => fresh(value, *cas),
        (Done::Add { value, stored: Some(cas) }, None) => fresh(value, *cas),
        (Done::Add { stored: None, .. }, Some(held)) => Some(Some(held.clone())),
        (Done::Append { value, stored: Some(cas) }, Some(held)) => {
            fresh(&[&*held.value, value].concat(), *cas)
        }
        (Done::Append { stored: None, .. }, None) => Some(None),
        (Done::Swap { answer: Swapped::NotFound, .. }, None) => Some(None),
        (Done::Swap { compare, value, answer }, Some(held)) => match answer {
            Swapped::Stored(cas) if *compare == held.cas => fresh(value, *cas),
            Swapped::Exists if *compare != held.cas => Some(Some(held.clone())),
            _ => None,
        },
        (Done::Step { answer: Stepped::NotFound, .. }, None) => Some(None),
        (Done::Step { delta, answer }, Some(held)) => stepped(*delta, *answer, held),
        (Done::Delete { found }, _) => (*found == item.is_some()).then_some(None),
        _ => None,
    }
}

fn stepped(delta: u64, answer: Stepped, held: &Held) -> Option<Option<Held>> {
    let text = std::str::from_utf8(&held.value).ok();
    let number = text.and_then(|text| text.trim_end().parse::<u64>().ok());
    match (number, answer) {
        (None, Stepped::NonNumeric) => Some(Some(held.clone())),
        (Some(number), Stepped::Number(value, cas)) if number.wrapping_add(delta) == value => {
            let width = held.value.len();
            Some(Some(Held { value: format!("{value:<width$}").into_bytes(), cas }))
        }
        _ => None,
    }
}

mod tests {
    use super::{Done, Held, Operation, Stepped, Swapped, is_linearisable};

    fn held(value: &str, cas: u64) -> Option<Held> {
        Some(Held { value: value.into(), cas })
    }

    fn set(value: &str, cas: u64) -> Done {
        Done::Set { value: value.into(), cas }
    }

    fn at(called: u64, returned: u64, done: Done) -> Operation {
        Operation { called, returned, done }
    }

    /// The history, and whether it is linearisable without and with items that vanish.
    fn judge(history: &[Operation]) -> (bool, bool) {
        (is_linearisable(history, false), is_linearisable(history, true))
    }

    #[test]
    fn what_overlaps_may_be_seen_before_or_after() {
        for shown in [None, held("a", 1)] {
            let history = [at(1, 4, set("a", 1)), at(2, 3, Done::Get { shown })];
            assert_eq!(judge(&history), (true, true));
        }
        let history = [
            at(1, 10, set("a", 1)),
            at(2, 9, set("b", 2)),
            at(3, 4, Done::Get { shown: held("b", 2) }),
            at(5, 6, Done::Get { shown: held("a", 1) }),
        ];
        assert_eq!(judge(&history), (true, true));
    }

    #[test]
    fn an_old_value_after_a_new_one_is_refused() {
        let history = [
            at(1, 2, set("a", 1)),
            at(3, 4, set("b", 2)),
            at(5, 6, Done::Get { shown: held("a", 1) }),
        ];
        assert_eq!(judge(&history), (false, false));
    }

    #[test]
    fn a_value_that_nobody_stored_is_refused() {
        let history = [at(1, 4, set("a", 1)), at(2, 3, Done::Get { shown: held("z", 1) })];
        assert_eq!(judge(&history), (false, false));
        let history = [at(1, 4, set("a", 1)), at(2, 3, Done::Get { shown: held("a", 2) })];
        assert_eq!(judge(&history), (false, false));
    }

    #[test]
    fn a_deleted_value_does_not_come_back() {
        let history = [
            at(1, 2, set("a", 1)),
            at(3, 4, Done::Delete { found: true }),
            at(5, 6, Done::Get { shown: held("a", 1) }),
        ];
        assert_eq!(judge(&history), (false, false));
    }

    #[test]
    fn a_miss_after_a_store_needs_an_eviction() {
        let history = [at(1, 2, set("a", 1)), at(3, 4, Done::Get { shown: None })];
        assert_eq!(judge(&history), (false, true));
        let again = [
            at(1, 2, set("a", 1)),
            at(3, 4, Done::Get { shown: None }),
            at(5, 6, Done::Get { shown: held("a", 1) }),
        ];
        assert_eq!(judge(&again), (false, false), "what vanished stays away");
        let add = Done::Add { value: b"b".into(), stored: Some(2) };
        assert_eq!(judge(&[at(1, 2, set("a", 1)), at(3, 4, add)]), (false, true));
    }

    #[test]
    fn a_lost_update_is_refused() {
        let swap = |value: &str, cas| Done::Swap {
            compare: 1,
            value: value.into(),
            answer: Swapped::Stored(cas),
        };
        let history = [at(1, 2, set("a", 1)), at(3, 6, swap("b", 2)), at(4, 5, swap("c", 3))];
        assert_eq!(judge(&history), (false, false));
        let step = |value, cas| Done::Step { delta: 1, answer: Stepped::Number(value, cas) };
        let history = [at(1, 2, set("5", 1)), at(3, 6, step(6, 2)), at(4, 5, step(6, 3))];
        assert_eq!(judge(&history), (false, false));
        let history = [at(1, 2, set("5", 1)), at(3, 6, step(7, 2)), at(4, 5, step(6, 3))];
        assert_eq!(judge(&history), (true, true));
    }
}
