//! What is kept of a password, and whether a password fits it.
//!
//! ```text
//!   plain       secret
//!   argon2id    $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH
//!   SCRAM       SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY
//! ```
//!
//! Invariants:
//! - What can be read costs a bounded amount of memory and time to check, whoever wrote it.
//! - A check does the same work whether the password fits or not.
//! - A hash of a kind that is not known here is an error, never somebody's plain password.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::Choice;
use zeroize::{Zeroize, Zeroizing};

use super::digest::{self, DIGEST_BYTES, Digest, Key};
use crate::limits::{
    ARGON2_KIBIBYTES_MAX, ARGON2_LANES_MAX, ARGON2_PASSES_MAX, PASSWORD_BYTES_MAX, SALT_BYTES_MAX,
    SCRAM_ROUNDS_MAX, SCRAM_ROUNDS_MIN,
};

/// Fewest bytes of a salt: what argon2 and SCRAM's own document ask for.
const SALT_BYTES_MIN: usize = 8;
/// Bytes of the hash in an argon2id line.
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// What is kept of one password.
#[derive(Clone)]
pub(super) enum Verifier {
    /// The password itself.
    Plain(Zeroizing<Vec<u8>>),
    /// Its argon2id hash.
    Argon2id(Argon2id),
    /// SCRAM-SHA-256's keys.
    Scram(ScramKeys),
}

/// An argon2id hash with its parameters.
#[derive(Clone)]
pub(super) struct Argon2id {
    params: Params,
    salt: Vec<u8>,
    hash: Zeroizing<Vec<u8>>,
}

/// What SCRAM-SHA-256 keeps.
#[derive(Clone)]
pub(super) struct ScramKeys {
    /// Rounds of PBKDF2.
    pub rounds: u32,
    /// Its salt.
    pub salt: Vec<u8>,
    /// The digest of the client's key.
    pub stored: Digest,
    /// The server's key.
    pub server: Digest,
}

/// Where passwords are hashed: the memory that argon2id works in, kept from one check to the next,
/// and what the checks have cost. Each password thread has its own.
///
/// Asking the system for such memory again for each hash costs more than a wipe does, and leaves it
/// to the allocator how much of it stays.
#[derive(Default)]
pub(crate) struct Bench {
    /// What was spent.
    pub work: Work,
    memory: Vec<Block>,
}

impl Bench {
    /// Gives the memory back.
    pub(crate) fn release(&mut self) {
        self.memory = Vec::new();
    }
}

/// What checks have cost, in units that do not depend on the machine.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Work {
    /// argon2id: kibibytes times passes.
    pub argon2: u64,
    /// Rounds of PBKDF2.
    pub pbkdf2: u64,
    /// Comparisons of plain passwords.
    pub plain: u64,
}

/// Why a password's stored form cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierError {
    /// Nothing, which would let everybody in who knows the name.
    #[error("the password is empty")]
    Empty,
    /// A password that no peer could send.
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// A hash of another kind.
    #[error(
        "this looks like a password hash of a kind that is not known here; make the line with \
         `kannuki passwd` (argon2id or SCRAM-SHA-256)"
    )]
    UnknownHash,
    /// Broken argon2id.
    #[error(
        "not a sound argon2id hash; it looks like $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH and is \
         made with `kannuki passwd`"
    )]
    Argon2id,
    /// Argon2id that costs too much.
    #[error(
        "this argon2id hash costs more than is allowed here: m up to {ARGON2_KIBIBYTES_MAX}, t up \
         to {ARGON2_PASSES_MAX}, p up to {ARGON2_LANES_MAX}; make it anew with `kannuki passwd`"
    )]
    Argon2idCost,
    /// Broken SCRAM.
    #[error(
        "not a sound SCRAM-SHA-256 line; it looks like \
         SCRAM-SHA-256$ROUNDS:SALT$STOREDKEY:SERVERKEY and is made with `kannuki passwd --scram`"
    )]
    Scram,
    /// SCRAM that costs too much or too little.
    #[error(
        "SCRAM-SHA-256 wants {SCRAM_ROUNDS_MIN} to {SCRAM_ROUNDS_MAX} rounds; make the line anew \
         with `kannuki passwd --scram`"
    )]
    ScramCost,
}

/// How lines of Kannuki's own kinds begin.
const ARGON2ID: &[u8] = b"$argon2id$";
const SCRAM: &[u8] = b"SCRAM-SHA-256$";

/// How hashes begin that other programs write; as passwords they would be known to whoever reads
/// the file.
const FOREIGN: [&[u8]; 17] = [
    b"$argon2i$",
    b"$argon2d$",
    b"$2a$",
    b"$2b$",
    b"$2x$",
    b"$2y$",
    b"$apr1$",
    b"$1$",
    b"$5$",
    b"$6$",
    b"$y$",
    b"$7$",
    b"$scrypt$",
    b"$pbkdf2",
    b"{SHA}",
    b"{SSHA}",
    b"SCRAM-SHA-",
];

impl Verifier {
    /// Reads what stands behind the name.
    pub(super) fn parse(text: &[u8]) -> Result<Self, VerifierError> {
        if text.is_empty() {
            return Err(VerifierError::Empty);
        }
        if let Some(rest) = text.strip_prefix(ARGON2ID) {
            return Argon2id::parse(rest).map(Self::Argon2id);
        }
        if let Some(rest) = text.strip_prefix(SCRAM) {
            return ScramKeys::parse(rest).map(Self::Scram);
        }
        if FOREIGN.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(VerifierError::UnknownHash);
        }
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(VerifierError::TooLong);
        }
        Ok(Self::Plain(Zeroizing::new(text.to_vec())))
    }

    /// Whether the text begins as one of the hashed forms does.
    pub(super) fn is_hashed(text: &[u8]) -> bool {
        text.starts_with(ARGON2ID) || text.starts_with(SCRAM)
    }

    /// Whether the password fits. `key` makes plain passwords equally long.
    pub(super) fn check(&self, key: &Key, password: &[u8], bench: &mut Bench) -> Choice {
        match self {
            Self::Plain(kept) => {
                bench.work.plain += 1;
                let (kept, given) =
                    (key.digest("plain", &[kept]), key.digest("plain", &[password]));
                digest::same(kept.as_slice(), given.as_slice())
            }
            Self::Argon2id(kept) => kept.check(password, bench),
            Self::Scram(kept) => {
                bench.work.pbkdf2 += u64::from(kept.rounds);
                let made = ScramKeys::make(password, &kept.salt, kept.rounds);
                digest::same(made.stored.as_slice(), kept.stored.as_slice())
            }
        }
    }
}

impl Argon2id {
    /// Hashes a password.
    pub(super) fn make(password: &[u8], salt: &[u8], params: Params) -> Option<Self> {
        let hash = hash(password, salt, &params, DIGEST_BYTES, &mut Vec::new())?;
        Some(Self { params, salt: salt.to_vec(), hash })
    }

    /// Reads what stands behind `$argon2id$`.
    fn parse(rest: &[u8]) -> Result<Self, VerifierError> {
        let text = std::str::from_utf8(rest).map_err(|_| VerifierError::Argon2id)?;
        let parts: Vec<&str> = text.split('$').collect();
        let &["v=19", costs, salt, hash] = parts.as_slice() else {
            return Err(VerifierError::Argon2id);
        };
        let (salt, hash) = (unpadded(salt, SALT_BYTES_MAX), unpadded(hash, *HASH_BYTES.end()));
        let (Some(salt), Some(hash)) = (salt, hash) else { return Err(VerifierError::Argon2id) };
        if salt.len() < SALT_BYTES_MIN || !HASH_BYTES.contains(&hash.len()) {
            return Err(VerifierError::Argon2id);
        }
        let params = params(costs, hash.len())?;
        Ok(Self { params, salt, hash: Zeroizing::new(hash) })
    }

    fn check(&self, password: &[u8], bench: &mut Bench) -> Choice {
        bench.work.argon2 += u64::from(self.params.m_cost()) * u64::from(self.params.t_cost());
        hash(password, &self.salt, &self.params, self.hash.len(), &mut bench.memory)
            .map_or_else(|| Choice::from(0), |made| digest::same(&made, &self.hash))
    }
}

/// `None` never happens with the parameters and lengths that are let in.
fn hash(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    bytes: usize,
    memory: &mut Vec<Block>,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(vec![0; bytes]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.clear();
        memory.resize(blocks, Block::default());
    }
    let used = memory.get_mut(..blocks)?;
    let hashed = argon2.hash_password_into_with_memory(password, salt, &mut out, &mut *used);
    used.iter_mut().for_each(Zeroize::zeroize);
    hashed.ok().map(|()| out)
}

/// `m=19456,t=2,p=1`, in this order, as everybody writes it.
fn params(costs: &str, hash_bytes: usize) -> Result<Params, VerifierError> {
    let mut costs = costs.split(',');
    let mut cost = |name: &str| {
        let number = costs.next()?.strip_prefix(name)?.strip_prefix('=')?;
        let canonical = number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse::<u32>().ok().filter(|_| canonical)
    };
    let (Some(m), Some(t), Some(p)) = (cost("m"), cost("t"), cost("p")) else {
        return Err(VerifierError::Argon2id);
    };
    if costs.next().is_some() {
        return Err(VerifierError::Argon2id);
    }
    if m > ARGON2_KIBIBYTES_MAX || t > ARGON2_PASSES_MAX || p > ARGON2_LANES_MAX {
        return Err(VerifierError::Argon2idCost);
    }
    Params::new(m, t, p, Some(hash_bytes)).map_err(|_| VerifierError::Argon2id)
}

/// Base64 without padding, as in argon2's lines.
fn unpadded(text: &str, bytes_max: usize) -> Option<Vec<u8>> {
    let padding = match text.len() % 4 {
        0 => "",
        2 => "==",
        3 => "=",
        _ => return None,
    };
    (!text.contains('='))
        .then(|| digest::from_base64(format!("{text}{padding}").as_bytes(), bytes_max))?
}

impl ScramKeys {
    /// The keys of a password.
    pub(super) fn make(password: &[u8], salt: &[u8], rounds: u32) -> Self {
        let salted = digest::pbkdf2(password, salt, rounds);
        let client = digest::mac(salted.as_slice(), &[b"Client Key"]);
        Self {
            rounds,
            salt: salt.to_vec(),
            stored: digest::sha256(client.as_slice()),
            server: digest::mac(salted.as_slice(), &[b"Server Key"]),
        }
    }

    /// Reads what stands behind `SCRAM-SHA-256$`.
    fn parse(rest: &[u8]) -> Result<Self, VerifierError> {
        let text = std::str::from_utf8(rest).map_err(|_| VerifierError::Scram)?;
        let parts: Vec<&str> = text.split(['$', ':']).collect();
        let &[rounds, salt, stored, server] = parts.as_slice() else {
            return Err(VerifierError::Scram);
        };
        let salt = digest::from_base64(salt.as_bytes(), SALT_BYTES_MAX);
        let key = |text: &str| {
            let bytes = digest::from_base64(text.as_bytes(), DIGEST_BYTES)?;
            <[u8; DIGEST_BYTES]>::try_from(bytes).ok().map(Zeroizing::new)
        };
        let all = (rounds.parse::<u32>().ok(), salt, key(stored), key(server));
        let (Some(rounds), Some(salt), Some(stored), Some(server)) = all else {
            return Err(VerifierError::Scram);
        };
        if salt.len() < SALT_BYTES_MIN || rest.iter().filter(|&&byte| byte == b'$').count() != 1 {
            return Err(VerifierError::Scram);
        }
        if !(SCRAM_ROUNDS_MIN..=SCRAM_ROUNDS_MAX).contains(&rounds) {
            return Err(VerifierError::ScramCost);
        }
        Ok(Self { rounds, salt, stored, server })
    }
}

/// As it stands in a file, without a plain password.
impl std::fmt::Display for Argon2id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (m, t, p) = (self.params.m_cost(), self.params.t_cost(), self.params.p_cost());
        let short = |bytes: &[u8]| digest::to_base64(bytes).trim_end_matches('=').to_owned();
        let (salt, hash) = (short(&self.salt), short(&self.hash));
        write!(f, "$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")
    }
}

/// As it stands in a file.
impl std::fmt::Display for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (salt, rounds) = (digest::to_base64(&self.salt), self.rounds);
        let (stored, server) = (self.stored.as_slice(), self.server.as_slice());
        let (stored, server) = (digest::to_base64(stored), digest::to_base64(server));
        write!(f, "SCRAM-SHA-256${rounds}:{salt}${stored}:{server}")
    }
}

/// Only the kind: what is kept of a password is nobody's business.
impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Argon2id(_) => "Argon2id(..)",
            Self::Scram(_) => "Scram(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verifier: &str, password: &str) -> (bool, Work) {
        let mut bench = Bench::default();
        let verifier = Verifier::parse(verifier.as_bytes()).unwrap();
        let key = Key::random().unwrap();
        (verifier.check(&key, password.as_bytes(), &mut bench).into(), bench.work)
    }

    /// Made with the reference implementation: `echo -n password | argon2 somesalt -id -t 2 -m 16`.
    const ARGON2ID_REFERENCE: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
        CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    /// The user of RFC 7677, section 3, whose password is `pencil`.
    const SCRAM_RFC: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn hashes_of_others_are_understood() {
        assert!(check(ARGON2ID_REFERENCE, "password").0);
        assert!(check(SCRAM_RFC, "pencil").0);
        assert!(check("secret", "secret").0);
    }

    #[test]
    fn a_wrong_password_costs_what_the_right_one_does() {
        for (verifier, right) in
            [(ARGON2ID_REFERENCE, "password"), (SCRAM_RFC, "pencil"), ("secret", "secret")]
        {
            let (_, work) = check(verifier, right);
            assert_ne!(work, Work::default());
            for wrong in ["", "x", "secret ", "Secret", "a much longer password than the right one"]
            {
                assert_eq!(check(verifier, wrong), (false, work), "{wrong}");
            }
        }
    }

    #[test]
    fn memory_that_was_used_before_changes_no_hash() {
        let make = |m: u32, t: u32| {
            let params = Params::new(m, t, 1, None).unwrap();
            Argon2id::make(b"right", b"0123456789abcdef", params).unwrap()
        };
        let mut bench = Bench::default();
        for kept in [make(64, 2), make(16, 1), make(128, 3), make(64, 1)] {
            for (password, fits) in [(b"wrong", false), (b"right", true)] {
                bench.memory.iter_mut().for_each(|block| block.as_mut().fill(u64::MAX));
                assert_eq!(bool::from(kept.check(password, &mut bench)), fits);
                let used = bench.memory.get(..kept.params.block_count()).unwrap();
                assert!(used.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
            }
        }
        bench.release();
        assert_eq!(bench.memory.capacity(), 0);
    }

    #[test]
    fn what_is_made_can_be_read() {
        let salt = b"0123456789abcdef";
        let made = Argon2id::make(b"s3cret", salt, Params::new(64, 1, 1, None).unwrap()).unwrap();
        assert!(check(&made.to_string(), "s3cret").0);
        let made = ScramKeys::make(b"s3cret", salt, 4096);
        assert!(check(&made.to_string(), "s3cret").0);
        assert!(!format!("{:?}", Verifier::parse(b"s3cret").unwrap()).contains("s3cret"));
    }

    #[test]
    fn broken_and_foreign_hashes_are_no_passwords() {
        use VerifierError::{Argon2id, Argon2idCost, Empty, Scram, ScramCost, UnknownHash};
        let argon2 = |costs: &str| {
            format!(
                "$argon2id$v=19${costs}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
            )
        };
        let long = |rounds: &str| SCRAM_RFC.replace("4096", rounds);
        for (text, error) in [
            ("".to_owned(), Empty),
            ("$argon2id$".to_owned(), Argon2id),
            (ARGON2ID_REFERENCE.replace("v=19", "v=16"), Argon2id),
            (ARGON2ID_REFERENCE.replace("c29tZXNhbHQ", "c29t"), Argon2id),
            (ARGON2ID_REFERENCE.replace("c29tZXNhbHQ", "c29tZXNhbHR"), Argon2id),
            (argon2("m=8,t=1"), Argon2id),
            (argon2("m=+8,t=1,p=1"), Argon2id),
            (argon2("t=1,m=8,p=1"), Argon2id),
            (argon2("m=1,t=1,p=1"), Argon2id),
            (argon2("m=8,t=0,p=1"), Argon2id),
            (argon2("m=8,t=1,p=1,keyid=x"), Argon2id),
            (argon2("m=4194304,t=1,p=1"), Argon2idCost),
            (argon2("m=8,t=4000000,p=1"), Argon2idCost),
            ("SCRAM-SHA-256$".to_owned(), Scram),
            (SCRAM_RFC.replace("W22Z", "W22"), Scram),
            (SCRAM_RFC.replace('$', ":"), UnknownHash),
            (SCRAM_RFC.replace("SHA-256", "SHA-1"), UnknownHash),
            (long("1"), ScramCost),
            (long("4000000000"), ScramCost),
            ("$2y$05$abcdefghijklmnopqrstuv".to_owned(), UnknownHash),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".to_owned(), UnknownHash),
        ] {
            assert_eq!(Verifier::parse(text.as_bytes()).unwrap_err(), error, "{text}");
        }
        let long = vec![b'x'; PASSWORD_BYTES_MAX + 1];
        assert_eq!(Verifier::parse(&long).unwrap_err(), VerifierError::TooLong);
    }
}
