//! Where the items of a shard are: segments of records, and large items one by one.
//!
//! Invariants of a segment: records lie back to back from 0 to `fill`; `live_items` and `live_bytes`
//! count those that are not buried; `soonest` is not after any live record's expiry and `latest`
//! not before one; all were stored in one `generation`.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use crate::chain::Chain;
use crate::layout::{HEAD_BYTES_MAX, Head, Marks, Spans, is_dead};
use crate::location::{Addressing, LARGES_MAX, Location, Place};
use crate::pool::Charge;
use crate::steps::{self, Work};
use crate::time::{Expiry, Now};

/// The first-in-first-out queue that an item is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// New items; a tenth of the bytes.
    Small,
    /// Items that were used while in Small, or came back soon.
    Main,
}

/// A stretch of memory that records are appended to: all about it but the memory. One cache line,
/// and never across two, since every look-up reads it.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Segment {
    pub(crate) fill: usize,
    pub(crate) live_items: u32,
    pub(crate) live_bytes: usize,
    /// Cas unique of a record at offset 0; the others follow by granules.
    pub(crate) cas_base: u64,
    /// When it was opened; two-byte expiries count from here.
    pub(crate) base: Now,
    pub(crate) generation: u64,
    pub(crate) soonest: u32,
    pub(crate) latest: u32,
    pub(crate) queue: Queue,
    /// No more records are appended.
    pub(crate) sealed: bool,
    /// Tells its place in a queue from that of an earlier segment of the same number.
    pub(crate) stamp: u64,
}

const _: () = assert!(size_of::<Option<Segment>>() == 64);

/// An item whose value is a chain.
#[derive(Debug)]
pub(crate) struct Large<B> {
    pub(crate) key: Box<[u8]>,
    pub(crate) hash: u64,
    pub(crate) facts: Facts,
    pub(crate) chain: Chain<B>,
    pub(crate) generation: u64,
    pub(crate) queue: Queue,
    pub(crate) stamp: u64,
    /// Bytes charged for it: those of the chain and `_charge`.
    pub(crate) charged: u64,
    /// Pays for key and bookkeeping.
    pub(crate) _charge: Charge,
}

/// What is known of an item besides key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) value_bytes: u32,
    pub(crate) flags: u32,
    pub(crate) expiry: Expiry,
    /// 0 under `-C`.
    pub(crate) cas: u64,
    pub(crate) last_access: Now,
    pub(crate) marks: Marks,
}

/// An item where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) facts: Facts,
    pub(crate) key_bytes: usize,
    /// Where the value lies in the segment, and where the next record begins; 0 for a large item.
    value_at: u32,
    value_end: u32,
    next_at: u32,
    pub(crate) generation: u64,
    pub(crate) queue: Queue,
}

/// Segments and large items of one shard.
#[derive(Debug)]
pub(crate) struct Heap<B> {
    pub(crate) addressing: Addressing,
    /// Number 0 stays empty, so that no location is 0.
    segments: Vec<Option<Segment>>,
    /// The memory of each segment. Apart from the rest, because every look-up reads here, and a
    /// cache should hold it whole: 32 bytes a segment, not 128.
    blocks: Vec<Option<B>>,
    segments_vacant: Vec<usize>,
    larges: Vec<Option<Large<B>>>,
    larges_vacant: Vec<usize>,
    seed: [u8; 16],
    cas: bool,
}

/// A record that is moved may need a field for its cas unique and a wider one for its expiry.
const GROWTH_BYTES_MAX: usize = 8 + 2;
/// Entries by which the table of segments grows at least.
const ENTRIES_A_STEP: usize = 16;
/// `Segment::latest` of a segment with an item that never expires.
pub(crate) const NEVER: u32 = u32::MAX;

impl<B: AsRef<[u8]> + AsMut<[u8]>> Heap<B> {
    pub(crate) fn new(segment_bytes: usize, seed: [u8; 16], cas: bool) -> Self {
        Self {
            addressing: Addressing::new(segment_bytes),
            segments: vec![None],
            blocks: vec![None],
            segments_vacant: Vec::new(),
            larges: Vec::new(),
            larges_vacant: Vec::new(),
            seed,
            cas,
        }
    }

    /// Whether the item at `location` has this key.
    #[inline]
    pub(crate) fn holds(&self, location: Location, key: &[u8]) -> bool {
        self.key(location) == key
    }

    /// The hash of the key at `location`.
    pub(crate) fn hash_of(&self, location: Location) -> u64 {
        steps::note(Work::Keys, 1);
        match self.addressing.place(location) {
            Place::Large(number) => self.large(number).map_or(0, |large| large.hash),
            Place::Record { .. } => hash(&self.seed, self.key(location)),
        }
    }

    #[inline]
    pub(crate) fn key(&self, location: Location) -> &[u8] {
        match self.addressing.place(location) {
            Place::Large(number) => self.large(number).map_or(&[], |large| &large.key),
            Place::Record { segment, offset } => {
                let Some(record) = self.record(segment, offset) else { return &[] };
                let spans = Spans::read(record);
                &record[spans.key..spans.value]
            }
        }
    }

    /// The value of a record; empty for a large item.
    #[inline]
    pub(crate) fn value(&self, location: Location) -> &[u8] {
        let Place::Record { segment, offset } = self.addressing.place(location) else {
            return &[];
        };
        let Some(record) = self.record(segment, offset) else { return &[] };
        let spans = Spans::read(record);
        &record[spans.value..spans.end]
    }

    /// The value of a record in `segment` that was seen just now.
    #[inline]
    pub(crate) fn value_seen(&self, segment: usize, seen: &Seen) -> &[u8] {
        let value = seen.value_at as usize..seen.value_end as usize;
        self.record(segment, 0).map_or(&[], |bytes| &bytes[value])
    }

    /// Bytes from the start of an item's record, to prefetch.
    #[inline]
    pub(crate) fn near(&self, location: Location) -> &[u8] {
        match self.addressing.place(location) {
            Place::Large(_) => &[],
            Place::Record { segment, offset } => self.record(segment, offset).unwrap_or_default(),
        }
    }

    #[inline]
    pub(crate) fn see(&self, location: Location, now: Now) -> Option<Seen> {
        match self.addressing.place(location) {
            Place::Large(number) => {
                let large = self.large(number)?;
                Some(Seen {
                    facts: large.facts,
                    key_bytes: large.key.len(),
                    value_at: 0,
                    value_end: 0,
                    next_at: 0,
                    generation: large.generation,
                    queue: large.queue,
                })
            }
            Place::Record { segment, offset } => {
                let record = self.record(segment, offset)?;
                let segment = self.segment(segment)?;
                let (head, spans) = Head::read(record, segment.base, now);
                let cas =
                    if self.cas { head.cas.unwrap_or_else(|| segment.cas_at(offset)) } else { 0 };
                let facts = Facts {
                    value_bytes: head.value_bytes,
                    flags: head.flags,
                    expiry: head.expiry,
                    cas,
                    last_access: head.last_access,
                    marks: head.marks,
                };
                // A segment has a mebibyte at the most.
                Some(Seen {
                    facts,
                    key_bytes: head.key_bytes.into(),
                    value_at: (offset + spans.value) as u32,
                    value_end: (offset + spans.end) as u32,
                    next_at: (offset + spans.padded()) as u32,
                    generation: segment.generation,
                    queue: segment.queue,
                })
            }
        }
    }

    #[inline]
    pub(crate) fn segment(&self, number: usize) -> Option<&Segment> {
        self.segments.get(number)?.as_ref()
    }

    pub(crate) fn segment_mut(&mut self, number: usize) -> Option<&mut Segment> {
        self.segments.get_mut(number)?.as_mut()
    }

    /// Where a segment is kept, to prefetch.
    #[inline]
    pub(crate) fn place_of(&self, location: Location) -> Option<&Option<Segment>> {
        match self.addressing.place(location) {
            Place::Large(_) => None,
            Place::Record { segment, .. } => self.segments.get(segment),
        }
    }

    /// The bytes of a segment from `offset` on.
    #[inline]
    pub(crate) fn record(&self, segment: usize, offset: usize) -> Option<&[u8]> {
        let block = self.blocks.get(segment)?.as_ref()?;
        Some(&block.as_ref()[offset..])
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn record_mut(&mut self, segment: usize, offset: usize) -> Option<&mut [u8]> {
        let block = self.blocks.get_mut(segment)?.as_mut()?;
        Some(&mut block.as_mut()[offset..])
    }

    /// A segment and its bytes.
    #[inline]
    pub(crate) fn whole_mut(&mut self, number: usize) -> Option<(&mut Segment, &mut [u8])> {
        let segment = self.segments.get_mut(number)?.as_mut()?;
        let block = self.blocks.get_mut(number)?.as_mut()?;
        Some((segment, block.as_mut()))
    }

    /// The record at `offset` if there is one: where the next begins, and whether this one lives.
    #[inline]
    pub(crate) fn step(&self, segment: usize, offset: usize) -> Option<(usize, bool)> {
        if offset >= self.segment(segment)?.fill {
            return None;
        }
        let record = self.record(segment, offset)?;
        Some((offset + Spans::read(record).padded(), !is_dead(record)))
    }

    /// Numbers and segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (usize, &Segment)> {
        self.segments
            .iter()
            .enumerate()
            .filter_map(|(number, segment)| segment.as_ref().map(|segment| (number, segment)))
    }

    pub(crate) fn segments_end(&self) -> usize {
        self.segments.len()
    }

    /// Whether another segment can be addressed.
    pub(crate) fn can_add_segment(&self) -> bool {
        !self.segments_vacant.is_empty() || self.segments.len() < self.addressing.segments_max()
    }

    pub(crate) fn add_segment(&mut self, segment: Segment, block: B) -> usize {
        if let Some(number) = self.segments_vacant.pop() {
            self.segments[number] = Some(segment);
            self.blocks[number] = Some(block);
            return number;
        }
        make_room(&mut self.segments);
        make_room(&mut self.blocks);
        self.segments.push(Some(segment));
        self.blocks.push(Some(block));
        self.segments.len() - 1
    }

    pub(crate) fn take_segment(&mut self, number: usize) -> Option<(Segment, B)> {
        let segment = self.segments.get_mut(number)?.take()?;
        let block = self.blocks.get_mut(number)?.take()?;
        self.segments_vacant.push(number);
        Some((segment, block))
    }

    pub(crate) fn large(&self, number: usize) -> Option<&Large<B>> {
        self.larges.get(number)?.as_ref()
    }

    pub(crate) fn large_mut(&mut self, number: usize) -> Option<&mut Large<B>> {
        self.larges.get_mut(number)?.as_mut()
    }

    pub(crate) fn larges_end(&self) -> usize {
        self.larges.len()
    }

    pub(crate) fn larges_held(&self) -> usize {
        self.larges.len() - self.larges_vacant.len()
    }

    pub(crate) fn can_add_large(&self) -> bool {
        !self.larges_vacant.is_empty() || self.larges.len() < LARGES_MAX
    }

    pub(crate) fn add_large(&mut self, large: Large<B>) -> usize {
        if let Some(number) = self.larges_vacant.pop() {
            self.larges[number] = Some(large);
            return number;
        }
        self.larges.push(Some(large));
        self.larges.len() - 1
    }

    pub(crate) fn take_large(&mut self, number: usize) -> Option<Large<B>> {
        let large = self.larges.get_mut(number)?.take()?;
        self.larges_vacant.push(number);
        Some(large)
    }
}

/// Room for one more entry. A vector alone doubles what it has, half of which may stay unused for
/// ever: [`crate::pool`] charges an eighth.
fn make_room<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / 8).max(ENTRIES_A_STEP));
    }
}

impl Seen {
    /// Bytes of the record at `offset` that was seen, up to the next one.
    #[inline]
    pub(crate) const fn record_bytes(&self, offset: usize) -> usize {
        self.next_at as usize - offset
    }
}

impl Segment {
    /// The cas unique that a record at `offset` has if it stores none.
    pub(crate) const fn cas_at(&self, offset: usize) -> u64 {
        self.cas_base + (offset / crate::location::GRANULE_BYTES) as u64
    }

    /// Notes the expiry of a record.
    pub(crate) fn expect(&mut self, expiry: Expiry) {
        match expiry.second() {
            Some(second) => {
                self.soonest = self.soonest.min(second);
                self.latest = self.latest.max(second);
            }
            None => self.latest = NEVER,
        }
    }

    /// Bytes that the live records may need elsewhere, and room is asked for the longest head.
    pub(crate) const fn moved_bytes_max(&self) -> usize {
        self.live_bytes + self.live_items as usize * GROWTH_BYTES_MAX + HEAD_BYTES_MAX
    }

    /// Bytes of buried records.
    pub(crate) const fn dead_bytes(&self) -> usize {
        self.fill - self.live_bytes
    }
}

/// The hash that chooses shard, leaf and bucket: keyed, so that no peer can make keys collide.
pub(crate) fn hash(seed: &[u8; 16], key: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(seed);
    hasher.write(key);
    hasher.finish()
}
