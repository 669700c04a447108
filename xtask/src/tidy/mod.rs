//! Style as a test: what can be checked by reading the tree is checked here, and nowhere by hand.
//!
//! Each rule is a function from what was read to [`Fault`]s; only [`tree`] reads files. The last
//! two steps, rustfmt and clippy, are other programs.

mod arrows;
mod lengths;
mod names;
mod ratchet;
pub(crate) mod source;
mod text;
pub(crate) mod tree;

use anyhow::{Result, bail};

use crate::shell;
use tree::Tree;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    /// The file, relative to the root of the workspace.
    pub(crate) path: String,
    /// Counted from one; zero speaks of the whole file.
    pub(crate) line: usize,
    /// What is wrong, and what to do instead.
    pub(crate) message: String,
}

impl Fault {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// Reads the whole tree, prints every fault, then lets rustfmt and clippy speak.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(&shell::root())?;
    let faults = faults(&tree);
    for fault in &faults {
        println!("{}:{}: {}", fault.path, fault.line, fault.message);
    }
    println!("tidy: {} files read, {} faults", tree.files.len(), faults.len());
    let formatted = shell::run(shell::cargo().args(["fmt", "--all", "--check"]));
    let linted = shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]));
    formatted?;
    linted?;
    if !faults.is_empty() {
        bail!("{} style faults, listed above", faults.len());
    }
    println!("tidy: clean");
    Ok(())
}

/// Every rule over everything that was read, in the order of the tree.
fn faults(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut longs = Vec::new();
    for file in &tree.files {
        names::check_path(file, &mut faults);
        text::check_size(file, &mut faults);
        text::check_script(file, &mut faults);
        if let Some(source) = &file.source {
            text::check(file, source, &mut faults);
            names::check_definitions(file, source, &mut faults);
            longs.extend(lengths::measure(file, source));
        }
        if file.path.ends_with("Cargo.toml") {
            arrows::check(file, &mut faults);
        }
    }
    arrows::check_reasons(tree, &mut faults);
    faults.extend(ratchet::judge(&longs, tree.text_of(ratchet::LIST)));
    faults.sort();
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of one crate file with this text: what every rule together says of it.
    fn messages(path: &str, text: &str) -> Vec<String> {
        let tree = Tree { files: vec![tree::File::of(path, text.as_bytes().to_vec())] };
        faults(&tree).into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn a_clean_file_has_no_fault() {
        assert_eq!(messages("crates/store/src/a.rs", "//! Head.\n\nfn f() {}\n"), [""; 0]);
    }

    #[test]
    fn every_rule_finds_its_own_fault() {
        let head = "//! Head.\n";
        let cases = [
            ("fn f() {}\n".to_owned(), "opens with"),
            (format!("{head}fn f() {{ {} }}\n", "x; ".repeat(40)), "100 columns"),
            (format!("{head}fn f() {{ unsafe {{ g() }} }}\n"), "unsafe belongs to crates/sys"),
            (format!("{head}// {}: later\n", "FIXME"), "unfinished"),
            (format!("{head}fn f() {{ {}!(1); }}\n", "dbg"), "unfinished"),
            (format!("{head}use std::io::*;\n"), "name what is imported"),
            (format!("{head}#[allow(dead_code)]\nfn f() {{}}\n"), "dead code"),
            (format!("{head}#[ignore]\nfn f() {{}}\n"), "runs or goes"),
            (format!("{head}const C: char = '\u{e9}';\n"), "ASCII"),
            (format!("{head}struct PoolManager;\n"), "say what it does"),
            (format!("{head}fn f() {{\n{}}}\n", "    x();\n".repeat(70)), "72 lines"),
            (format!("{head}{}", "fn f() {}\n".repeat(800)), "801 lines"),
        ];
        for (text, expected) in cases {
            let found = messages("crates/store/src/a.rs", &text);
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].contains(expected), "{expected}: {found:?}");
        }
    }

    #[test]
    fn scripts_keep_to_the_width_too() {
        assert_eq!(messages("tests/clients/a.py", &"x".repeat(101)).len(), 1);
        assert_eq!(messages("tests/clients/a.py", &"x".repeat(100)).len(), 0);
    }

    #[test]
    fn strings_comments_and_tests_are_not_code() {
        let text = "//! Head: unsafe is for others.\n\nconst S: &str = \"unsafe { dbg!(1) }\";\n\n\
                    #[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
        assert_eq!(messages("crates/store/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn a_crate_root_forbids_unsafe_code_except_in_sys() {
        assert!(messages("crates/store/src/lib.rs", "//! Head.\n")[0].contains("forbid(unsafe"));
        assert_eq!(messages("crates/sys/src/lib.rs", "//! Head.\n"), [""; 0]);
    }

    #[test]
    fn unsafe_in_sys_is_argued() {
        let bare = "//! Head.\n\nfn f() {\n    unsafe { g() }\n}\n";
        assert!(messages("crates/sys/src/a.rs", bare)[0].contains("SAFETY"));
        let argued = "//! Head.\n\nfn f() {\n    // SAFETY: g has no preconditions.\n    \
                      unsafe { g() }\n}\n";
        assert_eq!(messages("crates/sys/src/a.rs", argued), [""; 0]);
    }

    #[test]
    fn the_tree_this_was_built_from_can_be_read() {
        let tree = Tree::read(&shell::root()).unwrap();
        assert!(tree.files.iter().any(|file| file.path == "xtask/src/tidy/mod.rs"));
        assert!(!tree.files.iter().any(|file| file.path.starts_with("target/")));
    }
}
