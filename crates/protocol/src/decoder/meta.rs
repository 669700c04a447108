//! The meta commands `mn me mg ms md ma`.
//!
//! Flags are read from left to right. An unknown or repeated letter ends the reading; of several
//! bad arguments the last one names the fault.

use super::{Refusal, text::data_len, tokens::Tokens};
use crate::{
    command::{Command, Direction, Exptime, SetMode},
    key::Key,
    limits::{META_OPAQUE_BYTES_MAX, META_TOKENS_MAX},
    meta::{Meta, MetaFlags, MetaKey, MetaVerb},
    number,
    violation::Fault,
};

/// Reads what stands behind the verb.
pub(super) fn parse<'b>(verb: &[u8], arguments: &'b [u8]) -> Result<Command<'b>, Refusal> {
    let plain = |fault| Refusal::new(fault, false);
    let meta = match verb {
        b"mn" => noop(),
        b"me" => debug(arguments).map_err(plain)?,
        b"ms" => return set(arguments).map(Command::Meta),
        b"mg" => keyed(arguments, Family::Get).map_err(plain)?,
        b"md" => keyed(arguments, Family::Delete).map_err(plain)?,
        _ => keyed(arguments, Family::Arithmetic).map_err(plain)?,
    };
    Ok(Command::Meta(meta))
}

/// `mn`, whose arguments do not matter.
fn noop<'b>() -> Meta<'b> {
    Meta { verb: MetaVerb::Noop, key: None, flags: MetaFlags::default() }
}

/// `me key [b]`. Unlike memcached, which honours `b` only in front of another token.
fn debug(arguments: &[u8]) -> Result<Meta<'_>, Fault> {
    let mut tokens = Tokens::new(arguments);
    let key = tokens.next().ok_or(Fault::MissingArgument)?;
    Key::new(key).ok_or(Fault::KeyTooLong)?;
    let base64 = tokens.any(|token| token.first() == Some(&b'b'));
    let key = MetaKey::new(key, base64).ok_or(Fault::MetaDebugBadBase64)?;
    Ok(Meta { verb: MetaVerb::Debug, key: Some(key), flags: MetaFlags::default() })
}

/// `key flag*`
fn keyed(arguments: &[u8], family: Family) -> Result<Meta<'_>, Fault> {
    let mut tokens = Tokens::new(arguments);
    let key = tokens.next().ok_or(Fault::MissingArgument)?;
    let (key, read) = key_and_flags(key, tokens.rest(), KEY_TOKENS, family)?;
    let mut flags = read.flags;
    let verb = match family {
        Family::Get => MetaVerb::Get,
        Family::Delete => MetaVerb::Delete,
        // `C0` is no condition here, though it never matches elsewhere.
        Family::Arithmetic => {
            flags.compare = flags.compare.filter(|&cas| cas != 0);
            MetaVerb::Arithmetic(direction(read.mode).ok_or(Fault::MetaBadArithmeticMode)?)
        }
        Family::Set => return Err(Fault::UnknownCommand),
    };
    Ok(Meta { verb, key: Some(key), flags })
}

/// `key length flag*`
fn set(arguments: &[u8]) -> Result<Meta<'_>, Refusal> {
    let mut tokens = Tokens::new(arguments);
    let (Some(key), Some(length)) = (tokens.next(), tokens.next()) else {
        return Err(Refusal::fatal(Fault::BadLength));
    };
    let data_len = data_len(length).ok_or(Refusal::fatal(Fault::BadLength))?;
    let refuse = |fault| Refusal::with_block(fault, false, data_len);
    let flags = tokens.rest();
    let (key, read) = key_and_flags(key, flags, KEY_TOKENS + 1, Family::Set).map_err(refuse)?;
    let mode = set_mode(read.mode).ok_or(Fault::MetaBadSetMode).map_err(refuse)?;
    Ok(Meta { verb: MetaVerb::Set { mode, data_len }, key: Some(key), flags: read.flags })
}

/// Tokens of a line before the flags: command and key.
const KEY_TOKENS: usize = 2;

/// The commands that have flags.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Arithmetic,
    Delete,
    Get,
    Set,
}

fn key_and_flags<'b>(
    key: &'b [u8],
    flags: &'b [u8],
    tokens_before: usize,
    family: Family,
) -> Result<(MetaKey<'b>, Read<'b>), Fault> {
    let is_arithmetic = family == Family::Arithmetic;
    if Key::new(key).is_none() {
        let own = Fault::MetaArithmeticKeyTooLong;
        return Err(if is_arithmetic { own } else { Fault::KeyTooLong });
    }
    check_tokens(flags, META_TOKENS_MAX - tokens_before)?;
    read(flags)
        .and_then(|read| {
            let key = MetaKey::new(key, read.base64).ok_or(Fault::MetaBadBase64)?;
            Ok((key, read))
        })
        .map_err(|fault| match fault {
            Fault::MetaOpaqueTooLong => fault,
            _ if is_arithmetic => Fault::MetaArithmeticFlags,
            _ => fault,
        })
}

/// What is refused before any flag is read.
fn check_tokens(flags: &[u8], tokens_max: usize) -> Result<(), Fault> {
    let mut tokens = Tokens::new(flags);
    let first = |token: &[u8]| token.first().copied().unwrap_or(b'0');
    if tokens.by_ref().take(tokens_max).any(|token| !is_flag_byte(first(token))) {
        return Err(Fault::MetaFlagByte);
    }
    if tokens.next().is_some() { Err(Fault::MetaTooManyTokens) } else { Ok(()) }
}

/// Wider than the letters: what lies between them is answered as an unknown flag.
const fn is_flag_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'z')
}

/// Flags, and what among them belongs to key and verb.
struct Read<'b> {
    flags: MetaFlags<'b>,
    base64: bool,
    /// The argument of `M`.
    mode: Option<&'b [u8]>,
}

fn read(tokens: &[u8]) -> Result<Read<'_>, Fault> {
    let mut read = Read { flags: MetaFlags::new(tokens), base64: false, mode: None };
    let mut seen = 0_u128;
    let mut fault = None;
    for token in Tokens::new(tokens) {
        let Some((&letter, argument)) = token.split_first() else { continue };
        if !is_known(letter) {
            return Err(Fault::MetaUnknownFlag);
        }
        // A known letter is ASCII, so the shift stays below 128.
        let bit = 1_u128 << letter;
        if seen & bit != 0 {
            return Err(Fault::MetaDuplicateFlag);
        }
        seen |= bit;
        fault = read.flag(letter, argument).err().or(fault);
    }
    fault.map_or(Ok(read), Err)
}

impl<'b> Read<'b> {
    fn flag(&mut self, letter: u8, argument: &'b [u8]) -> Result<(), Fault> {
        let flags = &mut self.flags;
        match letter {
            b'C' => flags.compare = Some(unsigned(argument)?),
            b'D' => flags.delta = Some(number::unsigned(argument).ok_or(Fault::MetaBadDelta)?),
            b'E' => flags.new_cas = Some(unsigned(argument)?),
            b'F' => {
                let number = number::unsigned_u32(argument).ok_or(Fault::MetaBadClientFlags)?;
                flags.client_flags = Some(number);
            }
            b'I' => flags.invalidate = true,
            b'J' => flags.initial = Some(number::unsigned(argument).ok_or(Fault::MetaBadInitial)?),
            b'M' => self.mode = Some(argument),
            b'N' => flags.vivify = Some(Exptime::from_signed(signed(argument)?)),
            b'O' if argument.len() > META_OPAQUE_BYTES_MAX => {
                return Err(Fault::MetaOpaqueTooLong);
            }
            b'O' => flags.opaque = Some(argument),
            b'R' => flags.recache_below_secs = Some(signed(argument)?),
            b'T' => flags.ttl = Some(Exptime::from_signed(signed(argument)?)),
            b'b' => self.base64 = true,
            b'c' => flags.cas = true,
            b'q' => flags.quiet = true,
            b't' => flags.ttl_before_return = flags.ttl.is_some(),
            b'u' => flags.no_bump = true,
            b'v' => flags.value = true,
            b'x' => flags.remove_value = true,
            // Return flags are looked up when the reply is written; `P` and `L` are for proxies.
            _ => {}
        }
        Ok(())
    }
}

/// Every letter of the matrix is legal with every command, with or without effect.
const fn is_known(letter: u8) -> bool {
    matches!(
        letter,
        b'C' | b'D'
            | b'E'
            | b'F'
            | b'I'
            | b'J'
            | b'L'
            | b'M'
            | b'N'
            | b'O'
            | b'P'
            | b'R'
            | b'T'
            | b'b'
            | b'c'
            | b'f'
            | b'h'
            | b'k'
            | b'l'
            | b'q'
            | b's'
            | b't'
            | b'u'
            | b'v'
            | b'x'
    )
}

fn unsigned(argument: &[u8]) -> Result<u64, Fault> {
    number::unsigned(argument).ok_or(Fault::MetaBadToken)
}

fn signed(argument: &[u8]) -> Result<i32, Fault> {
    number::signed(argument).ok_or(Fault::MetaBadToken)
}

/// Only the first character of a mode counts.
fn set_mode(argument: Option<&[u8]>) -> Option<SetMode> {
    let Some(argument) = argument else { return Some(SetMode::Set) };
    match argument.first()? {
        b'A' => Some(SetMode::Append),
        b'E' => Some(SetMode::Add),
        b'P' => Some(SetMode::Prepend),
        b'R' => Some(SetMode::Replace),
        b'S' => Some(SetMode::Set),
        _ => None,
    }
}

fn direction(argument: Option<&[u8]>) -> Option<Direction> {
    let Some(argument) = argument else { return Some(Direction::Increment) };
    match argument.first()? {
        b'I' | b'+' => Some(Direction::Increment),
        b'D' | b'-' => Some(Direction::Decrement),
        _ => None,
    }
}
