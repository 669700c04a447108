//! The bytes that `docs/item-layout.md` draws, read here by hand: nothing of the code that writes
//! them is asked where a field lies. And values of every length at which they change.

use super::{config, get, set, tiny};
use crate::Store;
use crate::class::CHUNK_BYTES;
use crate::face::{Fetch, Removal, Write, Written};
use crate::time::{Expiry, Now};

const NOW: Now = Now(0x01_02_03);

fn store(how: &Write, key: &[u8], value: &[u8], store: &Store) {
    let written = store.write(store.hashed(key).cas_hidden(), NOW, how, value).outcome;
    assert!(matches!(written, Written::Stored { .. }), "{written:?}");
}

#[test]
fn records_lie_as_they_are_drawn() {
    let held = tiny(config(1 << 20), 0, 16 << 10);
    // A short item without TTL: bits 0, last access, key, value: seven bytes and no padding.
    store(&set(), b"abc", b"xy", &held);
    // Value of 300 bytes (two bytes of length), TTL of 500 s (two bytes), flags 7 (one byte).
    let how = Write { expiry: Expiry::at(NOW.0 + 500), flags: 7, ..set() };
    store(&how, b"key-2", &[b'z'; 300], &held);
    // An expiry that two bytes cannot hold, flags of four bytes, a cas unique that was chosen.
    let far = Expiry::at(NOW.0 + 0x0001_0000);
    let how = Write { expiry: far, flags: 0x0102_0304, new_cas: Some(0x1122_3344), ..set() };
    store(&how, b"k3", b"v", &held);
    // Dead, for it is replaced; the new one was fetched, as base64, and its cas unique was shown.
    store(&set(), b"k4", b"old", &held);
    let key = held.hashed(b"k4");
    held.remove(key, NOW, None, &Removal::Remove);
    store(&Write { binary_key: true, ..set() }, b"k5", b"new", &held);
    held.fetch(held.hashed(b"k5"), NOW, &Fetch::default(), |_| ()).unwrap();

    let mut expected = Vec::new();
    let mut record = |bits: u16, key: &[u8], length: &[u8], rest: &[&[u8]], value: &[u8]| {
        expected.extend(bits.to_le_bytes());
        expected.extend([0x03, 0x02, 0x01]);
        expected.push(key.len() as u8);
        expected.extend(length);
        rest.iter().for_each(|field| expected.extend(*field));
        expected.extend(key);
        expected.extend(value);
    };
    record(0, b"abc", &[2], &[], b"xy");
    let bits = 0b01 | 0b01 << 2 | 0b01 << 4;
    record(bits, b"key-2", &[0x2c, 0x01], &[&[0xf4, 0x01], &[7]], &[b'z'; 300]);
    let bits = 0b10 << 2 | 0b11 << 4 | 1 << 6;
    let second = (NOW.0 + 0x0001_0000).to_le_bytes();
    let cas = 0x1122_3344_u64.to_le_bytes();
    record(bits, b"k3", &[1], &[&second, &[4, 3, 2, 1], &cas], b"v");
    record(1 << 12, b"k4", &[3], &[], b"old");
    record(1 << 7 | 1 << 10 | 1 << 11, b"k5", &[3], &[], b"new");
    assert_eq!(held.lock(0).segment_bytes(1), expected);
}

#[test]
fn slots_lie_as_they_are_drawn() {
    const BUCKET_BYTES: usize = 64;
    const BUCKETS: u64 = 4;
    // 16 KiB of a segment take fourteen bits of a location.
    const OFFSET_BITS: u32 = 14;
    let held = tiny(config(1 << 20), 0, 1 << OFFSET_BITS);
    let keys = ["a", "bb", "ccc"];
    let mut expected = Vec::new();
    let mut offset = 0;
    for key in keys {
        store(&set(), key.as_bytes(), b"value", &held);
        let tag = held.hashed(key.as_bytes()).hash & 0x3fff;
        let home = (tag * BUCKETS / (1 << 14)) as usize;
        expected.push((home, (tag << 2) as u16, (1 << OFFSET_BITS) + offset));
        offset += 7 + key.len() as u32 + 5;
    }
    let bytes = held.lock(0).index_bytes();
    let mut found = Vec::new();
    for (number, bucket) in bytes.chunks(BUCKET_BYTES).enumerate() {
        for slot in 0..10 {
            let mark = u16::from_le_bytes([bucket[2 * slot], bucket[2 * slot + 1]]);
            let at = 20 + 4 * slot;
            let location = u32::from_le_bytes(bucket[at..at + 4].try_into().unwrap());
            if location != 0 {
                found.push((number % BUCKETS as usize, mark, location));
                assert_eq!(bucket[60], 0, "nothing was passed on");
            }
        }
    }
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

/// Lengths of values around each bound that some code may trip over: classes of sizes, widths of
/// the length, the longest record, the ends of pieces.
fn lengths(segment_bytes: usize) -> Vec<usize> {
    let classes = CHUNK_BYTES.iter().map(|&bytes| bytes as usize);
    let pieces = [1, 2, 3].map(|count| count * (64 << 10));
    let bounds = [0, 1 << 8, 1 << 16, segment_bytes / 8].into_iter().chain(classes).chain(pieces);
    // Key, head and what memcached adds to an item are below 64 bytes.
    let around = bounds.flat_map(|bound| bound.saturating_sub(64)..=bound + 1);
    around.filter(|&length| length <= 400_000).collect()
}

#[test]
fn values_around_every_bound_come_back_and_every_byte_is_known() {
    const SEGMENT_BYTES: usize = 16 << 10;
    // The tenth that is for new items has room for the longest of them.
    let held = tiny(config(8 << 20), 0, SEGMENT_BYTES);
    let mut lengths = lengths(SEGMENT_BYTES);
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 1000, "{}", lengths.len());
    for (number, &length) in lengths.iter().enumerate() {
        let value = vec![number as u8; length];
        // The one over a value of the length before, the others over one of 26 before.
        for key in [b"first".as_slice(), &[b'a' + (number % 26) as u8]] {
            store(&set(), key, &value, &held);
            let is_there = get(&held, key, NOW).is_some_and(|found| found == value);
            assert!(is_there, "{} of {length}: {:?}", key.escape_ascii(), held.stats());
        }
        if number % 50 == 0 {
            held.audit();
        }
    }
    held.audit();
    assert!(held.stats().evictions > 0, "{:?}", held.stats());
}
