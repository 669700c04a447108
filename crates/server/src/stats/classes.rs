//! `stats items` and `stats slabs`: the store has no slabs, so both are told by size class, computed
//! from the items. Both tables have the same ids, which tools join them by.

use std::sync::PoisonError;

use kannuki_guard::{Permit, action};
use kannuki_store::stats::ClassStats;

use super::Row;
use crate::{
    counters::{ClassCounter, Totals},
    dispatch::Turn,
};

/// Bytes of a slab page, by which memcached's tools compute.
const PAGE_BYTES: u64 = 1024 * 1024;

pub(super) fn items(turn: &Turn<'_>, permit: &Permit<'_, action::Stats>, row: &mut Row<'_, '_>) {
    let totals = turn.instance.board.totals();
    let echo = turn.instance.echo.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for class in turn.instance.executor.class_stats(permit).iter().filter(|class| class.items > 0) {
        let id = class.class;
        let mut show = |key: &str, value: u64| row.show(&format!("items:{id}:{key}"), value);
        queues(class, echo.lru_maintainer, echo.temporary_ttl.is_some(), &mut show);
        losses(class, echo.lru_maintainer, &mut show);
        if echo.lru_maintainer {
            show("moves_to_cold", 0);
            show("moves_to_warm", class.moves_to_main);
            show("moves_within_lru", class.moves_within_main);
            show("direct_reclaims", class.direct_reclaims);
            // Which queue a hit fell into is not told apart.
            show("hits_to_hot", totals.of_class(id, ClassCounter::GetHits));
            show("hits_to_warm", 0);
            show("hits_to_cold", 0);
            show("hits_to_temp", 0);
        }
    }
}

fn queues(class: &ClassStats, queues: bool, temp: bool, show: &mut impl FnMut(&str, u64)) {
    show("number", class.items);
    if queues {
        show("number_hot", class.items_small);
        show("number_warm", class.items_main);
        show("number_cold", 0);
        if temp {
            show("number_temp", 0);
        }
        show("age_hot", 0);
        show("age_warm", class.age_secs.into());
    }
    show("age", class.age_secs.into());
    show("mem_requested", class.mem_requested);
}

fn losses(class: &ClassStats, queues: bool, show: &mut impl FnMut(&str, u64)) {
    show("evicted", class.evicted);
    show("evicted_nonzero", class.evicted_nonzero);
    show("evicted_time", class.evicted_time.into());
    show("outofmemory", class.outofmemory);
    show("tailrepairs", 0);
    show("reclaimed", class.reclaimed);
    show("expired_unfetched", class.expired_unfetched);
    show("evicted_unfetched", class.evicted_unfetched);
    if queues {
        show("evicted_active", class.evicted_active);
    }
    show("crawler_reclaimed", class.crawler_reclaimed);
    show("crawler_items_checked", class.crawler_items_checked);
    show("lrutail_reflocked", 0);
}

pub(super) fn slabs(turn: &Turn<'_>, permit: &Permit<'_, action::Stats>, row: &mut Row<'_, '_>) {
    let totals = turn.instance.board.totals();
    let classes = turn.instance.executor.class_stats(permit);
    let mut active = 0;
    for class in &classes {
        if class.items > 0 || has_history(class.class, &totals) {
            active += 1;
            slab(class, &totals, row);
        }
    }
    row.show("active_slabs", active);
    row.show("total_malloced", turn.instance.executor.stats(permit).memory_used);
}

/// memcached never gives a class's last page back: its counters stay visible.
fn has_history(class: u8, totals: &Totals) -> bool {
    totals.of_class(class, ClassCounter::CmdSet) > 0
}

fn slab(class: &ClassStats, totals: &Totals, row: &mut Row<'_, '_>) {
    let id = class.class;
    let mut show = |key: &str, value: u64| row.show(&format!("{id}:{key}"), value);
    let per_page = (PAGE_BYTES / u64::from(class.chunk_bytes.max(1))).max(1);
    let pages = class.items.div_ceil(per_page).max(1);
    show("chunk_size", class.chunk_bytes.into());
    show("chunks_per_page", per_page);
    show("total_pages", pages);
    show("total_chunks", pages * per_page);
    show("used_chunks", class.items);
    show("free_chunks", pages * per_page - class.items);
    show("free_chunks_end", 0);
    for counter in ClassCounter::ALL {
        show(counter.name(), totals.of_class(id, *counter));
    }
}
