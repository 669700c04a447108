//! A bucket of the index: ten slots, what it has passed on, and whose chunk it begins.
//!
//! See the head of [`super`] for the bytes.

use crate::location::Location;

pub(super) const BUCKET_BYTES: usize = 64;
pub(super) type Bucket = [u8; BUCKET_BYTES];
pub(super) const BUCKET_SLOTS: usize = 10;
pub(super) const LOCATIONS_AT: usize = 2 * BUCKET_SLOTS;
pub(super) const PASSED_AT: usize = LOCATIONS_AT + 4 * BUCKET_SLOTS;
pub(super) const OWNER_AT: usize = PASSED_AT + 1;
/// Buckets that a leaf gets at once.
pub(super) const CHUNK_BUCKETS: usize = 4;
pub(super) const CHUNK_BYTES: usize = CHUNK_BUCKETS * BUCKET_BYTES;
pub(super) const TAG_BITS: u32 = 14;
/// The counter in a slot stops here.
pub(crate) const COUNTER_MAX: u8 = 3;

const _: () = assert!(OWNER_AT + 3 == BUCKET_BYTES);

#[inline]
pub(super) fn tag_of(hash: u64) -> u16 {
    (hash & ((1 << TAG_BITS) - 1)) as u16
}

#[inline]
pub(super) fn home_of(tag: u16, buckets: usize) -> usize {
    (usize::from(tag) * buckets) >> TAG_BITS
}

/// The bit of an item in what its home has passed on: by the tag's lower end, since its upper end
/// has chosen the home.
pub(super) const fn kind_of(tag: u16) -> u8 {
    1 << (tag & 0b111)
}

pub(super) const fn next(bucket: usize, buckets: usize) -> usize {
    if bucket + 1 == buckets { 0 } else { bucket + 1 }
}

/// Calls `visit` with each position whose tag is `tag`, empty ones included, until it says `Some`.
/// Four marks at a time: with the counters masked out a lane is 0 or at least 4, so that a borrow
/// from one that is 0 ends in the next that is not.
#[inline]
pub(super) fn find_in<T>(
    bucket: &Bucket,
    tag: u16,
    mut visit: impl FnMut(usize) -> Option<T>,
) -> Option<T> {
    const ONES: u64 = 0x0001_0001_0001_0001;
    const TOPS: u64 = ONES << 15;
    const TAGS: u64 = ONES * 0xfffc;
    /// What follows the last two marks is no mark.
    const LAST: u64 = TOPS & 0xffff_ffff;
    let sought = u64::from(tag << 2) * ONES;
    let (words, _) = bucket.as_chunks();
    for (from, (word, real)) in [0, 4, 8].into_iter().zip(words.iter().zip([TOPS, TOPS, LAST])) {
        let lanes = (u64::from_le_bytes(*word) ^ sought) & TAGS;
        let mut zeros = lanes.wrapping_sub(ONES) & !lanes & real;
        while zeros != 0 {
            let found = visit(from + zeros.trailing_zeros() as usize / 16);
            if found.is_some() {
                return found;
            }
            zeros &= zeros - 1;
        }
    }
    None
}

#[inline]
pub(super) fn mark_at(bucket: &[u8], position: usize) -> u16 {
    u16::from_le_bytes([bucket[2 * position], bucket[2 * position + 1]])
}

#[inline]
pub(super) fn location_at(bucket: &[u8], position: usize) -> Option<Location> {
    let at = LOCATIONS_AT + 4 * position;
    let raw = [bucket[at], bucket[at + 1], bucket[at + 2], bucket[at + 3]];
    Location::from_raw(u32::from_le_bytes(raw))
}

pub(super) fn set(bucket: &mut [u8], position: usize, mark: u16, location: u32) {
    bucket[2 * position..2 * position + 2].copy_from_slice(&mark.to_le_bytes());
    let at = LOCATIONS_AT + 4 * position;
    bucket[at..at + 4].copy_from_slice(&location.to_le_bytes());
}

pub(super) fn owner_of(chunk: &[u8]) -> usize {
    let raw = [chunk[OWNER_AT], chunk[OWNER_AT + 1], chunk[OWNER_AT + 2], 0];
    u32::from_le_bytes(raw) as usize
}

pub(super) fn set_owner(chunk: &mut [u8], leaf: usize) {
    chunk[OWNER_AT..OWNER_AT + 3].copy_from_slice(&(leaf as u32).to_le_bytes()[..3]);
}
