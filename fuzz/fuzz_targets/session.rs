//! Whole conversations with a small server: arbitrary bytes, cut anywhere, from two peers, while
//! time passes.
//!
//! Checks what must hold whatever a peer sends: no panic, no endless loop, and a bounded number of
//! bytes that wait for more. How the first peer's bytes are cut must not change what it is told, as
//! long as it is alone.
#![no_main]
#![forbid(unsafe_code)]

use std::time::Duration;

use kannuki_server::simulation::{SimulatedPeer, Simulation};
use libfuzzer_sys::fuzz_target;

/// Small enough that items are evicted within one input.
const MEMORY_BYTES: u64 = 4 * 1024 * 1024;
/// Small enough that an input can exceed it.
const ITEM_BYTES_MAX: u32 = 32 * 1024;
/// The longest line that may wait for its end.
const WAITING_BYTES_MAX: usize = kannuki_protocol::limits::GET_LINE_BYTES_MAX;

fuzz_target!(|input: &[u8]| {
    let Some((&cuts, script)) = input.split_first() else { return };
    let whole = alone(script, script.len().max(1));
    let cut = alone(script, usize::from(cuts % 32) + 1);
    // CPU time is the one answer that two equal conversations do not share.
    if !whole.windows(7).any(|word| word == b"rusage_") {
        assert_eq!(whole, cut, "the answer depends on how the stream was cut");
    }
    together(script, usize::from(cuts) + 1);
});

/// One peer says it all, in pieces of `size` bytes.
fn alone(script: &[u8], size: usize) -> Vec<u8> {
    let Some(server) = Simulation::new(MEMORY_BYTES, ITEM_BYTES_MAX) else { return Vec::new() };
    let Some(mut peer) = server.connect() else { return Vec::new() };
    let mut answer = Vec::new();
    for piece in script.chunks(size) {
        answer.extend(feed(&server, &mut peer, piece));
    }
    answer
}

/// Two peers take turns, and a second passes after every piece.
fn together(script: &[u8], size: usize) {
    let Some(server) = Simulation::new(MEMORY_BYTES, ITEM_BYTES_MAX) else { return };
    let (Some(mut one), Some(mut other)) = (server.connect(), server.connect()) else { return };
    for piece in script.chunks(size) {
        feed(&server, &mut one, piece);
        std::mem::swap(&mut one, &mut other);
        server.pass(Duration::from_secs(1));
    }
}

fn feed(server: &Simulation, peer: &mut SimulatedPeer, piece: &[u8]) -> Vec<u8> {
    let answer = server.feed(peer, piece);
    assert!(peer.is_closed() || peer.waiting_bytes() <= WAITING_BYTES_MAX);
    answer
}
