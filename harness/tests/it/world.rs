//! A folder of scenarios with an agent of its own, and the harness on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// What an agent's `doctor` prints here: who runs it and what it may write.
const AGENT: &str = r#"#!/bin/sh
echo "$@"
id -u
for folder in $WRITE; do
    if touch "$folder/probe" 2>/dev/null; then echo "$folder: yes"; rm "$folder/probe"; else echo "$folder: no"; fi
done
"#;

pub(crate) struct World {
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        // Not below the build folder: an unprivileged user must be able to read it.
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let world = Self { folder };
        // By another process: a child that another test starts just then would hold a file of ours open for
        // writing, and a program that is open for writing cannot be run.
        let copied =
            Command::new("cp").arg(env!("CARGO_BIN_EXE_harness")).arg(world.path("harness")).status();
        assert!(copied.unwrap().success());
        world.write("agent", AGENT);
        fs::set_permissions(world.path("agent"), fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("harness"));
        command.args(arguments).current_dir(self.folder.path());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command
    }

    /// Runs the harness as the user of the tests.
    pub(crate) fn harness(&self, arguments: &[&str]) -> Run {
        Run::of(&self.command(arguments).output().unwrap())
    }

    /// Runs the harness as a user without privileges; `None` where this machine does not let one do so.
    pub(crate) fn unprivileged_harness(&self, arguments: &[&str]) -> Option<Run> {
        let mut command = self.command(arguments);
        if nix::unistd::geteuid().is_root() {
            command.uid(1234).gid(1234);
        }
        let run = Run::of(&command.output().unwrap());
        let refused = run.stdout.lines().find(|line| line.contains("user namespaces"));
        let Some(reason) = refused.filter(|_| run.status == 3) else { return Some(run) };
        assert!(!require_all(), "{reason}");
        eprintln!("SKIPPED: {reason}");
        None
    }
}

/// Whether a test that finds something missing must fail: in CI nothing is skipped.
#[expect(clippy::disallowed_methods, reason = "tests have no other way to be told")]
fn require_all() -> bool {
    std::env::var_os("Z4J_TESTS_REQUIRE_ALL").is_some()
}

pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status.code().unwrap();
        Self { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Both streams, for a failed assertion.
    pub(crate) fn all(&self) -> String {
        format!("exit {}\n{}\n{}", self.status, self.stdout, self.stderr)
    }
}
