//! `load`: text requests over many connections, and what they cost the server.
//!
//! Each connection sends a batch, reads all of its replies, and sends the next: the number of
//! requests under way never exceeds connections times depth. A request's latency runs from the
//! moment its batch is handed to the kernel until its reply has been read.
//!
//! Invariants: every value that comes back is compared with what was stored under its key; threads
//! share nothing while they drive.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::clock;
use crate::item::{
    Item, NUMBERS, TTL_SECS_MAX, VALUE_BYTES_MAX, check_key_bytes, is_value_of, number_of,
    push_key, push_set,
};
use crate::link::Link;
use crate::process::{Account, Cpu};
use crate::random::Random;
use crate::reply::Reply;
use crate::tls::Target;
use crate::zipf::Zipf;

/// Latencies above are counted as this: a server that takes longer is stuck.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;
/// Latencies keep three digits.
const LATENCY_DIGITS: u8 = 3;
/// A server that answers on no connection for so long is stuck.
const SILENCE_SECS_MAX: i64 = 30;
/// Items stored per batch while filling, where they are small.
const FILL_BATCH: u64 = 1000;
/// More threads than any machine that this runs on can use.
const THREADS_MAX: usize = 256;
/// A process may not have more descriptors than about this.
const CONNECTIONS_MAX: usize = 20_000;
/// A batch is in memory as a whole.
const DEPTH_MAX: usize = 10_000;
/// What all connections have under way is in memory at once.
const UNDER_WAY_BYTES_MAX: u64 = 2 << 30;
/// Items stored per batch have about so many bytes at most.
const FILL_BATCH_BYTES: u64 = 1 << 20;

/// What is asked, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Shape {
    /// Connections, spread over the threads.
    pub connections: usize,
    /// Threads that drive them.
    pub threads: usize,
    /// Requests sent together on one connection.
    pub depth: usize,
    /// Keys of one `get`.
    pub multi: usize,
    /// Of a hundred requests, how many are `set`.
    pub set_percent: u32,
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Different keys.
    pub keys: u64,
    /// Exponent of Zipf's law by which they are chosen; 0 is evenly.
    pub theta: f64,
    /// Seconds that stored items live; 0 is for ever.
    pub ttl: u32,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Amount {
    /// So many requests, rounded up to whole batches.
    Requests(u64),
    /// So long.
    Time(Duration),
}

/// What was counted on the client's side.
#[derive(Clone, Debug)]
pub struct Driven {
    /// Requests answered: a `get` of many keys is one.
    pub requests: u64,
    /// Keys looked up.
    pub keys: u64,
    /// Of these, found.
    pub hits: u64,
    /// Items stored.
    pub stored: u64,
    /// `set`s that the server refused.
    pub refused: u64,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
}

/// What a load cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Requests answered.
    pub requests: u64,
    /// Requests a second of wall time.
    pub rate: f64,
    /// Found keys over looked-up keys; 1 where none was looked up.
    pub hit_ratio: f64,
    /// Median, 99th and 99.9th percentile of latencies, and the greatest, in microseconds.
    pub p50: f64,
    /// See [`Self::p50`].
    pub p99: f64,
    /// See [`Self::p50`].
    pub p999: f64,
    /// See [`Self::p50`].
    pub most: f64,
    /// Microseconds of CPU in the server's program a key looked up or stored; `None` without an
    /// account.
    pub user: Option<f64>,
    /// The same in the kernel on its behalf.
    pub system: Option<f64>,
    /// Resident bytes at the end.
    pub resident: Option<u64>,
}

impl Shape {
    fn check(&self) -> Result<()> {
        check_key_bytes(self.key_bytes)?;
        let bound = |what: &str, value: usize, most: usize| {
            ensure!((1..=most).contains(&value), "{what}: {value}; give 1 to {most}");
            Ok(())
        };
        bound("connections", self.connections, CONNECTIONS_MAX)?;
        bound("threads", self.threads, THREADS_MAX.min(self.connections))?;
        bound("depth", self.depth, DEPTH_MAX)?;
        bound("keys of one get", self.multi, DEPTH_MAX)?;
        ensure!(self.set_percent <= 100, "{} sets of a hundred requests", self.set_percent);
        ensure!(self.keys > 0, "no keys to ask for");
        ensure!(self.keys <= NUMBERS, "{} keys: give {NUMBERS} at most", self.keys);
        let (each, ttl) = (self.key_bytes.saturating_add(self.value_bytes), self.ttl);
        let all = (each as u64).saturating_mul((self.connections * self.depth) as u64);
        ensure!(
            self.set_percent == 0 || all <= UNDER_WAY_BYTES_MAX,
            "values of {} bytes, {} on each of {} connections: more than {} MiB would be under \
             way; lower one of them",
            self.value_bytes,
            self.depth,
            self.connections,
            UNDER_WAY_BYTES_MAX >> 20
        );
        ensure!(self.value_bytes <= VALUE_BYTES_MAX, "values of {} bytes", self.value_bytes);
        ensure!(
            ttl <= TTL_SECS_MAX,
            "a TTL of {ttl} s would be read as a date: give {TTL_SECS_MAX} at most"
        );
        ensure!((0.0..=20.0).contains(&self.theta), "theta {}: give 0 to 20", self.theta);
        Ok(())
    }

    fn item(&self, number: u64) -> Item {
        Item { number, key_bytes: self.key_bytes, value_bytes: self.value_bytes }
    }
}

/// Stores every key once, each thread its part.
///
/// # Errors
/// When the server cannot be reached, or refuses to store.
pub fn fill(target: &Target, shape: &Shape) -> Result<()> {
    shape.check()?;
    let share = shape.keys.div_ceil(shape.threads as u64);
    each_thread(shape.threads, |thread| {
        let first = share * thread as u64;
        fill_part(target, shape, first, (first + share).min(shape.keys))
    })?;
    Ok(())
}

fn fill_part(target: &Target, shape: &Shape, first: u64, end: u64) -> Result<()> {
    let mut link = Link::reach(target)?;
    let mut number = first;
    let item_bytes = (shape.key_bytes + shape.value_bytes) as u64;
    let batch_max = (FILL_BATCH_BYTES / item_bytes).clamp(1, FILL_BATCH);
    while number < end {
        let batch = batch_max.min(end - number);
        for number in number..number + batch {
            push_set(&mut link.out, shape.item(number), shape.ttl);
        }
        link.send()?;
        for _ in 0..batch {
            link.reply(|reply| match reply {
                Reply::Stored => Ok(()),
                other => bail!("filling: `set` is answered by {other:?}"),
            })?;
        }
        number += batch;
    }
    Ok(())
}

/// Drives the load and reads the server's account before and after.
///
/// # Errors
/// When the server cannot be reached, fails, or answers what it should not.
pub fn measure(
    target: &Target,
    shape: &Shape,
    amount: Amount,
    account: Option<Account>,
) -> Result<Cost> {
    let cpu = || account.map(Account::cpu).transpose();
    let (before, started) = (cpu()?, clock::now());
    let driven = drive(target, shape, amount)?;
    let (seconds, after) = (started.elapsed().as_secs_f64(), cpu()?);
    let used = after.zip(before).map(|(after, before): (Cpu, Cpu)| after.since(before));
    let items = (driven.keys + driven.stored + driven.refused).max(1) as f64;
    let at = |quantile| driven.latency.value_at_quantile(quantile) as f64 / 1000.0;
    let hit_ratio = if driven.keys == 0 { 1.0 } else { driven.hits as f64 / driven.keys as f64 };
    Ok(Cost {
        requests: driven.requests,
        rate: driven.requests as f64 / seconds.max(1e-9),
        hit_ratio,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        most: driven.latency.max() as f64 / 1000.0,
        user: used.map(|cpu| cpu.user as f64 / items),
        system: used.map(|cpu| cpu.system as f64 / items),
        resident: account.map(Account::resident).transpose()?,
    })
}

/// Drives the load.
///
/// # Errors
/// As [`measure`].
pub fn drive(target: &Target, shape: &Shape, amount: Amount) -> Result<Driven> {
    shape.check()?;
    ensure!(amount != Amount::Requests(0), "no requests to send");
    let started = clock::now();
    let zipf = Zipf::new(shape.keys, shape.theta);
    let parts = each_thread(shape.threads, |thread| {
        Driver::open(target, shape, &zipf, amount, thread)?.run(started)
    })?;
    let mut whole = Driven::new()?;
    for part in parts {
        whole.requests += part.requests;
        whole.keys += part.keys;
        whole.hits += part.hits;
        whole.stored += part.stored;
        whole.refused += part.refused;
        whole.latency.add(&part.latency)?;
    }
    Ok(whole)
}

impl Driven {
    fn new() -> Result<Self> {
        let latency = Histogram::new_with_max(LATENCY_NANOS_MAX, LATENCY_DIGITS)?;
        Ok(Self { requests: 0, keys: 0, hits: 0, stored: 0, refused: 0, latency })
    }
}

fn each_thread<R: Send>(
    threads: usize,
    work: impl Fn(usize) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<R>>| {
            thread.join().map_err(|_| anyhow!("a thread of the load panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

/// A connection and how many replies of its batch are still to come.
struct Lane {
    link: Link,
    awaited: usize,
    sent: Instant,
}

/// One thread's part.
struct Driver<'s> {
    shape: &'s Shape,
    zipf: &'s Zipf,
    random: Random,
    lanes: Vec<Lane>,
    driven: Driven,
    /// Requests still to be sent; `None` = until the time is over.
    left: Option<u64>,
    end: Option<Duration>,
}

impl<'s> Driver<'s> {
    fn open(
        target: &Target,
        shape: &'s Shape,
        zipf: &'s Zipf,
        amount: Amount,
        thread: usize,
    ) -> Result<Self> {
        let count = (thread..shape.connections).step_by(shape.threads).count();
        let lane = |_| Ok(Lane { link: Link::reach(target)?, awaited: 0, sent: clock::now() });
        let (left, end) = match amount {
            Amount::Requests(all) => (Some(all.div_ceil(shape.threads as u64)), None),
            Amount::Time(time) => (None, Some(time)),
        };
        Ok(Self {
            shape,
            zipf,
            random: Random::new(thread as u64 + 1),
            lanes: (0..count).map(lane).collect::<Result<_>>()?,
            driven: Driven::new()?,
            left,
            end,
        })
    }

    fn run(mut self, started: Instant) -> Result<Driven> {
        let mut busy = 0_usize;
        for number in 0..self.lanes.len() {
            busy += usize::from(self.begin(number, started)?);
        }
        while busy > 0 {
            for number in self.ready()? {
                if self.read(number)? && !self.begin(number, started)? {
                    busy -= 1;
                }
            }
        }
        Ok(self.driven)
    }

    /// Sends the next batch; false if there is none left.
    fn begin(&mut self, number: usize, started: Instant) -> Result<bool> {
        let now = clock::now();
        let is_over = self.end.is_some_and(|end| now.duration_since(started) >= end);
        if is_over || self.left == Some(0) {
            return Ok(false);
        }
        let Some(lane) = self.lanes.get_mut(number) else { return Ok(false) };
        for _ in 0..self.shape.depth {
            if self.random.below(100) < u64::from(self.shape.set_percent) {
                let key = scattered(self.zipf.draw(&mut self.random), self.shape.keys);
                push_set(&mut lane.link.out, self.shape.item(key), self.shape.ttl);
            } else {
                lane.link.out.extend_from_slice(b"get");
                for _ in 0..self.shape.multi {
                    let key = scattered(self.zipf.draw(&mut self.random), self.shape.keys);
                    lane.link.out.push(b' ');
                    push_key(&mut lane.link.out, self.shape.item(key));
                }
                lane.link.out.extend_from_slice(b"\r\n");
                self.driven.keys += self.shape.multi as u64;
            }
        }
        lane.awaited = self.shape.depth;
        lane.sent = clock::now();
        lane.link.send()?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(self.shape.depth as u64);
        }
        Ok(true)
    }

    /// The lanes with something to read.
    fn ready(&self) -> Result<Vec<usize>> {
        let mut waiting: Vec<PollFd<'_>> =
            self.lanes.iter().map(|lane| PollFd::new(&lane.link, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: SILENCE_SECS_MAX, tv_nsec: 0 };
        let count = match poll(&mut waiting, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            count => count.context("waiting for the server")?,
        };
        ensure!(count > 0, "the server is silent for {SILENCE_SECS_MAX} s");
        let ready = waiting.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(number, _)| number).collect())
    }

    /// Reads what has come on a lane; whether its batch is answered.
    fn read(&mut self, number: usize) -> Result<bool> {
        let Some(lane) = self.lanes.get_mut(number) else { return Ok(false) };
        lane.link.pull()?;
        if lane.awaited == 0 {
            // A TLS server has words of its own, such as tickets; no batch ends by them.
            return Ok(false);
        }
        let latency = clock::now().duration_since(lane.sent).as_nanos();
        let latency = u64::try_from(latency).unwrap_or(u64::MAX);
        let (shape, driven) = (self.shape, &mut self.driven);
        let mut answered = 0;
        while answered < lane.awaited {
            let counted = lane.link.reply_here(|reply| count(shape, driven, reply))?;
            let Some(is_last) = counted else { break };
            answered += usize::from(is_last);
        }
        if answered > 0 {
            driven.latency.record_n(latency.clamp(1, LATENCY_NANOS_MAX), answered as u64)?;
        }
        driven.requests += answered as u64;
        lane.awaited -= answered;
        Ok(lane.awaited == 0)
    }
}

/// Counts one reply; whether it ends its request.
fn count(shape: &Shape, driven: &mut Driven, reply: Reply<'_>) -> Result<bool> {
    match reply {
        Reply::Value { key, value } => {
            let number = number_of(key).context("an item that was not asked for")?;
            let is_true = is_value_of(value, shape.item(number));
            ensure!(is_true, "not the value of {}", key.escape_ascii());
            driven.hits += 1;
            return Ok(false);
        }
        Reply::End => {}
        Reply::Stored => driven.stored += 1,
        Reply::Refused => driven.refused += 1,
        other => bail!("the server answers {other:?}, which was not asked for"),
    }
    Ok(true)
}

/// The item of a rank: popular items are not neighbours.
fn scattered(rank: u64, keys: u64) -> u64 {
    /// A prime above every number of keys in use, so that no two ranks meet.
    const STRIDE: u128 = 1_099_511_627_791;
    u64::try_from(u128::from(rank) * STRIDE % u128::from(keys)).unwrap_or(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            connections: 4,
            threads: 2,
            depth: 8,
            multi: 1,
            set_percent: 10,
            key_bytes: 20,
            value_bytes: 36,
            keys: 1000,
            theta: 0.99,
            ttl: 0,
        }
    }

    #[test]
    fn impossible_loads_are_refused_by_name() {
        let told = |shape: Shape| shape.check().unwrap_err().to_string();
        assert!(shape().check().is_ok());
        assert!(told(Shape { connections: 0, ..shape() }).contains("connections"));
        assert!(told(Shape { threads: 5, ..shape() }).contains("threads"));
        assert!(told(Shape { depth: 0, ..shape() }).contains("depth"));
        assert!(told(Shape { key_bytes: 4, ..shape() }).contains("key"));
        assert!(told(Shape { theta: -1.0, ..shape() }).contains("theta"));
        assert!(told(Shape { keys: 0, ..shape() }).contains("keys"));
        assert!(told(Shape { keys: u64::MAX, ..shape() }).contains("keys"));
        assert!(told(Shape { ttl: u32::MAX, ..shape() }).contains("TTL"));
        assert!(told(Shape { value_bytes: usize::MAX, ..shape() }).contains("lower one"));
        let one = Shape { connections: 1, threads: 1, depth: 1, ..shape() };
        assert!(Shape { value_bytes: 1 << 30, ..one.clone() }.check().is_ok());
        assert!(told(Shape { value_bytes: 2 << 30, set_percent: 0, ..one }).contains("values"));
        assert!(told(Shape { set_percent: 101, ..shape() }).contains("sets"));
    }

    #[test]
    fn a_load_of_nothing_is_refused() {
        let target = std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into();
        let told = drive(&target, &shape(), Amount::Requests(0)).unwrap_err().to_string();
        assert!(told.contains("no requests"), "{told}");
    }

    #[test]
    fn ranks_are_scattered_without_meeting() {
        for keys in [1, 2, 1000, 1024, 99_991] {
            let mut seen: Vec<u64> = (0..keys).map(|rank| scattered(rank, keys)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len() as u64, keys);
        }
    }

    #[test]
    fn latencies_keep_three_digits() {
        let mut driven = Driven::new().unwrap();
        for nanos in 1..=1000_u64 {
            driven.latency.record(nanos * 1000).unwrap();
        }
        let median = driven.latency.value_at_quantile(0.5) as f64;
        assert!((median / 500_000.0 - 1.0).abs() < 0.002, "{median}");
        driven.latency.saturating_record(u64::MAX);
        assert!(driven.latency.max() >= LATENCY_NANOS_MAX);
    }
}
