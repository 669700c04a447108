//! One number out of a server's `stats`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// A server that does not answer by then is stuck.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Lines of `stats`; memcached has about a hundred.
const LINES_MAX: usize = 1000;

/// The number that `stats` gives for `name`.
///
/// # Errors
/// When the server does not answer or has no such number.
pub fn number(address: SocketAddr, name: &str) -> Result<u64> {
    let mut stream = TcpStream::connect_timeout(&address, SILENCE_MAX)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.write_all(b"stats\r\n")?;
    for line in BufReader::new(stream).lines().take(LINES_MAX) {
        let line = line.context("reading `stats`")?;
        let mut words = line.split_ascii_whitespace().skip(1);
        if words.next() == Some(name) {
            let value = words.next().unwrap_or_default();
            return value.parse().with_context(|| format!("`stats` says {name} is {value}"));
        }
        if line == "END" {
            break;
        }
    }
    anyhow::bail!("`stats` of the server has no {name}")
}
