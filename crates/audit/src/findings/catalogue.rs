//! Every finding that there is: id, how bad it usually is, where to read more.
//!
//! The words stand in `data/texts/`, under the id. An id is never given to something else.

use super::Severity;

/// One kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// `MC-AREA-NNN`.
    pub id: &'static str,
    /// How bad it usually is; a rule may say otherwise where it knows more.
    pub severity: Severity,
    /// Where to read more.
    pub references: &'static [&'static str],
}

macro_rules! findings {
    ($($(#[$doc:meta])+ $name:ident = $id:literal, $severity:ident, [$($page:expr),*];)+) => {
        $($(#[$doc])+
        pub static $name: Definition =
            Definition { id: $id, severity: Severity::$severity, references: &[$($page),*] };)+
        /// All, by id.
        pub static ALL: &[&Definition] = &[$(&$name),+];
    };
}

const CISA: &str =
    "https://www.cisa.gov/news-events/alerts/2014/01/17/udp-based-amplification-attacks";
const JPCERT: &str = "https://www.jpcert.or.jp/at/2018/at180009.html";
const UPSTREAM: &str = "https://github.com/memcached/memcached/wiki/DDOS";
const SAKURA: &str = "https://www.sakura.ad.jp/news/sakurainfo/newsentry.php?id=1885";
const REFLECTION: &str = "https://cwe.mitre.org/data/definitions/406.html";
const NO_LOGIN: &str = "https://cwe.mitre.org/data/definitions/306.html";
const JPCERT_TIP: &str = "https://www.jpcert.or.jp/m/tips/2018/wr180901.html";
const RELEASE: &str = "https://github.com/memcached/memcached/wiki/ReleaseNotes1642";
const SHADOWSERVER: &str =
    "https://www.shadowserver.org/what-we-do/network-reporting/accessible-memcached-report/";
const DOCKER: &str = "https://docs.docker.com/engine/network/packet-filtering-firewalls/";

findings! {
    /// A server that reflects traffic at others' request.
    AMPLIFIER = "MC-AMP-001", Critical, [CISA, UPSTREAM, REFLECTION];
    /// UDP without need.
    UDP_WITHOUT_NEED = "MC-AMP-002", Low, [UPSTREAM];
    /// Another service that can amplify.
    OTHER_AMPLIFIER = "MC-AMP-003", Medium, [JPCERT_TIP, CISA];
    /// The next start opens what is shut now.
    BOOT_OPENS = "MC-BOOT-001", High, [SAKURA];
    /// The running process is not what the files say.
    BOOT_DIFFERS = "MC-BOOT-002", Medium, [];
    /// Nothing starts it again.
    BOOT_FORGETS = "MC-BOOT-003", Info, [];
    /// The filter is gone after a reboot.
    FILTER_FORGETS = "MC-BOOT-004", Medium, [];
    /// Settings that fail, or mean something else tomorrow.
    START_PROBLEM = "MC-BOOT-005", Low, [];
    /// A known flaw that can be reached.
    FLAW = "MC-CVE-001", High, [];
    /// Flaws of which nobody says whether the package repairs them.
    FLAW_UNKNOWN = "MC-CVE-002", Low, [];
    /// Repairs without a number that this version is not known to carry.
    FLAW_WITHOUT_NUMBER = "MC-CVE-003", Medium, [RELEASE];
    /// The running program is older than the installed one.
    NOT_RESTARTED = "MC-CVE-004", Medium, [];
    /// The data about flaws is old.
    NEWS_STALE = "MC-CVE-005", Info, [];
    /// Whoever reaches it reads and writes everything.
    NO_LOGIN_NEEDED = "MC-DATA-001", High, [NO_LOGIN, JPCERT];
    /// A UNIX socket that other users may use.
    SOCKET_FILE_OPEN = "MC-DATA-002", Low, [NO_LOGIN];
    /// It runs as root.
    RUNS_AS_ROOT = "MC-HOST-001", Medium, ["https://cwe.mitre.org/data/definitions/250.html"];
    /// A control panel may undo a change.
    PANEL = "MC-HOST-002", Info, [];
    /// It keeps no log.
    NO_LOG = "MC-LOG-001", Low, ["https://cwe.mitre.org/data/definitions/778.html"];
    /// Its log grows without end.
    NO_ROTATION = "MC-LOG-002", Low, ["https://cwe.mitre.org/data/definitions/779.html"];
    /// Reachable from the internet.
    OPEN = "MC-NET-001", High, [SAKURA, JPCERT, "https://access.redhat.com/solutions/3369081"];
    /// Reachable as soon as an address is mapped.
    OPEN_IF_MAPPED = "MC-NET-002", Medium, [SAKURA];
    /// Only the host's filter keeps strangers out.
    FILTERED = "MC-NET-003", Info, [];
    /// It could not be decided.
    UNDECIDED = "MC-NET-004", Medium, [];
    /// A published container port goes round the host's filter.
    PUBLISHED = "MC-NET-005", High, [DOCKER];
    /// IPv4 is shut, IPv6 is not.
    ONLY_V4_SHUT = "MC-NET-006", High, [];
    /// Only local programs reach it.
    LOCAL = "MC-NET-007", Info, [];
    /// How it came.
    ORIGIN = "MC-ORIGIN-001", Info, [];
    /// Another server of the protocol.
    OTHER_SERVER = "MC-ORIGIN-002", Info, [];
    /// Kannuki itself.
    KANNUKI = "MC-ORIGIN-003", Info, [];
    /// A provider's report names what still listens here.
    REPORTED = "MC-SCAN-001", High, [SHADOWSERVER, SAKURA];
    /// A provider's report names what does not listen here any more.
    REPORTED_GONE = "MC-SCAN-002", Info, [SHADOWSERVER];
    /// A provider's report that cannot be matched with this host.
    REPORTED_ELSEWHERE = "MC-SCAN-003", Info, [SHADOWSERVER];
    /// Something was out of sight.
    OUT_OF_SIGHT = "MC-SEE-001", Info, [];
    /// Nobody uses it.
    UNUSED = "MC-USE-001", Medium, [SAKURA];
    /// Settings name it, and nothing was seen to use it.
    IDLE = "MC-USE-002", Info, [];
    /// It is used.
    USED = "MC-USE-003", Info, [];
}

/// The finding with this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Definition> {
    ALL.iter().copied().find(|definition| definition.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_sorted() {
        for pair in ALL.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} {}", pair[0].id, pair[1].id);
        }
        for definition in ALL {
            let parts: Vec<&str> = definition.id.split('-').collect();
            assert!(parts.len() == 3 && parts[0] == "MC" && parts[2].len() == 3, "{parts:?}");
            assert!(definition.references.iter().all(|page| page.starts_with("https://")));
        }
    }
}
