//! What is left of a password after it was used: nothing in what the server says and shows, and
//! nothing in its memory where the file holds a hash.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::Command;

use kannuki_tests::{Program, Server, stats};

use super::{FAILED, Users, log_in};

const RIGHT: &str = "rightpassword-3f9c2b";
const WRONG: &str = "wrongpassword-81d7aa";

/// A SASL PLAIN log-in as a frame.
fn plain(name: &str, password: &str) -> Vec<u8> {
    let value = format!("\0{name}\0{password}");
    let body = u32::try_from(5 + value.len()).unwrap();
    let mut frame = vec![0x80, 0x21, 0, 5, 0, 0, 0, 0];
    frame.extend(body.to_be_bytes());
    frame.extend([0; 12]);
    frame.extend(b"PLAIN");
    frame.extend(value.bytes());
    frame
}

/// Log-ins of every kind, right and wrong, whole and in pieces.
fn use_passwords(server: &Server) {
    for (password, answer) in [(RIGHT, "STORED"), (WRONG, FAILED)] {
        let mut wire = server.connect();
        assert_eq!(log_in(&mut wire, &format!("app {password}")), answer);
        let mut pieces = server.connect();
        pieces.send(format!("set auth 0 0 {}\r\napp {}", password.len() + 4, &password[..7]));
        pieces.fill(std::time::Duration::from_millis(50));
        pieces.send(format!("{}\r\n", &password[7..]));
        assert_eq!(pieces.line(), answer);
        let mut sasl = server.connect();
        sasl.send(plain("app", password));
        assert_eq!(sasl.exactly(24)[7], if answer == "STORED" { 0 } else { 0x20 });
    }
}

#[test]
fn nothing_that_is_said_or_shown_has_a_password() {
    let users = Users::new(&format!("app:{RIGHT}\n"));
    let server = users.both().flags(["-vvv"]).start();
    use_passwords(&server);
    let mut inside = server.connect();
    assert_eq!(log_in(&mut inside, &format!("app {RIGHT}")), "STORED");
    let mut shown = server.stderr();
    for family in ["stats", "stats settings", "stats conns"] {
        shown.push_str(&format!("{:?}", stats(&mut inside, family)));
    }
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap();
    shown.push_str(&String::from_utf8_lossy(&cmdline));
    for words in [["config", "show"], ["config", "check"]] {
        let mut command = Command::new(Program::Kannuki.path().unwrap());
        let output = command.args(words).arg("-S").arg("-Y").arg(users.path()).output().unwrap();
        assert!(output.status.success());
        shown.push_str(&String::from_utf8_lossy(&output.stdout));
        shown.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    assert!(shown.contains("set auth 0 0"), "commands are logged: {shown}");
    for secret in [RIGHT, WRONG] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!shown.contains(&secret[7..]), "nor a piece of it: {shown}");
    }
}

#[test]
fn a_hashed_password_leaves_no_trace_in_memory() {
    let users = Users::hashed("app", RIGHT, &[]);
    let server = users.both().start();
    let mut canary = server.connect();
    assert_eq!(log_in(&mut canary, &format!("app {RIGHT}")), "STORED");
    let item = "canary-in-the-store-55e1";
    assert_eq!(canary.ask(&format!("set c 0 0 {}\r\n{item}\r\n", item.len())), "STORED");
    use_passwords(&server);
    let found = match traces(server.pid(), &[item, RIGHT, WRONG]) {
        Ok(found) => found,
        Err(why) => return kannuki_tests::missing("reading the server's memory", &why),
    };
    assert!(found[0] > 0, "what is there is found");
    assert_eq!(found[1..], [0, 0], "passwords in memory");
}

/// How often each text stands in the writable memory of a process.
fn traces(pid: u32, texts: &[&str]) -> Result<Vec<usize>, String> {
    let say = |error: std::io::Error| error.to_string();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(say)?;
    let mut memory = File::open(format!("/proc/{pid}/mem")).map_err(say)?;
    let mut found = vec![0; texts.len()];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let Some((start, end)) = range.split_once('-').filter(|_| rights.starts_with("rw")) else {
            continue;
        };
        let number = |hex: &str| u64::from_str_radix(hex, 16).map_err(|error| error.to_string());
        let (start, end) = (number(start)?, number(end)?);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        memory.seek(SeekFrom::Start(start)).map_err(say)?;
        // Some regions of the kernel's cannot be read.
        if memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        for (count, text) in found.iter_mut().zip(texts) {
            *count += bytes.windows(text.len()).filter(|piece| *piece == text.as_bytes()).count();
        }
    }
    Ok(found)
}
