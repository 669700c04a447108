//! Does Kannuki say what memcached says? One module per way of asking.

mod compare;
mod coverage;
mod differences;
mod differential;
mod frame;
mod life;
mod memccapable;
mod notation;
mod play;
mod reply;
mod script;
mod start;
mod stat_policy;
mod udp;
