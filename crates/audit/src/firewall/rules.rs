//! Rules as the evaluation wants them, whichever program wrote them.

use std::net::IpAddr;

use super::addresses::Addresses;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    Both,
}

impl Family {
    /// Does a table of this family see packets to `to`?
    #[must_use]
    pub fn sees(self, to: IpAddr) -> bool {
        match self {
            Self::V4 => to.is_ipv4(),
            Self::V6 => to.is_ipv6(),
            Self::Both => true,
        }
    }
}

/// Where the kernel calls a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// On the device, before everything else.
    Ingress,
    /// Before routing.
    Prerouting,
    /// Before a local socket.
    Input,
    /// On the way through.
    Forward,
}

/// What a base chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Decides about packets.
    Filter,
    /// Rewrites addresses.
    Nat,
}

/// Everything that was read from one program.
#[derive(Debug, Clone, Default)]
pub struct Ruleset {
    /// The chains of all tables.
    pub chains: Vec<Chain>,
    /// What could not be read at all, in words; the walk then keeps both fates.
    pub unread: Vec<String>,
}

/// One chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// `ip filter` and the like: jumps stay within it.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Which packets it sees.
    pub family: Family,
    /// Where the kernel calls it, with its priority; none for a chain that is only jumped to.
    pub base: Option<(Hook, Layer, i32)>,
    /// The devices an ingress chain is bound to.
    pub devices: Vec<String>,
    /// Whether a packet that reaches the end of a base chain is dropped.
    pub drops_at_end: bool,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// All must hold.
    pub tests: Vec<Test>,
    /// What happens then.
    pub action: Action,
    /// The rule as people read it, for evidence.
    pub text: String,
}

/// One condition, possibly turned round.
#[derive(Debug, Clone)]
pub struct Test {
    /// What is asked.
    pub condition: Condition,
    /// Whether the answer is turned round.
    pub negated: bool,
}

/// What a rule can ask about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Carried by one of these protocol numbers.
    Protocol(Vec<u8>),
    /// Of this family.
    Family(Family),
    /// Of this family by its Ethernet header, which not every device has.
    Ethernet(Family),
    /// In by one of these interfaces; a trailing `*` or `+` stands for any ending.
    ComesIn(Vec<String>),
    /// Out by one of these interfaces.
    GoesOut(Vec<String>),
    /// From one of these addresses.
    From(Addresses),
    /// From one of these port ranges.
    FromPort(Vec<(u16, u16)>),
    /// To one of these addresses.
    To(Addresses),
    /// To one of these port ranges.
    Port(Vec<(u16, u16)>),
    /// Sent to one of these port ranges before any rewriting.
    SentToPort(Vec<(u16, u16)>),
    /// A conversation in one of these states, in lower case.
    State(Vec<String>),
    /// Part of a conversation that the kernel tracks.
    Tracked,
    /// To an address of this host, not through it.
    ToHost,
    /// Rewritten to another destination.
    Rewritten,
    /// All of these.
    AllOf(Vec<Self>),
    /// At least one of these.
    OneOf(Vec<Self>),
    /// Holds for every first packet of a stranger.
    Always,
    /// Holds for none.
    Never,
    /// Cannot be followed; in words.
    Unknown(String),
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ends this base chain well.
    Accept,
    /// Ends everything.
    Drop,
    /// Goes on in another chain and comes back.
    Jump(String),
    /// Goes on in another chain and does not come back.
    Goto(String),
    /// Back to the calling chain.
    Return,
    /// Rewrites the destination.
    Rewrite(String),
    /// Exempts the packet from connection tracking; the walk goes on.
    Untrack,
    /// Nothing that changes the fate: counting, logging, marking.
    Next,
    /// The action of the first row whose condition holds; if none does, the walk goes on.
    Map(Vec<(Condition, Self)>),
    /// Cannot be followed; in words.
    Unknown(String),
}
