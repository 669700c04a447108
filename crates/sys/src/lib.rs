//! The one place of unsafe.
