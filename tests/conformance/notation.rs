//! How scripts write bytes.
//!
//! `\r \n \t \0 \xHH \\ \{` are escapes; `{TEXT*N}` is TEXT N times; `{cas1}`, `{cas1+5}` is the
//! first CAS number this server has shown, plus 5, `{cas}` the one it showed last; `{now+100}` is
//! the present UNIX second plus 100. The last ones differ between the servers and between runs, so
//! they are filled in when played.

/// The largest text a script may unfold to: a few values just above 1 MiB.
const UNFOLDED_BYTES_MAX: usize = 64 << 20;

/// A part of what is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(Vec<u8>),
    /// The n-th CAS number seen (from 1; 0 is the last one shown), plus a delta.
    Cas(usize, i64),
    /// The present UNIX second, plus a delta.
    Now(i64),
}

/// What a piece needs to know when it is played.
pub trait Surroundings {
    fn cas(&self, nth: usize) -> Option<u64>;
    fn now(&self) -> u64;
}

/// Reads the notation.
pub fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '\\' => {
                let (byte, after) = escape(rest)?;
                literal.push(byte);
                rest = after;
            }
            '{' => {
                let (inside, after) = braces(rest)?;
                rest = after;
                match braced(inside)? {
                    Piece::Literal(bytes) => literal.extend(bytes),
                    other => {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        pieces.push(other);
                    }
                }
            }
            other => {
                let mut buffer = [0; 4];
                literal.extend(other.encode_utf8(&mut buffer).as_bytes());
                rest = &rest[other.len_utf8()..];
            }
        }
        if literal.len() > UNFOLDED_BYTES_MAX {
            return Err(format!("unfolds to more than {UNFOLDED_BYTES_MAX} bytes"));
        }
    }
    pieces.push(Piece::Literal(literal));
    Ok(pieces)
}

/// The bytes to send now.
pub fn fill_in(pieces: &[Piece], surroundings: &dyn Surroundings) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => bytes.extend(literal),
            Piece::Cas(nth, delta) => {
                let seen = surroundings.cas(*nth);
                let cas = seen.ok_or_else(|| format!("no CAS number {nth} was seen so far"))?;
                bytes.extend(cas.wrapping_add_signed(*delta).to_string().bytes());
            }
            Piece::Now(delta) => {
                bytes.extend(surroundings.now().wrapping_add_signed(*delta).to_string().bytes());
            }
        }
    }
    Ok(bytes)
}

/// The inside of the braces that `text` starts with, and what follows them.
fn braces(text: &str) -> Result<(&str, &str), String> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '}' => return Ok((&text[1..at], &text[at + 1..])),
            _ => {}
        }
    }
    Err(format!("no }} after {text:?}"))
}

fn braced(inside: &str) -> Result<Piece, String> {
    if let Some((text, count)) = inside.rsplit_once('*') {
        let count: usize = count.parse().map_err(|_| format!("{{{inside}}}: not a count"))?;
        let once = match parse(text)?.as_slice() {
            [Piece::Literal(bytes)] => bytes.clone(),
            _ => return Err(format!("{{{inside}}}: only plain text repeats")),
        };
        if once.len().saturating_mul(count) > UNFOLDED_BYTES_MAX {
            return Err(format!("{{{inside}}} is longer than {UNFOLDED_BYTES_MAX}"));
        }
        return Ok(Piece::Literal(once.repeat(count)));
    }
    let sign_at = inside.find(['+', '-']).unwrap_or(inside.len());
    let (name, delta) = inside.split_at(sign_at);
    let delta = match delta {
        "" => 0,
        number => number.parse().map_err(|_| format!("{{{inside}}}: not a number"))?,
    };
    if name == "now" {
        return Ok(Piece::Now(delta));
    }
    let nth = match name.strip_prefix("cas") {
        Some("") => Some(0),
        Some(nth) => nth.parse().ok(),
        None => None,
    };
    nth.map(|nth| Piece::Cas(nth, delta)).ok_or_else(|| format!("{{{inside}}}: unknown"))
}

fn escape(text: &str) -> Result<(u8, &str), String> {
    let plain = |byte| Ok((byte, &text[2..]));
    match text.as_bytes().get(1) {
        Some(b'r') => plain(b'\r'),
        Some(b'n') => plain(b'\n'),
        Some(b't') => plain(b'\t'),
        Some(b'0') => plain(0),
        Some(&byte @ (b'\\' | b'{' | b'}' | b'*')) => plain(byte),
        Some(b'x') => {
            let digits = text.get(2..4).ok_or("\\x needs two digits")?;
            let byte = u8::from_str_radix(digits, 16).map_err(|_| format!("\\x{digits}"))?;
            Ok((byte, &text[4..]))
        }
        _ => Err(format!("unknown escape in {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Surroundings for Fixed {
        fn cas(&self, nth: usize) -> Option<u64> {
            (nth == 1).then_some(41)
        }

        fn now(&self) -> u64 {
            1000
        }
    }

    fn bytes(text: &str) -> Result<Vec<u8>, String> {
        fill_in(&parse(text)?, &Fixed)
    }

    #[test]
    fn text_unfolds() {
        assert_eq!(bytes(r"a\r\n\x41\{").unwrap(), b"a\r\nA{");
        assert_eq!(bytes(r"{ab*3}{\n*2}").unwrap(), b"ababab\n\n");
        assert_eq!(bytes("{cas1} {cas1-2} {now+5}").unwrap(), b"41 39 1005");
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in ["{cas2}", "{x*y}", "{", r"\q", r"\x4", "{nowhere}", "{x*99999999999}"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
