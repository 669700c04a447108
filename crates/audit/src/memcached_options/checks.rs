//! Settings that are fine each by itself and wrong together.

use super::{
    listen::{ListenProtocol, ListenTls},
    problem::{EXIT_SYSTEM, EXIT_USAGE, OptionError, OptionWarning},
    reading::Given,
    settings::{Settings, default_value},
    source::Source,
    spec::{Effect, OptionSpec},
    table::{
        access::{AUTH_FILE, ENABLE_SASL},
        engine::{HOT_LRU_PCT, LRU_MAINTAINER, SLAB_CHUNK_MAX, TEMPORARY_TTL, WARM_LRU_PCT},
        listening::{LISTEN, PORT, PROTOCOL, UDP_PORT, UNIX_SOCKET},
        memory::{MAX_ITEM_SIZE, MEMORY_LIMIT},
        storage::EXT_PATH,
        tls::{
            ENABLE_SSL, SSL_CA_CERT, SSL_CHAIN_CERT, SSL_CIPHERS, SSL_KEY, SSL_MIN_VERSION,
            SSL_VERIFY_MODE, SSL_WBUF_SIZE,
        },
        traffic::{NAPI_IDS, THREADS},
    },
    value::Value,
};

/// Every contradiction of the settings.
pub(super) fn check(settings: &Settings) -> Vec<OptionError> {
    let mut found = Contradictions { settings, errors: Vec::new() };
    found.item_size();
    found.protocols();
    found.percentages();
    found.threads();
    found.tls();
    found.listeners();
    found.refused();
    found.errors
}

/// What is fine and means something else than was perhaps expected.
pub(super) fn remarks(settings: &Settings) -> Vec<OptionWarning> {
    let mut remarks = Vec::new();
    let mut remark = |spec: &OptionSpec, applies: fn(i64) -> bool, message: &str| {
        let given = settings.given(spec).filter(|_| applies(settings.number(spec)));
        remarks.extend(given.map(|given| OptionWarning {
            message: message.to_owned(),
            origin: given.source.clone(),
        }));
    };
    let old = "ssl_min_version: TLS 1.0 and 1.1 are not spoken; the oldest version is 1.2";
    remark(&SSL_MIN_VERSION, |version| version < TLS_1_2, old);
    let long = "ssl_wbuf_size: a TLS record has 16 KiB at the most, and so much is used";
    remark(&SSL_WBUF_SIZE, |kibibytes| kibibytes > RECORD_KIBIBYTES, long);
    remarks
}

/// `ssl_min_version` of TLS 1.2.
const TLS_1_2: i64 = 2;
/// Longest TLS record.
const RECORD_KIBIBYTES: i64 = 16;

struct Contradictions<'s> {
    settings: &'s Settings,
    errors: Vec<OptionError>,
}

impl Contradictions<'_> {
    fn item_size(&mut self) {
        let item = self.settings.number(&MAX_ITEM_SIZE);
        let half = self.settings.number(&MEMORY_LIMIT).saturating_mul(1 << 20) / 2;
        if item > half {
            // -I has a default, so the culprit may be -m alone.
            let guilty = self.first_given(&[&MAX_ITEM_SIZE, &MEMORY_LIMIT]);
            self.fail(
                guilty,
                format!("-I ({item} bytes) cannot be more than half of -m ({half} bytes)"),
            );
        }
        let chunk = self.settings.number(&SLAB_CHUNK_MAX).saturating_mul(1024);
        let given = self.settings.given(&SLAB_CHUNK_MAX).is_some();
        if given && (chunk == 0 || item % chunk != 0) {
            let message =
                format!("-I ({item} bytes) must be a multiple of slab_chunk_max ({chunk} bytes)");
            self.fail(&SLAB_CHUNK_MAX, message);
        }
    }

    fn protocols(&mut self) {
        let udp = self.settings.number(&UDP_PORT) != 0;
        let (sasl, file) =
            (self.settings.switch(&ENABLE_SASL), self.settings.given(&AUTH_FILE).is_some());
        let chosen = self.settings.given(&PROTOCOL).and_then(|_| self.settings.text(&PROTOCOL));
        if sasl && !file && chosen.as_deref().is_some_and(|protocol| protocol != "binary") {
            self.fail(&PROTOCOL, "-S speaks binary only; -B must be binary".to_owned());
        }
        if file && !sasl && chosen.as_deref().is_some_and(|protocol| protocol != "ascii") {
            self.fail(&PROTOCOL, "-Y speaks text only; -B must be ascii".to_owned());
        }
        let ext = self.settings.given(&EXT_PATH).is_some();
        for (given, name) in [(sasl, "-S"), (file, "-Y"), (ext, "-o ext_path")] {
            if udp && given {
                self.fail(&UDP_PORT, format!("UDP cannot be used together with {name}; use -U 0"));
            }
        }
    }

    fn percentages(&mut self) {
        let sum = self.settings.number(&HOT_LRU_PCT) + self.settings.number(&WARM_LRU_PCT);
        if sum > LRU_PERCENT_SUM_MAX {
            let guilty = self.first_given(&[&HOT_LRU_PCT, &WARM_LRU_PCT]);
            self.fail(
                guilty,
                format!("hot_lru_pct + warm_lru_pct cannot be more than 80, not {sum}"),
            );
        }
        if self.settings.given(&TEMPORARY_TTL).is_some() && !self.settings.switch(&LRU_MAINTAINER) {
            self.fail(&TEMPORARY_TTL, "temporary_ttl wants lru_maintainer".to_owned());
        }
    }

    fn threads(&mut self) {
        let (queues, threads) = (self.settings.number(&NAPI_IDS), self.settings.number(&THREADS));
        if queues > threads {
            self.fail(&NAPI_IDS, format!("-N {queues} cannot be more than -t {threads}"));
        }
    }

    fn tls(&mut self) {
        let no_tcp =
            self.settings.number(&PORT) == 0 || self.settings.given(&UNIX_SOCKET).is_some();
        if !self.settings.switch(&ENABLE_SSL) {
            return self.tls_without_tls();
        }
        if no_tcp {
            self.fail(&ENABLE_SSL, "-Z needs a TCP port".to_owned());
        }
        if self.settings.given(&SSL_CHAIN_CERT).is_none() {
            let message = "-Z needs the server's certificate: -o ssl_chain_cert=FILE".to_owned();
            self.fail(&ENABLE_SSL, message);
        }
        if self.settings.given(&SSL_CA_CERT).is_some() {
            return;
        }
        if self.settings.number(&SSL_VERIFY_MODE) > 0 {
            let message = "ssl_verify_mode needs the authorities that sign the certificates of \
                           clients: -o ssl_ca_cert=FILE";
            self.fail(&SSL_VERIFY_MODE, message.to_owned());
        }
        let mut elements = self.settings.listens(&LISTEN).into_iter();
        if let Some(element) = elements.find(|element| element.tls == Some(ListenTls::Mutual)) {
            let message = format!(
                "-l {element} needs the authorities that sign the certificates of clients: \
                 -o ssl_ca_cert=FILE"
            );
            self.fail(&LISTEN, message);
        }
    }

    /// What is to protect, and would not.
    fn tls_without_tls(&mut self) {
        let protecting = [
            &SSL_CHAIN_CERT,
            &SSL_KEY,
            &SSL_VERIFY_MODE,
            &SSL_CIPHERS,
            &SSL_CA_CERT,
            &SSL_MIN_VERSION,
        ];
        let mut protecting = protecting.into_iter();
        let given = protecting.find(|spec| self.settings.value(spec) != default_value(spec));
        if let Some(spec) = given {
            let name = spec.usual();
            let message = format!("{name} does nothing without -Z, and everything goes in clear");
            self.fail(spec, message);
        }
    }

    fn listeners(&mut self) {
        let tls_on = self.settings.switch(&ENABLE_SSL);
        let file = self.settings.given(&AUTH_FILE).is_some();
        let sasl = self.settings.switch(&ENABLE_SASL);
        for element in self.settings.listens(&LISTEN) {
            if element.tls.is_some() && !tls_on {
                let message = format!("-l {element}: notls, btls and mtls are valid with -Z only");
                self.fail_with(&LISTEN, message, EXIT_SYSTEM);
            }
            if element.protocol == Some(ListenProtocol::Proxy) {
                let message = format!("-l {element}: there is no proxy");
                self.fail_with(&LISTEN, message, EXIT_SYSTEM);
            }
            let alone = match element.protocol {
                Some(ListenProtocol::Binary) if file && !sasl => "-Y speaks text only",
                Some(ListenProtocol::Ascii) if sasl && !file => "-S speaks binary only",
                _ => continue,
            };
            self.fail_with(&LISTEN, format!("-l {element}: {alone}"), EXIT_USAGE);
        }
    }

    /// What protects or routes and does not work yet.
    fn refused(&mut self) {
        let refused: Vec<OptionError> = self.settings.effective().filter_map(refusal).collect();
        self.errors.extend(refused);
    }

    fn fail(&mut self, spec: &OptionSpec, message: String) {
        self.fail_with(spec, message, EXIT_USAGE);
    }

    fn fail_with(&mut self, spec: &OptionSpec, message: String, exit_code: u8) {
        let origin =
            self.settings.given(spec).map_or(Source::Default, |given| given.source.clone());
        self.errors.push(OptionError { message, exit_code, origin });
    }

    /// The first of these options that somebody gave.
    fn first_given(&self, specs: &[&'static OptionSpec]) -> &'static OptionSpec {
        let given = specs.iter().copied().find(|spec| self.settings.given(spec).is_some());
        given.unwrap_or(&MEMORY_LIMIT)
    }
}

/// memcached keeps a fifth of the memory for the cold list.
const LRU_PERCENT_SUM_MAX: i64 = 80;

fn refusal(given: &Given) -> Option<OptionError> {
    let Effect::Refuses { why } = given.spec.effect else { return None };
    if given.value == Value::Switch(false) {
        return None;
    }
    Some(OptionError {
        message: format!("{} is refused: {why}", given.spec.usual()),
        exit_code: EXIT_USAGE,
        origin: given.source.clone(),
    })
}
