//! Addresses of mails, as far as a letter needs them.

use thiserror::Error;

/// Longest address, in bytes (RFC 5321).
const ADDRESS_BYTES_MAX: usize = 254;
/// Longest name beside an address, in characters.
const NAME_CHARS_MAX: usize = 100;

/// `desk@provider.example`, or `Abuse desk <desk@provider.example>`. Nothing in it ends a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    name: String,
    address: String,
}

/// Why something is no address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Not of the form.
    #[error("write one address, like desk@provider.example or Abuse desk <desk@provider.example>")]
    Form,
    /// Letters that mails do not carry in addresses.
    #[error("an address has ASCII letters only; write a domain with others in its xn-- form")]
    NotAscii,
    /// It has control characters or is too long.
    #[error("the name beside the address has up to 100 printable characters")]
    Name,
}

impl Mailbox {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// When it is none, or more than one.
    pub fn read(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(char::is_control) {
            return Err(AddressError::Name);
        }
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>') {
            Some(rest) => rest.rsplit_once('<').ok_or(AddressError::Form)?,
            None => ("", text),
        };
        let name = name.trim().trim_matches('"');
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(AddressError::Name);
        }
        if !address.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        match is_address(address) {
            true => Ok(Self { name: name.to_owned(), address: address.to_owned() }),
            false => Err(AddressError::Form),
        }
    }

    /// The name beside it; empty = none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address itself.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn is_address(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let atom = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b))
    };
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    address.len() <= ADDRESS_BYTES_MAX
        && local.split('.').all(atom)
        && domain.contains('.')
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_names() {
        let read = |text| Mailbox::read(text).map(|m| (m.name, m.address));
        let pair = |name: &str, address: &str| Ok((name.to_owned(), address.to_owned()));
        assert_eq!(read("a.b+c@x-y.example"), pair("", "a.b+c@x-y.example"));
        assert_eq!(read(" \"Abuse, desk\" <d@p.example> "), pair("Abuse, desk", "d@p.example"));
        assert_eq!(read("\u{7a93}\u{53e3} <d@p.example>"), pair("\u{7a93}\u{53e3}", "d@p.example"));
    }

    #[test]
    fn nothing_else_is_an_address() {
        for (text, why) in [
            ("", AddressError::Form),
            ("desk", AddressError::Form),
            ("a@b", AddressError::Form),
            ("a@p.example, b@p.example", AddressError::Form),
            ("a@p.example\r\nBcc: b@p.example", AddressError::Name),
            ("x\n <a@p.example>", AddressError::Name),
            ("<a@p.example", AddressError::Form),
            ("a b@p.example", AddressError::Form),
            ("a@-p.example", AddressError::Form),
            ("a..b@p.example", AddressError::Form),
            ("d@\u{7a93}.example", AddressError::NotAscii),
        ] {
            assert_eq!(Mailbox::read(text), Err(why), "{text:?}");
        }
        assert!(Mailbox::read(&format!("{}@p.example", "x".repeat(250))).is_err());
    }
}
