//! The plans for whole hosts.

use kannuki_audit::{
    apply::Stage,
    facts::{Facts, Seen, StartKind, Starter},
    plan::{Action, Method, Plan, pages::Page, unified},
    texts::{Lang, Texts, width},
};

use super::{facts, planned};

fn commands(plan: &Plan) -> Vec<String> {
    let runs = plan.forward.iter().filter_map(|action| match action {
        Action::Run(argv) => Some(argv.join(" ")),
        Action::Try(argv) => Some(format!("try {}", argv.join(" "))),
        Action::Write(_) | Action::Restore(_) => None,
    });
    runs.collect()
}

fn back(plan: &Plan) -> Vec<String> {
    let runs = plan.backward.iter().map(|back| match &back.action {
        Action::Run(argv) => argv.join(" "),
        Action::Try(argv) => format!("try {}", argv.join(" ")),
        Action::Restore(at) => format!("restore {}", plan.files[*at].path),
        Action::Write(_) => "write".to_owned(),
    });
    runs.collect()
}

fn diff(plan: &Plan) -> String {
    let file = &plan.files[0];
    unified(&file.path, file.before.as_deref(), Some(&file.after))
}

#[test]
fn debian_keeps_its_comments_and_restarts() {
    let plan = planned(&facts("ubuntu"), None);
    assert_eq!(plan.method, Method::Bind);
    assert!(plan.left.is_empty(), "{:?}", plan.left);
    let shown = diff(&plan);
    assert!(shown.contains("-- l 0.0.0.0") || shown.contains("--l 0.0.0.0\n"), "{shown}");
    assert!(shown.contains("+-l 127.0.0.1\n") && shown.contains("+-U 0\n"), "{shown}");
    assert!(plan.files[0].after.starts_with("# memcached default config file\n-d\nlogfile"));
    // systemd would refuse the start of a unit that was started often a moment ago.
    let again = ["try systemctl reset-failed", "systemctl restart"];
    let again = again.map(|word| format!("{word} memcached.service"));
    assert_eq!(commands(&plan), again);
    assert_eq!(back(&plan)[0], "restore /etc/memcached.conf");
    assert_eq!(back(&plan)[1..], again);
}

#[test]
fn red_hat_edits_the_file_that_wins() {
    let plan = planned(&facts("centos-7"), Some(Method::Bind));
    assert_eq!(plan.files[0].path, "/etc/sysconfig/memcached");
    // It listened on IPv6 too, and this host has ::1.
    assert!(diff(&plan).contains("+OPTIONS=\"-l 127.0.0.1"), "{}", diff(&plan));
    assert!(plan.files[0].after.contains("MAXCONN=\"1024\"\n"));
    let plan = planned(&facts("centos-6"), Some(Method::Bind));
    assert_eq!(commands(&plan), ["service memcached restart"]);
}

/// A unit may take the whole value for one word, or never look at it: then the line itself is given
/// anew, and not a variable that changes nothing.
#[test]
fn a_variable_that_the_unit_does_not_read_so_is_left_alone() {
    for exec in ["/usr/bin/memcached -p 11211 ${OPTIONS}", "/usr/bin/memcached -l 0.0.0.0"] {
        let mut facts = facts("centos-7");
        let files = &mut facts.starts[0].files;
        let unit = files.iter_mut().find(|file| file.path.ends_with("memcached.service")).unwrap();
        unit.text = Seen::Known(format!(
            "[Service]\nEnvironmentFile=/etc/sysconfig/memcached\nExecStart={exec}\n"
        ));
        let plan = planned(&facts, Some(Method::Bind));
        let path = plan.files.first().map_or("", |file| file.path.as_str());
        assert!(path.ends_with("zz-kannuki-close.conf"), "{exec}: {path} {:?}", plan.left);
    }
}

#[test]
fn several_addresses_and_several_lines_become_one() {
    let mut facts = facts("ubuntu");
    let text = "-l 127.0.0.1,192.0.2.22:11311\n-l 10.0.0.5\n-l [2001:db8::1]:11211\n-p 11212\n";
    let file = &mut facts.starts[0].files[1];
    file.text = Seen::Known(text.to_owned());
    file.sha256 = Some(sha256(text));
    let after = planned(&facts, Some(Method::Bind)).files[0].after.clone();
    let shut = "-l 127.0.0.1\n# -l 10.0.0.5\n# -l [2001:db8::1]:11211\n-p 11212\n-U 0\n";
    assert_eq!(after, shut);
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Instances of a template have units, settings and drop-ins of their own.
#[test]
fn an_instance_of_a_template_is_shut_by_its_own_name() {
    let mut facts = facts("ubuntu");
    let unit = "memcached@11212.service";
    facts.starts[0].id = format!("systemd:{unit}");
    facts.starts[0].files.truncate(1);
    facts.starts[0].files[0].path = "/lib/systemd/system/memcached@.service".to_owned();
    let text = "[Service]\nExecStart=/usr/bin/memcached -p %i\n";
    facts.starts[0].files[0].text = Seen::Known(text.to_owned());
    if let Seen::Known(processes) = &mut facts.processes {
        let starter = Starter::Systemd { unit: unit.to_owned(), user: None };
        processes[0].starter = starter;
    }
    let plan = planned(&facts, Some(Method::Bind));
    let path = format!("/etc/systemd/system/{unit}.d/zz-kannuki-close.conf");
    assert_eq!(plan.files[0].path, path, "{:?}", plan.left);
    assert_eq!(commands(&plan).last().unwrap(), &format!("systemctl restart {unit}"));
}

/// Stopped, and enabled: the filter is before it at the next start, and that is enough.
#[test]
fn what_only_waits_is_filtered_once_and_proved() {
    let mut facts = facts("ubuntu");
    facts.sockets = Seen::Known(Vec::new());
    facts.processes = Seen::Known(Vec::new());
    facts.starts[0].at_boot =
        Seen::Known(kannuki_audit::facts::AtBoot::Enabled { by: "a link".to_owned() });
    let plan = planned(&facts, Some(Method::Firewall));
    assert!(plan.files[0].after.contains("udp dport 11211"), "{:?}", plan.left);
    let mut file = facts.starts[0].files[0].clone();
    file.path.clone_from(&plan.files[0].path);
    file.text = Seen::Known(plan.files[0].after.clone());
    facts.firewall.at_boot.push(file);
    facts.firewall.services.push(("kannuki-firewall.service".to_owned(), Seen::Known(true)));
    let table = kannuki_audit::vulnerabilities::Table::embedded();
    let checks = kannuki_audit::plan::verify::checks(&plan, &facts, &table);
    assert!(checks.iter().all(|check| check.ok), "{checks:?}");
    let again = planned(&facts, Some(Method::Firewall));
    assert!(again.is_empty() && again.left.is_empty(), "{:?}", again.forward);
}

#[test]
fn a_port_of_ssh_in_our_own_file_is_not_kept() {
    let mut facts = facts("ubuntu");
    let mut file = facts.starts[0].files[0].clone();
    file.path = "/etc/kannuki/firewall.nft".to_owned();
    file.text = Seen::Known("tcp dport 22 drop\nudp dport 11333 drop\n".to_owned());
    facts.firewall.at_boot.push(file);
    let plan = planned(&facts, Some(Method::Firewall));
    let rules = &plan.files[0].after;
    assert!(rules.contains("udp dport 11333") && !rules.contains("dport 22 "), "{rules}");
}

#[test]
fn a_host_without_ipv6_gets_no_ipv6_address() {
    let mut facts = facts("ipv6-only");
    let v6 = planned(&facts, Some(Method::Bind)).files[0].after.clone();
    facts.host.ipv6_disabled = Seen::Known(true);
    let v4 = planned(&facts, Some(Method::Bind)).files[0].after.clone();
    assert!(v4.contains("-l 127.0.0.1\n") && !v4.contains("::1"), "{v4}");
    assert!(v6.contains("-l 127.0.0.1"), "{v6}");
}

#[test]
fn a_unit_that_says_it_itself_gets_a_drop_in() {
    let mut facts = facts("ubuntu");
    facts.starts[0].files.retain(|file| file.path.ends_with(".service"));
    let unit = "[Service]\nExecStart=/usr/bin/memcached -m 64\n";
    facts.starts[0].files[0].text = Seen::Known(unit.to_owned());
    let plan = planned(&facts, Some(Method::Bind));
    let file = &plan.files[0];
    assert_eq!(file.path, "/etc/systemd/system/memcached.service.d/zz-kannuki-close.conf");
    assert_eq!(file.before, None);
    let line = "ExecStart=\nExecStart=/usr/bin/memcached -m 64 -p 11211 -u memcache \
                -P /var/run/memcached/memcached.pid -l 127.0.0.1 -U 0\n";
    assert!(file.after.ends_with(line), "{}", file.after);
    let commands = commands(&plan);
    assert_eq!(commands[0], "systemctl daemon-reload");
    assert_eq!(commands.last().unwrap(), "systemctl restart memcached.service");
}

#[test]
fn stopping_disables_masks_and_can_be_taken_back() {
    let plan = planned(&facts("ubuntu"), Some(Method::Stop));
    let unit = "memcached.service";
    let forth = ["disable", "mask", "stop"].map(|word| format!("systemctl {word} {unit}"));
    let there = ["systemctl unmask", "systemctl enable", "try systemctl reset-failed"];
    let there = there.into_iter().chain(["systemctl start"]).map(|word| format!("{word} {unit}"));
    assert_eq!(commands(&plan), forth);
    assert_eq!(back(&plan), there.collect::<Vec<_>>());
    assert!(plan.files.is_empty());
    let plan = planned(&facts("centos-6"), Some(Method::Stop));
    assert_eq!(commands(&plan), ["chkconfig memcached off", "service memcached stop"]);
    assert_eq!(back(&plan), ["chkconfig memcached on", "service memcached start"]);
}

#[test]
fn a_unit_where_the_mask_would_be_is_disabled_only() {
    let mut facts = facts("ubuntu");
    facts.starts[0].files[0].path = "/etc/systemd/system/memcached.service".to_owned();
    let plan = planned(&facts, Some(Method::Stop));
    assert!(commands(&plan).iter().all(|command| !command.contains("mask")));
    assert!(plan.risks.iter().any(|note| note.key == "close.risk-no-mask"));
}

#[test]
fn the_filter_has_a_table_of_its_own_and_names_the_ports_only() {
    let plan = planned(&facts("ubuntu"), Some(Method::Firewall));
    let rules = &plan.files[0];
    assert_eq!(rules.path, "/etc/kannuki/firewall.nft");
    for line in rules.after.lines().filter(|line| line.contains("drop")) {
        assert!(line.contains("dport 11211") && line.contains("iifname != \"lo\""), "{line}");
    }
    assert!(!rules.after.contains("policy drop") && !rules.after.contains("flush"));
    assert!(!rules.after.contains("dport 22"));
    let last = commands(&plan).pop().unwrap();
    assert_eq!(last, "systemctl restart kannuki-firewall.service");
    // The unit's end removes the rules from the kernel, so it comes before its file goes.
    assert_eq!(back(&plan)[0], "systemctl stop kannuki-firewall.service");
}

/// The kernel's own reader takes the rules, where it is there.
#[test]
fn nft_reads_the_rules() {
    let plan = planned(&facts("ubuntu"), Some(Method::Firewall));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, &plan.files[0].after).unwrap();
    let nft = std::process::Command::new("nft").args(["-c", "-f"]).arg(&file).output();
    let Ok(output) = nft else { return eprintln!("*** SKIPPED: nft is not installed ***") };
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = ["not permitted", "cache initialization failed", "netlink"];
    if !output.status.success() && refused.iter().any(|word| said.contains(word)) {
        return eprintln!("*** SKIPPED: the kernel lets nobody ask it: {said} ***");
    }
    assert!(output.status.success(), "{said}");
}

#[test]
fn without_nft_there_is_iptables_and_without_both_a_word() {
    let mut facts = facts("ubuntu");
    facts.collection.commands.push(missing("nft"));
    let plan = planned(&facts, Some(Method::Firewall));
    assert_eq!(plan.files.len(), 1);
    let unit = &plan.files[0].after;
    assert!(unit.contains("ip6tables -w -I INPUT ! -i lo -p udp --dport 11211"), "{unit}");
    assert_eq!(unit.matches("ExecStart=").count(), unit.matches("ExecStop=").count());
    facts.collection.commands.push(missing("iptables"));
    let plan = planned(&facts, Some(Method::Firewall));
    assert!(plan.is_empty());
    assert_eq!(plan.left[0].why.key, "close.left-no-filter");
}

fn missing(program: &str) -> kannuki_audit::facts::CommandRun {
    kannuki_audit::facts::CommandRun {
        argv: vec![program.to_owned(), "--version".to_owned()],
        outcome: "not installed".to_owned(),
    }
}

#[test]
fn without_systemd_the_filter_is_not_promised() {
    let plan = planned(&facts("centos-6"), Some(Method::Firewall));
    assert!(plan.is_empty());
    assert_eq!(plan.left[0].why.key, "close.left-no-systemd");
    // And the other way is found without being asked for.
    assert_eq!(planned(&facts("centos-6"), None).method, Method::Bind);
}

#[test]
fn a_container_is_told_about_and_filtered_before_it_is_redirected() {
    let mut facts = facts("docker-published");
    facts.firewall.nftables = Seen::Known(kannuki_audit::facts::Ruleset {
        command: Vec::new(),
        text: "{\"nftables\": []}".to_owned(),
    });
    let bind = planned(&facts, Some(Method::Bind));
    assert!(bind.is_empty(), "{:?}", bind.forward);
    assert!(bind.left[0].commands.iter().any(|command| command.contains("docker inspect")));
    let filter = planned(&facts, None);
    assert_eq!(filter.method, Method::Firewall);
    assert!(filter.files[0].after.contains("hook prerouting priority -310"));
}

#[test]
fn what_is_shut_needs_nothing() {
    for name in ["clean", "suse"] {
        for method in [None, Some(Method::Bind), Some(Method::Stop), Some(Method::Firewall)] {
            let plan = planned(&facts(name), method);
            assert!(plan.is_empty() && plan.left.is_empty(), "{name} {method:?}");
        }
    }
    // Behind a filter there is nothing for a second filter, and something for the settings.
    assert!(planned(&facts("rocky-9-firewalld"), Some(Method::Firewall)).is_empty());
    assert!(!planned(&facts("rocky-9-firewalld"), Some(Method::Bind)).is_empty());
}

#[test]
fn a_disk_is_planned_by_its_settings() {
    let plan = planned(&facts("disk"), None);
    assert_eq!(plan.files[0].path, "/etc/memcached.conf");
    assert!(commands(&plan).is_empty(), "nothing of it runs");
}

#[test]
fn what_a_program_must_not_edit_is_told_with_the_file() {
    let mut facts = facts("ubuntu");
    facts.starts[0].kind = StartKind::Supervisord;
    let plan = planned(&facts, Some(Method::Bind));
    assert!(plan.is_empty());
    assert_eq!(plan.left[0].why.key, "close.left-starter");
}

fn page(facts: &Facts, lang: Lang) -> String {
    let texts = Texts::of(lang);
    Page { texts: &texts, columns: 80, root: "/" }.preview(&planned(facts, Some(Method::Bind)))
}

#[test]
fn the_preview_fits_a_rescue_console_in_both_languages() {
    for lang in Lang::ALL {
        let shown = page(&facts("ubuntu"), lang);
        for line in shown.lines() {
            assert!(width(line) <= 80, "{line}");
        }
        // A Linux console draws no more than that.
        assert!(lang != Lang::En || shown.is_ascii(), "{shown}");
        assert!(shown.contains("+-l 127.0.0.1"), "{shown}");
        assert!(shown.contains("kannuki close --method bind --plan "), "{shown}");
        assert!(!shown.contains("close."), "a text is missing: {shown}");
    }
}

#[test]
fn what_is_done_now_is_told_in_one_line() {
    let plan = planned(&facts("ubuntu"), Some(Method::Bind));
    for lang in Lang::ALL {
        let texts = Texts::of(lang);
        let page = Page { texts: &texts, columns: 80, root: "/" };
        let mut lines = vec![page.stage(Stage::Looking { look: 1, looks_max: 10 })];
        for (at, action) in plan.forward.iter().enumerate() {
            lines.push(page.stage(Stage::Forth { step: at + 1, plan: &plan, action }));
            lines.push(page.stage(Stage::Back { plan: &plan, action }));
        }
        for line in &lines {
            assert!(width(line) <= 80 && !line.contains('\n'), "{line}");
            assert!(!line.contains("close.stage"), "a text is missing: {line}");
            assert!(lang != Lang::En || line.is_ascii(), "{line}");
        }
        assert!(lines[1].starts_with("[1/3] /etc/memcached.conf"), "{lines:?}");
        let last = "[3/3] $ systemctl restart memcached.service";
        assert!(lines.iter().any(|line| line == last), "{lines:?}");
    }
}

#[test]
fn names_that_steer_a_terminal_are_shown_as_text() {
    let mut facts = facts("ubuntu");
    let evil = "# \u{1b}]0;owned\u{7}\n-l 0.0.0.0\n";
    facts.starts[0].files[1].text = Seen::Known(evil.to_owned());
    facts.starts[0].files[1].sha256 = None;
    let shown = page(&facts, Lang::En);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    // Bytes that are not what was read as text are not edited.
    assert!(shown.contains("not UTF-8"), "{shown}");
}
