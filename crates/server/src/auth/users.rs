//! The file of users: one `name:password` a line, as memcached reads it, or with a hash in the
//! place of the password.
//!
//! Invariants:
//! - Nothing is skipped: a line that cannot be read is an error that tells its number, and an error
//!   never tells what stands in the line.
//! - An unknown name is checked against the line of some user that the name itself picks, and fails
//!   whatever comes of it. So it costs what a known name costs, also where costs differ by user.
//! - Which line is picked, and every salt that is made up, comes from a key that no peer knows.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use kannuki_guard::UserName;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::Zeroizing;

use super::{
    digest::{DIGEST_BYTES, Digest, Key},
    verifier::{Bench, ScramKeys, Verifier, VerifierError},
};
use crate::limits::{PASSWORD_BYTES_MAX, SCRAM_ROUNDS_MIN, USERS_FILE_BYTES_MAX, USERS_MAX};

/// What the lines of a file look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `name:password`; everything behind the first colon is the password (`-Y`).
    AuthFile,
    /// `name:password[:...]`; a plain password ends at the next colon (`MEMCACHED_SASL_PWDB`).
    SaslPwdb,
}

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    /// It is larger than anything this server would use.
    #[error("is longer than {USERS_FILE_BYTES_MAX} bytes")]
    TooLong,
    /// Nobody could log in.
    #[error("has no users; add one with `kannuki passwd FILE NAME`")]
    NoUsers,
    /// More than `USERS_MAX`.
    #[error("has more than {USERS_MAX} users")]
    TooMany,
    /// One line is wrong.
    #[error("line {line}: {fault}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// The system has no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// No colon.
    #[error("is not `name:password`")]
    Shape,
    /// A line end of another system.
    #[error("ends with CR LF, which would be a part of the password; save it with LF alone")]
    CarriageReturn,
    /// A byte that no text has.
    #[error("has a NUL byte")]
    Nul,
    /// The name.
    #[error("the name {0}")]
    Name(kannuki_guard::NameError),
    /// The password.
    #[error(transparent)]
    Password(#[from] VerifierError),
    /// The name stands in an earlier line.
    #[error("the same name as in line {0}; one of them has to go")]
    Twice(usize),
}

/// What is odd about a file that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsersWarning {
    /// Others may read it; the permission bits.
    OpenToOthers(u32),
    /// A name with a blank cannot log in by text; the line.
    BlankInName(usize),
    /// A line that looks like a comment is a user; the line.
    LooksLikeComment(usize),
}

impl std::fmt::Display for UsersWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OpenToOthers(mode) => write!(
                f,
                "every user of this host may read or change it (mode {mode:04o}); chmod o= it"
            ),
            Self::BlankInName(line) => {
                write!(f, "line {line}: a name with a blank can log in by SASL only")
            }
            Self::LooksLikeComment(line) => {
                write!(f, "line {line}: there are no comments; this is a user whose name begins #")
            }
        }
    }
}

/// All users of one file. A changed file makes new ones.
pub struct Users {
    lines: Vec<Line>,
    by_name: HashMap<UserName, usize>,
    key: Key,
    warnings: Vec<UsersWarning>,
    /// Some line is of use for SCRAM.
    have_scram: bool,
}

struct Line {
    name: UserName,
    verifier: Verifier,
    /// Tells this line from what an earlier file said of the same name.
    tag: Tag,
    /// A digest of the password that fitted last: whoever comes again with it, as the whole pool of
    /// an application does after a restart, is not hashed again.
    fitted: Mutex<Option<Digest>>,
}

/// Stands for one line of one file; another password makes another tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag([u8; DIGEST_BYTES]);

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tag(..)")
    }
}

/// Somebody who has proved to be this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name.
    pub name: UserName,
    /// The line that was true then.
    pub tag: Tag,
}

impl Users {
    /// Reads a file.
    ///
    /// # Errors
    /// Says what is wrong, with the line; never shows a password.
    pub fn read(path: &Path, format: Format) -> Result<Self, UsersError> {
        let key = Key::random().map_err(UsersError::Random)?;
        Self::read_with(path, format, key)
    }

    /// Reads a file under a key that outlives it.
    pub(super) fn read_with(path: &Path, format: Format, key: Key) -> Result<Self, UsersError> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        // Sized at once, so that no smaller buffer with passwords is left behind unwiped.
        let size = metadata.len().min(USERS_FILE_BYTES_MAX) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
        file.by_ref().take(size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > USERS_FILE_BYTES_MAX {
            return Err(UsersError::TooLong);
        }
        let mut users = Self::parse(&bytes, format, key)?;
        if metadata.is_file() && metadata.mode() & OPEN_TO_OTHERS != 0 {
            users.warnings.push(UsersWarning::OpenToOthers(metadata.mode() & MODE_BITS));
        }
        Ok(users)
    }

    /// Reads lines.
    pub(super) fn parse(bytes: &[u8], format: Format, key: Key) -> Result<Self, UsersError> {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if text.is_empty() {
            return Err(UsersError::NoUsers);
        }
        let mut users = Self {
            lines: Vec::new(),
            by_name: HashMap::new(),
            key,
            warnings: Vec::new(),
            have_scram: false,
        };
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            if users.lines.len() == USERS_MAX {
                return Err(UsersError::TooMany);
            }
            users
                .add(number, line, format)
                .map_err(|fault| UsersError::Line { line: number, fault })?;
        }
        Ok(users)
    }

    fn add(&mut self, number: usize, line: &[u8], format: Format) -> Result<(), LineFault> {
        if line.ends_with(b"\r") {
            return Err(LineFault::CarriageReturn);
        }
        if line.contains(&0) {
            return Err(LineFault::Nul);
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(LineFault::Shape)?;
        let (name, rest) = line.split_at_checked(colon).ok_or(LineFault::Shape)?;
        let password = rest.get(1..).unwrap_or_default();
        let name = UserName::new(name).map_err(LineFault::Name)?;
        let password = match format {
            Format::SaslPwdb if !Verifier::is_hashed(password) => {
                password.split(|&byte| byte == b':').next().unwrap_or_default()
            }
            _ => password,
        };
        let verifier = Verifier::parse(password)?;
        if name.as_str().contains(' ') {
            self.warnings.push(UsersWarning::BlankInName(number));
        }
        if name.as_str().starts_with('#') {
            self.warnings.push(UsersWarning::LooksLikeComment(number));
        }
        if let Some(earlier) = self.by_name.insert(name.clone(), self.lines.len()) {
            return Err(LineFault::Twice(earlier + 1));
        }
        self.have_scram |= !matches!(verifier, Verifier::Argon2id(_));
        let tag = Tag(*self.key.digest("tag", &[line]));
        self.lines.push(Line { name, verifier, tag, fitted: Mutex::new(None) });
        Ok(())
    }

    /// What is odd about the file.
    #[must_use]
    pub fn warnings(&self) -> &[UsersWarning] {
        &self.warnings
    }

    /// How many users there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Whether SCRAM can succeed for anybody: an argon2id hash holds nothing of use for it.
    #[must_use]
    pub(crate) fn have_scram(&self) -> bool {
        self.have_scram
    }

    /// Whether the file still says of this user what it said when he logged in.
    #[must_use]
    pub(crate) fn still_have(&self, identity: &Identity) -> bool {
        let line = self.by_name.get(&identity.name).and_then(|&at| self.lines.get(at));
        line.is_some_and(|line| line.tag == identity.tag)
    }

    /// Whether the password fits the name; adds what finding out has cost.
    pub(super) fn check(
        &self,
        name: &[u8],
        password: &[u8],
        bench: &mut Bench,
    ) -> Option<Identity> {
        let (line, known) = self.line_of(name)?;
        let digest = self.key.digest("fitted", &[name, password]);
        if line.fitted_before(&digest) && known {
            return Some(line.identity());
        }
        // A password that no file can hold still costs the same, but not more.
        let (held, _) = password.split_at_checked(PASSWORD_BYTES_MAX).unwrap_or((password, &[]));
        let short = Choice::from(u8::from(held.len() == password.len()));
        let fits = line.verifier.check(&self.key, held, bench) & short;
        if !(bool::from(fits) && known) {
            return None;
        }
        *line.fitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        Some(line.identity())
    }

    /// What SCRAM tells a client who gives this name, known or not: salt and rounds.
    pub(super) fn challenge(&self, name: &[u8]) -> Option<(Vec<u8>, u32)> {
        let (line, known) = self.line_of(name)?;
        let made_up = |length: usize| {
            let salt = self.key.digest("salt", &[name]);
            salt.iter().copied().cycle().take(length).collect()
        };
        Some(match &line.verifier {
            Verifier::Scram(keys) if known => (keys.salt.clone(), keys.rounds),
            Verifier::Scram(keys) => (made_up(keys.salt.len()), keys.rounds),
            Verifier::Plain(_) | Verifier::Argon2id(_) => (made_up(SALT_BYTES), SCRAM_ROUNDS_MIN),
        })
    }

    /// Whether SCRAM's proof fits the name; `proof` says so of keys. Adds what it has cost.
    pub(super) fn check_proof(
        &self,
        name: &[u8],
        proof: impl FnOnce(&ScramKeys) -> Choice,
        bench: &mut Bench,
    ) -> Option<(Identity, Digest)> {
        let (line, known) = self.line_of(name)?;
        let (salt, rounds) = self.challenge(name)?;
        let (keys, possible) = match &line.verifier {
            Verifier::Scram(keys) => (keys.clone(), true),
            Verifier::Plain(password) => {
                bench.work.pbkdf2 += u64::from(rounds);
                (ScramKeys::make(password, &salt, rounds), true)
            }
            Verifier::Argon2id(_) => {
                let stored = self.key.digest("stored", &[name]);
                (ScramKeys { rounds, salt, server: stored.clone(), stored }, false)
            }
        };
        let fits = bool::from(proof(&keys));
        (fits && known && possible).then(|| (line.identity(), keys.server))
    }

    /// The line of a name, or the one that an unknown name picks, and whether it is known.
    fn line_of(&self, name: &[u8]) -> Option<(&Line, bool)> {
        let known = UserName::new(name).ok().and_then(|name| self.by_name.get(&name));
        let picked = self.key.digest("pick", &[name]);
        let picked = picked.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let picked = picked % (self.lines.len() as u64).max(1);
        let at = known.copied().unwrap_or_else(|| usize::try_from(picked).unwrap_or(0));
        self.lines.get(at).map(|line| (line, known.is_some()))
    }
}

impl Line {
    fn identity(&self) -> Identity {
        Identity { name: self.name.clone(), tag: self.tag }
    }

    fn fitted_before(&self, digest: &Digest) -> bool {
        let fitted = self.fitted.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = Digest::default();
        let kept = fitted.as_ref().unwrap_or(&nothing);
        kept.as_slice().ct_eq(digest.as_slice()).into()
    }
}

/// Permission bits that let everybody read or write.
const OPEN_TO_OTHERS: u32 = 0o006;
/// All permission bits.
const MODE_BITS: u32 = 0o7777;
/// Bytes of a salt that is made up.
const SALT_BYTES: usize = 16;

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({})", self.lines.len())
    }
}

#[cfg(test)]
mod tests;
