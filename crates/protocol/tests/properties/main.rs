//! Properties of the wire protocols that hold for every stream, however it is cut.
#![cfg(test)]

mod encode;
mod replay;
mod split;
mod streams;
