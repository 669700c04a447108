//! A server of HTTPS on loopback that answers as a test wants, with a certificate of its own making.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

/// What a client asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
}

/// What it is answered: the bytes after the status line, and whether the connection then stays open
/// without another byte.
pub(crate) struct Reply {
    pub(crate) status: &'static str,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) then_hangs: bool,
}

impl Reply {
    pub(crate) fn json(text: &str) -> Self {
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", text.len());
        Self { status: "200 OK", head, body: text.as_bytes().to_vec(), then_hangs: false }
    }

    pub(crate) fn status(status: &'static str) -> Self {
        Self { status, ..Self::json("{}") }
    }

    pub(crate) fn redirect(to: &str) -> Self {
        let mut reply = Self::status("302 Found");
        reply.head += &format!("Location: {to}\r\n");
        reply
    }

    pub(crate) fn with_head(mut self, line: &str) -> Self {
        self.head += &format!("{line}\r\n");
        self
    }
}

/// A running server; its thread ends with the test's process.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) ca: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    _folder: tempfile::TempDir,
}

/// How long a test's server waits for a client that says nothing.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    pub(crate) fn start(answer: impl Fn(&Asked, &str) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, ca_pem) = certified();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, ca_pem).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, base, answer) = (Arc::clone(&asked), url.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, base, answer) = (Arc::clone(&log), base.clone(), Arc::clone(&answer));
                let config = Arc::clone(&config);
                // A client that breaks off is a test's intention.
                std::thread::spawn(move || serve(stream, config, &log, |a| answer(a, &base)));
            }
        });
        Self { url, ca, asked, _folder: folder }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn certified() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    (Arc::new(config), ca.pem())
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    log: &Mutex<Vec<Asked>>,
    answer: impl Fn(&Asked) -> Reply,
) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let asked = read(&mut stream)?;
    log.lock().ok()?.push(asked.clone());
    let reply = answer(&asked);
    let head = format!("HTTP/1.1 {}\r\n{}Connection: close\r\n\r\n", reply.status, reply.head);
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&reply.body).ok()?;
    stream.flush().ok()?;
    if reply.then_hangs {
        let _ = stream.read(&mut [0]);
    }
    stream.conn.send_close_notify();
    stream.flush().ok()
}

fn read(stream: &mut impl std::io::Read) -> Option<Asked> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let head = loop {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        text.extend_from_slice(&buffer[..n]);
        if let Some(at) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
    };
    let lines = String::from_utf8_lossy(&text[..head]).into_owned();
    let length = lines.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = text.split_off(head + 4);
    while body.len() < length.unwrap_or(0) {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        body.extend_from_slice(&buffer[..n]);
    }
    let mut words = lines.split(' ');
    Some(Asked {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
