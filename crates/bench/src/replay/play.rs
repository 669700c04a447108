//! Plays a workload once, over a few lanes that take turns, so that the server works on one batch
//! while the next is written and the last one is read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Tally;
use super::lane::{Asking, Lane};
use crate::clock;
use crate::random::mix;
use crate::workload::{Request, Workload};

/// Lanes: one being served, one being read and written, two waiting for either.
const LANES: usize = 4;
/// Requests in a batch, unless the cache is so small that this would be a part of it.
pub(super) const BATCH_MAX: usize = 128;
/// Requests between two lines of progress.
const PROGRESS_EVERY: u64 = 5_000_000;

/// How a workload is played.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// Where the server listens.
    pub address: SocketAddr,
    /// How it is asked.
    pub asking: Asking,
    /// Requests sent together: 1 to `BATCH_MAX`.
    pub batch: usize,
    /// The first requests, which fill the cache and are not counted.
    pub warm: u64,
    /// Lines of progress on stderr.
    pub progress: bool,
}

/// Plays all of it. Returns what was counted and by how many seconds the workload's pace was missed
/// at the end (0 without a pace).
///
/// # Errors
/// When the connection breaks or an answer is none of memcached's, or another item's value.
pub fn play(workload: &Workload, how: &Play) -> Result<(Tally, f64)> {
    let mut lanes = Vec::with_capacity(LANES);
    for _ in 0..LANES {
        lanes.push((Lane::open(how.address, how.asking, workload.counts)?, Vec::new()));
    }
    let batch_max = how.batch.clamp(1, BATCH_MAX);
    let started = clock::now();
    let (mut tally, mut warmed) = (Tally::default(), Tally::default());
    let mut done = 0_u64;
    for request in workload.requests() {
        // Of the item of the first copy and of its other copies alike, spread evenly.
        let number = (mix(request.item.number) % LANES as u64) as usize;
        let Some((lane, batch)) = lanes.get_mut(number) else { continue };
        batch.push(request);
        if batch.len() >= batch_max {
            lane.turn(batch, &mut tally)?;
            batch.clear();
            if let Some(pace) = workload.pace {
                keep_pace(started, done, pace);
            }
        }
        done += 1;
        if done == how.warm {
            warmed = tally;
        }
        if how.progress && done.is_multiple_of(PROGRESS_EVERY) {
            tell(workload, done, &tally, started);
        }
    }
    for (lane, batch) in &mut lanes {
        let rest: Vec<Request> = std::mem::take(batch);
        lane.turn(&rest, &mut tally)?;
        lane.finish(&mut tally)?;
    }
    let late = workload.pace.map_or(0.0, |pace| {
        (started.elapsed().as_secs_f64() - done as f64 / pace.max(1) as f64).max(0.0)
    });
    Ok((without(tally, warmed), late))
}

/// Waits until `done` requests are due.
fn keep_pace(started: Instant, done: u64, pace: u64) {
    let due = Duration::from_secs_f64(done as f64 / pace.max(1) as f64);
    let early = due.saturating_sub(started.elapsed());
    // A shorter wait costs more than it keeps.
    if early > Duration::from_millis(1) {
        std::thread::sleep(early);
    }
}

const fn without(tally: Tally, warmed: Tally) -> Tally {
    Tally {
        hits: tally.hits - warmed.hits,
        misses: tally.misses - warmed.misses,
        sets: tally.sets - warmed.sets,
        refused: tally.refused - warmed.refused,
    }
}

fn tell(workload: &Workload, done: u64, tally: &Tally, started: Instant) {
    let (millions, ratio) = (done as f64 / 1e6, tally.miss_ratio());
    let rate = millions / started.elapsed().as_secs_f64().max(1e-3);
    let name = &workload.name;
    let left = workload.requests_in_all().saturating_sub(done) as f64 / 1e6 / rate.max(1e-6);
    eprintln!(
        "  {name}: {millions:.0} M requests, {rate:.2} M/s, about {left:.0} s left, miss ratio \
         {ratio:.4}"
    );
}
