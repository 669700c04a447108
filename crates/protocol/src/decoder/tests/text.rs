//! Classic data commands.

use super::*;

const K: &[u8] = b"k";

fn set() -> Set<'static> {
    Set {
        key: key(K),
        mode: SetMode::Set,
        compare: None,
        flags: 7,
        exptime: Exptime::In(60),
        data_len: 0,
        noreply: false,
    }
}

/// The command of a storage line whose block is empty.
fn stored(line: &str) -> Set<'static> {
    let stream = format!("{line}\r\n\r\n").leak();
    match events(Dialect::Auto, stream.as_bytes()).0.as_slice() {
        [Event::Command(Command::Set(set)), Event::Data { piece: [], last: true }] => *set,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn storage_commands() {
    assert_eq!(stored("set k 7 60 0"), set());
    assert_eq!(stored("add k 7 60 0"), Set { mode: SetMode::Add, ..set() });
    assert_eq!(stored("replace k 7 60 0"), Set { mode: SetMode::Replace, ..set() });
    assert_eq!(stored("append k 7 60 0"), Set { mode: SetMode::Append, ..set() });
    assert_eq!(stored("prepend k 7 60 0"), Set { mode: SetMode::Prepend, ..set() });
    assert_eq!(stored("cas k 7 60 0 9"), Set { compare: Some(9), ..set() });
    assert_eq!(stored("set  k   7 60 0  "), set());
    assert_eq!(stored("set k +7 +60 0"), set());
    assert_eq!(stored("set k 7 60 0 junk"), set());
}

#[test]
fn noreply_is_exactly_the_last_token() {
    let quiet = Set { noreply: true, ..set() };
    assert_eq!(stored("set k 7 60 0 noreply"), quiet);
    assert_eq!(stored("set k 7 60 0 junk noreply "), quiet);
    assert_eq!(stored("set k 7 60 0 noreply x"), set());
    assert_eq!(stored("set k 7 60 0 Noreply"), set());
    assert_eq!(stored("cas k 7 60 0 9 noreply"), Set { compare: Some(9), ..quiet });
    assert_eq!(stored("set noreply 7 60 0").key, key(b"noreply"));
}

#[test]
fn numbers_of_storage_commands() {
    let flags = |text: &str| stored(&format!("set k {text} 0 0")).flags;
    assert_eq!((flags("4294967295"), flags("0"), flags("007")), (u32::MAX, 0, 7));
    let exptime = |text: &str| stored(&format!("set k 0 {text} 0")).exptime;
    assert_eq!(exptime("0"), Exptime::Never);
    assert_eq!(exptime("-1"), Exptime::Passed);
    assert_eq!(exptime("2592000"), Exptime::In(2_592_000));
    assert_eq!(exptime("2592001"), Exptime::At(2_592_001));
    assert_eq!(exptime("2147483647"), Exptime::At(i32::MAX.unsigned_abs()));
    for bad in ["4294967296", "-1", "x", "1x", "+"] {
        refused(format!("set k {bad} 0 1\r\na\r\n").as_bytes(), Fault::BadNumber);
    }
    for bad in ["4294967296", "2147483648", "x", "-"] {
        refused(format!("set k 0 {bad} 1\r\na\r\n").as_bytes(), Fault::BadNumber);
        refused_silently(format!("set k 0 {bad} 1 noreply\r\na\r\n").as_bytes(), Fault::BadNumber);
    }
    for bad in ["x", "-1", "+1", "18446744073709551616"] {
        refused(format!("cas k 0 0 1 {bad}\r\na\r\n").as_bytes(), Fault::BadNumber);
    }
    refused_silently(b"cas k 0 0 1 noreply\r\na\r\n", Fault::BadNumber);
    refused(b"cas k 0 0 1\r\na\r\n", Fault::MissingArgument);
}

#[test]
fn a_block_of_unknown_length_closes() {
    for bad in ["x", "-1", "-", "+1", "2147483646", "4294967296", "noreply"] {
        closed(format!("set k 0 0 {bad}\r\n").as_bytes(), Fault::BadLength);
        closed(format!("cas k 0 0 {bad} 1 noreply\r\n").as_bytes(), Fault::BadLength);
    }
    for short in ["set", "set k", "set k 0", "set k 0 0", "set  0 0 1", "append k 0 0"] {
        closed(format!("{short}\r\nflush_all\r\n").as_bytes(), Fault::BadLength);
    }
    let largest = b"set k 0 0 2147483645\r\n";
    assert_eq!(command(largest).data_len(), Some(limits::DATA_BYTES_MAX));
}

#[test]
fn a_refused_block_is_swallowed() {
    refused(&[b"set ", &long_key()[..], b" 0 0 9\r\nflush_all\r\n"].concat(), Fault::KeyTooLong);
    refused_silently(b"set k x 0 9 noreply\r\nflush_all\r\n", Fault::BadNumber);
    // Of the wrong length, it takes the rest of its line along, and is not answered twice.
    refused(b"set k x 0 3\r\nflush_all\r\n", Fault::BadNumber);
    refused(b"set k x 0 10\r\nflush_all\r\n", Fault::BadNumber);
}

#[test]
fn retrieval() {
    let get = |keys| Get { touch: None, with_cas: false, keys: Keys::new(keys) };
    assert_eq!(command(b"get a\r\n"), Command::Get(get(b"a")));
    assert_eq!(command(b"get a  b \r\n"), Command::Get(get(b"a  b")));
    assert_eq!(command(b"gets a\n"), Command::Get(Get { with_cas: true, ..get(b"a") }));
    let touch = Some(Exptime::In(10));
    assert_eq!(command(b"gat 10 a b\r\n"), Command::Get(Get { touch, ..get(b"a b") }));
    let touch = Some(Exptime::Passed);
    let gats = Get { touch, with_cas: true, ..get(b"a") };
    assert_eq!(command(b"gats -1 a\r\n"), Command::Get(gats));
    // Retrieval has no noreply: it is a key.
    assert_eq!(command(b"get a noreply\r\n"), Command::Get(get(b"a noreply")));
    assert_eq!(command(b"get / HTTP/1.1\r\n"), Command::Get(get(b"/ HTTP/1.1")));
}

#[test]
fn keys_come_one_by_one_and_can_be_resumed() {
    let Command::Get(get) = command(b"get a  bb ccc\r\n") else { panic!() };
    let mut keys = get.keys;
    assert_eq!(keys.next(), Key::new(b"a"));
    let mut later = Keys::new(keys.rest());
    assert_eq!(later.next(), Key::new(b"bb"));
    assert_eq!(later.next(), Key::new(b"ccc"));
    assert_eq!(later.next(), None);
}

#[test]
fn keys_hold_any_byte_but_blank_and_newline() {
    let Command::Get(get) = command(b"get a\tb\0\x01\xff\rc \r\n") else { panic!() };
    assert_eq!(get.keys.map(Key::as_bytes).collect::<Vec<_>>(), [b"a\tb\0\x01\xff\rc"]);
}

#[test]
fn retrieval_refused() {
    for line in ["get", "get ", "gets", "gat", "gat 1", "gat x", "gats 1 "] {
        refused(format!("{line}\r\n").as_bytes(), Fault::MissingArgument);
    }
    for bad in ["x", "+1", "2147483648", "-"] {
        refused(format!("gat {bad} k\r\n").as_bytes(), Fault::BadExptime);
    }
    let longest = [b"get a ", &[b'k'; 250][..], b" b\r\n"].concat();
    assert!(matches!(command(&longest), Command::Get(_)));
    // One over-long key spoils the whole line, and is answered once.
    refused(&[b"get a ", &long_key()[..], b" b\r\n"].concat(), Fault::KeyTooLong);
    refused(&[b"gat 1 ", &long_key()[..], b"\r\n"].concat(), Fault::KeyTooLong);
}

#[test]
fn deletion() {
    let delete = |noreply| Command::Delete(Delete { key: key(K), noreply });
    assert_eq!(command(b"delete k\r\n"), delete(false));
    assert_eq!(command(b"delete k 0\r\n"), delete(false));
    assert_eq!(command(b"delete k 0 noreply\r\n"), delete(true));
    assert_eq!(command(b"delete k a b c\r\n"), delete(false));
    refused(b"delete k a b c d\r\n", Fault::TooManyArguments);
    let odd = Command::Delete(Delete { key: key(b"noreply"), noreply: false });
    assert_eq!(command(b"delete noreply\r\n"), odd);
    refused(b"delete\r\n", Fault::MissingArgument);
    refused(&[b"delete ", &long_key()[..], b"\r\n"].concat(), Fault::KeyTooLong);
    refused_silently(&[b"delete ", &long_key()[..], b" noreply\r\n"].concat(), Fault::KeyTooLong);
}

#[test]
fn arithmetic() {
    let incr =
        Arithmetic { key: key(K), direction: Direction::Increment, delta: 5, noreply: false };
    assert_eq!(command(b"incr k 5\r\n"), Command::Arithmetic(incr));
    assert_eq!(command(b"incr k 5 junk\r\n"), Command::Arithmetic(incr));
    let decr =
        Arithmetic { direction: Direction::Decrement, delta: u64::MAX, noreply: true, ..incr };
    assert_eq!(command(b"decr k 18446744073709551615 noreply\r\n"), Command::Arithmetic(decr));
    for bad in ["-1", "+1", "x", "18446744073709551616"] {
        refused(format!("incr k {bad}\r\n").as_bytes(), Fault::BadDelta);
        refused_silently(format!("decr k {bad} noreply\r\n").as_bytes(), Fault::BadDelta);
    }
    refused_silently(b"incr k noreply\r\n", Fault::BadDelta);
    refused(b"incr k\r\n", Fault::MissingArgument);
    refused(b"incr\r\n", Fault::MissingArgument);
    refused(&[b"incr ", &long_key()[..], b" x\r\n"].concat(), Fault::KeyTooLong);
}

#[test]
fn touching() {
    let touch = Touch { key: key(K), exptime: Exptime::Never, noreply: false };
    assert_eq!(command(b"touch k 0\r\n"), Command::Touch(touch));
    let quiet = Touch { exptime: Exptime::In(1), noreply: true, ..touch };
    assert_eq!(command(b"touch k 1 noreply\r\n"), Command::Touch(quiet));
    refused(b"touch k x\r\n", Fault::BadExptime);
    refused_silently(b"touch k noreply\r\n", Fault::BadExptime);
    refused(b"touch k\r\n", Fault::MissingArgument);
}

#[test]
fn unknown_commands() {
    for line in ["abc", "    ", " get a", "GET a", "foo noreply x", "noreply", "\tget a", "mx k"] {
        refused(format!("{line}\r\n").as_bytes(), Fault::UnknownCommand);
    }
    refused_silently(b"foo noreply\r\n", Fault::UnknownCommand);
    refused(b"abc\n", Fault::UnknownCommand);
    for line in ["\r\n", "\n", "a\r\n", "ab\n"] {
        refused(line.as_bytes(), Fault::LineTooShort);
    }
}

#[test]
fn http_closes_without_a_word() {
    for line in ["GET / HTTP/1.1", "POST / HTTP/1.0 ", "foo HTTP/", "HTTP/2"] {
        closed(format!("{line}\r\nHost: x\r\n").as_bytes(), Fault::HttpRequest);
    }
    assert_eq!(Fault::HttpRequest.text(), "");
    refused(b"foo HTTP/1.1 x\r\n", Fault::UnknownCommand);
}
