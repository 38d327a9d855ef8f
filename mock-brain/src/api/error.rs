//! Why the control API refuses: a word for programs and a line for people.
//!
//! Owns the words and the HTTP status of each. They are part of the API: none changes its meaning.

use std::fmt::Display;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::commands::CommandError;
use crate::condition::ConditionError;
use crate::fault::FaultError;
use crate::journal::JournalError;
use crate::pki::PkiError;
use crate::registry::RegistryError;
use crate::state::StateError;

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorCode {
    /// A body, query or path that cannot be read.
    BadRequest,
    /// The bearer token is not the one of `control.json`.
    Unauthenticated,
    /// The Host header names another server.
    ForeignHost,
    /// The request is a web page's.
    ForeignOrigin,
    /// There is no such endpoint, agent, project, command or certificate.
    NotFound,
    /// The endpoint does not take that method.
    MethodNotAllowed,
    /// What is to be made is there already, or several are of the name that was given.
    Conflict,
    /// A name, slug, token or number that cannot be used.
    BadValue,
    /// A fault that is none, or not for this brain.
    BadFault,
    /// A fault of that name is not set.
    NotSet,
    /// A command that cannot be sent.
    BadCommand,
    /// The command's agent is revoked.
    Revoked,
    /// Too many commands wait.
    TooManyCommands,
    /// The brain speaks plain HTTP: it has no certificate.
    NoTls,
    /// What was waited for did not come in time.
    WaitTimedOut,
    /// The brain stops.
    Stopping,
    /// The state directory cannot be written.
    State,
    /// The journal cannot be read or written.
    Journal,
    /// A mistake of this program.
    Internal,
}

impl ErrorCode {
    /// The status that it is answered with.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NotSet => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::Revoked | Self::NoTls => StatusCode::CONFLICT,
            Self::BadValue | Self::BadFault | Self::BadCommand => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyCommands => StatusCode::TOO_MANY_REQUESTS,
            Self::WaitTimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::State | Self::Journal | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ApiError {
    /// For programs.
    pub(crate) error: ErrorCode,
    /// For people: what, why and the way out.
    pub(crate) message: String,
}

/// A refusal, as handlers return it.
#[derive(Debug)]
pub(crate) struct Refusal(ApiError);

impl Refusal {
    pub(crate) fn new(error: ErrorCode, message: impl Display) -> Self {
        Self(ApiError { error, message: message.to_string() })
    }

    /// A body, query or path that cannot be read.
    pub(crate) fn unreadable(message: impl Display) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0.error.status(), Json(self.0)).into_response()
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let code = match &error {
            RegistryError::NoAgent { .. } | RegistryError::NoProject(_) => ErrorCode::NotFound,
            RegistryError::Taken(_)
            | RegistryError::Archived(_)
            | RegistryError::LastProject(_)
            | RegistryError::Ambiguous { .. } => ErrorCode::Conflict,
            RegistryError::Token | RegistryError::State(StateError::Slug(_) | StateError::AgentName(_)) => {
                ErrorCode::BadValue
            }
            // The directory of a brain that runs cannot be chosen anew.
            RegistryError::State(StateError::Io { path, error }) => {
                let words = format!("state directory {path:?}: {error}; make room or mend that");
                return Self::new(ErrorCode::State, words);
            }
            RegistryError::State(_) => ErrorCode::State,
        };
        Self::new(code, error)
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Agent(error) => error.into(),
            CommandError::Full(_) => Self::new(ErrorCode::TooManyCommands, error),
            CommandError::Revoked(_) => Self::new(ErrorCode::Revoked, error),
            CommandError::Unusable(_) => Self::new(ErrorCode::BadCommand, error),
        }
    }
}

impl From<ConditionError> for Refusal {
    fn from(error: ConditionError) -> Self {
        match error {
            ConditionError::Agent(error) => error.into(),
            ConditionError::NoCommand(_) => Self::new(ErrorCode::NotFound, error),
        }
    }
}

impl From<FaultError> for Refusal {
    fn from(error: FaultError) -> Self {
        Self::new(ErrorCode::BadFault, error)
    }
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::new(ErrorCode::Journal, error)
    }
}

impl From<PkiError> for Refusal {
    fn from(error: PkiError) -> Self {
        let code = match &error {
            PkiError::NoTls => ErrorCode::NoTls,
            PkiError::Name(_) | PkiError::ClientNames | PkiError::OfHandshake(_) | PkiError::OfServer(_) => {
                ErrorCode::BadValue
            }
            PkiError::Key | PkiError::Issue(_) | PkiError::Tls(_) => ErrorCode::Internal,
        };
        Self::new(code, error)
    }
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Pki(error) => error.into(),
            error => Self::new(ErrorCode::State, error),
        }
    }
}
