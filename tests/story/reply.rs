//! The letter that gets the line restored, from what the machine showed: its times are held against
//! the clock of those who watched.

use kannuki_tests::machine::Machine;

use crate::incident::{Flood, Incident};
use crate::shut::METHODS;

/// East of UTC, as the provider of the story counts; all the year.
const JAPAN: i64 = 9 * 3600;

/// What is known of the incident besides what the machine says.
pub(crate) struct Reply {
    flood: Flood,
    flooded_at: i64,
    /// Not before, not after.
    closed: (i64, i64),
}

impl Reply {
    /// The flood is seen, and what is open is saved.
    pub(crate) fn before(incident: &Incident) -> Self {
        let flooded_at = now(&incident.machine);
        let flood = incident.flood();
        // A file that is there would be read, not written.
        incident.machine.run("rm -f /root/open.json /root/shut.json /root/triage.json");
        // Ends with 1: there is something to find.
        incident.machine.attempt("kannuki check --probe --facts /root/open.json");
        Self { flood, flooded_at, closed: (0, 0) }
    }

    /// Notes when something was done.
    pub(crate) fn timed<T>(&mut self, incident: &Incident, work: impl FnOnce() -> T) -> T {
        self.closed.0 = now(&incident.machine);
        let done = work();
        self.closed.1 = now(&incident.machine);
        done
    }

    /// After it was shut: triage by what was saved, and the letter in both languages.
    pub(crate) fn is_written(&self, incident: &Incident, method: &str) {
        let machine = &incident.machine;
        machine.attempt("kannuki check --facts /root/shut.json");
        let triage = format!(
            "kannuki triage --before /root/open.json --incident {} --format json --output \
             /root/triage.json",
            utc(machine, self.flooded_at)
        );
        let judged = machine.attempt(&triage);
        // What runs now explains nothing; what was saved does.
        assert_eq!(judged.status.code(), Some(0), "{method}: {judged:?}");
        let number = METHODS.iter().position(|name| *name == method).expect("a method") + 1;
        let english = letter(machine, "en --zone UTC");
        let japanese = letter(machine, "ja");
        assert!(english.contains(&format!("your method {number}")), "{english}");
        let numbered = format!("\u{65b9}\u{6cd5}{number}");
        assert!(japanese.contains(&numbered), "{numbered}: {japanese}");
        self.tells_the_incident(machine, &english, &japanese);
        self.tells_the_close(machine, &english, &japanese);
        self.tells_the_factor(&english);
        for blank in ["[FILL IN: what was done", "[FILL IN: when the traffic"] {
            assert!(!english.contains(blank), "{method}: {english}");
        }
        println!("{method}: the letter says your method {number}, and the times of the watchers");
    }

    /// The time that was given, to the second, in UTC and in the provider's zone.
    fn tells_the_incident(&self, machine: &Machine, english: &str, japanese: &str) {
        let (there, here) =
            (shown(machine, self.flooded_at), shown_in_japan(machine, self.flooded_at));
        assert!(english.contains(&there), "{there}: {english}");
        assert!(japanese.contains(&here) && japanese.contains(&there), "{here}: {japanese}");
    }

    /// The time of the run lies between the looks at the clock before and after it.
    fn tells_the_close(&self, machine: &Machine, english: &str, japanese: &str) {
        let (first, last) = self.closed;
        let told = (first..=last).find(|at| {
            let (there, here) = (shown(machine, *at), shown_in_japan(machine, *at));
            english.contains(&format!("At {there}")) && japanese.contains(&here)
        });
        assert!(told.is_some(), "none of {first}..={last} is told: {english}{japanese}");
    }

    /// The factor is what the victim measured; numbers of `stats` have a digit more or less.
    fn tells_the_factor(&self, english: &str) {
        let words: Vec<&str> = english.split_whitespace().collect();
        let at =
            words.windows(2).position(|two| two[0].parse::<f64>().is_ok() && two[1] == "times");
        let told: f64 = at.map(|at| words[at].parse().expect("a number")).expect("a factor");
        let measured = self.flood.factor();
        assert!((told / measured - 1.0).abs() < 0.2, "told {told}, measured {measured}");
    }
}

fn letter(machine: &Machine, words: &str) -> String {
    let run = machine.run("ls -dt /var/lib/kannuki-close/*-* | head -n 1");
    machine.run(&format!(
        "cd /root && kannuki report --lang {words} --facts open.json --triage triage.json \
         --after shut.json --close {}/manifest.json",
        run.trim()
    ))
}

fn now(machine: &Machine) -> i64 {
    machine.run("date +%s").trim().parse().expect("seconds")
}

fn date(machine: &Machine, at: i64, form: &str) -> String {
    machine.run(&format!("date -u -d @{at} {form}")).trim().to_owned()
}

fn utc(machine: &Machine, at: i64) -> String {
    date(machine, at, "+%Y-%m-%dT%H:%M:%SZ")
}

/// As the letter shows a time in UTC.
fn shown(machine: &Machine, at: i64) -> String {
    date(machine, at, "'+%Y-%m-%d %H:%M:%S'")
}

fn shown_in_japan(machine: &Machine, at: i64) -> String {
    shown(machine, at + JAPAN)
}
