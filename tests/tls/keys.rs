//! Private keys of every kind, in every form that OpenSSL writes: read, used in a handshake of both
//! versions, and read again by a reload.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kannuki_tests::{Launch, clock};
use rcgen::KeyPair;
use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};

use super::bed::{Authority, write};
use super::client::{Client, config_of};
use super::programs::has_openssl;

/// What `openssl genpkey` makes, and whether its traditional form is one of its own.
const KINDS: [(&str, &[&str], bool); 5] = [
    ("RSA-2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], true),
    ("RSA-4096", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"], true),
    ("P-256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], true),
    ("P-384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], true),
    ("Ed25519", &["-algorithm", "ED25519"], false),
];

fn openssl(words: &[&str]) {
    let mut command = Command::new("openssl");
    let output = command.args(words).stdin(Stdio::null()).output().expect("openssl");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn keys_of_every_kind_and_form_are_used() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (kind, words, traditional) in KINDS {
        let made = path("made.pem");
        openssl(&[&["genpkey", "-out", text(&made)], words].concat());
        let key = KeyPair::from_pem(&std::fs::read_to_string(&made).unwrap()).unwrap();
        write(&path("chain.pem"), &authority.sign_key(kind, &key));
        for (form, format, words) in [
            ("PKCS#8 in PEM", "PEM", &["-outform", "PEM"][..]),
            ("PKCS#8 in DER", "DER", &["-outform", "DER"]),
            ("traditional in PEM", "PEM", &["-traditional", "-outform", "PEM"]),
            ("traditional in DER", "DER", &["-traditional", "-outform", "DER"]),
        ] {
            if form.starts_with("traditional") && !traditional {
                continue;
            }
            let written = path("key");
            openssl(&[&["pkey", "-in", text(&made), "-out", text(&written)], words].concat());
            serves(&authority, folder.path(), &format!("{kind}, {form}"), format);
        }
    }
}

fn serves(authority: &Authority, folder: &Path, what: &str, format: &str) {
    let path = |name: &str| folder.join(name).display().to_string();
    let options = format!(
        "ssl_chain_cert={},ssl_key={},ssl_keyformat={format}",
        path("chain.pem"),
        path("key")
    );
    let server = Launch::kannuki().flags(["-vv", "-Z", "-o", &options]).start();
    for version in [&TLS12, &TLS13] {
        let config = config_of(authority, None, &[version]);
        let mut client = Client::open(server.port(), &config);
        let answer = client.try_ask("version\r\n");
        assert!(answer.is_ok_and(|line| line.starts_with("VERSION ")), "{what}: {version:?}");
    }
    server.signal(Signal::HUP);
    let told = || server.stderr().contains("certificates read again").then_some(());
    assert!(clock::until(Duration::from_secs(10), told).is_some(), "{what}: {}", server.stderr());
}

/// What cannot be used is refused at the start, by file and reason.
#[test]
fn keys_that_cannot_be_used_are_named() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let own = authority.sign("server", super::bed::When::Now);
    write(&path("chain.pem"), &own.pem);
    let key = path("key");
    let weak = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out"];
    let sealed = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let sealed = [&sealed[..], &["-aes-128-cbc", "-pass", "pass:secret", "-out"]].concat();
    for (words, format, reason) in [
        (&weak[..], "PEM", "is no RSA (2048 bits or more), ECDSA (P-256, P-384) or Ed25519 key"),
        (&sealed, "PEM", "the key is encrypted; write it without a passphrase"),
        (&sealed, "DER", "Error loading the key: "),
    ] {
        openssl(&[words, &[text(&key)]].concat());
        let options = format!(
            "ssl_chain_cert={},ssl_key={},ssl_keyformat={format}",
            path("chain.pem").display(),
            key.display()
        );
        let program = kannuki_tests::Program::Kannuki.path().unwrap();
        let mut command = Command::new(program);
        let port = kannuki_tests::launch::free_port().to_string();
        command.args(["serve", "-u", "root", "-p", &port, "-Z", "-o", &options]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{said}");
        assert!(said.contains(text(&key)), "the file is named: {said}");
    }
}
