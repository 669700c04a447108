//! Servers that run now, as `kannuki check` names them: Kannuki in each of its forms, which answers
//! with memcached's version or with nothing that can be read, and memcached beside it.

use std::fs;
use std::path::Path;

use kannuki_tests::{Launch, Server};
use serde_json::Value;

/// Name and version of the cache that listens on this port.
fn named(report: &Value, port: u16) -> (String, String) {
    let bound = format!("127.0.0.1:{port}");
    let caches = report["caches"].as_array().expect("caches");
    let is_it = |cache: &&Value| {
        let doors = cache["doors"].as_array().expect("doors");
        doors.iter().any(|door| door["bound"] == bound.as_str())
    };
    let found: Vec<&Value> = caches.iter().filter(is_it).collect();
    let [cache] = found.as_slice() else { panic!("{bound} is told {} times", found.len()) };
    let text = |key: &str| cache[key].as_str().unwrap_or_default().to_owned();
    (text("name"), text("version"))
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn kannuki_is_named_in_each_of_its_forms() {
    let folder = tempfile::tempdir().unwrap();
    let users = write(folder.path(), "users", "app:not-a-secret-at-all\n");
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = write(folder.path(), "chain.pem", &own.cert.pem());
    let key = write(folder.path(), "key.pem", &own.signing_key.serialize_pem());
    let tls = format!("ssl_chain_cert={chain},ssl_key={key}");
    let forms: [&[&str]; 4] = [&[], &["-Y", &users], &["-B", "binary"], &["-Z", "-o", &tls]];
    let start = |flags: &&[&str]| Launch::kannuki().flags(flags.iter().copied()).start();
    let servers: Vec<Server> = forms.iter().map(start).collect();
    let memcached = Launch::memcached().start();

    let output = super::kannuki(&["check", "--format", "json", "--lang", "en"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    for (flags, server) in forms.iter().zip(&servers) {
        let (name, version) = named(&report, server.port());
        assert_eq!(name, "kannuki", "{flags:?}");
        let is_number = version.chars().all(|c| c.is_ascii_digit() || c == '.');
        assert!(is_number, "{flags:?}: {version:?} is no version");
    }
    assert_eq!(named(&report, memcached.port()).0, "memcached");
}
