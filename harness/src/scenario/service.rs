//! `[service]`: systemd's own directive names and meanings (systemd.exec(5)).
//!
//! Owns which directives there are and what they imply for each other. How one is carried out is the
//! sandbox's; one that no sandbox can give yet is not here, so that a file which asks for it is refused. Those
//! that only harden, or that mean nothing while a scenario runs, are taken and told (`harness validate`).

use serde::Deserialize;

use super::directive::{Capabilities, Credential, Kind, Limit, MaybePath, Seconds, TemporaryFileSystem};
use super::value::{AbsolutePath, Assignment, DirectoryNames, Flag, Mode, Signal};

/// Declares the service: what a sandbox gives, and by name what it does not.
macro_rules! service {
    (
        $(#[$meta:meta])* struct $name:ident { $($given:tt)* }
        only_hardens { $($hard:ident = $hard_name:literal,)* }
        without_effect { $($idle:ident = $idle_name:literal,)* }
    ) => {
        $(#[$meta])*
        pub(crate) struct $name {
            $($given)*
            $(#[serde(rename = $hard_name)] $hard: Option<Said>,)*
            $(#[serde(rename = $idle_name)] $idle: Option<Said>,)*
        }

        impl $name {
            /// Directives that the service has and the sandbox does not carry out, because they only harden.
            pub(crate) fn only_hardens(&self) -> Vec<&'static str> {
                let all = [$((self.$hard.is_some(), $hard_name),)*];
                all.into_iter().filter_map(|(said, name)| said.then_some(name)).collect()
            }

            /// Directives that the service has and that mean nothing while a scenario runs.
            pub(crate) fn without_effect(&self) -> Vec<&'static str> {
                let all = [$((self.$idle.is_some(), $idle_name),)*];
                all.into_iter().filter_map(|(said, name)| said.then_some(name)).collect()
            }
        }
    };
}

/// The value of a directive that is not carried out.
type Said = serde::de::IgnoredAny;

service! {
    /// The service that the agent runs in.
    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
    struct Service {
        /// A unit file beside the scenario; what else is said here wins over it.
        #[serde(rename = "unit")]
        pub(crate) unit: Option<std::path::PathBuf>,
        #[serde(rename = "Type")]
        pub(crate) kind: Kind,
        pub(crate) exec_start: Option<String>,
        pub(crate) exec_reload: Option<String>,
        pub(crate) kill_signal: Option<Signal>,
        #[serde(rename = "TimeoutStartSec")]
        pub(crate) timeout_start: Option<Seconds>,
        #[serde(rename = "TimeoutStopSec")]
        pub(crate) timeout_stop: Option<Seconds>,
        #[serde(rename = "WatchdogSec")]
        pub(crate) watchdog: Option<Seconds>,
        pub(crate) user: Option<String>,
        pub(crate) group: Option<String>,
        pub(crate) dynamic_user: Flag,
        pub(crate) state_directory: DirectoryNames,
        pub(crate) state_directory_mode: Option<Mode>,
        pub(crate) runtime_directory: DirectoryNames,
        pub(crate) runtime_directory_mode: Option<Mode>,
        pub(crate) cache_directory: DirectoryNames,
        pub(crate) logs_directory: DirectoryNames,
        pub(crate) environment: Vec<Assignment>,
        pub(crate) environment_file: Vec<MaybePath>,
        pub(crate) unset_environment: Vec<String>,
        pub(crate) load_credential: Vec<Credential>,
        pub(crate) working_directory: Option<AbsolutePath>,
        #[serde(rename = "UMask")]
        pub(crate) umask: Option<Mode>,
        pub(crate) protect_home: Option<ProtectHome>,
        pub(crate) protect_system: Option<ProtectSystem>,
        pub(crate) private_tmp: Flag,
        /// The sandbox's /dev has pseudo devices only.
        pub(crate) private_devices: Flag,
        pub(crate) read_only_paths: Vec<MaybePath>,
        pub(crate) read_write_paths: Vec<MaybePath>,
        pub(crate) inaccessible_paths: Vec<MaybePath>,
        pub(crate) temporary_file_system: Vec<TemporaryFileSystem>,
        pub(crate) no_new_privileges: Flag,
        pub(crate) capability_bounding_set: Option<Capabilities>,
        #[serde(rename = "LimitFSIZE")]
        pub(crate) limit_file_size: Option<Limit>,
        #[serde(rename = "LimitNOFILE")]
        pub(crate) limit_open_files: Option<Limit>,
    }
    only_hardens {
        ambient_capabilities = "AmbientCapabilities",
        device_allow = "DeviceAllow",
        device_policy = "DevicePolicy",
        ip_accounting = "IPAccounting",
        keyring_mode = "KeyringMode",
        lock_personality = "LockPersonality",
        memory_deny_write_execute = "MemoryDenyWriteExecute",
        private_mounts = "PrivateMounts",
        private_users = "PrivateUsers",
        proc_subset = "ProcSubset",
        protect_clock = "ProtectClock",
        protect_control_groups = "ProtectControlGroups",
        protect_hostname = "ProtectHostname",
        protect_kernel_logs = "ProtectKernelLogs",
        protect_kernel_modules = "ProtectKernelModules",
        protect_kernel_tunables = "ProtectKernelTunables",
        protect_proc = "ProtectProc",
        remove_ipc = "RemoveIPC",
        restrict_address_families = "RestrictAddressFamilies",
        restrict_namespaces = "RestrictNamespaces",
        restrict_realtime = "RestrictRealtime",
        restrict_suid_sgid = "RestrictSUIDSGID",
        system_call_architectures = "SystemCallArchitectures",
        system_call_error_number = "SystemCallErrorNumber",
        system_call_filter = "SystemCallFilter",
    }
    without_effect {
        kill_mode = "KillMode",
        memory_max = "MemoryMax",
        memory_high = "MemoryHigh",
        nice = "Nice",
        notify_access = "NotifyAccess",
        oom_score_adjust = "OOMScoreAdjust",
        restart = "Restart",
        restart_sec = "RestartSec",
        restart_steps = "RestartSteps",
        restart_max = "RestartMaxDelaySec",
        restart_prevent = "RestartPreventExitStatus",
        send_sigkill = "SendSIGKILL",
        slice = "Slice",
        standard_error = "StandardError",
        standard_input = "StandardInput",
        standard_output = "StandardOutput",
        success_exit_status = "SuccessExitStatus",
        syslog_identifier = "SyslogIdentifier",
        tasks_max = "TasksMax",
    }
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
