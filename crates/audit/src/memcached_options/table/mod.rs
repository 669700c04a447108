//! Every option that memcached 1.6.45 understands, in the groups in which help shows them.

pub mod access;
pub mod engine;
pub mod listening;
pub mod memory;
pub mod process;
pub mod proxy;
pub mod storage;
pub mod tls;
pub mod traffic;

use super::spec::{Group, OptionSpec};

/// All groups in the order of help.
pub static GROUPS: &[Group] = &[
    Group { title: "Listening", options: listening::LISTENING },
    Group { title: "Memory", options: memory::MEMORY },
    Group { title: "Connections and threads", options: traffic::TRAFFIC },
    Group { title: "What clients may do", options: access::ACCESS },
    Group { title: "The process", options: process::PROCESS },
    Group { title: "Tuning of memcached's own engine (-o)", options: engine::ENGINE },
    Group { title: "TLS", options: tls::TLS },
    Group { title: "Extended storage (-o)", options: storage::STORAGE },
    Group { title: "Proxy (-o)", options: proxy::PROXY },
];

/// Every option, one after the other.
pub fn all() -> impl Iterator<Item = &'static OptionSpec> {
    GROUPS.iter().flat_map(|group| group.options.iter().copied())
}
