//! Replies to meta commands: a code, the return flags in the order of the request, the marks.
//!
//! Which flags come back is decided here, from command and code, so that the server only has to
//! know the item.

use super::decimal;
use crate::{
    base64,
    limits::KEY_BYTES_MAX,
    meta::{Meta, MetaKey, MetaVerb, Return},
};

/// How a meta command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Hit or done, without value.
    Hd,
    /// Hit; the value follows.
    Va {
        /// Bytes of the value, its terminator not counted.
        size: usize,
    },
    /// Miss of `mg` and `me`.
    En,
    /// Not stored.
    Ns,
    /// The cas unique differs.
    Ex,
    /// No such item.
    Nf,
}

/// What the server knows about the item, for the flags that ask for it. Those that were not asked
/// for, or have no meaning for the command, are not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `c`; 0 when nothing was stored.
    pub cas: u64,
    /// `f`
    pub client_flags: u32,
    /// `h`: fetched before this request.
    pub fetched: bool,
    /// `l`: seconds since the last access before this request.
    pub last_access_secs: u32,
    /// `s`: bytes of the value; of `ms`, after append or prepend.
    pub size: usize,
    /// `t`: seconds left; `None` = never dies.
    pub ttl_secs: Option<u32>,
    /// The item was stored under a base64 key. Decides the form of `k` on a hit of `mg` and after
    /// `ms`.
    pub base64_key: bool,
    /// Mark `Z`: a token was sent to somebody else.
    pub token_sent: bool,
    /// Mark `X`: the item is stale.
    pub stale: bool,
    /// Mark `W`: this peer has won.
    pub won: bool,
}

/// Whether `q` of the request drops a reply with this code. Errors are never dropped.
#[must_use]
pub const fn is_dropped(meta: &Meta<'_>, code: Code) -> bool {
    meta.flags.quiet
        && match meta.verb {
            MetaVerb::Get => matches!(code, Code::En),
            MetaVerb::Set { .. } | MetaVerb::Delete => matches!(code, Code::Hd),
            MetaVerb::Arithmetic(_) => matches!(code, Code::Hd | Code::Va { .. }),
            MetaVerb::Debug | MetaVerb::Noop => false,
        }
}

/// Appends the reply line: code, return flags in request order, marks `Z`, `X`, `W`. After
/// [`Code::Va`] the caller appends the value and CR LF.
pub fn line(out: &mut Vec<u8>, meta: &Meta<'_>, code: Code, answer: &Answer) {
    out.extend_from_slice(match code {
        Code::Hd => b"HD",
        Code::Va { .. } => b"VA ",
        Code::En => b"EN",
        Code::Ns => b"NS",
        Code::Ex => b"EX",
        Code::Nf => b"NF",
    });
    if let Code::Va { size } = code {
        decimal(out, size);
    }
    for wanted in meta.flags.returns() {
        if comes_back(meta.verb, code, wanted) {
            out.push(b' ');
            return_flag(out, meta, code, wanted, answer);
        }
    }
    if answer.token_sent {
        out.extend_from_slice(b" Z");
    }
    if answer.stale {
        out.extend_from_slice(b" X");
    }
    if answer.won {
        out.extend_from_slice(b" W");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the answer to `mn`.
pub fn noop(out: &mut Vec<u8>) {
    out.extend_from_slice(b"MN\r\n");
}

/// What `me` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debug<'k> {
    /// The raw key.
    pub key: &'k [u8],
    /// It was stored under a base64 key and is shown so.
    pub base64_key: bool,
    /// Seconds left; `None` = never dies.
    pub ttl_secs: Option<u32>,
    /// Seconds since the last access.
    pub last_access_secs: u32,
    /// Cas unique.
    pub cas: u64,
    /// Fetched since it was stored.
    pub fetched: bool,
    /// Slab class.
    pub class: u32,
    /// Bytes of the whole item.
    pub size: usize,
}

impl Debug<'_> {
    /// Appends the line `ME key exp=.. la=.. cas=.. fetch=.. cls=.. size=..`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"ME ");
        if self.base64_key {
            base64::encode(out, self.key);
        } else {
            out.extend_from_slice(self.key);
        }
        out.extend_from_slice(b" exp=");
        ttl(out, self.ttl_secs);
        out.extend_from_slice(b" la=");
        decimal(out, self.last_access_secs);
        out.extend_from_slice(b" cas=");
        decimal(out, self.cas);
        out.extend_from_slice(if self.fetched { b" fetch=yes cls=" } else { b" fetch=no cls=" });
        decimal(out, self.class);
        out.extend_from_slice(b" size=");
        decimal(out, self.size);
        out.extend_from_slice(b"\r\n");
    }
}

/// The matrix of return flags: opaque and key always, the rest where the command knows it.
const fn comes_back(verb: MetaVerb, code: Code, wanted: Return<'_>) -> bool {
    let hit = matches!(code, Code::Hd | Code::Va { .. });
    match wanted {
        Return::Key | Return::Opaque(_) => true,
        Return::Cas => match verb {
            MetaVerb::Get | MetaVerb::Arithmetic(_) => hit,
            MetaVerb::Set { .. } => true,
            MetaVerb::Debug | MetaVerb::Delete | MetaVerb::Noop => false,
        },
        Return::Size => match verb {
            MetaVerb::Get => hit,
            MetaVerb::Set { .. } => true,
            _ => false,
        },
        Return::Ttl => hit && matches!(verb, MetaVerb::Get | MetaVerb::Arithmetic(_)),
        Return::ClientFlags | Return::Fetched | Return::LastAccess => {
            hit && matches!(verb, MetaVerb::Get)
        }
    }
}

fn return_flag(
    out: &mut Vec<u8>,
    meta: &Meta<'_>,
    code: Code,
    wanted: Return<'_>,
    answer: &Answer,
) {
    match wanted {
        Return::Cas => number(out, b'c', answer.cas),
        Return::ClientFlags => number(out, b'f', answer.client_flags),
        Return::Fetched => number(out, b'h', u8::from(answer.fetched)),
        Return::LastAccess => number(out, b'l', answer.last_access_secs),
        Return::Size => number(out, b's', answer.size),
        Return::Ttl => {
            out.push(b't');
            ttl(out, answer.ttl_secs);
        }
        Return::Opaque(opaque) => {
            out.push(b'O');
            out.extend_from_slice(opaque);
        }
        Return::Key => {
            out.push(b'k');
            if let Some(sent) = meta.key {
                let as_stored = match meta.verb {
                    MetaVerb::Get => !matches!(code, Code::En),
                    MetaVerb::Set { .. } => true,
                    _ => false,
                };
                key(out, &sent, if as_stored { Some(answer.base64_key) } else { None });
            }
        }
    }
}

/// Appends the key in the form of the item (`Some(is base64)`) or as sent (`None`).
fn key(out: &mut Vec<u8>, sent: &MetaKey<'_>, stored_base64: Option<bool>) {
    let mut room = [0; KEY_BYTES_MAX];
    match (stored_base64, sent.raw(&mut room)) {
        (Some(true), Some(raw)) => {
            base64::encode(out, raw.as_bytes());
            out.extend_from_slice(b" b");
        }
        (Some(false), Some(raw)) => out.extend_from_slice(raw.as_bytes()),
        _ => {
            out.extend_from_slice(sent.sent());
            out.extend_from_slice(if sent.is_base64() { b" b" } else { b"" });
        }
    }
}

fn number(out: &mut Vec<u8>, letter: u8, number: impl itoa::Integer) {
    out.push(letter);
    decimal(out, number);
}

fn ttl(out: &mut Vec<u8>, secs: Option<u32>) {
    match secs {
        Some(secs) => decimal(out, secs),
        None => out.extend_from_slice(b"-1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Decoder, Dialect, Event};

    /// A hit with everything to tell.
    const FULL: Answer = Answer {
        cas: 41,
        client_flags: 5,
        fetched: true,
        last_access_secs: 7,
        size: 3,
        ttl_secs: Some(90),
        base64_key: false,
        token_sent: false,
        stale: false,
        won: false,
    };

    #[track_caller]
    fn assert_reply(request: &str, code: Code, answer: &Answer, expected: &str) {
        let request = format!("{request}\r\n");
        let event = Decoder::new(Dialect::Text).decode(request.as_bytes()).event;
        let Event::Command(Command::Meta(meta)) = event else { panic!("{event:?}") };
        let mut out = Vec::new();
        line(&mut out, &meta, code, answer);
        assert_eq!(out.escape_ascii().to_string(), format!("{expected}\\r\\n"));
    }

    #[test]
    fn flags_come_back_in_request_order() {
        let full = "VA 3 t90 s3 f5 kkey Oreq7 c41 h1 l7";
        assert_reply("mg key t v s f k Oreq7 q c h l", Code::Va { size: 3 }, &FULL, full);
        assert_reply("mg key c t", Code::Hd, &FULL, "HD c41 t90");
        let endless = Answer { ttl_secs: None, fetched: false, ..FULL };
        assert_reply("mg key h t", Code::Hd, &endless, "HD h0 t-1");
        assert_reply("mg key", Code::Hd, &FULL, "HD");
        assert_reply("mg key O", Code::Hd, &FULL, "HD O");
    }

    #[test]
    fn a_miss_knows_opaque_and_key_only() {
        assert_reply("mg key k O1 c t s f h l", Code::En, &FULL, "EN kkey O1");
    }

    #[test]
    fn each_command_has_its_own_flags() {
        let all = "c k s O9 f t h l";
        assert_reply(&format!("ms key 3 {all}"), Code::Hd, &FULL, "HD c41 kkey s3 O9");
        let failed = Answer { cas: 0, ..FULL };
        assert_reply("ms key 3 ME c k", Code::Ns, &failed, "NS c0 kkey");
        assert_reply(&format!("md key {all}"), Code::Hd, &FULL, "HD kkey O9");
        assert_reply(&format!("md key {all}"), Code::Ex, &FULL, "EX kkey O9");
        let number = "VA 2 c41 kkey O9 t90";
        assert_reply(&format!("ma key {all} v"), Code::Va { size: 2 }, &FULL, number);
        assert_reply(&format!("ma key {all}"), Code::Nf, &FULL, "NF kkey O9");
    }

    #[test]
    fn marks_stand_last_in_a_fixed_order() {
        let marked = Answer { token_sent: true, stale: true, won: true, ..FULL };
        assert_reply("mg key t", Code::Hd, &marked, "HD t90 Z X W");
        let stale = Answer { stale: true, won: true, ..FULL };
        assert_reply("mg key v c", Code::Va { size: 3 }, &stale, "VA 3 c41 X W");
    }

    #[test]
    fn keys_have_the_form_of_the_item_or_of_the_request() {
        let stored = Answer { base64_key: true, ..FULL };
        assert_reply("mg abc k", Code::Hd, &stored, "HD kYWJj b");
        assert_reply("mg YWJj b k", Code::Hd, &FULL, "HD kabc");
        assert_reply("mg YW-Jj b k O1", Code::Hd, &stored, "HD kYWJj b O1");
        assert_reply("ms YWJj 3 b k", Code::Hd, &stored, "HD kYWJj b");
        // Nothing is known about a miss, and `md` and `ma` do not ask the item.
        assert_reply("mg YW-Jj k b", Code::En, &FULL, "EN kYW-Jj b");
        assert_reply("md YWJj b k", Code::Hd, &FULL, "HD kYWJj b");
        assert_reply("ma abc k", Code::Hd, &stored, "HD kabc");
    }

    #[test]
    fn quiet_drops_what_goes_without_saying() {
        let dropped = |request: &[u8], codes: &[Code]| {
            let event = Decoder::new(Dialect::Text).decode(request).event;
            let Event::Command(Command::Meta(meta)) = event else { panic!("{event:?}") };
            codes.iter().map(|&code| is_dropped(&meta, code)).collect::<Vec<_>>()
        };
        let va = Code::Va { size: 1 };
        assert_eq!(dropped(b"mg k q\n", &[Code::En, Code::Hd, va]), [true, false, false]);
        let set = [Code::Hd, Code::Ns, Code::Ex, Code::Nf];
        assert_eq!(dropped(b"ms k 1 q\n", &set), [true, false, false, false]);
        assert_eq!(dropped(b"md k q\n", &set), [true, false, false, false]);
        let arithmetic = [Code::Hd, va, Code::Nf, Code::Ex];
        assert_eq!(dropped(b"ma k q\n", &arithmetic), [true, true, false, false]);
        assert_eq!(dropped(b"mg k\n", &[Code::En]), [false]);
    }

    #[test]
    fn debug_and_noop_lines() {
        let debug = Debug {
            key: b"abc",
            base64_key: false,
            ttl_secs: None,
            last_access_secs: 1,
            cas: 9,
            fetched: true,
            class: 1,
            size: 62,
        };
        let mut out = Vec::new();
        debug.encode(&mut out);
        Debug { base64_key: true, ttl_secs: Some(5), fetched: false, ..debug }.encode(&mut out);
        noop(&mut out);
        let expected = "ME abc exp=-1 la=1 cas=9 fetch=yes cls=1 size=62\r\n\
            ME YWJj exp=5 la=1 cas=9 fetch=no cls=1 size=62\r\nMN\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
