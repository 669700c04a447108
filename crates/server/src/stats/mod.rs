//! The families of `stats`, each as a row of (key, value) in memcached's order, shown alike by the
//! text and the binary protocol.
//!
//! Invariants: every key of memcached is there, with a true value; 0 where the thing cannot happen
//! here. Keys of our own start with `kannuki_` and come last.

mod classes;
mod conns;
mod general;
mod settings;

use std::fmt::Display;

use kannuki_guard::{Permit, action};
use kannuki_protocol::command::Stats;

use crate::dispatch::Turn;

/// Takes one key and its value.
pub(crate) type Sink<'s> = dyn FnMut(&str, &[u8]) + 's;

/// Shows one family. `reset`, `detail` and `cachedump` are not rows and show nothing here.
pub(crate) fn collect(
    turn: &Turn<'_>,
    permit: &Permit<'_, action::Stats>,
    family: Stats<'_>,
    sink: &mut Sink<'_>,
) {
    let mut row = Row { sink };
    match family {
        Stats::General => general::show(turn, permit, &mut row),
        Stats::Settings => settings::show(turn, permit, &mut row),
        Stats::Items => classes::items(turn, permit, &mut row),
        Stats::Slabs => classes::slabs(turn, permit, &mut row),
        Stats::Sizes => sizes(turn, permit, &mut row),
        Stats::Conns => conns::show(turn, &mut row),
        // There is no extstore: no pages to show.
        _ => {}
    }
}

/// Item sizes, if the server was asked to keep track of them.
fn sizes(turn: &Turn<'_>, permit: &Permit<'_, action::Stats>, row: &mut Row<'_, '_>) {
    if !turn.instance.config.track_sizes {
        return row.show("sizes_status", "disabled");
    }
    for (size, items) in turn.instance.executor.size_histogram(permit) {
        row.show(&size.to_string(), items);
    }
}

/// Shows keys and values of any kind.
struct Row<'r, 's> {
    sink: &'r mut Sink<'s>,
}

impl Row<'_, '_> {
    fn show(&mut self, key: &str, value: impl Display) {
        (self.sink)(key, value.to_string().as_bytes());
    }

    fn yes_no(&mut self, key: &str, value: bool) {
        self.show(key, if value { "yes" } else { "no" });
    }
}
