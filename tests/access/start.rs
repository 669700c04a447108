//! A start with settings that contradict each other fails, and shows the line at fault.

use tempfile::TempDir;

use super::{kannuki, settings};

#[test]
fn contradictions_do_not_start_and_show_their_line() {
    let folder = TempDir::new().unwrap();
    let cases = [
        ("listen = [\"*\"]\nexposure = \"public\"\n", "2:12", "exposure = \"public\""),
        ("allow = \"10.0.0.0/8\"\ndeny = \"10.0.0.0/8\"\n", "2:8", "deny = \"10.0.0.0/8\""),
        ("port = 1\n[[rule]]\nuser = \"app\"\nallow = \"read\"\n", "2:1", "[[rule]]"),
    ];
    for (text, place, line) in cases {
        let config = settings(folder.path(), text);
        let config = config.to_str().unwrap();
        for words in [
            vec!["serve", "--config", config, "-u", "root"],
            vec!["config", "check", "--config", config],
        ] {
            let output = kannuki(&words);
            let said = String::from_utf8(output.stderr).unwrap();
            let expected = if words[0] == "serve" { 64 } else { 1 };
            assert_eq!(output.status.code(), Some(expected), "{said}");
            assert!(said.contains(&format!(" --> {config}:{place}")), "{said}");
            assert!(said.contains(&format!(" | {line}")), "{said}");
        }
    }
    let output = kannuki(&["serve", "-u", "root", "-l", "*", "--exposure", "public"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("--danger-public-without-auth") && said.contains("argument 6"), "{said}");
}

/// Not forbidden, for it may be meant; but said, because it is easily overlooked.
#[test]
fn reading_that_is_limited_while_writing_is_open_is_warned_about() {
    const LIMIT: &str = "[[rule]]\nnetwork = \"10.0.0.7\"\nallow = \"read\"\nkeys = \"a:\"\n";
    const HIDE: &str = "[[rule]]\nnetwork = \"10.0.0.7\"\ndeny = \"read\"\nkeys = \"secret:\"\n";
    let folder = TempDir::new().unwrap();
    let limit = |more: &str| format!("{LIMIT}{more}");
    let words = "every key may still be";
    for (text, warned) in [
        (limit(""), Some("written and deleted")),
        (HIDE.to_owned(), Some("written and deleted")),
        // Of somebody else.
        (
            limit("[[rule]]\nnetwork = \"10.0.0.8\"\ndeny = [\"write\", \"delete\"]\n"),
            Some("written and deleted"),
        ),
        (limit("[[rule]]\nnetwork = \"10.0.0.7\"\ndeny = \"write\"\n"), None),
        (limit("[[rule]]\nanyone = true\ndeny = \"all\"\n"), None),
        (LIMIT.replace("\"read\"", "[\"read\", \"write\", \"delete\"]"), None),
        (LIMIT.replace("\"read\"", "[\"read\", \"delete\"]"), Some("written")),
        // Who may write everything and read nothing is a writer.
        ("[[rule]]\nnetwork = \"10.0.0.7\"\ndeny = \"read\"\n".to_owned(), None),
        (String::new(), None),
    ] {
        let config = settings(folder.path(), &text);
        let output = kannuki(&["config", "check", "--config", config.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        match warned {
            Some(what) => {
                assert!(said.contains(&format!("{words} {what} by")), "{text}{said}");
                assert!(said.contains(&format!("{}:1:1", config.display())), "{said}");
            }
            None => assert!(!said.contains(words), "{text}{said}"),
        }
    }
}
