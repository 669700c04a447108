//! Who is kept: uses that come right after a write do not count, later ones do, and room is found
//! even where everything is used.

use super::{config, get, set, tiny};
use crate::Store;
use crate::face::Written;
use crate::time::Now;

const NOW: Now = Now(5000);
const VALUE: [u8; 100] = [7; 100];

fn write(store: &Store, key: &str) {
    let written = store.write(store.hashed(key.as_bytes()), NOW, &set(), &VALUE).outcome;
    assert!(matches!(written, Written::Stored { .. }), "{key}: {written:?}");
}

fn is_there(store: &Store, key: &str) -> bool {
    get(store, key.as_bytes(), NOW).is_some()
}

/// A cache of about 7000 items in which 1000 are used again and again.
fn with_a_working_set() -> Store {
    let store = tiny(config(1 << 20), 0, 4096);
    for round in 0..40 {
        for number in 0..1000 {
            let key = format!("work-{number}");
            if !is_there(&store, &key) {
                write(&store, &key);
            }
        }
        for number in 0..500 {
            write(&store, &format!("once-{round}-{number}"));
        }
    }
    store
}

fn working_set_left(store: &Store) -> usize {
    (0..1000).filter(|number| store.holds(format!("work-{number}").as_bytes())).count()
}

#[test]
fn items_that_are_read_back_at_once_displace_nothing() {
    let store = with_a_working_set();
    assert!(working_set_left(&store) > 990, "{:?}", store.stats());
    let before = store.stats();
    for number in 0..50_000 {
        let key = format!("scan-{number}");
        write(&store, &key);
        assert!(is_there(&store, &key), "an acknowledged item right after its write");
        assert!(is_there(&store, &key));
    }
    let moved = store.stats().moves_to_main - before.moves_to_main;
    assert!(moved < 500, "{moved} of 50000 were taken for worth keeping");
    assert!(working_set_left(&store) > 950, "{}", working_set_left(&store));
    store.audit();
}

#[test]
fn items_that_are_asked_for_again_later_come_to_main() {
    let store = with_a_working_set();
    let before = store.stats();
    // Read back when 300 others came in, a twentieth of what is held. A few are taken for ones that
    // were here before, and come into a segment of Main whose turn may be next.
    let mut lost = 0;
    for number in 0..10_000 {
        write(&store, &format!("later-{number}"));
        if number >= 300 {
            lost += u32::from(!is_there(&store, &format!("later-{}", number - 300)));
        }
    }
    assert!(lost <= 20, "{lost} of 9700 were thrown out unread");
    let moved = store.stats().moves_to_main - before.moves_to_main;
    assert!(moved > 8000, "{moved} of 10000");
    store.audit();
}

#[test]
fn a_fortieth_of_all_bytes_is_still_at_once() {
    let store = with_a_working_set();
    let before = store.stats();
    // Some 7000 are held; 100 others are more than a fortieth of Small alone.
    for number in 0..20_000 {
        write(&store, &format!("scan-{number}"));
        if number >= 100 {
            assert!(is_there(&store, &format!("scan-{}", number - 100)));
        }
    }
    let moved = store.stats().moves_to_main - before.moves_to_main;
    assert!(moved < 500, "{moved} of 20000 were taken for worth keeping");
    assert!(working_set_left(&store) > 950, "{}", working_set_left(&store));
}

#[test]
fn what_is_overwritten_in_any_order_throws_nothing_out() {
    let store = tiny(config(1 << 20), 0, 4096);
    let mut random = 1_u64;
    for round in 0..100_000 {
        // A third of memory lives, spread over all segments: hardly one is dead as a whole.
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let number = if round < 2500 { round } else { (random >> 33) % 2500 };
        write(&store, &format!("key-{number}"));
    }
    let stats = store.stats();
    assert_eq!((stats.evictions, stats.items), (0, 2500), "{stats:?}");
    store.audit();
}

#[test]
fn room_is_found_where_everything_is_used() {
    let store = tiny(config(1 << 20), 0, 4096);
    let mut keys = Vec::new();
    for number in 0..6000 {
        let key = format!("key-{number}");
        write(&store, &key);
        keys.push(key);
    }
    for round in 0..3000 {
        // Every counter is full whenever room is needed.
        if round % 100 == 0 {
            for _ in 0..3 {
                keys.iter()
                    .for_each(|key| assert!(is_there(&store, key) || store.stats().evictions > 0));
            }
        }
        let key = format!("new-{round}");
        write(&store, &key);
        keys.push(key);
    }
    let stats = store.stats();
    assert!(stats.evictions > 0 && stats.no_memory == 0, "{stats:?}");
    store.audit();
}

#[test]
fn large_items_follow_the_same_rule() {
    let store = tiny(config(8 << 20), 0, 16 << 10);
    let value = vec![5; 20_000];
    let write = |key: &str| {
        let written = store.write(store.hashed(key.as_bytes()), NOW, &set(), &value).outcome;
        assert!(matches!(written, Written::Stored { .. }), "{key}: {written:?}");
    };
    for number in 0..2000 {
        let key = format!("scan-{number}");
        write(&key);
        assert!(is_there(&store, &key));
    }
    let before = store.stats().moves_to_main;
    assert!(before < 60, "{before} of 2000");
    // Some four hundred are held: twenty later is not at once.
    for number in 0..1000 {
        write(&format!("later-{number}"));
        if number >= 20 {
            assert!(is_there(&store, &format!("later-{}", number - 20)));
        }
    }
    let moved = store.stats().moves_to_main - before;
    assert!(moved > 800, "{moved} of 1000");
    store.audit();
}

#[test]
fn an_item_longer_than_the_share_of_new_ones_outlives_its_write() {
    // Nearly all that one of the shards has for its own, where all else is worth keeping.
    let large = vec![5; 225_000];
    let store = tiny(config(2 << 20), 3, 4096);
    for round in 0..20 {
        for number in 0..12_500 {
            let key = format!("work-{number}");
            if !is_there(&store, &key) {
                write(&store, &key);
            }
        }
        (0..1000).for_each(|number| write(&store, &format!("once-{round}-{number}")));
    }
    assert!(store.stats().moves_to_main > 10_000, "{:?}", store.stats());
    for number in 0..40 {
        let key = format!("large-{number}");
        let written = store.write(store.hashed(key.as_bytes()), NOW, &set(), &large).outcome;
        assert!(matches!(written, Written::Stored { .. }), "{key}: {written:?}");
        for other in 0..200 {
            write(&store, &format!("new-{number}-{other}"));
            assert!(store.holds(key.as_bytes()), "{key} is gone after {other} others");
        }
    }
    let large_items = store.stats().large_items;
    assert!(large_items <= 8, "{large_items} unused ones stayed, at the cost of used items");
    store.audit();
}
