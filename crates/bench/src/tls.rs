//! The client's side of TLS: whom it trusts, who it is, which version it speaks, and whether it
//! comes back to earlier sessions.
//!
//! Invariant: the server's certificate is always checked; there is no way to switch that off.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

/// Servers whose sessions are remembered: one is measured at a time.
const SESSIONS_MAX: usize = 8;

/// Where a server is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// TLS; `None` = in clear.
    pub tls: Option<Tls>,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// A version to insist on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Version {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

/// How TLS is to be spoken.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// Whose signature under the server's certificate is trusted; PEM.
    pub authority: &'t Path,
    /// A certificate to show and its key; PEM.
    pub identity: Option<(&'t Path, &'t Path)>,
    /// This version alone; `None` = the newest that both speak.
    pub version: Option<Version>,
    /// Whether connections after the first go on with an earlier session.
    pub resume: bool,
}

/// TLS as a client speaks it; clones remember the same sessions.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn new(terms: &Terms<'_>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(terms.authority)? {
            roots.add(certificate).with_context(|| terms.authority.display().to_string())?;
        }
        let versions: &[&SupportedProtocolVersion] = match terms.version {
            None => &[&TLS13, &TLS12],
            Some(Version::Tls12) => &[&TLS12],
            Some(Version::Tls13) => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        let mut config = match terms.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let secret = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("no private key in {}", key.display()))?;
                builder.with_client_auth_cert(certificates(chain)?, secret)?
            }
        };
        config.resumption = if terms.resume {
            Resumption::in_memory_sessions(SESSIONS_MAX)
        } else {
            Resumption::disabled()
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// A conversation that has not begun, with the server at an address: its certificate has to
    /// name that.
    ///
    /// # Errors
    /// Only what no correct configuration causes.
    pub fn begin(&self, address: SocketAddr) -> Result<ClientConnection> {
        let name = ServerName::IpAddress(address.ip().into());
        Ok(ClientConnection::new(Arc::clone(&self.config), name)?)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let all = read().with_context(|| format!("no certificate in {}", path.display()))?;
    anyhow::ensure!(!all.is_empty(), "no certificate in {}", path.display());
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_what_is_wanted_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let terms = Terms { authority: &path, identity: None, version: None, resume: true };
        let told = || format!("{:#}", Tls::new(&terms).unwrap_err());
        assert!(told().contains("ca.pem"), "{}", told());
        std::fs::write(&path, "nothing").unwrap();
        assert!(told().contains("no certificate in") && told().contains("ca.pem"), "{}", told());
    }
}
