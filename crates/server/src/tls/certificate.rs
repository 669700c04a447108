//! What stands in a certificate: its dates, and the names of whoever was proven to hold it.
//!
//! Invariants: names are taken only from certificates that rustls has verified; a name that cannot
//! be shown (control characters, too long) is left out, never changed, so that it equals no other.

use std::net::IpAddr;

use kannuki_guard::{CERTIFICATE_NAMES_MAX, CertificateName, CertificateNames, NameKind};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// The first and last second, since 1970, in which it is valid; `None` if it cannot be read.
pub(super) fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    Some((seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp())))
}

/// Why the names of a certificate cannot all be held against the rules. A rule that denies a name
/// must not miss it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unnamed {
    /// They are not written as they should be, or in an encoding that is not read.
    #[error("its names cannot be read")]
    Unreadable,
    /// So many names.
    #[error("it has {0} names, and {CERTIFICATE_NAMES_MAX} are the most")]
    TooMany(usize),
}

/// The names in a verified certificate, the common name first; `None` if there is none.
///
/// # Errors
/// See [`Unnamed`].
pub(super) fn names(der: &[u8]) -> Result<Option<CertificateNames>, Unnamed> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Unnamed::Unreadable)?;
    let common = certificate.subject().iter_common_name();
    // A text in an encoding that is not read, or names that cannot be, are not "no name".
    let common: Vec<&str> = common
        .map(|name| name.as_str())
        .collect::<Result<_, _>>()
        .map_err(|_| Unnamed::Unreadable)?;
    let common = common.into_iter().filter_map(|name| named(NameKind::CommonName, name));
    let alternative = certificate.subject_alternative_name().map_err(|_| Unnamed::Unreadable)?;
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names);
    // A handshake message holds so many bytes and no more, and so do the names in it.
    let names: Vec<CertificateName> = common.chain(alternative.filter_map(general)).collect();
    match names.len() {
        0 => Ok(None),
        count => CertificateNames::new(names).map(Some).map_err(|_| Unnamed::TooMany(count)),
    }
}

fn general(name: &GeneralName<'_>) -> Option<CertificateName> {
    match name {
        GeneralName::DNSName(host) => named(NameKind::Dns, host),
        GeneralName::RFC822Name(address) => named(NameKind::Email, address),
        GeneralName::URI(uri) => named(NameKind::Uri, uri),
        GeneralName::IPAddress(bytes) => address(bytes).map(CertificateName::ip),
        _ => None,
    }
}

fn named(kind: NameKind, text: &str) -> Option<CertificateName> {
    CertificateName::new(kind, text).ok()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn made(common: &str, alternatives: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternatives;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_of_every_kind() {
        let der = made(
            "app",
            vec![
                SanType::DnsName("App.Example".try_into().unwrap()),
                SanType::Rfc822Name("app@example.org".try_into().unwrap()),
                SanType::URI("spiffe://example/app".try_into().unwrap()),
                SanType::IpAddress("10.0.0.1".parse().unwrap()),
            ],
        );
        let shown = shown(&der);
        assert_eq!(
            shown,
            [
                "cn:app",
                "dns:app.example",
                "email:app@example.org",
                "uri:spiffe://example/app",
                "ip:10.0.0.1"
            ]
        );
        assert_eq!(validity(&der), Some((1_577_836_800, 1_893_456_000)));
    }

    #[test]
    fn a_name_that_cannot_be_shown_is_no_name() {
        let der = made("app\0.example", vec![SanType::DnsName("ok".try_into().unwrap())]);
        assert_eq!(shown(&der), ["dns:ok"]);
        assert_eq!(names(&made(&"x".repeat(600), vec![])), Ok(None));
    }

    #[test]
    fn a_name_in_another_encoding_is_not_left_out() {
        let mut params = CertificateParams::default();
        let name = rcgen::string::BmpString::try_from("app").unwrap();
        params.distinguished_name.push(DnType::CommonName, rcgen::DnValue::BmpString(name));
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(names(made.der()), Err(Unnamed::Unreadable));
    }

    #[test]
    fn a_name_too_many_is_not_left_out() {
        let hosts = |count: usize| {
            let host = |at| SanType::DnsName(format!("h{at}.example").try_into().unwrap());
            (0..count).map(host).collect()
        };
        let most = CERTIFICATE_NAMES_MAX - 1;
        assert_eq!(shown(&made("app", hosts(most))).len(), CERTIFICATE_NAMES_MAX);
        let told = names(&made("app", hosts(most + 1))).unwrap_err();
        assert_eq!(told, Unnamed::TooMany(CERTIFICATE_NAMES_MAX + 1));
        assert_eq!(told.to_string(), "it has 129 names, and 128 are the most");
        assert_eq!(names(b"no certificate"), Err(Unnamed::Unreadable));
    }

    fn shown(der: &[u8]) -> Vec<String> {
        names(der).unwrap().unwrap().iter().map(ToString::to_string).collect()
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(cut in 0_usize..400, byte: u8, at in 0_usize..400) {
            let mut der = made("app", vec![SanType::IpAddress("::1".parse().unwrap())]);
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            der.truncate(der.len().saturating_sub(cut));
            let _ = (names(&der), validity(&der));
        }
    }
}
