//! Commands on their way: issued, answered, over.
//!
//! Owns who is woken for a command, and what an answer breaks. Must not hold commands (`commands`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use z4j_protocol::{Frame, FrameType};

use crate::clock;
use crate::commands::{Answered, CommandError, CommandInfo, NewCommand};
use crate::hub::Hub;
use crate::quote::quote;
use crate::registry::Agent;
use crate::violation::{Found, Rule};

/// How often the counts of sessions are journalled.
const COUNTS: Duration = Duration::from_secs(1);

impl Hub {
    /// Issues a command, and wakes whoever is to deliver it.
    pub(crate) fn send_command(&self, command: NewCommand) -> Result<CommandInfo, CommandError> {
        let agent = self.registry.named(command.agent.as_deref())?;
        if agent.revoked {
            return Err(CommandError::Revoked(agent.name.clone()));
        }
        self.send_command_to(&agent, command)
    }

    /// As [`Hub::send_command`], to this agent.
    pub(crate) fn send_command_to(
        &self,
        agent: &Agent,
        command: NewCommand,
    ) -> Result<CommandInfo, CommandError> {
        let info = self.commands.issue(agent, command, clock::now())?;
        tracing::info!(id = %info.id, agent = %agent.name, action = %quote(&info.action), "command issued");
        self.sessions.deliver_commands(agent.id);
        self.ordered();
        Ok(info)
    }

    /// Takes an answer to a command, if the frame is one, and tells what is wrong with it.
    pub(crate) fn answered(&self, agent: &Agent, frame: &Frame) -> Vec<Found> {
        let id = frame.id().unwrap_or_default();
        let kind = frame.frame_type();
        let answered = match kind {
            FrameType::CommandAck => self.commands.acked(agent.id, id, frame.payload(), clock::now()),
            FrameType::CommandResult => self.commands.finished(agent.id, id, frame.payload(), clock::now()),
            _ => return Vec::new(),
        };
        let Some(Answered { sent, echoed, acked }) = answered else {
            if self.commands.was_issued(agent, id) {
                // This brain forgot it, which is no fault of the agent's.
                return Vec::new();
            }
            return vec![(Rule::CommandUnknown, format!("{kind} {}", quote(id)))];
        };
        let found = [
            (!sent, Rule::CommandUnknown, "of a command that was not sent yet"),
            (!echoed, Rule::ClaimToken, "lacks the delivery_claim_token"),
            (!acked && kind == FrameType::CommandResult, Rule::ResultUnacked, "was not acknowledged before"),
        ];
        let found = found.into_iter().filter(|(is, ..)| *is);
        found.map(|(_, rule, what)| (rule, format!("{kind} {} {what}", quote(id)))).collect()
    }

    /// Ends commands whose time is over, journals what was counted, and forgets what fell idle, until the brain stops.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        let (mut sweeps, mut counts) = (interval(self.commands.sweep_interval()), interval(COUNTS));
        for ticks in [&mut sweeps, &mut counts] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = sweeps.tick() => if self.commands.sweep(clock::now()) {
                    self.happened();
                },
                _ = counts.tick() => {
                    self.sessions.keep_counts();
                    self.longpoll.forget_idle(&self, clock::now());
                }
                () = self.stopping() => return,
            }
        }
    }
}
