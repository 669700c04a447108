//! Commands that are run because no file tells what they know. All of them only print.
//!
//! Invariants: a command is looked for in fixed folders, never in the caller's `PATH`; it gets no
//! input and an empty environment; it has a bounded time and output, and is ended when it exceeds
//! them.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::{clock::Deadline, root::lossy};
use crate::facts::{CommandRun, Seen, Why, printable};

/// Longest wait for a command. `nft` with fifty thousand rules takes about a second.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two looks at whether it has ended.
const PAUSE: Duration = Duration::from_millis(2);
/// Longest output that is taken, in bytes: the rules of a large firewall.
const OUTPUT_BYTES_MAX: u64 = 8 << 20;
/// Of its complaints, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4096;
/// Where such programs stand.
pub(crate) const FOLDERS: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Runs a command; its result is also noted in `runs`.
pub(crate) fn run(words: &[&str], runs: &mut Vec<CommandRun>) -> Seen<String> {
    run_within(words, WAIT_MAX, false, runs)
}

/// The same with a bound of its own. `any_end`: what it printed counts with any exit code, as of
/// programs that end with another one than 0 where they find a difference.
pub(super) fn run_within(
    words: &[&str],
    wait_max: Duration,
    any_end: bool,
    runs: &mut Vec<CommandRun>,
) -> Seen<String> {
    let (outcome, seen) = match words.split_first() {
        Some((program, arguments)) => run_program(program, arguments, wait_max, any_end),
        None => return Seen::unseen(Why::Absent, "no command"),
    };
    let argv = words.iter().map(|word| (*word).to_owned()).collect();
    runs.push(CommandRun { argv, outcome });
    seen
}

/// Where a program stands.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

fn run_program(
    name: &str,
    arguments: &[&str],
    wait_max: Duration,
    any_end: bool,
) -> (String, Seen<String>) {
    let Some(path) = find(name) else {
        let detail = format!("{name} is not installed");
        return ("not installed".to_owned(), Seen::unseen(Why::Absent, detail));
    };
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", FOLDERS.join(":"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/");
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let detail = format!("{name}: {error}");
            return (detail.clone(), Seen::unseen(Why::Failed, detail));
        }
    };
    let output = child.stdout.take().map(|pipe| reader(pipe, OUTPUT_BYTES_MAX));
    let complaint = child.stderr.take().map(|pipe| reader(pipe, COMPLAINT_BYTES_MAX));
    let taken = output.and_then(|output| output.recv_timeout(wait_max).ok());
    let Some((bytes, whole)) = taken else {
        // It may have ended by itself; then there is nothing to end.
        let _ = child.kill();
        let _ = child.wait();
        let detail = format!("{name} did not end within {} s", wait_max.as_secs());
        return ("timed out".to_owned(), Seen::unseen(Why::TimedOut, detail));
    };
    if !whole {
        let _ = child.kill();
    }
    let Some(ended) = wait(&mut child) else {
        let detail = format!("{name} closed its output and did not end");
        return ("timed out".to_owned(), Seen::unseen(Why::TimedOut, detail));
    };
    let complaint = complaint.and_then(|pipe| pipe.recv_timeout(WAIT_MAX).ok());
    let complaint = lossy(complaint.map(|(bytes, _)| bytes).unwrap_or_default());
    let complaint = printable(complaint.lines().next().unwrap_or_default());
    let code = ended.code();
    let code = if any_end && !bytes.is_empty() { code.map(|_| 0) } else { code };
    judge(name, bytes, whole, code, &complaint)
}

/// Waits for the end of a program that has nothing more to print; one that stays is ended.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Deadline::after(WAIT_MAX);
    while deadline.left().is_some() {
        if let Some(status) = child.try_wait().ok()? {
            return Some(status);
        }
        std::thread::sleep(PAUSE);
    }
    // It may have ended by itself; then there is nothing to end.
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn judge(
    name: &str,
    bytes: Vec<u8>,
    whole: bool,
    code: Option<i32>,
    complaint: &str,
) -> (String, Seen<String>) {
    if !whole {
        let detail = format!("{name} printed more than {OUTPUT_BYTES_MAX} bytes");
        return (detail.clone(), Seen::unseen(Why::TooLarge, detail));
    }
    match code {
        Some(0) => ("exit 0".to_owned(), Seen::Known(lossy(bytes))),
        code => {
            let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit {code}"));
            let outcome = format!("{code}: {complaint}");
            let lower = complaint.to_ascii_lowercase();
            let refused = ["not permitted", "permission denied", "must be root", "you must be"];
            let why = match refused.iter().any(|text| lower.contains(text)) {
                true => Why::NotPermitted,
                false => Why::Failed,
            };
            (outcome.clone(), Seen::unseen(why, format!("{name}: {outcome}")))
        }
    }
}

/// Reads a pipe on a thread of its own, since two pipes cannot be read in turn.
fn reader(pipe: impl Read + Send + 'static, bytes_max: u64) -> mpsc::Receiver<(Vec<u8>, bool)> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.take(bytes_max + 1).read_to_end(&mut bytes);
        let whole = read.is_ok() && bytes.len() as u64 <= bytes_max;
        // Nobody waits any longer after a timeout.
        let _ = sender.send((bytes, whole));
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_exit_codes_and_absence() {
        let mut runs = Vec::new();
        assert_eq!(run(&["echo", "a b"], &mut runs), Seen::Known("a b\n".to_owned()));
        assert_eq!(run(&["env"], &mut runs).known().unwrap().lines().count(), 2);
        let missing = run(&["kannuki-has-no-such-program"], &mut runs);
        assert_eq!(missing.why().unwrap().why, Why::Absent);
        let failed = run(&["ls", "/no/such/folder"], &mut runs);
        assert_eq!(failed.why().unwrap().why, Why::Failed);
        let outcomes: Vec<_> = runs.iter().map(|run| run.outcome.as_str()).collect();
        assert_eq!(outcomes[..3], ["exit 0", "exit 0", "not installed"]);
        assert!(outcomes[3].starts_with("exit 2: "), "{}", outcomes[3]);
    }

    #[test]
    fn endless_output_is_cut_off() {
        let mut runs = Vec::new();
        let seen = run(&["cat", "/dev/zero"], &mut runs);
        assert_eq!(seen.why().unwrap().why, Why::TooLarge);
    }

    /// A program that closed its output and stayed was once waited for without end.
    #[test]
    fn a_program_that_closes_its_output_and_stays_is_ended() {
        let mut runs = Vec::new();
        let seen = run(&["sh", "-c", "exec >&- 2>&-; exec sleep 600"], &mut runs);
        assert_eq!(seen.why().unwrap().why, Why::TimedOut);
        assert_eq!(runs[0].outcome, "timed out");
    }

    #[test]
    fn refusals_are_told_from_failures() {
        let why = |text: &str| judge("x", Vec::new(), true, Some(1), text).1.why().unwrap().why;
        assert_eq!(why("Operation not permitted (you must be root)"), Why::NotPermitted);
        assert_eq!(why("syntax error"), Why::Failed);
    }
}
