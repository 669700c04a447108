//! The grammar, line by line.
