//! The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
//!
//! ```text
//!   client  n,,n=user,r=NONCE                          first
//!   server  r=NONCE+OURS,s=SALT,i=ROUNDS
//!   client  c=biws,r=NONCE+OURS,p=PROOF                last
//!   server  v=SIGNATURE
//! ```
//!
//! Invariants:
//! - A message is read whole or not at all; nothing of it is guessed.
//! - Names are taken byte for byte after `=2C` and `=3D`: no SASLprep. Where client and file agree
//!   on ASCII that changes nothing; `kannuki passwd --scram` refuses passwords where it would.

use kannuki_guard::UserName;
use subtle::Choice;

use super::{
    digest::{self, DIGEST_BYTES, Digest},
    users::{Identity, Users},
    verifier::{Bench, ScramKeys},
};
use crate::limits::SCRAM_MESSAGE_BYTES_MAX;

/// Bytes of our part of the nonce, in base64: 144 bits.
const NONCE_BYTES: usize = 18;

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A log-in between the client's two messages.
#[derive(Debug)]
pub(crate) struct Exchange {
    name: Vec<u8>,
    /// The client's `n,,` or `y,,`, which it repeats at the end.
    header: Vec<u8>,
    /// The client's first message without it.
    first: Vec<u8>,
    /// Ours.
    challenge: Vec<u8>,
    nonce: Vec<u8>,
}

impl Exchange {
    /// Reads the client's first message; `ours` is the server's part of the nonce.
    pub(super) fn begin(users: &Users, message: &[u8], ours: &[u8]) -> Result<Self, Malformed> {
        if message.len() > SCRAM_MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        let (header, first) = split_header(message)?;
        let mut parts = first.split(|&byte| byte == b',');
        let name = attribute(parts.next(), b"n=")?;
        let theirs = attribute(parts.next(), b"r=")?;
        // More parts would be extensions, which a server may ignore; `m=` in front of the name is a
        // mandatory one, and was no name.
        if theirs.is_empty() || !theirs.iter().all(|byte| (0x21..0x7f).contains(byte)) {
            return Err(Malformed);
        }
        let name = unescaped(name)?;
        if header.authorize.is_some_and(|other| other != name) {
            return Err(Malformed);
        }
        let (salt, rounds) = users.challenge(&name).ok_or(Malformed)?;
        let nonce = [theirs, ours].concat();
        let mut challenge = [b"r=", nonce.as_slice()].concat();
        challenge.extend(format!(",s={},i={rounds}", digest::to_base64(&salt)).bytes());
        let (header, first) = (header.bytes.to_vec(), first.to_vec());
        Ok(Self { name, header, first, challenge, nonce })
    }

    /// The same with a nonce of the system's.
    pub(crate) fn start(users: &Users, message: &[u8]) -> Result<Self, Malformed> {
        let mut ours = [0; NONCE_BYTES];
        // Without random bytes nobody logs in.
        getrandom::fill(&mut ours).map_err(|_| Malformed)?;
        Self::begin(users, message, digest::to_base64(&ours).as_bytes())
    }

    /// What the client is told after its first message.
    #[must_use]
    pub(crate) fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    /// Reads the client's last message: who it was and the answer that proves the server to it, or
    /// nobody. Heavy where the file has plain passwords.
    pub(super) fn finish(
        &self,
        users: &Users,
        message: &[u8],
        bench: &mut Bench,
    ) -> Option<(Identity, Vec<u8>)> {
        let (bare, proof) = self.read_last(message).ok()?;
        let said = [&self.first, b",".as_slice(), &self.challenge, b",", bare].concat();
        let fits = |keys: &ScramKeys| fits(keys, &proof, &said);
        let (identity, server) = users.check_proof(&self.name, fits, bench)?;
        let signature = digest::mac(server.as_slice(), &[&said]);
        Some((identity, format!("v={}", digest::to_base64(signature.as_slice())).into_bytes()))
    }

    /// The last message without its proof, and the proof.
    fn read_last<'m>(&self, message: &'m [u8]) -> Result<(&'m [u8], Digest), Malformed> {
        if message.len() > SCRAM_MESSAGE_BYTES_MAX {
            return Err(Malformed);
        }
        let at = message.windows(3).rposition(|window| window == b",p=").ok_or(Malformed)?;
        let (bare, proof) = message.split_at_checked(at).ok_or(Malformed)?;
        let proof = digest::from_base64(proof.get(3..).unwrap_or_default(), DIGEST_BYTES);
        let proof = <[u8; DIGEST_BYTES]>::try_from(proof.ok_or(Malformed)?);
        let mut parts = bare.split(|&byte| byte == b',');
        let header = attribute(parts.next(), b"c=")?;
        let nonce = attribute(parts.next(), b"r=")?;
        if header != digest::to_base64(&self.header).as_bytes() || nonce != self.nonce {
            return Err(Malformed);
        }
        Ok((bare, Digest::new(proof.map_err(|_| Malformed)?)))
    }
}

/// Whether the proof was made by somebody who knows the client's key.
fn fits(keys: &ScramKeys, proof: &Digest, said: &[u8]) -> Choice {
    let signature = digest::mac(keys.stored.as_slice(), &[said]);
    let mut client = Digest::default();
    for ((byte, proof), signature) in client.iter_mut().zip(proof.iter()).zip(signature.iter()) {
        *byte = proof ^ signature;
    }
    digest::same(digest::sha256(client.as_slice()).as_slice(), keys.stored.as_slice())
}

/// What stands in front of the client's first message.
struct Header<'m> {
    bytes: &'m [u8],
    authorize: Option<Vec<u8>>,
}

/// `n,,` or `y,,`, perhaps with `a=name` between the commas. `y` says that the client could bind to
/// the channel and believes that the server cannot, which is so; `p=` wants it, and cannot have it.
fn split_header(message: &[u8]) -> Result<(Header<'_>, &[u8]), Malformed> {
    let rest = message.strip_prefix(b"n,").or_else(|| message.strip_prefix(b"y,"));
    let rest = rest.ok_or(Malformed)?;
    let comma = rest.iter().position(|&byte| byte == b',').ok_or(Malformed)?;
    let (authorize, first) = rest.split_at_checked(comma).ok_or(Malformed)?;
    let first = first.get(1..).unwrap_or_default();
    let authorize = match authorize {
        b"" => None,
        named => Some(unescaped(attribute(Some(named), b"a=")?)?),
    };
    let bytes = message.get(..message.len() - first.len()).unwrap_or_default();
    Ok((Header { bytes, authorize }, first))
}

fn attribute<'m>(part: Option<&'m [u8]>, letter: &[u8]) -> Result<&'m [u8], Malformed> {
    part.and_then(|part| part.strip_prefix(letter)).ok_or(Malformed)
}

/// A name with its `=2C` and `=3D` turned back; any other `=` is an error.
fn unescaped(mut name: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(name.len());
    while let Some((&byte, rest)) = name.split_first() {
        name = rest;
        out.push(match byte {
            b'=' => {
                let (code, rest) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
                name = rest;
                match code {
                    b"2C" => b',',
                    b"3D" => b'=',
                    _ => return Err(Malformed),
                }
            }
            byte => byte,
        });
    }
    // A name that no file can have is no name.
    UserName::new(&out).map(|_| out).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{digest::Key, users::Format};

    /// RFC 7677, section 3: user `user`, password `pencil`.
    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const OURS: &[u8] = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CHALLENGE: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const LAST: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const ANSWER: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn users(file: &str) -> Users {
        Users::parse(file.as_bytes(), Format::AuthFile, Key::random().unwrap()).unwrap()
    }

    fn rfc_users() -> Users {
        let salt = digest::from_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==", 16).unwrap();
        users(&format!("user:{}\n", ScramKeys::make(b"pencil", &salt, 4096)))
    }

    /// A client: the last message to a challenge.
    fn last(password: &[u8], header: &str, first: &[u8], challenge: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(challenge).unwrap();
        let mut parts = text.split(',');
        let nonce = parts.next().unwrap();
        let salt = digest::from_base64(&parts.next().unwrap().as_bytes()[2..], 64).unwrap();
        let rounds = parts.next().unwrap()[2..].parse().unwrap();
        let salted = digest::pbkdf2(password, &salt, rounds);
        let client = digest::mac(salted.as_slice(), &[b"Client Key"]);
        let stored = digest::sha256(client.as_slice());
        let bare = format!("c={},{nonce}", digest::to_base64(header.as_bytes()));
        let said = [&first[header.len()..], b",", challenge, b",", bare.as_bytes()].concat();
        let signature = digest::mac(stored.as_slice(), &[&said]);
        let proof: Vec<u8> = client.iter().zip(signature.iter()).map(|(a, b)| a ^ b).collect();
        format!("{bare},p={}", digest::to_base64(&proof)).into_bytes()
    }

    #[test]
    fn the_exchange_of_rfc_7677() {
        let users = rfc_users();
        let exchange = Exchange::begin(&users, FIRST, OURS).unwrap();
        assert_eq!(
            exchange.challenge().escape_ascii().to_string(),
            CHALLENGE.escape_ascii().to_string()
        );
        let (identity, answer) = exchange.finish(&users, LAST, &mut Bench::default()).unwrap();
        assert_eq!((identity.name.as_str(), answer.as_slice()), ("user", ANSWER));
    }

    #[test]
    fn any_changed_byte_of_the_last_message_fails() {
        let users = rfc_users();
        let exchange = Exchange::begin(&users, FIRST, OURS).unwrap();
        for at in 0..LAST.len() {
            for bit in [1, 0x20] {
                let mut changed = LAST.to_vec();
                changed[at] ^= bit;
                let finished = exchange.finish(&users, &changed, &mut Bench::default());
                assert!(finished.is_none(), "{}", changed.escape_ascii());
            }
        }
    }

    #[test]
    fn channel_binding_and_other_names() {
        let users = users("user:pencil\nbob,b=c:x\n");
        let goes = |header: &str, name: &str, password: &[u8]| {
            let first = format!("{header}n={name},r=abc");
            let exchange = Exchange::start(&users, first.as_bytes()).ok()?;
            let last = last(password, header, first.as_bytes(), exchange.challenge());
            let (identity, _) = exchange.finish(&users, &last, &mut Bench::default())?;
            Some(identity.name.as_str().to_owned())
        };
        for header in ["n,,", "y,,", "n,a=user,", "y,a=user,"] {
            assert_eq!(goes(header, "user", b"pencil").as_deref(), Some("user"), "{header}");
            assert_eq!(goes(header, "user", b"Pencil"), None, "{header}");
        }
        assert_eq!(goes("n,,", "bob=2Cb=3Dc", b"x").as_deref(), Some("bob,b=c"));
        for header in ["p=tls-unique,,", "n,a=bob,", "x,,", "n,", "", ",,", "n,a,"] {
            assert_eq!(goes(header, "user", b"pencil"), None, "{header}");
        }
        for name in ["us=2Cer", "user=", "=2c", "", "bob,b=c"] {
            assert_eq!(goes("n,,", name, b"pencil"), None, "{name}");
        }
    }

    #[test]
    fn broken_first_messages_are_refused() {
        let users = rfc_users();
        for message in [
            b"".as_slice(),
            b"n,,",
            b"n,,n=user",
            b"n,,n=user,r=",
            b"n,,n=user,r=a b",
            b"n,,r=abc,n=user",
            b"n,,m=x,n=user,r=abc",
            b"n,,n=us\ner,r=abc",
        ] {
            let begun = Exchange::start(&users, message);
            assert!(matches!(begun, Err(Malformed)), "{}", message.escape_ascii());
        }
        let long = [b"n,,n=user,r=".as_slice(), &vec![b'a'; SCRAM_MESSAGE_BYTES_MAX]].concat();
        assert!(Exchange::start(&users, &long).is_err());
        assert!(Exchange::start(&users, b"n,,n=user,r=abc,x=more").is_ok(), "an extension");
    }

    #[test]
    fn an_unknown_name_looks_like_a_known_one() {
        let users = rfc_users();
        let asked = |name: &str| {
            let first = format!("n,,n={name},r=abc");
            let exchange = Exchange::begin(&users, first.as_bytes(), b"o").unwrap();
            let mut bench = Bench::default();
            let last = last(b"pencil", "n,,", first.as_bytes(), exchange.challenge());
            let found = exchange.finish(&users, &last, &mut bench).is_some();
            (exchange.challenge().to_vec(), bench.work, found)
        };
        let (known, known_work, found) = asked("user");
        let (unknown, work, unknown_found) = asked("nobody");
        assert_eq!((found, unknown_found, work), (true, false, known_work));
        assert_eq!(unknown.len(), known.len(), "salt and rounds of the same length");
        assert_eq!(asked("nobody").0, unknown, "the same salt when asked again");
        assert_ne!(asked("someone").0, unknown, "another for another name");
    }
}
