//! Cipher suites by the names that `ssl_ciphers` uses.
//!
//! Invariants: a list names at least one suite; a name that is not known is an error that shows the
//! known ones, because a list that silently offers something else protects less than was meant.

use rustls::{CipherSuite, SupportedCipherSuite, crypto::ring::ALL_CIPHER_SUITES};

/// OpenSSL's names of the suites of TLS 1.2; those of 1.3 are called as in the standard.
const OPENSSL_NAMES: [(&str, CipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Names of the suites of TLS 1.3, as the standard and OpenSSL call them.
const TLS13_NAMES: [(&str, CipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// The suites to offer, in the order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ciphers {
    text: Option<String>,
    named: Vec<CipherSuite>,
}

/// Why a list of ciphers cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CipherError {
    /// A name that nobody knows here.
    #[error("\"{name}\" is no cipher suite here; there are {}", known())]
    Unknown {
        /// As it was typed.
        name: String,
    },
    /// Nothing was named.
    #[error("names no cipher suite; there are {}", known())]
    Empty,
}

impl Ciphers {
    /// Reads names parted by `:`, `,` or blanks.
    ///
    /// Suites of TLS 1.2 that are not named are not offered. Those of TLS 1.3 are all offered
    /// unless one of them is named, since OpenSSL's list is about TLS up to 1.2 alone.
    ///
    /// # Errors
    /// An unknown name, or none.
    pub fn parse(text: &str) -> Result<Self, CipherError> {
        let mut named: Vec<CipherSuite> = Vec::new();
        for name in text.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
            let suite = find(name).ok_or_else(|| CipherError::Unknown { name: name.to_owned() })?;
            if !named.contains(&suite) {
                named.push(suite);
            }
        }
        if named.is_empty() {
            return Err(CipherError::Empty);
        }
        Ok(Self { text: Some(text.to_owned()), named })
    }

    /// As it was typed; `None` = the default, every suite.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The suites to offer.
    pub(crate) fn suites(&self) -> Vec<SupportedCipherSuite> {
        if self.named.is_empty() {
            return ALL_CIPHER_SUITES.to_vec();
        }
        let of = |suite: &CipherSuite| ALL_CIPHER_SUITES.iter().find(|has| has.suite() == *suite);
        let mut suites: Vec<_> = self.named.iter().filter_map(of).copied().collect();
        if !suites.iter().any(is_tls13) {
            suites.extend(ALL_CIPHER_SUITES.iter().copied().filter(is_tls13));
        }
        suites
    }
}

/// A suite of TLS 1.3.
pub(super) fn is_tls13(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

fn find(name: &str) -> Option<CipherSuite> {
    let known = OPENSSL_NAMES.iter().chain(&TLS13_NAMES);
    let known = known.map(|(name, suite)| (*name, *suite));
    let standard = OPENSSL_NAMES.iter().filter_map(|(_, suite)| Some((suite.as_str()?, *suite)));
    known.chain(standard).find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|found| found.1)
}

fn known() -> String {
    let names: Vec<&str> =
        OPENSSL_NAMES.iter().chain(&TLS13_NAMES).map(|(name, _)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_provider_has_a_name() {
        for suite in ALL_CIPHER_SUITES {
            let named = OPENSSL_NAMES.iter().chain(&TLS13_NAMES);
            assert_eq!(named.filter(|(_, has)| *has == suite.suite()).count(), 1, "{suite:?}");
        }
    }

    #[test]
    fn names_of_both_kinds_in_their_order() {
        let list = "ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
        let suites: Vec<_> = Ciphers::parse(list).unwrap().suites();
        assert_eq!(suites.len(), 2 + TLS13_NAMES.len(), "TLS 1.3 is not about this list");
        assert_eq!(suites[0].suite(), CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        let one = Ciphers::parse("tls_aes_128_gcm_sha256").unwrap().suites();
        assert_eq!(one.len(), 1);
        assert_eq!(Ciphers::default().suites().len(), ALL_CIPHER_SUITES.len());
    }

    #[test]
    fn unknown_names_show_the_known_ones() {
        for wrong in ["HIGH", "AES256-SHA", "ECDHE-RSA-AES128-GCM-SHA256:!aNULL", "x"] {
            let error = Ciphers::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("TLS_AES_256_GCM_SHA384"), "{error}");
        }
        assert_eq!(Ciphers::parse(": ,"), Err(CipherError::Empty));
    }
}
