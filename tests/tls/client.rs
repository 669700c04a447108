//! A TLS client by rustls, on which nothing blocks for ever.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use kannuki_tests::wire::ANSWER_BOUND;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion, crypto::ring,
};

use super::bed::{Authority, Bed, Identity};

/// One connection.
pub(crate) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// What a client trusts, and who it is.
pub(crate) fn config(authority: &Authority, identity: Option<&Identity>) -> Arc<ClientConfig> {
    config_of(authority, identity, &[&TLS13, &TLS12])
}

/// The same with these versions alone.
pub(crate) fn config_of(
    authority: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.key()).unwrap(),
    })
}

impl Client {
    /// A connection whose handshake has not begun.
    pub(crate) fn open(port: u16, config: &Arc<ClientConfig>) -> Self {
        Self::open_at(([127, 0, 0, 1], port).into(), config)
    }

    /// The same to another address.
    pub(crate) fn open_at(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(ANSWER_BOUND)).unwrap();
        socket.set_write_timeout(Some(ANSWER_BOUND)).unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let machine = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self { stream: StreamOwned::new(machine, socket) }
    }

    /// A connection that trusts the bed's authority and shows no certificate.
    pub(crate) fn of(bed: &Bed) -> Self {
        Self::open(bed.server.port(), &config(&bed.authority, None))
    }

    /// Says hello and hears the server's answer, but does not finish the handshake.
    pub(crate) fn greet(&mut self) {
        let StreamOwned { conn, sock } = &mut self.stream;
        conn.write_tls(sock).unwrap();
        assert!(conn.read_tls(sock).unwrap() > 0);
        conn.process_new_packets().unwrap();
        assert!(conn.is_handshaking() || conn.wants_write(), "its own last message is not sent");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).expect("the server takes what it is sent");
    }

    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("an answer");
        bytes
    }

    /// Sends bytes past TLS.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.sock.write_all(bytes).expect("the server takes what it is sent");
    }

    /// Sends a line and reads one.
    pub(crate) fn try_ask(&mut self, line: &str) -> io::Result<String> {
        self.try_send(line.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        answer.truncate(answer.len() - 2);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.try_ask(line).expect("an answer")
    }

    /// Everything until the server closes; `Err` where it did so without a farewell.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).map(|_| bytes)
    }

    /// The certificate that the server showed.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}
