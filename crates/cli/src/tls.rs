//! From what was typed about TLS to what is meant.
//!
//! Invariants: without `-Z` there is no TLS at all; a cipher that is not known is an error.

use kannuki_audit::memcached_options::{
    OptionError, Settings, listen::ListenTls, problem::EXIT_USAGE, table::tls,
};
use kannuki_server::{
    config::{ClientCheck, ListenerCheck, TlsConfig},
    tls::{Ciphers, KeyFormat, MinVersion, RECORD_BYTES_MAX},
};

use crate::situation::Situation;

/// `ssl_min_version` of TLS 1.3.
const TLS_1_3: i64 = 3;

/// TLS, if it is on.
pub(crate) fn config(
    settings: &Settings,
    situation: &Situation,
) -> Result<Option<TlsConfig>, Vec<OptionError>> {
    let path = |spec| settings.path(spec).map(|path| situation.directory.join(path));
    // That there is a certificate was checked with the settings.
    let chain = path(&tls::SSL_CHAIN_CERT).filter(|_| settings.switch(&tls::ENABLE_SSL));
    let Some(chain) = chain else { return Ok(None) };
    let der = matches!(settings.text(&tls::SSL_KEYFORMAT).as_deref(), Some("2" | "DER"));
    let newest = settings.number(&tls::SSL_MIN_VERSION) == TLS_1_3;
    let write_buffer = u64::try_from(settings.number(&tls::SSL_WBUF_SIZE)).unwrap_or(0) << 10;
    let record = usize::try_from(write_buffer).unwrap_or(RECORD_BYTES_MAX);
    Ok(Some(TlsConfig {
        chain,
        key: path(&tls::SSL_KEY),
        key_format: if der { KeyFormat::Der } else { KeyFormat::Pem },
        authorities: path(&tls::SSL_CA_CERT),
        clients: client_check(settings),
        verify_mode: u8::try_from(settings.number(&tls::SSL_VERIFY_MODE)).unwrap_or(u8::MAX),
        ciphers: ciphers(settings)?,
        min_version: if newest { MinVersion::Tls13 } else { MinVersion::Tls12 },
        record_bytes_max: record.min(RECORD_BYTES_MAX),
        write_buffer_bytes: write_buffer,
        session_cache: settings.switch(&tls::SSL_SESSION_CACHE),
        kernel_tls: settings.switch(&tls::SSL_KERNEL_TLS),
    }))
}

/// How a listener speaks TLS; `None` = in clear.
pub(crate) fn of_listener(settings: &Settings, said: Option<ListenTls>) -> Option<ListenerCheck> {
    if !settings.switch(&tls::ENABLE_SSL) {
        return None;
    }
    match said {
        None => Some(ListenerCheck::Configured),
        Some(ListenTls::Off) => None,
        Some(ListenTls::Basic) => Some(ListenerCheck::Own(ClientCheck::None)),
        Some(ListenTls::Mutual) => Some(ListenerCheck::Own(ClientCheck::Require)),
    }
}

fn client_check(settings: &Settings) -> ClientCheck {
    match settings.number(&tls::SSL_VERIFY_MODE) {
        0 => ClientCheck::None,
        1 => ClientCheck::Request,
        _ => ClientCheck::Require,
    }
}

fn ciphers(settings: &Settings) -> Result<Ciphers, Vec<OptionError>> {
    let Some(given) = settings.given(&tls::SSL_CIPHERS) else { return Ok(Ciphers::default()) };
    let list = settings.text(&tls::SSL_CIPHERS).unwrap_or_default();
    Ciphers::parse(&list).map_err(|error| {
        let message = format!("invalid value \"{list}\" for -o ssl_ciphers: {error}");
        vec![OptionError { message, exit_code: EXIT_USAGE, origin: given.source.clone() }]
    })
}
