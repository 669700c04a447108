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
    let through = Packet {
        path: Path::Forward,
        goes_out: Some("docker0".to_owned()),
        ..packet(Transport::Tcp, "172.17.0.2", 11211)
    };
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

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,400}") {
        let _ = iptables::read(&text, Family::V4);
        let _ = nft::read(&text);
        let hostile = format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT {text}\nCOMMIT\n");
        let _ = by_iptables(&hostile, Transport::Tcp);
    }
}
