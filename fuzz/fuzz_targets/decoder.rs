//! Arbitrary bytes against the decoder, cut in arbitrary places.
//!
//! What must hold for every stream stands in `replay.rs` of the protocol crate's property tests,
//! which is used here unchanged. The first byte of an input picks the dialect, the next four how
//! the rest is cut.
#![no_main]

use kannuki_protocol::Dialect;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/protocol/tests/properties/replay.rs"]
mod replay;

fuzz_target!(|input: &[u8]| {
    let Some((&[dialect, s0, s1, s2, s3], stream)) = input.split_first_chunk() else { return };
    let dialect = match dialect % 4 {
        0 => Dialect::Binary,
        1 => Dialect::Text,
        _ => Dialect::Auto,
    };
    let pieces = lengths(u32::from_le_bytes([s0, s1, s2, s3])).take(stream.len());
    replay::assert_split_invariant(dialect, stream, pieces);
});

/// Lengths from 1 to 64, most of them short; a seed of 0 cuts at every byte.
fn lengths(seed: u32) -> impl Iterator<Item = usize> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        // Xorshift; it never leaves 0.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        1 + (state & (state >> 8) & 63) as usize
    })
}
