//! Asking servers of others over HTTPS: the one way of these commands into a network.
//!
//! Invariants:
//! - TLS or nothing: an `http://` address is refused, also as the target of a redirect.
//! - Who a server is, is proved by the certificates that the system trusts, or by those of `--ca`
//!   alone; there is no switch that trusts everybody.
//! - Every answer is bounded in size (after unpacking), every question and all of them together in
//!   time, redirects in number. A server that never ends costs the deadline, not the host.

use std::{
    io::{self, BufReader, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use kannuki_audit::{collect::clock::Deadline, facts::printable};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use thiserror::Error;
use ureq::{
    Agent, Body, http,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// Redirects that are followed: a mirror's, and one more.
const REDIRECTS_MAX: u32 = 3;
/// How long a server may take to be reached.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Certificates of a file that are taken; a system's store has some 150.
const CERTIFICATES_MAX: usize = 1_000;

/// A server that could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum HttpsError {
    /// Not `https://`.
    #[error("{0} is not an https:// address; nothing is asked or told without TLS")]
    NotHttps(String),
    /// Nobody to trust.
    #[error("no trusted certificates: {0}")]
    NoTrust(String),
    /// The time is over.
    #[error("{0}: not over within the time; --timeout allows more")]
    TooLong(String),
    /// More bytes than can be.
    #[error("{url}: more than {bytes_max} bytes")]
    TooLarge {
        /// Who.
        url: String,
        /// The bound.
        bytes_max: usize,
    },
    /// Everything else.
    #[error("{url}: {why}")]
    Failed {
        /// Who.
        url: String,
        /// What happened.
        why: String,
    },
}

/// Asks over HTTPS until a deadline.
pub(crate) struct Https {
    agent: Agent,
    deadline: Deadline,
}

/// An answer whose body has not been read yet.
pub(crate) struct Answer {
    url: String,
    bytes_max: usize,
    /// When the server says that it was last changed.
    pub(crate) last_modified: Option<String>,
    body: Body,
}

impl Https {
    /// Trusts the certificates of `ca`, else the system's. Redirects are followed if `redirected`.
    pub(crate) fn new(
        ca: Option<&Path>,
        within: Duration,
        redirected: bool,
    ) -> Result<Self, HttpsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(trusted(ca)?)))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .https_only(true)
            .tls_config(tls)
            .max_redirects(if redirected { REDIRECTS_MAX } else { 0 })
            .max_redirects_will_error(true)
            .max_response_header_size(HEAD_BYTES_MAX)
            .timeout_connect(Some(CONNECT_MAX))
            .user_agent(concat!("kannuki/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), deadline: Deadline::after(within) })
    }

    /// GET.
    pub(crate) fn get(&self, url: &str, bytes_max: usize) -> Result<Answer, HttpsError> {
        let left = self.left(url)?;
        let request = self.agent.get(url).config().timeout_global(Some(left)).build();
        self.answer(url, bytes_max, request.call())
    }

    /// POST of JSON.
    pub(crate) fn post(
        &self,
        url: &str,
        body: &str,
        bytes_max: usize,
    ) -> Result<Answer, HttpsError> {
        let left = self.left(url)?;
        let request = self.agent.post(url).config().timeout_global(Some(left)).build();
        let request = request.header("Content-Type", "application/json");
        self.answer(url, bytes_max, request.send(body))
    }

    fn left(&self, url: &str) -> Result<Duration, HttpsError> {
        if !url.starts_with("https://") {
            return Err(HttpsError::NotHttps(shown(url)));
        }
        self.deadline.left().ok_or_else(|| HttpsError::TooLong(shown(url)))
    }

    fn answer(
        &self,
        url: &str,
        bytes_max: usize,
        answer: Result<http::Response<Body>, ureq::Error>,
    ) -> Result<Answer, HttpsError> {
        let answer = answer.map_err(|error| failed(url, &error))?;
        let last_modified = answer.headers().get("last-modified");
        let last_modified = last_modified.and_then(|date| Some(date.to_str().ok()?.to_owned()));
        Ok(Answer { url: url.to_owned(), bytes_max, last_modified, body: answer.into_body() })
    }
}

impl Answer {
    /// The whole body.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, HttpsError> {
        let (url, bytes_max) = (self.url.clone(), self.bytes_max);
        let mut bytes = Vec::new();
        match self.stream().read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(of_body(&url, bytes_max, &error)),
        }
    }

    /// The body as it comes; reading more than the bound is an error.
    pub(crate) fn stream(self) -> impl Read {
        BufReader::new(Bounded { body: self.body.into_reader(), left: self.bytes_max })
    }
}

/// Fails where more comes than may.
struct Bounded<R> {
    body: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(into)?;
        self.left = self.left.checked_sub(read).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, "more bytes than are read of it")
        })?;
        Ok(read)
    }
}

fn of_body(url: &str, bytes_max: usize, error: &io::Error) -> HttpsError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => HttpsError::TooLarge { url: shown(url), bytes_max },
        io::ErrorKind::TimedOut => HttpsError::TooLong(shown(url)),
        _ => HttpsError::Failed { url: shown(url), why: printable(&error.to_string()) },
    }
}

fn failed(url: &str, error: &ureq::Error) -> HttpsError {
    match error {
        ureq::Error::Timeout(_) => HttpsError::TooLong(shown(url)),
        ureq::Error::RequireHttpsOnly(to) => HttpsError::NotHttps(shown(to)),
        ureq::Error::StatusCode(code) => {
            HttpsError::Failed { url: shown(url), why: format!("answers with status {code}") }
        }
        error => HttpsError::Failed { url: shown(url), why: printable(&error.to_string()) },
    }
}

/// What of an address may be told: the path and what follows may hold a secret (webhooks).
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before an @ is a name and a password.
    let host = host.rsplit('@').next().unwrap_or_default();
    printable(&format!("{scheme}://{host}"))
}

fn trusted(ca: Option<&Path>) -> Result<Vec<Certificate<'static>>, HttpsError> {
    let no_trust = |why: String| HttpsError::NoTrust(printable(&why));
    let found: Vec<CertificateDer<'static>> = match ca {
        Some(file) => CertificateDer::pem_file_iter(file)
            .and_then(|found| found.take(CERTIFICATES_MAX).collect())
            .map_err(|error| no_trust(format!("{}: {error}", file.display())))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if found.is_empty() {
        let place = ca.map_or_else(|| "the system's store".into(), |ca| ca.display().to_string());
        return Err(no_trust(format!("{place} has none; name a PEM file with --ca")));
    }
    Ok(found.iter().map(|found| Certificate::from_der(found).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_address_are_not_told() {
        assert_eq!(shown("https://u:p@hooks.example/T/SECRET?x"), "https://hooks.example");
        assert_eq!(shown("https://a.example:8443/\u{1b}"), "https://a.example:8443");
    }

    #[test]
    fn more_than_the_bound_is_an_error() {
        let read = |left| {
            let mut bytes = Vec::new();
            Bounded { body: &b"12345"[..], left }.read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(read(5).unwrap(), b"12345");
        assert_eq!(read(4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
