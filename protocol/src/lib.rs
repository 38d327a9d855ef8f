//! The z4j wire protocol, version 2: what may stand on the wire, how it is signed, and how it is checked.
//!
//! This crate is pure. It owns canonical JSON, signing and verification, the replay guard, frame types with
//! their bounds, and close codes. It must not open sockets or files, read a clock or the environment, or
//! depend on an async runtime: time is passed in as a [`Timestamp`]. Its truth is the reference
//! implementation, held in `tests/vectors/`, not the two programs that use it.

mod canonical;
pub mod close;
mod float;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod integer;
mod iso8601;
mod loss;
mod parse;
pub mod payload;
mod refusal;
mod replay;
mod scan;
mod secret;
mod sign;
mod text;
mod timestamp;
mod value;
mod verify;

pub use canonical::CanonicalError;
pub use frame::{Frame, FrameType};
pub use integer::Integer;
pub use loss::{MAX_ADAPTERS, MAX_COUNTER, MAX_LOSS_ID_CHARS};
pub use parse::{MAX_DEPTH, MAX_INTEGER_DIGITS, ParseError, ParseErrorKind};
pub use refusal::{Class, Reason, Refusal};
pub use replay::{NONCE_CAPACITY, NONCE_WINDOW_SECONDS, ReplayGuard, SKEW_SECONDS};
pub use secret::{HmacSecret, MIN_SECRET_BYTES, SecretError, decode_secret};
pub use sign::{Binding, FrameError, Signer, unsigned_frame};
pub use text::CanonicalText;
pub use timestamp::{Timestamp, TimestampError};
pub use value::{Object, Value};
pub use verify::Verifier;

/// The protocol version that this crate speaks, as the number in a frame's `v`.
pub const PROTOCOL_VERSION: u64 = 2;

/// The protocol version as hello and hello_ack spell it.
pub const PROTOCOL_VERSION_TEXT: &str = "2";

/// Most events that a brain looks at in one `event_batch`; the rest would be acknowledged unread.
pub const MAX_EVENTS_PER_BATCH: usize = 5_000;

/// Most characters of a frame id.
pub const MAX_ID_CHARS: usize = 64;

/// Largest frame that a brain takes by default, in bytes (`hello_ack.max_frame_size_bytes`).
pub const DEFAULT_MAX_FRAME_BYTES: u64 = 1_048_576;
