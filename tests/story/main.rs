//! The story that this project began with, on a real system: memcached, which an automated build had
//! brought, floods a stranger; it is found, explained and shut.

mod bad_days;
mod incident;
mod intrusion;
mod killed;
mod reply;
mod shut;
mod verdicts;

use incident::Incident;

#[test]
fn the_flood_reaches_the_victim_and_survives_a_restart() {
    let Some(mut incident) = Incident::happens() else { return };
    let flood = incident.flood();
    println!("memcached sent the victim {:.0} times what it got: {flood:?}", flood.factor());
    assert!(flood.factor() > 100.0, "the meter sees the flood: {flood:?}");
    incident.machine.restart();
    incident.wait_for_memcached();
    assert!(incident.flood().factor() > 100.0, "a restart shuts nothing");
    // What the owner of the story did by hand, as a control of the meter.
    incident.machine.write("/etc/memcached.conf", "-l 127.0.0.1\n-U 0\n-u memcache\n");
    incident.machine.run("systemctl restart memcached");
    incident.wait_for_memcached();
    let after = incident.flood();
    assert_eq!(after.arrived, 0, "shut is shut: {after:?}");
}
