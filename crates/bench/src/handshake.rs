//! `handshakes`: what coming in costs the server. A connection is opened, asks for one key that is
//! not there, and is closed; then the next. Over TLS each is a full handshake, or each goes on with
//! an earlier session.
//!
//! Invariant: what is called full or resumed was seen to be that, on every single connection.

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;

use crate::clock;
use crate::link::Link;
use crate::load::Cost;
use crate::process::{Account, Cpu};
use crate::reply::Reply;
use crate::tls::Target;

/// More connections than any figure needs; each leaves a port waiting for a while.
pub const CONNECTIONS_MAX: u64 = 1_000_000;
/// Latencies above are counted as this: a server that takes longer is stuck.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;

/// Opens connections and reads the server's account before and after. The one before them all is
/// not counted: it is what others are resumed from.
///
/// # Errors
/// When the server cannot be reached, fails, or does not resume what it is to resume.
pub fn measure(
    target: &Target,
    count: u64,
    resumed: bool,
    account: Option<Account>,
) -> Result<Cost> {
    ensure!((1..=CONNECTIONS_MAX).contains(&count), "{count}: give 1 to {CONNECTIONS_MAX}");
    one(target)?;
    let cpu = || account.map(Account::cpu).transpose();
    let mut latency: Histogram<u64> = Histogram::new_with_max(LATENCY_NANOS_MAX, 3)?;
    let mut seen: u64 = 0;
    let (before, started) = (cpu()?, clock::now());
    for _ in 0..count {
        let begun = clock::now();
        seen += u64::from(one(target)?);
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        latency.saturating_record(nanos.max(1));
    }
    let (seconds, after) = (started.elapsed().as_secs_f64(), cpu()?);
    let wanted = if resumed { count } else { 0 };
    ensure!(seen == wanted, "{seen} of {count} sessions were resumed, instead of {wanted}");
    let used = after.zip(before).map(|(after, before): (Cpu, Cpu)| after.since(before));
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(Cost {
        requests: count,
        rate: count as f64 / seconds.max(1e-9),
        hit_ratio: 1.0,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        most: latency.max() as f64 / 1000.0,
        user: used.map(|cpu| cpu.user as f64 / count as f64),
        system: used.map(|cpu| cpu.system as f64 / count as f64),
        resident: account.map(Account::resident).transpose()?,
    })
}

/// One connection; whether its session was resumed.
fn one(target: &Target) -> Result<bool> {
    let mut link = Link::reach(target)?;
    link.out.extend_from_slice(b"get kannuki-bench-is-not-here\r\n");
    link.send()?;
    link.reply(|reply| match reply {
        Reply::End => Ok(()),
        other => bail!("`get` of what is not there is answered by {other:?}"),
    })?;
    let resumed = link.is_resumed();
    link.close()?;
    Ok(resumed)
}
