//! Secrets that stand in files: named by a setting, or a systemd credential.

use std::io::Read;
use std::path::Path;

use crate::config::{ConfigError, UnreadableSecret};
use crate::environment::Environment;
use crate::paths;
use crate::words;

/// Most of a secret's file that is read, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Reads a secret's file. `name` is the setting that names it, for errors.
pub(crate) fn read(name: &str, file: &Path, environment: &Environment) -> Result<String, ConfigError> {
    let mut text = String::new();
    let read =
        std::fs::File::open(file).and_then(|open| open.take(MAX_SECRET_BYTES).read_to_string(&mut text));
    let invalid = |problem: String, fix: String| ConfigError::Invalid {
        name: name.to_owned(),
        value: Some(file.display().to_string()),
        problem,
        fix,
    };
    match read {
        Ok(_) if text.trim().is_empty() => {
            Err(invalid("the file is empty".to_owned(), format!("write the secret into {}", file.display())))
        }
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(unreadable(name, file, environment, &error))
        }
        Err(error) => Err(invalid(
            words::errno_text(&error),
            format!("set {name} to the path of a readable file, or put the secret there"),
        )),
    }
}

fn unreadable(name: &str, file: &Path, environment: &Environment, error: &std::io::Error) -> ConfigError {
    let refusing = paths::first_unsearchable(file).unwrap_or_else(|| file.to_owned());
    ConfigError::SecretUnreadable(Box::new(UnreadableSecret {
        name: name.to_owned(),
        file: file.to_owned(),
        user: environment.account.user_text(),
        reason: words::errno_text(error),
        owner: paths::owner_of(&refusing),
        refusing,
        chown: environment.account.chown_spec(),
    }))
}
