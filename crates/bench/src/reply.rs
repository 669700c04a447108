//! The bytes that a server answers, cut into replies. Sans-io: unread bytes in, one reply and how
//! many bytes it took out.

use anyhow::{Result, bail};

/// A reply line longer than this is none of memcached's protocol; an error's text fits well.
const LINE_BYTES_MAX: usize = 4096;

/// One reply, or one item of a reply to a `get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'b> {
    /// `VALUE key flags bytes` and the data block.
    Value {
        /// Its key.
        key: &'b [u8],
        /// Its data block.
        value: &'b [u8],
    },
    /// `END`: no further item of this `get`.
    End,
    /// `STORED`
    Stored,
    /// `HD`: a meta command found its item.
    Header,
    /// `EN`, `NF` or `NOT_FOUND`: it found none.
    Missing,
    /// A number: what `incr` made.
    Number,
    /// `NOT_STORED`, or an error that the server answers when it cannot keep an item.
    Refused,
}

/// Cuts the first reply off `unread`: the reply and its bytes, or `None` if it is not whole yet.
/// What no memcached says is an error that quotes it.
pub fn cut(unread: &[u8]) -> Result<Option<(Reply<'_>, usize)>> {
    let Some(end) = memchr::memchr(b'\n', unread) else {
        if unread.len() > LINE_BYTES_MAX {
            bail!("the server answers a line without an end: {}", quoted(unread));
        }
        return Ok(None);
    };
    let line = unread.get(..end).unwrap_or_default().trim_ascii_end();
    if let Some(words) = line.strip_prefix(b"VALUE ") {
        return cut_value(words, unread, end + 1);
    }
    let reply = match line {
        b"END" => Reply::End,
        b"STORED" => Reply::Stored,
        b"HD" => Reply::Header,
        b"EN" | b"NF" | b"NOT_FOUND" => Reply::Missing,
        b"NOT_STORED" => Reply::Refused,
        line if line.starts_with(b"SERVER_ERROR out of memory") => Reply::Refused,
        line if line.first().is_some_and(u8::is_ascii_digit) => Reply::Number,
        _ => bail!("the server answers {}", quoted(line)),
    };
    Ok(Some((reply, end + 1)))
}

/// `words` are what follows `VALUE `; the data block begins at `start` of `unread`.
fn cut_value<'b>(
    words: &'b [u8],
    unread: &'b [u8],
    start: usize,
) -> Result<Option<(Reply<'b>, usize)>> {
    let key_end = memchr::memchr(b' ', words).unwrap_or(words.len());
    let (key, rest) = words.split_at(key_end);
    // Flags, bytes, and a cas unique where `gets` asked for it.
    let bytes = rest.split(|&byte| byte == b' ').nth(2).and_then(decimal);
    let Some(bytes) = bytes else { bail!("the server answers VALUE {}", quoted(words)) };
    let Some(end) = start.checked_add(bytes) else {
        bail!("the server answers VALUE {}", quoted(words))
    };
    let Some(block) = unread.get(start..end.saturating_add(2)) else { return Ok(None) };
    let (value, terminator) = block.split_at(bytes);
    if terminator != b"\r\n" {
        bail!("the data block of {} does not end where it has to", quoted(key));
    }
    Ok(Some((Reply::Value { key, value }, end + 2)))
}

fn decimal(word: &[u8]) -> Option<usize> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_usize, |number, digit| {
        let digit = usize::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The beginning of what came, readable.
fn quoted(bytes: &[u8]) -> String {
    let shown = bytes.get(..80).unwrap_or(bytes);
    format!("\"{}\"", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"VALUE k1 0 5\r\nab\r\nc\r\nVALUE k2 7 0 99\r\n\r\nEND\r\nSTORED\r\n\
        HD\r\nEN\r\nNF\r\n43  \r\nNOT_STORED\r\nSERVER_ERROR out of memory storing object\r\n";

    fn expected() -> Vec<Reply<'static>> {
        vec![
            Reply::Value { key: b"k1", value: b"ab\r\nc" },
            Reply::Value { key: b"k2", value: b"" },
            Reply::End,
            Reply::Stored,
            Reply::Header,
            Reply::Missing,
            Reply::Missing,
            Reply::Number,
            Reply::Refused,
            Reply::Refused,
        ]
    }

    #[test]
    fn a_stream_is_cut_the_same_wherever_it_is_split() {
        for split in 0..=STREAM.len() {
            let mut found = Vec::new();
            let mut at = 0;
            for end in [split, STREAM.len()] {
                while let Some((reply, used)) = cut(&STREAM[at..end]).unwrap() {
                    found.push(reply);
                    at += used;
                }
            }
            assert_eq!(found, expected(), "split at {split}");
            assert_eq!(at, STREAM.len());
        }
    }

    #[test]
    fn what_no_memcached_says_is_quoted() {
        let cases: [&[u8]; 6] = [
            b"ERROR\r\n",
            b"VALUE k\r\n",
            b"VALUE k 0 x\r\n",
            b"VALUE k 0 99999999999999999999999\r\n",
            b"VALUE k 0 1\r\nab\r\n",
            b"SERVER_ERROR busy\r\n",
        ];
        for case in cases {
            assert!(cut(case).is_err(), "{}", case.escape_ascii());
        }
        assert!(cut(&[b'a'; LINE_BYTES_MAX + 1]).is_err());
    }
}
