//! A pipeline of a hundred gets and sets through session, guard and store, without sockets: to be
//! run under callgrind, which counts instructions. docs/performance.md has the command.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use kannuki_server::simulation::Simulation;

/// Commands sent at once.
const DEPTH: usize = 100;
/// Pipelines of each kind; the first pass is over a cold store.
const PASSES: usize = 200;
/// Keys, more than fit into a cache.
const KEYS: usize = 20_000;

fn main() {
    let server = Simulation::new(64 << 20, 1 << 20).unwrap();
    let mut peer = server.connect().unwrap();
    let value = "v".repeat(100);
    let key = |at: usize| format!("key:{:026}", at % KEYS);
    let mut answered = 0;
    for pass in 0..PASSES {
        let keys = || (0..DEPTH).map(|at| key(pass * DEPTH + at));
        let sets: String = keys().map(|key| format!("set {key} 0 0 100\r\n{value}\r\n")).collect();
        let gets: String = keys().map(|key| format!("get {key}\r\n")).collect();
        for request in [sets, gets.clone(), gets] {
            answered += server.feed(&mut peer, request.as_bytes()).len();
        }
    }
    let (stored, hit) = ("STORED\r\n".len(), "VALUE  0 100\r\n\r\nEND\r\n".len() + 30 + 100);
    assert_eq!(answered, PASSES * DEPTH * (stored + 2 * hit));
}
