//! Why an agent does not start, and whose fault that is.

use crate::buffer;
use crate::ingest;
use crate::redaction::RedactionError;

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// There is no secret to sign with.
    #[error(
        "Z4J_HMAC_SECRET is not set: set it, or Z4J_HMAC_SECRET_FILE, to the secret that the brain showed when the agent was made"
    )]
    NoSecret,
    /// The secret is unusable; the text names the setting and the reason.
    #[error("{0}: set it to the secret that the brain showed when the agent was made, whole")]
    Secret(String),
    /// A pattern of redaction is unusable.
    #[error(transparent)]
    Redaction(#[from] RedactionError),
    /// There is no place for the buffer.
    #[error(transparent)]
    Place(#[from] buffer::PlaceError),
    /// The buffer does not open.
    #[error(transparent)]
    Buffer(#[from] buffer::OpenError),
    /// The agent's files cannot be made.
    #[error("no place for the agent's sockets: {0}")]
    Files(#[source] std::io::Error),
    /// There is no ingest socket.
    #[error(transparent)]
    Ingest(#[from] ingest::IngestError),
    /// Signals cannot be handled.
    #[error("signals cannot be handled: {0}")]
    Signals(#[source] std::io::Error),
}

impl RunError {
    /// Whether a setting is to blame, rather than the machine.
    pub(crate) const fn is_setting(&self) -> bool {
        use buffer::PlaceError::{Foreign, Outside};
        use ingest::IngestError;
        matches!(
            self,
            Self::NoSecret
                | Self::Secret(_)
                | Self::Redaction(_)
                | Self::Place(Outside { .. } | Foreign { .. })
                | Self::Ingest(
                    IngestError::TooLong { .. }
                        | IngestError::Foreign { .. }
                        | IngestError::NoDirectory { .. }
                )
        )
    }
}
