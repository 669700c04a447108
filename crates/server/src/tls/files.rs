//! Reading certificates and keys. The one file of TLS that touches the disk.
//!
//! Invariants: what is read is bounded; an error names the file and the reason, in memcached's words
//! where it has some; nothing of a private key is ever shown.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::{KeyFormat, TlsConfig, certificate};
use crate::clock;

/// Largest file of certificates or keys, in bytes: all authorities of a usual system are 250 kB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Certificates of one chain: authorities use two to four, and each handshake sends them all.
const CHAIN_CERTIFICATES_MAX: usize = 16;
/// Days before its end from which on the server's certificate is warned about.
const EXPIRY_WARNING_DAYS: u64 = 14;

const SECONDS_PER_DAY: u64 = 86_400;

/// Why TLS cannot be set up. The messages begin as memcached's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file of the server's certificate.
    #[error("Error loading the certificate chain: {path} : {reason}")]
    Chain {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of the private key.
    #[error("Error loading the key: {path} : {reason}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not fit together.
    #[error("Error validating the certificate: {reason}")]
    Mismatch {
        /// How.
        reason: String,
    },
    /// The file of the authorities.
    #[error("Error loading the CA certificate: {path} : {reason}")]
    Authorities {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Listeners that are open may have to check certificates by them.
    #[error("Error loading the CA certificate: ssl_ca_cert is not set any more; restart for that")]
    AuthoritiesGone,
    /// Nothing says which certificates of clients are good.
    #[error(
        "Error loading the CA certificate: ssl_verify_mode asks for certificates: set ssl_ca_cert"
    )]
    NoAuthorities,
    /// Something that no file causes.
    #[error("Error setting TLS up: {0}")]
    Setup(String),
}

/// What the files hold.
pub(super) struct Material {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) authorities: Option<Arc<RootCertStore>>,
}

/// Reads all files of a configuration; also what the operator should know although it works.
pub(super) fn read(config: &TlsConfig) -> Result<(Material, Vec<String>), TlsError> {
    let mut warnings = Vec::new();
    let chain = read_chain(&config.chain)?;
    let key = read_key(config, &mut warnings)?;
    let signing = any_supported_type(&key).map_err(|_| TlsError::Key {
        path: key_path(config).display().to_string(),
        reason: "is no RSA (2048 bits or more), ECDSA (P-256, P-384) or Ed25519 key".to_owned(),
    })?;
    if let Some(leaf) = chain.first() {
        warnings.extend(validity(config, leaf));
    }
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            let reason = "the key is not that of the certificate".to_owned();
            return Err(TlsError::Mismatch { reason });
        }
        Err(error) => return Err(TlsError::Mismatch { reason: error.to_string() }),
    }
    let authorities = config.authorities.as_deref().map(read_authorities).transpose()?;
    Ok((Material { certified: Arc::new(certified), authorities }, warnings))
}

/// The files have been read, but whom the process has become cannot read them again.
pub(crate) fn unreadable(config: &TlsConfig) -> Option<String> {
    let files = [Some(&config.chain), config.key.as_ref(), config.authorities.as_ref()];
    let failed = |path: &&std::path::PathBuf| {
        File::open(path).err().map(|error| (path.display().to_string(), error))
    };
    let (path, error) = files.into_iter().flatten().find_map(|path| failed(&path))?;
    Some(format!(
        "{path}: SIGHUP and refresh_certs will not read it again: {error}; chgrp and chmod g=r it"
    ))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |reason| TlsError::Chain { path: path.display().to_string(), reason };
    let chain = read_certificates(path).map_err(fail)?;
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return Err(fail(format!("has more than {CHAIN_CERTIFICATES_MAX} certificates")));
    }
    Ok(chain)
}

fn read_authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let fail = |reason| TlsError::Authorities { path: path.display().to_string(), reason };
    let mut store = RootCertStore::empty();
    for (at, authority) in read_certificates(path).map_err(fail)?.into_iter().enumerate() {
        store.add(authority).map_err(|error| fail(format!("certificate {}: {error}", at + 1)))?;
    }
    Ok(Arc::new(store))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read_bounded(path).map_err(|error| error.to_string())?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(pem_reason)?;
    if certificates.is_empty() {
        return Err("holds no certificate in PEM form".to_owned());
    }
    Ok(certificates)
}

fn key_path(config: &TlsConfig) -> &Path {
    config.key.as_deref().unwrap_or(&config.chain)
}

fn read_key(
    config: &TlsConfig,
    warnings: &mut Vec<String>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = key_path(config);
    let fail = |reason| TlsError::Key { path: path.display().to_string(), reason };
    let bytes = read_bounded(path).map_err(|error| fail(error.to_string()))?;
    warnings.extend(permissions(path));
    if config.key_format == KeyFormat::Der && config.key.is_some() {
        return PrivateKeyDer::try_from(bytes).map_err(|reason| fail(reason.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let encrypted = bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
        fail(match error {
            pem::Error::NoItemsFound if encrypted => {
                "the key is encrypted; write it without a passphrase, readable by the server's \
                 user alone"
                    .to_owned()
            }
            pem::Error::NoItemsFound => "holds no private key in PEM form".to_owned(),
            error => pem_reason(error),
        })
    })
}

/// In the heading of a key that a passphrase protects, in both of the usual forms.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

fn pem_reason(error: pem::Error) -> String {
    match error {
        pem::Error::Base64Decode(reason) => format!("is damaged: {reason}"),
        pem::Error::MissingSectionEnd { .. } => "is cut off: an END line is missing".to_owned(),
        error => error.to_string(),
    }
}

/// A key that others can read is no secret.
fn permissions(path: &Path) -> Option<String> {
    const OTHERS: u32 = 0o007;
    let mode = std::fs::metadata(path).ok()?.mode();
    (mode & OTHERS != 0).then(|| {
        let path = path.display();
        format!("{path}: the private key is open to every user of this host; chmod o-rwx {path}")
    })
}

/// Clients will refuse an expired certificate, and the operator should hear of it first.
fn validity(config: &TlsConfig, leaf: &CertificateDer<'_>) -> Option<String> {
    let (begins, ends) = certificate::validity(leaf)?;
    let now = clock::unix_now();
    let path = config.chain.display();
    if now < begins {
        Some(format!("{path}: the certificate is not valid yet; clients refuse it until it is"))
    } else if now > ends {
        Some(format!("{path}: the certificate has expired; clients refuse it"))
    } else if ends - now < EXPIRY_WARNING_DAYS * SECONDS_PER_DAY {
        let days = (ends - now) / SECONDS_PER_DAY;
        Some(format!("{path}: the certificate expires in {days} days"))
    } else {
        None
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("is longer than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}
