//! The binary protocol's commands.

use kannuki_guard::{Access, Denial, Permit, action};
use kannuki_protocol::{
    binary::{Binary, BinaryStat, BinaryVerb, Status},
    command::{Detail, Direction, Exptime, SetMode, Stats},
    key::Key,
    reply::binary as reply,
};
use kannuki_store::{
    face::{FetchMiss, Refusal, Removal, Removed, Step, Stepped, Write, WriteMode, Written},
    time::Expiry,
};

use super::{Cas, Payload, Turn, classic::write_mode};
use crate::{
    VERSION,
    counters::Counter,
    memory::Reservation,
    output::{Output, value_len},
    prefixes::Tally,
    session::Next,
    stats,
};

/// Memory ran out while counting.
const OOM_STEP: &str = "Out of memory incrementing value";
/// Memory ran out while storing.
const OOM_ITEM: &str = "Out of memory allocating item";

/// Runs a command without a value; `Some` = the session cannot go on.
pub(crate) fn run(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    out: &mut Output,
) -> Option<Next> {
    let answered = match asked.verb {
        BinaryVerb::Get { key, with_key, touch } => {
            get(turn, access, asked, Lookup { key, with_key, touch }, out)
        }
        BinaryVerb::Touch { key, exptime } => {
            touch(turn, access, asked, (key, exptime), out.bytes())
        }
        BinaryVerb::Delete { key } => delete(turn, access, asked, key, out.bytes()),
        BinaryVerb::Arithmetic { .. } => arithmetic(turn, access, asked, out.bytes()),
        BinaryVerb::Flush { delay } => flush(turn, access, asked, delay, out.bytes()),
        BinaryVerb::Stat(stat) => show_stats(turn, access, asked, stat, out.bytes()),
        BinaryVerb::Noop => {
            reply::success(out.bytes(), asked.opcode, asked.opaque, 0);
            Ok(())
        }
        BinaryVerb::Version => {
            reply::text(out.bytes(), asked.opcode, asked.opaque, VERSION.as_bytes());
            Ok(())
        }
        BinaryVerb::Quit => {
            succeed(asked, 0, out.bytes());
            return Some(Next::Close);
        }
        // Without `-S` there is no login.
        _ => {
            fail(asked, Status::UnknownCommand, out.bytes());
            Ok(())
        }
    };
    if answered.is_err() {
        fail(asked, Status::Auth, out.bytes());
    }
    None
}

/// What the members of the get family differ in.
struct Lookup<'b> {
    key: Key<'b>,
    with_key: bool,
    touch: Option<Exptime>,
}

fn get(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    lookup: Lookup<'_>,
    out: &mut Output,
) -> Result<(), Denial> {
    let key = lookup.key.as_bytes();
    let shown_key = lookup.with_key.then_some(key);
    let ids = (asked.opcode, asked.opaque);
    let found = turn.look_up(access, key, lookup.touch, Cas::Shown, |hit| {
        let length = u32::try_from(value_len(&hit.value)).unwrap_or(0);
        reply::value_head(out.bytes(), ids, shown_key, hit.flags, length, hit.cas);
        out.push_value(&hit.value);
    })?;
    turn.instance.prefixes.count(key, if found.is_ok() { Tally::Hit } else { Tally::Miss });
    match found {
        Ok(()) => {}
        // It may be there, but could not get its new expiry.
        Err(FetchMiss::NoMemory) if lookup.touch.is_some() => {
            fail(asked, Status::OutOfMemory, out.bytes());
        }
        Err(_) if asked.quiet => {}
        Err(_) if lookup.with_key => {
            reply::miss_with_key(out.bytes(), asked.opcode, asked.opaque, key);
        }
        Err(_) => fail(asked, Status::NotFound, out.bytes()),
    }
    Ok(())
}

fn touch(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    (key, exptime): (Key<'_>, Exptime),
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let key = key.as_bytes();
    let touched = turn.touch(access, key, exptime, Cas::Shown)?;
    turn.instance.prefixes.count(key, if touched.is_ok() { Tally::Hit } else { Tally::Miss });
    match touched {
        Ok(touched) => {
            let ids = (asked.opcode, asked.opaque);
            reply::value_head(out, ids, None, touched.flags, 0, touched.cas);
        }
        Err(FetchMiss::NoMemory) => fail(asked, Status::OutOfMemory, out),
        Err(FetchMiss::Absent(_)) if asked.quiet => {}
        Err(FetchMiss::Absent(_)) => fail(asked, Status::NotFound, out),
    }
    Ok(())
}

fn delete(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    key: Key<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let permit = turn.permit::<action::Delete>(access, Some(key.as_bytes()))?;
    let compare = condition(asked);
    let looked = turn.instance.executor.remove(turn, permit, compare, &Removal::Remove);
    // A cas that differs is a miss in meta, and nothing here.
    if looked.outcome != Removed::Exists {
        turn.count_removed(&looked);
        turn.instance.prefixes.count(key.as_bytes(), Tally::Delete);
    }
    match looked.outcome {
        Removed::Removed { .. } => succeed(asked, 0, out),
        Removed::Exists => fail(asked, Status::Exists, out),
        Removed::NotFound | Removed::NoMemory => fail(asked, Status::NotFound, out),
    }
    Ok(())
}

fn arithmetic(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let BinaryVerb::Arithmetic { key, direction, delta, create } = asked.verb else {
        return Ok(());
    };
    let permit = turn.permit::<action::Write>(access, Some(key.as_bytes()))?;
    let expiry = |exptime: Exptime| turn.instance.clock.expiry(exptime, turn.now);
    let how = Step {
        increment: direction == Direction::Increment,
        delta,
        compare: condition(asked),
        create: create.map(|(initial, exptime)| (initial, expiry(exptime))),
        touch: None,
        new_cas: None,
        binary_key: false,
    };
    let looked = turn.instance.executor.step(turn, permit, &how, cas_of(asked));
    turn.count_stepped(how.increment, &looked);
    match looked.outcome {
        Stepped::Number { value, cas, .. } if !asked.quiet => {
            reply::number(out, asked.opcode, asked.opaque, value, cas);
        }
        Stepped::Number { .. } => {}
        Stepped::Exists => fail(asked, Status::Exists, out),
        Stepped::NotFound => fail(asked, Status::NotFound, out),
        Stepped::NonNumeric => fail(asked, Status::NonNumeric, out),
        Stepped::NoMemory => {
            let (opcode, opaque) = (asked.opcode, asked.opaque);
            reply::failure_with(out, opcode, opaque, Status::OutOfMemory, OOM_STEP);
        }
    }
    Ok(())
}

fn flush(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    delay: Exptime,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let permit = turn.permit::<action::Flush>(access, None)?;
    turn.count(Counter::CmdFlush);
    turn.instance.flush(permit, delay, turn.now);
    succeed(asked, 0, out);
    Ok(())
}

fn show_stats(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    stat: BinaryStat,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let family = match stat {
        BinaryStat::General => Stats::General,
        BinaryStat::Items => Stats::Items,
        BinaryStat::Reset => Stats::Reset,
        BinaryStat::Settings => Stats::Settings,
        BinaryStat::Sizes => Stats::Sizes,
        BinaryStat::Slabs => Stats::Slabs,
        BinaryStat::Detail(detail) => return show_detail(turn, access, asked, detail, out),
        BinaryStat::Unknown => {
            fail(asked, Status::NotFound, out);
            return Ok(());
        }
    };
    let permit = turn.permit::<action::Stats>(access, None)?;
    if family == Stats::Reset {
        let _permit = turn.permit::<action::Admin>(access, None)?;
        turn.instance.reset_stats(&permit);
    } else {
        stats::collect(turn, &permit, family, &mut |key, value| {
            reply::stat(out, asked.opaque, key.as_bytes(), value);
        });
    }
    reply::stat_end(out, asked.opaque);
    Ok(())
}

fn show_detail(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'_>,
    detail: Detail,
    out: &mut Vec<u8>,
) -> Result<(), Denial> {
    let _permit = turn.permit::<action::Dump>(access, None)?;
    let prefixes = &turn.instance.prefixes;
    match detail {
        Detail::Dump => {
            let mut table = prefixes.dump();
            table.extend_from_slice(b"END\r\n");
            reply::stat(out, asked.opaque, b"detailed", &table);
        }
        Detail::On => prefixes.enable(true),
        Detail::Off => prefixes.enable(false),
    }
    reply::stat_end(out, asked.opaque);
    Ok(())
}

/// May this value come? A refusal has been answered.
pub(crate) fn set_allowed<'b>(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Binary<'b>,
    out: &mut Vec<u8>,
) -> Option<Permit<'b, action::Write>> {
    let BinaryVerb::Set { key, .. } = asked.verb else {
        // Login data: without `-S` there is no login.
        fail(asked, Status::UnknownCommand, out);
        return None;
    };
    let permitted = turn.permit::<action::Write>(access, Some(key.as_bytes()));
    permitted.map_err(|_| fail(asked, Status::Auth, out)).ok()
}

/// Takes memory for a value that arrives in pieces; `None`: refused and answered.
pub(crate) fn set_reserve(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    asked: &Binary<'_>,
    out: &mut Vec<u8>,
) -> Option<Reservation> {
    let BinaryVerb::Set { data_len, .. } = asked.verb else { return None };
    let how = write_of(turn, asked)?;
    match turn.instance.executor.reserve(turn, permit, &how, data_len) {
        Ok(reservation) => Some(reservation),
        Err(Refusal::TooLarge) => {
            fail(asked, Status::TooLarge, out);
            None
        }
        Err(Refusal::NoMemory) => {
            fail_item(asked, out);
            None
        }
    }
}

/// The value is here: stores it.
pub(crate) fn set(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    asked: &Binary<'_>,
    payload: Payload<'_>,
    out: &mut Vec<u8>,
) {
    let BinaryVerb::Set { mode, data_len, .. } = asked.verb else { return };
    let Some(how) = write_of(turn, asked) else { return };
    match turn.store(permit, &how, cas_of(asked), data_len, payload) {
        Written::Stored { cas, .. } => succeed(asked, cas, out),
        Written::NotStored => fail(asked, not_stored(mode), out),
        Written::Exists { .. } => fail(asked, Status::Exists, out),
        Written::NotFound => fail(asked, Status::NotFound, out),
        Written::TooLarge => fail(asked, Status::TooLarge, out),
        Written::NoMemory => fail_item(asked, out),
    }
}

/// The status for a mode whose condition did not hold.
const fn not_stored(mode: SetMode) -> Status {
    match mode {
        SetMode::Add => Status::Exists,
        SetMode::Replace => Status::NotFound,
        SetMode::Append | SetMode::Prepend | SetMode::Set => Status::NotStored,
    }
}

/// Every success shows the cas unique, unless it is not said.
const fn cas_of(asked: &Binary<'_>) -> Cas {
    Cas::shown_if(!asked.quiet)
}

fn write_of(turn: &Turn<'_>, asked: &Binary<'_>) -> Option<Write> {
    let BinaryVerb::Set { mode, flags, exptime, .. } = asked.verb else { return None };
    // Without cas a condition cannot be checked: memcached stores in any case.
    let compare = condition(asked).filter(|_| turn.instance.config.cas);
    let mode = match (mode, compare) {
        // A condition makes all three a compare-and-swap.
        (SetMode::Add | SetMode::Replace | SetMode::Set, Some(_)) => WriteMode::Set,
        (mode, _) => write_mode(mode),
    };
    let expiry = match mode {
        WriteMode::Append | WriteMode::Prepend => Expiry::NEVER,
        _ => turn.instance.clock.expiry(exptime, turn.now),
    };
    Some(Write { mode, flags, expiry, compare, ..Write::PLAIN })
}

/// A cas of 0 is no condition.
const fn condition(asked: &Binary<'_>) -> Option<u64> {
    if asked.compare == 0 { None } else { Some(asked.compare) }
}

/// Success is what a quiet request does not want to hear.
fn succeed(asked: &Binary<'_>, cas: u64, out: &mut Vec<u8>) {
    if !asked.quiet {
        reply::success(out, asked.opcode, asked.opaque, cas);
    }
}

fn fail(asked: &Binary<'_>, status: Status, out: &mut Vec<u8>) {
    reply::failure(out, asked.opcode, asked.opaque, status);
}

fn fail_item(asked: &Binary<'_>, out: &mut Vec<u8>) {
    reply::failure_with(out, asked.opcode, asked.opaque, Status::OutOfMemory, OOM_ITEM);
}
