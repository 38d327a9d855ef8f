//! Owners and modes that a sandbox without real root has to show instead of the true ones.
//!
//! Owns putting the true ones back, in what is printed and in what is compared. Must not decide what is shown
//! (`sandbox`).

use std::path::{Path, PathBuf};

use crate::sandbox::{Plan, Users};

/// How far behind a path its owner may stand in a text, in bytes.
const NEAR: usize = 80;

/// The stand-ins of one sandbox; none where real root made it.
#[derive(Debug)]
pub(crate) struct StandIns(Vec<StandIn>);

#[derive(Debug)]
struct StandIn {
    path: PathBuf,
    mode: u32,
    shown_mode: u32,
    /// `(owned by NAME, mode NNNN)`, as shown and as meant.
    told: String,
    meant: String,
}

impl StandIns {
    pub(crate) fn new(plan: &Plan, users: &Users) -> Self {
        let words = |uid: u32, mode: u32| format!("(owned by {}, mode {mode:04o})", users.name_of(uid));
        let stand_ins = plan.stand_ins().map(|(path, owner, mode, shown_mode)| StandIn {
            path: path.to_owned(),
            mode,
            shown_mode,
            told: words(plan.service.uid, shown_mode),
            meant: words(owner.uid, mode),
        });
        Self(stand_ins.collect())
    }

    /// The text with true owners and modes where it says them of a path: `PATH … (owned by NAME, mode NNNN)`.
    pub(crate) fn undo(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, stand_in| stand_in.undo(&text))
    }

    /// The mode that a path would have if real root had made it.
    pub(crate) fn true_mode(&self, path: &Path, seen: u32) -> u32 {
        let found = self.0.iter().find(|one| one.path == path && one.shown_mode == seen);
        found.map_or(seen, |stand_in| stand_in.mode)
    }
}

impl StandIn {
    fn undo(&self, text: &str) -> String {
        let start = format!("{} ", self.path.display());
        let mut parts = text.split(&start);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str(&start);
            match part.find(&self.told).filter(|at| *at < NEAR) {
                Some(_) => out.push_str(&part.replacen(&self.told, &self.meant, 1)),
                None => out.push_str(part),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_path_is_undone() {
        let told = "(owned by www-data, mode 0555)".to_owned();
        let meant = "(owned by root, mode 0755)".to_owned();
        let stand_in = StandIn { path: "/var/www".into(), mode: 0o755, shown_mode: 0o555, told, meant };
        let stand_ins = StandIns(vec![stand_in]);
        let said = |path: &str, owner: &str| format!("{path} refuses with EACCES: denied (owned by {owner})");
        assert_eq!(
            stand_ins.undo(&said("/var/www", "www-data, mode 0555")),
            said("/var/www", "root, mode 0755")
        );
        for text in [said("/srv/own", "www-data, mode 0555"), said("/var/www", "www-data, mode 0700")] {
            assert_eq!(stand_ins.undo(&text), text);
        }
        assert_eq!(stand_ins.true_mode(Path::new("/var/www"), 0o555), 0o755);
        assert_eq!(stand_ins.true_mode(Path::new("/srv/own"), 0o555), 0o555);
    }
}
