//! The six lines that `kannuki serve` says on stderr before it serves: where it listens, who may
//! connect, whether they must log in, how much is kept, which file was read, how to try it.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use kannuki_server::{
    Exposure, Started,
    config::{ClientCheck, Config, Dialect},
    guard::Strangers,
};

/// The lines, each with its line end.
pub(crate) fn lines(config: &Config, started: &Started, files: &[PathBuf]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "kannuki listens on   {}", places(started));
    let _ = writeln!(out, "who may connect      {}", who(config, started));
    let _ = writeln!(out, "log-in and TLS       {}", protection(config));
    let _ = writeln!(out, "memory               {}", memory(config));
    let _ = writeln!(out, "settings             {}", settings(started, files));
    let _ = writeln!(out, "try it               {}", trial(config, started));
    out
}

fn protection(config: &Config) -> String {
    let login = config.login.as_ref().map(|login| (login.text, login.sasl));
    let login = match login {
        None => "no log-in",
        Some((true, false)) => "log-in by text (-Y)",
        Some((false, _)) => "log-in by SASL (-S)",
        Some((true, true)) => "log-in by text and SASL",
    };
    let clear = config.listens.iter().any(|listen| listen.tls.is_none());
    let tls = config.tls.as_ref().map(|tls| (tls.clients, clear));
    let tls = match (tls, &config.login) {
        (None, None) => return "none: whoever connects may read and write".to_owned(),
        (None, Some(_)) => "no TLS: passwords cross the wire as they are",
        (Some((_, true)), _) => "TLS, but not on every listener",
        (Some((ClientCheck::None, false)), _) => "TLS",
        (Some((ClientCheck::Request, false)), _) => "TLS, with a certificate if a client has one",
        (Some((ClientCheck::Require, false)), _) => "TLS, only with a certificate",
    };
    format!("{login}, {tls}")
}

fn places(started: &Started) -> String {
    let tcp = started.tcp.iter().map(ToString::to_string);
    let udp = started.udp.iter().map(|address| format!("{address} (UDP)"));
    let unix = started.unix.iter().map(|path| path.display().to_string());
    let places: Vec<String> = tcp.chain(udp).chain(unix).collect();
    if places.is_empty() { "nothing".to_owned() } else { places.join(", ") }
}

fn who(config: &Config, started: &Started) -> &'static str {
    if started.tcp.is_empty() && started.udp.is_empty() && started.unix.is_empty() {
        return "nobody";
    }
    if started.tcp.is_empty() && started.udp.is_empty() {
        return "users of this machine whom the mode of the socket lets in";
    }
    let everywhere = started.tcp.iter().chain(&started.udp);
    if everywhere.map(SocketAddr::ip).all(|ip| ip.is_loopback()) {
        return MACHINE;
    }
    match config.policy.exposure {
        Exposure::Loopback => MACHINE,
        Exposure::Private => "this machine and private networks; --allow NET adds others",
        Exposure::Public => match config.policy.strangers {
            Strangers::Never => "this machine, private networks, and those of --allow",
            Strangers::Proven => "this machine, private networks, and whoever logs in over TLS",
            Strangers::Anyone => "EVERYBODY who can reach it, the internet included",
        },
    }
}

const MACHINE: &str = "programs on this machine; -l ADDRESS opens it to others";

fn memory(config: &Config) -> String {
    let full = if config.evict { "old items make room" } else { "storing fails" };
    format!(
        "{} for items and index (-m); items up to {} (-I); when full, {full}",
        size(config.memory_bytes),
        size(config.item_bytes_max.into())
    )
}

fn size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

fn settings(started: &Started, files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let files =
        if files.is_empty() { "no file (--config FILE)".to_owned() } else { files.join(", ") };
    let user = started.user.as_ref().map_or_else(String::new, |user| format!("; runs as {user}"));
    format!("{files}{user}; `kannuki config show` prints all")
}

/// A line for a shell that gets an answer from this very server.
fn trial(config: &Config, started: &Started) -> String {
    let tls = config.listens.first().is_some_and(|listen| listen.tls.is_some());
    let nc = match (started.tcp.first(), started.unix.first()) {
        (Some(address), _) if tls => {
            format!("openssl s_client -quiet -connect {}", reachable(*address))
        }
        (Some(address), _) => format!("nc {} {}", reachable(*address).ip(), address.port()),
        (None, Some(path)) => format!("nc -U {}", path.display()),
        (None, None) => return "kannuki serve --help".to_owned(),
    };
    if config.listens.first().is_some_and(|listen| listen.dialect == Dialect::Binary) {
        return "a client that speaks the binary protocol".to_owned();
    }
    if config.login.is_some() {
        return format!("printf 'set log in 0 13\\r\\nNAME PASSWORD\\r\\nquit\\r\\n' | {nc}");
    }
    format!("printf 'set hello 0 60 5\\r\\nworld\\r\\nget hello\\r\\nquit\\r\\n' | {nc}")
}

/// The address from this machine; a listener on every address is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        assert_eq!(size(64 << 20), "64 MiB");
        assert_eq!(size(1 << 30), "1 GiB");
        assert_eq!(size((1 << 20) + 1024), "1025 KiB");
        assert_eq!(size(1500), "1500 bytes");
    }

    #[test]
    fn an_address_of_ipv6_is_bracketed_where_a_port_follows() {
        let shown = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(shown("[::]:11211"), "[::1]:11211");
        assert_eq!(shown("[fd00::7]:1"), "[fd00::7]:1");
        assert_eq!(shown("0.0.0.0:11211"), "127.0.0.1:11211");
    }
}
