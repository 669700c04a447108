//! Certificates for a comparison: made in a folder that goes away with it.
//!
//! All are signed by one authority with a P-256 key, so what differs between two servers' handshakes
//! is the server's own key alone.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// The kind of a server's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Elliptic curve, P-256.
    Ecdsa,
    /// RSA of 2048 bits.
    Rsa,
}

impl KeyKind {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA P-256",
            Self::Rsa => "RSA-2048",
        }
    }

    const fn stem(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// The folder with the files.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// Makes them all.
    ///
    /// # Errors
    /// When `openssl` is not there, which makes the RSA key, or a file cannot be written.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for certificates")?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a comparison");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let own = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let made = Self { folder };
        write(&made.path(), &own)?;
        let signed = |stem: &str, key: &KeyPair| -> Result<()> {
            let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(hosts)?;
            params.distinguished_name.push(DnType::CommonName, stem);
            let (chain, secret) = made.pair(stem);
            write(&chain, &params.signed_by(key, &issuer)?.pem())?;
            write(&secret, &key.serialize_pem())
        };
        signed(KeyKind::Ecdsa.stem(), &KeyPair::generate()?)?;
        signed(KeyKind::Rsa.stem(), &rsa()?)?;
        signed(CLIENT_STEM, &KeyPair::generate()?)?;
        Ok(made)
    }

    /// Its own certificate.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A server's certificate and key.
    #[must_use]
    pub fn server(&self, kind: KeyKind) -> (PathBuf, PathBuf) {
        self.pair(kind.stem())
    }

    /// A client's certificate and key.
    #[must_use]
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.pair(CLIENT_STEM)
    }

    fn pair(&self, stem: &str) -> (PathBuf, PathBuf) {
        let path = |end: &str| self.folder.path().join(format!("{stem}.{end}"));
        (path("pem"), path("key"))
    }
}

const CLIENT_STEM: &str = "client";

/// The library that signs here does not make RSA keys.
fn rsa() -> Result<KeyPair> {
    let mut command = Command::new("openssl");
    command.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let made = command.output().context("starting `openssl`, which makes the RSA key")?;
    ensure!(made.status.success(), "`openssl genpkey` ended with {}", made.status);
    Ok(KeyPair::from_pem(&String::from_utf8(made.stdout)?)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}
