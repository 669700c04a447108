//! `incr`, `decr`, `ma`: arithmetic on decimal text, in place where that is possible.

use super::place::{Cas, Fresh, Payload};
use super::{Found, Shard, Starved};
use crate::blocks::Blocks;
use crate::class::class_of;
use crate::face::{Absent, Hashed, Step, Stepped};
use crate::heap::Facts;
use crate::layout::Marks;
use crate::location::Place;
use crate::time::{Expiry, Now};

impl<M: Blocks> Shard<M> {
    pub(crate) fn step(
        &mut self,
        key: Hashed<'_>,
        now: Now,
        how: &Step,
    ) -> Result<(Stepped, Option<Absent>), Starved> {
        let found = match self.find(key.key, key.hash, now) {
            Ok(found) => found,
            Err(absent) => {
                let Some((value, expiry)) = how.create else {
                    return Ok((Stepped::NotFound, Some(absent)));
                };
                let stepped = self.create(key, now, how, value, expiry)?;
                return Ok((stepped, Some(absent)));
            }
        };
        let facts = found.seen.facts;
        if how.compare.is_some_and(|cas| !self.cas || cas != facts.cas) {
            return Ok((Stepped::Exists, None));
        }
        let number = match self.heap.addressing.place(found.location) {
            Place::Record { .. } => number(self.heap.value(found.location)),
            Place::Large(_) if facts.value_bytes > NUMBER_BYTES_MAX => None,
            Place::Large(at) => self
                .heap
                .large(at)
                .and_then(|large| number(&large.chain.slices().collect::<Vec<_>>().concat())),
        };
        let Some(number) = number else { return Ok((Stepped::NonNumeric, None)) };
        let value = if how.increment {
            number.wrapping_add(how.delta)
        } else {
            number.saturating_sub(how.delta)
        };
        Ok((self.renumber(found, key, now, how, value)?, None))
    }

    fn create(
        &mut self,
        key: Hashed<'_>,
        now: Now,
        how: &Step,
        value: u64,
        expiry: Expiry,
    ) -> Result<Stepped, Starved> {
        self.make_room_in_index(key.hash)?;
        let marks =
            Marks { binary_key: how.binary_key, cas_shown: !key.cas_hidden, ..Marks::default() };
        let facts = Facts { value_bytes: 0, flags: 0, expiry, cas: 0, last_access: now, marks };
        let cas = how.new_cas.map_or(Cas::NextInField(0), Cas::Exactly);
        let mut buffer = [0; DIGITS_MAX];
        self.scribble(&[digits(value, &mut buffer)]);
        let value_bytes = self.scratch.len() as u32;
        let fresh = Fresh { key: key.key, hash: key.hash, facts, cas };
        let cas = self.put(&fresh, Payload::Scratch, None, now)?;
        let class = class_of(self.item_bytes(key.key.len(), &Facts { value_bytes, ..facts }));
        Ok(Stepped::Number { value, cas, expiry, class, created: true })
    }

    /// Writes the new number over the old one, or anew where it does not fit.
    fn renumber(
        &mut self,
        found: Found,
        key: Hashed<'_>,
        now: Now,
        how: &Step,
        value: u64,
    ) -> Result<Stepped, Starved> {
        let facts = found.seen.facts;
        let mut buffer = [0; DIGITS_MAX];
        let digits = digits(value, &mut buffer);
        let length = digits.len().max(facts.value_bytes as usize);
        self.scribble(&[digits]);
        // A shorter number keeps the old length: clients rely on the blanks.
        self.scratch.resize(length, b' ');
        let expiry = how.touch.unwrap_or(facts.expiry);
        let marks = Marks { cas_shown: facts.marks.cas_shown || !key.cas_hidden, ..facts.marks };
        let facts = Facts { expiry, marks, value_bytes: length as u32, ..facts };
        let class = class_of(self.item_bytes(found.seen.key_bytes, &facts));
        if let Some(cas) = self.renumber_in_place(&found, &facts, how) {
            return Ok(Stepped::Number { value, cas, expiry, class, created: false });
        }
        let cas = how.new_cas.map_or(Cas::NextInField(facts.cas), Cas::Exactly);
        let fresh = Fresh { key: key.key, hash: key.hash, facts, cas };
        let payload = if self.is_record(key.key.len(), length) {
            Payload::Scratch
        } else {
            Payload::Chain(self.chain_of(&[&self.scratch])?)
        };
        let total = self.counters.total_items;
        let cas = self.put(&fresh, payload, Some(found), now)?;
        self.counters.total_items = total;
        self.tidy_scratch();
        Ok(Stepped::Number { value, cas, expiry, class, created: false })
    }

    /// Changes a record where it lies; `None` = it was left as it is.
    fn renumber_in_place(&mut self, found: &Found, facts: &Facts, how: &Step) -> Option<u64> {
        let Place::Record { .. } = self.heap.addressing.place(found.location) else { return None };
        let before = found.seen.facts;
        // Nobody notices that a cas unique stays which nobody was told.
        let changes = self.cas && (before.marks.cas_shown || how.new_cas.is_some());
        // Whether there is a field for the cas unique is tried with the one it holds: nothing may
        // have changed if something does not fit.
        if facts.value_bytes != before.value_bytes
            || (changes && !self.set_cas(found.location, before.cas))
            || (facts.expiry != before.expiry && !self.set_expiry(found.location, facts.expiry))
        {
            return None;
        }
        let mut cas = before.cas;
        if changes {
            cas = how.new_cas.unwrap_or_else(|| self.take_cas(before.cas));
            self.set_cas(found.location, cas);
        }
        let scratch = std::mem::take(&mut self.scratch);
        self.set_value(found.location, &scratch);
        self.scratch = scratch;
        self.note(found.location, facts.marks, None);
        Some(cas)
    }
}

/// Longer values are no numbers, as in memcached: there it is the size of the largest chunk.
const NUMBER_BYTES_MAX: u32 = 512 << 10;
/// Digits of the largest u64.
const DIGITS_MAX: usize = 20;

fn digits(mut value: u64, buffer: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &buffer[at..];
        }
    }
}

/// A decimal u64, maybe between blanks; what follows the blank behind it does not count, as in
/// memcached.
fn number(value: &[u8]) -> Option<u64> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = value.iter().position(|byte| !is_blank(byte))?;
    let mut number = 0_u64;
    let mut any = false;
    for byte in &value[start..] {
        if is_blank(byte) {
            break;
        }
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        any = true;
    }
    any.then_some(number)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::{DIGITS_MAX, digits, number};

    #[test]
    fn numbers_are_read_as_memcached_reads_them() {
        for (text, value) in [
            ("0", Some(0)),
            (" 12", Some(12)),
            ("12 ", Some(12)),
            ("1 2 ", Some(1)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("000000000000000000009", Some(9)),
            ("", None),
            ("  ", None),
            ("+1", None),
            ("-1", None),
            ("1a", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for value in [0, 9, 10, 12345, u64::MAX] {
            let mut buffer = [0; DIGITS_MAX];
            assert_eq!(digits(value, &mut buffer), value.to_string().as_bytes());
        }
    }
}
