//! From what was typed to what is meant: [`Settings`] become the server's [`Config`].
//!
//! Invariants:
//! - Without -l the server listens on loopback only, and UDP is off.
//! - Values are in bounds already ([`Settings`] checks them); what does not fit is held at the
//!   greatest value that does, never wrapped.

use kannuki_audit::memcached_options::{
    ListenElement, OptionError, OptionSpec, Settings, Source, Value,
    listen::ListenProtocol,
    problem::EXIT_PARSE,
    table::{
        access::{AUTH_FILE, ENABLE_SASL},
        engine, listening, memory, process, traffic,
    },
};
use kannuki_server::{
    auth::Format,
    config::{Config, Dialect, Echo, Listen, LoginConfig, Reload, Transport, UnixListen},
    guard::ListenerId,
    log::LogConfig,
};

use crate::{access, load::Loaded, own_options, situation::Situation, tls};

/// What the settings mean; the errors are those that only the server's own types can find.
pub(crate) fn config(loaded: &Loaded, situation: &Situation) -> Result<Config, Vec<OptionError>> {
    let settings = &loaded.settings;
    let directory = |path: std::path::PathBuf| situation.directory.join(path);
    let dialect = dialect(settings);
    let login = login(settings, situation)?;
    let unix = settings.path(&listening::UNIX_SOCKET).map(|path| UnixListen {
        path: directory(path),
        mode: number(settings, &listening::UNIX_MASK),
        dialect,
    });
    let elements = elements(settings);
    let reload = reload(loaded, situation, &elements)?;
    Ok(Config {
        listens: listens(settings, dialect, &elements),
        unix,
        inherit_sockets: true,
        dialect,
        login,
        policy: reload.policy,
        udp_trusted: reload.udp_trusted,
        tls: reload.tls,
        backlog: number(settings, &listening::LISTEN_BACKLOG),
        socket_mark: number(settings, &listening::SOCK_COOKIE_ID),
        memory_bytes: mebibytes(settings, &memory::MEMORY_LIMIT),
        item_bytes_max: number(settings, &memory::MAX_ITEM_SIZE),
        evict: !settings.switch(&memory::DISABLE_EVICTIONS),
        cas: !settings.switch(&memory::DISABLE_CAS),
        lock_memory: settings.switch(&memory::LOCK_MEMORY),
        threads: number(settings, &traffic::THREADS),
        connections_max: number(settings, &traffic::CONN_LIMIT),
        maxconns_fast: settings.switch(&traffic::MAXCONNS_FAST),
        reqs_per_event: number(settings, &traffic::MAX_REQS_PER_EVENT),
        idle_timeout_secs: number(settings, &traffic::IDLE_TIMEOUT),
        buffer_bytes_max: mebibytes(settings, &traffic::READ_BUF_MEM_LIMIT),
        detail_enabled: settings.given(&process::PREFIX_DELIMITER).is_some(),
        prefix_delimiter: delimiter(settings),
        track_sizes: settings.switch(&engine::TRACK_SIZES),
        daemonize: settings.switch(&process::DAEMON),
        pid_file: settings.path(&process::PIDFILE).map(directory),
        user: settings.text(&process::USER),
        core_dumps: settings.switch(&process::ENABLE_COREDUMPS),
        port_file: situation.port_file.clone().map(directory),
        log: log(settings, situation),
        echo: echo(settings),
    })
}

/// The part that SIGHUP may change; `elements` are the addresses listened on since the start.
pub(crate) fn reload(
    loaded: &Loaded,
    situation: &Situation,
    elements: &[ListenElement],
) -> Result<Reload, Vec<OptionError>> {
    let settings = &loaded.settings;
    let mut errors = Vec::new();
    let udp_trusted = access::network_list(settings, &own_options::UDP_TRUSTED, &mut errors);
    match access::policy(settings, &loaded.tables, situation, elements) {
        Ok(policy) if errors.is_empty() => {
            let verbosity = number(settings, &process::VERBOSE);
            let tls = tls::config(settings, situation)?;
            Ok(Reload { waiting: Vec::new(), verbosity, udp_trusted, policy, tls })
        }
        found => {
            errors.extend(found.err().unwrap_or_default());
            Err(errors)
        }
    }
}

/// The addresses to listen on; none with -s.
pub(crate) fn elements(settings: &Settings) -> Vec<ListenElement> {
    if settings.given(&listening::UNIX_SOCKET).is_some() {
        return Vec::new();
    }
    let elements = settings.listens(&listening::LISTEN);
    if elements.is_empty() { loopback() } else { elements }
}

/// As said, else what those can speak who have to log in.
fn dialect(settings: &Settings) -> Dialect {
    let text = settings.given(&AUTH_FILE).is_some();
    let sasl = settings.switch(&ENABLE_SASL);
    match (settings.text(&listening::PROTOCOL).as_deref(), text, sasl) {
        (Some("ascii"), _, _) | (_, true, false) => Dialect::Text,
        (Some("binary"), _, _) | (_, false, true) => Dialect::Binary,
        _ => Dialect::Auto,
    }
}

/// Who has to log in, and how.
fn login(
    settings: &Settings,
    situation: &Situation,
) -> Result<Option<LoginConfig>, Vec<OptionError>> {
    let file = settings.path(&AUTH_FILE);
    let (text, sasl) = (file.is_some(), settings.switch(&ENABLE_SASL));
    let (users, format) = match (file, &situation.sasl_pwdb) {
        (None, _) if !sasl => return Ok(None),
        (Some(file), _) => (file, Format::AuthFile),
        (None, Some(file)) => (file.clone(), Format::SaslPwdb),
        (None, None) => {
            let given = settings.given(&ENABLE_SASL);
            let origin = given.map_or(Source::Default, |given| given.source.clone());
            let message = SASL_WITHOUT_USERS.to_owned();
            return Err(vec![OptionError { message, exit_code: EXIT_PARSE, origin }]);
        }
    };
    Ok(Some(LoginConfig {
        users: situation.directory.join(users),
        format,
        text,
        sasl,
        delay_secs: number(settings, &own_options::AUTH_DELAY),
        ban_after: number(settings, &own_options::AUTH_BAN_AFTER),
        ban_secs: number(settings, &own_options::AUTH_BAN_TIME),
    }))
}

const SASL_WITHOUT_USERS: &str = "-S without users: name their file with -Y (text connections log \
    in with it too) or in MEMCACHED_SASL_PWDB, and make its lines with `kannuki passwd`; the \
    databases of libsasl (sasldb2, SASL_CONF_PATH) are not read";

fn listens(settings: &Settings, dialect: Dialect, elements: &[ListenElement]) -> Vec<Listen> {
    let (tcp, udp) = ports(settings);
    let shut = settings.given(&listening::LISTEN).is_none();
    let mut listens = Vec::new();
    for (transport, port) in [(Transport::Tcp, tcp), (Transport::Udp, udp)] {
        // 0 in -p or -U switches the transport off, whatever ports the addresses have.
        let Some(port) = port else { continue };
        listens.extend((0_u16..).zip(elements).map(|(id, element)| Listen {
            id: ListenerId(id),
            transport,
            host: element.host.clone(),
            port: element.port.unwrap_or(port),
            dialect: element.protocol.map_or(dialect, own_dialect),
            tls: tls::of_listener(settings, element.tls).filter(|_| transport == Transport::Tcp),
            optional: shut && element.host == LOOPBACK_V6,
        }));
    }
    listens
}

const LOOPBACK_V6: &str = "::1";

fn loopback() -> Vec<ListenElement> {
    vec![ListenElement::host("127.0.0.1"), ListenElement::host(LOOPBACK_V6)]
}

const fn own_dialect(protocol: ListenProtocol) -> Dialect {
    match protocol {
        ListenProtocol::Ascii => Dialect::Text,
        ListenProtocol::Binary => Dialect::Binary,
        ListenProtocol::Negotiating | ListenProtocol::Proxy => Dialect::Auto,
    }
}

/// The ports of TCP and UDP; `None` = off, 0 = any free one.
fn ports(settings: &Settings) -> (Option<u16>, Option<u16>) {
    let meant = |typed: i64| match typed {
        0 => None,
        typed => Some(u16::try_from(typed).unwrap_or(0)),
    };
    (meant(tcp_port(settings)), meant(settings.number(&listening::UDP_PORT)))
}

/// -p; where only -U is given, TCP follows it.
fn tcp_port(settings: &Settings) -> i64 {
    let udp = settings.number(&listening::UDP_PORT);
    if udp != 0 && settings.given(&listening::PORT).is_none() {
        return udp;
    }
    settings.number(&listening::PORT)
}

fn log(settings: &Settings, situation: &Situation) -> LogConfig {
    LogConfig {
        file: settings.path(&own_options::LOG_FILE).map(|path| situation.directory.join(path)),
        rotate_bytes: number(settings, &own_options::LOG_ROTATE_SIZE),
        rotate_age: std::time::Duration::from_secs(number(settings, &own_options::LOG_ROTATE_AGE)),
        keep: number(settings, &own_options::LOG_KEEP),
        verbosity: number(settings, &process::VERBOSE),
    }
}

fn echo(settings: &Settings) -> Echo {
    let listens = settings.listens(&listening::LISTEN);
    let inter: Vec<String> = if listens.is_empty() { loopback() } else { listens }
        .iter()
        .map(ToString::to_string)
        .collect();
    let has_ttl = settings.given(&engine::TEMPORARY_TTL).is_some();
    Echo {
        tcp_port: narrow(tcp_port(settings)),
        udp_port: number(settings, &listening::UDP_PORT),
        inter: Some(inter.join(",")),
        growth_factor: settings.real(&memory::SLAB_GROWTH_FACTOR),
        chunk_size: number(settings, &memory::SLAB_MIN_SIZE),
        binding_protocol: match dialect(settings) {
            Dialect::Text => "ascii",
            Dialect::Binary => "binary",
            Dialect::Auto => "auto-negotiate",
        },
        hashpower_init: number(settings, &engine::HASHPOWER),
        slab_reassign: settings.switch(&engine::SLAB_REASSIGN),
        slab_automove: number(settings, &engine::SLAB_AUTOMOVE),
        slab_automove_ratio: settings.real(&engine::SLAB_AUTOMOVE_RATIO),
        slab_automove_freeratio: settings.real(&engine::SLAB_AUTOMOVE_FREERATIO),
        slab_automove_window: number(settings, &engine::SLAB_AUTOMOVE_WINDOW),
        slab_chunk_max: narrow(settings.number(&engine::SLAB_CHUNK_MAX).saturating_mul(1024)),
        lru_crawler: settings.switch(&engine::LRU_CRAWLER),
        lru_crawler_sleep: number(settings, &engine::LRU_CRAWLER_SLEEP),
        lru_crawler_tocrawl: number(settings, &engine::LRU_CRAWLER_TOCRAWL),
        tail_repair_time: number(settings, &engine::TAIL_REPAIR_TIME),
        hash_algorithm: settings.text(&engine::HASH_ALGORITHM).unwrap_or_default(),
        lru_maintainer: settings.switch(&engine::LRU_MAINTAINER),
        lru_segmented: settings.switch(&engine::LRU_MAINTAINER),
        hot_lru_pct: number(settings, &engine::HOT_LRU_PCT),
        warm_lru_pct: number(settings, &engine::WARM_LRU_PCT),
        hot_max_factor: settings.real(&engine::HOT_MAX_FACTOR),
        warm_max_factor: settings.real(&engine::WARM_MAX_FACTOR),
        temporary_ttl: has_ttl.then(|| number(settings, &engine::TEMPORARY_TTL)),
        watcher_logbuf_bytes: kibibytes(settings, &engine::WATCHER_LOGBUF_SIZE),
        worker_logbuf_bytes: kibibytes(settings, &engine::WORKER_LOGBUF_SIZE),
        read_buf_mem_limit: mebibytes(settings, &traffic::READ_BUF_MEM_LIMIT),
        napi_ids: number(settings, &traffic::NAPI_IDS),
        memory_file: settings.text(&memory::MEMORY_FILE),
    }
}

fn delimiter(settings: &Settings) -> u8 {
    match settings.value(&process::PREFIX_DELIMITER) {
        Some(Value::Character(byte)) => byte,
        _ => b':',
    }
}

fn number<N: Narrow>(settings: &Settings, spec: &OptionSpec) -> N {
    narrow(settings.number(spec))
}

fn mebibytes(settings: &Settings, spec: &OptionSpec) -> u64 {
    number::<u64>(settings, spec).saturating_mul(1 << 20)
}

fn kibibytes(settings: &Settings, spec: &OptionSpec) -> u64 {
    number::<u64>(settings, spec).saturating_mul(1 << 10)
}

fn narrow<N: Narrow>(number: i64) -> N {
    N::try_from(number).unwrap_or(if number < 0 { N::LEAST } else { N::MOST })
}

/// A number that settings are kept in.
trait Narrow: TryFrom<i64> {
    const LEAST: Self;
    const MOST: Self;
}

macro_rules! narrow {
    ($($kind:ty),+) => {$(
        impl Narrow for $kind {
            const LEAST: Self = <$kind>::MIN;
            const MOST: Self = <$kind>::MAX;
        }
    )+};
}

narrow!(u8, u32, u64, usize, i32);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kannuki_audit::memcached_options::Word;
    use kannuki_server::guard::Exposure;

    use super::*;
    use crate::load;

    fn meant(text: &str) -> Config {
        let words: Vec<Word> =
            Word::arguments(text.split_whitespace().map(Into::into), 1).collect();
        let loaded = load::load(&words, &Situation::plain()).unwrap();
        assert_eq!(loaded.errors().collect::<Vec<_>>(), Vec::<&OptionError>::new());
        config(&loaded, &Situation::plain()).unwrap()
    }

    fn doors(config: &Config) -> Vec<String> {
        let door = |l: &Listen| format!("{:?} {} {} {}", l.transport, l.host, l.port, l.optional);
        config.listens.iter().map(door).collect()
    }

    #[test]
    fn shut_by_default() {
        let config = meant("");
        assert_eq!(doors(&config), ["Tcp 127.0.0.1 11211 false", "Tcp ::1 11211 true"]);
        assert_eq!(config.policy.exposure, Exposure::Loopback);
        assert!(config.unix.is_none() && config.udp_trusted.is_empty() && !config.policy.shutdown);
        assert_eq!((config.memory_bytes, config.item_bytes_max), (64 << 20, 1 << 20));
        assert_eq!((config.threads, config.connections_max, config.backlog), (4, 1024, 1024));
        assert_eq!((config.reqs_per_event, config.maxconns_fast), (20, true));
        assert_eq!(config.log, LogConfig::default());
    }

    #[test]
    fn an_address_opens_private_networks_and_exposure_says_more() {
        let exposed = |text: &str| meant(text).policy.exposure;
        assert_eq!(exposed("-l *"), Exposure::Private);
        assert_eq!(exposed("-l * --exposure public --allow 8.8.8.8"), Exposure::Public);
        assert_eq!(exposed("--exposure private"), Exposure::Private);
        let inherited = Situation { sockets_inherited: true, ..Situation::plain() };
        assert_eq!(access::exposure(&Settings::default(), &inherited), Exposure::Private);
    }

    #[test]
    fn listeners_have_their_own_tls() {
        let config = meant(
            "-Z -o ssl_chain_cert=c.pem,ssl_verify_mode=1,ssl_ca_cert=/ca,ssl_min_version=3 -U 5 \
             -l a,notls:b,btls:c,mtls:d",
        );
        let (tcp, udp) = config.listens.split_at(4);
        let checks: Vec<_> = tcp.iter().map(|listen| listen.tls).collect();
        use kannuki_server::config::{
            ClientCheck,
            ListenerCheck::{Configured, Own},
        };
        let (none, required) = (Own(ClientCheck::None), Own(ClientCheck::Require));
        assert_eq!(checks, [Some(Configured), None, Some(none), Some(required)]);
        assert_eq!(config.tls.as_ref().map(|tls| tls.clients), Some(ClientCheck::Request));
        assert!(udp.iter().all(|listen| listen.tls.is_none()));
        let tls = config.tls.unwrap();
        assert_eq!((tls.chain, tls.key), (PathBuf::from("/start/c.pem"), None));
        assert_eq!(tls.min_version, kannuki_server::tls::MinVersion::Tls13);
        assert!(meant("").tls.is_none() && meant("").listens.iter().all(|l| l.tls.is_none()));
    }

    #[test]
    fn ports_follow_the_rules_of_memcached() {
        assert_eq!(
            doors(&meant("-l h -U 11300")),
            ["Tcp h 11300 false", "Udp h 11300 false"],
            "TCP follows -U"
        );
        assert_eq!(doors(&meant("-l h -U 2 -p 1")), ["Tcp h 1 false", "Udp h 2 false"]);
        assert_eq!(doors(&meant("-l h:7 -U 2 -p 1")), ["Tcp h 7 false", "Udp h 7 false"]);
        assert_eq!(doors(&meant("-l h -p 0 -U 2")), ["Udp h 2 false"]);
        assert_eq!(doors(&meant("-l h -p -1")), ["Tcp h 0 false"]);
        let unix = meant("-s sock -a 770 -U 11211 -l h");
        assert_eq!(doors(&unix), [""; 0], "-s switches TCP and UDP off");
        let unix = unix.unix.unwrap();
        assert_eq!((unix.path, unix.mode), (PathBuf::from("/start/sock"), 0o770));
    }

    #[test]
    fn listeners_have_their_own_protocol() {
        let config = meant("-B ascii -l proto[binary]:h1,h2,proto[neg]:h3");
        let dialects: Vec<Dialect> = config.listens.iter().map(|l| l.dialect).collect();
        assert_eq!(dialects, [Dialect::Binary, Dialect::Text, Dialect::Auto]);
        assert_eq!(config.echo.binding_protocol, "ascii");
    }

    #[test]
    fn what_stats_settings_shows_is_what_was_typed() {
        let config = meant(
            "-p -1 -f 1.5 -n 72 -o no_modern,lru_maintainer,hashpower=20,temporary_ttl=30 -D /",
        );
        let echo = &config.echo;
        assert_eq!((echo.tcp_port, echo.udp_port), (-1, 0));
        assert_eq!((echo.growth_factor, echo.chunk_size), (1.5, 72));
        assert_eq!((echo.hashpower_init, echo.temporary_ttl), (20, Some(30)));
        assert_eq!((echo.lru_crawler, echo.slab_chunk_max), (false, 1 << 20));
        assert_eq!(echo.hash_algorithm, "jenkins");
        assert!(config.detail_enabled && !config.maxconns_fast);
        assert_eq!(config.prefix_delimiter, b'/');
    }

    #[test]
    fn the_defaults_of_the_table_are_those_of_the_server() {
        let inter = Some("127.0.0.1,::1".to_owned());
        let expected = Echo { inter, ..Echo::default() };
        assert_eq!(format!("{:?}", meant("").echo), format!("{expected:?}"));
    }

    #[test]
    fn networks_are_checked() {
        let config = meant("--udp-trusted 10.0.0.0/8,192.0.2.1 --udp-trusted fd00::/8");
        assert_eq!(config.udp_trusted.iter().count(), 3);
        let words: Vec<Word> =
            Word::arguments(["--udp-trusted", "10.0.0.0/33"].map(Into::into), 1).collect();
        let loaded = load::load(&words, &Situation::plain()).unwrap();
        assert_eq!(config_errors(&loaded), 1);
    }

    fn config_errors(loaded: &Loaded) -> usize {
        config(loaded, &Situation::plain()).map_or_else(|errors| errors.len(), |_| 0)
    }
}
