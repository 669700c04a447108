//! Telling by mail, through the host's own `sendmail`: Postfix, Exim, msmtp and others bring one.
//!
//! Invariants: no text of the host reaches the head of a mail or a command line; `sendmail` gets
//! the whole mail at once (it is smaller than a pipe) and a time in which to take it.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kannuki_audit::{collect::clock::Deadline, findings::notice::Notice, texts::Texts};
use serde::Deserialize;

/// How long `sendmail` may take to queue a mail.
const SENDMAIL_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Largest mail, in bytes: less than the 64 KiB that a pipe takes without a reader.
const MAIL_BYTES_MAX: usize = 60 << 10;
/// Longest line of a mail, in bytes; RFC 5322 allows 998.
const LINE_BYTES_MAX: usize = 900;
/// Most addresses.
const ADDRESSES_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Mail {
    to: Vec<String>,
    from: Option<String>,
    #[serde(default = "usual")]
    sendmail: PathBuf,
}

fn usual() -> PathBuf {
    PathBuf::from("/usr/sbin/sendmail")
}

impl Mail {
    pub(super) fn send(&self, notice: &Notice<'_>, texts: &Texts) -> Result<(), String> {
        let place = self.sendmail.display();
        let mail = self.written(notice, texts)?;
        if !self.sendmail.is_absolute() {
            return Err(format!("sendmail = {place} must be a whole path"));
        }
        let mut child = Command::new(&self.sendmail)
            .arg("-i")
            .args(&self.to)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {place}: {error}"))?;
        let mut stdin = child.stdin.take();
        let written = stdin.as_mut().map(|stdin| stdin.write_all(mail.as_bytes()));
        drop(stdin);
        let ended = ended(&mut child).map_err(|why| format!("{place} {why}"))?;
        match written {
            Some(Err(error)) => Err(format!("{place} did not take the mail: {error}")),
            _ if ended.success() => Ok(()),
            _ => Err(format!("{place} failed: {ended}")),
        }
    }

    fn written(&self, notice: &Notice<'_>, texts: &Texts) -> Result<String, String> {
        if self.to.is_empty() || self.to.len() > ADDRESSES_MAX {
            return Err(format!("`to` needs 1 to {ADDRESSES_MAX} addresses"));
        }
        if let Some(bad) = self.to.iter().chain(&self.from).find(|address| !is_address(address)) {
            return Err(format!("{bad:?} is no address"));
        }
        let from = self.from.as_ref().map_or_else(String::new, |from| format!("From: {from}\n"));
        // In English and ASCII whatever the language: a head knows nothing else.
        let subject = format!("kannuki: {} new, {} gone", notice.new.len(), notice.gone.len());
        let mut mail = format!(
            "To: {}\n{from}Subject: {subject}\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
             Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n",
            self.to.join(", "),
        );
        for line in notice.text(texts).lines() {
            let line = cut(line, LINE_BYTES_MAX);
            if mail.len() + line.len() >= MAIL_BYTES_MAX {
                break;
            }
            mail += line;
            mail.push('\n');
        }
        Ok(mail)
    }
}

/// What stands in a head and on a command line: no option, no blank, no list.
fn is_address(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+=-".contains(&byte);
    (1..=254).contains(&address.len()) && address.bytes().all(plain) && !address.starts_with('-')
}

/// The beginning of a line, whole characters.
fn cut(line: &str, bytes_max: usize) -> &str {
    line.get(..line.floor_char_boundary(bytes_max)).unwrap_or(line)
}

fn ended(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    let deadline = Deadline::after(SENDMAIL_MAX);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Err(error) => return Err(format!("cannot be waited for: {error}")),
            Ok(None) if deadline.left().is_some() => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                // It may have ended by itself meanwhile, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {} s", SENDMAIL_MAX.as_secs()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_no_options_and_no_lists() {
        for good in ["root", "ops@example.jp", "a+b@x-y.example"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "-oQ/tmp", "a b", "a,b", "a\nBcc: c", "a@b>", "|sh", "\u{9583}"] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(cut("\u{9583}\u{9583}", 4), "\u{9583}");
        assert_eq!(cut("abc", 4), "abc");
    }
}
