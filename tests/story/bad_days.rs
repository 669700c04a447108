//! A real system that resists: each time it says why, and everything is as it was.

use crate::incident::Incident;
use crate::shut::{SETTINGS, applied, close, must_be_shut, must_be_the_same};

/// The service ends at once when its settings say what `close` writes.
const DOES_NOT_COME_BACK: &str =
    "[Service]\nExecStartPre=/bin/sh -c '! grep -q 127.0.0.1 /etc/memcached.conf'\n";
const DROP_IN: &str = "/etc/systemd/system/memcached.service.d/50-bad-day.conf";

#[test]
fn a_host_that_resists_is_as_it_was() {
    let Some(incident) = Incident::happens() else { return };
    does_not_come_back(&incident);
    for (day, prepare, tidy, said) in [
        (
            "a read-only /etc",
            "mount --bind /etc /etc && mount -o remount,bind,ro /etc",
            "umount /etc",
            "Read-only file system",
        ),
        (
            "no room for the journal",
            "mkdir -p /var/lib/kannuki-close && \
             mount -t tmpfs -o size=16k,mode=700 small /var/lib/kannuki-close",
            "umount /var/lib/kannuki-close",
            "No space left on device",
        ),
        (
            "settings that must not be changed",
            "ln /etc/memcached.conf /etc/other-name",
            "rm /etc/other-name",
            "hard links",
        ),
        (
            "a second close",
            "mkdir -p -m 700 /var/lib/kannuki-close && \
             { flock -F /var/lib/kannuki-close/lock sleep 600 >/dev/null 2>&1 & \
             echo $! > /root/second; } && \
             until ! flock -n /var/lib/kannuki-close/lock true; do sleep 0.1; done",
            "kill $(cat /root/second); flock /var/lib/kannuki-close/lock true",
            "another `kannuki close`",
        ),
    ] {
        is_refused(&incident, day, prepare, tidy, said);
    }
    is_another_plan(&incident);
    is_shut_without_nft(&incident);
}

/// Nothing was begun: code 3, the reason, the old settings, the old state.
fn is_refused(incident: &Incident, day: &str, prepare: &str, tidy: &str, said: &str) {
    let machine = &incident.machine;
    let before = machine.run(SETTINGS);
    machine.run(prepare);
    let refused = close(machine, "--method bind --apply");
    assert_eq!(refused.code, Some(3), "{day}: {}", refused.text);
    assert!(refused.text.contains(said), "{day}: {}", refused.text);
    machine.run(tidy);
    must_be_the_same(&before, &machine.run(SETTINGS), day);
    assert!(incident.flood().factor() > 100.0, "{day}: it runs as before");
    println!("{day}: refused, and as it was");
}

/// Code 7: it was changed, did not work, and was taken back within the same command.
fn does_not_come_back(incident: &Incident) {
    let machine = &incident.machine;
    machine.write(DROP_IN, DOES_NOT_COME_BACK);
    machine.run("systemctl daemon-reload");
    let before = machine.run(SETTINGS);
    let failed = close(machine, "--method bind --apply");
    assert_eq!(failed.code, Some(7), "{}", failed.text);
    assert!(failed.text.contains("systemctl restart memcached.service"), "{}", failed.text);
    incident.wait_for_memcached();
    must_be_the_same(&before, &machine.run(SETTINGS), "does not come back");
    assert!(incident.flood().factor() > 100.0, "the old service runs again");
    machine.run(&format!("rm {DROP_IN} && systemctl daemon-reload"));
    println!("a service that does not come back: taken back at once");
}

/// The owner changed the settings after the preview: what was not shown is not done.
fn is_another_plan(incident: &Incident) {
    let machine = &incident.machine;
    let preview = close(machine, "--method bind");
    let line = preview.text.lines().find(|line| line.ends_with("--apply")).expect("a command");
    let words = line.trim().trim_start_matches("kannuki close ").to_owned();
    let settings = machine.read("/etc/memcached.conf");
    machine.write("/etc/memcached.conf", &format!("{settings}-c 2048\n"));
    let refused = close(machine, &words);
    assert_eq!(refused.code, Some(3), "{}", refused.text);
    assert!(refused.text.contains("not the one of the preview"), "{}", refused.text);
    // And after it was shut: the owner's change is not overwritten by an undo.
    let done = close(machine, "--method bind --apply");
    assert_eq!(done.code, Some(0), "{}", done.text);
    let shut = machine.read("/etc/memcached.conf");
    machine.write("/etc/memcached.conf", &format!("{shut}-R 30\n"));
    let run = applied(machine)[0].clone();
    let refused = close(machine, &format!("--undo {run}"));
    assert_eq!(refused.code, Some(3), "{}", refused.text);
    assert!(refused.text.contains("was changed since"), "{}", refused.text);
    assert!(machine.read("/etc/memcached.conf").ends_with("-R 30\n"));
    machine.write("/etc/memcached.conf", &shut);
    let undone = close(machine, &format!("--undo {run}"));
    assert_eq!(undone.code, Some(0), "{}", undone.text);
    let again = close(machine, &format!("--undo {run}"));
    assert_eq!(again.code, Some(3), "{}", again.text);
    incident.wait_for_memcached();
    println!("settings changed by hand: neither shut nor taken back over them");
}

/// Where nft is missing, rules of iptables do it, and go again.
fn is_shut_without_nft(incident: &Incident) {
    let machine = &incident.machine;
    let before = machine.run(SETTINGS);
    machine.run("mv /usr/sbin/nft /root/nft");
    let done = close(machine, "--method firewall --apply");
    assert_eq!(done.code, Some(0), "{}", done.text);
    must_be_shut(incident, "iptables");
    let undone = close(machine, &format!("--undo {}", applied(machine)[0]));
    assert_eq!(undone.code, Some(0), "{}", undone.text);
    machine.run("mv /root/nft /usr/sbin/nft");
    must_be_the_same(&before, &machine.run(SETTINGS), "iptables");
    assert!(incident.flood().factor() > 100.0, "open again");
    println!("no nft: shut by iptables, and taken back");
}
