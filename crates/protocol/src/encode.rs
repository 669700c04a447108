//! Commands as bytes: the way back from [`Command`], for load generators, tests and fuzzing.
//!
//! Invariant: a command that the decoder has built decodes again to itself. (One that cannot be
//! said in its protocol, such as a text expiry time beyond the signed 32 bits, is refused when
//! read.)

use std::io::Write;

use crate::{
    command::{
        Admin, AdminVerb, Arithmetic, Classes, Command, Delete, Detail, Direction, Exptime, Get,
        Login, Lru, LruCrawler, Set, SetMode, Slabs, Stats, Touch,
    },
    meta::{Meta, MetaVerb},
    reply::decimal,
};

impl Command<'_> {
    /// Appends the command line or frame head. If the command has a data block
    /// ([`Command::data_len`]), the caller appends the block and, for all but binary commands, CR
    /// LF.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Binary(binary) => return binary.encode(out),
            Self::Admin(command) => admin(out, command),
            Self::Arithmetic(command) => arithmetic(out, command),
            Self::Delete(command) => delete(out, command),
            Self::Get(command) => get(out, command),
            Self::Login(command) => login(out, command),
            Self::Meta(command) => meta(out, command),
            Self::Set(command) => set(out, command),
            Self::Touch(command) => touch(out, command),
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn get(out: &mut Vec<u8>, get: &Get<'_>) {
    out.extend_from_slice(match (get.touch, get.with_cas) {
        (None, false) => b"get",
        (None, true) => b"gets",
        (Some(_), false) => b"gat",
        (Some(_), true) => b"gats",
    });
    if let Some(expiry) = get.touch {
        number(out, exptime(expiry));
    }
    word(out, get.keys.rest());
}

/// The words are free; these are what clients send.
fn login(out: &mut Vec<u8>, login: &Login) {
    out.extend_from_slice(b"set auth 0 0");
    number(out, login.data_len);
}

fn set(out: &mut Vec<u8>, set: &Set<'_>) {
    out.extend_from_slice(match set.mode {
        SetMode::Add => b"add",
        SetMode::Append => b"append",
        SetMode::Prepend => b"prepend",
        SetMode::Replace => b"replace",
        SetMode::Set if set.compare.is_some() => b"cas",
        SetMode::Set => b"set",
    });
    word(out, set.key.as_bytes());
    number(out, set.flags);
    number(out, exptime(set.exptime));
    number(out, set.data_len);
    if let Some(unique) = set.compare {
        number(out, unique);
    }
    noreply(out, set.noreply);
}

fn touch(out: &mut Vec<u8>, touch: &Touch<'_>) {
    out.extend_from_slice(b"touch");
    word(out, touch.key.as_bytes());
    number(out, exptime(touch.exptime));
    noreply(out, touch.noreply);
}

fn delete(out: &mut Vec<u8>, delete: &Delete<'_>) {
    out.extend_from_slice(b"delete");
    word(out, delete.key.as_bytes());
    noreply(out, delete.noreply);
}

fn arithmetic(out: &mut Vec<u8>, arithmetic: &Arithmetic<'_>) {
    out.extend_from_slice(match arithmetic.direction {
        Direction::Increment => b"incr",
        Direction::Decrement => b"decr",
    });
    word(out, arithmetic.key.as_bytes());
    number(out, arithmetic.delta);
    noreply(out, arithmetic.noreply);
}

fn meta(out: &mut Vec<u8>, meta: &Meta<'_>) {
    out.extend_from_slice(match meta.verb {
        MetaVerb::Arithmetic(_) => b"ma",
        MetaVerb::Debug => b"me",
        MetaVerb::Delete => b"md",
        MetaVerb::Get => b"mg",
        MetaVerb::Noop => b"mn",
        MetaVerb::Set { .. } => b"ms",
    });
    let Some(key) = meta.key else { return };
    word(out, key.sent());
    if let Some(data_len) = meta.data_len() {
        number(out, data_len);
    }
    // Mode, base64 mark and everything else of the other verbs stand among their tokens.
    if meta.verb == MetaVerb::Debug && key.is_base64() {
        word(out, b"b");
    }
    if !meta.flags.sent().is_empty() {
        word(out, meta.flags.sent());
    }
}

fn admin(out: &mut Vec<u8>, admin: &Admin<'_>) {
    match admin.verb {
        AdminVerb::CacheMemlimit { megabytes } => {
            out.extend_from_slice(b"cache_memlimit");
            number(out, megabytes);
        }
        AdminVerb::Extstore => out.extend_from_slice(b"extstore item_age 0"),
        AdminVerb::FlushAll { delay } => {
            out.extend_from_slice(b"flush_all");
            if delay != Exptime::Never {
                number(out, exptime(delay));
            }
        }
        AdminVerb::Lru(verb) => lru(out, verb),
        AdminVerb::LruCrawler(verb) => lru_crawler(out, verb),
        AdminVerb::Quit => out.extend_from_slice(b"quit"),
        AdminVerb::RefreshCerts => out.extend_from_slice(b"refresh_certs"),
        AdminVerb::Shutdown { graceful: false } => out.extend_from_slice(b"shutdown"),
        AdminVerb::Shutdown { graceful: true } => out.extend_from_slice(b"shutdown graceful"),
        AdminVerb::Slabs(verb) => slabs(out, verb),
        AdminVerb::Stats(verb) => stats(out, verb),
        AdminVerb::Verbosity { level } => {
            out.extend_from_slice(b"verbosity");
            number(out, level);
        }
        AdminVerb::Version => out.extend_from_slice(b"version"),
        AdminVerb::Watch { streams } => {
            out.extend_from_slice(b"watch");
            word(out, streams);
        }
    }
    noreply(out, admin.noreply);
}

fn lru(out: &mut Vec<u8>, verb: Lru) {
    match verb {
        Lru::ModeFlat => out.extend_from_slice(b"lru mode flat"),
        Lru::ModeSegmented => out.extend_from_slice(b"lru mode segmented"),
        Lru::TempTtl(secs) => {
            out.extend_from_slice(b"lru temp_ttl");
            number(out, secs);
        }
        Lru::Tune { hot_pct, warm_pct, hot_factor, warm_factor } => {
            out.extend_from_slice(b"lru tune");
            number(out, hot_pct);
            number(out, warm_pct);
            float(out, hot_factor);
            float(out, warm_factor);
        }
    }
}

fn lru_crawler(out: &mut Vec<u8>, verb: LruCrawler<'_>) {
    out.extend_from_slice(b"lru_crawler");
    let mut of_classes = |name: &[u8], classes: Classes<'_>| {
        word(out, name);
        word(
            out,
            match classes {
                Classes::All => b"all",
                Classes::Hash => b"hash",
                Classes::List(list) => list,
            },
        );
    };
    match verb {
        LruCrawler::Crawl(classes) => of_classes(b"crawl", classes),
        LruCrawler::Metadump(classes) => of_classes(b"metadump", classes),
        LruCrawler::Mgdump(classes) => of_classes(b"mgdump", classes),
        LruCrawler::Disable => word(out, b"disable"),
        LruCrawler::Enable => word(out, b"enable"),
        LruCrawler::Sleep(micros) => {
            word(out, b"sleep");
            number(out, micros);
        }
        LruCrawler::Tocrawl(items) => {
            word(out, b"tocrawl");
            number(out, items);
        }
    }
}

fn slabs(out: &mut Vec<u8>, verb: Slabs) {
    match verb {
        Slabs::Automove(level) => {
            out.extend_from_slice(b"slabs automove");
            number(out, level);
        }
        Slabs::AutomoveFreeratio(ratio) => {
            out.extend_from_slice(b"slabs automove freeratio");
            float(out, ratio);
        }
        Slabs::AutomoveRatio(ratio) => {
            out.extend_from_slice(b"slabs automove ratio");
            float(out, ratio);
        }
        Slabs::AutomoveWindow(secs) => {
            out.extend_from_slice(b"slabs automove window");
            number(out, secs);
        }
        Slabs::Reassign { source, destination } => {
            out.extend_from_slice(b"slabs reassign");
            number(out, source);
            number(out, destination);
        }
    }
}

fn stats(out: &mut Vec<u8>, verb: Stats<'_>) {
    out.extend_from_slice(b"stats");
    match verb {
        Stats::General => {}
        Stats::Cachedump { class, limit } => {
            word(out, b"cachedump");
            number(out, class);
            number(out, limit);
        }
        Stats::Conns => word(out, b"conns"),
        Stats::Detail(detail) => {
            word(out, b"detail");
            word(
                out,
                match detail {
                    Detail::Dump => b"dump",
                    Detail::Off => b"off",
                    Detail::On => b"on",
                },
            );
        }
        Stats::Extstore => word(out, b"extstore"),
        Stats::Items => word(out, b"items"),
        Stats::Reset => word(out, b"reset"),
        Stats::Settings => word(out, b"settings"),
        Stats::Sizes => word(out, b"sizes"),
        Stats::Slabs => word(out, b"slabs"),
        Stats::Unknown(name) => word(out, name),
    }
}

/// As the text protocols write it.
fn exptime(exptime: Exptime) -> i64 {
    match exptime {
        Exptime::Never => 0,
        Exptime::Passed => -1,
        Exptime::In(secs) | Exptime::At(secs) => i64::from(secs),
    }
}

fn word(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(word);
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.push(b' ');
    decimal(out, number);
}

fn float(out: &mut Vec<u8>, number: f64) {
    // The shortest form that reads back to the same number. Writing to a vector cannot fail.
    let _ = write!(out, " {number}");
}

fn noreply(out: &mut Vec<u8>, noreply: bool) {
    if noreply {
        word(out, b"noreply");
    }
}
