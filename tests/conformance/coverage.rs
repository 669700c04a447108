//! What the scripts reach, read off what was sent and what Kannuki answered, never claimed.
//!
//! A point is `command: word`. For text commands the words are the replies seen in a step whose
//! lines all carry that command (`set: CHUNK`), the flags sent (`mg: flag=T`), modes
//! (`ms: mode=A`), sub-commands (`stats: sub=settings`) and `noreply`. For binary ones they are the status
//! (`bin get: 01`), and `silent` for a quiet request without an answer. Every point of
//! `required.txt` has to be reached, or be declared out of reach there with the reason.

use std::collections::{BTreeMap, BTreeSet};

use super::frame;
use super::play::{Played, Transcript};
use super::reply::Token;
use super::script::Script;

/// Points reached, with the scripts that reach them.
#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<String, BTreeSet<String>>);

/// Fixed lines by their short names, as the table prints them.
const LINES: &[(&str, &str)] = &[
    ("ERROR", "ERROR"),
    ("FORMAT", "CLIENT_ERROR bad command line format"),
    ("CHUNK", "CLIENT_ERROR bad data chunk"),
    ("EXPTIME", "CLIENT_ERROR invalid exptime argument"),
    ("DELTA", "CLIENT_ERROR invalid numeric delta argument"),
    ("NONNUM", "CLIENT_ERROR cannot increment or decrement non-numeric value"),
    ("TOOLARGE", "SERVER_ERROR object too large for cache"),
    ("OOM-STORE", "SERVER_ERROR out of memory storing object"),
    ("OOM-LINE", "SERVER_ERROR out of memory reading request"),
    ("OOM-READ", "SERVER_ERROR Out of memory during read"),
    ("OOM", "SERVER_ERROR out of memory"),
    ("MAXCONN", "ERROR Too many open connections"),
    ("options-too-long", "CLIENT_ERROR options flags are too long"),
    ("duplicate-flag", "CLIENT_ERROR duplicate flag"),
    ("invalid-flag", "CLIENT_ERROR invalid flag"),
    ("invalid-or-duplicate", "CLIENT_ERROR invalid or duplicate flag"),
    ("bad-token", "CLIENT_ERROR bad token in command line format"),
    ("bad-initial", "CLIENT_ERROR invalid numeric initial value"),
    ("bad-delta", "CLIENT_ERROR invalid numeric delta value"),
    ("bad-base64", "CLIENT_ERROR error decoding key"),
    ("opaque-too-long", "CLIENT_ERROR opaque token too long"),
    ("bad-mode-ms", "CLIENT_ERROR invalid mode for ms M token"),
    ("bad-mode-ma", "CLIENT_ERROR invalid mode for ma M token"),
    ("flush-refused", "CLIENT_ERROR flush_all not allowed"),
    ("too-small", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"),
    ("not-bytes", "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes"),
    ("not-enabled", "SERVER_ERROR: shutdown not enabled"),
    ("bad-shutdown-mode", "CLIENT_ERROR invalid shutdown mode"),
    ("reassign-disabled", "CLIENT_ERROR slab reassignment disabled"),
    ("bad-class", "BADCLASS invalid src or dst class id"),
    ("same-class", "SAME src and dst class are identical"),
    ("no-spare", "NOSPARE source class has no spare pages"),
    ("bad-window", "CLIENT_ERROR automove window too low or too high"),
    ("bad-pcts", "ERROR hot and warm pcts must not exceed 80"),
    ("bad-factors", "ERROR hot/warm age factors must be greater than 0"),
    ("start-failed", "ERROR failed to start lru crawler thread"),
    ("bad-sleep", "CLIENT_ERROR sleep must be one second or less"),
    ("crawler-disabled", "CLIENT_ERROR lru crawler disabled"),
    ("bad-crawl-class", "BADCLASS invalid class id"),
    ("metadump-refused", "ERROR metadump not allowed"),
    ("mgdump-refused", "ERROR key dump not allowed"),
    ("watch-refused", "CLIENT_ERROR watch commands not allowed"),
    ("tls-off", "Error TLS not enabled"),
    ("detail-usage", "CLIENT_ERROR usage: stats detail on|off|dump"),
    ("detail-refused", "CLIENT_ERROR stats detail not allowed"),
    ("cachedump-refused", "CLIENT_ERROR stats cachedump not allowed"),
    ("bad-line", "CLIENT_ERROR bad command line"),
    ("bad-slab", "CLIENT_ERROR Illegal slab id"),
];

/// First words that name a reply by themselves.
const WORDS: &[&str] = &[
    "STORED",
    "NOT_STORED",
    "EXISTS",
    "NOT_FOUND",
    "DELETED",
    "TOUCHED",
    "VALUE",
    "END",
    "OK",
    "RESET",
    "HD",
    "VA",
    "EN",
    "NS",
    "EX",
    "NF",
    "MN",
    "ME",
    "VERSION",
    "STAT",
    "ITEM",
    "PREFIX",
];

impl Coverage {
    /// Adds what `script` reached.
    pub fn add(&mut self, script: &Script, transcript: &Transcript) {
        for played in &transcript.replies {
            let points = match played.sent.first() {
                Some(0x80) => binary_points(played),
                _ => text_points(played),
            };
            for point in points {
                self.0.entry(point).or_default().insert(script.name.clone());
            }
        }
    }

    /// Adds a point that a test outside the scripts reaches.
    pub fn contains(&self, point: &str) -> bool {
        self.0.contains_key(point)
    }

    /// The table: each required point and the scripts that reach it.
    pub fn table(&self, required: &Required) -> String {
        let mut text = String::new();
        for point in &required.points {
            let none = BTreeSet::new();
            let scripts = self.0.get(point).unwrap_or(&none);
            let list: Vec<&str> = scripts.iter().map(String::as_str).collect();
            let list = if list.is_empty() { "NOT REACHED".to_owned() } else { list.join(" ") };
            text.push_str(&format!("{point:<32} {list}\n"));
        }
        for (point, reason) in &required.out_of_reach {
            text.push_str(&format!("{point:<32} out of reach: {reason}\n"));
        }
        text
    }

    /// Required points that nothing reaches, and points declared out of reach that are reached.
    pub fn gaps(&self, required: &Required) -> Vec<String> {
        let mut gaps = Vec::new();
        for point in required.points.iter().filter(|point| !self.contains(point)) {
            gaps.push(format!("{point}: no script reaches it"));
        }
        for (point, _) in required.out_of_reach.iter().filter(|(point, _)| self.contains(point)) {
            gaps.push(format!("{point}: declared out of reach, but reached"));
        }
        gaps
    }
}

/// The declared list.
#[derive(Debug, Default)]
pub struct Required {
    pub points: Vec<String>,
    pub out_of_reach: Vec<(String, String)>,
}

impl Required {
    /// Reads `command: word word ...` and `unreachable command: word -- reason` lines.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut required = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                continue;
            }
            if let Some(rest) = line.strip_prefix("unreachable ") {
                let (point, reason) = rest.split_once(" -- ").ok_or("a reason is missing")?;
                required.out_of_reach.push((point.to_owned(), reason.to_owned()));
                continue;
            }
            let (command, words) = line.split_once(": ").ok_or_else(|| line.to_owned())?;
            for word in words.split(" ").filter(|word| !word.is_empty()) {
                required.points.push(format!("{command}: {}", word));
            }
        }
        Ok(required)
    }
}

fn text_points(played: &Played) -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    let lines: Vec<String> = command_lines(&played.sent);
    let mut commands = BTreeSet::new();
    for line in &lines {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let Some(command) = words.first() else { continue };
        commands.insert((*command).to_owned());
        points.extend(sent_points(command, &words));
    }
    if commands.len() == 1
        && let Some(command) = commands.first()
    {
        let words = reply_words(played);
        points.extend(words.iter().map(|word| format!("{command}: {word}")));
    }
    points
}

/// Points that lie in what was sent.
fn sent_points(command: &str, words: &[&str]) -> Vec<String> {
    let mut points = Vec::new();
    let first_flag = match command {
        "mg" | "md" | "ma" | "me" => 2,
        "ms" => 3,
        _ => {
            if words.len() > 1 && words.last() == Some(&"noreply") {
                points.push(format!("{command}: noreply"));
            }
            let family = ["stats", "slabs", "lru", "lru_crawler", "extstore", "watch", "shutdown"];
            if family.contains(&command) {
                points.extend(words.get(1).map(|word| format!("{command}: sub={word}")));
            }
            return points;
        }
    };
    for word in words.iter().skip(first_flag) {
        let (flag, argument) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        points.push(format!("{command}: flag={flag}"));
        if flag == "M" {
            points.push(format!("{command}: mode={argument}"));
        }
    }
    points
}

/// Lines that are commands; data blocks are stepped over where their length is plain.
fn command_lines(sent: &[u8]) -> Vec<String> {
    const SHOWN_BYTES_MAX: usize = 4096;
    let mut lines = Vec::new();
    let mut rest = sent;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES_MAX)]).into_owned();
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let length_at = match words.first() {
            Some(&("set" | "add" | "replace" | "append" | "prepend" | "cas")) => Some(4),
            Some(&"ms") => Some(2),
            _ => None,
        };
        let length: Option<usize> =
            length_at.and_then(|at| words.get(at)).and_then(|word| word.parse().ok());
        rest = &rest[length.map_or(0, |length| length + 2).min(rest.len())..];
        lines.push(text);
    }
    lines
}

fn reply_words(played: &Played) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if played.raw.is_empty() && !played.tokens.contains(&Token::Closed) {
        found.insert("silent".to_owned());
    }
    if played.tokens.contains(&Token::Closed) {
        found.insert("closed".to_owned());
    }
    let text = String::from_utf8_lossy(&played.raw);
    for line in text.lines() {
        let line = line.trim_end_matches('\r');
        if let Some((name, _)) = LINES.iter().find(|(_, fixed)| *fixed == line) {
            found.insert((*name).to_owned());
        }
        let first = line.split(' ').next().unwrap_or_default();
        if WORDS.contains(&first) {
            found.insert(first.to_owned());
        }
        if !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit()) {
            found.insert("number".to_owned());
        }
        if line.starts_with("key=") {
            found.insert("key".to_owned());
        }
        if matches!(first, "HD" | "VA") {
            let marks = ["W", "X", "Z"].into_iter();
            let marks = marks.filter(|mark| line.split(' ').any(|word| word == *mark));
            found.extend(marks.map(|mark| format!("mark={mark}")));
        }
    }
    found
}

fn binary_points(played: &Played) -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    let mut answered = BTreeSet::new();
    let mut rest = played.raw.as_slice();
    while let Some(response) = frame::response(rest) {
        answered.insert(response.opcode);
        let name = frame::opcode_name(response.opcode);
        points.insert(format!("bin {name}: {:02x}", response.status));
        rest = &rest[response.bytes..];
    }
    let mut sent = played.sent.as_slice();
    // Requests have the layout of responses.
    while let Some(request) = frame::response(sent) {
        let name = frame::opcode_name(request.opcode);
        if !answered.contains(&request.opcode) {
            points.insert(format!("bin {name}: silent"));
        }
        if played.tokens.contains(&Token::Closed) {
            points.insert(format!("bin {name}: closed"));
        }
        sent = &sent[request.bytes..];
    }
    points
}
