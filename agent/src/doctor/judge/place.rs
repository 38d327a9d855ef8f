//! Whose a path is, before a line is advised that changes its owner, its mode or its name.
//!
//! Owns what belongs to the system or to many users: there such a line does more harm than the failure.

use std::path::Path;

use crate::paths::Owner;

/// Directories of the system; all that is below them too.
const SYSTEM: [&str; 11] =
    ["/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc", "/sys", "/boot", "/run"];
/// The bit of directories in which everybody may make files, and remove their own only.
const STICKY: u32 = 0o1000;

/// Whether a path is the system's or for many users: it is at most one component below `/` (as `/srv`) or
/// `/var` (as `/var/lib`), a part of the system, or sticky.
pub(super) fn is_of_many(path: &Path, owner: Option<Owner>) -> bool {
    path.components().count() <= 2
        || path.parent() == Some(Path::new("/var"))
        || SYSTEM.iter().any(|base| path.starts_with(base))
        || owner.is_some_and(|owner| owner.mode & STICKY != 0)
}

/// Whether a directory bears a name that only agents give: `.z4j`, or `z4j-UID` with or without a number. What
/// is in it is an agent's too.
pub(super) fn is_an_agents(path: &Path, uid: u32) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rest = name.strip_prefix(&format!("z4j-{uid}"));
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    name == ".z4j"
        || rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_use_is_told_from_what_is_ones_own() {
        let many =
            ["/", "/srv", "/tmp", "/home", "/var/lib", "/var/tmp", "/etc", "/etc/cron.d/x", "/usr/local/z"];
        for path in many {
            assert!(is_of_many(Path::new(path), None), "{path}");
        }
        let sticky = Some(Owner { uid: 33, gid: 33, mode: 0o1777 });
        assert!(is_of_many(Path::new("/srv/data/drop"), sticky));
        for path in ["/srv/picker", "/var/lib/z4j", "/var/www/.z4j", "/home/app", "/tmp/z4j-33", "/root/.z4j"]
        {
            assert!(!is_of_many(Path::new(path), Some(Owner { uid: 0, gid: 0, mode: 0o755 })), "{path}");
        }
    }

    #[test]
    fn an_agents_directory_is_known_by_its_name() {
        for name in ["/var/www/.z4j", "/tmp/z4j-33", "/tmp/z4j-33-2"] {
            assert!(is_an_agents(Path::new(name), 33), "{name}");
        }
        for name in ["/", "/srv/z4j", "/tmp/z4j-331", "/tmp/z4j-3", "/tmp/z4j-33-x", "/home/app"] {
            assert!(!is_an_agents(Path::new(name), 33), "{name}");
        }
    }
}
