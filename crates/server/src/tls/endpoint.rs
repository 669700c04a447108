//! One way of speaking TLS: certificate, suites, versions, what is asked of clients, sessions.

use std::{sync::Arc, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::SingleCertAndKey,
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};

use super::{
    ClientCheck, MinVersion, RECORD_BYTES_MAX, TlsConfig, TlsError, ciphers::is_tls13,
    files::Material,
};
use crate::clock;

/// Sessions kept by one endpoint for clients without tickets; the oldest goes first. Each is some
/// hundred bytes, and with a client's certificate one or two thousand.
const SESSIONS_MAX: usize = 8192;
/// Bytes of a record's header, which rustls counts in the size of a fragment.
const RECORD_HEADER_BYTES: usize = 5;

/// What connections of one kind begin with.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// That of the set of endpoints it belongs to.
    pub(super) number: u64,
}

impl Endpoint {
    pub(super) fn new(
        config: &TlsConfig,
        material: &Material,
        clients: ClientCheck,
        number: u64,
    ) -> Result<Self, TlsError> {
        let mut suites = config.ciphers.suites();
        if config.min_version == MinVersion::Tls13 {
            suites.retain(is_tls13);
        }
        let old_too = suites.iter().any(|suite| !is_tls13(suite));
        let versions = if old_too { &[&TLS13, &TLS12][..] } else { &[&TLS13][..] };
        let provider = CryptoProvider { cipher_suites: suites, ..ring::default_provider() };
        let provider = Arc::new(provider);
        let authorities = material.authorities.clone();
        let verifier = verifier(clients, authorities, &provider)?;
        let builder = ServerConfig::builder_with_details(provider, Arc::new(WallClock))
            .with_protocol_versions(versions)
            .map_err(setup)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let certificate = SingleCertAndKey::from(Arc::clone(&material.certified));
        let mut built = builder.with_cert_resolver(Arc::new(certificate));
        built.max_fragment_size =
            Some(config.record_bytes_max.min(RECORD_BYTES_MAX) + RECORD_HEADER_BYTES);
        // Keys of its own, which change every six hours and open the tickets of the six before.
        built.ticketer = ring::Ticketer::new().map_err(setup)?;
        built.session_storage = if config.session_cache {
            ServerSessionMemoryCache::new(SESSIONS_MAX)
        } else {
            Arc::new(NoServerSessionStorage {})
        };
        Ok(Self { config: Arc::new(built), verifier, number })
    }

    /// Whether a chain that was good when its session began is good today: a resumed handshake
    /// does not look at it again.
    pub(super) fn still_trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        let (Some(verifier), Some((leaf, others))) = (&self.verifier, chain.split_first()) else {
            return true;
        };
        verifier.verify_client_cert(leaf, others, now()).is_ok()
    }
}

fn verifier(
    clients: ClientCheck,
    authorities: Option<Arc<RootCertStore>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let authorities = authorities.unwrap_or_else(|| Arc::new(RootCertStore::empty()));
    let builder = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider));
    let builder = match clients {
        ClientCheck::None => return Ok(None),
        ClientCheck::Request => builder.allow_unauthenticated(),
        ClientCheck::Require => builder,
    };
    builder.build().map(Some).map_err(setup)
}

fn setup(error: impl std::fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(clock::unix_now()))
}

/// The dates of certificates are the calendar's.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(now())
    }
}
