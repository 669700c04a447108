//! The part of a shell's grammar that configuration files use: quotes, backslashes, variables.
//!
//! Everything else that a shell would act on (pipes, substitutions, redirections) is a fault, so
//! that a file never means something else here than where it comes from. Wildcards stay as they
//! are: `-l *` means every address, though a shell would have listed files.

/// What only a shell could understand.
pub(super) type Fault = String;

/// Looks a variable up.
pub(super) type Lookup<'l> = &'l dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// Splits a text into words and takes the quotes away.
pub(super) fn split(text: &[u8], lookup: Lookup<'_>) -> Result<Vec<Vec<u8>>, Fault> {
    let mut words = Vec::new();
    let mut rest = text.trim_ascii_start();
    while !rest.is_empty() {
        let mut word = Vec::new();
        rest = take_word(rest, &mut word, lookup)?.trim_ascii_start();
        words.push(word);
    }
    Ok(words)
}

/// Moves one word, without its quotes, into `word`; answers what follows it.
pub(super) fn take_word<'t>(
    text: &'t [u8],
    word: &mut Vec<u8>,
    lookup: Lookup<'_>,
) -> Result<&'t [u8], Fault> {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b if b.is_ascii_whitespace() => return Ok(rest),
            b'\'' => take_single(after, word)?,
            b'"' => take_double(after, word, lookup)?,
            b'\\' => take_escaped(after, word, |_| true),
            b'$' => take_variable(after, word, lookup)?,
            b'`' | b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' => {
                let byte = char::from(*byte);
                return Err(format!("'{byte}' means something to a shell; quote it"));
            }
            b => {
                word.push(*b);
                after
            }
        };
    }
    Ok(rest)
}

fn take_single<'t>(text: &'t [u8], word: &mut Vec<u8>) -> Result<&'t [u8], Fault> {
    let end = text.iter().position(|b| *b == b'\'').ok_or("a quote is not closed")?;
    let (inside, rest) = text.split_at_checked(end).unwrap_or_default();
    word.extend_from_slice(inside);
    Ok(rest.get(1..).unwrap_or_default())
}

fn take_double<'t>(
    text: &'t [u8],
    word: &mut Vec<u8>,
    lookup: Lookup<'_>,
) -> Result<&'t [u8], Fault> {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => return Ok(after),
            b'\\' => take_escaped(after, word, |b| b"\"\\$`\n".contains(&b)),
            b'$' => take_variable(after, word, lookup)?,
            b'`' => return Err("commands in backquotes are not run".to_owned()),
            b => {
                word.push(*b);
                after
            }
        };
    }
    Err("a quote is not closed".to_owned())
}

/// After a backslash: a line end vanishes with it; a byte that it escapes stands for itself.
fn take_escaped<'t>(text: &'t [u8], word: &mut Vec<u8>, escapes: fn(u8) -> bool) -> &'t [u8] {
    let Some((byte, rest)) = text.split_first() else {
        word.push(b'\\');
        return text;
    };
    if *byte != b'\n' || !escapes(b'\n') {
        if !escapes(*byte) {
            word.push(b'\\');
        }
        word.push(*byte);
    }
    rest
}

/// Longest value that variables may grow to, in bytes. Linux takes no longer argument.
const EXPANDED_BYTES_MAX: usize = 128 * 1024;

/// After a `$`: `NAME` or `{NAME}`.
fn take_variable<'t>(
    text: &'t [u8],
    word: &mut Vec<u8>,
    lookup: Lookup<'_>,
) -> Result<&'t [u8], Fault> {
    let braced = text.strip_prefix(b"{");
    let start = braced.unwrap_or(text);
    let length = name_length(start);
    let (name, rest) = start.split_at_checked(length).unwrap_or_default();
    let rest = match braced {
        Some(_) => rest.strip_prefix(b"}").filter(|_| length > 0),
        None => Some(rest).filter(|_| length > 0),
    };
    let Some(rest) = rest else {
        return Err("'$' with anything but the name of a variable is not understood".to_owned());
    };
    let value = lookup(name)
        .ok_or_else(|| format!("the variable {} has no value here", name.escape_ascii()))?;
    // Each variable may stand for two of the one before: thirty lines would fill the memory.
    if word.len().saturating_add(value.len()) > EXPANDED_BYTES_MAX {
        return Err(format!("a value grows beyond {EXPANDED_BYTES_MAX} bytes"));
    }
    word.extend_from_slice(&value);
    Ok(rest)
}

/// Bytes at the start that make a variable's name.
pub(super) fn name_length(text: &[u8]) -> usize {
    if text.first().is_none_or(u8::is_ascii_digit) {
        return 0;
    }
    text.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, Fault> {
        let lookup = |name: &[u8]| (name == b"PORT").then(|| b"11211".to_vec());
        let words = split(text.as_bytes(), &lookup)?;
        Ok(words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
    }

    #[test]
    fn quotes_and_backslashes() {
        assert_eq!(words(" a  'b c'\t\"d e\" f\\ g ").unwrap(), ["a", "b c", "d e", "f g"]);
        assert_eq!(words("a'b'\"c\"").unwrap(), ["abc"]);
        assert_eq!(words("'' \"\"").unwrap(), ["", ""]);
        assert_eq!(words("\"a\\\"b\\n\" c\\\nd").unwrap(), ["a\"b\\n", "cd"]);
        assert_eq!(words("-l * a?[b]").unwrap(), ["-l", "*", "a?[b]"]);
        assert_eq!(words("a\\").unwrap(), ["a\\"]);
    }

    #[test]
    fn variables() {
        assert_eq!(
            words("-U $PORT \"${PORT}0\" '$PORT'").unwrap(),
            ["-U", "11211", "112110", "$PORT"]
        );
        assert!(words("$HOME").unwrap_err().contains("HOME"));
        assert!(words("$(id)").is_err());
        assert!(words("${PORT:-1}").is_err());
        assert!(words("$").is_err());
    }

    #[test]
    fn variables_cannot_fill_the_memory() {
        let half = vec![b'x'; EXPANDED_BYTES_MAX / 2];
        let lookup = |_: &[u8]| Some(half.clone());
        assert_eq!(split(b"$A$A", &lookup).unwrap(), [vec![b'x'; EXPANDED_BYTES_MAX]]);
        assert!(split(b"$A$A$A", &lookup).unwrap_err().contains("grows beyond"));
    }

    #[test]
    fn what_a_shell_would_run_is_refused() {
        for text in ["`id`", "a;b", "a|b", "a&b", "a>b", "\"`id`\"", "'a", "\"a"] {
            assert!(words(text).is_err(), "{text}");
        }
        assert_eq!(words("'a;b'").unwrap(), ["a;b"]);
    }
}
