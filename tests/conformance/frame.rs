//! Binary frames: a compact notation for requests, and responses taken apart.
//!
//! `get key=a`, `setq key=a value=xyz flags=1 exptime=60 cas={cas1} opaque=7`, `incr key=n delta=5
//! initial=10 exptime=0`. `0x7b` stands for any opcode; `ext=HEX` replaces the extras; `magic=`,
//! `keylen=`, `extlen=`, `bodylen=`, `datatype=`, `vbucket=` lie about the header. Values use the
//! script's own notation and hold no blanks (write `\x20`).

use super::notation::{self, Surroundings};

/// Bytes of a header, requests and responses alike.
pub const HEADER_BYTES: usize = 24;

/// Opaque of the No-op that ends a step; scripts do not use it.
pub const BARRIER_OPAQUE: u32 = 0x6b6e_6b69;

/// Names of the opcodes, as scripts and the coverage table write them.
pub const OPCODES: &[(&str, u8)] = &[
    ("get", 0x00),
    ("set", 0x01),
    ("add", 0x02),
    ("replace", 0x03),
    ("delete", 0x04),
    ("incr", 0x05),
    ("decr", 0x06),
    ("quit", 0x07),
    ("flush", 0x08),
    ("getq", 0x09),
    ("noop", 0x0a),
    ("version", 0x0b),
    ("getk", 0x0c),
    ("getkq", 0x0d),
    ("append", 0x0e),
    ("prepend", 0x0f),
    ("stat", 0x10),
    ("setq", 0x11),
    ("addq", 0x12),
    ("replaceq", 0x13),
    ("deleteq", 0x14),
    ("incrq", 0x15),
    ("decrq", 0x16),
    ("quitq", 0x17),
    ("flushq", 0x18),
    ("appendq", 0x19),
    ("prependq", 0x1a),
    ("verbosity", 0x1b),
    ("touch", 0x1c),
    ("gat", 0x1d),
    ("gatq", 0x1e),
    ("sasl-list", 0x20),
    ("sasl-auth", 0x21),
    ("sasl-step", 0x22),
    ("gatk", 0x23),
    ("gatkq", 0x24),
    ("rget", 0x30),
];

/// The name of an opcode, or its number.
pub fn opcode_name(opcode: u8) -> String {
    let known = OPCODES.iter().find(|(_, code)| *code == opcode);
    known.map_or_else(|| format!("0x{opcode:02x}"), |(name, _)| (*name).to_owned())
}

/// One request as written in a script; CAS numbers are filled in when played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub opcode: u8,
    fields: Vec<(String, Vec<notation::Piece>)>,
}

impl Request {
    /// Reads the notation.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name = words.next().ok_or("an opcode is missing")?;
        let known = OPCODES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code);
        let opcode = match name.strip_prefix("0x") {
            Some(digits) => u8::from_str_radix(digits, 16).ok(),
            None => known,
        };
        let opcode = opcode.ok_or_else(|| format!("unknown opcode {name}"))?;
        let mut fields = Vec::new();
        for word in words {
            let (field, value) = word.split_once('=').ok_or_else(|| format!("no = in {word}"))?;
            if !FIELDS.contains(&field) {
                return Err(format!("unknown field {field}"));
            }
            fields.push((field.to_owned(), notation::parse(value)?));
        }
        Ok(Self { opcode, fields })
    }

    /// The frame to send now.
    pub fn fill_in(&self, surroundings: &dyn Surroundings) -> Result<Vec<u8>, String> {
        let bytes = |name: &str| match self.fields.iter().find(|(field, _)| field == name) {
            Some((_, pieces)) => notation::fill_in(pieces, surroundings).map(Some),
            None => Ok(None),
        };
        let number = |name: &str| match bytes(name)? {
            Some(text) => unsigned(&text).map(Some),
            None => Ok(None),
        };
        let key = bytes("key")?.unwrap_or_default();
        let value = bytes("value")?.unwrap_or_default();
        let extras = match bytes("ext")? {
            Some(hex) => from_hex(&hex)?,
            None => self.extras(&number)?,
        };
        let body = extras.len() + key.len() + value.len();
        let or = |given: Option<u64>, usual: usize| given.unwrap_or(usual as u64);
        let mut frame = vec![or(number("magic")?, 0x80) as u8, self.opcode];
        frame.extend((or(number("keylen")?, key.len()) as u16).to_be_bytes());
        frame.push(or(number("extlen")?, extras.len()) as u8);
        frame.push(or(number("datatype")?, 0) as u8);
        frame.extend((or(number("vbucket")?, 0) as u16).to_be_bytes());
        frame.extend((or(number("bodylen")?, body) as u32).to_be_bytes());
        frame.extend((or(number("opaque")?, 0) as u32).to_be_bytes());
        frame.extend(or(number("cas")?, 0).to_be_bytes());
        frame.extend(extras);
        frame.extend(key);
        frame.extend(value);
        Ok(frame)
    }

    fn extras(
        &self,
        number: &dyn Fn(&str) -> Result<Option<u64>, String>,
    ) -> Result<Vec<u8>, String> {
        let word = |name: &str| Ok::<_, String>(number(name)?.unwrap_or(0) as u32);
        let mut extras = Vec::new();
        match self.opcode {
            0x01..=0x03 | 0x11..=0x13 => {
                extras.extend(word("flags")?.to_be_bytes());
                extras.extend(word("exptime")?.to_be_bytes());
            }
            0x05 | 0x06 | 0x15 | 0x16 => {
                extras.extend(number("delta")?.unwrap_or(1).to_be_bytes());
                extras.extend(number("initial")?.unwrap_or(0).to_be_bytes());
                extras.extend(word("exptime")?.to_be_bytes());
            }
            0x1c..=0x1e | 0x23 | 0x24 => extras.extend(word("exptime")?.to_be_bytes()),
            0x08 | 0x18 if number("exptime")?.is_some() => {
                extras.extend(word("exptime")?.to_be_bytes());
            }
            _ => {}
        }
        Ok(extras)
    }
}

const FIELDS: &[&str] = &[
    "key", "value", "flags", "exptime", "delta", "initial", "opaque", "cas", "ext", "magic",
    "keylen", "extlen", "bodylen", "datatype", "vbucket",
];

/// The No-op that ends a step.
pub fn barrier() -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    frame[0] = 0x80;
    frame[1] = 0x0a;
    frame[12..16].copy_from_slice(&BARRIER_OPAQUE.to_be_bytes());
    frame
}

/// One response taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'b> {
    pub magic: u8,
    pub opcode: u8,
    pub data_type: u8,
    pub status: u16,
    pub opaque: u32,
    pub cas: u64,
    pub extras: &'b [u8],
    pub key: &'b [u8],
    pub value: &'b [u8],
    /// Bytes of the whole frame.
    pub bytes: usize,
}

/// The response at the start of `bytes`; `None` if it is not whole or not one.
pub fn response(bytes: &[u8]) -> Option<Response<'_>> {
    let header = bytes.get(..HEADER_BYTES)?;
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let key_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let extras_bytes = usize::from(header[4]);
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + word(8) as usize)?;
    let (extras, rest) = body.split_at_checked(extras_bytes)?;
    let (key, value) = rest.split_at_checked(key_bytes)?;
    Some(Response {
        magic: header[0],
        opcode: header[1],
        data_type: header[5],
        status: u16::from_be_bytes([header[6], header[7]]),
        opaque: word(12),
        cas: u64::from(word(16)) << 32 | u64::from(word(20)),
        extras,
        key,
        value,
        bytes: HEADER_BYTES + body.len(),
    })
}

fn unsigned(text: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(text);
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is not a number"))
}

fn from_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    let digit =
        |byte: u8| char::from(byte).to_digit(16).ok_or_else(|| format!("not hex: {text:?}"));
    let pairs = text.chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Ok((digit(*high)? << 4 | digit(*low)?) as u8),
            _ => Err("an odd number of hex digits".to_owned()),
        })
        .collect()
}
