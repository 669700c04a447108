//! Nothing: see Cargo.toml beside this file.
