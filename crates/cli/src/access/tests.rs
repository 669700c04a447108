//! Contradictions, each with its place; and what sound settings mean.

use std::path::PathBuf;

use kannuki_audit::memcached_options::Word;
use kannuki_server::guard::{Action, Guard, ListenerId, Owner, Peer, Reason};

use super::*;
use crate::{load, meaning};

/// The policy of a file and a command line, or the first error with its place.
fn meant(file: &str, words: &str) -> Result<Policy, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k.toml");
    std::fs::write(&path, file).unwrap();
    let words = ["--config".into(), path.clone().into_os_string()]
        .into_iter()
        .chain(words.split_whitespace().map(Into::into));
    let words: Vec<Word> = Word::arguments(words, 1).collect();
    let loaded = load::load(&words, &Situation::plain()).unwrap();
    let errors: Vec<_> = loaded.errors().cloned().collect();
    let errors = if errors.is_empty() {
        let elements = meaning::elements(&loaded.settings);
        match policy(&loaded.settings, &loaded.tables, &Situation::plain(), &elements) {
            Ok(policy) => return Ok(policy),
            Err(errors) => errors,
        }
    } else {
        errors
    };
    let text = errors.first().unwrap().to_string();
    Err(text.replace(path.to_str().unwrap(), "k.toml"))
}

fn error(file: &str, words: &str) -> String {
    meant(file, words).map(|policy| panic!("{policy:?}")).unwrap_err()
}

#[test]
fn the_whole_internet_needs_more_than_a_word() {
    let bare = error("", "-l * --exposure public");
    assert!(bare.contains("needs log-in (-S or -Y) and TLS (-Z)"), "{bare}");
    assert!(bare.ends_with("(argument 5)"), "{bare}");
    let file = error("port = 1\nexposure = \"public\"\n", "-l *");
    assert!(file.contains("danger") && file.ends_with("(k.toml:2:12)"), "{file}");
    let own = "exposure = \"private\"\n\n[[listener]]\naddress = \"h\"\nexposure = \"public\"\n";
    assert!(error(own, "-l h").ends_with("(k.toml:3:1)"), "{}", error(own, "-l h"));

    let listed = meant("", "-l * --exposure public --allow 8.8.8.0/24").unwrap();
    assert_eq!(listed.strangers, Strangers::Never);
    let guard = Guard::new(listed);
    assert!(guard.admit(&Peer::tcp("8.8.8.8".parse().unwrap())).is_ok());
    assert!(guard.admit(&Peer::tcp("9.9.9.9".parse().unwrap())).is_err());
    let danger = meant("", "-l * --exposure public --danger-public-without-auth").unwrap();
    assert_eq!(danger.strangers, Strangers::Anyone);
    let idle = error("", "-l * --danger-public-without-auth");
    assert!(idle.contains("changes nothing without --exposure public"), "{idle}");
}

#[test]
fn contradictions_show_their_place() {
    let cases = [
        ("allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]\n", "", "10.0.0.0/8 is both", "2:9"),
        ("exposure = \"loopback\"\nlisten = [\"10.0.0.5\"]\n", "", "nobody can connect to", "1:12"),
        ("proxy-trust-loopback = true\n", "", "changes nothing without --proxy-from", "1:24"),
        ("proxy-from = \"10.0.0.1\"\n", "-s /x", "takes no PROXY header", "1:14"),
        ("allow = \"10.0.0.1/8\"\n", "", "has bits set beyond its length", "1:9"),
        ("[[listener]]\naddress = \"10.0.0.9\"\n", "-l 10.0.0.5", "there is 10.0.0.5", "1:1"),
        (
            "[[listener]]\naddress = \"h\"\nallow = [\"10.0.0.1\"]\ndeny = [\"10.0.0.1\"]\n",
            "-l h",
            "both allowed and denied",
            "1:1",
        ),
        ("[[rule]]\nuser = \"a\"\nallow = \"read\"\n", "", "nobody can log in", "1:1"),
        ("[[rule]]\ncertificate = \"cn:a\"\nallow = \"read\"\n", "", "none is asked for", "1:1"),
        ("[[rule]]\nuid = 7\nallow = \"read\"\n", "", "peers of a UNIX socket", "1:1"),
        (
            "[[rule]]\nanyone = true\ndeny = \"all\"\n[[rule]]\nnetwork = \"10.0.0.1\"\n\
             allow = \"read\"\n",
            "",
            "never decides",
            "4:1",
        ),
    ];
    for (file, words, message, place) in cases {
        let error = error(file, words);
        assert!(error.contains(message), "{file}: {error}");
        assert!(error.ends_with(&format!("(k.toml:{place})")), "{file}: {error}");
    }
}

#[test]
fn half_rules_are_no_rules() {
    let cases = [
        ("[[rule]]\nallow = \"read\"\n", "names nobody"),
        ("[[rule]]\nanyone = true\nnetwork = \"10.0.0.1\"\nallow = \"read\"\n", "and anyone"),
        ("[[rule]]\nanyone = true\n", "one of allow and deny"),
        ("[[rule]]\nanyone = true\nallow = \"read\"\ndeny = \"write\"\n", "one of allow and deny"),
        ("[[rule]]\nanyone = true\nallow = []\n", "names no action"),
        ("[[rule]]\nanyone = true\nallow = \"reed\"\n", "unknown action `reed`"),
        ("[[rule]]\nanyone = true\nallow = \"flush\"\nkeys = \"a\"\n", "concerns no single key"),
        ("[[rule]]\nanyone = true\nallow = \"read\"\nkeys = \"\"\n", "begins no key"),
        ("[[rule]]\nanyone = true\nallow = \"read\"\nkeys = \"a b\"\n", "begins no key"),
        ("[[rule]]\nanyone = true\nalow = \"read\"\n", "did you mean `allow`?"),
        ("[[rule]]\nnetwork = \"10.0.0.1/8\"\nallow = \"read\"\n", "beyond its length"),
        ("[[rule]]\nuid = -1\nallow = \"read\"\n", "from 0 to 4294967295"),
        ("[[rule]]\nuid = \"root\"\nallow = \"read\"\n", "from 0 to 4294967295"),
        ("[[rule]]\nuser = \"\"\nallow = \"read\"\n", "is empty"),
        ("[[rule]]\ncertificate = \"app\"\nallow = \"read\"\n", "write cn:NAME"),
        ("[[rule]]\nanyone = 1\nallow = \"read\"\n", "true or false"),
        ("[rule]\nanyone = true\n", "write [[rule]]"),
        ("rule = 1\n", "write [[rule]]"),
        ("[[rules]]\nanyone = true\n", "did you mean `rule`?"),
        ("[[listener]]\nexposure = \"private\"\n", "must have an address"),
        ("[[listener]]\naddress = \"h\"\nexposure = \"all\"\n", "loopback, private or public"),
    ];
    for (file, message) in cases {
        let error = error(file, "-l h");
        assert!(error.contains(message), "{file}: {error}");
        assert!(error.contains("(k.toml:"), "{file}: {error}");
    }
}

#[test]
fn tables_mean_what_they_say() {
    let file = "listen = [\"10.0.0.5:1\", \"10.0.0.6\"]\ndeny = [\"10.9.0.0/16\"]\n\
                [[listener]]\naddress = \"10.0.0.6:11211\"\nallow = [\"203.0.113.0/24\"]\n\
                proxy-from = [\"10.0.0.2\"]\n\
                [[rule]]\nname = \"o\"\nnetwork = \"10.1.0.0/16\"\nallow = [\"flush\", \"dump\"]\n\
                [[rule]]\nnetwork = \"10.0.0.0/8\"\nallow = [\"read\", \"write\"]\n\
                keys = [\"sess:\", \"page:\"]\n";
    let guard = Guard::new(meant(file, "").unwrap());
    let peer = |address: &str, id| Peer::tcp(address.parse().unwrap()).at(ListenerId(id));
    let asked = |peer: &Peer, action, key: Option<&str>| {
        guard.explain(peer, action, key.map(str::as_bytes)).denial.map(|denial| denial.reason)
    };
    assert_eq!(asked(&peer("203.0.113.1", 1), Action::Read, Some("k")), None);
    let outside = Some(Reason::PeerNotAllowed);
    assert_eq!(asked(&peer("203.0.113.1", 0), Action::Read, Some("k")), outside);
    assert_eq!(asked(&peer("10.9.1.1", 0), Action::Read, None), Some(Reason::PeerDenied));
    assert_eq!(asked(&peer("10.1.0.1", 0), Action::Flush, None), None);
    assert_eq!(asked(&peer("10.2.0.1", 0), Action::Flush, None), Some(Reason::RemoteDefault));
    assert_eq!(asked(&peer("10.2.0.1", 0), Action::Read, Some("page:1")), None);
    let denied = Some(Reason::RuleDenied);
    assert_eq!(asked(&peer("10.2.0.1", 0), Action::Write, Some("other")), denied);
    assert_eq!(asked(&peer("10.2.0.1", 0), Action::Delete, Some("other")), None);
    assert!(guard.policy().proxies_at(ListenerId(0)).is_none());
    assert!(guard.policy().proxies_at(ListenerId(1)).is_some());

    let unix = "[[rule]]\nuid = [7]\ngid = [8, 9]\nallow = \"all\"\n\
                [[rule]]\nanyone = true\ndeny = \"all\"\n";
    let guard = Guard::new(meant(unix, "-s /x").unwrap());
    let owner = |uid, gid| Peer::unix(Owner { uid, gid });
    assert!(guard.explain(&owner(7, 9), Action::Flush, None).denial.is_none());
    assert!(guard.explain(&owner(7, 7), Action::Read, Some(b"k")).denial.is_some());
    assert!(guard.explain(&owner(0, 0), Action::Read, Some(b"k")).denial.is_some());
}

#[test]
fn the_example_of_the_page_can_be_read_and_means_what_it_says() {
    let page = include_str!("../../../../docs/access.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // The page names users, certificates and uids, which one server seldom has all.
    let certificate = example.find("[[rule]]\ncertificate").unwrap();
    let sessions = format!("enable-sasl = true\n{}", example.get(..certificate).unwrap());
    let guard = Guard::new(meant(&sessions, "").unwrap());
    let app = Peer::tcp("10.1.0.1".parse().unwrap()).at(ListenerId(0));
    let app = app.with_user(kannuki_server::guard::UserName::new("app").unwrap());
    let denied = |key: &[u8]| guard.explain(&app, Action::Read, Some(key)).denial.is_some();
    assert!(!denied(b"sess:1") && denied(b"other:1"));
    let grammar = crate::own_options::grammar();
    let path = std::sync::Arc::new(PathBuf::from("access.md"));
    let (reading, tables) = crate::toml_file::read(example, &path, &grammar);
    assert_eq!((reading.errors.len(), tables.rules.len(), tables.listeners.len()), (0, 4, 1));
}

#[test]
fn terms_stay_with_the_listeners_of_the_start() {
    let file = "[[listener]]\naddress = \"b\"\nexposure = \"loopback\"\n";
    let words: Vec<Word> = Word::arguments(["-l", "b"].map(Into::into), 1).collect();
    let mut loaded = load::load(&words, &Situation::plain()).unwrap();
    let grammar = crate::own_options::grammar();
    let path = std::sync::Arc::new(PathBuf::from("k.toml"));
    loaded.tables = crate::toml_file::read(file, &path, &grammar).1;
    let start = [ListenElement::host("a"), ListenElement::host("b")];
    let policy = policy(&loaded.settings, &loaded.tables, &Situation::plain(), &start).unwrap();
    let own: Vec<_> = policy.listeners.iter().map(|terms| terms.exposure).collect();
    assert_eq!(own, [None, Some(Exposure::Loopback)]);
}
