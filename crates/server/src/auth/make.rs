//! Making the lines of a file of users, for `kannuki passwd`.

use argon2::Params;
use kannuki_guard::{NameError, UserName};

use super::verifier::{Argon2id, ScramKeys};
use crate::limits::PASSWORD_BYTES_MAX;

/// Kibibytes, passes and lanes of a new argon2id hash: what OWASP recommends at the least; some
/// 20 ms of one core, which a log-in should not exceed in a cache.
const ARGON2: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Rounds of a new SCRAM line: as PostgreSQL and the RFC's example have it, for the client pays
/// them at every log-in.
const SCRAM_ROUNDS: u32 = 4096;
/// Bytes of a new salt.
const SALT_BYTES: usize = 16;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The name.
    #[error("the name {0}")]
    Name(NameError),
    /// A colon ends the name.
    #[error("a name cannot have a colon, which ends it in the file")]
    Colon,
    /// No password.
    #[error("the password is empty")]
    Empty,
    /// No peer could send it.
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// A line end or NUL, which cannot be sent or stored.
    #[error("the password has a control character")]
    Control,
    /// Beyond ASCII clients and servers would have to agree on a normal form.
    #[error(
        "SCRAM takes printable ASCII passwords only, because clients differ beyond that; choose \
         another, or leave --scram out"
    )]
    NotAscii,
    /// No randomness, or no memory to hash in.
    #[error("cannot hash: {0}")]
    System(String),
}

/// `name:$argon2id$...`, without a line end.
///
/// # Errors
/// Says what is wrong with name or password.
pub fn argon2id_line(name: &str, password: &[u8]) -> Result<String, MakeError> {
    sound(name, password)?;
    let (kibibytes, passes, lanes) = ARGON2;
    let system = |error: &dyn std::fmt::Display| MakeError::System(error.to_string());
    let params = Params::new(kibibytes, passes, lanes, None).map_err(|error| system(&error))?;
    let made = Argon2id::make(password, &salt()?, params);
    let made = made.ok_or_else(|| system(&"argon2 failed"))?;
    Ok(format!("{name}:{made}"))
}

/// `name:SCRAM-SHA-256$...`, without a line end.
///
/// # Errors
/// Says what is wrong with name or password.
pub fn scram_line(name: &str, password: &[u8]) -> Result<String, MakeError> {
    sound(name, password)?;
    if !password.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return Err(MakeError::NotAscii);
    }
    Ok(format!("{name}:{}", ScramKeys::make(password, &salt()?, SCRAM_ROUNDS)))
}

fn sound(name: &str, password: &[u8]) -> Result<(), MakeError> {
    UserName::new(name).map_err(MakeError::Name)?;
    if name.contains(':') {
        return Err(MakeError::Colon);
    }
    if password.is_empty() {
        return Err(MakeError::Empty);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(MakeError::TooLong);
    }
    if password.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r')) {
        return Err(MakeError::Control);
    }
    Ok(())
}

fn salt() -> Result<[u8; SALT_BYTES], MakeError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| MakeError::System(error.to_string()))?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Format, Users, digest::Key, verifier::Bench};

    #[test]
    fn lines_that_are_made_let_in() {
        let file = format!(
            "{}\n{}\n",
            argon2id_line("app", b"s3cret").unwrap(),
            scram_line("bob", b"p w").unwrap()
        );
        assert!(!file.contains("s3cret"));
        let users =
            Users::parse(file.as_bytes(), Format::AuthFile, Key::random().unwrap()).unwrap();
        let mut bench = Bench::default();
        assert!(users.check(b"app", b"s3cret", &mut bench).is_some());
        assert!(users.check(b"bob", b"p w", &mut bench).is_some());
        assert!(users.check(b"bob", b"s3cret", &mut bench).is_none());
    }

    #[test]
    fn salts_differ_and_nonsense_is_refused() {
        assert_ne!(scram_line("a", b"x").unwrap(), scram_line("a", b"x").unwrap());
        assert!(matches!(argon2id_line("", b"x"), Err(MakeError::Name(_))));
        assert!(matches!(argon2id_line("a:b", b"x"), Err(MakeError::Colon)));
        assert!(matches!(argon2id_line("a", b""), Err(MakeError::Empty)));
        assert!(matches!(argon2id_line("a", b"x\ny"), Err(MakeError::Control)));
        assert!(matches!(argon2id_line("a", &[b'x'; 1025]), Err(MakeError::TooLong)));
        assert!(matches!(scram_line("a", "\u{e9}".as_bytes()), Err(MakeError::NotAscii)));
        assert!(argon2id_line("a", "\u{e9}".as_bytes()).is_ok());
    }
}
