//! `[service]`: systemd's own directive names and meanings (systemd.exec(5)).
//!
//! Owns which directives there are and what they imply for each other. How one is carried out is the
//! sandbox's; one that no sandbox can give yet is not here, so that a file which asks for it is refused.

use serde::Deserialize;

use super::value::{AbsolutePath, Assignment, DirectoryNames, Flag, Mode};

/// The service that the agent runs in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub(crate) struct Service {
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) dynamic_user: Flag,
    pub(crate) state_directory: DirectoryNames,
    pub(crate) runtime_directory: DirectoryNames,
    pub(crate) environment: Vec<Assignment>,
    pub(crate) unset_environment: Vec<String>,
    pub(crate) working_directory: Option<AbsolutePath>,
    #[serde(rename = "UMask")]
    pub(crate) umask: Option<Mode>,
    pub(crate) protect_home: Option<ProtectHome>,
    pub(crate) protect_system: Option<ProtectSystem>,
    pub(crate) private_tmp: Flag,
    pub(crate) read_only_paths: Vec<AbsolutePath>,
    pub(crate) read_write_paths: Vec<AbsolutePath>,
    pub(crate) inaccessible_paths: Vec<AbsolutePath>,
    pub(crate) temporary_file_system: Vec<AbsolutePath>,
    pub(crate) no_new_privileges: Flag,
}

impl Service {
    /// `ProtectHome=`, with what `DynamicUser=` implies.
    pub(crate) fn home_protection(&self) -> ProtectHome {
        let implied = if self.dynamic_user.0 { ProtectHome::ReadOnly } else { ProtectHome::No };
        self.protect_home.unwrap_or(implied)
    }

    /// `ProtectSystem=`, with what `DynamicUser=` implies.
    pub(crate) fn system_protection(&self) -> ProtectSystem {
        let implied = if self.dynamic_user.0 { ProtectSystem::Strict } else { ProtectSystem::No };
        self.protect_system.unwrap_or(implied)
    }

    /// `PrivateTmp=`, with what `DynamicUser=` implies.
    pub(crate) const fn has_private_tmp(&self) -> bool {
        self.private_tmp.0 || self.dynamic_user.0
    }

    /// Whether the service may not write to /tmp.
    pub(crate) fn closes_tmp(&self) -> bool {
        self.system_protection() == ProtectSystem::Strict && !self.has_private_tmp()
    }

    /// `NoNewPrivileges=`, with what `DynamicUser=` implies.
    pub(crate) const fn forbids_new_privileges(&self) -> bool {
        self.no_new_privileges.0 || self.dynamic_user.0
    }
}

/// `ProtectHome=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtectHome {
    No,
    Yes,
    ReadOnly,
    Tmpfs,
}

/// `ProtectSystem=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtectSystem {
    No,
    Yes,
    Full,
    Strict,
}

/// Reads a directive that takes a truth value or one of a few words.
macro_rules! flag_or_word {
    ($name:ident { $($word:literal => $variant:ident),+ }) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Spelled { Flag(bool), Word(String) }
                match Spelled::deserialize(deserializer) {
                    Ok(Spelled::Flag(true)) => Ok(Self::Yes),
                    Ok(Spelled::Flag(false)) => Ok(Self::No),
                    Ok(Spelled::Word(word)) => match word.as_str() {
                        "yes" | "true" | "on" | "1" => Ok(Self::Yes),
                        "no" | "false" | "off" | "0" => Ok(Self::No),
                        $($word => Ok(Self::$variant),)+
                        other => Err(serde::de::Error::custom(format!(
                            "`{other}` is not one of true, false{}", concat!($(", ", $word),+)
                        ))),
                    },
                    Err(_) => Err(serde::de::Error::custom(
                        concat!("expected one of true, false", $(", ", $word),+)
                    )),
                }
            }
        }
    };
}

flag_or_word!(ProtectHome { "read-only" => ReadOnly, "tmpfs" => Tmpfs });
flag_or_word!(ProtectSystem { "full" => Full, "strict" => Strict });
