//! Size classes: what `stats slabs` and `stats items` are told in, because exporters and tools need
//! them. The store itself has no slabs; sizes are counted as memcached's default table would cut
//! them, so that ids and sizes in both tables agree with what operators know.

/// Chunk size of each class; class `n` is at index `n - 1`. Larger items count in the last class,
/// as memcached's chunked items do.
pub const CHUNK_BYTES: [u32; 39] = [
    96, 120, 152, 192, 240, 304, 384, 480, 600, 752, 944, 1184, 1480, 1856, 2320, 2904, 3632, 4544,
    5680, 7104, 8880, 11104, 13880, 17352, 21696, 27120, 33904, 42384, 52984, 66232, 82792,
    103_496, 129_376, 161_720, 202_152, 252_696, 315_872, 394_840, 524_288,
];

/// Number of classes; ids are `1..=CLASSES`.
pub const CLASSES: usize = CHUNK_BYTES.len();

/// Bytes of a memcached item besides its key and value: header, the byte that ends the key, the
/// line end that follows the value.
const FIXED_BYTES: u64 = 48 + 1 + 2;

/// The size of an item as memcached would report it, in bytes. Saturates.
#[must_use]
pub fn item_size(key_bytes: usize, value_bytes: u32, flags: u32, cas_enabled: bool) -> u32 {
    let bytes = FIXED_BYTES
        .saturating_add(key_bytes as u64)
        .saturating_add(u64::from(value_bytes))
        .saturating_add(if flags == 0 { 0 } else { 4 })
        .saturating_add(if cas_enabled { 8 } else { 0 });
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The class of an item of that size, `1..=39`.
#[must_use]
#[inline]
pub fn class_of(item_bytes: u32) -> u8 {
    match SHORT.get((item_bytes as usize).div_ceil(SHORT_STEP)) {
        Some(&class) => class,
        None => class_searched(item_bytes),
    }
}

const fn class_searched(item_bytes: u32) -> u8 {
    let mut class = 1;
    while class < CLASSES && CHUNK_BYTES[class - 1] < item_bytes {
        class += 1;
    }
    class as u8
}

/// All chunk sizes up to here are multiples of [`SHORT_STEP`].
const SHORT_BYTES: usize = 2320;
const SHORT_STEP: usize = 8;
/// The class of so many times eight bytes: every command asks for one or two.
const SHORT: [u8; SHORT_BYTES / SHORT_STEP + 1] = {
    let mut classes = [0; SHORT_BYTES / SHORT_STEP + 1];
    let mut at = 0;
    while at < classes.len() {
        classes[at] = class_searched((at * SHORT_STEP) as u32);
        at += 1;
    }
    classes
};

/// Chunk size of a class; 0 if there is no such class.
#[must_use]
pub fn chunk_bytes(class: u8) -> u32 {
    let index = usize::from(class).wrapping_sub(1);
    CHUNK_BYTES.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{CHUNK_BYTES, chunk_bytes, class_of, item_size};

    #[test]
    fn classes_hold_what_fits_their_chunk() {
        for (index, &chunk) in CHUNK_BYTES.iter().enumerate() {
            let class = u8::try_from(index + 1).unwrap();
            assert_eq!(class_of(chunk), class);
            assert_eq!(chunk_bytes(class), chunk);
            assert_eq!(class_of(chunk + 1), (class + 1).min(39));
        }
        assert_eq!(class_of(0), 1);
        assert_eq!(class_of(u32::MAX), 39);
        assert_eq!(chunk_bytes(0), 0);
        assert_eq!(chunk_bytes(40), 0);
    }

    #[test]
    fn sizes_are_memcacheds() {
        assert_eq!(item_size(1, 1_048_576 - 59 - 1, 0, true), 1_048_576);
        assert_eq!(item_size(3, 2, 5, true), 48 + 8 + 3 + 1 + 4 + 2 + 2);
        assert_eq!(item_size(3, 2, 5, false), 48 + 3 + 1 + 4 + 2 + 2);
        assert_eq!(item_size(250, u32::MAX, 1, true), u32::MAX);
    }
}
