//! Hostile peers: whatever they send, memory stays bounded, others are served, and the refusal has
//! a name that is counted.
//!
//! Every test is bounded in connections, bytes and time, and ends with the same three questions:
//! is the server alive, does it still answer, did its memory stay below a bound named in the test.

mod connections;
mod days;
mod lines;
mod streams;
mod victim;
