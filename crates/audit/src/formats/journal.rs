//! Files of systemd's journal, read from the first byte to the last: what some programs said, and
//! when.
//!
//! ```text
//! header | DATA "SYSLOG_IDENTIFIER=sshd" | DATA "MESSAGE=..." | ENTRY time, offsets of DATA | ...
//! ```
//!
//! An entry stands behind the data that it names, so one pass is enough, and a disk's journal needs
//! neither a running system nor a program that an intruder may have replaced.
//!
//! Invariants:
//! - Nothing of a file is believed: sizes are bounded, offsets are looked up and never followed,
//!   and what is kept is bounded in number and length.
//! - Long texts are packed; they are passed over, since no message that counts is so long.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};

/// What a file begins with.
const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
/// Bytes of the header that are needed.
const HEADER_BYTES: usize = 208;
/// Longest header, in bytes; today's has 272.
const HEADER_BYTES_MAX: u64 = 4096;
/// Properties of a file that are known: four ways to pack and hash, and short offsets.
const KNOWN_FLAGS: u32 = 0x1f;
/// The one of them that makes offsets short.
const COMPACT: u32 = 1 << 4;
/// Every object begins with type, flags and size, and at a multiple of eight.
const OBJECT_BYTES: u64 = 16;
const ALIGNED: u64 = 8;
/// Types of objects.
const DATA: u8 = 1;
const ENTRY: u8 = 3;
/// Flags of an object: its text is packed.
const PACKED: u8 = 0x07;
/// Longest text that is looked at, in bytes, with what stands before it.
const TEXT_BYTES_MAX: u64 = 4096;
/// Longest entry that is looked at, in bytes: a thousand fields.
const ENTRY_BYTES_MAX: u64 = 64 + 1024 * 16;
/// Most texts that are kept at a time; beyond, messages are forgotten. An entry stands soon behind
/// its message, and what many entries share is the program.
const TEXTS_MAX: usize = 100_000;
/// After so many objects the caller is asked whether to go on.
const LOOK_EVERY: u64 = 4096;

/// What is wanted of a journal.
pub(crate) trait Listener {
    /// Whether what this program says is wanted.
    fn wants_program(&self, name: &str) -> bool;
    /// Whether this message is wanted.
    fn wants_message(&self, text: &str) -> bool;
    /// One message that is wanted, of a program that is, in seconds since 1970-01-01 UTC.
    fn say(&mut self, at: i64, program: &str, message: &str);
    /// Whether there is time to go on.
    fn goes_on(&self) -> bool;
}

/// A text that entries may name.
enum Text {
    Program(String),
    Message(String),
}

/// Reads a journal.
///
/// # Errors
///
/// When it is none, of a form that is not known, broken off, or too much.
pub(crate) fn read(source: impl Read, listener: &mut dyn Listener) -> io::Result<()> {
    let mut reader = Reader { source, at: 0 };
    let header = reader.take(HEADER_BYTES)?;
    let flags = u32_at(&header, 12).unwrap_or(u32::MAX);
    if !header.starts_with(SIGNATURE) || flags & !KNOWN_FLAGS != 0 {
        return Err(io::Error::other("it is no journal of a form that is known"));
    }
    let compact = flags & COMPACT != 0;
    let (first, last) = (u64_at(&header, 88), u64_at(&header, 136));
    let first = first.filter(|at| (HEADER_BYTES as u64..=HEADER_BYTES_MAX).contains(at));
    let (Some(first), Some(last)) = (first, last) else {
        return Err(io::Error::other("its header makes no sense"));
    };
    reader.skip_to(first)?;
    let mut texts: HashMap<u64, Text> = HashMap::new();
    for number in 1u64.. {
        if reader.at > last {
            break;
        }
        if number.is_multiple_of(LOOK_EVERY) && !listener.goes_on() {
            return Err(ErrorKind::TimedOut.into());
        }
        object(&mut reader, compact, &mut texts, listener)?;
    }
    Ok(())
}

/// Reads one object, and keeps or tells what it holds.
fn object(
    reader: &mut Reader<impl Read>,
    compact: bool,
    texts: &mut HashMap<u64, Text>,
    listener: &mut dyn Listener,
) -> io::Result<()> {
    let begin = reader.at;
    let head = reader.take(16)?;
    let size = u64_at(&head, 8).filter(|size| *size >= OBJECT_BYTES);
    let next = size.and_then(|size| begin.checked_add(size)?.checked_next_multiple_of(ALIGNED));
    let (Some(size), Some(next)) = (size, next) else {
        return Err(io::Error::other("one of its objects has an impossible size"));
    };
    let packed = head.get(1).is_some_and(|flags| flags & PACKED != 0);
    let rest = usize::try_from(size - OBJECT_BYTES).unwrap_or(usize::MAX);
    match head.first() {
        Some(&DATA) if !packed && size <= TEXT_BYTES_MAX => {
            let bytes = reader.take(rest)?;
            let payload = bytes.get(if compact { 56 } else { 48 }..).unwrap_or_default();
            if let Some(text) = text(payload, listener) {
                if texts.len() >= TEXTS_MAX {
                    texts.retain(|_, text| matches!(text, Text::Program(_)));
                }
                texts.insert(begin, text);
            }
        }
        Some(&ENTRY) if size <= ENTRY_BYTES_MAX => {
            let bytes = reader.take(rest)?;
            entry(&bytes, compact, texts, listener);
        }
        _ => {}
    }
    reader.skip_to(next)
}

/// What a payload is, if it is wanted.
fn text(payload: &[u8], listener: &dyn Listener) -> Option<Text> {
    if let Some(name) = payload.strip_prefix(b"SYSLOG_IDENTIFIER=") {
        let name = std::str::from_utf8(name).ok()?;
        return listener.wants_program(name).then(|| Text::Program(name.to_owned()));
    }
    let message = String::from_utf8_lossy(payload.strip_prefix(b"MESSAGE=")?);
    listener.wants_message(&message).then(|| Text::Message(message.into_owned()))
}

/// Tells an entry whose program and message are both wanted.
fn entry(bytes: &[u8], compact: bool, texts: &HashMap<u64, Text>, listener: &mut dyn Listener) {
    let Some(micros) = u64_at(bytes, 8) else { return };
    let items = bytes.get(48..).unwrap_or_default();
    let (mut program, mut message) = (None, None);
    for item in items.chunks_exact(if compact { 4 } else { 16 }) {
        let offset = match compact {
            true => u32_at(item, 0).map(u64::from),
            false => u64_at(item, 0),
        };
        match offset.and_then(|offset| texts.get(&offset)) {
            Some(Text::Program(name)) => program = Some(name),
            Some(Text::Message(text)) => message = Some(text),
            None => {}
        }
    }
    if let (Some(program), Some(message)) = (program, message) {
        let at = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
        listener.say(at, program, message);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A source, and how far it was read.
struct Reader<R> {
    source: R,
    at: u64,
}

impl<R: Read> Reader<R> {
    fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.source.read_exact(&mut bytes)?;
        self.at += len as u64;
        Ok(bytes)
    }

    fn skip_to(&mut self, at: u64) -> io::Result<()> {
        let Some(left) = at.checked_sub(self.at) else {
            return Err(io::Error::other("one of its objects ends before it begins"));
        };
        let skipped = io::copy(&mut self.source.by_ref().take(left), &mut io::sink())?;
        self.at += skipped;
        // The last object may end where the file does.
        if skipped < left && left - skipped >= ALIGNED {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Vec<(i64, String, String)>);

    impl Listener for Heard {
        fn wants_program(&self, name: &str) -> bool {
            name == "sshd"
        }
        fn wants_message(&self, text: &str) -> bool {
            text.starts_with("Accepted")
        }
        fn say(&mut self, at: i64, program: &str, message: &str) {
            self.0.push((at, program.to_owned(), message.to_owned()));
        }
        fn goes_on(&self) -> bool {
            true
        }
    }

    /// A journal with these texts, and one entry that names them all.
    fn journal(compact: bool, texts: &[&str], micros: u64) -> Vec<u8> {
        let mut file = vec![0u8; 272];
        file[..8].copy_from_slice(SIGNATURE);
        let flags = if compact { COMPACT } else { 0 };
        file[12..16].copy_from_slice(&flags.to_le_bytes());
        file[88..96].copy_from_slice(&272u64.to_le_bytes());
        let mut offsets = Vec::new();
        for text in texts {
            offsets.push(file.len() as u64);
            let before = if compact { 56 } else { 48 };
            push(&mut file, DATA, &[vec![0; before], text.as_bytes().to_vec()].concat());
        }
        let last = file.len() as u64;
        let mut body = vec![0; 48];
        body[8..16].copy_from_slice(&micros.to_le_bytes());
        for offset in offsets {
            match compact {
                true => body.extend(u32::try_from(offset).unwrap().to_le_bytes()),
                false => body.extend([offset.to_le_bytes(), [0; 8]].concat()),
            }
        }
        push(&mut file, ENTRY, &body);
        file[136..144].copy_from_slice(&last.to_le_bytes());
        file
    }

    fn push(file: &mut Vec<u8>, kind: u8, body: &[u8]) {
        let size = OBJECT_BYTES + body.len() as u64;
        file.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
        file.extend(size.to_le_bytes());
        file.extend(body);
        file.resize(file.len().next_multiple_of(8), 0);
    }

    const TEXTS: [&str; 3] = ["SYSLOG_IDENTIFIER=sshd", "MESSAGE=Accepted x", "_PID=7"];

    #[test]
    fn entries_of_both_forms_are_told() {
        for compact in [false, true] {
            let mut heard = Heard::default();
            read(&journal(compact, &TEXTS, 5_000_001)[..], &mut heard).unwrap();
            assert_eq!(heard.0, [(5, "sshd".to_owned(), "Accepted x".to_owned())]);
        }
        let mut heard = Heard::default();
        let other = ["SYSLOG_IDENTIFIER=app", "MESSAGE=Accepted x"];
        read(&journal(false, &other, 1)[..], &mut heard).unwrap();
        assert!(heard.0.is_empty(), "another program said so");
    }

    #[test]
    fn broken_files_are_refused_and_never_followed() {
        let good = journal(true, &TEXTS, 1);
        let read = |bytes: &[u8]| super::read(bytes, &mut Heard::default());
        assert!(read(b"").is_err() && read(&[0; 500]).is_err() && read(&good[..300]).is_err());
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                // Whatever it answers, it ends, and takes no more than it was given.
                _ = read(&bytes);
            }
        }
        let mut huge = good.clone();
        huge[280..288].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&huge).is_err());
        let mut endless = good;
        endless[136..144].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&endless).is_err());
    }
}
