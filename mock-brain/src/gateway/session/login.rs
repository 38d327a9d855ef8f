//! Who may start a session: the address, then the bearer token.
//!
//! Owns the order of these checks, with the faults that strike in them. Must not know tokens (`registry`).

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use z4j_protocol::close;

use crate::admission::TurnedAway;
use crate::fault::Point;
use crate::gateway::session::Session;
use crate::gateway::session::ending::Ending;
use crate::login::Login;
use crate::registry::Agent;
use crate::verdict::{self, Closing};

impl Session<'_> {
    /// Connects of an address are counted first, then it is looked up, whatever the token.
    pub(super) fn turn_away(&self, headers: &HeaderMap) -> Result<(), Ending> {
        let admission = &self.hub.admission;
        let client = admission.client(self.peer.address.ip(), headers);
        let admitted = admission.connect(client, Instant::now()).and_then(|()| admission.admit(client));
        admitted.map_err(|away| match away {
            TurnedAway::TooOften(_) => {
                let detail = format!("{client} connects too often");
                Closing::with_reason(close::RATE, "agent connect rate limit exceeded", detail).into()
            }
            TurnedAway::Address => Ending::close(close::FORBIDDEN, &format!("{client} is not admitted")),
        })
    }

    pub(super) fn authenticate(
        &mut self,
        headers: &HeaderMap,
    ) -> Result<(Arc<Agent>, Option<Login>), Ending> {
        let token = verdict::bearer(headers).ok_or_else(|| Ending::close(close::TOKEN, "no bearer token"))?;
        let agent = self.hub.registry.by_token(token);
        let agent = agent.ok_or_else(|| Ending::close(close::TOKEN, "unknown bearer token"))?;
        self.hub.sessions.identified(self.serial, &agent);
        self.agent = Some(Arc::clone(&agent));
        let login = self.strike(Point::Login, 0, 0)?.as_ref().and_then(Login::of);
        match login {
            Some(Login::Rejected) => Err(Ending::close(close::TOKEN, "fault ws.token-rejected")),
            Some(Login::AddressRefused) => Err(Ending::close(close::FORBIDDEN, "fault ws.address-refused")),
            Some(Login::RateLimited) => {
                let reason = "agent connect rate limit exceeded";
                Err(Closing::with_reason(close::RATE, reason, "fault ws.rate-limited").into())
            }
            Some(Login::Skewed(seconds)) => {
                self.ahead = seconds.into();
                self.misreads = true;
                Ok((agent, None))
            }
            other => Ok((agent, other)),
        }
    }

    /// The agent as a fault has it, once its hello was read.
    pub(super) fn logged_in(
        &mut self,
        agent: Arc<Agent>,
        login: Option<Login>,
    ) -> Result<Arc<Agent>, Ending> {
        match login {
            Some(Login::OtherProject) => {
                let detail = "fault ws.project-mismatch";
                Err(Closing::with_reason(close::FORBIDDEN, "project_mismatch", detail).into())
            }
            Some(Login::OtherSecret) => {
                self.misreads = true;
                Ok(Arc::new(agent.with_other_secret()))
            }
            _ => Ok(agent),
        }
    }
}
