//! Administrative and statistics commands.
//!
//! Two deliberate departures from memcached: sub-commands are exact words, never prefixes (there,
//! `stats r` resets), and `noreply` is taken off before arguments are counted.

use super::{Refusal, text::says_noreply, tokens::Tokens};
use crate::{
    command::{Admin, AdminVerb, Classes, Command, Detail, Exptime, Lru, LruCrawler, Slabs, Stats},
    limits::{
        AUTOMOVE_WINDOW_MAX, AUTOMOVE_WINDOW_MIN, CRAWLER_SLEEP_MICROS_MAX, LRU_SHARES_PCT_MAX,
        SLAB_CLASS_MAX,
    },
    number,
    violation::Fault,
};

/// `None`: no administrative command of this name.
pub(super) fn parse<'b>(verb: &[u8], arguments: &'b [u8]) -> Option<Result<Command<'b>, Refusal>> {
    // These four do not know `noreply`; the rest does.
    let verb = match verb {
        b"version" => Ok(AdminVerb::Version),
        b"quit" => Ok(AdminVerb::Quit),
        b"stats" => stats(arguments).map(AdminVerb::Stats),
        b"watch" => watch(arguments),
        _ => return quietable(verb, arguments),
    };
    Some(admin(verb, false))
}

fn quietable<'b>(verb: &[u8], arguments: &'b [u8]) -> Option<Result<Command<'b>, Refusal>> {
    let noreply = arguments == b"noreply" || says_noreply(arguments);
    let cut = if noreply { b"noreply".len() } else { 0 };
    let arguments = arguments.get(..arguments.len() - cut).unwrap_or_default();
    let mut tokens = Tokens::new(arguments);
    let verb = match verb {
        b"cache_memlimit" => memlimit(tokens.next()),
        b"extstore" => extstore(tokens),
        b"flush_all" => flush_all(tokens.next()),
        b"lru" => lru(tokens).map(AdminVerb::Lru),
        b"lru_crawler" => lru_crawler(tokens).map(AdminVerb::LruCrawler),
        b"refresh_certs" => Ok(AdminVerb::RefreshCerts),
        b"shutdown" => shutdown(tokens.next()),
        b"slabs" => slabs(tokens).map(AdminVerb::Slabs),
        b"verbosity" => verbosity(tokens.next()),
        _ => return None,
    };
    Some(admin(verb, noreply))
}

fn admin(verb: Result<AdminVerb<'_>, Fault>, noreply: bool) -> Result<Command<'_>, Refusal> {
    match verb {
        Ok(verb) => Ok(Command::Admin(Admin { verb, noreply })),
        Err(fault) => Err(Refusal::new(fault, noreply)),
    }
}

fn memlimit<'b>(megabytes: Option<&[u8]>) -> Result<AdminVerb<'b>, Fault> {
    let megabytes = megabytes.and_then(number::unsigned).ok_or(Fault::AdminShape)?;
    Ok(AdminVerb::CacheMemlimit { megabytes })
}

/// `KEY N`, and `free_memchunks CLASS N`
fn extstore<'b>(mut tokens: Tokens<'_>) -> Result<AdminVerb<'b>, Fault> {
    let key = tokens.next();
    let value = tokens.next();
    let sound = match key {
        Some(b"free_memchunks") => is_u32(value) && is_u32(tokens.next()),
        Some(b"max_frag") => value.and_then(float).is_some(),
        Some(
            b"item_size" | b"item_age" | b"low_ttl" | b"recache_rate" | b"compact_under"
            | b"drop_under" | b"max_sleep" | b"drop_unread",
        ) => is_u32(value),
        _ => false,
    };
    if sound { Ok(AdminVerb::Extstore) } else { Err(Fault::AdminShape) }
}

fn flush_all<'b>(delay: Option<&[u8]>) -> Result<AdminVerb<'b>, Fault> {
    let delay = match delay {
        Some(token) => Exptime::from_signed(number::signed(token).ok_or(Fault::BadExptime)?),
        None => Exptime::Never,
    };
    Ok(AdminVerb::FlushAll { delay })
}

fn shutdown<'b>(mode: Option<&[u8]>) -> Result<AdminVerb<'b>, Fault> {
    match mode {
        None => Ok(AdminVerb::Shutdown { graceful: false }),
        Some(b"graceful") => Ok(AdminVerb::Shutdown { graceful: true }),
        Some(_) => Err(Fault::ShutdownMode),
    }
}

fn verbosity<'b>(level: Option<&[u8]>) -> Result<AdminVerb<'b>, Fault> {
    let level = saturating(level.ok_or(Fault::MissingArgument)?)?;
    Ok(AdminVerb::Verbosity { level })
}

/// `tune HOT WARM HOTF WARMF`, `mode flat|segmented`, `temp_ttl N`
fn lru(mut tokens: Tokens<'_>) -> Result<Lru, Fault> {
    match tokens.next() {
        Some(b"tune") => lru_tune(tokens),
        Some(b"mode") => match tokens.next() {
            Some(b"flat") => Ok(Lru::ModeFlat),
            Some(b"segmented") => Ok(Lru::ModeSegmented),
            _ => Err(Fault::AdminShape),
        },
        Some(b"temp_ttl") => {
            let secs = tokens.next().and_then(number::signed);
            secs.map(Lru::TempTtl).ok_or(Fault::AdminShape)
        }
        _ => Err(Fault::AdminShape),
    }
}

fn lru_tune(mut tokens: Tokens<'_>) -> Result<Lru, Fault> {
    let mut percent = || tokens.next().and_then(number::unsigned_u32).ok_or(Fault::AdminShape);
    let (hot_pct, warm_pct) = (percent()?, percent()?);
    let mut factor = || tokens.next().and_then(float).ok_or(Fault::AdminShape);
    let (hot_factor, warm_factor) = (factor()?, factor()?);
    if hot_pct.saturating_add(warm_pct) > LRU_SHARES_PCT_MAX {
        return Err(Fault::LruShares);
    }
    if hot_factor <= 0.0 || warm_factor <= 0.0 {
        return Err(Fault::LruFactors);
    }
    Ok(Lru::Tune { hot_pct, warm_pct, hot_factor, warm_factor })
}

fn lru_crawler(mut tokens: Tokens<'_>) -> Result<LruCrawler<'_>, Fault> {
    let (word, argument) = (tokens.next(), tokens.next());
    let number = || argument.ok_or(Fault::AdminShape);
    let crawler = match word {
        Some(b"enable") if argument.is_none() => LruCrawler::Enable,
        Some(b"disable") if argument.is_none() => LruCrawler::Disable,
        Some(b"sleep") => {
            let micros = number::unsigned_u32(number()?).ok_or(Fault::BadNumber)?;
            if micros > CRAWLER_SLEEP_MICROS_MAX {
                return Err(Fault::CrawlerSleep);
            }
            LruCrawler::Sleep(micros)
        }
        Some(b"tocrawl") => {
            LruCrawler::Tocrawl(number::unsigned_u32(number()?).ok_or(Fault::BadNumber)?)
        }
        Some(b"crawl") => LruCrawler::Crawl(classes(number()?)),
        Some(b"metadump") => LruCrawler::Metadump(classes(number()?)),
        Some(b"mgdump") => LruCrawler::Mgdump(classes(number()?)),
        _ => return Err(Fault::AdminShape),
    };
    Ok(crawler)
}

/// A bad list is told apart later: whether the crawler is on comes first.
const fn classes(token: &[u8]) -> Classes<'_> {
    match token {
        b"all" => Classes::All,
        b"hash" => Classes::Hash,
        list => Classes::List(list),
    }
}

fn slabs(mut tokens: Tokens<'_>) -> Result<Slabs, Fault> {
    match tokens.next() {
        Some(b"automove") => slabs_automove(tokens),
        Some(b"reassign") => {
            let three = (tokens.next(), tokens.next(), tokens.next());
            let (Some(source), Some(destination), None) = three else {
                return Err(Fault::AdminShape);
            };
            let source = number::signed(source).ok_or(Fault::BadNumber)?;
            let destination = number::signed(destination).ok_or(Fault::BadNumber)?;
            Ok(Slabs::Reassign { source, destination })
        }
        _ => Err(Fault::AdminShape),
    }
}

fn slabs_automove(mut tokens: Tokens<'_>) -> Result<Slabs, Fault> {
    let word = tokens.next().ok_or(Fault::AdminShape)?;
    let argument = tokens.next();
    let ratio = || argument.and_then(float).ok_or(Fault::AdminShape);
    match word {
        b"ratio" => ratio().map(Slabs::AutomoveRatio),
        b"freeratio" => ratio().map(Slabs::AutomoveFreeratio),
        b"window" => {
            let window = argument.ok_or(Fault::AdminShape)?;
            let window = number::unsigned_u32(window).ok_or(Fault::BadNumber)?;
            if (AUTOMOVE_WINDOW_MIN..=AUTOMOVE_WINDOW_MAX).contains(&window) {
                Ok(Slabs::AutomoveWindow(window))
            } else {
                Err(Fault::AutomoveWindow)
            }
        }
        level => match number::unsigned_u32(level).ok_or(Fault::BadNumber)? {
            0 => Ok(Slabs::Automove(0)),
            1 => Ok(Slabs::Automove(1)),
            2 => Ok(Slabs::Automove(2)),
            _ => Err(Fault::AdminShape),
        },
    }
}

fn stats(arguments: &[u8]) -> Result<Stats<'_>, Fault> {
    let mut tokens = Tokens::new(arguments);
    let Some(word) = tokens.next() else { return Ok(Stats::General) };
    Ok(match word {
        b"cachedump" => {
            let two = (tokens.next(), tokens.next());
            let (Some(class), Some(limit)) = two else {
                return Err(Fault::StatsCachedumpArguments);
            };
            let (class, limit) = (saturating(class)?, saturating(limit)?);
            if class > SLAB_CLASS_MAX {
                return Err(Fault::StatsIllegalSlab);
            }
            Stats::Cachedump { class, limit }
        }
        b"conns" => Stats::Conns,
        b"detail" => Stats::Detail(match tokens.next() {
            Some(b"dump") => Detail::Dump,
            Some(b"off") => Detail::Off,
            Some(b"on") => Detail::On,
            _ => return Err(Fault::StatsDetailUsage),
        }),
        b"extstore" => Stats::Extstore,
        b"items" => Stats::Items,
        b"reset" => Stats::Reset,
        b"settings" => Stats::Settings,
        b"sizes" => Stats::Sizes,
        b"slabs" => Stats::Slabs,
        other => Stats::Unknown(other),
    })
}

fn watch(streams: &[u8]) -> Result<AdminVerb<'_>, Fault> {
    let known = Tokens::new(streams).all(|stream| {
        matches!(
            stream,
            b"connevents"
                | b"deletions"
                | b"evictions"
                | b"fetchers"
                | b"mutations"
                | b"proxyevents"
                | b"proxyreqs"
                | b"proxyuser"
                | b"rawcmds"
                | b"sysevents"
        )
    });
    if known { Ok(AdminVerb::Watch { streams }) } else { Err(Fault::AdminShape) }
}

/// A number whose size beyond 32 bits makes no difference.
fn saturating(token: &[u8]) -> Result<u32, Fault> {
    let number = number::unsigned(token).ok_or(Fault::BadNumber)?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

fn is_u32(token: Option<&[u8]>) -> bool {
    token.and_then(number::unsigned_u32).is_some()
}

/// A finite number; infinity and NaN would make nonsense of every comparison they meet.
fn float(token: &[u8]) -> Option<f64> {
    let number: f64 = str::from_utf8(token).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}
