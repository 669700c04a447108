//! Tests of the file of users.

use std::io::Write as _;

use argon2::Params;

use super::*;
use crate::auth::verifier::{Argon2id, Work};

fn parse(text: &str) -> Result<Users, UsersError> {
    Users::parse(text.as_bytes(), Format::AuthFile, Key::random().unwrap())
}

fn fault(text: &str) -> (usize, LineFault) {
    match parse(text).unwrap_err() {
        UsersError::Line { line, fault } => (line, fault),
        other => panic!("{other}"),
    }
}

fn check(users: &Users, name: &str, password: &str) -> (Option<String>, Work) {
    let mut bench = Bench::default();
    let found = users.check(name.as_bytes(), password.as_bytes(), &mut bench);
    (found.map(|identity| identity.name.as_str().to_owned()), bench.work)
}

fn cheap_argon2(password: &str) -> String {
    let params = Params::new(16, 2, 1, None).unwrap();
    Argon2id::make(password.as_bytes(), b"0123456789abcdef", params).unwrap().to_string()
}

#[test]
fn lines_are_read_as_memcached_reads_them() {
    let users = parse("app:secret\nbob:a:b c \n#c:x").unwrap();
    assert_eq!(users.count(), 3);
    assert_eq!(check(&users, "app", "secret").0.as_deref(), Some("app"));
    assert_eq!(check(&users, "bob", "a:b c ").0.as_deref(), Some("bob"));
    assert_eq!(check(&users, "#c", "x").0.as_deref(), Some("#c"));
    assert_eq!(users.warnings(), [UsersWarning::LooksLikeComment(3)]);
    for (name, password) in
        [("app", "secret "), ("app", ""), ("", "secret"), ("App", "secret"), ("app\0", "secret")]
    {
        assert_eq!(check(&users, name, password).0, None, "{name}:{password}");
    }
}

#[test]
fn a_password_file_of_sasl_ends_a_password_at_the_colon() {
    let text = format!("app:secret:mechanism\nhash:{}\n", cheap_argon2("x"));
    let users = Users::parse(text.as_bytes(), Format::SaslPwdb, Key::random().unwrap()).unwrap();
    assert!(check(&users, "app", "secret").0.is_some());
    assert!(check(&users, "hash", "x").0.is_some());
}

#[test]
fn errors_tell_the_line_and_never_the_password() {
    assert_eq!(fault("app:secret\nnocolon\n"), (2, LineFault::Shape));
    assert_eq!(fault("app:secret\n\nbob:x\n"), (2, LineFault::Shape));
    assert_eq!(fault("app:secret\r\n"), (1, LineFault::CarriageReturn));
    assert_eq!(fault("app:sec\0ret\n"), (1, LineFault::Nul));
    assert_eq!(fault("app:x\nbob:y\napp:z\n"), (3, LineFault::Twice(1)));
    assert_eq!(fault("app:\n"), (1, LineFault::Password(VerifierError::Empty)));
    assert_eq!(fault(":x\n"), (1, LineFault::Name(kannuki_guard::NameError::Empty)));
    assert!(matches!(parse("").unwrap_err(), UsersError::NoUsers));
    assert!(matches!(parse("\n").unwrap_err(), UsersError::NoUsers));
    for text in ["hunter2", "app:$2y$hunter2", "a\x01:hunter2", "app:SCRAM-SHA-256$hunter2"] {
        let error = parse(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn unknown_names_cost_what_a_known_one_with_a_wrong_password_costs() {
    let salt = b"0123456789abcdef";
    let forms = [
        "app:secret\n".to_owned(),
        format!("app:{}\n", cheap_argon2("secret")),
        format!("app:{}\n", ScramKeys::make(b"secret", salt, 4096)),
    ];
    for form in forms {
        let users = parse(&form).unwrap();
        let (nobody, wrong) = check(&users, "app", "wrong");
        assert_eq!((nobody.is_none(), wrong != Work::default()), (true, true));
        for name in ["nobody", "", "a\nb", "app ", &"x".repeat(5000)] {
            assert_eq!(check(&users, name, "secret"), (None, wrong), "{form}");
        }
        assert_eq!(check(&users, "app", &"x".repeat(5000)), (None, wrong));
    }
}

#[test]
fn where_users_differ_unknown_names_spread_over_all_of_them() {
    let users = parse(&format!("plain:x\nhashed:{}\n", cheap_argon2("x"))).unwrap();
    let of = |name: &str| check(&users, name, "no").1;
    let kinds = [of("plain"), of("hashed")];
    let strangers: Vec<Work> = (0..64).map(|n| of(&format!("stranger{n}"))).collect();
    assert!(strangers.iter().all(|work| kinds.contains(work)));
    assert!(kinds.iter().all(|kind| strangers.contains(kind)));
    assert_eq!(of("stranger1"), of("stranger1"), "and one name always costs the same");
}

#[test]
fn a_password_that_fitted_is_not_hashed_again_and_nothing_else_is_spared() {
    let users = parse(&format!("app:{}\n", cheap_argon2("secret"))).unwrap();
    let (_, full) = check(&users, "app", "wrong");
    assert_eq!(check(&users, "app", "secret"), (Some("app".to_owned()), full));
    assert_eq!(check(&users, "app", "secret"), (Some("app".to_owned()), Work::default()));
    assert_eq!(check(&users, "app", "wrong"), (None, full));
    assert_eq!(check(&users, "nobody", "secret"), (None, full));
    assert_eq!(check(&users, "app", "secret").1, Work::default());
}

#[test]
fn identities_outlive_a_reload_only_if_their_line_does() {
    let key = Key::random().unwrap();
    let load = |text: &str| Users::parse(text.as_bytes(), Format::AuthFile, key.clone()).unwrap();
    let old = load("app:x\nbob:y\n");
    let identity = old.check(b"app", b"x", &mut Bench::default()).unwrap();
    assert!(load("new:z\napp:x\n").still_have(&identity));
    assert!(!load("app:changed\nbob:y\n").still_have(&identity));
    assert!(!load("bob:y\n").still_have(&identity));
}

#[test]
fn a_thousand_users_and_a_bound() {
    let text: String = (0..1000).map(|n| format!("user{n}:secret{n}\n")).collect();
    let users = parse(&text).unwrap();
    for n in 0..1000 {
        assert!(check(&users, &format!("user{n}"), &format!("secret{n}")).0.is_some());
        assert!(check(&users, &format!("user{n}"), &format!("secret{}", n + 1)).0.is_none());
    }
    let many: String = (0..=USERS_MAX).map(|n| format!("u{n}:x\n")).collect();
    assert!(matches!(parse(&many).unwrap_err(), UsersError::TooMany));
}

#[test]
fn files_open_to_others_are_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"app:x\n").unwrap();
    let warnings = |mode| {
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        Users::read(file.path(), Format::AuthFile).unwrap().warnings().to_vec()
    };
    assert_eq!(warnings(0o640), []);
    assert_eq!(warnings(0o644), [UsersWarning::OpenToOthers(0o644)]);
    let missing = Users::read(Path::new("/nonexistent/users"), Format::AuthFile).unwrap_err();
    assert!(missing.to_string().contains("No such file"), "{missing}");
}

proptest::proptest! {
    #[test]
    fn no_file_panics(bytes in proptest::collection::vec(0u8.., 0..200)) {
        for format in [Format::AuthFile, Format::SaslPwdb] {
            let _ = Users::parse(&bytes, format, Key::random().unwrap());
        }
    }
}
