//! The running host: its commands, its facts, its own addresses.
//!
//! Invariants: a command is looked for in fixed folders, gets no input and an environment of its
//! own, and has a bounded time.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::manifest::Ran;
use super::{Stage, Surroundings};
use crate::collect::{self, Request, clock, probe, run};
use crate::facts::{Facts, Protocol, printable};

/// Longest wait for a command: a service that does not stop is killed by its manager after 90 s.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Time between two looks whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What it complained about must be there soon after its end.
const COMPLAINT_WAIT: Duration = Duration::from_millis(300);
/// Of its complaints, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4096;
/// Time between two looks whether the change has come into effect.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for a connection to an own address.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// Who waits for a run.
pub trait Onlooker {
    /// What is being done now.
    fn tell(&mut self, stage: Stage<'_>);
    /// Whether it is to be broken off, and taken back.
    fn is_unwanted(&self) -> bool;
}

/// The host that this program runs on.
pub struct Host<'o> {
    /// How to look at it.
    pub request: Request,
    /// Who waits.
    pub onlooker: &'o mut dyn Onlooker,
}

impl Surroundings for Host<'_> {
    fn run(&mut self, argv: &[String]) -> Ran {
        let at = clock::now();
        let said = match end_of(argv) {
            Ok(said) => said,
            Err(said) => Some(said),
        };
        let ok = said.is_none();
        Ran { at, argv: argv.to_vec(), ok, said: said.unwrap_or_default() }
    }

    fn has(&self, program: &str) -> bool {
        run::find(program).is_some()
    }

    fn ask(&mut self, words: &[&str]) -> Option<String> {
        run::run(words, &mut Vec::new()).known().cloned()
    }

    fn look(&mut self) -> Result<Facts, String> {
        collect::collect(&self.request).map_err(|error| error.to_string())
    }

    fn answers(&mut self, protocol: Protocol, address: SocketAddr) -> bool {
        match protocol {
            Protocol::Tcp => TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok(),
            Protocol::Udp => probe::answers(address),
            Protocol::Unix => false,
        }
    }

    fn now(&mut self) -> i64 {
        clock::now()
    }

    fn pause(&mut self) {
        std::thread::sleep(PAUSE);
    }

    fn is_unwanted(&mut self) -> bool {
        self.onlooker.is_unwanted()
    }

    fn tell(&mut self, stage: Stage<'_>) {
        self.onlooker.tell(stage);
    }
}

/// Runs a command to its end: nothing if it ended with 0, else how it ended.
fn end_of(argv: &[String]) -> Result<Option<String>, String> {
    let (name, arguments) = argv.split_first().ok_or("no command")?;
    let path = run::find(name).ok_or_else(|| format!("{name} is not installed"))?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", run::FOLDERS.join(":"));
    // What a terminal sends to whoever is in front of it is for us alone to answer.
    command.process_group(0);
    // A service that it starts may keep its output; so nobody waits for the end of that.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).current_dir("/");
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let (sender, complaint) = mpsc::channel();
    if let Some(pipe) = child.stderr.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read until then is told, whatever ended it.
            let mut pipe = pipe.take(COMPLAINT_BYTES_MAX);
            let mut room = [0; 512];
            while let Ok(length) = pipe.read(&mut room) {
                bytes.extend(room.get(..length).unwrap_or_default());
                if length == 0 || sender.send(bytes.clone()).is_err() {
                    break;
                }
            }
        });
    }
    let deadline = clock::Deadline::after(WAIT_MAX);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if deadline.left().is_some() => std::thread::sleep(LOOK_AGAIN),
            Ok(None) => {
                // It is ours alone; if it ended by itself meanwhile, nothing is lost.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {} s", WAIT_MAX.as_secs()));
            }
            Err(error) => return Err(format!("{name}: {error}")),
        }
    };
    if status.success() {
        return Ok(None);
    }
    let mut said = Vec::new();
    while let Ok(more) = complaint.recv_timeout(COMPLAINT_WAIT) {
        said = more;
    }
    let said = String::from_utf8_lossy(&said);
    let said: Vec<&str> = said.lines().take(3).collect();
    Ok(Some(format!("{status}: {}", printable(&said.join(" / ")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(words: &[&str]) -> Result<Option<String>, String> {
        end_of(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_ends_well_badly_or_is_not_there() {
        assert_eq!(end(&["true"]), Ok(None));
        let said = end(&["ls", "/no/such/place"]).unwrap().unwrap();
        assert!(said.contains("exit status: 2") && said.contains("/no/such/place"), "{said}");
        assert!(end(&["kannuki-has-no-such-program"]).unwrap_err().contains("not installed"));
    }

    #[test]
    fn a_service_that_keeps_the_output_open_is_not_waited_for() {
        assert_eq!(end(&["sh", "-c", "sleep 30 & exit 0"]), Ok(None));
    }
}
