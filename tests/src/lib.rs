//! Whole processes under test.
