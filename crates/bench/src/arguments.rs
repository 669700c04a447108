//! The words of `kannuki-bench`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::compare::Preset;
use crate::tls::{Target, Terms, Version};
use crate::trace::Order;

/// Measures servers that speak memcached's protocol.
#[derive(Debug, Parser)]
#[command(name = "kannuki-bench", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load on a server that runs: requests a second, latencies, CPU a key
    #[command(after_help = LOAD_EXAMPLES)]
    Load(Load),
    /// Two servers under the same loads, in turn A B A B: CPU a key, medians, ratios
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Compare),
    /// What coming in costs a server that runs: connections one after another
    #[command(after_help = HANDSHAKES_EXAMPLES)]
    Handshakes(Handshakes),
    /// A trace or a synthetic workload: who misses more with the same resident memory?
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Replay),
    /// Figures that several replays wrote (--json): one table, one picture
    Table(Table),
    /// The longest single calls of the store alone, without a server, in thread CPU time
    Locks(Locks),
}

const LOAD_EXAMPLES: &str = "\
Examples:
  kannuki-bench load --address 127.0.0.1:11211 --fill --depth 100 --seconds 10
  kannuki-bench load --address 127.0.0.1:11211 --multi 100 --theta 0.99 --pid 4711 --json x.json";

const HANDSHAKES_EXAMPLES: &str = "\
Each connection asks for one key that is not there and is closed with a farewell.

Examples:
  kannuki-bench handshakes --address 127.0.0.1:11211 --tls ca.pem --pid 4711
  kannuki-bench handshakes --address 127.0.0.1:11211 --tls ca.pem --tls-version 1.2 --resume";

const COMPARE_EXAMPLES: &str = "\
Servers are started on free ports of 127.0.0.1: `-p PORT -l 127.0.0.1 -U 0` is appended (and `-u
root` for root); a preset sets `-m` too. Each half of the processors is one side's.

Examples:
  kannuki-bench compare 'kannuki serve -t 4' 'memcached -t 4'
  kannuki-bench compare --preset get20m --keep 'kannuki serve' memcached
  kannuki-bench compare --preset tls 'kannuki serve' memcached
  kannuki-bench compare --preset set-evicting --pairs 7 'kannuki serve' memcached --json sets.json";

const REPLAY_EXAMPLES: &str = "\
With --against each server is started with the `-m` that makes its resident memory, when full, the
asked part of the workload's footprint; the last server named sets the measure. `never seen` is the
part of all look-ups that no cache can answer. Give requests enough (--requests): 20 for each key of
a law, all of a trace in all its copies; else this part is most of what is missed by anybody.

Examples:
  kannuki-bench replay --zipf 1.0 --value-size 24 --against 'kannuki serve' --against memcached
  kannuki-bench replay --trace web07.trace.xz --trace P3.lis.zst --value-size 300 \\
      --against 'kannuki serve' --against memcached --svg web.svg --json web.json
  kannuki-bench replay --twitter 52 --address 127.0.0.1:11211 --pid 4711";

/// See [`Command::Load`].
#[derive(Args, Debug)]
pub struct Load {
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:11211")]
    pub address: SocketAddr,
    /// How TLS is spoken
    #[command(flatten)]
    pub tls: Tls,
    /// The server's process, whose CPU time and memory are read
    #[arg(long)]
    pub pid: Option<u32>,
    /// Store every key once before
    #[arg(long)]
    pub fill: bool,
    /// Connections
    #[arg(long, default_value_t = 50)]
    pub connections: usize,
    /// Threads that drive them
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Requests sent together on one connection
    #[arg(long, default_value_t = 1)]
    pub depth: usize,
    /// Keys of one get
    #[arg(long, default_value_t = 1)]
    pub multi: usize,
    /// Gets and sets, as GET:SET
    #[arg(long, default_value = "9:1", value_parser = ratio)]
    pub ratio: u32,
    /// Bytes of a key (10 to 250)
    #[arg(long, default_value_t = 20)]
    pub key_size: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    pub value_size: usize,
    /// Different keys
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Exponent of Zipf's law by which keys are chosen; 0 is evenly
    #[arg(long, default_value_t = 0.0)]
    pub theta: f64,
    /// Seconds that stored items live; 0 is for ever
    #[arg(long, default_value_t = 0)]
    pub ttl: u32,
    /// Seconds of load that are not measured, before it
    #[arg(long, default_value_t = 1.0)]
    pub warm: f64,
    /// How long
    #[arg(long, default_value_t = 10.0, conflicts_with = "requests")]
    pub seconds: f64,
    /// How many requests instead
    #[arg(long)]
    pub requests: Option<u64>,
    /// Write the figures there as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// How TLS is spoken.
#[derive(Args, Debug)]
pub struct Tls {
    /// Speak TLS, and trust the authorities in this file
    #[arg(long, value_name = "CA.pem")]
    pub tls: Option<PathBuf>,
    /// This version alone
    #[arg(long, value_enum, requires = "tls")]
    pub tls_version: Option<Version>,
    /// A certificate to show
    #[arg(long, value_name = "CHAIN.pem", requires_all = ["tls", "certificate_key"])]
    pub certificate: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "KEY.pem", requires = "certificate")]
    pub certificate_key: Option<PathBuf>,
}

impl Tls {
    /// Where and how to speak to a server at an address.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn target(&self, address: SocketAddr, resume: bool) -> anyhow::Result<Target> {
        let Some(authority) = &self.tls else { return Ok(address.into()) };
        let identity = self.certificate.as_deref().zip(self.certificate_key.as_deref());
        let terms = Terms { authority, identity, version: self.tls_version, resume };
        Ok(Target { address, tls: Some(crate::tls::Tls::new(&terms)?) })
    }
}

/// See [`Command::Handshakes`].
#[derive(Args, Debug)]
pub struct Handshakes {
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:11211")]
    pub address: SocketAddr,
    /// How TLS is spoken; in clear without
    #[command(flatten)]
    pub tls: Tls,
    /// Go on with an earlier session, every time
    #[arg(long, requires = "tls")]
    pub resume: bool,
    /// The server's process, whose CPU time and memory are read
    #[arg(long)]
    pub pid: Option<u32>,
    /// How many
    #[arg(long, default_value_t = 2000)]
    pub connections: u64,
    /// Write the figures there as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// See [`Command::Compare`].
#[derive(Args, Debug)]
pub struct Compare {
    /// Command line of the one server
    pub a: String,
    /// Command line of the other
    pub b: String,
    /// Which loads
    #[arg(long, value_enum, default_value = "standard")]
    pub preset: Preset,
    /// Pairs A B
    #[arg(long, default_value_t = 5)]
    pub pairs: usize,
    /// Start and fill each server once, not for every pair
    #[arg(long)]
    pub keep: bool,
    /// Threads that drive the load
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Requests of each load, instead of the preset's number
    #[arg(long)]
    pub requests: Option<u64>,
    /// Different keys at most, where the preset has more
    #[arg(long)]
    pub keys: Option<u64>,
    /// Connections of each load of connections (--preset tls), instead of 2000
    #[arg(long)]
    pub connections: Option<u64>,
    /// Write the figures there as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// See [`Command::Locks`].
#[derive(Args, Debug)]
pub struct Locks {
    /// MiB of the store
    #[arg(long, default_value_t = 1024)]
    pub memory: u64,
    /// Items that are stored
    #[arg(long, default_value_t = 20_000_000)]
    pub items: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 36)]
    pub value_size: usize,
}

/// See [`Command::Replay`].
#[derive(Args, Debug)]
pub struct Replay {
    /// A trace: 32-bit keys, or `start count` lines in NAME.lis; packed as .xz or .zst. Repeatable
    #[arg(long)]
    pub trace: Vec<PathBuf>,
    /// Byte order of 32-bit keys
    #[arg(long, value_enum, default_value = "guess")]
    pub order: Order,
    /// Zipf's law with this exponent over --keys keys. Repeatable
    #[arg(long)]
    pub zipf: Vec<f64>,
    /// Share of requests of --zipf that replace a key by a new one
    #[arg(long, default_value_t = 0.0)]
    pub churn: f64,
    /// Figures of one of Twitter's clusters: 12, 17, 22, 31, 37, 50, 52, 53. Repeatable
    #[arg(long)]
    pub twitter: Vec<u32>,
    /// Sizes and popularity of a fleet of key-value caches
    #[arg(long)]
    pub kvcache: bool,
    /// Folder with its sizes.json and pop.json, instead of a coarse table
    #[arg(long)]
    pub kvcache_folder: Option<PathBuf>,
    /// Keys of --zipf and --kvcache
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Bytes of a key, of --trace and --zipf (10 to 250)
    #[arg(long, default_value_t = 20)]
    pub key_size: usize,
    /// Bytes of a value, of --trace and --zipf. Repeatable
    #[arg(long, default_values_t = [300_usize])]
    pub value_size: Vec<usize>,
    /// Requests of a workload at most, all copies together
    #[arg(long, default_value_t = 20_000_000)]
    pub requests: u64,
    /// Copies are added until the footprint has so many MiB
    #[arg(long, default_value_t = 256)]
    pub footprint: u64,
    /// Requests a second at which lifetimes of --twitter are played, instead of its own
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub pace: Option<u64>,
    /// Share of the requests that fill the cache and are not counted
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub warm: f64,
    /// Seconds that a server rests, in each trial of its `-m`, before its memory is looked at
    #[arg(long, default_value_t = 16)]
    pub settle: u64,
    /// Ask for values: `get` always, `mg` (hit or miss alone) never; else by size
    #[arg(long, value_enum)]
    pub ask: Option<Ask>,
    /// Play it against the store alone, without a server, and against a plain list of least recent
    /// use that holds as many items as memcached would
    #[arg(long, conflicts_with_all = ["against", "address", "pid", "warm", "ask"])]
    pub in_process: bool,
    /// With --in-process: MiB of the memory that a server's process needs besides its items
    #[arg(long, default_value_t = 5, requires = "in_process")]
    pub aside: u64,
    /// Command line of a server to start; give two or more, the last is the measure
    #[arg(long, conflicts_with_all = ["address", "pid"])]
    pub against: Vec<String>,
    /// Memory: parts of the footprint
    #[arg(long, value_delimiter = ',', default_value = "1/20,1/10,1/3", value_parser = part)]
    pub memory: Vec<f64>,
    /// A server that runs already, instead of --against
    #[arg(long, default_value = "127.0.0.1:11211")]
    pub address: SocketAddr,
    /// Its process, whose memory is read
    #[arg(long)]
    pub pid: Option<u32>,
    /// Draw miss ratio over memory there
    #[arg(long, requires = "against")]
    pub svg: Option<PathBuf>,
    /// Write the figures there as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// See [`Command::Table`].
#[derive(Args, Debug)]
pub struct Table {
    /// Files of `replay --against ... --json FILE`, in the order of the table
    #[arg(required = true)]
    pub figures: Vec<PathBuf>,
    /// Draw miss ratio over memory there
    #[arg(long)]
    pub svg: Option<PathBuf>,
}

/// See [`Replay::ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ask {
    /// Values come along and are checked.
    Get,
    /// Hit or miss alone.
    Mg,
}

/// `GET:SET` as sets of a hundred.
fn ratio(text: &str) -> Result<u32, String> {
    let wanted = || format!("`{text}`: give GET:SET, as 9:1");
    let (gets, sets) = text.split_once(':').ok_or_else(wanted)?;
    let number = |word: &str| word.parse::<u32>().ok().filter(|&number| number <= 1_000_000);
    let (gets, sets) = number(gets).zip(number(sets)).ok_or_else(wanted)?;
    let all = gets + sets;
    (sets * 100 + all / 2).checked_div(all).ok_or_else(wanted)
}

/// `1/20` or `0.05`.
fn part(text: &str) -> Result<f64, String> {
    let number = |word: &str| word.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((over, under)) => number(over).zip(number(under)).map(|(over, under)| over / under),
        None => number(text),
    };
    let wanted = || format!("`{text}`: give a part of the footprint, as 1/20");
    value.filter(|part| *part > 0.0 && *part <= 1.0).ok_or_else(wanted)
}

fn share(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|share| (0.0..1.0).contains(share));
    value.ok_or_else(|| format!("`{text}`: give a share from 0 to below 1"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_words_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn numbers_are_read_or_refused() {
        assert_eq!([ratio("9:1"), ratio("0:1"), ratio("1:0")], [Ok(10), Ok(100), Ok(0)]);
        for bad in ["", "1", "0:0", "a:b", "1:2:3", "99999999999:1"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
        assert_eq!([part("1/20"), part("0.5")], [Ok(0.05), Ok(0.5)]);
        for bad in ["", "0", "2", "1/0", "-1/2", "x", "nan"] {
            assert!(part(bad).is_err(), "{bad}");
        }
        assert!(share("1").is_err() && share("0.25").is_ok());
    }

    #[test]
    fn wrong_words_are_refused() {
        let refused = |words: &str| Arguments::try_parse_from(words.split_whitespace()).is_err();
        assert!(refused("kannuki-bench"));
        assert!(refused("kannuki-bench compare onlyone"));
        assert!(refused("kannuki-bench load --address nowhere"));
        assert!(refused("kannuki-bench handshakes --resume"));
        assert!(refused("kannuki-bench handshakes --tls ca --certificate x"));
        assert!(!refused("kannuki-bench handshakes --tls ca --tls-version 1.2 --resume"));
        assert!(refused("kannuki-bench replay --svg x.svg"));
        assert!(refused("kannuki-bench replay --twitter 12 --pace 0"));
        assert!(!refused("kannuki-bench replay --zipf 1.0 --against a --against b --svg x.svg"));
    }
}
