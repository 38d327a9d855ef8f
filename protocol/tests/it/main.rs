//! The protocol crate against the reference's vectors, and its algebra.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod hello;
mod properties;
mod vectors;
