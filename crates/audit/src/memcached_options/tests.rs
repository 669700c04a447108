//! The table's form, and the command lines and files that people really have.

use std::{collections::HashSet, ffi::OsString, path::PathBuf, sync::Arc};

use proptest::prelude::*;

use super::{
    Grammar, Reading, Settings, Source, Value, Word, conf_file,
    listen::ListenElement,
    pages,
    spec::{Action, Effect, Shape, Spelling},
    table::{self, access, engine, listening, memory, process, storage, tls, traffic},
    value::{Manner, read},
};

fn words(text: &str) -> Vec<Word> {
    words_of(&text.split(' ').collect::<Vec<_>>())
}

fn words_of(text: &[&str]) -> Vec<Word> {
    Word::arguments(text.iter().map(OsString::from), 1).collect()
}

fn reading(text: &[&str]) -> Reading {
    Grammar::memcached().read(&words_of(text))
}

fn settings(text: &str) -> Settings {
    let words = if text.is_empty() { Vec::new() } else { words(text) };
    Settings::merge([Grammar::memcached().read(&words)])
}

fn exit_code(text: &str) -> u8 {
    settings(text).errors().first().map_or(0, |error| error.exit_code)
}

fn file(text: &str) -> conf_file::ConfFile {
    conf_file::read(text.as_bytes(), &Arc::new(PathBuf::from("/etc/memcached.conf")))
}

fn argv(file: &conf_file::ConfFile) -> Vec<&str> {
    file.words.iter().map(|word| word.text.to_str().unwrap()).collect()
}

#[test]
fn every_option_is_documented_and_unique() {
    let (mut names, mut spelled) = (HashSet::new(), HashSet::new());
    for spec in table::all() {
        let name = spec.name();
        assert!(names.insert(name.clone()), "{name} stands twice");
        assert!(spec.brief().ends_with('.'), "{name}: the first paragraph is a sentence");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()));
        if let Some(why) = spec.effect.why() {
            assert!(!why.is_empty() && !why.ends_with('.'), "{name}: a reason is a clause");
        }
        let keys = match spec.spelling {
            Spelling::Flag { short, long } => {
                [short.map(|s| char::from(s).to_string()), long.map(str::to_owned)]
            }
            Spelling::Suboption { name, negation } => {
                [Some(format!("-o {name}")), negation.map(|n| format!("-o {n}"))]
            }
        };
        for key in keys.into_iter().flatten() {
            assert!(spelled.insert(key.clone()), "{key} stands twice");
        }
    }
    // memcached's own string of letters.
    for letter in "aAZpsUmMckhiVrvdluPfntDLRCbBISFXWYeoN".chars() {
        assert!(spelled.contains(&letter.to_string()), "-{letter} is missing");
    }
}

#[test]
fn every_default_is_a_value() {
    for spec in table::all() {
        if let Some(default) = spec.default {
            let value = read(spec, default.as_bytes(), Manner::Memcached);
            assert!(matches!(value, Ok((_, None))), "{}: {value:?}", spec.name());
        }
    }
}

#[test]
fn what_protects_or_routes_never_passes_silently() {
    let alone = [&access::ENABLE_SASL, &access::AUTH_FILE, &process::DROP_PRIVILEGES];
    let refused = tls::TLS.iter().chain(table::proxy::PROXY).chain(&alone);
    // Who asks for the kernel's TLS gets the server's.
    for spec in refused.filter(|spec| !spec.is(&tls::SSL_KERNEL_TLS)) {
        assert!(!matches!(spec.effect, Effect::NoEffect { .. } | Effect::Warns { .. }));
    }
    for text in ["-Z", "-o ssl_key=f", "-o proxy_config=routelib"] {
        assert_eq!(exit_code(text), 64, "{text}");
    }
    for text in [
        "-Z -p 0 -o ssl_chain_cert=f",
        "-Z -o ssl_chain_cert=f,ssl_verify_mode=2",
        "-Z -o ssl_chain_cert=f -l mtls:127.0.0.1",
        "-o ssl_ciphers=x",
    ] {
        assert_eq!(exit_code(text), 64, "{text}");
    }
    assert_eq!(exit_code("-Z -o ssl_chain_cert=f,ssl_verify_mode=3,ssl_ca_cert=f -l mtls:h"), 0);
    assert_eq!(exit_code("-o no_drop_privileges"), 0);
}

#[test]
fn flags_in_every_spelling() {
    for text in [
        &["-m64"][..],
        &["-m", "64"],
        &["-m 64"],
        &["--memory-limit=64"],
        &["--memory-limit", "64"],
        &["--memory-l", " 64"],
        &["-vdm", "64"],
        &["ignored", "-m", "1", "-m", "64", "--", "-m", "3"],
    ] {
        let settings = Settings::merge([reading(text)]);
        assert_eq!(settings.errors(), [], "{text:?}");
        assert_eq!(settings.number(&memory::MEMORY_LIMIT), 64, "{text:?}");
    }
    assert_eq!(settings("-v -vv").number(&process::VERBOSE), 3);
    assert!(settings("-dp11211").switch(&process::DAEMON));
}

#[test]
fn getopt_errors_end_with_one() {
    for text in ["-Q", "--foo", "--m", "--mem", "-m", "--port", "--daemon=3", "--napi_ids=1"] {
        assert_eq!(exit_code(text), 1, "{text}");
    }
    let error = settings("--memroy-limit=3").errors()[0].message.clone();
    assert!(error.contains("did you mean --memory-limit?"), "{error}");
    let error = settings("--mem 3").errors()[0].message.clone();
    assert!(error.contains("'--memory-limit' '--memory-file'"), "{error}");
}

#[test]
fn exit_codes_are_those_of_memcached() {
    let one = ["-c 0", "-t 0", "-R 0", "-f 1", "-n 0", "-N 0", "-t abc", "-o foo", "-o hashpower"];
    let usage = [
        "-m abc",
        "-m 0",
        "-B foo",
        "-I 1g",
        "-I 1k -o slab_chunk_max=512",
        "-I 40m",
        "-I 0",
        "-p 70000",
        "-U 70000",
        "-N 5",
        "-o hot_lru_pct=50,warm_lru_pct=50",
        "-S -B ascii",
        "-o no_lru_maintainer,temporary_ttl=10",
        "-o slab_chunk_max=300",
        "-Z -p 0",
        "-U 11211 -o ext_path=/f:1G",
    ];
    let system = ["-l 127.0.0.1:abc", "-l notls:127.0.0.1", "-l proto[proxy]:h", "-l tag[]:h"];
    for (texts, code) in [(&one[..], 1), (&usage[..], 64), (&system[..], 71)] {
        for text in texts {
            assert_eq!(exit_code(text), code, "{text}");
        }
    }
    for text in ["-I 100k", "-I 2500k", "-p -1 -U -1", "-b abc", "-p abc", "-o modern=3"] {
        assert_eq!(exit_code(text), 0, "{text}");
    }
}

#[test]
fn messages_name_the_flag_the_value_and_the_place() {
    let error = settings("-m 64 -c abc").errors()[0].to_string();
    assert_eq!(error, "invalid value \"abc\" for -c: must be greater than 0 (argument 3)");
    let warning = settings("-t 4x").warnings()[0].to_string();
    assert_eq!(warning, "-t: \"4x\" is read as 4 (argument 1)");
}

#[test]
fn actions_come_before_later_errors_and_after_earlier_ones() {
    assert_eq!(reading(&["--enable-ssl", "--version"]).action, Some(Action::Version));
    assert_eq!(reading(&["-h", "-Q"]).action, Some(Action::Help));
    let reading = reading(&["-Q", "-h"]);
    assert_eq!((reading.action, reading.errors.len()), (None, 1));
}

#[test]
fn lists_of_extended_options() {
    let settings = settings("-o modern,track_sizes,idle_timeout=30 -o no_maxconns_fast,");
    assert_eq!(settings.errors(), []);
    assert!(settings.switch(&engine::TRACK_SIZES));
    assert!(!settings.switch(&traffic::MAXCONNS_FAST));
    assert_eq!(settings.number(&traffic::IDLE_TIMEOUT), 30);
    assert_eq!(Settings::merge([reading(&["-o", ""])]).errors(), []);
    for text in ["-o ,modern", "-o a,,b", "-o ext_foo", "-o maxconns-fast"] {
        assert_eq!(exit_code(text), 1, "{text}");
    }
    let error = reading(&["-o", "modern, track_sizes"]).errors[0].message.clone();
    assert!(error.starts_with("Illegal suboption \" track_sizes\""), "{error}");
}

#[test]
fn the_automover_takes_a_value_or_none() {
    for (text, value) in [("slab_automove", 1), ("slab_automove=2", 2), ("no_slab_automove", 0)] {
        assert_eq!(settings(&format!("-o {text}")).number(&engine::SLAB_AUTOMOVE), value);
    }
    assert_eq!(exit_code("-o slab_automove=3"), 1);
    assert_eq!(exit_code("-o hash_algorithm=md5"), 1);
}

#[test]
fn no_modern_can_be_overridden_piece_by_piece() {
    let settings = settings("-o no_modern,lru_crawler");
    assert!(!settings.switch(&traffic::MAXCONNS_FAST));
    assert!(!settings.switch(&engine::LRU_MAINTAINER));
    assert!(settings.switch(&engine::LRU_CRAWLER));
    assert_eq!(settings.text(&engine::HASH_ALGORITHM).as_deref(), Some("jenkins"));
    let source = settings.given(&engine::LRU_MAINTAINER).unwrap().source.to_string();
    assert_eq!(source, "no_modern, argument 1");
}

#[test]
fn words_of_helm_charts() {
    // Loki, Mimir and Tempo hand flag and value over as one word.
    let chart = ["-m 8192", "-I 5m", "-c 16384", "-v", "-u 11211", "--extended=modern,track_sizes"];
    let settings = Settings::merge([reading(&chart)]);
    assert_eq!(settings.errors(), []);
    assert_eq!(settings.number(&memory::MEMORY_LIMIT), 8192);
    assert_eq!(settings.number(&memory::MAX_ITEM_SIZE), 5 << 20);
    assert_eq!(settings.number(&traffic::CONN_LIMIT), 16384);
    assert_eq!(settings.text(&process::USER).as_deref(), Some("11211"));

    let disk = ["-m 1024", "--extended=modern,track_sizes,ext_path=/data/file:9G,ext_wbuf_size=16"];
    let settings = Settings::merge([reading(&disk)]);
    assert_eq!(settings.errors(), [], "extended storage warns and goes on");
    assert_eq!(settings.warnings().len(), 2);
    assert_eq!(settings.all(&storage::EXT_PATH).count(), 1);

    let image = ["memcached", "--memory-limit=64", "--conn-limit=1024", "--threads=4"];
    assert_eq!(Settings::merge([reading(&image[1..])]).errors(), []);
}

#[test]
fn later_layers_replace_lists_and_values_accumulate_within_one() {
    let grammar = Grammar::memcached();
    let below = grammar.read(&words("-l 10.0.0.10 -l 10.0.0.1 -m 128 -vv"));
    let above = grammar.read(&words("-v"));
    let both = Settings::merge([below.clone(), above]);
    let hosts = ["10.0.0.10", "10.0.0.1"].map(ListenElement::host);
    assert_eq!(both.listens(&listening::LISTEN), hosts);
    assert_eq!(both.number(&process::VERBOSE), 1);
    let above = grammar.read(&words("-l 127.0.0.1"));
    let both = Settings::merge([below, above]);
    assert_eq!(both.listens(&listening::LISTEN), [ListenElement::host("127.0.0.1")]);
    assert_eq!(both.number(&memory::MEMORY_LIMIT), 128);
}

#[test]
fn debian_as_shipped() {
    let file = file(
        "# memcached default config file\n\n# Run memcached as a daemon.\n-d\n\n\
         logfile /var/log/memcached.log\n\n# -v\n-m 64\n-p 11211\n-u memcache\n-l 127.0.0.1\n\
         -P /var/run/memcached/memcached.pid\n",
    );
    assert_eq!((file.format, file.errors.len()), (conf_file::Format::Debian, 0));
    assert_eq!(
        argv(&file),
        [
            "-m",
            "64",
            "-p",
            "11211",
            "-u",
            "memcache",
            "-l",
            "127.0.0.1",
            "-P",
            "/var/run/memcached/memcached.pid"
        ]
    );
    let (path, source) = file.log_file.unwrap();
    assert_eq!(path, PathBuf::from("/var/log/memcached.log"));
    assert_eq!(source.to_string(), "/etc/memcached.conf:6");
    assert_eq!(file.words[2].source.to_string(), "/etc/memcached.conf:10");
}

#[test]
fn traps_of_the_debian_format() {
    let file =
        file("-m 64 # MiB\n-d -l 127.0.0.1\n-D \\# \n-x 'a b'\nverbose\nfoo bar\n-t `nproc`\n");
    assert_eq!(argv(&file), ["-m", "64", "-D", "#", "-x", "a b"]);
    let warnings: Vec<String> = file.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "\"-d -l 127.0.0.1\": a line that begins so is skipped as a whole \
             (/etc/memcached.conf:2)",
            "unknown directive \"verbose\" is ignored (/etc/memcached.conf:5)",
            "unknown directive \"foo\" is ignored (/etc/memcached.conf:6)",
        ]
    );
    assert_eq!(file.errors.len(), 1);
    assert_eq!(file.errors[0].origin.to_string(), "/etc/memcached.conf:7");
}

#[test]
fn sysconfig_of_red_hat() {
    let file = file(
        "PORT=\"11211\"\nUSER=\"memcached\"\nMAXCONN=\"1024\"\nCACHESIZE=\"64\"\n\
         OPTIONS=\"-l 127.0.0.1,::1\"\n",
    );
    assert_eq!((file.format, file.errors.len()), (conf_file::Format::Assignments, 0));
    assert_eq!(
        argv(&file),
        ["-p", "11211", "-u", "memcached", "-m", "64", "-c", "1024", "-l", "127.0.0.1,::1"]
    );
}

#[test]
fn sysconfig_of_suse_alpine_and_gentoo() {
    let suse = file("MEMCACHED_PARAMS=\"-l 127.0.0.1\"\nMEMCACHED_USER=\"memcached\"\n");
    assert_eq!(argv(&suse), ["-u", "memcached", "-l", "127.0.0.1"]);
    let alpine = file(
        "MEMCACHED_BINARY=\"/usr/bin/memcached\"\nMEMUSAGE=\"64\"\nLISTENON=\"\"\nPORT=\"11211\"\n\
         UDPPORT=\"${PORT}\"\nMISC_OPTS=\"\"\n",
    );
    assert_eq!(argv(&alpine), ["-p", "11211", "-U", "11211", "-m", "64"]);
    assert_eq!((alpine.errors.len(), alpine.warnings.len()), (0, 0));
}

#[test]
fn shell_assignments() {
    let file = file(
        "# c\nexport PORT=1 # c\nPORT='2'\nOPTIONS=\"-l 10.0.0.1 \\\n  -t 2\"\nUSER=a b  # c\n\
         FOO=1\nsource /x\nCACHESIZE=$(free)\nMAXCONN=$NONE\n",
    );
    assert_eq!(argv(&file), ["-p", "2", "-u", "a b", "-l", "10.0.0.1", "-t", "2"]);
    assert_eq!(file.words.last().unwrap().source.to_string(), "/etc/memcached.conf:4");
    let warnings: Vec<String> = file.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "\"source /x\" is no assignment and is ignored (/etc/memcached.conf:8)",
            "unknown variable \"FOO\" is ignored (/etc/memcached.conf:7)",
        ]
    );
    let errors: Vec<String> = file.errors.iter().map(|error| error.origin.to_string()).collect();
    assert_eq!(errors, ["/etc/memcached.conf:9", "/etc/memcached.conf:10"]);
}

#[test]
fn pages_show_every_option() {
    let grammar = Grammar::memcached();
    let (help, page) = (pages::help(grammar.groups()), pages::markdown(&grammar));
    for spec in table::all() {
        let spelling = pages::spellings(spec);
        assert!(help.contains(&format!("  {spelling}")), "{spelling}");
        assert!(page.contains(&spec.brief()), "{spelling}");
    }
    assert!(help.lines().all(|line| line.len() <= 100), "help fits a terminal");
    assert!(help.is_ascii());
}

#[test]
fn lines_are_literals_with_sources() {
    let settings = settings("-m 128 -l 10.0.0.1:11212,* -D :");
    let lines: Vec<String> = settings
        .lines(table::all())
        .filter(|line| line.source != Source::Default)
        .map(|line| format!("{} = {} # {}", line.spec.name(), line.value.unwrap(), line.source))
        .collect();
    assert_eq!(
        lines,
        [
            "listen = [\"10.0.0.1:11212\", \"*\"] # argument 3",
            "memory-limit = 128 # argument 1",
            "prefix-delimiter = \":\" # argument 5",
        ]
    );
}

proptest! {
    #[test]
    fn no_command_line_panics(
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..8),
    ) {
        use std::os::unix::ffi::OsStringExt;
        let words = Word::arguments(words.into_iter().map(OsString::from_vec), 1);
        let settings = Settings::merge([Grammar::memcached().read(&words.collect::<Vec<_>>())]);
        let _ = settings.lines(table::all()).count();
    }

    #[test]
    fn no_value_panics(
        which in any::<prop::sample::Index>(),
        typed in "[ -]?[0-9]{0,20}[.]?[a-zA-Z0-9\\[\\]:,;-]{0,12}",
        strict in any::<bool>(),
    ) {
        let all: Vec<_> = table::all().collect();
        let spec = all[which.index(all.len())];
        let manner = if strict { Manner::Strict } else { Manner::Memcached };
        let mut reading = Reading::default();
        reading.take(spec, typed.as_bytes(), manner, Source::Argument(1));
        let settings = Settings::merge([reading]);
        for given in settings.effective() {
            let (shape, value) = (given.spec.shape, &given.value);
            if let (Shape::Integer(bounds), Value::Number(number)) = (shape, value) {
                prop_assert!((bounds.min..=bounds.max).contains(number));
            }
        }
    }

    #[test]
    fn no_file_panics(text in "([-A-Za-z#='\"\\\\ $`{}0-9]{0,12}\n?){0,20}") {
        let _ = file(&text);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = conf_file::read(&bytes, &Arc::new(PathBuf::from("f")));
        let mut assigned = b"A=".to_vec();
        assigned.extend(&bytes);
        let _ = conf_file::read(&assigned, &Arc::new(PathBuf::from("f")));
    }

    /// An address list that was read and printed reads the same again.
    #[test]
    fn listen_lists_print_as_they_read(
        prefix in "(proto\\[ascii\\]:)?(tag\\[a\\]:)?",
        host in "(h|10\\.0\\.0\\.1|\\*|::1|\\[::1\\]:[0-9]{1,4}|h:[0-9]{1,4})",
    ) {
        let text = prefix + &host;
        let listens = |text: &str| {
            let mut reading = Reading::default();
            let (spec, source) = (&listening::LISTEN, Source::Argument(1));
            reading.take(spec, text.as_bytes(), Manner::Memcached, source);
            Settings::merge([reading]).listens(&listening::LISTEN)
        };
        let first = listens(&text);
        prop_assert_eq!(first.len(), 1);
        prop_assert_eq!(listens(&first[0].to_string()), first);
    }
}
