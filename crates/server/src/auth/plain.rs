//! The two messages that hold a password as it is: memcached's text log-in and SASL PLAIN.

use zeroize::Zeroizing;

use super::attempt::Attempt;

/// `name password`: the password begins behind the first blank and may hold others. `None` = no
/// name or no password.
#[must_use]
pub(crate) fn text(message: &[u8]) -> Option<Attempt> {
    let blank = message.iter().position(|&byte| byte == b' ')?;
    attempt(message.get(..blank)?, message.get(blank + 1..)?)
}

/// `[authorize] NUL name NUL password` (RFC 4616). To act for another user is not known here.
#[must_use]
pub(crate) fn sasl(message: &[u8]) -> Option<Attempt> {
    let mut parts = message.split(|&byte| byte == 0);
    let (authorize, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !(authorize.is_empty() || authorize == name) {
        return None;
    }
    attempt(name, password)
}

fn attempt(name: &[u8], password: &[u8]) -> Option<Attempt> {
    if name.is_empty() || password.is_empty() {
        return None;
    }
    let password = Zeroizing::new(password.to_vec());
    Some(Attempt::Password { name: name.to_vec(), password })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(attempt: Option<Attempt>) -> Option<(String, String)> {
        let Attempt::Password { name, password } = attempt? else { return None };
        Some((String::from_utf8(name).unwrap(), String::from_utf8(password.to_vec()).unwrap()))
    }

    fn pair(name: &str, password: &str) -> Option<(String, String)> {
        Some((name.to_owned(), password.to_owned()))
    }

    #[test]
    fn text_is_cut_at_the_first_blank() {
        assert_eq!(read(text(b"app secret")), pair("app", "secret"));
        assert_eq!(read(text(b"app a b ")), pair("app", "a b "));
        for wrong in [b"app".as_slice(), b"", b" ", b"app ", b" secret"] {
            assert!(text(wrong).is_none());
        }
    }

    #[test]
    fn plain_has_three_parts() {
        assert_eq!(read(sasl(b"\0app\0secret")), pair("app", "secret"));
        assert_eq!(read(sasl(b"app\0app\0se cret")), pair("app", "se cret"));
        for wrong in [
            b"".as_slice(),
            b"app\0secret",
            b"bob\0app\0secret",
            b"\0app\0a\0b",
            b"\0\0x",
            b"\0x\0",
        ] {
            assert!(sasl(wrong).is_none(), "{}", wrong.escape_ascii());
        }
    }
}
