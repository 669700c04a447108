//! Random commands against store and oracle alike, with tiny memory, so that eviction, compaction,
//! large values, growth of the index, a limit that moves and a jumping clock meet in every order.
//! What the store threw out counts as deleted; whatever it still holds must be right.
//!
//! `KANNUKI_MODEL_COMMANDS=10000000` makes the long run, `KANNUKI_MODEL_SEED` another one.

use super::oracle::{Item, Oracle, Shown};
use super::{Geometry, StoreConfig, config, value};
use crate::Store;
use crate::blocks::Boxed;
use crate::face::{
    Absent, Fetch, FetchMiss, Hit, Lease, Leases, Looked, Removal, Removed, Step, Stepped, Vivify,
    Write, WriteMode, Written,
};
use crate::time::{Expiry, Now};

#[test]
fn agrees_with_the_oracle() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let commands = number("KANNUKI_MODEL_COMMANDS").unwrap_or(120_000);
    let seed = number("KANNUKI_MODEL_SEED").unwrap_or(0) << 8;
    let runs = [
        // memory, shard bits, segment, evict, cas, audit every
        (96 << 10, 0, 1024, true, true, 1),
        (120 << 10, 1, 2048, true, true, 7),
        (120 << 10, 2, 1024, true, false, 7),
        (100 << 10, 0, 2048, false, true, 7),
        (160 << 10, 1, 8192, true, true, 17),
        (160 << 10, 0, 2048, true, true, 67),
    ];
    let (mut second_chances, mut lowered, mut over) = (0, 0, 0);
    for (number, &(memory, shard_bits, segment, evict, cas, audit)) in (1..).zip(&runs) {
        let config = StoreConfig { evict, cas, item_bytes_max: 6000, ..config(memory) };
        let mut cut = Geometry::of(shard_bits, segment);
        cut.piece_bytes = 700;
        let mut model = Model::new(config, cut, seed + number);
        model.short = number == runs.len() as u64;
        let mut index_power = 0;
        model.keys = if segment > 2048 || model.short { 12_000 } else { 1_500 };
        let share = commands / runs.len() as u64;
        for done in 0..share {
            model.command();
            // Every byte after every command in a short run, now and then in a long one.
            if done % (audit * share.div_ceil(24_000)) == 0 {
                model.audit();
                index_power = index_power.max(model.store.stats().index_power);
            }
        }
        // A leaf of the index has 320 slots, so there are several of them here.
        assert!(!model.short || index_power >= 10, "2^{index_power} slots");
        second_chances += model.finish(evict);
        lowered += model.lowered;
        over += model.over;
    }
    assert!(second_chances > 0 && lowered > 0 && over > 0, "{second_chances} {lowered} {over}");
}

/// Cas uniques that clients choose lie above what the store counts up to here, so that order can be
/// checked among the others.
const CHOSEN_CAS_FROM: u64 = 1 << 40;

struct Model {
    store: Store,
    oracle: Oracle,
    random: Random,
    now: Now,
    config: StoreConfig,
    keys: u64,
    no_memory: u64,
    outcomes: u64,
    /// Audits under a lowered limit that more was held than.
    over: u64,
    /// Limits lowered below what was held.
    lowered: u64,
    /// Values of a few bytes alone, so that there are many items.
    short: bool,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

impl Model {
    fn new(config: StoreConfig, cut: Geometry, seed: u64) -> Self {
        let store = Store::with_geometry(config.clone(), cut, Boxed);
        let oracle = Oracle::new(config.clone());
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let now = Now(1_000_000);
        Self {
            store,
            oracle,
            random,
            now,
            config,
            keys: 0,
            no_memory: 0,
            outcomes: 0,
            over: 0,
            lowered: 0,
            short: false,
        }
    }

    fn command(&mut self) {
        let choice = self.random.below(1000);
        let key = self.key();
        match choice {
            0..=3 => self.jump(),
            4 if self.random.one_in(8) => self.flush(),
            4..=14 => {
                self.store.maintain(self.now);
            }
            15..=17 => self.walk(),
            18 if self.random.one_in(3) => self.limit(),
            _ => {
                self.align(&key);
                match choice % 10 {
                    0..=3 => self.fetch(&key),
                    4..=7 => self.write(&key),
                    8 => self.remove(&key),
                    _ => self.step(&key),
                }
            }
        }
    }

    /// What the store threw out on its own is deleted in the oracle too.
    fn align(&mut self, key: &[u8]) {
        if self.store.holds(key) {
            assert!(self.oracle.items.contains_key(key), "the store holds what nobody stored");
        } else {
            self.oracle.items.remove(key);
        }
    }

    fn key(&mut self) -> Vec<u8> {
        // Few hot keys, many cold ones, some very long.
        let number = match self.random.below(if self.short { 16 } else { 4 }) {
            0 => self.random.below(8),
            1 => self.random.below(100),
            _ => self.random.below(self.keys),
        };
        let mut key = format!("key-{number}").into_bytes();
        if number % 11 == 0 {
            key.resize(250, b'k');
        }
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.random.below(40) {
            _ if self.short => self.random.below(6),
            0 => self.random.below(7000),
            1..=3 => self.random.below(900),
            4..=6 => 0,
            7..=14 => {
                let digits = self.random.next() >> self.random.below(60);
                return digits.to_string().into_bytes();
            }
            _ => self.random.below(70),
        };
        let first = self.random.next();
        (0..length).map(|at| (first.wrapping_add(at * 7) % 251) as u8).collect()
    }

    fn expiry(&mut self) -> Expiry {
        match self.random.below(12) {
            0 => Expiry::PASSED,
            1..=2 => Expiry::at(self.now.0 + self.random.below(5) as u32),
            3 => Expiry::at(self.now.0 + self.random.below(2000) as u32),
            4 => Expiry::at(self.now.0 + 70_000 + self.random.below(2000) as u32),
            _ => Expiry::NEVER,
        }
    }

    fn flags(&mut self) -> u32 {
        if self.random.one_in(2) { 0 } else { (self.random.next() >> self.random.below(32)) as u32 }
    }

    fn compare(&mut self, key: &[u8]) -> Option<u64> {
        if !self.random.one_in(3) {
            return None;
        }
        let mut held = 0;
        if let Some(item) = self.oracle.items.get_mut(key) {
            if !item.flushed && !item.cas_shown {
                // The store may have moved the item and its cas unique; from now on it must not.
                // At time 0 nothing has expired.
                let shown = self.store.peek(self.store.hashed(key), Now(0), |hit| hit.cas);
                item.cas = shown.unwrap();
                item.cas_shown = true;
            }
            held = item.cas;
        }
        Some(match self.random.below(6) {
            0 => held.wrapping_sub(1),
            1 => held.wrapping_add(1),
            2 => self.random.below(1 << 30),
            _ => held,
        })
    }

    fn new_cas(&mut self) -> Option<u64> {
        self.random.one_in(12).then(|| CHOSEN_CAS_FROM + self.random.below(1 << 20))
    }

    fn jump(&mut self) {
        let by = self.random.below(3000) as u32;
        self.now = Now(match self.random.below(12) {
            0 if self.random.one_in(3) => self.now.0 + 3600,
            1 => (self.now.0 - 3600).max(10_000),
            2 => self.now.0 + by,
            _ => self.now.0 + 1,
        });
        // A shard notices a deadline when it is asked; the oracle has one shard.
        self.store.enter_all(self.now);
        self.oracle.enter(self.now);
    }

    /// Less memory than is held, most often, or all there was at first. Without eviction, what is
    /// held stays, and nothing more comes until enough is deleted or the limit is raised again.
    fn limit(&mut self) {
        let (held, most) = (self.store.pool.budget.used(), self.config.memory_bytes);
        let lower = (held * (60 + self.random.below(40)) / 100).max(most * 45 / 100);
        let bytes = if self.random.one_in(2) { most } else { lower };
        self.store.pool.set_limit(bytes);
        self.lowered += u64::from(self.store.pool.is_over());
    }

    fn audit(&mut self) {
        if self.store.pool.is_over() {
            self.over += 1;
            self.store.audit_under_lowered_limit();
        } else {
            self.store.audit();
        }
    }

    fn flush(&mut self) {
        let at = if self.random.one_in(2) {
            self.now
        } else {
            Now(self.now.0 + self.random.below(20) as u32)
        };
        self.store.flush(self.now, at);
        self.oracle.flush(self.now, at);
    }

    fn walk(&mut self) {
        let mut cursor = Some(crate::face::Cursor::START);
        let mut seen = std::collections::HashSet::new();
        while let Some(at) = cursor {
            cursor = self.store.walk(at, self.now, 50, |item| {
                let held = &self.oracle.items[item.key];
                assert!(!held.flushed && !held.expiry.is_due(self.now));
                assert_eq!((item.flags, item.expiry), (held.flags, held.expiry));
                assert_eq!(item.value_bytes as usize, held.value.len());
                assert_eq!((item.fetched, item.binary_key), (held.fetched, held.binary_key));
                assert!(seen.insert(item.key.to_vec()), "shown once");
            });
        }
        for (key, item) in &self.oracle.items {
            let lives = !item.flushed && !item.expiry.is_due(self.now);
            assert!(!lives || seen.contains(key) || !self.store.holds(key), "all are shown");
        }
    }

    fn fetch(&mut self, key: &[u8]) {
        let vivify = if self.random.one_in(6) {
            let (expiry, new_cas) = (self.expiry(), self.new_cas());
            Some(Vivify { expiry, new_cas, binary_key: self.random.one_in(2) })
        } else {
            None
        };
        let how = Fetch {
            touch: if self.random.one_in(5) { Some(self.expiry()) } else { None },
            no_bump: self.random.one_in(5),
            vivify,
            recache_below_secs: self.random.one_in(4).then_some(30),
            leases: match self.random.below(4) {
                0 => Leases::Hidden,
                1 => Leases::Shown,
                _ => Leases::Taken,
            },
        };
        let mut hashed = self.store.hashed(key);
        if self.random.one_in(2) {
            self.store.prepare(&[hashed]);
            hashed = hashed.cas_hidden();
        }
        let got = self.store.fetch(hashed, self.now, &how, shown);
        if got == Err(FetchMiss::NoMemory) {
            return self.out_of_memory(key, false);
        }
        let cas = got.as_ref().map_or(0, |shown| shown.item.cas);
        let hidden = hashed.cas_hidden;
        self.check(key, |oracle, now| {
            let mut expected = oracle.fetch(key, now, &how, cas).map_err(FetchMiss::Absent);
            if let Ok(expected) = &mut expected {
                // Only who takes part in leases is told of them.
                expected.item.stale = expected.lease.stale;
                expected.item.token = expected.lease.token_sent;
            }
            if let (Ok(expected), Some(item)) = (&mut expected, oracle.items.get_mut(key)) {
                follow_cas(expected, item, cas, hidden);
                expected.item.last_access = expected.item.last_access.min(now);
            }
            (expected == got).then_some(()).ok_or_else(|| format!("{expected:?} {got:?}"))
        });
    }

    fn write(&mut self, key: &[u8]) {
        let mode = match self.random.below(10) {
            0 => WriteMode::Add,
            1 => WriteMode::Append,
            2 => WriteMode::Prepend,
            3 => WriteMode::Replace,
            _ => WriteMode::Set,
        };
        let how = Write {
            mode,
            flags: self.flags(),
            expiry: self.expiry(),
            compare: self.compare(key),
            accept_stale: self.random.one_in(2),
            new_cas: self.new_cas(),
            vivify: if self.random.one_in(3) { Some(self.expiry()) } else { None },
            binary_key: self.random.one_in(8),
        };
        let value = self.value();
        let mut hashed = self.store.hashed(key);
        if self.random.one_in(2) {
            hashed = hashed.cas_hidden();
        }
        let got = if self.random.one_in(3) {
            match self.write_in_pieces(hashed, &how, &value) {
                Some(got) => got,
                None => return,
            }
        } else {
            self.store.write(hashed, self.now, &how, &value)
        };
        if got.outcome == Written::NoMemory {
            return self.out_of_memory(key, mode == WriteMode::Set && how.compare.is_none());
        }
        let cas = if let Written::Stored { cas, .. } = got.outcome { cas } else { 0 };
        let uses_cas = self.config.cas;
        self.check(key, |oracle, now| {
            // Order is promised against the living item that is replaced.
            let lives = |item: &&Item| !item.flushed && !item.expiry.is_due(now);
            let held = oracle.items.get(key).filter(lives).map_or(0, |item| item.cas);
            let (outcome, absent) = oracle.write(key, now, &how, &value, cas);
            if let (Written::Stored { .. }, Some(item)) = (outcome, oracle.items.get_mut(key)) {
                item.cas_shown = !hashed.cas_hidden;
                let chosen = how.new_cas.is_some() || held >= CHOSEN_CAS_FROM;
                if uses_cas && !chosen && cas <= held {
                    return Err(format!("cas {held} -> {cas}"));
                }
                if uses_cas && how.new_cas.is_none() && cas == held {
                    return Err(format!("cas stays {held}"));
                }
            }
            let expected = Looked { outcome, absent };
            (expected == got).then_some(()).ok_or_else(|| format!("{expected:?} {got:?}"))
        });
    }

    /// `None`: refused, or given up half-way; the oracle knows.
    fn write_in_pieces(
        &mut self,
        key: crate::face::Hashed<'_>,
        how: &Write,
        value: &[u8],
    ) -> Option<Looked<Written>> {
        let clears = how.mode == WriteMode::Set && how.compare.is_none();
        let length = u32::try_from(value.len()).unwrap();
        match self.store.reserve(key, self.now, how, length) {
            Ok(mut reservation) => {
                for piece in value.chunks(97) {
                    reservation.fill(piece);
                }
                assert_eq!(reservation.remaining(), 0);
                if self.random.one_in(20) {
                    return None;
                }
                return Some(self.store.commit(key, self.now, how, reservation));
            }
            Err(crate::face::Refusal::NoMemory) => self.out_of_memory(key.key, clears),
            Err(crate::face::Refusal::TooLarge) if clears => {
                self.oracle.items.remove(key.key);
            }
            Err(crate::face::Refusal::TooLarge) => {}
        }
        None
    }

    fn remove(&mut self, key: &[u8]) {
        let how = match self.random.below(4) {
            0 => {
                let expiry = if self.random.one_in(2) { Some(self.expiry()) } else { None };
                Removal::MarkStale { expiry, new_cas: self.new_cas() }
            }
            1 => Removal::Empty {
                flags: self.flags(),
                expiry: self.expiry(),
                new_cas: self.new_cas(),
                stale: self.random.one_in(2),
            },
            _ => Removal::Remove,
        };
        let compare = self.compare(key);
        let hashed = self.store.hashed(key);
        let got = self.store.remove(hashed, self.now, compare, &how);
        if got.outcome == Removed::NoMemory {
            return self.out_of_memory(key, false);
        }
        let cas = self.store.peek(hashed, Now(0), |hit| hit.cas).unwrap_or(0);
        self.check(key, |oracle, now| {
            let (outcome, absent) = oracle.remove(key, now, compare, &how, cas);
            let expected = Looked { outcome, absent };
            if let Some(item) = oracle.items.get_mut(key) {
                item.cas_shown = true;
                item.cas = cas;
            }
            (expected == got).then_some(()).ok_or_else(|| format!("{expected:?} {got:?}"))
        });
    }

    fn step(&mut self, key: &[u8]) {
        let how = Step {
            increment: self.random.one_in(2),
            delta: self.random.next() >> self.random.below(60),
            compare: self.compare(key),
            create: if self.random.one_in(2) {
                Some((self.random.next() >> self.random.below(60), self.expiry()))
            } else {
                None
            },
            touch: if self.random.one_in(4) { Some(self.expiry()) } else { None },
            new_cas: self.new_cas(),
            binary_key: self.random.one_in(4),
        };
        let got = self.store.step(self.store.hashed(key), self.now, &how);
        if got.outcome == Stepped::NoMemory {
            return self.out_of_memory(key, false);
        }
        let cas = if let Stepped::Number { cas, .. } = got.outcome { cas } else { 0 };
        self.check(key, |oracle, now| {
            let (outcome, absent) = oracle.step(key, now, &how, cas);
            let expected = Looked { outcome, absent };
            (expected == got).then_some(()).ok_or_else(|| format!("{expected:?} {got:?}"))
        });
    }

    /// Lets the oracle do the command too. If its answer differs, the store may have thrown the
    /// item out while it made room for this very command: then it must have answered as if it had
    /// never been there.
    fn check(&mut self, key: &[u8], mut agree: impl FnMut(&mut Oracle, Now) -> Result<(), String>) {
        self.outcomes += 1;
        let before = self.oracle.items.get(key).cloned();
        let first = agree(&mut self.oracle, self.now);
        let Err(difference) = first else { return };
        self.oracle.items.remove(key);
        let second = agree(&mut self.oracle, self.now);
        assert!(second.is_ok(), "{difference}\nor {second:?}\nbefore: {before:?}");
        let stats = self.store.stats();
        assert!(stats.evictions + stats.reclaimed > 0, "{difference}");
    }

    fn out_of_memory(&mut self, key: &[u8], cleared: bool) {
        self.no_memory += 1;
        if cleared {
            assert!(!self.store.holds(key), "a refused set leaves no old value");
            self.oracle.items.remove(key);
        }
    }

    fn finish(&mut self, evict: bool) -> u64 {
        let stats = self.store.stats();
        assert!(self.outcomes > 1000 && stats.items > 0);
        assert_eq!(stats.evictions > 0, evict, "{stats:?}");
        assert_eq!(self.no_memory > 0, !evict, "{} of {}", self.no_memory, self.outcomes);
        if evict {
            assert!(stats.moves_to_main > 0, "{stats:?}");
        }
        self.store.pool.set_limit(self.config.memory_bytes);
        self.store.audit();
        self.store.flush(self.now, self.now);
        while self.store.maintain(self.now).more {}
        self.store.audit();
        assert_eq!(self.store.stats().items, 0, "a flush and background work free everything");
        assert_eq!(self.store.stats().bytes, 0);
        stats.moves_within_main
    }
}

/// A cas unique that was not shown may change, upwards, when the store moves the item.
fn follow_cas(expected: &mut Shown, item: &mut Item, cas: u64, hidden: bool) {
    if !item.cas_shown && !expected.created && cas >= expected.item.cas {
        expected.item.cas = cas;
        item.cas = cas;
    }
    expected.item.cas_shown = true;
    item.cas_shown = !hidden || (item.cas_shown && !expected.created);
}

fn shown<B: AsRef<[u8]>>(hit: &Hit<'_, crate::chain::Chain<B>>) -> Shown {
    let item = Item {
        value: value(&hit.value),
        flags: hit.flags,
        expiry: hit.expiry_before,
        cas: hit.cas,
        cas_shown: true,
        fetched: hit.fetched,
        last_access: hit.last_access,
        stale: hit.lease.stale,
        token: hit.lease.token_sent,
        binary_key: hit.binary_key,
        flushed: false,
    };
    let (expiry, created, absent) = (hit.expiry, hit.created, hit.absent);
    let lease = Lease { ..hit.lease };
    assert_eq!(hit.class, crate::class::class_of(hit.item_bytes));
    assert!(absent != Some(Absent::Missing) || created);
    Shown { item, expiry, created, absent, lease }
}
