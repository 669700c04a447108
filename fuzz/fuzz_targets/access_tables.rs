//! The tables of `kannuki.toml`: arbitrary text, read as `[[rule]]` and `[[listener]]`.
//!
//! No text may panic; what was taken can be printed and read again as the same; and whatever the
//! rules, a permit is given exactly where the explanation names no denial, and by a rule or a
//! default that allows it.
#![no_main]
#![forbid(unsafe_code)]

use kannuki_audit::memcached_options::{Reading, Source};
use kannuki_cli::tables::Tables;
use kannuki_server::guard::{
    Action, Because, Effect, Guard, Owner, Peer, Policy, Rules, UserName, action::Read,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(tables) = read(text) else { return };
    let again = read(&tables.page()).expect("what is printed can be read");
    assert_eq!(again.rules.len(), tables.rules.len(), "{}", tables.page());
    assert_eq!(again.listeners.len(), tables.listeners.len(), "{}", tables.page());
    let (Some(first), Some(second)) = (guard(&tables), guard(&again)) else { return };
    for peer in peers() {
        for key in [None, Some(b"a".as_slice()), Some(b"sess:1"), Some(b"x")] {
            let said = first.explain(&peer, Action::Read, key);
            assert_eq!(said, second.explain(&peer, Action::Read, key), "{}", tables.page());
            let access = first.admit(&peer).expect("everybody is admitted here");
            let permitted = first.permit::<Read>(&access, key).map(drop).err();
            assert_eq!(permitted, said.denial);
            let allows = match said.action {
                Some(Because::Rule(at)) => tables.rules[at.index()].rule.effect == Effect::Allow,
                Some(Because::Default(locality)) => locality.may(Action::Read),
                _ => false,
            };
            assert_eq!(allows, said.denial.is_none(), "{said:?}");
        }
    }
});

/// The tables, if the text has no error.
fn read(text: &str) -> Option<Tables> {
    let (mut reading, mut tables) = (Reading::default(), Tables::default());
    let parsed = toml::de::DeTable::parse(text).ok()?;
    let place = |_: usize| Source::Default;
    for (key, value) in parsed.get_ref().iter() {
        tables.take(&mut reading, key.get_ref(), value, &place);
    }
    reading.errors.is_empty().then_some(tables)
}

fn guard(tables: &Tables) -> Option<Guard> {
    let rules = Rules::new(tables.rules.iter().map(|table| table.rule.clone())).ok()?;
    Some(Guard::new(Policy { rules, ..Policy::default() }))
}

fn peers() -> [Peer; 4] {
    let user = UserName::new("app").expect("a name");
    let near = Peer::tcp([10, 0, 0, 7].into());
    [
        near.clone(),
        near.with_user(user),
        Peer::tcp([127, 0, 0, 1].into()),
        Peer::unix(Owner { uid: 7, gid: 7 }),
    ]
}
