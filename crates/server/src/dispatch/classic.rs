//! The classic text commands on items: get and kin, set and kin, touch, delete, incr, decr.

use kannuki_guard::{Access, Denial, Permit, Response, action};
use kannuki_protocol::{
    command::{Arithmetic, Delete, Direction, Exptime, Keys, Set, SetMode, Touch},
    key::Key,
    reply::text::{self, Line},
};
use kannuki_store::{
    class::{class_of, item_size},
    face::{
        Fetch, FetchMiss, Hit, Looked, Refusal, Removal, Removed, Step, Stepped, Write, WriteMode,
        Written,
    },
};

use super::{Cas, Payload, Touched, Turn};
use crate::{
    counters::{ClassCounter, Counter},
    limits::KEYS_PER_STEP,
    memory::{Chain, Reservation},
    output::{Output, value_len},
    prefixes::Tally,
};

/// What `get`, `gets`, `gat` and `gats` differ in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing {
    /// New expiry of every item found.
    pub touch: Option<Exptime>,
    /// Show the cas unique.
    pub with_cas: bool,
    /// The list had one key only: a denial is said, not hidden as a miss.
    pub single: bool,
}

/// Answers some more keys; `true` = the list has ended and `END` is said. `false` = `out` is full,
/// or others should have their turn first.
pub(crate) fn get(
    turn: &Turn<'_>,
    access: &Access,
    listing: Listing,
    keys: &mut Keys<'_>,
    out: &mut Output,
) -> bool {
    for _ in 0..KEYS_PER_STEP {
        let Some(key) = keys.next() else {
            Line::End.encode(out.bytes());
            return true;
        };
        let answered = get_one(turn, access, listing, key, out);
        // Of several keys, one that cannot be shown is left out like one that is not there.
        if listing.single && say_why_not(&answered, listing, out.bytes()) {
            return true;
        }
        if out.is_full() {
            return false;
        }
    }
    false
}

fn get_one(
    turn: &Turn<'_>,
    access: &Access,
    listing: Listing,
    key: Key<'_>,
    out: &mut Output,
) -> Result<Result<(), FetchMiss>, Denial> {
    let key = key.as_bytes();
    let shown = Cas::shown_if(listing.with_cas);
    let found = turn.look_up(access, key, listing.touch, shown, |hit| {
        let cas = listing.with_cas.then_some(hit.cas);
        text::value_head(out.bytes(), key, hit.flags, value_len(&hit.value), cas);
        out.push_value(&hit.value);
        out.bytes().extend_from_slice(b"\r\n");
    })?;
    turn.instance.prefixes.count(key, if found.is_ok() { Tally::Hit } else { Tally::Miss });
    Ok(found)
}

/// Says why an item is not shown, if it is for another reason than that it is not there.
fn say_why_not(
    answered: &Result<Result<(), FetchMiss>, Denial>,
    listing: Listing,
    out: &mut Vec<u8>,
) -> bool {
    match answered {
        Err(denial) => deny(denial, out),
        // It may be there, but could not get its new expiry.
        Ok(Err(FetchMiss::NoMemory)) if listing.touch.is_some() => Line::Oom.encode(out),
        Ok(_) => return false,
    }
    true
}

impl Turn<'_> {
    /// Shows an item to `show`, with `touch` after giving it that expiry; counts.
    pub(super) fn look_up(
        &self,
        access: &Access,
        key: &[u8],
        touch: Option<Exptime>,
        cas: Cas,
        show: impl FnOnce(&Hit<'_, Chain>),
    ) -> Result<Result<(), FetchMiss>, Denial> {
        let show = |hit: &Hit<'_, Chain>| {
            show(hit);
            hit.class
        };
        let executor = &self.instance.executor;
        let looked_up = match touch {
            None => {
                let permit = self.permit::<action::Read>(access, Some(key))?;
                executor.read(self, permit, &Fetch::default(), cas, show)
            }
            Some(exptime) => {
                let read = self.permit::<action::Read>(access, Some(key))?;
                let write = self.permit::<action::Write>(access, Some(key))?;
                let touch = Some(self.instance.clock.expiry(exptime, self.now));
                let how = Fetch { touch, ..Fetch::default() };
                executor.read_and_change(self, (read, write), &how, cas, show)
            }
        };
        let looked_up = looked_up.inspect_err(|&miss| self.count_miss(miss));
        self.count_looked_up(touch.is_some(), looked_up.ok());
        Ok(looked_up.map(|_class| ()))
    }

    /// Gives an item another expiry; counts.
    pub(super) fn touch(
        &self,
        access: &Access,
        key: &[u8],
        exptime: Exptime,
        cas: Cas,
    ) -> Result<Result<Touched, FetchMiss>, Denial> {
        let permit = self.permit::<action::Write>(access, Some(key))?;
        let touch = Some(self.instance.clock.expiry(exptime, self.now));
        let how = Fetch { touch, ..Fetch::default() };
        let touched = self.instance.executor.touch(self, permit, &how, cas);
        let touched = touched.inspect_err(|&miss| self.count_miss(miss));
        self.count_looked_up(true, touched.ok().map(|touched| touched.class));
        Ok(touched)
    }

    /// One key looked up: as a touch or as a get, found in a class or not.
    pub(super) fn count_looked_up(&self, touch: bool, class: Option<u8>) {
        let (command, hit, miss, of_class) = if touch {
            (Counter::CmdTouch, Counter::TouchHits, Counter::TouchMisses, ClassCounter::TouchHits)
        } else {
            (Counter::CmdGet, Counter::GetHits, Counter::GetMisses, ClassCounter::GetHits)
        };
        self.count(command);
        match class {
            Some(class) => {
                self.count(hit);
                self.count_class(class, of_class);
            }
            None => self.count(miss),
        }
    }

    /// A store that had memory, whatever its outcome.
    pub(crate) fn count_store(&self, key: &[u8], value_bytes: u32, flags: u32) {
        let cas = self.instance.config.cas;
        let size = item_size(key.len(), value_bytes, flags, cas);
        self.count(Counter::CmdSet);
        self.count_class(class_of(size), ClassCounter::CmdSet);
    }

    /// A value was refused: counted for text and meta alone, as in memcached.
    pub(super) fn count_not_taken(&self, written: Written) {
        match written {
            Written::TooLarge => self.count(Counter::StoreTooLarge),
            Written::NoMemory => self.count(Counter::StoreNoMemory),
            _ => {}
        }
    }

    /// Stores a value that is here, and counts what came of it, refusals excepted.
    pub(super) fn store(
        &self,
        permit: Permit<'_, action::Write>,
        how: &Write,
        cas: Cas,
        value_bytes: u32,
        payload: Payload<'_>,
    ) -> Written {
        let key = permit.key().unwrap_or_default();
        let looked = self.instance.executor.write(self, permit, how, cas, payload);
        let looked = self.as_not_stored(key, how, value_bytes, looked);
        self.count_written(key, how, value_bytes, &looked);
        looked.outcome
    }

    /// An append that fits by itself and not together with what is there: memcached says that it
    /// was not stored, and not why.
    fn as_not_stored(
        &self,
        key: &[u8],
        how: &Write,
        value_bytes: u32,
        looked: Looked<Written>,
    ) -> Looked<Written> {
        let config = &self.instance.config;
        let joins = matches!(how.mode, WriteMode::Append | WriteMode::Prepend);
        let alone = item_size(key.len(), value_bytes, how.flags, config.cas);
        if joins && looked.outcome == Written::TooLarge && alone <= config.item_bytes_max {
            return Looked { outcome: Written::NotStored, ..looked };
        }
        looked
    }

    fn count_written(&self, key: &[u8], how: &Write, value_bytes: u32, looked: &Looked<Written>) {
        self.count_absent(looked.absent);
        match looked.outcome {
            Written::TooLarge | Written::NoMemory => return,
            _ => self.count_store(key, value_bytes, how.flags),
        }
        // A condition on the other modes is honoured, and not counted.
        if how.compare.is_none() || !matches!(how.mode, WriteMode::Set | WriteMode::Replace) {
            return;
        }
        match looked.outcome {
            Written::Stored { class, .. } => {
                self.count(Counter::CasHits);
                self.count_class(class, ClassCounter::CasHits);
            }
            Written::Exists { class } => {
                self.count(Counter::CasBadval);
                self.count_class(class, ClassCounter::CasBadval);
            }
            Written::NotFound => self.count(Counter::CasMisses),
            _ => {}
        }
    }

    /// Why a value was not even taken in.
    pub(super) fn count_refused(&self, refusal: Refusal) {
        self.count(match refusal {
            Refusal::TooLarge => Counter::StoreTooLarge,
            Refusal::NoMemory => Counter::StoreNoMemory,
        });
    }
}

/// The store's word for a mode.
pub(super) const fn write_mode(mode: SetMode) -> WriteMode {
    match mode {
        SetMode::Add => WriteMode::Add,
        SetMode::Append => WriteMode::Append,
        SetMode::Prepend => WriteMode::Prepend,
        SetMode::Replace => WriteMode::Replace,
        SetMode::Set => WriteMode::Set,
    }
}

fn write_of(turn: &Turn<'_>, set: &Set<'_>) -> Write {
    Write {
        mode: write_mode(set.mode),
        flags: set.flags,
        expiry: turn.instance.clock.expiry(set.exptime, turn.now),
        compare: set.compare,
        ..Write::PLAIN
    }
}

/// May this value come? A refusal has been answered.
pub(crate) fn set_allowed<'b>(
    turn: &Turn<'_>,
    access: &Access,
    set: &Set<'b>,
    out: &mut Vec<u8>,
) -> Option<Permit<'b, action::Write>> {
    let permitted = turn.permit::<action::Write>(access, Some(set.key.as_bytes()));
    permitted.map_err(|denial| say(set.noreply, out, |out| deny(&denial, out))).ok()
}

/// Takes memory for a value that arrives in pieces; `None`: refused and answered.
pub(crate) fn set_reserve(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    set: &Set<'_>,
    out: &mut Vec<u8>,
) -> Option<Reservation> {
    let how = write_of(turn, set);
    let refusal = match turn.instance.executor.reserve(turn, permit, &how, set.data_len) {
        Ok(reservation) => return Some(reservation),
        Err(refusal) => refusal,
    };
    turn.count_refused(refusal);
    say(set.noreply, out, |out| refusal_line(refusal).encode(out));
    None
}

/// The line for a value that was not taken in.
pub(super) const fn refusal_line(refusal: Refusal) -> Line {
    match refusal {
        Refusal::TooLarge => Line::TooLarge,
        Refusal::NoMemory => Line::OomStore,
    }
}

/// The value is here: stores it.
pub(crate) fn set(
    turn: &Turn<'_>,
    permit: Permit<'_, action::Write>,
    set: &Set<'_>,
    payload: Payload<'_>,
    out: &mut Vec<u8>,
) {
    let how = write_of(turn, set);
    let written = turn.store(permit, &how, Cas::Hidden, set.data_len, payload);
    turn.count_not_taken(written);
    let line = match written {
        Written::Stored { .. } => Line::Stored,
        Written::NotStored => Line::NotStored,
        Written::Exists { .. } => Line::Exists,
        Written::NotFound => Line::NotFound,
        Written::TooLarge => Line::TooLarge,
        Written::NoMemory => Line::OomStore,
    };
    say(set.noreply, out, |out| line.encode(out));
}

/// `touch`
pub(crate) fn touch(turn: &Turn<'_>, access: &Access, touch: &Touch<'_>, out: &mut Vec<u8>) {
    let found = turn.touch(access, touch.key.as_bytes(), touch.exptime, Cas::Hidden);
    say(touch.noreply, out, |out| match found {
        Ok(Ok(_)) => Line::Touched.encode(out),
        Ok(Err(FetchMiss::NoMemory)) => Line::Oom.encode(out),
        Ok(Err(FetchMiss::Absent(_))) => Line::NotFound.encode(out),
        Err(denial) => deny(&denial, out),
    });
}

/// `delete`
pub(crate) fn delete(turn: &Turn<'_>, access: &Access, delete: &Delete<'_>, out: &mut Vec<u8>) {
    let key = delete.key.as_bytes();
    let permit = match turn.permit::<action::Delete>(access, Some(key)) {
        Ok(permit) => permit,
        Err(denial) => return say(delete.noreply, out, |out| deny(&denial, out)),
    };
    let looked = turn.instance.executor.remove(turn, permit, None, &Removal::Remove);
    turn.count_removed(&looked);
    turn.instance.prefixes.count(key, Tally::Delete);
    let removed = matches!(looked.outcome, Removed::Removed { .. });
    let line = if removed { Line::Deleted } else { Line::NotFound };
    say(delete.noreply, out, |out| line.encode(out));
}

impl Turn<'_> {
    /// The outcome of a plain delete, as counters.
    pub(super) fn count_removed(&self, looked: &Looked<Removed>) {
        self.count_absent(looked.absent);
        match looked.outcome {
            Removed::Removed { class } => {
                self.count(Counter::DeleteHits);
                self.count_class(class, ClassCounter::DeleteHits);
            }
            _ => self.count(Counter::DeleteMisses),
        }
    }

    /// The outcome of an increment or decrement, as counters.
    pub(super) fn count_stepped(&self, increment: bool, looked: &Looked<Stepped>) {
        self.count_absent(looked.absent);
        let (hits, misses, of_class) = if increment {
            (Counter::IncrHits, Counter::IncrMisses, ClassCounter::IncrHits)
        } else {
            (Counter::DecrHits, Counter::DecrMisses, ClassCounter::DecrHits)
        };
        match looked.outcome {
            Stepped::Number { created: false, class, .. } => {
                self.count(hits);
                self.count_class(class, of_class);
            }
            Stepped::NotFound => self.count(misses),
            _ => {}
        }
    }
}

/// `incr`, `decr`
pub(crate) fn arithmetic(
    turn: &Turn<'_>,
    access: &Access,
    asked: &Arithmetic<'_>,
    out: &mut Vec<u8>,
) {
    let permit = match turn.permit::<action::Write>(access, Some(asked.key.as_bytes())) {
        Ok(permit) => permit,
        Err(denial) => return say(asked.noreply, out, |out| deny(&denial, out)),
    };
    let how = Step {
        increment: asked.direction == Direction::Increment,
        delta: asked.delta,
        compare: None,
        create: None,
        touch: None,
        new_cas: None,
        binary_key: false,
    };
    let looked = turn.instance.executor.step(turn, permit, &how, Cas::Hidden);
    turn.count_stepped(how.increment, &looked);
    say(asked.noreply, out, |out| match looked.outcome {
        Stepped::Number { value, .. } => text::number(out, value),
        Stepped::NotFound | Stepped::Exists => Line::NotFound.encode(out),
        Stepped::NonNumeric => Line::NonNumeric.encode(out),
        Stepped::NoMemory => Line::Oom.encode(out),
    });
}

/// Says it, unless the peer asked for silence.
pub(super) fn say(noreply: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if !noreply {
        write(out);
    }
}

/// What a refused peer reads, in the text protocols.
pub(crate) fn deny(denial: &Denial, out: &mut Vec<u8>) {
    let line = match denial.response {
        Response::FlushNotAllowed => Line::FlushNotAllowed,
        Response::DumpNotAllowed => Line::MetadumpNotAllowed,
        Response::WatchNotAllowed => Line::WatchNotAllowed,
        Response::ShutdownNotEnabled => Line::ShutdownNotEnabled,
        Response::Unauthenticated => Line::Unauthenticated,
        _ => Line::AccessDenied,
    };
    line.encode(out);
}
