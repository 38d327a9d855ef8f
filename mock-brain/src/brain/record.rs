//! What a running brain has seen: events, sessions, violations and commands.
//!
//! Owns no state: it lists what the hub's parts keep. Must not change any of it, but for a command that is issued.

use crate::brain::Brain;
use crate::commands::{CommandError, CommandInfo, NewCommand};
use crate::sessions::SessionInfo;
use crate::store::StoredEvent;
use crate::violation::Violation;

impl Brain {
    /// Every accepted event once, oldest first; read from the disk if the journal is there. None, and an error in
    /// the log, where it cannot be read.
    #[must_use]
    pub fn events(&self) -> Vec<StoredEvent> {
        self.hub.events().unwrap_or_else(|error| {
            tracing::error!(%error, "events cannot be read");
            Vec::new()
        })
    }

    /// How many events were accepted so far, in earlier runs of the journal too: as many as [`Brain::events`]
    /// lists, unless there were more than are kept.
    #[must_use]
    pub fn accepted_events(&self) -> u64 {
        self.hub.store.accepted()
    }

    /// How many events came again.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.hub.store.duplicates()
    }

    /// Sessions, live and ended, oldest first; also those that were refused.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.hub.sessions.list()
    }

    /// How many sessions live.
    #[must_use]
    pub fn live_sessions(&self) -> usize {
        self.hub.sessions.live()
    }

    /// How many violations there are.
    #[must_use]
    pub fn violation_count(&self) -> usize {
        self.hub.violations.count()
    }

    /// What agents did that they must not; under strict also what the real brain leaves free.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.hub.violations.list()
    }

    /// Issues a command. It waits until its agent is there, for as long as
    /// [`Limits::command`](crate::Limits::command) says.
    ///
    /// # Errors
    /// There is no such agent, it is revoked, or the command is not usable.
    pub fn send_command(&self, command: NewCommand) -> Result<CommandInfo, CommandError> {
        self.hub.send_command(command)
    }

    /// A command by its id.
    #[must_use]
    pub fn command(&self, id: &str) -> Option<CommandInfo> {
        self.hub.commands.get(id)
    }

    /// Every command that is kept, oldest first.
    #[must_use]
    pub fn commands(&self) -> Vec<CommandInfo> {
        self.hub.commands.list()
    }
}
