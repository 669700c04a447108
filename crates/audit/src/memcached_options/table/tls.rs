//! Options of TLS. All protect, so none may be accepted without doing it.

use crate::memcached_options::spec::{Integer, OptionSpec, Shape, Unit};
use crate::option_table;

/// Why the server does not start with an option of TLS.
const NO_TLS: &str =
    "TLS is not available yet, and starting without it would send everything in clear";

option_table! {
    /// Options of TLS.
    TLS;

    /// Speak TLS on TCP.
    ENABLE_SSL = OptionSpec::flag(b'Z', "enable-ssl", Shape::Switch).refuses(NO_TLS);

    /// Certificate with its chain, PEM.
    SSL_CHAIN_CERT =
        OptionSpec::suboption("ssl_chain_cert", Shape::Path).value("FILE").refuses(NO_TLS);

    /// Private key.
    SSL_KEY = OptionSpec::suboption("ssl_key", Shape::Path).value("FILE").refuses(NO_TLS);

    /// Format of the private key: 1 or PEM, 2 or DER.
    SSL_KEYFORMAT =
        OptionSpec::suboption("ssl_keyformat", Shape::Choice(&["1", "2", "PEM", "DER"]))
            .value("FORMAT")
            .refuses(NO_TLS);

    /// Demand a certificate of clients: 0 no, 1 ask, 2 demand, 3 demand once.
    SSL_VERIFY_MODE =
        OptionSpec::suboption("ssl_verify_mode", Integer::between(0, 3).strictly().shape())
            .refuses(NO_TLS);

    /// Ciphers of TLS up to 1.2.
    SSL_CIPHERS =
        OptionSpec::suboption("ssl_ciphers", Shape::Text).value("LIST").refuses(NO_TLS);

    /// Authorities that sign the certificates of clients, PEM.
    SSL_CA_CERT =
        OptionSpec::suboption("ssl_ca_cert", Shape::Path).value("FILE").refuses(NO_TLS);

    /// Write buffer, in KiB.
    SSL_WBUF_SIZE = OptionSpec::suboption(
        "ssl_wbuf_size",
        Integer::between(1, 1 << 20).in_unit(Unit::Kibibytes).strictly().shape(),
    )
    .value("KB")
    .refuses(NO_TLS);

    /// Let clients resume sessions.
    SSL_SESSION_CACHE =
        OptionSpec::suboption("ssl_session_cache", Shape::Switch).refuses(NO_TLS);

    /// Let the kernel encrypt.
    SSL_KERNEL_TLS = OptionSpec::suboption("ssl_kernel_tls", Shape::Switch).refuses(NO_TLS);

    /// Oldest version: 0 = 1.0, 1 = 1.1, 2 = 1.2, 3 = 1.3.
    SSL_MIN_VERSION =
        OptionSpec::suboption("ssl_min_version", Integer::between(0, 3).strictly().shape())
            .refuses(NO_TLS);
}
