//! Whether something starts this process anew when it exits.
//!
//! Unasked, the rule is the Python agent's: without it, a restart would be an end. What the operator says goes
//! before it. Reads the machine's files; must not act.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::files;

/// Words in /proc/1/cgroup that say "container".
const CONTAINERS: [&str; 4] = ["docker", "kubepods", "containerd", "crio"];

/// Variables of Kubernetes, systemd and supervisord.
const VARIABLES: [&str; 5] = [
    "KUBERNETES_SERVICE_HOST",
    "INVOCATION_ID",
    "NOTIFY_SOCKET",
    "SUPERVISOR_ENABLED",
    "SUPERVISOR_PROCESS_NAME",
];

/// Most of /proc/1/cgroup that is read, in bytes.
const MAX_CGROUP_BYTES: u64 = 64 * 1024;

/// Where the signs are.
#[derive(Clone, Debug)]
pub(crate) struct Signs {
    /// Files whose presence says it.
    pub(crate) markers: Vec<PathBuf>,
    /// The first process's control groups.
    pub(crate) cgroup: PathBuf,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            markers: vec!["/.dockerenv".into(), "/etc/z4j-orchestrated".into()],
            cgroup: "/proc/1/cgroup".into(),
        }
    }
}

/// Whether something starts this process anew. A setting decides alone. Without one it takes a file and a
/// variable; the first process of a container needs neither.
pub(crate) fn is_orchestrated(setting: Option<bool>, environment: &Environment, signs: &Signs) -> bool {
    if let Some(told) = setting {
        return told;
    }
    if environment.pid == 1 {
        return true;
    }
    let told = VARIABLES.iter().any(|name| environment.get(name).is_some());
    told && (signs.markers.iter().any(|marker| exists(marker)) || is_container(&signs.cgroup))
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn is_container(cgroup: &Path) -> bool {
    let text = files::read(cgroup, MAX_CGROUP_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    CONTAINERS.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve_environment as environment;

    #[test]
    fn it_takes_a_file_and_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let (marker, cgroup) = (dir.path().join("marker"), dir.path().join("cgroup"));
        std::fs::write(&marker, "").unwrap();
        std::fs::write(&cgroup, "0::/kubepods/burstable/x\n").unwrap();
        let none = PathBuf::from("/nonexistent/sign");
        let signs = |marker: &PathBuf, cgroup: &PathBuf| Signs {
            markers: vec![marker.clone()],
            cgroup: cgroup.clone(),
        };
        for (setting, variable, marker, cgroup, pid, wanted) in [
            (None, "INVOCATION_ID", &marker, &none, 7, true),
            (None, "KUBERNETES_SERVICE_HOST", &none, &cgroup, 7, true),
            (None, "INVOCATION_ID", &none, &none, 7, false),
            (None, "NOTHING", &marker, &cgroup, 7, false),
            (Some(true), "NOTHING", &marker, &none, 7, true),
            (Some(true), "NOTHING", &none, &none, 7, true),
            (Some(false), "INVOCATION_ID", &marker, &cgroup, 1, false),
            (None, "NOTHING", &none, &none, 1, true),
        ] {
            let mut environment = environment(&[(variable, "x")]);
            environment.pid = pid;
            let found = is_orchestrated(setting, &environment, &signs(marker, cgroup));
            assert_eq!(found, wanted, "{setting:?} {variable} {pid}");
        }
    }
}
