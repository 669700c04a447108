//! The administrative text commands that are not about one item.

use std::sync::PoisonError;

use kannuki_guard::{Access, Denial, Response, action};
use kannuki_protocol::{
    command::{Admin, AdminVerb, Classes, Detail, Lru, LruCrawler, Slabs, Stats},
    reply::text::{self, Line},
};

use super::{Turn, classic::deny};
use crate::{VERSION, config::Echo, counters::Counter, dump, stats, tls::TlsError};

/// Smallest memory limit that may be asked for, in MiB, as in memcached.
const MEMLIMIT_MEGABYTES_MIN: u64 = 8;
/// Above this the number cannot be MiB, as in memcached.
const MEMLIMIT_MEGABYTES_MAX: u64 = 1_000_000_000;
/// Slab classes that tools may name.
const CLASSES_MAX: i32 = 63;

/// Runs the command; `true` = the connection is to be closed.
pub(crate) fn run(turn: &Turn<'_>, access: &Access, asked: &Admin<'_>, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let stop = match answer(turn, access, asked, out) {
        Ok(stop) => stop,
        Err(denial) => {
            deny(&denial, out);
            false
        }
    };
    if asked.noreply {
        out.truncate(before);
    }
    stop
}

fn answer(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Admin<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Denial> {
    let line = match asked.verb {
        AdminVerb::Version => {
            text::version(out, VERSION);
            return Ok(false);
        }
        AdminVerb::Stats(family) => {
            show_stats(turn, access, family, out)?;
            return Ok(false);
        }
        AdminVerb::Shutdown { graceful } => {
            let _permit = turn.permit::<action::Shutdown>(access, None)?;
            stop(graceful);
            return Ok(true);
        }
        AdminVerb::FlushAll { delay } => {
            // Counted also when it is refused.
            turn.count(Counter::CmdFlush);
            let permit = turn.permit::<action::Flush>(access, None)?;
            turn.instance.flush(permit, delay, turn.now);
            Line::Ok
        }
        AdminVerb::CacheMemlimit { megabytes } => memlimit(turn, access, megabytes)?,
        AdminVerb::Verbosity { level } => {
            let _permit = turn.permit::<action::Admin>(access, None)?;
            turn.instance.set_verbosity(u8::try_from(level.min(2)).unwrap_or(2));
            Line::Ok
        }
        AdminVerb::Watch { .. } => {
            let _permit = turn.permit::<action::Watch>(access, None)?;
            // There are no watchers yet: the answer is that of `-W`.
            Line::WatchNotAllowed
        }
        AdminVerb::RefreshCerts => match refresh_certificates(turn, access)? {
            Ok(line) => line,
            Err(error) => {
                out.extend_from_slice(format!("{error}\r\n").as_bytes());
                return Ok(false);
            }
        },
        // Accepted by memcached too when there is no extstore; it changes nothing.
        AdminVerb::Extstore => Line::Ok,
        AdminVerb::Slabs(asked) => tune(turn, access, |echo| slabs(echo, asked))?,
        AdminVerb::Lru(asked) => tune(turn, access, |echo| lru(echo, asked))?,
        AdminVerb::LruCrawler(asked) => tune(turn, access, |echo| crawler(echo, asked))?,
        _ => Line::Error,
    };
    line.encode(out);
    Ok(false)
}

/// Reads the certificates again. Whoever is connected keeps those that the connection began with.
fn refresh_certificates(
    turn: &Turn<'_>,
    access: &Access,
) -> Result<Result<Line, TlsError>, Denial> {
    let _permit = turn.permit::<action::Admin>(access, None)?;
    let Some(tls) = &turn.instance.tls else { return Ok(Ok(Line::TlsNotEnabled)) };
    let refreshed = tls.refresh(turn.now);
    log_refresh(&refreshed);
    Ok(refreshed.map(|_| Line::Ok))
}

/// Says in the log what came of reading the certificates again.
pub(crate) fn log_refresh(refreshed: &Result<Vec<String>, TlsError>) {
    match refreshed {
        Ok(warnings) => {
            tracing::info!("certificates read again");
            for warning in warnings {
                tracing::warn!("{warning}");
            }
        }
        Err(error) => tracing::error!(%error, "the old certificates stay in force"),
    }
}

/// Sends this process the signal that stops it, as memcached does.
fn stop(graceful: bool) {
    let signal = if graceful { signal_hook::consts::SIGUSR1 } else { signal_hook::consts::SIGINT };
    if let Err(error) = signal_hook::low_level::raise(signal) {
        tracing::error!(%error, "cannot signal the shutdown that a peer asked for");
    }
}

fn memlimit(turn: &Turn<'_>, access: &Access, megabytes: u64) -> Result<Line, Denial> {
    let permit = turn.permit::<action::Admin>(access, None)?;
    Ok(match megabytes {
        ..MEMLIMIT_MEGABYTES_MIN => Line::MemlimitTooSmall,
        MEMLIMIT_MEGABYTES_MIN..=MEMLIMIT_MEGABYTES_MAX => {
            let bytes = megabytes.saturating_mul(1024 * 1024);
            if turn.instance.executor.set_memory_limit(permit, bytes) {
                Line::Ok
            } else {
                Line::MemlimitOutOfBounds
            }
        }
        _ => Line::MemlimitNotMegabytes,
    })
}

/// Changes what `stats settings` shows of memcached's tuning. It has no effect on this store, which
/// has neither slabs nor LRU queues; the log says so.
fn tune(
    turn: &Turn<'_>,
    access: &Access,
    change: impl FnOnce(&mut Echo) -> Line,
) -> Result<Line, Denial> {
    let _permit = turn.permit::<action::Admin>(access, None)?;
    let mut echo = turn.instance.echo.lock().unwrap_or_else(PoisonError::into_inner);
    tracing::debug!("a slab or LRU setting was changed: shown, without effect here");
    Ok(change(&mut echo))
}

fn slabs(echo: &mut Echo, asked: Slabs) -> Line {
    match asked {
        Slabs::Automove(mode) => echo.slab_automove = mode,
        Slabs::AutomoveRatio(ratio) => echo.slab_automove_ratio = ratio,
        Slabs::AutomoveFreeratio(ratio) => echo.slab_automove_freeratio = ratio,
        Slabs::AutomoveWindow(window) => echo.slab_automove_window = window,
        Slabs::Reassign { .. } if !echo.slab_reassign => return Line::ReassignDisabled,
        Slabs::Reassign { source, destination } if source == destination => {
            return Line::ReassignSame;
        }
        Slabs::Reassign { source, destination } => {
            let known = (-1..=CLASSES_MAX).contains(&source) && source != 0;
            let known = known && (0..=CLASSES_MAX).contains(&destination);
            // True of every class: there are no pages to spare where there are no slabs.
            return if known { Line::ReassignNoSpare } else { Line::ReassignBadClass };
        }
    }
    Line::Ok
}

fn lru(echo: &mut Echo, asked: Lru) -> Line {
    if !echo.lru_maintainer {
        return Line::Error;
    }
    match asked {
        Lru::ModeFlat => echo.lru_segmented = false,
        Lru::ModeSegmented => echo.lru_segmented = true,
        Lru::TempTtl(ttl) => echo.temporary_ttl = u32::try_from(ttl).ok(),
        Lru::Tune { hot_pct, warm_pct, hot_factor, warm_factor } => {
            (echo.hot_lru_pct, echo.warm_lru_pct) = (hot_pct, warm_pct);
            (echo.hot_max_factor, echo.warm_max_factor) = (hot_factor, warm_factor);
        }
    }
    Line::Ok
}

fn crawler(echo: &mut Echo, asked: LruCrawler<'_>) -> Line {
    match asked {
        LruCrawler::Enable if echo.lru_crawler => return Line::CrawlerStartFailed,
        LruCrawler::Enable => echo.lru_crawler = true,
        LruCrawler::Disable => echo.lru_crawler = false,
        LruCrawler::Sleep(micros) => echo.lru_crawler_sleep = micros,
        LruCrawler::Tocrawl(items) => echo.lru_crawler_tocrawl = items,
        LruCrawler::Crawl(_) if !echo.lru_crawler => return Line::CrawlerDisabled,
        LruCrawler::Crawl(Classes::Hash) => return Line::CrawlerUnknown,
        LruCrawler::Crawl(classes) if dump::mask(classes).is_none() => {
            return Line::CrawlerBadClass;
        }
        // Expired items are swept all the time: there is nothing to start.
        LruCrawler::Crawl(_) => {}
        // Dumps are the session's.
        LruCrawler::Metadump(_) | LruCrawler::Mgdump(_) => return Line::Error,
    }
    Line::Ok
}

fn show_stats(
    turn: &Turn<'_>,
    access: &Access,
    family: Stats<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    if let Stats::Detail(detail) = family {
        return show_detail(turn, access, detail, out);
    }
    let permit = turn.permit::<action::Stats>(access, None)?;
    match family {
        Stats::Unknown(_) => Line::Error.encode(out),
        Stats::Reset => {
            let _permit = turn.permit::<action::Admin>(access, None)?;
            turn.instance.reset_stats(&permit);
            Line::Reset.encode(out);
        }
        family => {
            stats::collect(turn, &permit, family, &mut |key, value| text::stat(out, key, value));
            Line::End.encode(out);
        }
    }
    Ok(())
}

fn show_detail(
    turn: &Turn<'_>,
    access: &Access,
    detail: Detail,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let _permit = match turn.permit::<action::Dump>(access, None) {
        Ok(permit) => permit,
        Err(denial) if denial.response == Response::DumpNotAllowed => {
            Line::DetailNotAllowed.encode(out);
            return Ok(());
        }
        Err(denial) => return Err(denial),
    };
    let prefixes = &turn.instance.prefixes;
    match detail {
        Detail::Dump => {
            out.extend_from_slice(&prefixes.dump());
            Line::End.encode(out);
            return Ok(());
        }
        Detail::On => prefixes.enable(true),
        Detail::Off => prefixes.enable(false),
    }
    Line::Ok.encode(out);
    Ok(())
}
