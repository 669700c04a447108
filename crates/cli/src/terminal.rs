//! Asking for a password at a terminal, without showing it.
//!
//! Invariants: the terminal gets its old manners back however the question ends; what was typed is
//! bounded and wiped.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

/// Bytes of an answer; more are an error. Longer than any password that is taken.
const ANSWER_BYTES_MAX: usize = 4096;

/// Keys of a terminal without its own line editing.
mod key {
    pub(super) const INTERRUPT: u8 = 0x03;
    pub(super) const END: u8 = 0x04;
    pub(super) const ERASE: [u8; 2] = [0x08, 0x7f];
    pub(super) const KILL: u8 = 0x15;
    pub(super) const LINE_ENDS: [u8; 2] = [b'\n', b'\r'];
}

/// Asks at the terminal behind stdin.
///
/// # Errors
/// When stdin is no terminal, the answer is too long, or the question was broken off.
pub(crate) fn ask(question: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("stdin is no terminal; give the password with --stdin"));
    }
    let quiet = Quiet::new()?;
    say(question);
    let answer = read_answer(|byte| io::stdin().lock().read(std::slice::from_mut(byte)));
    drop(quiet);
    say("\n");
    answer
}

/// The first line of stdin, without its end.
///
/// # Errors
/// When it cannot be read or is too long.
pub(crate) fn first_line() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX + 1));
    let mut stdin = io::stdin().lock();
    let mut byte = [0];
    while stdin.read(&mut byte)? > 0 && byte != *b"\n" {
        bytes.extend(byte);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(too_long());
        }
    }
    Ok(bytes)
}

fn say(text: &str) {
    let mut err = io::stderr().lock();
    // Who cannot see the question may still answer it.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Reads keys up to the end of the line.
fn read_answer(
    mut read: impl FnMut(&mut u8) -> io::Result<usize>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX + 1));
    loop {
        let mut byte = 0;
        if read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match byte {
            key::INTERRUPT | key::END => return Err(io::ErrorKind::Interrupted.into()),
            key::KILL => answer.clear(),
            byte if key::LINE_ENDS.contains(&byte) => return Ok(answer),
            byte if key::ERASE.contains(&byte) => erase_character(&mut answer),
            byte => answer.push(byte),
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(too_long());
        }
    }
}

/// A character of UTF-8 may have several bytes.
fn erase_character(answer: &mut Vec<u8>) {
    while answer.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

fn too_long() -> io::Error {
    io::Error::other(format!("the password is longer than {ANSWER_BYTES_MAX} bytes"))
}

/// The terminal shows nothing and leaves every key to us, signals too: a signal would end the
/// program before it can make good.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no manners.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Result<Vec<u8>, io::ErrorKind> {
        let mut keys = keys.iter();
        let answer = read_answer(|byte| {
            Ok(keys.next().map_or(0, |key| {
                *byte = *key;
                1
            }))
        });
        answer.map(|answer| answer.to_vec()).map_err(|error| error.kind())
    }

    #[test]
    fn keys_edit_the_line() {
        assert_eq!(typed(b"secret\n"), Ok(b"secret".to_vec()));
        assert_eq!(typed(b"secrex\x7ft\r"), Ok(b"secret".to_vec()));
        assert_eq!(typed("se\u{e9}\x08x\n".as_bytes()), Ok(b"sex".to_vec()));
        assert_eq!(typed(b"\x7f\x7fwrong\x15right\n"), Ok(b"right".to_vec()));
        assert_eq!(typed(b"sec\x03"), Err(io::ErrorKind::Interrupted));
        assert_eq!(typed(b"sec"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(typed(&[b'x'; ANSWER_BYTES_MAX + 2]), Err(io::ErrorKind::Other));
    }
}
