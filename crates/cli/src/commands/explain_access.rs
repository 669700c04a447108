//! `kannuki explain access`: whether a peer may do something, what decides, and what would change
//! it. The guard that answers is the server's own.

use std::{ffi::OsString, fmt::Write as _, net::IpAddr};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kannuki_audit::memcached_options::{Settings, Word, table::listening};
use kannuki_server::{
    guard::{
        Action, AddressClass, Because, CertificateName, CertificateNames, Denial, Explanation,
        Guard, ListenerId, Locality, Owner, Peer, Policy, Response, Strangers, UserName,
    },
    refusals,
};

use crate::{
    access, exit,
    load::{self, Loaded},
    meaning, own_options, print,
    situation::{CalledAs, Situation},
};

/// A reason why the words make no sense.
type Wrong = String;

pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("access")
        .about("Say whether a peer may do something, what decides and what would change it")
        .arg(
            text("peer", "ADDRESS", "Address of the peer")
                .value_parser(value_parser!(IpAddr))
                .required_unless_present("uid")
                .conflicts_with("uid"),
        )
        .arg(text("uid", "N", "User of a peer on the UNIX socket").value_parser(value_parser!(u32)))
        .arg(
            text("gid", "N", "Its group; without it the number of its user")
                .value_parser(value_parser!(u32))
                .requires("uid"),
        )
        .arg(text("user", "NAME", "The user that it has logged in as"))
        .arg(
            text(
                "cert",
                "KIND:NAME",
                "A name in its certificate: cn:NAME, dns:NAME, uri:NAME, ...",
            )
            .action(ArgAction::Append),
        )
        .arg(switch("tls", "It speaks TLS; --cert implies it"))
        .arg(switch("udp", "It sends a datagram").conflicts_with_all(["tls", "cert", "proxied"]))
        .arg(switch("proxied", "A proxy tells its address (PROXY protocol)"))
        .arg(text("listener", "ADDRESS", "The address it connects to, as -l has it"))
        .arg(text("key", "KEY", "The key it names"))
        .arg(text("config", "FILE", "Settings to read: Kannuki's own file"))
        .arg(text("memcached-conf", "FILE", "Settings to read: memcached's file"))
        .arg(
            Arg::new("COMMAND")
                .required(true)
                .help("A command (get, ms, flush_all, ...) or an action"),
        )
        .arg(
            Arg::new("OPTIONS")
                .num_args(0..)
                .last(true)
                .value_parser(value_parser!(OsString))
                .help("More options of `kannuki serve`"),
        )
        .after_help(
            "Examples:\n  \
             kannuki explain access --peer 10.0.0.7 --user app --key sess:1 get\n  \
             kannuki explain access --config /etc/kannuki/kannuki.toml --uid 1000 flush_all\n  \
             kannuki explain access --peer 8.8.8.8 set -- -l 10.0.0.5 --exposure private\n\n\
             Exit codes: 0 allowed, 1 denied (or the settings have errors), 2 wrong usage.",
        )
}

pub(super) fn run(args: &ArgMatches) -> u8 {
    let situation = Situation::look(CalledAs::Kannuki);
    let loaded = match settings(args, &situation) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let elements = meaning::elements(&loaded.settings);
    let policy = match access::policy(&loaded.settings, &loaded.tables, &situation, &elements) {
        Ok(policy) => policy,
        Err(errors) => {
            print::errors(errors.iter(), &loaded.files);
            return exit::FOUND;
        }
    };
    let asked = peer(args, &loaded.settings)
        .and_then(|peer| Ok((peer, actions(args.get_one("COMMAND").map_or("", String::as_str))?)));
    let (peer, actions) = match asked {
        Ok(asked) => asked,
        Err(wrong) => {
            print::stderr(&format!("error: {wrong}\n"));
            return exit::USAGE;
        }
    };
    let key = args.get_one::<String>("key").map(|key| key.as_bytes());
    let guard = Guard::new(policy);
    let mut code = exit::FINE;
    let mut out = String::new();
    for action in actions {
        let key = key.filter(|_| needs_key(*action));
        let explanation = guard.explain(&peer, *action, key);
        page(
            &mut out,
            &Asked { peer: &peer, action: *action, key },
            &explanation,
            guard.policy(),
            &loaded,
        );
        if explanation.denial.is_some() {
            code = exit::FOUND;
        }
    }
    match print::stdout(&out) {
        exit::FINE => code,
        failed => failed,
    }
}

/// The settings as `kannuki serve` would read them; `Err` has been explained.
fn settings(args: &ArgMatches, situation: &Situation) -> Result<Loaded, u8> {
    let mut words = Vec::new();
    for name in ["config", "memcached-conf"] {
        if let Some(path) = args.get_one::<String>(name) {
            words.extend([OsString::from(format!("--{name}")), OsString::from(path)]);
        }
    }
    words.extend(args.get_many::<OsString>("OPTIONS").unwrap_or_default().cloned());
    let words: Vec<Word> = Word::arguments(words, 1).collect();
    let loaded = load::load(&words, situation).map_err(|_| {
        print::stderr("error: -h, -V and -i print something else than access\n");
        exit::USAGE
    })?;
    if loaded.errors().next().is_some() {
        print::errors(loaded.errors(), &loaded.files);
        return Err(exit::FOUND);
    }
    Ok(loaded)
}

fn peer(args: &ArgMatches, settings: &Settings) -> Result<Peer, Wrong> {
    let mut peer = match (args.get_one::<IpAddr>("peer"), args.get_one::<u32>("uid")) {
        (Some(address), _) if args.get_flag("udp") => Peer::udp(*address),
        (Some(address), _) if args.get_flag("proxied") => Peer::proxied(*address),
        (Some(address), _) => Peer::tcp(*address),
        (None, uid) => {
            let uid = uid.copied().unwrap_or_default();
            Peer::unix(Owner { uid, gid: args.get_one("gid").copied().unwrap_or(uid) })
        }
    };
    if let Some(address) = args.get_one::<String>("listener") {
        peer = peer.at(listener(settings, address)?);
    }
    if let Some(user) = args.get_one::<String>("user") {
        peer = peer.with_user(UserName::new(user).map_err(|why| format!("--user {why}"))?);
    }
    if let Some(names) = args.get_many::<String>("cert") {
        let names: Result<Vec<CertificateName>, _> = names.map(|name| name.parse()).collect();
        let names =
            names.and_then(CertificateNames::new).map_err(|why| format!("--cert: {why}"))?;
        peer = peer.with_certificate(names).over_tls();
    }
    Ok(if args.get_flag("tls") { peer.over_tls() } else { peer })
}

fn listener(settings: &Settings, address: &str) -> Result<ListenerId, Wrong> {
    let elements = meaning::elements(settings);
    let port = settings.number(&listening::PORT);
    let found =
        (0_u16..).zip(&elements).find(|(_, element)| access::is_called(element, port, address));
    found.map(|(id, _)| ListenerId(id)).ok_or_else(|| {
        let known: Vec<String> = elements.iter().map(ToString::to_string).collect();
        format!("--listener {address} is not listened on; there is {}", known.join(", "))
    })
}

/// The actions that a command needs. What both reads and changes needs both.
fn actions(command: &str) -> Result<&'static [Action], Wrong> {
    Ok(match command {
        "get" | "gets" | "mg" | "me" | "read" => &[Action::Read],
        "gat" | "gats" => &[Action::Read, Action::Write],
        "set" | "add" | "replace" | "append" | "prepend" | "cas" | "ms" | "ma" | "incr"
        | "decr" | "touch" | "write" => &[Action::Write],
        // `md` with `x` or `I` leaves an item that is another, and needs both; alone it deletes.
        "delete" | "md" => &[Action::Delete],
        "flush_all" | "flush" => &[Action::Flush],
        "stats" | "version" => &[Action::Stats],
        "metadump" | "mgdump" | "cachedump" | "detail" | "dump" => &[Action::Dump],
        "watch" => &[Action::Watch],
        "verbosity" | "cache_memlimit" | "slabs" | "lru" | "lru_crawler" | "reset" | "admin" => {
            &[Action::Admin]
        }
        "shutdown" => &[Action::Shutdown],
        _ => {
            return Err(format!(
                "unknown command {command:?}; name one of memcached's (get, set, ms, delete, \
                 flush_all, ...) or an action ({})",
                Action::ALL.map(Action::name).join(", ")
            ));
        }
    })
}

const fn needs_key(action: Action) -> bool {
    matches!(action, Action::Read | Action::Write | Action::Delete)
}

/// What was asked.
struct Asked<'a> {
    peer: &'a Peer,
    action: Action,
    key: Option<&'a [u8]>,
}

fn page(
    out: &mut String,
    asked: &Asked<'_>,
    explanation: &Explanation,
    policy: &Policy,
    loaded: &Loaded,
) {
    let key = asked.key.map_or_else(String::new, |key| format!(" {}", key.escape_ascii()));
    let verdict = if explanation.denial.is_some() { "denied" } else { "allowed" };
    let _ = writeln!(out, "{verdict}: {} {}{key}", asked.peer, asked.action);
    let _ = writeln!(out, "  door     {}", why(explanation.door, loaded));
    if let Some(because) = explanation.action {
        let _ = writeln!(out, "  decides  {}", why(because, loaded));
    }
    if let Some(denial) = explanation.denial {
        let last = explanation.action.unwrap_or(explanation.door);
        let _ = writeln!(out, "  told     {}", told(&denial));
        let _ = writeln!(out, "  counted  {} (kannuki explain {0})", denial.reason);
        let _ = writeln!(out, "  change   {}", remedy(last, asked, policy));
    }
    if asked.key.is_none() && needs_key(asked.action) && has_keys(policy) {
        let _ = writeln!(out, "  note     some rules name keys: say --key");
    }
}

fn has_keys(policy: &Policy) -> bool {
    let some = |rule: &kannuki_server::guard::Rule| {
        matches!(rule.keys, kannuki_server::guard::Keys::Beginning(_))
    };
    policy.rules.as_slice().iter().any(some)
}

fn why(because: Because, loaded: &Loaded) -> String {
    let whose =
        |own: bool| if own { "the listener's own list" } else { "the list of all listeners" };
    match because {
        Because::UnixSocket => {
            "in: a UNIX socket, whose file permissions (-a) decide who connects".to_owned()
        }
        Because::Network { network, allowed, own } => {
            let word = if allowed { "in: allowed" } else { "out: denied" };
            format!("{word} by {network} in {}, the longest prefix", whose(own))
        }
        Because::Exposure { exposure, class, own } => {
            let word = if exposure.admits(class) { "in" } else { "out" };
            let whose = if own { "the listener's own".to_owned() } else { said_exposure(loaded) };
            format!("{word}: exposure {exposure} ({whose}), and the address is {}", named(class))
        }
        Because::Strangers(Strangers::Never) => {
            "out: a public address that no list allows, and log-in and TLS are not both set up"
                .to_owned()
        }
        Because::Strangers(Strangers::Proven) => {
            "a public address that no list allows must speak TLS and prove who it is".to_owned()
        }
        Because::Strangers(Strangers::Anyone) => "in: --danger-public-without-auth".to_owned(),
        Because::ProxiedLoopback => {
            "out: a proxy's word that its client is on loopback is not believed".to_owned()
        }
        Because::TlsRequired => "out: TLS is required".to_owned(),
        Because::LoginRequired => "nothing before log-in (-S, -Y)".to_owned(),
        Because::Switch(action) => format!("{action} is switched off for everybody"),
        Because::Rule(at) => format!("{}, the first about this", rule(at.index(), loaded)),
        Because::BeyondKeys(at) => format!(
            "{}, which allows other keys alone, and no later rule allows this one",
            rule(at.index(), loaded)
        ),
        Because::Default(Locality::Local) => {
            "no rule about it: peers of this host may do what memcached lets them".to_owned()
        }
        Because::Default(Locality::Remote) => {
            "no rule about it: peers of other hosts may read, write, delete and see stats"
                .to_owned()
        }
    }
}

fn said_exposure(loaded: &Loaded) -> String {
    match loaded.settings.given(&own_options::EXPOSURE) {
        Some(given) => given.source.to_string(),
        None => "by default: private with -l, else loopback".to_owned(),
    }
}

const fn named(class: AddressClass) -> &'static str {
    match class {
        AddressClass::Loopback => "on this host",
        AddressClass::Private => "private",
        AddressClass::Public => "public",
    }
}

/// The rule at a position, by number, name and place.
fn rule(at: usize, loaded: &Loaded) -> String {
    let Some(table) = loaded.tables.rules.get(at) else { return format!("rule {}", at + 1) };
    let name = table.name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
    format!("rule {}{name} ({})", at + 1, table.source)
}

fn told(denial: &Denial) -> String {
    let line = refusals::told(denial);
    match denial.response {
        Response::Close => "nothing: the connection is closed".to_owned(),
        Response::Drop => "nothing: the datagram is dropped".to_owned(),
        Response::AccessDenied => format!("{line} (a forbidden key of several is a miss)"),
        _ => line.to_owned(),
    }
}

fn remedy(because: Because, asked: &Asked<'_>, policy: &Policy) -> String {
    let network = asked.peer.address().map_or_else(String::new, |address| address.to_string());
    match because {
        Because::Network { .. } => format!("allow a longer prefix than that: --allow {network}"),
        Because::Exposure { .. } if policy.exposure == kannuki_server::Exposure::Loopback => {
            format!("--allow {network}, or --exposure private for private networks")
        }
        Because::Exposure { .. } | Because::Strangers(Strangers::Never) => {
            format!("--allow {network}; --exposure public wants log-in and TLS")
        }
        Because::Strangers(_) | Because::TlsRequired if !asked.peer.is_encrypted() => {
            "connect with TLS (here: --tls)".to_owned()
        }
        Because::LoginRequired | Because::Strangers(_) => {
            "log in (here: --user NAME), or show a certificate where that is enough (--cert)"
                .to_owned()
        }
        Because::TlsRequired => "connect with TLS (here: --tls)".to_owned(),
        Because::ProxiedLoopback => "--proxy-trust-loopback, if the proxy runs here".to_owned(),
        Because::Switch(Action::Shutdown) => "start with -A".to_owned(),
        Because::Switch(_) => "start without that switch (-F, -X, -W)".to_owned(),
        Because::Rule(_) => "that rule, or a rule before it that allows this".to_owned(),
        Because::BeyondKeys(_) => {
            "the rule's keys, or a later rule that allows this key".to_owned()
        }
        Because::Default(_) | Because::UnixSocket => format!(
            "a [[rule]] that names this peer, with allow = [\"{}\"]; or do it on this host",
            asked.action
        ),
    }
}
