//! CPU per request, Kannuki beside the distribution's memcached.
//!
//! The same bounded load goes to each server in turn, A B A B, over loopback. What is counted is
//! the time that the server's own process spent on processors, user and system, divided by the
//! requests it answered: unlike throughput this holds still when the load generator shares the
//! machine. Every reply is compared with what it has to be, byte for byte.

mod load;
mod subject;

use anyhow::Result;

use crate::shell;
use load::{Load, Plan};
use subject::{Kind, Subject};

/// Rounds of A B. Two show whether a difference is larger than its own repetition.
const ROUNDS: usize = 2;

/// What is sent, and how often: enough for seconds of CPU at the kernel's 10 ms per tick.
const PLANS: [Plan; 6] = [
    Plan { load: Load::Get, depth: 1, requests: 200_000 },
    Plan { load: Load::Set, depth: 1, requests: 200_000 },
    Plan { load: Load::Get, depth: 100, requests: 3_000_000 },
    Plan { load: Load::Set, depth: 100, requests: 2_000_000 },
    Plan { load: Load::Mixed, depth: 100, requests: 3_000_000 },
    Plan { load: Load::MultiGet, depth: 1, requests: 60_000 },
];

/// Builds, measures, and prints a table for `docs/performance.md`.
pub(crate) fn run() -> Result<()> {
    let words = ["build", "--locked", "--release", "--package", "kannuki"];
    shell::run(shell::cargo().args(words))?;
    let mut rows: Vec<Row> = PLANS.iter().map(Row::new).collect();
    for round in 1..=ROUNDS {
        for kind in [Kind::Memcached, Kind::Kannuki] {
            let subject = Subject::start(kind)?;
            load::fill(subject.port())?;
            for row in &mut rows {
                let cost = row.measure(&subject)?;
                println!("round {round}, {}, {}: {}", kind.name(), row.plan.name(), cost.shown());
                row.costs.push((kind, cost));
            }
            subject.stop()?;
        }
    }
    print_table(&rows)
}

/// What one run of one plan cost its server.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Microseconds of CPU in user mode, per request.
    user: f64,
    /// Microseconds of CPU in the kernel, per request.
    system: f64,
    /// Requests answered per second of wall time.
    rate: f64,
}

impl Cost {
    fn total(self) -> f64 {
        self.user + self.system
    }

    fn shown(self) -> String {
        let (user, system, rate) = (self.user, self.system, self.rate);
        format!("{user:.2} us user + {system:.2} us system a request, {rate:.0} requests/s")
    }
}

struct Row {
    plan: &'static Plan,
    costs: Vec<(Kind, Cost)>,
}

impl Row {
    fn new(plan: &'static Plan) -> Self {
        Self { plan, costs: Vec::new() }
    }

    fn measure(&self, subject: &Subject) -> Result<Cost> {
        // The first tenth warms up: connections, buffers, branch predictors.
        load::drive(subject.port(), self.plan, self.plan.requests / 10)?;
        let (before, started) = (subject.cpu()?, shell::now());
        let answered = load::drive(subject.port(), self.plan, self.plan.requests)?;
        let (after, seconds) = (subject.cpu()?, started.elapsed().as_secs_f64());
        let each = |microseconds: u64| microseconds as f64 / answered as f64;
        Ok(Cost {
            user: each(after.user - before.user),
            system: each(after.system - before.system),
            rate: answered as f64 / seconds,
        })
    }

    /// The runs of one server, as `a / b`, and their mean.
    fn of(&self, kind: Kind) -> (String, f64) {
        let costs: Vec<Cost> =
            self.costs.iter().filter(|(of, _)| *of == kind).map(|&(_, cost)| cost).collect();
        let each: Vec<String> = costs.iter().map(|cost| format!("{:.2}", cost.total())).collect();
        let mean = costs.iter().map(|cost| cost.total()).sum::<f64>() / costs.len() as f64;
        (each.join(" / "), mean)
    }
}

fn print_table(rows: &[Row]) -> Result<()> {
    println!("\n{}", subject::machine()?);
    println!("\n| Load | memcached, us | Kannuki, us | Kannuki / memcached |");
    println!("|---|---|---|---|");
    for row in rows {
        let (theirs, theirs_mean) = row.of(Kind::Memcached);
        let (ours, ours_mean) = row.of(Kind::Kannuki);
        let ratio = ours_mean / theirs_mean;
        println!("| {} | {theirs} | {ours} | {ratio:.2} |", row.plan.name());
    }
    Ok(())
}
