//! What is wrong with a configuration: a code, one sentence, and the way out.
//!
//! Must not hold any part of a secret: those values are never in an error.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::paths::Owner;
use crate::words::{self, assignment, join_words, word};

/// A configuration that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Required settings are not set.
    #[error("{} not set", are(names))]
    Missing {
        /// Every one of them.
        names: Vec<&'static str>,
    },
    /// Required settings are not set, and a file that nobody reads has them.
    #[error(
        "{} not set, but {} has {}: systemd does not read that file by itself",
        are(names),
        file.display(),
        if names.len() == 1 { "it" } else { "them" }
    )]
    EnvFileNotLoaded {
        /// Every missing setting.
        names: Vec<&'static str>,
        /// The file, as an absolute path.
        file: PathBuf,
        /// Whether lines of it begin with `export`, which systemd does not understand.
        exported: bool,
    },
    /// A value that cannot be used.
    #[error("{name}{}: {problem}", value.as_ref().map(|value| format!("={value:?}")).unwrap_or_default())]
    Invalid {
        /// The variable or flag.
        name: String,
        /// What it holds; nothing for a secret.
        value: Option<String>,
        /// What is wrong with that.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// The file of settings says something that it may not.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// A secret's file, or the file of settings, cannot be read by this user.
    #[error("{0}")]
    SecretUnreadable(Box<UnreadableSecret>),
    /// Plain text over a network.
    #[error("{name}={url:?}: http:// would send the token over the network in plain text")]
    Plaintext {
        /// The variable or flag.
        name: String,
        /// The URL.
        url: String,
        /// The same with https.
        secure: String,
    },
}

impl ConfigError {
    /// The stable word for it.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "config.missing",
            Self::EnvFileNotLoaded { .. } => "config.env-file-not-loaded",
            Self::Invalid { .. } | Self::File { .. } => "config.invalid",
            Self::SecretUnreadable(_) => "config.secret-unreadable",
            Self::Plaintext { .. } => "config.plaintext",
        }
    }

    /// What to do about it, ready to paste where that is possible.
    pub(crate) fn fix(&self) -> String {
        match self {
            Self::Missing { names } => {
                let lines: Vec<String> = names.iter().map(|name| format!("Environment={name}=…")).collect();
                format!("in the unit (sudo systemctl edit SERVICE), below [Service]:\n{}", lines.join("\n"))
            }
            Self::EnvFileNotLoaded { file, exported, .. } => {
                let remove = if *exported { ", and remove `export ` from its lines" } else { "" };
                format!("EnvironmentFile={}{remove}", words::systemd(&file.display().to_string()))
            }
            Self::Invalid { fix, .. } | Self::File { fix, .. } => fix.clone(),
            Self::SecretUnreadable(secret) => secret.fix(),
            Self::Plaintext { secure, .. } => assignment("Z4J_BRAIN_URL", secure),
        }
    }
}

/// A secret's file that this user cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnreadableSecret {
    /// The setting that names the file.
    pub(crate) name: String,
    /// The file.
    pub(crate) file: PathBuf,
    /// Who tried.
    pub(crate) user: String,
    /// What the kernel said.
    pub(crate) reason: String,
    /// The path component that refuses.
    pub(crate) refusing: PathBuf,
    /// Its owner and mode, where they can be seen.
    pub(crate) owner: Option<Owner>,
    /// The user's name or number, for a line to paste.
    pub(crate) user_flag: String,
    /// The group's.
    pub(crate) group: String,
}

impl UnreadableSecret {
    fn fix(&self) -> String {
        let Self { user_flag, group, .. } = self;
        let file = word(&self.file);
        if self.file == self.refusing && !is_systems(&self.file) {
            return format!("sudo chown {user_flag}:{group} {file} && sudo chmod 0400 {file}");
        }
        // Opening /root to everybody, or giving a file of the system away, would be worse than the failure:
        // the service gets a copy.
        let (setting, place) = if matches!(self.name.as_str(), "--config" | "Z4J_CONFIG") {
            ("Z4J_CONFIG", "/etc/z4j/z4j.toml")
        } else if self.name.contains("HMAC") || self.name.contains("hmac") {
            ("Z4J_HMAC_SECRET_FILE", "/etc/z4j/hmac_secret")
        } else {
            ("Z4J_TOKEN_FILE", "/etc/z4j/token")
        };
        format!(
            "sudo install -D -o {user_flag} -g {group} -m 0400 {file} {place}\n{}",
            assignment(setting, place)
        )
    }
}

/// Whether a file lies where the system's own do, other than where this advice puts copies.
fn is_systems(file: &Path) -> bool {
    let own = file.starts_with("/etc/z4j");
    !own && ["/etc", "/usr", "/dev", "/proc", "/sys"].iter().any(|folder| file.starts_with(folder))
}

impl fmt::Display for UnreadableSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, user, reason, .. } = self;
        write!(f, "{name}: {} cannot be read by {user}: {reason}", self.file.display())?;
        match self.owner {
            Some(owner) => write!(f, " ({} is {owner})", self.refusing.display()),
            None => Ok(()),
        }
    }
}

fn are(names: &[&str]) -> String {
    format!("{} {}", join_words(names), if names.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(file: &str, refusing: &str) -> String {
        let unreadable = UnreadableSecret {
            name: "Z4J_TOKEN_FILE".to_owned(),
            file: file.into(),
            refusing: refusing.into(),
            user: "www-data".to_owned(),
            reason: String::new(),
            owner: None,
            user_flag: "www-data".to_owned(),
            group: "www-data".to_owned(),
        };
        unreadable.fix()
    }

    #[test]
    fn a_secret_is_given_to_the_service_and_nothing_of_the_systems() {
        assert!(fix("/srv/picker/token", "/srv/picker/token").starts_with("sudo chown www-data:www-data"));
        assert!(fix("/etc/z4j/token", "/etc/z4j/token").starts_with("sudo chown www-data:www-data"));
        for (file, refusing) in [("/etc/shadow", "/etc/shadow"), ("/root/token", "/root")] {
            assert!(fix(file, refusing).starts_with("sudo install -D -o www-data"), "{file}");
        }
    }
}
