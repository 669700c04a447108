//! One event, one line: `2026-11-22T16:00:00.123456Z LEVEL message key=value`.
//!
//! Values may come from a peer, so nothing in them may look like a line, a field or a terminal
//! command of ours.
//!
//! Invariants: a line holds no control character but its final newline, and has at most
//! [`LINE_BYTES_MAX`] bytes with it; a value with blanks, quotes or an equals sign stands in quotes.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::Queue;

/// Bytes of one line, newline included. The longest we mean to write (a key of 250 bytes, an
/// address, a path) is far below; what is longer is somebody's attempt to fill the disk.
pub const LINE_BYTES_MAX: usize = 4096;

/// Stands where a line was cut.
const CUT: &str = "[cut]";

/// A finished line and how grave it is.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Line {
    /// A line of our own, without fields.
    pub(super) fn new(level: Level, now: SystemTime, message: &str) -> Self {
        let mut text = Bounded::new(level, now);
        let _ = text.message(message);
        Self { level, text: text.finish() }
    }
}

/// Turns events into lines and queues them.
pub(super) struct LineLayer {
    queue: Arc<Queue>,
    now: fn() -> SystemTime,
}

impl LineLayer {
    pub(super) fn new(queue: Arc<Queue>, now: fn() -> SystemTime) -> Self {
        Self { queue, now }
    }
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let mut fields = Fields { message: Scratch::default(), rest: Scratch::default() };
        event.record(&mut fields);
        let mut text = Bounded::new(level, (self.now)());
        // An error here means that the line is full, which `finish` marks.
        let _ = text.message(&fields.message.text);
        let _ = text.write_str(&fields.rest.text);
        text.cut |= fields.message.cut | fields.rest.cut;
        self.queue.push(Line { level, text: text.finish() });
    }
}

/// Collects the message and the other fields of one event.
struct Fields {
    message: Scratch,
    rest: Scratch,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
            return;
        }
        let mut text = Scratch::default();
        let _ = write!(text, "{value:?}");
        self.rest.cut |= text.cut;
        self.pair(field.name(), &text.text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            let _ = self.message.write_str(value);
        } else {
            self.pair(field.name(), value);
        }
    }
}

impl Fields {
    fn pair(&mut self, name: &str, value: &str) {
        let plain = |char: char| char.is_ascii_graphic() && !matches!(char, '"' | '=' | '\\');
        let bare = !value.is_empty() && value.chars().all(plain);
        let rest = &mut self.rest;
        let _ = if bare {
            write!(rest, " {name}={value}")
        } else {
            write!(rest, " {name}=\"")
                .and_then(|()| escape(rest, value, Quotes::Present))
                .and_then(|()| rest.write_char('"'))
        };
    }
}

/// A text that takes no more than a line could show.
#[derive(Default)]
struct Scratch {
    text: String,
    cut: bool,
}

impl Write for Scratch {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let (taken, all) = fitting(piece, LINE_BYTES_MAX - self.text.len());
        self.text.push_str(taken);
        self.cut |= !all;
        if all { Ok(()) } else { Err(fmt::Error) }
    }
}

/// A line in the making.
struct Bounded {
    text: String,
    cut: bool,
}

impl Bounded {
    /// Room for everything but the mark of a cut and the newline.
    const TEXT_BYTES_MAX: usize = LINE_BYTES_MAX - CUT.len() - 1;

    fn new(level: Level, now: SystemTime) -> Self {
        let mut line = Self { text: String::with_capacity(128), cut: false };
        // The head is some thirty bytes and always fits.
        let _ = write!(line, "{} {level}", Timestamp(now));
        line
    }

    fn message(&mut self, message: &str) -> fmt::Result {
        if message.is_empty() {
            return Ok(());
        }
        self.write_char(' ')?;
        escape(self, message, Quotes::Absent)
    }

    fn finish(mut self) -> String {
        if self.cut {
            self.text.push_str(CUT);
        }
        self.text.push('\n');
        self.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let (taken, all) = fitting(piece, Self::TEXT_BYTES_MAX - self.text.len());
        self.text.push_str(taken);
        self.cut |= !all;
        if all { Ok(()) } else { Err(fmt::Error) }
    }
}

/// As much of `piece` as fits into `room` bytes, and whether that is all of it.
fn fitting(piece: &str, room: usize) -> (&str, bool) {
    if piece.len() <= room {
        return (piece, true);
    }
    (piece.get(..piece.floor_char_boundary(room)).unwrap_or_default(), false)
}

#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    Absent,
    Present,
}

/// Writes `text` so that it can neither end a line or a value nor reach the terminal that shows it.
fn escape(out: &mut impl Write, text: &str, quotes: Quotes) -> fmt::Result {
    for char in text.chars() {
        match char {
            '"' if quotes == Quotes::Present => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            char if disturbs(char) => write!(out, "\\u{{{:x}}}", u32::from(char))?,
            char => out.write_char(char)?,
        }
    }
    Ok(())
}

/// Controls, line separators, and what changes the direction or hides the order of shown text.
fn disturbs(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// A moment in UTC, to the microsecond, as RFC 3339 writes it. Years 1970 to 9999; what is beyond
/// is shown as the nearest of them.
struct Timestamp(SystemTime);

/// 9999-12-31T23:59:59, the last second that four digits of a year can show.
const SECOND_MAX: u64 = 253_402_300_799;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs().min(SECOND_MAX);
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let micros = since.subsec_micros();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Counted in eras of 400 years (146097 days) from 0000-03-01, so that the leap day is the last of
/// its year and months follow one formula.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn shown(seconds: u64) -> String {
        Timestamp(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn moments_are_shown_in_utc() {
        assert_eq!(shown(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59.000000Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(shown(951_868_800), "2000-03-01T00:00:00.000000Z");
        assert_eq!(shown(1_795_363_200), "2026-11-22T16:00:00.000000Z");
        assert_eq!(shown(4_107_542_400), "2100-03-01T00:00:00.000000Z");
        assert_eq!(shown(SECOND_MAX), "9999-12-31T23:59:59.000000Z");
        assert_eq!(shown(SECOND_MAX + 86_400), "9999-12-31T23:59:59.000000Z");
        let before = Timestamp(UNIX_EPOCH - Duration::from_secs(1)).to_string();
        assert_eq!(before, "1970-01-01T00:00:00.000000Z");
        let micros = Timestamp(UNIX_EPOCH + Duration::from_nanos(1_000_123_999)).to_string();
        assert_eq!(micros, "1970-01-01T00:00:01.000123Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=SECOND_MAX / 86_400 {
            assert_eq!(date(days), (year, month, day));
            let length = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    #[test]
    fn a_line_of_our_own_is_escaped_too() {
        let line = Line::new(Level::WARN, UNIX_EPOCH, "a\nb \u{1b}[31m \\ \u{202e}");
        assert_eq!(
            line.text,
            "1970-01-01T00:00:00.000000Z WARN a\\nb \\u{1b}[31m \\\\ \\u{202e}\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_says_so() {
        for length in LINE_BYTES_MAX - 60..LINE_BYTES_MAX + 60 {
            let message = "\u{e4}".repeat(length / 2) + &"x".repeat(length % 2);
            let line = Line::new(Level::INFO, UNIX_EPOCH, &message).text;
            assert!(line.len() <= LINE_BYTES_MAX);
            assert_eq!(line.contains(&message), !line.ends_with("[cut]\n"));
        }
    }

    proptest! {
        #[test]
        fn nothing_disturbing_survives(message in "\\PC*|[\\x00-\\x7f]*|.*") {
            let line = Line::new(Level::INFO, UNIX_EPOCH, &message).text;
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(!body.chars().any(disturbs));
            prop_assert!(line.len() <= LINE_BYTES_MAX);
        }
    }
}
