//! Where an item is, in 32 bits: a granule of a segment, or a large item.

/// Records start at multiples of this. One byte loses nothing and lets a shard address 2 GiB; with
/// two it would be 4 GiB, for half a byte an item (a whole one where key and value have 56 bytes).
pub(crate) const GRANULE_BYTES: usize = 1;

/// A place in a shard. Never 0, so that 0 marks an empty slot: segment numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location(u32);

/// What a location says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A record in segment `segment` at byte `offset`.
    Record {
        /// Number of the segment, from 1.
        segment: usize,
        /// Byte at which the record starts.
        offset: usize,
    },
    /// The large item of that number.
    Large(usize),
}

const LARGE: u32 = 1 << 31;

/// Numbers of large items stay below this.
pub(crate) const LARGES_MAX: usize = LARGE as usize;

impl Location {
    pub(crate) const fn from_raw(raw: u32) -> Option<Self> {
        if raw == 0 { None } else { Some(Self(raw)) }
    }

    pub(crate) const fn raw(self) -> u32 {
        self.0
    }
}

/// Packs and unpacks locations for one size of segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addressing {
    granule_bits: u32,
}

impl Addressing {
    /// For segments of that many bytes, a power of two.
    pub(crate) const fn new(segment_bytes: usize) -> Self {
        Self { granule_bits: (segment_bytes / GRANULE_BYTES).ilog2() }
    }

    /// Segment numbers stay below this.
    pub(crate) const fn segments_max(self) -> usize {
        (LARGE >> self.granule_bits) as usize
    }

    #[expect(clippy::cast_possible_truncation, reason = "numbers are below segments_max")]
    pub(crate) const fn record(self, segment: usize, offset: usize) -> Location {
        Location(((segment as u32) << self.granule_bits) | (offset / GRANULE_BYTES) as u32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "numbers are below LARGES_MAX")]
    pub(crate) const fn large(number: usize) -> Location {
        Location(LARGE | number as u32)
    }

    pub(crate) const fn place(self, location: Location) -> Place {
        if location.0 & LARGE != 0 {
            return Place::Large((location.0 & !LARGE) as usize);
        }
        let segment = (location.0 >> self.granule_bits) as usize;
        let granule = (location.0 & ((1 << self.granule_bits) - 1)) as usize;
        Place::Record { segment, offset: granule * GRANULE_BYTES }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{Addressing, LARGES_MAX, Place};

    #[test]
    fn places_survive_packing() {
        for bytes in [1 << 10, 16 << 10, 1 << 20] {
            let addressing = Addressing::new(bytes);
            for segment in [1, 2, addressing.segments_max() - 1] {
                for offset in [0, 2, bytes / 2, bytes - 2] {
                    let location = addressing.record(segment, offset);
                    assert_ne!(location.raw(), 0);
                    assert_eq!(addressing.place(location), Place::Record { segment, offset });
                }
            }
            for number in [0, 1, LARGES_MAX - 1] {
                assert_eq!(addressing.place(Addressing::large(number)), Place::Large(number));
            }
        }
    }
}
