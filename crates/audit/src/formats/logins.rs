//! Who came in: binary records of log-ins, and the lines of the ssh server, `sudo` and `su`.

use super::time;
use crate::traces::Door;

/// One record of `wtmp`, `btmp` and `utmp` (`struct utmp` of the GNU C library where time has 32
/// bits in it, as on x86), and where its time stands.
const NARROW: (usize, usize) = (384, 340);
/// The same where time has 64 bits in it, as on 64-bit ARM.
const WIDE: (usize, usize) = (400, 344);
/// Both lengths divide this: a part of a file that begins there begins with a record.
pub(crate) const RECORDS_BYTES: usize = 9600;
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

/// What a file of records tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    /// Every log-in.
    pub(crate) logins: Vec<Record>,
    /// Records between others that are nothing but zeros.
    pub(crate) wiped: u32,
    /// Records of a log-in at no possible time, and bytes that make no whole record.
    pub(crate) broken: u32,
}

/// Reads records; `now` is the latest time at which anything can have happened.
pub(crate) fn records(bytes: &[u8], now: i64) -> Records {
    let narrow = records_of(bytes, NARROW, now);
    let wide = records_of(bytes, WIDE, now);
    // In the wrong form nearly nothing is understood.
    if wide.logins.len() > narrow.logins.len() { wide } else { narrow }
}

fn records_of(bytes: &[u8], (len, time_at): (usize, usize), now: i64) -> Records {
    let mut found = Records::default();
    let mut zeros = 0;
    let chunks = bytes.chunks_exact(len);
    found.broken = u32::from(!chunks.remainder().is_empty());
    for record in chunks {
        if record.iter().all(|b| *b == 0) {
            zeros += 1;
            continue;
        }
        // Zeros at the end are room that was set aside.
        found.wiped += std::mem::take(&mut zeros);
        let wide = len == WIDE.0;
        match user_record(record, time_at, wide) {
            Some(record) if (EARLIEST..=now.saturating_add(DAY_S)).contains(&record.at) => {
                found.logins.push(record);
            }
            Some(_) => found.broken += 1,
            None => {}
        }
    }
    found
}

/// 1990-01-01: no record is older than Linux.
const EARLIEST: i64 = 631_152_000;

fn user_record(record: &[u8], time_at: usize, wide: bool) -> Option<Record> {
    let kind = i16::from_le_bytes(*record.first_chunk()?);
    let at = record.get(time_at..)?;
    let at = match wide {
        true => i64::from_le_bytes(*at.first_chunk()?),
        false => i64::from(u32::from_le_bytes(*at.first_chunk()?)),
    };
    let is_login = kind == USER_PROCESS || kind == LOGIN_PROCESS;
    is_login.then(|| Record { user: word(record.get(44..76)), from: word(record.get(76..332)), at })
}

/// The last log-in of each user number.
pub(crate) fn last(bytes: &[u8], now: i64) -> Vec<(u32, Record)> {
    let records = (0u32..).zip(bytes.chunks_exact(LAST_BYTES));
    let read = records.filter_map(|(uid, record)| {
        let at = u32::from_le_bytes(*record.first_chunk()?);
        let from = word(record.get(36..292));
        let at = i64::from(at);
        let possible = (EARLIEST..=now.saturating_add(DAY_S)).contains(&at);
        possible.then(|| (uid, Record { user: String::new(), from, at }))
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
    /// Somebody was refused so many times. A name that nobody has is told twice by some servers.
    Refused { from: String, times: u64, unknown_user: bool },
}

/// Reads the part of a line behind the time. The programs say it in English whatever the locale.
///
/// Names and addresses in it are a stranger's own words. So only the program's own beginning of a
/// message counts, and only under the program's own tag: `Invalid user x: Accepted password for
/// root from 192.0.2.1` is a refusal of whoever calls himself so.
pub(crate) fn said(line: &str) -> Option<Said> {
    let (program, text) = message(line)?;
    said_by(program, text)
}

/// Programs whose messages tell of log-ins.
pub(crate) const PROGRAMS: [&str; 6] =
    ["sshd", "sshd-session", "sshd-auth", "dropbear", "sudo", "su"];

/// Reads a message of one of these programs.
pub(crate) fn said_by(program: &str, text: &str) -> Option<Said> {
    let (text, times) = repeated(text);
    match program {
        "sshd" | "sshd-session" | "sshd-auth" => ssh(text, times),
        "dropbear" => dropbear(text),
        "sudo" => sudo(text),
        "su" => su(text),
        _ => None,
    }
}

/// The program's name and what it said, behind the time, the host and what BusyBox puts there.
fn message(line: &str) -> Option<(&str, &str)> {
    let first = line.split(' ').next()?;
    let times = match first.len() {
        // `2018-02-27T03:11:04+09:00`, `2018-02-27 03:11:04`, `Feb 27 03:11:04`.
        19.. if first.as_bytes().get(10) == Some(&b'T') => 1,
        10 if first.bytes().filter(|b| *b == b'-').count() == 2 => 2,
        _ => 3,
    };
    let mut rest = line;
    for _ in 0..=times {
        rest = rest.trim_start_matches(' ').split_once(' ')?.1;
    }
    let (tag, text) = rest.trim_start_matches(' ').split_once(": ")?;
    let mut words = tag.split(' ');
    let (tag, before) = (words.next_back()?, words.next());
    if words.next().is_some() || before.is_some_and(|level| !level.contains('.')) {
        return None;
    }
    Some((tag.split('[').next()?, text))
}

/// `message repeated 2 times: [ Failed password ...]`
fn repeated(text: &str) -> (&str, u64) {
    let parts = text.strip_prefix("message repeated ").and_then(|rest| {
        let (times, rest) = rest.split_once(" times: [")?;
        Some((rest.trim_start().strip_suffix(']')?, times.parse().ok()?))
    });
    parts.unwrap_or((text, 1))
}

fn ssh(text: &str, times: u64) -> Option<Said> {
    if let Some(rest) = text.strip_prefix("Accepted ") {
        let (method, rest) = rest.split_once(" for ")?;
        let (user, rest) = rest.split_once(" from ")?;
        let door = if method == "publickey" { Door::Key } else { Door::Password };
        let (user, from) = (user.to_owned(), rest.split(' ').next()?.to_owned());
        return Some(Said::Login { user, from, door });
    }
    let unknown_user = text.starts_with("Invalid user ");
    if !unknown_user && !text.starts_with("Failed ") {
        return None;
    }
    // The user's name is the peer's own words, and may itself contain ` from `.
    let (_, from) = text.rsplit_once(" from ")?;
    Some(Said::Refused { from: from.split(' ').next()?.to_owned(), times, unknown_user })
}

fn dropbear(text: &str) -> Option<Said> {
    let address = |text: &str| {
        let (_, from) = text.rsplit_once(" from ")?;
        Some(from.rsplit_once(':').map_or(from, |(host, _)| host).to_owned())
    };
    let doors = [("Password auth succeeded for '", Door::Password)];
    for (begins, door) in doors.into_iter().chain([("Pubkey auth succeeded for '", Door::Key)]) {
        if let Some(rest) = text.strip_prefix(begins) {
            let (user, rest) = rest.split_once('\'')?;
            return Some(Said::Login { user: user.to_owned(), from: address(rest)?, door });
        }
    }
    let unknown_user = text.starts_with("Login attempt for nonexistent user");
    let refused = unknown_user || text.starts_with("Bad password attempt for ");
    refused.then(|| Some(Said::Refused { from: address(text)?, times: 1, unknown_user }))?
}

/// `ops : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id`; in a refusal words stand there.
fn sudo(text: &str) -> Option<Said> {
    let (user, rest) = text.trim_start().split_once(" : ")?;
    let allowed = rest.split(" ; ").next()?.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase())
    });
    let (_, command) = rest.split_once(" ; COMMAND=")?;
    let (user, from) = (user.to_owned(), command.to_owned());
    allowed.then_some(Said::Login { user, from, door: Door::Raised })
}

/// `(to root) ops on pts/0`, or `Successful su for root by ops`.
fn su(text: &str) -> Option<Said> {
    let (to, user) = match text.strip_prefix("(to ") {
        Some(rest) => {
            let (to, rest) = rest.split_once(") ")?;
            (to, rest.split(' ').next()?)
        }
        None => text.strip_prefix("Successful su for ")?.split_once(" by ")?,
    };
    let from = format!("su {to}");
    Some(Said::Login { user: user.to_owned(), from, door: Door::Raised })
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
        let head = "Feb 27 03:11:04 web1";
        let told = |text: &str| said(&format!("{head} {text}"));
        let sudo = "sudo:  ops : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id";
        assert_eq!(told(sudo), login("ops", "/usr/bin/id", Door::Raised));
        let refused = "sudo:  ops : 3 incorrect password attempts ; TTY=pts/0 ; COMMAND=/bin/sh";
        assert_eq!(told(refused), None);
        assert_eq!(told("su[9]: (to root) ops on pts/0"), login("ops", "su root", Door::Raised));
        assert_eq!(told("su: Successful su for root by x"), login("x", "su root", Door::Raised));
        assert_eq!(told("su: FAILED SU (to root) ops on pts/0"), None);
        let busybox = "auth.info sshd[7]: Accepted publickey for root from 192.0.2.7 port 4 ssh2";
        assert_eq!(told(busybox), login("root", "192.0.2.7", Door::Key));
        let dropbear = "dropbear[3]: Password auth succeeded for 'root' from 192.0.2.7:5022";
        assert_eq!(told(dropbear), login("root", "192.0.2.7", Door::Password));
        assert_eq!(told("cron[1]: (root) CMD (true)"), None);
        let journal = "2018-02-27T03:11:04+0000 web1 sshd-session[7]: Accepted password for root \
                       from 192.0.2.7 port 4 ssh2";
        assert_eq!(said(journal), login("root", "192.0.2.7", Door::Password));
    }

    /// A name is a stranger's own words: who calls himself like a message of the server was once
    /// taken for a log-in of root.
    #[test]
    fn strangers_cannot_write_log_ins_into_the_log() {
        let refused = |from: &str, times, unknown_user| {
            Some(Said::Refused { from: from.to_owned(), times, unknown_user })
        };
        let told = |text: &str| said(&format!("Feb 27 03:11:04 web1 {text}"));
        let forged = "x: Accepted password for root from 198.51.100.1 port 2 ssh2";
        let line = format!("sshd[7]: Invalid user {forged} from 192.0.2.9 port 5");
        assert_eq!(told(&line), refused("192.0.2.9", 1, true));
        let line = format!("sshd[7]: Failed password for invalid user {forged} from 192.0.2.9");
        assert_eq!(told(&line), refused("192.0.2.9", 1, false));
        let line = format!("sshd[7]: Connection closed by invalid user {forged} 192.0.2.9 port 5");
        assert_eq!(told(&line), None);
        assert_eq!(told(&format!("nginx: sshd[7]: {}", &forged[3..])), None);
        assert_eq!(told(&format!("app[3]: said sshd[7]: {}", &forged[3..])), None);
        let again = "sshd[7]: message repeated 2 times: [ Failed password for root from 192.0.2.9 \
                     port 2 ssh2]";
        assert_eq!(told(again), refused("192.0.2.9", 2, false));
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

    const NOW: i64 = 1_519_732_800;

    fn record(len: usize, user: &str, at: i64) -> Vec<u8> {
        let mut record = vec![0; len];
        record[0] = 7;
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record[76..85].copy_from_slice(b"192.0.2.7");
        match len {
            400 => record[344..352].copy_from_slice(&at.to_le_bytes()),
            _ => record[340..344].copy_from_slice(&u32::try_from(at).unwrap().to_le_bytes()),
        }
        record
    }

    #[test]
    fn wiped_records_are_counted_and_garbage_is_said() {
        let good = record(384, "root", NOW);
        let future = record(384, "root", NOW + 9 * DAY_S);
        let mut bytes = [good.clone(), vec![0; 384], good, future, vec![0; 384]].concat();
        bytes.extend([0xff; 100]);
        let found = records(&bytes, NOW);
        assert_eq!((found.logins.len(), found.wiped, found.broken), (2, 1, 2));
        assert_eq!(found.logins[0].from, "192.0.2.7");
        let garbage = records(&[0x07; 384 * 50], NOW);
        assert!(garbage.logins.is_empty(), "{garbage:?}");
        assert!(last(&[0xff; LAST_BYTES + 5], NOW).is_empty());
    }

    #[test]
    fn records_of_64_bit_arm_are_read_too() {
        let bytes = [record(400, "root", NOW), record(400, "ops", NOW)].concat();
        let found = records(&bytes, NOW);
        let users: Vec<&str> = found.logins.iter().map(|login| login.user.as_str()).collect();
        assert_eq!((users, found.broken), (vec!["root", "ops"], 0));
    }
}
