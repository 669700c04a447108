//! `compare`: two servers, the same loads, in turn A B A B, each with processors of its own.
//!
//! What is compared is CPU time of the server's process a key, user and system apart: unlike
//! throughput it holds still when the load shares the machine. Throughput and latencies are shown
//! beside it.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::load::{self, Amount, Cost, Shape};
use crate::process::{Server, Sides, Typed};
use crate::table::{Spread, markdown};
use crate::tls::Target;

/// More pairs than any difference needs.
pub(crate) const PAIRS_MAX: usize = 100;

/// Loads that are told apart by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Six loads over 200,000 items in memory: get, set, mixed, pipelines, multi-get.
    Standard,
    /// 20 million items of 56 B in memory, 100 keys of one connection in flight (2 to 4 GiB).
    Get20m,
    /// The same with 2 million items, for a machine or a moment without so much memory.
    Get2m,
    /// Sets of 56 B items over more keys than 256 MiB hold: each evicts.
    SetEvicting,
    /// In clear and over TLS: requests, and connections with full and resumed handshakes, by
    /// version, kind of key, and certificate of the client.
    Tls,
}

/// One load of a comparison.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For people.
    pub name: String,
    /// What is asked.
    pub shape: Shape,
    /// How often.
    pub requests: u64,
}

/// What is done with both servers.
#[derive(Clone, Debug)]
pub struct Plans {
    /// `-m` for both, in MiB; `None` = as typed.
    pub memory: Option<u64>,
    /// Stored before the loads.
    pub fill: Shape,
    /// One after another on the same server.
    pub loads: Vec<Plan>,
}

impl Preset {
    /// Its loads; `threads` drive them.
    #[must_use]
    pub fn plans(self, threads: usize) -> Plans {
        match self {
            Self::Standard => standard(threads),
            Self::Get20m => gets(threads, 20_000_000, Some(4600)),
            Self::Get2m => gets(threads, 2_000_000, Some(640)),
            Self::SetEvicting => set_evicting(threads),
            Self::Tls => requests_of_tls(threads),
        }
    }
}

const fn shape(threads: usize) -> Shape {
    Shape {
        connections: 50,
        threads,
        depth: 100,
        multi: 1,
        set_percent: 0,
        key_bytes: 32,
        value_bytes: 100,
        keys: 200_000,
        theta: 0.0,
        ttl: 0,
    }
}

fn standard(threads: usize) -> Plans {
    let fill = shape(threads);
    let plan = |name: &str, depth, multi, set_percent, requests| Plan {
        name: name.to_owned(),
        shape: Shape { depth, multi, set_percent, ..fill.clone() },
        requests,
    };
    let loads = vec![
        plan("get, pipeline 1", 1, 1, 0, 200_000),
        plan("set, pipeline 1", 1, 1, 100, 200_000),
        plan("get, pipeline 100", 100, 1, 0, 3_000_000),
        plan("set, pipeline 100", 100, 1, 100, 2_000_000),
        plan("90 % get, 10 % set, pipeline 100", 100, 1, 10, 3_000_000),
        plan("get of 100 keys, pipeline 1", 1, 100, 0, 40_000),
    ];
    Plans { memory: Some(1024), fill, loads }
}

fn gets(threads: usize, keys: u64, memory: Option<u64>) -> Plans {
    let small = Shape { key_bytes: 20, value_bytes: 36, keys, connections: 16, ..shape(threads) };
    let millions = keys / 1_000_000;
    let plan = |name: &str, depth, multi, requests| Plan {
        name: format!("{millions} M items, {name}"),
        shape: Shape { depth, multi, ..small.clone() },
        requests,
    };
    let loads = vec![
        plan("100 gets in a pipeline", 100, 1, 3_000_000),
        plan("get of 100 keys", 1, 100, 30_000),
    ];
    Plans { memory, fill: small, loads }
}

fn requests_of_tls(threads: usize) -> Plans {
    let fill = Shape { keys: 10_000, ..shape(threads) };
    let plan = |name: &str, depth, set_percent, requests| Plan {
        name: name.to_owned(),
        shape: Shape { depth, set_percent, ..fill.clone() },
        requests,
    };
    let loads = vec![
        plan("get, pipeline 1", 1, 0, 100_000),
        plan("set, pipeline 1", 1, 100, 100_000),
        plan("get, pipeline 100", 100, 0, 1_000_000),
        plan("set, pipeline 100", 100, 100, 1_000_000),
    ];
    Plans { memory: Some(1024), fill, loads }
}

fn set_evicting(threads: usize) -> Plans {
    let small = Shape {
        key_bytes: 20,
        value_bytes: 36,
        keys: 20_000_000,
        connections: 16,
        set_percent: 100,
        ..shape(threads)
    };
    // Enough to fill either server's 256 MiB; nearly all keys of the load are then absent.
    let fill = Shape { keys: 5_000_000, ..small.clone() };
    let name = "set while evicting, 256 MiB, pipeline 100".to_owned();
    let loads = vec![Plan { name, shape: small, requests: 3_000_000 }];
    Plans { memory: Some(256), fill, loads }
}

/// One load's costs, a pair a round.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The load.
    pub load: String,
    /// Of A, in order.
    pub a: Vec<Cost>,
    /// Of B, in order.
    pub b: Vec<Cost>,
}

/// Runs everything. With `keep` both servers stay up and are filled once; else each pair gets fresh
/// ones.
///
/// # Errors
/// When a server does not start or fails.
pub fn run(a: &Typed, b: &Typed, plans: &Plans, pairs: usize, keep: bool) -> Result<Vec<Compared>> {
    ensure!((1..=PAIRS_MAX).contains(&pairs), "{pairs} pairs: give 1 to {PAIRS_MAX}");
    let sides = Sides::halves()?;
    let typed = [a, b].map(|typed| match plans.memory {
        Some(memory) => typed.with_memory(memory),
        None => typed.clone(),
    });
    let empty = |plan: &Plan| Compared { load: plan.name.clone(), a: vec![], b: vec![] };
    let mut compared: Vec<Compared> = plans.loads.iter().map(empty).collect();
    let start = |typed: &Typed| {
        let server = Server::start(typed, &sides)?;
        eprintln!("{}: filling", typed.name());
        load::fill(&server.address().into(), &plans.fill)?;
        anyhow::Ok(server)
    };
    let kept = if keep { Some([start(&typed[0])?, start(&typed[1])?]) } else { None };
    for pair in 1..=pairs {
        for (which, typed) in typed.iter().enumerate() {
            let fresh = if keep { None } else { Some(start(typed)?) };
            let kept = kept.as_ref().and_then(|kept| kept.get(which));
            let server = fresh.as_ref().or(kept).context("no server")?;
            for (plan, compared) in plans.loads.iter().zip(&mut compared) {
                let cost = once(server, &server.address().into(), plan)?;
                eprintln!("pair {pair}, {}, {}: {}", typed.name(), plan.name, shown(&cost));
                if which == 0 { compared.a.push(cost) } else { compared.b.push(cost) }
            }
            fresh.map(Server::stop).transpose()?;
        }
    }
    for server in kept.into_iter().flatten() {
        server.stop()?;
    }
    Ok(compared)
}

/// One load on a server.
pub(crate) fn once(server: &Server, target: &Target, plan: &Plan) -> Result<Cost> {
    // The first twentieth warms up: connections, buffers, branch predictors.
    load::drive(target, &plan.shape, Amount::Requests(plan.requests / 20 + 1))?;
    let amount = Amount::Requests(plan.requests);
    load::measure(target, &plan.shape, amount, Some(server.account()))
}

pub(crate) fn shown(cost: &Cost) -> String {
    let (user, system) = (cost.user.unwrap_or(0.0), cost.system.unwrap_or(0.0));
    let (rate, p99) = (cost.rate, cost.p99);
    format!(
        "{user:.3} us user + {system:.3} us system a key, {rate:.0} requests/s, p99 {p99:.0} us"
    )
}

/// The kernel counts CPU time in ticks of 10 ms: a short load may have used none.
pub(crate) fn ratio(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "-".to_owned() }
}

/// A figure's name, and how it is read off a cost.
type Figure = (&'static str, fn(&Cost) -> f64);

/// Medians with their spread, and the ratio of medians A / B, of every load.
#[must_use]
pub fn table(a: &Typed, b: &Typed, compared: &[Compared]) -> String {
    let (a, b) = (a.name(), b.name());
    let head = ["load".to_owned(), "figure".into(), a.into(), b.into(), format!("{a} / {b}")];
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let figures: [Figure; 6] = [
        ("user CPU a key, us", |cost| cost.user.unwrap_or(f64::NAN)),
        ("user + system CPU a key, us", |cost| {
            cost.user.unwrap_or(f64::NAN) + cost.system.unwrap_or(f64::NAN)
        }),
        ("thousand requests a second", |cost| cost.rate / 1000.0),
        ("p50 latency, us", |cost| cost.p50),
        ("p99 latency, us", |cost| cost.p99),
        ("resident, MiB", |cost| cost.resident.unwrap_or(0) as f64 / f64::from(1 << 20)),
    ];
    let mut rows = Vec::new();
    for load in compared {
        for (figure, read) in figures {
            let spread = |costs: &[Cost]| Spread::of(&costs.iter().map(read).collect::<Vec<_>>());
            let (Some(ours), Some(theirs)) = (spread(&load.a), spread(&load.b)) else { continue };
            rows.push(vec![
                load.load.clone(),
                figure.to_owned(),
                ours.shown(),
                theirs.shown(),
                ratio(ours.median, theirs.median),
            ]);
        }
    }
    markdown(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_possible_load() {
        for preset in
            [Preset::Standard, Preset::Get20m, Preset::Get2m, Preset::SetEvicting, Preset::Tls]
        {
            let plans = preset.plans(1);
            assert!(!plans.loads.is_empty());
            for plan in &plans.loads {
                // A `get` finds what was filled; only sets may go beyond.
                let is_held = plan.shape.keys <= plans.fill.keys;
                assert!(is_held || plan.shape.set_percent == 100, "{}", plan.name);
                assert_eq!(plan.shape.key_bytes, plans.fill.key_bytes);
            }
        }
    }

    #[test]
    fn no_ratio_is_shown_of_nothing() {
        assert_eq!([ratio(1.0, 2.0), ratio(1.0, 0.0), ratio(0.0, 0.0)], ["0.50", "-", "-"]);
    }
}
