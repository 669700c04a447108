//! Scripts: what is sent to both servers, and nothing about what comes back.
//!
//! ```text
//! # A comment.
//! server -m 64 -I 2m        words added to the command line of both servers
//! uncounted bytes           counters that this script cannot compare; say why in a comment
//!
//! -- label                  a step begins; its lines go out in one write
//! on second                 ... on this connection (first use opens it; default `main`)
//! wait 1.2                  ... after this many seconds
//! quiet                     ... reply is what comes within a second (default: up to a barrier)
//! closes                    ... reply ends when the server closes
//! until END\r\n             ... reply ends with these bytes
//! sort                      ... lines of the reply come in no order of their own
//! shut                      ... then our sending side ends
//! > get a                   sent with CR LF after it
//! >> get a\n                sent as it is
//! >b get key=a              a binary frame, see `frame`
//! ```
//!
//! The barrier is `mn` on a text connection and a No-op on a binary one: it counts nothing and
//! tells that everything before it is answered.

use super::frame::Request;
use super::notation::{self, Piece, Surroundings};

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub server_flags: Vec<String>,
    pub uncounted: Vec<String>,
    pub steps: Vec<Step>,
}

/// One write and its reply.
#[derive(Clone, Debug)]
pub struct Step {
    pub label: String,
    pub connection: String,
    pub wait_seconds: f64,
    pub end: End,
    pub sorted: bool,
    pub shut: bool,
    pub sends: Vec<Send>,
}

/// How the end of a reply is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Barrier,
    Quiet,
    Close,
    Until(Vec<u8>),
}

/// A part of what a step sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    Text(Vec<Piece>),
    Binary(Request),
}

impl Step {
    fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            connection: "main".to_owned(),
            wait_seconds: 0.0,
            end: End::Barrier,
            sorted: false,
            shut: false,
            sends: Vec::new(),
        }
    }

    /// True when the step speaks binary.
    pub fn is_binary(&self) -> bool {
        self.sends.iter().any(|send| matches!(send, Send::Binary(_)))
    }

    /// The bytes to send now.
    pub fn bytes(&self, surroundings: &dyn Surroundings) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for send in &self.sends {
            bytes.extend(match send {
                Send::Text(pieces) => notation::fill_in(pieces, surroundings)?,
                Send::Binary(request) => request.fill_in(surroundings)?,
            });
        }
        Ok(bytes)
    }
}

impl Script {
    /// Reads a script; the error names the line.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut script = Self {
            name: name.to_owned(),
            server_flags: Vec::new(),
            uncounted: Vec::new(),
            steps: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let at = |why| format!("{name}.txt:{}: {why}", number + 1);
            script.line(line).map_err(at)?;
        }
        for step in &script.steps {
            if script.steps.iter().filter(|other| other.label == step.label).count() > 1 {
                return Err(format!("{name}.txt: two steps are called {:?}", step.label));
            }
        }
        if script.steps.is_empty() {
            return Err(format!("{name}.txt: no steps"));
        }
        Ok(script)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" => return Ok(()),
            comment if comment.starts_with('#') => return Ok(()),
            "--" => {
                self.steps.push(Step::new(rest.trim()));
                return Ok(());
            }
            _ => {}
        }
        let Some(step) = self.steps.last_mut() else {
            let words = rest.split_whitespace().map(str::to_owned);
            match word {
                "server" => self.server_flags.extend(words),
                "uncounted" => self.uncounted.extend(words),
                _ => return Err(format!("{word:?} before the first step")),
            }
            return Ok(());
        };
        match word {
            ">" => step.sends.push(Send::Text(notation::parse(&format!("{rest}\\r\\n"))?)),
            ">>" => step.sends.push(Send::Text(notation::parse(rest)?)),
            ">b" => step.sends.push(Send::Binary(Request::parse(rest)?)),
            "on" => step.connection = rest.trim().to_owned(),
            "wait" => {
                let seconds: f64 = rest.trim().parse().map_err(|_| format!("wait {rest}"))?;
                // Also refuses NaN; a longer wait would hold up the whole run.
                if !(0.0..=10.0).contains(&seconds) {
                    return Err(format!("wait {rest}: from 0 to 10 seconds"));
                }
                step.wait_seconds = seconds;
            }
            "quiet" => step.end = End::Quiet,
            "closes" => step.end = End::Close,
            "until" => match notation::parse(rest)?.as_slice() {
                [Piece::Literal(bytes)] if !bytes.is_empty() => {
                    step.end = End::Until(bytes.clone());
                }
                _ => return Err("until needs plain text".to_owned()),
            },
            "sort" => step.sorted = true,
            "shut" => step.shut = true,
            _ => return Err(format!("unknown word {word:?}")),
        }
        Ok(())
    }
}

/// All scripts of `directory`, by name.
pub fn load_all(directory: &std::path::Path) -> Result<Vec<Script>, String> {
    let entries = std::fs::read_dir(directory).map_err(|error| error.to_string())?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut scripts = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        scripts.push(Script::parse(&name, &text)?);
    }
    Ok(scripts)
}
