//! `compare --preset tls`: what TLS costs two servers, a request and a connection.
//!
//! Each pair of A and B goes through the same setups, a fresh server for each: in clear, and over TLS
//! with either kind of key, with and without asking clients for a certificate. Connections come one
//! after another, so that what one costs is the server's CPU over their number; the same in clear
//! stands beside it.
//!
//! Invariant: a cell that a server cannot do is empty in the table and told on stderr; it is never
//! filled with something else.

use anyhow::{Result, ensure};

use crate::authority::{Authority, KeyKind};
use crate::compare::{Compared, PAIRS_MAX, Plans, once, ratio, shown};
use crate::handshake;
use crate::load::{self, Cost};
use crate::process::{Server, Sides, Typed};
use crate::table::{Spread, markdown};
use crate::tls::{Target, Terms, Tls, Version};

/// Connections of one cell: the kernel counts CPU in ticks of 10 ms, and a full handshake takes
/// some hundred microseconds of it, a resumed one half of that.
const CONNECTIONS: u64 = 2000;

/// How a server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    Clear,
    Tls { key: KeyKind, asks_clients: bool },
}

const SETUPS: [Setup; 5] = [
    Setup::Clear,
    Setup::Tls { key: KeyKind::Ecdsa, asks_clients: false },
    Setup::Tls { key: KeyKind::Ecdsa, asks_clients: true },
    Setup::Tls { key: KeyKind::Rsa, asks_clients: false },
    Setup::Tls { key: KeyKind::Rsa, asks_clients: true },
];
const VERSIONS: [(Version, &str); 2] = [(Version::Tls12, "TLS 1.2"), (Version::Tls13, "TLS 1.3")];

impl Setup {
    /// What is appended to the server's words: options that both servers have.
    fn words(self, authority: &Authority) -> Vec<String> {
        let Self::Tls { key, asks_clients } = self else { return Vec::new() };
        let (chain, secret) = authority.server(key);
        let options = format!(
            "ssl_chain_cert={},ssl_key={},ssl_ca_cert={},ssl_verify_mode={},ssl_session_cache",
            chain.display(),
            secret.display(),
            authority.path().display(),
            if asks_clients { 2 } else { 0 }
        );
        vec!["-Z".to_owned(), "-o".to_owned(), options]
    }

    fn target(
        self,
        server: &Server,
        authority: &Authority,
        version: Version,
        resume: bool,
    ) -> Result<Target> {
        let address = server.address();
        let Self::Tls { asks_clients, .. } = self else { return Ok(address.into()) };
        let (path, client) = (authority.path(), authority.client());
        let identity = asks_clients.then_some((client.0.as_path(), client.1.as_path()));
        let terms = Terms { authority: &path, identity, version: Some(version), resume };
        Ok(Target { address, tls: Some(Tls::new(&terms)?) })
    }
}

/// Costs by load, in the order in which the loads came first.
#[derive(Debug, Default)]
struct Cells {
    compared: Vec<Compared>,
}

impl Cells {
    /// Notes what a load cost the first server or the second.
    fn note(&mut self, who: (usize, &str), load: &str, cost: Result<Cost>) {
        let at = self.compared.iter().position(|cell| cell.load == load);
        let at = at.unwrap_or_else(|| {
            let cell = Compared { load: load.to_owned(), a: Vec::new(), b: Vec::new() };
            self.compared.push(cell);
            self.compared.len() - 1
        });
        let cost = match cost {
            Ok(cost) => cost,
            Err(error) => return eprintln!("{}, {load}: cannot: {error:#}", who.1),
        };
        eprintln!("{}, {load}: {}", who.1, shown(&cost));
        let Some(cell) = self.compared.get_mut(at) else { return };
        if who.0 == 0 { cell.a.push(cost) } else { cell.b.push(cost) }
    }
}

/// Runs everything; `connections` in each cell of connections, instead of the usual number.
///
/// # Errors
/// When a server does not start, or one that works in clear fails.
pub fn run(
    servers: [&Typed; 2],
    plans: &Plans,
    pairs: usize,
    connections: Option<u64>,
) -> Result<Vec<Compared>> {
    ensure!((1..=PAIRS_MAX).contains(&pairs), "{pairs} pairs: give 1 to {PAIRS_MAX}");
    let (sides, authority) = (Sides::halves()?, Authority::new()?);
    let connections = connections.unwrap_or(CONNECTIONS);
    let mut cells = Cells::default();
    for _ in 0..pairs {
        for setup in SETUPS {
            for (which, typed) in servers.iter().enumerate() {
                let mut typed = typed.with(&setup.words(&authority));
                if let Some(memory) = plans.memory {
                    typed = typed.with_memory(memory);
                }
                let server = Server::start(&typed, &sides)?;
                let run = Run { setup, server: &server, authority: &authority };
                let who = (which, typed.name());
                run.requests(who, plans, &mut cells)?;
                run.connections(who, connections, &mut cells)?;
                server.stop()?;
            }
        }
    }
    Ok(cells.compared)
}

/// One server in one setup.
struct Run<'r> {
    setup: Setup,
    server: &'r Server,
    authority: &'r Authority,
}

impl Run<'_> {
    /// Requests do not depend on how a connection began, so one setup of TLS is enough.
    fn requests(&self, who: (usize, &str), plans: &Plans, cells: &mut Cells) -> Result<()> {
        let how = match self.setup {
            Setup::Clear => "in clear",
            Setup::Tls { key: KeyKind::Ecdsa, asks_clients: false } => "TLS 1.3",
            Setup::Tls { .. } => return Ok(()),
        };
        let target = self.setup.target(self.server, self.authority, Version::Tls13, false)?;
        load::fill(&target, &plans.fill)?;
        for plan in &plans.loads {
            let cost = once(self.server, &target, plan);
            cells.note(who, &format!("a request: {}, {how}", plan.name), cost);
        }
        Ok(())
    }

    fn connections(&self, who: (usize, &str), count: u64, cells: &mut Cells) -> Result<()> {
        let account = Some(self.server.account());
        let Setup::Tls { key, asks_clients } = self.setup else {
            let cost = handshake::measure(&self.server.address().into(), count, false, account);
            cells.note(who, "a connection: in clear", cost);
            return Ok(());
        };
        let client = if asks_clients { ", client certificate" } else { "" };
        for (version, spoken) in VERSIONS {
            for resumed in [false, true] {
                let target = self.setup.target(self.server, self.authority, version, resumed)?;
                let kind = if resumed { "resumed" } else { "full" };
                let load = format!("a connection: {spoken}, {}, {kind}{client}", key.name());
                cells.note(who, &load, handshake::measure(&target, count, resumed, account));
            }
        }
        Ok(())
    }
}

/// The table of medians.
#[must_use]
pub fn table(servers: [&Typed; 2], compared: &[Compared]) -> String {
    let [a, b] = servers.map(Typed::name);
    let head = ["load", "figure", a, b, &format!("{a} / {b}")].map(str::to_owned);
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    type Figure = (&'static str, fn(&Cost) -> f64);
    let figures: [Figure; 3] = [
        ("user CPU, us", |cost| cost.user.unwrap_or(f64::NAN)),
        ("user + system CPU, us", |cost| {
            cost.user.unwrap_or(f64::NAN) + cost.system.unwrap_or(f64::NAN)
        }),
        ("p50 latency, us", |cost| cost.p50),
    ];
    let mut rows = Vec::new();
    for load in compared {
        for (figure, read) in figures {
            let spread = |costs: &[Cost]| Spread::of(&costs.iter().map(read).collect::<Vec<_>>());
            let shown = |spread: Option<Spread>| {
                spread.map_or_else(|| "-".to_owned(), |spread| spread.shown())
            };
            let (a, b) = (spread(&load.a), spread(&load.b));
            let over = a.zip(b).map_or_else(|| "-".to_owned(), |(a, b)| ratio(a.median, b.median));
            rows.push(vec![load.load.clone(), figure.to_owned(), shown(a), shown(b), over]);
        }
    }
    markdown(&head, &rows)
}
