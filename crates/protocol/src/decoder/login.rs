//! The only line that counts before log-in: a `set` that stores nothing.
//!
//! `set WORD WORD WORD LENGTH [WORDS]`, and a data block of `name password`. As in memcached, what
//! the words are does not matter, and neither does what any other line says.

use super::{
    Refusal,
    tokens::{Tokens, last, trim},
};
use crate::{
    command::{Command, Login},
    limits::{LOGIN_BYTES_MAX, LOGIN_LINE_BYTES_MIN},
    number,
    violation::Fault,
};

/// Which token tells the length of the data block.
const LENGTH: usize = 3;

/// Reads a line without its end; `whole_len` counts the end too.
pub(super) fn parse(line: &[u8], whole_len: usize) -> Result<Command<'_>, Refusal> {
    if whole_len < LOGIN_LINE_BYTES_MIN {
        return Err(Refusal::fatal(Fault::LoginLineTooShort));
    }
    let mut tokens = Tokens::new(line);
    let length = match tokens.next() {
        Some(b"set") => tokens.nth(LENGTH),
        _ => None,
    };
    let length = length.and_then(|token| number::signed(number::without_plus(token)));
    match length.and_then(|length| u32::try_from(length).ok()) {
        Some(data_len) if data_len > LOGIN_BYTES_MAX => Err(Refusal::fatal(Fault::LoginTooLong)),
        Some(data_len) => Ok(Command::Login(Login { data_len })),
        None if last(trim(line)).starts_with(b"HTTP/") => Err(Refusal::fatal(Fault::HttpRequest)),
        None => Err(Refusal::new(Fault::LoginExpected, false)),
    }
}
