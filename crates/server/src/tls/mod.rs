//! TLS: what is configured, what is in force, and how it is exchanged while the server runs.
//!
//! Files are read at the start and on request, never in between. What was read becomes a set of
//! endpoints, one for each way of asking clients for a certificate; a connection keeps the endpoint
//! it began with, so a reload drops nobody.
//!
//! Invariants:
//! - A reload that fails changes nothing: the old endpoints stay in force.
//! - Sessions are resumed only at the very endpoint that made them: a client whose authority was
//!   taken away does not come back by an old ticket.
//! - An open connection does not outlive its client's certificate: not its last second, and not the
//!   authority that signed it, once a reload has taken that away.

mod certificate;
mod ciphers;
mod endpoint;
mod fault;
mod files;
mod machine;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use kannuki_store::time::Now;
use rustls::pki_types::CertificateDer;

pub use ciphers::{CipherError, Ciphers};
pub(crate) use endpoint::Endpoint;
pub use fault::TlsFault;
pub use files::TlsError;
pub(crate) use files::unreadable;
pub(crate) use machine::{Opened, TlsMachine};

/// Largest TLS record, in bytes of plaintext: the protocol's own bound.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// TLS as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's certificate and those that lead to its authority, PEM.
    pub chain: PathBuf,
    /// Its private key; `None` = in the file of the certificate.
    pub key: Option<PathBuf>,
    /// How the key is written.
    pub key_format: KeyFormat,
    /// Authorities that sign the certificates of clients, PEM.
    pub authorities: Option<PathBuf>,
    /// Whether clients of ordinary listeners are asked for a certificate.
    pub clients: ClientCheck,
    /// The number of `ssl_verify_mode`, for `stats settings`.
    pub verify_mode: u8,
    /// Which cipher suites are offered.
    pub ciphers: Ciphers,
    /// Oldest version.
    pub min_version: MinVersion,
    /// Most bytes of plaintext in one record, at most [`RECORD_BYTES_MAX`].
    pub record_bytes_max: usize,
    /// The number of `ssl_wbuf_size` in bytes, for `stats settings`.
    pub write_buffer_bytes: u64,
    /// Keep sessions also for clients that cannot keep a ticket.
    pub session_cache: bool,
    /// Encryption by the kernel was asked for; shown by `stats settings`, without effect.
    pub kernel_tls: bool,
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// Text between two marks.
    #[default]
    Pem,
    /// Bare bytes.
    Der,
}

/// Oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// 1.2 and 1.3.
    #[default]
    Tls12,
    /// 1.3 alone.
    Tls13,
}

/// Whether a client is asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCheck {
    /// Not asked.
    #[default]
    None,
    /// Asked; one that is shown must be good.
    Request,
    /// Asked, and turned away without a good one.
    Require,
}

/// Which clients a listener asks for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerCheck {
    /// As [`TlsConfig::clients`] says, also after a reload.
    Configured,
    /// As the listener's own prefix says (`btls:`, `mtls:`).
    Own(ClientCheck),
}

/// TLS as it is in force.
#[derive(Debug)]
pub(crate) struct Tls {
    state: Mutex<State>,
    loaded_at: AtomicU32,
    failed_reloads: AtomicU64,
    /// The last number that a set of endpoints was given.
    numbered: AtomicU64,
    /// The number of the set in force.
    in_force: AtomicU64,
}

/// Certificates that were read and count from [`Tls::adopt`] on.
#[derive(Debug)]
pub(crate) struct Prepared(State);

#[derive(Debug)]
struct State {
    config: TlsConfig,
    endpoints: Endpoints,
}

/// One endpoint for each way of asking clients for a certificate.
#[derive(Clone, Debug)]
struct Endpoints {
    none: Arc<Endpoint>,
    /// Request and require; absent where there are no authorities to check by.
    checked: Option<(Arc<Endpoint>, Arc<Endpoint>)>,
}

impl Tls {
    /// Reads the files. The second value is what the operator should know although it works.
    ///
    /// # Errors
    /// Names the file and the reason.
    pub(crate) fn load(config: TlsConfig) -> Result<(Self, Vec<String>), TlsError> {
        let (endpoints, warnings) = read(&config, 0)?;
        let tls = Self {
            state: Mutex::new(State { config, endpoints }),
            loaded_at: AtomicU32::new(0),
            failed_reloads: AtomicU64::new(0),
            numbered: AtomicU64::new(0),
            in_force: AtomicU64::new(0),
        };
        Ok((tls, warnings))
    }

    /// Reads the files again, as configured before.
    ///
    /// # Errors
    /// Names the file and the reason; the old certificates stay in force.
    pub(crate) fn refresh(&self, now: Now) -> Result<Vec<String>, TlsError> {
        let config = self.lock().config.clone();
        self.reload(config, now)
    }

    fn reload(&self, config: TlsConfig, now: Now) -> Result<Vec<String>, TlsError> {
        let (fresh, warnings) = self.prepare(config)?;
        self.adopt(fresh, now);
        Ok(warnings)
    }

    /// Reads the files of another configuration, without a change yet. The second value is what
    /// the operator should know although it works.
    ///
    /// # Errors
    /// Names the file and the reason, and is counted.
    pub(crate) fn prepare(&self, config: TlsConfig) -> Result<(Prepared, Vec<String>), TlsError> {
        let number = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
        let read = read(&config, number).and_then(|(endpoints, warnings)| {
            // Listeners that are open may have to check certificates by them.
            let gone = self.lock().endpoints.checked.is_some() && endpoints.checked.is_none();
            if gone {
                return Err(TlsError::AuthoritiesGone);
            }
            Ok((Prepared(State { config, endpoints }), warnings))
        });
        if read.is_err() {
            self.failed_reloads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }

    /// Puts in force what was prepared: for connections that begin from now on. What was prepared
    /// before that which is in force, by a command beside a signal, comes too late.
    pub(crate) fn adopt(&self, fresh: Prepared, now: Now) {
        let mut state = self.lock();
        if fresh.0.endpoints.none.number < state.endpoints.none.number {
            return;
        }
        *state = fresh.0;
        self.in_force.store(state.endpoints.none.number, Ordering::Release);
        drop(state);
        self.loaded_at.store(now.0, Ordering::Relaxed);
    }

    /// What a new connection begins with; `None` where clients are to be checked and there are no
    /// authorities any more, which [`Tls::reload`] does not let happen.
    pub(crate) fn endpoint(&self, asked: ListenerCheck) -> Option<Arc<Endpoint>> {
        let state = self.lock();
        state.endpoints.asking(match asked {
            ListenerCheck::Configured => state.config.clients,
            ListenerCheck::Own(clients) => clients,
        })
    }

    /// The number of the endpoints in force: another one after each reload.
    pub(crate) fn in_force(&self) -> u64 {
        self.in_force.load(Ordering::Acquire)
    }

    /// Whether the authorities in force vouch for a client's chain today; none shown is none bad.
    fn trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        if chain.is_empty() {
            return true;
        }
        let endpoint = self.lock().endpoints.asking(ClientCheck::Request);
        endpoint.is_some_and(|endpoint| endpoint.still_trusts(chain))
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> TlsConfig {
        self.lock().config.clone()
    }

    /// The second in which the certificates in force were read; 0 = before the clock started.
    pub(crate) fn loaded_at(&self) -> Now {
        Now(self.loaded_at.load(Ordering::Relaxed))
    }

    /// Reloads that failed.
    pub(crate) fn failed_reloads(&self) -> u64 {
        self.failed_reloads.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoints {
    fn asking(&self, clients: ClientCheck) -> Option<Arc<Endpoint>> {
        let checked = self.checked.as_ref();
        match clients {
            ClientCheck::None => Some(Arc::clone(&self.none)),
            ClientCheck::Request => checked.map(|(request, _)| Arc::clone(request)),
            ClientCheck::Require => checked.map(|(_, require)| Arc::clone(require)),
        }
    }
}

fn read(config: &TlsConfig, number: u64) -> Result<(Endpoints, Vec<String>), TlsError> {
    let (material, warnings) = files::read(config)?;
    let none = Arc::new(Endpoint::new(config, &material, ClientCheck::None, number)?);
    let checked = if material.authorities.is_some() {
        let request = Endpoint::new(config, &material, ClientCheck::Request, number)?;
        let require = Endpoint::new(config, &material, ClientCheck::Require, number)?;
        Some((Arc::new(request), Arc::new(require)))
    } else {
        None
    };
    let endpoints = Endpoints { none, checked };
    if endpoints.asking(config.clients).is_none() {
        return Err(TlsError::NoAuthorities);
    }
    Ok((endpoints, warnings))
}
