//! Rulesets as hosts really have them, and the fate of a stranger's first packet.

use super::*;

fn packet(transport: Transport, to: &str, port: u16) -> Packet {
    Packet::to_host(transport, to.parse().unwrap(), port, Some("eth0"))
}

fn word(fate: &Fate) -> &'static str {
    match (fate.passes, fate.dropped) {
        (true, false) => "passes",
        (false, _) => "dropped",
        (true, true) => "unknown",
    }
}

fn by_iptables(rules: &str, transport: Transport) -> Fate {
    let ruleset = iptables::read(rules, Family::V4);
    evaluate(&[&ruleset], &packet(transport, "203.0.113.7", 11211))
}

fn by_nft(json: &str, transport: Transport, to: &str) -> Fate {
    let ruleset = nft::read(json);
    evaluate(&[&ruleset], &packet(transport, to, 11211))
}

#[test]
fn without_rules_everything_passes() {
    assert_eq!(word(&evaluate(&[], &packet(Transport::Udp, "203.0.113.7", 11211))), "passes");
    let empty = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n";
    assert_eq!(word(&by_iptables(empty, Transport::Udp)), "passes");
    let json = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}}]}"#;
    assert_eq!(word(&by_nft(json, Transport::Tcp, "203.0.113.7")), "passes");
    assert_eq!(word(&by_nft("not json", Transport::Tcp, "203.0.113.7")), "unknown");
}

/// RHEL 6 and 7 with iptables-services as installed: ssh only.
const RHEL: &str = "*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
COMMIT
";

#[test]
fn a_rejecting_last_rule_decides() {
    let fate = by_iptables(RHEL, Transport::Udp);
    assert_eq!(word(&fate), "dropped");
    assert_eq!(fate.why[0].rule, "-A INPUT -j REJECT --reject-with icmp-host-prohibited");
    assert_eq!(fate.why[0].chain, "iptables filter INPUT");
    let ssh = iptables::read(RHEL, Family::V4);
    let fate = evaluate(&[&ssh], &packet(Transport::Tcp, "203.0.113.7", 22));
    assert_eq!(word(&fate), "passes");
}

#[test]
fn ipv4_rules_do_not_speak_of_ipv6() {
    let ruleset = iptables::read(RHEL, Family::V4);
    let fate = evaluate(&[&ruleset], &packet(Transport::Udp, "2001:db8::7", 11211));
    assert_eq!(word(&fate), "passes");
}

#[test]
fn a_policy_and_jumps_are_followed() {
    let ufw = "*filter
:INPUT DROP [0:0]
:ufw-before-input - [0:0]
:ufw-user-input - [0:0]
:ufw-skip - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-user-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p udp -m udp --dport 137 -j ufw-skip
-A ufw-user-input -p tcp -m tcp --dport 11211 -j ACCEPT
COMMIT
";
    assert_eq!(word(&by_iptables(ufw, Transport::Tcp)), "passes");
    let fate = by_iptables(ufw, Transport::Udp);
    assert_eq!(word(&fate), "dropped");
    assert_eq!(fate.why.last().unwrap().rule, "policy drop");
}

#[test]
fn a_rule_for_somebody_is_not_for_strangers() {
    let rules = |last: &str| {
        format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {last}\n-A INPUT -p udp -j DROP\nCOMMIT\n")
    };
    for (rule, expected) in [
        ("-s 198.51.100.0/24 -p udp -j ACCEPT", "dropped"),
        ("-s 198.51.100.0/255.255.255.0 -p udp -j ACCEPT", "dropped"),
        ("! -s 198.51.100.0/24 -p udp -j ACCEPT", "passes"),
        ("-s 0.0.0.0/0 -p udp -j ACCEPT", "passes"),
        ("-i eth1 -j ACCEPT", "dropped"),
        ("-i eth+ -j ACCEPT", "passes"),
        ("! -i eth0 -j ACCEPT", "dropped"),
        ("-p udp -m multiport --dports 53,11000:12000 -j ACCEPT", "passes"),
        ("-p udp -m multiport --dports 53,123 -j ACCEPT", "dropped"),
        ("-p udp -m udp ! --dport 53 -j ACCEPT", "passes"),
        ("-p udp -m limit --limit 5/sec -j ACCEPT", "unknown"),
        ("-p udp -m set --match-set friends src -j ACCEPT", "unknown"),
        ("-p udp -m u32 --u32 0x1=0x2 -j ACCEPT", "unknown"),
        ("-m comment --comment \"a -j ACCEPT \\\" b\" -p udp -j ACCEPT", "passes"),
        ("-p udp -j NFQUEUE --queue-num 0", "unknown"),
        ("-p udp -j LOG --log-prefix \"x -j ACCEPT\"", "dropped"),
        ("-j missing-chain", "unknown"),
        ("-m mystery", "dropped"),
    ] {
        assert_eq!(word(&by_iptables(&rules(rule), Transport::Udp)), expected, "{rule}");
    }
}

/// Docker's tables: the published port is rewritten before any INPUT rule is asked.
const DOCKER: &str = "*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 11211 -j DNAT --to-destination 172.17.0.2:11211
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 11211 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
";

#[test]
fn a_published_port_goes_round_the_input_rules() {
    let fate = by_iptables(DOCKER, Transport::Tcp);
    assert_eq!(fate.rewritten.as_deref(), Some("172.17.0.2:11211"));
    assert!(by_iptables(DOCKER, Transport::Udp).rewritten.is_none());
    let through = packet(Transport::Tcp, "203.0.113.7", 11211).rewritten(
        "172.17.0.2".parse().unwrap(),
        11211,
        Some("docker0".to_owned()),
    );
    let ruleset = iptables::read(DOCKER, Family::V4);
    assert_eq!(word(&evaluate(&[&ruleset], &through)), "passes");
    let closed = DOCKER.replace(
        "-A DOCKER-USER -j RETURN",
        "-A DOCKER-USER -i eth0 -p tcp -m conntrack --ctorigdstport 11211 -j DROP",
    );
    let ruleset = iptables::read(&closed, Family::V4);
    assert_eq!(word(&evaluate(&[&ruleset], &through)), "dropped");
}

fn nft_rules(policy: &str, rules: &str) -> String {
    format!(
        r#"{{"nftables":[{{"table":{{"family":"inet","name":"filter"}}}},
        {{"set":{{"family":"inet","table":"filter","name":"open","type":"inet_service",
          "elem":[22,{{"range":[11000,12000]}}]}}}},
        {{"set":{{"family":"inet","table":"filter","name":"seen","type":"ipv4_addr",
          "flags":["dynamic"]}}}},
        {{"chain":{{"family":"inet","table":"filter","name":"input","type":"filter",
          "hook":"input","prio":0,"policy":"{policy}"}}}},
        {{"chain":{{"family":"inet","table":"filter","name":"world"}}}}{rules}]}}"#
    )
}

fn nft_rule(chain: &str, expr: &str) -> String {
    format!(r#",{{"rule":{{"family":"inet","table":"filter","chain":"{chain}","expr":[{expr}]}}}}"#)
}

#[test]
fn nft_statements_are_followed() {
    let udp_port = |right: &str| {
        format!(
            r#"{{"match":{{"op":"==","left":{{"payload":{{"protocol":"udp","field":"dport"}}}},
            "right":{right}}}}}"#
        )
    };
    let accept = r#"{"accept":null}"#;
    let lo = r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}},"#;
    let not_lo = r#"{"match":{"op":"!=","left":{"meta":{"key":"iifname"}},"right":"lo"}},"#;
    let both = r#"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},
        "right":{"set":["tcp","udp"]}}},"#;
    let saddr = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},
        "right":{"prefix":{"addr":"198.51.100.0","len":24}}}},"#;
    let seen = r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},
        "right":"@seen"}},"#;
    let v6 = r#"{"match":{"op":"==","left":{"meta":{"key":"nfproto"}},"right":"ipv6"}},"#;
    let state = r#"{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[
        ["established",{"accept":null}],["invalid",{"drop":null}]]}}}"#;
    for (policy, rules, expected) in [
        ("drop", nft_rule("input", &format!("{},{accept}", udp_port("11211"))), "passes"),
        ("drop", nft_rule("input", &format!("{},{accept}", udp_port("53"))), "dropped"),
        ("drop", nft_rule("input", &format!("{},{accept}", udp_port("\"@open\""))), "passes"),
        (
            "drop",
            nft_rule("input", &format!("{},{accept}", udp_port(r#"{"set":[53,11211]}"#))),
            "passes",
        ),
        ("drop", nft_rule("input", &format!("{lo}{accept}")), "dropped"),
        ("drop", nft_rule("input", &format!("{saddr}{accept}")), "dropped"),
        ("drop", nft_rule("input", &format!("{seen}{accept}")), "unknown"),
        ("drop", nft_rule("input", &format!("{v6}{accept}")), "dropped"),
        (
            "drop",
            nft_rule("input", r#"{"limit":{"rate":4,"per":"second"}},{"accept":null}"#),
            "unknown",
        ),
        (
            "drop",
            nft_rule("input", r#"{"xt":{"type":"match","name":"set"}},{"accept":null}"#),
            "unknown",
        ),
        ("drop", nft_rule("input", state), "dropped"),
        ("accept", nft_rule("input", &format!(r#"{both}{not_lo}{{"drop":null}}"#)), "dropped"),
        ("accept", nft_rule("input", r#"{"counter":{"packets":0,"bytes":0}}"#), "passes"),
        (
            "accept",
            nft_rule("input", r#"{"jump":{"target":"world"}}"#)
                + &nft_rule("world", r#"{"drop":null}"#),
            "dropped",
        ),
    ] {
        let json = nft_rules(policy, &rules);
        let fate = by_nft(&json, Transport::Udp, "203.0.113.7");
        assert_eq!(word(&fate), expected, "{rules}\n{fate:?}");
    }
}

#[test]
fn every_chain_of_a_hook_must_accept() {
    let accepting = r#"{"nftables":[
        {"chain":{"family":"inet","table":"a","name":"in","type":"filter","hook":"input",
          "prio":-10,"policy":"accept"}},
        {"rule":{"family":"inet","table":"a","chain":"in","expr":[{"accept":null}]}},
        {"chain":{"family":"ip","table":"kannuki","name":"in","type":"filter","hook":"input",
          "prio":-150,"policy":"accept"}},
        {"rule":{"family":"ip","table":"kannuki","chain":"in","expr":[
          {"match":{"op":"==","left":{"payload":{"protocol":"th","field":"dport"}},"right":11211}},
          {"drop":null}]}}]}"#;
    let fate = by_nft(accepting, Transport::Udp, "203.0.113.7");
    assert_eq!(word(&fate), "dropped");
    assert_eq!(fate.why[0].rule, "th dport 11211 drop");
    assert_eq!(word(&by_nft(accepting, Transport::Udp, "2001:db8::1")), "passes");
}

#[test]
fn chains_that_call_each_other_end() {
    let loops = "*filter\n:INPUT ACCEPT [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A a -j b\n\
                 -A b -j a\nCOMMIT\n";
    assert_eq!(word(&by_iptables(loops, Transport::Udp)), "unknown");
    let mut wide = String::from("*filter\n:INPUT ACCEPT [0:0]\n");
    for depth in 0..12 {
        wide += &format!(":c{depth} - [0:0]\n");
    }
    wide += "-A INPUT -j c0\n";
    for depth in 0..11 {
        for _ in 0..20 {
            wide += &format!("-A c{depth} -j c{}\n", depth + 1);
        }
    }
    assert_eq!(word(&by_iptables(&wide, Transport::Udp)), "unknown");
}

/// One rule of `nft -j list ruleset` in a table of the family, as nft 1.0.6 prints it.
fn nft_one(family: &str, policy: &str, expr: &str) -> String {
    format!(
        r#"{{"nftables": [
        {{"metainfo": {{"version": "1.0.6", "release_name": "Lester Gooch #5"}}}},
        {{"table": {{"family": "{family}", "name": "t", "handle": 1}}}},
        {{"set": {{"family": "{family}", "name": "s", "table": "t", "type": "ipv4_addr",
          "handle": 5, "flags": ["interval"],
          "elem": [{{"prefix": {{"addr": "10.0.0.0", "len": 8}}}},
          {{"range": ["198.51.100.1", "198.51.100.9"]}}]}}}},
        {{"map": {{"family": "{family}", "name": "m", "table": "t", "type": "inet_service",
          "handle": 7, "map": "verdict",
          "elem": [[80, {{"accept": null}}], [11211, {{"drop": null}}]]}}}},
        {{"chain": {{"family": "{family}", "table": "t", "name": "a", "handle": 1, "type": "filter",
          "hook": "input", "prio": 0, "policy": "{policy}"}}}},
        {{"rule": {{"family": "{family}", "table": "t", "chain": "a", "handle": 8,
          "expr": [{expr}]}}}}
        ]}}"#
    )
}

/// `meta nfproto ipv4 reject` is listed without its condition: the kind of the refusal tells it.
#[test]
fn a_refusal_of_one_family_lets_the_other_in() {
    for (kind, v4, v6) in [
        ("icmp", "dropped", "passes"),
        ("icmpv6", "passes", "dropped"),
        ("icmpx", "dropped", "dropped"),
    ] {
        let reject = format!(r#"{{"reject":{{"type":"{kind}","expr":"port-unreachable"}}}}"#);
        let json = nft_one("inet", "accept", &reject);
        for (to, expected) in [("203.0.113.7", v4), ("2001:db8::7", v6)] {
            assert_eq!(word(&by_nft(&json, Transport::Udp, to)), expected, "{kind} {to}");
        }
    }
}

const V4: &str = "203.0.113.7";
const V6: &str = "2001:db8::7";

/// What nft leaves out of its listing still holds: a port belongs to a protocol, an address to a
/// family. A rule that drops UDP was once taken to drop TCP as well.
#[test]
fn what_nft_leaves_out_is_put_back() {
    let payload = |protocol: &str, field: &str, op: &str, right: &str| {
        format!(
            r#"{{"match": {{"op": "{op}", "left": {{"payload": {{"protocol": "{protocol}",
            "field": "{field}"}}}}, "right": {right}}}}}, {{"drop": null}}"#
        )
    };
    let meta = |key: &str, right: &str| {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"meta": {{"key": "{key}"}}}},
            "right": {right}}}}}, {{"drop": null}}"#
        )
    };
    // TCP and UDP over IPv4, TCP and UDP over IPv6: d is dropped, p passes.
    for (expr, expected) in [
        (payload("udp", "dport", "==", "11211"), "pdpd"),
        (payload("tcp", "dport", "==", "11211"), "dpdp"),
        (payload("udp", "dport", "!=", "53"), "pdpd"),
        (payload("udp", "dport", "<=", "11211"), "pdpd"),
        (payload("th", "dport", "==", "11211"), "dddd"),
        (payload("tcp", "dport", "==", r#"{"set": [22, {"range": [11000, 12000]}]}"#), "dpdp"),
        (payload("ip", "saddr", "!=", "\"192.0.2.1\""), "ddpp"),
        (payload("ip6", "saddr", "!=", "\"2001:db8::1\""), "ppdd"),
        (payload("ip", "saddr", "!=", "\"@s\""), "ddpp"),
        (payload("ip", "daddr", "==", r#"{"prefix": {"addr": "0.0.0.0", "len": 0}}"#), "ddpp"),
        (payload("ip", "protocol", "==", "\"tcp\""), "dppp"),
        (payload("ip6", "nexthdr", "==", "\"udp\""), "pppd"),
        (payload("ether", "type", "==", "\"ip6\""), "ppdd"),
        (payload("ether", "type", "==", "\"ip\""), "ddpp"),
        (payload("icmp", "type", "!=", "\"echo-request\""), "pppp"),
        (payload("tcp", "flags", "in", "\"syn\""), "dpdp"),
        (payload("tcp", "flags", "!=", "\"syn\""), "pppp"),
        (meta("protocol", "\"ip\""), "ddpp"),
        (meta("protocol", "\"ip6\""), "ppdd"),
        (meta("nfproto", "\"ipv4\""), "ddpp"),
        (meta("nfproto", "\"ipv6\""), "ppdd"),
        (meta("l4proto", r#"{"set": ["icmp", "tcp"]}"#), "dpdp"),
    ] {
        let json = nft_one("inet", "accept", &expr);
        let mut seen = String::new();
        for to in [V4, V6] {
            for transport in [Transport::Tcp, Transport::Udp] {
                let fate = by_nft(&json, transport, to);
                seen.push(word(&fate).chars().next().unwrap());
            }
        }
        assert_eq!(seen, expected, "{expr}");
    }
}

#[test]
fn maps_states_and_flags_are_asked_by_their_keys() {
    let vmap = |key: &str, data: &str| format!(r#"{{"vmap": {{"key": {key}, "data": {data}}}}}"#);
    let port = |protocol: &str| {
        format!(r#"{{"payload": {{"protocol": "{protocol}", "field": "dport"}}}}"#)
    };
    let both = r#"{"concat": [{"payload": {"protocol": "ip", "field": "saddr"}},
        {"payload": {"protocol": "tcp", "field": "dport"}}]}"#;
    let state = r#"{"ct": {"key": "state"}}"#;
    let masked = r#"{"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "tcp",
        "field": "flags"}}, ["fin", "syn", "rst", "ack"]]}, "right": "syn"}}, {"drop": null}"#;
    let fib = r#"{"match": {"op": "==", "left": {"fib": {"result": "oif",
        "flags": ["saddr", "iif"]}}, "right": false}}, {"drop": null}"#;
    let untracked = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}},
        "right": ["established", "untracked"]}}, {"drop": null}"#;
    for (expr, tcp, udp) in [
        (vmap(&port("tcp"), "\"@m\""), "dropped", "passes"),
        (vmap(&port("udp"), "\"@m\""), "passes", "dropped"),
        (vmap(&port("tcp"), r#"{"set": [[80, {"drop": null}]]}"#), "passes", "passes"),
        (
            vmap(&port("tcp"), r#"{"set": [["*", {"drop": null}], [11211, {"accept": null}]]}"#),
            "passes",
            "passes",
        ),
        (
            vmap(&port("tcp"), r#"{"set": [[80, {"accept": null}], ["*", {"drop": null}]]}"#),
            "dropped",
            "passes",
        ),
        (
            vmap(
                both,
                r#"{"set": [[{"concat": [{"prefix": {"addr": "0.0.0.0", "len": 0}},
                {"range": [11000, 12000]}]}, {"drop": null}]]}"#,
            ),
            "dropped",
            "passes",
        ),
        (
            vmap(both, r#"{"set": [[{"concat": ["198.51.100.1", 11211]}, {"drop": null}]]}"#),
            "passes",
            "passes",
        ),
        (
            vmap(state, r#"{"set": [["established", {"accept": null}], ["new", {"drop": null}]]}"#),
            "dropped",
            "dropped",
        ),
        (vmap("{\"meta\": {\"key\": \"mark\"}}", "\"@m\""), "unknown", "unknown"),
        (masked.to_owned(), "dropped", "passes"),
        (fib.to_owned(), "passes", "passes"),
        (untracked.to_owned(), "passes", "passes"),
        (r#"{"mystery": {"a": 1}}, {"drop": null}"#.to_owned(), "unknown", "unknown"),
        (r#""mystery", {"accept": null}"#.to_owned(), "unknown", "unknown"),
    ] {
        let json = nft_one("inet", "accept", &expr);
        assert_eq!(word(&by_nft(&json, Transport::Tcp, V4)), tcp, "{expr}");
        assert_eq!(word(&by_nft(&json, Transport::Udp, V4)), udp, "{expr}");
    }
}

/// A friend has a network; a quarter of the internet is no friend.
#[test]
fn strangers_are_whoever_is_left() {
    let rules = |accepted: &[&str]| {
        let lines: Vec<String> =
            accepted.iter().map(|net| format!("-A INPUT -s {net} -j ACCEPT\n")).collect();
        format!("*filter\n:INPUT DROP [0:0]\n{}COMMIT\n", lines.concat())
    };
    for (accepted, expected) in [
        (&["8.0.0.0/8"][..], "dropped"),
        (&["16.0.0.0/4"], "passes"),
        (&["64.0.0.0/3"], "passes"),
        (&["0.0.0.0/1", "128.0.0.0/1"], "passes"),
        (&["10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12"], "dropped"),
        (&["224.0.0.0/3", "127.0.0.0/8"], "dropped"),
        (&["8.0.0.0/8", "9.0.0.0/8"], "passes"),
        (&["8.0.0.0/8", "8.128.0.0/9"], "dropped"),
        (&["! 203.0.113.0/24"], "passes"),
    ] {
        assert_eq!(word(&by_iptables(&rules(accepted), Transport::Tcp)), expected, "{accepted:?}");
    }
    let banned = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 64.0.0.0/2 -j DROP\nCOMMIT\n";
    assert_eq!(word(&by_iptables(banned, Transport::Tcp)), "passes");
    // A ban list of thousands of addresses cuts the internet finely and changes nothing.
    let mut long = String::from("*filter\n:INPUT DROP [0:0]\n");
    for n in 0..20_000_u32 {
        long += &format!("-A INPUT -s 5.{}.{}.9/32 -j DROP\n", n >> 8 & 255, n & 255);
    }
    let open = format!("{long}-A INPUT -p tcp --dport 11211 -j ACCEPT\nCOMMIT\n");
    assert_eq!(word(&by_iptables(&open, Transport::Tcp)), "passes");
    assert_eq!(word(&by_iptables(&open, Transport::Udp)), "dropped");
}

#[test]
fn what_iptables_asks_of_a_first_packet() {
    let rules = |first: &str| {
        format!(
            "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -m udp --dport 11211 \
             -j CT --notrack\nCOMMIT\n*filter\n:INPUT DROP [0:0]\n-A INPUT {first} -j ACCEPT\n\
             COMMIT\n"
        )
    };
    for (rule, tcp, udp) in [
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", "passes", "dropped"),
        ("-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN", "dropped", "dropped"),
        ("-p tcp -m tcp --tcp-flags ALL NONE", "dropped", "dropped"),
        ("-m conntrack --ctstate NEW", "passes", "dropped"),
        ("-m conntrack --ctstate UNTRACKED", "dropped", "passes"),
        ("-m conntrack --ctstate NEW,UNTRACKED", "passes", "passes"),
        ("-m conntrack --ctdir ORIGINAL", "passes", "dropped"),
        ("-m conntrack ! --ctdir REPLY", "passes", "dropped"),
        ("-m conntrack --ctstate NEW,DNAT", "passes", "dropped"),
        ("-m conntrack --ctstate RELATED,ESTABLISHED,DNAT", "dropped", "dropped"),
        ("-p udp -m udp --sport 53", "dropped", "passes"),
        ("-p tcp -m multiport --ports 53,11211", "passes", "dropped"),
        ("-m iprange --src-range 0.0.0.0-255.255.255.255", "passes", "passes"),
        ("-m iprange --src-range 198.51.100.1-198.51.100.9", "dropped", "dropped"),
        ("-m iprange --dst-range 203.0.113.1-203.0.113.9", "passes", "passes"),
        ("-m rpfilter --validmark", "passes", "passes"),
        ("-m rpfilter --validmark --invert", "dropped", "dropped"),
        ("-m addrtype --src-type LOCAL", "dropped", "dropped"),
        ("-m addrtype --dst-type LOCAL", "passes", "passes"),
        ("-f", "dropped", "dropped"),
        ("-m socket", "unknown", "unknown"),
        ("-m mystery --option", "unknown", "unknown"),
    ] {
        assert_eq!(word(&by_iptables(&rules(rule), Transport::Tcp)), tcp, "{rule}");
        assert_eq!(word(&by_iptables(&rules(rule), Transport::Udp)), udp, "{rule}");
    }
}

/// Docker 28 drops in the raw table what is sent straight to a container's address. A packet for a
/// published port still has the host's address there.
#[test]
fn before_the_rewriting_a_rule_sees_what_was_sent() {
    let rules = DOCKER.replace(
        "*filter",
        "*raw\n:PREROUTING ACCEPT [0:0]\n\
         -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP\nCOMMIT\n*filter",
    );
    let ruleset = iptables::read(&rules, Family::V4);
    let through = packet(Transport::Tcp, V4, 11211).rewritten(
        "172.17.0.2".parse().unwrap(),
        11211,
        Some("docker0".to_owned()),
    );
    assert_eq!(word(&evaluate(&[&ruleset], &through)), "passes");
}

#[test]
fn bridges_of_the_outside_are_not_containers() {
    for (name, inner) in [
        ("docker0", true),
        ("br-0123456789ab", true),
        ("virbr0", true),
        ("br-ex", false),
        ("br-lan", false),
        ("br-0123456789AB", false),
        ("br0", false),
        ("eth0", false),
        ("veth0", false),
    ] {
        assert_eq!(is_inner(name), inner, "{name}");
    }
}

/// A chain at a device whose name is not told may be another device's.
#[test]
fn an_ingress_chain_of_an_unknown_device_decides_nothing() {
    let chain = |device: &str| {
        format!(
            r#"{{"nftables": [{{"chain": {{"family": "netdev", "table": "t", "name": "i",
            "type": "filter", "hook": "ingress", "prio": 0, {device} "policy": "drop"}}}}]}}"#
        )
    };
    for (device, expected) in
        [("", "unknown"), ("\"dev\": \"eth0\",", "dropped"), ("\"dev\": \"eth1\",", "passes")]
    {
        assert_eq!(word(&by_nft(&chain(device), Transport::Tcp, V4)), expected, "{device}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,400}") {
        let _ = iptables::read(&text, Family::V4);
        let _ = nft::read(&text);
        let hostile = format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {text}\nCOMMIT\n");
        let _ = by_iptables(&hostile, Transport::Tcp);
    }
}
