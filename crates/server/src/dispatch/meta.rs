//! The meta commands: `mn`, `me`, `mg`, `ms`, `md`, `ma`.

use kannuki_guard::{Access, Denial, Permit, action};
use kannuki_protocol::{
    command::{Direction, Exptime, SetMode},
    key::Key,
    limits::KEY_BYTES_MAX,
    meta::{Meta, MetaVerb},
    reply::{
        fits_a_line,
        meta::{self as reply, Answer, Code, Debug},
        text::Line,
    },
};
use kannuki_store::{
    face::{
        Fetch, FetchMiss, Hit, Leases, Removal, Removed, Step, Stepped, Vivify, Write, Written,
    },
    time::{Expiry, Now},
};

use super::{
    Cas, Payload, Turn,
    classic::{deny, refusal_line, write_mode},
};
use crate::{
    counters::Counter,
    memory::{Chain, Reservation},
    output::{Output, value_len},
};

/// Runs a command without a data block.
pub(crate) fn run(turn: &Turn<'_>, access: &Access, asked: &Meta<'_>, out: &mut Output) {
    let mut room = [0; KEY_BYTES_MAX];
    let Some(key) = asked.key.as_ref().and_then(|key| key.raw(&mut room)) else {
        return reply::noop(out.bytes());
    };
    let answered = match asked.verb {
        MetaVerb::Debug => debug(turn, access, key, out.bytes()),
        MetaVerb::Get => get(turn, access, asked, key, out),
        MetaVerb::Delete => delete(turn, access, asked, key, out.bytes()),
        MetaVerb::Arithmetic(direction) => {
            arithmetic(turn, access, asked, key, direction, out.bytes())
        }
        // `mn` has no key, and `ms` a data block.
        MetaVerb::Noop | MetaVerb::Set { .. } => Ok(()),
    };
    if let Err(denial) = answered {
        deny(&denial, out.bytes());
    }
}

fn debug(turn: &Turn<'_>, access: &Access, key: Key<'_>, out: &mut Vec<u8>) -> Result<(), Denial> {
    let permit = turn.permit::<action::Read>(access, Some(key.as_bytes()))?;
    turn.count(Counter::CmdMeta);
    let now = turn.now;
    let how = Fetch { no_bump: true, ..Fetch::default() };
    let found = turn.instance.executor.read(turn, permit, &how, Cas::Shown, |hit| {
        let debug = Debug {
            key: key.as_bytes(),
            base64_key: hit.binary_key || !fits_a_line(key.as_bytes()),
            ttl_secs: secs_left(hit.expiry, now),
            last_access_secs: secs_since(hit.last_access, now),
            cas: hit.cas,
            fetched: hit.fetched,
            class: u32::from(hit.class),
            size: hit.item_bytes as usize,
        };
        debug.encode(out);
    });
    if let Err(miss) = found {
        turn.count_miss(miss);
        Line::EndMeta.encode(out);
    }
    Ok(())
}

fn get(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Meta<'_>,
    key: Key<'_>,
    out: &mut Output,
) -> Result<(), Denial> {
    let now = turn.now;
    let flags = &asked.flags;
    let executor = &turn.instance.executor;
    // A key that only base64 can say is never shown otherwise, however it was stored.
    let unfit = asked.key.is_some_and(|key| key.is_base64()) && !fits_a_line(key.as_bytes());
    let key = Some(key.as_bytes());
    let show = |hit: &Hit<'_, Chain>| {
        show_hit(asked, hit, unfit, now, out);
        (hit.class, hit.created.then_some(hit.absent))
    };
    let read = turn.permit::<action::Read>(access, key)?;
    let write = if flags.ttl.is_some() || flags.vivify.is_some() {
        Some(turn.permit::<action::Write>(access, key)?)
    } else {
        turn.may_write(access, key)
    };
    let (how, cas) = (fetch_of(turn, asked), cas_of(asked));
    let found = match write {
        Some(write) => executor.read_and_change(turn, (read, write), &how, cas, show),
        // A stale item is shown as stale, and to be refilled by somebody who may.
        None => executor.read(turn, read, &how, cas, show),
    };
    match found {
        Ok((class, created)) => {
            turn.count_absent(created.flatten());
            turn.count_looked_up(flags.ttl.is_some(), Some(class));
        }
        Err(FetchMiss::NoMemory) => Line::Oom.encode(out.bytes()),
        Err(miss) => {
            turn.count_miss(miss);
            turn.count_looked_up(false, None);
            say(asked, Code::En, &Answer::default(), out.bytes());
        }
    }
    Ok(())
}

fn fetch_of(turn: &Turn<'_>, asked: &Meta<'_>) -> Fetch {
    let flags = &asked.flags;
    let expiry = |exptime: Exptime| turn.instance.clock.expiry(exptime, turn.now);
    Fetch {
        touch: flags.ttl.map(expiry),
        no_bump: flags.no_bump,
        vivify: flags.vivify.map(|exptime| Vivify {
            expiry: expiry(exptime),
            new_cas: flags.new_cas,
            binary_key: asked.key.is_some_and(|key| key.is_base64()),
        }),
        recache_below_secs: flags.recache_below_secs,
        leases: Leases::Taken,
    }
}

fn show_hit(asked: &Meta<'_>, hit: &Hit<'_, Chain>, unfit: bool, now: Now, out: &mut Output) {
    let flags = &asked.flags;
    let expiry = if flags.ttl_before_return { hit.expiry } else { hit.expiry_before };
    let answer = Answer {
        cas: hit.cas,
        client_flags: hit.flags,
        fetched: hit.fetched,
        last_access_secs: secs_since(hit.last_access, now),
        size: value_len(&hit.value),
        ttl_secs: secs_left(expiry, now),
        base64_key: hit.binary_key || unfit,
        token_sent: hit.lease.token_sent,
        stale: hit.lease.stale,
        won: hit.lease.won,
    };
    let unchanged = flags.compare == Some(hit.cas) && hit.cas != 0;
    if flags.value && !unchanged {
        reply::line(out.bytes(), asked, Code::Va { size: value_len(&hit.value) }, &answer);
        out.push_value(&hit.value);
        out.bytes().extend_from_slice(b"\r\n");
    } else {
        reply::line(out.bytes(), asked, Code::Hd, &answer);
    }
}

fn delete(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Meta<'_>,
    key: Key<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let flags = &asked.flags;
    let permit = turn.permit::<action::Delete>(access, Some(key.as_bytes()))?;
    if flags.remove_value || flags.invalidate {
        // The item stays, with another value, lifetime, client flags or cas unique.
        let _may_write = turn.permit::<action::Write>(access, Some(key.as_bytes()))?;
    }
    let expiry = flags.ttl.map(|ttl| turn.instance.clock.expiry(ttl, turn.now));
    let how = if flags.remove_value {
        Removal::Empty {
            flags: flags.client_flags.unwrap_or(0),
            expiry: expiry.unwrap_or(Expiry::NEVER),
            new_cas: flags.new_cas,
            stale: flags.invalidate,
        }
    } else if flags.invalidate {
        Removal::MarkStale { expiry, new_cas: flags.new_cas }
    } else {
        Removal::Remove
    };
    let looked = turn.instance.executor.remove(turn, permit, flags.compare, &how);
    let marked = matches!(how, Removal::MarkStale { .. });
    if marked && matches!(looked.outcome, Removed::Removed { .. }) {
        // Marking an item stale is neither a delete hit nor a miss.
        turn.count_absent(looked.absent);
    } else {
        turn.count_removed(&looked);
    }
    let code = match looked.outcome {
        Removed::Removed { .. } => Code::Hd,
        Removed::Exists => Code::Ex,
        Removed::NotFound => Code::Nf,
        Removed::NoMemory => {
            Line::Oom.encode(out);
            return Ok(());
        }
    };
    say(asked, code, &Answer::default(), out);
    Ok(())
}

fn arithmetic(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Meta<'_>,
    key: Key<'_>,
    direction: Direction,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let permit = turn.permit::<action::Write>(access, Some(key.as_bytes()))?;
    let flags = &asked.flags;
    let expiry = |exptime: Exptime| turn.instance.clock.expiry(exptime, turn.now);
    let how = Step {
        increment: direction == Direction::Increment,
        delta: flags.delta.unwrap_or(1),
        // `C0` is no condition here, unlike in `ms` and `md`.
        compare: flags.compare.filter(|&cas| cas != 0),
        create: flags.vivify.map(|ttl| (flags.initial.unwrap_or(0), expiry(ttl))),
        touch: flags.ttl.map(expiry),
        new_cas: flags.new_cas,
        binary_key: asked.key.is_some_and(|key| key.is_base64()),
    };
    let looked = turn.instance.executor.step(turn, permit, &how, cas_of(asked));
    turn.count_stepped(how.increment, &looked);
    match looked.outcome {
        Stepped::Number { value, cas, expiry, .. } => {
            let answer = Answer { cas, ttl_secs: secs_left(expiry, turn.now), ..Answer::default() };
            number(asked, value, &answer, out);
        }
        Stepped::Exists => say(asked, Code::Ex, &Answer::default(), out),
        Stepped::NotFound => say(asked, Code::Nf, &Answer::default(), out),
        Stepped::NonNumeric => Line::NonNumeric.encode(out),
        Stepped::NoMemory if looked.absent.is_some() => Line::OomNewItem.encode(out),
        Stepped::NoMemory => Line::Oom.encode(out),
    }
    Ok(())
}

fn number(asked: &Meta<'_>, value: u64, answer: &Answer, out: &mut Vec<u8>) {
    if !asked.flags.value {
        return say(asked, Code::Hd, answer, out);
    }
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    let code = Code::Va { size: digits.len() };
    if reply::is_dropped(asked, code) {
        return;
    }
    reply::line(out, asked, code, answer);
    out.extend_from_slice(digits);
    out.extend_from_slice(b"\r\n");
}

/// May this value come? A refusal has been answered.
pub(crate) fn set_allowed<'r>(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Meta<'r>,
    room: &'r mut [u8; KEY_BYTES_MAX],
    out: &mut Vec<u8>,
) -> Option<Permit<'r, action::Write>> {
    let key = asked.key.as_ref().and_then(|key| key.raw(room)).map(Key::as_bytes);
    turn.permit::<action::Write>(access, key).map_err(|denial| deny(&denial, out)).ok()
}

/// Takes memory for a value that arrives in pieces; `None`: refused and answered.
pub(crate) fn set_reserve(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    asked: &Meta<'_>,
    out: &mut Vec<u8>,
) -> Option<Reservation> {
    let MetaVerb::Set { data_len, .. } = asked.verb else { return None };
    let how = write_of(turn, asked);
    match turn.instance.executor.reserve(turn, permit, &how, data_len) {
        Ok(reservation) => Some(reservation),
        Err(refusal) => {
            turn.count_refused(refusal);
            refusal_line(refusal).encode(out);
            None
        }
    }
}

/// The value of an `ms` is here: stores it.
pub(crate) fn set(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    asked: &Meta<'_>,
    payload: Payload<'_>,
    out: &mut Vec<u8>,
) {
    let MetaVerb::Set { data_len, .. } = asked.verb else { return };
    let how = write_of(turn, asked);
    let written = turn.store(permit, &how, cas_of(asked), data_len, payload);
    turn.count_not_taken(written);
    say_written(asked, written, data_len, out);
}

fn say_written(asked: &Meta<'_>, written: Written, sent: u32, out: &mut Vec<u8>) {
    let base64_key = asked.key.is_some_and(|key| key.is_base64());
    let refused = Answer { size: sent as usize, base64_key, ..Answer::default() };
    match written {
        Written::Stored { cas, value_bytes, .. } => {
            let answer = Answer { cas, size: value_bytes as usize, ..refused };
            say(asked, Code::Hd, &answer, out);
        }
        Written::NotStored => say(asked, Code::Ns, &refused, out),
        Written::Exists { .. } => say(asked, Code::Ex, &refused, out),
        Written::NotFound => say(asked, Code::Nf, &refused, out),
        Written::TooLarge => Line::TooLarge.encode(out),
        Written::NoMemory => Line::OomStore.encode(out),
    }
}

/// `c` shows the cas unique, `E` chooses it.
const fn cas_of(asked: &Meta<'_>) -> Cas {
    Cas::shown_if(asked.flags.cas || asked.flags.new_cas.is_some())
}

fn write_of(turn: &Turn<'_>, asked: &Meta<'_>) -> Write {
    let flags = &asked.flags;
    let mode = match asked.verb {
        MetaVerb::Set { mode, .. } => mode,
        _ => SetMode::Set,
    };
    let expiry = |exptime: Exptime| turn.instance.clock.expiry(exptime, turn.now);
    Write {
        mode: write_mode(mode),
        flags: flags.client_flags.unwrap_or(0),
        expiry: flags.ttl.map_or(Expiry::NEVER, expiry),
        compare: flags.compare,
        accept_stale: flags.invalidate,
        new_cas: flags.new_cas,
        vivify: flags.vivify.map(expiry),
        binary_key: asked.key.is_some_and(|key| key.is_base64()),
    }
}

/// A block with a wrong terminator still counts as a store: it had memory.
pub(crate) fn count_bad_block(turn: &Turn<'_>, asked: &Meta<'_>) {
    let mut room = [0; KEY_BYTES_MAX];
    let key = asked.key.as_ref().and_then(|key| key.raw(&mut room));
    if let (Some(key), MetaVerb::Set { data_len, .. }) = (key, asked.verb) {
        turn.count_store(key.as_bytes(), data_len, asked.flags.client_flags.unwrap_or(0));
    }
}

/// Says it, unless `q` drops it.
fn say(asked: &Meta<'_>, code: Code, answer: &Answer, out: &mut Vec<u8>) {
    if !reply::is_dropped(asked, code) {
        reply::line(out, asked, code, answer);
    }
}

fn secs_left(expiry: Expiry, now: Now) -> Option<u32> {
    expiry.second().map(|second| second.saturating_sub(now.0))
}

fn secs_since(then: Now, now: Now) -> u32 {
    now.0.saturating_sub(then.0)
}
