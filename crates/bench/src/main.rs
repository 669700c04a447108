//! The binary `kannuki-bench`: reads its words, runs what they ask for, prints tables.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use kannuki_bench::arguments::{
    self as words, Arguments, Ask, Command, Compare, Handshakes, Load, Replay,
};
use kannuki_bench::compare::{self, Preset};
use kannuki_bench::load::{self, Amount, Cost, Shape};
use kannuki_bench::locks::{self, LOCKS_HEAD, Locks};
use kannuki_bench::picture;
use kannuki_bench::process::{self, Account, Typed};
use kannuki_bench::replay::{self, Against, Asking, INSIDE_HEAD, Inside, Point};
use kannuki_bench::table::markdown;
use kannuki_bench::trace;
use kannuki_bench::workload::{Sizes, Workload};
use kannuki_bench::{compare_tls, handshake};
use serde::Serialize;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Load(words) => run_load(&words),
        Command::Compare(words) => run_compare(&words),
        Command::Handshakes(words) => run_handshakes(&words),
        Command::Replay(words) => run_replay(&words),
        Command::Table(words) => run_table(&words),
        Command::Locks(words) => run_locks(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kannuki-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_load(words: &Load) -> Result<()> {
    check_writable(words.json.as_deref())?;
    let shape = Shape {
        connections: words.connections,
        threads: words.threads,
        depth: words.depth,
        multi: words.multi,
        set_percent: words.ratio,
        key_bytes: words.key_size,
        value_bytes: words.value_size,
        keys: words.keys,
        theta: words.theta,
        ttl: words.ttl,
    };
    let account = words.pid.map(Account::of).transpose()?;
    let target = words.tls.target(words.address, true)?;
    if words.fill {
        load::fill(&target, &shape)?;
    }
    let amount = match words.requests {
        Some(requests) => Amount::Requests(requests),
        None => Amount::Time(seconds(words.seconds)?),
    };
    if words.warm > 0.0 {
        load::drive(&target, &shape, Amount::Time(seconds(words.warm)?))?;
    }
    let cost = load::measure(&target, &shape, amount, account)?;
    let mut rows = vec![
        ("requests".to_owned(), cost.requests.to_string()),
        ("requests a second".into(), format!("{:.0}", cost.rate)),
        ("hit ratio".into(), format!("{:.4}", cost.hit_ratio)),
    ];
    push_costs(&mut rows, &cost, "a key");
    print_figures(rows);
    write_json(words.json.as_deref(), &(shape, cost))
}

fn run_handshakes(words: &Handshakes) -> Result<()> {
    check_writable(words.json.as_deref())?;
    let account = words.pid.map(Account::of).transpose()?;
    let target = words.tls.target(words.address, words.resume)?;
    let cost = handshake::measure(&target, words.connections, words.resume, account)?;
    let mut rows = vec![
        ("connections".to_owned(), cost.requests.to_string()),
        ("connections a second".into(), format!("{:.0}", cost.rate)),
    ];
    push_costs(&mut rows, &cost, "a connection");
    print_figures(rows);
    write_json(words.json.as_deref(), &cost)
}

fn push_costs(rows: &mut Vec<(String, String)>, cost: &Cost, per: &str) {
    rows.extend([
        ("latency p50, us".into(), format!("{:.1}", cost.p50)),
        ("latency p99, us".into(), format!("{:.1}", cost.p99)),
        ("latency p99.9, us".into(), format!("{:.1}", cost.p999)),
        ("latency max, us".into(), format!("{:.1}", cost.most)),
    ]);
    if let Some((user, system)) = cost.user.zip(cost.system) {
        rows.push((format!("user CPU {per}, us"), format!("{user:.3}")));
        rows.push((format!("system CPU {per}, us"), format!("{system:.3}")));
    }
    if let Some(resident) = cost.resident {
        rows.push(("resident, MiB".into(), format!("{:.1}", resident as f64 / 1048576.0)));
    }
}

fn print_figures(rows: Vec<(String, String)>) {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name, value]).collect();
    print!("{}", markdown(&["figure", "value"], &rows));
}

fn seconds(seconds: f64) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(seconds).context("seconds")?;
    ensure!(time <= Duration::from_hours(24), "more than a day of load");
    Ok(time)
}

fn run_compare(words: &Compare) -> Result<()> {
    check_writable(words.json.as_deref())?;
    let (a, b) = (Typed::parse(&words.a)?, Typed::parse(&words.b)?);
    let mut plans = words.preset.plans(words.threads);
    ensure!(words.requests != Some(0), "no requests to send");
    ensure!(words.connections != Some(0), "no connections to make");
    let is_tls = words.preset == Preset::Tls;
    ensure!(is_tls || words.connections.is_none(), "--connections is for --preset tls alone");
    ensure!(!is_tls || !words.keep, "--keep is not for --preset tls: each pair has its servers");
    for typed in [&a, &b].into_iter().filter(|typed| typed.has_memory()) {
        eprintln!("{typed}: its -m is replaced by the preset's, the same for both");
    }
    for plan in &mut plans.loads {
        plan.requests = words.requests.unwrap_or(plan.requests);
    }
    if let Some(keys) = words.keys {
        ensure!(keys > 0, "no keys to ask for");
        let shapes = plans.loads.iter_mut().map(|plan| &mut plan.shape);
        shapes.chain([&mut plans.fill]).for_each(|shape| shape.keys = shape.keys.min(keys));
    }
    if is_tls {
        let compared = compare_tls::run([&a, &b], &plans, words.pairs, words.connections)?;
        println!("{}; {} pairs, median (least-most)\n", process::machine()?, words.pairs);
        print!("{}", compare_tls::table([&a, &b], &compared));
        return write_json(words.json.as_deref(), &compared);
    }
    let compared = compare::run(&a, &b, &plans, words.pairs, words.keep)?;
    println!("{}; {} pairs, median (least-most)\n", process::machine()?, words.pairs);
    print!("{}", compare::table(&a, &b, &compared));
    write_json(words.json.as_deref(), &compared)
}

fn run_replay(words: &Replay) -> Result<()> {
    check_writable(words.json.as_deref())?;
    check_writable(words.svg.as_deref())?;
    let workloads = workloads(words)?;
    ensure!(!workloads.is_empty(), "nothing to play: give --trace, --zipf, --twitter or --kvcache");
    if words.in_process {
        return run_inside(words, &workloads);
    }
    let asking = words.ask.map(|ask| match ask {
        Ask::Get => Asking::Get,
        Ask::Mg => Asking::Meta,
    });
    if words.against.is_empty() {
        ensure!(
            workloads.len() == 1,
            "{} workloads for one server that runs: it would take the items of one for another's; \
             give one at a time, or --against",
            workloads.len()
        );
        let account = words.pid.map(Account::of).transpose()?;
        let mut rows = Vec::new();
        for workload in &workloads {
            rows.push(replay::alone(workload, words.address, account, words.warm, asking)?);
        }
        print!("{}", markdown(&ALONE_HEAD, &rows));
        return write_json(words.json.as_deref(), &rows);
    }
    let servers: Vec<Typed> =
        words.against.iter().map(|typed| Typed::parse(typed)).collect::<Result<_>>()?;
    for typed in servers.iter().filter(|typed| typed.has_memory()) {
        eprintln!("{typed}: its -m is replaced, so that all get the same resident memory");
    }
    let parts = words.memory.clone();
    let settle = Duration::from_secs(words.settle);
    let how = Against { servers, parts, warm: words.warm, asking, settle };
    let mut points = Vec::new();
    // After each memory, so that a long run that is interrupted or fails leaves what it has.
    let mut keep = |mut found: Vec<Point>| {
        points.append(&mut found);
        write_json(words.json.as_deref(), &points)?;
        draw(words.svg.as_deref(), &points)
    };
    let played =
        workloads.iter().try_for_each(|workload| replay::against(workload, &how, &mut keep));
    if !points.is_empty() {
        println!("{}\n", process::machine()?);
        print!("{}", markdown(&AGAINST_HEAD, &replay::rows(&points)));
    }
    played
}

/// Figures of earlier replays as one table and one picture.
fn run_table(words: &words::Table) -> Result<()> {
    let mut points: Vec<Point> = Vec::new();
    for path in &words.figures {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let found: Vec<Point> = serde_json::from_str(&text)
            .with_context(|| format!("{name} was not written by replay --against --json"))?;
        points.extend(found);
    }
    draw(words.svg.as_deref(), &points)?;
    print!("{}", markdown(&AGAINST_HEAD, &replay::rows(&points)));
    Ok(())
}

fn draw(path: Option<&Path>, points: &[Point]) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, picture::svg(&replay::picture(points)))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn run_locks(words: &words::Locks) -> Result<()> {
    let memory = words.memory.saturating_mul(1 << 20);
    let how = Locks { memory, items: words.items, value_bytes: words.value_size };
    let rows = locks::locks(&how, |row| eprintln!("{row}"))?;
    println!("{}\n", process::machine()?);
    print!("{}", markdown(&LOCKS_HEAD, &rows));
    Ok(())
}

fn run_inside(words: &Replay, workloads: &[Workload]) -> Result<()> {
    let aside = words.aside.saturating_mul(1 << 20);
    let how = Inside { parts: words.memory.clone(), aside, threads: SERVER_THREADS };
    let mut rows = Vec::new();
    for workload in workloads {
        let found = replay::inside(workload, &how)?;
        eprint!("{}", markdown(&INSIDE_HEAD, &found));
        rows.extend(found);
    }
    print!("{}", markdown(&INSIDE_HEAD, &rows));
    write_json(words.json.as_deref(), &rows)
}

/// Worker threads of `serve` unless it is told otherwise: they decide how memory is cut.
const SERVER_THREADS: usize = 4;

const ALONE_HEAD: [&str; 8] = [
    "workload",
    "item, B",
    "hits",
    "misses",
    "miss ratio",
    "items held",
    "resident, MiB",
    "resident B an item",
];
const AGAINST_HEAD: [&str; 11] = [
    "workload",
    "item, B",
    "memory",
    "server",
    "-m",
    "resident, MiB",
    "items held",
    "resident B an item",
    "never seen",
    "miss ratio",
    "of the last server's",
];

fn workloads(words: &Replay) -> Result<Vec<Workload>> {
    let bytes_min = words.footprint.saturating_mul(1 << 20);
    let mut workloads = Vec::new();
    for path in &words.trace {
        let trace = trace::read(path, words.order)?;
        for &value_bytes in &words.value_size {
            workloads.push(Workload::of_trace(trace.clone(), words.key_size, value_bytes)?);
        }
    }
    for &theta in &words.zipf {
        for &value_bytes in &words.value_size {
            let sizes = Sizes::Fixed { key_bytes: words.key_size, value_bytes };
            let mut workload =
                Workload::zipf(words.keys, theta, words.churn, sizes, words.requests)?;
            workload.name = format!("zipf {theta}");
            workloads.push(workload);
        }
    }
    for &cluster in &words.twitter {
        let mut workload = Workload::twitter(cluster, bytes_min, words.requests)?;
        workload.pace = words.pace.or(workload.pace);
        workloads.push(workload);
    }
    if words.kvcache || words.kvcache_folder.is_some() {
        let folder = words.kvcache_folder.as_deref();
        workloads.push(Workload::kvcache(folder, words.keys, words.requests)?);
    }
    workloads.into_iter().map(|workload| enlarged(workload, bytes_min, words.requests)).collect()
}

fn enlarged(workload: Workload, bytes_min: u64, requests_max: u64) -> Result<Workload> {
    let (workload, footprint) = workload.enlarged(bytes_min, requests_max)?;
    if let Some(flaw) = footprint.flaw(bytes_min) {
        eprintln!("{}: {flaw}", workload.name);
    }
    Ok(workload)
}

/// Told before anything is measured, not after hours of it.
fn check_writable(path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let is_new = !path.exists();
    let cannot = || format!("cannot write {}", path.display());
    OpenOptions::new().append(true).create(true).open(path).with_context(cannot)?;
    if is_new {
        // Nothing empty is left where the measurement fails.
        std::fs::remove_file(path).with_context(cannot)?;
    }
    Ok(())
}

fn write_json(path: Option<&Path>, figures: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
