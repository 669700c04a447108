//! The letter as text, Markdown or a mail.

use std::fmt::Write as _;

use super::{Letter, Mailbox};
use crate::formats::base64;
use crate::output::markdown::escape;

/// Octets of a mail's line of base64 (RFC 2045), in characters.
const BODY_COLUMNS: usize = 76;
/// Bytes of text in one encoded word: with `Subject: ` before it a line stays below the 76
/// characters of RFC 2047.
const WORD_BYTES_MAX: usize = 39;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text.
    Txt,
    /// Markdown.
    Md,
    /// A mail that a mail program opens (RFC 5322).
    Eml,
}

/// Who writes to whom, for a mail.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// The sender; none = left to the mail program.
    pub from: Option<Mailbox>,
    /// The desk; none = left to the mail program.
    pub to: Option<Mailbox>,
}

/// Writes the letter in a form.
#[must_use]
pub fn render(letter: &Letter, form: Form, mail: &Mail) -> String {
    match form {
        Form::Txt => text(letter, true),
        Form::Md => markdown(letter),
        Form::Eml => eml(letter, mail),
    }
}

/// The letter without its subject.
pub(super) fn body(letter: &Letter) -> String {
    text(letter, false)
}

fn text(letter: &Letter, with_subject: bool) -> String {
    let mut out = String::new();
    if with_subject {
        let _ = writeln!(out, "{}\n", letter.subject.text);
    }
    let _ = writeln!(out, "{}\n", letter.opening.text);
    for (number, section) in (1..).zip(&letter.sections) {
        let _ = writeln!(out, "{number}. {}", section.heading);
        for sentence in &section.sentences {
            let _ = writeln!(out, "   {}", sentence.text);
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{}", letter.closing.text);
    out
}

fn markdown(letter: &Letter) -> String {
    let mut out = format!("# {}\n", escape(&letter.subject.text));
    let _ = writeln!(out, "\n{}", escape(&letter.opening.text));
    for (number, section) in (1..).zip(&letter.sections) {
        let _ = writeln!(out, "\n## {number}. {}\n", section.heading);
        for sentence in &section.sentences {
            let _ = writeln!(out, "- {}", escape(&sentence.text));
        }
    }
    let _ = writeln!(out, "\n{}", escape(&letter.closing.text));
    out
}

/// Unsent: mail programs open it for editing and put the date in when it is sent.
fn eml(letter: &Letter, mail: &Mail) -> String {
    let mut out = String::from("X-Unsent: 1\r\n");
    for (name, value) in [("From", &mail.from), ("To", &mail.to)] {
        if let Some(mailbox) = value {
            let _ = write!(out, "{name}: {}\r\n", header_mailbox(mailbox));
        }
    }
    let _ = write!(out, "Subject: {}\r\n", header_text(&letter.subject.text));
    out.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n");
    out.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
    let body = body(letter).replace('\n', "\r\n");
    let body = base64::encode(body.as_bytes());
    for line in body.as_bytes().chunks(BODY_COLUMNS) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push_str("\r\n");
    }
    out
}

/// An address stands as it is: encoded, no program could send to it. Only the name beside it is
/// text, and stands on a line of its own where it is encoded.
fn header_mailbox(mailbox: &Mailbox) -> String {
    match mailbox.name() {
        "" => mailbox.address().to_owned(),
        name => format!("{}\r\n <{}>", encoded(name), mailbox.address()),
    }
}

/// A header's value: as it is if it is short ASCII, else in encoded words, each of whole
/// characters. Nothing in it can begin another header.
fn header_text(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic();
    if text.len() <= WORD_BYTES_MAX && text.chars().all(plain) && !text.contains("=?") {
        return text.to_owned();
    }
    encoded(text)
}

fn encoded(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if word.len() + c.len_utf8() > WORD_BYTES_MAX {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encode = |word: &String| format!("=?utf-8?B?{}?=", base64::encode(word.as_bytes()));
    words.iter().map(encode).collect::<Vec<_>>().join("\r\n ")
}
