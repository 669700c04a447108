//! The decisions as a whole: doors, switches, rules, defaults, epochs.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::action::{Admin, Delete, Dump, Flush, Read, Shutdown, Stats, Watch, Write};
use crate::{
    AccessList, ActionSet, AddressClass, Because, CertificateNames, Effect, Exposure, KeyPrefixes,
    Keys, Locality, NetworkList, Owner, Rule, Rules, Strangers, UserName, Who,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn unix(uid: u32) -> Peer {
    Peer::unix(Owner { uid, gid: 100 })
}

fn networks(list: &[&str]) -> NetworkList {
    NetworkList::new(list.iter().map(|text| text.parse().unwrap())).unwrap()
}

fn allowing(list: &[&str]) -> AccessList {
    AccessList::new(list.iter().map(|text| text.parse().unwrap()), []).unwrap()
}

fn denying(list: &[&str]) -> AccessList {
    AccessList::new([], list.iter().map(|text| text.parse().unwrap())).unwrap()
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn certificate(name: &str) -> CertificateNames {
    CertificateNames::new([name.parse().unwrap()]).unwrap()
}

fn keys(prefixes: &[&str]) -> Keys {
    let prefixes = prefixes.iter().map(|prefix| prefix.as_bytes());
    Keys::Beginning(KeyPrefixes::new(prefixes).unwrap())
}

fn rule(who: Who, effect: Effect, actions: &[Action], keys: Keys) -> Rule {
    Rule { who, actions: actions.iter().copied().collect(), keys, effect }
}

fn ruled(rules: impl IntoIterator<Item = Rule>) -> Guard {
    Guard::new(Policy { rules: Rules::new(rules).unwrap(), ..Policy::default() })
}

/// `permit` of an action known only at run time.
fn decide(
    guard: &Guard,
    access: &Access,
    action: Action,
    key: Option<&[u8]>,
) -> Result<(), Denial> {
    match action {
        Action::Read => guard.permit::<Read>(access, key).map(drop),
        Action::Write => guard.permit::<Write>(access, key).map(drop),
        Action::Delete => guard.permit::<Delete>(access, key).map(drop),
        Action::Flush => guard.permit::<Flush>(access, key).map(drop),
        Action::Stats => guard.permit::<Stats>(access, key).map(drop),
        Action::Dump => guard.permit::<Dump>(access, key).map(drop),
        Action::Watch => guard.permit::<Watch>(access, key).map(drop),
        Action::Admin => guard.permit::<Admin>(access, key).map(drop),
        Action::Shutdown => guard.permit::<Shutdown>(access, key).map(drop),
    }
}

const RULE_DENIED: Denial = Denial::new(Response::AccessDenied, Reason::RuleDenied);
const REMOTE: Denial = Denial::new(Response::AccessDenied, Reason::RemoteDefault);

#[test]
fn a_local_peer_may_what_memcached_lets_it() {
    let guard = Guard::new(Policy::default());
    for peer in [Peer::tcp(ip("127.0.0.1")), Peer::udp(ip("::1")), unix(1000)] {
        let access = guard.admit(&peer).unwrap();
        for action in Action::ALL {
            let answer = decide(&guard, &access, action, Some(b"k"));
            if action == Action::Shutdown {
                let denial = Denial::new(Response::ShutdownNotEnabled, Reason::ShutdownDisabled);
                assert_eq!(answer, Err(denial));
            } else {
                assert_eq!(answer, Ok(()), "{action}");
            }
        }
    }
    let access = guard.admit(&unix(1)).unwrap();
    let permit = guard.permit::<Read>(&access, Some(b"k")).unwrap();
    assert_eq!((permit.key(), permit.action()), (Some(b"k".as_slice()), Action::Read));
}

#[test]
fn a_remote_peer_may_not_touch_the_cache_as_a_whole() {
    let guard = Guard::new(Policy { shutdown: true, ..Policy::default() });
    let proxied = Guard::new(Policy { proxied_loopback: true, ..guard.policy().clone() });
    for (guard, peer) in [
        (&guard, Peer::tcp(ip("10.0.0.1"))),
        (&guard, Peer::udp(ip("fe80::1"))),
        (&guard, Peer::proxied(ip("10.0.0.1"))),
        (&proxied, Peer::proxied(ip("192.168.0.1"))),
    ] {
        let access = guard.admit(&peer).unwrap();
        for action in Action::ALL {
            let items =
                [Action::Read, Action::Write, Action::Delete, Action::Stats].contains(&action);
            let expected = if items { Ok(()) } else { Err(REMOTE) };
            assert_eq!(decide(guard, &access, action, Some(b"k")), expected, "{peer} {action}");
        }
    }
    let allowed = ruled([rule(Who::anyone(), Effect::Allow, &[Action::Flush], Keys::Every)]);
    let access = allowed.admit(&Peer::tcp(ip("10.0.0.1"))).unwrap();
    assert!(allowed.permit::<Flush>(&access, None).is_ok(), "a rule widens the default");
}

#[test]
fn a_proxy_s_word_for_loopback_counts_only_where_it_is_said_to() {
    let said = Peer::proxied(ip("::ffff:127.0.0.1"));
    for exposure in Exposure::ALL {
        let wide = Policy {
            exposure,
            strangers: Strangers::Anyone,
            networks: allowing(&["127.0.0.0/8"]),
            ..Policy::default()
        };
        let denial = Guard::new(wide.clone()).admit(&said).unwrap_err();
        assert_eq!(denial, Denial::new(Response::Close, Reason::ProxiedLoopback));
        let believing = Guard::new(Policy { proxied_loopback: true, ..wide });
        let access = believing.admit(&said).unwrap();
        assert!(believing.permit::<Flush>(&access, None).is_ok(), "it counts as local");
    }
}

#[test]
fn switches_refuse_in_memcached_s_words() {
    let guard = Guard::new(Policy {
        flush: false,
        dump: false,
        watch: false,
        shutdown: true,
        ..Policy::default()
    });
    let access = guard.admit(&unix(1000)).unwrap();
    let refused: Vec<_> = Action::ALL
        .into_iter()
        .filter_map(|action| Some((action, decide(&guard, &access, action, None).err()?)))
        .collect();
    assert_eq!(
        refused,
        [
            (Action::Flush, Denial::new(Response::FlushNotAllowed, Reason::FlushDisabled)),
            (Action::Dump, Denial::new(Response::DumpNotAllowed, Reason::DumpDisabled)),
            (Action::Watch, Denial::new(Response::WatchNotAllowed, Reason::WatchDisabled)),
        ]
    );
}

#[test]
fn lists_count_more_than_the_exposure_and_the_longest_most() {
    let policy = Policy {
        exposure: Exposure::Private,
        networks: AccessList::new(
            ["203.0.113.0/24".parse().unwrap(), "10.6.0.7".parse().unwrap()],
            ["10.6.0.0/16".parse().unwrap(), "203.0.113.66".parse().unwrap()],
        )
        .unwrap(),
        listeners: Box::new([
            crate::ListenerTerms {
                exposure: Some(Exposure::Loopback),
                networks: allowing(&["10.6.0.0/16", "10.7.0.0/16"]),
                ..Default::default()
            },
            crate::ListenerTerms { networks: denying(&["10.6.0.0/15"]), ..Default::default() },
        ]),
        ..Policy::default()
    };
    let guard = Guard::new(policy);
    let at = |address: &str, listener| {
        let peer = Peer::tcp(ip(address)).at(crate::ListenerId(listener));
        guard.admit(&peer).map(drop).map_err(|denial| denial.reason)
    };
    let (denied, outside) = (Err(Reason::PeerDenied), Err(Reason::PeerNotAllowed));
    // No terms of its own: the lists of all, then the exposure.
    assert_eq!(at("203.0.113.7", 9), Ok(()));
    assert_eq!(at("203.0.113.66", 9), denied);
    assert_eq!(at("10.6.1.1", 9), denied);
    assert_eq!(at("10.6.0.7", 9), Ok(()));
    assert_eq!(at("10.7.0.1", 9), Ok(()));
    assert_eq!(at("198.51.100.1", 9), outside);
    // An equal network of the listener's own counts more, a longer one of all counts most.
    assert_eq!(at("10.6.1.1", 0), Ok(()));
    assert_eq!(at("203.0.113.66", 0), denied);
    assert_eq!(at("10.8.0.1", 0), outside, "its own exposure is narrower");
    assert_eq!(at("10.7.0.1", 1), denied);
    assert_eq!(at("10.6.0.7", 1), Ok(()));
}

#[test]
fn a_refused_peer_is_closed_or_dropped() {
    let guard = Guard::new(Policy::default());
    let refused = |peer: Peer| guard.admit(&peer).unwrap_err();
    let stranger = ip("203.0.113.7");
    let close = Denial::new(Response::Close, Reason::PeerNotAllowed);
    assert_eq!(refused(Peer::tcp(stranger)), close);
    assert_eq!(refused(Peer::tcp(ip("::ffff:203.0.113.7"))), close);
    assert_eq!(refused(Peer::udp(stranger)), Denial::new(Response::Drop, Reason::PeerNotAllowed));
    let narrow = Policy { exposure: Exposure::Loopback, ..Policy::default() };
    assert!(Guard::new(narrow).admit(&unix(0)).is_ok());
}

#[test]
fn where_a_login_is_required_nobody_does_anything_before() {
    let guard = Guard::new(Policy { login_required: true, ..Policy::default() });
    let denied = Denial::new(Response::Unauthenticated, Reason::Unauthenticated);
    for peer in [Peer::tcp(ip("127.0.0.1")), unix(0), Peer::tcp(ip("10.0.0.1")).over_tls()] {
        for peer in [peer.clone(), peer.clone().with_certificate(certificate("cn:app"))] {
            let access = guard.admit(&peer).unwrap();
            for action in Action::ALL {
                assert_eq!(decide(&guard, &access, action, Some(b"k")), Err(denied), "{action}");
            }
        }
        let access = guard.admit(&peer.with_user(user("app"))).unwrap();
        assert!(guard.permit::<Read>(&access, Some(b"k")).is_ok());
        let access = guard.admit(&access.peer().clone().without_user()).unwrap();
        assert_eq!(guard.permit::<Read>(&access, Some(b"k")).unwrap_err(), denied);
    }
}

#[test]
fn proxies_are_listed_and_nobody_else_may_come_there() {
    let policy = Policy { proxies: networks(&["10.0.0.2"]), ..Policy::default() };
    let guard = Guard::new(policy);
    assert_eq!(guard.admit_proxy(&Peer::tcp(ip("::ffff:10.0.0.2"))), Ok(()));
    let denial = Denial::new(Response::Close, Reason::ProxyNotListed);
    for peer in [Peer::tcp(ip("127.0.0.1")), Peer::tcp(ip("10.0.0.3")), unix(0)] {
        assert_eq!(guard.admit_proxy(&peer), Err(denial), "{peer}");
    }
    let none = Guard::new(Policy::default());
    assert_eq!(none.admit_proxy(&Peer::tcp(ip("10.0.0.2"))), Err(denial));
}

#[test]
fn the_first_rule_that_names_peer_action_and_key_decides() {
    let app = || Who::anyone().logged_in_as([user("app")]).unwrap();
    let guard = ruled([
        rule(Who::anyone(), Effect::Deny, &[Action::Read], keys(&["secret:"])),
        rule(app(), Effect::Allow, &[Action::Read, Action::Write], keys(&["sess:"])),
        rule(app(), Effect::Allow, &[Action::Read], keys(&["secret:app:", "page:"])),
        rule(app(), Effect::Deny, &[Action::Delete], Keys::Every),
    ]);
    let peer = Peer::tcp(ip("10.0.0.1"));
    let app = peer.clone().with_user(user("app"));
    let why = |peer: &Peer, action, key: &[u8]| {
        let explanation = guard.explain(peer, action, Some(key));
        let access = guard.admit(peer).unwrap();
        let answer = decide(&guard, &access, action, Some(key));
        assert_eq!(answer.err(), explanation.denial, "one decision");
        (explanation.denial.is_none(), explanation.action.unwrap())
    };
    let by = |position| Because::Rule(RulePosition(position));
    assert_eq!(why(&app, Action::Read, b"sess:1"), (true, by(1)));
    assert_eq!(why(&app, Action::Read, b"page:1"), (true, by(2)), "later rules add keys");
    assert_eq!(why(&app, Action::Read, b"secret:app:1"), (false, by(0)), "the first decides");
    let beyond = Because::BeyondKeys(RulePosition(1));
    assert_eq!(why(&app, Action::Read, b"other"), (false, beyond), "an allowance is a limit");
    assert_eq!(why(&app, Action::Write, b"page:1"), (false, beyond));
    assert_eq!(why(&app, Action::Delete, b"sess:1"), (false, by(3)));
    let remote = Because::Default(Locality::Remote);
    assert_eq!(why(&peer, Action::Read, b"other"), (true, remote), "a denial is no limit");
    assert_eq!(why(&peer, Action::Read, b"secret:1"), (false, by(0)));
    assert_eq!(why(&peer, Action::Flush, b""), (false, remote));
}

#[test]
fn what_concerns_all_keys_is_more_than_some_and_touches_the_forbidden() {
    let all = || ActionSet::ALL;
    let some = |who, effect| Rule { who, actions: all(), keys: keys(&["a:"]), effect };
    let guard = ruled([
        some(Who::anyone().run_by([1]).unwrap(), Effect::Allow),
        some(Who::anyone().run_by([2]).unwrap(), Effect::Deny),
    ]);
    for uid in [1, 2] {
        let access = guard.admit(&unix(uid)).unwrap();
        for action in [Action::Flush, Action::Dump, Action::Stats, Action::Watch, Action::Admin] {
            assert_eq!(decide(&guard, &access, action, None), Err(RULE_DENIED), "{uid} {action}");
        }
        let own = guard.permit::<Read>(&access, Some(b"a:1")).is_ok();
        let other = guard.permit::<Read>(&access, Some(b"b:1")).is_ok();
        assert_eq!((own, other), (uid == 1, uid == 2));
    }
    assert_eq!(RULE_DENIED.as_miss(), Denial::new(Response::Miss, Reason::RuleDenied));
}

#[test]
fn no_rule_undoes_a_switch() {
    let owner = Who::anyone().run_by([1000]).unwrap();
    let rules = [rule(owner, Effect::Allow, &[Action::Flush], Keys::Every)];
    let guard =
        Guard::new(Policy { flush: false, rules: Rules::new(rules).unwrap(), ..Policy::default() });
    let access = guard.admit(&unix(1000)).unwrap();
    assert_eq!(guard.permit::<Flush>(&access, None).unwrap_err().reason, Reason::FlushDisabled);
}

#[test]
fn an_outdated_access_follows_the_new_policy() {
    let first = Guard::new(Policy::default());
    let access = first.admit(&Peer::tcp(ip("10.1.2.3"))).unwrap();
    let held = first.permit::<Write>(&access, Some(b"k")).unwrap();

    let shop = Who::anyone().in_networks(networks(&["10.1.0.0/16"]));
    let rules = Rules::new([rule(shop, Effect::Allow, &[Action::Write], keys(&["shop:"]))]);
    let second = first.successor(Policy { rules: rules.unwrap(), ..Policy::default() });
    assert!(!second.is_current(&access));
    assert_ne!(held.epoch(), second.epoch());
    assert!(second.permit::<Write>(&access, Some(b"k")).is_err());
    assert!(second.permit::<Write>(&access, Some(b"shop:1")).is_ok());

    let closed = Policy { exposure: Exposure::Loopback, ..Policy::default() };
    let third = second.successor(closed);
    let denial = third.permit::<Read>(&access, Some(b"k")).unwrap_err();
    assert_eq!(denial, Denial::new(Response::Close, Reason::PeerNotAllowed));
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let keys = prop_oneof![
        Just(Keys::Every),
        prop::collection::vec("[ab]{0,2}", 0..3).prop_map(|prefixes| Keys::Beginning(
            KeyPrefixes::new(prefixes.into_iter().map(String::into_bytes)).unwrap()
        )),
    ];
    let who = prop_oneof![
        Just(Who::anyone()),
        Just(Who::anyone().run_by([1]).unwrap()),
        Just(Who::anyone().in_networks(networks(&["10.0.0.0/8"]))),
        Just(Who::anyone().logged_in_as([user("a")]).unwrap()),
    ];
    let rule = (who, any::<u16>(), keys, any::<bool>()).prop_map(|(who, actions, keys, allow)| {
        let chosen = |action: &Action| actions >> action.index() & 1 == 1;
        let actions = Action::ALL.into_iter().filter(chosen).collect();
        Rule { who, actions, keys, effect: if allow { Effect::Allow } else { Effect::Deny } }
    });
    let lists = prop_oneof![
        Just(AccessList::default()),
        Just(allowing(&["8.8.8.0/24"])),
        Just(denying(&["10.0.0.0/8", "127.0.0.0/8"])),
    ];
    let strangers =
        prop_oneof![Just(Strangers::Never), Just(Strangers::Proven), Just(Strangers::Anyone)];
    let switches = prop::array::uniform7(any::<bool>());
    let rules = prop::collection::vec(rule, 0..5);
    (0usize..3, switches, rules, lists, strangers).prop_map(
        |(at, [flush, dump, watch, shutdown, login, tls, loopback], rules, networks, strangers)| {
            Policy {
                exposure: Exposure::ALL[at],
                networks,
                strangers,
                proxied_loopback: loopback,
                login_required: login,
                tls_required: tls,
                flush,
                dump,
                watch,
                shutdown,
                rules: Rules::new(rules).unwrap(),
                ..Policy::default()
            }
        },
    )
}

fn any_peer() -> impl Strategy<Value = Peer> {
    let addresses = ["127.0.0.1", "10.0.0.1", "8.8.8.8", "9.9.9.9", "::1", "fd00::1"];
    let address = (0..addresses.len()).prop_map(move |at| ip(addresses[at]));
    let origin = (address, 0u32..4).prop_map(|(address, form)| match form {
        0 => Peer::tcp(address),
        1 => Peer::udp(address),
        2 => Peer::proxied(address),
        _ => unix(1),
    });
    (origin, any::<[bool; 3]>()).prop_map(|(peer, [tls, named, certified])| {
        let peer = if tls { peer.over_tls() } else { peer };
        let peer = if named { peer.with_user(user("a")) } else { peer };
        if certified { peer.with_certificate(certificate("cn:a")) } else { peer }
    })
}

/// The policy read aloud, without verdicts, positions or epochs.
fn naive(policy: &Policy, peer: &Peer, action: Action, key: Option<&[u8]>) -> bool {
    naive_door(policy, peer) && naive_inside(policy, peer, action, key)
}

fn naive_door(policy: &Policy, peer: &Peer) -> bool {
    let Some(address) = peer.address() else { return true };
    let class = AddressClass::of(address);
    if peer.is_proxied() && class == AddressClass::Loopback && !policy.proxied_loopback {
        return false;
    }
    if policy.tls_required && !peer.is_encrypted() {
        return false;
    }
    let stranger = match policy.strangers {
        Strangers::Never => false,
        Strangers::Proven => peer.is_encrypted(),
        Strangers::Anyone => true,
    };
    match policy.networks.longest(address) {
        Some((_, allowed)) => allowed,
        None => policy.exposure.admits(class) && (class != AddressClass::Public || stranger),
    }
}

fn naive_inside(policy: &Policy, peer: &Peer, action: Action, key: Option<&[u8]>) -> bool {
    let listed = peer.address().is_some_and(|ip| policy.networks.longest(ip).is_some());
    let public = peer.address().is_some_and(|ip| AddressClass::of(ip) == AddressClass::Public);
    let must_prove = public && !listed && policy.strangers == Strangers::Proven;
    if policy.login_required && peer.user().is_none()
        || must_prove && peer.user().is_none() && peer.certificate().is_none()
    {
        return false;
    }
    let on = match action {
        Action::Flush => policy.flush,
        Action::Dump => policy.dump,
        Action::Watch => policy.watch,
        Action::Shutdown => policy.shutdown,
        _ => true,
    };
    let mut answer = None;
    let mut limited = false;
    for rule in policy.rules.as_slice() {
        if answer.is_some() || !rule.actions.contains(action) || !rule.who.names(peer) {
            continue;
        }
        let allow = rule.effect == Effect::Allow;
        let fits = match (&rule.keys, key) {
            (Keys::Every, _) => true,
            (Keys::Beginning(prefixes), Some(key)) => prefixes.contains(key),
            (Keys::Beginning(_), None) => !allow,
        };
        if fits {
            answer = Some(allow);
        } else if allow {
            limited = true;
        }
    }
    let local = !public && peer.address().is_none_or(|ip| ip.is_loopback());
    let items = matches!(action, Action::Read | Action::Write | Action::Delete | Action::Stats);
    on && answer.unwrap_or(!limited && (local || items))
}

proptest! {
    #[test]
    fn no_permit_without_the_policy_s_leave_and_a_cause(
        policy in any_policy(),
        earlier in any_policy(),
        peer in any_peer(),
        key in prop::option::of("[abc]{0,3}"),
    ) {
        let key = key.as_deref().map(str::as_bytes);
        let first = Guard::new(earlier);
        let guard = first.successor(policy.clone());
        let fresh = guard.admit(&peer);
        for action in Action::ALL {
            let leave = naive(&policy, &peer, action, key);
            let explanation = guard.explain(&peer, action, key);
            prop_assert_eq!(explanation.denial.is_none(), leave, "{}", action);
            match &fresh {
                Err(denial) => prop_assert_eq!(Some(*denial), explanation.denial),
                Ok(access) => {
                    let answer = decide(&guard, access, action, key);
                    prop_assert_eq!(answer.err(), explanation.denial, "{}", action);
                    prop_assert!(explanation.action.is_some(), "a decision has a cause");
                }
            }
            if leave {
                let cause = explanation.action.unwrap();
                let allows = match cause {
                    Because::Rule(at) => {
                        policy.rules.as_slice()[at.index()].effect == Effect::Allow
                    }
                    Because::Default(locality) => locality.may(action),
                    _ => false,
                };
                prop_assert!(allows, "{:?} allows nothing", cause);
            }
            if let Ok(outdated) = first.admit(&peer) {
                prop_assert_eq!(decide(&guard, &outdated, action, key).is_ok(), leave);
            }
        }
    }
}
