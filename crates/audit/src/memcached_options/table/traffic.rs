//! Options that bound connections and share the work out.

use crate::memcached_options::spec::{Integer, OptionSpec, Shape, Unit};
use crate::option_table;

/// Numbers that memcached keeps in a signed 32-bit number and wants positive.
const POSITIVE: Shape = Integer::between(1, i32::MAX as i64).shape();

/// Most threads: no machine in sight has more processors, and each thread costs a stack.
const THREADS_MAX: i64 = 1024;

option_table! {
    /// Options that bound connections and share the work out.
    TRAFFIC;

    /// Most connections at once.
    ///
    /// The limit of open files of the process is set to match.
    CONN_LIMIT = OptionSpec::flag(b'c', "conn-limit", POSITIVE).default("1024");

    /// Threads that serve connections.
    THREADS =
        OptionSpec::flag(b't', "threads", Integer::between(1, THREADS_MAX).shape()).default("4");

    /// Commands served for one connection before the others get their turn.
    MAX_REQS_PER_EVENT =
        OptionSpec::flag(b'R', "max-reqs-per-event", POSITIVE).default("20");

    /// Choose the thread of a connection by the queue of the network card.
    NAPI_IDS = OptionSpec::flag(b'N', "napi-ids", POSITIVE)
        .no_effect("connections are handed out evenly");

    /// Over the limit of connections: answer with an error line and close, or (no_) stop
    /// accepting.
    MAXCONNS_FAST =
        OptionSpec::toggle("maxconns_fast", "no_maxconns_fast", Shape::Switch).default("true");

    /// Close a TCP connection that has sent nothing for so many seconds; 0 = never.
    IDLE_TIMEOUT = OptionSpec::suboption(
        "idle_timeout",
        Integer::between(0, i32::MAX as i64).in_unit(Unit::Seconds).shape(),
    )
    .value("S")
    .default("0");

    /// Most memory for unfinished input and unsent output of all connections together, in MiB.
    ///
    /// 0 = memcached sets no limit; Kannuki then keeps to its own.
    READ_BUF_MEM_LIMIT = OptionSpec::suboption(
        "read_buf_mem_limit",
        Integer::between(0, i32::MAX as i64).in_unit(Unit::Mebibytes).strictly().shape(),
    )
    .value("MB")
    .default("0");

    /// Deprecated by memcached in favour of read_buf_mem_limit.
    RESP_OBJ_MEM_LIMIT = OptionSpec::suboption(
        "resp_obj_mem_limit",
        Integer::between(i64::MIN, i64::MAX).in_unit(Unit::Mebibytes).or_bare(0).shape(),
    )
    .value("MB")
    .no_effect("memcached ignores it too; use read_buf_mem_limit");
}
