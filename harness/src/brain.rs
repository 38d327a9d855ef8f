//! What steps do at the scenario's brain.
//!
//! Owns the translation of a step into calls of the library. Must not judge.

use mock_brain::{Brain, Farewell, NewCommand};

use crate::scenario::{BrainStep, Power};

/// Changes what the brain does. `token` is the agent's own.
///
/// # Errors
/// The brain refuses: why.
pub(crate) fn change(brain: &Brain, change: &BrainStep, agent: &str, token: &str) -> Result<(), String> {
    match change.power {
        Some(Power::Down) => brain.down(Farewell::Restart),
        Some(Power::Crash) => brain.down(Farewell::None),
        Some(Power::Up) => brain.up(),
        Some(Power::Restart) => {
            brain.down(Farewell::Restart);
            brain.up();
        }
        None => {}
    }
    for fault in &change.set {
        brain.set_fault(fault.clone()).map_err(|error| error.to_string())?;
    }
    for name in &change.clear {
        if !brain.clear_fault(&name.0) {
            return Err(format!("the fault `{}` is not active", name.0));
        }
    }
    if change.revoke {
        brain.revoke_agent(agent).map_err(|error| error.to_string())?;
    }
    if change.admit {
        brain.set_token(agent, token).map_err(|error| error.to_string())?;
    }
    if let Some(profile) = change.rotate {
        brain.rotate_certificate(Some(profile)).map_err(|error| error.to_string())?;
    }
    if let Some(command) = &change.command {
        let command: NewCommand =
            serde_json::from_value(command.clone()).map_err(|error| format!("the command: {error}"))?;
        brain.send_command(command).map_err(|error| error.to_string())?;
    }
    Ok(())
}
