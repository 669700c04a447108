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
