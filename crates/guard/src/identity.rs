//! Who a peer is: the door it came in by, where from, and what is proven about it.
//!
//! ```text
//!   claimed by the network   address (TCP; a datagram's sender is not even that)
//!   told by a listed proxy   address behind the proxy
//!   attested by the kernel   uid and gid of a UNIX peer
//!   proven by cryptography   TLS, names of a verified certificate
//!   proven by a secret       user name
//! ```
//!
//! Invariants: names are bounded, UTF-8 and free of control characters, so they can be logged; an
//! IPv4 address is bare, never mapped into IPv6; a peer without proof has no name at all, never an
//! empty one. A [`Peer`] is small, because every connection holds one.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest user name, in bytes. Mail addresses, which some use as names, have at most 254.
pub const USER_NAME_BYTES_MAX: usize = 256;
/// Longest name in a certificate, in bytes: a DNS name has at most 253, a SPIFFE id 2048 in theory
/// and some dozens in practice.
pub const CERTIFICATE_NAME_BYTES_MAX: usize = 512;
/// Names taken from one certificate. Client certificates have one to three; servers of large
/// providers have a hundred.
pub const CERTIFICATE_NAMES_MAX: usize = 128;

/// The way a peer came in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Door {
    /// A TCP connection.
    Tcp,
    /// A UDP datagram, whose sender nothing proves.
    Udp,
    /// A UNIX socket, whose file permissions decided already who may come.
    Unix,
}

/// Which listener a peer came in by: a position in [`crate::Policy::listeners`]. A listener about
/// which the policy says nothing follows what holds for all.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ListenerId(pub u16);

impl ListenerId {
    /// A listener without terms of its own. Addresses to listen on are far fewer.
    pub const PLAIN: Self = Self(u16::MAX);
}

/// The user and group of a process on this host, as the kernel attests them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Owner {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// Who wants something.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Peer {
    origin: Origin,
    listener: ListenerId,
    encrypted: bool,
    proofs: Option<Arc<Proofs>>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Origin {
    Tcp(IpAddr),
    Proxied(IpAddr),
    Udp(IpAddr),
    Unix(Owner),
}

/// What is proven about a peer beyond its address. Rare and long, so behind a pointer.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Proofs {
    user: Option<UserName>,
    certificate: Option<CertificateNames>,
}

impl Peer {
    /// A TCP peer.
    #[must_use]
    pub fn tcp(address: IpAddr) -> Self {
        Self::of(Origin::Tcp(address.to_canonical()))
    }

    /// A TCP peer behind a proxy that is believed to tell its address.
    #[must_use]
    pub fn proxied(address: IpAddr) -> Self {
        Self::of(Origin::Proxied(address.to_canonical()))
    }

    /// The supposed sender of a datagram.
    #[must_use]
    pub fn udp(address: IpAddr) -> Self {
        Self::of(Origin::Udp(address.to_canonical()))
    }

    /// A process on this host, by the user and group that the kernel attests.
    #[must_use]
    pub fn unix(owner: Owner) -> Self {
        Self::of(Origin::Unix(owner))
    }

    fn of(origin: Origin) -> Self {
        Self { origin, listener: ListenerId::PLAIN, encrypted: false, proofs: None }
    }

    /// The same peer, come in by this listener.
    #[must_use]
    pub fn at(mut self, listener: ListenerId) -> Self {
        self.listener = listener;
        self
    }

    /// The same peer, speaking TLS.
    #[must_use]
    pub fn over_tls(mut self) -> Self {
        self.encrypted = true;
        self
    }

    /// The same peer, logged in as this user.
    #[must_use]
    pub fn with_user(mut self, user: UserName) -> Self {
        let certificate = self.certificate().cloned();
        self.proofs = Some(Arc::new(Proofs { user: Some(user), certificate }));
        self
    }

    /// The same peer, logged in no longer.
    #[must_use]
    pub fn without_user(mut self) -> Self {
        let certificate = self.certificate().cloned();
        self.proofs = certificate
            .map(|certificate| Arc::new(Proofs { user: None, certificate: Some(certificate) }));
        self
    }

    /// The same peer, with the names of the certificate that it has shown and that was verified.
    #[must_use]
    pub fn with_certificate(mut self, certificate: CertificateNames) -> Self {
        let user = self.user().cloned();
        self.proofs = Some(Arc::new(Proofs { user, certificate: Some(certificate) }));
        self
    }

    /// The way it came in.
    #[must_use]
    pub fn door(&self) -> Door {
        match self.origin {
            Origin::Tcp(_) | Origin::Proxied(_) => Door::Tcp,
            Origin::Udp(_) => Door::Udp,
            Origin::Unix(_) => Door::Unix,
        }
    }

    /// The listener it came in by.
    #[must_use]
    pub fn listener(&self) -> ListenerId {
        self.listener
    }

    /// Its address, with IPv4 bare; none on a UNIX socket.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.origin {
            Origin::Tcp(address) | Origin::Proxied(address) | Origin::Udp(address) => Some(address),
            Origin::Unix(_) => None,
        }
    }

    /// Whether a proxy told its address.
    #[must_use]
    pub fn is_proxied(&self) -> bool {
        matches!(self.origin, Origin::Proxied(_))
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Its user and group on this host; known on a UNIX socket alone.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        match self.origin {
            Origin::Unix(owner) => Some(owner),
            _ => None,
        }
    }

    /// The user it has logged in as.
    #[must_use]
    pub fn user(&self) -> Option<&UserName> {
        self.proofs.as_ref()?.user.as_ref()
    }

    /// The names of its verified certificate.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateNames> {
        self.proofs.as_ref()?.certificate.as_ref()
    }
}

/// `10.0.0.1`, `10.0.0.1 behind a proxy`, `uid 1000 gid 100`; then who it proved to be.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Tcp(address) => write!(f, "{address}")?,
            Origin::Proxied(address) => write!(f, "{address} behind a proxy")?,
            Origin::Udp(address) => write!(f, "{address} over UDP")?,
            Origin::Unix(owner) => write!(f, "uid {} gid {}", owner.uid, owner.gid)?,
        }
        if self.encrypted {
            f.write_str(" over TLS")?;
        }
        if let Some(user) = self.user() {
            write!(f, ", user {user}")?;
        }
        if let Some(name) = self.certificate().and_then(|certificate| certificate.iter().next()) {
            write!(f, ", certificate {name}")?;
        }
        Ok(())
    }
}

/// Why a text cannot name anybody.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// It is longer than this many bytes.
    TooLong(usize),
    /// It is not UTF-8, or has control characters.
    Unprintable,
    /// A certificate's name wants its kind first.
    Kind(String),
    /// More names than [`CERTIFICATE_NAMES_MAX`].
    TooMany,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong(max) => write!(f, "is longer than {max} bytes"),
            Self::Unprintable => f.write_str("is not UTF-8 or has control characters"),
            Self::Kind(given) => write!(
                f,
                "{given:?} does not say which name of the certificate is meant; write cn:NAME, \
                 dns:NAME, email:NAME, ip:ADDRESS or uri:NAME"
            ),
            Self::TooMany => write!(f, "has more than {CERTIFICATE_NAMES_MAX} names"),
        }
    }
}

impl std::error::Error for NameError {}

fn printable(bytes: &[u8], bytes_max: usize) -> Result<&str, NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if bytes.len() > bytes_max {
        return Err(NameError::TooLong(bytes_max));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NameError::Unprintable)?;
    if text.chars().any(char::is_control) { Err(NameError::Unprintable) } else { Ok(text) }
}

/// The name of a user who has proved to know the secret. Compared byte for byte.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserName(Box<str>);

impl UserName {
    /// A name: 1 to [`USER_NAME_BYTES_MAX`] bytes of UTF-8 without control characters.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, NameError> {
        printable(name.as_ref(), USER_NAME_BYTES_MAX).map(|name| Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a name in a certificate names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NameKind {
    /// The common name of the subject.
    CommonName,
    /// A subject alternative name: a host. Compared without regard to case.
    Dns,
    /// A subject alternative name: a mail address.
    Email,
    /// A subject alternative name: an IP address, written as std writes it.
    Ip,
    /// A subject alternative name: a URI, as SPIFFE uses it.
    Uri,
}

impl NameKind {
    /// Every kind, in the order of their words.
    pub const ALL: [Self; 5] = [Self::CommonName, Self::Dns, Self::Email, Self::Ip, Self::Uri];

    /// The word before the colon.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CommonName => "cn",
            Self::Dns => "dns",
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Uri => "uri",
        }
    }
}

/// One name in a certificate, as `kind:name`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CertificateName {
    kind: NameKind,
    text: Box<str>,
}

impl CertificateName {
    /// A name of 1 to [`CERTIFICATE_NAME_BYTES_MAX`] bytes without control characters. DNS names
    /// are kept in lower case.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(kind: NameKind, text: impl AsRef<[u8]>) -> Result<Self, NameError> {
        let text = printable(text.as_ref(), CERTIFICATE_NAME_BYTES_MAX)?;
        let text = if kind == NameKind::Dns { text.to_ascii_lowercase() } else { text.to_owned() };
        Ok(Self { kind, text: text.into() })
    }

    /// The name of an address.
    #[must_use]
    pub fn ip(address: IpAddr) -> Self {
        Self { kind: NameKind::Ip, text: address.to_canonical().to_string().into() }
    }

    /// What it names.
    #[must_use]
    pub fn kind(&self) -> NameKind {
        self.kind
    }

    /// The name without its kind.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for CertificateName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let unclear = || NameError::Kind(text.chars().take(SHOWN_CHARS_MAX).collect());
        let (word, name) = text.split_once(':').ok_or_else(unclear)?;
        let kind =
            NameKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(unclear)?;
        match (kind, name.parse()) {
            (NameKind::Ip, Ok(address)) => Ok(Self::ip(address)),
            (NameKind::Ip, Err(_)) => Err(unclear()),
            _ => Self::new(kind, name),
        }
    }
}

/// As much of a wrong text as a message shows.
const SHOWN_CHARS_MAX: usize = 80;

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.text)
    }
}

/// The names in a certificate that was verified. At least one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CertificateNames(Box<[CertificateName]>);

impl CertificateNames {
    /// These names, in the order in which they are shown: the common name first, if there is one.
    ///
    /// # Errors
    /// [`NameError::Empty`] without any, [`NameError::TooMany`] with more than
    /// [`CERTIFICATE_NAMES_MAX`].
    pub fn new(names: impl IntoIterator<Item = CertificateName>) -> Result<Self, NameError> {
        let names: Box<[CertificateName]> =
            names.into_iter().take(CERTIFICATE_NAMES_MAX + 1).collect();
        match names.len() {
            0 => Err(NameError::Empty),
            1..=CERTIFICATE_NAMES_MAX => Ok(Self(names)),
            _ => Err(NameError::TooMany),
        }
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &CertificateName> {
        self.0.iter()
    }

    /// Whether this name is among them.
    #[must_use]
    pub fn contains(&self, name: &CertificateName) -> bool {
        self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn certificate(names: &[&str]) -> CertificateNames {
        CertificateNames::new(names.iter().map(|name| name.parse().unwrap())).unwrap()
    }

    #[test]
    fn a_mapped_peer_is_the_ipv4_peer() {
        for peer in [Peer::tcp, Peer::udp, Peer::proxied] {
            assert_eq!(peer(ip("::ffff:10.0.0.1")), peer(ip("10.0.0.1")));
        }
        assert_ne!(Peer::tcp(ip("10.0.0.1")), Peer::udp(ip("10.0.0.1")));
        assert_ne!(Peer::tcp(ip("10.0.0.1")), Peer::proxied(ip("10.0.0.1")));
    }

    #[test]
    fn proofs_come_and_go_one_by_one() {
        let bare = Peer::tcp(ip("10.0.0.1")).at(ListenerId(3)).over_tls();
        let app = UserName::new("app").unwrap();
        let both = bare.clone().with_certificate(certificate(&["cn:app"])).with_user(app.clone());
        assert_eq!(both.user(), Some(&app));
        assert_eq!(both.certificate(), Some(&certificate(&["cn:app"])));
        assert_eq!((both.listener(), both.is_encrypted()), (ListenerId(3), true));
        assert_eq!(both.to_string(), "10.0.0.1 over TLS, user app, certificate cn:app");
        let one = both.without_user();
        assert_eq!((one.user(), one.certificate().is_some()), (None, true));
        assert_eq!(bare.clone().with_user(app).without_user(), bare);
    }

    #[test]
    fn names_are_bounded_and_printable() {
        let user = |name: &[u8]| UserName::new(name);
        assert_eq!(user(b""), Err(NameError::Empty));
        assert_eq!(user(b"a\nb"), Err(NameError::Unprintable));
        assert_eq!(user(b"\xff"), Err(NameError::Unprintable));
        assert_eq!(user("b\u{f6}b".as_bytes()).unwrap().as_str(), "b\u{f6}b");
        assert!(user(&[b'a'; USER_NAME_BYTES_MAX]).is_ok());
        let long = NameError::TooLong(USER_NAME_BYTES_MAX);
        assert_eq!(user(&[b'a'; USER_NAME_BYTES_MAX + 1]), Err(long));
        let many = std::iter::repeat(CertificateName::ip(ip("::1")));
        assert_eq!(CertificateNames::new(many), Err(NameError::TooMany));
        assert_eq!(CertificateNames::new([]), Err(NameError::Empty));
    }

    #[test]
    fn a_certificate_s_names_say_their_kind() {
        let same = |one: &str, other: &str| {
            certificate(&["cn:x", one]).contains(&other.parse().unwrap_or_else(|e| panic!("{e}")))
        };
        assert!(same("dns:App.Example", "dns:app.example"));
        assert!(same("ip:::ffff:10.0.0.1", "ip:10.0.0.1"));
        assert!(same("uri:spiffe://a/b", "uri:spiffe://a/b"));
        assert!(!same("dns:app", "cn:app"), "a host name is no common name");
        assert!(!same("cn:App", "cn:app"));
        for wrong in ["app", "san:app", "ip:host", "CN:app", ""] {
            let error = wrong.parse::<CertificateName>().unwrap_err();
            assert!(error.to_string().contains("write cn:NAME"), "{wrong}");
        }
        assert_eq!("dns:".parse::<CertificateName>(), Err(NameError::Empty));
    }
}
