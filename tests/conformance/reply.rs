//! Replies as lists of tokens, so that two servers can be compared byte for byte in everything
//! that is not bound to differ.
//!
//! What may differ, and how it is still compared:
//! - CAS numbers become `<casN>`, numbered by first appearance of that number for that key on that
//!   server: two servers agree when the same places show the same or different numbers (start and
//!   step mean nothing, nor do numbers of different keys).
//! - times (`t`, `l`, `exp=`, `la=`) may be off by one tick of the clock;
//! - the version is masked;
//! - `STAT` values that depend on time, machine or engine keep only their shape.

use std::collections::BTreeMap;

use super::frame::{self, Response};

/// How far two readings of one clock may be apart, in seconds: a tick on either server, and one
/// between its answer and our reading it.
const CLOCK_SLACK: u64 = 3;

/// Times from here on are absolute: no script asks for thirty years.
const ABSOLUTE_SECONDS_MIN: i64 = 1_000_000_000;

/// A part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Bytes(Vec<u8>),
    /// The n-th CAS number this server has shown.
    Cas(usize),
    /// A time.
    Near(i64),
    /// Some time: only in what is declared.
    SomeTime,
    Version,
    /// One statistic; only the shape of a loose one counts.
    Stat {
        key: String,
        value: String,
        loose: bool,
    },
    /// The server closed the connection.
    Closed,
    /// The reply did not end as the step says it must.
    Unended,
}

/// CAS numbers that one server has shown, in order.
#[derive(Debug, Default)]
pub struct CasTable {
    known: Vec<(Vec<u8>, u64)>,
    shown_last: Option<u64>,
}

impl CasTable {
    /// The n-th number, from 1; for 0 the one shown last.
    pub fn get(&self, nth: usize) -> Option<u64> {
        match nth.checked_sub(1) {
            Some(at) => self.known.get(at).map(|(_, cas)| *cas),
            None => self.shown_last,
        }
    }

    fn token(&mut self, key: &[u8], cas: u64) -> Token {
        if cas == 0 {
            return Token::Bytes(b"0".to_vec());
        }
        self.shown_last = Some(cas);
        let same = |(of, known): &(Vec<u8>, u64)| of == key && *known == cas;
        let at = self.known.iter().position(same).unwrap_or_else(|| {
            self.known.push((key.to_vec(), cas));
            self.known.len() - 1
        });
        Token::Cas(at + 1)
    }
}

/// What the request tells about a reply that does not name its key.
#[derive(Debug, Default)]
pub struct Asked {
    by_opaque: BTreeMap<u32, Vec<u8>>,
    meta_key: Vec<u8>,
}

impl Asked {
    /// Reads it off the bytes of a request.
    pub fn of(sent: &[u8]) -> Self {
        let mut asked = Self::default();
        if sent.first() == Some(&0x80) {
            let mut rest = sent;
            // Requests have the layout of responses.
            while let Some(request) = frame::response(rest) {
                asked.by_opaque.insert(request.opaque, request.key.to_vec());
                rest = &rest[request.bytes..];
            }
            return asked;
        }
        for line in sent.split(|byte| *byte == b'\n') {
            let mut words = line.split(|byte| *byte == b' ' || *byte == b'\r');
            let is_meta = matches!(words.next(), Some(b"mg" | b"ms" | b"ma" | b"md"));
            if let Some(key) = words.next().filter(|_| is_meta) {
                asked.meta_key = key.to_vec();
            }
        }
        asked
    }
}

/// Takes a reply apart. `sorted`: its lines come in no order of their own.
pub fn tokens(raw: &[u8], sorted: bool, asked: &Asked, table: &mut CasTable) -> Vec<Token> {
    let mut reader = Reader { asked, table, key: Vec::new(), tokens: Vec::new() };
    if raw.first() == Some(&0x81) {
        reader.binary(raw);
    } else if sorted {
        let mut lines: Vec<&[u8]> = raw.split_inclusive(|byte| *byte == b'\n').collect();
        lines.sort_unstable();
        for line in lines {
            reader.line(line);
        }
    } else {
        reader.text(raw);
    }
    reader.tokens
}

struct Reader<'t> {
    asked: &'t Asked,
    table: &'t mut CasTable,
    /// Whose CAS number comes next.
    key: Vec<u8>,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn text(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            let data_bytes = self.line(line).map_or(0, |bytes| bytes + 2);
            let (data, after) = after.split_at(data_bytes.min(after.len()));
            self.bytes(data);
            rest = after;
        }
        self.bytes(rest);
    }

    /// One line with its end; the length of the data block that follows it, if any.
    fn line(&mut self, line: &[u8]) -> Option<usize> {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        match words.as_slice() {
            [b"VALUE", _, _, length] => {
                self.bytes(line);
                number(trimmed(length))
            }
            [b"VALUE", key, flags, length, cas] => {
                self.bytes(&[b"VALUE ", *key, b" ", flags, b" ", length, b" "].concat());
                self.key = key.to_vec();
                self.cas_and_rest(b"", cas);
                number(length)
            }
            [b"VA", length, ..] => {
                self.flags(&words);
                number(trimmed(length))
            }
            [b"HD" | b"NS" | b"EX" | b"NF", _, ..] => {
                self.flags(&words);
                None
            }
            [b"ME", _, ..] => self.assignments(&words),
            [first, _, ..] if first.starts_with(b"key=") => self.assignments(&words),
            [b"VERSION", _] => {
                self.bytes(b"VERSION ");
                self.tokens.push(Token::Version);
                self.bytes(b"\r\n");
                None
            }
            [b"ITEM", key, length, b"b;", exptime, b"s]\r\n"] => {
                self.bytes(&[b"ITEM ", *key, b" ", length, b" b; "].concat());
                self.near_and_rest(b"", exptime);
                self.bytes(b" s]\r\n");
                None
            }
            [b"STAT", key, ..] => {
                let value = &line[(6 + key.len()).min(line.len())..];
                self.stat(key, trimmed(value));
                None
            }
            _ => {
                self.bytes(line);
                None
            }
        }
    }

    /// Return flags of meta replies. Keys and opaques begin with `k` and `O`, so that `c`, `t`
    /// and `l` with digits are what they seem.
    fn flags(&mut self, words: &[&[u8]]) {
        let named = words.iter().skip(1).find_map(|word| trimmed(word).strip_prefix(b"k"));
        self.key = named.unwrap_or(&self.asked.meta_key).to_vec();
        for (at, word) in words.iter().enumerate() {
            if at > 0 {
                self.bytes(b" ");
            }
            match word.first() {
                Some(b'c') => self.cas_and_rest(b"c", &word[1..]),
                Some(b't' | b'l') => self.near_and_rest(&word[..1], &word[1..]),
                _ => self.bytes(word),
            }
        }
    }

    /// `name=value` words of `me` and of metadump.
    fn assignments(&mut self, words: &[&[u8]]) -> Option<usize> {
        let named = words.first().and_then(|word| word.strip_prefix(b"key="));
        self.key = named.or(words.get(1).copied()).unwrap_or_default().to_vec();
        for (at, word) in words.iter().enumerate() {
            if at > 0 {
                self.bytes(b" ");
            }
            let name_end = word.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
            let (name, value) = word.split_at(name_end);
            match name {
                b"cas=" => self.cas_and_rest(name, value),
                b"exp=" | b"la=" => self.near_and_rest(name, value),
                _ => self.bytes(word),
            }
        }
        None
    }

    fn cas_and_rest(&mut self, name: &[u8], text: &[u8]) {
        self.bytes(name);
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match number(&text[..digits]) {
            Some(cas) => {
                let token = self.table.token(&self.key, cas);
                self.push(token);
                self.bytes(&text[digits..]);
            }
            None => self.bytes(text),
        }
    }

    fn near_and_rest(&mut self, name: &[u8], text: &[u8]) {
        self.bytes(name);
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match number(&text[..digits]) {
            Some(seconds) => {
                let now = i64::try_from(kannuki_tests::clock::unix_seconds()).unwrap_or(i64::MAX);
                // Absolute times are compared as distances, so that they can be written down.
                let distance = seconds >= ABSOLUTE_SECONDS_MIN;
                self.bytes(if distance { b"now" } else { b"" });
                self.push(Token::Near(if distance { seconds - now } else { seconds }));
                self.bytes(&text[digits..]);
            }
            // `-1` is no time: never.
            None => self.bytes(text),
        }
    }

    fn stat(&mut self, key: &[u8], value: &[u8]) {
        let key = String::from_utf8_lossy(key).into_owned();
        let value = String::from_utf8_lossy(value).into_owned();
        let (key, loose) = super::stat_policy::of(&key);
        self.push(Token::Stat { key, value, loose });
    }

    fn binary(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while let Some(response) = frame::response(rest) {
            self.response(&response);
            rest = &rest[response.bytes..];
        }
        self.bytes(rest);
    }

    fn response(&mut self, response: &Response<'_>) {
        if response.opcode == 0x10 && response.status == 0 && !response.key.is_empty() {
            self.stat(response.key, response.value);
            return;
        }
        let name = frame::opcode_name(response.opcode);
        let head = format!(
            "{name} magic={:02x} type={} status={:02x} opaque={} cas=",
            response.magic, response.data_type, response.status, response.opaque
        );
        self.bytes(head.as_bytes());
        let key = self.asked.by_opaque.get(&response.opaque).cloned().unwrap_or_default();
        let cas = self.table.token(&key, response.cas);
        self.push(cas);
        let extras: String = response.extras.iter().map(|byte| format!("{byte:02x}")).collect();
        self.bytes(format!(" ext={extras} key=").as_bytes());
        self.bytes(response.key);
        self.bytes(b" value=");
        if name == "version" && response.status == 0 {
            self.push(Token::Version);
        } else if matches!(name.as_str(), "incr" | "decr" | "incrq" | "decrq")
            && response.status == 0
        {
            let number = response.value.try_into().map(u64::from_be_bytes);
            self.bytes(number.map_or_else(|_| "?".into(), |number| number.to_string()).as_bytes());
        } else {
            self.bytes(response.value);
        }
        self.bytes(b"\n");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(Token::Bytes(last)) = self.tokens.last_mut() {
            last.extend(bytes);
        } else if !bytes.is_empty() {
            self.tokens.push(Token::Bytes(bytes.to_vec()));
        }
    }

    fn push(&mut self, token: Token) {
        match token {
            Token::Bytes(bytes) => self.bytes(&bytes),
            other => self.tokens.push(other),
        }
    }
}

/// The tokens that a written expectation stands for: `<cas1>`, `<~90>`, `now<~90>`,
/// `<~>` (any time), `<version>`, `<closed>` and `<unended>` among plain bytes.
pub fn expected(text: &[u8]) -> Vec<Token> {
    let (asked, mut table) = (Asked::default(), CasTable::default());
    let mut reader =
        Reader { asked: &asked, table: &mut table, key: Vec::new(), tokens: Vec::new() };
    let mut rest = text;
    while let Some(first) = rest.first() {
        let end = rest.iter().position(|byte| *byte == b'>');
        let named = match end {
            Some(end) if *first == b'<' => named_token(&rest[1..end]).map(|token| (token, end + 1)),
            _ => None,
        };
        match named {
            Some((token, used)) => {
                reader.push(token);
                rest = &rest[used..];
            }
            None => {
                reader.bytes(&rest[..1]);
                rest = &rest[1..];
            }
        }
    }
    reader.tokens
}

fn named_token(name: &[u8]) -> Option<Token> {
    match name {
        b"version" => Some(Token::Version),
        b"closed" => Some(Token::Closed),
        b"unended" => Some(Token::Unended),
        [b'c', b'a', b's', nth @ ..] => number(nth).map(Token::Cas),
        b"~" => Some(Token::SomeTime),
        [b'~', seconds @ ..] => number(seconds).map(Token::Near),
        _ => None,
    }
}

/// True when two replies say the same; `apart` is how many seconds lie between them.
pub fn agree(one: &[Token], other: &[Token], apart: u64) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| token_agrees(a, b, apart))
}

/// True when two tokens say the same.
pub fn token_agrees(one: &Token, other: &Token, apart: u64) -> bool {
    match (one, other) {
        (Token::Near(a), Token::Near(b)) => a.abs_diff(*b) <= CLOCK_SLACK + apart,
        (Token::SomeTime, Token::Near(_)) => true,
        (
            Token::Stat { key, value, loose },
            Token::Stat { key: other_key, value: other_value, .. },
        ) if key == other_key => match loose {
            true => shape(value) == shape(other_value),
            false => value == other_value,
        },
        _ => one == other,
    }
}

/// A reply as one writes it, one line each, long runs cut.
pub fn show(tokens: &[Token]) -> String {
    if tokens.is_empty() {
        return "    (nothing)\n".to_owned();
    }
    let mut text = String::new();
    for token in tokens {
        text.push_str(&match token {
            Token::Bytes(bytes) => kannuki_tests::wire::show(bytes).replace("\\n", "\\n\n"),
            Token::Cas(nth) => format!("<cas{nth}>"),
            Token::Near(seconds) => format!("<~{seconds}>"),
            Token::SomeTime => "<~>".to_owned(),
            Token::Version => "<version>".to_owned(),
            Token::Stat { key, value, .. } => format!("STAT {key} {value}\n"),
            Token::Closed => "<closed>".to_owned(),
            Token::Unended => "<unended>".to_owned(),
        });
    }
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// A reply in the notation of `known_differences.toml`; `None` if nobody wants to read it.
pub fn notated(tokens: &[Token]) -> Option<String> {
    const READABLE_BYTES_MAX: usize = 2000;
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Bytes(bytes) => {
                let escaped = bytes.escape_ascii().to_string();
                // `escape_ascii` also marks quotes, which need no mark here; braces do.
                let plain = escaped.replace("\\'", "'").replace("\\\"", "\"");
                text.push_str(&plain.replace('{', "\\{").replace('}', "\\}"));
            }
            Token::Cas(nth) => text.push_str(&format!("<cas{nth}>")),
            Token::Near(seconds) => text.push_str(&format!("<~{seconds}>")),
            Token::SomeTime => text.push_str("<~>"),
            Token::Version => text.push_str("<version>"),
            Token::Closed => text.push_str("<closed>"),
            Token::Unended => text.push_str("<unended>"),
            Token::Stat { .. } => return None,
        }
    }
    (text.len() <= READABLE_BYTES_MAX).then_some(text)
}

fn shape(value: &str) -> &'static str {
    let numeric = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    if !value.is_empty() && value.bytes().all(numeric) { "number" } else { "text" }
}

fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok())
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r\n").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(raw: &[u8]) -> Vec<Token> {
        tokens(raw, false, &Asked::default(), &mut CasTable::default())
    }

    #[test]
    fn cas_numbers_are_compared_by_identity() {
        let one = of(b"VALUE a 0 1 17\r\nx\r\nVALUE b 0 1 18\r\ny\r\nEND\r\n");
        let same = of(b"VALUE a 0 1 900\r\nx\r\nVALUE b 0 1 7\r\ny\r\nEND\r\n");
        assert!(agree(&one, &same, 0));
        let changed = of(b"HD c17\r\nHD c18\r\nHD c17\r\n");
        assert!(agree(&changed, &of(b"HD c5\r\nHD c6\r\nHD c5\r\n"), 0));
        assert!(!agree(&changed, &of(b"HD c5\r\nHD c5\r\nHD c5\r\n"), 0));
        assert!(!agree(&changed, &of(b"HD c5\r\nHD c6\r\nHD c7\r\n"), 0));
        assert!(agree(
            &one,
            &expected(b"VALUE a 0 1 <cas1>\r\nx\r\nVALUE b 0 1 <cas2>\r\ny\r\nEND\r\n"),
            0
        ));
    }

    #[test]
    fn data_that_looks_like_a_reply_is_not_masked() {
        assert!(!agree(&of(b"VA 6\r\nHD c17\r\n"), &of(b"VA 6\r\nHD c18\r\n"), 0));
        assert!(!agree(&of(b"HD Oc17\r\n"), &of(b"HD Oc18\r\n"), 0));
    }

    #[test]
    fn times_may_be_a_tick_apart() {
        assert!(agree(&of(b"HD t90\r\n"), &of(b"HD t89\r\n"), 0));
        assert!(!agree(&of(b"HD t90\r\n"), &of(b"HD t80\r\n"), 0));
        assert!(!agree(&of(b"HD t-1\r\n"), &of(b"HD t1\r\n"), 0));
        assert!(!agree(&of(b"HD c0\r\n"), &of(b"HD c5\r\n"), 0));
    }

    #[test]
    fn statistics_keep_order_and_names() {
        assert!(agree(&of(b"STAT pid 5\r\n"), &of(b"STAT pid 6\r\n"), 0));
        assert!(!agree(&of(b"STAT pid 5\r\n"), &of(b"STAT pid x\r\n"), 0));
        assert!(!agree(&of(b"STAT cmd_get 5\r\n"), &of(b"STAT cmd_get 6\r\n"), 0));
    }
}
