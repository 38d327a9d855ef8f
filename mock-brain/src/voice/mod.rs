//! How this brain speaks: as which release of the real one, and how oddly.
//!
//! Owns everything that it says on either transport. Must not decide what is said.

mod ear;
mod oddity;
mod pen;
mod release;

pub(crate) use ear::Ear;
pub use oddity::ODDITIES;
pub(crate) use oddity::{Oddities, Quirks};
pub(crate) use pen::{Pen, with_bad_signature};
pub use release::{Release, UnknownRelease};
