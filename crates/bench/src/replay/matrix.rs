//! Workloads times memories times servers: fitted, played, in rows and in pictures.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Tally;
use super::fit::{Fitted, Fitting, fitted};
use super::lane::Asking;
use super::play::{BATCH_MAX, Play, play};
use crate::picture::{Line, Panel};
use crate::process::{Account, Server, Sides, Typed};
use crate::stats;
use crate::workload::{Footprint, Workload};

/// Servers and how they are compared.
#[derive(Clone, Debug)]
pub struct Against {
    /// Their command lines; the last is the one that the others are measured by.
    pub servers: Vec<Typed>,
    /// Parts of the workload's footprint: the memory that each gets.
    pub parts: Vec<f64>,
    /// Share of the requests that fill the cache and are not counted.
    pub warm: f64,
    /// How they are asked; `None` = by the size of the values.
    pub asking: Option<Asking>,
    /// See `Fitting::settle`.
    pub settle: Duration,
}

/// One server at one memory.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Point {
    /// The workload's name.
    pub workload: String,
    /// Mean bytes of key and value.
    pub item_bytes: u64,
    /// Which part of the footprint.
    pub part: f64,
    /// The server's name.
    pub server: String,
    /// What it was given, and what was resident in the trial.
    pub fitted: Fitted,
    /// What was resident at the end.
    pub resident: u64,
    /// Items at the end.
    pub items: u64,
    /// What was counted.
    pub tally: Tally,
    /// Misses over all look-ups.
    pub miss_ratio: f64,
    /// The part of it that no cache can avoid ([`Workload::floor`]).
    #[serde(default)]
    pub floor: Option<f64>,
    /// Seconds by which the pace was missed.
    pub late: f64,
}

/// Values above this are asked for by `mg`: carrying them would take longer than all the rest.
const GET_BYTES_MAX: u64 = 4096;
/// Items that a cache holds for each request of a batch, at least.
const ITEMS_A_BATCH: u64 = 100;
/// How much more may be resident with the one than with the other.
const TOLERANCE: f64 = 0.01;

/// Plays one workload against every server at every memory. `found` gets the points of each memory
/// as soon as they are complete; a memory that some server cannot keep to is told and left out.
///
/// # Errors
/// When a server does not start with the most memory asked for, when one fails or answers wrongly
/// while it is played to, when no memory is large enough for all of them, or when `found` fails.
pub fn against(
    workload: &Workload,
    how: &Against,
    mut found: impl FnMut(Vec<Point>) -> Result<()>,
) -> Result<()> {
    let footprint = workload.footprint();
    let floor = workload.floor((footprint.requests as f64 * how.warm) as u64);
    let sides = Sides::halves()?;
    eprintln!(
        "{}: {} items, {} MiB, {} requests; {:.1} % of all look-ups are of what was never seen \
         before",
        workload.name,
        footprint.items,
        footprint.bytes >> 20,
        footprint.requests,
        floor * 100.0
    );
    let budget = |part: f64| (footprint.bytes as f64 * part) as u64;
    let most = how.parts.iter().copied().map(budget).max().unwrap_or(0);
    for typed in &how.servers {
        // Told before minutes are spent on the others.
        Server::start(&typed.with_memory((most >> 20).max(1)), &sides)?.stop()?;
    }
    let mut is_any = false;
    for &part in &how.parts {
        let fits = match fits(workload, how, budget(part), &sides) {
            Ok(fits) => fits,
            Err(error) => {
                eprintln!("  1/{:.0}: left out: {error:#}", 1.0 / part);
                continue;
            }
        };
        let mut points = Vec::with_capacity(fits.len());
        for ((typed, fit), server) in how.servers.iter().zip(fits).zip(names(&how.servers)) {
            let played = point(workload, how, footprint, part, &sides, (typed, fit));
            let played =
                played.with_context(|| format!("{server} with -m {} failed", fit.memory))?;
            points.push(Point { server, floor: Some(floor), ..played });
        }
        found(points)?;
        is_any = true;
    }
    ensure!(is_any, "{}: no memory of those asked for was to be had", workload.name);
    Ok(())
}

/// The `-m` of each server for a budget.
fn fits(workload: &Workload, how: &Against, budget: u64, sides: &Sides) -> Result<Vec<Fitted>> {
    let (last, others) = how.servers.split_last().context("no server to play against")?;
    // Where a mebibyte of `-m` is coarse, the last server's own figure is everybody's budget.
    let fitting = Fitting { tolerance: TOLERANCE, settle: how.settle };
    let measure = fitted(last, sides, workload, budget, fitting)?;
    let fit = |typed| fitted(typed, sides, workload, measure.resident, fitting);
    let mut fits = others.iter().map(fit).collect::<Result<Vec<_>>>()?;
    fits.push(measure);
    Ok(fits)
}

/// The programs' names; where two are alike, all that was typed, since a table and a picture tell
/// servers apart by name.
fn names(servers: &[Typed]) -> Vec<String> {
    let is_alone = |name: &str| servers.iter().filter(|typed| typed.name() == name).count() == 1;
    servers
        .iter()
        .map(|typed| if is_alone(typed.name()) { typed.name().into() } else { typed.to_string() })
        .collect()
}

fn point(
    workload: &Workload,
    how: &Against,
    footprint: Footprint,
    part: f64,
    sides: &Sides,
    (typed, fitted): (&Typed, Fitted),
) -> Result<Point> {
    let server = Server::start(&typed.with_memory(fitted.memory), sides)?;
    let item_bytes = footprint.bytes / footprint.items.max(1);
    let play_how = Play {
        address: server.address(),
        asking: how.asking.unwrap_or_else(|| asking(item_bytes)),
        batch: batch(fitted.resident, item_bytes),
        warm: (footprint.requests as f64 * how.warm) as u64,
        progress: true,
    };
    let (tally, late) = play(workload, &play_how)?;
    let resident = server.account().resident()?;
    let items = stats::number(server.address(), "curr_items")?;
    server.stop()?;
    let miss_ratio = tally.miss_ratio();
    let name = typed.name().to_owned();
    eprintln!("  1/{:.0}, {name}: miss ratio {miss_ratio:.4}", 1.0 / part);
    Ok(Point {
        workload: workload.name.clone(),
        item_bytes,
        part,
        server: name,
        fitted,
        resident,
        items,
        tally,
        miss_ratio,
        floor: None,
        late,
    })
}

/// Plays a workload against a server that runs already.
///
/// # Errors
/// When the server cannot be reached or fails.
pub fn alone(
    workload: &Workload,
    address: std::net::SocketAddr,
    account: Option<Account>,
    warm: f64,
    asking_for: Option<Asking>,
) -> Result<Vec<String>> {
    let footprint = workload.footprint();
    let item_bytes = footprint.bytes / footprint.items.max(1);
    let asking = asking_for.unwrap_or_else(|| asking(item_bytes));
    let warm = (footprint.requests as f64 * warm) as u64;
    let how = Play { address, asking, batch: BATCH_MAX, warm, progress: true };
    let (tally, _) = play(workload, &how)?;
    let items = stats::number(address, "curr_items")?;
    let resident = account.map(Account::resident).transpose()?;
    let each = resident.map(|resident| resident as f64 / items.max(1) as f64);
    Ok(vec![
        workload.name.clone(),
        item_bytes.to_string(),
        tally.hits.to_string(),
        tally.misses.to_string(),
        format!("{:.4}", tally.miss_ratio()),
        items.to_string(),
        resident.map_or_else(|| "-".into(), mebibytes),
        each.map_or_else(|| "-".into(), |each| format!("{each:.1}")),
    ])
}

const fn asking(item_bytes: u64) -> Asking {
    if item_bytes > GET_BYTES_MAX { Asking::Meta } else { Asking::Get }
}

/// So many requests at once that they are a hundredth of the cache at most.
fn batch(resident: u64, item_bytes: u64) -> usize {
    let items = resident / item_bytes.max(1);
    usize::try_from(items / ITEMS_A_BATCH).unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX)
}

/// One row for each server at each memory, the misses compared with those of the last server.
#[must_use]
pub fn rows(points: &[Point]) -> Vec<Vec<String>> {
    let measure = |point: &Point| {
        let same = |other: &&Point| {
            other.workload == point.workload
                && other.item_bytes == point.item_bytes
                && (other.part - point.part).abs() < f64::EPSILON
        };
        points.iter().rfind(same).map_or(point.miss_ratio, |last| last.miss_ratio)
    };
    let row = |point: &Point| {
        let late =
            if point.late > 1.0 { format!(" ({:.0} s late)", point.late) } else { "".into() };
        vec![
            format!("{}{late}", point.workload),
            point.item_bytes.to_string(),
            format!("1/{:.0}", 1.0 / point.part),
            point.server.clone(),
            point.fitted.memory.to_string(),
            mebibytes(point.resident),
            point.items.to_string(),
            format!("{:.1}", point.resident as f64 / point.items.max(1) as f64),
            point.floor.map_or_else(|| "-".into(), |floor| format!("{floor:.4}")),
            format!("{:.4}", point.miss_ratio),
            format!("{:.3}", point.miss_ratio / measure(point).max(f64::MIN_POSITIVE)),
        ]
    };
    points.iter().map(row).collect()
}

/// A panel for each workload and size, a line for each server.
#[must_use]
pub fn picture(points: &[Point]) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for point in points {
        let title = format!("{}, {} B", point.workload, point.item_bytes);
        let at = panels.iter().position(|panel| panel.title == title).unwrap_or_else(|| {
            panels.push(Panel { title, lines: Vec::new() });
            panels.len() - 1
        });
        let Some(panel) = panels.get_mut(at) else { continue };
        let at = panel.lines.iter().position(|line| line.name == point.server);
        let at = at.unwrap_or_else(|| {
            panel.lines.push(Line { name: point.server.clone(), points: Vec::new() });
            panel.lines.len() - 1
        });
        if let Some(line) = panel.lines.get_mut(at) {
            line.points.push((point.resident as f64 / f64::from(1 << 20), point.miss_ratio));
        }
    }
    panels
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
