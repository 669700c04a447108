//! What can go wrong between a peer and TLS, by name.

use rustls::{AlertDescription, Error, InvalidMessage};

/// Defines [`TlsFault`] with the name and meaning of each variant in one place.
macro_rules! faults {
    ($($variant:ident => $name:literal, $meaning:literal;)+) => {
        /// Why a peer was turned away by TLS.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TlsFault {
            $(#[doc = $meaning] $variant,)+
        }

        impl TlsFault {
            /// All of them, in the order in which they are counted.
            pub const ALL: [Self; [$($name,)+].len()] = [$(Self::$variant,)+];

            /// The name under which it is counted.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it means and what to do, in full sentences.
            #[must_use]
            pub const fn explain(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

faults! {
    Plaintext => "tls-plaintext",
        "The peer spoke in clear to a listener that speaks TLS. Have the client use TLS, or give \
         it a listener of its own: -l notls:ADDRESS.";
    Slow => "tls-slow",
        "The peer did not finish the TLS handshake in time.";
    Incompatible => "tls-incompatible",
        "The peer and the server have no version, cipher suite or signature scheme of TLS in \
         common. The server speaks 1.2 and 1.3, narrowed by ssl_min_version and ssl_ciphers.";
    Certificate => "tls-certificate",
        "The client showed no certificate where one is demanded (ssl_verify_mode, mtls:), or one \
         that is expired, not valid yet, not signed by an authority of ssl_ca_cert, or has more \
         than 128 names. Open connections end too when their certificate expires, or loses its \
         authority by a reload.";
    Rejected => "tls-rejected",
        "The peer broke the handshake off with an alert: as a rule it does not trust the \
         server's certificate, or it has expired. Look at the client's message.";
    Handshake => "tls-handshake",
        "The peer's TLS handshake made no sense.";
    Protocol => "tls-protocol",
        "After the handshake the peer sent something that is not TLS, was changed on its way or \
         breaks its rules.";
    Exhausted => "tls-exhausted",
        "One key of TLS 1.2 has encrypted as much as is safe; the client has to connect anew.";
}

impl TlsFault {
    /// The fault behind an error of rustls.
    pub(super) fn of(error: &Error, is_handshaking: bool) -> Self {
        match error {
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Self::Certificate,
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::AlertReceived(AlertDescription::CloseNotify) => Self::Handshake,
            Error::AlertReceived(_) if is_handshaking => Self::Rejected,
            Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) if is_handshaking => {
                Self::Incompatible
            }
            _ if is_handshaking => Self::Handshake,
            _ => Self::Protocol,
        }
    }

    /// Whether it ended a handshake, as `ssl_handshake_errors` counts; else it is one of
    /// `ssl_proto_errors`.
    pub(crate) const fn is_of_handshake(self) -> bool {
        !matches!(self, Self::Protocol | Self::Exhausted)
    }
}
