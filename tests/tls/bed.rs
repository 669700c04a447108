//! An authority of our own, certificates signed by it, and a server that uses them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kannuki_tests::{Launch, Server, Wire, clock, launch::free_port};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// An authority that signs what it is asked to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    Expired,
    NotYet,
    /// For so many seconds from now on.
    Seconds(u64),
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Identity {
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.der.clone()]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let own = params.self_signed(&key).unwrap();
        let (pem, der) = (own.pem(), own.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// Signs a certificate with this common name, good for 127.0.0.1 and localhost.
    pub(crate) fn sign(&self, name: &str, when: When) -> Identity {
        self.sign_also(name, when, [])
    }

    /// Signs a certificate for a key that was made elsewhere.
    pub(crate) fn sign_key(&self, name: &str, key: &KeyPair) -> String {
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// The same with more alternative names.
    pub(crate) fn sign_also<const N: usize>(
        &self,
        name: &str,
        when: When,
        also: [SanType; N],
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.extend(also);
        (params.not_before, params.not_after) = match when {
            When::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1)),
            When::Expired => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
            When::Seconds(seconds) => {
                let epoch = date_time_ymd(1970, 1, 1);
                let until = Duration::from_secs(clock::unix_seconds() + seconds);
                (date_time_ymd(2020, 1, 1), epoch + until)
            }
            When::NotYet => (date_time_ymd(2089, 1, 1), date_time_ymd(2090, 1, 1)),
        };
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            pem: signed.pem(),
            key_pem: key.serialize_pem(),
            der: signed.der().clone(),
            key_der: key.serialize_der(),
        }
    }
}

/// Files of certificates, and a server that reads them.
pub(crate) struct Bed {
    pub(crate) authority: Authority,
    pub(crate) server: Server,
    /// A listener of the same server that speaks in clear.
    pub(crate) clear_port: u16,
    folder: TempDir,
}

impl Bed {
    /// A server that asks nobody for a certificate.
    pub(crate) fn start(options: &str) -> Self {
        Self::start_with(options, &[], When::Now)
    }

    /// `options` follow in the list of `-o`; the authority is that of clients too.
    pub(crate) fn start_with(options: &str, flags: &[&str], when: When) -> Self {
        let authority = Authority::new("authority");
        let folder = tempfile::tempdir().unwrap();
        let own = authority.sign("server", when);
        let clear_port = free_port();
        let path = |name: &str| folder_path(&folder, name);
        write(&path("chain.pem"), &own.pem);
        write(&path("key.pem"), &own.key_pem);
        write(&path("ca.pem"), &authority.pem);
        let list = format!(
            "ssl_chain_cert={},ssl_key={},ssl_ca_cert={}{options}",
            path("chain.pem").display(),
            path("key.pem").display(),
            path("ca.pem").display()
        );
        let listen = format!("127.0.0.1,notls:127.0.0.1:{clear_port}");
        let own_flags = ["-Z", "-o", &list, "-l", &listen];
        let flags = own_flags.into_iter().chain(flags.iter().copied());
        let server = Launch::kannuki().without_listen().flags(flags).start();
        Self { authority, server, clear_port, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        folder_path(&self.folder, name)
    }

    /// Replaces the server's certificate and key.
    pub(crate) fn renew(&self, name: &str) {
        let own = self.authority.sign(name, When::Now);
        write(&self.path("chain.pem"), &own.pem);
        write(&self.path("key.pem"), &own.key_pem);
    }

    /// A connection in clear.
    pub(crate) fn clear(&self) -> Wire {
        Wire::tcp(([127, 0, 0, 1], self.clear_port).into()).unwrap()
    }

    /// A line of `stats`, 0 if it is not there.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let stats = kannuki_tests::stats(&mut self.clear(), "stats");
        stats.iter().find(|(key, _)| key == name).map_or(0, |(_, value)| value.parse().unwrap())
    }
}

fn folder_path(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

pub(crate) fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
