//! One value of one option: bytes in, a checked value out.
//!
//! Invariants:
//! - A value that leaves here is within the bounds of its option.
//! - The text of a fault says what is wrong with the value and what would be right; the caller adds
//!   the option and the place.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use super::{
    listen::{self, ListenElement},
    problem::{EXIT_PARSE, EXIT_SYSTEM, EXIT_USAGE},
    spec::{Integer, OptionSpec, Shape, Spelling, Unit},
};

/// Most sizes in a list of slab sizes: memcached has 63 classes.
const SLAB_SIZES_MAX: usize = 63;

/// A count written as a number: `-vvv` is the most that means anything.
const COUNT: Integer = Integer::between(0, 3).or_exit(EXIT_USAGE);

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Present (or set) or not.
    Switch(bool),
    /// In the unit of the option; an item size or another size in bytes, a duration in seconds.
    Number(i64),
    /// With a fraction.
    Real(f64),
    /// Permission bits.
    Mode(u32),
    /// One byte.
    Character(u8),
    /// Text or one of a few words.
    Text(String),
    /// Path of a file.
    Path(PathBuf),
    /// Addresses to listen on.
    Listen(Vec<ListenElement>),
    /// Ascending sizes.
    Sizes(Vec<u32>),
}

/// How strictly a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As memcached does: leading blanks are skipped, garbage after a number is dropped.
    Memcached,
    /// Numbers may carry a unit (`64m`, `30s`) and must be whole.
    Strict,
}

/// What was wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) exit_code: u8,
}

/// A value, and a remark if it is not what was typed.
pub(super) type Read = Result<(Value, Option<String>), Fault>;

/// Reads `typed` as a value of `spec`.
pub(super) fn read(spec: &OptionSpec, typed: &[u8], manner: Manner) -> Read {
    let typed = typed.trim_ascii_start();
    match spec.shape {
        Shape::Integer(integer) => read_integer(integer, typed, manner),
        Shape::Real { above, max } => read_real(above, max, typed, manner),
        Shape::Octal => read_octal(typed, manner),
        Shape::ItemSize => read_item_size(typed, manner),
        Shape::Size { min } => read_size(min, typed).map(plain),
        Shape::Duration => read_quantity(typed, DURATIONS, "30s, 5m, 12h or 7d").map(plain),
        Shape::Character => read_character(typed),
        Shape::Choice(words) => {
            read_choice(words, typed).map(plain).map_err(|fault| match spec.spelling {
                // memcached stops at a bad word of `-o` while it parses, at one of `-B` afterwards.
                Spelling::Suboption { .. } => Fault { exit_code: EXIT_PARSE, ..fault },
                Spelling::Flag { .. } => fault,
            })
        }
        Shape::Text | Shape::Extended => read_text(typed).map(|text| plain(Value::Text(text))),
        Shape::Path => read_path(typed).map(plain),
        Shape::Listen => listen::read(typed).map(|list| plain(Value::Listen(list))),
        Shape::SlabSizes => read_slab_sizes(typed).map(plain),
        Shape::Count => read_integer(COUNT, typed, Manner::Strict),
        Shape::Switch | Shape::Action(_) => read_switch(typed).map(plain),
    }
}

impl Value {
    /// The value as a literal of `kannuki.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        match self {
            Self::Switch(on) => on.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Real(real) => format!("{real:?}"),
            Self::Mode(mode) => quoted(&format!("{mode:o}")),
            Self::Character(byte) => quoted(&char::from(*byte).to_string()),
            Self::Text(text) => quoted(text),
            Self::Path(path) => quoted(&path.to_string_lossy()),
            Self::Listen(list) => {
                let list: Vec<String> = list.iter().map(|e| quoted(&e.to_string())).collect();
                format!("[{}]", list.join(", "))
            }
            Self::Sizes(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
                quoted(&sizes.join("-"))
            }
        }
    }
}

/// A basic string of TOML.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

const fn plain(value: Value) -> (Value, Option<String>) {
    (value, None)
}

fn parse_fault(reason: impl Into<String>) -> Fault {
    Fault { reason: reason.into(), exit_code: EXIT_PARSE }
}

fn read_integer(integer: Integer, typed: &[u8], manner: Manner) -> Read {
    let strict = integer.strict || manner == Manner::Strict;
    let (number, whole) = match integer_with_unit(integer.unit, typed, manner) {
        Some(number) => (number, true),
        None => leading_integer(typed),
    };
    if strict && !whole {
        return Err(Fault {
            reason: format!("must be a number{}", unit_hint(integer.unit, manner)),
            exit_code: integer.exit_code,
        });
    }
    if number < integer.min || number > integer.max {
        let reason = bounds(integer, number);
        return Err(Fault { reason, exit_code: integer.exit_code });
    }
    Ok((Value::Number(number), remark(typed, whole, &number.to_string())))
}

/// In a file a number may be text with a unit; it must come out whole in the option's own unit.
fn integer_with_unit(unit: Unit, typed: &[u8], manner: Manner) -> Option<i64> {
    if manner == Manner::Memcached || typed.last().is_none_or(u8::is_ascii_digit) {
        return None;
    }
    let scales = match unit {
        Unit::One => return None,
        Unit::Seconds => DURATIONS,
        Unit::Kibibytes | Unit::Mebibytes => SIZES,
    };
    let Ok(Value::Number(total)) = read_quantity(typed, scales, "") else { return None };
    let factor = i64::try_from(unit.factor()).ok()?;
    (total % factor == 0).then_some(total / factor)
}

const fn unit_hint(unit: Unit, manner: Manner) -> &'static str {
    match (unit, manner) {
        (_, Manner::Memcached) | (Unit::One, _) => "",
        (Unit::Kibibytes, _) => " of KiB, or a size such as \"64k\"",
        (Unit::Mebibytes, _) => " of MiB, or a size such as \"64m\" or \"1GiB\"",
        (Unit::Seconds, _) => " of seconds, or a duration such as \"30s\"",
    }
}

fn bounds(integer: Integer, number: i64) -> String {
    match (integer.min, integer.max) {
        (_, max) if number > max => format!("must be at most {max}"),
        (1, max) if max >= i64::from(i32::MAX) => "must be greater than 0".to_owned(),
        (min, max) if max >= i64::from(i32::MAX) => format!("must be at least {min}"),
        (min, max) => format!("must be from {min} to {max}"),
    }
}

fn remark(typed: &[u8], whole: bool, read_as: &str) -> Option<String> {
    (!whole).then(|| format!("\"{}\" is read as {read_as}", typed.escape_ascii()))
}

/// The number at the start, 0 if there is none, held at the bounds of 64 bits; and whether that was
/// all.
fn leading_integer(typed: &[u8]) -> (i64, bool) {
    let (negative, digits) = match typed.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, typed),
    };
    let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = digits.iter().take(length).fold(0_i64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0')))
    });
    let number = if negative { number.saturating_neg() } else { number };
    (number, length > 0 && length == digits.trim_ascii_end().len())
}

fn read_real(above: f64, max: f64, typed: &[u8], manner: Manner) -> Read {
    let length = typed.iter().take_while(|b| b"0123456789+-.eE".contains(b)).count();
    // The longest start that is a number, as strtod reads it.
    let number = (1..=length.min(REAL_BYTES_MAX)).rev().find_map(|end| {
        let text = std::str::from_utf8(typed.get(..end)?).ok()?;
        text.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| (n, end))
    });
    let (number, end) = number.unwrap_or((0.0, 0));
    let whole = end > 0 && end == typed.trim_ascii_end().len();
    if manner == Manner::Strict && !whole {
        return Err(parse_fault("must be a number"));
    }
    if number <= above || number > max {
        let reason = if max < f64::MAX {
            format!("must be greater than {above} and at most {max}")
        } else {
            format!("must be greater than {above}")
        };
        return Err(parse_fault(reason));
    }
    Ok((Value::Real(number), remark(typed, whole, &number.to_string())))
}

/// Longer fractions mean nothing; it bounds the search for the longest start that is a number.
const REAL_BYTES_MAX: usize = 64;

fn read_octal(typed: &[u8], manner: Manner) -> Read {
    let length = typed.iter().take_while(|b| (b'0'..=b'7').contains(b)).count();
    let whole = length > 0 && length == typed.trim_ascii_end().len();
    let mode = typed.iter().take(length).fold(0_u32, |sum, digit| {
        sum.saturating_mul(8).saturating_add(u32::from(digit.wrapping_sub(b'0')))
    });
    if mode > 0o777 || (manner == Manner::Strict && !whole) {
        return Err(Fault {
            reason: "must be permission bits in octal, from 0 to 777".to_owned(),
            exit_code: EXIT_USAGE,
        });
    }
    Ok((Value::Mode(mode), remark(typed, whole, &format!("{mode:o}"))))
}

/// Smallest and greatest item size of memcached, in bytes.
const ITEM_SIZE_RANGE: std::ops::RangeInclusive<i64> = 1024..=1 << 30;

fn read_item_size(typed: &[u8], manner: Manner) -> Read {
    let typed = typed.trim_ascii_end();
    let (number, factor) = match typed.split_last() {
        Some((b'k' | b'K', rest)) => (rest, 1024),
        Some((b'm' | b'M', rest)) => (rest, 1 << 20),
        // Not memcached's: there it is one byte, and refused.
        Some((b'g' | b'G', rest)) => (rest, 1 << 30),
        _ => (typed, 1),
    };
    let (number, whole) = leading_integer(number);
    let (bytes, whole) = match manner {
        Manner::Strict if !whole => match read_quantity(typed, SIZES, "") {
            Ok(Value::Number(bytes)) => (bytes, true),
            _ => (0, false),
        },
        _ => (number.saturating_mul(factor), whole),
    };
    if !ITEM_SIZE_RANGE.contains(&bytes) {
        let read_as = if whole { String::new() } else { format!(" (read as {bytes})") };
        return Err(Fault {
            reason: format!("must be from 1024 bytes to 1g; the suffixes are k, m and g{read_as}"),
            exit_code: EXIT_USAGE,
        });
    }
    Ok((Value::Number(bytes), remark(typed, whole, &format!("{bytes} bytes"))))
}

/// Suffixes and their factors; compared without regard to case.
type Scales = &'static [(&'static str, u64)];

const SIZES: Scales = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tb", 1 << 40),
    ("tib", 1 << 40),
];

const DURATIONS: Scales = &[("", 1), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];

fn read_size(min: u64, typed: &[u8]) -> Result<Value, Fault> {
    let value = read_quantity(typed, SIZES, "4096, 64m or 1GiB")?;
    match value {
        Value::Number(bytes) if u64::try_from(bytes).is_ok_and(|bytes| bytes >= min) => Ok(value),
        _ => Err(Fault { reason: format!("must be at least {min} bytes"), exit_code: EXIT_USAGE }),
    }
}

/// A whole number and a suffix of `scales`.
fn read_quantity(typed: &[u8], scales: Scales, examples: &str) -> Result<Value, Fault> {
    let typed = typed.trim_ascii();
    let digits = typed.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, suffix) = typed.split_at_checked(digits).unwrap_or_default();
    let suffix = suffix.trim_ascii();
    scales
        .iter()
        .find(|(known, _)| digits > 0 && suffix.eq_ignore_ascii_case(known.as_bytes()))
        .and_then(|(_, factor)| leading_integer(number).0.checked_mul(i64::try_from(*factor).ok()?))
        .map(Value::Number)
        .ok_or_else(|| Fault {
            reason: format!("must look like {examples}"),
            exit_code: EXIT_USAGE,
        })
}

fn read_character(typed: &[u8]) -> Read {
    let Some(first) = typed.first() else { return Err(parse_fault("must be a character")) };
    if !first.is_ascii_graphic() {
        return Err(parse_fault("must be a visible ASCII character"));
    }
    let remark = remark(typed, typed.len() == 1, &char::from(*first).to_string());
    Ok((Value::Character(*first), remark))
}

fn read_choice(words: &'static [&'static str], typed: &[u8]) -> Result<Value, Fault> {
    let found = words.iter().find(|word| word.as_bytes() == typed.trim_ascii_end());
    found.map(|word| Value::Text((*word).to_owned())).ok_or_else(|| Fault {
        reason: format!("must be one of {}", words.join(", ")),
        exit_code: EXIT_USAGE,
    })
}

fn read_text(typed: &[u8]) -> Result<String, Fault> {
    String::from_utf8(typed.to_vec()).map_err(|_| parse_fault("must be UTF-8 text"))
}

fn read_path(typed: &[u8]) -> Result<Value, Fault> {
    if typed.is_empty() || typed.contains(&0) {
        return Err(parse_fault("must be the path of a file"));
    }
    Ok(Value::Path(PathBuf::from(OsString::from_vec(typed.to_vec()))))
}

fn read_slab_sizes(typed: &[u8]) -> Result<Value, Fault> {
    let fault = || Fault {
        reason: "must be at most 63 ascending sizes joined by '-'".to_owned(),
        exit_code: EXIT_USAGE,
    };
    let sizes: Vec<u32> = typed
        .split(|b| *b == b'-')
        .take(SLAB_SIZES_MAX + 1)
        .map(|size| u32::try_from(leading_integer(size).0).unwrap_or(0))
        .collect();
    let ascending = sizes.is_sorted_by(|a, b| a < b) && sizes.first().is_some_and(|s| *s > 0);
    if ascending && sizes.len() <= SLAB_SIZES_MAX { Ok(Value::Sizes(sizes)) } else { Err(fault()) }
}

fn read_switch(typed: &[u8]) -> Result<Value, Fault> {
    match typed {
        b"true" => Ok(Value::Switch(true)),
        b"false" => Ok(Value::Switch(false)),
        _ => Err(Fault { reason: "must be true or false".to_owned(), exit_code: EXIT_USAGE }),
    }
}

/// The exit code for an address that cannot be listened on.
pub(super) const LISTEN_EXIT: u8 = EXIT_SYSTEM;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached_options::table::{engine, listening, memory, process, traffic};

    fn number(spec: &OptionSpec, typed: &str, manner: Manner) -> Result<i64, u8> {
        match read(spec, typed.as_bytes(), manner) {
            Ok((Value::Number(number), _)) => Ok(number),
            Ok(other) => panic!("{other:?}"),
            Err(fault) => Err(fault.exit_code),
        }
    }

    #[test]
    fn numbers_are_read_as_memcached_reads_them() {
        use Manner::Memcached as Way;
        assert_eq!(number(&memory::MEMORY_LIMIT, " 8192", Way), Ok(8192));
        assert_eq!(number(&memory::MEMORY_LIMIT, "64m", Way), Ok(64));
        assert_eq!(number(&memory::MEMORY_LIMIT, "x", Way), Ok(0));
        assert_eq!(number(&listening::PORT, "-1", Way), Ok(-1));
        assert_eq!(number(&listening::PORT, "70000", Way), Err(64));
        assert_eq!(number(&traffic::CONN_LIMIT, "0", Way), Err(1));
        assert_eq!(number(&traffic::CONN_LIMIT, "99999999999999999999999", Way), Err(1));
        assert_eq!(number(&traffic::READ_BUF_MEM_LIMIT, "x", Way), Err(1));
        assert_eq!(number(&engine::HASHPOWER, "5", Way), Err(1));
    }

    #[test]
    fn a_number_with_garbage_says_how_it_is_read() {
        let (_, remark) = read(&traffic::THREADS, b"4x", Manner::Memcached).unwrap();
        assert_eq!(remark.as_deref(), Some("\"4x\" is read as 4"));
        let (_, remark) = read(&traffic::THREADS, b"4", Manner::Memcached).unwrap();
        assert_eq!(remark, None);
    }

    #[test]
    fn files_take_units_and_no_garbage() {
        use Manner::Strict as Way;
        assert_eq!(number(&memory::MEMORY_LIMIT, "64", Way), Ok(64));
        assert_eq!(number(&memory::MEMORY_LIMIT, "64m", Way), Ok(64));
        assert_eq!(number(&memory::MEMORY_LIMIT, "1GiB", Way), Ok(1024));
        assert_eq!(number(&memory::MEMORY_LIMIT, "1k", Way), Err(64));
        assert_eq!(number(&memory::MEMORY_LIMIT, "64x", Way), Err(64));
        assert_eq!(number(&traffic::IDLE_TIMEOUT, "5m", Way), Ok(300));
        assert_eq!(number(&traffic::THREADS, "4k", Way), Err(1));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "2MiB", Way), Ok(2 << 20));
    }

    #[test]
    fn item_sizes_have_three_suffixes() {
        use Manner::Memcached as Way;
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "5m", Way), Ok(5 << 20));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "16K", Way), Ok(16 << 10));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "1048576", Way), Ok(1 << 20));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "1g", Way), Ok(1 << 30));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "2G", Way), Err(64));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "1t", Way), Err(64));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "1023", Way), Err(64));
        assert_eq!(number(&memory::MAX_ITEM_SIZE, "1025m", Way), Err(64));
    }

    #[test]
    fn fractions_masks_characters_and_words() {
        let read = |spec, typed: &str| read(spec, typed.as_bytes(), Manner::Memcached);
        assert_eq!(read(&memory::SLAB_GROWTH_FACTOR, "1.08").unwrap().0, Value::Real(1.08));
        assert_eq!(read(&memory::SLAB_GROWTH_FACTOR, "1").unwrap_err().exit_code, 1);
        assert_eq!(read(&memory::SLAB_GROWTH_FACTOR, "1e999").unwrap().0, Value::Real(1e99));
        assert_eq!(read(&engine::SLAB_AUTOMOVE_RATIO, "1.5").unwrap_err().exit_code, 1);
        assert_eq!(read(&listening::UNIX_MASK, "0770").unwrap().0, Value::Mode(0o770));
        assert_eq!(read(&listening::UNIX_MASK, "999").unwrap().0, Value::Mode(0));
        assert_eq!(read(&process::PREFIX_DELIMITER, "::").unwrap().0, Value::Character(b':'));
        assert_eq!(read(&process::PREFIX_DELIMITER, "").unwrap_err().exit_code, 1);
        assert_eq!(read(&listening::PROTOCOL, "foo").unwrap_err().exit_code, 64);
        assert_eq!(read(&engine::SLAB_SIZES, "64-128").unwrap().0, Value::Sizes(vec![64, 128]));
        assert_eq!(read(&engine::SLAB_SIZES, "100-50").unwrap_err().exit_code, 64);
    }

    #[test]
    fn toml_strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000A\"");
    }
}
