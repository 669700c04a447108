//! Takes secrets out of texts before they are kept: private keys, password hashes, passwords.
//!
//! A link of a hostile disk can give `/etc/shadow` or a private key any name. So what a text holds
//! counts, not what it is called.
//!
//! Invariants:
//! - What is taken out is replaced by a word in brackets, so that a reader sees that it was there.
//! - A text without secrets is left as it is, byte by byte.

use memchr::memmem;

/// What stands in the place of a private key.
const KEY: &[u8] = b"[left out: a private key]";
/// What stands in the place of a password's hash.
const HASH: &[u8] = b"[left out: a password hash]";
/// What stands in the place of a password or token.
const WORD: &str = "[left out]";
/// The middle of the line before a private key: `-----BEGIN OPENSSH PRIVATE KEY-----`.
const KEY_MARK: &[u8] = b"PRIVATE KEY-----";
/// Names of the methods of `crypt(3)`, as they stand between `$` and `$`.
const METHODS: [&[u8]; 14] =
    [b"1", b"2", b"2a", b"2b", b"2x", b"2y", b"3", b"5", b"6", b"7", b"y", b"gy", b"apr1", b"sha1"];
/// Fewest characters behind the method that are a hash and no price or variable.
const HASH_CHARS_MIN: usize = 8;
/// What names of variables and options with a secret contain, in small letters.
const NAMES: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "access_key"];
/// Longest name of such a variable.
const NAME_CHARS_MAX: usize = 64;

/// Without private keys and password hashes, and how many there were; `None` = there are none.
pub(crate) fn without_keys(bytes: &[u8]) -> Option<(Vec<u8>, u32)> {
    let mut found = 0;
    let no_keys = blocks(bytes, &mut found);
    let no_hashes = hashes(no_keys.as_deref().unwrap_or(bytes), &mut found);
    no_hashes.or(no_keys).map(|bytes| (bytes, found))
}

/// Without these, and without passwords that are given by name: `DB_PASSWORD=...`.
pub(crate) fn without_secrets(bytes: &[u8]) -> Option<(Vec<u8>, u32)> {
    let (bytes, found) = match without_keys(bytes) {
        Some((bytes, found)) => (bytes, found),
        None => (bytes.to_vec(), 0),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut more = 0;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(&named(line, &mut more));
    }
    match (found, more) {
        (0, 0) => None,
        // Bytes that are no UTF-8 stay as they are where only keys were taken out.
        (found, 0) => Some((bytes, found)),
        (found, more) => Some((out.into_bytes(), found + more)),
    }
}

/// The same of a text that is kept.
pub(crate) fn clean(text: String) -> String {
    match without_secrets(text.as_bytes()) {
        Some((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
        None => text,
    }
}

/// The same of the words of a command line: `--password x` is two of them.
pub(crate) fn clean_words(words: Vec<String>) -> Vec<String> {
    let mut asked = false;
    let clean = |word: String| {
        let answer = std::mem::replace(&mut asked, word.starts_with('-') && is_name(&word));
        if answer && !word.starts_with('-') { WORD.to_owned() } else { self::clean(word) }
    };
    words.into_iter().map(clean).collect()
}

/// Replaces private keys, from the line that begins one to the line that ends it.
fn blocks(bytes: &[u8], found: &mut u32) -> Option<Vec<u8>> {
    memmem::find(bytes, KEY_MARK).or_else(|| memmem::find(bytes, b"Private-Lines:"))?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut inside = false;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let says = |word: &[u8]| memmem::find(line, word).is_some();
        let putty = line.starts_with(b"Private-Lines:");
        let begins = (says(b"-----BEGIN ") && says(KEY_MARK)) || putty;
        if begins && !inside {
            inside = true;
            *found += 1;
            out.extend(KEY);
            out.push(b'\n');
        }
        if !inside {
            out.extend(line);
        }
        if says(b"-----END ") && says(KEY_MARK) {
            inside = false;
        }
    }
    Some(out)
}

fn is_hash_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"./$=,+_-".contains(&byte)
}

/// Replaces what `crypt(3)` made: `$6$salt$hash`, and the old form of 13 letters in its place.
fn hashes(bytes: &[u8], found: &mut u32) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut done = 0;
    for at in memchr::memchr_iter(b'$', bytes) {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        let method = rest.split(|byte| *byte == b'$').next().unwrap_or_default();
        if at < done || !METHODS.contains(&method) {
            continue;
        }
        let hash = rest.get(method.len() + 1..).unwrap_or_default();
        let len = hash.iter().take_while(|byte| is_hash_byte(**byte)).count();
        if len < HASH_CHARS_MIN {
            continue;
        }
        let out = out.get_or_insert_default();
        out.extend(bytes.get(done..at).unwrap_or_default());
        out.extend(HASH);
        done = at + 1 + method.len() + 1 + len;
        *found += 1;
    }
    if let Some(out) = &mut out {
        out.extend(bytes.get(done..).unwrap_or_default());
    }
    old_hashes(out.as_deref().unwrap_or(bytes), found).or(out)
}

/// `name:abJnggxhB/yWI:0:0:...`, as in the days before `/etc/shadow`.
fn old_hashes(bytes: &[u8], found: &mut u32) -> Option<Vec<u8>> {
    let hash = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, hash) = (fields.next()?, fields.next()?);
        let number = fields.next()?;
        let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"./".contains(byte);
        (digits && hash.len() == 13 && hash.iter().all(plain)).then_some(name.len() + 1)
    };
    if !bytes.split(|byte| *byte == b'\n').any(|line| hash(line).is_some()) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match hash(line).and_then(|at| Some((line.get(..at)?, line.get(at + 13..)?))) {
            Some((before, after)) => {
                *found += 1;
                out.extend(before.iter().chain(HASH).chain(after));
            }
            None => out.extend(line),
        }
    }
    Some(out)
}

fn is_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    name.len() <= NAME_CHARS_MAX && NAMES.iter().any(|known| name.contains(known))
}

/// Replaces what stands behind `PASSWORD=` and between `://user:` and `@`.
fn named(line: &str, found: &mut u32) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', '@']) {
        let (before, sign) = (rest.get(..at).unwrap_or_default(), rest.get(at..at + 1));
        let after = rest.get(at + 1..).unwrap_or_default();
        if sign == Some("@") {
            out.push_str(&without_user(before, found));
            out.push('@');
            rest = after;
            continue;
        }
        out.push_str(before);
        out.push('=');
        let name = before.rsplit(|c: char| !c.is_alphanumeric() && !"_-.".contains(c)).next();
        let value = after.trim_start_matches(['"', '\'']);
        let len = value.find(|c: char| c.is_whitespace() || "\"'&;".contains(c));
        let len = len.unwrap_or(value.len());
        // `PASSWORD=$OTHER` names a variable.
        let plain = value.get(..len).is_some_and(|v| !v.is_empty() && !v.starts_with('$'));
        if plain && name.is_some_and(is_name) {
            *found += 1;
            out.push_str(WORD);
            rest = value.get(len..).unwrap_or_default();
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// `https://user:password` before an `@`.
fn without_user(before: &str, found: &mut u32) -> String {
    let parts = before.rsplit_once("://").and_then(|(scheme, user)| {
        let (user, password) = user.split_once(':')?;
        let plain = |text: &str| !text.contains(|c: char| c.is_whitespace() || c == '/');
        (plain(user) && plain(password) && !password.is_empty()).then_some((scheme, user))
    });
    match parts {
        Some((scheme, user)) => {
            *found += 1;
            format!("{scheme}://{user}:{WORD}")
        }
        None => before.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\nAAAA\n\
                       -----END OPENSSH PRIVATE KEY-----\n";

    #[test]
    fn keys_and_hashes_are_found_whatever_their_file_is_called() {
        let clean = |text: &str| clean(text.to_owned());
        assert_eq!(clean(&format!("a\n{PEM}b\n")), "a\n[left out: a private key]\nb\n");
        let cut = PEM.get(..60).unwrap();
        assert_eq!(clean(cut), "[left out: a private key]\n", "a key that was cut off");
        let shadow = "root:$6$salt$abcdefghijkl/.:17000:0\nx:$y$j9T$abcdefgh$ijkl:1::\n";
        assert_eq!(
            clean(shadow),
            "root:[left out: a password hash]:17000:0\nx:[left out: a password hash]:1::\n"
        );
        assert_eq!(clean("r:abJnggxhB/yWI:0:0::/:\n"), "r:[left out: a password hash]:0:0::/:\n");
        assert_eq!(clean("r:!$1$salt$hashhash:0"), "r:![left out: a password hash]:0");
    }

    #[test]
    fn passwords_are_taken_by_their_names() {
        let clean = |text: &str| clean(text.to_owned());
        assert_eq!(
            clean("Environment=\"DB_PASSWORD=hunter2\" A=b"),
            "Environment=\"DB_PASSWORD=[left out]\" A=b"
        );
        assert_eq!(clean("x --token=abc&y=1"), "x --token=[left out]&y=1");
        assert_eq!(
            clean("curl https://u:hunter2@h.example/x"),
            "curl https://u:[left out]@h.example/x"
        );
        let words = ["mysql", "--password", "hunter2", "-h", "db"].map(str::to_owned);
        assert_eq!(clean_words(words.into()), ["mysql", "--password", "[left out]", "-h", "db"]);
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in [
            "",
            "a=b",
            "root:x:0:0:root:/root:/bin/bash\n",
            "echo $1 $HOME costs $5",
            "PASSWORD=$OTHER",
            "git@github.example:x/y",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@home",
            "-----BEGIN CERTIFICATE-----",
            "awk '{print $1$2}'",
        ] {
            assert_eq!(clean(text.to_owned()), text);
        }
        assert_eq!(without_secrets(b"\xff\xfe = \n"), None);
    }
}
