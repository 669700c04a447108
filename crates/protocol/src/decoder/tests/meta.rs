//! Meta commands.

use super::*;
use crate::meta::{Meta, MetaVerb, Return};

fn meta(line: &str) -> Meta<'static> {
    let stream = format!("{line}\r\n").leak();
    match events(Dialect::Auto, stream.as_bytes()).0.as_slice() {
        [Event::Command(Command::Meta(meta))] => *meta,
        other => panic!("{line}: {other:?}"),
    }
}

#[track_caller]
fn line_refused(line: &str, fault: Fault) {
    refused(format!("{line}\r\n").as_bytes(), fault);
}

/// Refused, and its block of five bytes swallowed.
#[track_caller]
fn set_refused(flags: &str, fault: Fault) {
    refused(format!("ms k 5 {flags}\r\nmn\r\nx\r\n").as_bytes(), fault);
}

#[test]
fn verbs() {
    assert_eq!(meta("mn").verb, MetaVerb::Noop);
    assert_eq!(meta("mn x y").key, None);
    assert!(matches!(command(b"mn\n"), Command::Meta(_)));
    assert_eq!(meta("mg k").verb, MetaVerb::Get);
    assert_eq!(meta("md k").verb, MetaVerb::Delete);
    assert_eq!(meta("ma k").verb, MetaVerb::Arithmetic(Direction::Increment));
    assert_eq!(meta("me k junk").verb, MetaVerb::Debug);
    assert_eq!(meta("ms k 5").verb, MetaVerb::Set { mode: SetMode::Set, data_len: 5 });
    assert_eq!(meta("mg k").key.map(|key| key.sent()), Some(&b"k"[..]));
}

#[test]
fn modes() {
    for (mode, expected) in [
        ("MA", SetMode::Append),
        ("MEx", SetMode::Add),
        ("MP", SetMode::Prepend),
        ("MR", SetMode::Replace),
        ("MS", SetMode::Set),
    ] {
        let verb = MetaVerb::Set { mode: expected, data_len: 0 };
        assert_eq!(meta(&format!("ms k 0 {mode}")).verb, verb);
    }
    for (mode, expected) in [
        ("MI", Direction::Increment),
        ("M+", Direction::Increment),
        ("MD", Direction::Decrement),
        ("M-", Direction::Decrement),
    ] {
        assert_eq!(meta(&format!("ma k {mode}")).verb, MetaVerb::Arithmetic(expected));
    }
    for bad in ["M", "Ms", "MX", "MI"] {
        set_refused(bad, Fault::MetaBadSetMode);
    }
    for bad in ["M", "Mi", "MS"] {
        line_refused(&format!("ma k {bad}"), Fault::MetaBadArithmeticMode);
    }
    // Without effect elsewhere.
    assert_eq!(meta("mg k MX").verb, MetaVerb::Get);
}

#[test]
fn flags() {
    let flags = meta("mg k q Oreq7 C41 E42 T30 N-1 R-5 v u x I P1 Lx").flags;
    assert!(flags.quiet && flags.value && flags.no_bump && flags.remove_value);
    assert!(flags.invalidate);
    assert_eq!(flags.opaque, Some(&b"req7"[..]));
    assert_eq!((flags.compare, flags.new_cas), (Some(41), Some(42)));
    assert_eq!((flags.ttl, flags.vivify), (Some(Exptime::In(30)), Some(Exptime::Passed)));
    assert_eq!(flags.recache_below_secs, Some(-5));
    let flags = meta("ma k J5 D18446744073709551615 F4294967295 N0").flags;
    assert_eq!((flags.initial, flags.delta), (Some(5), Some(u64::MAX)));
    assert_eq!((flags.client_flags, flags.vivify), (Some(u32::MAX), Some(Exptime::Never)));
}

#[test]
fn order_of_ttl_and_its_return() {
    assert!(meta("mg k T60 t").flags.ttl_before_return);
    assert!(!meta("mg k t T60").flags.ttl_before_return);
    assert!(!meta("mg k t").flags.ttl_before_return);
}

#[test]
fn a_cas_of_zero() {
    assert_eq!(meta("mg k C0").flags.compare, Some(0));
    assert_eq!(meta("ma k C0").flags.compare, None);
}

#[test]
fn returns_come_in_request_order() {
    let returns: Vec<_> = meta("mg k t v  s f k Oab q c h l u").flags.returns().collect();
    let expected = [
        Return::Ttl,
        Return::Size,
        Return::ClientFlags,
        Return::Key,
        Return::Opaque(b"ab"),
        Return::Cas,
        Return::Fetched,
        Return::LastAccess,
    ];
    assert_eq!(returns, expected);
}

#[test]
fn base64_keys() {
    let raw = |line: &str| {
        let key = meta(line).key.unwrap();
        let mut room = [0; 250];
        (key.is_base64(), key.raw(&mut room).map(|raw| raw.as_bytes().to_vec()))
    };
    assert_eq!(raw("mg YWJj b"), (true, Some(b"abc".to_vec())));
    assert_eq!(raw("mg YWJj"), (false, Some(b"YWJj".to_vec())));
    // memcached looks at `b` only before another token; here it counts wherever it stands.
    assert_eq!(raw("me YWJj b"), (true, Some(b"abc".to_vec())));
    assert_eq!(raw("me YWJj q b"), (true, Some(b"abc".to_vec())));
    line_refused("mg abc b", Fault::MetaBadBase64);
    line_refused("md !!! b k", Fault::MetaBadBase64);
    line_refused("ma abc b", Fault::MetaArithmeticFlags);
    line_refused("me abc b", Fault::MetaDebugBadBase64);
    refused(b"ms abc 1 b\r\nx\r\n", Fault::MetaBadBase64);
    let longest = format!("mg {}== b", "A".repeat(246));
    assert!(meta(&longest).key.is_some());
}

#[test]
fn refused_before_the_flags() {
    for line in ["mg", "mg ", "md", "ma", "me"] {
        line_refused(line, Fault::MissingArgument);
    }
    let long = "k".repeat(251);
    line_refused(&format!("mg {long}"), Fault::KeyTooLong);
    line_refused(&format!("me {long}"), Fault::KeyTooLong);
    line_refused(&format!("ma {long}"), Fault::MetaArithmeticKeyTooLong);
    refused(format!("ms {long} 1\r\nx\r\n").as_bytes(), Fault::KeyTooLong);
    for byte in ["!", "@", "{", "\u{ff}", "="] {
        line_refused(&format!("mg k v v {byte}"), Fault::MetaFlagByte);
        set_refused(byte, Fault::MetaFlagByte);
    }
    for line in ["ms", "ms k", "ms k x", "ms k -1", "ms k S5", "ms k 2147483646"] {
        closed(format!("{line}\r\n").as_bytes(), Fault::BadLength);
    }
}

#[test]
fn twenty_tokens_are_the_most() {
    let flags = "c f h k l s q t u v x I P1 L2 C1 E1 T1 N1";
    assert_eq!(flags.split(' ').count(), 18);
    assert_eq!(meta(&format!("mg k {flags}")).verb, MetaVerb::Get);
    line_refused(&format!("mg k {flags} R1"), Fault::MetaTooManyTokens);
    line_refused(&format!("ma k {flags} R1"), Fault::MetaTooManyTokens);
    set_refused(flags, Fault::MetaTooManyTokens);
    assert!(meta(&format!("ms k 5 {}", &flags[..flags.len() - 3])).flags.ttl.is_some());
}

#[test]
fn bad_flags() {
    line_refused("mg k v v", Fault::MetaDuplicateFlag);
    line_refused("mg k O1 O2", Fault::MetaDuplicateFlag);
    for unknown in ["S5", "5", "[", "a", "noreply", "_"] {
        line_refused(&format!("mg k {unknown}"), Fault::MetaUnknownFlag);
    }
    for bad in ["N", "T", "R", "C", "E", "Nx", "T+5", "T-", "T2147483648", "C-1", "Ex"] {
        line_refused(&format!("mg k {bad}"), Fault::MetaBadToken);
    }
    for bad in ["F", "F-1", "F4294967296"] {
        set_refused(bad, Fault::MetaBadClientFlags);
    }
    line_refused("mg k Jx", Fault::MetaBadInitial);
    line_refused("md k D", Fault::MetaBadDelta);
    let opaque = "o".repeat(32);
    line_refused(&format!("mg k O{opaque}"), Fault::MetaOpaqueTooLong);
    line_refused(&format!("ma k O{opaque}"), Fault::MetaOpaqueTooLong);
    assert!(meta(&format!("mg k O{}", &opaque[1..])).flags.opaque.is_some());
    assert_eq!(meta("mg k O").flags.opaque, Some(&b""[..]));
    // An argument behind a letter that takes none does not matter.
    assert!(meta("mg k vv k1").flags.value);
}

#[test]
fn which_fault_is_told() {
    line_refused("mg k Nx Jx", Fault::MetaBadInitial);
    line_refused("mg k Jx Nx", Fault::MetaBadToken);
    line_refused("mg k Nx v v", Fault::MetaDuplicateFlag);
    line_refused("mg k Nx a Jx", Fault::MetaUnknownFlag);
    for bad in ["v v", "S5", "Nx", "Jx", "Dx", "Fx"] {
        line_refused(&format!("ma k {bad}"), Fault::MetaArithmeticFlags);
    }
}
