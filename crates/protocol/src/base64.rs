//! Base64 in the standard alphabet with padding, for keys of meta commands.
//!
//! As in memcached, bytes outside the alphabet are skipped when reading. Everything else is strict:
//! whole groups of four, padding at the end only.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PAD: u8 = b'=';

/// Appends the encoded form of `bytes`.
pub fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    for group in bytes.chunks(3) {
        let mut sextets = [PAD; 4];
        let triple = group.iter().fold(0, |bits, &byte| (bits << 8) | u32::from(byte));
        let triple = triple << (8 * (3 - group.len()));
        for (index, sextet) in sextets.iter_mut().enumerate().take(group.len() + 1) {
            *sextet = letter(triple >> (18 - 6 * index));
        }
        out.extend_from_slice(&sextets);
    }
}

/// Decodes `text` into `room` and tells how many bytes it was. `None` if `text` is no base64, holds
/// nothing, or does not fit.
#[must_use]
pub fn decode(room: &mut [u8], text: &[u8]) -> Option<usize> {
    let mut room = room.iter_mut();
    let mut written = 0;
    let mut group = Group::default();
    let mut ended = false;
    for &byte in text {
        let Some(sextet) = sextet(byte) else { continue };
        if ended {
            return None;
        }
        let Some((bytes, count)) = group.push(sextet)? else { continue };
        for byte in bytes.into_iter().take(count) {
            *room.next()? = byte;
            written += 1;
        }
        ended = count < 3;
    }
    if group.is_empty() && written > 0 { Some(written) } else { None }
}

/// Four sextets that become three bytes, fewer when padded.
#[derive(Default)]
struct Group {
    bits: u32,
    sextets: u8,
    pads: u8,
}

impl Group {
    const fn is_empty(&self) -> bool {
        self.sextets == 0
    }

    /// `None`: no base64. `Some(Some(..))`: the group is complete.
    fn push(&mut self, sextet: Sextet) -> Option<Option<([u8; 3], usize)>> {
        let bits = match sextet {
            Sextet::Bits(_) if self.pads > 0 => return None,
            Sextet::Bits(bits) => bits,
            Sextet::Pad if self.sextets < 2 => return None,
            Sextet::Pad => {
                self.pads += 1;
                0
            }
        };
        self.bits = (self.bits << 6) | u32::from(bits);
        self.sextets += 1;
        if self.sextets < 4 {
            return Some(None);
        }
        let [_, first, second, third] = self.bits.to_be_bytes();
        let count = 3 - usize::from(self.pads);
        *self = Self::default();
        Some(Some(([first, second, third], count)))
    }
}

enum Sextet {
    Bits(u8),
    Pad,
}

/// `None` for a byte outside the alphabet.
const fn sextet(byte: u8) -> Option<Sextet> {
    Some(Sextet::Bits(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        PAD => return Some(Sextet::Pad),
        _ => return None,
    }))
}

/// The letter of the lowest six bits.
fn letter(bits: u32) -> u8 {
    ALPHABET.get((bits & 63) as usize).copied().unwrap_or(PAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &[u8]) -> Option<Vec<u8>> {
        let mut room = [0; 250];
        decode(&mut room, text).map(|length| room[..length].to_vec())
    }

    #[test]
    fn the_vectors_of_rfc_4648() {
        let pairs: [(&[u8], &[u8]); 6] = [
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
        ];
        for (plain, text) in pairs {
            let mut out = Vec::new();
            encode(&mut out, plain);
            assert_eq!(out, text);
            assert_eq!(decoded(text).as_deref(), Some(plain));
        }
    }

    #[test]
    fn bytes_outside_the_alphabet_are_skipped() {
        assert_eq!(decoded(b"Zm-9\xffv!").as_deref(), Some(&b"foo"[..]));
    }

    #[test]
    fn broken_text_is_refused() {
        for text in [
            &b""[..],
            b"!!",
            b"Z",
            b"Zg",
            b"Zg=",
            b"Z===",
            b"====",
            b"Zg==Zg==",
            b"Zm=v",
            b"Zm9vZ===",
        ] {
            assert_eq!(decoded(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(decode(&mut [0; 2], b"Zm9v"), None);
        assert_eq!(decode(&mut [0; 3], b"Zm9v"), Some(3));
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in proptest::collection::vec(0u8.., 1..187)) {
            let mut text = Vec::new();
            encode(&mut text, &bytes);
            proptest::prop_assert_eq!(decoded(&text), Some(bytes));
        }
    }
}
