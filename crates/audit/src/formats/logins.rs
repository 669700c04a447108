//! Who came in: binary records of log-ins, and the lines of the ssh server, `sudo` and `su`.

use super::time;
use crate::traces::Door;

/// One record of `wtmp`, `btmp` and `utmp` (`struct utmp` of the GNU C library on 64-bit systems).
pub(crate) const RECORD_BYTES: usize = 384;
/// One record of `lastlog`, by user number.
pub(crate) const LAST_BYTES: usize = 292;
/// A process of a user: the only kind of record that is a log-in.
const USER_PROCESS: i16 = 7;
/// Whoever failed to log in stands in `btmp` as one of these.
const LOGIN_PROCESS: i16 = 6;

/// A record of a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) user: String,
    pub(crate) from: String,
    pub(crate) at: i64,
}

/// Every log-in among the records, and how many records between others are nothing but zeros.
pub(crate) fn records(bytes: &[u8]) -> (Vec<Record>, u32) {
    let mut found = Vec::new();
    let (mut wiped, mut zeros) = (0, 0);
    for record in bytes.chunks_exact(RECORD_BYTES) {
        if record.iter().all(|b| *b == 0) {
            zeros += 1;
            continue;
        }
        // Zeros at the end are room that was set aside.
        wiped += std::mem::take(&mut zeros);
        found.extend(user_record(record));
    }
    (found, wiped)
}

fn user_record(record: &[u8]) -> Option<Record> {
    let kind = i16::from_le_bytes(*record.first_chunk()?);
    let at = i32::from_le_bytes(*record.get(340..)?.first_chunk()?);
    let is_login = kind == USER_PROCESS || kind == LOGIN_PROCESS;
    is_login.then(|| Record {
        user: word(record.get(44..76)),
        from: word(record.get(76..332)),
        at: i64::from(at.cast_unsigned()),
    })
}

/// The last log-in of each user number.
pub(crate) fn last(bytes: &[u8]) -> Vec<(u32, Record)> {
    let records = (0u32..).zip(bytes.chunks_exact(LAST_BYTES));
    let read = records.filter_map(|(uid, record)| {
        let at = u32::from_le_bytes(*record.first_chunk()?);
        let from = word(record.get(36..292));
        (at != 0).then(|| (uid, Record { user: String::new(), from, at: i64::from(at) }))
    });
    read.collect()
}

fn word(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// What a line of a log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Somebody came in.
    Login { user: String, from: String, door: Door },
    /// Somebody was refused.
    Refused { from: String },
}

/// Reads the part of a line behind the time. The programs say it in English whatever the locale.
pub(crate) fn said(line: &str) -> Option<Said> {
    if let Some((_, rest)) = line.split_once(": Accepted ") {
        let mut words = rest.split_ascii_whitespace();
        let method = words.next()?;
        let user = words.nth(1)?.to_owned();
        let from = words.nth(1)?.to_owned();
        let door = if method == "publickey" { Door::Key } else { Door::Password };
        return Some(Said::Login { user, from, door });
    }
    if line.contains("sshd") && (line.contains(": Failed ") || line.contains(": Invalid user ")) {
        // The user's name is the peer's own words, and may itself contain ` from `.
        let (_, from) = line.rsplit_once(" from ")?;
        return Some(Said::Refused { from: from.split(' ').next()?.to_owned() });
    }
    if let Some((head, rest)) = line.split_once(" ; COMMAND=") {
        let (_, who) = head.split_once(": ")?;
        let user = who.trim_start().split(' ').next()?.to_owned();
        return Some(Said::Login { user, from: rest.to_owned(), door: Door::Raised });
    }
    None
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_S: i64 = 86_400;

/// The time at the beginning of a line: seconds as if it were UTC, and the offset if there is one.
/// The old form has no year: it is the latest year that is not after `until`, the time at which
/// the log was written last.
pub(crate) fn line_time(line: &str, until: i64) -> Option<(i64, Option<i32>)> {
    if line.starts_with(|c: char| c.is_ascii_digit()) {
        let word = line.split(' ').next()?;
        let (clock, rest) = word.split_at_checked(19)?;
        let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        return time::read(&format!("{clock}{zone}"));
    }
    let mut words = line.split_ascii_whitespace();
    let month = MONTHS.iter().position(|month| words.clone().next() == Some(month))? + 1;
    words.next();
    let day: u32 = words.next()?.parse().ok()?;
    let clock = words.next()?;
    let year = 1970 + until.div_euclid(DAY_S * 365 + DAY_S / 4).max(0) + 1;
    (0..3).find_map(|back| {
        let text = format!("{:04}-{month:02}-{day:02} {clock}", year - back);
        time::read(&text).filter(|(at, _)| *at <= until + DAY_S)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_ssh_server_and_of_sudo() {
        let line =
            "Feb 27 03:11:04 web1 sshd[7]: Accepted password for root from 192.0.2.7 port 4 ssh2";
        let login = |user: &str, from: &str, door| {
            Some(Said::Login { user: user.to_owned(), from: from.to_owned(), door })
        };
        assert_eq!(said(line), login("root", "192.0.2.7", Door::Password));
        let hostile =
            "x sshd[7]: Failed password for invalid user a from 1.1.1.1 from 192.0.2.9 port 2";
        assert_eq!(said(hostile), Some(Said::Refused { from: "192.0.2.9".to_owned() }));
        let sudo = "x sudo:  ops : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id";
        assert_eq!(said(sudo), login("ops", "/usr/bin/id", Door::Raised));
        assert_eq!(said("x cron[1]: (root) CMD (true)"), None);
    }

    #[test]
    fn years_are_found_and_other_languages_have_no_time() {
        let until = 1_519_732_800; // 2018-02-27 12:00:00
        let march = line_time("Mar  1 00:00:00 web1 sshd[1]: x", until).unwrap().0;
        assert_eq!(march, 1_488_326_400, "2017");
        assert_eq!(line_time("Feb 27 11:00:00 x", until).unwrap().0, until - 3600);
        let modern = line_time("2018-02-27T21:00:00.123456+09:00 web1 x", until);
        assert_eq!(modern, Some((until + 32_400, Some(32_400))));
        assert_eq!(line_time("2\u{6708} 27 11:00:00 web1 x", until), None);
        assert_eq!(line_time("f\u{e9}vr. 27 11:00:00", until), None);
    }

    #[test]
    fn wiped_records_are_counted_and_garbage_is_read() {
        let mut record = vec![0; RECORD_BYTES];
        record[0] = 7;
        record[44..48].copy_from_slice(b"root");
        record[76..85].copy_from_slice(b"192.0.2.7");
        record[340..344].copy_from_slice(&1_519_732_800u32.to_le_bytes());
        let mut bytes = record.clone();
        bytes.extend([0; RECORD_BYTES]);
        bytes.extend(&record);
        bytes.extend([0; RECORD_BYTES]);
        bytes.extend([0xff; 100]);
        let (found, wiped) = records(&bytes);
        assert_eq!((found.len(), wiped), (2, 1));
        assert_eq!(found[0].from, "192.0.2.7");
        assert!(last(&[0xff; LAST_BYTES + 5])[0].1.at > 0);
    }
}
