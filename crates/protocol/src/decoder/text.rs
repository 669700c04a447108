//! A text command line: which command it is, and the classic data commands.
//!
//! Invariant: a line that announces a data block either tells its length, or closes the connection.
//! A block of unknown length would otherwise run as commands, which whoever chose the data could
//! use.

use super::{
    Refusal, admin, meta,
    tokens::{Tokens, cut, last, trim},
};
use crate::{
    command::{Arithmetic, Command, Delete, Direction, Exptime, Get, Keys, Set, SetMode, Touch},
    key::Key,
    limits::{DATA_BYTES_MAX, DELETE_IGNORED_MAX, KEY_BYTES_MAX, LINE_BYTES_MIN},
    number,
    violation::Fault,
};

/// Reads a line without its end; `whole_len` counts the end too.
#[inline]
pub(super) fn parse(line: &[u8], whole_len: usize) -> Result<Command<'_>, Refusal> {
    let (verb, rest) = cut(line);
    let arguments = trim(rest);
    match verb {
        b"get" => get(arguments, false).map(Command::Get).map_err(spoken),
        b"set" => storage(arguments, SetMode::Set, false).map(Command::Set),
        b"gets" => get(arguments, true).map(Command::Get).map_err(spoken),
        b"mg" | b"ms" | b"md" | b"ma" | b"me" | b"mn" => meta::parse(verb, arguments),
        b"add" => storage(arguments, SetMode::Add, false).map(Command::Set),
        b"replace" => storage(arguments, SetMode::Replace, false).map(Command::Set),
        b"append" => storage(arguments, SetMode::Append, false).map(Command::Set),
        b"prepend" => storage(arguments, SetMode::Prepend, false).map(Command::Set),
        b"cas" => storage(arguments, SetMode::Set, true).map(Command::Set),
        b"gat" => get_and_touch(arguments, false).map(Command::Get).map_err(spoken),
        b"gats" => get_and_touch(arguments, true).map(Command::Get).map_err(spoken),
        _ => others(verb, line, arguments, whole_len),
    }
}

/// The commands that are seldom sent.
#[inline(never)]
fn others<'b>(
    verb: &[u8],
    line: &[u8],
    arguments: &'b [u8],
    whole_len: usize,
) -> Result<Command<'b>, Refusal> {
    without_block(verb, arguments)
        .or_else(|| admin::parse(verb, arguments))
        .unwrap_or_else(|| Err(unknown(line, arguments, whole_len)))
}

/// Commands that know `noreply` and have no data block; `None` for any other.
fn without_block<'b>(verb: &[u8], arguments: &'b [u8]) -> Option<Result<Command<'b>, Refusal>> {
    let noreply = says_noreply(arguments);
    let command = match verb {
        b"delete" => delete(arguments, noreply),
        b"incr" => arithmetic(arguments, noreply, Direction::Increment),
        b"decr" => arithmetic(arguments, noreply, Direction::Decrement),
        b"touch" => touch(arguments, noreply),
        _ => return None,
    };
    Some(command.map_err(|fault| Refusal::new(fault, noreply)))
}

/// A fault of a command that does not know `noreply`.
const fn spoken(fault: Fault) -> Refusal {
    Refusal::new(fault, false)
}

/// `noreply` counts only as the last token, behind at least one other argument.
pub(super) fn says_noreply(arguments: &[u8]) -> bool {
    arguments.ends_with(b" noreply")
}

fn unknown(line: &[u8], arguments: &[u8], whole_len: usize) -> Refusal {
    if whole_len < LINE_BYTES_MIN {
        return Refusal::new(Fault::LineTooShort, false);
    }
    if last(trim(line)).starts_with(b"HTTP/") {
        return Refusal::fatal(Fault::HttpRequest);
    }
    Refusal::new(Fault::UnknownCommand, last(arguments) == b"noreply")
}

/// `key [key...]`
#[inline]
pub(super) fn get(keys: &[u8], with_cas: bool) -> Result<Get<'_>, Fault> {
    Ok(Get { touch: None, with_cas, keys: checked_keys(keys)? })
}

/// `exptime key [key...]`
fn get_and_touch(arguments: &[u8], with_cas: bool) -> Result<Get<'_>, Fault> {
    let (exptime, keys) = cut(arguments);
    let keys = trim(keys);
    if keys.is_empty() {
        return Err(Fault::MissingArgument);
    }
    let touch = Some(Exptime::from_signed(number::signed(exptime).ok_or(Fault::BadExptime)?));
    Ok(Get { touch, with_cas, keys: checked_keys(keys)? })
}

/// At least one key, none of them too long.
#[inline]
fn checked_keys(keys: &[u8]) -> Result<Keys<'_>, Fault> {
    if keys.is_empty() {
        return Err(Fault::MissingArgument);
    }
    // Bound: each round takes a key off, or a blank between two.
    let mut rest = keys;
    loop {
        let (key, behind) = cut(rest);
        if key.len() > KEY_BYTES_MAX {
            return Err(Fault::KeyTooLong);
        }
        match behind.split_first() {
            Some((_, behind)) => rest = behind,
            None => return Ok(Keys::new(keys)),
        }
    }
}

/// `key flags exptime bytes [cas] [noreply]`
#[inline]
pub(super) fn storage(arguments: &[u8], mode: SetMode, is_cas: bool) -> Result<Set<'_>, Refusal> {
    let (key, fields) = cut(arguments);
    if let Some([flags, exptime, data_len]) = fields.strip_prefix(b" ").and_then(number::three)
        && let Some(key) = Key::new(key)
        && data_len <= DATA_BYTES_MAX
        && !is_cas
    {
        let exptime = Exptime::from_unsigned(exptime);
        return Ok(Set { key, mode, compare: None, flags, exptime, data_len, noreply: false });
    }
    storage_strictly(arguments, mode, is_cas)
}

/// The same, for every line.
#[inline(never)]
fn storage_strictly(arguments: &[u8], mode: SetMode, is_cas: bool) -> Result<Set<'_>, Refusal> {
    let mut tokens = Tokens::new(arguments);
    let fields = (tokens.next(), tokens.next(), tokens.next(), tokens.next());
    let (Some(key), Some(flags), Some(exptime), Some(length)) = fields else {
        return Err(Refusal::fatal(Fault::BadLength));
    };
    let Some(data_len) = data_len(length) else { return Err(Refusal::fatal(Fault::BadLength)) };
    let noreply = says_noreply(arguments);
    let mut set = || {
        let key = Key::new(key).ok_or(Fault::KeyTooLong)?;
        let flags = number::unsigned_u32(number::without_plus(flags)).ok_or(Fault::BadNumber)?;
        let exptime = number::signed(number::without_plus(exptime)).ok_or(Fault::BadNumber)?;
        let exptime = Exptime::from_signed(exptime);
        let compare = if is_cas { Some(cas_unique(tokens.next())?) } else { None };
        Ok(Set { key, mode, compare, flags, exptime, data_len, noreply })
    };
    set().map_err(|fault| Refusal::with_block(fault, noreply, data_len))
}

fn cas_unique(token: Option<&[u8]>) -> Result<u64, Fault> {
    number::unsigned(token.ok_or(Fault::MissingArgument)?).ok_or(Fault::BadNumber)
}

/// The length of a data block.
pub(super) fn data_len(token: &[u8]) -> Option<u32> {
    number::signed(token)
        .and_then(|length| u32::try_from(length).ok())
        .filter(|&length| length <= DATA_BYTES_MAX)
}

/// `key [ignored...] [noreply]`. Old PHP clients send `delete key 0`; a line with more words than
/// any client sends is no delete.
fn delete(arguments: &[u8], noreply: bool) -> Result<Command<'_>, Fault> {
    let mut tokens = Tokens::new(arguments);
    let key = key(&mut tokens)?;
    if tokens.nth(DELETE_IGNORED_MAX).is_some() {
        return Err(Fault::TooManyArguments);
    }
    Ok(Command::Delete(Delete { key, noreply }))
}

/// `key delta [noreply]`
fn arithmetic(arguments: &[u8], noreply: bool, direction: Direction) -> Result<Command<'_>, Fault> {
    let mut tokens = Tokens::new(arguments);
    let key = key(&mut tokens)?;
    let delta = tokens.next().ok_or(Fault::MissingArgument)?;
    let delta = number::unsigned(delta).ok_or(Fault::BadDelta)?;
    Ok(Command::Arithmetic(Arithmetic { key, direction, delta, noreply }))
}

/// `key exptime [noreply]`
fn touch(arguments: &[u8], noreply: bool) -> Result<Command<'_>, Fault> {
    let mut tokens = Tokens::new(arguments);
    let key = key(&mut tokens)?;
    let exptime = tokens.next().ok_or(Fault::MissingArgument)?;
    let exptime = Exptime::from_signed(number::signed(exptime).ok_or(Fault::BadExptime)?);
    Ok(Command::Touch(Touch { key, exptime, noreply }))
}

fn key<'b>(tokens: &mut Tokens<'b>) -> Result<Key<'b>, Fault> {
    Key::new(tokens.next().ok_or(Fault::MissingArgument)?).ok_or(Fault::KeyTooLong)
}
