//! The same memory for every server: its `-m` is tried until what is resident, with the cache full,
//! is the budget.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::item::{Item, push_set};
use crate::link::Link;
use crate::process::{Server, Sides, Typed};
use crate::reply::Reply;
use crate::workload::Workload;

/// Trials of `-m` for one budget. Overhead hardly changes between neighbours, so that two or three
/// do.
const TRIALS_MAX: u32 = 6;
/// Items are stored in batches of about so many bytes.
const BATCH_BYTES: usize = 128 * 1024;
/// Keys and values of so many times `-m` are stored: every item costs more than its bytes, so that
/// the cache is full well before.
const FILL_TIMES: f64 = 1.25;
const MIB: u64 = 1 << 20;

/// A server's `-m` for a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fitted {
    /// In MiB.
    pub memory: u64,
    /// What is resident with the cache full, in bytes.
    pub resident: u64,
}

/// How the memory of a server is found.
#[derive(Clone, Copy, Debug)]
pub struct Fitting {
    /// So much more than the budget may be resident, as a share of it.
    pub tolerance: f64,
    /// A server rests so long between being filled and being looked at: some give back what only
    /// the filling needed.
    pub settle: Duration,
}

/// Finds the largest `-m` with which at most `budget` bytes, and the tolerance, are resident when
/// items of the workload's sizes fill the cache.
///
/// # Errors
/// When the server does not start, or needs more than the budget even with the least `-m`.
pub fn fitted(
    typed: &Typed,
    sides: &Sides,
    workload: &Workload,
    budget: u64,
    how: Fitting,
) -> Result<Fitted> {
    let most = (budget as f64 * (1.0 + how.tolerance)) as u64;
    let mut best: Option<Fitted> = None;
    let mut too_much: Option<u64> = None;
    let mut memory = (budget / MIB).max(1);
    for _ in 0..TRIALS_MAX {
        let resident = resident_when_full(typed, sides, workload, memory, how.settle)?;
        let tried = Fitted { memory, resident };
        eprintln!("  {}: -m {memory} is {} MiB resident", typed.name(), resident / MIB);
        if resident <= most {
            best = best.filter(|best| best.memory > memory).or(Some(tried));
        } else {
            too_much = Some(too_much.map_or(memory, |least| least.min(memory)));
        }
        let off = (most / MIB).cast_signed() - (resident / MIB).cast_signed();
        let mut next = memory.saturating_add_signed(off).max(1);
        // Between what is known to fit and what is known not to.
        if let Some(best) = best {
            next = next.max(best.memory + 1);
        }
        if let Some(least) = too_much {
            next = next.min(least - 1);
        }
        let is_known = best.is_some_and(|best| best.memory >= next);
        if next == 0 || is_known {
            break;
        }
        memory = next;
    }
    match best {
        Some(best) => Ok(best),
        None => bail!(
            "{} does not keep within {} MiB resident, whatever its -m",
            typed.name(),
            most / MIB
        ),
    }
}

fn resident_when_full(
    typed: &Typed,
    sides: &Sides,
    workload: &Workload,
    memory: u64,
    settle: Duration,
) -> Result<u64> {
    let server = Server::start(&typed.with_memory(memory), sides)?;
    fill(server.address(), workload, (memory as f64 * MIB as f64 * FILL_TIMES) as u64)?;
    std::thread::sleep(settle);
    let resident = server.account().resident()?;
    server.stop()?;
    Ok(resident)
}

/// Stores items of the workload's sizes, each once, until `bytes` of keys and values are sent.
fn fill(address: SocketAddr, workload: &Workload, bytes: u64) -> Result<()> {
    let mut link = Link::open(address)?;
    let (mut sent, mut number, mut under_way) = (0_u64, 0_u64, 0_u64);
    while sent < bytes {
        let item = Item { number, ..workload.item(number) };
        push_set(&mut link.out, item, 0);
        sent += (item.key_bytes + item.value_bytes) as u64;
        number += 1;
        under_way += 1;
        if link.out.len() >= BATCH_BYTES || sent >= bytes {
            link.send()?;
            for _ in 0..std::mem::take(&mut under_way) {
                let is_known =
                    link.reply(|reply| Ok(matches!(reply, Reply::Stored | Reply::Refused)))?;
                ensure!(is_known, "`set` is answered by something else");
            }
        }
    }
    Ok(())
}
