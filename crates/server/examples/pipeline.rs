//! A pipeline of a hundred gets and sets through session, guard and store, without sockets: to be
//! run under callgrind, which counts instructions. docs/performance.md has the command. With the
//! word `rules` three rules are asked about every key; with `evict` new keys are set into a store
//! that is full.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use kannuki_server::guard::{Action, Effect, KeyPrefixes, Keys, NetworkList, Rule, Rules, Who};
use kannuki_server::simulation::Simulation;

/// Commands sent at once.
const DEPTH: usize = 100;
/// Pipelines of each kind; the first pass is over a cold store.
const PASSES: usize = 200;
/// Pipelines of new keys; the first third fills the store.
const EVICTING_PASSES: usize = 1600;
/// Keys, more than fit into a cache.
const KEYS: usize = 20_000;

/// The peer is in each network; the last rule allows its keys.
fn rules() -> Rules {
    let rule = |network: &str, prefixes: &[&str]| {
        let networks = NetworkList::new([network.parse().unwrap()]).unwrap();
        let prefixes = prefixes.iter().map(|prefix| prefix.as_bytes());
        Rule {
            who: Who::anyone().in_networks(networks),
            actions: [Action::Read, Action::Write, Action::Delete].into_iter().collect(),
            keys: Keys::Beginning(KeyPrefixes::new(prefixes).unwrap()),
            effect: Effect::Allow,
        }
    };
    let shop = rule("127.0.0.0/8", &["shop:", "cart:", "user:", "sess:"]);
    let page = rule("127.0.0.0/16", &["page:", "part:"]);
    Rules::new([shop, page, rule("127.0.0.1", &["key:"])]).unwrap()
}

/// Sets of new keys with short values into 4 MiB, which hold about 55,000 of them.
fn evict() {
    let server = Simulation::new(4 << 20, 1 << 20).unwrap();
    let mut peer = server.connect().unwrap();
    let value = "v".repeat(36);
    let mut answered = 0;
    for pass in 0..EVICTING_PASSES {
        let keys = (0..DEPTH).map(|at| pass * DEPTH + at);
        let sets: String =
            keys.map(|at| format!("set key:{at:016} 0 0 36\r\n{value}\r\n")).collect();
        answered += server.feed(&mut peer, sets.as_bytes()).len();
    }
    assert_eq!(answered, EVICTING_PASSES * DEPTH * "STORED\r\n".len());
}

fn main() {
    if std::env::args().nth(1).is_some_and(|word| word == "evict") {
        return evict();
    }
    let mut server = Simulation::new(64 << 20, 1 << 20).unwrap();
    if std::env::args().nth(1).is_some_and(|word| word == "rules") {
        server = server.ruled(rules());
    }
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
