//! A quick look at the keys of commands that have arrived and are still to be decoded, so that what
//! they ask for can be brought near meanwhile.
//!
//! It decides nothing: a key that it misses or makes up costs time, never a wrong answer. So it
//! checks little, and leaves every rule to the decoder.
//!
//! Invariants: every key is a piece of the bytes looked at, of legal length; each step leaves fewer
//! bytes to look at; a line or head that is not complete ends the look.

use crate::{
    binary::{HEADER_BYTES, MAGIC_REQUEST},
    blank::{blanks, until_blank},
    command::Keys,
    key::Key,
    number,
};

/// The keys of commands, in order.
#[derive(Clone, Debug)]
pub struct Glance<'b> {
    /// Left of the line being looked at.
    keys: Keys<'b>,
    /// Behind that line.
    rest: &'b [u8],
}

impl<'b> Glance<'b> {
    /// Looks at bytes that begin with a command, of any protocol.
    #[must_use]
    pub const fn at_commands(rest: &'b [u8]) -> Self {
        Self { keys: Keys::new(&[]), rest }
    }

    /// Looks at bytes whose first `list` are keys of a command that is under way.
    #[must_use]
    pub fn at_keys(unread: &'b [u8], list: usize) -> Self {
        // What ends their line is then a line without a command.
        let (keys, rest) = unread.split_at_checked(list).unwrap_or((unread, &[]));
        Self { keys: Keys::new(keys), rest }
    }

    /// A line without its end, which is left behind; `None` if it is not whole.
    fn line(&mut self) -> Option<&'b [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The key of a line that has one; the keys of a list become `self.keys`.
    fn key_of_line(&mut self, line: &'b [u8]) -> Option<Key<'b>> {
        let (verb, arguments) = split_verb(line)?;
        match verb {
            b"get" | b"gets" => self.keys = Keys::new(arguments),
            b"gat" | b"gats" => self.keys = Keys::new(split_token(arguments).1),
            b"mg" | b"md" | b"ma" | b"me" | b"delete" | b"incr" | b"decr" | b"touch" => {
                return Key::new(split_token(arguments).0);
            }
            b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => {
                let (key, fields) = split_token(arguments);
                if let Some([_, _, length]) = fields.strip_prefix(b" ").and_then(number::three) {
                    self.skip_bytes(length);
                } else {
                    let (_flags, fields) = split_token(fields);
                    let (_exptime, fields) = split_token(fields);
                    self.skip_block(split_token(fields).0);
                }
                return Key::new(key);
            }
            b"ms" => {
                let (key, fields) = split_token(arguments);
                self.skip_block(split_token(fields).0);
                return Key::new(key);
            }
            _ => {}
        }
        None
    }

    /// Leaves a data block and its terminator out; all the rest if there is no telling its length.
    fn skip_block(&mut self, length: &[u8]) {
        self.skip_bytes(number::unsigned_u32(length).unwrap_or(u32::MAX));
    }

    fn skip_bytes(&mut self, length: u32) {
        let behind = (length as usize).saturating_add(2);
        self.rest = self.rest.get(behind..).unwrap_or_default();
    }

    /// The key of a binary request, which is left behind; `None` if its head is not whole.
    fn frame(&mut self) -> Option<&'b [u8]> {
        let (header, body) = self.rest.split_first_chunk::<HEADER_BYTES>()?;
        let &[_, _, k1, k0, extras, _, _, _, b3, b2, b1, b0, ..] = header;
        let body_len = u32::from_be_bytes([b3, b2, b1, b0]) as usize;
        self.rest = body.get(body_len..).unwrap_or_default();
        let key_len = usize::from(u16::from_be_bytes([k1, k0]));
        Some(body.get(extras.into()..).and_then(|body| body.get(..key_len)).unwrap_or_default())
    }
}

impl<'b> Iterator for Glance<'b> {
    type Item = Key<'b>;

    fn next(&mut self) -> Option<Key<'b>> {
        // Bound: each round takes a key, a line or a frame off.
        loop {
            if let Some(key) = self.keys.next() {
                return Some(key);
            }
            let key = if *self.rest.first()? == MAGIC_REQUEST {
                Key::new(self.frame()?)
            } else {
                let line = self.line()?;
                self.key_of_line(line)
            };
            if key.is_some() {
                return key;
            }
        }
    }
}

/// Bytes of the longest command that has a key, and of the blank behind it.
const VERB_BYTES_MAX: usize = 8;

/// The command of a line, and what follows it.
#[inline]
fn split_verb(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = line.get(..VERB_BYTES_MAX).unwrap_or(line);
    let end = until_blank(start);
    if end == start.len() { None } else { line.split_at_checked(end) }
}

/// The first token behind blanks, and what follows it.
#[inline]
fn split_token(arguments: &[u8]) -> (&[u8], &[u8]) {
    let token = arguments.get(blanks(arguments)..).unwrap_or_default();
    token.split_at_checked(until_blank(token)).unwrap_or((token, &[]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Command, Decoder, Dialect, Event, binary::BinaryVerb};

    /// Whole commands with the keys that the decoder finds in them.
    const COMMANDS: &[&[u8]] = &[
        b"get a\r\n",
        b"get  a   bc d \n",
        b"gets a b\r\n",
        b"gat 10 a b\r\n",
        b"gats 0  a\r\n",
        b"mg a v t q\r\n",
        b"md a\r\n",
        b"ma a N0 J1\r\n",
        b"me a\r\n",
        b"mn\r\n",
        b"delete a 0\r\n",
        b"incr a 5\r\n",
        b"decr  a 5 noreply\r\n",
        b"touch a 5\r\n",
        b"set a 0 0 9\r\nget b\r\n12\r\n",
        b"add a  0 0 0 noreply\r\n\r\n",
        b"replace a 0 0 1\r\nx\r\n",
        b"append a 0 0 1\r\nx\r\n",
        b"prepend a 0 0 1\r\nx\r\n",
        b"cas a 0 0 1 7\r\nx\r\n",
        b"ms a 2 T0\r\nhi\r\n",
        b"ms a  0\r\n\r\n",
        b"stats items\r\n",
        b"flush_all 10\r\n",
        b"version\r\n",
        b"nonsense get a\r\n",
    ];

    fn keys_decoded(stream: &[u8]) -> Vec<&[u8]> {
        let mut decoder = Decoder::new(Dialect::Auto);
        let (mut keys, mut rest) = (Vec::new(), stream);
        loop {
            let decoded = decoder.decode(rest);
            rest = &rest[decoded.used..];
            match decoded.event {
                Event::Incomplete => return keys,
                Event::Command(Command::Get(get)) => keys.extend(get.keys.map(Key::as_bytes)),
                Event::Command(Command::Set(set)) => keys.push(set.key.as_bytes()),
                Event::Command(Command::Touch(touch)) => keys.push(touch.key.as_bytes()),
                Event::Command(Command::Delete(delete)) => keys.push(delete.key.as_bytes()),
                Event::Command(Command::Arithmetic(asked)) => keys.push(asked.key.as_bytes()),
                // None of those here is base64.
                Event::Command(Command::Meta(asked)) => {
                    keys.extend(asked.key.map(|key| key.sent()));
                }
                Event::Command(Command::Binary(asked)) => match asked.verb {
                    BinaryVerb::Get { key, .. } | BinaryVerb::Set { key, .. } => {
                        keys.push(key.as_bytes());
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn keys_glanced(stream: &[u8]) -> Vec<&[u8]> {
        Glance::at_commands(stream).map(Key::as_bytes).collect()
    }

    /// Same place, not only same bytes: a hash is kept for the place.
    #[track_caller]
    fn assert_same(glanced: &[&[u8]], decoded: &[&[u8]]) {
        let places = |keys: &[&[u8]]| keys.iter().map(|key| key.as_ptr_range()).collect::<Vec<_>>();
        assert_eq!(places(glanced), places(decoded), "{glanced:?} {decoded:?}");
    }

    proptest! {
        #[test]
        fn the_keys_are_those_that_the_decoder_finds(
            picks in proptest::collection::vec(0..COMMANDS.len(), 0..20),
        ) {
            let stream: Vec<u8> = picks.iter().flat_map(|&pick| COMMANDS[pick].to_vec()).collect();
            assert_same(&keys_glanced(&stream), &keys_decoded(&stream));
        }

        #[test]
        fn no_bytes_can_break_a_glance(
            stream in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b' '), Just(b'\n')], 0..99
            ),
            list in 0_usize..120,
        ) {
            let bound = stream.len();
            let keys = Glance::at_keys(&stream, list).chain(Glance::at_commands(&stream));
            prop_assert!(keys.count() <= 2 * bound);
        }
    }

    #[test]
    fn frames_have_keys_too() {
        let get = b"\x80\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0a ";
        let set = b"\x80\x01\0\x01\x08\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0kv";
        let stream = [&get[..], set, get, &get[..25]].concat();
        assert_same(&keys_glanced(&stream), &keys_decoded(&stream));
        assert_eq!(keys_glanced(&stream), [&b"a "[..], b"k", b"a "]);
    }

    #[test]
    fn a_list_under_way_is_gone_on_with() {
        let keys: Vec<_> =
            Glance::at_keys(b" b c\r\nget d\r\nget e", 4).map(Key::as_bytes).collect();
        assert_eq!(keys, [b"b", b"c", b"d"]);
    }
}
