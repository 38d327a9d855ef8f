//! Secrets that stand in files: named by a setting, or a systemd credential.

use std::path::Path;

use crate::config::{ConfigError, UnreadableSecret};
use crate::environment::Environment;
use crate::words::{self, word};
use crate::{files, paths};

/// Most of a secret's file that is read, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Reads a secret's file. `name` is the setting that names it, for errors.
pub(crate) fn read(name: &str, file: &Path, environment: &Environment) -> Result<String, ConfigError> {
    let invalid = |value: Option<String>, problem: String, fix: String| ConfigError::Invalid {
        name: name.to_owned(),
        value,
        problem,
        fix,
    };
    let read = files::read(file, MAX_SECRET_BYTES);
    // Somebody who mistook one setting for the other must not find the secret in a log.
    if read.is_err() && !is_surely_a_path(file) {
        let value = name.strip_suffix("_FILE").filter(|_| name != "LoadCredential");
        return Err(invalid(
            None,
            "the value is no path of a file; it looks like the secret itself".to_owned(),
            match value {
                Some(value) => {
                    format!("use {value}= for the secret itself, or give the absolute path of a file")
                }
                None => "put the secret into a file, and give its absolute path".to_owned(),
            },
        ));
    }
    let shown = || Some(file.display().to_string());
    let text = match read {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
            invalid(
                shown(),
                "the file is not UTF-8".to_owned(),
                format!("write the secret into {}", word(file)),
            )
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(unreadable(name, file, environment, &error));
        }
        Err(error) => {
            let fix = format!("set {name} to the path of a readable file, or put the secret there");
            return Err(invalid(shown(), words::errno_text(&error), fix));
        }
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        let fix = format!("write the secret into {}", word(file));
        return Err(invalid(shown(), "the file is empty".to_owned(), fix));
    }
    Ok(text.to_owned())
}

/// Whether a value names a place, rather than being a secret that was put where its file's path belongs. A
/// secret may hold a slash; only these do not look like one.
fn is_surely_a_path(file: &Path) -> bool {
    let begins = ["/", "./", "../", "~/"]
        .iter()
        .any(|start| file.as_os_str().as_encoded_bytes().starts_with(start.as_bytes()));
    begins || std::fs::symlink_metadata(file).is_ok()
}

/// The refusal of a file that this user cannot read.
pub(crate) fn unreadable(
    name: &str,
    file: &Path,
    environment: &Environment,
    error: &std::io::Error,
) -> ConfigError {
    let refusing = paths::first_unsearchable(file).unwrap_or_else(|| file.to_owned());
    ConfigError::SecretUnreadable(Box::new(UnreadableSecret {
        name: name.to_owned(),
        file: file.to_owned(),
        user: environment.account.user_text(),
        reason: words::errno_text(error),
        owner: paths::owner_of(&refusing),
        refusing,
        user_flag: environment.account.user_text(),
        group: environment.account.group_text(),
    }))
}
