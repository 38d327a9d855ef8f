//! Programs under test: where they lie, and child processes that end with their guard.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// How long anything may take that is not said otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The folder of the build: this test lies in its `deps`.
fn build_folder() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe()?;
    Ok(test.parent().and_then(Path::parent).context("a build folder")?.to_owned())
}

/// One of our own programs. `./dev interop` builds them.
pub(crate) fn ours(name: &str) -> anyhow::Result<PathBuf> {
    existing(build_folder()?.join(name))
}

/// The virtual environment with a release of the published packages.
pub(crate) fn venv(release: &str) -> anyhow::Result<PathBuf> {
    let target = build_folder()?.parent().context("a target folder")?.to_owned();
    existing(target.join("interop").join(release))
}

fn existing(path: PathBuf) -> anyhow::Result<PathBuf> {
    if path.exists() {
        return Ok(path);
    }
    bail!("{} is not there: run `./dev interop`, which makes it", path.display())
}

/// A command with an environment of its own: only what is given, and a search path.
pub(crate) fn command(program: &Path, home: &Path, variables: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))
}

/// A child process that is killed when its guard goes.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a command; its stdout is read line by line, its stderr is the test's.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let stdout = child.stdout.take().context("a pipe")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// The next line of its stdout that is a JSON document for which `wanted` holds.
    pub(crate) fn line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.text(what, |line| serde_json::from_str(line).ok().filter(&wanted))
    }

    /// What `read` makes of the next line of its stdout of which it makes something.
    pub(crate) fn text<T>(&self, what: &str, read: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).with_context(|| format!("waiting for {what}"))?;
            if let Some(read) = read(&line) {
                return Ok(read);
            }
        }
    }

    /// Closes its stdin.
    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until there is an answer, with a limit.
pub(crate) fn eventually<T>(
    what: &str,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("{what} did not happen within {LIMIT:?}");
        }
        // Nothing to wait on across processes: ask ten times a second.
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
