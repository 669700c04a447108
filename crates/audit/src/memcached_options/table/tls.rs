//! Options of TLS. All protect, so none may be accepted without doing it.

use crate::memcached_options::spec::{Integer, OptionSpec, Shape, Unit};
use crate::option_table;

option_table! {
    /// Options of TLS.
    TLS;

    /// Speak TLS on TCP.
    ///
    /// It needs ssl_chain_cert. TLS 1.2 and 1.3 are spoken. Listeners can differ: see -l. What a
    /// client sends in clear is refused.
    ENABLE_SSL = OptionSpec::flag(b'Z', "enable-ssl", Shape::Switch);

    /// The server's certificate and those that lead to its authority, PEM.
    ///
    /// SIGHUP and the command refresh_certs read it, the key and the authorities again; open
    /// connections keep what they began with, unless the authority of their client's certificate is
    /// gone, and if something is wrong everything stays as it was.
    SSL_CHAIN_CERT = OptionSpec::suboption("ssl_chain_cert", Shape::Path).value("FILE");

    /// Private key of the certificate.
    ///
    /// Without it the key is looked for in the file of ssl_chain_cert. RSA, ECDSA (P-256, P-384)
    /// or Ed25519, without a passphrase.
    SSL_KEY = OptionSpec::suboption("ssl_key", Shape::Path).value("FILE");

    /// Format of the private key: 1 or PEM, 2 or DER.
    SSL_KEYFORMAT =
        OptionSpec::suboption("ssl_keyformat", Shape::Choice(&["1", "2", "PEM", "DER"]))
            .value("FORMAT")
            .default("1");

    /// Demand a certificate of clients: 0 no, 1 ask, 2 demand, 3 demand once.
    ///
    /// With 1 a client may show none, but one that it shows must be good. 3 means the same as 2:
    /// nobody is asked twice. From 1 on ssl_ca_cert is needed.
    SSL_VERIFY_MODE =
        OptionSpec::suboption("ssl_verify_mode", Integer::between(0, 3).strictly().shape())
            .default("0");

    /// Cipher suites to offer, by their OpenSSL names, parted by colons.
    ///
    /// Without it all that are known here, which are all safe. The list is about TLS 1.2; suites
    /// of 1.3 are narrowed only if it names one of them. Unknown names are refused.
    SSL_CIPHERS = OptionSpec::suboption("ssl_ciphers", Shape::Text).value("LIST");

    /// Authorities that sign the certificates of clients, PEM.
    SSL_CA_CERT = OptionSpec::suboption("ssl_ca_cert", Shape::Path).value("FILE");

    /// Most bytes in one TLS record, in KiB; the protocol's own bound is 16.
    SSL_WBUF_SIZE = OptionSpec::suboption(
        "ssl_wbuf_size",
        Integer::between(1, 1 << 20).in_unit(Unit::Kibibytes).strictly().shape(),
    )
    .value("KB")
    .default("16");

    /// Keep sessions in memory for clients that cannot keep a ticket.
    ///
    /// Tickets resume sessions with and without it, as in memcached; their keys change every six
    /// hours and with every reload.
    SSL_SESSION_CACHE = OptionSpec::suboption("ssl_session_cache", Shape::Switch);

    /// Let the kernel encrypt.
    SSL_KERNEL_TLS = OptionSpec::suboption("ssl_kernel_tls", Shape::Switch)
        .warns("the server seals its records itself");

    /// Oldest version: 0 = 1.0, 1 = 1.1, 2 = 1.2, 3 = 1.3.
    ///
    /// 1.0 and 1.1 are broken and not spoken: 0 and 1 mean 1.2, with a warning.
    SSL_MIN_VERSION =
        OptionSpec::suboption("ssl_min_version", Integer::between(0, 3).strictly().shape())
            .default("2");
}
