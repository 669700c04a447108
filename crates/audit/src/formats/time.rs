//! Dates in logs, and the offset of a time zone at a time.

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// Reads `2018-01-12 03:11:04`, with one blank, two, or a `T` between: seconds as if it were
/// UTC, and the offset east of it if the text ends in one (`Z`, `+0900`, `+09:00`).
pub(crate) fn read(text: &str) -> Option<(i64, Option<i32>)> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let year: i64 = parts.next()?.parse().ok()?;
    let month: i64 = parts.next()?.parse().ok()?;
    let day: i64 = parts.next()?.parse().ok()?;
    let rest = rest.trim_start_matches([' ', 'T']);
    let (clock, zone) = rest.split_at_checked(8)?;
    let mut parts = clock.split(':');
    let hour: i64 = parts.next()?.parse().ok()?;
    let minute: i64 = parts.next()?.parse().ok()?;
    let second: i64 = parts.next()?.parse().ok()?;
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    let seconds = days(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
    valid.then(|| (seconds, offset(zone.trim())))
}

/// Days between 1970-01-01 and a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March put the leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A time as `2018-02-27T21:00:00`, by a clock that is so many seconds east of UTC.
pub(crate) fn text(at: i64, offset_s: i32) -> String {
    let local = at.saturating_add(i64::from(offset_s));
    let (day, second) = (local.div_euclid(DAY_S), local.rem_euclid(DAY_S));
    let (year, month, day) = date(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The date of the Gregorian calendar so many days after 1970-01-01.
fn date(day: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin in March, as in [`days`].
    let day = day.saturating_add(719_468);
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let of_era_year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = of_era_year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// Seconds east of UTC.
fn offset(text: &str) -> Option<i32> {
    if text.starts_with('Z') {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4)?.parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

/// A time zone, read from a compiled zone file (`/etc/localtime`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone {
    /// From this time on (seconds since 1970-01-01 UTC) this offset, ascending.
    changes: Vec<(i64, i32)>,
    /// The offset before the first change.
    first: i32,
    /// Whether the file ends in a rule for the times after the last change, which is not read.
    has_rule: bool,
}

/// Most changes of a zone; the real ones have fewer than 300.
const CHANGES_MAX: usize = 4096;
const HEADER_BYTES: usize = 44;

impl Zone {
    /// So many seconds east of UTC at all times.
    pub(crate) fn fixed(offset_s: i32) -> Self {
        Self { changes: Vec::new(), first: offset_s, has_rule: false }
    }

    /// Reads a compiled zone file.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (counts, body) = header(bytes)?;
        // Newer files hold everything a second time, with 64 bits.
        let len = counts.body_len(4)?;
        let second = body.get(len..).unwrap_or_default();
        match header(second) {
            Some((counts, body)) => Self::read_body(&counts, body, 8),
            None => Self::read_body(&counts, body, 4),
        }
    }

    fn read_body(counts: &Counts, body: &[u8], width: usize) -> Option<Self> {
        let (times, rest) = body.split_at_checked(counts.times * width)?;
        let (kinds, rest) = rest.split_at_checked(counts.times)?;
        let (types, _) = rest.split_at_checked(counts.types * 6)?;
        let offsets: Vec<i32> = types
            .chunks_exact(6)
            .filter_map(|chunk| chunk.first_chunk().map(|b| i32::from_be_bytes(*b)))
            .collect();
        let time = |chunk: &[u8]| match width {
            8 => chunk.first_chunk().map(|b| i64::from_be_bytes(*b)),
            _ => chunk.first_chunk().map(|b| i64::from(i32::from_be_bytes(*b))),
        };
        let mut changes = Vec::new();
        for (chunk, kind) in times.chunks_exact(width).zip(kinds) {
            changes.push((time(chunk)?, *offsets.get(usize::from(*kind))?));
        }
        let footer = body.get(counts.body_len(width)?..).unwrap_or_default();
        let has_rule = width == 8 && footer.contains(&b',');
        Some(Self { changes, first: offsets.first().copied().unwrap_or(0), has_rule })
    }

    /// Seconds east of UTC at a time; `None` beyond the times that the file lists.
    pub(crate) fn offset(&self, at: i64) -> Option<i32> {
        let later = self.changes.partition_point(|(from, _)| *from <= at);
        if later == self.changes.len() && self.has_rule {
            return None;
        }
        let before = later.checked_sub(1).and_then(|at| self.changes.get(at));
        Some(before.map_or(self.first, |(_, offset)| *offset))
    }

    /// The time of a clock's reading in this zone. Of an hour that comes twice, the first.
    pub(crate) fn utc(&self, local: i64) -> Option<i64> {
        let guess = local - i64::from(self.offset(local)?);
        Some(local - i64::from(self.offset(guess)?))
    }
}

struct Counts {
    isut: usize,
    isstd: usize,
    leap: usize,
    times: usize,
    types: usize,
    chars: usize,
}

impl Counts {
    fn body_len(&self, width: usize) -> Option<usize> {
        let bounded = self.times <= CHANGES_MAX
            && [self.isut, self.isstd, self.leap, self.types, self.chars]
                .iter()
                .all(|count| *count <= CHANGES_MAX);
        bounded.then(|| {
            self.times * (width + 1)
                + self.types * 6
                + self.chars
                + self.leap * (width + 4)
                + self.isstd
                + self.isut
        })
    }
}

fn header(bytes: &[u8]) -> Option<(Counts, &[u8])> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let count = |at: usize| {
        let bytes = header.get(20 + at * 4..)?.first_chunk()?;
        usize::try_from(u32::from_be_bytes(*bytes)).ok()
    };
    header.starts_with(b"TZif").then_some(())?;
    let counts = Counts {
        isut: count(0)?,
        isstd: count(1)?,
        leap: count(2)?,
        times: count(3)?,
        types: count(4)?,
        chars: count(5)?,
    };
    Some((counts, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_logs() {
        assert_eq!(read("1970-01-01 00:00:00"), Some((0, None)));
        assert_eq!(read("2018-02-27T12:00:00Z"), Some((1_519_732_800, Some(0))));
        assert_eq!(read("2018-02-27  12:00:00"), Some((1_519_732_800, None)));
        assert_eq!(read("2018-02-27T21:00:00+0900"), Some((1_519_765_200, Some(32_400))));
        assert_eq!(read("2018-02-27T21:00:00-05:30").unwrap().1, Some(-19_800));
        assert_eq!(
            read("2024-02-29 00:00:00").unwrap().0 - read("2024-02-28 00:00:00").unwrap().0,
            DAY_S
        );
        for text in
            ["", "2018-13-01 00:00:00", "x018-01-01 00:00:00", "2018-01-01", "2018-01-01 3:1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_written_is_the_time_read() {
        assert_eq!(text(1_519_732_800, 32_400), "2018-02-27T21:00:00");
        for at in (-1..40_000).map(|n| n * 863_989) {
            let read = if at < 0 { None } else { read(&text(at, 0)).map(|(at, _)| at) };
            assert_eq!(read, (at >= 0).then_some(at));
        }
    }

    #[test]
    fn zones_of_the_system_are_read() {
        let zone = |name: &str| {
            let bytes = std::fs::read(format!("/usr/share/zoneinfo/{name}"));
            bytes.ok().and_then(|bytes| Zone::read(&bytes))
        };
        // Where no zones are installed there is nothing to compare with.
        if let Some(tokyo) = zone("Asia/Tokyo") {
            assert_eq!(tokyo.offset(1_519_732_800), Some(32_400));
            assert_eq!(tokyo.utc(1_519_732_800 + 32_400), Some(1_519_732_800));
        }
        if let Some(berlin) = zone("Europe/Berlin") {
            let (winter, summer) = (1_519_732_800, 1_530_360_000);
            let known =
                |at| berlin.offset(at).is_none_or(|o| o == if at == winter { 3600 } else { 7200 });
            assert!(known(winter) && known(summer));
        }
    }

    #[test]
    fn a_zone_made_by_hand() {
        let mut bytes = b"TZif".to_vec();
        bytes.extend([0; 16]);
        for count in [0u32, 0, 0, 1, 2, 4] {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(1000i32.to_be_bytes());
        bytes.push(1);
        bytes.extend(0i32.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(3600i32.to_be_bytes());
        bytes.extend([1, 0]);
        bytes.extend(b"A\0B\0");
        let zone = Zone::read(&bytes).unwrap();
        assert_eq!((zone.offset(999), zone.offset(1000)), (Some(0), Some(3600)));
        for cut in 0..bytes.len() - 4 {
            assert_eq!(Zone::read(&bytes[..cut]), None, "{cut}");
        }
    }
}
