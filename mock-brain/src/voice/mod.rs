//! How this brain speaks: as which release of the real one.
//!
//! Owns everything that it says on either transport. Must not decide what is said.

mod pen;
mod release;

pub(crate) use pen::{Pen, with_bad_signature};
pub use release::{Release, UnknownRelease};
