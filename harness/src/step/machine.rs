//! Steps that do something to the machine.
//!
//! Owns their translation into operations of the sandbox.

use super::StepError;
use crate::sandbox::{Link, Operation};
use crate::scenario::{Access, Loaded, Network, Verb, WriteFile};
use crate::stage::{Stage, StageError};

/// Does what a step says. Verbs that are about something else do nothing here.
pub(super) fn operate(stage: &mut Stage, loaded: &Loaded, verb: Verb<'_>) -> Result<(), StepError> {
    let (what, operation) = match verb {
        Verb::ClearTmp(clear) => ("clear /tmp".to_owned(), Operation::ClearTmp { only: clear.only.clone() }),
        Verb::Fill(path) => (format!("fill {}", path.0.display()), Operation::Fill { path: path.0.clone() }),
        Verb::Free(path) => (format!("free {}", path.0.display()), Operation::Free { path: path.0.clone() }),
        Verb::Remount(remount) => {
            let path = remount.path.0.clone();
            let read_only = remount.to == Access::ReadOnly;
            (format!("remount {}", path.display()), Operation::Remount { path, read_only })
        }
        Verb::Write(file) => {
            let WriteFile { path, content, owner, mode } = file;
            let owner = owner.as_ref().map(|owner| stage.ids_of(owner)).transpose()?;
            let content = stage.filled_in(&loaded.scenario, content);
            let (path, mode) = (path.0.clone(), mode.map(|mode| mode.0));
            (format!("write {}", path.display()), Operation::Write { path, content, owner, mode })
        }
        Verb::Remove(path) => {
            (format!("remove {}", path.0.display()), Operation::Remove { path: path.0.clone() })
        }
        Verb::Chown(chown) => {
            let (path, owner) = (chown.path.0.clone(), stage.ids_of(&chown.owner)?);
            (format!("chown {}", path.display()), Operation::Chown { path, owner })
        }
        Verb::Chmod(chmod) => {
            let (path, mode) = (chmod.path.0.clone(), chmod.mode.0);
            (format!("chmod {}", path.display()), Operation::Chmod { path, mode })
        }
        Verb::Network(network) => {
            let link = match network {
                Network::Cut => Link::Down,
                Network::Drop => Link::Drop,
                Network::Restore => Link::Up,
            };
            ("change the network".to_owned(), Operation::Network(link))
        }
        _ => return Ok(()),
    };
    stage.operate(operation).map_err(|error| match error {
        StageError::Unavailable(reason) => StageError::Unavailable(reason).into(),
        error => StepError::Failed(format!("cannot {what}: {error}")),
    })
}
