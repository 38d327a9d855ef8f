//! What an agent is configured with.
//!
//! Owns its form as JSON, and a `Debug` that shows neither token nor secret.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an agent is configured with. `Debug` shows neither token nor secret; serialising shows both.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Credentials {
    /// The project's slug (`Z4J_PROJECT_ID`).
    pub project_id: String,
    /// The project's UUID, which signatures are bound to.
    pub project_uuid: String,
    /// The agent's name (`Z4J_AGENT_NAME`).
    pub agent_name: String,
    /// The agent's UUID (`Z4J_AGENT_ID`).
    pub agent_id: String,
    /// The bearer token (`Z4J_TOKEN`).
    pub token: String,
    /// The project's signing secret (`Z4J_HMAC_SECRET`).
    pub hmac_secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("project_id", &self.project_id)
            .field("project_uuid", &self.project_uuid)
            .field("agent_name", &self.agent_name)
            .field("agent_id", &self.agent_id)
            .finish_non_exhaustive()
    }
}
