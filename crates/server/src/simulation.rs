//! A server without sockets, threads or clock: one store, some sessions, bytes in, bytes out. For
//! fuzzing and for tests that attack in the machine's own time; the product does not use it.

use std::{net::IpAddr, time::Duration};

use kannuki_guard::{Exposure, Guard, NetworkList, Peer, Policy, Strangers, udp::ReplyBudget};
use kannuki_protocol::Dialect;
use kannuki_store::face::StoreConfig;

use crate::{
    auth::{Authority, Bench, Outcome},
    clock::Clock,
    config::{Config, Echo, LoginConfig},
    dispatch::{
        Executor, Turn,
        ahead::{Ahead, Piece},
    },
    instance::{Instance, Parts, Rules},
    log::LogConfig,
    memory::{Pages, Store},
    output::Output,
    session::{Next, Session},
};

/// When every simulation starts, in seconds since 1970: no two differ by the second they began in.
const START_UNIX: u64 = 1_700_000_000;
/// Memory and largest item, in bytes, where only the log-in matters.
const MEMORY_BYTES: u64 = 8 * 1024 * 1024;
const ITEM_BYTES_MAX: u32 = 64 * 1024;
/// The address of every simulated peer.
const PEER: [u8; 4] = [127, 0, 0, 1];

/// A small server in one thread.
pub struct Simulation {
    instance: Instance,
    rules: std::sync::Arc<Rules>,
}

/// One peer of a [`Simulation`].
pub struct SimulatedPeer {
    session: Session,
    inbox: Vec<u8>,
    closed: bool,
}

impl Simulation {
    /// A server with so much memory and largest item, in bytes; `None` if the store refuses them.
    #[must_use]
    pub fn new(memory_bytes: u64, item_bytes_max: u32) -> Option<Self> {
        let config = Config { memory_bytes, item_bytes_max, ..config() };
        let settings = StoreConfig {
            memory_bytes,
            item_bytes_max,
            evict: true,
            cas: true,
            threads: 1,
            seed: *b"the same, always",
        };
        let instance = Instance::new(Parts {
            clock: Clock::started_at(START_UNIX),
            executor: Executor::new(Store::new(settings, Pages::new(memory_bytes)).ok()?),
            guard: Guard::new(config.policy.clone()),
            authority: None,
            tls: None,
            log: None,
            letterboxes: Vec::new(),
            config,
        });
        Some(Self { rules: instance.rules(), instance })
    }

    /// A server whose peers log in, by text or SASL, with the users of this file; `None` if it
    /// cannot be used.
    #[must_use]
    pub fn with_users(login: LoginConfig, users: &[u8]) -> Option<Self> {
        let plain = Self::new(MEMORY_BYTES, ITEM_BYTES_MAX)?;
        let Self { mut instance, .. } = plain;
        instance.config.login = Some(login.clone());
        instance.authority = Some(Authority::of_text(login, users).ok()?);
        let policy = Policy {
            login_required: true,
            exposure: Exposure::Public,
            strangers: Strangers::Anyone,
            ..instance.rules().guard.policy().clone()
        };
        instance.set_rules(Rules { guard: Guard::new(policy), replies: ReplyBudget::default() });
        Some(Self { rules: instance.rules(), instance })
    }

    /// The same server under other rules, as after a reload.
    #[must_use]
    pub fn ruled(mut self, rules: kannuki_guard::Rules) -> Self {
        let policy = Policy { rules, ..self.rules.guard.policy().clone() };
        let guard = self.rules.guard.successor(policy);
        self.instance.set_rules(Rules { guard, replies: ReplyBudget::default() });
        self.rules = self.instance.rules();
        self
    }

    /// Reads another file of users, as SIGHUP does; `false` = it cannot be used, and the old stays.
    pub fn reload_users(&mut self, users: &[u8]) -> bool {
        let Some(authority) = &self.instance.authority else { return false };
        if authority.reload_text(users).is_err() {
            return false;
        }
        let guard = self.rules.guard.successor(self.rules.guard.policy().clone());
        self.instance.set_rules(Rules { guard, replies: ReplyBudget::default() });
        self.rules = self.instance.rules();
        true
    }

    /// A new connection; `None` if the guard refuses it.
    #[must_use]
    pub fn connect(&self) -> Option<SimulatedPeer> {
        self.connect_from(PEER.into())
    }

    /// A new connection from this address; `None` if the guard refuses it.
    #[must_use]
    pub fn connect_from(&self, address: IpAddr) -> Option<SimulatedPeer> {
        let access = self.rules.guard.admit(&Peer::tcp(address)).ok()?;
        let authority = self.instance.authority.as_ref();
        if authority.is_some_and(|it| it.is_banned(access.peer(), self.instance.clock.now())) {
            return None;
        }
        let session = Session::new(Dialect::Auto, access, self.instance.config.login.as_ref());
        Some(SimulatedPeer { session, inbox: Vec::new(), closed: false })
    }

    /// Checks of passwords that have cost a hash.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.instance.authority.as_ref().map_or(0, Authority::hashes)
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.instance.clock.jump(time);
        while self.instance.executor.maintain(self.instance.clock.now()).more {}
    }

    /// The peer sends bytes; returns what it is answered.
    pub fn feed(&self, peer: &mut SimulatedPeer, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        let Some(counters) = self.instance.board.of_thread(0) else { return answer };
        let (instance, rules) = (&self.instance, &*self.rules);
        let now = self.instance.clock.now();
        let turn = Turn { instance, rules, counters, now, verbose: false, ahead: None };
        let mut out = Output::default();
        peer.inbox.extend_from_slice(bytes);
        while !peer.closed {
            let mut budget = self.instance.config.reqs_per_event;
            let whole = [Piece { start: 0, end: peer.inbox.len(), place: peer.session.place() }];
            let ahead = Ahead::new(&peer.inbox, &whole);
            let foreseeing = turn.with(&ahead);
            let progress = peer.session.advance(&foreseeing, &peer.inbox, &mut budget, &mut out);
            peer.inbox.drain(..progress.used.min(peer.inbox.len()));
            answer.extend_from_slice(&out.to_vec());
            out.clear();
            match progress.next {
                Next::Read => break,
                Next::Close => peer.closed = true,
                Next::Hold => match self.decide(peer) {
                    Some(outcome) => peer.session.decided(&turn, outcome),
                    None => break,
                },
                Next::Yield | Next::Flush => {}
            }
        }
        answer
    }
}

impl Simulation {
    /// Checks a log-in here and now, where a server has threads for it.
    fn decide(&self, peer: &mut SimulatedPeer) -> Option<Outcome> {
        let attempt = peer.session.take_attempt()?;
        let authority = self.instance.authority.as_ref()?;
        let now = self.instance.clock.now();
        Some(authority.decide(&attempt, peer.session.peer(), now, &mut Bench::default()))
    }
}

impl SimulatedPeer {
    /// The server has closed this connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes that wait for more to make sense.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.inbox.len()
    }
}

fn config() -> Config {
    Config {
        listens: Vec::new(),
        unix: None,
        inherit_sockets: false,
        dialect: Dialect::Auto,
        login: None,
        policy: Policy { exposure: Exposure::Loopback, ..Policy::default() },
        udp_trusted: NetworkList::default(),
        tls: None,
        backlog: 1,
        socket_mark: 0,
        memory_bytes: 0,
        item_bytes_max: 0,
        evict: true,
        cas: true,
        lock_memory: false,
        threads: 1,
        connections_max: 1,
        maxconns_fast: true,
        reqs_per_event: 20,
        idle_timeout_secs: 0,
        buffer_bytes_max: 0,
        detail_enabled: true,
        prefix_delimiter: b':',
        track_sizes: true,
        daemonize: false,
        pid_file: None,
        user: None,
        core_dumps: false,
        port_file: None,
        log: LogConfig::default(),
        echo: Echo::default(),
    }
}

#[cfg(test)]
mod tests {
    use kannuki_guard::{
        Action, ActionSet, Effect, Keys, Rule, Rules as Ruling, Who, udp::ReplyBudget,
    };
    use proptest::prelude::*;

    use super::*;

    /// Lines that together meet every command of the session, good and bad.
    const LINES: &[&[u8]] = &[
        b"set a 5 0 3\r\nabc\r\n",
        b"set a 0 0 3 noreply\r\nabc\r\n",
        b"set n 0 0 2\r\n99\r\n",
        b"add a 0 0 1\r\nx\r\n",
        b"append a 0 0 2\r\nyz\r\n",
        b"prepend n 0 0 1\r\n1\r\n",
        b"replace b 0 -1 1\r\nx\r\n",
        b"cas a 0 0 1 1\r\nq\r\n",
        b"set a 0 0 3\r\nabcd\r\n",
        b"set a b c d\r\n",
        b"get a n b a\r\n",
        b"gets n\n",
        b"gets   n   a   \r\n",
        b"gat 0  a a \r\n",
        b"gat 10 a n\r\n",
        b"touch n 100\r\n",
        b"incr n 5\r\n",
        b"decr n 1000\r\n",
        b"incr a 1\r\n",
        b"delete b\r\n",
        b"delete a noreply\r\n",
        b"mg a v t c k q\r\n",
        b"mg n v s f h l t Oxyz\r\n",
        b"mg miss N30 v t\r\n",
        b"ms n S1\r\n",
        b"ms m 2 T0 F3 c\r\nhi\r\n",
        b"ms bTpu 2 b\r\nhi\r\n",
        b"ma n N0 J10 v\r\n",
        b"md m I T30\r\n",
        b"md n q\r\n",
        b"me a\r\n",
        b"mn\r\n",
        b"nonsense\r\n",
        b"verbosity 1\r\n",
        b"version\r\n",
        b"flush_all 10\r\n",
        b"stats detail dump\r\n",
        b"stats sizes\r\n",
        b"lru_crawler metadump all\r\n",
        b"lru_crawler mgdump all\r\n",
        b"stats cachedump 1 0\r\n",
        b"watch\r\n",
        b"shutdown\r\n",
    ];

    impl Simulation {
        /// From now on this rule decides.
        fn judge_by(&mut self, rule: Rule) {
            let rules = Ruling::new([rule]).unwrap();
            let guard = self.rules.guard.successor(Policy { rules, ..Policy::default() });
            let replies = ReplyBudget::new(NetworkList::default());
            self.rules = std::sync::Arc::new(Rules { guard, replies });
        }
    }

    fn talk(chunks: impl Iterator<Item = Vec<u8>>) -> (Vec<u8>, bool) {
        let simulation = Simulation::new(MEMORY_BYTES, ITEM_BYTES_MAX).unwrap();
        let mut peer = simulation.connect().unwrap();
        let mut answer = Vec::new();
        for chunk in chunks {
            answer.extend(simulation.feed(&mut peer, &chunk));
        }
        (answer, peer.is_closed())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn answers_do_not_depend_on_how_the_stream_is_cut(
            picks in proptest::collection::vec(0..LINES.len(), 1..40),
            sizes in proptest::collection::vec(1_usize..24, 1..64),
        ) {
            let script: Vec<u8> = picks.iter().flat_map(|&pick| LINES[pick].to_vec()).collect();
            let whole = talk(std::iter::once(script.clone()));
            let mut rest = &script[..];
            let mut sizes = sizes.iter().cycle();
            let cut = talk(std::iter::from_fn(|| {
                let size = (*sizes.next()?).min(rest.len());
                let (chunk, tail) = rest.split_at(size);
                rest = tail;
                (size > 0).then(|| chunk.to_vec())
            }));
            prop_assert_eq!(
                String::from_utf8_lossy(&whole.0),
                String::from_utf8_lossy(&cut.0)
            );
            prop_assert_eq!(whole.1, cut.1);
        }

        #[test]
        fn no_bytes_can_break_a_session(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)
        ) {
            talk(chunks.into_iter());
        }
    }

    #[test]
    fn a_list_of_keys_longer_than_the_output_is_answered_whole() {
        let simulation = Simulation::new(64 * 1024 * 1024, 1024 * 1024).unwrap();
        let mut peer = simulation.connect().unwrap();
        let value = vec![b'v'; 2000];
        let set = [b"set k 0 0 2000\r\n", &value[..], b"\r\n"].concat();
        assert_eq!(simulation.feed(&mut peer, &set), b"STORED\r\n");
        let line = [b"get".to_vec(), b" k".repeat(1000), b"\r\nversion\r\n".to_vec()].concat();
        let answer = simulation.feed(&mut peer, &line);
        let hit = [b"VALUE k 0 2000\r\n", &value[..], b"\r\n"].concat();
        assert_eq!(answer.len(), hit.len() * 1000 + b"END\r\nVERSION 1.6.45\r\n".len());
        assert!(answer.ends_with(b"END\r\nVERSION 1.6.45\r\n"));
        assert_eq!(peer.waiting_bytes(), 0);
    }

    #[test]
    fn blanks_around_the_keys_cost_none_of_them() {
        let simulation = Simulation::new(MEMORY_BYTES, ITEM_BYTES_MAX).unwrap();
        let mut peer = simulation.connect().unwrap();
        simulation.feed(&mut peer, b"set a 0 0 1\r\nx\r\n");
        for line in ["get   a   a   \r\n", "get a a \n", "gat 0 a a \r\n", "gat 0   a   a\n"] {
            let answer = simulation.feed(&mut peer, line.as_bytes());
            assert_eq!(answer, b"VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\nEND\r\n", "{line:?}");
        }
    }

    /// A key of the binary protocol may hold line ends. Shown as it is, it would end a listing and
    /// forge the reply to the next command.
    #[test]
    fn no_key_forges_a_line() {
        let simulation = Simulation::new(MEMORY_BYTES, ITEM_BYTES_MAX).unwrap();
        let mut binary = simulation.connect().unwrap();
        let set =
            b"\x80\x01\0\x06\x08\0\0\0\0\0\0\x0f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a\r\nEN\rv";
        assert_eq!(simulation.feed(&mut binary, set).get(6..8), Some(&[0, 0][..]));
        let mut peer = simulation.connect().unwrap();
        let mut ask =
            |line: &str| String::from_utf8(simulation.feed(&mut peer, line.as_bytes())).unwrap();
        assert_eq!(ask("lru_crawler mgdump all\r\n"), "OK\r\nmg YQ0KRU4N b\r\nEN\r\n");
        assert_eq!(ask("mg YQ0KRU4N b k v\r\n"), "VA 1 kYQ0KRU4N b\r\nv\r\n");
        assert!(ask("me YQ0KRU4N b\r\n").starts_with("ME YQ0KRU4N exp=-1 "));
        for class in 0..=63 {
            assert_eq!(ask(&format!("stats cachedump {class} 0\r\n")), "END\r\n");
        }
    }

    #[test]
    fn an_item_dies_in_its_second() {
        let simulation = Simulation::new(MEMORY_BYTES, ITEM_BYTES_MAX).unwrap();
        let mut peer = simulation.connect().unwrap();
        simulation.feed(&mut peer, b"set a 0 10 1\r\nx\r\n");
        simulation.pass(Duration::from_secs(9));
        assert_eq!(simulation.feed(&mut peer, b"get a\r\n"), b"VALUE a 0 1\r\nx\r\nEND\r\n");
        simulation.pass(Duration::from_secs(1));
        assert_eq!(simulation.feed(&mut peer, b"get a\r\n"), b"END\r\n");
    }

    fn curr_items(simulation: &Simulation, peer: &mut SimulatedPeer) -> u64 {
        let stats = String::from_utf8(simulation.feed(peer, b"stats\r\n")).unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix("STAT curr_items "));
        line.unwrap().parse().unwrap()
    }

    /// Items that eviction moves cost eight bytes more once somebody may know their cas unique.
    /// Replies that do not show it must not cost them.
    #[test]
    fn more_items_fit_while_nobody_is_shown_a_cas_unique() {
        const SMALL_BYTES: u64 = 1024 * 1024;
        /// Items between the set and the get of one: a use right after it came does not count, and
        /// one that comes too late finds it gone.
        const LATER: u64 = 2000;
        let held = |set: &str, get: &str| {
            let simulation = Simulation::new(SMALL_BYTES, ITEM_BYTES_MAX / 16).unwrap();
            let mut peer = simulation.connect().unwrap();
            for first in (0..50_000_u64).step_by(20) {
                // Each is used once, so it is moved instead of thrown out, once.
                let script: String = (first..first + 20)
                    .flat_map(|number| [(set, number), (get, number.saturating_sub(LATER))])
                    .map(|(line, number)| line.replace('#', &number.to_string()))
                    .collect();
                simulation.feed(&mut peer, script.as_bytes());
            }
            curr_items(&simulation, &mut peer)
        };
        let hidden = held("set # 0 0 1 noreply\r\nx\r\n", "get #\r\n");
        let meta = held("ms # 1 q\r\nx\r\n", "mg # v q\r\n");
        assert_eq!(hidden, meta);
        let shown = held("set # 0 0 1 noreply\r\nx\r\n", "gets #\r\n");
        let meta = held("ms # 1 c\r\nx\r\n", "mg # v q\r\n");
        for shown in [shown, meta] {
            assert!(shown + shown / 10 < hidden, "{hidden} hidden, {shown} shown");
        }
    }

    /// The block of a permitted `set` may arrive much later, under other rules.
    #[test]
    fn a_value_that_ends_under_stricter_rules_is_not_stored() {
        for last in [&b"lue\r\n"[..], b"lue\r\nversion\r\n"] {
            let mut simulation = Simulation::new(MEMORY_BYTES, ITEM_BYTES_MAX).unwrap();
            let mut peer = simulation.connect().unwrap();
            assert_eq!(simulation.feed(&mut peer, b"set k 0 0 5\r\nva"), b"");
            simulation.judge_by(Rule {
                who: Who::anyone(),
                actions: ActionSet::NONE.with(Action::Write),
                keys: Keys::Every,
                effect: Effect::Deny,
            });
            let answer = simulation.feed(&mut peer, last);
            assert!(answer.starts_with(b"CLIENT_ERROR access denied\r\n"), "{answer:?}");
            assert_eq!(simulation.feed(&mut peer, b"get k\r\n"), b"END\r\n");
            assert_eq!(
                simulation.feed(&mut peer, b"set k 0 0 1\r\nx\r\nmn\r\n"),
                [&b"CLIENT_ERROR access denied\r\n"[..], b"MN\r\n"].concat()
            );
        }
    }
}
