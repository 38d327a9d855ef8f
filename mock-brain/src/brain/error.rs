//! Why a brain does not start.
//!
//! Owns the sum of the reasons; their texts are those of the parts. Must not add to them.

use std::io;

use crate::fault::FaultError;
use crate::journal::JournalError;
use crate::pki::PkiError;
use crate::state::StateError;

/// Why a brain does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Certificates cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The listener that was passed in is of no use.
    #[error("the listening socket cannot be used: {0}")]
    Listener(#[from] io::Error),
    /// A fault cannot be set.
    #[error(transparent)]
    Fault(#[from] FaultError),
}
